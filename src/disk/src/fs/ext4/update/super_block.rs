//! The superblock of an existing filesystem: what it says, and changes that a torn write cannot break.

pub(super) use skiff_signatures::ext4::SUPER_BLOCK_OFFSET;
use skiff_signatures::ext4::{DIR_PREALLOC, EXT4_SUPER_MAGIC, S_MAGIC, compat, incompat, ro_compat};

use super::super::features::feature_names;
use super::super::raw::{get16, get32, put16, put32};
use super::checksum::{bytes_that_keep, crc32c};
use super::error::{UpdateError, corrupt};
use crate::value::Timestamp;

/// The smallest sector; what changes is in the first one.
pub(super) const SECTOR: usize = 512;

const S_CHECKSUM: usize = 0x3FC;
/// `s_snapshot_id` belongs to a feature that never came to be: nothing reads it. It is set so that `s_checksum`, which
/// lies in the other sector, stays as it is.
const S_SNAPSHOT_ID: usize = 0x184;

const VALID_FS: u16 = 1;
const ERROR_FS: u16 = 2;

/// Features that are kept right; all others are refused.
const KNOWN_COMPAT: u32 = DIR_PREALLOC
    | compat::HAS_JOURNAL
    | compat::EXT_ATTR
    | compat::RESIZE_INODE
    | compat::DIR_INDEX
    | compat::SPARSE_SUPER2
    | compat::STABLE_INODES
    | compat::ORPHAN_FILE;
const KNOWN_INCOMPAT: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::IS_64BIT
    | incompat::FLEX_BG
    | incompat::CSUM_SEED;
const KNOWN_RO_COMPAT: u32 = ro_compat::SPARSE_SUPER
    | ro_compat::LARGE_FILE
    | ro_compat::HUGE_FILE
    | ro_compat::GDT_CSUM
    | ro_compat::DIR_NLINK
    | ro_compat::EXTRA_ISIZE
    | ro_compat::METADATA_CSUM
    | ro_compat::VERITY
    | ro_compat::ORPHAN_PRESENT;

/// The 1024 bytes, checked.
#[derive(Clone)]
pub(super) struct SuperBlock {
    raw: [u8; 1024],
}

impl SuperBlock {
    /// Checks the bytes of a superblock that was found in a filesystem `offset` bytes into a target of which `len`
    /// bytes are there for it.
    pub(super) fn parse(raw: [u8; 1024], offset: u64, len: u64) -> Result<SuperBlock, UpdateError> {
        let found = get16(&raw, S_MAGIC);
        if found != EXT4_SUPER_MAGIC {
            return Err(UpdateError::NotExt4 { offset, found });
        }
        let super_block = SuperBlock { raw };
        super_block.reject_features()?;
        super_block.ensure_checksum()?;
        super_block.ensure_geometry(len)?;
        Ok(super_block)
    }

    fn reject_features(&self) -> Result<(), UpdateError> {
        let unknown = [
            ('C', compat::AT, KNOWN_COMPAT),
            ('I', incompat::AT, KNOWN_INCOMPAT),
            ('R', ro_compat::AT, KNOWN_RO_COMPAT),
        ]
        .map(|(set, at, known)| feature_names(set, get32(&self.raw, at) & !known));
        let features = unknown.concat();
        match features.is_empty() {
            false => Err(UpdateError::Features { features }),
            true if self.incompat() & incompat::FILETYPE == 0 || get32(&self.raw, 0x4C) == 0 => {
                Err(UpdateError::Unsupported { what: "directories without file types".into() })
            }
            true => Ok(()),
        }
    }

    fn ensure_checksum(&self) -> Result<(), UpdateError> {
        if self.has_metadata_csum() && crc32c(!0, &self.raw[..S_CHECKSUM]) != get32(&self.raw, S_CHECKSUM) {
            return Err(corrupt("the checksum of the superblock is wrong"));
        }
        Ok(())
    }

