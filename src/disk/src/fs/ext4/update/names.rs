//! Contents of directories after all changes, before anything is decided about blocks.

use std::collections::BTreeMap;

use super::super::raw::ROOT_INO;
use super::directory::Directory;
use super::entry::{Link, TYPE_DIRECTORY};
use super::error::UpdateError;
use super::transaction::Transaction;
use crate::tree;

/// A directory before and after.
pub(super) struct Listing {
    /// Directory with its names.
    pub directory: Directory,
    /// Its names as they were.
    pub before: BTreeMap<Vec<u8>, Link>,
    /// Its names as they will be.
    pub after: BTreeMap<Vec<u8>, Link>,
}

/// The directories that were looked at, by inode.
#[derive(Default)]
pub(super) struct Names {
    /// Their names say which of them changed.
    pub listings: BTreeMap<u32, Listing>,
}

/// The error about a path.
pub(super) fn refused(path: &[u8], problem: &'static str) -> UpdateError {
    let trimmed = path.strip_prefix(b"/").unwrap_or(path);
    UpdateError::Path { path: format!("/{}", tree::display(trimmed).trim_start_matches('/')), problem }
}

impl Names {
    /// The names in a directory as they will be.
    pub(super) fn listing(&mut self, view: &Transaction, inode: u32) -> Result<&mut Listing, UpdateError> {
        if let std::collections::btree_map::Entry::Vacant(e) = self.listings.entry(inode) {
            let directory = Directory::load(view, inode)?;
            let before = directory.names(view)?;
            e.insert(Listing { directory, after: before.clone(), before });
        }
        Ok(self.listings.get_mut(&inode).expect("it was put there if it was not"))
    }

    /// Inode of the directory at `path`.
    pub(super) fn directory(&mut self, view: &Transaction, path: &[u8]) -> Result<u32, UpdateError> {
        let mut inode = ROOT_INO;
        for name in tree::components(path) {
            inode = match self.listing(view, inode)?.after.get(name) {
                Some(link) if link.file_type == TYPE_DIRECTORY => link.inode,
                Some(_) => return Err(refused(path, "leads through something that is not a directory")),
                None => return Err(refused(path, "does not exist")),
            };
        }
        Ok(inode)
    }

    /// Inode of the directory that `path` is in, and its name there.
    pub(super) fn parent<'p>(
        &mut self,
        view: &Transaction,
        path: &'p [u8],
    ) -> Result<(u32, &'p [u8]), UpdateError> {
        let components: Vec<&[u8]> = tree::components(path).collect();
        let Some((name, parents)) = components.split_last() else {
            return Err(refused(path, "is the root of the filesystem"));
        };
        if name.len() > 255 || !tree::is_component(name) {
            return Err(refused(path, "is not a name that ext4 can store"));
        }
        Ok((self.directory(view, &parents.join(&b'/'))?, name))
    }

    /// Returns the node `path` leads to; none if there is no such name in a directory that exists.
    pub(super) fn find(&mut self, view: &Transaction, path: &[u8]) -> Result<Option<Link>, UpdateError> {
        if tree::components(path).next().is_none() {
            return Ok(Some(Link { inode: ROOT_INO, file_type: TYPE_DIRECTORY }));
        }
        let (parent, name) = self.parent(view, path)?;
        Ok(self.listing(view, parent)?.after.get(name).copied())
    }

    /// Lets `path` lead to a file, instead of what was there unless that was a directory.
    pub(super) fn set(&mut self, view: &Transaction, path: &[u8], link: Link) -> Result<(), UpdateError> {
        let (parent, name) = self.parent(view, path)?;
        let after = &mut self.listing(view, parent)?.after;
        if after.get(name).is_some_and(|old| old.file_type == TYPE_DIRECTORY && *old != link) {
            return Err(refused(path, "is a directory"));
        }
        after.insert(name.to_vec(), link);
        Ok(())
    }

    /// Gives what is at `from` the name `to`.
    pub(super) fn rename(&mut self, view: &Transaction, from: &[u8], to: &[u8]) -> Result<(), UpdateError> {
        let (parent, name) = self.parent(view, from)?;
        let link = self.listing(view, parent)?.after.get(name).copied();
        let link = link.ok_or_else(|| refused(from, "does not exist"))?;
        let (target, target_name) = self.parent(view, to)?;
        if (target, target_name) == (parent, name) {
            return Ok(());
        }
        if link.file_type == TYPE_DIRECTORY {
            if target != parent {
                return Err(refused(from, "is a directory, which cannot be moved into another one"));
            }
            if self.listing(view, target)?.after.contains_key(target_name) {
                return Err(refused(to, "exists, and a directory cannot replace it"));
            }
        }
        self.set(view, to, link)?;
        self.listing(view, parent)?.after.remove(name);
        Ok(())
    }

    /// Removes what is at `path`: a file, or a directory without names.
    pub(super) fn remove(&mut self, view: &Transaction, path: &[u8]) -> Result<(), UpdateError> {
        let (parent, name) = self.parent(view, path)?;
        let link = self.listing(view, parent)?.after.get(name).copied();
        let link = link.ok_or_else(|| refused(path, "does not exist"))?;
        if link.file_type == TYPE_DIRECTORY && !self.listing(view, link.inode)?.after.is_empty() {
            return Err(refused(path, "is a directory that is not empty"));
        }
        self.listing(view, parent)?.after.remove(name);
        Ok(())
    }

    /// By how much the number of names of each inode changes.
    pub(super) fn link_changes(&self) -> BTreeMap<u32, (i64, u8)> {
        let mut changes = BTreeMap::new();
        for listing in self.listings.values() {
            for (links, by) in [(&listing.before, -1), (&listing.after, 1)] {
                for link in links.values() {
                    changes.entry(link.inode).or_insert((0, link.file_type)).0 += by;
                }
            }
        }
        changes.retain(|_, (change, _)| *change != 0);
        changes
    }
}

impl Listing {
    /// Directories in it: before, after.
    pub(super) fn subdirectories(&self) -> (i64, i64) {
        let count = |names: &BTreeMap<Vec<u8>, Link>| {
            names.values().filter(|link| link.file_type == TYPE_DIRECTORY).count() as i64
        };
        (count(&self.before), count(&self.after))
    }

    /// Returns whether any name changes.
    pub(super) fn is_changed(&self) -> bool {
        self.before != self.after
    }
}
