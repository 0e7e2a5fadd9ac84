//! Configuration layers: directories `NAMESPACE/NAME` below a configs root, found, ordered and read.
//!
//! The layout is SkiffOS's; the order is not. SkiffOS leaves a dependency that is already in the list where it is,
//! even behind its dependent; here dependencies always come first, unless SkiffOS' order is asked for ([`Order`]). What
//! SkiffOS ignores silently (a malformed name, a missing root, a file where a directory belongs, a cycle) is an error
//! here, and dependencies may stand on lines of their own.
//!
//! Names are looked up as they are written, then whatever their case, as SkiffOS does.

mod chain;
mod commands;
pub(crate) mod environment;
pub mod fragment;
mod graph;
pub mod merge;
mod registry;
mod resolve;
mod skiffos;
pub(crate) mod symbols;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use chain::{Chain, Order};
pub(crate) use commands::{Command, CommandName};
pub use registry::{Registry, Roots, discover};
pub use skiffos::{Displaced, displaced};

use crate::error::{Diagnostic, Io};

/// The variable with the layers a user wants.
pub(crate) const CONFIG_VARIABLE: &str = "SKIFF_CONFIG";
/// The variable with more configs roots, colon-separated.
pub(crate) const EXTRA_VARIABLE: &str = "SKIFF_EXTRA_CONFIGS_PATH";
/// Start of the variables that give one layer a directory: `SKIFF_CONFIG_PATH_NAMESPACE_NAME`.
pub(crate) const PATH_PREFIX: &str = "SKIFF_CONFIG_PATH_";
/// The variable in which programs of layers find the directories of the chosen layers. `SKIFF_CONFIG_PATH_VAR` is
/// another such list, which SkiffOS exports beside it: no layer's.
const PATH_LIST: &str = "SKIFF_CONFIG_PATH_VAR";
/// The variable with the order of layers, `skiffos` or `dependencies`.
pub(crate) const ORDER_VARIABLE: &str = "SKIFF_ORDER";
/// Start of the variables in which programs of layers find the name of a layer: `SKIFF_CONFIG_NAME_NAMESPACE_NAME`.
pub(crate) const NAME_PREFIX: &str = "SKIFF_CONFIG_NAME_";
/// The variable with the workspace.
const WORKSPACE_VARIABLE: &str = "SKIFF_WORKSPACE";

