//! Looks at all metadata of a filesystem: what each name leads to, and whether bitmaps, counts and copies agree with that.
//! Nothing is written; a journal that has to be replayed counts as replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::raw::{EXTENTS_FL, INDEX_FL, RESIZE_INO, ROOT_INO, device_block};
use super::super::xattr;
use super::directory::Directory;
use super::disk::Blocks;
use super::entry::TYPE_DIRECTORY;
use super::error::UpdateError;
use super::group::Bitmap;
use super::inode::{Inode, S_IFDIR};
use super::map::Map;
use super::transaction::{Transaction, is_set, set};
use super::{SUPER_BLOCK_OFFSET, SuperBlock, Volume};
use crate::tree::{self, Body, Node};
use crate::value::Digest;

/// Longest path that is looked at: Linux has no longer ones.
const MAX_PATH: usize = 4096;
/// Most problems of one kind that are named.
const NAMED: usize = 3;
/// `file_type` of a directory entry by the type bits of `i_mode` (`fs_ftype_to_dtype` of the kernel).
const FILE_TYPES: [(u16, u8); 7] =
    [(0o100, 1), (0o040, TYPE_DIRECTORY), (0o020, 3), (0o060, 4), (0o010, 5), (0o140, 6), (0o120, 7)];
/// Bytes of `i_block` that the number of a device takes.
const DEVICE_LEN: usize = 8;
/// Directories with more subdirectories than `EXT4_LINK_MAX` say 1.
const UNCOUNTED: u16 = 1;

/// Metadata of what a name leads to, besides its times and the number of its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Facts {
    /// `i_mode`: type and permissions.
    pub mode: u32,
    /// Owner.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub uid: u32,
    /// Group.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub gid: u32,
    /// `i_flags` but for those that say how blocks and names are found.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub flags: u32,
    /// Digest of the target of a symbolic link, or of the number of a device.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub content: Option<Digest>,
    /// Digest of extended attributes as they are stored; none without any.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub xattrs: Option<Digest>,
}

#[cfg(feature = "serde")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Facts {
    /// Metadata that [`super::super::write()`] gives a node.
    pub fn of_node(node: &Node) -> Facts {
        let content = match &node.body {
            Body::Symlink(target) => Some(Digest::of(target)),
            Body::Char(device) | Body::Block(device) => {
                Some(Digest::of(&device_block(device.major, device.minor)[..DEVICE_LEN]))
            }
            _ => None,
        };
        Facts {
            mode: node.body.file_type_bits() | node.stat.mode,
            uid: node.stat.uid,
            gid: node.stat.gid,
            flags: 0,
            content,
            xattrs: xattr::digest(&node.xattrs),
        }
    }
}

impl Volume<'_> {
    /// Shows `visit` what every name leads to, by its path without a leading `/`; returns what contradicts itself.
    ///
    /// # Errors
    /// If something that leads to other things cannot be read.
    pub fn examine(&self, visit: &mut dyn FnMut(&[u8], &Facts)) -> Result<Vec<String>, UpdateError> {
        let view = self.view();
        let bytes = view.super_block.blocks_count().div_ceil(8) as usize;
        let mut examiner = Examiner::new(&view, bytes);
        examiner.fixed()?;
        examiner.walk(visit)?;
        for orphan in &self.orphans {
            examiner.inode(*orphan)?;
        }
        examiner.links();
        examiner.bitmaps()?;
        examiner.copies()?;
        Ok(examiner.problems)
    }
}

struct Examiner<'v, 'd> {
    view: &'v Transaction<'d>,
    /// A bit for each block that something leads to.
    used: Vec<u8>,
    /// Blocks of attributes, which files may share.
    shared: BTreeSet<u64>,
    /// Inodes that something leads to: names that were found, and names that are meant to be there.
    inodes: BTreeMap<u32, (u32, Inode)>,
    /// Subdirectories by inode.
    subdirectories: BTreeMap<u32, u32>,
    problems: Vec<String>,
}

