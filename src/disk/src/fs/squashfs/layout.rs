//! Parts of a squashfs, from metadata alone: inode numbers, the order of inodes and data, owners,
//! attribute sets, and everything that is refused.

use std::collections::{BTreeSet, HashMap};

use super::xattr::{self, XattrSet};
use super::{BLOCK_SIZE_MAX, BLOCK_SIZE_MIN, Options, SquashfsError, raw};
use crate::fs::{Holds, Loss};
use crate::tree::{self, Body, Content, Device, Node, NodeId, Tree};
use crate::value::Timestamp;

/// Longest name Linux opens (`NAME_MAX`); the format itself could hold one byte more.
const NAME_MAX: usize = 255;
/// Longest link target: `squashfs_read_inode` refuses more than a page, and a page with its NUL is `PATH_MAX`.
const SYMLINK_MAX: usize = 4095;
/// `no_ids` is 16 bits.
const IDS_MAX: usize = u16::MAX as usize;

/// There are namespaces for some attributes, and 32 bits for a time.
pub(super) const HOLDS: Holds = Holds { xattr: xattr::is_stored, times: 0..=u32::MAX as Timestamp };

/// A squashfs that can be written. Borrows the tree.
#[derive(Debug)]
pub struct Layout<'t> {
    pub(super) tree: &'t Tree,
    pub(super) options: Options,
    /// Inode number by node; 0 for nodes that no name leads to.
    pub(super) numbers: Vec<u32>,
    /// Inode number of the parent directory by node; used for directories.
    pub(super) parents: Vec<u32>,
    /// `st_nlink` by node.
    pub(super) links: Vec<u32>,
    /// Nodes in the order of the inode table: what a directory names comes before it.
    pub(super) inode_order: Vec<NodeId>,
    /// Regular files in the order of their data.
    pub(super) files: Vec<(NodeId, &'t Content)>,
    /// Position in `files` by node.
    pub(super) file_index: Vec<u32>,
    /// Distinct user and group ids, ascending.
    pub(super) ids: Vec<u32>,
    /// Distinct attribute sets.
    pub(super) xattr_sets: Vec<XattrSet<'t>>,
    /// Position in `xattr_sets` by node, or `SQUASHFS_INVALID_XATTR`.
    pub(super) xattr_index: Vec<u32>,
    dropped: Vec<Loss>,
    size_bound: u64,
}

impl<'t> Layout<'t> {
    /// Attributes and times that the image will not have.
    pub fn dropped(&self) -> &[Loss] {
        &self.dropped
    }

    /// No image of this layout is larger, in bytes; a multiple of 4096.
    pub fn size_bound(&self) -> u64 {
        self.size_bound
    }

    /// Number of inodes there will be.
    pub fn inode_count(&self) -> u32 {
        self.inode_order.len() as u32
    }

    /// The first path of a node, for messages.
    pub(super) fn path_of(&self, id: NodeId) -> String {
        let found = self.tree.walk().find(|(_, other)| *other == id);
        found.map_or_else(|| "/".into(), |(path, _)| tree::display(&path))
    }

    /// Index of an owner in the id table.
    pub(super) fn id_index(&self, id: u32) -> u16 {
        self.ids.binary_search(&id).expect("the layout collected every id of the tree") as u16
    }
}

/// Everything that a squashfs of `tree` will not have, as [`Layout::dropped`].
pub fn losses(tree: &Tree) -> Vec<Loss> {
    HOLDS.losses(tree)
}

