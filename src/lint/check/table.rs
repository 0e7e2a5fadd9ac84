//! Checks of the medium as a whole: table, sectors, length, and what is written at run time.

use std::ops::Range;

use super::super::medium::{PlannedBlob, PlannedMedium};
use crate::board::TableKind;
use crate::value::ByteSize;

pub fn gpt_clear_of_blobs(medium: &PlannedMedium<'_>) -> Vec<String> {
    if medium.board.table != TableKind::Gpt {
        return Vec::new();
    }
    let table = medium.front_table();
    let told = |written: &PlannedBlob<'_>| {
        let byte = written.first_in(&table)?;
        let (name, entries, end) = (&written.blob.name, medium.board.gpt_entries, ByteSize(table.end));
        Some(format!(
            "blob `{name}` has the bytes from {} on but a GPT with {entries} entries ends at {end}",
            ByteSize(byte)
        ))
    };
    medium.blobs.iter().filter_map(told).collect()
}

pub fn kind(medium: &PlannedMedium<'_>, allowed: &[TableKind]) -> Vec<String> {
    let name = |kind: &TableKind| match kind {
        TableKind::Mbr => "an MBR",
        TableKind::Gpt => "a GPT",
        TableKind::None => "none",
    };
    let table = medium.board.table;
    if allowed.contains(&table) {
        return Vec::new();
    }
    let wanted = allowed.iter().map(name).collect::<Vec<_>>().join(" or ");
    vec![format!("the table is {} but must be {wanted}", name(&table))]
}

pub fn sector_size(medium: &PlannedMedium<'_>, allowed: &[u32]) -> Vec<String> {
    let found = medium.board.sector_size;
    if allowed.contains(&found) {
        return Vec::new();
    }
    let wanted = allowed.iter().map(u32::to_string).collect::<Vec<_>>().join(" or ");
    vec![format!("the medium has sectors of {found} bytes but must have {wanted}")]
}

pub fn environment_apart(medium: &PlannedMedium<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for environment in &medium.board.environments {
        let (name, start) = (&environment.name, environment.offset);
        let range = start.0..start.0.saturating_add(environment.size.0);
        let place = format!("`{name}` is saved at {start} ({})", environment.size);
        if range.end > medium.len {
            found.push(format!("{place} but the medium ends at {}", ByteSize(medium.len)));
        }
        found.extend(owners(medium, &range).into_iter().map(|owner| format!("{place}, inside {owner}")));
    }
    found
}

/// Owners of the bytes.
fn owners(medium: &PlannedMedium<'_>, range: &Range<u64>) -> Vec<String> {
    let meets = |other: &Range<u64>| other.start < range.end && range.start < other.end;
    let extent = |other: &Range<u64>| format!("{} to {}", ByteSize(other.start), ByteSize(other.end));
    let table = medium.front_table();
    let mut owners = Vec::new();
    if meets(&table) {
        owners.push(format!("the partition table ({})", extent(&table)));
    }
    for written in medium.blobs.iter().filter(|written| written.surely_in(range).is_some()) {
        let own = written.blob.offset.0..written.end();
        owners.push(format!("blob `{}` ({})", written.blob.name, extent(&own)));
    }
    for volume in medium.volumes.iter().filter(|volume| meets(&volume.range)) {
        owners.push(format!("partition `{}` ({})", volume.partition.name, extent(&volume.range)));
    }
    owners
}

pub fn minimum_medium(medium: &PlannedMedium<'_>) -> Vec<String> {
    let (smallest, least) = (medium.board.minimum_medium, medium.least.map(ByteSize));
    match least {
        Some(least) if smallest.0 > 0 && smallest < least => {
            vec![format!("`minimum-medium` is {} but the layout needs {least}", smallest.as_sold())]
        }
        _ => Vec::new(),
    }
}
