//! Directories of an existing filesystem: finding, adding, exchanging and removing names where they are.
//!
//! Entries never move, so that a reader that sees only some of the written sectors still finds every name that stays:
//! a new name goes into the unused end of another entry or into a new block, an exchange replaces the inode's number,
//! and a name is removed by making the entry before it longer.

use std::collections::BTreeMap;
use std::ops::Range;

use uuid::Uuid;

use super::super::dir::half_md4_hash;
use super::super::raw::{get16, get32, put16, put32};
use super::disk::Blocks;
use super::entry::{Entry, Link, TAIL, TAIL_TYPE, entries, entries_end, insert_into, put_entry, seal};
use super::error::{UpdateError, corrupt};
use super::inode::{Inode, S_IFDIR};
use super::map::{Map, build, nodes_for};
use super::space::Space;
use super::transaction::{Class, Transaction};

/// Place of the first child in the root of an index.
const ROOT_CHILDREN: usize = 32;
/// Place of the first child in another block of an index.
const NODE_CHILDREN: usize = 8;
/// `DX_HASH_HALF_MD4`
const HALF_MD4: u8 = 1;

/// An existing directory.
pub(super) struct Directory {
    /// Its inode.
    pub inode: Inode,
    /// Its blocks in order.
    blocks: Vec<u64>,
}

impl Directory {
    /// A new one that has its first block.
    pub(super) fn new(inode: Inode, block: u64) -> Directory {
        Directory { inode, blocks: vec![block] }
    }

    /// The directory with a number.
    pub(super) fn load(view: &Transaction, number: u32) -> Result<Directory, UpdateError> {
        let inode = view.inode(number)?;
        if inode.kind() != S_IFDIR {
            return Err(corrupt(format!("inode {number} is not a directory, but its parent says so")));
        }
        let map = Map::read(view, &inode, &view.super_block)?;
        let count = inode.size() / view.block_size();
        let whole = inode.size().is_multiple_of(view.block_size()) && count > 0;
        let blocks: Option<Vec<u64>> = (0..count).map(|logical| map.find(logical)).collect();
        match blocks {
            Some(blocks) if whole => Ok(Directory { inode, blocks }),
            _ => Err(corrupt(format!("directory {number} has a hole"))),
        }
    }

    fn corrupt(&self, what: &str) -> UpdateError {
        corrupt(format!("{what} of directory {}", self.inode.number))
    }

    /// The bytes of block `index`, and how many of them are for names.
    fn read(&self, view: &Transaction, index: usize) -> Result<(Vec<u8>, usize), UpdateError> {
        let bytes = view.block(self.blocks[index])?;
        let mut end = entries_end(&view.super_block);
        let has_tail =
            bytes[bytes.len() - TAIL + 7] == TAIL_TYPE && get16(&bytes, bytes.len() - TAIL + 4) == 12;
        if view.super_block.has_metadata_csum() {
            let mut same = bytes.clone();
            match has_tail && !self.is_index_block(&bytes, index) {
                true => seal(&mut same, &self.inode, &view.super_block),
                // Blocks of an index have their own sums, which are only needed by those who change them.
                false if self.is_index_block(&bytes, index) => end = bytes.len(),
                false => return Err(self.corrupt("a checksum is missing in a block")),
            }
            if same != bytes {
                return Err(self.corrupt("a checksum is wrong in a block"));
            }
        }
        Ok((bytes, end))
    }

    /// Returns whether a block belongs to the hash index: its first one, and those that look like one unused entry.
    fn is_index_block(&self, bytes: &[u8], index: usize) -> bool {
        let empty = get32(bytes, 0) == 0 && usize::from(get16(bytes, 4)) == bytes.len();
        self.inode.is_indexed() && (index == 0 || empty)
    }

