//! Partition tables: a list of partitions to bytes ([`mbr::encode`], [`gpt::encode`]) and back ([`read`]).
//!
//! Encoders do no I/O: they return [`TableBytes`] that belong to fixed offsets of the disk. Boot code shares
//! sector 0 with the table, so both encoders return only bytes 440 to 511 of it, the disk signature, the four
//! entries and the signature `55 aa`; bytes 0 to 439 belong to whoever has boot code, else they stay as they are.
//! Where a boot ROM wants its own bytes at 440 and 441 too, the caller makes them the low half of the disk
//! signature.
//!
//! ```
//! use skiff_disk::storage::{Memory, Target};
//! use skiff_disk::table::{self, Partition, PartitionKind, gpt};
//! use skiff_disk::value::Seed;
//!
//! let disk = Memory::new(64 << 20);
//! let seed = Seed("router 1.2".into());
//! let kind = PartitionKind::Gpt {
//!     type_guid: uuid::uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4"), // Linux filesystem
//!     guid: seed.uuid("rootfs"),
//!     attributes: 0,
//!     name: "rootfs".into(),
//! };
//! let rootfs = Partition { number: 1, name: "rootfs".into(), start: 1 << 20, len: 32 << 20, kind };
//! let options = gpt::Options { disk_guid: seed.uuid("disk"), entry_count: 128, reserved: &[], hybrid: None };
//! for piece in gpt::encode(&[rootfs.clone()], disk.geometry(), &options)? {
//!     disk.write_at(&piece.bytes, piece.offset)?;
//! }
//! let table = table::read(&disk)?.expect("a table was written");
//! assert_eq!(table.partitions[0].range(), rootfs.range());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod gpt;
mod grow;
pub mod mbr;
mod read;
#[cfg(feature = "table-reader")]
mod second_reader;

pub use grow::{Fitted, Kept, OLD_BACKUP, fit, room, unfit};
pub use read::{CopyState, Scheme, Table, is_protected, places, read, read_mbr};

use std::ops::Range;

use uuid::Uuid;

use crate::error::Diagnostic;
use crate::storage::Geometry;
use crate::value::ByteSize;

/// One partition of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Partition {
    /// Its number, from 1: what stands behind `sda` or `-part`.
    pub number: u32,
    /// Name of the partition in messages.
    pub name: String,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Facts that only one kind of table has.
    pub kind: PartitionKind,
}

impl Partition {
    /// First byte and the one behind the last.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.len)
    }
}

/// Facts about a partition that only one kind of table has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "table", rename_all = "lowercase")
)]
pub enum PartitionKind {
    /// An entry of an MBR.
    Mbr {
        /// Partition type, for example `0x0c` for FAT32 with LBA or `0x83` for Linux.
        code: u8,
        /// Set if the BIOS boots from it.
        active: bool,
    },
    /// An entry of a GUID partition table.
    Gpt {
        /// `PartitionTypeGUID`.
        type_guid: Uuid,
        /// `UniquePartitionGUID`, Linux' `PARTUUID`.
        guid: Uuid,
        /// `Attributes`.
        attributes: u64,
        /// `PartitionName`, at most 36 UTF-16 code units.
        name: String,
    },
}

/// Bytes of a table and where they belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableBytes {
    /// Name of the bytes, for messages and plans.
    pub name: String,
    /// First byte on the disk.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl TableBytes {
    fn new(name: impl Into<String>, offset: u64, bytes: Vec<u8>) -> TableBytes {
        TableBytes { name: name.into(), offset, bytes }
    }

    /// The bytes on the disk.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes.len() as u64
    }
}

