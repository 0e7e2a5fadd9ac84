//! From a tree to the position and content of every block; reads no file.

use std::ops::Range;

use super::build::{Builder, Numbering};
use super::geometry::{Geometry, MIN_BLOCKS, has_super};
use super::raw::{self, BLOCK, GroupDesc, Inode};
use super::{Ext4Error, Journal, Options, xattr};
use crate::fs::{Holds, Loss};
use crate::tree::{NodeId, Tree};
use crate::value::Timestamp;

/// Blocks at both ends in which signatures of other filesystems and RAIDs are wiped.
const WIPED_BLOCKS: u64 = 32;

/// Position and content of everything in a filesystem.
#[derive(Debug)]
pub struct Layout<'t> {
    pub(super) tree: &'t Tree,
    pub(super) options: Options,
    pub(super) geometry: Geometry,
    pub(super) region_len: u64,
    /// By number, from 1; nothing for reserved ones.
    pub(super) inodes: Vec<Option<Inode>>,
    /// By group.
    pub(super) descriptors: Vec<GroupDesc>,
    /// Blocks in no use, ascending.
    pub(super) free: Vec<Range<u64>>,
    /// Pieces to write, ascending and disjoint.
    pub(super) pieces: Vec<Piece>,
    /// Regular files by first name, in tree order.
    pub(super) files: Vec<(Vec<u8>, NodeId)>,
    dropped: Vec<Loss>,
}

/// There are namespaces for most attributes; a time that does not fit is an error.
const HOLDS: Holds = Holds { xattr: xattr::is_stored, times: Timestamp::MIN..=Timestamp::MAX };

/// Some blocks and what they hold.
#[derive(Debug)]
pub(super) struct Piece {
    pub start: u64,
    pub blocks: u64,
    pub data: Data,
}

/// Contents of a piece.
#[derive(Debug)]
pub(super) enum Data {
    /// A superblock copy and the descriptor table behind it.
    SuperBlock {
        group: u32,
    },
    /// Reserved descriptor blocks of group 0.
    ReservedDescriptors,
    BlockBitmap {
        group: u32,
    },
    InodeBitmap {
        group: u32,
    },
    /// The used part of a table.
    InodeTable {
        group: u32,
    },
    /// The first block of the journal.
    JournalSuperBlock {
        blocks: u64,
    },
    Zero,
    /// As they are, with zeros behind.
    Bytes(Vec<u8>),
    /// Content of a regular file from a block of it on.
    File {
        node: NodeId,
        block: u64,
    },
}

/// Everything that an ext4 of `tree` will not have, as [`Layout::dropped`].
pub fn losses(tree: &Tree) -> Vec<Loss> {
    HOLDS.losses(tree)
}

impl Layout<'_> {
    /// Attributes that the files will not have.
    pub fn dropped(&self) -> &[Loss] {
        &self.dropped
    }

    /// Bytes that are written or zeroed; the rest of the region is left as it is.
    pub fn written_len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.blocks * BLOCK).sum()
    }

    /// Bytes of the filesystem: the region without a rest that is too small for another block or group.
    pub fn len(&self) -> u64 {
        self.geometry.blocks * BLOCK
    }

    /// Never: the smallest filesystem has 256 KiB.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes in free blocks.
    pub fn free_len(&self) -> u64 {
        self.free.iter().map(|run| (run.end - run.start) * BLOCK).sum()
    }
}

/// Places `tree` in a region of `region_len` bytes; reads metadata only.
pub fn layout<'t>(tree: &'t Tree, options: &Options, region_len: u64) -> Result<Layout<'t>, Ext4Error> {
    // Block numbers have 32 bits; whole groups.
    let most = ((1 << 32) - raw::BLOCKS_PER_GROUP) * BLOCK;
    if region_len > most {
        return Err(Ext4Error::RegionTooLarge { most, have: region_len });
    }
    if region_len / BLOCK < MIN_BLOCKS {
        return Err(Ext4Error::RegionTooSmall { need: MIN_BLOCKS * BLOCK, have: region_len });
    }
    let builder = Builder::run(tree, options, region_len)?;
    if builder.space.missing() > 0 {
        let need = minimum_size(tree, options)?;
        return Err(Ext4Error::TreeTooLarge { need, have: region_len });
    }
    Ok(builder.finish())
}

