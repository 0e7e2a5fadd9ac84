//! New groups and the places of their metadata.

use std::ops::Range;

use super::volume::{Checksums, Volume};

/// Blocks that must be left in a last group, else it is not made, as in `resize2fs`.
const MIN_LAST_GROUP: u64 = 50;

/// Obstacle to filling the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// No more blocks are reserved for group descriptors.
    Descriptors,
    /// Inode numbers have 32 bits.
    Inodes,
    /// Block numbers have 32 bits without `64bit`.
    Addresses,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Limit::Descriptors => "it has no more room for group descriptors",
            Limit::Inodes => "it can have no more inodes",
            Limit::Addresses => "it has block numbers of 32 bits",
        })
    }
}

/// Positions of a new group's metadata, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupPlacement {
    pub block_bitmap: u64,
    pub inode_bitmap: u64,
    pub inode_table: u64,
}

/// Size and groups that a filesystem grows to.
#[derive(Debug)]
pub(super) struct Growing {
    /// Blocks afterwards.
    pub blocks: u64,
    /// Groups before and after.
    pub groups: Range<u64>,
    /// By group, from the first new one.
    pub places: Vec<GroupPlacement>,
    /// Blocks of new groups that metadata takes, ascending.
    pub used: Vec<Range<u64>>,
    pub limit: Option<Limit>,
}

impl Growing {
    /// At most `wanted` blocks; none if that is not more than there are.
    pub(super) fn new(volume: &Volume, wanted: u64) -> Option<Growing> {
        let (mut blocks, limit) = limited(volume, wanted);
        loop {
            if blocks <= volume.blocks() {
                return None;
            }
            let groups = volume.groups()..volume.groups_of(blocks);
            let (places, used) = place(volume, &groups);
            let fits = used.last().is_none_or(|last| last.end <= blocks);
            if fits && last_is_useful(volume, &groups, blocks) {
                return Some(Growing { blocks, groups, places, used, limit });
            }
            blocks = volume.group_range(groups.end - 1, blocks).start;
        }
    }

    /// Blocks that superblock copies, descriptors, bitmaps and inode tables take of new groups.
    pub(super) fn overhead(&self) -> u64 {
        self.used.iter().map(|run| run.end - run.start).sum()
    }

    /// The runs of [`Growing::used`] that touch `blocks`.
    pub(super) fn used_in(&self, blocks: &Range<u64>) -> &[Range<u64>] {
        let start = self.used.partition_point(|run| run.end <= blocks.start);
        let end = self.used.partition_point(|run| run.start < blocks.end);
        &self.used[start..end.max(start)]
    }

    /// Returns whether the bitmap of a new group may be left unwritten: nothing is used in it. Not the last group,
    /// whose bitmap has padding.
    pub(super) fn is_uninitialized(&self, volume: &Volume, group: u64) -> bool {
        let unused = self.used_in(&volume.group_range(group, self.blocks)).is_empty();
        volume.checksums != Checksums::None && unused && group + 1 != self.groups.end
    }
}

/// As many blocks as there can be, and what there cannot be more of.
fn limited(volume: &Volume, wanted: u64) -> (u64, Option<Limit>) {
    let in_groups = |groups: u64| volume.first + groups * volume.blocks_per_group;
    let desc_blocks = volume.desc_blocks(volume.groups()) + volume.reserved_gdt();
    let inodes = u64::from(u32::MAX) / volume.inodes_per_group;
    let addresses = if volume.is_64bit() { 1 << 48 } else { u32::MAX.into() };
    [
        (in_groups(desc_blocks * volume.descs_per_block()), Limit::Descriptors),
        (in_groups(inodes), Limit::Inodes),
        (addresses, Limit::Addresses),
    ]
    .into_iter()
    .fold((wanted, None), |(blocks, limit), (most, reason)| match most < blocks {
        true => (most, Some(reason)),
        false => (blocks, limit),
    })
}

/// Returns whether the last group, if it is a new one, has room for more than its own metadata.
fn last_is_useful(volume: &Volume, groups: &Range<u64>, blocks: u64) -> bool {
    let last = groups.end - 1;
    let range = volume.group_range(last, blocks);
    let need = super_blocks(volume, last) + 2 + volume.inode_table_blocks() + MIN_LAST_GROUP;
    last < groups.start
        || range.end - range.start == volume.blocks_per_group
        || range.end - range.start >= need
}

/// Blocks of superblock, descriptors and what is reserved for them at the start of `group`; growing does not change
/// their sum.
fn super_blocks(volume: &Volume, group: u64) -> u64 {
    match volume.supers(group..group + 1).count() {
        0 => 0,
        _ => 1 + volume.desc_blocks(volume.groups()) + volume.reserved_gdt(),
    }
}

/// Places the metadata of new groups as `mke2fs` does: that of each run of groups together at the start of the run, and
/// past superblock copies.
fn place(volume: &Volume, groups: &Range<u64>) -> (Vec<GroupPlacement>, Vec<Range<u64>>) {
    let start_of = |group| volume.group_range(group, u64::MAX).start;
    let supers: Vec<Range<u64>> = volume
        .supers(groups.clone())
        .map(|group| start_of(group)..start_of(group) + super_blocks(volume, group))
        .collect();
    let (mut places, mut used) = (Vec::new(), supers.clone());
    let flex = volume.flex_groups();
    let mut first = groups.start;
    while first < groups.end {
        let end = ((first / flex + 1) * flex).min(groups.end);
        let mut cursor = start_of(first);
        let mut take = |len| {
            let start = supers
                .iter()
                .fold(cursor, |at, run| if at < run.end && at + len > run.start { run.end } else { at });
            cursor = start + len;
            used.push(start..cursor);
            start
        };
        let block_bitmaps: Vec<u64> = (first..end).map(|_| take(1)).collect();
        let inode_bitmaps: Vec<u64> = (first..end).map(|_| take(1)).collect();
        for (block_bitmap, inode_bitmap) in block_bitmaps.into_iter().zip(inode_bitmaps) {
            let inode_table = take(volume.inode_table_blocks());
            places.push(GroupPlacement { block_bitmap, inode_bitmap, inode_table });
        }
        first = end;
    }
    used.sort_by_key(|run| run.start);
    (places, used)
}
