//! Orders layers: dependencies before dependents, otherwise as asked for. Later layers win.

use std::collections::BTreeSet;
use std::path::Path;

use super::registry::read_metadata;
use super::{AskedBy, Layer, LayerError, LayerName, Registry};

impl Registry {
    /// The layers of a list such as `pi/4,skiff/core` with all they depend on, each once, followed by the overrides.
    ///
    /// The order is a depth-first walk of the list: each layer stands right after those of its dependencies that
    /// were not needed before. `asked_by` names the list in messages, for example `SKIFF_CONFIG`.
    pub fn resolve(&self, list: &str, asked_by: &str) -> Result<Vec<Layer>, LayerError> {
        let asked_by = AskedBy::User(asked_by.into());
        let mut walk = Walk { registry: self, done: BTreeSet::new(), open: Vec::new(), ordered: Vec::new() };
        for name in parse_names(list, |_| asked_by.clone())? {
            walk.visit(name)?;
        }
        walk.ordered.extend_from_slice(self.overrides());
        Ok(walk.ordered)
    }

    /// The known name with the smallest edit distance, if it is near enough to be meant.
    fn suggestion(&self, name: &LayerName) -> Option<String> {
        let wanted = name.as_str().to_lowercase();
        let near =
            self.names().map(|known| (distance(&wanted, &known.as_str().to_lowercase()), known.as_str()));
        let (distance, known) = near.min()?;
        (distance <= wanted.len() / 3).then(|| known.to_owned())
    }
}

/// A name and where it stands.
struct Wanted {
    name: LayerName,
    asked_by: AskedBy,
}

struct Walk<'a> {
    registry: &'a Registry,
    done: BTreeSet<LayerName>,
    /// Layers whose dependencies are being visited.
    open: Vec<LayerName>,
    ordered: Vec<Layer>,
}

impl Walk<'_> {
    fn visit(&mut self, Wanted { name, asked_by }: Wanted) -> Result<(), LayerError> {
        if self.done.contains(&name) {
            return Ok(());
        }
        if let Some(start) = self.open.iter().position(|open| *open == name) {
            let cycle = self.open[start..].iter().chain([&name]).map(LayerName::to_string).collect();
            return Err(LayerError::Cycle { cycle, asked_by });
        }
        let Some(layer) = self.registry.get(&name)? else {
            let suggestion = self.registry.suggestion(&name);
            return Err(LayerError::Unknown { name, asked_by, suggestion });
        };
        self.open.push(name.clone());
        for dependency in dependencies(&layer.path)? {
            self.visit(dependency)?;
        }
        self.open.pop();
        self.ordered.push(layer);
        self.done.insert(name);
        Ok(())
    }
}

fn dependencies(layer: &Path) -> Result<Vec<Wanted>, LayerError> {
    let text = read_metadata(layer, "dependencies")?.unwrap_or_default();
    let file = layer.join("metadata/dependencies");
    parse_names(&text, |line| AskedBy::Dependencies { file: file.clone(), line })
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

/// Levenshtein's edit distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::{Environment, Roots, discover};
    use super::*;
    use crate::error::Report;

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
            let roots = Roots { configs: root.join("configs"), overrides: root.join("overrides") };
            let registry = discover(&Environment::from_iter([("SKIFF_WORKSPACE", "w")]), &roots)?;
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
    fn a_circle_is_told() {
        let configs = Configs::new(&[("a/a", "a/b"), ("a/b", "a/c"), ("a/c", "\na/b")]);
        let error = configs.resolve("a/a").unwrap_err();
        assert_eq!(error.to_string(), "layers depend on each other: a/b -> a/c -> a/b");
        let file = configs.dependencies("a/c");
        assert_eq!(error.hint().unwrap(), format!("remove the dependency in `{}:2`", file.display()));
    }

    #[test]
    fn a_malformed_name_is_told() {
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

    #[test]
    fn distances_are_edit_distances() {
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("pi/4", "pi/4")), (3, 3, 0));
    }
}
