//! Programs of layers that have the terminal: what is around them, and how they end.

use std::path::PathBuf;
use std::process::ExitStatus;

use super::args::{LayerArgs, report_chain};
use crate::error::{Diagnostic, Result};
use crate::interrupt::Interrupt;
use crate::process::Program;
use crate::project::WorkspaceContext;

/// The system of the flags, and reports what the user should know about its layers.
pub fn workspace_context(layers: &LayerArgs, report: &crate::report::Report) -> Result<WorkspaceContext> {
    let system = WorkspaceContext::for_layers(&layers.selection(), &Interrupt::default())?;
    report_chain(&system.chain, report);
    Ok(system)
}

/// Returns the directory where Buildroot builds, which must be there.
pub fn output(system: &WorkspaceContext) -> Result<PathBuf> {
    let path = system.workspace.output();
    match path.is_dir() {
        true => Ok(path),
        false => Err(ProgramError::NoWorkspace { name: system.workspace.name().into(), path }.into()),
    }
}

/// Reason why a program of a layer did not do what was asked for.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum ProgramError {
    /// It says so.
    #[error("`{name}` ended with exit code {code}")]
    #[diagnostic(exit_code = *code)]
    Failed { name: String, code: u8 },
    /// It did not end by itself.
    #[error("`{name}` was ended by a signal: {status}")]
    Killed { name: String, status: ExitStatus },
    /// It would run in a directory that is not there.
    #[error("workspace `{name}` has nothing in it yet: there is no `{}`", path.display())]
    #[diagnostic(hint = "`skiff-image configure` makes it")]
    NoWorkspace { name: String, path: PathBuf },
}

/// Runs a program on the terminal and passes its exit code on; messages call it `name`.
pub fn run(program: &Program, name: String) -> Result<()> {
    let ended = program.on_terminal()?;
    match ended.status.code().map(u8::try_from) {
        Some(Ok(0)) => Ok(()),
        Some(Ok(code)) => Err(ProgramError::Failed { name, code }.into()),
        _ => Err(ProgramError::Killed { name, status: ended.status }.into()),
    }
}
