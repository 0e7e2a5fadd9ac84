//! The device and permission table (`full_devices_table.txt`), as Buildroot's makedevs applies it
//! (`package/makedevs/makedevs.c`, `docs/manual/makedev-syntax.adoc`).
//!
//! Columns: name, type, mode, uid, gid, major, minor, start, inc, count. Types: `f` a file that must be there, `F`
//! one that may be there, `d` a directory, made if missing, `r` everything below, `c` `b` `p` device nodes and
//! fifos. A line `|xattr CAPS` after a file adds file capabilities.
//!
//! A line is read as makedevs reads it: numbers end at the first column that is none, and text may stand behind them.
//! Differences, all deliberate: the first error ends the work; missing parents of a `d` line get mode 0755 instead of
//! 0777; mode, uid and gid must be given.

mod apply;
mod parse;

pub use parse::DeviceTable;

use super::TableLine;
use super::accounts::AccountsError;
use super::capability::CapabilityError;
use crate::error::Diagnostic;
use crate::tree::LookupError;

/// Reason why a device table cannot be read or applied.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum DeviceTableError {
    /// A line is malformed.
    #[error("{at}: {problem}")]
    Syntax {
        /// The line.
        at: TableLine,
        /// Problem of the line.
        problem: String,
    },
    /// A line names a file that is not there.
    #[error("{at}: file `{path}` is not there: {source}")]
    #[diagnostic(hint = "use type `F` for a file that may be missing, or build the package that installs it")]
    NoFile {
        /// The line.
        at: TableLine,
        /// As in the table.
        path: String,
        /// End of the path.
        source: LookupError,
    },
    /// A line names something of another kind.
    #[error("{at}: `{path}` is a {found}, not a {wanted}")]
    WrongKind {
        /// The line.
        at: TableLine,
        /// As in the table.
        path: String,
        /// Kind that the tree has.
        found: &'static str,
        /// Kind that the type column asks for.
        wanted: &'static str,
    },
    /// A user or group name that the tree does not know.
    #[error("{at}: {what} `{name}` is not in `{file}` of the tree")]
    #[diagnostic(hint = "add the {what} to a users table, or write its number")]
    UnknownName {
        /// The line.
        at: TableLine,
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// `/etc/passwd` or `/etc/group`.
        file: &'static str,
    },
    /// An `|xattr` line does not follow a file.
    #[error("{at}: `|xattr` must follow the line of a file")]
    XattrWithoutFile {
        /// The line.
        at: TableLine,
    },
    /// The capability text is wrong.
    #[error("{at}: {source}")]
    Capability {
        /// The line.
        at: TableLine,
        /// Problem of the text.
        source: CapabilityError,
    },
    /// The account files cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Accounts(#[from] AccountsError),
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rootfs::capability;
    use crate::tree::provenance::Provenance;
    use crate::tree::{Body, Content, Device, Node, Stat, Tree};

    fn file(text: &str) -> Node {
        Node::new(Stat { mode: 0o644, uid: 0, gid: 0, mtime: 0 }, Body::File(Content::bytes(text.as_bytes())))
    }

    fn sample() -> Tree {
        let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
        let mut tree = Tree::new(stat);
        let (etc, _) = tree.create_dirs("etc", stat).unwrap();
        tree.insert(etc.id, b"passwd", file("root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/:/bin/false\n"));
        tree.insert(etc.id, b"group", file("root:x:0:\ndbus:x:101:\n"));
        let (bin, _) = tree.create_dirs("usr/bin", stat).unwrap();
        tree.insert(bin.id, b"busybox", file(""));
        tree.insert(Tree::ROOT, b"bin", Node::new(stat, Body::Symlink(b"usr/bin".as_slice().into())));
        tree.create_dirs("dev", stat).unwrap();
        tree
    }

    fn apply(text: &str) -> Result<(Tree, Provenance), DeviceTableError> {
        let (mut tree, mut provenance) = (sample(), Provenance::new());
        let table = DeviceTable::parse(Path::new("devices.txt"), text)?;
        table.apply(&mut tree, &mut provenance, 5)?;
        Ok((tree, provenance))
    }

    fn stat(tree: &Tree, path: &str) -> (u32, u32, u32) {
        let Stat { mode, uid, gid, .. } = tree.node(tree.get(path).unwrap()).stat;
        (mode, uid, gid)
    }

    #[test]
    fn files_are_found_through_links_of_the_tree() {
        let (tree, provenance) = apply("# a comment\n\n /bin/busybox f 4750 root dbus - - - - -\n").unwrap();
        assert_eq!(stat(&tree, "usr/bin/busybox"), (0o4750, 0, 101));
        let from = provenance.explain(&tree, "/bin/busybox").mode_from().unwrap().to_string();
        assert_eq!(from, "device table `devices.txt:3`");
    }

    #[test]
    fn directories_are_made_and_recursion_keeps_links_and_modes() {
        let (tree, _) = apply("/var/www d 750 www 33 - - - - -\n/usr r -1 33 -1\n/bin r 700 7 7\n").unwrap();
        assert_eq!(stat(&tree, "var"), (0o755, 0, 0));
        assert_eq!(stat(&tree, "var/www"), (0o750, 33, 33));
        assert_eq!(stat(&tree, "usr/bin/busybox"), (0o644, 33, 0));
        assert_eq!(stat(&tree, "bin"), (0o755, 7, 7));
    }

    #[test]
    fn lines_are_read_as_makedevs_reads_them() {
        let table = "/bin/busybox f 4755 0 0 - - - - - # for users\n\
                     /a d0750 0 33 (made by hand)\n\
                     /b d 100700 -1 4294967295\n\
                     /dev/c c 600 +7 007 5x 1\n\
                     /dev/d c 600 0 0 5 1 - 3 4 5 6 7\n\
                     /dev/e c 600 0 0 - 3\n   alone\n";
        let (tree, _) = apply(table).unwrap();
        assert_eq!(stat(&tree, "usr/bin/busybox"), (0o4755, 0, 0));
        assert_eq!(stat(&tree, "a"), (0o750, 0, 33));
        assert_eq!(stat(&tree, "b"), (0o700, 0, 0));
        assert_eq!(stat(&tree, "dev/c"), (0o600, 7, 7));
        let device = |path: &str| match tree.node(tree.get(path).unwrap()).body {
            Body::Char(Device { major, minor }) => (major, minor),
            _ => panic!("a device"),
        };
        // Numbers end where the first column is none.
        assert_eq!((device("dev/c"), device("dev/d"), device("dev/e")), ((5, 0), (5, 1), (0, 0)));
    }

    #[test]
    fn capabilities_are_one_word() {
        let (tree, _) = apply("/bin/busybox f 755 0 0\n|xattr cap_net_raw+ep cap_chown+ep\n").unwrap();
        let value = &tree.node(tree.get("usr/bin/busybox").unwrap()).xattrs[capability::XATTR];
        assert_eq!(value[4..8], [0, 0x20, 0, 0], "makedevs reads no further either");
    }

    #[test]
    fn nodes_are_counted() {
        let table =
            "/dev/console c 622 0 0 5 1 - - -\n/dev/hda b 640 0 0 3 1 1 2 3\n/dev/log p 600 0 0 - -\n";
        let (tree, _) = apply(table).unwrap();
        let names: Vec<_> = tree.node(tree.get("dev").unwrap()).entries().unwrap().keys().cloned().collect();
        let names: Vec<_> = names.iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
        assert_eq!(names, ["console", "hda1", "hda2", "hda3", "log"]);
        let Body::Block(device) = tree.node(tree.get("dev/hda3").unwrap()).body else { panic!("a device") };
        assert_eq!(device, Device { major: 3, minor: 5 });
        assert_eq!(stat(&tree, "dev/console"), (0o622, 0, 0));
    }

    #[test]
    fn capabilities_accumulate_on_the_file_before() {
        let table = "/bin/busybox f 755 0 0\n|xattr cap_net_raw+ep\n  |xattr cap_net_admin+ep\n\
                     /bin/none F 755 0 0\n|xattr cap_net_raw+ep\n";
        let (tree, _) = apply(table).unwrap();
        let value = &tree.node(tree.get("usr/bin/busybox").unwrap()).xattrs[capability::XATTR];
        assert_eq!(value[..8], [1, 0, 0, 2, 0, 0x30, 0, 0]);
    }

    #[test]
    fn errors_name_file_and_line() {
        let message = |text: &str| apply(text).unwrap_err().to_string();
        assert_eq!(
            message("\n/bin/nano f 755 0 0 - - - - -\n"),
            "`devices.txt:2`: file `/bin/nano` is not there: `/usr/bin/nano` does not exist in the tree"
        );
        assert_eq!(message("/etc f 755 0 0\n"), "`devices.txt:1`: `/etc` is a directory, not a file");
        assert_eq!(
            message("/etc d 755 nobody 0\n"),
            "`devices.txt:1`: user `nobody` is not in `/etc/passwd` of the tree"
        );
        assert_eq!(
            message("/etc d 755 0 wheel\n"),
            "`devices.txt:1`: group `wheel` is not in `/etc/group` of the tree"
        );
        assert_eq!(
            message("/etc d 755\n"),
            "`devices.txt:1`: 3 columns, but name, type, mode, uid and gid are needed"
        );
        assert_eq!(message("/etc d 999 0 0"), "`devices.txt:1`: mode `999` is not an octal number");
        assert_eq!(message("/etc x 755 0 0"), "`devices.txt:1`: unknown type `x`: use f, F, d, r, c, b or p");
        for (number, line) in [("-5", "-5"), ("1048576", "5 1048576 # too many")] {
            assert_eq!(
                message(&format!("/dev/a c 755 0 0 {line}")),
                format!("`devices.txt:1`: `{number}` is not a number up to 1048575")
            );
        }
        assert_eq!(
            message("/dev/a c 755 0 0 1 0 0 1048575 3"),
            "`devices.txt:1`: the last minor number is 2097150, but at most 1048575 is possible"
        );
        assert_eq!(
            message("/etc d 755 0 0\n|xattr cap_chown+p"),
            "`devices.txt:2`: `|xattr` must follow the line of a file"
        );
        assert_eq!(
            message("/bin/busybox f 755 0 0\n|xattr cap_x+p"),
            "`devices.txt:2`: unknown capability `cap_x`"
        );
        assert_eq!(message("|xattr"), "`devices.txt:1`: `|xattr` without capabilities");
        assert_eq!(message("/dev/.. c 755 0 0 1 2"), "`devices.txt:1`: `/dev/..` is not the path of a node");
        assert_eq!(
            message("/etc/passwd c 755 0 0 1 2"),
            "`devices.txt:1`: `/etc/passwd` is a file, not a character device"
        );
        assert_eq!(
            message("/none/a p 755 0 0"),
            "`devices.txt:1`: file `/none/a` is not there: `/none` does not exist in the tree"
        );
        let hint = apply("/bin/nano f 755 0 0").unwrap_err().hint().unwrap();
        assert_eq!(
            hint,
            "use type `F` for a file that may be missing, or build the package that installs it"
        );
    }
}
