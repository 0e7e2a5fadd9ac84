//! Holds back what is written to the start of a target, until all the rest is there.

use std::sync::{Mutex, PoisonError};

use crate::error::Result;
use crate::source::Source;
use crate::storage::{Layer, ReadFrom, Target, TargetError, WriteOp};
use crate::table::TableBytes;
use crate::value::Digest;

/// A filesystem that begins at the first byte of its medium: nothing mounts it as long as its first bytes are not
/// there, so these make it bootable.
pub struct HeldBack<'a> {
    /// What is written.
    pub source: &'a dyn Source,
    /// How many of its first bytes are held back.
    pub len: u64,
}

impl Source for HeldBack<'_> {
    fn name(&self) -> String {
        self.source.name()
    }

    fn len(&self) -> Option<u64> {
        self.source.len()
    }

    fn planned(&self) -> Option<u64> {
        self.source.planned()
    }

    fn identity(&self) -> Option<Digest> {
        self.source.identity()
    }

    fn replays(&self) -> bool {
        self.source.replays()
    }

    fn write(&self, target: &dyn Target) -> Result<Vec<TableBytes>> {
        let start = Held::new(self.len);
        let critical = self.source.write(&start.before(target))?;
        let start = TableBytes { name: "start".into(), offset: 0, bytes: start.into_bytes() };
        Ok(critical.into_iter().chain([start]).collect())
    }
}

/// The first bytes of a target, as they were meant to be written.
#[derive(Debug)]
struct Held {
    bytes: Mutex<Vec<u8>>,
}

impl Held {
    /// The first `len` bytes, which read as zero.
    fn new(len: u64) -> Held {
        Held { bytes: Mutex::new(vec![0; len as usize]) }
    }

    /// `target` but for its first bytes.
    fn before<'a>(&'a self, target: &'a dyn Target) -> Behind<'a> {
        Behind { held: self, target }
    }

    /// What was written to them.
    fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `change` have those of the `len` bytes from `offset` on that are held; returns how many.
    fn take(&self, offset: u64, len: u64, change: impl FnOnce(&mut [u8])) -> u64 {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let end = bytes.len() as u64;
        let (start, stop) = (offset.min(end), (offset + len).min(end));
        change(&mut bytes[start as usize..stop as usize]);
        stop - start
    }
}

/// A target whose first bytes are held back.
struct Behind<'a> {
    held: &'a Held,
    target: &'a dyn Target,
}

impl Layer for Behind<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        from.read(self.target, buf, offset)?;
        self.held.take(offset, buf.len() as u64, |bytes| buf[..bytes.len()].copy_from_slice(bytes));
        Ok(())
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let (offset, len) = (op.offset(), op.len());
        let held = match op {
            WriteOp::Bytes { bytes, .. } => {
                self.held.take(offset, len, |held| held.copy_from_slice(&bytes[..held.len()]))
            }
            WriteOp::Zero { .. } => self.held.take(offset, len, |held| held.fill(0)),
            WriteOp::Discard { .. } if self.held.take(offset, len, |_| ()) > 0 => return Ok(false),
            WriteOp::Discard { .. } => 0,
        };
        if held == len { Ok(true) } else { op.part(offset + held..offset + len).apply(self.target) }
    }
}
