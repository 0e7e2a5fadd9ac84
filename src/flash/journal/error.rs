//! Reasons why a run cannot go on.

use std::path::PathBuf;

use super::MediumId;
use crate::error::{Diagnostic, Io};

/// Reason why a run cannot go on.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "start again", code = "not-resumable")]
pub enum JournalError {
    /// Nothing to go on with.
    #[error("no unfinished run on this medium is known: there is no `{}`", .0.display())]
    Missing(PathBuf),
    /// Not a journal.
    #[error("`{}:{line}`: this is not a journal of a run: {message}", path.display())]
    Format {
        /// The journal.
        path: PathBuf,
        /// Line from 1.
        line: usize,
        /// Message of the parser.
        message: String,
    },
    /// Another image.
    #[error("the unfinished run on this medium wrote {found}, and this is another image: {now}")]
    #[diagnostic(
        kind = Refused,
        hint = "give the image that was being written, or start again"
    )]
    OtherSource {
        /// Source of the earlier run.
        found: String,
        /// Source of this run.
        now: String,
    },
    /// Another medium.
    #[error("the unfinished run was on another medium: {found}, not {now}")]
    #[diagnostic(
        kind = Refused,
        hint = "plug in the medium that was being written, or start again"
    )]
    OtherMedium {
        /// Medium of the run.
        found: MediumId,
        /// Medium of this run.
        now: MediumId,
    },
    /// Something else has written to it.
    #[error(
        "`{target}` does not say that it is unfinished: something else was written to it since the run stopped"
    )]
    #[diagnostic(kind = Refused)]
    NotMarked {
        /// The medium.
        target: String,
    },
    /// The source cannot be named.
    #[error("{0} cannot be resumed: it cannot be known to be the same")]
    NoIdentity(String),
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}
