//! From a tree to a list of entries. Reads metadata only.

use std::collections::HashMap;

use super::CpioError;
use super::raw::{BLOCK_SIZE, HEADER_SIZE, Header, PATH_MAX, TRAILER};
use crate::fs::{Holds, Loss};
use crate::tree::acl::mode_without_list;
use crate::tree::{Body, Content, Node, NodeId, Tree, display};
use crate::value::Timestamp;

/// An archive whose every byte is decided. Borrows the contents of the tree.
#[derive(Debug)]
pub struct Layout<'t> {
    pub(super) entries: Vec<Entry<'t>>,
    dropped: Vec<Loss>,
}

/// No attributes, and 32 bits for a time.
const HOLDS: Holds = Holds { xattr: |_| false, times: 0..=u32::MAX as Timestamp };

impl Layout<'_> {
    /// Attributes and times that the archive will not have.
    pub fn dropped(&self) -> &[Loss] {
        &self.dropped
    }

    /// Bytes of the archive before compression.
    pub fn len(&self) -> u64 {
        let named = |name: &[u8]| (HEADER_SIZE + name.len() as u64 + 1).next_multiple_of(4);
        let entry =
            |entry: &Entry| named(entry.name()) + u64::from(entry.header.filesize).next_multiple_of(4);
        let entries: u64 = self.entries.iter().map(entry).sum();
        (entries + named(TRAILER)).next_multiple_of(BLOCK_SIZE)
    }

    /// Never: an archive has at least its end mark.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// One name in the archive.
#[derive(Debug)]
pub(super) struct Entry<'t> {
    pub path: Vec<u8>,
    pub header: Header,
    pub data: Data<'t>,
}

impl Entry<'_> {
    /// The name as it is stored: relative, the root as `.`.
    pub(super) fn name(&self) -> &[u8] {
        if self.path.is_empty() { b"." } else { &self.path }
    }
}

/// Bytes that follow a header.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data<'t> {
    /// Nothing: a directory or a device.
    None,
    /// The content of a regular file.
    Content(&'t Content),
    /// Nothing: the content follows with another name of the file.
    Later,
    /// The target of a symbolic link.
    Target(&'t [u8]),
}

/// Decides order, inode numbers and which name of a file carries its data.
///
/// # Errors
/// If something is too large for the format, or longer than what Linux unpacks.
pub fn layout(tree: &Tree) -> Result<Layout<'_>, CpioError> {
    let mut names: Vec<(Vec<u8>, NodeId)> = tree.walk().collect();
    // By the bytes of the whole path, unlike the walk: `a-b` is before `a/b`.
    names.sort_unstable();
    let mut builder =
        Builder { tree, links: tree.link_counts(), inos: HashMap::new(), waiting: HashMap::new() };
    let mut layout = Layout { entries: Vec::with_capacity(names.len()), dropped: HOLDS.losses(tree) };
    for (path, id) in names {
        builder.add(path, id, &mut layout.entries)?;
    }
    Ok(layout)
}

struct Builder<'t> {
    tree: &'t Tree,
    links: Vec<u32>,
    inos: HashMap<NodeId, u32>,
    /// Names of a file that wait for its last one.
    waiting: HashMap<NodeId, Vec<Vec<u8>>>,
}

impl<'t> Builder<'t> {
    /// Appends the entry, or lets the name wait.
    fn add(&mut self, path: Vec<u8>, id: NodeId, entries: &mut Vec<Entry<'t>>) -> Result<(), CpioError> {
        let node = self.tree.node(id);
        let header = self.header(&path, id, node)?;
        let data = match &node.body {
            Body::File(content) => Data::Content(content),
            Body::Symlink(target) => Data::Target(target),
            _ => Data::None,
        };
        let links = self.links[id.index()];
        if links < 2 || !matches!(data, Data::Content(_)) {
            entries.push(Entry { path, header, data });
            return Ok(());
        }
        let waiting = self.waiting.entry(id).or_default();
        if waiting.len() + 1 < links as usize {
            waiting.push(path);
            return Ok(());
        }
        // GNU cpio keeps waiting names on a stack.
        for path in std::mem::take(waiting).into_iter().rev() {
            entries.push(Entry { path, header: Header { filesize: 0, ..header }, data: Data::Later });
        }
        entries.push(Entry { path, header, data });
        Ok(())
    }

    fn header(&mut self, path: &[u8], id: NodeId, node: &Node) -> Result<Header, CpioError> {
        ensure_unpackable(path, node)?;
        let next = self.inos.len() as u32;
        let device = match node.body {
            Body::Char(device) | Body::Block(device) => Some(device),
            _ => None,
        };
        Ok(Header {
            ino: *self.inos.entry(id).or_insert(next),
            mode: node.body.file_type_bits() | mode_without_list(node),
            uid: node.stat.uid,
            gid: node.stat.gid,
            nlink: self.links[id.index()],
            // The format has 32 bits: 1970 to 2106.
            mtime: node.stat.mtime.clamp(0, i64::from(u32::MAX)) as u32,
            filesize: filesize(path, &node.body)?,
            rdevmajor: device.map_or(0, |device| device.major),
            rdevminor: device.map_or(0, |device| device.minor),
            namesize: 0,
        })
    }
}

fn filesize(path: &[u8], body: &Body) -> Result<u32, CpioError> {
    let size = match body {
        Body::File(content) => content.len(),
        Body::Symlink(target) => target.len() as u64,
        _ => 0,
    };
    u32::try_from(size).map_err(|_| CpioError::FileTooLarge { path: display(path), size })
}

fn ensure_unpackable(path: &[u8], node: &Node) -> Result<(), CpioError> {
    let limit = PATH_MAX - 1;
    let too_long = |what, len| Err(CpioError::TooLong { path: display(path), what, len, limit });
    match &node.body {
        _ if path == TRAILER => Err(CpioError::Trailer),
        _ if path.len() > limit => too_long("path", path.len()),
        Body::Symlink(target) if target.len() > limit => too_long("target", target.len()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Stat;

    const STAT: Stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };

    fn message(name: &[u8], body: Body) -> String {
        let mut tree = Tree::new(STAT);
        tree.insert(Tree::ROOT, name, Node::new(STAT, body));
        layout(&tree).unwrap_err().to_string()
    }

    #[test]
    fn what_an_archive_cannot_hold_is_told() {
        let huge = Content::file(std::path::Path::new("/nonexistent"), 0, 5 << 30);
        assert_eq!(
            message(b"x", Body::File(huge)),
            "`/x` has 5 GiB but a file in a cpio archive has at most 4294967295 bytes"
        );
        assert_eq!(
            message(b"x", Body::Symlink(vec![b'a'; 4096].into())),
            "the target of `/x` has 4096 bytes, and Linux unpacks at most 4095"
        );
        assert!(
            message(&[b'a'; 4096], Body::Fifo).ends_with("has 4096 bytes, and Linux unpacks at most 4095")
        );
        assert_eq!(
            message(b"TRAILER!!!", Body::Fifo),
            "`/TRAILER!!!` cannot be stored in a cpio archive: the name marks its end"
        );
    }
}
