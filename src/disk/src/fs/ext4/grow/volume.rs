//! A filesystem as its superblock and descriptors describe it (kernel: Documentation/filesystems/ext4, super.rst
//! and group_descr.rst), made by whom ever.

use std::ops::Range;

use skiff_signatures::ext4::{EXT4_SUPER_MAGIC, S_MAGIC, SUPER_BLOCK_OFFSET, compat, incompat, ro_compat};

use super::GrowError;
use super::supported::{reject_unclean, reject_unknown};
use crate::fs::ext4::checksum::crc32c;
use crate::fs::ext4::geometry::has_super;
use crate::fs::ext4::raw::{self, crc16, get16, get32, put16, put32};
use crate::storage::{Target, TargetError};

/// Checksums of descriptors and bitmaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksums {
    /// Nothing; tables and bitmaps must be initialized.
    None,
    /// `uninit_bg`: CRC-16 over descriptors.
    Descriptors,
    /// `metadata_csum`: CRC-32C over all metadata, beginning with this.
    All { seed: u32 },
}

/// A filesystem on a target.
pub(super) struct Volume<'a> {
    target: &'a dyn Target,
    /// First byte of the filesystem on the target.
    offset: u64,
    pub superblock: Vec<u8>,
    /// Group descriptors, as many bytes as whole blocks.
    pub descriptors: Vec<u8>,
    pub checksums: Checksums,
    /// Bytes of a block.
    pub block: u64,
    /// `s_first_data_block`: 1 for blocks of 1 KiB, else 0.
    pub first: u64,
    pub blocks_per_group: u64,
    pub inodes_per_group: u64,
    pub desc_size: u64,
}

fn corrupt<T>(what: impl Into<String>) -> Result<T, GrowError> {
    Err(GrowError::Corrupt { what: what.into() })
}

impl<'a> Volume<'a> {
    /// The filesystem that begins at byte `offset` and has at most `room` bytes, if it can be grown.
    pub(super) fn open(target: &'a dyn Target, offset: u64, room: u64) -> Result<Volume<'a>, GrowError> {
        let mut superblock = vec![0; 1024];
        if room < SUPER_BLOCK_OFFSET + 1024 {
            return Err(GrowError::NotExt4 { offset, found: 0 });
        }
        target.read_at(&mut superblock, offset + SUPER_BLOCK_OFFSET)?;
        let b = &superblock;
        let found = get16(b, S_MAGIC);
        if found != EXT4_SUPER_MAGIC {
            return Err(GrowError::NotExt4 { offset, found });
        }
        reject_unknown(b)?;
        reject_unclean(b)?;
        let is_64bit = get32(b, incompat::AT) & incompat::IS_64BIT != 0;
        let volume = Volume {
            target,
            offset,
            checksums: checksums(b),
            block: 1024 << get32(b, 0x18).min(7),
            first: get32(b, 0x14).into(),
            blocks_per_group: get32(b, 0x20).into(),
            inodes_per_group: get32(b, 0x28).into(),
            desc_size: if is_64bit { get16(b, 0xFE).into() } else { 32 },
            descriptors: Vec::new(),
            superblock,
        };
        volume.reject_impossible(room)?;
        volume.with_descriptors()
    }

    fn reject_impossible(&self, room: u64) -> Result<(), GrowError> {
        let (b, bits) = (&self.superblock, 8 * self.block);
        if let Checksums::All { .. } = self.checksums
            && crc32c(!0, &b[..0x3FC]) != get32(b, 0x3FC)
        {
            return corrupt("the checksum of its superblock is wrong");
        }
        let per_inode_block = self.block / u64::from(get16(b, 0x58)).max(128);
        let possible = get32(b, 0x18) <= 6
            && get32(b, 0x18) == get32(b, 0x1C)
            && self.first == u64::from(self.block == 1024)
            && (8..=bits).contains(&self.blocks_per_group)
            && self.blocks_per_group.is_multiple_of(8)
            && (1..=bits).contains(&self.inodes_per_group)
            && self.inodes_per_group.is_multiple_of(per_inode_block.max(1))
            && matches!(self.desc_size, 32 | 64)
            && self.blocks() > self.first;
        if !possible {
            return corrupt("the numbers of its superblock contradict each other");
        }
        match self.blocks().checked_mul(self.block) {
            Some(len) if len <= room => Ok(()),
            _ => corrupt(format!(
                "it has {} blocks of {} bytes in a partition of {room}",
                self.blocks(),
                self.block
            )),
        }
    }

    fn with_descriptors(mut self) -> Result<Volume<'a>, GrowError> {
        let mut descriptors = vec![0; (self.desc_blocks(self.groups()) * self.block) as usize];
        self.read_blocks(self.first + 1, &mut descriptors)?;
        self.descriptors = descriptors;
        for group in 0..self.groups() {
            if self.descriptor_checksum(group).is_some_and(|sum| sum != get16(self.descriptor(group), 0x1E)) {
                return corrupt(format!("the checksum of group descriptor {group} is wrong"));
            }
        }
        Ok(self)
    }

