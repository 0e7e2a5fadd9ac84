//! One run in a workspace at a time.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Workspace;
use crate::error::{Diagnostic, Io};

/// Guard against changes by others; until it is dropped or the process ends, however it does.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Reason why a workspace cannot be locked.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum LockError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// Another run has it.
    #[error("workspace `{workspace}` is in use by {holder}")]
    #[diagnostic(hint = "wait for it to end", code = "workspace-in-use")]
    Held {
        /// Its name.
        workspace: String,
        /// The other run: its verb and process.
        holder: String,
    },
}

impl Lock {
    /// Takes the workspace for `verb`, which errors of other runs name.
    pub fn take(workspace: &Workspace, verb: &str) -> Result<Lock, LockError> {
        let (mut file, path) = open(&workspace.config().join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(LockError::Held {
                    workspace: workspace.name().into(),
                    holder: holder(&mut file),
                });
            }
            Err(errno) => return Err(Io::on("lock", path)(errno.into()).into()),
        }
        let said = format!("`{verb}` (process {})\n", std::process::id());
        let written = file.set_len(0).and_then(|()| file.write_all(said.as_bytes()));
        written.map_err(Io::on("write", path))?;
        Ok(Lock { _file: file })
    }

    /// Waits until nobody else holds the lock that the file at `path` is.
    pub fn wait(path: &Path) -> Result<Lock, Io> {
        let (file, path) = open(path)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| Io::on("lock", path)(errno.into()))?;
        Ok(Lock { _file: file })
    }
}

fn open(path: &Path) -> Result<(File, PathBuf), Io> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(Io::on("make the directory", directory))?;
    }
    let options = File::options().read(true).write(true).create(true).truncate(false).open(path);
    Ok((options.map_err(Io::on("open", path))?, path.into()))
}

fn holder(file: &mut File) -> String {
    let mut said = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut said));
    match read.map_err(|error| error.kind()) {
        Ok(_) | Err(io::ErrorKind::InvalidData) if said.trim().is_empty() => "another run".into(),
        _ => said.trim().into(),
    }
}
