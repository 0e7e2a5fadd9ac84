//! Errors of reading a content.

use std::path::{Path, PathBuf};

use crate::error::Diagnostic;

/// Reason why a content cannot be read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Io, hint = "wait until the build that writes the tree has ended")]
#[non_exhaustive]
pub enum ContentError {
    /// The operating system failed.
    #[error("cannot {verb} `{}`: {source}", path.display())]
    #[diagnostic(hint = hint_for(source, path))]
    Io {
        /// `open` or `read`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The file grew or shrank between scan and read.
    #[error("`{}` changed while it was read: {expected} bytes were there when it was scanned, {found} now", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Length at scan time.
        expected: u64,
        /// Bytes that could be read.
        found: u64,
    },
    /// The file was written again or replaced between scan and read.
    #[error("`{}` changed while it was read: it has the same length, but was written or replaced after it was scanned", .0.display())]
    Modified(PathBuf),
    /// Something else took the place of the file between scan and read.
    #[error("`{}` was a file when it was scanned and is {what} now", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// Kind of the node, with its article.
        what: &'static str,
    },
}

/// Advice for what the system refused at `path`.
fn hint_for(source: &std::io::Error, path: &Path) -> String {
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => format!("make it readable: chmod u+r `{}`", path.display()),
        _ => "run the build that makes this file again".into(),
    }
}