    /// Every name but `.` and `..`.
    pub(super) fn names(&self, view: &Transaction) -> Result<BTreeMap<Vec<u8>, Link>, UpdateError> {
        let mut names = BTreeMap::new();
        for index in 0..self.blocks.len() {
            let (bytes, end) = self.read(view, index)?;
            let entries = entries(&bytes, end).ok_or_else(|| self.corrupt("an entry is malformed"))?;
            for entry in entries.iter().filter(|entry| entry.link.inode != 0) {
                let name = &bytes[entry.name.clone()];
                if name != b"." && name != b".." {
                    names.insert(name.to_vec(), entry.link);
                }
            }
        }
        Ok(names)
    }

    /// Place of a name: its block, and its entry with the one before it in the same block.
    fn find(
        &self,
        view: &Transaction,
        name: &[u8],
    ) -> Result<(usize, Vec<u8>, Entry, Option<Entry>), UpdateError> {
        for index in 0..self.blocks.len() {
            let (bytes, end) = self.read(view, index)?;
            let mut before = None;
            for entry in entries(&bytes, end).ok_or_else(|| self.corrupt("an entry is malformed"))? {
                if entry.link.inode != 0 && &bytes[entry.name.clone()] == name {
                    return Ok((index, bytes, entry, before));
                }
                before = Some(entry);
            }
        }
        Err(self.corrupt("a name vanished"))
    }

    fn put(&self, view: &mut Transaction, index: usize, mut bytes: Vec<u8>) {
        seal(&mut bytes, &self.inode, &view.super_block);
        view.put(self.blocks[index], Class::Directory, bytes);
    }

    /// Lets a name lead elsewhere.
    pub(super) fn exchange(
        &self,
        view: &mut Transaction,
        name: &[u8],
        link: Link,
    ) -> Result<(), UpdateError> {
        let (index, mut bytes, entry, _) = self.find(view, name)?;
        put32(&mut bytes, entry.at, link.inode);
        bytes[entry.at + 7] = link.file_type;
        self.put(view, index, bytes);
        Ok(())
    }

    /// Removes a name.
    pub(super) fn remove(&self, view: &mut Transaction, name: &[u8]) -> Result<(), UpdateError> {
        let (index, mut bytes, entry, before) = self.find(view, name)?;
        match before {
            Some(before) => put16(&mut bytes, before.at + 4, (before.rec_len + entry.rec_len) as u16),
            None => put32(&mut bytes, entry.at, 0),
        }
        self.put(view, index, bytes);
        Ok(())
    }

    /// Adds a name; `space` gives a block if there is no room in those there are.
    pub(super) fn insert(
        &mut self,
        view: &mut Transaction,
        space: &mut Space,
        name: &[u8],
        link: Link,
    ) -> Result<(), UpdateError> {
        if self.inode.is_indexed() {
            let leaf = self.leaf_for(view, name)?;
            if let Some(leaf) = leaf
                && self.insert_at(view, leaf, name, link)?
            {
                return Ok(());
            }
            self.drop_index(view)?;
        }
        for index in 0..self.blocks.len() {
            if self.insert_at(view, index, name, link)? {
                return Ok(());
            }
        }
        self.append(view, space, name, link)
    }

    fn insert_at(
        &self,
        view: &mut Transaction,
        index: usize,
        name: &[u8],
        link: Link,
    ) -> Result<bool, UpdateError> {
        let (mut bytes, end) = self.read(view, index)?;
        let inserted =
            insert_into(&mut bytes, end, name, link).ok_or_else(|| self.corrupt("an entry is malformed"))?;
        if inserted {
            self.put(view, index, bytes);
        }
        Ok(inserted)
    }

    /// The block an index wants a name in; none if the hash is not known here.
    fn leaf_for(&self, view: &Transaction, name: &[u8]) -> Result<Option<usize>, UpdateError> {
        let root = view.block(self.blocks[0])?;
        let (version, levels) = (root[28], root[30]);
        if version != HALF_MD4 || root[29] != 8 || levels > 2 {
            return Ok(None);
        }
        let (seed, signed) = view.super_block.name_hash();
        let (hash, _) = half_md4_hash(name, Uuid::from_bytes(seed), signed);
        let mut block = self.child(&root[ROOT_CHILDREN..], hash)?;
        for _ in 0..levels {
            let node = view.block(self.blocks[block])?;
            block = self.child(&node[NODE_CHILDREN..], hash)?;
        }
        Ok(Some(block))
    }

