//! From the root to every inode.

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::super::raw::{SQUASHFS_INVALID_XATTR, SQUASHFS_METADATA_SIZE, inode_type};
use super::metadata::{Cursor, Metadata, u16_at, u32_at, u64_at};
use super::unreadable;
use crate::fs::Damage;
use crate::tree;

/// An inode that was read.
pub(super) struct Inode {
    pub number: u32,
    /// Place of the inode: the reference that directories and the export table have.
    pub place: u64,
    pub links: u32,
    /// Index of its attributes.
    pub xattrs: Option<u32>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u32,
    pub kind: Kind,
}

/// Kind of an inode.
pub(super) enum Kind {
    Dir(Listing),
    File(FileMap),
    Symlink(Vec<u8>),
    Block(u32),
    Char(u32),
    Fifo,
    Socket,
}

/// Place of the entries of a directory.
pub(super) struct Listing {
    reference: u64,
    /// Uncompressed bytes.
    len: u64,
    /// Inode number of the directory above.
    pub parent: u32,
    /// Set if each entry of the index leads to a header of the listing and has the name behind it.
    pub index_is_right: bool,
}

/// A header in a listing, as an index names it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct IndexEntry {
    /// Bytes from the start of the listing.
    index: u32,
    /// Metadata block, relative to the table.
    start_block: u64,
    /// The first name behind it.
    name: Vec<u8>,
}

/// Place of the contents of a file.
pub(super) struct FileMap {
    pub size: u64,
    /// Bytes in holes, as the inode says.
    pub sparse: u64,
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
                Err(reason) => {
                    let (path, problem) = (tree::display(&path), unreadable(reason));
                    self.damages.push(Damage { path, problem });
                }
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
            let children = read_listing(metadata, listing, |_| ())?;
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
    let mut inode = Inode {
        number: u32_at(&base, 12),
        place: reference,
        links: 1,
        xattrs: None,
        mode: u16_at(&base, 2).into(),
        uid: metadata.id(u16_at(&base, 4))?,
        gid: metadata.id(u16_at(&base, 6))?,
        mtime: u32_at(&base, 8),
        kind: Kind::Fifo,
    };
    read_kind(metadata, &mut cursor, u16_at(&base, 0), &mut inode)?;
    inode.xattrs = inode.xattrs.filter(|index| *index != SQUASHFS_INVALID_XATTR);
    Ok(inode)
}

const LDIR: u16 = inode_type::DIR + inode_type::EXTENDED;
const LREG: u16 = inode_type::REG + inode_type::EXTENDED;

/// Reads what is behind the base of an inode.
fn read_kind<R: Read + Seek>(
    metadata: &mut Metadata<R>,
    cursor: &mut Cursor,
    inode_type: u16,
    inode: &mut Inode,
) -> Result<(), String> {
    match inode_type {
        inode_type::DIR => {
            let dir = metadata.take(cursor, 16)?;
            inode.links = u32_at(&dir, 4);
            inode.kind = Kind::Dir(listing(
                u32_at(&dir, 0),
                u16_at(&dir, 10),
                u16_at(&dir, 8).into(),
                u32_at(&dir, 12),
            ));
        }
        LDIR => {
            let dir = metadata.take(cursor, 24)?;
            (inode.links, inode.xattrs) = (u32_at(&dir, 0), Some(u32_at(&dir, 20)));
            let mut listing = listing(u32_at(&dir, 8), u16_at(&dir, 18), u32_at(&dir, 4), u32_at(&dir, 12));
            listing.index_is_right = index_is_right(metadata, cursor, u16_at(&dir, 16), &listing)?;
            inode.kind = Kind::Dir(listing);
        }
        inode_type::REG => {
            let file = metadata.take(cursor, 16)?;
            let fragment = (u32_at(&file, 4), u32_at(&file, 8));
            let (size, start) = (u32_at(&file, 12).into(), u32_at(&file, 0).into());
            inode.kind = Kind::File(read_file(metadata, cursor, size, start, fragment)?);
        }
        LREG => {
            let file = metadata.take(cursor, 40)?;
            let fragment = (u32_at(&file, 28), u32_at(&file, 32));
            (inode.links, inode.xattrs) = (u32_at(&file, 24), Some(u32_at(&file, 36)));
            let map = read_file(metadata, cursor, u64_at(&file, 8), u64_at(&file, 0), fragment)?;
            inode.kind = Kind::File(FileMap { sparse: u64_at(&file, 16), ..map });
        }
        _ => read_special(metadata, cursor, inode_type, inode)?,
    }
    Ok(())
}

