//! Finds layers: which directory each name stands for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{EXTRA_VARIABLE, Environment, Found, Layer, LayerError, LayerName, PATH_PREFIX};
use crate::error::Io;

/// The directories of the project that hold layers.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `configs/`; must exist.
    pub configs: PathBuf,
    /// `overrides/`, the user's own; may be missing.
    pub overrides: PathBuf,
}

/// Every layer that can be asked for.
#[derive(Clone, Debug)]
pub struct Registry {
    layers: BTreeMap<LayerName, Layer>,
    /// `overrides/` and the workspace's overrides, as far as they exist.
    overrides: Vec<Layer>,
    /// Directories by the variable that names them, for layers below no root.
    by_variable: BTreeMap<String, PathBuf>,
    notes: Vec<String>,
}

/// Finds all layers. First hit wins: a `SKIFF_CONFIG_PATH_*` variable, then the entries of
/// `SKIFF_EXTRA_CONFIGS_PATH` in order, then `configs/`. Layers of one name are never merged.
pub fn discover(environment: &Environment, roots: &Roots) -> Result<Registry, LayerError> {
    let mut registry = Registry {
        layers: BTreeMap::new(),
        overrides: Vec::new(),
        by_variable: variables(environment)?,
        notes: Vec::new(),
    };
    let extra = environment.get(EXTRA_VARIABLE).map(std::env::split_paths).into_iter().flatten();
    for root in extra.filter(|root| !root.as_os_str().is_empty()) {
        ensure_directory(EXTRA_VARIABLE, &root)?;
        registry.add_root(&root, &Found::Extra(root.clone()))?;
    }
    ensure_directory("configs", &roots.configs)?;
    registry.add_root(&roots.configs, &Found::InTree)?;
    registry.add_overrides(roots, environment)?;
    Ok(registry)
}

/// The `SKIFF_CONFIG_PATH_*` variables. `SKIFF_CONFIG_PATH` itself is what hooks of SkiffOS get, not ours.
fn variables(environment: &Environment) -> Result<BTreeMap<String, PathBuf>, LayerError> {
    let mut found = BTreeMap::new();
    for (name, value) in environment.iter() {
        let name = name.to_string_lossy();
        if name.starts_with(PATH_PREFIX) && !value.is_empty() {
            ensure_directory(&name, Path::new(value))?;
            found.insert(name.into_owned(), value.into());
        }
    }
    Ok(found)
}

fn ensure_directory(variable: &str, path: &Path) -> Result<(), LayerError> {
    if path.is_dir() {
        return Ok(());
    }
    Err(LayerError::NoDirectory { variable: variable.into(), path: path.into() })
}