    /// The child that starts with the largest hash that is not above `hash`.
    fn child(&self, children: &[u8], hash: u32) -> Result<usize, UpdateError> {
        let count = usize::from(get16(children, 2));
        if count == 0 || 8 * count > children.len() {
            return Err(self.corrupt("the hash index is malformed"));
        }
        let above = (1..count).find(|index| get32(children, 8 * index) > hash).unwrap_or(count);
        let block = (get32(children, 8 * (above - 1) + 4) & 0x0FFF_FFFF) as usize;
        match block > 0 && block < self.blocks.len() {
            true => Ok(block),
            false => Err(self.corrupt("the hash index is malformed")),
        }
    }

    /// Makes the directory one that is read from start to end, which it could be all along: blocks of an index look
    /// like unused entries. Only their checksums are of another kind.
    fn drop_index(&mut self, view: &mut Transaction) -> Result<(), UpdateError> {
        let end = entries_end(&view.super_block);
        for index in 0..self.blocks.len() {
            let mut bytes = view.block(self.blocks[index])?;
            if self.is_index_block(&bytes, index) {
                let last = if index == 0 { 12 } else { 0 };
                put16(&mut bytes, last + 4, (end - last) as u16);
                self.put(view, index, bytes);
            }
        }
        self.inode.clear_index();
        Ok(())
    }

    /// Appends a block with one name.
    fn append(
        &mut self,
        view: &mut Transaction,
        space: &mut Space,
        name: &[u8],
        link: Link,
    ) -> Result<(), UpdateError> {
        let new = take_one(view, space)?;
        let mut bytes = vec![0; view.block_size() as usize];
        put_entry(&mut bytes, 0, entries_end(&view.super_block), name, link);
        seal(&mut bytes, &self.inode, &view.super_block);
        view.put(new, Class::Fresh, bytes);
        self.blocks.push(new);
        self.remap(view, space)
    }

    /// Builds the map of all blocks anew, in blocks of its own: who follows the old one finds what was there.
    fn remap(&mut self, view: &mut Transaction, space: &mut Space) -> Result<(), UpdateError> {
        let old = Map::read(view, &self.inode, &view.super_block)?;
        let runs = runs(&self.blocks);
        let count = self.blocks.len() as u64;
        let mut spare = Vec::new();
        for _ in 0..nodes_for(runs.len() as u64, count, &view.super_block) {
            spare.push(take_one(view, space)?);
        }
        let mut take = || spare.pop().expect("as many blocks were taken as the map needs");
        let map = build(&runs, &self.inode, &view.super_block, &mut take);
        let nodes = map.nodes.len() as u64;
        for (block, bytes) in map.nodes {
            view.put(block, Class::Fresh, bytes);
        }
        for block in spare {
            view.release(block..block + 1)?;
            space.give(block..block + 1);
        }
        for node in &old.nodes {
            view.release_later(*node..*node + 1);
        }
        let attributes = self.inode.blocks(view.block_size()).saturating_sub(old.count());
        self.inode.set_block(&map.root);
        self.inode.set_blocks(count + nodes + attributes, view.block_size());
        self.inode.set_size(count * view.block_size());
        Ok(())
    }
}

/// Takes a block and marks it as in use.
fn take_one(view: &mut Transaction, space: &mut Space) -> Result<u64, UpdateError> {
    let block = space.take(1)?[0].start;
    view.allocate(block..block + 1)?;
    Ok(block)
}

/// Blocks as ranges of consecutive ones.
pub(super) fn runs(blocks: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for &block in blocks {
        match runs.last_mut() {
            Some(last) if last.end == block => last.end += 1,
            _ => runs.push(block..block + 1),
        }
    }
    runs
}
