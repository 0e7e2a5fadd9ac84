//! Reads the table of a disk, for inspection and verification. Damage is reported, not repaired.

use std::fmt;

use skiff_signatures::Format;
use uuid::Uuid;

use super::gpt::{ENTRY_SIZE, HEADER_SIZE, SIGNATURE};
use super::mbr::{self, ENTRIES_OFFSET, ENTRY_LEN, EXTENDED, Entry, GPT_PROTECTIVE};
use super::{Partition, PartitionKind};
use crate::storage::{Target, TargetError};

/// More logical partitions than any tool makes: a longer chain is a loop.
const LONGEST_CHAIN: usize = 128;
/// More entries than any tool makes.
const MOST_ENTRIES: u32 = 4096;

/// A table as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Table {
    /// Its kind, with what belongs to the whole disk.
    pub scheme: Scheme,
    /// Bytes of a sector, as the table counts.
    pub sector_size: u32,
    /// Bytes that a disk must have for the table: up to the last partition of an MBR, the extended one too, or the other
    /// copy of a GPT.
    pub disk_len: u64,
    /// The used entries in the order of their numbers.
    pub partitions: Vec<Partition>,
}

/// Kinds of tables.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "table", rename_all = "lowercase"))]
pub enum Scheme {
    /// Master boot record.
    Mbr {
        /// Linux builds `PARTUUID` from it.
        disk_signature: u32,
    },
    /// GUID partition table.
    Gpt {
        /// `DiskGUID`.
        disk_guid: Uuid,
        /// `NumberOfPartitionEntries`.
        entry_count: u32,
        /// `PartitionEntryLBA` of the primary header, as a byte offset.
        entries_offset: u64,
        /// The copy at the start of the disk.
        primary: CopyState,
        /// The copy at its end.
        backup: CopyState,
        /// Partitions that the MBR shows too.
        hybrid: Vec<Partition>,
    },
}

/// State of one of the two copies of a GPT.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum CopyState {
    /// Both checksums are right.
    Good,
    /// Unusable, with the reason.
    Damaged(String),
    /// Good but not at the end of the disk: made for a disk of another size.
    Misplaced {
        /// Its offset in bytes.
        found: u64,
        /// Offset of the last sector.
        expected: u64,
    },
}

impl fmt::Display for CopyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyState::Good => f.write_str("good"),
            CopyState::Damaged(reason) => write!(f, "damaged ({reason})"),
            CopyState::Misplaced { found, expected } => {
                write!(f, "misplaced (at byte {found}, the end of the disk is at {expected})")
            }
        }
    }
}

/// The partition table of `target`; none where there is no table or only a filesystem. As in Linux
/// (`block/partitions/efi.c`), a GPT counts only where an MBR protects it: what an older table left does not.
pub fn read(target: &dyn Target) -> Result<Option<Table>, TargetError> {
    let own = target.geometry().sector_size;
    // An image file does not know its sectors.
    let others = [512, 4096].into_iter().filter(|size| *size != own);
    for sector_size in std::iter::once(own).chain(others) {
        let disk = Disk { target, sector: u64::from(sector_size) };
        if let Some(table) = disk.read_gpt()? {
            return Ok(Some(table));
        }
    }
    read_mbr(target, own)
}

/// The MBR of `target`, read in sectors of `sector_size` bytes; it does not say which it was made for.
pub fn read_mbr(target: &dyn Target, sector_size: u32) -> Result<Option<Table>, TargetError> {
    Disk { target, sector: u64::from(sector_size) }.read_mbr()
}

/// Returns whether the MBR of `target` protects a GPT, whatever is left of that.
pub fn is_protected(target: &dyn Target) -> Result<bool, TargetError> {
    Disk { target, sector: u64::from(target.geometry().sector_size) }.is_protected()
}

/// First bytes of what a table of `target` leads to, in sectors of either size: of partitions, and of the records of
/// logical ones.
pub fn places(target: &dyn Target) -> Result<Vec<u64>, TargetError> {
    let mut places = Vec::new();
    for sector in [512, 4096] {
        let disk = Disk { target, sector };
        if let Some(table) = disk.read_gpt()? {
            places.extend(table.partitions.iter().map(|partition| partition.start));
        }
        let Some(sector_0) = disk.bytes(0, 512)? else { continue };
        if let Some(partitions) = disk.mbr_partitions()? {
            places.extend(partitions.iter().map(|partition| partition.start));
            for entry in extended(&sector_0) {
                let (records, partitions) = disk.logical(entry.start, &partitions)?;
                places.extend(records);
                places.extend(partitions.iter().map(|partition| partition.start));
            }
        }
    }
    Ok(places)
}

struct Disk<'a> {
    target: &'a dyn Target,
    sector: u64,
}

