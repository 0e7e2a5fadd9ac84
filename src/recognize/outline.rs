//! Claims of a disk about itself: the sectors that its table counts in, and how long its table, its partitions and the
//! filesystems in them say that it is. Only tables and the first bytes of partitions are read.

use std::fmt;
use std::io::Read;
use std::ops::Range;

use serde::Serialize;
use skiff_signatures::{Class, Format};

use crate::storage::{Cursor, Target, TargetError};
use crate::table::{self, CopyState, Scheme, Table};
use crate::value::ByteSize;

/// Bytes at the start of a partition in which all signatures are.
pub const HEAD: u64 = 68 << 10;
/// Tables with more partitions are damaged, or somebody's joke.
const MOST_PARTS: usize = 128;

/// Structure of a disk, from its own table and filesystems.
#[derive(Clone, Debug)]
pub struct Outline {
    /// The partition table, in the sectors that it was made for.
    pub table: Option<Table>,
    /// Bytes of a sector as the table counts, if the disk shows it: a GPT does, and an MBR by what is where it says.
    pub sector_size: Option<u32>,
    /// True if the MBR protects a GPT of which no copy can be used.
    pub gpt_is_lost: bool,
    /// Partitions, and, with the number 0, a filesystem that has the whole disk.
    pub parts: Vec<Part>,
}

/// A partition, or a disk without a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number in the table; 0 for the disk.
    pub number: u32,
    /// Its bytes.
    pub range: Range<u64>,
    /// Filesystem that begins there.
    pub filesystem: Option<Format>,
    /// Bytes that the filesystem says it has.
    pub len: Option<u64>,
}

/// Part of a disk that ends behind the end of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shortfall {
    /// Part of the disk.
    #[serde(flatten)]
    pub part: Short,
    /// Bytes that the disk must have for it.
    pub need: u64,
}

/// Kind of part of a disk that can be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "missing", rename_all = "kebab-case")]
pub enum Short {
    /// A partition of which nothing says that it is shorter.
    Partition {
        /// Its number.
        number: u32,
    },
    /// A filesystem.
    Filesystem {
        /// Number of its partition, or 0.
        number: u32,
        /// Its format.
        format: &'static str,
    },
    /// The copy of a GPT at the end of the disk.
    Backup,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Short::Partition { number } => write!(f, "partition {number}"),
            Short::Filesystem { number: 0, format } => write!(f, "the {format} filesystem"),
            Short::Filesystem { number, format } => {
                write!(f, "the {format} filesystem of partition {number}")
            }
            Short::Backup => f.write_str("the backup copy of the GPT"),
        }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ends at {}", self.part, ByteSize(self.need))
    }
}

impl Outline {
    /// Looks at `disk`, as far as its length goes.
    pub fn read(disk: &dyn Target) -> Result<Outline, TargetError> {
        let (table, sector_size) = table_of(disk)?;
        let has_gpt = table.as_ref().is_some_and(|table| matches!(table.scheme, Scheme::Gpt { .. }));
        let gpt_is_lost = !has_gpt && table::is_protected(disk)?;
        let mut parts = Vec::new();
        let whole = Part::look(disk, 0, 0..disk.geometry().len);
        // What is burnt on a disc or copied to a stick has a table in front of its filesystem.
        if table.is_none() || whole.filesystem == Some(Format::Iso9660) {
            parts.push(whole);
        }
        let partitions = table.iter().flat_map(|table| &table.partitions).take(MOST_PARTS);
        parts.extend(partitions.map(|partition| Part::look(disk, partition.number, partition.range())));
        Ok(Outline { table, sector_size, gpt_is_lost, parts })
    }

    /// Returns what of it a disk of `len` bytes does not have. Behind the end of a filesystem that is all there a
    /// partition misses nothing.
    pub fn shortfalls(&self, len: u64) -> Vec<Shortfall> {
        let backup = match &self.table {
            Some(Table { scheme: Scheme::Gpt { primary: CopyState::Good, .. }, disk_len, .. }) => {
                Some(*disk_len)
            }
            _ => None,
        };
        let backup = backup.map(|need| Shortfall { part: Short::Backup, need });
        let parts = self.parts.iter().filter_map(|part| part.need());
        parts.chain(backup).filter(|short| short.need > len).collect()
    }

