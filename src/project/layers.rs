//! Layers that a project is built from: those that the user gives, else those that the workspace remembers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Io, Result};
use crate::layer::{self, Chain, EXTRA_VARIABLE, Environment, Layer, Order, Roots};
use crate::workspace::{Selection, Workspace};

/// Finds the root of the project that the current directory is in: the nearest directory, from there upwards, that has
/// layers or was configured. Without one it is the current directory. The path is relative, as messages have it.
pub fn nearest_root() -> PathBuf {
    let here = std::env::current_dir().map_or(0, |path| path.components().count());
    let above = (1..here).map(|depth| [".."].repeat(depth).join("/").into());
    let mut candidates = std::iter::once(PathBuf::from(".")).chain(above);
    let found = candidates.find(|path| is_project(path)).unwrap_or_else(|| ".".into());
    submodule(&found).unwrap_or(found)
}

/// Names under which an extension project has the project that it extends.
const EXTENDED: [&str; 2] = ["skiffos", "skiff-image"];

/// The project that the layers of a directory extend, where that has one as a sub-module beside its own `configs/`: it
/// is the root then, as it is for the Makefile of such a project.
fn submodule(root: &Path) -> Option<PathBuf> {
    if root.join("configs-base").is_dir() || !root.join(".gitmodules").is_file() {
        return None;
    }
    let below =
        EXTENDED.iter().map(|name| if root == Path::new(".") { name.into() } else { root.join(name) });
    below.into_iter().find(|path: &PathBuf| path.join("configs").is_dir())
}

/// `configs/` of the project that extends `root`, if one does.
fn extension(root: &Path) -> Option<PathBuf> {
    let root = root.canonicalize().ok()?;
    let parent = root.parent()?;
    let is_extended = submodule(parent).is_some_and(|below| below == root);
    Some(parent.join("configs")).filter(|configs| is_extended && configs.is_dir())
}

/// Returns whether there is a layer, `configs/NAMESPACE/NAME`, the base of SkiffOS, or a workspace.
fn is_project(root: &Path) -> bool {
    let directories = |path: &Path| -> Vec<PathBuf> {
        let entries = path.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).collect()
    };
    let has_layer = |namespace: PathBuf| !directories(&namespace).is_empty();
    root.join("configs-base").is_dir()
        || root.join("workspaces").is_dir()
        || directories(&root.join("configs")).into_iter().any(has_layer)
}

/// Something that a project has to have.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input)]
enum ProjectError {
    /// Nobody says which layers.
    #[error("no chain of layers is given, and the workspace `{workspace}` remembers none")]
    #[diagnostic(
        hint = "`skiff-image layers list` shows the layers; set SKIFF_CONFIG, for example to `pi/4,util/rootlogin`",
        code = "no-chain"
    )]
    NoChain {
        /// The workspace.
        workspace: String,
    },
    /// There are no layers.
    #[error("there are no layers: neither `{}` nor a directory above it has `configs/`", root.display())]
    #[diagnostic(
        hint = "go to the directory of a project, or name directories with layers in {EXTRA_VARIABLE}",
        code = "no-project"
    )]
    NoLayers {
        /// The current directory, or the root that is given.
        root: PathBuf,
    },
}

/// A chain of layers that was asked for.
#[derive(Clone, Debug)]
pub struct GivenChain {
    /// The chain as it was typed.
    pub text: String,
    /// The flag or variable that has it, for messages.
    pub asked_by: String,
}

/// Choices of the user for a project; the rest comes from its workspace, which remembers the last configure.
#[derive(Clone, Debug)]
pub struct LayerSelection {
    /// The chain, if one is given.
    pub chain: Option<GivenChain>,
    /// Name of the workspace as it was given.
    pub workspace: String,
    /// The order of layers, if one is given.
    pub order: Option<Order>,
    /// Directory with `configs/`, `overrides/` and `workspaces/`.
    pub root: PathBuf,
    /// Nothing that the workspace remembers is used.
    pub forget: bool,
    /// Variables that are set, and not to nothing. They override what is remembered.
    pub environment: Vec<(OsString, OsString)>,
}

