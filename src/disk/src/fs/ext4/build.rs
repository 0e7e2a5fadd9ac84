//! From nodes to inodes, directories and extents.

use std::collections::BTreeMap;
use std::ops::Range;

use super::dir::{self, Entry, FileType};
use super::extent::{ExtentTree, Run, extent_tree};
use super::geometry::Geometry;
use super::layout::{Data, Piece, Space, check_options, journal_blocks};
use super::raw::{self, ADDR_PER_BLOCK, BLOCK, Inode, put32};
use super::{Ext4Error, Options, xattr};
use crate::tree::{self, Body, Content, Node, NodeId, Stat, Tree, Xattrs};

/// Name of the directory that e2fsck moves orphans to.
const LOST_FOUND: &[u8] = b"lost+found";
/// Blocks of `lost+found`, so that e2fsck need not allocate any: 16 KiB as in mke2fs.
const LOST_FOUND_BLOCKS: usize = 4;
/// Longest symbolic link in the inode, and longest at all.
const FAST_SYMLINK: usize = 59;
const LONGEST_SYMLINK: usize = 4095;

/// A layout in the making.
pub(super) struct Builder<'t, 'o> {
    pub tree: &'t Tree,
    pub options: &'o Options,
    pub region_len: u64,
    pub geometry: Geometry,
    pub space: Space,
    /// Inode number by node; 0 for what is not reachable.
    pub numbers: Vec<u32>,
    /// By number, from 1.
    pub inodes: Vec<Option<Inode>>,
    pub pieces: Vec<Piece>,
    pub files: Vec<(Vec<u8>, NodeId)>,
    pub journal_blocks: u64,
}

/// The inode numbers of nodes.
pub(super) struct Numbering {
    /// By node; 0 for what is not reachable.
    pub numbers: Vec<u32>,
    pub last: u32,
}

impl Numbering {
    /// The root is 2, `lost+found` 11, the rest follows in tree order.
    pub(super) fn for_tree(tree: &Tree) -> Result<Numbering, Ext4Error> {
        let mut numbering = Numbering { numbers: vec![0; tree.capacity()], last: raw::FIRST_INO };
        numbering.numbers[Tree::ROOT.index()] = raw::ROOT_INO;
        if let Some(lost_found) = tree.child(Tree::ROOT, LOST_FOUND) {
            numbering.numbers[lost_found.index()] = raw::FIRST_INO;
        }
        for (path, id) in tree.walk() {
            check_name(&path)?;
            if numbering.numbers[id.index()] == 0 {
                numbering.last += 1;
                numbering.numbers[id.index()] = numbering.last;
            }
        }
        Ok(numbering)
    }
}

/// Every node once, by its first name. Paths are made on the way: those of a deep tree are longer than all else.
fn first_names(tree: &Tree) -> impl Iterator<Item = (Vec<u8>, NodeId)> {
    let mut seen = vec![false; tree.capacity()];
    tree.walk().filter(move |(_, id)| !std::mem::replace(&mut seen[id.index()], true))
}

impl<'t, 'o> Builder<'t, 'o> {
    /// Gives every node an inode and blocks.
    pub(super) fn run(
        tree: &'t Tree,
        options: &'o Options,
        region_len: u64,
    ) -> Result<Builder<'t, 'o>, Ext4Error> {
        check_options(options)?;
        check_lost_found(tree)?;
        let Numbering { numbers, last } = Numbering::for_tree(tree)?;
        let geometry = Geometry::new(options, region_len / BLOCK, u64::from(last).max(options.inodes))?;
        let journal_blocks = journal_blocks(options, geometry.blocks)?;
        let space = Space::for_geometry(&geometry);
        let mut builder = Builder {
            tree,
            options,
            region_len,
            geometry,
            space,
            numbers,
            inodes: vec![None; last as usize],
            pieces: Vec::new(),
            files: Vec::new(),
            journal_blocks,
        };
        builder.add_nodes()?;
        Ok(builder)
    }

