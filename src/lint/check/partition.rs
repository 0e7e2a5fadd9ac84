//! Checks of partitions: whether they are there, their number, type and format.

use uuid::Uuid;

use super::super::medium::{PlannedMedium, PlannedVolume};
use super::quoted;
use crate::board::{FilesystemKind, PartitionSelector, TableKind};

pub fn exists(medium: &PlannedMedium<'_>, wanted: &PartitionSelector) -> Vec<String> {
    if !wanted.select(medium).is_empty() {
        return Vec::new();
    }
    vec![format!("none of the {} partitions is one {}", medium.volumes.len(), wanted.describe())]
}

pub fn format(
    medium: &PlannedMedium<'_>,
    wanted: &PartitionSelector,
    allowed: &[FilesystemKind],
) -> Vec<String> {
    let found = wanted.select(medium).into_iter().map(|volume| volume.partition);
    let wrong = found.filter(|partition| !allowed.contains(&partition.filesystem.kind()));
    wrong
        .map(|partition| {
            let (name, found) = (&partition.name, partition.filesystem.kind());
            format!("partition `{name}` is formatted with `{found}` but must be with {}", quoted(allowed))
        })
        .collect()
}

pub fn number(medium: &PlannedMedium<'_>, wanted: &PartitionSelector, number: u32) -> Vec<String> {
    let found = wanted.select(medium).into_iter().map(|volume| volume.partition);
    let wrong = found.filter(|partition| partition.number != number);
    wrong
        .map(|partition| {
            format!("partition `{}` has number {} but must have {number}", partition.name, partition.number)
        })
        .collect()
}

pub fn guid(medium: &PlannedMedium<'_>, wanted: &PartitionSelector, guid: Uuid) -> Vec<String> {
    let found = wanted.select(medium).into_iter().map(|volume| volume.partition);
    let wrong = found.filter(|partition| partition.type_guid != guid);
    wrong
        .map(|partition| {
            format!("partition `{}` has type {} but must have {guid}", partition.name, partition.type_guid)
        })
        .collect()
}

pub fn mbr_lists_fat(medium: &PlannedMedium<'_>, types: &[u8]) -> Vec<String> {
    let wanted = types.iter().map(|code| format!("{code:#04x}")).collect::<Vec<_>>().join(", ");
    let Some(fat) = (PartitionSelector::FirstFat {}).select(medium).first().map(|volume| volume.partition)
    else {
        return vec![format!("there is no FAT but the MBR must list one with a type of {wanted}")];
    };
    let hybrid = medium.board.hybrid_mbr.contains(&fat.number);
    if medium.board.table == TableKind::Gpt && !hybrid {
        let name = &fat.name;
        return vec![format!(
            "the MBR of the GPT does not list the FAT `{name}` but must, as one of {wanted}"
        )];
    }
    if types.contains(&fat.mbr_type) {
        return Vec::new();
    }
    vec![format!(
        "the FAT `{}` has type {:#04x} in the MBR but must have one of {wanted}",
        fat.name, fat.mbr_type
    )]
}

pub fn numbered_last(medium: &PlannedMedium<'_>, wanted: &PartitionSelector) -> Vec<String> {
    let highest = medium.volumes.iter().map(|volume| volume.partition.number).max().unwrap_or_default();
    let found = wanted.select(medium).into_iter().map(|volume| volume.partition);
    let lower = found.filter(|partition| partition.number != highest);
    lower
        .map(|partition| {
            let (name, number) = (&partition.name, partition.number);
            format!("partition `{name}` has number {number} and the highest is {highest}")
        })
        .collect()
}

pub fn growable(medium: &PlannedMedium<'_>, wanted: &PartitionSelector, mbr: u8, gpt: Uuid) -> Vec<String> {
    let found = wanted.select(medium);
    found.into_iter().flat_map(|volume| not_growable(medium, volume, mbr, gpt)).collect()
}

fn not_growable(medium: &PlannedMedium<'_>, volume: &PlannedVolume<'_>, mbr: u8, gpt: Uuid) -> Vec<String> {
    let partition = volume.partition;
    let name = &partition.name;
    let mut found = Vec::new();
    let later = medium.volumes.iter().find(|other| other.range.start > volume.range.start);
    if let Some(later) = later.map(|volume| volume.partition) {
        found.push(format!("partition `{name}` must be the last but `{}` is behind it", later.name));
    }
    match medium.board.table {
        TableKind::Gpt if partition.type_guid != gpt => {
            found.push(format!("partition `{name}` has type {} but must have {gpt}", partition.type_guid));
        }
        TableKind::Mbr if partition.mbr_type != mbr => {
            let code = partition.mbr_type;
            found.push(format!("partition `{name}` has type {code:#04x} but must have {mbr:#04x}"));
        }
        _ => {}
    }
    found
}
