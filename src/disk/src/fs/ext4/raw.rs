//! The on-disk structures, with the names of the kernel's `Documentation/filesystems/ext4` and `fs/ext4/ext4.h`.
//!
//! All numbers are little-endian, those of the journal (`include/linux/jbd2.h`) big-endian.

use skiff_signatures::ext4::{EXT4_SUPER_MAGIC, S_MAGIC, compat, incompat, ro_compat};
use uuid::Uuid;

use crate::value::Timestamp;

/// Block size in bytes. Always 4 KiB: rEFInd cannot load a kernel from smaller blocks, and page-sized blocks are
/// the fastest everywhere.
pub(super) const BLOCK: u64 = 4096;
/// Blocks in a group: as many as one bitmap block has bits.
pub(super) const BLOCKS_PER_GROUP: u64 = 8 * BLOCK;
/// Bytes of an inode.
pub(super) const INODE_SIZE: u64 = 256;
/// Inodes in a block of the inode table.
pub(super) const INODES_PER_BLOCK: u32 = (BLOCK / INODE_SIZE) as u32;
/// Bytes of a group descriptor without the `64bit` feature.
pub(super) const DESC_SIZE: u64 = 32;
/// Group descriptors in a block.
pub(super) const DESCS_PER_BLOCK: u64 = BLOCK / DESC_SIZE;
/// Block numbers in an indirect block.
pub(super) const ADDR_PER_BLOCK: u64 = BLOCK / 4;
/// Groups whose bitmaps and inode tables lie together: `1 << s_log_groups_per_flex`.
pub(super) const FLEX_GROUPS: u32 = 16;
/// Inode of the root directory.
pub(super) const ROOT_INO: u32 = 2;
/// Inode that owns the reserved group descriptor blocks.
pub(super) const RESIZE_INO: u32 = 7;
/// Inode of the journal.
pub(super) const JOURNAL_INO: u32 = 8;
/// First inode that is not reserved; by custom `lost+found`.
pub(super) const FIRST_INO: u32 = 11;
/// `EXT4_LINK_MAX`.
pub(super) const LINK_MAX: u32 = 65_000;
/// Bytes of the longest file: block numbers of a file have 32 bits, and the last is none (`ext4_max_size`).
pub(super) const MAX_FILE: u64 = (u32::MAX as u64) * BLOCK;
/// Blocks in the longest initialized extent.
pub(super) const EXTENT_MAX: u64 = 32_768;

/// `i_flags`: the directory has a hash index.
pub(super) const INDEX_FL: u32 = 0x1000;
/// `i_flags`: `i_block` holds an extent tree.
pub(super) const EXTENTS_FL: u32 = 0x8_0000;

/// `bg_flags`: the inode bitmap and table are not in use.
pub(super) const INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap can be computed from the layout.
pub(super) const BLOCK_UNINIT: u16 = 2;

const FEATURE_COMPAT: u32 = compat::EXT_ATTR | compat::RESIZE_INODE | compat::DIR_INDEX;
const FEATURE_INCOMPAT: u32 = incompat::FILETYPE | incompat::EXTENTS | incompat::FLEX_BG;
const FEATURE_RO_COMPAT: u32 = ro_compat::SPARSE_SUPER
    | ro_compat::LARGE_FILE
    | ro_compat::HUGE_FILE
    | ro_compat::GDT_CSUM
    | ro_compat::DIR_NLINK
    | ro_compat::EXTRA_ISIZE;

/// Writes `value` little-endian at `at`.
pub(super) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Writes `value` little-endian at `at`.
pub(super) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Reads two bytes little-endian at `at`.
pub(super) fn get16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Reads four bytes little-endian at `at`.
pub(super) fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Fields that differ between superblocks of different filesystems.
#[derive(Clone, Debug)]
pub(super) struct SuperBlock<'a> {
    pub inodes_count: u32,
    pub blocks_count: u32,
    pub r_blocks_count: u32,
    pub free_blocks_count: u32,
    pub free_inodes_count: u32,
    pub inodes_per_group: u32,
    pub reserved_gdt_blocks: u16,
    pub overhead_clusters: u32,
    pub uuid: Uuid,
    pub hash_seed: Uuid,
    pub volume_name: &'a str,
    pub timestamp: Timestamp,
    /// `i_block` and size of the journal inode, kept as a backup.
    pub journal: Option<([u8; 60], u64)>,
}