    /// Metadata first and contents last, so that one ascending pass writes metadata first, too.
    fn add_nodes(&mut self) -> Result<(), Ext4Error> {
        let parents = parents(self.tree);
        let mut links = self.tree.link_counts();
        if self.tree.child(Tree::ROOT, LOST_FOUND).is_none() {
            links[Tree::ROOT.index()] += 1;
            self.add_lost_found();
        }
        self.add_resize_inode();
        for (path, id) in first_names(self.tree) {
            self.add_node(&path, id, links[id.index()], &parents)?;
        }
        self.add_journal();
        for (path, id) in first_names(self.tree) {
            if let Body::File(content) = &self.tree.node(id).body {
                self.add_file(&path, id, content)?;
                self.files.push((path, id));
            }
        }
        Ok(())
    }

    fn set_inode(&mut self, number: u32, inode: Inode) {
        self.inodes[number as usize - 1] = Some(inode);
    }

    fn new_inode(&self, stat: &Stat, file_type_bits: u32) -> Inode {
        Inode {
            mode: (stat.mode & 0o7777 | file_type_bits) as u16,
            uid: stat.uid,
            gid: stat.gid,
            size: 0,
            mtime: stat.mtime,
            timestamp: self.options.timestamp,
            links_count: 1,
            blocks: 0,
            flags: 0,
            block: [0; 60],
            file_acl: 0,
            ibody: Vec::new(),
        }
    }

    fn own_stat(&self, mode: u32) -> Stat {
        Stat { mode, uid: 0, gid: 0, mtime: self.options.timestamp }
    }

    /// Everything of a node but the content of a regular file.
    fn add_node(
        &mut self,
        path: &[u8],
        id: NodeId,
        links: u32,
        parents: &BTreeMap<NodeId, NodeId>,
    ) -> Result<(), Ext4Error> {
        let tree = self.tree;
        let node = tree.node(id);
        check_node(path, node, links)?;
        let mut inode = self.new_inode(&node.stat, node.body.file_type_bits());
        // A directory with more than LINK_MAX links does not count them: `dir_nlink`.
        inode.links_count = if links > raw::LINK_MAX { 1 } else { links as u16 };
        self.add_xattrs(path, &node.xattrs, &mut inode)?;
        match &node.body {
            Body::Dir(_) => {
                let parent = parents.get(&id).copied().unwrap_or(Tree::ROOT);
                self.add_dir(id, parent, &mut inode);
            }
            Body::Symlink(target) => self.add_symlink(path, target, &mut inode)?,
            Body::Char(device) | Body::Block(device) => {
                inode.block = raw::device_block(device.major, device.minor);
            }
            Body::File(_) | Body::Fifo | Body::Socket => {}
        }
        self.set_inode(self.numbers[id.index()], inode);
        Ok(())
    }

    fn add_xattrs(&mut self, path: &[u8], xattrs: &Xattrs, inode: &mut Inode) -> Result<(), Ext4Error> {
        let encoded = xattr::encode(path, xattrs)?;
        inode.ibody = encoded.ibody;
        if let Some(bytes) = encoded.block {
            let at = self.space.take_one();
            inode.file_acl = at as u32;
            inode.blocks += 1;
            self.pieces.push(Piece { start: at, blocks: 1, data: Data::Bytes(bytes) });
        }
        Ok(())
    }

    fn add_dir(&mut self, id: NodeId, parent: NodeId, inode: &mut Inode) {
        let tree = self.tree;
        let children = tree.node(id).entries().into_iter().flatten();
        let mut entries: Vec<Entry> = children
            .map(|(name, child)| Entry {
                name,
                inode: self.numbers[child.index()],
                file_type: file_type(&tree.node(*child).body),
            })
            .collect();
        if id == Tree::ROOT && tree.child(id, LOST_FOUND).is_none() {
            let lost_found = Entry { name: LOST_FOUND, inode: raw::FIRST_INO, file_type: FileType::Dir };
            let at = entries.partition_point(|entry| entry.name < LOST_FOUND);
            entries.insert(at, lost_found);
        }
        let (number, parent) = (self.numbers[id.index()], self.numbers[parent.index()]);
        let mut dir = dir::dir(number, parent, &entries, self.options.hash_seed);
        if number == raw::FIRST_INO && !dir.indexed {
            let blocks = dir.bytes.len() / BLOCK as usize;
            dir::append_empty_blocks(&mut dir, LOST_FOUND_BLOCKS.saturating_sub(blocks));
        }
        inode.flags |= if dir.indexed { raw::INDEX_FL } else { 0 };
        self.add_bytes(dir.bytes, inode);
    }