impl LayerSelection {
    /// Finds all layers there are.
    pub fn registry(&self) -> Result<layer::Registry> {
        let asked = self.remembered()?.map(|selection| selection.asked).unwrap_or_default();
        let extension = extension(&self.root).map(|path| path.display().to_string());
        let extra = asked.extra.or(extension).into_iter().map(|extra| (EXTRA_VARIABLE.to_owned(), extra));
        let remembered = asked.variables.into_iter().chain(extra);
        let remembered = remembered.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let variables = remembered
            .chain(self.environment.iter().cloned())
            .chain([("SKIFF_WORKSPACE".into(), self.workspace().into())]);
        let roots = Roots::for_project(self.below(""));
        Ok(layer::discover(&variables.collect::<Environment>(), &roots)?)
    }

    /// Finds all layers there are; fails if there is none.
    pub fn some_layers(&self) -> Result<layer::Registry> {
        let registry = match self.registry() {
            Err(_) if !self.below("configs").is_dir() => None,
            found => Some(found?).filter(|registry| registry.layers().next().is_some()),
        };
        match registry {
            Some(registry) => Ok(registry),
            None => Err(ProjectError::NoLayers { root: self.absolute_root()? }.into()),
        }
    }

    /// Returns the chain as it was asked for, and resolved with the base and the overrides; fails if none is given or
    /// remembered.
    pub fn required(&self) -> Result<(GivenChain, Chain)> {
        match self.chain()? {
            Some(given) => Ok((given, self.resolved()?)),
            None => Err(ProjectError::NoChain { workspace: self.workspace() }.into()),
        }
    }

    /// Name of the workspace as SkiffOS makes it.
    pub fn workspace(&self) -> String {
        Environment::from_iter([("SKIFF_WORKSPACE", &self.workspace)]).workspace()
    }

    /// The project root, from that of the filesystem on and without links.
    pub fn absolute_root(&self) -> Result<PathBuf> {
        Ok(self.root.canonicalize().map_err(Io::on("find", &self.root))?)
    }

    /// A path of the project, short if that is the current directory.
    pub fn below(&self, path: impl AsRef<Path>) -> PathBuf {
        if self.root == Path::new(".") { path.as_ref().into() } else { self.root.join(path) }
    }

    /// The chain that is given, else the one that the workspace remembers.
    pub fn chain(&self) -> Result<Option<GivenChain>> {
        if self.chain.is_some() {
            return Ok(self.chain.clone());
        }
        let remembered = self.remembered()?.map(|selection| selection.asked.chain);
        let asked_by = || Selection::file_in(&self.configuration()).display().to_string();
        Ok(remembered.map(|text| GivenChain { text, asked_by: asked_by() }))
    }

    /// Reads what the workspace remembers of its last configure, if that is to be used.
    pub fn remembered(&self) -> Result<Option<Selection>> {
        if self.forget { Ok(None) } else { Ok(Selection::read_in(&self.configuration())?) }
    }

    /// Returns the workspace; the project root must exist.
    pub fn place(&self) -> Result<Workspace> {
        Ok(Workspace::for_name(&self.root, &self.workspace())?)
    }

    fn configuration(&self) -> PathBuf {
        self.below(format!("workspaces/.config_{}", self.workspace()))
    }

    /// Returns the order of layers: the one that is given, else that of the last configure.
    pub fn order(&self) -> Result<Order> {
        match self.order {
            Some(order) => Ok(order),
            None => Ok(self.remembered()?.map(|selection| selection.asked.order).unwrap_or_default()),
        }
    }

    /// Returns all layers of the chain, in order.
    pub fn resolve(&self) -> Result<Vec<Layer>> {
        Ok(self.resolved()?.into_layers())
    }

    /// Returns the resolved chain with the base and the overrides.
    pub fn resolved(&self) -> Result<Chain> {
        let chain = self.chain()?;
        // A board can be composed for without any layer, from a directory that has none.
        if chain.is_none() && !self.below("configs").is_dir() {
            return Ok(Chain::default());
        }
        let (text, asked_by) = chain.map(|chain| (chain.text, chain.asked_by)).unwrap_or_default();
        Ok(self.registry()?.chain(&text, &asked_by, self.order()?)?)
    }
}
