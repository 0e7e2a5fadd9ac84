//! The on-disk structures with the names of the kernel's `fs/squashfs/squashfs_fs.h`; everything is little-endian.

pub(super) const SQUASHFS_MAGIC: u32 = 0x7371_7368;
pub(super) const SQUASHFS_METADATA_SIZE: usize = 8192;
/// In the `u16` before a metadata block: the block is not compressed.
pub(super) const SQUASHFS_COMPRESSED_BIT: u16 = 1 << 15;
/// In the `u32` size of a data block: the block is not compressed.
pub(super) const SQUASHFS_COMPRESSED_BIT_BLOCK: u32 = 1 << 24;
pub(super) const SQUASHFS_INVALID_FRAG: u32 = u32::MAX;
pub(super) const SQUASHFS_INVALID_XATTR: u32 = u32::MAX;
pub(super) const SQUASHFS_INVALID_BLK: u64 = u64::MAX;
/// Most entries behind one directory header.
pub(super) const SQUASHFS_DIR_COUNT: usize = 256;

pub(super) const ZLIB_COMPRESSION: u16 = 1;
pub(super) const XZ_COMPRESSION: u16 = 4;
pub(super) const LZ4_COMPRESSION: u16 = 5;
pub(super) const ZSTD_COMPRESSION: u16 = 6;

/// Bits of `squashfs_super_block.flags`; the last three are known to squashfs-tools only.
pub(super) mod flags {
    pub(crate) const NOI: u16 = 1 << 0;
    pub(crate) const NOD: u16 = 1 << 1;
    pub(crate) const NOF: u16 = 1 << 3;
    pub(crate) const DUPLICATE: u16 = 1 << 6;
    pub(crate) const EXPORT: u16 = 1 << 7;
    pub(crate) const NOX: u16 = 1 << 8;
    pub(crate) const NO_XATTR: u16 = 1 << 9;
    pub(crate) const COMP_OPT: u16 = 1 << 10;
    pub(crate) const NOID: u16 = 1 << 11;
}

/// `inode_type` of the basic form.
pub(super) mod inode_type {
    pub(crate) const DIR: u16 = 1;
    pub(crate) const REG: u16 = 2;
    pub(crate) const SYMLINK: u16 = 3;
    pub(crate) const BLKDEV: u16 = 4;
    pub(crate) const CHRDEV: u16 = 5;
    pub(crate) const FIFO: u16 = 6;
    pub(crate) const SOCKET: u16 = 7;
    /// Added to a basic type for the extended one.
    pub(crate) const EXTENDED: u16 = 7;
}

pub(super) const SQUASHFS_XATTR_VALUE_OOL: u16 = 256;

/// Appends little-endian fields.
pub(super) trait Put {
    fn u16(&mut self, value: u16) -> &mut Self;
    fn u32(&mut self, value: u32) -> &mut Self;
    fn u64(&mut self, value: u64) -> &mut Self;
}

impl Put for Vec<u8> {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.extend_from_slice(&value.to_le_bytes());
        self
    }
}

/// `struct squashfs_super_block`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SuperBlock {
    pub inodes: u32,
    pub mkfs_time: u32,
    pub block_size: u32,
    pub fragments: u32,
    pub compression: u16,
    pub flags: u16,
    pub no_ids: u16,
    pub root_inode: u64,
    pub bytes_used: u64,
    pub id_table_start: u64,
    pub xattr_id_table_start: u64,
    pub inode_table_start: u64,
    pub directory_table_start: u64,
    pub fragment_table_start: u64,
    pub lookup_table_start: u64,
}

