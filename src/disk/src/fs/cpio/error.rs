//! Errors of archives and of what shall go into them.

use crate::error::Diagnostic;
use crate::tree::ContentError;
use crate::value::ByteSize;

/// Reason why an archive cannot be laid out, written or read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Fit)]
#[non_exhaustive]
pub enum CpioError {
    /// A file of 4 GiB or more.
    #[error("`{path}` has {} but a file in a cpio archive has at most 4294967295 bytes", ByteSize(*size))]
    #[diagnostic(hint = "leave the file out of the initramfs, or use a squashfs root")]
    FileTooLarge {
        /// Path in the tree.
        path: String,
        /// Its length in bytes.
        size: u64,
    },
    /// A path or link target that Linux does not unpack.
    #[error("the {what} of `{path}` has {len} bytes, and Linux unpacks at most {limit}")]
    #[diagnostic(hint = "shorten it")]
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
    #[diagnostic(kind = Input, hint = "rename the file")]
    Trailer,
    /// The bytes are no archive.
    #[error("not a readable cpio archive: {reason}")]
    #[diagnostic(kind = Corrupt, hint = "build the archive again")]
    Corrupt {
        /// Description of the contradiction.
        reason: String,
    },
    /// The archive cannot be read.
    #[error("cannot read the archive: {source}")]
    #[diagnostic(kind = Io)]
    Input {
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
    /// A file of the tree cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Content(#[from] ContentError),
}
