//! Errors of growing a filesystem.

use crate::error::Diagnostic;
use crate::storage::TargetError;

/// Reason why a filesystem stays as it is; nothing of it was changed.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(
    kind = Corrupt,
    hint = "repair it in the image with `e2fsck -f`, or grow it on the board with `resize2fs`"
)]
#[non_exhaustive]
pub enum GrowError {
    /// No ext4 there.
    #[error("there is no ext4 filesystem at offset {offset}: the magic number is {found:#06x}, not 0xef53")]
    #[diagnostic(hint = None)]
    NotExt4 {
        /// First byte of the filesystem.
        offset: u64,
        /// Number in the place of `s_magic`.
        found: u16,
    },
    /// Replaying its journal would undo what is changed.
    #[error("the ext4 filesystem was not unmounted: its journal must be replayed first")]
    #[diagnostic(kind = Unsupported)]
    NeedsRecovery,
    /// It says so itself.
    #[error("the ext4 filesystem has errors, says its superblock (state {state:#06x})")]
    HasErrors {
        /// `s_state`.
        state: u16,
    },
    /// Files that were open when they were removed.
    #[error("the ext4 filesystem has removed files that were not freed yet")]
    #[diagnostic(kind = Unsupported)]
    Orphans,
    /// Features whose growing is not known here.
    #[error("the ext4 filesystem has features that are not grown here: {}", features.join(", "))]
    #[diagnostic(kind = Unsupported, hint = "grow it on the board with `resize2fs`")]
    Features {
        /// Their names, as in `dumpe2fs`.
        features: Vec<String>,
    },
    /// A number or checksum that cannot be.
    #[error("the ext4 filesystem is damaged: {what}")]
    Corrupt {
        /// Description of the problem.
        what: String,
    },
    /// The target failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] TargetError),
}
