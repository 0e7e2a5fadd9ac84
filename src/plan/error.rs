//! Errors of planning: the numbers do not work.

use crate::error::Diagnostic;
use crate::value::ByteSize;

/// Why there is no plan: the numbers do not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Fit)]
pub enum PlanError {
    /// Two things want the same bytes.
    #[error("`{first}` (bytes {first_start} to {first_end}) overlaps `{second}` (from byte {second_start}) by {}", ByteSize(first_end - second_start))]
    #[diagnostic(hint = "move one of them in the board descriptor")]
    Overlap {
        /// The one that starts first.
        first: String,
        /// Its first byte.
        first_start: u64,
        /// The byte behind its last.
        first_end: u64,
        /// The other.
        second: String,
        /// Its first byte.
        second_start: u64,
    },
    /// A blob is larger than the gap it goes to.
    #[error("blob `{name}` needs {} but has {} before {neighbour}", ByteSize(*need), ByteSize(*have))]
    #[diagnostic(hint = "build a smaller one, or check that it is the right file for this board")]
    BlobTooLarge {
        /// The blob.
        name: String,
        /// Bytes to write.
        need: u64,
        /// Bytes there are.
        have: u64,
        /// What follows.
        neighbour: String,
    },
    /// A partition is too small for its content.
    #[error("partition `{name}` needs {} for its content but has {}", ByteSize(*need), ByteSize(*have))]
    #[diagnostic(hint = "give the partition a larger size in the board descriptor, or put less into it")]
    ContentTooLarge {
        /// The partition.
        name: String,
        /// Bytes the filesystem needs.
        need: u64,
        /// Bytes the partition has.
        have: u64,
    },
    /// The next version does not fit beside this one.
    #[error("partition `{name}` holds this version but not the next beside it: both and a sixteenth of headroom need {}, and it has {}", ByteSize(*need), ByteSize(*have))]
    #[diagnostic(
        hint = "give the partition a larger size in the board descriptor, or say `update = \"never\"` there"
    )]
    NoRoomForUpdate {
        /// The partition.
        name: String,
        /// Bytes for two versions and the headroom.
        need: u64,
        /// Bytes the partition has.
        have: u64,
    },
    /// The disk ends before the last partition does.
    #[error("the layout of board `{board}` needs {} but the disk has {}", ByteSize(*need), ByteSize(*have))]
    #[diagnostic(hint = "use a larger disk or give a larger `--size`")]
    DiskTooSmall {
        /// The board.
        board: String,
        /// Bytes needed.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
    /// An archive is to be put on a disk.
    #[error("board `{board}` makes an archive, not a disk: it has no size to choose and goes to no device")]
    #[diagnostic(hint = "use `assemble` without `--size`")]
    Archive {
        /// The board.
        board: String,
    },
    /// A start is given that is not aligned.
    #[error("`{name}` starts at byte {start}, which is not a multiple of {align}")]
    #[diagnostic(hint = "start it at a multiple of the alignment")]
    Unaligned {
        /// The partition or blob.
        name: String,
        /// Where it starts.
        start: u64,
        /// What it must be a multiple of.
        align: u64,
    },
    /// The disk ends within a sector.
    #[error("a disk of {} is no whole number of sectors of {sector_size} bytes", ByteSize(*have))]
    #[diagnostic(hint = "give a size such as `64 MiB`")]
    PartOfSector {
        /// Bytes there are.
        have: u64,
        /// Bytes of a sector.
        sector_size: u32,
    },
    /// The disk has another sector size than the board.
    #[error("the disk has sectors of {disk} bytes but board `{board}` is laid out for {wanted}")]
    #[diagnostic(hint = "set `sector-size` in the `[table]` of a board descriptor for such disks")]
    SectorSize {
        /// The board.
        board: String,
        /// What the board says.
        wanted: u32,
        /// What the disk has.
        disk: u32,
    },
}