impl SuperBlock<'_> {
    /// The superblock as the copy in group `block_group_nr`.
    pub(super) fn to_bytes(&self, block_group_nr: u16) -> [u8; 1024] {
        let mut b = [0; 1024];
        let time = self.timestamp as u32;
        self.put_counts(&mut b);
        put32(&mut b, 0x2C, 0); // s_mtime: never mounted
        put32(&mut b, 0x30, time); // s_wtime
        put16(&mut b, 0x36, 0xFFFF); // s_max_mnt_count: no check by count
        put16(&mut b, S_MAGIC, EXT4_SUPER_MAGIC);
        put16(&mut b, 0x3A, 1); // s_state: cleanly unmounted
        put16(&mut b, 0x3C, 1); // s_errors: continue
        put32(&mut b, 0x40, time); // s_lastcheck
        put32(&mut b, 0x4C, 1); // s_rev_level: dynamic inode sizes
        put32(&mut b, 0x54, FIRST_INO);
        put16(&mut b, 0x58, INODE_SIZE as u16);
        put16(&mut b, 0x5A, block_group_nr);
        self.put_features(&mut b);
        b[0x68..0x78].copy_from_slice(self.uuid.as_bytes());
        b[0x78..0x78 + self.volume_name.len()].copy_from_slice(self.volume_name.as_bytes());
        put16(&mut b, 0xCE, self.reserved_gdt_blocks);
        b[0xEC..0xFC].copy_from_slice(self.hash_seed.as_bytes());
        b[0xFC] = 1; // s_def_hash_version: half MD4
        put32(&mut b, 0x100, 0x0C); // s_default_mount_opts: user_xattr, acl
        put32(&mut b, 0x108, time); // s_mkfs_time
        put16(&mut b, 0x15C, 32); // s_min_extra_isize
        put16(&mut b, 0x15E, 32); // s_want_extra_isize
        put32(&mut b, 0x160, 1); // s_flags: names are hashed as signed chars
        b[0x174] = FLEX_GROUPS.trailing_zeros() as u8; // s_log_groups_per_flex
        put32(&mut b, 0x248, self.overhead_clusters);
        // s_wtime_hi, s_mkfs_time_hi, s_lastcheck_hi: bits 32 to 39 of the times.
        let high = (self.timestamp >> 32) as u8;
        (b[0x274], b[0x276], b[0x277]) = (high, high, high);
        self.put_journal(&mut b);
        b
    }

    fn put_counts(&self, b: &mut [u8]) {
        put32(b, 0x00, self.inodes_count);
        put32(b, 0x04, self.blocks_count);
        put32(b, 0x08, self.r_blocks_count);
        put32(b, 0x0C, self.free_blocks_count);
        put32(b, 0x10, self.free_inodes_count);
        put32(b, 0x14, 0); // s_first_data_block
        put32(b, 0x18, 2); // s_log_block_size: 1024 << 2
        put32(b, 0x1C, 2); // s_log_cluster_size
        put32(b, 0x20, BLOCKS_PER_GROUP as u32);
        put32(b, 0x24, BLOCKS_PER_GROUP as u32); // s_clusters_per_group
        put32(b, 0x28, self.inodes_per_group);
    }

    fn put_features(&self, b: &mut [u8]) {
        let journal = if self.journal.is_some() { compat::HAS_JOURNAL } else { 0 };
        put32(b, compat::AT, FEATURE_COMPAT | journal);
        put32(b, incompat::AT, FEATURE_INCOMPAT);
        put32(b, ro_compat::AT, FEATURE_RO_COMPAT);
    }

    fn put_journal(&self, b: &mut [u8]) {
        let Some((i_block, size)) = &self.journal else { return };
        put32(b, 0xE0, JOURNAL_INO);
        b[0xFD] = 1; // s_jnl_backup_type: s_jnl_blocks is valid
        b[0x10C..0x10C + 60].copy_from_slice(i_block);
        put32(b, 0x148, (size >> 32) as u32);
        put32(b, 0x14C, *size as u32);
    }
}

/// `struct ext4_group_desc` of 32 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupDesc {
    pub block_bitmap: u32,
    pub inode_bitmap: u32,
    pub inode_table: u32,
    pub free_blocks_count: u16,
    pub free_inodes_count: u16,
    pub used_dirs_count: u16,
    pub flags: u16,
    pub itable_unused: u16,
}

impl GroupDesc {
    /// The descriptor of `group`, with the checksum of `uninit_bg`: CRC-16 over UUID, group number, descriptor.
    pub(super) fn to_bytes(self, uuid: Uuid, group: u32) -> [u8; DESC_SIZE as usize] {
        let mut b = [0; DESC_SIZE as usize];
        put32(&mut b, 0x00, self.block_bitmap);
        put32(&mut b, 0x04, self.inode_bitmap);
        put32(&mut b, 0x08, self.inode_table);
        put16(&mut b, 0x0C, self.free_blocks_count);
        put16(&mut b, 0x0E, self.free_inodes_count);
        put16(&mut b, 0x10, self.used_dirs_count);
        put16(&mut b, 0x12, self.flags);
        put16(&mut b, 0x1C, self.itable_unused);
        let crc = crc16(crc16(0xFFFF, uuid.as_bytes()), &group.to_le_bytes());
        let crc = crc16(crc, &b[..0x1E]);
        put16(&mut b, 0x1E, crc);
        b
    }
}

/// CRC-16 with the reflected polynomial 0x8005 (`lib/crc16.c`).
pub(super) fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        (0..8)
            .fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 })
    })
}

