//! How a file that was read back differs from what was written.

use std::fmt;

use serde::Serialize;

/// A file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Path of the file, see [`crate::tree::display`].
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// How a file differs from what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// There is no such file, or its directory is damaged.
    Missing,
    /// It has another length.
    Size {
        /// Bytes that were written.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Same length, other bytes.
    Content,
    /// It cannot be read to its end.
    Unreadable {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.path)?;
        match &self.problem {
            Problem::Missing => f.write_str("is missing"),
            Problem::Size { expected, found } => {
                write!(f, "has {found} bytes instead of the {expected} that were written")
            }
            Problem::Content => f.write_str("has other bytes than were written"),
            Problem::Unreadable { reason } => write!(f, "cannot be read: {reason}"),
        }
    }
}
