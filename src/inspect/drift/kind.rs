//! Kinds of changes by use.

use std::fmt;

use serde::Serialize;

use crate::value::ByteSize;

/// Something that use changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionDrift {
    /// The region.
    pub name: String,
    /// Kind of the region.
    pub kind: String,
    /// Change by use.
    #[serde(flatten)]
    pub drift: Drift,
}

/// Changes that use makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "drift", rename_all = "kebab-case")]
pub enum Drift {
    /// Times, counters, tables and free space of a filesystem.
    Tables {
        /// Bytes of the extents in which something differs.
        within: u64,
    },
    /// It is mounted, or was not unmounted.
    NotUnmounted,
    /// A file that the user may change has other bytes.
    FileChanged {
        /// Its path.
        path: String,
    },
    /// A file that the user may remove is gone.
    FileRemoved {
        /// Its path.
        path: String,
    },
    /// There are files that were not written.
    FilesAdded {
        /// Number of files.
        count: usize,
        /// The first of them.
        first: Vec<String>,
    },
    /// The partition is longer, or shorter.
    PartitionResized {
        /// Bytes that were written.
        from: u64,
        /// Bytes now.
        to: u64,
    },
    /// The filesystem is longer.
    FilesystemGrown {
        /// Bytes of its partition when it was written.
        from: u64,
        /// Bytes now.
        to: u64,
    },
    /// The backup of the GPT is elsewhere: at the end of a larger disk.
    BackupMoved,
}

impl fmt::Display for RegionDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "region `{}` ({}): ", self.name, self.kind)?;
        match &self.drift {
            Drift::Tables { within } => {
                write!(f, "times, tables and free space, within {}", ByteSize(*within))
            }
            Drift::NotUnmounted => f.write_str("is mounted, or was not unmounted"),
            Drift::FileChanged { path } => write!(f, "file `{path}` is another, which it may be"),
            Drift::FileRemoved { path } => write!(f, "file `{path}` was removed, which it may be"),
            Drift::FilesAdded { count, first } => {
                let more = if *count > first.len() { ", ..." } else { "" };
                let names = first.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
                let files = if *count == 1 { "file was" } else { "files were" };
                write!(f, "{count} {files} added: {names}{more}")
            }
            Drift::PartitionResized { from, to } => {
                write!(f, "the partition has {} instead of {}", ByteSize(*to), ByteSize(*from))
            }
            Drift::FilesystemGrown { from, to } => {
                write!(f, "the filesystem grew from {} to {}", ByteSize(*from), ByteSize(*to))
            }
            Drift::BackupMoved => f.write_str("the backup of the GPT is at the end of the medium"),
        }
    }
}
