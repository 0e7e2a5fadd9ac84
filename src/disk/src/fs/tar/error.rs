//! Errors of archives.

use crate::error::Diagnostic;
use crate::storage::TargetError;
use crate::tree::ContentError;

/// Reason why an archive cannot be written or read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum TarError {
    /// The bytes are no archive.
    #[error("not a readable tar archive: {source}")]
    #[diagnostic(kind = Corrupt, hint = "make the archive again, or copy it again")]
    Corrupt {
        /// Error of the reader.
        source: std::io::Error,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive: {source}")]
    #[diagnostic(kind = Io)]
    Output {
        /// Error of the writer.
        source: std::io::Error,
    },
    /// The archive cannot be written where it goes.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] TargetError),
    /// A file of the tree cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Content(#[from] ContentError),
}