    fn add_lost_found(&mut self) {
        let mut inode = self.new_inode(&self.own_stat(0o700), 0o040_000);
        inode.links_count = 2;
        let mut dir = dir::dir(raw::FIRST_INO, raw::ROOT_INO, &[], self.options.hash_seed);
        dir::append_empty_blocks(&mut dir, LOST_FOUND_BLOCKS - 1);
        self.add_bytes(dir.bytes, &mut inode);
        self.set_inode(raw::FIRST_INO, inode);
    }

    fn add_symlink(&mut self, path: &[u8], target: &[u8], inode: &mut Inode) -> Result<(), Ext4Error> {
        match target.len() {
            0 => return Err(Ext4Error::SymlinkEmpty { path: tree::display(path) }),
            len if len <= FAST_SYMLINK => {
                inode.block[..len].copy_from_slice(target);
                inode.size = len as u64;
            }
            len if len <= LONGEST_SYMLINK => self.add_bytes(target.to_vec(), inode),
            len => return Err(Ext4Error::SymlinkTooLong { path: tree::display(path), len }),
        }
        Ok(())
    }

    /// Gives `inode` these bytes as its content.
    fn add_bytes(&mut self, bytes: Vec<u8>, inode: &mut Inode) {
        inode.size = bytes.len() as u64;
        let runs = self.map_blocks(inode, &[Range { start: 0, end: inode.size.div_ceil(BLOCK) }]);
        let mut rest = bytes.as_slice();
        for Run { place, .. } in runs {
            let blocks = place.end - place.start;
            let (head, tail) = rest.split_at(rest.len().min((blocks * BLOCK) as usize));
            self.pieces.push(Piece { start: place.start, blocks, data: Data::Bytes(head.to_vec()) });
            rest = tail;
        }
    }

    /// Takes blocks for these of the file and makes the extent tree, whose nodes follow the content.
    fn map_blocks(&mut self, inode: &mut Inode, stored: &[Range<u64>]) -> Vec<Run> {
        let blocks: u64 = stored.iter().map(|range| range.end - range.start).sum();
        let mut runs = Vec::new();
        for range in stored {
            let mut block = range.start;
            for place in self.space.take(range.end - range.start) {
                let len = place.end - place.start;
                runs.push(Run { block, place });
                block += len;
            }
        }
        let ExtentTree { root, nodes } = extent_tree(&runs, BLOCK, || self.space.take_one());
        inode.flags |= raw::EXTENTS_FL;
        inode.block = root;
        inode.blocks += blocks + nodes.len() as u64;
        for (start, bytes) in nodes {
            self.pieces.push(Piece { start, blocks: 1, data: Data::Bytes(bytes) });
        }
        runs
    }

    fn add_file(&mut self, path: &[u8], id: NodeId, content: &Content) -> Result<(), Ext4Error> {
        let number = self.numbers[id.index()] as usize - 1;
        let Some(mut inode) = self.inodes[number].take() else { return Ok(()) };
        inode.size = content.len();
        if inode.size > raw::MAX_FILE {
            let (path, max) = (tree::display(path), raw::MAX_FILE);
            return Err(Ext4Error::FileTooLarge { path, len: inode.size, max });
        }
        for Run { block, place } in self.map_blocks(&mut inode, &stored_blocks(content)) {
            let blocks = place.end - place.start;
            self.pieces.push(Piece { start: place.start, blocks, data: Data::File { node: id, block } });
        }
        self.inodes[number] = Some(inode);
        Ok(())
    }

