//! What readers of an ext4 have to know of it: of one that this program makes, and of one that comes as a file.

use crate::error::Result;
use crate::fs::ext4;
use crate::tree::Content;

/// First byte of the superblock (kernel `Documentation/filesystems/ext4/super.rst`), and as much of it as is read.
const SUPERBLOCK: (u64, usize) = (1024, 0x68);
/// `s_magic`.
const MAGIC: u16 = 0xEF53;

/// Bits of `s_feature_compat`, `s_feature_incompat` and `s_feature_ro_compat` by the names that `mke2fs -O` takes.
const FEATURES: [(usize, u32, &str); 24] = [
    (0x5C, 0x4, "has_journal"),
    (0x5C, 0x8, "ext_attr"),
    (0x5C, 0x10, "resize_inode"),
    (0x5C, 0x20, "dir_index"),
    (0x5C, 0x1000, "orphan_file"),
    (0x60, 0x2, "filetype"),
    (0x60, 0x10, "meta_bg"),
    (0x60, 0x40, "extent"),
    (0x60, 0x80, "64bit"),
    (0x60, 0x200, "flex_bg"),
    (0x60, 0x400, "ea_inode"),
    (0x60, 0x2000, "metadata_csum_seed"),
    (0x60, 0x8000, "inline_data"),
    (0x60, 0x1_0000, "encrypt"),
    (0x60, 0x2_0000, "casefold"),
    (0x64, 0x1, "sparse_super"),
    (0x64, 0x2, "large_file"),
    (0x64, 0x8, "huge_file"),
    (0x64, 0x10, "uninit_bg"),
    (0x64, 0x20, "dir_nlink"),
    (0x64, 0x40, "extra_isize"),
    (0x64, 0x200, "bigalloc"),
    (0x64, 0x400, "metadata_csum"),
    (0x64, 0x8000, "verity"),
];

/// Block size and features of an ext4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ext4 {
    /// Bytes of a block.
    pub block_size: u64,
    /// Features, as `mke2fs -O` names them.
    pub features: Vec<String>,
}

impl Ext4 {
    /// What the ext4 writer of this program makes.
    pub fn ours() -> Ext4 {
        let features = ext4::FEATURES.iter().map(|name| (*name).to_owned()).collect();
        Ext4 { block_size: ext4::BLOCK_SIZE, features }
    }

    /// What a file holds, if it is an ext4.
    pub fn from_content(content: &Content) -> Result<Option<Ext4>> {
        let (start, len) = SUPERBLOCK;
        if content.len() < start + len as u64 {
            return Ok(None);
        }
        let mut superblock = vec![0; len];
        content.open()?.read_at(&mut superblock, start)?;
        Ok(Ext4::from_superblock(&superblock))
    }

    fn from_superblock(bytes: &[u8]) -> Option<Ext4> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let magic = u16::from_le_bytes([bytes[0x38], bytes[0x39]]);
        // `s_log_block_size`: 64 KiB is the most there is.
        let log = word(0x18);
        if magic != MAGIC || log > 6 {
            return None;
        }
        let set = FEATURES.iter().filter(|(at, bit, _)| word(*at) & bit != 0);
        Some(Ext4 { block_size: 1024 << log, features: set.map(|(.., name)| (*name).to_owned()).collect() })
    }
}
