//! Places of the partitions: alignment, growth, order, overlap.

use std::collections::BTreeMap;

use super::PlanError;
use crate::board::{Board, Partition, Size, TableKind};

/// A named range of the disk in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Name for messages.
    pub name: String,
    /// First byte.
    pub start: u64,
    /// Length.
    pub len: u64,
}

impl Extent {
    /// The byte behind the last.
    pub fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// A partition and its bytes on the disk.
#[derive(Clone, Debug)]
pub struct PlacedPartition<'a> {
    /// The partition.
    pub partition: &'a Partition,
    /// Its bytes.
    pub extent: Extent,
}

/// The partitions of a board in the order of its descriptor, and the disk that holds them.
#[derive(Clone, Debug)]
pub(crate) struct Placement<'a> {
    /// The partitions.
    pub partitions: Vec<PlacedPartition<'a>>,
    /// Length of the disk in bytes: the given one, or the least that holds them.
    pub disk_len: u64,
}

/// Length that a partition asks for.
#[derive(Clone, Copy)]
enum Demand {
    /// This many bytes, rounded up to whole sectors.
    Exact(u64),
    /// All that is left, at least this.
    Rest(u64),
}

/// Places the partitions of `board` one after another. `fit` has the bytes that the content of partitions needs, by
/// their number, for those whose length it decides.
pub(crate) fn place<'a>(
    board: &'a Board,
    fit: &BTreeMap<u32, u64>,
    disk_len: Option<u64>,
) -> Result<Placement<'a>, PlanError> {
    let sector = u64::from(board.sector_size);
    if let Some(have) = disk_len.filter(|len| !len.is_multiple_of(sector)) {
        return Err(PlanError::PartOfSector { have, sector_size: board.sector_size });
    }
    match board.table {
        TableKind::None => place_alone(board, fit, disk_len),
        TableKind::Mbr | TableKind::Gpt => place_in_order(board, fit, disk_len),
    }
}

fn place_in_order<'a>(
    board: &'a Board,
    fit: &BTreeMap<u32, u64>,
    disk_len: Option<u64>,
) -> Result<Placement<'a>, PlanError> {
    let (align, sector, tail) = (board.align.0, u64::from(board.sector_size), table_tail(board));
    let mut cursor = align;
    let mut placed: Vec<PlacedPartition<'a>> = Vec::new();
    for partition in &board.partitions {
        let start = partition.start.map_or_else(|| cursor.next_multiple_of(align), |start| start.0);
        reject_unaligned(&partition.name, start, sector)?;
        let len = match (demand(board, partition, fit), disk_len) {
            (Demand::Exact(len), _) => len.next_multiple_of(sector),
            (Demand::Rest(least), None) => least.next_multiple_of(align),
            (Demand::Rest(least), Some(disk_len)) => {
                let end = disk_len.saturating_sub(tail) / align * align;
                if end < start + least {
                    return Err(too_small(board, start + least + tail, disk_len));
                }
                end - start
            }
        };
        let extent = Extent { name: partition.name.clone(), start, len };
        if let Some(previous) = placed.last() {
            reject_before(&previous.extent, &extent)?;
        }
        cursor = extent.end();
        placed.push(PlacedPartition { partition, extent });
    }
    match disk_len {
        Some(have) if have < cursor + tail => Err(too_small(board, cursor + tail, have)),
        Some(disk_len) => Ok(Placement { partitions: placed, disk_len }),
        None => Ok(Placement { partitions: placed, disk_len: (cursor + tail).next_multiple_of(align) }),
    }
}

/// Places the only filesystem at the first byte; an image of it is exactly as long.
fn place_alone<'a>(
    board: &'a Board,
    fit: &BTreeMap<u32, u64>,
    disk_len: Option<u64>,
) -> Result<Placement<'a>, PlanError> {
    let [partition] = board.partitions.as_slice() else {
        unreachable!("a board without a table has one partition")
    };
    let (least, len) = match (demand(board, partition, fit), disk_len) {
        (Demand::Rest(least), Some(have)) => (least, have),
        (Demand::Exact(len) | Demand::Rest(len), _) => (len, len),
    };
    if let Some(have) = disk_len.filter(|have| *have < least) {
        return Err(PlanError::DiskTooSmall { board: board.name.clone(), need: least, have });
    }
    let extent = Extent { name: partition.name.clone(), start: 0, len };
    Ok(Placement {
        partitions: vec![PlacedPartition { partition, extent }],
        disk_len: disk_len.unwrap_or(len),
    })
}

fn demand(board: &Board, partition: &Partition, fit: &BTreeMap<u32, u64>) -> Demand {
    match partition.size {
        Size::Exact(size) => Demand::Exact(size.0),
        Size::Rest { minimum } => Demand::Rest(minimum.0),
        Size::Fit { slack } => {
            let need = fit[&partition.number] + slack.0;
            match board.table {
                // Nothing follows that would have to be aligned.
                TableKind::None => Demand::Exact(need),
                TableKind::Mbr | TableKind::Gpt => Demand::Exact(need.next_multiple_of(board.align.0)),
            }
        }
    }
}

/// Fails if two of the extents share a byte; they need not be sorted.
pub(super) fn reject_overlap(extents: &mut [Extent]) -> Result<(), PlanError> {
    extents.sort_by_key(|extent| (extent.start, extent.len));
    for pair in extents.windows(2) {
        if pair[0].end() > pair[1].start {
            return Err(PlanError::Overlap { first: pair[0].clone(), second: pair[1].clone() });
        }
    }
    Ok(())
}

/// Bytes of the backup GPT: the entries (128 bytes each, UEFI 2.10 section 5.3.3) and one header sector.
fn table_tail(board: &Board) -> u64 {
    match board.table {
        TableKind::Mbr | TableKind::None => 0,
        TableKind::Gpt => {
            let sector = u64::from(board.sector_size);
            (u64::from(board.gpt_entries) * 128).next_multiple_of(sector) + sector
        }
    }
}

/// Fails if `next` does not lie wholly behind `above`, which stands above it in the descriptor.
fn reject_before(above: &Extent, next: &Extent) -> Result<(), PlanError> {
    if next.start >= above.end() {
        return Ok(());
    }
    if next.start >= above.start {
        return Err(PlanError::Overlap { first: above.clone(), second: next.clone() });
    }
    Err(PlanError::OutOfOrder {
        name: next.name.clone(),
        start: next.start,
        above: above.name.clone(),
        above_start: above.start,
    })
}

fn too_small(board: &Board, need: u64, have: u64) -> PlanError {
    PlanError::DiskTooSmall { board: board.name.clone(), need: need.next_multiple_of(board.align.0), have }
}

fn reject_unaligned(name: &str, start: u64, align: u64) -> Result<(), PlanError> {
    if start.is_multiple_of(align) {
        return Ok(());
    }
    Err(PlanError::Unaligned { name: name.into(), start, align })
}
