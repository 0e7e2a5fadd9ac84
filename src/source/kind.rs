//! Purpose of an image, by its first MiB: a whole disk, or a partition.

use skiff_signatures::{BOOT_SIGNATURE, Format, is_there};

use crate::error::Result;
use crate::storage::{Memory, Target as _, TargetError};
use crate::table::{self, Table};

/// Purpose of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// A whole disk.
    Disk,
    /// A partition: it has no table and is a filesystem.
    Filesystem,
}

impl ImageKind {
    /// Returns the purpose of what begins with `head`.
    pub(super) fn from_head(head: &[u8]) -> Result<ImageKind, TargetError> {
        if table(head)?.is_some() {
            return Ok(ImageKind::Disk);
        }
        Ok(if is_filesystem(head) { ImageKind::Filesystem } else { ImageKind::Disk })
    }
}

/// The table in the first bytes of an image. A backup at the end of a GPT is not looked for.
fn table(head: &[u8]) -> Result<Option<Table>, TargetError> {
    let disk = Memory::new(head.len() as u64);
    disk.write_at(head, 0)?;
    table::read(&disk)
}

/// Returns whether a filesystem that boards boot from is there.
fn is_filesystem(head: &[u8]) -> bool {
    let others = [Format::Squashfs, Format::Ext, Format::Erofs, Format::Xfs, Format::Btrfs];
    Format::Fat.begins(head) && is_there(head, BOOT_SIGNATURE)
        || others.iter().any(|format| format.begins(head))
}
