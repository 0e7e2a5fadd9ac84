//! Ids of a disk, its partitions and their filesystems: they follow from the seed, or are those that a medium has
//! already, which an update keeps.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::board::TableKind;
use crate::value::Seed;

/// Ids of the disk and its partitions.
#[derive(Clone, Debug)]
pub struct Ids<'a> {
    seed: &'a Seed,
    disk_signature: u32,
    known: Option<&'a KnownIds>,
}

impl<'a> Ids<'a> {
    /// Ids that follow from `seed`.
    pub fn new(seed: &'a Seed) -> Ids<'a> {
        Ids { seed, disk_signature: seed.id32("disk signature"), known: None }
    }

    /// The same ids, but for those that a medium has already.
    pub fn keeping(self, known: &'a KnownIds) -> Ids<'a> {
        let disk_signature = known.disk_signature.unwrap_or(self.disk_signature);
        Ids { known: Some(known), disk_signature, ..self }
    }

    /// The same ids, but for a signature that raw blobs had a say in.
    pub fn with_disk_signature(self, disk_signature: u32) -> Ids<'a> {
        Ids { disk_signature, ..self }
    }

    /// Signature in bytes 440 to 443 of an MBR.
    pub fn disk_signature(&self) -> u32 {
        self.disk_signature
    }

    /// Disk GUID of a GPT.
    pub fn disk_guid(&self) -> Uuid {
        self.known.and_then(|known| known.disk_guid).unwrap_or_else(|| self.seed.uuid("disk"))
    }

    /// Unique GUID of a GPT entry.
    pub fn partition_guid(&self, name: &str) -> Uuid {
        let known = self.known.and_then(|known| known.partition(name, |partition| partition.guid));
        known.unwrap_or_else(|| self.seed.uuid(&format!("partition {name}")))
    }

    /// Volume serial of a FAT.
    pub fn fat_serial(&self, name: &str) -> u32 {
        let known = self.known.and_then(|known| known.partition(name, |partition| partition.fat_serial));
        known.unwrap_or_else(|| self.seed.id32(&format!("fat {name}")))
    }

    /// Volume serial of a FAT as programs print it.
    pub fn fat_serial_text(&self, name: &str) -> String {
        let serial = self.fat_serial(name);
        format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)
    }

    /// UUID of an ext4.
    pub fn ext4_uuid(&self, name: &str) -> Uuid {
        let known = self.known.and_then(|known| known.partition(name, |partition| partition.ext4_uuid));
        known.unwrap_or_else(|| self.seed.uuid(&format!("ext4 {name}")))
    }

    /// Directory hash seed of an ext4.
    pub fn ext4_hash_seed(&self, name: &str) -> Uuid {
        self.seed.uuid(&format!("ext4 hash seed {name}"))
    }

    /// Value of `root=PARTUUID=` for a partition: the GPT GUID, or the MBR signature and number. Without a table
    /// it is the id that the partition has already.
    pub fn partuuid(&self, table: TableKind, number: u32, name: &str) -> Option<String> {
        match table {
            TableKind::Mbr => Some(format!("{:08x}-{number:02x}", self.disk_signature())),
            TableKind::Gpt => Some(self.partition_guid(name).to_string()),
            TableKind::None => None,
        }
    }
}

/// Identity of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesystemId {
    /// Volume serial of a FAT.
    Fat(u32),
    /// UUID of an ext4.
    Ext4(Uuid),
    /// It has none.
    None,
}

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
    /// Id of the partition `name` that `pick` takes, if the medium has one.
    fn partition<T>(&self, name: &str, pick: impl Fn(&KnownPartition) -> Option<T>) -> Option<T> {
        self.partitions.get(name).and_then(pick)
    }
}
