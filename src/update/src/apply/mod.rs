//! The agent: writes a system into the slot that does not run, arms it, and confirms or rejects what was tried.
//!
//! The order of an update; a line that begins with `|` ends with the medium having all of it:
//!
//! ```text
//! | the slot is disarmed, if it was armed
//! | the head of the slot is overwritten, and removed: from now on it has no whole system
//! | files are written, block by block, each as it was signed
//!   all files are read back from the medium
//! | the head is written, and read back: the slot has a whole system
//! | the state record arms the slot
//! ```
//!
//! A cut at any moment leaves the old system or a whole new one to start, and the next run goes on where the last one
//! stopped: what the slot has already is not written again.

mod directory;
mod error;
mod slot;
mod status;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod write;

pub use directory::{Directory, DirectoryError, Places};
pub use error::ApplyError;
pub use slot::HEAD;
pub use status::{SlotStatus, Status, Undone};
pub use store::{Room, Store};
pub use write::Applied;

use crate::Slot;
use crate::keys::Root;
use crate::state::{Copies, Found, State};
use crate::statement::Machine;

/// The agent on one device.
pub struct Updater<S> {
    /// State record and slots.
    pub copies: Copies<S>,
    /// What the device is.
    pub machine: Machine,
    /// Root in the image of the running system.
    pub root: Root,
    /// Slot that runs.
    pub running: Slot,
}

impl<S: Store> Updater<S> {
    fn store(&self) -> &S {
        &self.copies.0
    }

    /// Root that this device trusts: that of its image, or a later one that the good system has brought.
    pub fn trusted(&self, state: &State) -> Root {
        let brought = self.head(state.good).ok().flatten().and_then(|head| head.parts.signed_roots().ok());
        // Roots that do not follow that of the image are damaged, or from somebody else.
        brought.and_then(|roots| self.root.follow(&roots).ok()).unwrap_or_else(|| self.root.clone())
    }

    /// The state; fails if a slot runs that it does not know of.
    fn load(&self) -> Result<Found, ApplyError> {
        let found = self.copies.load()?;
        let (running, good) = (self.running, found.state.good);
        let known = running == good || found.state.trial.is_some_and(|trial| trial.slot == running);
        if known { Ok(found) } else { Err(ApplyError::WrongSlot { running, good }) }
    }

    /// Makes `state` the state of the device.
    fn save(&self, found: &Found, state: State) -> Result<Found, ApplyError> {
        self.copies.save(found, &state)?;
        Ok(Found { state, ..found.clone() })
    }
}
