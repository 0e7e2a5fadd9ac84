//! Flags that say which workspace.

use clap::Args;

use super::args::RootArgs;
use crate::error::Result;
use crate::layer::Environment;
use crate::workspace::Workspace;

/// A workspace of a project.
#[derive(Debug, Args)]
pub struct WorkspaceArgs {
    /// Name of the workspace.
    #[arg(long, value_name = "NAME", env = "SKIFF_WORKSPACE", default_value = "default")]
    workspace: String,

    #[command(flatten)]
    root: RootArgs,
}

impl WorkspaceArgs {
    /// Returns the workspace.
    pub fn place(&self) -> Result<Workspace> {
        Ok(Workspace::for_name(&self.root.directory(), &self.name())?)
    }

    /// Returns the name as it was given and the one that the workspace has, if characters were dropped, as SkiffOS does it.
    pub fn renamed(&self) -> Option<(String, String)> {
        let name = self.name();
        (!name.eq_ignore_ascii_case(&self.workspace)).then(|| (self.workspace.clone(), name))
    }

    fn name(&self) -> String {
        Environment::from_iter([("SKIFF_WORKSPACE", &self.workspace)]).workspace()
    }
}
