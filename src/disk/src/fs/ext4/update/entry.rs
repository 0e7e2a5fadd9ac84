//! Entries of a block of a directory.

use std::ops::Range;

use super::super::raw::{get16, get32, put16, put32};
use super::checksum::crc32c;
use super::inode::Inode;
use super::super_block::SuperBlock;

/// `struct ext4_dir_entry_tail`: looks like an entry without a name.
pub(super) const TAIL: usize = 12;
pub(super) const TAIL_TYPE: u8 = 0xDE;

/// Inode that a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Inode.
    pub inode: u32,
    /// `file_type` of the entry.
    pub file_type: u8,
}

/// `file_type` of a directory.
pub(super) const TYPE_DIRECTORY: u8 = 2;

/// Bytes an entry with a name of `len` bytes takes.
pub(super) fn entry_len(len: usize) -> usize {
    (8 + len).next_multiple_of(4)
}

/// One entry of a block.
pub(super) struct Entry {
    pub at: usize,
    pub rec_len: usize,
    pub link: Link,
    pub name: Range<usize>,
}

impl Entry {
    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        if self.link.inode == 0 { 0 } else { entry_len(self.name.len()) }
    }
}

/// The entries of a block of which `end` bytes are for entries.
pub(super) fn entries(bytes: &[u8], end: usize) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at < end {
        let (rec_len, name_len) = (usize::from(get16(bytes, at + 4)), usize::from(bytes[at + 6]));
        let fits = rec_len >= entry_len(name_len) && rec_len.is_multiple_of(4) && at + rec_len <= end;
        if !fits {
            return None;
        }
        let link = Link { inode: get32(bytes, at), file_type: bytes[at + 7] };
        entries.push(Entry { at, rec_len, link, name: at + 8..at + 8 + name_len });
        at += rec_len;
    }
    Some(entries)
}

pub(super) fn put_entry(bytes: &mut [u8], at: usize, rec_len: usize, name: &[u8], link: Link) {
    put32(bytes, at, link.inode);
    put16(bytes, at + 4, rec_len as u16);
    bytes[at + 6] = name.len() as u8;
    bytes[at + 7] = link.file_type;
    bytes[at + 8..at + 8 + name.len()].copy_from_slice(name);
}

/// Puts a name into the unused end of an entry; says whether there was one.
pub(super) fn insert_into(bytes: &mut [u8], end: usize, name: &[u8], link: Link) -> Option<bool> {
    let need = entry_len(name.len());
    let all = entries(bytes, end)?;
    let Some(entry) = all.iter().find(|entry| entry.rec_len - entry.used() >= need) else {
        return Some(false);
    };
    let at = entry.at + entry.used();
    put_entry(bytes, at, entry.at + entry.rec_len - at, name, link);
    if entry.used() > 0 {
        put16(bytes, entry.at + 4, entry.used() as u16);
    }
    Some(true)
}

/// Bytes of a block of names: what the checksum at its end leaves.
pub(super) fn entries_end(super_block: &SuperBlock) -> usize {
    super_block.block_size() as usize - if super_block.has_metadata_csum() { TAIL } else { 0 }
}

/// Writes the checksum at the end of a block of names.
pub(super) fn seal(bytes: &mut [u8], inode: &Inode, super_block: &SuperBlock) {
    if super_block.has_metadata_csum() {
        let at = bytes.len() - TAIL;
        bytes[at..].fill(0);
        put16(bytes, at + 4, TAIL as u16);
        bytes[at + 7] = TAIL_TYPE;
        let crc = crc32c(inode.checksum_seed(super_block), &bytes[..at]);
        put32(bytes, at + 8, crc);
    }
}

/// The only block of a directory that has no names yet.
pub(super) fn first_block(inode: &Inode, parent: u32, super_block: &SuperBlock) -> Vec<u8> {
    let mut bytes = vec![0; super_block.block_size() as usize];
    let link = |inode| Link { inode, file_type: TYPE_DIRECTORY };
    put_entry(&mut bytes, 0, 12, b".", link(inode.number));
    put_entry(&mut bytes, 12, entries_end(super_block) - 12, b"..", link(parent));
    seal(&mut bytes, inode, super_block);
    bytes
}
