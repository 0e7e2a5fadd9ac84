//! Turns changes of names into changed blocks of metadata, in two steps: what adds, then what removes.

use std::collections::{BTreeMap, BTreeSet};

use super::super::raw::{LINK_MAX, get32, put32};
use super::Change;
use super::checksum::crc32c;
use super::directory::Directory;
use super::disk::Blocks;
use super::entry::{Link, TYPE_DIRECTORY, first_block};
use super::error::{UpdateError, corrupt};
use super::inode::{Inode, S_IFDIR};
use super::map::Map;
use super::names::{Listing, Names, refused};
use super::space::Space;
use super::stage::{Staged, one_block, stage_link, take_inode};
use super::transaction::{Class, Transaction};
use crate::tree::Stat;
use crate::value::Timestamp;

const TYPE_REGULAR: u8 = 1;
const TYPE_LINK: u8 = 7;

/// Changes on their way into a transaction.
pub(super) struct Application<'t, 'd> {
    pub view: &'t mut Transaction<'d>,
    pub space: &'t mut Space,
    pub orphans: &'t BTreeSet<u32>,
    pub time: Timestamp,
    names: Names,
    /// New inodes, without links.
    created: BTreeMap<u32, Inode>,
    /// Files that lose names but not all.
    fewer: Vec<Inode>,
    /// Inodes that lose their last name.
    gone: Vec<Inode>,
}

