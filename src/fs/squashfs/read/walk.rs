//! From the root to every inode.

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::super::raw::inode_type;
use super::Damage;
use super::metadata::{Cursor, Metadata, u16_at, u32_at, u64_at};
use crate::tree;

/// An inode that was read.
pub(super) struct Inode {
    pub number: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u32,
    pub kind: Kind,
}

/// What an inode is.
pub(super) enum Kind {
    Dir(Listing),
    File(FileMap),
    Symlink(Vec<u8>),
    Block(u32),
    Char(u32),
    Fifo,
    Socket,
}

/// Where the entries of a directory are.
pub(super) struct Listing {
    reference: u64,
    /// Uncompressed bytes.
    len: u64,
}

/// Where the contents of a file are.
pub(super) struct FileMap {
    pub size: u64,
    /// Position of the first data block.
    pub start: u64,
    /// Size fields of the data blocks.
    pub blocks: Vec<u32>,
    /// Index of the fragment block and byte inside of it.
    pub fragment: Option<(u32, u32)>,
}

impl Kind {
    /// As [`tree::Body::kind`].
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::Dir(_) => "directory",
            Kind::File(_) => "file",
            Kind::Symlink(_) => "symbolic link",
            Kind::Block(_) => "block device",
            Kind::Char(_) => "character device",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
        }
    }
}

/// Goes through all names, directories before their entries; what cannot be read is put aside.
pub(super) struct Walk {
    /// Paths and references of inodes.
    stack: Vec<(Vec<u8>, u64)>,
    /// Directories that were entered, against loops.
    entered: HashSet<u64>,
    pub damages: Vec<Damage>,
}

impl Walk {
    pub(super) fn new<R>(metadata: &Metadata<R>) -> Walk {
        let root = metadata.superblock.root_inode;
        Walk { stack: vec![(Vec::new(), root)], entered: HashSet::new(), damages: Vec::new() }
    }

    pub(super) fn next<R: Read + Seek>(&mut self, metadata: &mut Metadata<R>) -> Option<(Vec<u8>, Inode)> {
        while let Some((path, reference)) = self.stack.pop() {
            match self.visit(metadata, &path, reference) {
                Ok(inode) => return Some((path, inode)),
                Err(reason) => self.damages.push(Damage { path: tree::display(&path), reason }),
            }
        }
        None
    }

    fn visit<R: Read + Seek>(
        &mut self,
        metadata: &mut Metadata<R>,
        path: &[u8],
        reference: u64,
    ) -> Result<Inode, String> {
        let inode = read_inode(metadata, reference)?;
        if let Kind::Dir(listing) = &inode.kind {
            if !self.entered.insert(reference) {
                return Err("is a directory inside of itself".into());
            }
            let children = read_listing(metadata, listing)?;
            self.stack
                .extend(children.into_iter().rev().map(|(name, child)| (tree::join(path, &name), child)));
        }
        Ok(inode)
    }
}

fn read_inode<R: Read + Seek>(metadata: &mut Metadata<R>, reference: u64) -> Result<Inode, String> {
    let mut cursor = metadata.inode(reference);
    // `squashfs_base_inode`
    let base = metadata.take(&mut cursor, 16)?;
    Ok(Inode {
        number: u32_at(&base, 12),
        mode: u16_at(&base, 2).into(),
        uid: metadata.id(u16_at(&base, 4))?,
        gid: metadata.id(u16_at(&base, 6))?,
        mtime: u32_at(&base, 8),
        kind: read_kind(metadata, &mut cursor, u16_at(&base, 0))?,
    })
}

const LDIR: u16 = inode_type::DIR + inode_type::EXTENDED;
const LREG: u16 = inode_type::REG + inode_type::EXTENDED;