/// Reason why a partition list is not a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "change the partition list of the board descriptor")]
#[non_exhaustive]
pub enum TableError {
    /// Not a whole number of sectors.
    #[error(
        "the {what} of partition `{partition}` is {value} bytes, not a multiple of the {sector}-byte sectors"
    )]
    Misaligned {
        /// [`Partition::name`].
        partition: String,
        /// `start` or `length`.
        what: &'static str,
        /// The offending number in bytes.
        value: u64,
        /// Sector size in bytes.
        sector: u64,
    },
    /// Without a length.
    #[error("partition `{0}` is empty")]
    Empty(String),
    /// On top of the table or behind the end.
    #[error(
        "partition `{partition}` is at bytes {}..{}, outside of {}..{} that the table leaves for partitions",
        found.start, found.end, usable.start, usable.end
    )]
    #[diagnostic(kind = Fit)]
    Outside {
        /// [`Partition::name`].
        partition: String,
        /// Range of the partition.
        found: Range<u64>,
        /// Range it may be in.
        usable: Range<u64>,
    },
    /// Another implementation reads the finished table differently.
    #[error("the partition table is not what was meant, says `{reader}`: {what}")]
    #[diagnostic(kind = Corrupt, hint = "nothing was written; report this with the board descriptor")]
    Unreadable {
        /// Name of the implementation.
        reader: &'static str,
        /// Text of its complaint.
        what: String,
    },
    /// Two partitions share bytes.
    #[error("partitions `{first}` and `{second}` overlap in bytes {}..{}", shared.start, shared.end)]
    #[diagnostic(kind = Fit)]
    Overlap {
        /// The one that begins first.
        first: String,
        /// The other.
        second: String,
        /// Range that both claim.
        shared: Range<u64>,
    },
    /// An MBR has 32-bit sector numbers.
    #[error("partition `{partition}` ends at {} but an MBR with {sector}-byte sectors ends at {}", ByteSize(*end), ByteSize(*limit))]
    #[diagnostic(kind = Fit, hint = "use a GPT for this disk")]
    BeyondMbr {
        /// [`Partition::name`].
        partition: String,
        /// Its end in bytes.
        end: u64,
        /// The last end that can be stored.
        limit: u64,
        /// Sector size in bytes.
        sector: u64,
    },
    /// The table has no such entry.
    #[error("partition `{partition}` has number {number}; the table has 1 to {largest}")]
    #[diagnostic(hint = "use a GPT for more than four partitions, or free a primary entry")]
    Number {
        /// [`Partition::name`].
        partition: String,
        /// [`Partition::number`].
        number: u32,
        /// The largest number of this table.
        largest: u32,
    },
    /// One number for two.
    #[error("partitions `{first}` and `{second}` both have number {number}")]
    SameNumber {
        /// The first of them.
        first: String,
        /// The second.
        second: String,
        /// Their number.
        number: u32,
    },
    /// Logical partitions are numbered by their place in a chain.
    #[error(
        "logical partition `{partition}` has number {number} but would get {expected}: they are numbered from 5 in the order of their offsets"
    )]
    LogicalNumber {
        /// [`Partition::name`].
        partition: String,
        /// [`Partition::number`].
        number: u32,
        /// The number it would have.
        expected: u32,
    },
    /// Logical partitions need a primary entry that contains them.
    #[error("there are logical partitions but the four primary entries are taken")]
    #[diagnostic(hint = "use a GPT for more than four partitions, or free a primary entry")]
    NoExtendedEntry,
    /// A logical partition is described in the sectors before it.
    #[error("logical partition `{0}` needs a free sector before its start for its own table")]
    #[diagnostic(kind = Fit)]
    NoLogicalRecord(String),
    /// The type byte means something else.
    #[error("partition `{partition}` has type {code:#04x}, which is reserved for {meaning}")]
    ReservedType {
        /// [`Partition::name`].
        partition: String,
        /// The type byte.
        code: u8,
        /// Meaning of the type.
        meaning: &'static str,
    },
    /// A GPT partition in an MBR or the other way round.
    #[error("partition `{partition}` is described for another table than {table}")]
    WrongKind {
        /// [`Partition::name`].
        partition: String,
        /// With its article.
        table: &'static str,
    },
    /// An entry without a type does not exist, and one without an id cannot be found.
    #[error("partition `{partition}` has an all-zero {what}")]
    NilGuid {
        /// [`Partition::name`].
        partition: String,
        /// `type GUID` or `GUID`.
        what: &'static str,
    },
    /// Partitions are found by their GUIDs.
    #[error("partitions `{first}` and `{second}` have the same GUID {guid}")]
    SameGuid {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// Their GUID.
        guid: Uuid,
    },
    /// A GPT name has 36 UTF-16 code units.
    #[error("the GPT name `{name}` of partition `{partition}` has {units} UTF-16 units; 36 fit")]
    NameTooLong {
        /// [`Partition::name`].
        partition: String,
        /// The GPT name.
        name: String,
        /// Its length.
        units: usize,
    },
    /// Something else needs the sector of the GPT header.
    #[error(
        "raw bytes {}..{} cover sector 1, where a GPT has its header", reserved.start, reserved.end
    )]
    #[diagnostic(kind = Fit, hint = "use an MBR, or move the raw bytes")]
    HeaderTaken {
        /// The raw bytes.
        reserved: Range<u64>,
    },
    /// No gap for the entry array.
    #[error("the GPT entries need {} below {} but raw bytes leave no such gap", ByteSize(*need), ByteSize(*below))]
    #[diagnostic(
        kind = Fit,
        hint = "use fewer entries (56 fit below 8 KiB), or begin the first partition later"
    )]
    NoRoomForEntries {
        /// Bytes of the array.
        need: u64,
        /// Alignment of the starts of partitions.
        below: u64,
    },
    /// A hybrid MBR shows at most three partitions.
    #[error("a hybrid MBR shows at most 3 partitions, not {0}")]
    TooManyHybrid(usize),
    /// A hybrid MBR shows what does not exist.
    #[error("the hybrid MBR shows partition {0}, which the GPT does not have")]
    NoSuchHybrid(u32),
    /// Too small for any table.
    #[error("a disk of {} is too small for a GPT with {entries} entries", ByteSize(*disk))]
    #[diagnostic(kind = Fit)]
    TooSmall {
        /// Size of the disk in bytes.
        disk: u64,
        /// Number of entries.
        entries: u32,
    },
}