/// An inode in use.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// Time of all that happened at image creation: access, change, creation.
    pub timestamp: Timestamp,
    pub links_count: u16,
    /// Blocks of 4 KiB, counting those of the extent tree and of extended attributes.
    pub blocks: u64,
    pub flags: u32,
    pub block: [u8; 60],
    pub file_acl: u32,
    /// Bytes behind the fixed fields: extended attributes, at most 96 bytes.
    pub ibody: Vec<u8>,
}

/// Bytes behind `i_extra_isize` in an inode.
pub(super) const IBODY_LEN: usize = INODE_SIZE as usize - 128 - 32;

/// Range of times that an inode can store: 34 bits from -2^31 (Documentation/filesystems/ext4/inodes.rst).
pub(super) const TIME_RANGE: std::ops::Range<Timestamp> = -(1 << 31)..(1 << 34) - (1 << 31);

impl Inode {
    /// Appends the 256 bytes to `table`.
    pub(super) fn append_to(&self, table: &mut Vec<u8>) {
        let mut b = [0; INODE_SIZE as usize];
        let sectors = self.blocks * (BLOCK / 512);
        put16(&mut b, 0x00, self.mode);
        put16(&mut b, 0x02, self.uid as u16);
        put32(&mut b, 0x04, self.size as u32);
        put16(&mut b, 0x18, self.gid as u16);
        put16(&mut b, 0x1A, self.links_count);
        put32(&mut b, 0x1C, sectors as u32);
        put32(&mut b, 0x20, self.flags);
        b[0x28..0x64].copy_from_slice(&self.block);
        put32(&mut b, 0x68, self.file_acl);
        put32(&mut b, 0x6C, (self.size >> 32) as u32);
        put16(&mut b, 0x74, (sectors >> 32) as u16);
        put16(&mut b, 0x78, (self.uid >> 16) as u16);
        put16(&mut b, 0x7A, (self.gid >> 16) as u16);
        put16(&mut b, 0x80, 32); // i_extra_isize
        put_time(&mut b, 0x08, 0x8C, self.timestamp); // i_atime
        put_time(&mut b, 0x0C, 0x84, self.timestamp); // i_ctime
        put_time(&mut b, 0x10, 0x88, self.mtime);
        put_time(&mut b, 0x90, 0x94, self.timestamp); // i_crtime
        b[0xA0..0xA0 + self.ibody.len()].copy_from_slice(&self.ibody);
        table.extend_from_slice(&b);
    }
}

/// 32 signed bits of seconds, and two more in the low bits of the extra field.
pub(super) fn put_time(b: &mut [u8], at: usize, extra: usize, time: Timestamp) {
    put32(b, at, time as u32);
    put32(b, extra, ((time - Timestamp::from(time as i32)) >> 32) as u32 & 3);
}

/// `i_block` of a device node (`ext4_encode_dev`): the 16-bit form where it fits, else the 32-bit one.
pub(super) fn device_block(major: u32, minor: u32) -> [u8; 60] {
    let mut block = [0; 60];
    if major < 256 && minor < 256 {
        put32(&mut block, 0, major << 8 | minor);
    } else {
        put32(&mut block, 4, (minor & 0xFF) | (major << 8) | ((minor & !0xFF) << 12));
    }
    block
}

/// The superblock of an empty journal (version 2): `s_start` is zero, so there is nothing to replay.
pub(super) fn journal_super_block(blocks: u32, uuid: Uuid) -> [u8; BLOCK as usize] {
    let mut b = [0; BLOCK as usize];
    let mut put = |at: usize, value: u32| b[at..at + 4].copy_from_slice(&value.to_be_bytes());
    put(0x00, 0xC03B_3998); // h_magic
    put(0x04, 4); // h_blocktype: superblock version 2
    put(0x0C, BLOCK as u32);
    put(0x10, blocks); // s_maxlen
    put(0x14, 1); // s_first: first block of log information
    put(0x18, 1); // s_sequence: first commit id expected
    put(0x1C, 0); // s_start: the log is empty
    put(0x40, 1); // s_nr_users
    b[0x30..0x40].copy_from_slice(uuid.as_bytes());
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_is_the_kernels() {
        // CRC-16/ARC starts at 0; its check value over "123456789" is 0xBB3D.
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
    }

    #[test]
    fn times_use_the_extra_bits_around_2038_and_before_1970() {
        for (time, low, high) in [
            (0, 0, 0),
            (-1, 0xFFFF_FFFF, 0),
            (0x7FFF_FFFF, 0x7FFF_FFFF, 0),
            (0x8000_0000, 0x8000_0000, 1),
            (0x1_0000_0000, 0, 1),
            (TIME_RANGE.end - 1, 0x7FFF_FFFF, 3),
        ] {
            let mut b = [0; 8];
            put_time(&mut b, 0, 4, time);
            assert_eq!((get32(&b, 0), get32(&b, 4)), (low, high), "{time}");
        }
    }

    #[test]
    fn devices_have_an_old_and_a_new_encoding() {
        assert_eq!(get32(&device_block(8, 1), 0), 0x0801);
        assert_eq!(get32(&device_block(259, 0x12345), 4), 0x1231_0345);
    }
}
