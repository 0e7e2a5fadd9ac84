//! Every table is read by an independent implementation before it is written anywhere: `mbrman` for an MBR, the
//! `gpt` crate for a GPT. A partition that another program would see elsewhere is found here, not on a board.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::{Partition, PartitionKind, TableBytes, TableError};
use crate::storage::Geometry;

/// Partition as a reader sees it: number, first byte, length, and type or GUIDs.
type Seen = (u32, u64, u64, String);

/// Fails unless `mbrman` finds exactly `partitions` in the pieces of an MBR.
pub(super) fn ensure_mbr(
    pieces: &[TableBytes],
    partitions: &[Partition],
    geometry: Geometry,
) -> Result<(), TableError> {
    let sector = u64::from(geometry.sector_size);
    let disagree = |what: String| TableError::Unreadable { reader: "mbrman", what };
    let mbr = mbrman::MBR::read_from(&mut Disk::new(pieces, geometry), geometry.sector_size)
        .map_err(|error| disagree(error.to_string()))?;
    let seen = mbr.iter().filter(|(_, entry)| entry.is_used() && !entry.is_extended());
    let seen = seen.map(|(number, entry)| {
        let (start, len) = (u64::from(entry.starting_lba) * sector, u64::from(entry.sectors) * sector);
        (number as u32, start, len, format!("{:#04x} active {}", entry.sys, entry.is_active()))
    });
    ensure_same(seen.collect(), partitions).map_err(disagree)
}

/// Fails unless the `gpt` crate finds both copies intact and exactly `partitions` in the pieces of a GPT.
pub(super) fn ensure_gpt(
    pieces: &[TableBytes],
    partitions: &[Partition],
    geometry: Geometry,
) -> Result<(), TableError> {
    let disagree = |what: String| TableError::Unreadable { reader: "gpt", what };
    let size = match geometry.sector_size {
        4096 => gpt::disk::LogicalBlockSize::Lb4096,
        _ => gpt::disk::LogicalBlockSize::Lb512,
    };
    let config = gpt::GptConfig::new().writable(false).logical_block_size(size).only_valid_headers(true);
    let disk =
        config.open_from_device(Disk::new(pieces, geometry)).map_err(|error| disagree(error.to_string()))?;
    for copy in [disk.primary_header(), disk.backup_header()] {
        copy.map_err(|error| disagree(error.to_string()))?;
    }
    let sector = u64::from(geometry.sector_size);
    let seen = disk.partitions().iter().map(|(number, entry)| {
        let (start, len) = (entry.first_lba * sector, (entry.last_lba + 1 - entry.first_lba) * sector);
        (*number, start, len, format!("{} {} {}", entry.part_type_guid.guid, entry.part_guid, entry.name))
    });
    ensure_same(seen.collect(), partitions).map_err(disagree)
}

fn ensure_same(mut seen: Vec<Seen>, partitions: &[Partition]) -> Result<(), String> {
    let mut meant: Vec<Seen> = partitions.iter().map(meant).collect();
    seen.sort();
    meant.sort();
    match meant.iter().zip(&seen).find(|(meant, seen)| meant != seen) {
        Some((meant, seen)) => Err(format!("it sees {seen:?} where {meant:?} is meant")),
        None if meant.len() != seen.len() => {
            Err(format!("it sees {} partitions where {} are meant", seen.len(), meant.len()))
        }
        None => Ok(()),
    }
}

fn meant(partition: &Partition) -> Seen {
    let kind = match &partition.kind {
        PartitionKind::Mbr { code, active } => format!("{code:#04x} active {active}"),
        PartitionKind::Gpt { type_guid, guid, name, .. } => format!("{type_guid} {guid} {name}"),
    };
    (partition.number, partition.start, partition.len, kind)
}

/// A disk that holds nothing but the pieces of a table.
#[derive(Debug)]
struct Disk<'a> {
    pieces: &'a [TableBytes],
    len: u64,
    at: u64,
}

impl<'a> Disk<'a> {
    fn new(pieces: &'a [TableBytes], geometry: Geometry) -> Disk<'a> {
        Disk { pieces, len: geometry.len, at: 0 }
    }
}

impl Read for Disk<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = buf.len().min(self.len.saturating_sub(self.at) as usize);
        let (start, end) = (self.at, self.at + count as u64);
        buf[..count].fill(0);
        for piece in self.pieces {
            let (first, last) = (piece.offset.max(start), (piece.offset + piece.bytes.len() as u64).min(end));
            if first < last {
                let from = &piece.bytes[(first - piece.offset) as usize..(last - piece.offset) as usize];
                buf[(first - start) as usize..(last - start) as usize].copy_from_slice(from);
            }
        }
        self.at = end;
        Ok(count)
    }
}

impl Seek for Disk<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = crate::value::seek(self.len, self.at, to)?;
        Ok(self.at)
    }
}

/// The `gpt` crate wants a device that could be written; this one refuses.
impl Write for Disk<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::mbr;

    #[test]
    fn a_table_that_says_something_else_is_told() {
        let geometry = Geometry { len: 64 << 20, sector_size: 512 };
        let kind = PartitionKind::Mbr { code: 0x83, active: false };
        let mut partition = Partition { number: 1, name: "root".into(), start: 1 << 20, len: 8 << 20, kind };
        let pieces = mbr::encode(7, std::slice::from_ref(&partition), geometry).expect("encodes");
        partition.len += 512;
        let error = ensure_mbr(&pieces, &[partition], geometry).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the partition table is not what was meant, says `mbrman`: it sees (1, 1048576, 8388608, \"0x83 active \
             false\") where (1, 1048576, 8389120, \"0x83 active false\") is meant"
        );
    }
}
