//! Places of the fixed metadata: superblocks, descriptors, bitmaps and inode tables of every group.

use std::ops::Range;

use super::raw::{BLOCK, BLOCKS_PER_GROUP, DESCS_PER_BLOCK, FLEX_GROUPS, INODES_PER_BLOCK};
use super::{Ext4Error, Options};

/// Fewest blocks of a filesystem (256 KiB); smaller ones hold little else than metadata.
pub(super) const MIN_BLOCKS: u64 = 64;
/// Most inodes of a group: one bitmap block.
const MAX_INODES_PER_GROUP: u64 = 8 * BLOCK;
/// A last group with fewer free blocks than this is left out, as in mke2fs.
const MIN_LAST_GROUP: u64 = 50;
/// Descriptor blocks that the resize inode can address.
const MAX_DESC_BLOCKS: u64 = BLOCK / 4;

/// Positions of one group's metadata, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub block_bitmap: u64,
    pub inode_bitmap: u64,
    pub inode_table: u64,
}

/// The metadata every filesystem of this size has.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    /// Blocks of the filesystem; a last group that is too small to be useful is left out.
    pub blocks: u64,
    pub inodes_per_group: u32,
    /// Blocks of the descriptor table.
    pub desc_blocks: u64,
    /// Blocks after it into which it can grow while mounted.
    pub reserved_gdt: u64,
    pub groups: Vec<Group>,
    /// Ranges left for the tree, ascending.
    pub free: Vec<Range<u64>>,
    /// Number of blocks a region needs for the group that was left out.
    pub next_group_at: Option<u64>,
}

impl Geometry {
    /// The geometry of a region of `region_blocks` that has at least `inodes` inodes.
    pub(super) fn new(options: &Options, region_blocks: u64, inodes: u64) -> Result<Geometry, Ext4Error> {
        let mut geometry = Geometry::sized(options, region_blocks, inodes)?;
        let last_group_blocks = region_blocks % BLOCKS_PER_GROUP;
        let last_group = geometry.groups_count() - 1;
        let least = geometry.super_blocks(last_group) + 2 + geometry.inode_table_blocks() + MIN_LAST_GROUP;
        if last_group > 0 && last_group_blocks > 0 && last_group_blocks < least {
            let whole = region_blocks - last_group_blocks;
            geometry = Geometry::sized(options, whole, inodes)?;
            geometry.next_group_at = Some(whole + least);
        }
        geometry.place();
        Ok(geometry)
    }

    /// Counts without positions.
    fn sized(options: &Options, blocks: u64, inodes: u64) -> Result<Geometry, Ext4Error> {
        let groups = blocks.div_ceil(BLOCKS_PER_GROUP);
        let desc_blocks = groups.div_ceil(DESCS_PER_BLOCK);
        let inodes_per_group = inodes_per_group(options, blocks, groups, inodes)?;
        Ok(Geometry {
            blocks,
            inodes_per_group,
            desc_blocks,
            reserved_gdt: reserved_gdt(options, desc_blocks),
            groups: Vec::new(),
            free: Vec::new(),
            next_group_at: None,
        })
    }

    /// Number of groups.
    pub(super) fn groups_count(&self) -> u32 {
        self.blocks.div_ceil(BLOCKS_PER_GROUP) as u32
    }

    /// Blocks of `group`.
    pub(super) fn group_range(&self, group: u32) -> Range<u64> {
        let start = u64::from(group) * BLOCKS_PER_GROUP;
        start..(start + BLOCKS_PER_GROUP).min(self.blocks)
    }

    /// Blocks of one group's inode table.
    pub(super) fn inode_table_blocks(&self) -> u64 {
        u64::from(self.inodes_per_group / INODES_PER_BLOCK)
    }

    /// Blocks that superblock, descriptors and reserved descriptors take at the start of `group`.
    pub(super) fn super_blocks(&self, group: u32) -> u64 {
        if has_super(group) { 1 + self.desc_blocks + self.reserved_gdt } else { 0 }
    }

    /// Groups besides the first that have copies of superblock and descriptors.
    pub(super) fn super_copies(&self) -> impl Iterator<Item = u32> {
        (1..self.groups_count()).filter(|group| has_super(*group))
    }

    /// Blocks of all fixed metadata.
    pub(super) fn overhead(&self) -> u64 {
        let supers: u64 = (0..self.groups_count()).map(|group| self.super_blocks(group)).sum();
        supers + u64::from(self.groups_count()) * (2 + self.inode_table_blocks())
    }

