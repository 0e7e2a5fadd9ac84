//! Overview of a medium: the partition table, and the content of each partition.

use std::fmt;

use serde::Serialize;

use crate::device::marker;
use crate::error::Result;
use crate::recognize::outline::{Outline, Shortfall};
use crate::recognize::{Content, content};
use crate::storage::{Geometry, ReadOnly, Target};
use crate::table::{self, PartitionKind, Scheme, Table};
use crate::value::ByteSize;

/// Findings on a medium.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Image or device.
    pub target: String,
    /// Bytes of the medium.
    pub len: u64,
    /// Bytes of a sector.
    pub sector_size: u32,
    /// True if an earlier run was stopped before it was done.
    #[serde(skip_serializing_if = "is_false")]
    pub unfinished: bool,
    /// True if its MBR protects a GPT of which no copy can be read.
    #[serde(skip_serializing_if = "is_false")]
    pub gpt_is_lost: bool,
    /// The partition table, if there is one, in the sectors that it was made for.
    pub table: Option<Table>,
    /// Parts of it that end behind its own end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<Shortfall>,
    /// Contents of the partitions, or of the whole medium if there is no table.
    pub partitions: Vec<PartitionSummary>,
}

/// A partition and its content.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionSummary {
    /// Number in the table; 0 for a medium without one.
    pub number: u32,
    /// Name in a GPT.
    pub name: String,
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Format of its content.
    pub content: Content,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Reads the table and the superblocks of `medium`.
pub fn inspect(medium: &ReadOnly) -> Result<Inspection> {
    let Geometry { len, sector_size } = medium.geometry();
    let outline = Outline::read(medium)?;
    let cut_off = outline.shortfalls(len);
    let Outline { table, gpt_is_lost, .. } = outline;
    let unfinished = marker::read(medium)?.is_some();
    let places: Vec<(u32, String, u64, u64)> = match &table {
        Some(table) => table.partitions.iter().map(place).collect(),
        None => vec![(0, String::new(), 0, len)],
    };
    let mut partitions = Vec::new();
    for (number, name, start, len) in places {
        let content = content(medium, start, len, u64::MAX);
        partitions.push(PartitionSummary { number, name, start, len, content });
    }
    let target = medium.name().into();
    Ok(Inspection { target, len, sector_size, unfinished, gpt_is_lost, table, cut_off, partitions })
}

fn place(partition: &table::Partition) -> (u32, String, u64, u64) {
    let name = match &partition.kind {
        PartitionKind::Gpt { name, .. } => name.clone(),
        PartitionKind::Mbr { .. } => String::new(),
    };
    (partition.number, name, partition.start, partition.len)
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.target, ByteSize(self.len))?;
        match self.table.as_ref().map(|table| &table.scheme) {
            Some(Scheme::Mbr { disk_signature }) => write!(f, ", MBR {disk_signature:08x}")?,
            Some(Scheme::Gpt { disk_guid, primary, backup, .. }) => {
                write!(f, ", GPT {disk_guid}, primary {primary}, backup {backup}")?;
            }
            None if self.unfinished => write!(f, ", an image that was begun and not finished")?,
            None if self.gpt_is_lost => write!(f, ", a GPT of which no copy can be read")?,
            None => write!(f, ", no partition table")?,
        }
        if let Some(table) = self.table.as_ref().filter(|table| table.sector_size != self.sector_size) {
            write!(f, ", in sectors of {} bytes", table.sector_size)?;
        }
        // The text that says it is unfinished is no content.
        for partition in self.partitions.iter().filter(|_| !self.unfinished || self.table.is_some()) {
            write!(f, "\n{partition}")?;
        }
        self.cut_off.iter().try_for_each(|short| write!(f, "\ncut off: {short}, behind the end of it"))
    }
}

impl fmt::Display for PartitionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, len) = (ByteSize(self.start), ByteSize(self.len));
        write!(f, "{:>3}  {len} from {start}  ", self.number)?;
        if !self.name.is_empty() {
            write!(f, "`{}`  ", self.name)?;
        }
        write!(f, "{}", self.content)
    }
}
