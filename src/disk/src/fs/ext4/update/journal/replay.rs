//! Reading a log: which blocks have newer versions in it.

use std::collections::BTreeMap;

use super::super::checksum::crc32c;
use super::super::disk::{Blocks, Disk, JOURNAL_MAGIC, Logged};
use super::super::error::{UpdateError, corrupt};
use super::*;

/// Work that complete transactions left to be done.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// The newest version of each block.
    pub logged: BTreeMap<u64, Logged>,
    /// Number of the transaction behind the last complete one.
    pub next_sequence: u32,
}

/// One copy in the log.
struct Copy {
    block: u64,
    logged: Logged,
    crc: u32,
}

/// Contents of the log from one commit to the next.
#[derive(Default)]
struct Part {
    copies: Vec<Copy>,
    revoked: Vec<u64>,
    damaged: bool,
}

/// `a` is not older than `b`; numbers of transactions wrap around.
fn is_as_new(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

impl Journal {
    /// Reads the log up to the last transaction that has a commit block; what follows never happened.
    pub(crate) fn scan(&self, disk: &Disk) -> Result<Recovered, UpdateError> {
        let mut parts = Vec::new();
        let mut sequence = self.sequence();
        let mut cursor = Cursor { journal: self, at: be32(&self.raw, S_START), left: self.capacity() };
        if !self.is_empty() {
            if !(self.first()..self.end()).contains(&cursor.at) {
                return Err(corrupt("the log of the journal starts outside of it"));
            }
            while let Some(part) = cursor.part(disk, sequence)? {
                parts.push((sequence, part));
                sequence = sequence.wrapping_add(1);
            }
        }
        let logged = self.newest(disk, &parts)?;
        Ok(Recovered { logged, next_sequence: sequence })
    }

    /// The newest copy of each block that was not revoked since.
    fn newest(&self, disk: &Disk, parts: &[(u32, Part)]) -> Result<BTreeMap<u64, Logged>, UpdateError> {
        let mut revoked: BTreeMap<u64, u32> = BTreeMap::new();
        for (sequence, part) in parts {
            revoked.extend(part.revoked.iter().map(|block| (*block, *sequence)));
        }
        let mut newest = BTreeMap::new();
        for (sequence, part) in parts {
            if part.damaged {
                return Err(corrupt(format!("a checksum is wrong in transaction {sequence} of the journal")));
            }
            for copy in &part.copies {
                if revoked.get(&copy.block).is_some_and(|revoked| is_as_new(*revoked, *sequence)) {
                    continue;
                }
                self.ensure_copy(disk, copy, *sequence)?;
                newest.insert(copy.block, copy.logged);
            }
        }
        Ok(newest)
    }

    fn ensure_copy(&self, disk: &Disk, copy: &Copy, sequence: u32) -> Result<(), UpdateError> {
        if !self.has_checksums() {
            return Ok(());
        }
        let crc = self.block_checksum(sequence, &disk.block(copy.logged.at)?);
        let same = match self.incompat() & INCOMPAT_CSUM_V3 {
            0 => crc as u16 == copy.crc as u16,
            _ => crc == copy.crc,
        };
        match same {
            true => Ok(()),
            false => Err(corrupt(format!(
                "the checksum of a copy of block {} is wrong in transaction {sequence} of the journal",
                copy.block
            ))),
        }
    }

    fn has_sound_tail(&self, bytes: &[u8]) -> bool {
        if !self.has_checksums() {
            return true;
        }
        let mut zeroed = bytes.to_vec();
        put_be32(&mut zeroed, self.tags_end(), 0);
        crc32c(self.seed(), &zeroed) == be32(bytes, self.tags_end())
    }

    fn has_sound_commit(&self, bytes: &[u8]) -> bool {
        if !self.has_checksums() {
            return true;
        }
        let mut zeroed = bytes.to_vec();
        put_be32(&mut zeroed, 16, 0);
        crc32c(self.seed(), &zeroed) == be32(bytes, 16)
    }

    /// The tags of a descriptor: block, flags, checksum.
    fn tags(&self, bytes: &[u8]) -> Vec<(u64, u32, u32)> {
        let mut tags = Vec::new();
        let mut at = 12;
        while at + self.tag_len() <= self.tags_end() {
            let tag = &bytes[at..];
            let low = u64::from(be32(tag, 0));
            let wide = self.incompat() & INCOMPAT_64BIT != 0;
            let (flags, crc) = match self.incompat() & INCOMPAT_CSUM_V3 {
                0 => (be32(tag, 4) & 0xFFFF, be32(tag, 4) >> 16),
                _ => (be32(tag, 4), be32(tag, 12)),
            };
            let high = if wide { u64::from(be32(tag, 8)) << 32 } else { 0 };
            tags.push((low | high, flags, crc));
            at += self.tag_len() + if flags & TAG_SAME_UUID == 0 { 16 } else { 0 };
            if flags & TAG_LAST != 0 {
                break;
            }
        }
        tags
    }

    /// The blocks a revocation names.
    fn revoked(&self, bytes: &[u8]) -> Vec<u64> {
        let used = (be32(bytes, 12) as usize).clamp(16, self.tags_end());
        match self.incompat() & INCOMPAT_64BIT {
            0 => bytes[16..used].chunks_exact(4).map(|entry| be32(entry, 0).into()).collect(),
            _ => bytes[16..used]
                .chunks_exact(8)
                .map(|entry| u64::from(be32(entry, 0)) << 32 | u64::from(be32(entry, 4)))
                .collect(),
        }
    }
}

/// A place in the log.
struct Cursor<'j> {
    journal: &'j Journal,
    at: u32,
    /// Blocks that were not looked at yet.
    left: u64,
}

impl Cursor<'_> {
    /// The next block of the journal; none when all were seen.
    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let at = self.at;
        self.at = if at + 1 == self.journal.end() { self.journal.first() } else { at + 1 };
        Some(at)
    }

    /// The transaction with a number, if it is complete.
    fn part(&mut self, disk: &Disk, sequence: u32) -> Result<Option<Part>, UpdateError> {
        let mut part = Part::default();
        while let Some(at) = self.next() {
            let bytes = disk.block(self.journal.place(at)?)?;
            if be32(&bytes, 0) != JOURNAL_MAGIC || be32(&bytes, 8) != sequence {
                return Ok(None);
            }
            match be32(&bytes, 4) {
                DESCRIPTOR => {
                    part.damaged |= !self.journal.has_sound_tail(&bytes);
                    if !self.copies(&bytes, &mut part)? {
                        return Ok(None);
                    }
                }
                REVOKE => {
                    part.damaged |= !self.journal.has_sound_tail(&bytes);
                    part.revoked.extend(self.journal.revoked(&bytes));
                }
                COMMIT if self.journal.has_sound_commit(&bytes) => return Ok(Some(part)),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Adds the copies behind a descriptor; says whether the log has them all.
    fn copies(&mut self, descriptor: &[u8], part: &mut Part) -> Result<bool, UpdateError> {
        for (block, flags, crc) in self.journal.tags(descriptor) {
            let Some(at) = self.next() else { return Ok(false) };
            let logged = Logged { at: self.journal.place(at)?, escaped: flags & TAG_ESCAPED != 0 };
            part.copies.push(Copy { block, logged, crc });
        }
        Ok(true)
    }
}
