//! The state of a device: which slot is good, which one is tried, and how often it may still be started.
//!
//! [`State`] is the contents of a [`record`] and has the steps of an update as pure functions. [`Copies`] reads and
//! writes the two copies of the record. Everything that has to change at once is in it, because writing one sector is
//! the only step that a boot loader and the power supply both respect.

mod copies;
pub mod record;
#[cfg(test)]
mod tests;

pub use copies::{Copies, Copy, Found, LoadError, SaveError, Sectors};

use std::fmt;

use skiff_disk::error::Diagnostic;
use skiff_disk::value::{from_hex, to_hex};

use crate::Slot;

/// Attempts of a slot that was just armed.
pub const ATTEMPTS: u8 = 3;
/// Most systems in [`State::rejected`]; the oldest is forgotten first.
pub const REJECTED_MAX: usize = 8;

/// First bytes of the digest of a signed statement: which system it is, printed as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SystemId(pub [u8; 8]);

impl SystemId {
    /// The id that 16 hexadecimal digits are.
    pub fn from_hex(text: &str) -> Option<SystemId> {
        Some(SystemId(from_hex(text)?.try_into().ok()?))
    }
}

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A slot that was armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The slot.
    pub slot: Slot,
    /// Starts that the boot loader has left for it.
    pub left: u8,
    /// The system in it.
    pub system: SystemId,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Number of changes by the agent; what a boot loader counts is not in it.
    pub changes: u32,
    /// Slot that is started when no trial is.
    pub good: Slot,
    /// Slot that was armed and neither confirmed nor rejected.
    pub trial: Option<Trial>,
    /// Lowest sequence of a statement that is accepted: the highest that was ever confirmed.
    pub floor: u64,
    /// Systems that were tried in vain, the latest last.
    pub rejected: Vec<SystemId>,
}

/// Step of an update in which a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The good slot runs, the other one is empty or has what ran before.
    Idle,
    /// The other slot is being written.
    Staging,
    /// The other slot has a whole system that was read back.
    Staged,
    /// The next start is that of the other slot.
    Armed {
        /// Starts that are left for it.
        left: u8,
    },
    /// The tried slot runs and waits to be confirmed.
    Trial {
        /// Starts that are left for it after this one.
        left: u8,
    },
    /// The good slot runs again, and no start is left for the other one.
    Failed,
    /// The other slot has a system that was tried in vain.
    Rejected,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::Idle => f.write_str("idle"),
            Phase::Staging => f.write_str("staging"),
            Phase::Staged => f.write_str("staged"),
            Phase::Armed { left } => write!(f, "armed ({left} attempts left)"),
            Phase::Trial { left } => write!(f, "trial ({left} attempts left)"),
            Phase::Failed => f.write_str("failed"),
            Phase::Rejected => f.write_str("rejected"),
        }
    }
}

/// What is in the slot that is not the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Nothing.
    Nothing,
    /// Files of a system that is not whole.
    Part,
    /// A whole system that was read back.
    Whole(SystemId),
}

/// Why a step of an update is not possible in this state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum StepError {
    /// The good slot would be tried.
    #[error("slot `{slot}` is the good one and cannot be tried")]
    #[diagnostic(hint("stage the update into slot `{}`", slot.other()), code = "good-slot")]
    GoodSlot {
        /// The slot.
        slot: Slot,
    },
    /// There is a trial already.
    #[error("slot `{}` with system {} is on trial, {} of {ATTEMPTS} attempts left", trial.slot, trial.system, trial.left)]
    #[diagnostic(hint = "confirm or reject it first", code = "on-trial")]
    OnTrial {
        /// The trial.
        trial: Trial,
    },
    /// The system was tried before.
    #[error("system {system} was tried on this device and rejected")]
    #[diagnostic(hint = "make a bundle of a mended system", code = "rejected-before")]
    RejectedBefore {
        /// The system.
        system: SystemId,
    },
    /// Nothing is on trial.
    #[error("no slot is on trial: `{good}` is the good one")]
    #[diagnostic(hint = "apply an update first", code = "no-trial")]
    NoTrial {
        /// The good slot.
        good: Slot,
    },
    /// Another slot than the tried one runs.
    #[error("slot `{running}` runs, but slot `{tried}` is on trial")]
    #[diagnostic(hint = "restart the device to try it", code = "not-running")]
    NotRunning {
        /// Slot that runs.
        running: Slot,
        /// Slot on trial.
        tried: Slot,
    },
}

