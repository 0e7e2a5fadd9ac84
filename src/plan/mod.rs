//! The plan: which bytes go where on a disk, as plain data.
//!
//! A plan is computed from a board, from what is known about the contents (lengths) and from the size of the
//! disk. It opens no file and writes nothing, so it can be printed, compared and tested; [`crate::compose`]
//! turns it into bytes without deciding anything.

mod known;
mod place;
mod show;

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

pub use known::{KnownIds, KnownPartition};
pub use place::{Demand, DemandLen, Extent, place, reject_overlap};

use crate::board::{TableKind, Update};
use crate::error::{Diagnostic, ErrorKind};
use crate::value::{Arch, ByteSize, Seed, Timestamp};

/// What is written to a disk. Steps are sorted by offset, disjoint, inside the disk and named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Board name.
    pub board: String,
    /// Architecture.
    pub arch: Arch,
    /// Text that all ids are derived from.
    pub seed: Seed,
    /// Time of every timestamp in the image, seconds since the Unix epoch.
    pub timestamp: Timestamp,
    /// The disk as a whole.
    pub disk: Disk,
    /// What is written where.
    pub steps: Vec<Step>,
}

/// The disk as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Bytes.
    pub len: ByteSize,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// Partition table.
    pub table: TableKind,
    /// Disk signature of an MBR in hexadecimal, or disk GUID; without a table the id of the partition that the
    /// filesystem goes to, if it is known.
    pub id: String,
}

impl Disk {
    /// Id of the existing partition that the image is for.
    pub fn partuuid(&self) -> Option<String> {
        (self.table == TableKind::None && !self.id.is_empty()).then(|| self.id.clone())
    }
}

/// A named range of the disk and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Name of the table part, blob or partition.
    pub name: String,
    /// First byte on the disk.
    pub offset: ByteSize,
    /// Bytes.
    pub len: ByteSize,
    /// Written only after everything else was read back and found right.
    pub critical: bool,
    /// What an update may touch.
    pub update: Update,
    /// What is written.
    pub action: Action,
}

/// What is written to the range of a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Action {
    /// Part of a partition table.
    Table,
    /// A piece of a raw blob.
    Blob {
        /// Which blob, as index into the board's list.
        blob: usize,
        /// Its file.
        file: String,
        /// First byte of the file.
        from: ByteSize,
    },
    /// A filesystem in a partition.
    Filesystem {
        /// Number of the partition.
        number: u32,
        /// `fat16`, `fat32`, `ext4`, `squashfs`, `tar` or `oci`.
        filesystem: String,
        /// Volume label.
        label: String,
        /// FAT serial or ext4 UUID.
        id: String,
        /// Number of files, links and directories.
        nodes: usize,
        /// Bytes of file contents.
        content: ByteSize,
    },
    /// A file as it is.
    Image {
        /// Number of the partition.
        number: u32,
        /// The file below the images directory.
        file: String,
    },
    /// A partition that is left as it is.
    Unformatted {
        /// Number of the partition.
        number: u32,
    },
}

impl Action {
    /// Number of the partition, if the step is one.
    pub fn partition(&self) -> Option<u32> {
        match self {
            Action::Filesystem { number, .. }
            | Action::Image { number, .. }
            | Action::Unformatted { number } => Some(*number),
            Action::Table | Action::Blob { .. } => None,
        }
    }
}

/// Ids of the disk and its partitions.
#[derive(Clone, Debug)]
pub struct Ids<'a> {
    seed: &'a Seed,
    disk_signature: u32,
    known: Option<&'a KnownIds>,
}

