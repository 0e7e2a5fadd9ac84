//! Inodes of an existing filesystem, and their checksums.

use super::super::raw::{EXTENTS_FL, INDEX_FL, get16, get32, put_time, put16, put32};
use super::checksum::crc32c;
use super::super_block::SuperBlock;
use crate::tree::Stat;
use crate::value::Timestamp;

/// `i_flags`: `i_blocks` counts blocks of the filesystem.
const HUGE_FILE_FL: u32 = 0x4_0000;
const S_IFMT: u16 = 0o170_000;
/// `i_mode` of a directory.
pub(super) const S_IFDIR: u16 = 0o040_000;
/// `i_mode` of a regular file.
pub(super) const S_IFREG: u16 = 0o100_000;
/// `i_mode` of a symbolic link.
pub(super) const S_IFLNK: u16 = 0o120_000;

/// One inode with its number.
#[derive(Clone)]
pub(super) struct Inode {
    /// Its number.
    pub number: u32,
    raw: Vec<u8>,
}

impl Inode {
    /// From the bytes in the inode table.
    pub(super) fn new(number: u32, raw: &[u8]) -> Inode {
        Inode { number, raw: raw.to_vec() }
    }

    /// One for a new file, in the place of `old`: with a generation of its own, that old handles do not match.
    pub(super) fn create(old: &Inode, kind: u16, stat: Stat, super_block: &SuperBlock) -> Inode {
        let mut b = vec![0; old.raw.len()];
        put32(&mut b, 0x64, old.generation().wrapping_add(1));
        put16(&mut b, 0x00, kind | stat.mode as u16 & 0o7777);
        put16(&mut b, 0x02, stat.uid as u16);
        put16(&mut b, 0x18, stat.gid as u16);
        put16(&mut b, 0x78, (stat.uid >> 16) as u16);
        put16(&mut b, 0x7A, (stat.gid >> 16) as u16);
        if b.len() > 128 {
            put16(&mut b, 0x80, super_block.want_extra_isize());
        }
        let mut inode = Inode { number: old.number, raw: b };
        inode.set_time(0x10, 0x88, stat.mtime);
        inode
    }

