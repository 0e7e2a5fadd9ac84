//! Finds layers: which directory each name stands for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{
    AskedBy, Chain, EXTRA_VARIABLE, Environment, Layer, LayerError, LayerName, LayerOrigin, PATH_LIST,
    PATH_PREFIX,
};
use crate::error::Io;

/// The directories of the project that hold layers.
#[derive(Clone, Debug)]
pub struct Roots {
    /// The project root, which relative paths of variables are relative to; may hold `configs-base/`.
    pub project: PathBuf,
    /// `configs/`; must exist.
    pub configs: PathBuf,
    /// `overrides/`, the user's own; may be missing.
    pub overrides: PathBuf,
}

impl Roots {
    /// Those of a project root; an empty path is the current directory.
    pub fn for_project(project: impl Into<PathBuf>) -> Roots {
        let project = project.into();
        Roots { configs: project.join("configs"), overrides: project.join("overrides"), project }
    }
}

/// Every layer that can be asked for.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    layers: BTreeMap<LayerName, Layer>,
    /// `configs-base/pre`, if there is one.
    pre: Option<Layer>,
    /// `overrides/` and the workspace's overrides, as far as they exist.
    overrides: Vec<Layer>,
    /// `configs-base/post`, if there is one.
    post: Option<Layer>,
    /// The entries of `SKIFF_EXTRA_CONFIGS_PATH`.
    extra: Vec<PathBuf>,
    /// All configs roots, the strongest first.
    roots: Vec<PathBuf>,
    /// Directories by the variable that names them, for layers below no root.
    by_variable: BTreeMap<String, PathBuf>,
    notes: Vec<String>,
}

/// Finds all layers. First hit wins: a `SKIFF_CONFIG_PATH_*` variable, then the entries of
/// `SKIFF_EXTRA_CONFIGS_PATH` in order, then `configs/`. Layers of one name are never merged. Relative paths in these
/// variables are relative to the project root.
pub fn discover(environment: &Environment, roots: &Roots) -> Result<Registry, LayerError> {
    let mut registry = Registry { by_variable: variables(environment, roots)?, ..Registry::default() };
    let extra = environment.get(EXTRA_VARIABLE).map(std::env::split_paths).into_iter().flatten();
    for root in extra.filter(|root| !root.as_os_str().is_empty()) {
        let root = roots.project.join(root);
        ensure_directory(EXTRA_VARIABLE, &root)?;
        registry.add_root(&root, &LayerOrigin::Extra(root.clone()))?;
        registry.extra.push(root);
    }
    ensure_directory("configs", &roots.configs)?;
    registry.add_root(&roots.configs, &LayerOrigin::InTree)?;
    registry.forget_what_is_listed();
    registry.reject_ambiguous()?;
    registry.add_overrides(roots, environment)?;
    registry.pre = implied("configs-base/pre", roots.project.join("configs-base/pre"), LayerOrigin::Base)?;
    registry.post = implied("configs-base/post", roots.project.join("configs-base/post"), LayerOrigin::Base)?;
    Ok(registry)
}

