//! The steps of a plan.

use serde::Serialize;

use crate::board::{FilesystemKind, Update};
use crate::value::ByteSize;

/// A named range of the disk and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Name of the table part, blob or partition.
    pub name: String,
    /// First byte on the disk.
    pub offset: ByteSize,
    /// Bytes.
    pub len: ByteSize,
    /// Written only after everything else was read back and found right.
    pub critical: bool,
    /// Scope of an update.
    pub update: Update,
    /// Bytes that are written.
    pub action: Action,
}

/// Bytes that are written to the range of a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Action {
    /// Part of a partition table.
    Table,
    /// A piece of a raw blob.
    Blob {
        /// Index into the board's list of blobs.
        blob: usize,
        /// Its file.
        file: String,
        /// First byte of the file.
        from: ByteSize,
    },
    /// A filesystem in a partition.
    Filesystem {
        /// Number of the partition.
        number: u32,
        /// Its kind.
        filesystem: FilesystemKind,
        /// Volume label.
        label: String,
        /// FAT serial or ext4 UUID.
        id: String,
        /// Number of files, links and directories.
        nodes: usize,
        /// Bytes of file contents.
        content: ByteSize,
    },
    /// A file as it is.
    Image {
        /// Number of the partition.
        number: u32,
        /// The file below the images directory.
        file: String,
    },
    /// A partition that is left as it is.
    Unformatted {
        /// Number of the partition.
        number: u32,
    },
}

impl Action {
    /// Number of the partition, if the step is one.
    pub fn partition(&self) -> Option<u32> {
        match self {
            Action::Filesystem { number, .. }
            | Action::Image { number, .. }
            | Action::Unformatted { number } => Some(*number),
            Action::Table | Action::Blob { .. } => None,
        }
    }
}
