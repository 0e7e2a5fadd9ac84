//! Paths as the system that runs from the tree will see them: symbolic links are followed inside the tree, an
//! absolute target starts at the tree's own root, and `..` never leaves it.

use std::collections::VecDeque;

use super::{Body, Name, Node, NodeId, Stat, Tree, components, display};

/// Links followed before a path counts as a loop; `MAXSYMLINKS` of the kernel (include/linux/namei.h).
const MAX_LINKS: usize = 40;

/// Treatment of a symbolic link at the very end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// As stat(2) and chown(2) do.
    Follow,
    /// As lstat(2) and lchown(2) do.
    Keep,
}

/// Node that a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The path without links, `.` and `..`; no leading slash, empty for the root.
    pub path: Vec<u8>,
    /// The node there.
    pub id: NodeId,
}

/// Reason why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// A component does not exist.
    #[error("`{at}` does not exist in the tree")]
    Missing {
        /// The first path that is missing, see [`display`].
        at: String,
    },
    /// A component in the middle is something else than a directory.
    #[error("`{at}` is a {kind}, not a directory")]
    NotADirectory {
        /// The path of that component.
        at: String,
        /// Kind of the node.
        kind: &'static str,
    },
    /// Symbolic links lead in a circle.
    #[error("`{path}` leads through more than 40 symbolic links")]
    Loop {
        /// The path that was looked up.
        path: String,
    },
}

/// A walk from the root: the directories entered so far and the components still to go.
struct Cursor {
    stack: Vec<(Name, NodeId)>,
    pending: VecDeque<Name>,
    links: usize,
}

impl Cursor {
    fn new(path: &[u8]) -> Cursor {
        Cursor { stack: Vec::new(), pending: components(path).map(Name::from).collect(), links: 0 }
    }

    fn id(&self) -> NodeId {
        self.stack.last().map_or(Tree::ROOT, |(_, id)| *id)
    }

    fn path(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self.stack.iter().map(|(name, _)| &**name).collect();
        names.join(&b'/')
    }

    fn path_of(&self, name: &[u8]) -> String {
        display(&super::join(&self.path(), name))
    }

    /// Puts the target of a link in front of what is still to go.
    fn expand(&mut self, target: &[u8], original: &[u8]) -> Result<(), LookupError> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(LookupError::Loop { path: display(trimmed(original)) });
        }
        if target.first() == Some(&b'/') {
            self.stack.clear();
        }
        let names: Vec<Name> = components(target).map(Name::from).collect();
        names.into_iter().rev().for_each(|name| self.pending.push_front(name));
        Ok(())
    }
}

/// The path without leading slashes, as [`display`] wants it.
fn trimmed(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    &path[start..]
}

impl Tree {
    /// Follows `path` through the tree's own symbolic links.
    pub fn resolve(&self, path: impl AsRef<[u8]>, last: LastLink) -> Result<Resolved, LookupError> {
        let path = path.as_ref();
        let mut cursor = Cursor::new(path);
        while let Some(name) = cursor.pending.pop_front() {
            let Some(id) = self.step(&mut cursor, &name)? else { continue };
            match &self.node(id).body {
                Body::Symlink(target) if !cursor.pending.is_empty() || last == LastLink::Follow => {
                    let target = target.clone();
                    cursor.expand(&target, path)?;
                }
                _ => cursor.stack.push((name, id)),
            }
        }
        Ok(Resolved { path: cursor.path(), id: cursor.id() })
    }

    /// The entry `name` of the cursor's directory; nothing for `.` and `..`, which only move the cursor.
    fn step(&self, cursor: &mut Cursor, name: &[u8]) -> Result<Option<NodeId>, LookupError> {
        let body = &self.node(cursor.id()).body;
        let Body::Dir(entries) = body else {
            let at = display(&cursor.path());
            return Err(LookupError::NotADirectory { at, kind: body.kind() });
        };
        match name {
            b"." => Ok(None),
            b".." => {
                cursor.stack.pop();
                Ok(None)
            }
            _ => match entries.get(name) {
                Some(id) => Ok(Some(*id)),
                None => Err(LookupError::Missing { at: cursor.path_of(name) }),
            },
        }
    }

