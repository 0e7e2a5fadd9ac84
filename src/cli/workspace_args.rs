//! Flags that say which workspace.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::layer::Environment;
use crate::workspace::Workspace;

/// A workspace of a project.
#[derive(Debug, Args)]
pub struct WorkspaceArgs {
    /// Name of the workspace.
    #[arg(long, value_name = "NAME", env = "SKIFF_WORKSPACE", default_value = "default")]
    workspace: String,

    /// Directory with configs/, overrides/ and workspaces/.
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
}

impl WorkspaceArgs {
    /// Returns the workspace.
    pub fn place(&self) -> Result<Workspace> {
        let name = Environment::from_iter([("SKIFF_WORKSPACE", &self.workspace)]).workspace();
        Ok(Workspace::for_name(&self.root, &name)?)
    }
}
