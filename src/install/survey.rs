//! Survey of a medium: its partitions, and which of them are those of a board.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::InstallError;
use super::marker::Marker;
use crate::board::{Board, Filesystem, Partition, Size, TableKind, Update};
use crate::device::marker;
use crate::error::Result;
use crate::plan::{Extent, FilesystemId, KnownIds, KnownPartition};
use crate::recognize::{Superblock, superblock};
use crate::storage::{Cursor, Target, TargetError};
use crate::table::{self, PartitionKind, Scheme, Table};
use crate::value::ByteSize;

/// A medium as it was found.
pub struct Survey {
    target: Arc<dyn Target>,
    /// Its table, if it has one.
    pub table: Option<Table>,
    /// Its partitions, or all of it where there is no table.
    pub partitions: Vec<Found>,
}

/// A partition of a medium.
#[derive(Clone, Debug)]
pub struct Found {
    /// Number in the table; 0 where there is none.
    pub number: u32,
    /// Name in a GPT.
    pub name: String,
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// GUID in a GPT.
    pub guid: Option<Uuid>,
    /// Format of its content.
    pub holds: Holds,
}

/// Format of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// FAT16 or FAT32.
    Fat {
        /// Volume label.
        label: String,
        /// Volume serial.
        serial: u32,
    },
    /// ext2, ext3 or ext4.
    Ext4 {
        /// Volume label.
        label: String,
        /// UUID.
        uuid: Uuid,
    },
    /// squashfs.
    Squashfs,
    /// It was about to be rewritten.
    Unfinished(Marker),
    /// Nothing that is known here.
    Unknown,
}

/// A medium whose partitions were found to be a board's.
#[derive(Clone, Debug)]
pub struct SurveyedMedium {
    /// One for each partition of the board, in its order.
    pub partitions: Vec<Found>,
    /// Marker of a run that was cut off.
    pub unfinished: Option<Marker>,
    /// True if a partition begins where the board has it, or the board does not say where.
    pub in_place: bool,
    /// Kind of the table.
    pub table: TableKind,
    /// Ids of disk and partitions.
    pub known: KnownIds,
}

impl Survey {
    /// Reads the table and the first blocks of each partition.
    pub fn new(target: &Arc<dyn Target>) -> Result<Survey, TargetError> {
        let table = table::read(&**target)?;
        let len = target.geometry().len;
        let partitions = match &table {
            Some(table) => {
                table.partitions.iter().map(|entry| found(target, entry)).collect::<Result<_, _>>()?
            }
            None => {
                let holds = holds(target, 0, len)?;
                vec![Found { number: 0, name: String::new(), start: 0, len, guid: None, holds }]
            }
        };
        Ok(Survey { target: Arc::clone(target), table, partitions })
    }

    /// The partitions that are those of `board`, each found by its number and label, or by its label alone.
    pub fn medium(&self, board: &Board) -> Result<SurveyedMedium, InstallError> {
        let touched =
            |partition: &&Partition| partition.update != Update::Never && !partition.filesystem.is_archive();
        if !board.partitions.iter().any(|partition| touched(&partition)) {
            return Err(InstallError::Nothing { board: board.name.clone() });
        }
        self.ensure_table(board)?;
        let unfinished = self.partitions.iter().find_map(|found| match &found.holds {
            Holds::Unfinished(marker) => Some(marker.clone()),
            _ => None,
        });
        let matching = |partition: &Partition| self.matching(board, partition, unfinished.as_ref());
        let partitions = board.partitions.iter().map(matching).collect::<Result<Vec<_>, _>>()?;
        self.reject_twice(board, &partitions)?;
        let mut known = self.known();
        for (partition, found) in board.partitions.iter().zip(&partitions) {
            let ids = found
                .ids(unfinished.as_ref().and_then(|marker| marker.partition(&partition.name)).map(|m| m.id));
            known.partitions.insert(partition.name.clone(), ids);
        }
        let mut starts = board
            .partitions
            .iter()
            .zip(&partitions)
            .filter_map(|(p, found)| p.start.map(|start| start.0 == found.start));
        let (first, rest) = (starts.next(), starts.collect::<Vec<_>>());
        let in_place = first.is_none_or(|first| first || rest.contains(&true));
        Ok(SurveyedMedium { partitions, unfinished, in_place, table: self.kind(), known })
    }

    /// The medium.
    pub fn target(&self) -> &Arc<dyn Target> {
        &self.target
    }

