//! Compares everything but the contents of files with the layout an image was written from.

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::super::SquashfsError;
use super::super::layout::Layout;
use super::super::raw::{SuperBlock, new_encode_dev};
use super::super::write::{Written, flags_of};
use super::super::xattr;
use super::metadata::{Metadata, u64_at};
use super::walk::{FileMap, Inode, Kind, Walk};
use super::xattr::{XattrSet, XattrTable};
use super::{read_superblock, unreadable};
use crate::fs::{Damage, Problem};
use crate::tree::acl::mode_without_list;
use crate::tree::{self, Body, Node, NodeId};

/// Returns what differs from `layout`: names, kinds, modes, owners, times, link targets, device numbers, attributes,
/// link counts, and the tables that lead to inodes. Contents are not read.
pub(in super::super) fn compare(
    mut reader: impl Read + Seek,
    layout: &Layout,
    written: &Written,
) -> Result<Vec<Damage>, SquashfsError> {
    let superblock = read_superblock(&mut reader)?;
    ensure_superblock(&superblock, layout, written)?;
    let corrupt = |what: &str, reason| SquashfsError::Corrupt(format!("the table of {what} {reason}"));
    let mut metadata = Metadata::open(reader, superblock)?;
    let xattrs = XattrTable::open(&mut metadata).map_err(|reason| corrupt("attributes", reason))?;
    metadata.fragments().map_err(|reason| corrupt("fragments", reason))?;
    let places = metadata.table(superblock.lookup_table_start, superblock.inodes as usize, 8);
    let places = places.map_err(|reason| corrupt("inodes by number", reason))?;
    let places = places.chunks_exact(8).map(|place| u64_at(place, 0)).collect();
    Compare { layout, metadata, xattrs, places, damages: Vec::new() }.run()
}

/// Fails if a field that leads nowhere is not as written; the others are found wrong where they lead to.
fn ensure_superblock(found: &SuperBlock, layout: &Layout, written: &Written) -> Result<(), SquashfsError> {
    let options = &layout.options;
    let fields = [
        ("time", options.timestamp as u64, found.mkfs_time.into()),
        ("block size", options.block_size.into(), found.block_size.into()),
        ("compression", options.codec.id().into(), found.compression.into()),
        ("flags", flags_of(layout).into(), found.flags.into()),
        ("number of inodes", written.inodes.into(), found.inodes.into()),
        ("number of fragments", written.fragments.into(), found.fragments.into()),
        ("number of owners", layout.ids.len() as u64, found.no_ids.into()),
        ("length", written.bytes_used, found.bytes_used),
    ];
    let wrong = fields.into_iter().find(|(_, expected, found)| expected != found);
    let Some((what, expected, found)) = wrong else { return Ok(()) };
    Err(SquashfsError::Corrupt(format!("the superblock has the {what} {found} instead of {expected}")))
}

struct Compare<'a, 't, R> {
    layout: &'a Layout<'t>,
    metadata: Metadata<R>,
    xattrs: XattrTable,
    /// Places of the inodes, by number less one.
    places: Vec<u64>,
    damages: Vec<Damage>,
}

impl<R: Read + Seek> Compare<'_, '_, R> {
    fn run(mut self) -> Result<Vec<Damage>, SquashfsError> {
        let mut walk = Walk::new(&self.metadata);
        let mut names = 0;
        while let Some((path, inode)) = walk.next(&mut self.metadata) {
            match self.layout.tree.get(&path) {
                Some(id) => self.inode(&tree::display(&path), id, &inode)?,
                None => {
                    self.damages.push(Damage { path: tree::display(&path), problem: Problem::Unexpected })
                }
            }
            names += 1;
        }
        self.damages.append(&mut walk.damages);
        if names != self.layout.tree.walk().count() {
            self.missing();
        }
        Ok(self.damages)
    }

    /// Names that the walk does not come to.
    fn missing(&mut self) {
        let mut found = HashSet::new();
        let mut walk = Walk::new(&self.metadata);
        while let Some((path, _)) = walk.next(&mut self.metadata) {
            found.insert(path);
        }
        let missing = self.layout.tree.walk().filter(|(path, _)| !found.contains(path));
        let damage =
            |(path, _): (Vec<u8>, _)| Damage { path: tree::display(&path), problem: Problem::Missing };
        self.damages.extend(missing.map(damage));
    }

