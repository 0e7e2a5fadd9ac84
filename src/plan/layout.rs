//! The layout of a disk: partitions and blobs in their places, and the bytes of the table for them.

use std::collections::BTreeMap;

use super::{
    BlobFile, BlobPiece, Extent, Ids, Need, PlacedBlob, PlacedPartition, Placement, PlanError, place,
};
use crate::board::{Blob, Board, Partition, TableKind};
use crate::storage::Geometry;
use crate::table::mbr::DISK_SIGNATURE;
use crate::table::{self, PartitionKind, TableBytes, TableError, gpt, mbr};

/// Bytes of sector 0 before the disk signature: boot code (UEFI 2.10, section 5.2.1).
const BOOT_CODE_LEN: u64 = mbr::TABLE_OFFSET;

/// Partitions and blobs in their places.
#[derive(Clone, Debug)]
pub struct Layout<'a> {
    /// The board.
    pub board: &'a Board,
    /// The partitions in the order of the descriptor.
    pub partitions: Vec<PlacedPartition<'a>>,
    /// The blobs that there are, in the order of the descriptor.
    pub blobs: Vec<PlacedBlob<'a>>,
    /// Size and sector size of the disk.
    pub geometry: Geometry,
}

impl<'a> Layout<'a> {
    /// Places the partitions and blobs of `board` on a disk of `disk_len` bytes, or on the least that holds them.
    /// `needs` has those of the contents of the partitions, by number; `blobs` the files, by index.
    pub fn new(
        board: &'a Board,
        needs: &BTreeMap<u32, Need>,
        blobs: &BTreeMap<usize, BlobFile>,
        disk_len: Option<u64>,
    ) -> Result<Layout<'a>, PlanError> {
        reject_disk(board, disk_len)?;
        let fit = needs.iter().map(|(number, need)| (*number, need.with_next)).collect();
        let Placement { partitions, disk_len } = place(board, &fit, disk_len)?;
        let placed = |(index, file): (&usize, &BlobFile)| {
            let blob = &board.blobs[*index];
            let pieces = BlobPiece::cut(blob, file.len);
            let end = pieces.last().map_or(0, BlobPiece::end);
            ensure_blob_fits(board, blob, end, &partitions)?;
            Ok(PlacedBlob { index: *index, blob, file: file.name.clone(), pieces })
        };
        let blobs = blobs.iter().map(placed).collect::<Result<_, PlanError>>()?;
        let geometry = Geometry { len: disk_len, sector_size: board.sector_size };
        Ok(Layout { board, partitions, blobs, geometry })
    }

    /// Bytes of the partition table, and zeros where no blob has boot code: what an earlier system left there must not
    /// run.
    pub fn tables(&self, ids: &Ids<'_>) -> Result<Vec<TableBytes>, TableError> {
        let partitions: Vec<table::Partition> =
            self.partitions.iter().map(|placed| self.entry(placed, ids)).collect();
        let pieces = match self.board.table {
            TableKind::None => return Ok(Vec::new()),
            TableKind::Mbr => mbr::encode(ids.disk_signature(), &partitions, self.geometry)?,
            TableKind::Gpt => self.gpt(&partitions, ids)?,
        };
        let tables = pieces.into_iter().map(|piece| self.below_blobs(piece));
        Ok(tables.chain(self.boot_code()).collect())
    }

    fn gpt(&self, partitions: &[table::Partition], ids: &Ids<'_>) -> Result<Vec<TableBytes>, TableError> {
        let hybrid = gpt::Hybrid { partitions: self.hybrid_entries().collect(), protective_first: true };
        let reserved: Vec<_> = self.pieces().map(|piece| piece.offset..piece.end()).collect();
        let options = gpt::Options {
            disk_guid: ids.disk_guid(),
            entry_count: self.board.gpt_entries,
            reserved: &reserved,
            hybrid: (!hybrid.partitions.is_empty()).then_some(&hybrid),
        };
        gpt::encode(partitions, self.geometry, &options)
    }

    /// Number, type byte and boot flag of the partitions that a hybrid MBR lists.
    fn hybrid_entries(&self) -> impl Iterator<Item = (u32, u8, bool)> {
        self.board.hybrid_mbr.iter().map(|number| {
            let partition = self.board.partitions.iter().find(|partition| partition.number == *number);
            let partition = partition.expect("a board has the partitions its hybrid MBR lists");
            (*number, partition.mbr_type, partition.active)
        })
    }

    fn entry(&self, placed: &PlacedPartition<'_>, ids: &Ids<'_>) -> table::Partition {
        let PlacedPartition { partition, extent } = placed;
        let Partition { number, name, .. } = partition;
        let kind = match self.board.table {
            TableKind::Mbr => PartitionKind::Mbr { code: partition.mbr_type, active: partition.active },
            TableKind::Gpt | TableKind::None => PartitionKind::Gpt {
                type_guid: partition.type_guid,
                guid: ids.partition_guid(name),
                attributes: partition.attributes,
                name: name.clone(),
            },
        };
        table::Partition { number: *number, name: name.clone(), start: extent.start, len: extent.len, kind }
    }

    /// The bytes of a table without those of the disk signature that a blob brings itself: the signature in `ids` was
    /// made of them already.
    fn below_blobs(&self, table: TableBytes) -> TableBytes {
        let TableBytes { name, offset, mut bytes } = table;
        let into_signature = |piece: &&BlobPiece| {
            offset == DISK_SIGNATURE.start
                && piece.len > 0
                && piece.offset <= offset
                && DISK_SIGNATURE.contains(&(piece.end() - 1))
        };
        match self.pieces().find(into_signature) {
            Some(piece) => {
                bytes.drain(..(piece.end() - offset) as usize);
                TableBytes { name, offset: piece.end(), bytes }
            }
            None => TableBytes { name, offset, bytes },
        }
    }

    fn boot_code(&self) -> impl Iterator<Item = TableBytes> {
        let mut free = vec![(0, BOOT_CODE_LEN)];
        for blob in self.pieces() {
            free = free
                .into_iter()
                .flat_map(|(start, end)| [(start, end.min(blob.offset)), (start.max(blob.end()), end)])
                .collect();
            free.retain(|(start, end)| start < end);
            free.dedup();
        }
        free.into_iter().map(|(start, end)| TableBytes {
            name: "boot code".into(),
            offset: start,
            bytes: vec![0; (end - start) as usize],
        })
    }

    fn pieces(&self) -> impl Iterator<Item = &BlobPiece> {
        self.blobs.iter().flat_map(|blob| &blob.pieces)
    }
}

