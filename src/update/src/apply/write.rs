//! Staging and arming.

use std::io::{self, Read};

use super::slot::HEAD_MAX;
use super::{ApplyError, HEAD, Room, Store, Updater};
use crate::Slot;
use crate::bundle::{Block, BlockSource, Head, Kind, Payload};
use crate::delta::{DeltaPayload, System};
use crate::state::{Found, State, StepError, SystemId};

/// What an update has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The other slot is armed: the next start tries it.
    Armed {
        /// The slot.
        slot: Slot,
        /// System in it.
        system: SystemId,
        /// Bytes that were written.
        written: u64,
        /// Bytes that the slot had already.
        kept: u64,
    },
    /// The system is the good one already.
    Running(SystemId),
}

impl<S: Store> Updater<S> {
    /// Writes the system of a bundle into the slot that does not run, and arms it. `progress` gets the bytes of the
    /// system that are done.
    ///
    /// The bundle is read from the front once. Nothing is changed before its signatures, the device and the room were
    /// looked at; the state record is changed last.
    pub fn apply(&self, stream: &mut dyn Read, progress: &mut dyn FnMut(u64)) -> Result<Applied, ApplyError> {
        let found = self.idle()?;
        let head = Head::read(stream, &self.trusted(&found.state))?;
        self.check(&head, &found.state)?;
        if self.head(found.state.good)?.is_some_and(|good| good.system == head.system) {
            return Ok(Applied::Running(head.system));
        }
        let slot = found.state.good.other();
        let staged = self.head(slot)?.filter(|staged| staged.system == head.system);
        let staged = match staged {
            Some(staged) => self.damages(slot, &staged)?.is_empty(),
            None => false,
        };
        let (mut written, mut kept, mut found) = (0, head.statement.len(), found);
        if !staged {
            self.ensure_room(slot, &head)?;
            found = self.disarmed(found)?;
            (written, kept) = match head.kind {
                Kind::Bundle => self.stage(slot, &head, &mut Payload::new(stream, &head), progress)?,
                Kind::Delta => self.stage_delta(slot, &head, stream, progress)?,
            };
        }
        let system = head.system;
        if found.state.trial.is_none_or(|trial| trial.system != system) {
            let state = found.state.arm(slot, system)?;
            self.save(&found, state)?;
        }
        Ok(Applied::Armed { slot, system, written, kept })
    }

    /// The state, after a trial that has failed was rejected; fails while one runs.
    fn idle(&self) -> Result<Found, ApplyError> {
        let found = self.load()?;
        match found.state.trial {
            Some(trial) if trial.slot == self.running => Err(StepError::OnTrial { trial }.into()),
            Some(trial) if trial.left == 0 => {
                let state = found.state.reject()?;
                self.save(&found, state)
            }
            _ => Ok(found),
        }
    }

    /// Fails unless the system is for this device, and new to it.
    fn check(&self, head: &Head, state: &State) -> Result<(), ApplyError> {
        let fits = head.statement.check_machine(&self.machine);
        fits.and_then(|()| head.statement.check_sequence(state.floor))
            .map_err(crate::bundle::BundleError::from)?;
        match state.rejected.contains(&head.system) {
            true => Err(StepError::RejectedBefore { system: head.system }.into()),
            false => Ok(()),
        }
    }

    fn ensure_room(&self, slot: Slot, head: &Head) -> Result<(), ApplyError> {
        let stored = head.to_stored().len() as u64;
        let files = head.statement.files.iter().map(|file| (file.name.as_str(), file.sum.len));
        let files: Vec<(&str, u64)> = files.chain([(HEAD, stored)]).collect();
        let rooms = self.store().room(slot, &files);
        let failed =
            |source| ApplyError::Slot { verb: "find the free space for", slot, file: HEAD.into(), source };
        for Room { place, need, have, files, inodes } in rooms.map_err(failed)? {
            if need > have {
                return Err(ApplyError::NoRoom { place, need, have });
            }
            if let Some(have) = inodes.filter(|have| files > *have) {
                return Err(ApplyError::NoInodes { place, need: files, have });
            }
        }
        Ok(())
    }

    /// The state in which no slot is armed.
    fn disarmed(&self, found: Found) -> Result<Found, ApplyError> {
        match found.state.trial {
            None => Ok(found),
            Some(_) => {
                let state = found.state.disarm()?;
                self.save(&found, state)
            }
        }
    }