/// Checks what both tables want: whole sectors, inside `usable`, disjoint, each number once.
fn check(partitions: &[Partition], usable: Range<u64>, sector: u64) -> Result<(), TableError> {
    for partition in partitions {
        check_extent(partition, &usable, sector)?;
    }
    let mut sorted: Vec<&Partition> = partitions.iter().collect();
    sorted.sort_by_key(|partition| partition.start);
    for pair in sorted.windows(2) {
        reject_overlap(&pair[0].name, &pair[0].range(), &pair[1].name, &pair[1].range())?;
    }
    sorted.sort_by_key(|partition| partition.number);
    match sorted.windows(2).find(|pair| pair[0].number == pair[1].number) {
        Some(pair) => Err(TableError::SameNumber {
            first: pair[0].name.clone(),
            second: pair[1].name.clone(),
            number: pair[0].number,
        }),
        None => Ok(()),
    }
}

fn check_extent(partition: &Partition, usable: &Range<u64>, sector: u64) -> Result<(), TableError> {
    for (what, value) in [("start", partition.start), ("length", partition.len)] {
        if value % sector != 0 {
            return Err(TableError::Misaligned { partition: partition.name.clone(), what, value, sector });
        }
    }
    if partition.len == 0 {
        return Err(TableError::Empty(partition.name.clone()));
    }
    let found = partition.range();
    if found.start < usable.start || found.end > usable.end {
        return Err(TableError::Outside { partition: partition.name.clone(), found, usable: usable.clone() });
    }
    Ok(())
}

fn reject_overlap(first: &str, a: &Range<u64>, second: &str, b: &Range<u64>) -> Result<(), TableError> {
    let shared = a.start.max(b.start)..a.end.min(b.end);
    match shared.is_empty() {
        true => Ok(()),
        false => Err(TableError::Overlap { first: first.into(), second: second.into(), shared }),
    }
}

/// Sectors of a disk.
fn sectors(geometry: Geometry) -> u64 {
    geometry.len / u64::from(geometry.sector_size)
}