    /// Blocks of the filesystem.
    pub(super) fn blocks(&self) -> u64 {
        self.wide(0x04, 0x150)
    }

    /// A number of which the high half counts only with `64bit`.
    pub(super) fn wide(&self, low: usize, high: usize) -> u64 {
        let high = if self.is_64bit() { get32(&self.superblock, high) } else { 0 };
        u64::from(get32(&self.superblock, low)) | u64::from(high) << 32
    }

    pub(super) fn set_wide(&mut self, low: usize, high: usize, value: u64) {
        put32(&mut self.superblock, low, value as u32);
        if self.is_64bit() {
            put32(&mut self.superblock, high, (value >> 32) as u32);
        }
    }

    pub(super) fn is_64bit(&self) -> bool {
        get32(&self.superblock, incompat::AT) & incompat::IS_64BIT != 0
    }

    pub(super) fn has_resize_inode(&self) -> bool {
        get32(&self.superblock, compat::AT) & compat::RESIZE_INODE != 0
    }

    /// Groups whose bitmaps and inode tables lie together.
    pub(super) fn flex_groups(&self) -> u64 {
        match get32(&self.superblock, incompat::AT) & incompat::FLEX_BG {
            0 => 1,
            _ => 1 << self.superblock[0x174].min(31),
        }
    }

    /// Blocks behind the descriptors into which they can grow.
    pub(super) fn reserved_gdt(&self) -> u64 {
        if self.has_resize_inode() { get16(&self.superblock, 0xCE).into() } else { 0 }
    }

    /// Groups in a filesystem of the present size.
    pub(super) fn groups(&self) -> u64 {
        self.groups_of(self.blocks())
    }

    pub(super) fn groups_of(&self, blocks: u64) -> u64 {
        (blocks - self.first).div_ceil(self.blocks_per_group)
    }

    /// Blocks of `group` in a filesystem of `blocks`.
    pub(super) fn group_range(&self, group: u64, blocks: u64) -> Range<u64> {
        let start = self.first + group * self.blocks_per_group;
        start..(start + self.blocks_per_group).min(blocks)
    }

    /// Blocks that the descriptors of so many groups take.
    pub(super) fn desc_blocks(&self, groups: u64) -> u64 {
        groups.div_ceil(self.descs_per_block())
    }

    pub(super) fn descs_per_block(&self) -> u64 {
        self.block / self.desc_size
    }

    /// Blocks of the inode table of a group.
    pub(super) fn inode_table_blocks(&self) -> u64 {
        (self.inodes_per_group * u64::from(get16(&self.superblock, 0x58))).div_ceil(self.block)
    }

    /// The groups of `range` that have a copy of superblock and descriptors.
    pub(super) fn supers(&self, range: Range<u64>) -> impl Iterator<Item = u64> + use<> {
        range.filter(|group| has_super(*group as u32))
    }

    pub(super) fn descriptor(&self, group: u64) -> &[u8] {
        &self.descriptors[(group * self.desc_size) as usize..][..self.desc_size as usize]
    }

    pub(super) fn descriptor_mut(&mut self, group: u64) -> &mut [u8] {
        &mut self.descriptors[(group * self.desc_size) as usize..][..self.desc_size as usize]
    }

    /// Returns the new `bg_checksum`; none where nothing protects descriptors.
    pub(super) fn descriptor_checksum(&self, group: u64) -> Option<u16> {
        let (descriptor, number) = (self.descriptor(group), (group as u32).to_le_bytes());
        match self.checksums {
            Checksums::None => None,
            Checksums::Descriptors => {
                let crc = crc16(crc16(0xFFFF, &self.superblock[0x68..0x78]), &number);
                Some(crc16(crc16(crc, &descriptor[..0x1E]), &descriptor[0x20..]))
            }
            Checksums::All { seed } => {
                let crc = crc32c(crc32c(crc32c(seed, &number), &descriptor[..0x1E]), &[0, 0]);
                Some(crc32c(crc, &descriptor[0x20..]) as u16)
            }
        }
    }

    /// Puts the right checksum into a changed descriptor.
    pub(super) fn seal_descriptor(&mut self, group: u64) {
        let sum = self.descriptor_checksum(group).unwrap_or(0);
        put16(self.descriptor_mut(group), 0x1E, sum);
    }

    /// The checksum of a bitmap whose first `bits` count, as far as the descriptor stores it.
    pub(super) fn bitmap_checksum(&self, bitmap: &[u8], bits: u64) -> Option<u32> {
        let Checksums::All { seed } = self.checksums else { return None };
        let sum = crc32c(seed, &bitmap[..(bits / 8) as usize]);
        Some(if self.desc_size >= 64 { sum } else { sum & 0xFFFF })
    }

    /// The superblock as the copy in `group`.
    pub(super) fn super_copy(&self, group: u64) -> Vec<u8> {
        let mut copy = self.superblock.clone();
        put16(&mut copy, 0x5A, group as u16);
        if let Checksums::All { .. } = self.checksums {
            let sum = crc32c(!0, &copy[..0x3FC]);
            put32(&mut copy, 0x3FC, sum);
        }
        copy
    }