    /// Places the metadata of each run of `FLEX_GROUPS` groups at the start of the run: block bitmaps, inode
    /// bitmaps, inode tables, each group's in one piece and past the superblock copies.
    fn place(&mut self) {
        let supers: Vec<Range<u64>> = (0..self.groups_count())
            .filter(|group| has_super(*group))
            .map(|group| self.group_range(group).start)
            .map(|start| start..start + self.super_blocks(0))
            .collect();
        let mut used = supers.clone();
        for first in (0..self.groups_count()).step_by(FLEX_GROUPS as usize) {
            let count = FLEX_GROUPS.min(self.groups_count() - first);
            let mut cursor = self.group_range(first).start;
            let mut take = |len| {
                let start = supers
                    .iter()
                    .fold(cursor, |at, run| if at < run.end && at + len > run.start { run.end } else { at });
                cursor = start + len;
                used.push(start..cursor);
                start
            };
            let block_bitmaps: Vec<u64> = (0..count).map(|_| take(1)).collect();
            let inode_bitmaps: Vec<u64> = (0..count).map(|_| take(1)).collect();
            for (block_bitmap, inode_bitmap) in block_bitmaps.into_iter().zip(inode_bitmaps) {
                let inode_table = take(self.inodes_per_group.div_ceil(INODES_PER_BLOCK).into());
                self.groups.push(Group { block_bitmap, inode_bitmap, inode_table });
            }
        }
        used.sort_by_key(|run| run.start);
        self.free = complement(&used, self.blocks);
    }
}

/// The runs of `0..end` that are not in `used`, which is ascending.
fn complement(used: &[Range<u64>], end: u64) -> Vec<Range<u64>> {
    let mut free = Vec::new();
    let mut at = 0;
    for run in used {
        if run.start > at {
            free.push(at..run.start.min(end));
        }
        at = at.max(run.end);
    }
    if at < end {
        free.push(at..end);
    }
    free.retain(|run| run.start < run.end);
    free
}

/// Returns whether `group` has a copy of superblock and descriptors (`sparse_super`): 0, 1 and powers of 3, 5, 7.
pub(super) fn has_super(group: u32) -> bool {
    let is_power_of = |base: u32| {
        let mut power = u64::from(base);
        while power < u64::from(group) {
            power *= u64::from(base);
        }
        power == u64::from(group)
    };
    group <= 1 || [3, 5, 7].into_iter().any(is_power_of)
}

/// Inodes by the wanted ratio, but never fewer than the tree needs.
///
/// A filesystem of less than one group is meant to grow: new groups get as many inodes as the first has, so it
/// gets those of a whole group as far as they take no more than 1/32 of its blocks.
fn inodes_per_group(options: &Options, blocks: u64, groups: u64, inodes: u64) -> Result<u32, Ext4Error> {
    let need = inodes + (inodes / 16).max(16);
    if inodes > groups * MAX_INODES_PER_GROUP {
        return Err(Ext4Error::TooManyInodes { need: inodes, have: groups * MAX_INODES_PER_GROUP });
    }
    let ratio = u64::from(options.bytes_per_inode.max(1));
    let mut by_ratio = blocks * BLOCK / ratio / groups;
    if groups == 1 {
        by_ratio = by_ratio.max((BLOCKS_PER_GROUP * BLOCK / ratio).min(blocks / 2));
    }
    let per_group = by_ratio.max(need.div_ceil(groups)).next_multiple_of(INODES_PER_BLOCK.into());
    Ok(per_group.min(MAX_INODES_PER_GROUP) as u32)
}

/// Blocks to reserve so that the descriptor table of a filesystem of `grow_to` bytes fits.
fn reserved_gdt(options: &Options, desc_blocks: u64) -> u64 {
    let final_blocks = (options.grow_to / BLOCK).min(u32::MAX.into());
    let final_desc_blocks = final_blocks.div_ceil(BLOCKS_PER_GROUP).div_ceil(DESCS_PER_BLOCK);
    let most = MAX_DESC_BLOCKS.saturating_sub(desc_blocks);
    // The resize inode always has one block at least: its absence is a corruption to e2fsck.
    final_desc_blocks.saturating_sub(desc_blocks).max(1).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superblock_copies_are_in_sparse_groups() {
        let groups: Vec<u32> = (0..130).filter(|group| has_super(*group)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn free_runs_are_what_is_not_used() {
        assert_eq!(complement(&[0..3, 3..5, 8..9], 12), [5..8, 9..12]);
        assert_eq!(complement(&[0..3, 6..7, 10..14], 12), [3..6, 7..10]);
    }
}
