//! Facts that every error of the crate states about itself: its kind (who is at fault, and so the exit code) and
//! what to do about it.
//!
//! Each module has its own `Error` enum with fields; [`Error`] carries any of them to `main`, which prints the
//! message, the chain of causes and the hint. Messages are lower-case without a full stop; names stand in
//! back-ticks; numbers come in pairs (what was needed, what there is).

use std::fmt;
use std::path::{Path, PathBuf};

/// Implements the trait of the same name from `#[diagnostic(...)]` beside `#[error(...)]`:
///
/// ```
/// use skiff_disk::error::{Diagnostic, Io};
///
/// #[derive(Debug, thiserror::Error, Diagnostic)]
/// #[diagnostic(kind = Input)]
/// enum ReadError {
///     #[error("`{name}` has {found} bytes, {want} are needed")]
///     #[diagnostic(kind = Fit, hint = "give `{name}` at least {want} bytes", code = "short")]
///     Short { name: String, found: u64, want: u64 },
///     #[error("unknown format `{found}`")]
///     #[diagnostic(suggestion = nearest, hint = "give a raw image")]
///     Unknown { found: String, nearest: Option<String> },
///     #[error(transparent)]
///     #[diagnostic(transparent)]
///     Io(#[from] Io),
/// }
/// # let error = ReadError::Short { name: "disk".into(), found: 1, want: 2 };
/// # assert_eq!(error.hint().unwrap(), "give `disk` at least 2 bytes");
/// ```
pub use skiff_diagnostic_derive::Diagnostic;

/// Result with the crate-wide [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of an error: who is at fault. Decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A file, flag or environment variable of the user is wrong.
    Input,
    /// The numbers do not work: something is too large, too small or overlaps.
    Fit,
    /// Well-formed, but this program cannot do it.
    Unsupported,
    /// The bytes of an image or artifact contradict themselves.
    Corrupt,
    /// The operating system refused or failed.
    Io,
    /// Read-back or manifest verification found a difference.
    Mismatch,
    /// Refused because it could destroy something.
    Refused,
    /// The user ended it.
    Interrupted,
}

impl ErrorKind {
    /// Exit code of the process for an error of this kind (0 is success, 2 is a usage error).
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Input
            | ErrorKind::Fit
            | ErrorKind::Unsupported
            | ErrorKind::Corrupt
            | ErrorKind::Io => 1,
            ErrorKind::Mismatch => 3,
            ErrorKind::Refused => 4,
            // What a shell makes of a program that Ctrl-C ended: 128 and the number of the signal.
            ErrorKind::Interrupted => 130,
        }
    }
}

/// Implemented by the error enum of every module.
pub trait Diagnostic: std::error::Error + std::any::Any + Send + Sync {
    /// Returns who is at fault.
    fn kind(&self) -> ErrorKind;

    /// Exit code of the process: that of the kind, but for what passes on the code of a program.
    fn exit_code(&self) -> u8 {
        self.kind().exit_code()
    }

    /// Advice to the reader, as a sentence without a full stop.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Name of what happened, for programs: it stays the same whatever the message says. Most errors have none.
    fn code(&self) -> Option<&'static str> {
        None
    }
}

/// Any error of the crate, on its way to the user.
pub struct Error(Box<dyn Diagnostic>);

impl Error {
    /// The error itself.
    pub fn diagnostic(&self) -> &dyn Diagnostic {
        &*self.0
    }

    /// The error as the enum of one module, if it is that; else itself again.
    pub fn downcast<E: Diagnostic>(self) -> std::result::Result<E, Error> {
        let any: &dyn std::any::Any = &*self.0;
        if !any.is::<E>() {
            return Err(self);
        }
        let any: Box<dyn std::any::Any> = self.0;
        Ok(*any.downcast::<E>().expect("the type was just looked at"))
    }

    /// See [`Diagnostic::kind`].
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    /// See [`Diagnostic::exit_code`].
    pub fn exit_code(&self) -> u8 {
        self.0.exit_code()
    }

    /// See [`Diagnostic::hint`].
    pub fn hint(&self) -> Option<String> {
        self.0.hint()
    }

    /// See [`Diagnostic::code`].
    pub fn code(&self) -> Option<&'static str> {
        self.0.code()
    }
}

impl<E: Diagnostic> From<E> for Error {
    fn from(error: E) -> Self {
        Error(Box::new(error))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The operating system failed to `verb` the file at `path`.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Io, hint = hint_for(source, path))]
#[error("cannot {verb} `{}`: {source}", path.display())]
pub struct Io {
    /// Verb of what was tried, for example `read`.
    pub verb: &'static str,
    /// File it was tried on.
    pub path: PathBuf,
    /// Error of the operating system.
    pub source: std::io::Error,
}

impl Io {
    /// An error constructor for `map_err`: `File::open(p).map_err(Io::on("open", p))`.
    pub fn on(verb: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Io {
        move |source| Io { verb, path: path.as_ref().to_path_buf(), source: without_temporary(source) }
    }
}

/// Error of the operating system without the name of a temporary file, which the reader has never heard of.
fn without_temporary(error: std::io::Error) -> std::io::Error {
    // The text is all that `tempfile` gives: "<what the system said> at path <name>".
    match error.to_string().split_once(" at path \"") {
        Some((said, _)) if error.get_ref().is_some() => std::io::Error::new(error.kind(), said),
        _ => error,
    }
}

/// Advice for what the system refused at `path`.
fn hint_for(source: &std::io::Error, path: &Path) -> Option<String> {
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => {
            Some(format!("give the user that runs this command access to `{}`", path.display()))
        }
        std::io::ErrorKind::NotFound => Some("check the name and the directory it is in".into()),
        std::io::ErrorKind::StorageFull => {
            Some("free space on that filesystem, or write the output to another one".into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
