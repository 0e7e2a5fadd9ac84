//! Errors of planning: the numbers do not work.

use super::Extent;
use crate::error::Diagnostic;
use crate::value::ByteSize;

/// Reason why there is no plan: the numbers do not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Fit)]
pub enum PlanError {
    /// Two things want the same bytes.
    #[error("`{}` (bytes {} to {}) overlaps `{}` (bytes {} to {}) by {}", first.name, first.start, first.end(), second.name, second.start, second.end(), ByteSize(first.end().min(second.end()) - second.start))]
    #[diagnostic(hint = "move one of them in the board descriptor")]
    Overlap {
        /// The one that starts first.
        first: Extent,
        /// The other.
        second: Extent,
    },
    /// A partition starts in front of one that stands above it.
    #[error("partition `{name}` starts at {} and stands behind `{above}`, which starts at {}", ByteSize(*start), ByteSize(*above_start))]
    #[diagnostic(
        hint = "list partitions in the order they have on the medium; `number` gives one another number in the table"
    )]
    OutOfOrder {
        /// The partition.
        name: String,
        /// Its first byte.
        start: u64,
        /// The partition above it.
        above: String,
        /// First byte of that.
        above_start: u64,
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
        /// Name of what follows.
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
    /// The disk is smaller than the board wants it.
    #[error("board `{board}` is for media of {} and more (`minimum-medium`) but the disk has {}", ByteSize(*need).as_sold(), ByteSize(*have))]
    #[diagnostic(hint = "use a larger disk", code = "disk-too-small")]
    BelowMinimum {
        /// The board.
        board: String,
        /// Length of the smallest medium.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
    /// The disk ends before the last partition does.
    #[error("the layout of board `{board}` needs {} but the disk has {}", ByteSize(*need), ByteSize(*have))]
    #[diagnostic(hint = "use a larger disk", code = "disk-too-small")]
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
    #[diagnostic(hint = "use `assemble`", code = "archive-has-no-size")]
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
        /// First byte of it.
        start: u64,
        /// Number of bytes that the start must be a multiple of.
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
        /// Sector size of the board, in bytes.
        wanted: u32,
        /// Sector size of the disk, in bytes.
        disk: u32,
    },
}