impl<'a> Ids<'a> {
    /// Ids that follow from `seed`.
    pub fn new(seed: &'a Seed) -> Ids<'a> {
        Ids { seed, disk_signature: seed.id32("disk signature"), known: None }
    }

    /// The same ids, but for those that a medium has already.
    pub fn keeping(self, known: &'a KnownIds) -> Ids<'a> {
        let disk_signature = known.disk_signature.unwrap_or(self.disk_signature);
        Ids { known: Some(known), disk_signature, ..self }
    }

    /// The same ids, but for a signature that raw blobs had a say in.
    pub fn with_disk_signature(self, disk_signature: u32) -> Ids<'a> {
        Ids { disk_signature, ..self }
    }

    /// Signature in bytes 440 to 443 of an MBR.
    pub fn disk_signature(&self) -> u32 {
        self.disk_signature
    }

    /// Disk GUID of a GPT.
    pub fn disk_guid(&self) -> Uuid {
        self.known.and_then(|known| known.disk_guid).unwrap_or_else(|| self.seed.uuid("disk"))
    }

    /// Unique GUID of a GPT entry.
    pub fn partition_guid(&self, name: &str) -> Uuid {
        let known = self.known.and_then(|known| known.of(name, |partition| partition.guid));
        known.unwrap_or_else(|| self.seed.uuid(&format!("partition {name}")))
    }

    /// Volume serial of a FAT.
    pub fn fat_serial(&self, name: &str) -> u32 {
        let known = self.known.and_then(|known| known.of(name, |partition| partition.fat_serial));
        known.unwrap_or_else(|| self.seed.id32(&format!("fat {name}")))
    }

    /// Volume serial of a FAT as programs print it.
    pub fn fat_serial_text(&self, name: &str) -> String {
        let serial = self.fat_serial(name);
        format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)
    }

    /// UUID of an ext4.
    pub fn ext4_uuid(&self, name: &str) -> Uuid {
        let known = self.known.and_then(|known| known.of(name, |partition| partition.ext4_uuid));
        known.unwrap_or_else(|| self.seed.uuid(&format!("ext4 {name}")))
    }

    /// Directory hash seed of an ext4.
    pub fn ext4_hash_seed(&self, name: &str) -> Uuid {
        self.seed.uuid(&format!("ext4 hash seed {name}"))
    }

    /// What `root=PARTUUID=` wants for a partition: the GPT GUID, or the MBR signature and number. Without a table
    /// it is the id that the partition has already.
    pub fn partuuid(&self, table: TableKind, number: u32, name: &str) -> Option<String> {
        match table {
            TableKind::Mbr => Some(format!("{:08x}-{number:02x}", self.disk_signature())),
            TableKind::Gpt => Some(self.partition_guid(name).to_string()),
            TableKind::None => None,
        }
    }
}

/// Why there is no plan: the numbers do not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two things want the same bytes.
    #[error("`{first}` (bytes {first_start} to {first_end}) overlaps `{second}` (from byte {second_start}) by {}", ByteSize(first_end - second_start))]
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
    Archive {
        /// The board.
        board: String,
    },
    /// A start is given that is not aligned.
    #[error("`{name}` starts at byte {start}, which is not a multiple of {align}")]
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
    PartOfSector {
        /// Bytes there are.
        have: u64,
        /// Bytes of a sector.
        sector_size: u32,
    },
    /// The disk has another sector size than the board.
    #[error("the disk has sectors of {disk} bytes but board `{board}` is laid out for {wanted}")]
    SectorSize {
        /// The board.
        board: String,
        /// What the board says.
        wanted: u32,
        /// What the disk has.
        disk: u32,
    },
}

impl Diagnostic for PlanError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Fit
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                PlanError::Overlap { .. } => "move one of them in the board descriptor",
                PlanError::BlobTooLarge { .. } => {
                    "build a smaller one, or check that it is the right file for this board"
                }
                PlanError::ContentTooLarge { .. } => {
                    "give the partition a larger size in the board descriptor, or put less into it"
                }
                PlanError::NoRoomForUpdate { .. } => {
                    "give the partition a larger size in the board descriptor, or say `update = \"never\"` there"
                }
                PlanError::DiskTooSmall { .. } => "use a larger disk or give a larger `--size`",
                PlanError::Archive { .. } => "use `assemble` without `--size`",
                PlanError::PartOfSector { .. } => "give a size such as `64 MiB`",
                PlanError::Unaligned { .. } => "start it at a multiple of the alignment",
                PlanError::SectorSize { .. } => {
                    "set `sector-size` in the `[table]` of a board descriptor for such disks"
                }
            }
            .into(),
        )
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show::table(self, f)
    }
}
