//! Attributes for which a filesystem has no place, so that nothing goes missing in silence.

use std::fmt;
use std::ops::RangeInclusive;

use crate::tree::{self, Node, NodeId, Tree, acl};
use crate::value::Timestamp;

/// Something of a node that is not in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The first path of the node, see [`tree::display`].
    pub path: String,
    /// Attributes that it loses.
    pub what: Lost,
}

/// A thing that a node can lose.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// An extended attribute by its full name.
    Xattr(String),
    /// The access list; without it, the node has this mode.
    AccessList {
        /// Mode that the list gave the owner, the owning group and the others.
        mode: u32,
    },
    /// The time of the last modification, which becomes another.
    Time {
        /// As it was.
        found: Timestamp,
        /// The nearest that can be stored.
        stored: Timestamp,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.what {
            Lost::Xattr(name) => write!(f, "`{path}` loses the attribute `{name}`"),
            Lost::AccessList { mode } => {
                let name = String::from_utf8_lossy(acl::ACCESS);
                write!(f, "`{path}` loses the attribute `{name}` and gets the mode {mode:04o}")
            }
            Lost::Time { found, stored } => {
                write!(f, "`{path}` loses its time {found} and gets {stored}")
            }
        }
    }
}

/// Limits of a filesystem.
#[derive(Clone, Debug)]
pub(super) struct Holds {
    /// Returns whether there is a place for an extended attribute.
    pub xattr: fn(&[u8]) -> bool,
    /// Times that can be stored.
    pub times: RangeInclusive<Timestamp>,
}

impl Holds {
    /// Everything that the nodes of a tree lose, each node by its first name.
    pub(super) fn losses(&self, tree: &Tree) -> Vec<Loss> {
        if !tree.walk_nodes().any(|id| self.loses(tree.node(id))) {
            return Vec::new();
        }
        let mut seen = vec![false; tree.capacity()];
        let nodes = tree.walk().filter(|(_, id)| !std::mem::replace(&mut seen[id.index()], true));
        nodes.flat_map(|(path, id): (Vec<u8>, NodeId)| self.of_node(&path, tree.node(id))).collect()
    }

    fn loses(&self, node: &Node) -> bool {
        !self.times.contains(&node.stat.mtime) || node.xattrs.keys().any(|name| !(self.xattr)(name))
    }

    fn of_node(&self, path: &[u8], node: &Node) -> Vec<Loss> {
        let names = node.xattrs.keys().filter(|name| !(self.xattr)(name));
        let attributes = names.map(|name| match &**name == acl::ACCESS {
            true => Lost::AccessList { mode: acl::mode_without_list(node) },
            false => Lost::Xattr(String::from_utf8_lossy(name).into_owned()),
        });
        let found = node.stat.mtime;
        let stored = found.clamp(*self.times.start(), *self.times.end());
        let time = (stored != found).then_some(Lost::Time { found, stored });
        attributes.chain(time).map(|what| Loss { path: tree::display(path), what }).collect()
    }
}