/// Plans a squashfs of `tree`. Opens no file.
pub fn layout<'t>(tree: &'t Tree, options: &Options) -> Result<Layout<'t>, SquashfsError> {
    reject_options(options)?;
    let (numbers, parents) = number_inodes(tree)?;
    let mut xattrs = XattrSets::default();
    let mut xattr_index = vec![raw::SQUASHFS_INVALID_XATTR; tree.capacity()];
    let mut ids = BTreeSet::new();
    let mut seen = vec![false; tree.capacity()];
    for (path, id) in tree.walk() {
        reject_name(&path)?;
        if std::mem::replace(&mut seen[id.index()], true) {
            continue;
        }
        let node = tree.node(id);
        reject_node(&path, node)?;
        ids.extend([node.stat.uid, node.stat.gid]);
        xattr_index[id.index()] = xattrs.add(&path, node)?;
    }
    let ids = collect_ids(ids)?;
    let inode_order = order_inodes(tree);
    let (files, file_index) = collect_files(tree, &inode_order);
    let mut layout = Layout {
        tree,
        options: options.clone(),
        numbers,
        parents,
        links: tree.link_counts(),
        inode_order,
        files,
        file_index,
        ids,
        xattr_sets: xattrs.sets,
        xattr_index,
        dropped: losses(tree),
        size_bound: 0,
    };
    layout.size_bound = size_bound(&layout);
    Ok(layout)
}

fn reject_options(options: &Options) -> Result<(), SquashfsError> {
    options.codec.reject_impossible_level()?;
    if !options.block_size.is_power_of_two()
        || !(BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX).contains(&options.block_size)
    {
        return Err(SquashfsError::BlockSize(options.block_size));
    }
    u32::try_from(options.timestamp).map_err(|_| SquashfsError::Timestamp(options.timestamp))?;
    Ok(())
}

/// Numbers from 1 for the root; the nodes of a directory get consecutive ones, as directory runs want them.
fn number_inodes(tree: &Tree) -> Result<(Vec<u32>, Vec<u32>), SquashfsError> {
    let mut numbers = vec![0; tree.capacity()];
    let mut parents = vec![0; tree.capacity()];
    let mut last = 1;
    numbers[Tree::ROOT.index()] = last;
    for (path, dir) in tree.walk() {
        for (name, child) in tree.node(dir).entries().into_iter().flatten() {
            let is_dir = tree.node(*child).entries().is_some();
            if numbers[child.index()] == 0 {
                last += 1;
                numbers[child.index()] = last;
                parents[child.index()] = numbers[dir.index()];
            } else if is_dir {
                return Err(SquashfsError::DirectoryLinked { path: tree::display(&tree::join(&path, name)) });
            }
        }
    }
    // The root's parent is a number that no inode has, as mksquashfs does it.
    parents[Tree::ROOT.index()] = last + 1;
    Ok((numbers, parents))
}

fn reject_name(path: &[u8]) -> Result<(), SquashfsError> {
    let len = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().len();
    if len > NAME_MAX {
        return Err(SquashfsError::NameTooLong { path: tree::display(path), len, max: NAME_MAX });
    }
    Ok(())
}

fn reject_node(path: &[u8], node: &Node) -> Result<(), SquashfsError> {
    match &node.body {
        Body::Symlink(target) if !(1..=SYMLINK_MAX).contains(&target.len()) => {
            let (path, len) = (tree::display(path), target.len());
            Err(SquashfsError::SymlinkLength { path, len, max: SYMLINK_MAX })
        }
        Body::Char(device) | Body::Block(device) => reject_device(path, *device),
        _ => Ok(()),
    }
}

fn reject_device(path: &[u8], device: Device) -> Result<(), SquashfsError> {
    for (which, given, max) in [("major", device.major, 0xfff), ("minor", device.minor, 0xf_ffff)] {
        if given > max {
            return Err(SquashfsError::DeviceNumber { path: tree::display(path), which, given, max });
        }
    }
    Ok(())
}

fn collect_ids(ids: BTreeSet<u32>) -> Result<Vec<u32>, SquashfsError> {
    if ids.len() > IDS_MAX {
        return Err(SquashfsError::TooManyIds { count: ids.len(), max: IDS_MAX });
    }
    Ok(ids.into_iter().collect())
}

