//! Compares what `backhand` finds with the tree an image was written from.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{BufReader, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use backhand::{FilesystemReader, InnerNode, Node, SquashfsFileReader};

use super::super::layout::Layout;
use super::super::raw::new_encode_dev;
use super::{Check, path_of};
use crate::fs::{Damage, Problem, WrittenFile};
use crate::tree::acl::mode_without_list;
use crate::tree::{self, Body, Tree};

/// The longest link target it reads.
const SYMLINK_MAX: usize = 255;
/// It reads one metadata block of owners.
const IDS_MAX: usize = 2048;

/// It keeps the whole path of each node, and calls itself for each level: deeper than any system is.
pub(super) const PATH_MAX: usize = 1024;

/// Reason why this reader cannot read a tree, if there is one; then [`prove`](super::super::prove) does without it.
pub fn beyond(tree: &Tree) -> Option<String> {
    let stats = || tree.walk().map(|(_, id)| tree.node(id).stat);
    let ids: HashSet<u32> = stats().flat_map(|stat| [stat.uid, stat.gid]).collect();
    if ids.len() > IDS_MAX {
        return Some(format!("{} different owners, it reads {IDS_MAX}", ids.len()));
    }
    if let Some(len) = tree.walk().map(|(path, _)| path.len()).find(|len| *len > PATH_MAX) {
        return Some(format!("a path has {len} bytes, it reads {PATH_MAX}"));
    }
    let long = |(path, id): (Vec<u8>, _)| match &tree.node(id).body {
        Body::Symlink(target) if target.len() > SYMLINK_MAX => Some((path, target.len())),
        _ => None,
    };
    let (path, len) = tree.walk().find_map(long)?;
    Some(format!("the target of `{}` has {len} bytes, it reads {SYMLINK_MAX}", tree::display(&path)))
}

/// Returns what differs from `layout`: names, kinds, modes, owners, times, link targets, device numbers, and the digest
/// of every file against `written`, which is in the order of the tree. An error is the reason why the image cannot be
/// opened.
pub(in super::super) fn compare(
    reader: impl Read + Seek + Send,
    layout: &Layout,
    written: &[WrittenFile],
) -> Result<Vec<Damage>, String> {
    let image = FilesystemReader::from_reader(BufReader::new(reader)).map_err(|error| error.to_string())?;
    let mut compare = Compare { layout, check: Check::default() };
    compare.names(&image, written);
    Ok(compare.check.finish(&image))
}

struct Compare<'a, 't> {
    layout: &'a Layout<'t>,
    check: Check<'a>,
}

impl<'a> Compare<'a, '_> {
    /// Both sides are sorted by path.
    fn names(&mut self, image: &'a FilesystemReader, written: &'a [WrittenFile]) {
        let tree = self.layout.tree;
        let (mut found, mut written) = (image.files().peekable(), written.iter());
        for (path, id) in tree.walk() {
            let shown = || tree::display(&path);
            let file = match &tree.node(id).body {
                Body::File(_) => written.next(),
                _ => None,
            };
            while let Some(extra) = found.next_if(|node| as_path(path_of(node)) < as_path(&path)) {
                self.check.report(&tree::display(path_of(extra)), Problem::Unexpected);
            }
            match found.next_if(|node| path_of(node) == path) {
                Some(node) => self.node(&shown(), tree.node(id), node, file),
                None => self.check.report(&shown(), Problem::Missing),
            }
        }
        found.for_each(|extra| self.check.report(&tree::display(path_of(extra)), Problem::Unexpected));
    }

    fn node(
        &mut self,
        path: &str,
        node: &tree::Node,
        found: &'a Node<SquashfsFileReader>,
        written: Option<&'a WrittenFile>,
    ) {
        let (stat, header) = (node.stat, &found.header);
        self.octal(path, (mode_without_list(node) & 0o7777, header.permissions.into()));
        let owner = |uid: u32, gid: u32| format!("{uid}:{gid}");
        self.same(path, "owner", (owner(stat.uid, stat.gid), owner(header.uid, header.gid)));
        self.same(path, "modification time", (stat.mtime.clamp(0, u32::MAX.into()), header.mtime.into()));
        match (&node.body, &found.inner) {
            (Body::File(_), InnerNode::File(file)) => {
                let written = written.expect("a file of the tree has been written");
                self.check.add(written, file);
            }
            (Body::Symlink(target), InnerNode::Symlink(link)) => {
                let show = |bytes: &[u8]| format!("`{}`", bytes.escape_ascii());
                self.same(path, "target", (show(target), show(link.link.as_os_str().as_bytes())));
            }
            (Body::Char(device), InnerNode::CharacterDevice(found)) => {
                self.same(path, "device number", (encode(*device), found.device_number));
            }
            (Body::Block(device), InnerNode::BlockDevice(found)) => {
                self.same(path, "device number", (encode(*device), found.device_number));
            }
            (body, inner) => self.same(path, "kind", (body.kind(), kind(inner))),
        }
    }

    fn same<T: PartialEq + Display>(&mut self, path: &str, what: &'static str, pair: (T, T)) {
        let damage = Damage::unless_same(path, what, pair, |value| value.to_string());
        self.check.damages.extend(damage);
    }

    fn octal(&mut self, path: &str, modes: (u32, u32)) {
        let damage = Damage::unless_same(path, "mode", modes, |mode| format!("{mode:04o}"));
        self.check.damages.extend(damage);
    }
}

fn encode(device: tree::Device) -> u32 {
    new_encode_dev(device.major, device.minor)
}

/// Paths are sorted by component.
fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// As [`Body::kind`].
fn kind(inner: &InnerNode<SquashfsFileReader>) -> &'static str {
    match inner {
        InnerNode::File(_) => "file",
        InnerNode::Symlink(_) => "symbolic link",
        InnerNode::Dir(_) => "directory",
        InnerNode::CharacterDevice(_) => "character device",
        InnerNode::BlockDevice(_) => "block device",
        InnerNode::NamedPipe => "fifo",
        InnerNode::Socket => "socket",
    }
}