impl<'t, 'd> Application<'t, 'd> {
    /// Nothing applied yet.
    pub(super) fn new(
        view: &'t mut Transaction<'d>,
        space: &'t mut Space,
        orphans: &'t BTreeSet<u32>,
        time: Timestamp,
    ) -> Self {
        Application {
            view,
            space,
            orphans,
            time,
            names: Names::default(),
            created: BTreeMap::new(),
            fewer: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// Takes one change into account.
    pub(super) fn change(&mut self, change: &Change) -> Result<(), UpdateError> {
        match change {
            Change::Put { path, staged } => self.put(path, staged, TYPE_REGULAR),
            Change::Rename { from, to } => self.names.rename(self.view, from, to),
            Change::Remove { path } => self.names.remove(self.view, path),
            Change::Symlink { path, target } => {
                if target.is_empty() || target.len() as u64 >= self.view.block_size() {
                    return Err(refused(path, "cannot be a link: its target is empty or too long"));
                }
                let stat = Stat { mode: 0o777, uid: 0, gid: 0, mtime: self.time };
                let staged = stage_link(self.view, self.space, target, stat)?;
                self.put(path, &staged, TYPE_LINK)
            }
            Change::MakeDirectory { path, stat } => self.make_directory(path, *stat),
        }
    }

    fn put(&mut self, path: &[u8], staged: &Staged, file_type: u8) -> Result<(), UpdateError> {
        let link = Link { inode: staged.inode.number, file_type };
        self.names.set(self.view, path, link)?;
        for run in staged.blocks() {
            self.view.allocate(run)?;
        }
        for (block, bytes) in &staged.fresh {
            self.view.put(*block, Class::Fresh, bytes.clone());
        }
        self.create(staged.inode.clone())
    }

    fn create(&mut self, mut inode: Inode) -> Result<(), UpdateError> {
        self.view.allocate_inode(inode.number, inode.kind() == S_IFDIR)?;
        let mtime = inode.mtime();
        inode.set_birth(self.time);
        inode.set_mtime(mtime);
        self.created.insert(inode.number, inode);
        Ok(())
    }

    fn make_directory(&mut self, path: &[u8], stat: Stat) -> Result<(), UpdateError> {
        let (parent, name) = self.names.parent(self.view, path)?;
        if self.names.listing(self.view, parent)?.after.contains_key(name) {
            return Err(refused(path, "exists"));
        }
        let mut inode = take_inode(self.view, self.space, S_IFDIR, stat)?;
        let (block, fresh) = one_block(self.view, self.space, &mut inode)?;
        inode.set_size(self.view.block_size());
        let content = first_block(&inode, parent, &self.view.super_block);
        for (block, bytes) in fresh.into_iter().chain([(block, content)]) {
            self.view.allocate(block..block + 1)?;
            self.view.put(block, Class::Fresh, bytes);
        }
        let link = Link { inode: inode.number, file_type: TYPE_DIRECTORY };
        self.names.set(self.view, path, link)?;
        let directory = Directory::new(inode.clone(), block);
        let listing = Listing { directory, before: BTreeMap::new(), after: BTreeMap::new() };
        self.names.listings.insert(inode.number, listing);
        self.create(inode)
    }

    /// Everything that adds: new inodes, new names, names that lead elsewhere.
    pub(super) fn add(&mut self) -> Result<(), UpdateError> {
        let changes = self.names.link_changes();
        for (number, (change, file_type)) in &changes {
            if !self.created.contains_key(number) {
                self.recount(*number, *change, *file_type)?;
            }
        }
        for mut inode in std::mem::take(&mut self.created).into_values() {
            match changes.get(&inode.number) {
                None => self.gone.push(inode),
                Some((_, TYPE_DIRECTORY)) => {}
                Some((links, _)) => {
                    inode.set_links(*links as u16);
                    self.view.put_inode(&mut inode)?;
                }
            }
        }
        for inode in &self.gone {
            self.names.listings.remove(&inode.number);
        }
        for listing in self.names.listings.values_mut() {
            add_names(listing, self.view, self.space, self.time)?;
        }
        Ok(())
    }

    /// A file or directory that was there gains or loses names.
    fn recount(&mut self, number: u32, change: i64, file_type: u8) -> Result<(), UpdateError> {
        let mut inode = self.view.inode(number)?;
        if self.orphans.contains(&number) {
            return Err(UpdateError::NeedsCheck {
                state: "was about to delete or cut a file that is to change",
            });
        }
        let links = i64::from(inode.links()) + change;
        if links < 0 || inode.links() == 0 {
            return Err(corrupt(format!("inode {number} has more names than it counts")));
        }
        inode.set_ctime(self.time);
        if links == 0 || file_type == TYPE_DIRECTORY {
            self.gone.push(inode);
            return Ok(());
        }
        inode.set_links(links as u16);
        match change < 0 {
            true => self.fewer.push(inode),
            false => self.view.put_inode(&mut inode)?,
        }
        Ok(())
    }

    /// Everything that removes: names, inodes without names, their blocks.
    pub(super) fn remove(&mut self) -> Result<(), UpdateError> {
        for listing in self.names.listings.values() {
            for name in listing.before.keys().filter(|name| !listing.after.contains_key(*name)) {
                listing.directory.remove(self.view, name)?;
            }
        }
        for mut inode in std::mem::take(&mut self.fewer) {
            self.view.put_inode(&mut inode)?;
        }
        for inode in std::mem::take(&mut self.gone) {
            self.delete(inode)?;
        }
        for run in std::mem::take(&mut self.view.released) {
            self.view.release(run.clone())?;
            self.space.give(run);
        }
        Ok(())
    }

    fn delete(&mut self, mut inode: Inode) -> Result<(), UpdateError> {
        if inode.has_blocks(self.view.block_size()) {
            let map = Map::read(self.view, &inode, &self.view.super_block)?;
            map.ranges().for_each(|run| self.view.release_later(run));
        }
        if inode.file_acl() != 0 {
            self.release_attributes(inode.file_acl())?;
        }
        self.view.release_inode(&mut inode, self.time)?;
        self.space.give_inode(inode.number);
        Ok(())
    }

    /// A block of extended attributes may belong to several files.
    fn release_attributes(&mut self, block: u64) -> Result<(), UpdateError> {
        const MAGIC: u32 = 0xEA02_0000;
        const REFCOUNT: usize = 4;
        const CHECKSUM: usize = 16;
        let mut bytes = self.view.block(block)?;
        let count = get32(&bytes, REFCOUNT);
        if get32(&bytes, 0) != MAGIC || count == 0 {
            return Err(corrupt(format!("block {block} does not hold extended attributes")));
        }
        if count == 1 {
            self.view.release_later(block..block + 1);
            return Ok(());
        }
        put32(&mut bytes, REFCOUNT, count - 1);
        if self.view.super_block.has_metadata_csum() {
            put32(&mut bytes, CHECKSUM, 0);
            let seed = crc32c(self.view.super_block.checksum_seed(), &block.to_le_bytes());
            let crc = crc32c(seed, &bytes);
            put32(&mut bytes, CHECKSUM, crc);
        }
        self.view.put(block, Class::Table, bytes);
        Ok(())
    }
}

/// Adds and exchanges the names of one directory.
fn add_names(
    listing: &mut Listing,
    view: &mut Transaction,
    space: &mut Space,
    time: Timestamp,
) -> Result<(), UpdateError> {
    let is_new = listing.directory.inode.links() == 0;
    if !listing.is_changed() && !is_new {
        return Ok(());
    }
    let (before, after) = listing.subdirectories();
    for (name, link) in &listing.after {
        match listing.before.get(name) {
            Some(old) if old == link => {}
            Some(_) => listing.directory.exchange(view, name, *link)?,
            None => listing.directory.insert(view, space, name, *link)?,
        }
    }
    let inode = &mut listing.directory.inode;
    let links = if is_new { 2 } else { i64::from(inode.links()) } + after - before;
    if links >= i64::from(LINK_MAX) {
        return Err(UpdateError::Unsupported { what: format!("{links} links of a directory") });
    }
    // One link stands for more than can be counted.
    if inode.links() != 1 {
        inode.set_links(links as u16);
    }
    inode.set_ctime(time);
    inode.set_mtime(time);
    if is_new {
        inode.set_birth(time);
    }
    view.put_inode(inode)
}
