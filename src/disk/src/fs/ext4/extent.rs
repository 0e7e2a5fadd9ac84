//! Extent trees: which blocks of a file are where (Documentation/filesystems/ext4/ifork.rst).

use std::ops::Range;

#[cfg(test)]
use super::raw::BLOCK;
use super::raw::{EXTENT_MAX, put16, put32};

const EXTENT_MAGIC: u16 = 0xF30A;
const ENTRIES_IN_INODE: usize = 4;

/// One entry of a node: of a leaf, a run of blocks; of an index, a child that starts with file block `block`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    block: u32,
    len: u16,
    start: u64,
}

impl Run {
    /// A file without holes that lies in `places`, in file order.
    pub(super) fn without_holes(places: &[Range<u64>]) -> Vec<Run> {
        let mut block = 0;
        let run = |place: &Range<u64>| {
            let run = Run { block, place: place.clone() };
            block += place.end - place.start;
            run
        };
        places.iter().map(run).collect()
    }
}

/// An extent tree ready to be written.
#[derive(Debug)]
pub(super) struct ExtentTree {
    /// `i_block`.
    pub root: [u8; 60],
    /// Blocks of the tree that are not in the inode.
    pub nodes: Vec<(u64, Vec<u8>)>,
}

/// Blocks of a file and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block of the file.
    pub block: u64,
    /// Blocks of the filesystem.
    pub place: Range<u64>,
}

/// The tree that maps a file to `runs`, in file order; what is between them is a hole. `take_block` gives blocks of
/// `block_size` bytes for its nodes.
pub(super) fn extent_tree(runs: &[Run], block_size: u64, mut take_block: impl FnMut() -> u64) -> ExtentTree {
    let in_block = (block_size as usize - 12) / 12;
    let mut entries = leaf_entries(runs);
    let mut nodes = Vec::new();
    let mut depth = 0;
    while entries.len() > ENTRIES_IN_INODE {
        let parents: Vec<Entry> = entries
            .chunks(in_block)
            .map(|chunk| {
                let at = take_block();
                nodes.push((at, node(chunk, depth, in_block)));
                Entry { block: chunk[0].block, len: 0, start: at }
            })
            .collect();
        entries = parents;
        depth += 1;
    }
    let mut root = [0; 60];
    let bytes = node(&entries, depth, ENTRIES_IN_INODE);
    root[..bytes.len()].copy_from_slice(&bytes);
    ExtentTree { root, nodes }
}

/// Runs cut into pieces of at most `EXTENT_MAX` blocks.
fn leaf_entries(runs: &[Run]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for run in runs {
        let (mut block, mut start) = (run.block, run.place.start);
        while start < run.place.end {
            let len = (run.place.end - start).min(EXTENT_MAX);
            entries.push(Entry { block: block as u32, len: len as u16, start });
            start += len;
            block += len;
        }
    }
    entries
}

/// `struct ext4_extent_header` and its entries; `depth` 0 is a leaf.
fn node(entries: &[Entry], depth: u16, max: usize) -> Vec<u8> {
    let mut bytes = vec![0; 12 * (1 + entries.len())];
    put16(&mut bytes, 0, EXTENT_MAGIC);
    put16(&mut bytes, 2, entries.len() as u16);
    put16(&mut bytes, 4, max as u16);
    put16(&mut bytes, 6, depth);
    for (entry, b) in entries.iter().zip(bytes[12..].chunks_exact_mut(12)) {
        put32(b, 0, entry.block);
        if depth == 0 {
            put16(b, 4, entry.len);
            put16(b, 6, (entry.start >> 32) as u16); // ee_start_hi: zero without 64bit
            put32(b, 8, entry.start as u32); // ee_start_lo
        } else {
            put32(b, 4, entry.start as u32); // ei_leaf_lo
            put16(b, 8, (entry.start >> 32) as u16); // ei_leaf_hi
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::raw::{get16, get32};
    use super::*;

    #[test]
    fn four_extents_stay_in_the_inode() {
        let run = Run { block: 0, place: 100..100 + 4 * EXTENT_MAX };
        let tree = extent_tree(std::slice::from_ref(&run), BLOCK, || panic!("no node is needed"));
        assert_eq!(get32(&tree.root, 0), 4 << 16 | u32::from(EXTENT_MAGIC));
        assert_eq!((get16(&tree.root, 4), get16(&tree.root, 6)), (4, 0));
        assert_eq!((get32(&tree.root, 48), get32(&tree.root, 56)), (3 * 32768, 100 + 3 * 32768));
    }

    #[test]
    fn holes_have_no_extents() {
        let runs = [Run { block: 0, place: 50..51 }, Run { block: 700, place: 51..53 }];
        let tree = extent_tree(&runs, BLOCK, || panic!("no node is needed"));
        assert_eq!((get16(&tree.root, 2), get32(&tree.root, 12), get32(&tree.root, 20)), (2, 0, 50));
        assert_eq!((get32(&tree.root, 24), get16(&tree.root, 28), get32(&tree.root, 32)), (700, 2, 51));
    }

    #[test]
    fn many_extents_make_two_levels() {
        let runs: Vec<_> = (0..2000).map(|n| Run { block: n, place: 10 * n..10 * n + 1 }).collect();
        let mut next = 100_000;
        let tree = extent_tree(&runs, BLOCK, || {
            next += 1;
            next
        });
        // 2000 entries in 6 leaves, those in one index block, that in the inode.
        assert_eq!(tree.nodes.len(), 7);
        assert_eq!((get16(&tree.root, 2), get16(&tree.root, 6)), (1, 2));
        assert_eq!(get32(&tree.root, 16), 100_007);
        let (at, index) = &tree.nodes[6];
        assert_eq!((*at, get16(index, 2), get16(index, 6)), (100_007, 6, 1));
        assert_eq!((get32(index, 24), get32(index, 28)), (340, 100_002));
    }
}
