//! Maps from blocks of a file to blocks of the disk: reading and building extent trees and indirect blocks.

use std::ops::Range;

use super::super::extent::{self, extent_tree};
use super::super::raw::{get16, get32, put32};
use super::checksum::crc32c;
use super::disk::Blocks;
use super::error::{UpdateError, corrupt};
use super::inode::Inode;
use super::super_block::SuperBlock;

const EXTENT_MAGIC: u16 = 0xF30A;
/// A longer extent is one of blocks that were never written, so many shorter.
const LONGEST_WRITTEN: u64 = 32_768;
/// `EXT4_MAX_EXTENT_DEPTH`.
const DEEPEST: u16 = 5;
const DIRECT: u64 = 12;

/// Consecutive blocks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block of the file.
    pub logical: u64,
    /// Place on the disk.
    pub physical: u64,
    /// Number of blocks.
    pub len: u64,
    /// Set if they were written; if not they read as zero.
    pub written: bool,
}

/// All blocks of a file.
#[derive(Debug, Default)]
pub(super) struct Map {
    /// In file order.
    pub runs: Vec<Run>,
    /// Blocks that say where the others are.
    pub nodes: Vec<u64>,
}

impl Map {
    /// The blocks of `inode`, checked to be inside the filesystem.
    pub(super) fn read(
        blocks: &dyn Blocks,
        inode: &Inode,
        super_block: &SuperBlock,
    ) -> Result<Map, UpdateError> {
        let mut map = Map::default();
        let reader = MapReader { blocks, inode, super_block };
        match inode.has_extents() {
            true => reader.extents(inode.block(), None, &mut map)?,
            false => reader.indirect(&mut map)?,
        }
        Ok(map)
    }

    /// Blocks of the file and of the map itself.
    pub(super) fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.len).sum::<u64>() + self.nodes.len() as u64
    }

    /// The block that holds block `logical` of the file, if it was written.
    pub(super) fn find(&self, logical: u64) -> Option<u64> {
        let after = self.runs.partition_point(|run| run.logical <= logical);
        let run = self.runs[..after].last()?;
        let inside = run.written && logical < run.logical + run.len;
        inside.then(|| run.physical + logical - run.logical)
    }

    /// Everything as ranges of blocks.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        let runs = self.runs.iter().map(|run| run.physical..run.physical + run.len);
        runs.chain(self.nodes.iter().map(|node| *node..node + 1))
    }

    fn push(&mut self, logical: u64, physical: u64) {
        match self.runs.last_mut() {
            Some(last) if last.logical + last.len == logical && last.physical + last.len == physical => {
                last.len += 1;
            }
            _ => self.runs.push(Run { logical, physical, len: 1, written: true }),
        }
    }
}

struct MapReader<'r> {
    blocks: &'r dyn Blocks,
    inode: &'r Inode,
    super_block: &'r SuperBlock,
}

impl MapReader<'_> {
    fn corrupt(&self, what: &str) -> UpdateError {
        corrupt(format!("{what} of inode {}", self.inode.number))
    }

    fn ensure_inside(&self, start: u64, len: u64) -> Result<(), UpdateError> {
        let inside = start > self.super_block.first_data_block()
            && start.checked_add(len).is_some_and(|end| end <= self.super_block.blocks_count());
        inside.then_some(()).ok_or_else(|| self.corrupt("a block number is out of range in the map"))
    }

    /// `parent` is the depth of the node above.
    fn extents(&self, node: &[u8], parent: Option<u16>, map: &mut Map) -> Result<(), UpdateError> {
        let (entries, max, depth) = (get16(node, 2), get16(node, 4), get16(node, 6));
        let fits = 12 * (1 + usize::from(max)) <= node.len() && entries <= max;
        let deeper = parent.map_or(depth <= DEEPEST, |parent| depth + 1 == parent);
        if get16(node, 0) != EXTENT_MAGIC || !fits || !deeper {
            return Err(self.corrupt("an extent node is malformed in the tree"));
        }
        for entry in node[12..12 + 12 * usize::from(entries)].chunks_exact(12) {
            match depth {
                0 => self.extent(entry, map)?,
                _ => self.child(entry, depth, map)?,
            }
        }
        Ok(())
    }

    fn extent(&self, entry: &[u8], map: &mut Map) -> Result<(), UpdateError> {
        let physical = u64::from(get32(entry, 8)) | u64::from(get16(entry, 6)) << 32;
        let (logical, len) = (u64::from(get32(entry, 0)), u64::from(get16(entry, 4)));
        let written = len <= LONGEST_WRITTEN;
        let len = if written { len } else { len - LONGEST_WRITTEN };
        let ascending = map.runs.last().is_none_or(|last| last.logical + last.len <= logical);
        if len == 0 || !ascending {
            return Err(self.corrupt("extents overlap in the tree"));
        }
        self.ensure_inside(physical, len)?;
        map.runs.push(Run { logical, physical, len, written });
        Ok(())
    }

    fn child(&self, entry: &[u8], depth: u16, map: &mut Map) -> Result<(), UpdateError> {
        let at = u64::from(get32(entry, 4)) | u64::from(get16(entry, 8)) << 32;
        self.ensure_inside(at, 1)?;
        let node = self.blocks.block(at)?;
        let tail = 12 * (1 + usize::from(get16(&node, 4)));
        if self.super_block.has_metadata_csum() {
            let crc = |len| crc32c(self.inode.checksum_seed(self.super_block), &node[..len]);
            if tail + 4 > node.len() || crc(tail) != get32(&node, tail) {
                return Err(self.corrupt("a checksum is wrong in the extent tree"));
            }
        }
        map.nodes.push(at);
        self.extents(&node, Some(depth), map)
    }

    fn indirect(&self, map: &mut Map) -> Result<(), UpdateError> {
        let pointers = self.inode.block();
        for logical in 0..DIRECT {
            self.pointer(get32(pointers, 4 * logical as usize).into(), logical, 0, map)?;
        }
        let per_block = self.super_block.block_size() / 4;
        let (mut logical, mut covers) = (DIRECT, per_block);
        for level in 1..=3 {
            let at = get32(pointers, 4 * (DIRECT as usize + level as usize - 1));
            self.pointer(at.into(), logical, level, map)?;
            (logical, covers) = (logical + covers, covers * per_block);
        }
        Ok(())
    }

    /// A pointer to a block of the file, or to one with pointers of one level less.
    fn pointer(&self, at: u64, logical: u64, level: u32, map: &mut Map) -> Result<(), UpdateError> {
        if at == 0 {
            return Ok(());
        }
        self.ensure_inside(at, 1)?;
        if level == 0 {
            map.push(logical, at);
            return Ok(());
        }
        map.nodes.push(at);
        let per_block = self.super_block.block_size() / 4;
        let covers = per_block.pow(level - 1);
        for (index, pointer) in self.blocks.block(at)?.chunks_exact(4).enumerate() {
            self.pointer(get32(pointer, 0).into(), logical + index as u64 * covers, level - 1, map)?;
        }
        Ok(())
    }
}