impl<'v, 'd> Examiner<'v, 'd> {
    fn new(view: &'v Transaction<'d>, bytes: usize) -> Examiner<'v, 'd> {
        Examiner {
            view,
            used: vec![0; bytes],
            shared: BTreeSet::new(),
            inodes: BTreeMap::new(),
            subdirectories: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    fn super_block(&self) -> &'v SuperBlock {
        &self.view.super_block
    }

    /// Everything that no inode leads to, and the inodes that have no names.
    fn fixed(&mut self) -> Result<(), UpdateError> {
        let super_block = self.super_block();
        let table_len = self.view.inode_table_len();
        set(&mut self.used, 0..super_block.first_data_block());
        for (number, group) in self.view.groups.iter().enumerate() {
            let start = super_block.group_range(number as u64).start;
            self.take(start..start + super_block.base_blocks(number as u64), "a copy of the superblock");
            for bitmap in [Bitmap::Blocks, Bitmap::Inodes] {
                let block = group.bitmap(bitmap);
                self.take(block..block + 1, "a bitmap");
            }
            let table = group.inode_table();
            self.take(table..table + table_len, "an inode table");
        }
        // Bad blocks, the journal, and what else is reserved; what is all zero is in no use.
        for number in (1..super_block.first_inode()).filter(|number| *number != ROOT_INO) {
            let inode = self.view.inode_slot(number)?;
            if inode.mode() != 0 || inode.block().iter().any(|byte| *byte != 0) {
                self.inodes.insert(number, (inode.links().into(), inode.clone()));
                self.blocks(&inode)?;
            }
        }
        Ok(())
    }

    /// Notes that something leads to blocks.
    fn take(&mut self, run: Range<u64>, by: &str) {
        for block in run.start..run.end.min(self.super_block().blocks_count()) {
            if is_set(&self.used, block) {
                self.problems.push(format!("block {block} is used twice, once as {by}"));
                return;
            }
            set(&mut self.used, block..block + 1);
        }
    }

    /// The inode of this number, whose blocks are noted when it is met first.
    fn inode(&mut self, number: u32) -> Result<Inode, UpdateError> {
        if let Some((_, inode)) = self.inodes.get(&number) {
            return Ok(inode.clone());
        }
        let inode = self.view.inode(number)?;
        self.inodes.insert(number, (0, inode.clone()));
        self.blocks(&inode)?;
        Ok(inode)
    }

    fn blocks(&mut self, inode: &Inode) -> Result<(), UpdateError> {
        let block_size = self.view.block_size();
        let mut count = 0;
        if inode.has_blocks(block_size) || inode.number < self.super_block().first_inode() {
            let map = Map::read(self.view, inode, self.super_block())?;
            count = map.count();
            // Those of the reserved descriptors lie among the copies of the superblock.
            match inode.number {
                RESIZE_INO => map.nodes.iter().for_each(|node| self.take_once(*node)),
                number => map.ranges().for_each(|run| self.take(run, &format!("one of inode {number}"))),
            }
        }
        let attributes = inode.file_acl();
        if attributes != 0 {
            count += 1;
            if self.shared.insert(attributes) {
                self.take(attributes..attributes + 1, &format!("attributes of inode {}", inode.number));
            }
        }
        if count != inode.blocks(block_size) && inode.number != RESIZE_INO {
            let (number, says) = (inode.number, inode.blocks(block_size));
            self.problems.push(format!("inode {number} has {count} blocks but says {says}"));
        }
        Ok(())
    }

    fn take_once(&mut self, block: u64) {
        if block < self.super_block().blocks_count() {
            set(&mut self.used, block..block + 1);
        }
    }

    /// Follows all names.
    fn walk(&mut self, visit: &mut dyn FnMut(&[u8], &Facts)) -> Result<(), UpdateError> {
        let root = self.inode(ROOT_INO)?;
        visit(b"", &self.facts(&root)?);
        let mut open = vec![(ROOT_INO, Vec::new())];
        while let Some((number, path)) = open.pop() {
            let names = Directory::load(self.view, number)?.names(self.view)?;
            for (name, link) in names {
                let is_new = !self.inodes.contains_key(&link.inode);
                let inode = self.inode(link.inode)?;
                self.inodes.entry(link.inode).and_modify(|(names, _)| *names += 1);
                let child = [&path[..], if path.is_empty() { b"" } else { b"/" }, &name].concat();
                self.ensure_type(&inode, link.file_type, &child);
                if inode.kind() == S_IFDIR {
                    *self.subdirectories.entry(number).or_default() += 1;
                    if is_new && child.len() <= MAX_PATH {
                        open.push((link.inode, child.clone()));
                    }
                }
                visit(&child, &self.facts(&inode)?);
            }
        }
        Ok(())
    }

    fn ensure_type(&mut self, inode: &Inode, found: u8, path: &[u8]) {
        let kind = inode.kind() >> 9;
        let wanted = FILE_TYPES.iter().find(|(bits, _)| *bits == kind).map(|(_, file_type)| *file_type);
        if wanted != Some(found) {
            let path = tree::display(path);
            self.problems
                .push(format!("`{path}` has the type {:#o}, but its name says {found}", inode.kind()));
        }
    }

    fn facts(&self, inode: &Inode) -> Result<Facts, UpdateError> {
        let block_size = self.view.block_size();
        let content = match inode.kind() >> 9 {
            0o120 if inode.is_fast_link(block_size) => {
                Some(Digest::of(&inode.block()[..(inode.size() as usize).min(60)]))
            }
            0o120 => {
                let first = Map::read(self.view, inode, self.super_block())?.find(0);
                let bytes = first.map(|block| self.view.block(block)).transpose()?;
                bytes.map(|bytes| Digest::of(&bytes[..(inode.size() as usize).min(bytes.len())]))
            }
            0o020 | 0o060 => Some(Digest::of(&inode.block()[..DEVICE_LEN])),
            _ => None,
        };
        let block = match inode.file_acl() {
            0 => None,
            block => Some(self.view.block(block)?),
        };
        Ok(Facts {
            mode: inode.mode().into(),
            uid: inode.uid(),
            gid: inode.gid(),
            flags: inode.flags() & !(EXTENTS_FL | INDEX_FL),
            content,
            xattrs: xattr::digest_of_stored(inode.attributes(), block.as_deref()),
        })
    }

    /// Names that were found and names that inodes count.
    fn links(&mut self) {
        let first = self.super_block().first_inode();
        let mut wrong = Vec::new();
        // What has no name is deleted when the filesystem is mounted, or has a purpose of its own.
        let is_named = |number: u32, names: u32| number == ROOT_INO || number >= first && names > 0;
        for (number, (names, inode)) in
            self.inodes.iter().filter(|(number, (names, _))| is_named(**number, *names))
        {
            let below = self.subdirectories.get(number).copied().unwrap_or_default();
            let expected = if inode.kind() == S_IFDIR { 2 + below } else { *names };
            let is_uncounted = inode.kind() == S_IFDIR && inode.links() == UNCOUNTED;
            if u32::from(inode.links()) != expected && !is_uncounted {
                wrong.push(format!("inode {number} has {expected} names but counts {}", inode.links()));
            }
        }
        self.problems.extend(wrong.into_iter().take(NAMED));
    }

    /// Bitmaps and counts of groups.
    fn bitmaps(&mut self) -> Result<(), UpdateError> {
        let super_block = self.super_block();
        let per_group = super_block.inodes_per_group();
        for number in 0..self.view.groups.len() as u32 {
            let blocks = self.view.bitmap(number, Bitmap::Blocks)?;
            let range = super_block.group_range(number.into());
            let differs = |at: &u64| is_set(&blocks, at - range.start) != is_set(&self.used, *at);
            if let Some(at) = range.clone().find(differs) {
                let (is, not) = if is_set(&self.used, at) { ("in use", "free") } else { ("free", "in use") };
                self.problems.push(format!("block {at} is {is} but the bitmap of group {number} says {not}"));
            }
            let inodes = self.view.bitmap(number, Bitmap::Inodes)?;
            let first = number * per_group + 1;
            let in_use = |inode: u32| inode < super_block.first_inode() || self.inodes.contains_key(&inode);
            let differs = |index: &u32| is_set(&inodes, (*index).into()) != in_use(first + index);
            if let Some(index) = (0..per_group).find(differs) {
                let inode = first + index;
                let (is, not) = if in_use(inode) { ("in use", "free") } else { ("free", "in use") };
                self.problems
                    .push(format!("inode {inode} is {is} but the bitmap of group {number} says {not}"));
            }
            let inside = |inode: &&u32| (first..first + per_group).contains(*inode);
            let here = self.inodes.iter().filter(|(inode, _)| inside(inode));
            let directories = here.filter(|(_, (_, inode))| inode.kind() == S_IFDIR).count() as u32;
            let says = self.view.groups[number as usize].used_dirs();
            if directories != says {
                self.problems.push(format!("group {number} has {directories} directories but says {says}"));
            }
        }
        Ok(())
    }

    /// Copies of the superblock are for repairs; the kernel writes them only when the filesystem grows.
    fn copies(&mut self) -> Result<(), UpdateError> {
        let super_block = self.super_block();
        for group in (1..self.view.groups.len() as u64).filter(|group| super_block.has_copy(*group)) {
            let block = self.view.block(super_block.group_range(group).start)?;
            let own = SUPER_BLOCK_OFFSET as usize;
            let copy = block.first_chunk::<1024>().filter(|_| block.len() >= own);
            if !copy.is_some_and(|copy| super_block.is_copied_by(copy, group)) {
                self.problems.push(format!("the copy of the superblock in group {group} is another"));
            }
        }
        Ok(())
    }
}
