//! Formats: what is written and read, against the tools that own them.

#[path = "../harness/mod.rs"]
mod harness;

mod attributes;
mod cpio;
mod ext4;
mod ext4_update;
mod fat;
mod fuzzed;
mod hostile;
mod prove;
mod squashfs;
mod squashfs_read;
mod table;
mod tar;
mod tree;
mod uimage;