/// Bytes of the smallest region that holds `tree`, metadata included and without free space.
pub fn minimum_size(tree: &Tree, options: &Options) -> Result<u64, Ext4Error> {
    let inodes = u64::from(Numbering::for_tree(tree)?.last).max(options.inodes);
    let mut blocks = fewest_blocks(options, inodes)?;
    loop {
        let builder = Builder::run(tree, options, blocks * BLOCK)?;
        match builder.space.missing() {
            0 => return Ok(blocks * BLOCK),
            missing => blocks = (blocks + missing).max(builder.geometry.next_group_at.unwrap_or(0)),
        }
    }
}

/// Start of the search: the fewest blocks with enough groups for `inodes`.
fn fewest_blocks(options: &Options, inodes: u64) -> Result<u64, Ext4Error> {
    let groups = inodes.div_ceil(raw::BLOCKS_PER_GROUP);
    let mut blocks = MIN_BLOCKS.max((groups - 1) * raw::BLOCKS_PER_GROUP + 1);
    // The last group counts only when it has a certain size.
    while let Err(error) = Geometry::new(options, blocks, inodes) {
        match error {
            Ext4Error::TooManyInodes { .. } => blocks += 1,
            error => return Err(error),
        }
    }
    Ok(blocks)
}

/// Free blocks, handed out in ascending order. Behind the end of the filesystem it goes on, to learn how much is
/// missing.
#[derive(Debug)]
pub(super) struct Space {
    runs: Vec<Range<u64>>,
    end: u64,
    at: usize,
    /// Blocks that fixed metadata alone has too few of.
    overhead_missing: u64,
}

impl Space {
    pub(super) fn for_geometry(geometry: &Geometry) -> Space {
        let end = geometry.blocks;
        let mut runs = geometry.free.clone();
        runs.push(end..u64::MAX);
        Space { runs, end, at: 0, overhead_missing: geometry.overhead().saturating_sub(end) }
    }

    pub(super) fn take(&mut self, mut blocks: u64) -> Vec<Range<u64>> {
        let mut taken = Vec::new();
        while blocks > 0 {
            let run = &mut self.runs[self.at];
            let len = blocks.min(run.end - run.start);
            if len > 0 {
                taken.push(run.start..run.start + len);
            }
            run.start += len;
            blocks -= len;
            if run.start == run.end {
                self.at += 1;
            }
        }
        taken
    }

    pub(super) fn take_one(&mut self) -> u64 {
        self.take(1)[0].start
    }

    /// Blocks that were taken behind the end.
    pub(super) fn missing(&self) -> u64 {
        self.overhead_missing + self.runs.last().map_or(0, |run| run.start - self.end)
    }

    pub(super) fn free(&self) -> Vec<Range<u64>> {
        let rest = &self.runs[self.at.min(self.runs.len() - 1)..self.runs.len() - 1];
        rest.to_vec()
    }
}