    /// All bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.raw
    }

    /// Type and permissions.
    pub(super) fn mode(&self) -> u16 {
        get16(&self.raw, 0x00)
    }

    /// `S_IFDIR`, `S_IFREG` and so on.
    pub(super) fn kind(&self) -> u16 {
        self.mode() & S_IFMT
    }

    /// Owner.
    pub(super) fn uid(&self) -> u32 {
        u32::from(get16(&self.raw, 0x02)) | u32::from(get16(&self.raw, 0x78)) << 16
    }

    /// Group.
    pub(super) fn gid(&self) -> u32 {
        u32::from(get16(&self.raw, 0x18)) | u32::from(get16(&self.raw, 0x7A)) << 16
    }

    /// Length in bytes.
    pub(super) fn size(&self) -> u64 {
        u64::from(get32(&self.raw, 0x04)) | u64::from(get32(&self.raw, 0x6C)) << 32
    }

    /// Sets [`Inode::size`].
    pub(super) fn set_size(&mut self, size: u64) {
        put32(&mut self.raw, 0x04, size as u32);
        put32(&mut self.raw, 0x6C, (size >> 32) as u32);
    }

    /// Number of names.
    pub(super) fn links(&self) -> u16 {
        get16(&self.raw, 0x1A)
    }

    /// Sets [`Inode::links`].
    pub(super) fn set_links(&mut self, links: u16) {
        put16(&mut self.raw, 0x1A, links);
    }

    /// Modification time, in seconds.
    pub(super) fn mtime(&self) -> Timestamp {
        let extra = if self.has_extra(0x88) { Timestamp::from(get32(&self.raw, 0x88) & 3) << 32 } else { 0 };
        Timestamp::from(get32(&self.raw, 0x10) as i32) + extra
    }

    /// `i_block`.
    pub(super) fn block(&self) -> &[u8] {
        &self.raw[0x28..0x64]
    }

    /// Sets [`Inode::block`].
    pub(super) fn set_block(&mut self, block: &[u8; 60]) {
        self.raw[0x28..0x64].copy_from_slice(block);
    }

    /// `i_flags`.
    pub(super) fn flags(&self) -> u32 {
        get32(&self.raw, 0x20)
    }

    /// Returns whether `i_block` is an extent tree.
    pub(super) fn has_extents(&self) -> bool {
        self.flags() & EXTENTS_FL != 0
    }

    /// Says that `i_block` is an extent tree.
    pub(super) fn set_extents(&mut self) {
        let flags = self.flags() | EXTENTS_FL;
        put32(&mut self.raw, 0x20, flags);
    }

    /// Returns whether the directory has a hash index.
    pub(super) fn is_indexed(&self) -> bool {
        self.flags() & INDEX_FL != 0
    }

    /// Says that the directory is to be read from start to end.
    pub(super) fn clear_index(&mut self) {
        let flags = self.flags() & !INDEX_FL;
        put32(&mut self.raw, 0x20, flags);
    }

    /// Block of extended attributes; none if zero.
    pub(super) fn file_acl(&self) -> u64 {
        u64::from(get32(&self.raw, 0x68)) | u64::from(get16(&self.raw, 0x76)) << 32
    }

    /// `i_blocks` in blocks of `block_size`.
    pub(super) fn blocks(&self, block_size: u64) -> u64 {
        let count = u64::from(get32(&self.raw, 0x1C)) | u64::from(get16(&self.raw, 0x74)) << 32;
        if self.flags() & HUGE_FILE_FL != 0 { count } else { count * 512 / block_size }
    }

    /// Sets [`Inode::blocks`].
    pub(super) fn set_blocks(&mut self, blocks: u64, block_size: u64) {
        let huge = self.flags() & HUGE_FILE_FL != 0;
        let count = if huge { blocks } else { blocks * block_size / 512 };
        put32(&mut self.raw, 0x1C, count as u32);
        put16(&mut self.raw, 0x74, (count >> 32) as u16);
    }

    /// Bytes behind the fixed fields, where extended attributes are.
    pub(super) fn attributes(&self) -> &[u8] {
        self.raw.get(128 + self.extra_isize()..).unwrap_or_default()
    }

    /// Returns whether a symbolic link has its target in `i_block`.
    pub(super) fn is_fast_link(&self, block_size: u64) -> bool {
        let attributes = u64::from(self.file_acl() != 0);
        self.kind() == S_IFLNK && !self.has_extents() && self.blocks(block_size) == attributes
    }

    /// Returns whether `i_block` leads to blocks.
    pub(super) fn has_blocks(&self, block_size: u64) -> bool {
        matches!(self.kind(), S_IFREG | S_IFDIR) || self.kind() == S_IFLNK && !self.is_fast_link(block_size)
    }

    /// Time of deletion; of an orphan, the next one.
    pub(super) fn dtime(&self) -> u32 {
        get32(&self.raw, 0x14)
    }

    /// Sets [`Inode::dtime`].
    pub(super) fn set_dtime(&mut self, time: u32) {
        put32(&mut self.raw, 0x14, time);
    }

    fn generation(&self) -> u32 {
        get32(&self.raw, 0x64)
    }

    fn extra_isize(&self) -> usize {
        if self.raw.len() > 128 { get16(&self.raw, 0x80).into() } else { 0 }
    }

    fn has_extra(&self, at: usize) -> bool {
        at + 4 <= 128 + self.extra_isize() && at + 4 <= self.raw.len()
    }

    /// Writes a time and, where there is room, the bits that take it beyond 2038.
    fn set_time(&mut self, at: usize, extra: usize, time: Timestamp) {
        match self.has_extra(extra) {
            true => put_time(&mut self.raw, at, extra, time),
            false => put32(&mut self.raw, at, time as u32),
        }
    }

    /// Sets the time at which the inode changed.
    pub(super) fn set_ctime(&mut self, time: Timestamp) {
        self.set_time(0x0C, 0x84, time);
    }

    /// Sets the time at which the content changed.
    pub(super) fn set_mtime(&mut self, time: Timestamp) {
        self.set_time(0x10, 0x88, time);
    }

    /// Sets the times of a file that came into being.
    pub(super) fn set_birth(&mut self, time: Timestamp) {
        self.set_time(0x08, 0x8C, time);
        self.set_ctime(time);
        if self.has_extra(0x94) {
            put_time(&mut self.raw, 0x90, 0x94, time);
        }
    }

    /// Seed of the checksums of its extents and directory blocks.
    pub(super) fn checksum_seed(&self, super_block: &SuperBlock) -> u32 {
        let crc = crc32c(super_block.checksum_seed(), &self.number.to_le_bytes());
        crc32c(crc, &self.generation().to_le_bytes())
    }

    fn has_wide_checksum(&self) -> bool {
        self.extra_isize() >= 4
    }

    fn checksum(&self, super_block: &SuperBlock) -> u32 {
        let mut bytes = self.raw.clone();
        put16(&mut bytes, 0x7C, 0);
        if self.has_wide_checksum() {
            put16(&mut bytes, 0x82, 0);
        }
        crc32c(self.checksum_seed(super_block), &bytes)
    }

    /// Stores the checksum.
    pub(super) fn seal(&mut self, super_block: &SuperBlock) {
        if !super_block.has_metadata_csum() {
            return;
        }
        let crc = self.checksum(super_block);
        put16(&mut self.raw, 0x7C, crc as u16);
        if self.has_wide_checksum() {
            put16(&mut self.raw, 0x82, (crc >> 16) as u16);
        }
    }

    /// Returns whether the stored checksum is right.
    pub(super) fn is_sound(&self, super_block: &SuperBlock) -> bool {
        let mut same = self.clone();
        same.seal(super_block);
        same.raw == self.raw
    }
}