/// Fails if the output is no disk, or the disk is smaller than the board wants.
fn reject_disk(board: &Board, disk_len: Option<u64>) -> Result<(), PlanError> {
    let Some(have) = disk_len else { return Ok(()) };
    let (name, need) = (board.name.clone(), board.minimum_medium.0);
    if board.partitions.iter().any(|partition| partition.filesystem.is_archive()) {
        return Err(PlanError::Archive { board: name });
    }
    if have < need {
        return Err(PlanError::BelowMinimum { board: name, need, have });
    }
    Ok(())
}

/// Fails if a blob that ends at `end` reaches behind its limit, into the next blob or into the next partition,
/// whichever comes first.
fn ensure_blob_fits(
    board: &Board,
    blob: &Blob,
    end: u64,
    partitions: &[PlacedPartition<'_>],
) -> Result<(), PlanError> {
    let start = blob.offset.0;
    let limit = blob.limit.map(|limit| (start + limit.0, "its limit".to_owned()));
    let blobs = board.blobs.iter().map(|other| (other.offset.0, format!("blob `{}`", other.name)));
    let partition = |Extent { name, start, .. }: &Extent| (*start, format!("partition `{name}`"));
    let partitions = partitions.iter().map(|other| partition(&other.extent));
    let later = blobs.chain(partitions).filter(|(other, _)| *other > start);
    match limit.into_iter().chain(later).min_by_key(|(stop, _)| *stop) {
        Some((stop, neighbour)) if end > stop => Err(PlanError::BlobTooLarge {
            name: blob.name.clone(),
            need: end - start,
            have: stop - start,
            neighbour,
        }),
        _ => Ok(()),
    }
}
