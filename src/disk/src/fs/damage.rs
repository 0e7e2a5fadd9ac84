//! Differences between a file that is read back and what was written.

use std::fmt;

/// A file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Damage {
    /// Path of the file, see [`crate::tree::display`].
    pub path: String,
    /// Problem of the file.
    pub problem: Problem,
}

/// Difference between a file and what was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum Problem {
    /// There is no such file, or its directory is damaged.
    Missing,
    /// It is there, but nobody wrote it.
    Unexpected,
    /// Something that is not its content is other than was written.
    Differs {
        /// Name of the property: `mode`, `link target`.
        what: &'static str,
        /// Value that was written.
        expected: String,
        /// Value there is.
        found: String,
    },
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
        /// Reason, for people.
        reason: String,
    },
}

#[cfg(feature = "squashfs")]
impl Damage {
    /// Compares one property; `None` if it is as written.
    pub(super) fn unless_same<T: PartialEq>(
        path: &str,
        what: &'static str,
        (expected, found): (T, T),
        show: impl Fn(T) -> String,
    ) -> Option<Damage> {
        (expected != found).then(|| {
            let problem = Problem::Differs { what, expected: show(expected), found: show(found) };
            Damage { path: path.into(), problem }
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.path)?;
        match &self.problem {
            Problem::Missing => f.write_str("is missing"),
            Problem::Unexpected => f.write_str("was not written"),
            Problem::Differs { what, expected, found } => {
                write!(f, "has the {what} {found} instead of {expected}")
            }
            Problem::Size { expected, found } => {
                write!(f, "has {found} bytes instead of the {expected} that were written")
            }
            Problem::Content => f.write_str("has other bytes than were written"),
            Problem::Unreadable { reason } => write!(f, "cannot be read: {reason}"),
        }
    }
}
