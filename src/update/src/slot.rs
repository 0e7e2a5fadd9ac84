//! Names of the two slots.

use std::fmt;
use std::str::FromStr;

/// One of the two places for a system, printed and parsed as `a` or `b`. It is the name of its directories, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// `a`: what a new medium starts.
    A,
    /// `b`.
    B,
}

/// Reason why a text is not a [`Slot`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a slot: the slots are `a` and `b`")]
pub struct ParseSlotError(pub String);

impl Slot {
    /// Both slots.
    pub const ALL: [Slot; 2] = [Slot::A, Slot::B];

    /// The slot that is not this one.
    pub const fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// Name.
    pub const fn name(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Slot {
    type Err = ParseSlotError;

    fn from_str(text: &str) -> Result<Slot, ParseSlotError> {
        let slot = Slot::ALL.into_iter().find(|slot| slot.name() == text);
        slot.ok_or_else(|| ParseSlotError(text.into()))
    }
}