    fn ensure_geometry(&self, len: u64) -> Result<(), UpdateError> {
        let (log, inode_size) = (get32(&self.raw, 0x18), self.inode_size());
        if log > 5 {
            let what = format!("blocks of 2^{} bytes", u64::from(log) + 10);
            return Err(UpdateError::Unsupported { what });
        }
        let bits = 8 * self.block_size();
        let sane = self.blocks_per_group() > 0
            && self.blocks_per_group() <= bits
            && self.blocks_per_group().is_multiple_of(8)
            && u64::from(self.inodes_per_group()) <= bits
            && self.inodes_per_group() > 0
            && self.inodes_per_group().is_multiple_of(8)
            && inode_size.is_power_of_two()
            && (128..=self.block_size() as usize).contains(&inode_size)
            && self.desc_size().is_power_of_two()
            && (32..=1024).contains(&self.desc_size())
            && self.first_data_block() == u64::from(log == 0)
            && self.blocks_count() > self.first_data_block()
            && u64::from(self.inodes_count()) == self.groups_count() * u64::from(self.inodes_per_group());
        if !sane {
            return Err(corrupt("the numbers in the superblock contradict each other"));
        }
        match self.blocks_count().checked_mul(self.block_size()) {
            Some(bytes) if bytes <= len => Ok(()),
            _ => Err(corrupt(format!(
                "it has {} blocks of {} bytes but its partition has {len} bytes",
                self.blocks_count(),
                self.block_size()
            ))),
        }
    }

    /// Fails if damage is known, or where without a journal only a check can find whether there is some.
    pub(super) fn ensure_valid(&self) -> Result<(), UpdateError> {
        let state = get16(&self.raw, 0x3A);
        if state & ERROR_FS != 0 {
            return Err(UpdateError::NeedsCheck { state: "has errors, says its superblock" });
        }
        if state & VALID_FS == 0 && !self.has_journal() {
            return Err(UpdateError::NeedsCheck { state: "was not unmounted and has no journal" });
        }
        Ok(())
    }

    /// All bytes.
    pub(super) fn bytes(&self) -> &[u8; 1024] {
        &self.raw
    }

    fn wide(&self, low: usize, high: usize) -> u64 {
        let top = if self.is_64bit() { u64::from(get32(&self.raw, high)) << 32 } else { 0 };
        u64::from(get32(&self.raw, low)) | top
    }

    fn compat(&self) -> u32 {
        get32(&self.raw, compat::AT)
    }

    fn incompat(&self) -> u32 {
        get32(&self.raw, incompat::AT)
    }

    fn ro_compat(&self) -> u32 {
        get32(&self.raw, ro_compat::AT)
    }

    /// Returns whether block numbers have 48 bits.
    pub(super) fn is_64bit(&self) -> bool {
        self.incompat() & incompat::IS_64BIT != 0
    }

    /// Returns whether new files have extents.
    pub(super) fn has_extents(&self) -> bool {
        self.incompat() & incompat::EXTENTS != 0
    }

    /// Returns whether there is a journal.
    pub(super) fn has_journal(&self) -> bool {
        self.compat() & compat::HAS_JOURNAL != 0
    }

    /// Returns whether all metadata has CRC-32C.
    pub(super) fn has_metadata_csum(&self) -> bool {
        self.ro_compat() & ro_compat::METADATA_CSUM != 0
    }

    /// Returns whether group descriptors have CRC-16.
    pub(super) fn has_gdt_csum(&self) -> bool {
        self.ro_compat() & ro_compat::GDT_CSUM != 0 && !self.has_metadata_csum()
    }

    /// Returns whether group descriptors may say that bitmaps were never written.
    pub(super) fn has_uninit_groups(&self) -> bool {
        self.ro_compat() & (ro_compat::GDT_CSUM | ro_compat::METADATA_CSUM) != 0
    }

    /// Returns whether the log may hold what is not in place yet.
    pub(super) fn needs_recovery(&self) -> bool {
        self.incompat() & incompat::RECOVER != 0
    }

    /// Seed of checksums of metadata.
    pub(super) fn checksum_seed(&self) -> u32 {
        match self.incompat() & incompat::CSUM_SEED {
            0 => crc32c(!0, self.uuid()),
            _ => get32(&self.raw, 0x270),
        }
    }

