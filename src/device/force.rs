//! Refusals that a person may know better about, each by its own word.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::Reason;

/// A refusal that can be overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Override {
    /// A filesystem on it is mounted.
    Mounted,
    /// There is swap space on one of its partitions.
    Swap,
    /// It is a part of a volume, a RAID or the like.
    Held,
    /// It is built into the machine.
    Internal,
    /// It is larger than media that are usually flashed.
    Large,
}

/// Those that a person gave.
pub type Overrides = BTreeSet<Override>;

/// A word that is none of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no refusal is called `{0}`; those that can be overridden are {list}", list = Override::words())]
pub struct ParseOverrideError(String);

impl Override {
    const ALL: [Override; 5] =
        [Override::Mounted, Override::Swap, Override::Held, Override::Internal, Override::Large];

    /// As it is given.
    pub fn word(self) -> &'static str {
        match self {
            Override::Mounted => "mounted",
            Override::Swap => "swap",
            Override::Held => "held",
            Override::Internal => "internal",
            Override::Large => "large",
        }
    }

    /// State of a device in which this overrides something, in words.
    pub fn condition(self) -> &'static str {
        match self {
            Override::Mounted => "is mounted",
            Override::Swap => "has a partition that is used as swap space",
            Override::Held => "is a part of something else",
            Override::Internal => "is internal",
            Override::Large => "is larger than usual",
        }
    }

    /// The one that overrides a reason, if one does.
    pub fn for_reason(reason: &Reason) -> Option<Override> {
        Some(match reason {
            Reason::Mounted { .. } => Override::Mounted,
            Reason::Swap { itself: false, .. } => Override::Swap,
            Reason::Held { .. } => Override::Held,
            Reason::Internal { .. } => Override::Internal,
            Reason::Large { .. } => Override::Large,
            _ => return None,
        })
    }

    fn words() -> String {
        Override::ALL.map(|word| format!("`{word}`")).join(", ")
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Override {
    type Err = ParseOverrideError;

    fn from_str(text: &str) -> Result<Override, ParseOverrideError> {
        let found = Override::ALL.into_iter().find(|word| word.word() == text);
        found.ok_or_else(|| ParseOverrideError(text.into()))
    }
}
