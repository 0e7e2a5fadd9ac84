//! Writers and readers for the filesystems and partition tables of disk images, without root, loop devices or external
//! `mkfs` programs.
//!
//! ```text
//! directory | tar | newc archive
//!      |  tree            metadata in memory, contents by reference
//!      v
//!    Tree ----layout----> Layout     metadata only, nothing is written
//!                           | write  each byte at most once
//!                           v
//!                         Region of a Target     file | block device | memory | simulated medium
//! ```
//!
//! - [`fs`]: squashfs, ext4, FAT, newc archives, tar archives and OCI image layouts.
//! - [`table`]: MBR and GPT, written and read, grown to a larger medium.
//! - [`tree`]: what goes into a filesystem: scanned directories, archives, overlays.
//! - [`storage`]: where bytes go and come from. Nothing else opens a device.
//! - [`value`]: sizes, digests, architectures and seeds, parsed from and printed to text.
//! - [`error`]: kinds of errors, hints and exit codes.
//!
//! The same input gives the same bytes, whatever the number of threads: times, ids and seeds are arguments.
//!
//! The modules, from the top down; each uses only those of lines below its own, which a test checks:
//!
//! ```text
//! fs table
//! storage
//! tree
//! error value
//! ```
//!
//! # A card with a boot partition
//!
//! ```
//! use skiff_disk::fs::fat::{self, FatType};
//! use skiff_disk::storage::{Memory, Region, Target};
//! use skiff_disk::table::{Partition, PartitionKind, mbr};
//! use skiff_disk::tree::{Body, Content, Node, Stat, Tree};
//!
//! let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 1_700_000_000 };
//! let mut tree = Tree::new(stat);
//! let config = Content::bytes(b"arm_64bit=1\n".as_slice());
//! tree.insert(Tree::ROOT, b"config.txt", Node::new(stat, Body::File(config)));
//!
//! let card = Memory::new(64 << 20); // or `storage::ImageFile`, or `storage::Device`
//! let kind = PartitionKind::Mbr { code: 0x0e, active: true };
//! let boot = Partition { number: 1, name: "boot".into(), start: 1 << 20, len: 32 << 20, kind };
//! for piece in mbr::encode(0x5449_4b53, std::slice::from_ref(&boot), card.geometry())? {
//!     card.write_at(&piece.bytes, piece.offset)?;
//! }
//!
//! let options = fat::Options {
//!     fat_type: FatType::Fat16,
//!     label: "BOOT".into(),
//!     volume_id: 0x1234_5678,
//!     timestamp: 1_700_000_000,
//!     hidden_sectors: 2048,
//!     sector_size: 512,
//!     cluster_size: None,
//! };
//! let region = Region::new(&card, "boot", boot.start, boot.len, "the end of the card");
//! let written = fat::write(&fat::layout(&tree, &options, region.len())?, &region)?;
//! assert_eq!(written.files[0].path, "/config.txt");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! All are on by default. With `default-features = false` and one format, nothing else is built: the `ext4` writer
//! alone needs 20 crates of others.
//!
//! - `squashfs`, `ext4`, `fat`, `cpio`, `tar`, `oci`, `table`: the formats. `tar` reads archives into trees, too.
//! - `readers`, or `ext4-reader`, `fat-reader`, `squashfs-reader` and `table-reader`: readers of other projects. They
//!   list what is in an image, and check what the writers wrote: each table before it is written, each squashfs after.
//! - `recorder`: a target that keeps a record of what was written to it.
//! - `simulation`: media that fail, lie, or lose their power, to test what writes to them.
//! - `serde`: reports that are printed as JSON, options that are read from files.
//!
//! Linux only: devices are opened with `O_DIRECT` and `O_EXCL`, and holes are found with `SEEK_DATA`.

#![warn(unreachable_pub)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// The derive of `Diagnostic` names the trait by this path, here as in packages that depend on this one.
extern crate self as skiff_disk;

pub mod error;
pub mod fs;
pub mod storage;
#[cfg(feature = "table")]
pub mod table;
pub mod tree;
pub mod value;

pub use error::{Error, Result};
/// Crate of the ids that partitions and filesystems have, in the version that is used here.
pub use uuid;