/// The `SKIFF_CONFIG_PATH_*` variables. `SKIFF_CONFIG_PATH` itself is what programs of layers get, not ours.
fn variables(environment: &Environment, roots: &Roots) -> Result<BTreeMap<String, PathBuf>, LayerError> {
    let mut found = BTreeMap::new();
    for (name, value) in environment.iter() {
        let name = name.to_string_lossy();
        if name.starts_with(PATH_PREFIX) && name != PATH_LIST && !value.is_empty() {
            let path = roots.project.join(value);
            ensure_directory(&name, &path)?;
            found.insert(name.into_owned(), path);
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

/// A layer that nobody has to ask for, if it exists.
fn implied(name: &str, path: PathBuf, found: LayerOrigin) -> Result<Option<Layer>, LayerError> {
    if path.is_dir() {
        return read_layer(name, &path, found).map(Some);
    }
    match path.symlink_metadata() {
        Ok(_) => Err(LayerError::NoLayer { name: name.into(), path }),
        Err(_) => Ok(None),
    }
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

    /// `configs-base/pre` and `configs-base/post`, as far as they exist.
    pub fn base(&self) -> impl Iterator<Item = &Layer> {
        self.pre.iter().chain(&self.post)
    }

    /// The entries of `SKIFF_EXTRA_CONFIGS_PATH`.
    pub fn extra(&self) -> &[PathBuf] {
        &self.extra
    }

    /// Directories by the variable that names them.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.by_variable.iter().map(|(variable, path)| (variable.as_str(), path.as_path()))
    }

    /// A chain of these layers, with the base and the overrides.
    pub(super) fn around(&self, chosen: Vec<Layer>) -> Chain {
        let Registry { pre, overrides, post, .. } = self;
        Chain {
            pre: pre.clone(),
            chosen,
            overrides: overrides.clone(),
            post: post.clone(),
            ..Chain::default()
        }
    }

    /// Names that were left out, as sentences without a full stop.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The layer of a name: as it is written, else whatever its case if there is one only.
    pub fn get(&self, name: &LayerName) -> Result<Option<Layer>, LayerError> {
        let name = self.known(name);
        let variable = name.path_variable();
        let listed = self.layers.get(name);
        let Some(path) = self.by_variable.get(&variable) else { return Ok(listed.cloned()) };
        let mut layer = read_layer(name.as_str(), path, LayerOrigin::Variable(variable))?;
        layer.shadows = listed
            .map_or_else(Vec::new, |listed| [std::slice::from_ref(&listed.path), &listed.shadows].concat());
        Ok(Some(layer))
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

    /// Spelling of a name that was given in another case.
    pub(super) fn known<'a>(&'a self, name: &'a LayerName) -> &'a LayerName {
        if self.layers.contains_key(name) {
            return name;
        }
        let mut same = self.names().filter(|known| known.as_str().eq_ignore_ascii_case(name.as_str()));
        match (same.next(), same.next()) {
            (Some(only), None) => only,
            _ => name,
        }
    }

    /// Path that is in the place of a layer and is not a directory.
    pub(super) fn no_directory(&self, name: &LayerName) -> Option<PathBuf> {
        let mut paths = self.roots.iter().map(|root| root.join(name.as_str()));
        paths.find(|path| path.symlink_metadata().is_ok() && !path.is_dir())
    }

    /// Programs of layers are given the variables of all layers; where one of them is this program, that changes
    /// nothing.
    fn forget_what_is_listed(&mut self) {
        let same = |one: &Path, other: &Path| one.canonicalize().ok() == other.canonicalize().ok();
        let Registry { layers, by_variable, .. } = self;
        by_variable.retain(|variable, path| {
            let mut listed = layers.iter().filter(|(name, _)| name.path_variable() == *variable);
            listed.all(|(_, layer)| !same(path, &layer.path))
        });
    }

    /// Names that differ only in what a variable cannot express share one, and SkiffOS knows only one of them.
    fn reject_ambiguous(&mut self) -> Result<(), LayerError> {
        let mut names = BTreeMap::<String, Vec<String>>::new();
        for name in self.layers.keys() {
            names.entry(name.path_variable()).or_default().push(name.to_string());
        }
        for (variable, names) in names.into_iter().filter(|(_, names)| names.len() > 1) {
            if self.by_variable.contains_key(&variable) {
                return Err(LayerError::Ambiguous { variable, names });
            }
            let names = super::list(&names);
            self.notes
                .push(format!("`{variable}` is the variable of {names}: SkiffOS knows only one of them"));
        }
        Ok(())
    }

    /// Every name that can be asked for without a variable, for suggestions.
    pub(super) fn names(&self) -> impl Iterator<Item = &LayerName> {
        self.layers.keys()
    }

    /// Adds the directories two levels below `root`.
    fn add_root(&mut self, root: &Path, found: &LayerOrigin) -> Result<(), LayerError> {
        self.roots.push(root.into());
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

    fn add(&mut self, name: LayerName, path: &Path, found: &LayerOrigin) -> Result<(), LayerError> {
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
        let all = implied("overrides", roots.overrides.clone(), LayerOrigin::Overrides)?;
        let path = roots.overrides.join(&workspace);
        let own = implied(&format!("overrides/{workspace}"), path, LayerOrigin::Overrides)?;
        self.overrides.extend(all.into_iter().chain(own));
        Ok(())
    }
}

/// Names of the directories in `path`, in byte order, without hidden ones.
fn directories(path: &Path) -> Result<Vec<String>, LayerError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(Io::on("list", path))? {
        let entry = entry.map_err(Io::on("list", path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(Io::on("look at", entry.path()))?;
        // Only links have to be followed.
        let is_directory = kind.is_dir() || kind.is_symlink() && entry.path().is_dir();
        if !name.starts_with('.') && is_directory {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn read_layer(name: &str, path: &Path, found: LayerOrigin) -> Result<Layer, LayerError> {
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
    let bytes = read_if_there(&path)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The bytes of a file; nothing if it does not exist.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, LayerError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        // Where a file is in the place of `metadata/`, that is reported when the layer is used.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Io::on("read", path)(error).into()),
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
        let roots = Roots::for_project(dir.path());
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
    fn a_root_that_is_no_directory_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("configs")).unwrap();
        let roots = Roots::for_project(dir.path());
        for variable in [EXTRA_VARIABLE, "SKIFF_CONFIG_PATH_A_B"] {
            let error = discover(&Environment::from_iter([(variable, "/none")]), &roots).unwrap_err();
            assert_eq!(error.to_string(), format!("`{variable}` names `/none`, which is not a directory"));
            assert_eq!(error.hint().unwrap(), format!("correct `{variable}`, or make the directory"));
        }
    }

    use crate::error::Diagnostic;
}
