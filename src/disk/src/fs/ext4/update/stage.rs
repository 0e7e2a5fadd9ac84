//! New files whose content is on the medium before any name leads to them.

use std::ops::Range;

use blake3::Hasher;

use super::disk::Disk;
use super::error::UpdateError;
use super::inode::{Inode, S_IFLNK, S_IFREG};
use super::map::{build, nodes_for};
use super::space::Space;
use super::transaction::Transaction;
use crate::storage::AlignedBuffer;
use crate::tree::{Content, Stat};
use crate::value::Digest;

const CHUNK: u64 = 1 << 20;
/// The longest target of a symbolic link that is kept in the inode.
const FAST_LINK: usize = 59;

/// A file that has its content, but no name and no inode on the medium yet.
pub struct Staged {
    pub(super) inode: Inode,
    /// Blocks of the content, and of the map.
    pub(super) runs: Vec<Range<u64>>,
    /// Blocks that the transaction writes.
    pub(super) fresh: Vec<(u64, Vec<u8>)>,
    /// Of the content in whole blocks.
    digest: Digest,
}

impl Staged {
    /// Bytes of the content.
    pub fn len(&self) -> u64 {
        self.inode.size()
    }

    /// Returns whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All blocks it takes.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<u64>> {
        self.runs.iter().cloned().chain(self.fresh.iter().map(|(block, _)| *block..*block + 1))
    }

    /// Fails unless the medium holds the content.
    pub(super) fn ensure_written(&self, disk: &Disk) -> Result<(), UpdateError> {
        let mut buffer = AlignedBuffer::new(CHUNK as usize);
        let mut hasher = Hasher::new();
        for run in &self.runs {
            for piece in pieces(run, CHUNK / disk.block_size()) {
                let bytes = buffer.slice(((piece.end - piece.start) * disk.block_size()) as usize);
                disk.read_back(piece.start, bytes)?;
                hasher.update(bytes);
            }
        }
        if Digest::from(hasher.finalize()) == self.digest {
            return Ok(());
        }
        let first = self.runs.first().map_or(0, |run| run.start);
        Err(disk.differs(first, self.len(), "the content of a new file"))
    }
}

/// A range cut into pieces of at most `count` blocks.
fn pieces(run: &Range<u64>, count: u64) -> impl Iterator<Item = Range<u64>> {
    let (start, end) = (run.start, run.end);
    (0..(end - start).div_ceil(count)).map(move |index| {
        let at = start + index * count;
        at..(at + count).min(end)
    })
}

/// Takes an inode near the root directory.
pub(super) fn take_inode(
    view: &Transaction,
    space: &mut Space,
    kind: u16,
    stat: Stat,
) -> Result<Inode, UpdateError> {
    space.ensure_inodes(1)?;
    let number = view.find_inode(0, &space.inodes_taken)?;
    let number = number.ok_or(UpdateError::NoInodes { need: 1, have: 0 })?;
    space.take_inode(number);
    Ok(Inode::create(&view.inode_slot(number)?, kind, stat, &view.super_block))
}

/// Writes `content` into free blocks. Zeros are written, too: boot loaders of some ages cannot read holes.
pub(super) fn stage(
    disk: &Disk,
    view: &Transaction,
    space: &mut Space,
    content: &Content,
    stat: Stat,
) -> Result<Staged, UpdateError> {
    let blocks = content.len().div_ceil(view.block_size());
    space.ensure_blocks(blocks)?;
    let opened = content.open()?;
    let mut inode = take_inode(view, space, S_IFREG, stat)?;
    let runs = space.take(blocks)?;
    let fresh = map(view, space, &mut inode, &runs)?;
    inode.set_size(content.len());
    let mut hasher = Hasher::new();
    let mut bytes = vec![0; CHUNK as usize];
    let mut at = 0;
    for run in &runs {
        for piece in pieces(run, CHUNK / view.block_size()) {
            let len = ((piece.end - piece.start) * view.block_size()) as usize;
            let filled = len.min((content.len() - at) as usize);
            opened.read_at(&mut bytes[..filled], at)?;
            bytes[filled..len].fill(0);
            hasher.update(&bytes[..len]);
            disk.write(piece.start, &bytes[..len])?;
            at += filled as u64;
        }
    }
    opened.ensure_unchanged()?;
    Ok(Staged { inode, runs, fresh, digest: Digest::from(hasher.finalize()) })
}

/// Gives an inode the map of `runs`, and returns the blocks the map takes besides.
fn map(
    view: &Transaction,
    space: &mut Space,
    inode: &mut Inode,
    runs: &[Range<u64>],
) -> Result<Vec<(u64, Vec<u8>)>, UpdateError> {
    if view.super_block.has_extents() {
        inode.set_extents();
    }
    let blocks: u64 = runs.iter().map(|run| run.end - run.start).sum();
    let wanted = space.take(nodes_for(runs.len() as u64, blocks, &view.super_block))?;
    let mut spare: Vec<u64> = wanted.into_iter().flatten().collect();
    let mut take = || spare.pop().expect("as many blocks were taken as the map needs");
    let map = build(runs, inode, &view.super_block, &mut take);
    spare.into_iter().for_each(|block| space.give(block..block + 1));
    inode.set_block(&map.root);
    inode.set_blocks(blocks + map.nodes.len() as u64, view.block_size());
    Ok(map.nodes)
}

/// A symbolic link to `target`.
pub(super) fn stage_link(
    view: &Transaction,
    space: &mut Space,
    target: &[u8],
    stat: Stat,
) -> Result<Staged, UpdateError> {
    let stat = Stat { mode: 0o777, ..stat };
    let mut inode = take_inode(view, space, S_IFLNK, stat)?;
    inode.set_size(target.len() as u64);
    let digest = Digest::of(&[]);
    if target.len() <= FAST_LINK {
        let mut block = [0; 60];
        block[..target.len()].copy_from_slice(target);
        inode.set_block(&block);
        return Ok(Staged { inode, runs: Vec::new(), fresh: Vec::new(), digest });
    }
    let (block, mut fresh) = one_block(view, space, &mut inode)?;
    let mut bytes = target.to_vec();
    bytes.resize(view.block_size() as usize, 0);
    fresh.push((block, bytes));
    Ok(Staged { inode, runs: Vec::new(), fresh, digest })
}

/// Blocks and what they are to hold.
pub(super) type Fresh = Vec<(u64, Vec<u8>)>;

/// Gives an inode one block.
pub(super) fn one_block(
    view: &Transaction,
    space: &mut Space,
    inode: &mut Inode,
) -> Result<(u64, Fresh), UpdateError> {
    let runs = space.take(1)?;
    let fresh = map(view, space, inode, &runs)?;
    Ok((runs[0].start, fresh))
}
