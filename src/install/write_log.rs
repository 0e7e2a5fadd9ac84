//! A log of writes that can be switched on and off, so that contents can be told apart from changes of metadata.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storage::{Extent, Layer, Record, Target, TargetError, WriteOp};
use crate::value::Digest;

/// A log of what is written to a target.
pub(super) struct WriteLog<'t> {
    target: &'t dyn Target,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    on: bool,
    extents: Vec<Extent>,
}

impl<'t> WriteLog<'t> {
    /// A log of nothing yet.
    pub fn new(target: &'t dyn Target) -> WriteLog<'t> {
        WriteLog { target, log: Mutex::default() }
    }

    /// Logs writes from here on.
    pub fn begin(&self) {
        self.lock().on = true;
    }

    /// Logs writes no longer.
    pub fn end(&self) {
        self.lock().on = false;
    }

    /// Returns what was written.
    pub fn record(&self) -> Record {
        let mut extents = self.lock().extents.clone();
        extents.sort_by_key(|extent| extent.offset);
        Record { extents }
    }

    /// Returns what was written, and forgets it.
    pub fn take(&self) -> Record {
        let record = self.record();
        self.lock().extents.clear();
        record
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, offset: u64, len: u64, blake3: Option<Digest>) {
        let mut log = self.lock();
        if log.on && len > 0 {
            log.extents.push(Extent { offset, len, blake3 });
        }
    }
}

impl Layer for WriteLog<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        match op {
            WriteOp::Bytes { offset, bytes } => self.append(offset, op.len(), Some(Digest::of(bytes))),
            WriteOp::Zero { offset, len } => self.append(offset, len, None),
            // Nobody knows what it would hold.
            WriteOp::Discard { .. } => return Ok(false),
        }
        op.apply(self.target)
    }
}
