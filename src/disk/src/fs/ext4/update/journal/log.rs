//! Writing a transaction into an empty log.

use super::super::checksum::crc32c;
use super::super::disk::{Disk, JOURNAL_MAGIC};
use super::super::error::UpdateError;
use super::super::transaction::Changed;
use super::*;
use crate::value::Timestamp;

/// `t_uuid`
const UUID: usize = 16;
const HEADER: usize = 12;
/// `h_chksum`
const COMMIT_CHECKSUM: usize = 16;
/// `h_commit_sec`
const COMMIT_SECONDS: usize = 48;

impl Journal {
    /// Bytes of a tag (`journal_tag_bytes`).
    pub(super) fn tag_len(&self) -> usize {
        let wide = self.incompat() & INCOMPAT_64BIT != 0;
        match self.incompat() & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) {
            0 => 8 + 4 * usize::from(wide),
            INCOMPAT_CSUM_V2 => 10 + 4 * usize::from(wide),
            _ => 16,
        }
    }

    /// Bytes of a descriptor that are for tags.
    pub(super) fn tags_end(&self) -> usize {
        self.block_size - if self.has_checksums() { 4 } else { 0 }
    }

    /// Tags in a descriptor; only the first is followed by an identity.
    fn tags_in_descriptor(&self) -> usize {
        (self.tags_end() - HEADER - UUID) / self.tag_len()
    }

    fn header(&self, kind: u32, sequence: u32) -> Vec<u8> {
        let mut bytes = vec![0; self.block_size];
        put_be32(&mut bytes, 0, JOURNAL_MAGIC);
        put_be32(&mut bytes, 4, kind);
        put_be32(&mut bytes, 8, sequence);
        bytes
    }

    /// The checksum of a block in a transaction.
    pub(super) fn block_checksum(&self, sequence: u32, bytes: &[u8]) -> u32 {
        crc32c(crc32c(self.seed(), &sequence.to_be_bytes()), bytes)
    }

    fn put_tag(&self, bytes: &mut [u8], block: u64, flags: u32, crc: u32) {
        put_be32(bytes, 0, block as u32);
        let high = (block >> 32) as u32;
        if self.incompat() & INCOMPAT_CSUM_V3 != 0 {
            put_be32(bytes, 4, flags);
            put_be32(bytes, 8, high);
            put_be32(bytes, 12, crc);
            return;
        }
        if self.has_checksums() {
            put_be16(bytes, 4, crc as u16);
        }
        put_be16(bytes, 6, flags as u16);
        if self.incompat() & INCOMPAT_64BIT != 0 {
            put_be32(bytes, 8, high);
        }
    }

    /// A descriptor and the copies it lists.
    fn part(&self, blocks: &[(u64, &[u8])], sequence: u32) -> Vec<u8> {
        let mut descriptor = self.header(DESCRIPTOR, sequence);
        let mut copies = Vec::new();
        let mut at = HEADER;
        for (index, (block, bytes)) in blocks.iter().enumerate() {
            let mut copy = bytes.to_vec();
            let mut flags = 0;
            if be32(&copy, 0) == JOURNAL_MAGIC {
                put_be32(&mut copy, 0, 0);
                flags |= TAG_ESCAPED;
            }
            flags |= if index > 0 { TAG_SAME_UUID } else { 0 };
            flags |= if index + 1 == blocks.len() { TAG_LAST } else { 0 };
            self.put_tag(&mut descriptor[at..], *block, flags, self.block_checksum(sequence, &copy));
            at += self.tag_len();
            if index == 0 {
                descriptor[at..at + UUID].copy_from_slice(&self.raw[0x30..0x40]);
                at += UUID;
            }
            copies.extend(copy);
        }
        self.seal_tail(&mut descriptor);
        [descriptor, copies].concat()
    }

    /// The checksum at the end of descriptors and revocations.
    fn seal_tail(&self, bytes: &mut [u8]) {
        if self.has_checksums() {
            let crc = crc32c(self.seed(), bytes);
            put_be32(bytes, self.tags_end(), crc);
        }
    }

    fn commit_block(&self, sequence: u32, time: Timestamp) -> Vec<u8> {
        let mut bytes = self.header(COMMIT, sequence);
        bytes[COMMIT_SECONDS..COMMIT_SECONDS + 8].copy_from_slice(&time.to_be_bytes());
        if self.has_checksums() {
            let crc = crc32c(self.seed(), &bytes);
            put_be32(&mut bytes, COMMIT_CHECKSUM, crc);
        }
        bytes
    }

    /// All blocks of a transaction, in log order.
    fn transaction(&self, changed: &Changed, sequence: u32, time: Timestamp) -> Vec<u8> {
        let blocks: Vec<(u64, &[u8])> =
            changed.iter().map(|(block, (_, bytes))| (*block, &bytes[..])).collect();
        let parts = blocks.chunks(self.tags_in_descriptor()).map(|blocks| self.part(blocks, sequence));
        let mut bytes: Vec<u8> = parts.flatten().collect();
        bytes.extend(self.commit_block(sequence, time));
        bytes
    }

    /// Fails unless `blocks` blocks fit into one transaction.
    fn ensure_room(&self, blocks: u64) -> Result<(), UpdateError> {
        let need = blocks + blocks.div_ceil(self.tags_in_descriptor() as u64) + 1;
        let have = self.capacity();
        if need <= have { Ok(()) } else { Err(UpdateError::JournalTooSmall { need, have }) }
    }

    /// Writes a transaction from the first block of an empty log on, syncs, and reads it back. It is not there before
    /// [`Journal::start`].
    pub(crate) fn write(
        &self,
        disk: &Disk,
        changed: &Changed,
        sequence: u32,
        time: Timestamp,
    ) -> Result<(), UpdateError> {
        self.ensure_room(changed.len() as u64)?;
        if self.incompat() & INCOMPAT_64BIT == 0 && changed.keys().any(|block| block >> 32 != 0) {
            return Err(UpdateError::Unsupported { what: "a journal of 32 bits for blocks of 48".into() });
        }
        let mut bytes = self.transaction(changed, sequence, time);
        // What an earlier life of the journal left behind it cannot be taken for the next transaction.
        if ((bytes.len() / self.block_size) as u64) < self.capacity() {
            bytes.resize(bytes.len() + self.block_size, 0);
        }
        let pieces = self.pieces(bytes.len() / self.block_size)?;
        let mut rest = &bytes[..];
        for (place, count) in &pieces {
            let (piece, after) = rest.split_at(count * self.block_size);
            disk.write(*place, piece)?;
            rest = after;
        }
        disk.sync()?;
        let mut rest = &bytes[..];
        for (place, count) in &pieces {
            let (piece, after) = rest.split_at(count * self.block_size);
            disk.ensure_written(*place, piece, "the journal")?;
            rest = after;
        }
        Ok(())
    }

    /// Places of the first `count` blocks of the log: runs with their lengths.
    fn pieces(&self, count: usize) -> Result<Vec<(u64, usize)>, UpdateError> {
        let mut pieces: Vec<(u64, usize)> = Vec::new();
        for block in self.first()..self.first() + count as u32 {
            let place = self.place(block)?;
            match pieces.last_mut() {
                Some((start, len)) if *start + *len as u64 == place => *len += 1,
                _ => pieces.push((place, 1)),
            }
        }
        Ok(pieces)
    }
}