    fn kind(&self) -> TableKind {
        match self.table.as_ref().map(|table| &table.scheme) {
            Some(Scheme::Mbr { .. }) => TableKind::Mbr,
            Some(Scheme::Gpt { .. }) => TableKind::Gpt,
            None => TableKind::None,
        }
    }

    fn known(&self) -> KnownIds {
        match self.table.as_ref().map(|table| &table.scheme) {
            Some(Scheme::Mbr { disk_signature }) => {
                KnownIds { disk_signature: Some(*disk_signature), ..KnownIds::default() }
            }
            Some(Scheme::Gpt { disk_guid, .. }) => {
                KnownIds { disk_guid: Some(*disk_guid), ..KnownIds::default() }
            }
            None => KnownIds::default(),
        }
    }

    /// A medium with another kind of table is still one of the board: its layout decides.
    fn ensure_table(&self, board: &Board) -> Result<(), InstallError> {
        let (target, board_name) = (self.target.name().to_owned(), board.name.clone());
        match (&self.table, board.table) {
            (None, TableKind::Mbr | TableKind::Gpt) => {
                let unfinished = marker::read(&*self.target).is_ok_and(|run| run.is_some());
                let holds = match unfinished {
                    true => "what an unfinished `flash` left".into(),
                    false => self.partitions[0].holds.to_string(),
                };
                Err(InstallError::NoTable { target, board: board_name, table: board.table, holds })
            }
            (Some(_), TableKind::None) => Err(InstallError::WholeDisk { target, board: board_name }),
            _ => Ok(()),
        }
    }

    fn matching(
        &self,
        board: &Board,
        partition: &Partition,
        marker: Option<&Marker>,
    ) -> Result<Found, InstallError> {
        if let Some(marked) = marker.and_then(|marker| marker.partition(&partition.name)) {
            let of_number = self.partitions.iter().find(|found| found.number == marked.number);
            return of_number.cloned().ok_or_else(|| self.no_match(board, partition));
        }
        let alone = board.table == TableKind::None;
        let by_number = self
            .partitions
            .iter()
            .find(|found| (alone || found.number == partition.number) && found.fits(partition));
        let mut by_label = self.partitions.iter().filter(|found| found.is_labelled(partition));
        let found = match (by_number, by_label.next(), by_label.next()) {
            (Some(found), ..) | (None, Some(found), None) => Some(found),
            _ => None,
        };
        found.cloned().ok_or_else(|| self.no_match(board, partition))
    }

    fn no_match(&self, board: &Board, partition: &Partition) -> InstallError {
        InstallError::NoMatch {
            target: self.target.name().into(),
            board: board.name.clone(),
            partition: partition.name.clone(),
            number: partition.number,
            expected: expected(&partition.filesystem),
            found: self.partitions.iter().map(Found::to_string).collect(),
        }
    }

    /// Two partitions of the board cannot be one of the medium.
    fn reject_twice(&self, board: &Board, partitions: &[Found]) -> Result<(), InstallError> {
        for (index, found) in partitions.iter().enumerate() {
            if partitions[..index].iter().any(|other| other.start == found.start) {
                return Err(self.no_match(board, &board.partitions[index]));
            }
        }
        Ok(())
    }
}

impl SurveyedMedium {
    /// The board as it is on this medium: its places, numbers and labels.
    pub fn fit(&self, mut board: Board) -> Board {
        board.table = self.table;
        for (partition, found) in board.partitions.iter_mut().zip(&self.partitions) {
            partition.number = found.number.max(1);
            (partition.start, partition.size) =
                (Some(ByteSize(found.start)), Size::Exact(ByteSize(found.len)));
            let marked = self.unfinished.as_ref().and_then(|marker| marker.partition(&partition.name));
            let label = marked.map(|marked| marked.label.clone()).or(found.holds.label().map(str::to_owned));
            if let (
                Filesystem::Fat16 { label: own }
                | Filesystem::Fat32 { label: own }
                | Filesystem::Ext4 { label: own },
                Some(label),
            ) = (&mut partition.filesystem, label)
            {
                *own = label;
            }
        }
        board
    }

    /// Places of the partitions, for the plan.
    pub fn extents(&self, board: &Board) -> Vec<Extent> {
        let extent = |(partition, found): (&Partition, &Found)| Extent {
            name: partition.name.clone(),
            start: found.start,
            len: found.len,
        };
        board.partitions.iter().zip(&self.partitions).map(extent).collect()
    }

