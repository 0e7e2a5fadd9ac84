//! Where the partitions go: alignment, growth, order, overlap.

use super::PlanError;
use crate::board::{Board, TableKind};
use crate::value::ByteSize;

/// A range of the disk in bytes.
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

/// What a partition wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Partition name.
    pub name: String,
    /// First byte, if it is fixed.
    pub start: Option<u64>,
    /// Exact length, least length, or least length of what takes all that is left.
    pub len: DemandLen,
}

/// How long a partition wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemandLen {
    /// This many bytes, rounded up to the alignment.
    Exact(u64),
    /// All that is left, at least this.
    Rest(u64),
}

/// Places the partitions of `board` one after another. Returns their extents and the length of the disk: the
/// given one, or the least that holds them.
pub fn place(
    board: &Board,
    demands: &[Demand],
    disk_len: Option<u64>,
) -> Result<(Vec<Extent>, u64), PlanError> {
    if board.table == TableKind::None {
        return place_alone(board, demands, disk_len);
    }
    let align = board.align.0;
    if let Some(have) = disk_len.filter(|len| !len.is_multiple_of(u64::from(board.sector_size))) {
        return Err(PlanError::PartOfSector { have, sector_size: board.sector_size });
    }
    let tail = table_tail(board);
    let mut cursor = align;
    let mut extents: Vec<Extent> = Vec::new();
    for demand in demands {
        let start = demand.start.unwrap_or_else(|| cursor.next_multiple_of(align));
        reject_unaligned(&demand.name, start, u64::from(board.sector_size))?;
        if let Some(previous) = extents.last().filter(|previous| previous.end() > start) {
            return Err(overlap(previous, &demand.name, start));
        }
        let len = match (demand.len, disk_len) {
            (DemandLen::Exact(len), _) => len.next_multiple_of(u64::from(board.sector_size)),
            (DemandLen::Rest(least), None) => least.next_multiple_of(align),
            (DemandLen::Rest(least), Some(disk_len)) => {
                let end = disk_len.saturating_sub(tail) / align * align;
                if end < start + least {
                    return Err(too_small(board, start + least + tail, align, disk_len));
                }
                end - start
            }
        };
        cursor = start + len;
        extents.push(Extent { name: demand.name.clone(), start, len });
    }
    let need = (cursor + tail).next_multiple_of(align);
    match disk_len {
        Some(have) if have < cursor + tail => Err(too_small(board, cursor + tail, align, have)),
        Some(have) => Ok((extents, have)),
        None => Ok((extents, need)),
    }
}

/// The only filesystem begins at the first byte, and an image of it is exactly as long.
fn place_alone(
    board: &Board,
    demands: &[Demand],
    disk_len: Option<u64>,
) -> Result<(Vec<Extent>, u64), PlanError> {
    let [demand] = demands else { unreachable!("a board without a table has one partition") };
    if let Some(have) = disk_len.filter(|len| !len.is_multiple_of(u64::from(board.sector_size))) {
        return Err(PlanError::PartOfSector { have, sector_size: board.sector_size });
    }
    let (least, len) = match (demand.len, disk_len) {
        (DemandLen::Rest(least), Some(have)) => (least, have),
        (DemandLen::Exact(len) | DemandLen::Rest(len), _) => (len, len),
    };
    match disk_len.filter(|have| *have < least) {
        Some(have) => Err(PlanError::DiskTooSmall { board: board.name.clone(), need: least, have }),
        None => Ok((vec![Extent { name: demand.name.clone(), start: 0, len }], disk_len.unwrap_or(len))),
    }
}

/// Fails if two of the extents share a byte; they need not be sorted.
pub fn reject_overlap(extents: &mut [Extent]) -> Result<(), PlanError> {
    extents.sort_by_key(|extent| (extent.start, extent.len));
    for pair in extents.windows(2) {
        if pair[0].end() > pair[1].start {
            return Err(overlap(&pair[0], &pair[1].name, pair[1].start));
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

fn overlap(first: &Extent, second: &str, second_start: u64) -> PlanError {
    PlanError::Overlap {
        first: first.name.clone(),
        first_start: first.start,
        first_end: first.end(),
        second: second.into(),
        second_start,
    }
}

fn too_small(board: &Board, need: u64, align: u64, have: u64) -> PlanError {
    PlanError::DiskTooSmall { board: board.name.clone(), need: need.next_multiple_of(align), have }
}

fn reject_unaligned(name: &str, start: u64, align: u64) -> Result<(), PlanError> {
    if start.is_multiple_of(align) {
        return Ok(());
    }
    Err(PlanError::Unaligned { name: name.into(), start, align })
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` at {} ({})", self.name, ByteSize(self.start), ByteSize(self.len))
    }
}
