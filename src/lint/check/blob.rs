//! Checks of raw blobs: where they start, what they write, what they leave alone.

use std::ops::Range;

use super::super::medium::{PlannedBlob, PlannedMedium};
use crate::board::BlobSelector;
use crate::value::ByteSize;

pub fn ends_by(medium: &PlannedMedium<'_>, blob: &BlobSelector, byte: ByteSize) -> Vec<String> {
    let late = blob.select(medium).filter(|written| written.end() > byte.0);
    let told = |written: &PlannedBlob<'_>| {
        let name = &written.blob.name;
        match written.bounded {
            true => format!("blob `{name}` ends at {} but must end by {byte}", ByteSize(written.end())),
            false => format!("blob `{name}` has neither `length` nor `limit` but must end by {byte}"),
        }
    };
    late.map(told).collect()
}

pub fn aligned(medium: &PlannedMedium<'_>, to: ByteSize) -> Vec<String> {
    let starts = medium.blobs.iter().map(|written| (&written.blob.name, written.blob.offset));
    let wrong = starts.filter(|(_, start)| !start.0.is_multiple_of(to.0));
    wrong
        .map(|(name, start)| {
            format!("blob `{name}` starts at byte {}, which is not a multiple of {}", start.0, to.0)
        })
        .collect()
}

pub fn apart(medium: &PlannedMedium<'_>) -> Vec<String> {
    let mut others: Vec<(Range<u64>, String)> = Vec::new();
    for written in &medium.blobs {
        let name = format!("blob `{}`", written.blob.name);
        others.extend(written.pieces.iter().map(|piece| (piece.clone(), name.clone())));
    }
    for volume in &medium.volumes {
        others.push((volume.range.clone(), format!("partition `{}`", volume.partition.name)));
    }
    let mut found = Vec::new();
    for written in &medium.blobs {
        let own = format!("blob `{}`", written.blob.name);
        let later =
            others.iter().filter(|(range, name)| *name != own && range.start >= written.blob.offset.0);
        for (range, name) in later {
            if let Some(byte) = written.surely_in(range) {
                let (end, start) = (ByteSize(written.end()), ByteSize(byte));
                found.push(format!("{own} reaches to {end} but {name} has the bytes from {start} on"));
            }
        }
    }
    found
}

pub fn keep(medium: &PlannedMedium<'_>, kept: Range<u64>) -> Vec<String> {
    let told = |written: &PlannedBlob<'_>| {
        let byte = written.first_in(&kept)?;
        let (name, last) = (&written.blob.name, kept.end - 1);
        Some(format!("blob `{name}` writes byte {byte} but bytes {} to {last} must stay", kept.start))
    };
    medium.blobs.iter().filter_map(told).collect()
}

pub fn write(medium: &PlannedMedium<'_>, at: ByteSize) -> Vec<String> {
    let byte = at.0..at.0.saturating_add(1);
    if medium.blobs.iter().any(|written| written.first_in(&byte).is_some()) {
        return Vec::new();
    }
    vec![format!("none of the {} blobs writes byte {}", medium.blobs.len(), at.0)]
}
