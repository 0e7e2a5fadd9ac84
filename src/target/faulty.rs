//! A target that fails on purpose: for tests, and to rehearse what a run does when a medium goes bad.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Geometry, Target, TargetError};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// After this many written bytes every operation answers `ENODEV`, as if the device was pulled.
    Vanish {
        /// Bytes that are written before.
        after: u64,
    },
    /// After this many written bytes writes answer `ENOSPC`.
    Full {
        /// Bytes that are written before.
        after: u64,
    },
    /// One bit of the medium is wrong; nobody is told, and the cache still has the right one.
    Flip {
        /// The write it happens to, counted from 0.
        write: u64,
        /// Which bit of it, taken modulo its length in bits.
        bit: u64,
    },
    /// A write reaches the cache but not the medium.
    Lose {
        /// The write it happens to, counted from 0.
        write: u64,
    },
}

/// Wraps a target, the medium, and has one [`Fault`]. Like an operating system it answers
/// [`Target::read_at`] from what it was asked to write, and only [`Target::read_back`] from the medium.
pub struct Faulty<'a> {
    medium: &'a dyn Target,
    fault: Fault,
    writes: AtomicU64,
    written: AtomicU64,
    cache: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl<'a> Faulty<'a> {
    /// `medium` with a fault.
    pub fn new(medium: &'a dyn Target, fault: Fault) -> Faulty<'a> {
        let (writes, written) = (AtomicU64::new(0), AtomicU64::new(0));
        Faulty { medium, fault, writes, written, cache: Mutex::default() }
    }

    /// Number of writes so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// Fails where the fault says that the device is gone.
    fn ensure_present(&self, verb: &'static str, offset: u64, len: u64) -> Result<(), TargetError> {
        match self.fault {
            Fault::Vanish { after } if self.written.load(Ordering::SeqCst) > after => {
                Err(self.error(verb, offset, len, rustix::io::Errno::NODEV.into()))
            }
            _ => Ok(()),
        }
    }

    /// Counts `len` bytes; fails when a limit is passed.
    fn count(&self, verb: &'static str, offset: u64, len: u64) -> Result<(), TargetError> {
        let written = self.written.fetch_add(len, Ordering::SeqCst) + len;
        match self.fault {
            Fault::Full { after } if written > after => {
                Err(self.error(verb, offset, len, rustix::io::Errno::NOSPC.into()))
            }
            _ => self.ensure_present(verb, offset, len),
        }
    }

    fn remember(&self, offset: u64, buf: &[u8]) {
        let mut cache = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.insert(offset, buf.to_vec());
    }

    fn error(&self, verb: &'static str, offset: u64, len: u64, source: io::Error) -> TargetError {
        TargetError::Io { verb, target: self.medium.name().into(), offset, len, source }
    }
}

impl Target for Faulty<'_> {
    fn name(&self) -> &str {
        self.medium.name()
    }

    fn geometry(&self) -> Geometry {
        self.medium.geometry()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_back(buf, offset)?;
        let end = offset + buf.len() as u64;
        let cache = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (&at, bytes) in cache.range(..end) {
            let (from, to) = (offset.max(at), end.min(at + bytes.len() as u64));
            if from < to {
                buf[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&bytes[(from - at) as usize..(to - at) as usize]);
            }
        }
        Ok(())
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.ensure_present("read back", offset, buf.len() as u64)?;
        self.medium.read_back(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        self.count("write", offset, buf.len() as u64)?;
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::Flip { write, bit } if write == number && !buf.is_empty() => {
                let mut damaged = buf.to_vec();
                let bit = bit % (buf.len() as u64 * 8);
                damaged[(bit / 8) as usize] ^= 1 << (bit % 8);
                self.remember(offset, buf);
                self.medium.write_at(&damaged, offset)
            }
            Fault::Lose { write } if write == number => {
                self.remember(offset, buf);
                Ok(())
            }
            _ => self.medium.write_at(buf, offset),
        }
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.ensure_present("zero", offset, len)?;
        self.medium.zero(offset, len)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.ensure_present("sync", 0, self.geometry().len)?;
        self.medium.sync()
    }
}