    /// Like `mkdir -p` inside the tree: follows links, creates what is missing with `stat`. Returns the directory
    /// and the paths that were created.
    pub fn create_dirs(
        &mut self,
        path: impl AsRef<[u8]>,
        stat: Stat,
    ) -> Result<(Resolved, Vec<Vec<u8>>), LookupError> {
        let path = path.as_ref();
        let mut cursor = Cursor::new(path);
        let mut created = Vec::new();
        while let Some(name) = cursor.pending.pop_front() {
            let id = match self.step(&mut cursor, &name) {
                Ok(Some(id)) => id,
                Ok(None) => continue,
                Err(LookupError::Missing { .. }) => {
                    created.push(super::join(&cursor.path(), &name));
                    self.insert(cursor.id(), &name, Node::new(stat, Body::Dir(Default::default())))
                }
                Err(error) => return Err(error),
            };
            match &self.node(id).body {
                Body::Symlink(target) => {
                    let target = target.clone();
                    cursor.expand(&target, path)?;
                }
                Body::Dir(_) => cursor.stack.push((name, id)),
                other => {
                    let at = cursor.path_of(&name);
                    return Err(LookupError::NotADirectory { at, kind: other.kind() });
                }
            }
        }
        Ok((Resolved { path: cursor.path(), id: cursor.id() }, created))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: Stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };

    fn link(target: &str) -> Node {
        Node::new(STAT, Body::Symlink(target.as_bytes().into()))
    }

    fn merged_usr() -> Tree {
        let mut tree = Tree::new(STAT);
        let (bin, _) = tree.create_dirs("usr/bin", STAT).unwrap();
        tree.insert(Tree::ROOT, b"bin", link("usr/bin"));
        tree.insert(Tree::ROOT, b"sbin", link("/bin"));
        tree.insert(bin.id, b"busybox", Node::new(STAT, Body::Fifo));
        tree.insert(bin.id, b"sh", link("../../../../bin/busybox"));
        tree.insert(Tree::ROOT, b"loop", link("loop/x"));
        tree
    }

    #[test]
    fn links_are_followed_inside_the_tree() {
        let tree = merged_usr();
        let found = tree.resolve("/sbin/sh", LastLink::Follow).unwrap();
        assert_eq!(found.path, b"usr/bin/busybox");
        let kept = tree.resolve("/sbin/sh", LastLink::Keep).unwrap();
        assert_eq!(kept.path, b"usr/bin/sh");
        assert_eq!(tree.resolve("/", LastLink::Follow).unwrap().id, Tree::ROOT);
        assert_eq!(tree.resolve("../..", LastLink::Follow).unwrap().id, Tree::ROOT);
    }

    #[test]
    fn a_path_that_leads_nowhere_says_where_it_ends() {
        let tree = merged_usr();
        let message = |path: &str| tree.resolve(path, LastLink::Follow).unwrap_err().to_string();
        assert_eq!(message("/bin/nano/x"), "`/usr/bin/nano` does not exist in the tree");
        assert_eq!(message("/bin/sh/x"), "`/usr/bin/busybox` is a fifo, not a directory");
        assert_eq!(message("/loop"), "`/loop` leads through more than 40 symbolic links");
    }

    #[test]
    fn missing_directories_are_created_behind_links() {
        let mut tree = merged_usr();
        let (made, created) = tree.create_dirs("/sbin/a/b", STAT).unwrap();
        assert_eq!(made.path, b"usr/bin/a/b");
        assert_eq!(created, [b"usr/bin/a".to_vec(), b"usr/bin/a/b".to_vec()]);
        let message = tree.create_dirs("/bin/busybox/x", STAT).unwrap_err().to_string();
        assert_eq!(message, "`/usr/bin/busybox` is a fifo, not a directory");
    }
}