    /// Identity.
    pub(super) fn uuid(&self) -> &[u8] {
        &self.raw[0x68..0x78]
    }

    /// Bytes of a block.
    pub(super) fn block_size(&self) -> u64 {
        1024 << get32(&self.raw, 0x18)
    }

    /// Blocks of the filesystem.
    pub(super) fn blocks_count(&self) -> u64 {
        self.wide(0x04, 0x150)
    }

    /// Inodes of the filesystem.
    pub(super) fn inodes_count(&self) -> u32 {
        get32(&self.raw, 0x00)
    }

    /// Block 0 of group 0.
    pub(super) fn first_data_block(&self) -> u64 {
        get32(&self.raw, 0x14).into()
    }

    /// Blocks in a group.
    pub(super) fn blocks_per_group(&self) -> u64 {
        get32(&self.raw, 0x20).into()
    }

    /// Inodes in a group.
    pub(super) fn inodes_per_group(&self) -> u32 {
        get32(&self.raw, 0x28)
    }

    /// Number of groups.
    pub(super) fn groups_count(&self) -> u64 {
        (self.blocks_count() - self.first_data_block()).div_ceil(self.blocks_per_group())
    }

    /// Bytes of an inode.
    pub(super) fn inode_size(&self) -> usize {
        get16(&self.raw, 0x58).into()
    }

    /// First inode that is not reserved.
    pub(super) fn first_inode(&self) -> u32 {
        get32(&self.raw, 0x54)
    }

    /// Bytes of a new inode behind its first 128.
    pub(super) fn want_extra_isize(&self) -> u16 {
        match get16(&self.raw, 0x15E) {
            wanted @ 32.. if usize::from(wanted) <= self.inode_size() - 128 => wanted & !3,
            _ => 32,
        }
    }

    /// Bytes of a group descriptor.
    pub(super) fn desc_size(&self) -> usize {
        if self.is_64bit() { get16(&self.raw, 0xFE).into() } else { 32 }
    }

    /// Inode of the journal.
    pub(super) fn journal_inode(&self) -> u32 {
        get32(&self.raw, 0xE0)
    }

    /// First inode of the list of those that are to be deleted or cut.
    pub(super) fn last_orphan(&self) -> u32 {
        get32(&self.raw, 0xE8)
    }

    /// Inode of the file that lists orphans, if it lists any.
    pub(super) fn orphan_file(&self) -> Option<u32> {
        let present =
            self.compat() & compat::ORPHAN_FILE != 0 && self.ro_compat() & ro_compat::ORPHAN_PRESENT != 0;
        present.then(|| get32(&self.raw, 0x280))
    }

    /// Hash of names, and whether their characters are signed.
    pub(super) fn name_hash(&self) -> ([u8; 16], bool) {
        let mut seed = [0; 16];
        seed.copy_from_slice(&self.raw[0xEC..0xFC]);
        (seed, get32(&self.raw, 0x160) & 2 == 0)
    }

    /// The blocks of a group.
    pub(super) fn group_range(&self, group: u64) -> std::ops::Range<u64> {
        let start = self.first_data_block() + group * self.blocks_per_group();
        start..(start + self.blocks_per_group()).min(self.blocks_count())
    }

    /// Block and offset in it of the descriptor of a group (`descriptor_loc` of the kernel).
    pub(super) fn descriptor_place(&self, group: u64) -> (u64, usize) {
        let per_block = self.block_size() / self.desc_size() as u64;
        let (number, slot) = (group / per_block, (group % per_block) as usize);
        let block = match self.is_in_meta_group(number) {
            false => self.first_data_block() + 1 + number,
            true => {
                let first = number * per_block;
                self.group_range(first).start + u64::from(self.has_copy(first))
            }
        };
        (block, slot * self.desc_size())
    }

    fn is_in_meta_group(&self, descriptor_block: u64) -> bool {
        self.incompat() & incompat::META_BG != 0 && descriptor_block >= u64::from(get32(&self.raw, 0x104))
    }

