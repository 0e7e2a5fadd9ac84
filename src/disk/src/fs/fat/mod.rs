//! FAT16 and FAT32, written in one pass: the tree is known up front, so every file is one run of clusters, each
//! table is written once, and nothing is ever patched.
//!
//! Source of the format: Microsoft, "FAT32 File System Specification" 1.03 (fatgen103); field names next to the
//! bytes are its own. Decisions that specification leaves open:
//!
//! - clusters are given in the order of [`crate::tree::Tree::walk`], from cluster 2 on;
//! - a name that is not strictly upper-case 8.3 gets a long name; the case bits of Windows NT are not used, as
//!   boot loaders do not know them;
//! - a label is stored as given, also in lower case. Linux (`LABEL=boot`), U-Boot and mtools take that, Windows
//!   shows it, and `fsck.fat` 4.2 accepts it, while `mkfs.fat` and `fatlabel` warn about it;
//! - FAT knows no owners, permissions, attributes or links: they are left out, and a file with several names is
//!   written once for each; a symbolic link or a device is an error.
//!
//! ```
//! use skiff_disk::fs::fat::{self, FatType};
//! use skiff_disk::storage::{Memory, Region};
//! use skiff_disk::tree::{Body, Content, Node, Stat, Tree};
//!
//! let root = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
//! let mut tree = Tree::new(root);
//! let hello = Body::File(Content::bytes(b"hello\n".as_slice()));
//! tree.insert(Tree::ROOT, b"hello", Node::new(Stat { mode: 0o644, ..root }, hello));
//!
//! let options = fat::Options {
//!     fat_type: FatType::Auto,
//!     label: "BOOT".into(),
//!     volume_id: 0x1234_5678,
//!     timestamp: 1_700_000_000,
//!     hidden_sectors: 0,
//!     sector_size: 512,
//!     cluster_size: None,
//! };
//! let disk = Memory::new(16 << 20);
//! let region = Region::whole(&disk, "boot");
//! let layout = fat::layout(&tree, &options, region.len())?;
//! let written = fat::write(&layout, &region)?;
//!
//! # #[cfg(feature = "fat-reader")]
//! # {
//! let volume = fat::Volume::open(&region)?;
//! assert_eq!(volume.summary()?.label, "BOOT");
//! assert_eq!(volume.list()?["/hello"], 6);
//! assert!(volume.check_files(&written.files).is_empty());
//! # }
//! # Ok::<(), fat::FatError>(())
//! ```

mod error;
#[cfg(feature = "fat-reader")]
mod examine;
mod geometry;
mod kept;
mod layout;
mod names;
mod raw;
#[cfg(feature = "fat-reader")]
mod read;
mod write;

use crate::value::Timestamp;

pub use error::FatError;
#[cfg(feature = "fat-reader")]
pub use examine::examine;
pub use kept::KeptEntry;
pub use layout::{Layout, layout, losses, minimum_size};
#[cfg(feature = "fat-reader")]
pub use read::{Summary, Volume};
pub use write::{Written, write};

/// Format that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum FatType {
    /// 4085 to 65524 clusters.
    Fat16,
    /// At least 65525 clusters.
    Fat32,
    /// FAT16 below 512 MiB and FAT32 from there on, as `mkfs.fat` chooses; the other one where that cannot be.
    Auto,
}

/// Options: everything that makes the bytes of a filesystem besides its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// FAT16, FAT32, or chosen by size.
    pub fat_type: FatType,
    /// Volume label: at most 11 ASCII characters, empty for none; written to the boot sector and the root.
    pub label: String,
    /// Volume serial number.
    pub volume_id: u32,
    /// Time of the label; files have their own.
    pub timestamp: Timestamp,
    /// Sectors on the medium before the filesystem (`BPB_HiddSec`): what a BIOS boot sector adds.
    pub hidden_sectors: u32,
    /// Bytes per sector of the medium: 512 or 4096.
    pub sector_size: u32,
    /// Bytes per cluster: a power of two from one sector to 32 KiB; `None` takes the table of fatgen103.
    pub cluster_size: Option<u32>,
}