    pub(super) fn read_blocks(&self, block: u64, bytes: &mut [u8]) -> Result<(), GrowError> {
        let end = block.saturating_mul(self.block).saturating_add(bytes.len() as u64);
        if end > self.blocks() * self.block {
            return corrupt(format!("it points to block {block}, but has {}", self.blocks()));
        }
        Ok(self.target.read_at(bytes, self.offset + block * self.block)?)
    }

    pub(super) fn read_block(&self, block: u64) -> Result<Vec<u8>, GrowError> {
        let mut bytes = vec![0; self.block as usize];
        self.read_blocks(block, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes at byte `at` of the filesystem.
    pub(super) fn write_at(&self, bytes: &[u8], at: u64) -> Result<(), TargetError> {
        self.target.write_at(bytes, self.offset + at)
    }

    pub(super) fn write_block(&self, block: u64, bytes: &[u8]) -> Result<(), TargetError> {
        self.write_at(bytes, block * self.block)
    }

    pub(super) fn zero_blocks(&self, block: u64, count: u64) -> Result<(), TargetError> {
        self.target.zero(self.offset + block * self.block, count * self.block)
    }

    /// Writes the superblock, and all copies of it, each with the descriptors behind it.
    pub(super) fn write_supers(&self) -> Result<(), TargetError> {
        self.write_at(&self.super_copy(0), SUPER_BLOCK_OFFSET)?;
        self.write_block(self.first + 1, &self.descriptors)?;
        for group in self.supers(1..self.groups()) {
            let start = self.group_range(group, self.blocks()).start;
            let mut copy = self.super_copy(group);
            copy.resize(self.block as usize, 0);
            self.write_block(start, &copy)?;
            self.write_block(start + 1, &self.descriptors)?;
        }
        Ok(())
    }
}

/// A field of a descriptor whose high half only descriptors of 64 bytes have.
pub(super) fn put_half(descriptor: &mut [u8], low: usize, high: usize, value: u64) {
    put16(descriptor, low, value as u16);
    if descriptor.len() >= 64 {
        put16(descriptor, high, (value >> 16) as u16);
    }
}

/// See [`put_half`].
pub(super) fn get_half(descriptor: &[u8], low: usize, high: usize) -> u64 {
    let high = if descriptor.len() >= 64 { get16(descriptor, high) } else { 0 };
    u64::from(get16(descriptor, low)) | u64::from(high) << 16
}

/// A block number in a descriptor.
pub(super) fn put_block(descriptor: &mut [u8], low: usize, high: usize, value: u64) {
    put32(descriptor, low, value as u32);
    if descriptor.len() >= 64 {
        put32(descriptor, high, (value >> 32) as u32);
    }
}

/// See [`put_block`].
pub(super) fn get_block(descriptor: &[u8], low: usize, high: usize) -> u64 {
    let high = if descriptor.len() >= 64 { get32(descriptor, high) } else { 0 };
    u64::from(get32(descriptor, low)) | u64::from(high) << 32
}

fn checksums(b: &[u8]) -> Checksums {
    let ro_compat = get32(b, ro_compat::AT);
    if ro_compat & ro_compat::METADATA_CSUM != 0 {
        let own = get32(b, incompat::AT) & incompat::CSUM_SEED != 0;
        return Checksums::All { seed: if own { get32(b, 0x270) } else { crc32c(!0, &b[0x68..0x78]) } };
    }
    match ro_compat & ro_compat::GDT_CSUM {
        0 => Checksums::None,
        _ => Checksums::Descriptors,
    }
}

/// Bytes of the inode with this number, which is in the first group.
pub(super) fn inode_offset(volume: &Volume, number: u32) -> u64 {
    let table = get_block(volume.descriptor(0), 0x08, 0x28);
    table * volume.block + u64::from(number - 1) * u64::from(get16(&volume.superblock, 0x58))
}

/// Puts the right checksum into a changed inode.
pub(super) fn seal_inode(volume: &Volume, number: u32, inode: &mut [u8]) {
    let Checksums::All { seed } = volume.checksums else { return };
    let has_high = inode.len() > 128 && get16(inode, 0x80) >= 4;
    put16(inode, 0x7C, 0); // i_checksum_lo
    if has_high {
        put16(inode, 0x82, 0); // i_checksum_hi
    }
    let crc = crc32c(crc32c(seed, &number.to_le_bytes()), &inode[0x64..0x68]); // i_generation
    let crc = crc32c(crc, inode);
    put16(inode, 0x7C, crc as u16);
    if has_high {
        put16(inode, 0x82, (crc >> 16) as u16);
    }
}

/// Block numbers in an indirect block.
pub(super) fn addresses_per_block(volume: &Volume) -> u64 {
    volume.block / 4
}

/// The number of the inode that owns the reserved descriptor blocks.
pub(super) const RESIZE_INO: u32 = raw::RESIZE_INO;
