//! Master boot record with up to four primary partitions and a chain of logical ones.
//!
//! Layout of sector 0 (UEFI 2.10, section 5.2.1): boot code 0–439, disk signature 440–443, copy protection
//! 444–445, four entries of 16 bytes from 446, `55 aa` at 510. A logical partition has an extended boot record
//! of the same form in front of it: entry 1 is the partition, relative to that record; entry 2 the next record,
//! relative to the extended partition.

use super::{Partition, PartitionKind, TableBytes, TableError, check, reject_overlap, sectors};
use crate::storage::Geometry;

/// First byte of what [`encode`] returns for sector 0: the boot code before it belongs to others.
pub const TABLE_OFFSET: u64 = 440;
/// Bytes of sector 0 that are the disk signature.
pub const DISK_SIGNATURE: std::ops::Range<u64> = 440..444;
/// Offset of the four entries in their sector.
pub(super) const ENTRIES_OFFSET: usize = 446;
/// Bytes of an entry.
pub(super) const ENTRY_LEN: usize = 16;
/// `Signature` at byte 510.
pub(super) const SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// Extended partition, addressed by sector number.
pub(super) const EXTENDED_LBA: u8 = 0x0f;
/// Extended partitions, by cylinder, by sector number and of Linux.
pub(super) const EXTENDED: [u8; 3] = [0x05, EXTENDED_LBA, 0x85];
/// `OSType` of the entry that protects a GPT.
pub(super) const GPT_PROTECTIVE: u8 = 0xee;
/// Place of a logical partition's record when there is room: tools expect aligned starts.
const RECORD_DISTANCE: u64 = 1 << 20;

/// An entry as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub active: bool,
    pub code: u8,
    /// `StartingLBA`.
    pub start: u32,
    /// `SizeInLBA`.
    pub sectors: u32,
}

impl Entry {
    /// The sixteen bytes; `base` is added to the start for the cylinder address only.
    pub(super) fn to_bytes(self, base: u32) -> [u8; ENTRY_LEN] {
        let first = u64::from(base) + u64::from(self.start);
        let last = first + u64::from(self.sectors) - 1;
        let mut bytes = [0; ENTRY_LEN];
        bytes[0] = if self.active { 0x80 } else { 0 };
        bytes[1..4].copy_from_slice(&chs(first));
        bytes[4] = self.code;
        bytes[5..8].copy_from_slice(&chs(last));
        bytes[8..12].copy_from_slice(&self.start.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.sectors.to_le_bytes());
        bytes
    }

    /// The entry in sixteen bytes; none if it is unused or impossible.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Entry> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let entry = Entry { active: bytes[0] == 0x80, code: bytes[4], start: number(8), sectors: number(12) };
        (entry.code != 0 && entry.sectors != 0).then_some(entry)
    }
}

/// Cylinder, head and sector for 255 heads and 63 sectors, as every tool assumes; the largest address stands
/// for what lies behind it.
fn chs(lba: u64) -> [u8; 3] {
    const HEADS: u64 = 255;
    const SECTORS: u64 = 63;
    let cylinder = lba / (HEADS * SECTORS);
    if cylinder > 1023 {
        return [0xfe, 0xff, 0xff];
    }
    let (head, sector) = (lba / SECTORS % HEADS, lba % SECTORS + 1);
    [head as u8, (sector | (cylinder >> 2 & 0xc0)) as u8, cylinder as u8]
}

/// Bytes 440 to 511 of sector 0.
pub(super) fn sector_zero(disk_signature: u32, entries: &[Option<[u8; ENTRY_LEN]>; 4]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512 - TABLE_OFFSET as usize);
    bytes.extend(disk_signature.to_le_bytes());
    bytes.extend([0, 0]);
    for entry in entries {
        bytes.extend(entry.unwrap_or_default());
    }
    bytes.extend(SIGNATURE);
    bytes
}

/// The bytes of an MBR: 440 to 511 of sector 0, and one sector before each logical partition.
///
/// Partitions with numbers 1 to 4 are primary, those from 5 on logical: then the lowest free primary entry
/// becomes the extended partition around them.
///
/// ```
/// use skiff_disk::storage::Geometry;
/// use skiff_disk::table::{Partition, PartitionKind, mbr};
///
/// let kind = PartitionKind::Mbr { code: 0x0c, active: true };
/// let boot = Partition { number: 1, name: "boot".into(), start: 1 << 20, len: 16 << 20, kind };
/// let pieces = mbr::encode(0x5449_4b53, &[boot], Geometry { len: 64 << 20, sector_size: 512 })?;
/// assert_eq!((pieces[0].offset, &pieces[0].bytes[70..]), (440, [0x55, 0xaa].as_slice()));
/// # Ok::<(), skiff_disk::table::TableError>(())
/// ```
pub fn encode(
    disk_signature: u32,
    partitions: &[Partition],
    geometry: Geometry,
) -> Result<Vec<TableBytes>, TableError> {
    let sector = u64::from(geometry.sector_size);
    check(partitions, sector..sectors(geometry) * sector, sector)?;
    let mut entries: [Option<[u8; ENTRY_LEN]>; 4] = [None; 4];
    let mut logical = Vec::new();
    for partition in partitions {
        let entry = entry(partition, sector)?;
        match partition.number {
            0 => return Err(number_error(partition)),
            number @ 1..=4 => entries[number as usize - 1] = Some(entry.to_bytes(0)),
            _ => logical.push((partition, entry)),
        }
    }
    let mut pieces = Vec::new();
    if !logical.is_empty() {
        logical.sort_by_key(|(partition, _)| partition.start);
        let chain = Chain::new(&logical, partitions, sector)?;
        let free = entries.iter_mut().find(|entry| entry.is_none()).ok_or(TableError::NoExtendedEntry)?;
        *free = Some(chain.extended().to_bytes(0));
        pieces = chain.encode(sector);
    }
    pieces.insert(0, TableBytes::new("mbr", TABLE_OFFSET, sector_zero(disk_signature, &entries)));
    #[cfg(feature = "table-reader")]
    super::second_reader::ensure_mbr(&pieces, partitions, geometry)?;
    Ok(pieces)
}