/// Links, devices, fifos and sockets, whose extended form has one more field at its end.
fn read_special<R: Read + Seek>(
    metadata: &mut Metadata<R>,
    cursor: &mut Cursor,
    inode_type: u16,
    inode: &mut Inode,
) -> Result<(), String> {
    let extended = inode_type > inode_type::EXTENDED;
    let basic = if extended { inode_type - inode_type::EXTENDED } else { inode_type };
    if !(inode_type::SYMLINK..=inode_type::SOCKET).contains(&basic) {
        return Err(format!("has an inode of type {inode_type}, the last known one is 14"));
    }
    inode.links = u32_at(&metadata.take(cursor, 4)?, 0);
    let mut field = || Ok::<u32, String>(u32_at(&metadata.take(cursor, 4)?, 0));
    inode.kind = match basic {
        inode_type::BLKDEV => Kind::Block(field()?),
        inode_type::CHRDEV => Kind::Char(field()?),
        inode_type::SYMLINK => {
            let len = field()?;
            Kind::Symlink(metadata.take(cursor, len as usize)?)
        }
        inode_type::FIFO => Kind::Fifo,
        _ => Kind::Socket,
    };
    if extended {
        inode.xattrs = Some(u32_at(&metadata.take(cursor, 4)?, 0));
    }
    Ok(())
}

/// `file_size` counts three bytes for `.` and `..`.
fn listing(start_block: u32, offset: u16, file_size: u32, parent: u32) -> Listing {
    let reference = u64::from(start_block) << 16 | u64::from(offset);
    Listing { reference, len: u64::from(file_size).saturating_sub(3), parent, index_is_right: true }
}

/// Reads the `count` entries of an index and looks for each among the headers.
fn index_is_right<R: Read + Seek>(
    metadata: &mut Metadata<R>,
    cursor: &mut Cursor,
    count: u16,
    listing: &Listing,
) -> Result<bool, String> {
    let mut entries = Vec::new();
    for _ in 0..count {
        let entry = metadata.take(cursor, 12)?;
        let name = metadata.take(cursor, u32_at(&entry, 8) as usize % SQUASHFS_METADATA_SIZE + 1)?;
        entries.push(IndexEntry { index: u32_at(&entry, 0), start_block: u32_at(&entry, 4).into(), name });
    }
    if entries.is_empty() {
        return Ok(true);
    }
    let mut headers = Vec::new();
    read_listing(metadata, listing, |header| headers.push(header))?;
    Ok(entries.iter().all(|entry| headers.binary_search(entry).is_ok()))
}

fn read_file<R: Read + Seek>(
    metadata: &mut Metadata<R>,
    cursor: &mut Cursor,
    size: u64,
    start: u64,
    (fragment, offset): (u32, u32),
) -> Result<FileMap, String> {
    let block_size = u64::from(metadata.superblock.block_size);
    let fragment = (fragment != super::raw::SQUASHFS_INVALID_FRAG).then_some((fragment, offset));
    let count = if fragment.is_some() { size / block_size } else { size.div_ceil(block_size) };
    let list = metadata.take(cursor, usize::try_from(count.saturating_mul(4)).unwrap_or(usize::MAX))?;
    let blocks = list.chunks_exact(4).map(|size| u32_at(size, 0)).collect();
    Ok(FileMap { size, sparse: 0, start, blocks, fragment })
}

/// Names and inode references of a directory, in order; each header is reported.
fn read_listing<R: Read + Seek>(
    metadata: &mut Metadata<R>,
    listing: &Listing,
    mut header_is: impl FnMut(IndexEntry),
) -> Result<Vec<(Vec<u8>, u64)>, String> {
    let table = metadata.superblock.directory_table_start;
    let mut cursor = Cursor::new(table, listing.reference);
    let mut entries: Vec<(Vec<u8>, u64)> = Vec::new();
    let mut at = 0;
    while at < listing.len {
        let index = at as u32;
        metadata.settle(&mut cursor)?;
        let start_block = cursor.block.wrapping_sub(table);
        let header = metadata.take(&mut cursor, 12)?;
        let (count, block) = (u32_at(&header, 0), u64::from(u32_at(&header, 4)));
        at += 12;
        if count >= super::raw::SQUASHFS_DIR_COUNT as u32 {
            return Err(format!("has {} entries behind a header, 256 are the most", u64::from(count) + 1));
        }
        let first = entries.len();
        for _ in 0..=count {
            let entry = metadata.take(&mut cursor, 8)?;
            let name = metadata.take(&mut cursor, usize::from(u16_at(&entry, 6)) + 1)?;
            at += 8 + name.len() as u64;
            if !tree::is_component(&name) {
                return Err(format!("has an entry with the impossible name `{}`", tree::display(&name)));
            }
            entries.push((name, block << 16 | u64::from(u16_at(&entry, 0))));
        }
        header_is(IndexEntry { index, start_block, name: entries[first].0.clone() });
    }
    Ok(entries)
}