    /// Returns whether a group has a copy of the superblock.
    pub(super) fn has_copy(&self, group: u64) -> bool {
        if self.compat() & compat::SPARSE_SUPER2 != 0 {
            let copies = [0x24C, 0x250].map(|at| u64::from(get32(&self.raw, at)));
            return group == 0 || copies.contains(&group);
        }
        let power = |base: u64| {
            let mut number = base;
            while number < group {
                number *= base;
            }
            number == group
        };
        group <= 1 || self.ro_compat() & ro_compat::SPARSE_SUPER == 0 || [3, 5, 7].into_iter().any(power)
    }

    /// Returns whether the bytes of a copy in `group` are of this filesystem, as it is or was before it grew: they have
    /// counts of blocks, inodes and sizes, the identity, and their own number.
    pub(super) fn is_copied_by(&self, copy: &[u8; 1024], group: u64) -> bool {
        let same = |range: std::ops::Range<usize>| copy[range.clone()] == self.raw[range];
        let sizes = [0x14..0x2C, S_MAGIC..S_MAGIC + 2, 0x4C..0x5A, 0x68..0x78];
        sizes.into_iter().all(same)
            && get32(copy, 0x04) <= get32(&self.raw, 0x04)
            && u64::from(get16(copy, 0x5A)) == group & 0xFFFF
    }

    /// Blocks at the start of a group that copies of superblock and descriptors take (`ext4_num_base_meta_blocks`).
    pub(super) fn base_blocks(&self, group: u64) -> u64 {
        let per_block = self.block_size() / self.desc_size() as u64;
        let copy = u64::from(self.has_copy(group));
        if self.is_in_meta_group(group / per_block) {
            let place = group % per_block;
            return copy + u64::from(place <= 1 || place == per_block - 1);
        }
        let all = self.groups_count().div_ceil(per_block);
        let meta = self.incompat() & incompat::META_BG != 0;
        let descriptors = if meta { u64::from(get32(&self.raw, 0x104)) } else { all };
        copy * (1 + descriptors + u64::from(get16(&self.raw, 0xCE)))
    }

    /// Sets what is free.
    pub(super) fn set_free(&mut self, blocks: u64, inodes: u32) {
        put32(&mut self.raw, 0x0C, blocks as u32);
        if self.is_64bit() {
            put32(&mut self.raw, 0x158, (blocks >> 32) as u32);
        }
        put32(&mut self.raw, 0x10, inodes);
    }

    /// Sets the time of the last write.
    pub(super) fn set_write_time(&mut self, time: Timestamp) {
        put32(&mut self.raw, 0x30, time as u32);
    }

    /// Sets whether the log may hold what is not in place yet.
    pub(super) fn set_needs_recovery(&mut self, needs: bool) {
        let incompat = self.incompat() & !incompat::RECOVER | if needs { incompat::RECOVER } else { 0 };
        put32(&mut self.raw, incompat::AT, incompat);
    }

    /// Sets whether it counts as cleanly unmounted.
    pub(super) fn set_valid(&mut self, valid: bool) {
        let state = get16(&self.raw, 0x3A) & !VALID_FS | u16::from(valid);
        put16(&mut self.raw, 0x3A, state);
    }

    /// Makes the checksum right without touching any byte behind the first sector.
    pub(super) fn seal(&mut self) {
        if self.has_metadata_csum() {
            let stored = get32(&self.raw, S_CHECKSUM);
            let patch = bytes_that_keep(stored, &self.raw[..S_CHECKSUM], S_SNAPSHOT_ID);
            self.raw[S_SNAPSHOT_ID..S_SNAPSHOT_ID + 4].copy_from_slice(&patch);
        }
    }

    /// The same as a change of `disk`, which is what the medium holds now: with its checksum, if the second sectors
    /// are otherwise equal. A torn write is then one of the two.
    pub(super) fn over(mut self, disk: &[u8; 1024]) -> SuperBlock {
        if self.raw[SECTOR..S_CHECKSUM] == disk[SECTOR..S_CHECKSUM] {
            self.raw[S_CHECKSUM..].copy_from_slice(&disk[S_CHECKSUM..]);
            self.seal();
        }
        self
    }
}
