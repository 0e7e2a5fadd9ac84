//! Reasons why a system is not installed.

use crate::board::TableKind;
use crate::error::{Diagnostic, ErrorKind};
use crate::readback::{Code, Damage};
use crate::value::ByteSize;

/// Number of things that a message names.
const NAMED: usize = 5;

/// Reason why a system is not installed.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(
    kind = Refused,
    hint = "remove files from it; the old ones stay until the new ones are complete"
)]
pub enum InstallError {
    /// There are no partitions to install to.
    #[error("`{target}` has no partition table, but board `{board}` has {table}; on it is {holds}")]
    #[diagnostic(hint = "`flash` makes a new medium, and erases what is on this one")]
    NoTable {
        /// The medium.
        target: String,
        /// The board.
        board: String,
        /// Table of the board.
        table: TableKind,
        /// Content that was found instead.
        holds: String,
    },
    /// The board's image goes into a partition.
    #[error("`{target}` has a partition table, but the system of board `{board}` goes into one partition")]
    #[diagnostic(hint = "give the partition, not the disk")]
    WholeDisk {
        /// The medium.
        target: String,
        /// The board.
        board: String,
    },
    /// A partition of the board is not there.
    #[error(
        "`{target}` is no medium of board `{board}`: its partition `{partition}` (#{number}, {expected}) is not there\n  found: {}",
        found.join("\n         ")
    )]
    #[diagnostic(hint = "check the board; `inspect` shows what is on the medium, `flash` makes a new one")]
    NoMatch {
        /// The medium.
        target: String,
        /// The board.
        board: String,
        /// The partition that was looked for.
        partition: String,
        /// Its number.
        number: u32,
        /// Expected content.
        expected: String,
        /// Partitions that are there.
        found: Vec<String>,
    },
    /// The system on the medium is for another board.
    #[error("`{target}` is a medium of another board than `{board}`: {evidence}")]
    #[diagnostic(hint = "check the board", code = "other-board")]
    OtherBoard {
        /// The medium.
        target: String,
        /// The board.
        board: String,
        /// File that says so.
        evidence: String,
    },
    /// The medium has slots, of which one is updated by the device.
    #[error(
        "partition `{partition}` of `{target}` has two slots for systems, and the boot loader starts what is in one of them"
    )]
    #[diagnostic(
        hint = "update the device with `skiff-update apply`, or make the medium anew with `flash`",
        code = "has-slots"
    )]
    HasSlots {
        /// The medium.
        target: String,
        /// The partition.
        partition: String,
    },
    /// The board has nothing that an update touches.
    #[error("board `{board}` has nothing that can be installed on a medium")]
    #[diagnostic(kind = Input, hint = "use `assemble` and the board's own tools")]
    Nothing {
        /// The board.
        board: String,
    },
    /// Files of the user are on a partition that is rewritten as a whole.
    #[error(
        "partition `{partition}` is rewritten as a whole, and has files that are not the system's: {}",
        listed(files)
    )]
    #[diagnostic(hint = "copy them elsewhere", code = "foreign-files")]
    ForeignFiles {
        /// The partition.
        partition: String,
        /// Their paths.
        files: Vec<String>,
    },
    /// Something else is where the system has a file or directory.
    #[error("`{path}` is in the way: the system has a {wanted} there")]
    #[diagnostic(hint = "move it away: it is not the system's")]
    InTheWay {
        /// The path.
        path: String,
        /// Kind of entry that the system has.
        wanted: &'static str,
    },
    /// The new files do not fit beside the old ones.
    #[error(
        "partition `{partition}` of `{target}` has {} free but the new files need {} beside the old",
        ByteSize(*have), ByteSize(*need)
    )]
    #[diagnostic(kind = Fit)]
    NoRoom {
        /// The medium.
        target: String,
        /// The partition.
        partition: String,
        /// Bytes needed.
        need: u64,
        /// Bytes that are free.
        have: u64,
    },
    /// There are too few inodes for the new files.
    #[error("partition `{partition}` of `{target}` has {have} free inodes but the new files need {need}")]
    #[diagnostic(kind = Fit)]
    NoInodes {
        /// The medium.
        target: String,
        /// The partition.
        partition: String,
        /// Inodes needed.
        need: u64,
        /// Inodes that are free.
        have: u64,
    },
    /// The new system does not fit.
    #[error("partition `{partition}` of `{target}` has {} but the system needs {}", ByteSize(*have), ByteSize(*need))]
    #[diagnostic(kind = Fit, hint = "put less into the system, or make a new medium with `flash`")]
    TooSmall {
        /// The medium.
        target: String,
        /// The partition.
        partition: String,
        /// Bytes needed.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
    /// The marker cannot hold the names.
    #[error("the names and labels of the partitions of board `{board}` do not fit into one sector")]
    #[diagnostic(kind = Fit, hint = "use shorter names without spaces in the board descriptor")]
    Names {
        /// The board.
        board: String,
    },
    /// A boot loader would overwrite something.
    #[error("boot loader `{blob}` would be written to bytes {start} to {end}, which belong to {owner}")]
    #[diagnostic(kind = Fit, hint = "make a new medium with `flash`", code = "blob-in-the-way")]
    BlobInTheWay {
        /// The boot loader.
        blob: String,
        /// First byte.
        start: u64,
        /// The byte behind the last.
        end: u64,
        /// Owner of the bytes.
        owner: String,
    },
    /// The medium does not hold what was written to it.
    #[error("`{target}` does not hold what was written: {}", damaged(damage))]
    #[diagnostic(kind = Mismatch, hint("{}", Code::WrongContent.hint()), code = "wrong-content")]
    Mismatch {
        /// The medium.
        target: String,
        /// All damaged ranges.
        damage: Vec<Damage>,
    },
    /// Something failed when the old system was no longer whole.
    #[error("{message}; the update of `{target}` is unfinished, so nothing boots from it")]
    #[diagnostic(
        kind = *kind,
        hint = "run `install` again: it finishes, and keeps persist and ids",
        code = *code
    )]
    Unfinished {
        /// Message of the first failure.
        message: String,
        /// The medium.
        target: String,
        /// Whose fault it is.
        kind: ErrorKind,
        /// See [`Diagnostic::code`].
        code: Option<&'static str>,
    },
}

fn listed(files: &[String]) -> String {
    let named: Vec<String> = files.iter().take(NAMED).map(|path| format!("`{path}`")).collect();
    match files.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn damaged(damage: &[Damage]) -> String {
    let named: Vec<String> = damage.iter().take(NAMED).map(Damage::to_string).collect();
    match damage.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more ranges", named.join(", ")),
    }
}