impl SuperBlock {
    pub(super) const LEN: usize = 96;

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.u32(SQUASHFS_MAGIC).u32(self.inodes).u32(self.mkfs_time).u32(self.block_size);
        bytes.u32(self.fragments).u16(self.compression).u16(self.block_size.trailing_zeros() as u16);
        bytes.u16(self.flags).u16(self.no_ids).u16(4).u16(0);
        bytes.u64(self.root_inode).u64(self.bytes_used).u64(self.id_table_start);
        bytes.u64(self.xattr_id_table_start).u64(self.inode_table_start).u64(self.directory_table_start);
        bytes.u64(self.fragment_table_start).u64(self.lookup_table_start);
        bytes
    }

    /// The fields, or what is wrong with the bytes.
    pub(super) fn parse(bytes: &[u8; Self::LEN]) -> Result<SuperBlock, String> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if u32_at(0) != SQUASHFS_MAGIC {
            return Err(format!("the magic number is {:#010x}, not {SQUASHFS_MAGIC:#010x}", u32_at(0)));
        }
        if (u16_at(28), u16_at(30)) != (4, 0) {
            return Err(format!("the version is {}.{}, not 4.0", u16_at(28), u16_at(30)));
        }
        let (block_size, block_log) = (u32_at(12), u16_at(22));
        if !block_size.is_power_of_two() || block_size.trailing_zeros() != u32::from(block_log) {
            return Err(format!("the block size is {block_size}, but its logarithm {block_log}"));
        }
        Ok(SuperBlock {
            inodes: u32_at(4),
            mkfs_time: u32_at(8),
            block_size,
            fragments: u32_at(16),
            compression: u16_at(20),
            flags: u16_at(24),
            no_ids: u16_at(26),
            root_inode: u64_at(32),
            bytes_used: u64_at(40),
            id_table_start: u64_at(48),
            xattr_id_table_start: u64_at(56),
            inode_table_start: u64_at(64),
            directory_table_start: u64_at(72),
            fragment_table_start: u64_at(80),
            lookup_table_start: u64_at(88),
        })
    }
}

/// `rdev` of a device inode as the kernel's `new_encode_dev` (`include/linux/kdev_t.h`): 12 bits of major and
/// 20 of minor number.
pub(super) fn new_encode_dev(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// Place in a table of metadata blocks: start of the block relative to the table, and byte inside of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reference {
    pub block: u64,
    pub offset: u16,
}

impl Reference {
    /// As `SQUASHFS_MKINODE` does.
    pub(super) fn to_u64(self) -> u64 {
        self.block << 16 | u64::from(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_superblock_round_trips_and_refuses_other_bytes() {
        let superblock = SuperBlock {
            inodes: 1,
            mkfs_time: 2,
            block_size: 131_072,
            fragments: 3,
            compression: ZSTD_COMPRESSION,
            flags: flags::EXPORT,
            no_ids: 4,
            root_inode: 5 << 16 | 6,
            bytes_used: 7 << 32,
            id_table_start: 8,
            xattr_id_table_start: SQUASHFS_INVALID_BLK,
            inode_table_start: 9,
            directory_table_start: 10,
            fragment_table_start: 11,
            lookup_table_start: 12,
        };
        let mut bytes: [u8; 96] = superblock.to_bytes().try_into().expect("96 bytes");
        assert_eq!(SuperBlock::parse(&bytes), Ok(superblock));
        bytes[22] = 18;
        assert_eq!(SuperBlock::parse(&bytes).unwrap_err(), "the block size is 131072, but its logarithm 18");
        bytes[28] = 3;
        assert_eq!(SuperBlock::parse(&bytes).unwrap_err(), "the version is 3.0, not 4.0");
        bytes[0] = 0;
        assert_eq!(SuperBlock::parse(&bytes).unwrap_err(), "the magic number is 0x73717300, not 0x73717368");
    }

    #[test]
    fn device_numbers_are_split_as_the_kernel_does() {
        assert_eq!(new_encode_dev(8, 1), 0x801);
        assert_eq!(new_encode_dev(0xfff, 0xfffff), 0xffff_ffff);
        assert_eq!(new_encode_dev(259, 0x12345), 0x1231_0345);
    }
}
