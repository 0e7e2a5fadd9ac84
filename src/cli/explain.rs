//! `explain PATH`.

use std::fmt;

use clap::Args;
use serde::Serialize;

use super::args::InputArgs;
use crate::board::{Board, Recipe};
use crate::error::Result;
use crate::report::Report;
use crate::tree::provenance::Explanation;
use crate::tree::{components, display};
use crate::value::nearest;

#[derive(Debug, Args)]
pub struct Explain {
    /// Path in the root filesystem.
    path: String,

    #[command(flatten)]
    inputs: InputArgs,
}

/// Reason why there is nothing to explain.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input)]
enum ExplainError {
    /// The path is not there.
    #[error("{}", text.trim_end())]
    #[diagnostic(suggestion = nearest, hint = "check the path, and that the source was built with what brings it")]
    Absent {
        /// Known facts about it.
        text: String,
        /// The path beside it that was probably meant.
        nearest: Option<String>,
    },
}

/// The life of a path, and where it ends up.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    explanation: Explanation,
    /// Artifact that takes the path out of the root filesystem.
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_by: Option<String>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.explanation.to_string().trim_end())?;
        match &self.taken_by {
            Some(artifact) => write!(f, "\n  it leaves the root filesystem for `{artifact}`"),
            None => Ok(()),
        }
    }
}

impl Explain {
    pub fn run(self, report: &Report) -> Result<()> {
        let (root, board) = self.inputs.root()?;
        let explanation = root.provenance.explain(&root.tree, self.path.as_bytes());
        if explanation.state.is_none() {
            let paths: Vec<String> = root.tree.walk().map(|(path, _)| display(&path)).collect();
            let nearest = nearest(&explanation.path, paths.iter().map(String::as_str)).map(String::from);
            let text = explanation.to_string();
            return Err(ExplainError::Absent { text, nearest }.into());
        }
        let taken_by = board.as_ref().and_then(|board| taken_by(board, &explanation.path));
        let explained = Explained { explanation, taken_by };
        report.document(&explained, &explained);
        Ok(())
    }
}

/// The artifact of a board that takes what is below a directory out of the root filesystem. The directory itself stays.
fn taken_by(board: &Board, path: &str) -> Option<String> {
    let path: Vec<&[u8]> = components(path.as_bytes()).collect();
    let takes = |recipe: &Recipe| match recipe {
        Recipe::Squashfs { subtree, take: true, .. } => {
            let subtree: Vec<&[u8]> = components(subtree.as_bytes()).collect();
            path.len() > subtree.len() && path.starts_with(&subtree)
        }
        _ => false,
    };
    board.artifacts.iter().find(|artifact| takes(&artifact.recipe)).map(|artifact| artifact.name.clone())
}
