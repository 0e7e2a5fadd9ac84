//! Makes the table of an image fit a larger disk: the backup of a GPT goes to the disk's end, and the last partition
//! takes the space behind it.
//!
//! The table stays byte for byte as it was but for the numbers that must change: entries of unknown size,
//! attributes, names and the other entries of a hybrid MBR are not decoded and encoded again.

use std::ops::Range;

use super::gpt::HEADER_SIZE;
use super::mbr::{self, ENTRIES_OFFSET, ENTRY_LEN, EXTENDED, Entry, GPT_PROTECTIVE};
use super::{CopyState, Partition, Scheme, Table, TableBytes, sectors};
use crate::storage::{Geometry, Target, TargetError};

/// Alignment of the ends of partitions, so that flash media are written in whole erase blocks and all tools are
/// content.
const ALIGNMENT: u64 = 1 << 20;
/// Name of the piece that erases a backup GPT in the middle of the disk.
pub const OLD_BACKUP: &str = "old gpt backup";

/// A table for a larger disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    /// Bytes of the table that change: each goes where it says, over what is there.
    pub pieces: Vec<TableBytes>,
    /// The last partition as it is now, if it grew.
    pub grown: Option<Partition>,
}

/// Reason why a table or its last partition stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    /// There is no partition.
    #[error("the table has no partition")]
    NoPartition,
    /// Growing one means growing the chain around it.
    #[error("the last partition is a logical one, number {number}, in an extended partition")]
    Logical {
        /// Its number.
        number: u32,
    },
    /// The MBR and the GPT have to agree.
    #[error("the last partition, number {number}, is shown in a hybrid MBR too")]
    Hybrid {
        /// Its number.
        number: u32,
    },
    /// It fills the disk.
    #[error("the last partition, number {number}, has no whole MiB behind it")]
    NoSpace {
        /// Its number.
        number: u32,
    },
    /// Only an intact table is changed.
    #[error("the primary copy of the GPT {0}")]
    Damaged(String),
    /// Other sectors.
    #[error("the table counts in sectors of {table} bytes, the medium in {medium}")]
    Sectors {
        /// Bytes of a sector in the table.
        table: u32,
        /// Bytes of a sector of the medium.
        medium: u32,
    },
    /// It is for a larger disk.
    #[error("partition {number} ends behind the end of the medium")]
    Beyond {
        /// Its number.
        number: u32,
    },
}

impl Table {
    /// The partition that ends last.
    pub fn last(&self) -> Option<&Partition> {
        self.partitions.iter().max_by_key(|partition| partition.range().end)
    }
}

/// Range that the last partition can grow to; an error says why it cannot grow.
pub fn room(target: &dyn Target, table: &Table) -> Result<Result<Range<u64>, Kept>, TargetError> {
    let geometry = target.geometry();
    if let Some(kept) = reject(table, geometry) {
        return Ok(Err(kept));
    }
    let Some(last) = table.last() else { return Ok(Err(Kept::NoPartition)) };
    let number = last.number;
    let end = match &table.scheme {
        Scheme::Gpt { hybrid, .. } if hybrid.iter().any(|shown| shown.start == last.start) => {
            return Ok(Err(Kept::Hybrid { number }));
        }
        Scheme::Gpt { .. } => {
            let gpt = Gpt::read(target, geometry)?;
            (gpt.last_usable() + 1) * gpt.sector
        }
        Scheme::Mbr { .. } if number > 4 || ends_in_extended(target, last)? => {
            return Ok(Err(Kept::Logical { number }));
        }
        Scheme::Mbr { .. } => geometry.len.min(u64::from(u32::MAX) * u64::from(geometry.sector_size)),
    };
    let end = end / ALIGNMENT * ALIGNMENT;
    Ok(if end > last.range().end { Ok(last.start..end) } else { Err(Kept::NoSpace { number }) })
}

