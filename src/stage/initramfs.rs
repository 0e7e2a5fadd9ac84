//! Additions to a root filesystem that is started from an initramfs: the kernel runs `/init`, which no package
//! installs (Linux, `Documentation/filesystems/ramfs-rootfs-initramfs.rst`).

use std::borrow::Cow;

use crate::tree::{Body, Content, Device, LastLink, Node, Stat, Tree};
use crate::value::Timestamp;

/// Mounts the devtmpfs and becomes the system's own init.
const INIT: &str = include_str!("init.sh");
/// Number of the system console (Linux, `Documentation/admin-guide/devices.txt`).
const CONSOLE: Device = Device { major: 5, minor: 1 };

/// The tree with a first program, and the console that it is started with. A tree that has a first program, or no init
/// that it could start, stays as it is.
pub(super) fn startable(root: &Tree, mtime: Timestamp) -> Cow<'_, Tree> {
    let has_init = root.resolve("/sbin/init", LastLink::Follow).is_ok();
    if root.get("/init").is_some() || !has_init {
        return Cow::Borrowed(root);
    }
    let stat = |mode| Stat { mode, uid: 0, gid: 0, mtime };
    let mut tree = root.clone();
    let script = Node::new(stat(0o755), Body::File(Content::bytes(INIT.as_bytes())));
    tree.insert(Tree::ROOT, b"init", script);
    // A link or a file of that name is the system's own affair.
    if let Ok((dev, _)) = tree.create_dirs("/dev", stat(0o755))
        && tree.child(dev.id, b"console").is_none()
    {
        tree.insert(dev.id, b"console", Node::new(stat(0o600), Body::Char(CONSOLE)));
    }
    Cow::Owned(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: Stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };

    fn tree(names: &[&str]) -> Tree {
        let mut tree = Tree::new(STAT);
        for name in names {
            let (directory, name) = name.rsplit_once('/').expect("an absolute path");
            let (directory, _) = tree.create_dirs(directory, STAT).expect("only directories");
            tree.insert(directory.id, name.as_bytes(), Node::new(STAT, Body::File(Content::bytes(*b"x"))));
        }
        tree
    }

    #[test]
    fn a_system_with_an_init_gets_a_first_program_and_a_console() {
        let root = tree(&["/sbin/init"]);
        let startable = startable(&root, 7);
        let node = |path: &str| startable.node(startable.get(path).unwrap_or_else(|| panic!("{path}")));
        let Body::File(content) = &node("/init").body else { panic!("/init is no file") };
        assert_eq!(content.read_all().expect("it is in memory"), INIT.as_bytes());
        assert_eq!(node("/init").stat, Stat { mode: 0o755, uid: 0, gid: 0, mtime: 7 });
        assert!(matches!(node("/dev/console").body, Body::Char(Device { major: 5, minor: 1 })));
    }

    #[test]
    fn what_is_there_stays_as_it_is() {
        assert!(matches!(startable(&tree(&["/init", "/sbin/init"]), 0), Cow::Borrowed(_)));
        assert!(matches!(startable(&tree(&["/etc/passwd"]), 0), Cow::Borrowed(_)));
        let root = tree(&["/sbin/init", "/dev/console"]);
        let startable = startable(&root, 0);
        let console = startable.get("/dev/console").expect("it was there");
        assert!(matches!(startable.node(console).body, Body::File(_)));
    }
}
