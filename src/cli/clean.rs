//! `clean`.

use clap::Args;
use serde::Serialize;

use super::workspace_args::WorkspaceArgs;
use crate::error::Result;
use crate::report::{Answer, Report};
use crate::value::ByteSize;
use crate::workspace::{Lock, Removal, Workspace};

/// Variable of SkiffOS: questions are answered by going on.
const UNATTENDED: &str = "SKIFF_NO_INTERACTIVE";

/// Removes what was built in a workspace, and its configuration. Layers, overrides, downloads and source trees stay.
#[derive(Debug, Args)]
pub struct Clean {
    #[command(flatten)]
    place: WorkspaceArgs,

    /// Remove the compiler cache of the workspace, too.
    #[arg(long)]
    ccache: bool,

    /// Do not ask; SKIFF_NO_INTERACTIVE does the same.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Serialize)]
struct Document {
    workspace: String,
    removed: Vec<Removed>,
}

#[derive(Serialize)]
struct Removed {
    path: String,
    bytes: u64,
}

/// Reason why nothing was removed.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Refused)]
enum CleanError {
    /// Characters of the name are dropped, so that another workspace could be meant.
    #[error(
        "`{given}` is not the name of a workspace: without the characters that no name has it is `{name}`"
    )]
    #[diagnostic(kind = Input, hint = "a name has letters, digits, `.`, `_` and `-`: give the one that is meant")]
    Renamed { given: String, name: String },
    /// There is nobody to ask.
    #[error(
        "workspace `{workspace}` is not removed without being asked for, and there is no terminal to ask on"
    )]
    #[diagnostic(hint = "say so with `--yes`")]
    NoTerminal { workspace: String },
    /// The user said no.
    #[error("workspace `{workspace}` is not removed: the answer was not `yes`")]
    #[diagnostic(hint = "run it again and type `yes`")]
    No { workspace: String },
}

impl Clean {
    pub fn run(self, report: &Report) -> Result<()> {
        if let Some((given, name)) = self.place.renamed() {
            return Err(CleanError::Renamed { given, name }.into());
        }
        let workspace = self.place.place()?;
        let removal = Removal::for_workspace(&workspace, self.ccache)?;
        let removed: Vec<Removed> = removal
            .parts
            .iter()
            .map(|part| Removed {
                path: workspace.short(&part.path).display().to_string(),
                bytes: part.bytes,
            })
            .collect();
        if !removed.is_empty() {
            let lock = Lock::take(&workspace, "clean")?;
            self.ask(&workspace, &removed, report)?;
            removal.run(&workspace, lock)?;
        }
        let total = ByteSize(removal.bytes());
        let text = match removed.len() {
            0 => format!("workspace {}: there is nothing to remove", workspace.name()),
            _ => format!("workspace {}: {total} removed", workspace.name()),
        };
        report.document(&Document { workspace: workspace.name().into(), removed }, text);
        Ok(())
    }

    fn ask(&self, workspace: &Workspace, removed: &[Removed], report: &Report) -> Result<()> {
        for Removed { path, bytes } in removed {
            report.note(format!("to be removed: `{path}` ({})", ByteSize(*bytes)));
        }
        let name = || workspace.name().to_owned();
        // As in SkiffOS: a script that sets it is never asked.
        let is_unattended = std::env::var_os(UNATTENDED).is_some_and(|value| !value.is_empty());
        let answer = match self.yes || is_unattended {
            true => Answer::Yes,
            false => report.confirm(format!("Remove workspace `{}`? [yes/no]", name()), "yes"),
        };
        match answer {
            Answer::Yes => Ok(()),
            Answer::No => Err(CleanError::No { workspace: name() }.into()),
            Answer::NoTerminal => Err(CleanError::NoTerminal { workspace: name() }.into()),
        }
    }
}
