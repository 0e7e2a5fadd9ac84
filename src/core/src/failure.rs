//! What can go wrong on a device.

use std::fmt::{self, Display};
use std::io;
use std::path::Path;

/// A step that did not work, why, and what to do.
#[derive(Debug)]
pub struct Failure {
    /// What did not work and why.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A step, or why it did not work.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// A failure of the system to do something (`what`, as "write") with a file.
    pub fn file(what: &str, path: &Path, error: impl Display) -> Self {
        Self::new(format!("cannot {what} `{}`: {error}", path.display()))
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Says first what it was a part of.
    #[must_use]
    pub fn context(self, what: impl Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(formatter, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<crate::config::LoadError> for Failure {
    fn from(error: crate::config::LoadError) -> Self {
        Self::new(error.to_string())
    }
}

/// The contents of a file; nothing if it is not there.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("read", path, error)),
    }
}
