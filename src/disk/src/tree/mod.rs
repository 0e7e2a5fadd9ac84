//! A filesystem tree in memory: metadata of every node, file contents by reference.
//!
//! A node is what an inode is on disk: a hard link is one node with several names. Names are bytes, not text.
//! Timestamps are whole seconds; ownership is numeric. Order is always the byte order of names, so that a tree
//! read from any directory in any order is the same tree.
//!
//! ```
//! use skiff_disk::tree::{self, Body, Content, Node, Stat, Tree};
//!
//! let stat = |mode| Stat { mode, uid: 0, gid: 0, mtime: 1_700_000_000 };
//! let mut files = Tree::new(stat(0o755));
//! let etc = files.insert(Tree::ROOT, b"etc", Node::new(stat(0o755), Body::Dir(Default::default())));
//! let hostname = Body::File(Content::bytes(b"router\n".as_slice()));
//! files.insert(etc, b"hostname", Node::new(stat(0o644), hostname));
//! files.insert(etc, b"mtab", Node::new(stat(0o777), Body::Symlink(b"/proc/mounts".as_slice().into())));
//!
//! let paths: Vec<String> = files.walk().map(|(path, _)| tree::display(&path)).collect();
//! assert_eq!(paths, ["/", "/etc", "/etc/hostname", "/etc/mtab"]);
//! ```

pub mod acl;
#[cfg(feature = "tar")]
pub mod archive;
mod content;
mod lookup;
mod omitted;
pub mod overlay;
pub mod provenance;
pub mod scan;

use std::collections::BTreeMap;

pub use content::{Content, ContentError, Extent, Opened, Run, Source, Stamp};
pub use lookup::{LastLink, LookupError, Resolved};

use crate::value::Timestamp;

/// One component of a path, as bytes: never empty, `.`, `..` or with a `/` or NUL.
pub type Name = Box<[u8]>;

/// Extended attributes by full name (`security.capability`), in byte order.
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Index of a node in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// Position in an array with one element per node (see [`Tree::capacity`]).
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Permissions, ownership and time of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stat {
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
}

/// Number of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// Kind of a node, with what belongs to that kind only.
#[derive(Clone, Debug)]
pub enum Body {
    /// Directory: names to nodes.
    Dir(BTreeMap<Name, NodeId>),
    /// Regular file.
    File(Content),
    /// Symbolic link with its target text.
    Symlink(Box<[u8]>),
    /// Character device.
    Char(Device),
    /// Block device.
    Block(Device),
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
}

impl Body {
    /// The kind as a noun for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Dir(_) => "directory",
            Body::File(_) => "file",
            Body::Symlink(_) => "symbolic link",
            Body::Char(_) => "character device",
            Body::Block(_) => "block device",
            Body::Fifo => "fifo",
            Body::Socket => "socket",
        }
    }

    /// The `S_IFMT` bits of `st_mode` (inode(7)).
    pub fn file_type_bits(&self) -> u32 {
        match self {
            Body::Fifo => 0o010_000,
            Body::Char(_) => 0o020_000,
            Body::Dir(_) => 0o040_000,
            Body::Block(_) => 0o060_000,
            Body::File(_) => 0o100_000,
            Body::Symlink(_) => 0o120_000,
            Body::Socket => 0o140_000,
        }
    }
}

/// A file, directory, link or device.
#[derive(Clone, Debug)]
pub struct Node {
    /// Permissions, ownership, time.
    pub stat: Stat,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// Kind and content.
    pub body: Body,
}

impl Node {
    /// A node without extended attributes.
    pub fn new(stat: Stat, body: Body) -> Node {
        Node { stat, xattrs: Xattrs::new(), body }
    }

    /// The entries if this is a directory.
    pub fn entries(&self) -> Option<&BTreeMap<Name, NodeId>> {
        match &self.body {
            Body::Dir(entries) => Some(entries),
            _ => None,
        }
    }
}

/// A directory tree. Nodes that were unlinked stay in the arena but are not reachable.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    omitted: Vec<String>,
}

impl Tree {
    /// The root directory.
    pub const ROOT: NodeId = NodeId(0);

    /// An empty tree whose root has this metadata.
    pub fn new(root: Stat) -> Tree {
        Tree { nodes: vec![Node::new(root, Body::Dir(BTreeMap::new()))], omitted: Vec::new() }
    }

    /// Things that the source of the tree had and that it has not, each as a sentence without a full stop: what no tree
    /// has a place for, and what belongs to the host. A [`subtree`](Tree::subtree) has none of its own.
    pub fn omitted(&self) -> &[String] {
        &self.omitted
    }

    /// Adds to [`Tree::omitted`].
    pub fn omit(&mut self, sentences: impl IntoIterator<Item = String>) {
        self.omitted.extend(sentences);
    }

    /// Length of an array with one element per [`NodeId::index`].
    pub fn capacity(&self) -> usize {
        self.nodes.len()
    }

