//! Orders layers: dependencies before dependents, otherwise as asked for. Later layers win.

use super::graph::Graph;
use super::{Chain, Layer, LayerError, Order, Registry, skiffos};

impl Registry {
    /// The layers of a list such as `pi/4,skiff/core` with all they depend on, each once, with the base and the
    /// overrides around them.
    ///
    /// `asked_by` names the list in messages, for example `SKIFF_CONFIG`.
    pub fn chain(&self, list: &str, asked_by: &str, order: Order) -> Result<Chain, LayerError> {
        let mut graph = Graph::load(self, list, asked_by)?;
        let mut chain = Chain { order, notes: std::mem::take(&mut graph.notes), ..self.around(Vec::new()) };
        let names = match (order, graph.dependencies_first()) {
            (Order::Dependencies, names) => names?,
            (Order::Skiffos, names) => {
                chain.warnings.extend(names.err().map(|cycle| cycle.to_string()));
                skiffos::ordered(&graph)
            }
        };
        chain.chosen = names.iter().map(|name| graph.layer(name)).collect();
        chain.ensure_usable()?;
        Ok(chain)
    }

    /// All layers of [`Registry::chain`] in our order.
    pub fn resolve(&self, list: &str, asked_by: &str) -> Result<Vec<Layer>, LayerError> {
        Ok(self.chain(list, asked_by, Order::Dependencies)?.into_layers())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::{Environment, Roots, discover};
    use super::*;
    use crate::error::Diagnostic;

    struct Configs {
        dir: tempfile::TempDir,
    }

    impl Configs {
        /// Layers with the text of their dependencies.
        fn new(layers: &[(&str, &str)]) -> Configs {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("configs")).unwrap();
            let configs = Configs { dir };
            for (name, dependencies) in layers {
                let file = configs.dependencies(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, dependencies).unwrap();
            }
            configs
        }

        fn dependencies(&self, name: &str) -> PathBuf {
            self.dir.path().join("configs").join(name).join("metadata/dependencies")
        }

        fn resolve(&self, list: &str) -> Result<Vec<String>, LayerError> {
            let root = self.dir.path();
            let variables = Environment::from_iter([("SKIFF_WORKSPACE", "w")]);
            let registry = discover(&variables, &Roots::for_project(root))?;
            let layers = registry.resolve(list, "SKIFF_CONFIG")?;
            Ok(layers.into_iter().map(|layer| layer.name).collect())
        }
    }

    #[test]
    fn dependencies_come_first_even_if_they_are_listed_later() {
        let configs = Configs::new(&[
            ("skiff/core", "apps/docker"),
            ("apps/docker", "apps/runc,apps/containerd\n"),
            ("apps/runc", ""),
            ("apps/containerd", "apps/runc"),
            ("pine64/common", "skiff/moduleimg"),
            ("pine64/phone", "pine64/common\nskiff/moduleimg\n"),
            ("skiff/moduleimg", ""),
        ]);
        assert_eq!(
            configs.resolve("skiff/core,apps/docker").unwrap(),
            ["apps/runc", "apps/containerd", "apps/docker", "skiff/core"]
        );
        assert_eq!(
            configs.resolve("pine64/phone  skiff/core, pine64/phone").unwrap(),
            [
                "skiff/moduleimg",
                "pine64/common",
                "pine64/phone",
                "apps/runc",
                "apps/containerd",
                "apps/docker",
                "skiff/core"
            ]
        );
    }

    #[test]
    fn overrides_come_last() {
        let configs = Configs::new(&[("a/b", "")]);
        fs::create_dir_all(configs.dir.path().join("overrides/workspaces/w")).unwrap();
        assert_eq!(configs.resolve("a/b").unwrap(), ["a/b", "overrides", "overrides/workspaces/w"]);
    }

    #[test]
    fn an_unknown_layer_is_told_with_the_nearest_name_and_who_asked() {
        let configs = Configs::new(&[("skiff/core", "app/docker"), ("apps/docker", ""), ("x/y", "no/where")]);
        let error = configs.resolve("skif/core").unwrap_err();
        assert_eq!(error.to_string(), "unknown layer `skif/core`, asked for by `SKIFF_CONFIG`");
        assert_eq!(error.hint().unwrap(), "did you mean `skiff/core`?");
        let error = configs.resolve("skiff/core").unwrap_err();
        let file = configs.dependencies("skiff/core");
        assert_eq!(
            error.to_string(),
            format!("unknown layer `app/docker`, asked for by `{}:1`", file.display())
        );
        assert_eq!(error.hint().unwrap(), "did you mean `apps/docker`?");
        let error = configs.resolve("x/y").unwrap_err();
        assert_eq!(
            error.hint().unwrap(),
            "add the directory that holds it to SKIFF_EXTRA_CONFIGS_PATH, or correct the name"
        );
    }

    #[test]
    fn a_circle_is_reported() {
        let configs = Configs::new(&[("a/a", "a/b"), ("a/b", "a/c"), ("a/c", "\na/b")]);
        let error = configs.resolve("a/a").unwrap_err();
        assert_eq!(error.to_string(), "layers depend on each other: a/b -> a/c -> a/b");
        let file = configs.dependencies("a/c");
        assert_eq!(error.hint().unwrap(), format!("remove the dependency in `{}:2`", file.display()));
    }

    #[test]
    fn a_malformed_name_is_reported() {
        let error = Configs::new(&[]).resolve("core").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`core` is not the name of a layer: expected NAMESPACE/NAME of letters, digits, `_` and `-` (asked for by \
             `SKIFF_CONFIG`)"
        );
        assert_eq!(
            error.hint().unwrap(),
            "separate layers by commas or spaces, for example `pi/4,util/rootlogin`"
        );
    }
}