    fn inode(&mut self, path: &str, id: NodeId, inode: &Inode) -> Result<(), SquashfsError> {
        let node = self.layout.tree.node(id);
        let links = self.layout.links[id.index()];
        self.text(path, "kind", (node.body.kind(), inode.kind.name()));
        self.octal(path, (mode_without_list(node) & 0o7777, inode.mode));
        let (uid, gid) = (node.stat.uid, node.stat.gid);
        self.text(path, "owner", (format!("{uid}:{gid}"), format!("{}:{}", inode.uid, inode.gid)));
        let mtime = node.stat.mtime.clamp(0, u32::MAX.into());
        self.text(path, "modification time", (mtime, inode.mtime.into()));
        // A file without a count has one name.
        self.text(path, "number of links", (links, inode.links));
        self.body(path, id, inode);
        self.place(path, id, inode);
        self.attributes(path, node, inode)
    }

    fn body(&mut self, path: &str, id: NodeId, inode: &Inode) {
        match (&self.layout.tree.node(id).body, &inode.kind) {
            (Body::Symlink(expected), Kind::Symlink(found)) => {
                let show = |bytes: &[u8]| format!("`{}`", bytes.escape_ascii());
                self.text(path, "target", (show(expected), show(found)));
            }
            (Body::Char(expected), Kind::Char(found)) | (Body::Block(expected), Kind::Block(found)) => {
                let expected = new_encode_dev(expected.major, expected.minor);
                self.text(path, "device number", (expected, *found));
            }
            (Body::File(expected), Kind::File(found)) => {
                self.text(path, "size", (expected.len(), found.size));
                self.text(path, "number of bytes in holes", (self.holes(found), found.sparse));
            }
            (Body::Dir(_), Kind::Dir(found)) => {
                self.text(path, "parent's inode", (self.layout.parents[id.index()], found.parent));
                self.text(
                    path,
                    "index of names",
                    ("right", if found.index_is_right { "right" } else { "wrong" }),
                );
            }
            _ => {}
        }
    }

    /// Bytes in holes, of which a file always counts one as stored (see `squashfs_read_inode`).
    fn holes(&self, file: &FileMap) -> u64 {
        let block_size = u64::from(self.metadata.superblock.block_size);
        let len = |number: u64| block_size.min(file.size - (number * block_size).min(file.size));
        let holes = (0..).zip(&file.blocks).filter(|(_, size)| **size == 0);
        holes.map(|(number, _)| len(number)).sum::<u64>().min(file.size.saturating_sub(1))
    }

    /// The number of an inode, and whether that leads to it.
    fn place(&mut self, path: &str, id: NodeId, inode: &Inode) {
        let number = self.layout.numbers[id.index()];
        self.text(path, "inode number", (number, inode.number));
        let listed = self.places.get(number as usize - 1).copied();
        self.text(path, "place by its inode number", (inode.place, listed.unwrap_or(u64::MAX)));
    }

    fn attributes(&mut self, path: &str, node: &Node, inode: &Inode) -> Result<(), SquashfsError> {
        let mut expected = XattrSet::new();
        for (name, value) in &node.xattrs {
            if xattr::entry(path.as_bytes(), name, value)?.is_some() {
                expected.insert(name.to_vec(), value.to_vec());
            }
        }
        let found = match inode.xattrs.map(|index| self.xattrs.set(&mut self.metadata, index)) {
            None => XattrSet::new(),
            Some(Ok(set)) => set,
            Some(Err(reason)) => {
                self.damages.push(Damage { path: path.into(), problem: unreadable(reason) });
                return Ok(());
            }
        };
        self.damages.extend(Damage::unless_same(path, "attributes", (expected, found), |set| show_set(&set)));
        Ok(())
    }

    fn text<T: PartialEq + std::fmt::Display>(&mut self, path: &str, what: &'static str, pair: (T, T)) {
        self.damages.extend(Damage::unless_same(path, what, pair, |value| value.to_string()));
    }

    fn octal(&mut self, path: &str, modes: (u32, u32)) {
        self.damages.extend(Damage::unless_same(path, "mode", modes, |mode| format!("{mode:04o}")));
    }
}

/// Names with the start of their values.
fn show_set(set: &XattrSet) -> String {
    const SHOWN: usize = 32;
    let show = |(name, value): (&Vec<u8>, &Vec<u8>)| {
        let start = value[..value.len().min(SHOWN)].escape_ascii();
        let rest = if value.len() > SHOWN { "..." } else { "" };
        format!("{}=\"{start}{rest}\"", name.escape_ascii())
    };
    let shown: Vec<String> = set.iter().map(show).collect();
    format!("`{}`", shown.join(" "))
}