    /// The node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The node, to change it.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    /// Adds a node that no directory names yet.
    ///
    /// # Panics
    /// With more than 2^32 nodes.
    pub fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).expect("a tree has fewer than 2^32 nodes"));
        self.nodes.push(node);
        id
    }

    /// Names `node` in `dir`; returns the node that had the name before. A second name for the same node is a
    /// hard link.
    ///
    /// # Panics
    /// If `dir` is not a directory or the name is not one path component.
    pub fn link(&mut self, dir: NodeId, name: &[u8], node: NodeId) -> Option<NodeId> {
        assert!(is_component(name), "`{}` is not one path component", String::from_utf8_lossy(name));
        match &mut self.node_mut(dir).body {
            Body::Dir(entries) => entries.insert(name.into(), node),
            other => panic!("link into a {}", other.kind()),
        }
    }

    /// Adds a node under a name.
    pub fn insert(&mut self, dir: NodeId, name: &[u8], node: Node) -> NodeId {
        let id = self.add(node);
        self.link(dir, name, id);
        id
    }

    /// Removes a name from a directory.
    pub fn unlink(&mut self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        match &mut self.node_mut(dir).body {
            Body::Dir(entries) => entries.remove(name),
            _ => None,
        }
    }

    /// The node `name` in `dir`, without following links.
    pub fn child(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        self.node(dir).entries()?.get(name).copied()
    }

    /// The node at a `/`-separated path, without following symbolic links; `/` and empty are the root.
    pub fn get(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        components(path.as_ref()).try_fold(Tree::ROOT, |dir, name| self.child(dir, name))
    }

    /// The directory `id` with all below it as a tree of its own; nothing if it is no directory.
    pub fn subtree(&self, id: NodeId) -> Option<Tree> {
        self.node(id).entries()?;
        let mut copy = Tree { nodes: vec![self.node(id).clone()], omitted: Vec::new() };
        let mut copies = BTreeMap::from([(id, Tree::ROOT)]);
        // By index in the copy: what a node leads to is copied behind it.
        let mut next = 0;
        while next < copy.nodes.len() {
            let dir = NodeId(next as u32);
            next += 1;
            let Body::Dir(entries) = &mut copy.node_mut(dir).body else { continue };
            let mut entries = std::mem::take(entries);
            for child in entries.values_mut() {
                let original = *child;
                *child = *copies.entry(original).or_insert_with(|| copy.add(self.node(original).clone()));
            }
            copy.node_mut(dir).body = Body::Dir(entries);
        }
        Some(copy)
    }

    /// Every reachable name in byte order of the path's components, directories before their entries; the root
    /// comes first with an empty path. A node with several names appears under each.
    pub fn walk(&self) -> Walk<'_> {
        Walk { tree: self, stack: vec![Step { parent: 0, name: &[], id: Tree::ROOT }], path: Vec::new() }
    }

    /// The nodes of [`Tree::walk`] without their paths, whose lengths add up where directories are deep.
    pub fn walk_nodes(&self) -> impl Iterator<Item = NodeId> {
        let mut stack = vec![Tree::ROOT];
        std::iter::from_fn(move || {
            let id = stack.pop()?;
            stack.extend(self.node(id).entries().into_iter().flat_map(|entries| entries.values().rev()));
            Some(id)
        })
    }

    /// Number of names of each node, indexed by [`NodeId::index`]; a directory counts itself as in `st_nlink`:
    /// 2 and one for each sub-directory.
    pub fn link_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.capacity()];
        for id in self.walk_nodes() {
            match &self.node(id).body {
                Body::Dir(entries) => {
                    let is_dir = |child: &&NodeId| matches!(self.node(**child).body, Body::Dir(_));
                    counts[id.index()] = 2 + entries.values().filter(is_dir).count() as u32;
                }
                _ => counts[id.index()] += 1,
            }
        }
        counts
    }
}

/// Iterator of [`Tree::walk`].
pub struct Walk<'a> {
    tree: &'a Tree,
    stack: Vec<Step<'a>>,
    /// The path that came last.
    path: Vec<u8>,
}

/// A name that is still to come.
struct Step<'a> {
    /// Length of the path of its directory, which begins the paths of all that is between.
    parent: usize,
    name: &'a [u8],
    id: NodeId,
}

impl Iterator for Walk<'_> {
    type Item = (Vec<u8>, NodeId);

    fn next(&mut self) -> Option<Self::Item> {
        let Step { parent, name, id } = self.stack.pop()?;
        self.path.truncate(parent);
        if parent > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        let parent = self.path.len();
        let entries = self.tree.node(id).entries().into_iter().flatten().rev();
        self.stack.extend(entries.map(|(name, id)| Step { parent, name, id: *id }));
        Some((self.path.clone(), id))
    }
}

/// The components of a `/`-separated path; empty ones are skipped.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

/// `path/name`; just `name` below the root.
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.len() + 1 + name.len());
    joined.extend_from_slice(path);
    if !path.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}

/// Returns whether `name` can be a directory entry.
pub fn is_component(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0)
}

/// A path for messages: absolute, with bytes that are not UTF-8 as `\xNN`.
pub fn display(path: &[u8]) -> String {
    let mut text = String::from("/");
    for chunk in path.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: Stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };

    #[test]
    fn walks_in_byte_order_and_counts_links() {
        let mut tree = Tree::new(STAT);
        let b = tree.insert(Tree::ROOT, b"b", Node::new(STAT, Body::Dir(BTreeMap::new())));
        let file = tree.insert(b, b"x", Node::new(STAT, Body::File(Content::bytes(b"1".as_slice()))));
        tree.link(Tree::ROOT, b"a", file);
        tree.insert(Tree::ROOT, b"\xff", Node::new(STAT, Body::Fifo));
        let paths: Vec<_> = tree.walk().map(|(path, _)| display(&path)).collect();
        assert_eq!(paths, ["/", "/a", "/b", "/b/x", "/\\xff"]);
        let counts = tree.link_counts();
        assert_eq!((counts[0], counts[b.index()], counts[file.index()]), (3, 2, 2));
        assert_eq!(tree.get("/b/x"), Some(file));
        assert_eq!(tree.get("b/y"), None);
    }
}