/// Environment variables, as a value: this module never looks at the process's own.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The value of a variable; nothing if it is unset or empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The workspace as SkiffOS names it: lower case, only letters, digits, `.`, `_` and `-`, else `default`.
    pub fn workspace(&self) -> String {
        let text = self.get(WORKSPACE_VARIABLE).unwrap_or_default().to_string_lossy().to_lowercase();
        let kept = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        let name: String = kept.collect();
        if name.is_empty() { "default".into() } else { name }
    }

    fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Environment {
        Environment(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The name of a layer, `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerName(String);

/// Reason why a text is not the name of a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a layer: expected NAMESPACE/NAME of letters, digits, `_` and `-`")]
pub struct ParseLayerNameError(pub String);

impl LayerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The variable that gives this layer a directory. `-`, which no shell takes in a variable, is `_` in it.
    pub(crate) fn path_variable(&self) -> String {
        format!("{PATH_PREFIX}{}", self.in_variables())
    }

    /// The variable in which programs of layers find the name of this layer.
    pub(crate) fn name_variable(&self) -> String {
        format!("{NAME_PREFIX}{}", self.in_variables())
    }

    fn in_variables(&self) -> String {
        self.0.replace(['/', '-'], "_").to_uppercase()
    }
}

impl FromStr for LayerName {
    type Err = ParseLayerNameError;

    fn from_str(text: &str) -> Result<LayerName, ParseLayerNameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let valid = |part: &str| !part.is_empty() && part.chars().all(allowed);
        match text.split_once('/') {
            Some((namespace, name)) if valid(namespace) && valid(name) => Ok(LayerName(text.into())),
            _ => Err(ParseLayerNameError(text.into())),
        }
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Place in which a layer was found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind", content = "value", rename_all = "kebab-case")]
pub enum LayerOrigin {
    /// By this environment variable.
    Variable(String),
    /// Below this entry of `SKIFF_EXTRA_CONFIGS_PATH`.
    Extra(PathBuf),
    /// Below the configs root of the project.
    InTree,
    /// It is `overrides/` or a workspace's overrides, which come after what was chosen.
    Overrides,
    /// It is `configs-base/pre` or `configs-base/post`, which come first and last.
    Base,
}

impl fmt::Display for LayerOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerOrigin::Variable(variable) => f.write_str(variable),
            LayerOrigin::Extra(root) => write!(f, "{}", root.display()),
            LayerOrigin::InTree => f.write_str("configs"),
            LayerOrigin::Overrides => f.write_str("overrides"),
            LayerOrigin::Base => f.write_str("configs-base"),
        }
    }
}

/// A configuration layer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Layer {
    /// `NAMESPACE/NAME`, `overrides`, `overrides/workspaces/NAME`, `configs-base/pre` or `configs-base/post`.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// First line of `metadata/description`.
    pub description: Option<String>,
    /// True if `metadata/unlisted` hides it in lists; it can be used all the same.
    pub unlisted: bool,
    /// Place in which it was found.
    pub found: LayerOrigin,
    /// Directories of the same name that it replaces wholly.
    pub shadows: Vec<PathBuf>,
}

/// Directories that a layer can have.
const PARTS: [&str; 14] = [
    "buildroot",
    "buildroot_ext",
    "buildroot_patches",
    "busybox",
    "cflags",
    "extensions",
    "hooks",
    "kernel",
    "kernel_patches",
    "metadata",
    "root_overlay",
    "uboot",
    "uboot_patches",
    "users",
];

impl Layer {
    /// A file or directory of the layer, if it exists.
    pub fn file(&self, name: impl AsRef<Path>) -> Option<PathBuf> {
        let path = self.path.join(name);
        path.exists().then_some(path)
    }

    /// The directory that is laid over the root filesystem, if there is one.
    pub fn root_overlay(&self) -> Option<PathBuf> {
        self.file("root_overlay").filter(|path| path.is_dir())
    }

    /// Fails if `metadata/refused` says why nobody can have it; the lines after the first are what to do.
    fn reject_refused(&self) -> Result<(), LayerError> {
        let Some(text) = registry::read_metadata(&self.path, "refused")? else { return Ok(()) };
        let (reason, hint) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
        let (reason, hint) = (reason.trim().to_owned(), hint.trim().to_owned());
        Err(LayerError::Refused { layer: self.name.clone(), reason, hint })
    }

    fn ensure_parts_are_directories(&self) -> Result<(), LayerError> {
        // One list instead of a look for each part: most layers have few of them.
        let entries = self.path.read_dir().map_err(Io::on("list", &self.path))?;
        for entry in entries {
            let entry = entry.map_err(Io::on("list", &self.path))?;
            let is_part = PARTS.iter().any(|part| entry.file_name() == *part);
            if is_part && !entry.path().is_dir() {
                return Err(LayerError::NoPart { path: entry.path(), layer: self.name.clone() });
            }
        }
        Ok(())
    }
}

/// Origin of a layer's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// The user, by a variable or flag of this name.
    User(String),
    /// A line of a `metadata/dependencies`.
    Dependencies {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
    },
}

impl fmt::Display for AskedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskedBy::User(name) => write!(f, "`{name}`"),
            AskedBy::Dependencies { file, line } => write!(f, "`{}:{line}`", file.display()),
        }
    }
}

/// Reason why layers cannot be found or ordered.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum LayerError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// A configs root is not a directory.
    #[error("`{variable}` names `{}`, which is not a directory", path.display())]
    #[diagnostic(hint = "correct `{variable}`, or make the directory")]
    NoDirectory {
        /// The variable, or `configs` for the project's own root.
        variable: String,
        /// Path that it names.
        path: PathBuf,
    },
    /// A layer is not a directory.
    #[error("layer `{name}` is not a directory: `{}`", path.display())]
    #[diagnostic(hint = "a layer is a directory NAMESPACE/NAME: rename what is there")]
    NoLayer {
        /// Its name.
        name: String,
        /// Path that is there.
        path: PathBuf,
    },
    /// A layer says that it cannot be had.
    #[error("layer `{layer}` cannot be used: {reason}")]
    #[diagnostic(kind = Unsupported, hint = "{hint}")]
    Refused {
        /// Its name.
        layer: String,
        /// Why.
        reason: String,
        /// What to do instead.
        hint: String,
    },
    /// A part of a layer is not a directory.
    #[error("`{}` of layer `{layer}` is not a directory", path.display())]
    #[diagnostic(hint = "make it a directory with the file in it, or rename it")]
    NoPart {
        /// Path that is there.
        path: PathBuf,
        /// The layer.
        layer: String,
    },
    /// A layer whose command is asked for has none.
    #[error("layer `{layer}` has no commands: there is no `{}`", path.display())]
    #[diagnostic(hint = "choose a layer that has some", code = "no-commands")]
    NoCommands {
        /// The layer.
        layer: String,
        /// Path on which they would be.
        path: PathBuf,
    },
    /// A variable stands for more than one layer.
    #[error("`{variable}` is the variable of {}", list(names))]
    #[diagnostic(hint = "unset it, and add the directory that holds the layer to {EXTRA_VARIABLE}")]
    Ambiguous {
        /// The variable.
        variable: String,
        /// The layers.
        names: Vec<String>,
    },
    /// A file with names is no text.
    #[error("`{}:{line}` is not UTF-8", file.display())]
    #[diagnostic(hint = "write the names of layers in it, with commas, spaces or line ends between them")]
    NoText {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// A name is malformed.
    #[error("{source} (asked for by {asked_by})")]
    #[diagnostic(hint = "separate layers by commas or spaces, for example `pi/4,util/rootlogin`")]
    Name {
        /// Problem of the name.
        source: ParseLayerNameError,
        /// Place of the name.
        asked_by: AskedBy,
    },
    /// There is no such layer.
    #[error("unknown layer `{name}`, asked for by {asked_by}")]
    #[diagnostic(
        suggestion = suggestion,
        hint = "add the directory that holds it to {EXTRA_VARIABLE}, or correct the name"
    )]
    Unknown {
        /// The name.
        name: LayerName,
        /// Place of the name.
        asked_by: AskedBy,
        /// The known layer with the nearest name.
        suggestion: Option<String>,
    },
    /// Dependencies lead in a circle.
    #[error("layers depend on each other: {}", cycle.join(" -> "))]
    #[diagnostic(hint = "remove the dependency in {asked_by}", code = "layer-cycle")]
    Cycle {
        /// The names in order; the first is the last again.
        cycle: Vec<String>,
        /// The line that closes the circle.
        asked_by: AskedBy,
    },
}

/// Names as messages give them.
fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and of ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspaces_are_named_as_skiffos_does() {
        let workspace = |value: &str| Environment::from_iter([("SKIFF_WORKSPACE", value)]).workspace();
        assert_eq!((workspace("My Pi/4"), workspace("")), ("mypi4".into(), "default".into()));
    }

    #[test]
    fn names_have_two_parts() {
        let name: LayerName = "pi/0v2".parse().unwrap();
        assert_eq!(name.path_variable(), "SKIFF_CONFIG_PATH_PI_0V2");
        for bad in ["pi", "pi/", "/4", "a/b/c", "a/b c", ""] {
            assert_eq!(
                bad.parse::<LayerName>().unwrap_err().to_string(),
                format!(
                    "`{bad}` is not the name of a layer: expected NAMESPACE/NAME of letters, digits, `_` and `-`"
                )
            );
        }
    }
}
