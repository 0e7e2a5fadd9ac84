//! Looking at a device, and the end of a trial.

use std::fmt;

use super::{ApplyError, Store, Updater};
use crate::Slot;
use crate::state::{Contents, Found, Phase, StepError, SystemId, Trial};

/// What a device is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Step of an update.
    pub phase: Phase,
    /// Slot that runs.
    pub running: Slot,
    /// The state, and which copy of its record said so.
    pub found: Found,
    /// The slots, in the order of [`Slot::ALL`].
    pub slots: [SlotStatus; 2],
    /// Number of the root that is trusted.
    pub epoch: u64,
}

/// What a slot has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotStatus {
    /// The slot.
    pub slot: Slot,
    /// What is in it.
    pub contents: Contents,
    /// Version and sequence of a whole system.
    pub version: Option<(String, u64)>,
}

/// What [`Updater::rollback`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The trial is over; the next start is that of the good slot.
    Rejected {
        /// System that will not be tried again.
        system: SystemId,
        /// The good slot.
        good: Slot,
    },
    /// The system before this one is armed; it has to be confirmed as any other.
    Armed {
        /// Its slot.
        slot: Slot,
        /// The system.
        system: SystemId,
    },
}

impl fmt::Display for Status {
    /// A line for each fact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = &self.found.state;
        writeln!(f, "phase     {}", self.phase)?;
        writeln!(f, "running   {}", self.running)?;
        writeln!(f, "good      {}", state.good)?;
        for status in &self.slots {
            write!(f, "slot {}    ", status.slot)?;
            match (&status.version, status.contents) {
                (Some((version, sequence)), Contents::Whole(system)) => {
                    writeln!(f, "version {version}, sequence {sequence}, system {system}")?;
                }
                (_, Contents::Nothing) => writeln!(f, "empty")?,
                _ => writeln!(f, "no whole system")?,
            }
        }
        writeln!(f, "floor     sequence {}", state.floor)?;
        writeln!(f, "root      {}", self.epoch)?;
        for system in &state.rejected {
            writeln!(f, "rejected  system {system}")?;
        }
        match &self.found.damage {
            Some(damage) => writeln!(f, "record    the second copy is used: the first is damaged: {damage}"),
            None => Ok(()),
        }
    }
}

impl<S: Store> Updater<S> {
    /// What the device is at. Changes nothing.
    pub fn status(&self) -> Result<Status, ApplyError> {
        let found = self.load()?;
        let slots = [self.slot_status(Slot::A)?, self.slot_status(Slot::B)?];
        let other = found.state.good.other();
        let contents = slots[usize::from(other == Slot::B)].contents;
        let epoch = self.trusted(&found.state).epoch;
        let (running, phase) = (self.running, found.state.phase(self.running, contents));
        let phase = match phase {
            // What ran before and was confirmed once is no update that waits to be armed.
            Phase::Staged if self.ran_before(&found)? => Phase::Idle,
            phase => phase,
        };
        Ok(Status { phase, running, found, slots, epoch })
    }

    fn slot_status(&self, slot: Slot) -> Result<SlotStatus, ApplyError> {
        let head = self.head(slot)?;
        let version = head.map(|head| (head.statement.version, head.statement.sequence));
        Ok(SlotStatus { slot, contents: self.contents(slot)?, version })
    }

    /// Whether the slot that is not good has a system that is older than the good one.
    fn ran_before(&self, found: &Found) -> Result<bool, ApplyError> {
        let sequence = |slot| Ok::<_, ApplyError>(self.head(slot)?.map(|head| head.statement.sequence));
        let (good, other) = (sequence(found.state.good)?, sequence(found.state.good.other())?);
        Ok(other.is_some_and(|other| other < found.state.floor.max(good.unwrap_or_default())))
    }

    /// Makes the running slot, which is on trial, the good one. Returns its system.
    pub fn confirm(&self) -> Result<SystemId, ApplyError> {
        let found = self.load()?;
        let Some(trial) = found.state.trial else {
            return Err(StepError::NoTrial { good: found.state.good }.into());
        };
        let head = self.head(trial.slot)?.ok_or(ApplyError::NoSystem { slot: trial.slot })?;
        let state = found.state.confirm(self.running, head.statement.sequence)?;
        self.ensure_tried(trial, head.system)?;
        self.save(&found, state)?;
        Ok(head.system)
    }

    fn ensure_tried(&self, trial: Trial, found: SystemId) -> Result<(), ApplyError> {
        let (slot, tried) = (trial.slot, trial.system);
        if found == tried { Ok(()) } else { Err(ApplyError::OtherSystem { slot, found, tried }) }
    }

    /// Ends a trial, or arms the system that ran before the good one.
    pub fn rollback(&self) -> Result<Undone, ApplyError> {
        let found = self.load()?;
        if let Some(Trial { system, .. }) = found.state.trial {
            let good = found.state.good;
            let state = found.state.reject()?;
            self.save(&found, state)?;
            return Ok(Undone::Rejected { system, good });
        }
        let slot = found.state.good.other();
        let head = self.head(slot)?.ok_or(ApplyError::NoSystem { slot })?;
        self.ensure_whole(slot, &head)?;
        let state = found.state.arm(slot, head.system)?;
        self.save(&found, state)?;
        Ok(Undone::Armed { slot, system: head.system })
    }

    /// Reads all files of a slot from the medium. Returns the number of bytes that are as they should be, and an error
    /// for each file that has others.
    pub fn verify(&self, slot: Slot) -> Result<(u64, Vec<ApplyError>), ApplyError> {
        let head = self.head(slot)?.ok_or(ApplyError::NoSystem { slot })?;
        let damages = self.damages(slot, &head)?;
        let damaged = |name: &str| {
            damages.iter().any(|damage| matches!(damage, ApplyError::Damaged { file, .. } if file == name))
        };
        let whole = head.statement.files.iter().filter(|file| !damaged(&file.name));
        Ok((whole.map(|file| file.sum.len).sum(), damages))
    }
}
