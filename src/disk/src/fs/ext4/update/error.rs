//! Errors of changing a filesystem in place.

use crate::error::Diagnostic;
use crate::storage::TargetError;
use crate::tree::ContentError;

/// Reason why an existing ext4 filesystem cannot be read, changed or brought up to date with its journal.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Corrupt, hint = "change the files on a running system, or flash the medium anew")]
#[non_exhaustive]
pub enum UpdateError {
    /// No ext4 there.
    #[error("there is no ext4 filesystem at offset {offset}: the magic number is {found:#06x}, not 0xef53")]
    #[diagnostic(hint = "check which partition holds the filesystem, or flash the medium")]
    NotExt4 {
        /// First byte of the filesystem on the target.
        offset: u64,
        /// Number in the place of `s_magic`.
        found: u16,
    },
    /// Made by a program that knows more.
    #[error("the ext4 filesystem has features that cannot be kept right: {}", features.join(" "))]
    #[diagnostic(kind = Unsupported)]
    Features {
        /// As `dumpe2fs` names them.
        features: Vec<String>,
    },
    /// Something that no feature bit says.
    #[error("the ext4 filesystem has {what}, which cannot be kept right")]
    #[diagnostic(kind = Unsupported)]
    Unsupported {
        /// With its number.
        what: String,
    },
    /// The kernel or e2fsck found damage, or it was not unmounted.
    #[error("the ext4 filesystem {state}")]
    #[diagnostic(hint = "run `e2fsck -f` on it, and try again when it finds nothing any more")]
    NeedsCheck {
        /// Fact of the superblock, as the end of the sentence.
        state: &'static str,
    },
    /// Its parts contradict each other.
    #[error("the ext4 filesystem is damaged: {what}")]
    #[diagnostic(hint = "run `e2fsck -f` on it, and try again when it finds nothing any more")]
    Corrupt {
        /// Description of the contradiction.
        what: String,
    },
    /// Reserved blocks count as free: a system is installed by root.
    #[error("the ext4 filesystem needs {need} free blocks of {block_size} bytes but has {have}")]
    #[diagnostic(kind = Fit, hint = "delete files on it that are not needed any more")]
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
    #[diagnostic(kind = Fit, hint = "delete files on it that are not needed any more")]
    NoInodes {
        /// Inodes wanted.
        need: u64,
        /// Inodes there are.
        have: u64,
    },
    /// A change or a question is about a path that does not lead there.
    #[error("`{path}` {problem}")]
    #[diagnostic(
        kind = Input,
        hint = "look at what is on the filesystem, for example with `debugfs -R 'ls -l'`"
    )]
    Path {
        /// Path in the filesystem.
        path: String,
        /// Problem with it, as the end of the sentence.
        problem: &'static str,
    },
    /// All changes are one transaction.
    #[error("the changes need {need} blocks of the journal but it has {have}")]
    #[diagnostic(kind = Fit, hint = "make the changes in several steps")]
    JournalTooSmall {
        /// Blocks of descriptors, metadata and the commit.
        need: u64,
        /// Blocks of the log.
        have: u64,
    },
    /// Reading back gives other bytes than were written.
    #[error("bytes {offset}..{end} of `{target}` are not what was written: {what}", end = offset + len)]
    #[diagnostic(
        kind = Mismatch,
        hint = "write again; if it comes back, the medium or its reader is failing"
    )]
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
    #[diagnostic(transparent)]
    Content(#[from] ContentError),
    /// The target failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] TargetError),
}

/// An error constructor for what contradicts itself.
pub(super) fn corrupt(what: impl Into<String>) -> UpdateError {
    UpdateError::Corrupt { what: what.into() }
}