    /// Makes `slot` have the system of `head`, whose blocks come from `source`. Returns the bytes that were written and
    /// those that were kept.
    pub(super) fn stage(
        &self,
        slot: Slot,
        head: &Head,
        source: &mut dyn BlockSource,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(u64, u64), ApplyError> {
        self.remove_head(slot)?;
        let names = self.on(slot, HEAD, "list", |store| store.names(slot))?;
        for name in names.iter().filter(|name| head.statement.files.iter().all(|file| file.name != **name)) {
            self.on(slot, name, "remove", |store| store.remove(slot, name))?;
        }
        for file in &head.statement.files {
            self.on(slot, &file.name, "make", |store| store.create(slot, &file.name, file.sum.len))?;
        }
        let (mut written, mut kept, mut out) = (0, 0, Vec::new());
        for block in head.index.blocks() {
            source.next(block, &mut out)?;
            let name = &head.statement.files[block.file].name;
            match self.put(slot, name, block, &out)? {
                true => written += block.len as u64,
                false => kept += block.len as u64,
            }
            progress(written + kept);
        }
        source.end()?;
        self.on(slot, HEAD, "sync", |store| store.settle(slot))?;
        self.ensure_whole(slot, head)?;
        self.put_head(slot, head)?;
        Ok((written, kept))
    }

    /// The same with blocks that come from a delta, and so from the good slot too.
    fn stage_delta(
        &self,
        slot: Slot,
        head: &Head,
        stream: &mut dyn Read,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(u64, u64), ApplyError> {
        let good = self.head(slot.other())?;
        let lookup = |system, block: &Block, out: &mut Vec<u8>| {
            let (slot, head) = match (system, &good) {
                (System::Good, Some(good)) => (slot.other(), good),
                _ => (slot, head),
            };
            self.store().read_at(slot, &head.statement.files[block.file].name, out, block.offset)
        };
        let mut source = DeltaPayload::new(stream, head, good.as_ref(), &lookup);
        self.stage(slot, head, &mut source, progress)
    }

    /// Writes a block unless it is there. Returns whether it was written.
    fn put(&self, slot: Slot, name: &str, block: &Block, bytes: &[u8]) -> Result<bool, ApplyError> {
        let len = self.on(slot, name, "look at", |store| store.len(slot, name))?.unwrap_or_default();
        if block.offset + block.len as u64 <= len {
            let mut there = vec![0; block.len];
            self.on(slot, name, "read", |store| store.read_at(slot, name, &mut there, block.offset))?;
            if there == bytes {
                return Ok(false);
            }
        }
        self.on(slot, name, "write", |store| store.write_at(slot, name, bytes, block.offset))?;
        Ok(true)
    }

    /// Says that the slot has no whole system. The head is overwritten first: a filesystem without order may give its
    /// blocks to the next head, and the power may fail when that has a length but not yet its bytes.
    fn remove_head(&self, slot: Slot) -> Result<(), ApplyError> {
        if let Some(len) = self.on(slot, HEAD, "look at", |store| store.len(slot, HEAD))? {
            let zeros = vec![0; len.min(HEAD_MAX) as usize];
            self.on(slot, HEAD, "overwrite", |store| store.write_at(slot, HEAD, &zeros, 0))?;
            self.on(slot, HEAD, "sync", |store| store.settle(slot))?;
        }
        self.on(slot, HEAD, "remove", |store| store.remove(slot, HEAD))
    }

    /// Says that the slot has a whole system.
    fn put_head(&self, slot: Slot, head: &Head) -> Result<(), ApplyError> {
        let bytes = head.to_stored();
        self.on(slot, HEAD, "make", |store| store.create(slot, HEAD, bytes.len() as u64))?;
        self.on(slot, HEAD, "write", |store| store.write_at(slot, HEAD, &bytes, 0))?;
        self.on(slot, HEAD, "sync", |store| store.settle(slot))?;
        let mut there = vec![0; bytes.len()];
        self.on(slot, HEAD, "read back", |store| store.read_back(slot, HEAD, &mut there, 0))?;
        match there.iter().zip(&bytes).position(|(found, wanted)| found != wanted) {
            None => Ok(()),
            Some(at) => {
                let len = (bytes.len() - at) as u64;
                Err(ApplyError::Damaged { slot, file: HEAD.into(), offset: at as u64, len })
            }
        }
    }

    /// Does something to a file of a slot.
    pub(super) fn on<T>(
        &self,
        slot: Slot,
        name: &str,
        verb: &'static str,
        work: impl FnOnce(&S) -> io::Result<T>,
    ) -> Result<T, ApplyError> {
        work(self.store()).map_err(|source| ApplyError::Slot { verb, slot, file: name.into(), source })
    }
}
