//! Inodes: the basic form where its fields suffice, else the extended one.

use super::SquashfsError;
use super::data::FileData;
use super::directory::Listing;
use super::layout::Layout;
use super::raw::{self, Put, inode_type};
use crate::tree::acl::mode_without_list;
use crate::tree::{Body, Device, NodeId};

/// Bytes a directory's `file_size` counts for `.` and `..`, which are not stored.
const DOT_ENTRIES: u64 = 3;

/// Basic type of a node, as directory entries have it.
pub(super) fn kind(body: &Body) -> u16 {
    match body {
        Body::Dir(_) => inode_type::DIR,
        Body::File(_) => inode_type::REG,
        Body::Symlink(_) => inode_type::SYMLINK,
        Body::Block(_) => inode_type::BLKDEV,
        Body::Char(_) => inode_type::CHRDEV,
        Body::Fifo => inode_type::FIFO,
        Body::Socket => inode_type::SOCKET,
    }
}

/// Makes the bytes of inodes.
pub(super) struct Inodes<'l, 't> {
    pub layout: &'l Layout<'t>,
}

impl Inodes<'_, '_> {
    /// A symbolic link, device, fifo or socket.
    pub(super) fn special(&self, id: NodeId) -> Vec<u8> {
        let body = &self.layout.tree.node(id).body;
        let xattr = self.xattr(id);
        let mut bytes = self.base(id, xattr.is_some());
        bytes.u32(self.layout.links[id.index()]);
        match body {
            Body::Symlink(target) => bytes.u32(target.len() as u32).extend_from_slice(target),
            Body::Block(Device { major, minor }) | Body::Char(Device { major, minor }) => {
                bytes.u32(raw::new_encode_dev(*major, *minor));
            }
            Body::Fifo | Body::Socket | Body::Dir(_) | Body::File(_) => {}
        }
        if let Some(xattr) = xattr {
            bytes.u32(xattr);
        }
        bytes
    }

    /// `squashfs_reg_inode` or `squashfs_lreg_inode`.
    pub(super) fn file(&self, id: NodeId, len: u64, data: &FileData) -> Vec<u8> {
        let (links, xattr) = (self.layout.links[id.index()], self.xattr(id));
        let (fragment, offset) = data.fragment.unwrap_or((raw::SQUASHFS_INVALID_FRAG, 0));
        let small = (u32::try_from(len), u32::try_from(data.start));
        let basic = links == 1 && xattr.is_none() && data.sparse == 0;
        let mut bytes;
        if let (true, (Ok(len), Ok(start))) = (basic, small) {
            bytes = self.base(id, false);
            bytes.u32(start).u32(fragment).u32(offset).u32(len);
        } else {
            bytes = self.base(id, true);
            // A file of holes only would have no blocks, which old kernels compute as nearly 2^64 of them.
            let sparse = data.sparse.min(len.saturating_sub(1));
            bytes.u64(data.start).u64(len).u64(sparse).u32(links).u32(fragment).u32(offset);
            bytes.u32(xattr.unwrap_or(raw::SQUASHFS_INVALID_XATTR));
        }
        data.sizes.iter().for_each(|size| {
            bytes.u32(*size);
        });
        bytes
    }

    /// `squashfs_dir_inode` or `squashfs_ldir_inode`.
    pub(super) fn directory(&self, id: NodeId, listing: &Listing) -> Result<Vec<u8>, SquashfsError> {
        let (links, parent) = (self.layout.links[id.index()], self.layout.parents[id.index()]);
        let (xattr, file_size) = (self.xattr(id), listing.len + DOT_ENTRIES);
        let start_block = listing.start.block as u32;
        if let (Ok(file_size), None, true) = (u16::try_from(file_size), xattr, listing.index.is_empty()) {
            let mut bytes = self.base(id, false);
            bytes.u32(start_block).u32(links).u16(file_size).u16(listing.start.offset).u32(parent);
            return Ok(bytes);
        }
        let file_size = self.directory_size(id, file_size)?;
        let mut bytes = self.base(id, true);
        // An index is a help only; one that its count cannot hold is cut, and the rest is searched.
        let index = &listing.index[..listing.index.len().min(u16::MAX.into())];
        bytes.u32(links).u32(file_size).u32(start_block).u32(parent);
        bytes.u16(index.len() as u16).u16(listing.start.offset);
        bytes.u32(xattr.unwrap_or(raw::SQUASHFS_INVALID_XATTR));
        for entry in index {
            bytes.u32(entry.index).u32(entry.start_block).u32(entry.name.len() as u32 - 1);
            bytes.extend_from_slice(entry.name);
        }
        Ok(bytes)
    }

    fn directory_size(&self, id: NodeId, len: u64) -> Result<u32, SquashfsError> {
        // The kernel keeps positions in a listing in an `int`.
        let max = i32::MAX as u64;
        if len > max {
            return Err(SquashfsError::DirectoryTooLarge { path: self.layout.path_of(id), len, max });
        }
        Ok(len as u32)
    }

    /// `squashfs_base_inode`.
    fn base(&self, id: NodeId, extended: bool) -> Vec<u8> {
        let (node, layout) = (self.layout.tree.node(id), self.layout);
        let extension = if extended { inode_type::EXTENDED } else { 0 };
        let mtime = node.stat.mtime.clamp(0, u32::MAX.into()) as u32;
        let mut bytes = Vec::with_capacity(64);
        bytes.u16(kind(&node.body) + extension).u16((mode_without_list(node) & 0o7777) as u16);
        bytes.u16(layout.id_index(node.stat.uid)).u16(layout.id_index(node.stat.gid));
        bytes.u32(mtime).u32(layout.numbers[id.index()]);
        bytes
    }

    fn xattr(&self, id: NodeId) -> Option<u32> {
        Some(self.layout.xattr_index[id.index()]).filter(|index| *index != raw::SQUASHFS_INVALID_XATTR)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Codec, Options, layout};
    use super::*;
    use crate::tree::{Content, Node, Stat, Tree};

    #[test]
    fn a_file_is_extended_when_its_fields_are_too_small() {
        let stat = Stat { mode: 0o644, uid: 0, gid: 0, mtime: 0 };
        let mut tree = Tree::new(stat);
        let content = Content::bytes(b"1".as_slice());
        let id = tree.insert(Tree::ROOT, b"file", Node::new(stat, Body::File(content)));
        let options = Options { codec: Codec::Stored, block_size: 4096, timestamp: 0, pack_tails: false };
        let layout = layout(&tree, &options).expect("a layout");
        let kind = |len: u64, start: u64, sparse: u64| {
            let data = FileData { start, sizes: vec![7, 8], fragment: None, sparse };
            let bytes = Inodes { layout: &layout }.file(id, len, &data);
            (u16::from_le_bytes([bytes[0], bytes[1]]), bytes.len())
        };
        let (basic, extended) = ((2, 32 + 8), (9, 56 + 8));
        assert_eq!(kind(5000, 96, 0), basic);
        assert_eq!(kind(5000, 96, 4096), extended);
        assert_eq!(kind(u32::MAX.into(), u32::MAX.into(), 0), basic);
        assert_eq!(kind(1 << 32, 96, 0), extended);
        assert_eq!(kind(5000, 1 << 32, 0), extended);
    }
}
