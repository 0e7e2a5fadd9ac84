//! The filesystems and archives that this program reads, as their own superblocks say; of others the name.

use std::fmt;
use std::io::BufReader;

use serde::Serialize;
use skiff_signatures::{Class, Format};

use super::outline::head;
use super::superblock::{Superblock, superblock};
use crate::fs::{ext4, fat, squashfs, tar};
use crate::storage::{Cursor, ReadOnly};
use crate::value::ByteSize;

/// Format of a partition, as its own superblock says.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "filesystem", rename_all = "lowercase")]
pub enum Content {
    /// FAT16 or FAT32.
    Fat(fat::Summary),
    /// ext2, ext3 or ext4.
    Ext4(ext4::Summary),
    /// squashfs.
    Squashfs(squashfs::Info),
    /// A tar archive.
    Tar(tar::Summary),
    /// None of these.
    Unknown,
    /// A format of which only the first bytes are known.
    #[serde(untagged)]
    Other {
        /// Name of the format.
        filesystem: &'static str,
    },
}

/// Formats whose name is said.
const CLASSES: [Class; 3] = [Class::Filesystem, Class::Volume, Class::Label];

/// Returns the content of a range of `medium`, if no reader has to read more than `most` bytes to know it. A range that
/// cannot be read is unknown.
pub fn content(medium: &ReadOnly, start: u64, len: u64, most: u64) -> Content {
    let section = || Cursor::new(medium.clone(), start, len).at_most(most);
    match superblock(section) {
        Ok(Some(Superblock::Squashfs(info))) => return Content::Squashfs(info),
        Ok(Some(Superblock::Ext4(summary))) => return Content::Ext4(summary),
        Ok(Some(Superblock::Fat(summary))) => return Content::Fat(summary),
        Ok(None) | Err(_) => {}
    } // An archive is never a partition.
    if start == 0
        && let Ok(summary) = tar::summary(BufReader::new(section()))
    {
        return Content::Tar(summary);
    }
    let head = head(medium, &(start..start.saturating_add(len)));
    match Format::find(&head, &CLASSES) {
        Some(format) => Content::Other { filesystem: format.name() },
        None => Content::Unknown,
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Fat(summary) => {
                let free = ByteSize(u64::from(summary.free_clusters) * u64::from(summary.cluster_size));
                let serial = summary.volume_id;
                let kind = if summary.fat_type == fat::FatType::Fat16 { "fat16" } else { "fat32" };
                write!(f, "{kind} `{}` {:04X}-{:04X}", summary.label, serial >> 16, serial & 0xffff)?;
                write!(f, ", clusters of {}, {free} free", ByteSize(summary.cluster_size.into()))
            }
            Content::Ext4(ext4) => {
                write!(f, "ext4 `{}` {}, {} free", ext4.label, ext4.uuid, ext4.free)
            }
            Content::Squashfs(info) => {
                let (used, block) = (ByteSize(info.bytes_used), ByteSize(info.block_size.into()));
                write!(f, "squashfs {}, blocks of {block}, {used}, {} inodes", info.codec, info.inodes)
            }
            Content::Tar(summary) => {
                let kind = if summary.oci { "container image in a tar archive" } else { "tar archive" };
                let (members, content) = (summary.members, ByteSize(summary.content));
                write!(f, "{kind}, compression {}, {members} members, {content}", summary.compression)
            }
            Content::Other { filesystem } => f.write_str(filesystem),
            Content::Unknown => f.write_str("unknown"),
        }
    }
}
