//! Removes what was built in a workspace and how it was configured. Overrides, downloads and source trees stay; nothing
//! behind a link is touched.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Lock, Selection, SelectionError, State, Workspace};
use crate::error::{Diagnostic, Io};

/// Directories that will be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// Directories, as absolute paths.
    pub parts: Vec<Part>,
}

/// A directory that will be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Absolute path.
    pub path: PathBuf,
    /// Bytes of disk that it takes.
    pub bytes: u64,
}

/// Reason why a workspace is not removed.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum RemovalError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// The selection cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Selection(#[from] SelectionError),
    /// It was not made by configuring.
    #[error("`{}` is not a workspace: nothing was configured there", path.display())]
    #[diagnostic(hint = "look at what is in it, and remove it by hand if it is not needed")]
    NoWorkspace {
        /// Path that is there.
        path: PathBuf,
    },
    /// It is somewhere else.
    #[error("`{}` is a link to `{}`, and nothing behind a link is removed", path.display(), to.display())]
    #[diagnostic(hint = "remove the link and what it leads to by hand")]
    Link {
        /// The link.
        path: PathBuf,
        /// Target of the link.
        to: PathBuf,
    },
}

impl Removal {
    /// Looks at what there is; `ccache` says whether the compiler cache goes too.
    pub fn for_workspace(workspace: &Workspace, ccache: bool) -> Result<Removal, RemovalError> {
        let output = workspace.output();
        if output.symlink_metadata().is_ok() {
            ensure_own(workspace, &output)?;
        }
        let mut paths = vec![output, removed(workspace), workspace.config()];
        paths.extend(ccache.then(|| workspace.ccache()));
        let mut parts = Vec::new();
        for path in paths {
            reject_link(&path)?;
            if path.is_dir() {
                parts.push(Part { bytes: size(&path)?, path });
            }
        }
        Ok(Removal { parts })
    }

    /// Bytes of disk that all of it takes.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Removes it. A run that ends in between leaves no half of a build behind: the output directory loses its name
    /// first.
    pub fn run(&self, workspace: &Workspace, lock: Lock) -> Result<(), Io> {
        State::remove(workspace)?;
        let gone = removed(workspace);
        remove(&gone)?;
        let output = workspace.output();
        if output.is_dir() {
            fs::rename(&output, &gone).map_err(Io::on("rename", &output))?;
        }
        remove(&gone)?;
        let rest = self.parts.iter().map(|part| &part.path).filter(|path| **path != output && **path != gone);
        // With its file, others can take the lock.
        rest.clone().try_for_each(|path| remove(path))?;
        drop(lock);
        Ok(())
    }
}

/// Name of an output directory while it is removed.
fn removed(workspace: &Workspace) -> PathBuf {
    workspace.output().with_file_name(format!(".removed_{}", workspace.name()))
}

fn ensure_own(workspace: &Workspace, output: &Path) -> Result<(), RemovalError> {
    reject_link(output)?;
    let config = fs::read(output.join(".config")).unwrap_or_default();
    let of_buildroot = config.windows(4).any(|word| word == b"BR2_");
    let is_own = output.is_dir() && (of_buildroot || Selection::read(workspace)?.is_some());
    if is_own { Ok(()) } else { Err(RemovalError::NoWorkspace { path: output.into() }) }
}

fn reject_link(path: &Path) -> Result<(), RemovalError> {
    match fs::read_link(path) {
        Ok(to) => Err(RemovalError::Link { path: path.into(), to }),
        Err(_) => Ok(()),
    }
}

fn size(directory: &Path) -> Result<u64, Io> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).map_err(Io::on("list", directory))? {
        let entry = entry.map_err(Io::on("list", directory))?;
        let metadata = entry.metadata().map_err(Io::on("read", entry.path()))?;
        bytes += metadata.blocks() * 512;
        if metadata.is_dir() {
            bytes += size(&entry.path())?;
        }
    }
    Ok(bytes)
}

fn remove(directory: &Path) -> Result<(), Io> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Io::on("remove", directory)(error)),
        _ => Ok(()),
    }
}