/// A map ready to be written.
pub(super) struct NewMap {
    /// `i_block`.
    pub root: [u8; 60],
    /// Whole blocks of the map.
    pub nodes: Vec<(u64, Vec<u8>)>,
}

/// Most blocks a map of `blocks` blocks in `runs` runs takes besides them.
pub(super) fn nodes_for(runs: u64, blocks: u64, super_block: &SuperBlock) -> u64 {
    if super_block.has_extents() {
        let per_node = (super_block.block_size() - 12) / 12;
        let mut entries = runs + blocks / LONGEST_WRITTEN;
        let mut nodes = 0;
        while entries > 4 {
            entries = entries.div_ceil(per_node);
            nodes += entries;
        }
        return nodes;
    }
    let per_block = super_block.block_size() / 4;
    let (mut rest, mut nodes) = (blocks.saturating_sub(DIRECT), 0);
    for level in 1..=3 {
        let here = rest.min(per_block.pow(level));
        nodes += (1..=level).map(|power| here.div_ceil(per_block.pow(power))).sum::<u64>();
        rest -= here;
    }
    nodes
}

/// The map of a file without holes that lies in `runs`; `take` gives blocks for the map. The inode says whether it is
/// an extent tree, and the checksums begin with its number and generation.
pub(super) fn build(
    runs: &[Range<u64>],
    inode: &Inode,
    super_block: &SuperBlock,
    take: &mut dyn FnMut() -> u64,
) -> NewMap {
    if !inode.has_extents() {
        return indirect(runs, super_block.block_size(), take);
    }
    let size = super_block.block_size() as usize;
    let tree = extent_tree(&extent::Run::without_holes(runs), size as u64, take);
    let nodes = tree.nodes.into_iter().map(|(at, mut bytes)| {
        bytes.resize(size, 0);
        if super_block.has_metadata_csum() {
            let tail = 12 * (1 + usize::from(get16(&bytes, 4)));
            let crc = crc32c(inode.checksum_seed(super_block), &bytes[..tail]);
            put32(&mut bytes, tail, crc);
        }
        (at, bytes)
    });
    NewMap { root: tree.root, nodes: nodes.collect() }
}

/// Twelve pointers and up to three trees of blocks of pointers.
fn indirect(runs: &[Range<u64>], block_size: u64, take: &mut dyn FnMut() -> u64) -> NewMap {
    let mut all = runs.iter().cloned().flatten();
    let mut map = NewMap { root: [0; 60], nodes: Vec::new() };
    for slot in 0..DIRECT as usize {
        put32(&mut map.root, 4 * slot, all.next().unwrap_or(0) as u32);
    }
    let mut rest = all.peekable();
    for level in 1..=3 {
        if rest.peek().is_none() {
            break;
        }
        let at = pointers(level, block_size, &mut || rest.next(), take, &mut map.nodes);
        put32(&mut map.root, 4 * (DIRECT as usize + level - 1), at as u32);
    }
    map
}

/// A block of pointers to what `next` gives, through `level - 1` blocks in between; returns where it is.
fn pointers(
    level: usize,
    block_size: u64,
    next: &mut dyn FnMut() -> Option<u64>,
    take: &mut dyn FnMut() -> u64,
    nodes: &mut Vec<(u64, Vec<u8>)>,
) -> u64 {
    let mut bytes = vec![0; block_size as usize];
    let own = take();
    let mut pending = next();
    for slot in 0..block_size as usize / 4 {
        let Some(block) = pending.take() else { break };
        let at = match level {
            1 => block,
            _ => {
                let mut first = Some(block);
                let mut rest = || first.take().or_else(&mut *next);
                pointers(level - 1, block_size, &mut rest, take, nodes)
            }
        };
        put32(&mut bytes, 4 * slot, at as u32);
        if slot + 1 < block_size as usize / 4 {
            pending = next();
        }
    }
    nodes.push((own, bytes));
    own
}
