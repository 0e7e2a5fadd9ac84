//! Memory of a workspace about its last configure, so that later runs need no flags.
//!
//! `selection.json` in the configuration directory is ours. `skiff_config` (the chain, expanded) and
//! `skiff_extra_configs_path` are as SkiffOS writes them, for its scripts; they are read when there is nothing of ours,
//! so that a workspace of SkiffOS goes on as it was.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Workspace, write_changed};
use crate::error::{Diagnostic, Io};
use crate::layer::Order;

/// Version of the file.
const FORMAT: u32 = 1;
const FILE: &str = "selection.json";
const CHAIN: &str = "skiff_config";
const EXTRA: &str = "skiff_extra_configs_path";

/// Request of the user, and what it led to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    format: u32,
    /// Request of the user.
    pub asked: Asked,
    /// Values that were used.
    pub used: Used,
}

/// Request of the user by flags and variables; a later run takes from here what it is not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The chain as it was typed.
    pub chain: String,
    /// `SKIFF_EXTRA_CONFIGS_PATH`.
    pub extra: Option<String>,
    /// The `SKIFF_CONFIG_PATH_*` variables of layers in the chain.
    pub variables: BTreeMap<String, String>,
    /// Order of the layers.
    pub order: Order,
    /// The Buildroot source tree, as an absolute path.
    pub buildroot: Option<PathBuf>,
    /// Accepts another version than the pinned one, and changed files.
    pub any_buildroot: bool,
    /// True if Buildroot makes its own images too.
    pub keep_images: bool,
    /// `SOURCE_DATE_EPOCH`, in seconds since 1970.
    pub source_date_epoch: Option<i64>,
}

/// Values that were used for what was not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// Names of the layers of the chain, in order, without overrides and base layers.
    pub layers: Vec<String>,
    /// The source tree of Buildroot, as an absolute path.
    pub buildroot: PathBuf,
    /// Its version.
    pub buildroot_version: String,
    /// `SOURCE_DATE_EPOCH`, or the time of the last commit of the project, in seconds since 1970; nothing if neither
    /// is known.
    pub source_date_epoch: Option<i64>,
}

/// Reason why the remembered choices cannot be read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum SelectionError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// It is not what was written.
    #[error("`{}:{}:{}` does not say what was selected: {source}", path.display(), source.line(), source.column())]
    #[diagnostic(hint("remove `{}` and configure again with the chain of layers", path.display()))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Error of the parser.
        source: serde_json::Error,
    },
    /// Another version of this program has written it.
    #[error("`{}` has format {found}, this program knows {FORMAT}", path.display())]
    #[diagnostic(hint("remove `{}` and configure again with the chain of layers", path.display()))]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
}

impl Selection {
    /// A selection to be remembered.
    pub fn new(asked: Asked, used: Used) -> Selection {
        Selection { format: FORMAT, asked, used }
    }

    /// Reads the selection of a workspace; nothing if it was never configured.
    pub fn read(workspace: &Workspace) -> Result<Option<Selection>, SelectionError> {
        Selection::read_in(&workspace.config())
    }

    /// The same for a configuration directory.
    pub fn read_in(directory: &Path) -> Result<Option<Selection>, SelectionError> {
        let path = directory.join(FILE);
        match read(&path)? {
            Some(text) => parse(&path, &text).map(Some),
            None => Selection::from_skiffos(directory),
        }
    }

    /// The file of a configuration directory that says so.
    pub fn file_in(directory: &Path) -> PathBuf {
        let own = directory.join(FILE);
        if own.exists() { own } else { directory.join(CHAIN) }
    }

    /// Reads the selection that SkiffOS remembers, which is less.
    fn from_skiffos(directory: &Path) -> Result<Option<Selection>, SelectionError> {
        let line = |name| Ok::<_, Io>(read(&directory.join(name))?.map(|text| text.trim().to_owned()));
        let Some(chain) = line(CHAIN)?.filter(|chain| !chain.is_empty()) else { return Ok(None) };
        let extra = line(EXTRA)?.filter(|extra| !extra.is_empty());
        Ok(Some(Selection::new(Asked { chain, extra, ..Asked::default() }, Used::default())))
    }

    /// Remembers it; says which files changed.
    pub fn write(&self, workspace: &Workspace) -> Result<Vec<PathBuf>, Io> {
        let json = serde_json::to_string_pretty(self).expect("it has string keys");
        let line = |text: &str| format!("{text}\n").into_bytes();
        let mut files = vec![(FILE, line(&json)), (CHAIN, line(&self.used.layers.join(",")))];
        files.extend(self.asked.extra.as_ref().map(|extra| (EXTRA, line(extra))));
        let mut changed = Vec::new();
        for (name, bytes) in files {
            let path = workspace.config().join(name);
            if write_changed(&path, &bytes, false)? {
                changed.push(path);
            }
        }
        if self.asked.extra.is_none() {
            remove(&workspace.config().join(EXTRA))?;
        }
        Ok(changed)
    }
}

fn parse(path: &Path, text: &str) -> Result<Selection, SelectionError> {
    let malformed = |source| SelectionError::Malformed { path: path.into(), source };
    // First of all: another format may differ in any other field.
    #[derive(Deserialize)]
    struct Formatted {
        format: u64,
    }
    let Formatted { format: found } = serde_json::from_str(text).map_err(malformed)?;
    if found != u64::from(FORMAT) {
        return Err(SelectionError::Format { path: path.into(), found });
    }
    serde_json::from_str(text).map_err(malformed)
}

fn read(path: &Path) -> Result<Option<String>, Io> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Io::on("read", path)(error)),
    }
}

fn remove(path: &Path) -> Result<(), Io> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Io::on("remove", path)(error)),
        _ => Ok(()),
    }
}
