//! Orders layers: dependencies before dependents, otherwise as asked for. Later layers win.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use super::registry::read_if_there;
use super::{AskedBy, Chain, Layer, LayerError, LayerName, Order, Registry, skiffos};

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
        chain.ensure_parts_are_directories()?;
        Ok(chain)
    }

    /// All layers of [`Registry::chain`] in our order.
    pub fn resolve(&self, list: &str, asked_by: &str) -> Result<Vec<Layer>, LayerError> {
        Ok(self.chain(list, asked_by, Order::Dependencies)?.into_layers())
    }

    /// The known name with the smallest edit distance, if it is near enough to be meant.
    pub(super) fn suggestion(&self, name: &LayerName) -> Option<String> {
        let wanted = name.as_str().to_lowercase();
        let near = self
            .names()
            .map(|known| (strsim::levenshtein(&wanted, &known.as_str().to_lowercase()), known.as_str()));
        let (distance, known) = near.min()?;
        (distance <= wanted.len() / 3).then(|| known.to_owned())
    }

    /// The layer of a name that must be there.
    pub fn find(&self, name: &LayerName, asked_by: &AskedBy) -> Result<Layer, LayerError> {
        if let Some(layer) = self.get(name)? {
            return Ok(layer);
        }
        if let Some(path) = self.no_directory(name) {
            return Err(LayerError::NoLayer { name: name.to_string(), path });
        }
        let suggestion = self.suggestion(name);
        Err(LayerError::Unknown { name: name.clone(), asked_by: asked_by.clone(), suggestion })
    }
}

/// A name and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub name: LayerName,
    asked_by: AskedBy,
}

#[derive(Debug)]
struct Node {
    layer: Layer,
    dependencies: Vec<Wanted>,
}

/// Layers that were asked for, and all they depend on.
#[derive(Debug)]
pub(super) struct Graph {
    list: Vec<Wanted>,
    nodes: BTreeMap<LayerName, Node>,
    notes: Vec<String>,
}

impl Graph {
    pub fn load(registry: &Registry, list: &str, asked_by: &str) -> Result<Graph, LayerError> {
        let asked_by = AskedBy::User(asked_by.into());
        let mut graph = Graph { list: Vec::new(), nodes: BTreeMap::new(), notes: Vec::new() };
        graph.list = graph.as_known(registry, parse_names(list, |_| asked_by.clone())?);
        let mut unseen = VecDeque::from(graph.list.clone());
        while let Some(Wanted { name, asked_by }) = unseen.pop_front() {
            if graph.nodes.contains_key(&name) {
                continue;
            }
            let layer = registry.find(&name, &asked_by)?;
            let dependencies = graph.as_known(registry, dependencies(&layer.path)?);
            unseen.extend(dependencies.iter().cloned());
            graph.nodes.insert(name, Node { layer, dependencies });
        }
        Ok(graph)
    }

    /// The same names as the layers that they mean are called.
    fn as_known(&mut self, registry: &Registry, names: Vec<Wanted>) -> Vec<Wanted> {
        let mut known = Vec::with_capacity(names.len());
        for mut wanted in names {
            let name = registry.known(&wanted.name);
            if *name != wanted.name {
                self.notes.push(format!("`{}` in {} is the layer `{name}`", wanted.name, wanted.asked_by));
                wanted.name = name.clone();
            }
            known.push(wanted);
        }
        known
    }

    /// Names that were asked for, in order.
    pub fn list(&self) -> impl Iterator<Item = &LayerName> {
        self.list.iter().map(|wanted| &wanted.name)
    }

    /// Dependencies of a layer, in order.
    pub fn dependencies(&self, name: &LayerName) -> impl Iterator<Item = &LayerName> {
        self.nodes[name].dependencies.iter().map(|wanted| &wanted.name)
    }

    fn layer(&self, name: &LayerName) -> Layer {
        self.nodes[name].layer.clone()
    }

    /// A depth-first walk of the list: each layer stands right after those of its dependencies that were not needed
    /// before.
    pub fn dependencies_first(&self) -> Result<Vec<LayerName>, LayerError> {
        let mut walk = Walk { graph: self, done: BTreeSet::new(), open: Vec::new(), ordered: Vec::new() };
        self.list.iter().try_for_each(|wanted| walk.visit(wanted))?;
        Ok(walk.ordered)
    }
}

struct Walk<'a> {
    graph: &'a Graph,
    done: BTreeSet<&'a LayerName>,
    /// Layers whose dependencies are being visited.
    open: Vec<&'a LayerName>,
    ordered: Vec<LayerName>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, Wanted { name, asked_by }: &'a Wanted) -> Result<(), LayerError> {
        if self.done.contains(name) {
            return Ok(());
        }
        if let Some(start) = self.open.iter().position(|open| *open == name) {
            let cycle = self.open[start..].iter().chain([&name]).map(|name| name.to_string()).collect();
            return Err(LayerError::Cycle { cycle, asked_by: asked_by.clone() });
        }
        self.open.push(name);
        self.graph.nodes[name].dependencies.iter().try_for_each(|wanted| self.visit(wanted))?;
        self.open.pop();
        self.ordered.push(name.clone());
        self.done.insert(name);
        Ok(())
    }
}

fn dependencies(layer: &Path) -> Result<Vec<Wanted>, LayerError> {
    let file = layer.join("metadata/dependencies");
    let bytes = read_if_there(&file)?.unwrap_or_default();
    let text = str::from_utf8(&bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        LayerError::NoText { file: file.clone(), line }
    })?;
    parse_names(text, |line| AskedBy::Dependencies { file: file.clone(), line })
}

/// Names separated by commas, spaces or newlines; `asked_by` is given the line, from 1.
fn parse_names(text: &str, asked_by: impl Fn(usize) -> AskedBy) -> Result<Vec<Wanted>, LayerError> {
    let mut names = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words = line.split(|c: char| c == ',' || c.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            let asked_by = asked_by(index + 1);
            match word.parse() {
                Ok(name) => names.push(Wanted { name, asked_by }),
                Err(source) => return Err(LayerError::Name { source, asked_by }),
            }
        }
    }
    Ok(names)
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
        assert_eq!(
            error.hint().unwrap(),
            format!(
                "remove the dependency in `{}:2`, or take SkiffOS' order with `--skiffos-order`",
                file.display()
            )
        );
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
            "separate layers by commas or spaces, for example `pi/4,skiff/core`"
        );
    }
}
