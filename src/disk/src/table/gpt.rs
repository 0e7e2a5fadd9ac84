//! GUID partition tables: UEFI 2.10, sections 5.2.3 (protective MBR) and 5.3.

use std::collections::BTreeMap;
use std::ops::Range;

use uuid::Uuid;

use super::mbr::{self, Entry};
use super::{Partition, PartitionKind, TableBytes, TableError, check, sectors};
use crate::storage::Geometry;

/// `Signature`.
pub(super) const SIGNATURE: &[u8; 8] = b"EFI PART";
/// `Revision` 1.0.
const REVISION: u32 = 0x0001_0000;
/// `HeaderSize`.
pub(super) const HEADER_SIZE: u32 = 92;
/// `SizeOfPartitionEntry`.
pub(super) const ENTRY_SIZE: u32 = 128;
/// UTF-16 code units of `PartitionName`.
const NAME_UNITS: usize = 36;

/// Options of a table besides its partitions. All ids are the caller's.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// `DiskGUID`.
    pub disk_guid: Uuid,
    /// `NumberOfPartitionEntries`: 128 everywhere but where boot code needs the space (56 end at 8 KiB in
    /// 512-byte sectors).
    pub entry_count: u32,
    /// Byte ranges of raw boot code: the entry array is placed behind what collides with it, and they are kept
    /// out of the usable range.
    pub reserved: &'a [Range<u64>],
    /// Show partitions in the MBR too.
    pub hybrid: Option<&'a Hybrid>,
}

/// Partitions that a hybrid MBR shows, for boot ROMs that know no GPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hybrid {
    /// At most three: number in the GPT, MBR type, active.
    pub partitions: Vec<(u32, u8, bool)>,
    /// Set if the entry that protects the GPT comes before them.
    pub protective_first: bool,
}

/// The sector numbers of a table.
struct Placement {
    sector: u64,
    /// `PartitionEntryLBA` of the primary header.
    entries: u64,
    /// Sectors of the entry array.
    entries_len: u64,
    first_usable: u64,
    last_usable: u64,
    /// Sector of the backup header, the last one.
    last: u64,
}

/// The bytes of a GPT: the MBR that protects it, primary header and entries, backup entries and header.
pub fn encode(
    partitions: &[Partition],
    geometry: Geometry,
    options: &Options<'_>,
) -> Result<Vec<TableBytes>, TableError> {
    let placement = Placement::new(partitions, geometry, options)?;
    let sector = placement.sector;
    let usable = placement.first_usable * sector..(placement.last_usable + 1) * sector;
    check(partitions, usable, sector)?;
    reject_same_guids(partitions)?;
    let entries = encode_entries(partitions, options.entry_count, &placement)?;
    let used = (options.entry_count * ENTRY_SIZE) as usize;
    let entries_crc32 = libdeflater::crc32(&entries[..used]);
    let header = |primary| placement.header(primary, options, entries_crc32);
    let backup_entries = (placement.last_usable + 1) * sector;
    let pieces = vec![
        TableBytes::new("protective mbr", mbr::TABLE_OFFSET, encode_mbr(partitions, &placement, options)?),
        TableBytes::new("gpt header", sector, header(true)),
        TableBytes::new("gpt entries", placement.entries * sector, entries.clone()),
        TableBytes::new("gpt backup entries", backup_entries, entries),
        TableBytes::new("gpt backup header", placement.last * sector, header(false)),
    ];
    #[cfg(feature = "table-reader")]
    super::second_reader::ensure_gpt(&pieces, partitions, geometry)?;
    Ok(pieces)
}

impl Placement {
    fn new(
        partitions: &[Partition],
        geometry: Geometry,
        options: &Options<'_>,
    ) -> Result<Placement, TableError> {
        let sector = u64::from(geometry.sector_size);
        let entries_len = u64::from(options.entry_count * ENTRY_SIZE).div_ceil(sector);
        let too_small = TableError::TooSmall { disk: geometry.len, entries: options.entry_count };
        let total = sectors(geometry);
        if options.entry_count == 0 || total < 2 * entries_len + 4 {
            return Err(too_small);
        }
        let last = total - 1;
        let last_usable = last - entries_len - 1;
        let below = partitions.iter().map(|partition| partition.start / sector).min().unwrap_or(last_usable);
        let entries = place_entries(entries_len, below, sector, options.reserved)?;
        let first_usable = options
            .reserved
            .iter()
            .map(|range| range.end.div_ceil(sector))
            .filter(|end| *end <= below)
            .fold(entries + entries_len, u64::max);
        Ok(Placement { sector, entries, entries_len, first_usable, last_usable, last })
    }

    /// One sector with a header.
    fn header(&self, primary: bool, options: &Options<'_>, entries_crc32: u32) -> Vec<u8> {
        let (my, alternate, entries) = match primary {
            true => (1, self.last, self.entries),
            false => (self.last, 1, self.last - self.entries_len),
        };
        let mut bytes = Vec::with_capacity(self.sector as usize);
        bytes.extend(SIGNATURE);
        bytes.extend(REVISION.to_le_bytes());
        bytes.extend(HEADER_SIZE.to_le_bytes());
        bytes.extend([0; 8]); // HeaderCRC32, computed over zeros, and Reserved
        for lba in [my, alternate, self.first_usable, self.last_usable] {
            bytes.extend(lba.to_le_bytes());
        }
        bytes.extend(options.disk_guid.to_bytes_le());
        bytes.extend(entries.to_le_bytes());
        for word in [options.entry_count, ENTRY_SIZE, entries_crc32] {
            bytes.extend(word.to_le_bytes());
        }
        let header_crc32 = libdeflater::crc32(&bytes);
        bytes[16..20].copy_from_slice(&header_crc32.to_le_bytes());
        bytes.resize(self.sector as usize, 0);
        bytes
    }
}