/// The fields of a header that are needed, and the used entries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Copy {
    alternate: u64,
    disk_guid: Uuid,
    entries: u64,
    entry_count: u32,
    partitions: Vec<Partition>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn guid_at(bytes: &[u8], at: usize) -> Uuid {
    Uuid::from_bytes_le(bytes[at..at + 16].try_into().expect("sixteen bytes"))
}

impl Disk<'_> {
    fn last(&self) -> u64 {
        (self.target.geometry().len / self.sector).saturating_sub(1)
    }

    /// `len` bytes from sector `lba`; none behind the end.
    fn bytes(&self, lba: u64, len: u64) -> Result<Option<Vec<u8>>, TargetError> {
        let end = lba.checked_mul(self.sector).and_then(|offset| offset.checked_add(len));
        if end.is_none_or(|end| end > self.target.geometry().len) {
            return Ok(None);
        }
        let mut bytes = vec![0; len as usize];
        self.target.read_at(&mut bytes, lba * self.sector)?;
        Ok(Some(bytes))
    }

    fn is_protected(&self) -> Result<bool, TargetError> {
        let Some(sector) = self.bytes(0, 512)? else { return Ok(false) };
        let protects = entries(&sector).into_iter().flatten().any(|entry| entry.code == GPT_PROTECTIVE);
        Ok(sector[510..] == mbr::SIGNATURE && protects)
    }

    fn read_gpt(&self) -> Result<Option<Table>, TargetError> {
        if !self.is_protected()? {
            return Ok(None);
        }
        let primary = self.copy(1)?;
        let backup_lba = primary.as_ref().map_or(self.last(), |copy| copy.alternate);
        let backup = self.copy(backup_lba)?;
        let state = |copy: &Result<Copy, &str>| match copy {
            Ok(_) => CopyState::Good,
            Err(reason) => CopyState::Damaged((*reason).into()),
        };
        let primary_state = state(&primary);
        let backup_state = match (&primary, &backup) {
            (Ok(first), Ok(second)) if first.disk_guid != second.disk_guid => {
                CopyState::Damaged("belongs to another table".into())
            }
            (Ok(first), Ok(second)) if first.partitions != second.partitions => {
                CopyState::Damaged("has other partitions than the primary copy".into())
            }
            (_, Ok(_)) if backup_lba != self.last() => CopyState::Misplaced {
                found: backup_lba.saturating_mul(self.sector),
                expected: self.last() * self.sector,
            },
            _ => state(&backup),
        };
        // The backup alone is in the last sector.
        let disk_len = primary.as_ref().map_or(self.last(), |copy| copy.alternate).saturating_add(1);
        let Ok(copy) = primary.or(backup) else { return Ok(None) };
        let scheme = Scheme::Gpt {
            disk_guid: copy.disk_guid,
            entry_count: copy.entry_count,
            entries_offset: copy.entries * self.sector,
            primary: primary_state,
            backup: backup_state,
            hybrid: self.mbr_partitions()?.unwrap_or_default(),
        };
        let disk_len = disk_len.saturating_mul(self.sector);
        Ok(Some(Table { scheme, sector_size: self.sector as u32, disk_len, partitions: copy.partitions }))
    }

    /// The copy whose header is in sector `lba`, or what is wrong with it.
    fn copy(&self, lba: u64) -> Result<Result<Copy, &'static str>, TargetError> {
        let Some(mut header) = self.bytes(lba, u64::from(HEADER_SIZE))? else {
            return Ok(Err("lies behind the end of the disk"));
        };
        if header[..8] != *SIGNATURE {
            return Ok(Err("has no signature"));
        }
        let header_crc32 = u32_at(&header, 16);
        header[16..20].fill(0);
        if u32_at(&header, 12) != HEADER_SIZE || libdeflater::crc32(&header) != header_crc32 {
            return Ok(Err("has a wrong checksum of its header"));
        }
        if u64_at(&header, 24) != lba {
            return Ok(Err("says that it belongs to another sector"));
        }
        let (entry_count, entry_size) = (u32_at(&header, 80), u32_at(&header, 84));
        if !(ENTRY_SIZE..=4096).contains(&entry_size) || entry_count > MOST_ENTRIES {
            return Ok(Err("has entries of an unknown form"));
        }
        let entries = u64_at(&header, 72);
        let Some(array) = self.bytes(entries, u64::from(entry_count) * u64::from(entry_size))? else {
            return Ok(Err("has its entries behind the end of the disk"));
        };
        if libdeflater::crc32(&array) != u32_at(&header, 88) {
            return Ok(Err("has a wrong checksum of its entries"));
        }
        let numbered = (1..).zip(array.chunks_exact(entry_size as usize));
        let partitions = numbered.filter_map(|(number, entry)| self.gpt_partition(number, entry)).collect();
        let (alternate, disk_guid) = (u64_at(&header, 32), guid_at(&header, 56));
        Ok(Ok(Copy { alternate, disk_guid, entries, entry_count, partitions }))
    }

    fn gpt_partition(&self, number: u32, entry: &[u8]) -> Option<Partition> {
        let type_guid = guid_at(entry, 0);
        let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
        if type_guid.is_nil() || last < first {
            return None;
        }
        let units = entry[56..128].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let name: String = char::decode_utf16(units.take_while(|unit| *unit != 0))
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        let kind = PartitionKind::Gpt {
            type_guid,
            guid: guid_at(entry, 16),
            attributes: u64_at(entry, 48),
            name: name.clone(),
        };
        let start = first.saturating_mul(self.sector);
        let len = (last - first).saturating_add(1).saturating_mul(self.sector);
        let name = if name.is_empty() { format!("partition {number}") } else { name };
        Some(Partition { number, name, start, len, kind })
    }

    fn read_mbr(&self) -> Result<Option<Table>, TargetError> {
        let Some(mut partitions) = self.mbr_partitions()? else { return Ok(None) };
        let Some(sector) = self.bytes(0, 512)? else { return Ok(None) };
        let disk_signature = u32_at(&sector, mbr::TABLE_OFFSET as usize);
        if partitions.is_empty() && (disk_signature == 0 || is_boot_sector(&sector)) {
            return Ok(None);
        }
        let mut disk_len = 0;
        for entry in extended(&sector) {
            partitions.extend(self.logical(entry.start, &partitions)?.1);
            disk_len = disk_len.max((u64::from(entry.start) + u64::from(entry.sectors)) * self.sector);
        }
        let disk_len = partitions.iter().map(|partition| partition.range().end).fold(disk_len, u64::max);
        let scheme = Scheme::Mbr { disk_signature };
        Ok(Some(Table { scheme, sector_size: self.sector as u32, disk_len, partitions }))
    }

    /// The primary partitions of sector 0; none without a signature or with impossible entries.
    fn mbr_partitions(&self) -> Result<Option<Vec<Partition>>, TargetError> {
        let Some(sector) = self.bytes(0, 512)? else { return Ok(None) };
        let flags = (0..4).map(|index| sector[ENTRIES_OFFSET + index * ENTRY_LEN]);
        if sector[510..] != mbr::SIGNATURE || flags.into_iter().any(|flag| flag & 0x7f != 0) {
            return Ok(None);
        }
        let hidden = |code: u8| code == GPT_PROTECTIVE || EXTENDED.contains(&code);
        let numbered = (1..).zip(entries(&sector));
        let used = numbered.filter_map(|(number, entry)| Some((number, entry?)));
        let shown = used.filter(|(_, entry)| !hidden(entry.code));
        Ok(Some(shown.map(|(number, entry)| self.mbr_partition(number, entry, 0)).collect()))
    }

    /// Follows the chain of the extended partition that begins at sector `extended`, behind `others`. Returns the first
    /// bytes of its records, also of one that cannot be read, and the logical partitions.
    fn logical(
        &self,
        extended: u32,
        others: &[Partition],
    ) -> Result<(Vec<u64>, Vec<Partition>), TargetError> {
        let (mut records, mut partitions) = (Vec::new(), Vec::new());
        let mut last = others.iter().map(|partition| partition.number).max().unwrap_or(0).max(4);
        let mut record = u64::from(extended);
        for _ in 0..LONGEST_CHAIN {
            records.push(record * self.sector);
            let Some(sector) = self.bytes(record, 512)? else { break };
            if sector[510..] != mbr::SIGNATURE {
                break;
            }
            let [own, next, ..] = entries(&sector);
            if let Some(entry) = own {
                last += 1;
                partitions.push(self.mbr_partition(last, entry, record));
            }
            match next.filter(|next| EXTENDED.contains(&next.code)) {
                Some(next) => record = u64::from(extended) + u64::from(next.start),
                None => break,
            }
        }
        Ok((records, partitions))
    }

    fn mbr_partition(&self, number: u32, entry: Entry, base: u64) -> Partition {
        Partition {
            number,
            name: format!("partition {number}"),
            start: (base + u64::from(entry.start)) * self.sector,
            len: u64::from(entry.sectors) * self.sector,
            kind: PartitionKind::Mbr { code: entry.code, active: entry.active },
        }
    }
}

fn entries(sector: &[u8]) -> [Option<Entry>; 4] {
    std::array::from_fn(|index| {
        let at = ENTRIES_OFFSET + index * ENTRY_LEN;
        Entry::from_bytes(&sector[at..at + ENTRY_LEN])
    })
}

/// The extended partitions of sector 0.
fn extended(sector: &[u8]) -> impl Iterator<Item = Entry> + use<> {
    entries(sector).into_iter().flatten().filter(|entry| EXTENDED.contains(&entry.code))
}

/// Returns whether the sector is that of a FAT or NTFS filesystem, which ends in `55 aa` too.
fn is_boot_sector(sector: &[u8]) -> bool {
    Format::Fat.begins(sector) || Format::Ntfs.begins(sector)
}
