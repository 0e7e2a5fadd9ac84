//! Entries in the table of a disk for partitions that are there already.

use uuid::{Uuid, uuid};

use super::Reason;
use crate::storage::{Target, TargetError};
use crate::table::{self, PartitionKind, Scheme};

/// GPT type of an EFI system partition (UEFI 2.10, section 5.3.3).
const ESP_GUID: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// MBR type of one (UEFI 2.10, section 5.2.2).
const ESP_CODE: u8 = 0xef;

/// An entry of a partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Value for `root=PARTUUID=`: the GUID of the entry, or signature and number of an MBR.
    pub partuuid: String,
    /// True if firmware boots from it.
    pub is_esp: bool,
}

/// The entry with this number in the table of `disk`, if there is one.
pub fn existing(disk: &dyn Target, number: u32) -> Result<Option<Existing>, TargetError> {
    let Some(table) = table::read(disk)? else { return Ok(None) };
    let partition = table.partitions.iter().find(|partition| partition.number == number);
    Ok(partition.map(|partition| match (&partition.kind, &table.scheme) {
        (PartitionKind::Gpt { type_guid, guid, .. }, _) => {
            Existing { partuuid: guid.to_string(), is_esp: *type_guid == ESP_GUID }
        }
        (PartitionKind::Mbr { code, .. }, Scheme::Mbr { disk_signature }) => {
            let partuuid = format!("{disk_signature:08x}-{number:02x}");
            Existing { partuuid, is_esp: *code == ESP_CODE }
        }
        (PartitionKind::Mbr { code, .. }, Scheme::Gpt { .. }) => {
            Existing { partuuid: String::new(), is_esp: *code == ESP_CODE }
        }
    }))
}

/// Returns what speaks against writing an image that is made for the partition `wanted` into a partition: that it is
/// another, or that firmware boots from it. `kernel` is the id that the kernel shows, which not every kernel does.
pub fn reject(kernel: Option<&str>, existing: Option<&Existing>, wanted: Option<&str>) -> Option<Reason> {
    if existing.is_some_and(|existing| existing.is_esp) {
        return Some(Reason::Esp);
    }
    let wanted = wanted?;
    match kernel.or(existing.map(|existing| existing.partuuid.as_str())) {
        Some(found) if found.eq_ignore_ascii_case(wanted) => None,
        found => Some(Reason::OtherPartuuid { wanted: wanted.into(), found: found.map(str::to_owned) }),
    }
}