/// The table for all of `target`. With `extend`, which [`room`] has given, the last partition gets that range.
///
/// ```
/// # use skiff_disk::storage::Geometry;
/// use skiff_disk::storage::{Memory, Target};
/// use skiff_disk::table;
/// # use skiff_disk::table::{Partition, PartitionKind, mbr};
///
/// let card = Memory::new(64 << 20);
/// # let kind = PartitionKind::Mbr { code: 0x83, active: false };
/// # let root = Partition { number: 1, name: "root".into(), start: 1 << 20, len: 7 << 20, kind };
/// # for piece in mbr::encode(1, &[root], Geometry { len: 8 << 20, sector_size: 512 })? {
/// #     card.write_at(&piece.bytes, piece.offset)?;
/// # }
/// // An image of 8 MiB was copied to it.
/// let found = table::read(&card)?.expect("it has a table");
/// let room = table::room(&card, &found)?.expect("the last partition can grow");
/// for piece in table::fit(&card, &found, Some(&room))?.expect("it fits").pieces {
///     card.write_at(&piece.bytes, piece.offset)?;
/// }
/// assert_eq!(table::read(&card)?.expect("still there").partitions[0].range(), 1 << 20..64 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fit(
    target: &dyn Target,
    table: &Table,
    extend: Option<&Range<u64>>,
) -> Result<Result<Fitted, Kept>, TargetError> {
    let geometry = target.geometry();
    if let Some(kept) = reject(table, geometry) {
        return Ok(Err(kept));
    }
    let grown = extend.and_then(|range| {
        let last = table.last()?;
        Some(Partition { start: range.start, len: range.end - range.start, ..last.clone() })
    });
    let pieces = match &table.scheme {
        Scheme::Mbr { .. } => fit_mbr(target, grown.as_ref())?,
        Scheme::Gpt { backup, .. } => {
            let is_in_place = matches!(backup, CopyState::Good);
            let end = table.last().map_or(0, |last| last.range().end);
            match is_in_place && grown.is_none() {
                true => Vec::new(),
                false => {
                    let mut pieces = old_backup(target, backup, end)?;
                    pieces.extend(fit_gpt(target, geometry, grown.as_ref())?);
                    pieces
                }
            }
        }
    };
    Ok(Ok(Fitted { pieces, grown }))
}

fn reject(table: &Table, geometry: Geometry) -> Option<Kept> {
    if let Scheme::Gpt { primary: CopyState::Damaged(reason), .. } = &table.scheme {
        return Some(Kept::Damaged(reason.clone()));
    }
    if table.sector_size != geometry.sector_size {
        return Some(Kept::Sectors { table: table.sector_size, medium: geometry.sector_size });
    }
    let last = table.last()?;
    (last.range().end > geometry.len).then_some(Kept::Beyond { number: last.number })
}

/// Returns whether an extended partition ends behind `last`, or where it does.
fn ends_in_extended(target: &dyn Target, last: &Partition) -> Result<bool, TargetError> {
    let sector_size = u64::from(target.geometry().sector_size);
    let mut sector = vec![0; 512];
    target.read_at(&mut sector, 0)?;
    let mut entries = (0..4).filter_map(|index| Entry::from_bytes(entry(&sector, index)));
    Ok(entries.any(|entry| {
        let end = (u64::from(entry.start) + u64::from(entry.sectors)) * sector_size;
        EXTENDED.contains(&entry.code) && end >= last.range().end
    }))
}

fn entry(sector: &[u8], index: usize) -> &[u8] {
    &sector[ENTRIES_OFFSET + index * ENTRY_LEN..][..ENTRY_LEN]
}

fn fit_mbr(target: &dyn Target, grown: Option<&Partition>) -> Result<Vec<TableBytes>, TargetError> {
    let Some(grown) = grown else { return Ok(Vec::new()) };
    let sector_size = u64::from(target.geometry().sector_size);
    let index = (grown.number - 1) as usize;
    let mut sector = vec![0; 512];
    target.read_at(&mut sector, 0)?;
    let Some(old) = Entry::from_bytes(entry(&sector, index)) else { return Ok(Vec::new()) };
    let new = Entry { sectors: (grown.len / sector_size) as u32, ..old };
    let at = ENTRIES_OFFSET + index * ENTRY_LEN;
    // The address of the last sector and the number of sectors; what else is there stays.
    sector[at + 5..at + 8].copy_from_slice(&new.to_bytes(0)[5..8]);
    sector[at + 12..at + 16].copy_from_slice(&new.to_bytes(0)[12..16]);
    Ok(vec![TableBytes::new("mbr", mbr::TABLE_OFFSET, sector.split_off(mbr::TABLE_OFFSET as usize))])
}

/// A GPT as its primary header describes it, on a disk that may be larger.
struct Gpt {
    sector: u64,
    /// The last sector of the disk.
    last: u64,
    header: Vec<u8>,
    /// As many bytes as whole sectors.
    entries: Vec<u8>,
}

impl Gpt {
    fn read(target: &dyn Target, geometry: Geometry) -> Result<Gpt, TargetError> {
        let sector = u64::from(geometry.sector_size);
        let mut header = vec![0; sector as usize];
        target.read_at(&mut header, sector)?;
        let gpt = Gpt { sector, last: sectors(geometry) - 1, header, entries: Vec::new() };
        let mut entries = vec![0; gpt.entries_len() as usize];
        target.read_at(&mut entries, gpt.number(72) * sector)?;
        Ok(Gpt { entries, ..gpt })
    }