impl<'t> Builder<'t, '_> {
    /// Adds what depends on all nodes: descriptors, bitmaps, inode tables.
    fn finish(mut self) -> Layout<'t> {
        let free = self.space.free();
        let descriptors: Vec<GroupDesc> =
            (0..self.geometry.groups_count()).map(|group| self.descriptor(group, &free)).collect();
        for (group, descriptor) in descriptors.iter().enumerate() {
            self.add_group(group as u32, descriptor);
        }
        self.pieces.retain(|piece| piece.blocks > 0);
        self.pieces.sort_by_key(|piece| piece.start);
        self.wipe();
        Layout {
            tree: self.tree,
            options: self.options.clone(),
            geometry: self.geometry,
            region_len: self.region_len,
            inodes: self.inodes,
            descriptors,
            free,
            pieces: self.pieces,
            files: self.files,
            dropped: losses(self.tree),
        }
    }

    fn descriptor(&self, group: u32, free: &[Range<u64>]) -> GroupDesc {
        let (geometry, place) = (&self.geometry, self.geometry.groups[group as usize]);
        let range = geometry.group_range(group);
        let free_blocks = free.iter().map(|run| overlap(run, &range)).sum::<u64>();
        let inodes = self.inode_range(group);
        let used_inodes = (inodes.end - inodes.start) as u32;
        let is_dir = |inode: &&Option<Inode>| {
            inode.as_ref().is_some_and(|inode| u32::from(inode.mode) & 0o170_000 == 0o040_000)
        };
        let is_last = group + 1 == geometry.groups_count();
        let mut flags = if used_inodes == 0 { raw::INODE_UNINIT } else { 0 };
        // Not the last group, whose bitmap has padding that nobody computes. Nor one with a superblock copy, though
        // allowed: U-Boot starts such a bitmap with all bits clear and may write a file over the copy.
        if !is_last && range.end - range.start == free_blocks {
            flags |= raw::BLOCK_UNINIT;
        }
        GroupDesc {
            block_bitmap: place.block_bitmap as u32,
            inode_bitmap: place.inode_bitmap as u32,
            inode_table: place.inode_table as u32,
            free_blocks_count: free_blocks as u16,
            free_inodes_count: (geometry.inodes_per_group - used_inodes) as u16,
            used_dirs_count: self.inodes[inodes].iter().filter(is_dir).count() as u16,
            flags,
            itable_unused: (geometry.inodes_per_group - used_inodes) as u16,
        }
    }

    /// Indexes of the used inodes of `group`.
    fn inode_range(&self, group: u32) -> Range<usize> {
        inode_range(&self.geometry, self.inodes.len(), group)
    }

    fn add_group(&mut self, group: u32, descriptor: &GroupDesc) {
        let (place, start) = (self.geometry.groups[group as usize], self.geometry.group_range(group).start);
        let desc_blocks = self.geometry.desc_blocks;
        let mut add = |start, blocks, data| self.pieces.push(Piece { start, blocks, data });
        if has_super(group) {
            add(start, 1 + desc_blocks, Data::SuperBlock { group });
        }
        if group == 0 {
            add(1 + desc_blocks, self.geometry.reserved_gdt, Data::ReservedDescriptors);
        }
        if descriptor.flags & raw::BLOCK_UNINIT == 0 {
            add(place.block_bitmap, 1, Data::BlockBitmap { group });
        }
        if descriptor.flags & raw::INODE_UNINIT == 0 {
            let used = self.geometry.inodes_per_group - u32::from(descriptor.itable_unused);
            add(place.inode_bitmap, 1, Data::InodeBitmap { group });
            let blocks = used.div_ceil(raw::INODES_PER_BLOCK).into();
            add(place.inode_table, blocks, Data::InodeTable { group });
        }
    }

    /// Zeroes what is not used at both ends of the region.
    fn wipe(&mut self) {
        let region_blocks = self.region_len / BLOCK;
        let head = 0..WIPED_BLOCKS;
        let tail = region_blocks.saturating_sub(WIPED_BLOCKS).max(head.end)..region_blocks;
        let mut gaps = Vec::new();
        for window in [head, tail] {
            let mut at = window.start;
            for piece in self.pieces.iter().filter(|piece| piece.start < window.end) {
                if piece.start > at {
                    gaps.push(at..piece.start);
                }
                at = at.max(piece.start + piece.blocks);
            }
            gaps.push(at..window.end.max(at));
        }
        let zeros = gaps.into_iter().filter(|gap| gap.start < gap.end);
        self.pieces.extend(zeros.map(|gap| Piece {
            start: gap.start,
            blocks: gap.end - gap.start,
            data: Data::Zero,
        }));
        self.pieces.sort_by_key(|piece| piece.start);
    }
}

/// Indexes of the inodes of `group` when all before `used` are in use.
pub(super) fn inode_range(geometry: &Geometry, used: usize, group: u32) -> Range<usize> {
    let per_group = geometry.inodes_per_group as usize;
    let start = (group as usize * per_group).min(used);
    start..(start + per_group).min(used)
}

/// Length of what two ranges have in common.
pub(super) fn overlap(a: &Range<u64>, b: &Range<u64>) -> u64 {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

/// Blocks of the journal for a filesystem of `blocks`.
pub(super) fn journal_blocks(options: &Options, blocks: u64) -> Result<u64, Ext4Error> {
    const MIN: u64 = 1024;
    match options.journal {
        Journal::None => Ok(0),
        Journal::Bytes(size) => {
            let blocks = size / BLOCK;
            let fits = size.is_multiple_of(BLOCK) && (MIN..=MIN << 10).contains(&blocks);
            if fits { Ok(blocks) } else { Err(Ext4Error::JournalSize { size }) }
        }
        Journal::Auto => Ok(match blocks {
            0..2_048 => 0,
            2_048..32_768 => MIN,
            32_768..262_144 => 4 * MIN,
            _ => 8 * MIN,
        }),
    }
}

pub(super) fn check_options(options: &Options) -> Result<(), Ext4Error> {
    if options.label.len() > 16 {
        return Err(Ext4Error::LabelTooLong { label: options.label.clone() });
    }
    if options.reserved_percent > 50 {
        return Err(Ext4Error::ReservedPercent { percent: options.reserved_percent });
    }
    if !(0..raw::TIME_RANGE.end).contains(&options.timestamp) {
        return Err(Ext4Error::TimestampOutOfRange { timestamp: options.timestamp });
    }
    Ok(())
}
