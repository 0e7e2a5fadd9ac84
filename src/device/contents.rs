//! Contents of a medium that will be lost: tables, names, filesystems, and an operating system if one is found. Only
//! heads are read, at most a few MiB of each partition, and what cannot be understood is reported as such: a card full of
//! garbage is a card to be written, not an error.

use std::fmt;

use serde::Serialize;

use super::Candidate;
use crate::recognize::{self, content, outline, printable, release};
use crate::storage::{ReadOnly, ReadOnlyError, Target};
use crate::table::{self, Partition, PartitionKind, Scheme};
use crate::value::ByteSize;

/// The most that is read of a partition to know its filesystem.
const MOST: u64 = 8 << 20;
/// Tables with more are damaged, or somebody's joke.
const MOST_PARTITIONS: usize = 32;

/// Contents of a medium or partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExistingContents {
    /// `mbr` or `gpt`; none where there is no table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<&'static str>,
    /// Contents of the partitions, or the whole medium if it has no table.
    pub parts: Vec<PartContents>,
    /// Partitions that are not in `parts`, because there are so many.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
    /// True if an earlier run was stopped before it was done.
    pub unfinished: bool,
}

/// All that a person should know before a device is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Destruction {
    /// The device.
    pub device: Candidate,
    /// Contents.
    #[serde(rename = "loss")]
    pub contents: ExistingContents,
    /// Bytes that will be written or zeroed, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<u64>,
    /// [`Candidate::token`].
    pub token: String,
}

impl Destruction {
    /// Looks at the device, which is to be written.
    pub fn for_device(device: &Candidate, writes: Option<u64>) -> Result<Destruction, ReadOnlyError> {
        let contents = existing_contents(&ReadOnly::open(&device.path)?);
        Ok(Destruction { token: device.token(), device: device.clone(), contents, writes })
    }
}

impl fmt::Display for Destruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.contents.to_string().replace('\n', "\n    ");
        match (&self.device.part, self.contents.parts.as_slice()) {
            (Some(_), [content]) if !self.contents.unfinished => {
                write!(f, "{}\n  now in it: {}", self.device, Content(content))?;
            }
            _ => write!(f, "{}\n  now on it: {now}", self.device)?,
        }
        self.writes.map_or(Ok(()), |writes| write!(f, "\n  will be written: {}", ByteSize(writes)))
    }
}

/// Contents of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartContents {
    /// In the table; 0 for a medium without one.
    pub number: u32,
    /// Name in a GPT.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Bytes.
    pub len: u64,
    /// `fat`, `ext4`, or what its first bytes say; none where they say nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<&'static str>,
    /// Label of the filesystem.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Bytes in use, where the filesystem records it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// The SkiffOS that is installed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// True if all that was looked at is zero: a partition that was never written.
    pub blank: bool,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Returns what is on `medium`: a disk, or one partition. What cannot be read is unknown.
pub fn existing_contents(medium: &ReadOnly) -> ExistingContents {
    let unfinished = super::marker::read(medium).ok().flatten().is_some();
    let table = table::read(medium).ok().flatten();
    let whole = [PartitionRange { number: 0, name: String::new(), start: 0, len: medium.geometry().len }];
    let (table, places) = match &table {
        Some(table) => {
            (Some(kind(&table.scheme)), table.partitions.iter().map(PartitionRange::from_partition).collect())
        }
        None => (None, Vec::from(whole)),
    };
    let more = places.len().saturating_sub(MOST_PARTITIONS);
    let parts = places.into_iter().take(MOST_PARTITIONS).map(|place| place.look(medium));
    ExistingContents { table, parts: parts.collect(), more, unfinished }
}

fn kind(scheme: &Scheme) -> &'static str {
    match scheme {
        Scheme::Mbr { .. } => "mbr",
        Scheme::Gpt { .. } => "gpt",
    }
}

/// Range of a partition on its medium.
struct PartitionRange {
    number: u32,
    name: String,
    start: u64,
    len: u64,
}

impl PartitionRange {
    fn from_partition(partition: &Partition) -> PartitionRange {
        let name = match &partition.kind {
            PartitionKind::Gpt { name, .. } => printable(name),
            PartitionKind::Mbr { .. } => String::new(),
        };
        PartitionRange { number: partition.number, name, start: partition.start, len: partition.len }
    }

    fn look(self, medium: &ReadOnly) -> PartContents {
        let content = content(medium, self.start, self.len, MOST);
        let head = outline::head(medium, &(self.start..self.start.saturating_add(self.len)));
        let (filesystem, label, used) = match &content {
            recognize::Content::Fat(fat) => {
                let used = u64::from(fat.clusters.saturating_sub(fat.free_clusters));
                (Some("fat"), printable(&fat.label), Some(used * u64::from(fat.cluster_size)))
            }
            recognize::Content::Ext4(ext4) => {
                (Some("ext4"), printable(&ext4.label), Some(ext4.len.0.saturating_sub(ext4.free.0)))
            }
            recognize::Content::Squashfs(info) => (Some("squashfs"), String::new(), Some(info.bytes_used)),
            recognize::Content::Tar(_) => (Some("tar"), String::new(), None),
            recognize::Content::Other { filesystem } => (Some(*filesystem), String::new(), None),
            recognize::Content::Unknown => (None, String::new(), None),
        };
        let release = release::find(medium, &content, self.start, self.len);
        let blank = filesystem.is_none() && crate::value::is_zero(&head);
        PartContents {
            number: self.number,
            name: self.name,
            len: self.len,
            filesystem,
            label,
            used,
            release,
            blank,
        }
    }
}

impl ExistingContents {
    /// Bytes in use, as far as filesystems record it.
    pub fn used(&self) -> u64 {
        self.parts.iter().filter_map(|part| part.used).sum()
    }
}

impl fmt::Display for ExistingContents {
    /// One line about the medium, and one for each partition.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unfinished {
            return f.write_str("an image that was begun and not finished");
        }
        let Some(table) = self.table else {
            return self.parts.iter().try_for_each(|part| write!(f, "no partition table, {}", Content(part)));
        };
        let (count, used) = (self.parts.len() + self.more, ByteSize(self.used()));
        let partitions = if count == 1 { "partition" } else { "partitions" };
        write!(f, "{} with {count} {partitions}, {used} in use", table.to_uppercase())?;
        self.parts.iter().try_for_each(|part| write!(f, "\n{part}"))?;
        if self.more > 0 { write!(f, "\nand {} more", self.more) } else { Ok(()) }
    }
}

/// Text about a partition, or about a medium without a table.
struct Content<'a>(&'a PartContents);

impl fmt::Display for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.0;
        match part.filesystem {
            Some(filesystem) => f.write_str(filesystem)?,
            None if part.blank => f.write_str("it begins with zeros")?,
            None => f.write_str("nothing that is known")?,
        }
        part.details(f)
    }
}

impl fmt::Display for PartContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.number)?;
        if !self.name.is_empty() {
            write!(f, "`{}`, ", self.name)?;
        }
        let unknown = if self.blank { "blank" } else { "unknown" };
        write!(f, "{}, {}", ByteSize(self.len), self.filesystem.unwrap_or(unknown))?;
        self.details(f)
    }
}

impl PartContents {
    fn details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.label.is_empty() {
            write!(f, " `{}`", self.label)?;
        }
        if let Some(used) = self.used {
            write!(f, ", {} used", ByteSize(used))?;
        }
        self.release.as_ref().map_or(Ok(()), |release| write!(f, ", {release}"))
    }
}
