//! A target that fails on purpose: for tests, and to rehearse what a run does when a medium goes bad.
//!
//! [`Fault`] says what goes wrong; [`Simulation`] reads that from a text, with the medium it happens to. Nothing here
//! looks at a clock, but slow and stalling media take their time.

mod cache;
mod fault;
mod simulation;
mod store;
mod wrong;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::{Layer, MARK, ReadFrom, Target, TargetError, Verb, WriteOp};
use crate::value::is_zero;
use cache::Cache;
use fault::mix;
pub use fault::{Fault, FaultKind, FaultLocation, Tear};
pub use simulation::{Simulation, SimulationError};
use wrong::{Order, flip};

/// Bytes that are zeroed at once in a range that is bad in part.
const PIECE: u64 = 1 << 20;

/// Tells whether a fault has had an effect.
#[derive(Clone, Debug, Default)]
pub struct Strikes(Arc<AtomicBool>);

impl Strikes {
    /// Returns whether there was an effect: bytes that are not what was written or what is there, an error, a delay.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn note(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Wraps a target, the medium, and has one [`Fault`]. Like an operating system it answers
/// [`Target::read_at`] from what it was asked to write, and only [`Target::read_back`] from the medium.
pub struct Faulty<M> {
    medium: M,
    fault: Fault,
    writes: AtomicU64,
    written: AtomicU64,
    /// Of these, the bytes that are no marks.
    contents: AtomicU64,
    /// Operations that [`Fault::Local`] has happened to.
    hits: AtomicU64,
    strikes: Strikes,
    /// The bytes of a place that was not known before they were written.
    bound: OnceLock<Range<u64>>,
    cache: Cache,
    /// A slow medium does one thing after the other.
    busy: Mutex<()>,
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> Option<Range<u64>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (both.start < both.end).then_some(both)
}

/// Splits a range at multiples of `size`: for each part where it is, and where it is modulo `size`.
fn wrapped(range: Range<u64>, size: u64) -> impl Iterator<Item = (Range<u64>, u64)> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let end = ((at / size + 1) * size).min(range.end);
        let part = (at < end).then(|| (at..end, at % size));
        at = end;
        part
    })
}

impl<M: Target> Faulty<M> {
    /// `medium` with a fault.
    ///
    /// # Panics
    /// If a medium has no bytes at all, or no speed.
    pub fn new(medium: M, fault: Fault) -> Faulty<M> {
        let once = |write, kind| Fault::Local { location: FaultLocation::Write(write), kind, times: 1 };
        let fault = match fault {
            Fault::Flip { write, bit } => once(write, FaultKind::Flip { bit, bits: 1 }),
            Fault::Lose { write } => once(write, FaultKind::Lose),
            other => other,
        };
        let some = !matches!(
            fault,
            Fault::Wrap { size: 0 } | Fault::Slow { write: 0, .. } | Fault::Slow { read: 0, .. }
        );
        assert!(some, "a medium has a size and a speed");
        Faulty {
            medium,
            fault,
            writes: AtomicU64::new(0),
            written: AtomicU64::new(0),
            contents: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            strikes: Strikes::default(),
            bound: OnceLock::new(),
            cache: Cache::default(),
            busy: Mutex::new(()),
        }
    }

    /// The medium, as it is.
    pub fn medium(&self) -> &M {
        &self.medium
    }

