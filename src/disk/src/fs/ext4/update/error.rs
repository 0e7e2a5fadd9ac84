//! Why a filesystem cannot be changed in place.

use crate::error::{Diagnostic, ErrorKind};
use crate::storage::TargetError;
use crate::tree::ContentError;

/// Reason why an existing ext4 filesystem cannot be read, changed or brought up to date with its journal.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// No ext4 there.
    #[error("there is no ext4 filesystem at offset {offset}: the magic number is {found:#06x}, not 0xef53")]
    NotExt4 {
        /// First byte of the filesystem on the target.
        offset: u64,
        /// Number in the place of `s_magic`.
        found: u16,
    },
    /// Made by a program that knows more.
    #[error("the ext4 filesystem has features that cannot be kept right: {}", features.join(" "))]
    Features {
        /// As `dumpe2fs` names them.
        features: Vec<String>,
    },
    /// Something that no feature bit says.
    #[error("the ext4 filesystem has {what}, which cannot be kept right")]
    Unsupported {
        /// With its number.
        what: String,
    },
    /// The kernel or e2fsck found damage, or it was not unmounted.
    #[error("the ext4 filesystem {state}")]
    NeedsCheck {
        /// Fact of the superblock, as the end of the sentence.
        state: &'static str,
    },
    /// Its parts contradict each other.
    #[error("the ext4 filesystem is damaged: {what}")]
    Corrupt {
        /// Description of the contradiction.
        what: String,
    },
    /// Reserved blocks count as free: a system is installed by root.
    #[error("the ext4 filesystem needs {need} free blocks of {block_size} bytes but has {have}")]
    NoBlocks {
        /// Blocks wanted.
        need: u64,
        /// Blocks there are.
        have: u64,
        /// Bytes of a block.
        block_size: u64,
    },
    /// No number is left for a file.
    #[error("the ext4 filesystem needs {need} free inodes but has {have}")]
    NoInodes {
        /// Inodes wanted.
        need: u64,
        /// Inodes there are.
        have: u64,
    },
    /// A change or a question is about a path that does not lead there.
    #[error("`{path}` {problem}")]
    Path {
        /// Path in the filesystem.
        path: String,
        /// Problem with it, as the end of the sentence.
        problem: &'static str,
    },
    /// All changes are one transaction.
    #[error("the changes need {need} blocks of the journal but it has {have}")]
    JournalTooSmall {
        /// Blocks of descriptors, metadata and the commit.
        need: u64,
        /// Blocks of the log.
        have: u64,
    },
    /// Reading back gives other bytes than were written.
    #[error("bytes {offset}..{end} of `{target}` are not what was written: {what}", end = offset + len)]
    ReadBack {
        /// Name of the target.
        target: String,
        /// First byte on the target.
        offset: u64,
        /// Length in bytes.
        len: u64,
        /// Contents that were expected.
        what: &'static str,
    },
    /// The content of a new file cannot be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The target failed.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl Diagnostic for UpdateError {
    fn kind(&self) -> ErrorKind {
        use UpdateError::*;
        match self {
            NotExt4 { .. } | Corrupt { .. } | NeedsCheck { .. } => ErrorKind::Corrupt,
            Features { .. } | Unsupported { .. } => ErrorKind::Unsupported,
            NoBlocks { .. } | NoInodes { .. } | JournalTooSmall { .. } => ErrorKind::Fit,
            Path { .. } => ErrorKind::Input,
            ReadBack { .. } => ErrorKind::Mismatch,
            Content(error) => error.kind(),
            Target(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        use UpdateError::*;
        Some(match self {
            NotExt4 { .. } => "check which partition holds the filesystem, or flash the medium".into(),
            Features { .. } | Unsupported { .. } => {
                "change the files on a running system, or flash the medium anew".into()
            }
            NeedsCheck { .. } | Corrupt { .. } => {
                "run `e2fsck -f` on it, and try again when it finds nothing any more".into()
            }
            NoBlocks { .. } | NoInodes { .. } => "delete files on it that are not needed any more".into(),
            Path { .. } => "look at what is on the filesystem, for example with `debugfs -R 'ls -l'`".into(),
            JournalTooSmall { .. } => "make the changes in several steps".into(),
            ReadBack { .. } => "write again; if it comes back, the medium or its reader is failing".into(),
            Content(error) => return error.hint(),
            Target(error) => return error.hint(),
        })
    }
}

/// An error constructor for what contradicts itself.
pub fn corrupt(what: impl Into<String>) -> UpdateError {
    UpdateError::Corrupt { what: what.into() }
}
