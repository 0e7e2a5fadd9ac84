//! Paths that are looked at, and files that are read, before anything is changed.

use super::disk::Blocks;
use super::inode::{Inode, S_IFDIR, S_IFLNK, S_IFREG};
use super::map::Map;
use super::names::{Names, refused};
use super::{Kind, Metadata, UpdateError, Volume};
use crate::tree::Stat;

impl Volume<'_> {
    /// Returns the metadata of the file at `path`; none if there is nothing.
    pub fn stat(&self, path: impl AsRef<[u8]>) -> Result<Option<Metadata>, UpdateError> {
        Ok(self.inode(path.as_ref())?.map(|inode| self.metadata(&inode)))
    }

    fn inode(&self, path: &[u8]) -> Result<Option<Inode>, UpdateError> {
        let view = self.view();
        let link = match Names::default().find(&view, path) {
            // The directory it would be in does not exist either.
            Err(UpdateError::Path { .. }) => None,
            found => found?,
        };
        link.map(|link| view.inode(link.inode)).transpose()
    }

    fn metadata(&self, inode: &Inode) -> Metadata {
        let kind = match inode.kind() {
            S_IFREG => Kind::File,
            S_IFDIR => Kind::Directory,
            S_IFLNK => Kind::Symlink,
            _ => Kind::Special,
        };
        let mode = u32::from(inode.mode() & 0o7777);
        Metadata {
            kind,
            len: inode.size(),
            stat: Stat { mode, uid: inode.uid(), gid: inode.gid(), mtime: inode.mtime() },
            links: inode.links(),
            inode: inode.number,
            blocks: inode.blocks(self.super_block.block_size()),
        }
    }

    /// The names in the directory at `path`, in byte order.
    pub fn list(&self, path: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, UpdateError> {
        let view = self.view();
        let mut names = Names::default();
        let inode = names.directory(&view, path.as_ref())?;
        Ok(names.listing(&view, inode)?.after.keys().cloned().collect())
    }

    /// The content of the file at `path`, or the target of the link there.
    pub fn read(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>, UpdateError> {
        let mut bytes = Vec::new();
        self.copy(path, &mut |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// Hands the content of the file at `path` to `sink`, piece by piece.
    pub fn copy(&self, path: impl AsRef<[u8]>, sink: &mut dyn FnMut(&[u8])) -> Result<(), UpdateError> {
        let path = path.as_ref();
        let inode = self.inode(path)?.ok_or_else(|| refused(path, "does not exist"))?;
        if inode.is_fast_link(self.super_block.block_size()) {
            sink(&inode.block()[..(inode.size() as usize).min(60)]);
            return Ok(());
        }
        if !inode.has_blocks(self.super_block.block_size()) || inode.kind() == S_IFDIR {
            return Err(refused(path, "is not a file with content"));
        }
        let map = Map::read(&self.disk, &inode, &self.super_block)?;
        let block_size = self.super_block.block_size();
        for logical in 0..inode.size().div_ceil(block_size) {
            let len = (inode.size() - logical * block_size).min(block_size) as usize;
            match map.find(logical) {
                Some(block) => sink(&self.disk.block(block)?[..len]),
                None => sink(&vec![0; len]),
            }
        }
        Ok(())
    }
}