    /// Returns whether the partition of this name was about to be rewritten when a run was cut off.
    pub fn is_unfinished(&self, name: &str) -> bool {
        self.unfinished.as_ref().is_some_and(|marker| marker.partition(name).is_some())
    }
}

impl Found {
    /// Returns whether it is what the board has under this number: the kind of filesystem, and its label, GPT name or place.
    fn fits(&self, partition: &Partition) -> bool {
        match &partition.filesystem {
            Filesystem::Fat16 { .. } | Filesystem::Fat32 { .. } | Filesystem::Ext4 { .. } => {
                self.is_labelled(partition)
            }
            _ => self.name == partition.name || partition.start.is_none_or(|start| start.0 == self.start),
        }
    }

    /// SkiffOS' scripts and this program write the same labels, but for their case.
    fn is_labelled(&self, partition: &Partition) -> bool {
        let wanted = partition.filesystem.label();
        let of_kind = matches!(
            (&partition.filesystem, &self.holds),
            (Filesystem::Fat16 { .. } | Filesystem::Fat32 { .. }, Holds::Fat { .. })
                | (Filesystem::Ext4 { .. }, Holds::Ext4 { .. })
        );
        of_kind && wanted.zip(self.holds.label()).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    fn ids(&self, marked: Option<FilesystemId>) -> KnownPartition {
        let (mut fat_serial, mut ext4_uuid) = match self.holds {
            Holds::Fat { serial, .. } => (Some(serial), None),
            Holds::Ext4 { uuid, .. } => (None, Some(uuid)),
            _ => (None, None),
        };
        match marked {
            Some(FilesystemId::Fat(serial)) => fat_serial = Some(serial),
            Some(FilesystemId::Ext4(uuid)) => ext4_uuid = Some(uuid),
            Some(FilesystemId::None) | None => {}
        }
        KnownPartition { guid: self.guid, fat_serial, ext4_uuid }
    }
}

impl Holds {
    /// The label, if it has one.
    pub fn label(&self) -> Option<&str> {
        match self {
            Holds::Fat { label, .. } | Holds::Ext4 { label, .. } => Some(label),
            _ => None,
        }
    }
}

fn found(target: &Arc<dyn Target>, entry: &table::Partition) -> Result<Found, TargetError> {
    let (guid, name) = match &entry.kind {
        PartitionKind::Gpt { guid, name, .. } => (Some(*guid), name.clone()),
        PartitionKind::Mbr { .. } => (None, String::new()),
    };
    let holds = holds(target, entry.start, entry.len)?;
    Ok(Found { number: entry.number, name, start: entry.start, len: entry.len, guid, holds })
}

/// Reads the first blocks of a range.
fn holds(target: &Arc<dyn Target>, start: u64, len: u64) -> Result<Holds, TargetError> {
    if start.saturating_add(len) > target.geometry().len || len < 4096 {
        return Ok(Holds::Unknown);
    }
    let mut head = [0; 4096];
    target.read_at(&mut head, start)?;
    if let Some(marker) = Marker::parse(&head) {
        return Ok(Holds::Unfinished(marker));
    }
    Ok(match superblock(|| Cursor::new(Arc::clone(target), start, len))? {
        Some(Superblock::Squashfs(_)) => Holds::Squashfs,
        Some(Superblock::Ext4(summary)) => Holds::Ext4 { label: summary.label, uuid: summary.uuid },
        Some(Superblock::Fat(summary)) => Holds::Fat { label: summary.label, serial: summary.volume_id },
        None => Holds::Unknown,
    })
}

/// Describes what a board has in a partition.
fn expected(filesystem: &Filesystem) -> String {
    match filesystem {
        Filesystem::Fat16 { label } | Filesystem::Fat32 { label } => format!("FAT labelled `{label}`"),
        Filesystem::Ext4 { label } => format!("ext4 labelled `{label}`"),
        Filesystem::Squashfs { .. } => "squashfs".into(),
        _ => "of that name or in its place".into(),
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {}, {} from byte {}", self.number, self.holds, ByteSize(self.len), self.start)
    }
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holds::Fat { label, .. } => write!(f, "FAT labelled `{label}`"),
            Holds::Ext4 { label, .. } => write!(f, "ext4 labelled `{label}`"),
            Holds::Squashfs => f.write_str("squashfs"),
            Holds::Unfinished(_) => f.write_str("an unfinished update"),
            Holds::Unknown => f.write_str("nothing known"),
        }
    }
}

impl Serialize for Holds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
