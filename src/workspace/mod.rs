//! A workspace: a directory in which one system is configured and built, and what is remembered about it.
//!
//! Below the project root, as SkiffOS has it: `workspaces/NAME` is Buildroot's output directory (`O=`),
//! `workspaces/.config_NAME` the *configuration directory*, `overrides/workspaces/NAME` the user's own layer for it,
//! `workspaces/.ccache/NAME` its compiler cache. Workspaces share nothing but downloads, so they are built side by side;
//! two runs in one workspace exclude each other by a lock.

mod lock;
mod removal;
mod selection;
mod state;
mod write;

use std::path::{Path, PathBuf};

pub(crate) use lock::Lock;
pub(crate) use removal::Removal;
pub(crate) use selection::{Asked, Selection, SelectionError, Used};
pub use state::State;
pub(crate) use write::{replace, write_changed};

use crate::error::{Diagnostic, Io};

/// Everything that all workspaces of a project share is in one of these, below `workspaces/`.
const BUILDROOT: &str = ".buildroot";
const DOWNLOADS: &str = ".downloads";
const CCACHE: &str = ".ccache";

/// Location of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    root: PathBuf,
    name: String,
}

/// Reason why there can be no workspace.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum WorkspaceError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// Something else has its name.
    #[error("`{}` is not a directory", path.display())]
    #[diagnostic(hint = "move it away: a workspace, its configuration and what holds them are directories")]
    NoDirectory {
        /// Path that is there.
        path: PathBuf,
    },
}

impl Workspace {
    /// The workspace of a name, as [`crate::layer::Environment::workspace`] makes it, in the project at `root`. Paths
    /// are without links from there up, because Buildroot wants them so.
    pub fn for_name(root: &Path, name: &str) -> Result<Workspace, WorkspaceError> {
        let root = std::fs::canonicalize(root).map_err(Io::on("find", root))?;
        let workspace = Workspace { root, name: name.into() };
        for path in [workspace.root.join("workspaces"), workspace.output(), workspace.config()] {
            if path.exists() && !path.is_dir() {
                return Err(WorkspaceError::NoDirectory { path });
            }
        }
        Ok(workspace)
    }

    /// The project root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Buildroot's output directory.
    pub fn output(&self) -> PathBuf {
        self.root.join("workspaces").join(&self.name)
    }

    /// The configuration directory.
    pub fn config(&self) -> PathBuf {
        self.root.join("workspaces").join(format!(".config_{}", self.name))
    }

    /// The layer of the user for this workspace alone.
    pub fn overrides(&self) -> PathBuf {
        self.root.join("overrides/workspaces").join(&self.name)
    }

    /// Its compiler cache.
    pub fn ccache(&self) -> PathBuf {
        self.root.join("workspaces").join(CCACHE).join(&self.name)
    }

    /// Directory of Buildroot's downloads when no variable says so: beside the source tree of a SkiffOS checkout, if
    /// they are there, else below `workspaces/`.
    pub fn downloads(&self) -> PathBuf {
        let of_tree = self.root.join("buildroot/dl");
        if of_tree.is_dir() { of_tree } else { self.root.join("workspaces").join(DOWNLOADS) }
    }

    /// Directory of source trees of Buildroot that were fetched or patched.
    pub fn trees(&self) -> PathBuf {
        self.root.join("workspaces").join(BUILDROOT)
    }

    /// A path as messages show it: from the project root on.
    pub fn short<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}
