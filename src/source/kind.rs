//! What an image is for, by its first MiB: a whole disk, a partition, or nothing that could be flashed.

use crate::error::Result;
use crate::storage::{Memory, Target as _, TargetError};
use crate::table::{self, Table};

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole disk.
    Disk,
    /// A partition: it has no table and is a filesystem.
    Filesystem,
    /// No device: an archive.
    Archive,
}

impl Kind {
    /// What begins with `head`.
    pub(super) fn of(head: &[u8]) -> Result<Kind, TargetError> {
        if table(head)?.is_some() {
            return Ok(Kind::Disk);
        }
        Ok(if is_archive(head) {
            Kind::Archive
        } else if is_filesystem(head) {
            Kind::Filesystem
        } else {
            Kind::Disk
        })
    }
}

/// The table in the first bytes of an image. A backup at the end of a GPT is not looked for.
pub(super) fn table(head: &[u8]) -> Result<Option<Table>, TargetError> {
    let disk = Memory::new(head.len() as u64);
    disk.write_at(head, 0)?;
    table::read(&disk)
}

fn has(head: &[u8], at: usize, magic: &[u8]) -> bool {
    head.get(at..at + magic.len()) == Some(magic)
}

/// `ustar` (POSIX.1-2017, pax), which GNU tar has too.
fn is_archive(head: &[u8]) -> bool {
    has(head, 257, b"ustar")
}

/// The magic numbers of squashfs, ext2 to ext4 (`s_magic`), erofs, XFS, Btrfs and FAT.
fn is_filesystem(head: &[u8]) -> bool {
    let fat = has(head, 510, &[0x55, 0xaa]) && (has(head, 54, b"FAT") || has(head, 82, b"FAT"));
    let others: [(usize, &[u8]); 5] = [
        (0, b"hsqs"),
        (1080, &[0x53, 0xef]),
        (1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
        (0, b"XFSB"),
        (65_600, b"_BHRfS_M"),
    ];
    fat || others.iter().any(|(at, magic)| has(head, *at, magic))
}
