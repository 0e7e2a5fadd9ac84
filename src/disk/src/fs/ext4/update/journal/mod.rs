//! The journal of a filesystem (jbd2): its superblock, what is in its log, and writing a transaction to it.
//!
//! Sources: the kernel's `Documentation/filesystems/ext4/journal.rst` and `include/linux/jbd2.h`.

mod log;
mod replay;

use std::ops::Range;

pub(super) use replay::Recovered;

use super::checksum::crc32c;
use super::disk::{Blocks, Disk, JOURNAL_MAGIC};
use super::error::{UpdateError, corrupt};
use super::map::Map;
use super::super_block::SECTOR;
use super::transaction::Transaction;

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPER_V1: u32 = 3;
const SUPER_V2: u32 = 4;
const REVOKE: u32 = 5;

const S_SEQUENCE: usize = 0x18;
const S_START: usize = 0x1C;
const S_CHECKSUM: usize = 0xFC;

const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
/// revoke, 64bit, async_commit, csum_v2, csum_v3
const KNOWN_INCOMPAT: u32 = 0x1 | INCOMPAT_64BIT | 0x4 | INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3;

/// `t_flags`: the first four bytes are the magic number and zero in the log.
const TAG_ESCAPED: u32 = 1;
/// `t_flags`: no identity follows.
const TAG_SAME_UUID: u32 = 2;
/// `t_flags`: the last one of a descriptor.
const TAG_LAST: u32 = 8;

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put_be32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn put_be16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// A journal in the filesystem it is for.
pub(super) struct Journal {
    raw: [u8; 1024],
    runs: Vec<Range<u64>>,
    block_size: usize,
}

impl Journal {
    /// The journal in its inode.
    pub(super) fn open(view: &Transaction) -> Result<Journal, UpdateError> {
        let number = view.super_block.journal_inode();
        if number == 0 {
            return Err(UpdateError::Unsupported { what: "its journal on another device".into() });
        }
        let map = Map::read(view, &view.inode(number)?, &view.super_block)?;
        let first = map.find(0).ok_or_else(|| corrupt("the journal has no first block"))?;
        let mut raw = [0; 1024];
        raw.copy_from_slice(&view.block(first)?[..1024]);
        let dense = map.runs.iter().try_fold(0, |end, run| (run.logical == end).then_some(end + run.len));
        let runs = map.runs.iter().map(|run| run.physical..run.physical + run.len).collect();
        let journal = Journal { raw, runs, block_size: view.block_size() as usize };
        journal.ensure_usable(dense.ok_or_else(|| corrupt("the journal has a hole"))?)?;
        Ok(journal)
    }

    fn ensure_usable(&self, blocks: u64) -> Result<(), UpdateError> {
        let kind = be32(&self.raw, 4);
        let known = be32(&self.raw, 0) == JOURNAL_MAGIC && (kind == SUPER_V1 || kind == SUPER_V2);
        let sane = be32(&self.raw, 0x0C) as usize == self.block_size
            && u64::from(self.end()) <= blocks
            && (1..self.end()).contains(&self.first());
        if !known || !sane {
            return Err(corrupt("the superblock of the journal is malformed"));
        }
        let unknown =
            self.incompat() & !KNOWN_INCOMPAT | if kind == SUPER_V2 { be32(&self.raw, 0x2C) } else { 0 };
        if unknown != 0 {
            return Err(UpdateError::Unsupported { what: format!("a journal with features {unknown:#x}") });
        }
        if self.has_checksums() && self.super_checksum() != be32(&self.raw, S_CHECKSUM) {
            return Err(corrupt("the checksum of the superblock of the journal is wrong"));
        }
        match be32(&self.raw, 0x20) {
            0 => Ok(()),
            _ => Err(UpdateError::NeedsCheck { state: "has errors, says its journal" }),
        }
    }

    fn incompat(&self) -> u32 {
        if be32(&self.raw, 4) == SUPER_V2 { be32(&self.raw, 0x28) } else { 0 }
    }

    fn has_checksums(&self) -> bool {
        self.incompat() & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0
    }

    /// Seed of checksums in the log.
    fn seed(&self) -> u32 {
        crc32c(!0, &self.raw[0x30..0x40])
    }

    fn super_checksum(&self) -> u32 {
        let mut raw = self.raw;
        put_be32(&mut raw, S_CHECKSUM, 0);
        crc32c(!0, &raw)
    }

    /// First block of the log.
    fn first(&self) -> u32 {
        be32(&self.raw, 0x14)
    }

    /// The block behind the log.
    fn end(&self) -> u32 {
        be32(&self.raw, 0x10)
    }

    fn sequence(&self) -> u32 {
        be32(&self.raw, S_SEQUENCE)
    }

    /// Returns whether nothing is in the log.
    pub(super) fn is_empty(&self) -> bool {
        be32(&self.raw, S_START) == 0
    }

    /// Blocks a transaction can have.
    fn capacity(&self) -> u64 {
        (self.end() - self.first()).into()
    }

    /// Returns the place of a block of the journal.
    fn place(&self, block: u32) -> Result<u64, UpdateError> {
        let mut rest = u64::from(block);
        for run in &self.runs {
            let len = run.end - run.start;
            if rest < len {
                return Ok(run.start + rest);
            }
            rest -= len;
        }
        Err(corrupt("the log is longer than the journal"))
    }

    /// Says where the log begins and with which transaction; at 0 there is nothing in it. All of that is in the first
    /// sector, so that it happens or does not.
    fn mark(&mut self, disk: &Disk, sequence: u32, start: u32) -> Result<(), UpdateError> {
        put_be32(&mut self.raw, S_SEQUENCE, sequence);
        put_be32(&mut self.raw, S_START, start);
        if self.has_checksums() {
            let crc = self.super_checksum();
            put_be32(&mut self.raw, S_CHECKSUM, crc);
        }
        disk.write_bytes(self.place(0)? * disk.block_size(), &self.raw[..SECTOR])?;
        disk.sync()
    }

    /// Says that the log is empty and that transactions up to `sequence` are done with.
    pub(super) fn empty(&mut self, disk: &Disk, sequence: u32) -> Result<(), UpdateError> {
        self.mark(disk, sequence, 0)
    }

    /// Makes a transaction that [`Journal::write`] wrote the one to be replayed.
    pub(super) fn start(&mut self, disk: &Disk, sequence: u32) -> Result<(), UpdateError> {
        self.mark(disk, sequence, self.first())
    }

    /// The number of the next transaction of an empty log.
    pub(super) fn next_sequence(&self) -> u32 {
        self.sequence().wrapping_add(1)
    }
}
