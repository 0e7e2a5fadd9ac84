//! From a layout to a plan.

use std::collections::BTreeMap;

use super::{
    Action, BlobPiece, Disk, Extent, Ids, Layout, PlacedBlob, PlacedPartition, Plan, PlanError,
    PlannedContent, Step, reject_overlap,
};
use crate::board::{Board, Partition, TableKind, Update};
use crate::storage::Geometry;
use crate::table::TableBytes;
use crate::value::{Arch, ByteSize, Seed, Timestamp};

/// The image that a plan is for.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Its board.
    pub board: &'a Board,
    /// Its architecture.
    pub arch: Arch,
    /// Text that the ids are derived from.
    pub seed: &'a Seed,
    /// Time of every timestamp.
    pub timestamp: Timestamp,
    /// Ids of the disk and its partitions.
    pub ids: Ids<'a>,
    /// Id of the partition that an image without a table goes to.
    pub partuuid: Option<&'a str>,
}

impl Plan {
    /// The plan of a disk: `layout` with the bytes of its `tables` and the contents of its partitions, by number.
    pub fn new(
        subject: &Subject<'_>,
        layout: &Layout<'_>,
        tables: &[TableBytes],
        mut contents: BTreeMap<u32, PlannedContent>,
    ) -> Result<Plan, PlanError> {
        let mut steps: Vec<Step> = layout.blobs.iter().flat_map(Step::for_blob).collect();
        steps.extend(tables.iter().map(Step::for_table));
        for PlacedPartition { partition, extent } in &layout.partitions {
            let content = contents.remove(&partition.number).expect("each partition has a content");
            content.need.ensure_fits(extent)?;
            steps.push(Step::for_partition(partition, extent, content.action));
        }
        Plan::from_steps(subject, layout.geometry, steps)
    }

    /// The plan of some steps.
    ///
    /// # Errors
    /// Two of them share a byte.
    pub fn from_steps(
        subject: &Subject<'_>,
        geometry: Geometry,
        mut steps: Vec<Step>,
    ) -> Result<Plan, PlanError> {
        steps.sort_by_key(|step| step.offset);
        reject_overlap(&mut steps.iter().map(Step::extent).collect::<Vec<_>>())?;
        let Subject { board, arch, seed, timestamp, ids, partuuid } = subject;
        let id = match board.table {
            TableKind::Mbr => format!("{:08x}", ids.disk_signature()),
            TableKind::Gpt => ids.disk_guid().to_string(),
            TableKind::None => partuuid.unwrap_or_default().to_owned(),
        };
        let (len, sector_size) = (ByteSize(geometry.len), geometry.sector_size);
        Ok(Plan {
            board: board.name.clone(),
            arch: *arch,
            seed: (*seed).clone(),
            timestamp: *timestamp,
            disk: Disk { len, sector_size, table: board.table, id },
            steps,
        })
    }
}

impl Step {
    /// The step of a partition.
    pub fn for_partition(partition: &Partition, extent: &Extent, action: Action) -> Step {
        Step {
            name: partition.name.clone(),
            offset: ByteSize(extent.start),
            len: ByteSize(extent.len),
            critical: false,
            update: partition.update,
            action,
        }
    }

    fn for_blob(placed: &PlacedBlob<'_>) -> impl Iterator<Item = Step> {
        placed.pieces.iter().map(|BlobPiece { offset, from, len }| Step {
            name: placed.blob.name.clone(),
            offset: ByteSize(*offset),
            len: ByteSize(*len),
            critical: true,
            update: placed.blob.update,
            action: Action::Blob { blob: placed.index, file: placed.file.clone(), from: ByteSize(*from) },
        })
    }

    fn for_table(table: &TableBytes) -> Step {
        Step {
            name: table.name.clone(),
            offset: ByteSize(table.offset),
            len: ByteSize(table.bytes.len() as u64),
            critical: true,
            update: Update::Never,
            action: Action::Table,
        }
    }

    fn extent(&self) -> Extent {
        Extent { name: self.name.clone(), start: self.offset.0, len: self.len.0 }
    }
}
