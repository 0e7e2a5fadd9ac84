//! Blocks of a filesystem on a target, as they are once the journal is replayed.

use std::collections::BTreeMap;
use std::ops::Range;

use super::error::{UpdateError, corrupt};
use crate::storage::Target;

/// Reads blocks: those on the medium, or those of a transaction.
pub(super) trait Blocks {
    /// The bytes of a block.
    fn block(&self, number: u64) -> Result<Vec<u8>, UpdateError>;
}

/// A block that the journal has a newer version of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Logged {
    /// Block of the log.
    pub at: u64,
    /// Set if its first four bytes are the journal's magic number, and zero in the log.
    pub escaped: bool,
}

/// First four bytes of every block of the journal that is not a copy.
pub(super) const JOURNAL_MAGIC: u32 = 0xC03B_3998;

/// A filesystem on a target.
pub(super) struct Disk<'a> {
    target: &'a dyn Target,
    offset: u64,
    block_size: u64,
    blocks: u64,
    /// Writes of a replay.
    pub logged: BTreeMap<u64, Logged>,
}

impl<'a> Disk<'a> {
    /// `blocks` blocks from byte `offset` of `target` on.
    pub(super) fn new(target: &'a dyn Target, offset: u64, block_size: u64, blocks: u64) -> Disk<'a> {
        Disk { target, offset, block_size, blocks, logged: BTreeMap::new() }
    }

    /// Bytes of a block.
    pub(super) fn block_size(&self) -> u64 {
        self.block_size
    }

    /// The unit that is written whole or not at all, within a block.
    pub(super) fn sector(&self) -> usize {
        self.block_size.min(self.target.geometry().sector_size.into()) as usize
    }

    fn ensure_inside(&self, run: &Range<u64>) -> Result<(), UpdateError> {
        match run.start <= run.end && run.end <= self.blocks {
            true => Ok(()),
            false => Err(corrupt(format!("blocks {}..{} of {} are in use", run.start, run.end, self.blocks))),
        }
    }

    /// Fills `buf` with consecutive blocks.
    pub(super) fn read(&self, first: u64, buf: &mut [u8]) -> Result<(), UpdateError> {
        let count = buf.len() as u64 / self.block_size;
        self.ensure_inside(&(first..first.saturating_add(count)))?;
        self.target.read_at(buf, self.offset + first * self.block_size)?;
        for (&block, logged) in self.logged.range(first..first + count) {
            let at = ((block - first) * self.block_size) as usize;
            buf[at..at + self.block_size as usize].copy_from_slice(&self.read_logged(*logged)?);
        }
        Ok(())
    }

    /// The newer version of a block.
    pub(super) fn read_logged(&self, logged: Logged) -> Result<Vec<u8>, UpdateError> {
        let mut bytes = vec![0; self.block_size as usize];
        self.ensure_inside(&(logged.at..logged.at + 1))?;
        self.target.read_at(&mut bytes, self.offset + logged.at * self.block_size)?;
        if logged.escaped {
            bytes[..4].copy_from_slice(&JOURNAL_MAGIC.to_be_bytes());
        }
        Ok(bytes)
    }

    /// Fills `buf` from byte `at` of the filesystem, as the medium has it.
    pub(super) fn read_bytes(&self, at: u64, buf: &mut [u8]) -> Result<(), UpdateError> {
        Ok(self.target.read_at(buf, self.offset + at)?)
    }

    /// Writes consecutive blocks.
    pub(super) fn write(&self, first: u64, bytes: &[u8]) -> Result<(), UpdateError> {
        self.ensure_inside(&(first..first.saturating_add(bytes.len() as u64 / self.block_size)))?;
        self.write_bytes(first * self.block_size, bytes)
    }

    /// Writes from byte `at` of the filesystem on.
    pub(super) fn write_bytes(&self, at: u64, bytes: &[u8]) -> Result<(), UpdateError> {
        Ok(self.target.write_at(bytes, self.offset + at)?)
    }

    /// Returns when everything is on the medium.
    pub(super) fn sync(&self) -> Result<(), UpdateError> {
        Ok(self.target.sync()?)
    }

    /// Fills `buf` with consecutive blocks from the medium, past the cache.
    pub(super) fn read_back(&self, first: u64, buf: &mut [u8]) -> Result<(), UpdateError> {
        Ok(self.target.read_back(buf, self.offset + first * self.block_size)?)
    }

    /// Fails unless the medium holds `bytes` from block `first` on.
    pub(super) fn ensure_written(
        &self,
        first: u64,
        bytes: &[u8],
        what: &'static str,
    ) -> Result<(), UpdateError> {
        let mut found = vec![0; bytes.len()];
        self.read_back(first, &mut found)?;
        match found == bytes {
            true => Ok(()),
            false => Err(self.differs(first, bytes.len() as u64, what)),
        }
    }

    /// The error for blocks that read otherwise than they were written.
    pub(super) fn differs(&self, first: u64, len: u64, what: &'static str) -> UpdateError {
        let offset = self.offset + first * self.block_size;
        UpdateError::ReadBack { target: self.target.name().into(), offset, len, what }
    }
}

impl Blocks for Disk<'_> {
    fn block(&self, number: u64) -> Result<Vec<u8>, UpdateError> {
        let mut bytes = vec![0; self.block_size as usize];
        self.read(number, &mut bytes)?;
        Ok(bytes)
    }
}
