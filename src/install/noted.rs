//! Remembers what is written while it is asked to, so that contents can be told from changes of metadata.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storage::{Extent, Layer, Record, Target, TargetError, WriteOp};
use crate::value::Digest;

/// Passes everything on.
pub(super) struct Noted<'t> {
    target: &'t dyn Target,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    on: bool,
    extents: Vec<Extent>,
}

impl<'t> Noted<'t> {
    /// Notes nothing yet.
    pub fn new(target: &'t dyn Target) -> Noted<'t> {
        Noted { target, notes: Mutex::default() }
    }

    /// Writes are noted from here on.
    pub fn begin(&self) {
        self.lock().on = true;
    }

    /// Writes are no longer noted.
    pub fn end(&self) {
        self.lock().on = false;
    }

    /// What was noted.
    pub fn record(&self) -> Record {
        let mut extents = self.lock().extents.clone();
        extents.sort_by_key(|extent| extent.offset);
        Record { extents }
    }

    /// What was noted; it is forgotten.
    pub fn take(&self) -> Record {
        let record = self.record();
        self.lock().extents.clear();
        record
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, offset: u64, len: u64, blake3: Option<Digest>) {
        let mut notes = self.lock();
        if notes.on && len > 0 {
            notes.extents.push(Extent { offset, len, blake3 });
        }
    }
}

impl Layer for Noted<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        match op {
            WriteOp::Bytes { offset, bytes } => self.note(offset, op.len(), Some(Digest::of(bytes))),
            WriteOp::Zero { offset, len } => self.note(offset, len, None),
            // Nobody knows what it would hold.
            WriteOp::Discard { .. } => return Ok(false),
        }
        op.apply(self.target)
    }
}