    /// Eight bytes of the header.
    fn number(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.header[at..at + 8].try_into().expect("eight bytes"))
    }

    fn entry_size(&self) -> u64 {
        self.number(84) & 0xffff_ffff
    }

    /// Bytes of all entries.
    fn entries_used(&self) -> u64 {
        (self.number(80) & 0xffff_ffff) * self.entry_size()
    }

    /// Bytes of the sectors that the entries take.
    fn entries_len(&self) -> u64 {
        self.entries_used().next_multiple_of(self.sector)
    }

    fn last_usable(&self) -> u64 {
        self.last - self.entries_len() / self.sector - 1
    }

    fn set(&mut self, at: usize, value: u64) {
        self.header[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Gives the entry of `partition` its end.
    fn set_end(&mut self, partition: &Partition) {
        let at = (u64::from(partition.number - 1) * self.entry_size()) as usize;
        let last = partition.range().end / self.sector - 1;
        self.entries[at + 40..at + 48].copy_from_slice(&last.to_le_bytes());
    }

    /// The header with its checksum, for the sector `my` with the other copy in `alternate`.
    fn sealed(&mut self, my: u64, alternate: u64, entries: u64) -> Vec<u8> {
        let (used, last_usable) = (self.entries_used() as usize, self.last_usable());
        self.set(24, my);
        self.set(32, alternate);
        self.set(48, last_usable);
        self.set(72, entries);
        let entries_crc32 = libdeflater::crc32(&self.entries[..used]);
        self.header[88..92].copy_from_slice(&entries_crc32.to_le_bytes());
        self.header[16..20].fill(0);
        let header_crc32 = libdeflater::crc32(&self.header[..HEADER_SIZE as usize]);
        self.header[16..20].copy_from_slice(&header_crc32.to_le_bytes());
        self.header.clone()
    }
}

/// Zeros for a backup in the middle of the disk, which would be found by tools that search for one; `end` is where the
/// last partition ended so far.
fn old_backup(target: &dyn Target, backup: &CopyState, end: u64) -> Result<Vec<TableBytes>, TargetError> {
    let CopyState::Misplaced { found, .. } = backup else { return Ok(Vec::new()) };
    let gpt = Gpt::read(target, target.geometry())?;
    let behind = end.max((gpt.number(48) + 1) * gpt.sector);
    let start = found.saturating_sub(gpt.entries_len()).max(behind).min(*found);
    Ok(vec![TableBytes::new(OLD_BACKUP, start, vec![0; (found + gpt.sector - start) as usize])])
}

/// The GPT of `target` for a disk of `geometry`, with the end of a partition that has another one.
fn fit_gpt(
    target: &dyn Target,
    geometry: Geometry,
    resized: Option<&Partition>,
) -> Result<Vec<TableBytes>, TargetError> {
    let mut gpt = Gpt::read(target, geometry)?;
    let (sector, last, entries_at) = (gpt.sector, gpt.last, gpt.number(72));
    if let Some(partition) = resized {
        gpt.set_end(partition);
    }
    let mut pieces: Vec<TableBytes> = protective_mbr(target, last)?.into_iter().collect();
    let backup_entries = gpt.last_usable() + 1;
    pieces.push(TableBytes::new("gpt header", sector, gpt.sealed(1, last, entries_at)));
    pieces.push(TableBytes::new("gpt entries", entries_at * sector, gpt.entries.clone()));
    pieces.push(TableBytes::new("gpt backup entries", backup_entries * sector, gpt.entries.clone()));
    pieces.push(TableBytes::new("gpt backup header", last * sector, gpt.sealed(last, 1, backup_entries)));
    Ok(pieces)
}

/// Returns what an intact table of `target` was on a disk of `len` bytes, before its last partition got another length
/// than `last_len`: the opposite of [`fit`], to find out whether that is all that happened to it.
pub fn unfit(
    target: &dyn Target,
    table: &Table,
    len: u64,
    last_len: Option<u64>,
) -> Result<Vec<TableBytes>, TargetError> {
    let geometry = Geometry { len, sector_size: table.sector_size };
    let resized = table.last().zip(last_len).map(|(last, len)| Partition { len, ..last.clone() });
    match &table.scheme {
        Scheme::Mbr { .. } => fit_mbr(target, resized.as_ref()),
        Scheme::Gpt { primary: CopyState::Good, .. } if sectors(geometry) > 68 => {
            fit_gpt(target, geometry, resized.as_ref())
        }
        Scheme::Gpt { .. } => Ok(Vec::new()),
    }
}

/// Sector 0 with the size of the entry that protects the whole disk; none if the MBR is a hybrid, where it protects
/// only what lies before the partitions that are shown.
fn protective_mbr(target: &dyn Target, last: u64) -> Result<Option<TableBytes>, TargetError> {
    let mut sector = vec![0; 512];
    target.read_at(&mut sector, 0)?;
    let used: Vec<(usize, Entry)> =
        (0..4).filter_map(|index| Some((index, Entry::from_bytes(entry(&sector, index))?))).collect();
    let [(index, Entry { code: GPT_PROTECTIVE, start: 1, .. })] = used[..] else { return Ok(None) };
    let at = ENTRIES_OFFSET + index * ENTRY_LEN + 12;
    let size = u32::try_from(last).unwrap_or(u32::MAX);
    sector[at..at + 4].copy_from_slice(&size.to_le_bytes());
    let table = sector.split_off(mbr::TABLE_OFFSET as usize);
    Ok(Some(TableBytes::new("protective mbr", mbr::TABLE_OFFSET, table)))
}
