//! Group descriptors of an existing filesystem, and their checksums.

use super::super::raw::{BLOCK_UNINIT, INODE_UNINIT, crc16, get16, get32, put16};
use super::checksum::crc32c;
use super::super_block::SuperBlock;

/// `struct ext4_group_desc` of 32 or 64 bytes; longer ones keep their rest.
#[derive(Clone)]
pub(super) struct Group {
    raw: Vec<u8>,
}

/// Kind of a bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bitmap {
    Blocks,
    Inodes,
}

impl Group {
    /// From the bytes of a descriptor.
    pub(super) fn new(raw: &[u8]) -> Group {
        Group { raw: raw.to_vec() }
    }

    /// All bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.raw
    }

    fn is_wide(&self) -> bool {
        self.raw.len() >= 64
    }

    fn place(&self, low: usize, high: usize) -> u64 {
        let top = if self.is_wide() { u64::from(get32(&self.raw, high)) << 32 } else { 0 };
        u64::from(get32(&self.raw, low)) | top
    }

    fn count(&self, low: usize, high: usize) -> u32 {
        let top = if self.is_wide() { u32::from(get16(&self.raw, high)) << 16 } else { 0 };
        u32::from(get16(&self.raw, low)) | top
    }

    fn set_count(&mut self, low: usize, high: usize, value: u32) {
        put16(&mut self.raw, low, value as u16);
        if self.is_wide() {
            put16(&mut self.raw, high, (value >> 16) as u16);
        }
    }

    /// Block of a bitmap.
    pub(super) fn bitmap(&self, bitmap: Bitmap) -> u64 {
        match bitmap {
            Bitmap::Blocks => self.place(0x00, 0x20),
            Bitmap::Inodes => self.place(0x04, 0x24),
        }
    }

    /// First block of the inode table.
    pub(super) fn inode_table(&self) -> u64 {
        self.place(0x08, 0x28)
    }

    /// Blocks or inodes in no use.
    pub(super) fn free(&self, bitmap: Bitmap) -> u32 {
        match bitmap {
            Bitmap::Blocks => self.count(0x0C, 0x2C),
            Bitmap::Inodes => self.count(0x0E, 0x2E),
        }
    }

    /// Sets [`Group::free`].
    pub(super) fn set_free(&mut self, bitmap: Bitmap, count: u32) {
        match bitmap {
            Bitmap::Blocks => self.set_count(0x0C, 0x2C, count),
            Bitmap::Inodes => self.set_count(0x0E, 0x2E, count),
        }
    }

    /// Inodes that are directories.
    pub(super) fn used_dirs(&self) -> u32 {
        self.count(0x10, 0x30)
    }

    /// Sets [`Group::used_dirs`].
    pub(super) fn set_used_dirs(&mut self, count: u32) {
        self.set_count(0x10, 0x30, count);
    }

    /// Inodes at the end of the table that were never in use.
    pub(super) fn itable_unused(&self) -> u32 {
        self.count(0x1C, 0x32)
    }

    /// Sets [`Group::itable_unused`].
    pub(super) fn set_itable_unused(&mut self, count: u32) {
        self.set_count(0x1C, 0x32, count);
    }

    /// Returns whether a bitmap was never written.
    pub(super) fn is_uninit(&self, bitmap: Bitmap) -> bool {
        get16(&self.raw, 0x12) & uninit(bitmap) != 0
    }

    /// Says that a bitmap is written now.
    pub(super) fn set_init(&mut self, bitmap: Bitmap) {
        let flags = get16(&self.raw, 0x12) & !uninit(bitmap);
        put16(&mut self.raw, 0x12, flags);
    }

    /// Returns whether the stored checksum of a bitmap is that of its bytes.
    pub(super) fn knows(&self, bitmap: Bitmap, bytes: &[u8], super_block: &SuperBlock) -> bool {
        let mut same = self.clone();
        same.seal_bitmap(bitmap, bytes, super_block);
        same.raw == self.raw
    }

    /// Stores the checksum of a bitmap.
    pub(super) fn seal_bitmap(&mut self, bitmap: Bitmap, bytes: &[u8], super_block: &SuperBlock) {
        if !super_block.has_metadata_csum() {
            return;
        }
        let (bits, low, high) = match bitmap {
            Bitmap::Blocks => (super_block.blocks_per_group() as usize, 0x18, 0x38),
            Bitmap::Inodes => (super_block.inodes_per_group() as usize, 0x1A, 0x3A),
        };
        let crc = crc32c(super_block.checksum_seed(), &bytes[..bits / 8]);
        self.set_count(low, high, crc);
    }

    /// The checksum of the descriptor of `number`; none without the features for that.
    pub(super) fn checksum(&self, number: u32, super_block: &SuperBlock) -> Option<u16> {
        let number = number.to_le_bytes();
        if super_block.has_metadata_csum() {
            let crc = crc32c(crc32c(super_block.checksum_seed(), &number), &self.raw[..0x1E]);
            let crc = crc32c(crc32c(crc, &[0, 0]), &self.raw[0x20..]);
            return Some(crc as u16);
        }
        super_block.has_gdt_csum().then(|| {
            let crc = crc16(crc16(0xFFFF, super_block.uuid()), &number);
            crc16(crc16(crc, &self.raw[..0x1E]), &self.raw[0x20..])
        })
    }

    /// Returns whether the stored checksum is right.
    pub(super) fn is_sound(&self, number: u32, super_block: &SuperBlock) -> bool {
        self.checksum(number, super_block).is_none_or(|crc| crc == get16(&self.raw, 0x1E))
    }

    /// Stores the checksum.
    pub(super) fn seal(&mut self, number: u32, super_block: &SuperBlock) {
        if let Some(crc) = self.checksum(number, super_block) {
            put16(&mut self.raw, 0x1E, crc);
        }
    }
}

fn uninit(bitmap: Bitmap) -> u16 {
    match bitmap {
        Bitmap::Blocks => BLOCK_UNINIT,
        Bitmap::Inodes => INODE_UNINIT,
    }
}