impl State {
    /// State of a new medium.
    pub fn new(good: Slot, floor: u64) -> State {
        State { changes: 0, good, trial: None, floor, rejected: Vec::new() }
    }

    /// Step of an update while `running` runs and this is in the slot that is not good.
    pub fn phase(&self, running: Slot, other: Contents) -> Phase {
        match (self.trial, other) {
            (Some(trial), _) if trial.slot == running => Phase::Trial { left: trial.left },
            (Some(Trial { left: 0, .. }), _) => Phase::Failed,
            (Some(trial), _) => Phase::Armed { left: trial.left },
            (None, Contents::Nothing) => Phase::Idle,
            (None, Contents::Part) => Phase::Staging,
            (None, Contents::Whole(system)) if self.rejected.contains(&system) => Phase::Rejected,
            (None, Contents::Whole(_)) => Phase::Staged,
        }
    }

    /// Slot that a boot loader starts, and the state that it writes before it does. It counts only while a slot is
    /// armed, and starts the good one if the new state cannot be written.
    pub fn start(&self) -> (Slot, Option<State>) {
        match self.trial {
            Some(trial) if trial.left > 0 => {
                let trial = Trial { left: trial.left - 1, ..trial };
                (trial.slot, Some(State { trial: Some(trial), ..self.clone() }))
            }
            _ => (self.good, None),
        }
    }

    /// State in which the next starts are those of `slot`, which has the whole `system`.
    pub fn arm(&self, slot: Slot, system: SystemId) -> Result<State, StepError> {
        match self.trial {
            _ if slot == self.good => Err(StepError::GoodSlot { slot }),
            Some(trial) => Err(StepError::OnTrial { trial }),
            None if self.rejected.contains(&system) => Err(StepError::RejectedBefore { system }),
            None => Ok(self.changed(self.good, Some(Trial { slot, left: ATTEMPTS, system }), self.floor)),
        }
    }

    /// State in which the tried slot, which runs, is the good one; `sequence` is that of its statement. The floor is
    /// raised here and nowhere else: were it raised earlier, a device that falls back could not be updated any more.
    pub fn confirm(&self, running: Slot, sequence: u64) -> Result<State, StepError> {
        match self.trial {
            None => Err(StepError::NoTrial { good: self.good }),
            Some(trial) if trial.slot != running => Err(StepError::NotRunning { running, tried: trial.slot }),
            Some(trial) => Ok(self.changed(trial.slot, None, self.floor.max(sequence))),
        }
    }

    /// State in which the trial is over and its system will not be tried again.
    pub fn reject(&self) -> Result<State, StepError> {
        let trial = self.trial.ok_or(StepError::NoTrial { good: self.good })?;
        let mut state = self.changed(self.good, None, self.floor);
        state.rejected.retain(|system| *system != trial.system);
        state.rejected.push(trial.system);
        let forgotten = state.rejected.len().saturating_sub(REJECTED_MAX);
        state.rejected.drain(..forgotten);
        Ok(state)
    }

    /// State in which an armed slot is not tried: something else is to be written there. A slot that was started
    /// already is rejected instead, because nobody knows why it did not last.
    pub fn disarm(&self) -> Result<State, StepError> {
        match self.trial {
            Some(Trial { left: ATTEMPTS, .. }) => Ok(self.changed(self.good, None, self.floor)),
            _ => self.reject(),
        }
    }

    fn changed(&self, good: Slot, trial: Option<Trial>, floor: u64) -> State {
        let changes = self.changes.wrapping_add(1);
        State { changes, good, trial, floor, rejected: self.rejected.clone() }
    }
}