fn read_kind<R: Read + Seek>(
    metadata: &mut Metadata<R>,
    cursor: &mut Cursor,
    inode_type: u16,
) -> Result<Kind, String> {
    let basic =
        if inode_type > inode_type::EXTENDED { inode_type - inode_type::EXTENDED } else { inode_type };
    match (inode_type, basic) {
        (inode_type::DIR, _) => {
            let dir = metadata.take(cursor, 16)?;
            Ok(Kind::Dir(listing(u32_at(&dir, 0), u16_at(&dir, 10), u16_at(&dir, 8).into())))
        }
        (LDIR, _) => {
            let dir = metadata.take(cursor, 24)?;
            Ok(Kind::Dir(listing(u32_at(&dir, 8), u16_at(&dir, 18), u32_at(&dir, 4))))
        }
        (inode_type::REG, _) => {
            let file = metadata.take(cursor, 16)?;
            let fragment = (u32_at(&file, 4), u32_at(&file, 8));
            read_file(metadata, cursor, u32_at(&file, 12).into(), u32_at(&file, 0).into(), fragment)
        }
        (LREG, _) => {
            let file = metadata.take(cursor, 40)?;
            let fragment = (u32_at(&file, 28), u32_at(&file, 32));
            read_file(metadata, cursor, u64_at(&file, 8), u64_at(&file, 0), fragment)
        }
        (_, inode_type::SYMLINK) => {
            let len = u32_at(&metadata.take(cursor, 8)?, 4);
            Ok(Kind::Symlink(metadata.take(cursor, len as usize)?))
        }
        (_, inode_type::BLKDEV) => Ok(Kind::Block(u32_at(&metadata.take(cursor, 8)?, 4))),
        (_, inode_type::CHRDEV) => Ok(Kind::Char(u32_at(&metadata.take(cursor, 8)?, 4))),
        (_, inode_type::FIFO) => Ok(Kind::Fifo),
        (_, inode_type::SOCKET) => Ok(Kind::Socket),
        _ => Err(format!("has an inode of type {inode_type}, the last known one is 14")),
    }
}

/// `file_size` counts three bytes for `.` and `..`.
fn listing(start_block: u32, offset: u16, file_size: u32) -> Listing {
    let reference = u64::from(start_block) << 16 | u64::from(offset);
    Listing { reference, len: u64::from(file_size).saturating_sub(3) }
}

fn read_file<R: Read + Seek>(
    metadata: &mut Metadata<R>,
    cursor: &mut Cursor,
    size: u64,
    start: u64,
    (fragment, offset): (u32, u32),
) -> Result<Kind, String> {
    let block_size = u64::from(metadata.superblock.block_size);
    let fragment = (fragment != super::raw::SQUASHFS_INVALID_FRAG).then_some((fragment, offset));
    let count = if fragment.is_some() { size / block_size } else { size.div_ceil(block_size) };
    let list = metadata.take(cursor, usize::try_from(count.saturating_mul(4)).unwrap_or(usize::MAX))?;
    let blocks = list.chunks_exact(4).map(|size| u32_at(size, 0)).collect();
    Ok(Kind::File(FileMap { size, start, blocks, fragment }))
}

/// Names and inode references of a directory, in order.
fn read_listing<R: Read + Seek>(
    metadata: &mut Metadata<R>,
    listing: &Listing,
) -> Result<Vec<(Vec<u8>, u64)>, String> {
    let mut cursor = Cursor::new(metadata.superblock.directory_table_start, listing.reference);
    let mut entries = Vec::new();
    let mut at = 0;
    while at < listing.len {
        let header = metadata.take(&mut cursor, 12)?;
        let (count, block) = (u32_at(&header, 0), u64::from(u32_at(&header, 4)));
        at += 12;
        if count >= super::raw::SQUASHFS_DIR_COUNT as u32 {
            return Err(format!("has {} entries behind a header, 256 are the most", u64::from(count) + 1));
        }
        for _ in 0..=count {
            let entry = metadata.take(&mut cursor, 8)?;
            let name = metadata.take(&mut cursor, usize::from(u16_at(&entry, 6)) + 1)?;
            at += 8 + name.len() as u64;
            if !tree::is_component(&name) {
                return Err(format!("has an entry with the impossible name `{}`", tree::display(&name)));
            }
            entries.push((name, block << 16 | u64::from(u16_at(&entry, 0))));
        }
    }
    Ok(entries)
}
