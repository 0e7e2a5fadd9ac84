//! Ids that a medium has already, which an update keeps.

use std::collections::BTreeMap;

use uuid::Uuid;

/// Ids of a disk and its partitions; what is not there follows from the seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownIds {
    /// Signature of an MBR.
    pub disk_signature: Option<u32>,
    /// Disk GUID of a GPT.
    pub disk_guid: Option<Uuid>,
    /// By the board's name of the partition.
    pub partitions: BTreeMap<String, KnownPartition>,
}

/// Ids of a partition and of its filesystem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownPartition {
    /// Unique GUID of a GPT entry.
    pub guid: Option<Uuid>,
    /// Volume serial of a FAT.
    pub fat_serial: Option<u32>,
    /// UUID of an ext4.
    pub ext4_uuid: Option<Uuid>,
}

impl KnownIds {
    /// What `pick` knows of the partition `name`.
    pub(super) fn of<T>(&self, name: &str, pick: impl Fn(&KnownPartition) -> Option<T>) -> Option<T> {
        self.partitions.get(name).and_then(pick)
    }
}
