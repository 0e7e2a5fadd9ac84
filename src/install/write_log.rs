//! A log of writes that separates contents from changes of metadata: contents are written once, metadata more than
//! once, and of that the last counts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storage::{Extent, Layer, Record, Target, TargetError, WriteOp};
use crate::value::Digest;

/// Unit in which metadata is remembered: what a medium writes at least.
const SECTOR: u64 = 512;
/// Longest extent of metadata.
const LONGEST: usize = 1 << 20;

/// A log of what is written to a target.
pub(super) struct WriteLog<'t> {
    target: &'t dyn Target,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    on: bool,
    extents: Vec<Extent>,
    /// Sectors that were written while it was off.
    metadata: BTreeMap<u64, [u8; SECTOR as usize]>,
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

    /// Returns what metadata is now, as it was written last.
    pub fn metadata(&self) -> Record {
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        for (at, sector) in &self.lock().metadata {
            match runs.last_mut() {
                Some((start, bytes)) if *start + bytes.len() as u64 == *at && bytes.len() < LONGEST => {
                    bytes.extend_from_slice(sector);
                }
                _ => runs.push((*at, sector.to_vec())),
            }
        }
        let extent = |(offset, bytes): (u64, Vec<u8>)| Extent {
            offset,
            len: bytes.len() as u64,
            blake3: Some(Digest::of(&bytes)),
        };
        Record { extents: runs.into_iter().map(extent).collect() }
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
            // Contents may take the place of metadata that is no longer needed.
            let old: Vec<u64> = log.metadata.range(offset..offset + len).map(|(at, _)| *at).collect();
            old.iter().for_each(|at| _ = log.metadata.remove(at));
        }
    }

    /// Remembers metadata, which is written in whole sectors.
    fn remember(&self, offset: u64, bytes: &[u8]) {
        let mut log = self.lock();
        if !log.on && offset.is_multiple_of(SECTOR) {
            let sectors = bytes.as_chunks::<{ SECTOR as usize }>().0;
            log.metadata.extend((offset..).step_by(SECTOR as usize).zip(sectors.iter().copied()));
        }
    }
}

impl Layer for WriteLog<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        match op {
            WriteOp::Bytes { offset, bytes } => {
                self.append(offset, op.len(), Some(Digest::of(bytes)));
                self.remember(offset, bytes);
            }
            WriteOp::Zero { offset, len } => self.append(offset, len, None),
            // Nobody knows what it would hold.
            WriteOp::Discard { .. } => return Ok(false),
        }
        op.apply(self.target)
    }
}