/// For each directory: the trees below it, then its files, then itself. So the inodes a directory refers to are
/// already placed, and those of its files are neighbours.
fn order_inodes(tree: &Tree) -> Vec<NodeId> {
    let mut order = Vec::new();
    let mut placed = vec![false; tree.capacity()];
    let mut stack = vec![(Tree::ROOT, false)];
    while let Some((dir, below_done)) = stack.pop() {
        let children = || tree.node(dir).entries().into_iter().flatten().map(|(_, child)| *child);
        let is_dir = |id: &NodeId| tree.node(*id).entries().is_some();
        if below_done {
            for child in children().filter(|child| !is_dir(child)) {
                if !std::mem::replace(&mut placed[child.index()], true) {
                    order.push(child);
                }
            }
            order.push(dir);
        } else {
            stack.push((dir, true));
            let below: Vec<_> = children().filter(is_dir).collect();
            stack.extend(below.into_iter().rev().map(|dir| (dir, false)));
        }
    }
    order
}

fn collect_files<'t>(tree: &'t Tree, order: &[NodeId]) -> (Vec<(NodeId, &'t Content)>, Vec<u32>) {
    let mut files = Vec::new();
    let mut index = vec![u32::MAX; tree.capacity()];
    for id in order {
        if let Body::File(content) = &tree.node(*id).body {
            index[id.index()] = files.len() as u32;
            files.push((*id, content));
        }
    }
    (files, index)
}

/// The distinct attribute sets of a tree.
#[derive(Default)]
struct XattrSets<'t> {
    sets: Vec<XattrSet<'t>>,
    index: HashMap<XattrSet<'t>, u32>,
}

impl<'t> XattrSets<'t> {
    /// The index of the node's set.
    fn add(&mut self, path: &[u8], node: &'t Node) -> Result<u32, SquashfsError> {
        let mut set = XattrSet::new();
        for (name, value) in &node.xattrs {
            set.extend(xattr::entry(path, name, value)?);
        }
        if set.is_empty() {
            return Ok(raw::SQUASHFS_INVALID_XATTR);
        }
        let next = self.sets.len() as u32;
        let index = *self.index.entry(set.clone()).or_insert(next);
        if index == next {
            self.sets.push(set);
        }
        Ok(index)
    }
}

/// All data stored and all metadata uncompressed, with the largest form of every structure.
fn size_bound(layout: &Layout) -> u64 {
    let block_size = u64::from(layout.options.block_size);
    let mut tables = Tables::default();
    let mut data = 0;
    for id in &layout.inode_order {
        let node = layout.tree.node(*id);
        tables.inodes += 64;
        match &node.body {
            Body::File(content) => {
                data += content.len();
                tables.inodes += content.len().div_ceil(block_size) * 4;
                tables.fragments += 16;
            }
            Body::Symlink(target) => tables.inodes += target.len() as u64,
            Body::Dir(entries) => {
                // An entry with a header of its own; and in the index, one name for each 8 KiB.
                let listing: u64 = entries.keys().map(|name| 8 + name.len() as u64 + 12).sum();
                tables.directories += listing;
                tables.inodes += listing.div_ceil(8192) * (12 + 256);
            }
            _ => {}
        }
    }
    tables.export = u64::from(layout.inode_count()) * 8;
    tables.ids = layout.ids.len() as u64 * 4;
    let values = |set: &XattrSet| set.iter().map(|entry| entry.stored_len() as u64).sum::<u64>();
    tables.xattrs = layout.xattr_sets.iter().map(|set| values(set) + 16).sum();
    // Superblock and compressor options take less than 256 bytes.
    (256 + data + tables.size_bound()).next_multiple_of(super::sink::PADDING)
}

/// Uncompressed lengths.
#[derive(Default)]
struct Tables {
    inodes: u64,
    directories: u64,
    fragments: u64,
    export: u64,
    ids: u64,
    xattrs: u64,
}

impl Tables {
    /// Each metadata block adds two bytes and perhaps eight in an index; each table may end with a short block.
    fn size_bound(&self) -> u64 {
        [self.inodes, self.directories, self.fragments, self.export, self.ids, self.xattrs, 64]
            .into_iter()
            .map(|len| len + (len.div_ceil(8192) + 2) * 10)
            .sum()
    }
}
