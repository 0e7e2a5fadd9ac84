//! What is on a medium: the partition table, and what is in each partition.

use std::fmt;

use serde::Serialize;

use crate::error::Result;
use crate::recognize::{Content, content};
use crate::storage::{ReadOnly, Target};
use crate::table::{self, PartitionKind, Scheme, Table};
use crate::value::ByteSize;

/// Findings on a medium.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Image or device.
    pub target: String,
    /// Bytes of the medium.
    pub len: u64,
    /// The partition table, if there is one.
    pub table: Option<Table>,
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

/// Reads the table and the superblocks of `medium`.
pub fn inspect(medium: &ReadOnly) -> Result<Inspection> {
    let table = table::read(medium)?;
    let len = medium.geometry().len;
    let places: Vec<(u32, String, u64, u64)> = match &table {
        Some(table) => table.partitions.iter().map(place).collect(),
        None => vec![(0, String::new(), 0, len)],
    };
    let mut partitions = Vec::new();
    for (number, name, start, len) in places {
        let content = content(medium, start, len, u64::MAX);
        partitions.push(PartitionSummary { number, name, start, len, content });
    }
    Ok(Inspection { target: medium.name().into(), len, table, partitions })
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
            None => write!(f, ", no partition table")?,
        }
        for partition in &self.partitions {
            write!(f, "\n{partition}")?;
        }
        Ok(())
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