    /// Partitions that end behind a disk of `len` bytes, and hold a filesystem that does not.
    pub fn roomy(&self, len: u64) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| {
            part.number > 0 && part.range.end > len && part.end().is_some_and(|end| end <= len)
        })
    }

    /// Filesystems that say they are longer than their partition.
    pub fn cramped(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.number > 0 && part.end().is_some_and(|end| end > part.range.end))
    }
}

impl Part {
    fn look(disk: &dyn Target, number: u32, range: Range<u64>) -> Part {
        let head = head(disk, &range);
        let filesystem = Format::find(&head, &[Class::Filesystem, Class::Volume]);
        let len = filesystem.and_then(|format| format.claimed_len(&head));
        Part { number, range, filesystem, len }
    }

    /// The byte behind the filesystem, if that is known.
    pub fn end(&self) -> Option<u64> {
        Some(self.range.start.saturating_add(self.len?))
    }

    /// Bytes that a disk must have for it.
    fn need(&self) -> Option<Shortfall> {
        let number = self.number;
        let filesystem = self.filesystem.map_or("", Format::name);
        match self.end() {
            Some(need) => Some(Shortfall { part: Short::Filesystem { number, format: filesystem }, need }),
            None if number > 0 => Some(Shortfall { part: Short::Partition { number }, need: self.range.end }),
            None => None,
        }
    }
}

/// The first bytes of a range of a disk, as far as they can be read.
pub fn head(disk: &dyn Target, range: &Range<u64>) -> Vec<u8> {
    let mut head = Vec::new();
    let len = range.end.saturating_sub(range.start).min(HEAD);
    // What cannot be read says nothing.
    _ = Cursor::new(disk, range.start, len).read_to_end(&mut head);
    head
}

/// Ranges of a disk that [`Outline::read`] looks at behind the first ones, as far as the bytes are known that lead to
/// them: in order.
pub fn windows(disk: &dyn Target) -> Result<Vec<Range<u64>>, TargetError> {
    let mut starts = table::places(disk)?;
    starts.sort_unstable();
    starts.dedup();
    Ok(starts.into_iter().take(2 * MOST_PARTS).map(|start| start..start.saturating_add(HEAD)).collect())
}

/// The table in the sectors it was made for, and those, if the disk shows them.
fn table_of(disk: &dyn Target) -> Result<(Option<Table>, Option<u32>), TargetError> {
    let table = table::read(disk)?;
    let Some(Table { scheme: Scheme::Mbr { .. }, .. }) = table else {
        let sector_size = table.as_ref().map(|table| table.sector_size);
        return Ok((table, sector_size));
    };
    let own = disk.geometry().sector_size;
    let in_sectors = |size| Ok(table::read_mbr(disk, size)?.map(|table| (evidence(disk, &table), table)));
    let both = (in_sectors(own)?, in_sectors(if own == 512 { 4096 } else { 512 })?);
    let (Some((own, table)), Some((other, others))) = both else { return Ok((table, None)) };
    Ok(match own.cmp(&other) {
        std::cmp::Ordering::Less => (Some(others.clone()), Some(others.sector_size)),
        std::cmp::Ordering::Equal => (Some(table), None),
        std::cmp::Ordering::Greater => (Some(table.clone()), Some(table.sector_size)),
    })
}