impl Registry {
    /// All layers below configs roots, by name.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.values()
    }

    /// `overrides/` and the workspace's overrides, in this order, as far as they exist.
    pub fn overrides(&self) -> &[Layer] {
        &self.overrides
    }

    /// What was left out, as sentences without a full stop.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The layer of a name.
    pub fn get(&self, name: &LayerName) -> Result<Option<Layer>, LayerError> {
        let variable = name.path_variable();
        let listed = self.layers.get(name);
        let Some(path) = self.by_variable.get(&variable) else { return Ok(listed.cloned()) };
        let mut layer = read_layer(name.as_str(), path, Found::Variable(variable))?;
        layer.shadows = listed
            .map_or_else(Vec::new, |listed| [std::slice::from_ref(&listed.path), &listed.shadows].concat());
        Ok(Some(layer))
    }

    /// Every name that can be asked for without a variable, for suggestions.
    pub(super) fn names(&self) -> impl Iterator<Item = &LayerName> {
        self.layers.keys()
    }

    /// Adds the directories two levels below `root`.
    fn add_root(&mut self, root: &Path, found: &Found) -> Result<(), LayerError> {
        for namespace in directories(root)? {
            for name in directories(&root.join(&namespace))? {
                let text = format!("{namespace}/{name}");
                match text.parse::<LayerName>() {
                    Ok(parsed) => self.add(parsed, &root.join(&text), found)?,
                    Err(error) => {
                        self.notes.push(format!("`{}` is left out: {error}", root.join(text).display()))
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, name: LayerName, path: &Path, found: &Found) -> Result<(), LayerError> {
        if let Some(winner) = self.layers.get_mut(&name) {
            winner.shadows.push(path.into());
            return Ok(());
        }
        let layer = read_layer(name.as_str(), path, found.clone())?;
        self.layers.insert(name, layer);
        Ok(())
    }

    fn add_overrides(&mut self, roots: &Roots, environment: &Environment) -> Result<(), LayerError> {
        let workspace = format!("workspaces/{}", environment.workspace());
        let all = (String::from("overrides"), roots.overrides.clone());
        let own = (format!("overrides/{workspace}"), roots.overrides.join(&workspace));
        for (name, path) in [all, own] {
            if path.is_dir() {
                self.overrides.push(read_layer(&name, &path, Found::Overrides)?);
            }
        }
        Ok(())
    }
}

/// Names of the directories in `path`, in byte order, without hidden ones.
fn directories(path: &Path) -> Result<Vec<String>, LayerError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(Io::on("list", path))? {
        let entry = entry.map_err(Io::on("list", path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn read_layer(name: &str, path: &Path, found: Found) -> Result<Layer, LayerError> {
    let text = read_metadata(path, "description")?;
    let line = text.as_deref().and_then(|text| text.lines().next()).map(str::trim);
    Ok(Layer {
        name: name.into(),
        path: path.into(),
        description: line.filter(|line| !line.is_empty()).map(str::to_owned),
        unlisted: path.join("metadata/unlisted").exists(),
        found,
        shadows: Vec::new(),
    })
}

/// A file of a layer's `metadata/`; nothing if it does not exist.
pub(super) fn read_metadata(layer: &Path, name: &str) -> Result<Option<String>, LayerError> {
    let path = layer.join("metadata").join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Io::on("read", &path)(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(root: &Path, name: &str, description: &str) {
        let metadata = root.join(name).join("metadata");
        fs::create_dir_all(&metadata).unwrap();
        fs::write(metadata.join("description"), description).unwrap();
    }

    fn described(registry: &Registry, name: &str) -> String {
        registry.get(&name.parse().unwrap()).unwrap().unwrap().description.unwrap()
    }

    #[test]
    fn variables_win_over_extra_roots_which_win_over_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let [configs, one, two, own] = ["configs", "one", "two", "own"].map(|name| dir.path().join(name));
        for root in [&configs, &one, &two] {
            layer(root, "a/b", &format!("{}\nmore", root.file_name().unwrap().display()));
        }
        layer(&two, "a/c", "two");
        layer(&configs, "a/c", "configs");
        layer(&configs, "a/d", "configs");
        layer(&own, "x/y", "own");
        fs::create_dir_all(configs.join(".git/objects")).unwrap();
        fs::create_dir_all(configs.join("a/b c")).unwrap();
        let extra = format!("{}:{}", one.display(), two.display());
        let overridden = own.join("x/y");
        let environment = Environment::from_iter([
            (EXTRA_VARIABLE, extra.as_str()),
            ("SKIFF_CONFIG_PATH_A_D", overridden.to_str().unwrap()),
            ("SKIFF_CONFIG_PATH_NEW_ONE", overridden.to_str().unwrap()),
        ]);
        let roots = Roots { configs: configs.clone(), overrides: dir.path().join("overrides") };
        let registry = discover(&environment, &roots).unwrap();
        assert_eq!((described(&registry, "a/b"), described(&registry, "a/c")), ("one".into(), "two".into()));
        assert_eq!(
            (described(&registry, "a/d"), described(&registry, "new/one")),
            ("own".into(), "own".into())
        );
        let shadows = &registry.layers[&"a/b".parse().unwrap()].shadows;
        assert_eq!(shadows, &[two.join("a/b"), configs.join("a/b")]);
        assert_eq!(
            registry.notes(),
            [format!(
                "`{}` is left out: `a/b c` is not the name of a layer: expected NAMESPACE/NAME of letters, digits, \
                 `_` and `-`",
                configs.join("a/b c").display()
            )]
        );
    }

    #[test]
    fn a_root_that_is_no_directory_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { configs: dir.path().into(), overrides: dir.path().join("overrides") };
        for variable in [EXTRA_VARIABLE, "SKIFF_CONFIG_PATH_A_B"] {
            let error = discover(&Environment::from_iter([(variable, "/none")]), &roots).unwrap_err();
            assert_eq!(error.to_string(), format!("`{variable}` names `/none`, which is not a directory"));
            assert_eq!(error.hint().unwrap(), format!("correct `{variable}`, or make the directory"));
        }
    }

    use crate::error::Report;
}