    /// Number of writes so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// Number of operations so far that a local fault has happened to.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::SeqCst)
    }

    /// Returns a handle that shows whether the fault has had an effect, also later.
    pub fn strikes(&self) -> Strikes {
        self.strikes.clone()
    }

    /// Fails where the fault says that the device is gone.
    fn ensure_present(&self, verb: Verb, offset: u64, len: u64) -> Result<(), TargetError> {
        match self.fault {
            Fault::Vanish { after } if self.written.load(Ordering::SeqCst) > after => {
                Err(self.error(verb, offset, len, Errno::NODEV))
            }
            _ => Ok(()),
        }
    }

    /// Counts a write; fails when a limit is passed.
    fn count(&self, verb: Verb, order: Order<'_>) -> Result<(), TargetError> {
        let (offset, len) = (order.offset, order.buf.len() as u64);
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        let before = self.written.fetch_add(len, Ordering::SeqCst);
        match self.fault {
            Fault::Full { after } if before + len > after => {
                return Err(self.error(verb, offset, len, Errno::NOSPC));
            }
            Fault::Local { location: FaultLocation::Written(_), .. } if order.buf.starts_with(MARK) => {}
            Fault::Local { location, .. } => {
                let before = self.contents.fetch_add(len, Ordering::SeqCst);
                self.bind(location, order, number, before);
            }
            _ => {}
        }
        self.ensure_present(verb, offset, len)
    }

    /// Finds out which bytes the place of the fault is, if this write shows it.
    fn bind(&self, location: FaultLocation, order: Order<'_>, number: u64, before: u64) {
        let (range, sector) = (order.range(), u64::from(self.geometry().sector_size));
        match location {
            FaultLocation::Written(byte) if before + (range.end - range.start) > byte => {
                let first = (range.start + byte.saturating_sub(before)) / sector * sector;
                let sectors = (first..range.end).step_by(sector as usize);
                let mut parts = sectors.map(|at| at.max(range.start)..(at + sector).min(range.end));
                if let Some(part) = parts.find(|part| !is_zero(order.part(part).buf)) {
                    self.bound.get_or_init(|| part);
                }
            }
            FaultLocation::Write(write) if write == number && !range.is_empty() => {
                self.bound.get_or_init(|| range);
            }
            _ => {}
        }
    }

    /// The bytes of the place that is bad, if there is one and it is known.
    fn spot(&self) -> Option<Range<u64>> {
        match self.fault {
            Fault::Local { location: FaultLocation::At { offset, len }, .. } => {
                Some(offset..offset.saturating_add(len))
            }
            _ => self.bound.get().cloned(),
        }
    }

    /// Effect of the fault on an operation on `range`, and the bytes concerned. It counts as done.
    fn strike(&self, range: &Range<u64>, concerns: fn(FaultKind) -> bool) -> Option<(FaultKind, Range<u64>)> {
        let Fault::Local { kind, times, .. } = self.fault else { return None };
        let part = self.spot().and_then(|spot| overlap(&spot, range)).filter(|_| concerns(kind))?;
        let hit = |hits| (hits < times).then_some(hits + 1);
        self.hits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, hit).is_ok().then_some((kind, part))
    }

    /// Returns whether a range can be zeroed by the medium itself.
    fn is_sound(&self, range: &Range<u64>) -> bool {
        match self.fault {
            Fault::Wrap { size } | Fault::Short { size, .. } => range.end <= size,
            Fault::Local { kind, .. } => {
                !kind.is_of_writes() || self.spot().and_then(|spot| overlap(&spot, range)).is_none()
            }
            _ => true,
        }
    }

    /// Writes as the fault says.
    fn put(&self, order: Order<'_>) -> Result<(), TargetError> {
        let range = order.range();
        match self.fault {
            Fault::Wrap { size } if range.end > size => {
                self.strikes.note();
                wrapped(range, size).try_for_each(|(part, at)| self.divert(order.part(&part), at))
            }
            Fault::Short { size, .. } if range.end > size => {
                self.strikes.note();
                self.remember(order)?;
                let kept = range.start..size.max(range.start);
                self.medium.write_at(order.part(&kept).buf, kept.start)
            }
            Fault::Slow { write, .. } => {
                self.take_time(order.buf.len() as u64, write);
                self.right(order)
            }
            _ => match self.strike(&range, FaultKind::is_of_writes) {
                Some((kind, part)) => {
                    self.wrong(order, kind, &part)?;
                    self.note_difference(order.part(&part))
                }
                None => self.right(order),
            },
        }
    }

    /// Zeroes as the fault says.
    fn put_zeros(&self, range: Range<u64>) -> Result<(), TargetError> {
        static ZEROS: [u8; PIECE as usize] = [0; PIECE as usize];
        let (offset, len) = (range.start, range.end - range.start);
        self.ensure_present(Verb::Zero, offset, len)?;
        self.geometry().ensure_inside(Verb::Zero, self.name(), offset, len)?;
        if let Fault::Slow { write, .. } = self.fault {
            self.take_time(len, write);
        }
        if self.is_sound(&range) {
            self.medium.zero(offset, len)?;
            self.cache.zero(&range);
            return Ok(());
        }
        range.clone().step_by(PIECE as usize).try_for_each(|at| {
            self.put(Order { buf: &ZEROS[..PIECE.min(range.end - at) as usize], offset: at })
        })
    }

    /// A write that went wrong has an effect if it shows.
    fn note_difference(&self, part: Order<'_>) -> Result<(), TargetError> {
        let mut found = vec![0; part.buf.len()];
        self.medium.read_back(&mut found, part.offset)?;
        if found != part.buf {
            self.strikes.note();
        }
        Ok(())
    }

    /// Writes what was asked for.
    fn right(&self, order: Order<'_>) -> Result<(), TargetError> {
        self.medium.write_at(order.buf, order.offset)?;
        self.cache.update(order.buf, order.offset);
        Ok(())
    }

    fn remember(&self, order: Order<'_>) -> Result<(), TargetError> {
        self.cache.remember(order.buf, order.offset, |bytes, offset| {
            let len = self.geometry().len.saturating_sub(offset).min(bytes.len() as u64);
            self.translated(&mut bytes[..len as usize], offset)
        })
    }

    /// Reads what the medium has at an address, as far as it has that.
    fn translated(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let range = offset..offset + buf.len() as u64;
        match self.fault {
            Fault::Wrap { size } if range.end > size => wrapped(range, size).try_for_each(|(part, at)| {
                let within = (part.start - offset) as usize..(part.end - offset) as usize;
                self.medium.read_back(&mut buf[within], at)
            }),
            Fault::Short { size, reads } if range.end > size => {
                let (kept, gone) = buf.split_at_mut(size.saturating_sub(offset) as usize);
                gone.fill(reads);
                self.medium.read_back(kept, offset)
            }
            _ => self.medium.read_back(buf, offset),
        }
    }

    /// Reads past the cache as the fault says.
    fn get(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let len = buf.len() as u64;
        if let Fault::Slow { read, .. } = self.fault {
            self.take_time(len, read);
        }
        let struck = self.strike(&(offset..offset + len), FaultKind::is_of_reads);
        match &struck {
            Some((FaultKind::ReadError, _)) => {
                return Err(self.error(Verb::ReadBack, offset, len, Errno::IO));
            }
            Some((FaultKind::Stall(time), _)) => {
                self.strikes.note();
                std::thread::sleep(*time);
            }
            _ => {}
        }
        self.translated(buf, offset)?;
        if let Some((FaultKind::Unstable, part)) = struck {
            let bytes = &mut buf[(part.start - offset) as usize..(part.end - offset) as usize];
            flip(bytes, mix(self.hits()));
            self.strikes.note();
        }
        Ok(())
    }

    fn take_time(&self, bytes: u64, rate: u64) {
        self.strikes.note();
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::sleep(Duration::from_secs_f64(bytes as f64 / rate as f64));
    }

    fn error(&self, verb: Verb, offset: u64, len: u64, errno: Errno) -> TargetError {
        self.strikes.note();
        let source = io::Error::from(errno);
        TargetError::Io { verb, target: self.medium.name().into(), offset, len, source }
    }
}

impl<M: Target> Layer for Faulty<M> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &self.medium
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let (verb, len) = (ReadFrom::Medium.verb(), buf.len() as u64);
        self.ensure_present(verb, offset, len)?;
        self.geometry().ensure_inside(verb, self.name(), offset, len)?;
        self.get(buf, offset)?;
        if from == ReadFrom::Cache {
            self.cache.overlay(buf, offset);
        }
        Ok(())
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        match op {
            WriteOp::Bytes { offset, bytes } => {
                self.geometry().ensure_inside(Verb::Write, self.name(), offset, op.len())?;
                let order = Order { buf: bytes, offset };
                self.count(Verb::Write, order)?;
                self.put(order)?;
            }
            WriteOp::Zero { .. } => self.put_zeros(op.range())?,
            WriteOp::Discard { .. } => return Ok(false),
        }
        Ok(true)
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        self.ensure_present(Verb::Sync, 0, self.geometry().len)?;
        self.medium.sync()
    }
}