/// Evidence that the partitions are where a table says: filesystems that begin there, and that none ends behind
/// the disk.
fn evidence(disk: &dyn Target, table: &Table) -> (usize, bool) {
    let parts = table.partitions.iter().take(MOST_PARTS);
    let looks = parts.map(|partition| Part::look(disk, partition.number, partition.range()));
    let found = looks.filter(|part| part.filesystem.is_some()).count();
    (found, table.disk_len <= disk.geometry().len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Geometry, Sparse};
    use crate::table::{Partition, PartitionKind, TableBytes, gpt, mbr};

    const MIB: u64 = 1 << 20;

    fn partition(number: u32, start: u64, len: u64) -> Partition {
        let kind = PartitionKind::Mbr { code: 0x83, active: false };
        Partition { number, name: "data".into(), start, len, kind }
    }

    fn disk(len: u64, pieces: Vec<TableBytes>) -> Sparse {
        let disk = Sparse::new(len, 512);
        pieces.iter().for_each(|piece| disk.write_at(&piece.bytes, piece.offset).expect("inside"));
        disk
    }

    fn mbr(sector_size: u32, len: u64) -> Vec<TableBytes> {
        let parts = [partition(1, MIB, 8 * MIB), partition(2, 16 * MIB, 48 * MIB)];
        mbr::encode(7, &parts, Geometry { len, sector_size }).expect("a table")
    }

    fn squashfs(disk: &Sparse, at: u64, len: u64) {
        disk.write_at(b"hsqs", at).expect("inside");
        disk.write_at(&[4, 0], at + 28).expect("inside");
        disk.write_at(&len.to_le_bytes(), at + 40).expect("inside");
    }

    fn shortfalls(disk: &Sparse, len: u64) -> Vec<String> {
        let outline = Outline::read(disk).expect("readable");
        outline.shortfalls(len).iter().map(Shortfall::to_string).collect()
    }

    #[test]
    fn what_ends_behind_the_disk_is_named() {
        let whole = disk(64 * MIB, mbr(512, 64 * MIB));
        assert_eq!(shortfalls(&whole, 64 * MIB), Vec::<String>::new());
        assert_eq!(shortfalls(&whole, 40 * MIB), ["partition 2 ends at 64 MiB"]);
        // A filesystem that is all there leaves nothing to miss.
        squashfs(&whole, 16 * MIB, 10 * MIB);
        assert_eq!(shortfalls(&whole, 40 * MIB), Vec::<String>::new());
        let outline = Outline::read(&whole).expect("readable");
        assert_eq!(outline.roomy(40 * MIB).map(|part| part.number).collect::<Vec<_>>(), [2]);
        squashfs(&whole, 16 * MIB, 60 * MIB);
        let outline = Outline::read(&whole).expect("readable");
        assert_eq!(outline.cramped().map(|part| part.number).collect::<Vec<_>>(), [2]);
        assert_eq!(shortfalls(&whole, 64 * MIB), ["the squashfs filesystem of partition 2 ends at 76 MiB"]);
    }

    #[test]
    fn the_sectors_of_an_mbr_are_those_where_something_begins() {
        let sectors = |disk: &Sparse| Outline::read(disk).expect("readable").sector_size;
        // In the other sectors the last partition would end behind the disk.
        assert_eq!(sectors(&disk(64 * MIB, mbr(512, 64 * MIB))), Some(512));
        let large = disk(64 * MIB, mbr(4096, 64 * MIB));
        assert_eq!(sectors(&large), None);
        squashfs(&large, 16 * MIB, MIB);
        assert_eq!(sectors(&large), Some(4096));
        let parts = Outline::read(&large).expect("readable").parts;
        assert_eq!(parts[1].range, 16 * MIB..64 * MIB);
    }

    #[test]
    fn a_gpt_needs_the_disk_it_was_made_for() {
        let geometry = Geometry { len: 64 * MIB, sector_size: 512 };
        let disk_guid = uuid::Uuid::from_u128(1);
        let options = gpt::Options { disk_guid, entry_count: 128, reserved: &[], hybrid: None };
        let pieces = gpt::encode(&[], geometry, &options).expect("a table");
        let whole = disk(64 * MIB, pieces.clone());
        assert_eq!(shortfalls(&whole, 64 * MIB), Vec::<String>::new());
        assert_eq!(shortfalls(&whole, 64 * MIB - 512), ["the backup copy of the GPT ends at 64 MiB"]);
        let lost = disk(64 * MIB, vec![pieces[0].clone()]);
        assert!(Outline::read(&lost).expect("readable").gpt_is_lost);
    }
}
