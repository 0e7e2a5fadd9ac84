//! Checks of what is inside the filesystems.

use super::super::ext4::Ext4;
use super::super::medium::{PlannedMedium, empty_tree, fat_options};
use crate::fs::fat::{self, FatError};
use crate::value::ByteSize;

pub fn fat_clusters(medium: &PlannedMedium<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for volume in &medium.volumes {
        let Some(options) = fat_options(medium.board, volume.partition) else { continue };
        let len = volume.range.end - volume.range.start;
        let wrong = match fat::layout(&empty_tree(), &options, len) {
            Err(FatError::TooFewClusters { fat_type, clusters, minimum, .. }) => {
                format!("has {clusters} clusters but {fat_type} needs {minimum}")
            }
            Err(FatError::TooManyClusters { fat_type, clusters, maximum, .. }) => {
                format!("has {clusters} clusters but {fat_type} has at most {maximum}")
            }
            _ => continue,
        };
        found.push(format!("partition `{}` of {} {wrong}", volume.partition.name, ByteSize(len)));
    }
    found
}

pub fn ext4_blocks(medium: &PlannedMedium<'_>, wanted: u32) -> Vec<String> {
    let formatted = medium.volumes.iter().filter_map(|volume| Some((volume, volume.ext4.as_ref()?)));
    let wrong = formatted.filter(|(_, ext4)| ext4.block_size != u64::from(wanted));
    let told = |(volume, ext4): (&super::PlannedVolume<'_>, &Ext4)| {
        let (name, found) = (&volume.partition.name, ext4.block_size);
        format!("the ext4 of partition `{name}` has blocks of {found} bytes but must have {wanted}")
    };
    wrong.map(told).collect()
}

pub fn ext4_features(medium: &PlannedMedium<'_>, unknown: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for volume in &medium.volumes {
        let features = volume.ext4.iter().flat_map(|ext4| &ext4.features);
        let wrong: Vec<String> =
            features.filter(|name| unknown.contains(name)).map(|name| format!("`{name}`")).collect();
        if !wrong.is_empty() {
            let name = &volume.partition.name;
            found.push(format!("the ext4 of partition `{name}` has {}", wrong.join(", ")));
        }
    }
    found
}