    fn add_journal(&mut self) {
        if self.journal_blocks == 0 {
            return;
        }
        let mut inode = self.new_inode(&self.own_stat(0o600), 0o100_000);
        inode.size = self.journal_blocks * BLOCK;
        let runs = self.map_blocks(&mut inode, &[Range { start: 0, end: self.journal_blocks }]);
        for (index, Run { place: run, .. }) in runs.into_iter().enumerate() {
            let mut start = run.start;
            if index == 0 {
                let data = Data::JournalSuperBlock { blocks: self.journal_blocks };
                self.pieces.push(Piece { start, blocks: 1, data });
                start += 1;
            }
            self.pieces.push(Piece { start, blocks: run.end - start, data: Data::Zero });
        }
        self.set_inode(raw::JOURNAL_INO, inode);
    }

    /// The inode through whose double indirect block the reserved descriptor blocks are in use
    /// (`fs/ext4/resize.c`): the second level is those of group 0, the third their copies in other groups.
    fn add_resize_inode(&mut self) {
        let at = self.space.take_one();
        let first = 1 + self.geometry.desc_blocks;
        let reserved = self.geometry.reserved_gdt;
        let mut indirect = vec![0; BLOCK as usize];
        for index in 0..reserved {
            let slot = (self.geometry.desc_blocks + index) % ADDR_PER_BLOCK;
            put32(&mut indirect, 4 * slot as usize, (first + index) as u32);
        }
        let mut inode = self.new_inode(&self.own_stat(0o600), 0o100_000);
        inode.size = (12 + ADDR_PER_BLOCK + ADDR_PER_BLOCK * ADDR_PER_BLOCK) * BLOCK;
        inode.blocks = 1 + reserved * (1 + self.geometry.super_copies().count() as u64);
        put32(&mut inode.block, 4 * 13, at as u32);
        self.pieces.push(Piece { start: at, blocks: 1, data: Data::Bytes(indirect) });
        self.set_inode(raw::RESIZE_INO, inode);
    }
}

/// Blocks of a file that are stored. The first always is: old U-Boots fail for a file that begins with a hole.
fn stored_blocks(content: &Content) -> Vec<Range<u64>> {
    let all = content.len().div_ceil(BLOCK);
    let Some(ranges) = content.stored_ranges() else { return vec![Range { start: 0, end: all }] };
    let mut stored = vec![Range { start: 0, end: all.min(1) }];
    for range in ranges {
        let (start, end) = (range.start / BLOCK, range.end.div_ceil(BLOCK));
        match stored.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => stored.push(start..end),
        }
    }
    stored
}

/// The directory that each directory is in.
fn parents(tree: &Tree) -> BTreeMap<NodeId, NodeId> {
    let mut parents = BTreeMap::new();
    for id in tree.walk_nodes() {
        for child in tree.node(id).entries().into_iter().flat_map(BTreeMap::values) {
            if tree.node(*child).entries().is_some() {
                parents.insert(*child, id);
            }
        }
    }
    parents
}

fn file_type(body: &Body) -> FileType {
    match body {
        Body::Dir(_) => FileType::Dir,
        Body::File(_) => FileType::Regular,
        Body::Symlink(_) => FileType::Symlink,
        Body::Char(_) => FileType::Char,
        Body::Block(_) => FileType::Block,
        Body::Fifo => FileType::Fifo,
        Body::Socket => FileType::Socket,
    }
}

fn check_lost_found(tree: &Tree) -> Result<(), Ext4Error> {
    match tree.child(Tree::ROOT, LOST_FOUND).map(|id| &tree.node(id).body) {
        None | Some(Body::Dir(_)) => Ok(()),
        Some(body) => Err(Ext4Error::LostFound { kind: body.kind() }),
    }
}

fn check_name(path: &[u8]) -> Result<(), Ext4Error> {
    match path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().len() {
        0..=255 => Ok(()),
        len => Err(Ext4Error::NameTooLong { path: tree::display(path), len }),
    }
}

fn check_node(path: &[u8], node: &Node, links: u32) -> Result<(), Ext4Error> {
    if links > raw::LINK_MAX && node.entries().is_none() {
        return Err(Ext4Error::TooManyLinks { path: tree::display(path), links });
    }
    let mtime = node.stat.mtime;
    if !raw::TIME_RANGE.contains(&mtime) {
        return Err(Ext4Error::TimeOutOfRange { path: tree::display(path), mtime });
    }
    Ok(())
}
