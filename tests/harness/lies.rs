//! Media that lie in ways of their own. Each is a layer over another medium, so that they can be stacked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use skiff_image::storage::{Geometry, Layer, Memory, ReadFrom, Target, TargetError, Verb, WriteOp};

/// Bytes that have an address of their own.
const SECTOR: u64 = 512;

/// A lie about every byte of a medium.
#[derive(Clone, Debug)]
pub enum Lie {
    /// These two sectors are the same place; the numbers are those of bytes.
    SamePlace(u64, u64),
    /// This bit of an address is ignored.
    DeadBit(u64),
    /// Addresses from here on begin again at 0.
    Wraps(u64),
    /// Of a longer write only so many bytes are done.
    CutsWrites(u64),
    /// Zeroing is acknowledged and not done.
    NoZeroing,
    /// Discarding is acknowledged and not done, or only in the first part of a range, in sectors.
    NoDiscard { except: u64 },
    /// A page reads as it did when it was read first.
    StaleReads,
    /// A sector reads right once, and then has a wrong bit: these many bytes from here on.
    RightOnce { at: u64, len: u64 },
    /// So many syncs succeed.
    SyncFails { after: u64 },
    /// The write with this number, counted from 0, is done in this place, too.
    AlsoAt { write: u64, at: u64 },
}

/// A medium with a lie.
pub struct Liar {
    inner: Arc<dyn Target>,
    lie: Lie,
    /// Pages that were read.
    seen: Mutex<BTreeMap<u64, Vec<u8>>>,
    /// Sectors that were read.
    read: Mutex<BTreeSet<u64>>,
    count: AtomicU64,
}

/// A sound medium of `len` bytes under all of `lies`, the last of which is nearest to whoever asks.
pub fn medium(len: u64, lies: &[Lie]) -> Arc<dyn Target> {
    over(Arc::new(Memory::new(len)), lies)
}

/// `inner` under all of `lies`.
pub fn over(inner: Arc<dyn Target>, lies: &[Lie]) -> Arc<dyn Target> {
    lies.iter().fold(inner, |inner, lie| Arc::new(Liar::new(inner, lie.clone())))
}

impl Liar {
    pub fn new(inner: Arc<dyn Target>, lie: Lie) -> Liar {
        Liar { inner, lie, seen: Mutex::default(), read: Mutex::default(), count: AtomicU64::new(0) }
    }

    fn error(&self, verb: Verb) -> TargetError {
        let source = std::io::Error::from_raw_os_error(5);
        TargetError::Io { verb, target: "medium".into(), offset: 0, len: 0, source }
    }

    /// The parts of a range, each with its place.
    fn places(&self, range: Range<u64>) -> Vec<(Range<u64>, u64)> {
        let step = match self.lie {
            Lie::SamePlace(..) | Lie::DeadBit(_) | Lie::Wraps(_) => SECTOR,
            _ => u64::MAX,
        };
        let mut parts: Vec<(Range<u64>, u64)> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let end = (at / step).saturating_add(1).saturating_mul(step).min(range.end);
            let place = self.place(at);
            match parts.last_mut() {
                Some((last, start)) if *start + (last.end - last.start) == place => last.end = end,
                _ => parts.push((at..end, place)),
            }
            at = end;
        }
        parts
    }

    fn place(&self, at: u64) -> u64 {
        match self.lie {
            Lie::SamePlace(one, other) if at / SECTOR == one / SECTOR => {
                other / SECTOR * SECTOR + at % SECTOR
            }
            Lie::DeadBit(bit) => at & !bit,
            Lie::Wraps(size) => at % size,
            _ => at,
        }
    }

    fn spoil(&self, buf: &mut [u8], offset: u64, bad: Range<u64>) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        for sector in offset / SECTOR..(offset + buf.len() as u64).div_ceil(SECTOR) {
            let at = sector * SECTOR;
            if bad.contains(&at) && at >= offset && !read.insert(sector) {
                buf[(at - offset) as usize] ^= 4;
            }
        }
    }

    fn remembered(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        const PAGE: u64 = 4096;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset + buf.len() as u64;
        for page in (offset / PAGE * PAGE..end).step_by(PAGE as usize) {
            let len = PAGE.min(self.geometry().len - page) as usize;
            if let std::collections::btree_map::Entry::Vacant(entry) = seen.entry(page) {
                let mut bytes = vec![0; len];
                self.inner.read_back(&mut bytes, page)?;
                entry.insert(bytes);
            }
            let (start, stop) = (page.max(offset), (page + len as u64).min(end));
            buf[(start - offset) as usize..(stop - offset) as usize]
                .copy_from_slice(&seen[&page][(start - page) as usize..(stop - page) as usize]);
        }
        Ok(())
    }

    fn put(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        for (part, at) in self.places(op.range()) {
            match op.part(part.clone()) {
                WriteOp::Bytes { bytes, .. } => self.inner.write_at(bytes, at)?,
                WriteOp::Zero { len, .. } => self.inner.zero(at, len)?,
                WriteOp::Discard { .. } => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl Layer for Liar {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &*self.inner
    }

    /// The kernel's cache is above; nothing is cached here.
    fn on_read(&self, _: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        if matches!(self.lie, Lie::StaleReads) {
            return self.remembered(buf, offset);
        }
        for (part, at) in self.places(offset..offset + buf.len() as u64) {
            let within = (part.start - offset) as usize..(part.end - offset) as usize;
            self.inner.read_back(&mut buf[within], at)?;
        }
        if let Lie::RightOnce { at, len } = self.lie {
            self.spoil(buf, offset, at..at + len);
        }
        Ok(())
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let Geometry { len, .. } = self.inner.geometry();
        match (&self.lie, op) {
            (Lie::CutsWrites(most), WriteOp::Bytes { offset, .. }) if op.len() > *most => {
                op.part(offset..offset + most).apply(&*self.inner)
            }
            (Lie::NoZeroing, WriteOp::Zero { .. }) => Ok(true),
            (Lie::NoDiscard { except }, WriteOp::Discard { offset, .. }) => {
                self.inner.zero(offset, except.min(&op.len()).to_owned())?;
                Ok(true)
            }
            (Lie::AlsoAt { write, at }, WriteOp::Bytes { bytes, .. }) => {
                op.apply(&*self.inner)?;
                if self.count.fetch_add(1, Ordering::SeqCst) == *write {
                    self.inner.write_at(&bytes[..bytes.len().min((len - at) as usize)], *at)?;
                }
                Ok(true)
            }
            (Lie::SamePlace(..) | Lie::DeadBit(_) | Lie::Wraps(_), _) => self.put(op),
            _ => op.apply(&*self.inner),
        }
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        match self.lie {
            Lie::SyncFails { after } if self.count.fetch_add(1, Ordering::SeqCst) >= after => {
                Err(self.error(Verb::Sync))
            }
            _ => self.inner.sync(),
        }
    }
}
