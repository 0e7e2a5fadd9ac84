//! Superblock of ext2, ext3 and ext4: the fields that name the filesystem and its features.
//!
//! Source: kernel, `Documentation/filesystems/ext4/super.rst`; the names of features are those of `mke2fs -O`.

/// First byte of the superblock in the filesystem.
pub const SUPER_BLOCK_OFFSET: u64 = 1024;
/// Place of `s_magic` in the superblock.
pub const S_MAGIC: usize = 0x38;
/// `s_magic`.
pub const EXT4_SUPER_MAGIC: u16 = 0xEF53;

macro_rules! features {
    ($($(#[$doc:meta])* $set:ident $at:literal { $($name:ident $bit:literal $text:literal)* })*) => {$(
        $(#[$doc])*
        pub mod $set {
            /// Place in the superblock.
            pub const AT: usize = $at;
            $(#[doc = concat!("`", $text, "`.")] pub const $name: u32 = $bit;)*
            /// Bits with their names.
            pub const NAMES: &[(u32, &str)] = &[$(($bit, $text)),*];
        }
    )*};
}

features! {
    /// `s_feature_compat`: who does not know them may write.
    compat 0x5C {
        HAS_JOURNAL   0x4    "has_journal"
        EXT_ATTR      0x8    "ext_attr"
        RESIZE_INODE  0x10   "resize_inode"
        DIR_INDEX     0x20   "dir_index"
        SPARSE_SUPER2 0x200  "sparse_super2"
        FAST_COMMIT   0x400  "fast_commit"
        STABLE_INODES 0x800  "stable_inodes"
        ORPHAN_FILE   0x1000 "orphan_file"
    }
    /// `s_feature_incompat`: who does not know them may not even read.
    incompat 0x60 {
        FILETYPE    0x2      "filetype"
        RECOVER     0x4      "needs_recovery"
        JOURNAL_DEV 0x8      "journal_dev"
        META_BG     0x10     "meta_bg"
        EXTENTS     0x40     "extent"
        IS_64BIT    0x80     "64bit"
        MMP         0x100    "mmp"
        FLEX_BG     0x200    "flex_bg"
        EA_INODE    0x400    "ea_inode"
        CSUM_SEED   0x2000   "metadata_csum_seed"
        LARGE_DIR   0x4000   "large_dir"
        INLINE_DATA 0x8000   "inline_data"
        ENCRYPT     0x1_0000 "encrypt"
        CASEFOLD    0x2_0000 "casefold"
    }
    /// `s_feature_ro_compat`: who does not know them may read.
    ro_compat 0x64 {
        SPARSE_SUPER   0x1      "sparse_super"
        LARGE_FILE     0x2      "large_file"
        HUGE_FILE      0x8      "huge_file"
        GDT_CSUM       0x10     "uninit_bg"
        DIR_NLINK      0x20     "dir_nlink"
        EXTRA_ISIZE    0x40     "extra_isize"
        QUOTA          0x100    "quota"
        BIGALLOC       0x200    "bigalloc"
        METADATA_CSUM  0x400    "metadata_csum"
        PROJECT        0x2000   "project"
        VERITY         0x8000   "verity"
        ORPHAN_PRESENT 0x1_0000 "orphan_present"
    }
}

/// Bit of `s_feature_compat` that is out of use and has no name in lists: `dir_prealloc`.
pub const DIR_PREALLOC: u32 = 0x1;
/// Bit of `s_feature_ro_compat` that is out of use and has no name in lists: `btree_dir`.
pub const BTREE_DIR: u32 = 0x4;
/// Bit of `s_feature_ro_compat` by which tools leave the filesystem alone: `read-only`.
pub const READONLY: u32 = 0x1000;
