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
