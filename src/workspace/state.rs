//! State of a workspace, configured or not, and for which request: `configured.json` in the configuration directory,
//! written when all the rest is there and removed before anything of it is changed.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Workspace, replace};
use crate::error::Io;

const FILE: &str = "configured.json";
const FORMAT: u32 = 1;

/// Request that the workspace is configured for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    format: u32,
    /// Digest of all that `make defconfig` was given.
    pub request: String,
}

impl State {
    /// A state to be written.
    pub fn new(request: String) -> State {
        State { format: FORMAT, request }
    }

    /// The state of a workspace; none if it is not configured, or by another version of this program.
    pub fn read(workspace: &Workspace) -> Result<Option<State>, Io> {
        let path = path(workspace);
        match fs::read(&path) {
            Ok(bytes) => {
                Ok(serde_json::from_slice(&bytes).ok().filter(|state: &State| state.format == FORMAT))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Io::on("read", path)(error)),
        }
    }

    /// Says that the workspace is configured.
    pub fn write(&self, workspace: &Workspace) -> Result<(), Io> {
        let json = serde_json::to_string_pretty(self).expect("it has string keys");
        replace(&path(workspace), format!("{json}\n").as_bytes(), false)
    }

    /// Says that it no longer is. Whoever changes `.config` on purpose calls this, else the next configure takes the
    /// change for an edit by hand.
    pub fn remove(workspace: &Workspace) -> Result<(), Io> {
        let path = path(workspace);
        match fs::remove_file(&path) {
            Ok(()) => crate::storage::sync_directory(&path),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Io::on("remove", path)(error)),
        }
    }
}

fn path(workspace: &Workspace) -> PathBuf {
    workspace.config().join(FILE)
}
