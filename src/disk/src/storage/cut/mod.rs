//! A medium whose power can fail: it remembers every operation of a run, and lists afterwards every state that the
//! medium could be in if the power had failed at some moment of it.
//!
//! The model is that of a disk or card with a volatile cache. A sector is written as a whole or not at all;
//! sectors of a write, and writes since the last sync, become durable in any order or not at all; what was there when
//! a sync returned stays. What it does not have is damage to sectors that nobody wrote to, as some flash memory
//! has when it loses power while it moves its blocks.
//!
//! ```
//! use skiff_disk::storage::{PowerCut, Target};
//!
//! # fn main() -> Result<(), skiff_disk::storage::TargetError> {
//! let medium = PowerCut::new(&[0; 4096], 512);
//! medium.write_at(b"new contents", 1024)?;
//! medium.sync()?;
//! medium.write_at(b"they count", 0)?;
//! medium.sync()?;
//! for state in medium.states(0) {
//!     let mut bytes = [0; 2048];
//!     state.medium.read_at(&mut bytes, 0)?;
//!     assert!(!bytes.starts_with(b"they count") || bytes[1024..].starts_with(b"new contents"), "{state}");
//! }
//! # Ok(())
//! # }
//! ```

mod order;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cow_memory::{CowMemory, Page, Pages};
use super::{Geometry, Target, TargetError, Verb};
use crate::value::ByteSize;
pub use order::{Cut, Sectors};
pub use state::{State, States};

/// A target in memory that remembers what is done to it.
pub struct PowerCut {
    base: CowMemory,
    recording: Mutex<Recording>,
}

struct Recording {
    /// The cache of the device, which is read.
    view: Pages,
    operations: Vec<Operation>,
}

/// An operation of a run.
#[derive(Clone)]
enum Operation {
    Change(Change),
    Sync,
}

/// Effect of a write or zero on whole sectors.
#[derive(Clone)]
struct Change {
    verb: Verb,
    /// In sectors.
    sectors: std::ops::Range<u64>,
    /// The pages that hold them, as they were in the cache afterwards.
    pages: Vec<Page>,
}

impl PowerCut {
    /// A medium with these bytes, in sectors of `sector_size`.
    pub fn new(bytes: &[u8], sector_size: u32) -> PowerCut {
        PowerCut::over(&CowMemory::from_bytes(bytes, sector_size))
    }

    /// A medium with the bytes of another one, which stays as it is.
    pub fn over(base: &CowMemory) -> PowerCut {
        let recording = Recording { view: base.pages(), operations: Vec::new() };
        PowerCut { base: base.clone(), recording: Mutex::new(recording) }
    }

    /// Contents before the run.
    pub fn before(&self) -> &CowMemory {
        &self.base
    }

    /// Contents when the power does not fail.
    pub fn after(&self) -> CowMemory {
        CowMemory::from_pages(self.lock().view.clone(), self.geometry().sector_size)
    }

    /// Writes, zeros and syncs so far.
    pub fn operations(&self) -> usize {
        self.lock().operations.len()
    }

    /// Syncs so far.
    pub fn syncs(&self) -> usize {
        self.lock().operations.iter().filter(|operation| matches!(operation, Operation::Sync)).count()
    }

    /// Every state in which the medium could be if the power had failed in the run so far. What is chosen is chosen
    /// by `seed`; see [`Cut`] for what is enumerated.
    pub fn states(&self, seed: u64) -> States {
        let operations = Arc::new(self.lock().operations.clone());
        States::new(&self.base, operations, seed)
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `change` change the cache, and remembers the sectors that hold the range.
    fn record(
        &self,
        verb: Verb,
        offset: u64,
        len: u64,
        change: impl FnOnce(&mut Pages),
    ) -> Result<(), TargetError> {
        let geometry = self.geometry();
        geometry.ensure_inside(verb, self.name(), offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let sector = u64::from(geometry.sector_size);
        let sectors = offset / sector..(offset + len).div_ceil(sector);
        let mut recording = self.lock();
        change(&mut recording.view);
        let bytes = sectors.start * sector..(sectors.end * sector).min(geometry.len);
        let pages = recording.view.share(&bytes);
        recording.operations.push(Operation::Change(Change { verb, sectors, pages }));
        Ok(())
    }
}

impl Target for PowerCut {
    fn name(&self) -> &str {
        "memory"
    }

    fn geometry(&self) -> Geometry {
        self.base.geometry()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.geometry().ensure_inside(Verb::Read, self.name(), offset, buf.len() as u64)?;
        self.lock().view.read(buf, offset);
        Ok(())
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        self.record(Verb::Write, offset, buf.len() as u64, |view| view.write(buf, offset))
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.record(Verb::Zero, offset, len, |view| view.zero(offset..offset + len))
    }

    /// Notes a discard: the range reads as zero, and until the next sync perhaps as before.
    fn discard(&self, offset: u64, len: u64) -> Result<bool, TargetError> {
        self.record(Verb::Discard, offset, len, |view| view.zero(offset..offset + len))?;
        Ok(true)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.lock().operations.push(Operation::Sync);
        Ok(())
    }
}

impl Operation {
    fn describe(&self, sector: u64) -> String {
        match self {
            Operation::Sync => "sync".into(),
            Operation::Change(Change { verb, sectors, .. }) => {
                let len = (sectors.end - sectors.start) * sector;
                format!("{verb} of {} at byte {}", ByteSize(len), sectors.start * sector)
            }
        }
    }
}