/// The sector of the primary entry array: 2, or the first one behind raw bytes from where it is free.
fn place_entries(len: u64, below: u64, sector: u64, reserved: &[Range<u64>]) -> Result<u64, TableError> {
    let taken = |start: u64, end: u64| {
        reserved.iter().find(|range| range.start < end * sector && range.end > start * sector)
    };
    if let Some(range) = taken(1, 2) {
        return Err(TableError::HeaderTaken { reserved: range.clone() });
    }
    let behind = reserved.iter().map(|range| range.end.div_ceil(sector)).filter(|end| *end > 2);
    let mut candidates: Vec<u64> = std::iter::once(2).chain(behind).collect();
    candidates.sort_unstable();
    candidates
        .into_iter()
        .find(|start| taken(*start, start + len).is_none() && (*start == 2 || start + len <= below))
        .ok_or(TableError::NoRoomForEntries { need: len * sector, below: below * sector })
}

fn encode_entries(
    partitions: &[Partition],
    entry_count: u32,
    placement: &Placement,
) -> Result<Vec<u8>, TableError> {
    let mut bytes = vec![0; (placement.entries_len * placement.sector) as usize];
    for partition in partitions {
        if partition.number == 0 || partition.number > entry_count {
            let (number, largest) = (partition.number, entry_count);
            return Err(TableError::Number { partition: partition.name.clone(), number, largest });
        }
        let at = ((partition.number - 1) * ENTRY_SIZE) as usize;
        let entry = encode_entry(partition, placement.sector)?;
        bytes[at..at + entry.len()].copy_from_slice(&entry);
    }
    Ok(bytes)
}

fn reject_same_guids(partitions: &[Partition]) -> Result<(), TableError> {
    let mut seen: BTreeMap<Uuid, &str> = BTreeMap::new();
    for partition in partitions {
        let PartitionKind::Gpt { guid, .. } = partition.kind else { continue };
        if let Some(first) = seen.insert(guid, &partition.name) {
            return Err(TableError::SameGuid { first: first.into(), second: partition.name.clone(), guid });
        }
    }
    Ok(())
}

fn encode_entry(partition: &Partition, sector: u64) -> Result<Vec<u8>, TableError> {
    let PartitionKind::Gpt { type_guid, guid, attributes, name } = &partition.kind else {
        return Err(TableError::WrongKind { partition: partition.name.clone(), table: "a GPT" });
    };
    for (what, guid) in [("type GUID", type_guid), ("GUID", guid)] {
        if guid.is_nil() {
            return Err(TableError::NilGuid { partition: partition.name.clone(), what });
        }
    }
    let units: Vec<u16> = name.encode_utf16().collect();
    if units.len() > NAME_UNITS {
        let (partition, name, units) = (partition.name.clone(), name.clone(), units.len());
        return Err(TableError::NameTooLong { partition, name, units });
    }
    let mut bytes = Vec::with_capacity(ENTRY_SIZE as usize);
    bytes.extend(type_guid.to_bytes_le());
    bytes.extend(guid.to_bytes_le());
    bytes.extend((partition.start / sector).to_le_bytes());
    bytes.extend((partition.range().end / sector - 1).to_le_bytes());
    bytes.extend(attributes.to_le_bytes());
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    Ok(bytes)
}

fn encode_mbr(
    partitions: &[Partition],
    placement: &Placement,
    options: &Options<'_>,
) -> Result<Vec<u8>, TableError> {
    let mut entries = [None; 4];
    match options.hybrid {
        None => entries[0] = Some(protective(placement.last)),
        Some(hybrid) => {
            for (slot, entry) in entries.iter_mut().zip(hybrid_entries(hybrid, partitions, placement)?) {
                *slot = Some(entry);
            }
        }
    }
    Ok(mbr::sector_zero(0, &entries))
}

/// The entry over the whole disk of UEFI 2.10, table 5-4: `last` is the last sector.
fn protective(last: u64) -> [u8; mbr::ENTRY_LEN] {
    let sectors = u32::try_from(last).unwrap_or(u32::MAX);
    let mut bytes = Entry { active: false, code: mbr::GPT_PROTECTIVE, start: 1, sectors }.to_bytes(0);
    // The table fixes the first address, and the last one for a disk that CHS cannot reach the end of.
    bytes[1..4].copy_from_slice(&[0x00, 0x02, 0x00]);
    bytes[5..8].copy_from_slice(&[0xff, 0xff, 0xff]);
    bytes
}

/// Up to three partitions and an entry that protects the space below the first of them.
fn hybrid_entries(
    hybrid: &Hybrid,
    partitions: &[Partition],
    placement: &Placement,
) -> Result<Vec<[u8; mbr::ENTRY_LEN]>, TableError> {
    if hybrid.partitions.len() > 3 {
        return Err(TableError::TooManyHybrid(hybrid.partitions.len()));
    }
    let mut entries = Vec::new();
    let mut first = u32::try_from(placement.last + 1).unwrap_or(u32::MAX);
    for &(number, code, active) in &hybrid.partitions {
        let partition = partitions.iter().find(|partition| partition.number == number);
        let shown = partition.cloned().ok_or(TableError::NoSuchHybrid(number))?;
        let shown = Partition { kind: PartitionKind::Mbr { code, active }, ..shown };
        let entry = mbr::entry(&shown, placement.sector)?;
        first = first.min(entry.start);
        entries.push(entry.to_bytes(0));
    }
    let below = Entry { active: false, code: mbr::GPT_PROTECTIVE, start: 1, sectors: first - 1 };
    let position = if hybrid.protective_first { 0 } else { entries.len() };
    entries.insert(position, below.to_bytes(0));
    Ok(entries)
}