fn number_error(partition: &Partition) -> TableError {
    TableError::Number { partition: partition.name.clone(), number: partition.number, largest: 60 }
}

/// A partition as an entry with absolute sectors.
pub(super) fn entry(partition: &Partition, sector: u64) -> Result<Entry, TableError> {
    let PartitionKind::Mbr { code, active } = partition.kind else {
        return Err(TableError::WrongKind { partition: partition.name.clone(), table: "an MBR" });
    };
    let meaning = match code {
        0 => Some("unused entries"),
        _ if EXTENDED.contains(&code) => Some("extended partitions"),
        GPT_PROTECTIVE => Some("the protection of a GPT"),
        _ => None,
    };
    if let Some(meaning) = meaning {
        return Err(TableError::ReservedType { partition: partition.name.clone(), code, meaning });
    }
    let narrow = |bytes: u64| u32::try_from(bytes / sector);
    match (narrow(partition.start), narrow(partition.len), narrow(partition.range().end)) {
        (Ok(start), Ok(sectors), Ok(_)) => Ok(Entry { active, code, start, sectors }),
        _ => Err(TableError::BeyondMbr {
            partition: partition.name.clone(),
            end: partition.range().end,
            limit: u64::from(u32::MAX) * sector,
            sector,
        }),
    }
}

/// Logical partitions in the order of their offsets, each with the sector of its record.
struct Chain {
    links: Vec<(u32, Entry)>,
}

impl Chain {
    fn new(logical: &[(&Partition, Entry)], all: &[Partition], sector: u64) -> Result<Chain, TableError> {
        let mut links = Vec::with_capacity(logical.len());
        for (index, (partition, entry)) in logical.iter().enumerate() {
            let expected = 5 + index as u32;
            if partition.number != expected {
                let (partition, number) = (partition.name.clone(), partition.number);
                return Err(TableError::LogicalNumber { partition, number, expected });
            }
            links.push((record_sector(partition, all, sector)?, *entry));
        }
        let chain = Chain { links };
        let extended = chain.extended();
        let start = u64::from(extended.start) * sector;
        let range = start..start + u64::from(extended.sectors) * sector;
        for primary in all.iter().filter(|partition| partition.number < 5) {
            reject_overlap(&primary.name, &primary.range(), "extended", &range)?;
        }
        Ok(chain)
    }

    /// The primary entry around all of them.
    fn extended(&self) -> Entry {
        let (start, end) = self.links.iter().fold((u32::MAX, 0), |(start, end), (record, entry)| {
            (start.min(*record), end.max(entry.start + entry.sectors))
        });
        Entry { active: false, code: EXTENDED_LBA, start, sectors: end - start }
    }

    fn encode(&self, sector: u64) -> Vec<TableBytes> {
        let extended = self.extended();
        let record = |index: usize| {
            let (at, entry) = self.links[index];
            let own = Entry { start: entry.start - at, ..entry }.to_bytes(at);
            let next = self.links.get(index + 1).map(|&(next, entry)| {
                let sectors = entry.start + entry.sectors - next;
                let start = next - extended.start;
                Entry { active: false, code: EXTENDED_LBA, start, sectors }.to_bytes(extended.start)
            });
            let mut bytes = vec![0; TABLE_OFFSET as usize];
            bytes.extend(sector_zero(0, &[Some(own), next, None, None]));
            bytes.resize(sector as usize, 0);
            TableBytes::new(format!("record of partition {}", index + 5), u64::from(at) * sector, bytes)
        };
        (0..self.links.len()).map(record).collect()
    }
}

/// Place of the record of a logical partition: 1 MiB before it, or directly before it in a narrow gap.
fn record_sector(partition: &Partition, all: &[Partition], sector: u64) -> Result<u32, TableError> {
    let before = all.iter().map(|other| other.range().end).filter(|end| *end <= partition.start).max();
    let gap = partition.start - before.unwrap_or(sector);
    let distance = match gap {
        gap if gap >= RECORD_DISTANCE => RECORD_DISTANCE,
        gap if gap >= sector => sector,
        _ => return Err(TableError::NoLogicalRecord(partition.name.clone())),
    };
    Ok(((partition.start - distance) / sector) as u32)
}
