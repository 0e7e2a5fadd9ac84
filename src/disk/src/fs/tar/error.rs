//! What can go wrong with an archive.

use crate::error::{Diagnostic, ErrorKind};
use crate::storage::TargetError;
use crate::tree::ContentError;

/// Reason why an archive cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The bytes are no archive.
    #[error("not a readable tar archive: {source}")]
    Corrupt {
        /// Error of the reader.
        source: std::io::Error,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive: {source}")]
    Output {
        /// Error of the writer.
        source: std::io::Error,
    },
    /// The archive cannot be written where it goes.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A file of the tree cannot be read.
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl Diagnostic for TarError {
    fn kind(&self) -> ErrorKind {
        match self {
            TarError::Corrupt { .. } => ErrorKind::Corrupt,
            TarError::Output { .. } => ErrorKind::Io,
            TarError::Target(error) => error.kind(),
            TarError::Content(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            TarError::Corrupt { .. } => Some("make the archive again, or copy it again".into()),
            TarError::Output { .. } => None,
            TarError::Target(error) => error.hint(),
            TarError::Content(error) => error.hint(),
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            TarError::Target(error) => error.code(),
            _ => None,
        }
    }
}
