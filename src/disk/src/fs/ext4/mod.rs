//! ext4, written in one ascending pass without a kernel, root or the clock.
//!
//! [`layout`] places everything from metadata alone; [`write()`] then emits each byte at most once: ext4 has no
//! checksum over file data, so all metadata is known before the first file is read.
//!
//! # Format
//!
//! 4 KiB blocks, 256-byte inodes and the features `has_journal ext_attr resize_inode dir_index filetype extent
//! flex_bg sparse_super large_file huge_file uninit_bg dir_nlink extra_isize`. U-Boot from 2013 on and kernels from
//! 4.9 on know all of these. Left out on purpose are `64bit`, `metadata_csum`, `metadata_csum_seed` and
//! `orphan_file`, which they do not know.
//!
//! - `uninit_bg` (read-only compatible, so boot loaders ignore it) puts a CRC-16 into every group descriptor and
//!   with it the permission to leave bitmaps and inode tables unwritten: an empty filesystem of 64 GiB is a few MiB
//!   of writes. The kernel zeroes the unused tables in the background after the first mount. Until then a repair with
//!   a superblock copy (`e2fsck -b`), which ignores that permission, sees what was there before, as with mke2fs.
//! - Holes of a source file are holes, but for its first block: old U-Boots fail with `Extent Error` for a file that
//!   starts with one. Zeros that the source stores have blocks, as swap files must have; their runs go through
//!   [`Region::zero`].
//! - Directories of more than one block get the hash index the kernel would make.
//! - The journal is all zero behind its superblock. `s_start` of 0 says there is nothing to replay, but that is not
//!   enough: commit ids start at 1 again, so after a crash the kernel would take a block that an earlier life of
//!   the same card left at the right place for the next commit.
//! - Group descriptor blocks are reserved so that `resize2fs` can grow the mounted filesystem to
//!   [`Options::grow_to`].
//! - What is neither metadata nor content is not written, with one exception: unused blocks among the first and last
//!   128 KiB are zeroed, since signatures of earlier filesystems and RAIDs there make `mount` refuse a partition.
//!
//! ```
//! use std::io::Cursor;
//!
//! use skiff_disk::fs::ext4::{self, Journal};
//! use skiff_disk::storage::{Memory, Region};
//! use skiff_disk::tree::{Body, Content, Node, Stat, Tree};
//! use skiff_disk::value::Seed;
//!
//! let root = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
//! let mut tree = Tree::new(root);
//! let hello = Body::File(Content::bytes(b"hello\n".as_slice()));
//! tree.insert(Tree::ROOT, b"hello", Node::new(Stat { mode: 0o644, ..root }, hello));
//!
//! // The same seed gives the same bytes.
//! let seed = Seed("router 1.2".into());
//! let options = ext4::Options {
//!     label: "rootfs".into(),
//!     uuid: seed.uuid("rootfs"),
//!     hash_seed: seed.uuid("rootfs directories"),
//!     timestamp: 1_700_000_000,
//!     bytes_per_inode: 16384,
//!     inodes: 0,
//!     reserved_percent: 5,
//!     journal: Journal::Auto,
//!     grow_to: 1 << 30,
//! };
//! let disk = Memory::new(16 << 20);
//! let region = Region::new(&disk, "rootfs", 1 << 20, 8 << 20, "the data partition");
//! let layout = ext4::layout(&tree, &options, region.len())?;
//! let written = ext4::write(&layout, &region)?;
//! assert_eq!(written.files[0].path, "/hello");
//!
//! # #[cfg(feature = "ext4-reader")]
//! # {
//! let reader = ext4::Reader::open(Cursor::new(disk.to_vec()), 1 << 20)?;
//! assert_eq!(reader.summary().label, "rootfs");
//! assert!(reader.check_files(&written.files)?.is_empty());
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sources: the kernel's `Documentation/filesystems/ext4`, `fs/ext4` and `include/linux/jbd2.h`; `mke2fs` for policy.

mod build;
mod checksum;
mod dir;
mod error;
mod extent;
mod features;
mod geometry;
mod grow;
mod layout;
mod raw;
#[cfg(feature = "ext4-reader")]
mod read;
pub mod update;
mod write;
mod xattr;

use uuid::Uuid;

pub use error::Ext4Error;
pub use grow::{GrowError, Grown, Limit, grow};
pub use layout::{Layout, layout, losses, minimum_size};
#[cfg(feature = "ext4-reader")]
pub use read::{FileReader, ReadError, Reader, Summary};
pub use write::{Written, write};

use crate::value::Timestamp;
#[cfg(doc)]
use crate::{fs::WrittenFile, storage::Region};

/// Bytes of a block.
pub const BLOCK_SIZE: u64 = raw::BLOCK;

/// The features, as `mke2fs -O` names them.
pub const FEATURES: [&str; 13] = [
    "has_journal",
    "ext_attr",
    "resize_inode",
    "dir_index",
    "filetype",
    "extent",
    "flex_bg",
    "sparse_super",
    "large_file",
    "huge_file",
    "uninit_bg",
    "dir_nlink",
    "extra_isize",
];

/// Everything that decides bytes of the filesystem besides the tree and the size of the region.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Options {
    /// Volume label of at most 16 bytes.
    pub label: String,
    /// Identity of the filesystem.
    pub uuid: Uuid,
    /// Seed of the hashes in directory indexes.
    pub hash_seed: Uuid,
    /// Time of creation, and the access and change time of every file; from 1970 on.
    pub timestamp: Timestamp,
    /// One inode for so many bytes (mke2fs: 16384); there are always enough for the tree.
    pub bytes_per_inode: u32,
    /// Least number of inodes, for files that come later; the tree always has its own.
    pub inodes: u64,
    /// Part of the blocks that only root can use: 0 to 50 (mke2fs: 5).
    pub reserved_percent: u8,
    /// Size of the journal.
    pub journal: Journal,
    /// Bytes the filesystem must be able to grow to while it is mounted (mke2fs: 1024 times its size). Each
    /// 16 GiB cost a block of 4 KiB.
    pub grow_to: u64,
}

/// Size of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Journal {
    /// No journal: for filesystems that are never written.
    None,
    /// By size of the filesystem: none below 8 MiB, 4 MiB below 128 MiB, 16 MiB below 1 GiB, else 32 MiB.
    ///
    /// That is mke2fs up to 1 GiB. Above, it makes journals of up to 1 GiB for servers; all of it would have to be
    /// zeroed on a slow card.
    Auto,
    /// So many bytes: 4 MiB to 4 GiB, a multiple of 4096.
    Bytes(u64),
}
