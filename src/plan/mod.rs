//! The plan: which bytes go where on a disk, as plain data.
//!
//! A plan is computed from a board, from what is known about the contents ([`Need`], [`BlobFile`]) and from the size of
//! the disk: first the [`Layout`], then the steps. That opens no file and writes nothing, so a plan can be printed,
//! compared and tested; [`crate::compose`] turns it into bytes without deciding anything.

mod blob;
mod build;
mod content;
mod error;
mod ids;
mod layout;
mod place;
mod show;
mod step;

use std::fmt;

use serde::Serialize;

pub use blob::{BlobFile, BlobPiece, PlacedBlob};
pub use build::Subject;
pub use content::{ContentSize, Need, PlannedContent};
pub use error::PlanError;
pub use ids::{FilesystemId, Ids, KnownIds, KnownPartition};
pub use layout::Layout;
use place::reject_overlap;
pub use place::{Extent, PlacedPartition};
pub(crate) use place::{Placement, place};
pub use step::{Action, Step};

use crate::board::TableKind;
use crate::value::{Arch, ByteSize, Seed, Timestamp};

/// Plan of the bytes of a disk. Steps are sorted by offset, disjoint, inside the disk and named.
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
    /// Writes and their places.
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

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show::table(self, f)
    }
}
