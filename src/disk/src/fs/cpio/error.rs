//! What can be wrong with an archive or with what shall go into it.

use crate::error::{Diagnostic, ErrorKind};
use crate::tree::ContentError;
use crate::value::ByteSize;

/// Reason why an archive cannot be laid out, written or read.
#[derive(Debug, thiserror::Error)]
pub enum CpioError {
    /// A file of 4 GiB or more.
    #[error("`{path}` has {} but a file in a cpio archive has at most 4294967295 bytes", ByteSize(*size))]
    FileTooLarge {
        /// Path in the tree.
        path: String,
        /// Its length in bytes.
        size: u64,
    },
    /// A path or link target that Linux does not unpack.
    #[error("the {what} of `{path}` has {len} bytes, and Linux unpacks at most {limit}")]
    TooLong {
        /// Path in the tree.
        path: String,
        /// `path` or `target`.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// Largest possible length.
        limit: usize,
    },
    /// A file with the name of the mark that ends an archive.
    #[error("`/TRAILER!!!` cannot be stored in a cpio archive: the name marks its end")]
    Trailer,
    /// The bytes are no archive.
    #[error("not a readable cpio archive: {reason}")]
    Corrupt {
        /// Description of the contradiction.
        reason: String,
    },
    /// The archive cannot be read.
    #[error("cannot read the archive: {source}")]
    Input {
        /// Error of the reader.
        source: std::io::Error,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive: {source}")]
    Output {
        /// Error of the writer.
        source: std::io::Error,
    },
    /// A file of the tree cannot be read.
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl Diagnostic for CpioError {
    fn kind(&self) -> ErrorKind {
        use CpioError::*;
        match self {
            FileTooLarge { .. } | TooLong { .. } => ErrorKind::Fit,
            Trailer => ErrorKind::Input,
            Corrupt { .. } => ErrorKind::Corrupt,
            Input { .. } | Output { .. } => ErrorKind::Io,
            Content(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            CpioError::FileTooLarge { .. } => {
                "leave the file out of the initramfs, or use a squashfs root".into()
            }
            CpioError::TooLong { .. } => "shorten it".into(),
            CpioError::Trailer => "rename the file".into(),
            CpioError::Corrupt { .. } => "build the archive again".into(),
            CpioError::Input { .. } | CpioError::Output { .. } => return None,
            CpioError::Content(error) => return error.hint(),
        })
    }
}
