//! Effect of an update on each partition, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::blobs::BlobChange;
use super::prepare::Installation;
use crate::value::ByteSize;

/// Fate of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is not the system's.
    Kept,
    /// It has what it should have.
    Same,
    /// It is written anew, in its place and with its ids.
    Rewritten,
    /// Files on it are replaced all at once, and nothing else is touched.
    Files,
}

/// Change of a partition by an update.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// The board's name for it.
    pub partition: String,
    /// Its number in the table.
    pub number: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Format of its content.
    pub filesystem: String,
    /// Fate of its content.
    pub how: How,
    /// Bytes that the system needs of it; where files are replaced, those that must be free.
    pub need: u64,
    /// Free space where files are replaced.
    pub room: Option<Room>,
    /// The files that change.
    pub files: Vec<FileChange>,
    /// Files that are not the system's, and are carried over.
    pub foreign: Vec<String>,
}

/// Free space of a partition whose files are replaced.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Room {
    /// Free bytes.
    pub bytes: u64,
    /// Inodes that are needed.
    pub need_inodes: u64,
    /// Free inodes.
    pub inodes: u64,
}

/// Change of a file by an update.
#[derive(Clone, Debug, Serialize)]
pub struct FileChange {
    /// Path on the partition.
    pub path: String,
    /// Bytes it has.
    pub before: Option<u64>,
    /// Bytes it will have.
    pub after: Option<u64>,
    /// Path it gets, if it is kept under another one.
    pub to: Option<String>,
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "unknown".into());
        let (before, after) = (version(&self.before), version(&self.after));
        let target = self.target();
        write!(f, "{}: board `{}`, version {before} becomes {after}", target.name(), self.board())?;
        if self.is_resumed() {
            f.write_str("\n  an earlier update is unfinished, and is finished now")?;
        }
        self.changes.iter().try_for_each(|change| write!(f, "\n{change}"))?;
        self.blobs.iter().filter(|blob| blob.differs).try_for_each(|blob| write!(f, "\n{blob}"))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { partition, number, filesystem, len, need, .. } = self;
        write!(f, "  #{number} `{partition}`, {filesystem}, {}: ", ByteSize(*len))?;
        match self.how {
            How::Kept => f.write_str("kept as it is"),
            How::Same => f.write_str("has the new system already"),
            How::Rewritten => write!(f, "rewritten as a whole, {} of it needed", ByteSize(*need)),
            How::Files => write!(f, "files are replaced, {} needed", ByteSize(*need)),
        }?;
        if let Some(Room { bytes, need_inodes, inodes }) = self.room {
            write!(f, " of {} that are free, {need_inodes} inodes of {inodes}", ByteSize(bytes))?;
        }
        self.files.iter().try_for_each(|file| write!(f, "\n    {file}"))?;
        self.foreign.iter().try_for_each(|path| write!(f, "\n    `{path}` carried over"))
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.path)?;
        if let Some(to) = &self.to {
            return write!(f, "is kept as `{to}`");
        }
        match (self.before, self.after) {
            (Some(before), Some(after)) => write!(f, "{} becomes {}", ByteSize(before), ByteSize(after)),
            (None, Some(after)) => write!(f, "new, {}", ByteSize(after)),
            (Some(before), None) => write!(f, "removed, {}", ByteSize(before)),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for BlobChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BlobChange { name, file, .. } = self;
        match self.written {
            true => write!(f, "  boot loader `{name}`: written from `{file}`"),
            false => write!(f, "  boot loader `{name}`: differs from `{file}` and is left alone"),
        }
    }
}
