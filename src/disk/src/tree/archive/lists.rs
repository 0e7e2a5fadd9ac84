//! Access lists of members: the mode that they give, and the ids of the names in them.

use std::collections::HashMap;

use super::ArchiveError;
use super::reader::{Listed, Reader};
use crate::tree::acl::{self, Account, Acl, AclError};
use crate::tree::{Body, LastLink, Node, Tree};

impl Reader {
    /// Makes lists that came as extended attributes what a kernel makes of them.
    pub(super) fn normalise_lists(&mut self, node: &mut Node, path: &[u8]) -> Result<(), ArchiveError> {
        for name in [acl::ACCESS, acl::DEFAULT] {
            let Some(value) = node.xattrs.remove(name) else { continue };
            let list = Acl::from_xattr(&value).ok_or_else(|| {
                self.bad(format!("its extended attribute `{}` is no access list", name.escape_ascii()))
            })?;
            self.attach(node, path, name, &list);
        }
        Ok(())
    }

    /// Gives a node a list, as setxattr(2) does: that of access decides the mode, too, and is not kept where it says
    /// nothing else.
    fn attach(&mut self, node: &mut Node, path: &[u8], name: &[u8], list: &Acl) {
        match node.body {
            Body::Symlink(_) => {
                return self.omissions.add(path, "the access list, which no symbolic link has".into());
            }
            Body::Dir(_) => {}
            _ if name == acl::DEFAULT => {
                return self
                    .omissions
                    .add(path, "the default access list, which only directories have".into());
            }
            _ => {}
        }
        if name == acl::ACCESS {
            node.stat.mode = list.mode(node.stat.mode);
        }
        if name == acl::DEFAULT || !list.is_mode() {
            node.xattrs.insert(name.into(), list.to_xattr().into());
        }
    }

    /// Attaches the lists that came as text. Names in them are those of the archive's own account files, which may come
    /// behind the members that use them.
    pub(super) fn attach_lists(&mut self) -> Result<(), ArchiveError> {
        let lists = std::mem::take(&mut self.lists);
        if lists.is_empty() {
            return Ok(());
        }
        let users = Accounts::load(&self.tree, "etc/passwd");
        let groups = Accounts::load(&self.tree, "etc/group");
        let id = |account, name: &str| match account {
            Account::User => users.id(name),
            Account::Group => groups.id(name),
        };
        for Listed { node: id_of_node, path, name, text, at } in lists {
            let mut node = self.tree.node(id_of_node).clone();
            match Acl::from_text(&text, id) {
                Ok(list) => self.attach(&mut node, &path, name, &list),
                Err(error @ AclError::UnknownName { .. }) => {
                    self.omissions
                        .add(&path, format!("its access list: {error} in the archive's account files"));
                    if name == acl::ACCESS {
                        node.stat.mode = mode_without_names(&text, node.stat.mode);
                    }
                }
                Err(error) => return Err(self.bad_at(at, error)),
            }
            *self.tree.node_mut(id_of_node) = node;
        }
        Ok(())
    }
}

/// The mode that a list leaves whose names nobody knows.
fn mode_without_names(text: &str, mode: u32) -> u32 {
    let next = std::cell::Cell::new(u32::MAX);
    // Any ids will do, if they are distinct.
    let invented = |_, _: &str| {
        next.set(next.get() - 1);
        Some(next.get())
    };
    Acl::from_text(text, invented).map_or(mode & !0o070, |list| list.mode_without(mode))
}

/// Ids by name of an account file; none if there is no such file.
struct Accounts(HashMap<String, u32>);

impl Accounts {
    fn load(tree: &Tree, path: &str) -> Accounts {
        let text =
            tree.resolve(path, LastLink::Follow).ok().and_then(|found| match &tree.node(found.id).body {
                Body::File(content) => content.read_all().ok(),
                _ => None,
            });
        let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default()).into_owned();
        let account = |line: &str| {
            let mut fields = line.split(':');
            let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
            Some((name.to_owned(), id.parse().ok()?))
        };
        Accounts(text.lines().filter_map(account).collect())
    }

    fn id(&self, name: &str) -> Option<u32> {
        self.0.get(name).copied()
    }
}
