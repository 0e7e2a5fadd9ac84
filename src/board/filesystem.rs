//! Contents of partitions: filesystems, files as they are, archives.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Oci;
use crate::fs::compress::Compression;
use crate::fs::squashfs::Codec;
use crate::value::ByteSize;

/// Format of a partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Filesystem {
    /// FAT with 32-bit entries.
    Fat32 {
        /// Volume label.
        label: String,
    },
    /// FAT with 16-bit entries.
    Fat16 {
        /// Volume label.
        label: String,
    },
    /// ext4 that old U-Boots can read and resize2fs can grow.
    Ext4 {
        /// Volume label.
        label: String,
    },
    /// The root tree as squashfs, streamed into the partition.
    Squashfs {
        /// Compressor and level.
        codec: Codec,
        /// Data block size.
        block: ByteSize,
    },
    /// The bytes of a file at the start of the partition.
    Raw {
        /// Candidates in the images directory; the first that exists is used.
        images: Vec<String>,
        /// True if the partition stays unwritten where none exists.
        optional: bool,
    },
    /// A PAX archive that is the whole output.
    Tar {
        /// Compression of the whole archive.
        compression: Compression,
    },
    /// An OCI image layout in an archive that is the whole output.
    Oci {
        /// Compression of the layer.
        compression: Compression,
        /// Name and configuration.
        oci: Oci,
    },
    /// Nothing is written.
    None,
}

/// Kind of a [`Filesystem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilesystemKind {
    /// FAT with 16-bit entries.
    Fat16,
    /// FAT with 32-bit entries.
    Fat32,
    /// ext4.
    Ext4,
    /// squashfs.
    Squashfs,
    /// The bytes of a file.
    Raw,
    /// A PAX archive.
    Tar,
    /// An OCI image layout in an archive.
    Oci,
    /// Nothing.
    None,
}

impl FilesystemKind {
    /// Returns whether it is a FAT, whose names are the same in both cases.
    pub fn is_fat(self) -> bool {
        matches!(self, FilesystemKind::Fat16 | FilesystemKind::Fat32)
    }
}

impl fmt::Display for FilesystemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FilesystemKind::Fat16 => "fat16",
            FilesystemKind::Fat32 => "fat32",
            FilesystemKind::Ext4 => "ext4",
            FilesystemKind::Squashfs => "squashfs",
            FilesystemKind::Raw => "raw",
            FilesystemKind::Tar => "tar",
            FilesystemKind::Oci => "oci",
            FilesystemKind::None => "none",
        })
    }
}

impl Filesystem {
    /// Returns whether it is no filesystem of a medium but a file for another program.
    pub fn is_archive(&self) -> bool {
        matches!(self, Filesystem::Tar { .. } | Filesystem::Oci { .. })
    }

    /// Returns whether files can be put on it.
    pub fn holds_files(&self) -> bool {
        !matches!(self, Filesystem::Squashfs { .. } | Filesystem::Raw { .. } | Filesystem::None)
    }

    /// Its kind, as descriptors name it.
    pub fn kind(&self) -> FilesystemKind {
        match self {
            Filesystem::Fat16 { .. } => FilesystemKind::Fat16,
            Filesystem::Fat32 { .. } => FilesystemKind::Fat32,
            Filesystem::Ext4 { .. } => FilesystemKind::Ext4,
            Filesystem::Squashfs { .. } => FilesystemKind::Squashfs,
            Filesystem::Raw { .. } => FilesystemKind::Raw,
            Filesystem::Tar { .. } => FilesystemKind::Tar,
            Filesystem::Oci { .. } => FilesystemKind::Oci,
            Filesystem::None => FilesystemKind::None,
        }
    }

    /// The volume label, if it has one.
    pub fn label(&self) -> Option<&str> {
        match self {
            Filesystem::Fat32 { label } | Filesystem::Fat16 { label } | Filesystem::Ext4 { label } => {
                Some(label)
            }
            _ => None,
        }
    }
}
