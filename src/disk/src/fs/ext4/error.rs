//! Errors of making an ext4 filesystem of a tree.

use super::raw::LINK_MAX;
use crate::error::Diagnostic;
use crate::storage::TargetError;
use crate::tree::ContentError;
use crate::value::ByteSize;

/// Reason why an ext4 filesystem cannot be laid out or written.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
#[non_exhaustive]
pub enum Ext4Error {
    /// A file has more blocks than their numbers can count.
    #[error("`{path}` has {}, but a file of ext4 has at most {}", ByteSize(*len), ByteSize(*max))]
    #[diagnostic(kind = Fit, hint = "make it shorter: its holes count, too")]
    FileTooLarge {
        /// The file.
        path: String,
        /// Its length.
        len: u64,
        /// The largest length.
        max: u64,
    },
    /// The volume name field has 16 bytes.
    #[error("the ext4 label `{label}` has {} bytes but there is room for 16", label.len())]
    #[diagnostic(hint = "choose a label of at most 16 bytes")]
    LabelTooLong {
        /// The label.
        label: String,
    },
    /// Not even an empty filesystem fits.
    #[error("an ext4 filesystem needs {} but its region has {}", ByteSize(*need), ByteSize(*have))]
    #[diagnostic(kind = Fit, hint("give the partition at least {}", ByteSize(*need)))]
    RegionTooSmall {
        /// Fewest bytes.
        need: u64,
        /// Bytes of the region.
        have: u64,
    },
    /// Block numbers have 32 bits without the `64bit` feature.
    #[error("an ext4 filesystem without `64bit` has at most {} but its region has {}", ByteSize(*most), ByteSize(*have))]
    #[diagnostic(
        kind = Fit,
        hint("give the partition at most {}; the rest can be another one", ByteSize(*most))
    )]
    RegionTooLarge {
        /// Most bytes.
        most: u64,
        /// Bytes of the region.
        have: u64,
    },
    /// The tree does not fit.
    #[error("the tree needs {} as ext4 but its region has {}", ByteSize(*need), ByteSize(*have))]
    #[diagnostic(kind = Fit, hint("give the partition at least {}, or put less into it", ByteSize(*need)))]
    TreeTooLarge {
        /// Bytes, metadata included.
        need: u64,
        /// Bytes of the region.
        have: u64,
    },
    /// A group has one bitmap block for inodes.
    #[error("the tree needs {need} inodes but a filesystem of this size has at most {have}")]
    #[diagnostic(
        kind = Fit,
        hint = "give the partition more space (32768 inodes for each 128 MiB), or put fewer files into it"
    )]
    TooManyInodes {
        /// Inodes of the tree and the reserved ones.
        need: u64,
        /// The most there can be.
        have: u64,
    },
    /// A journal has at least 1024 blocks (`JBD2_MIN_JOURNAL_BLOCKS`).
    #[error("a journal of {} is not possible: it has 4 MiB to 4 GiB", ByteSize(*size))]
    #[diagnostic(hint = "leave the journal size to its default, or give one in that range")]
    JournalSize {
        /// The wanted size.
        size: u64,
    },
    /// More reserved than there could be.
    #[error("{percent} % of blocks cannot be reserved: ext4 allows at most 50 %")]
    #[diagnostic(hint = "reserve 0 to 50 %")]
    ReservedPercent {
        /// The wanted part.
        percent: u8,
    },
    /// `EXT4_NAME_LEN`.
    #[error("a name of {len} bytes is too long for ext4, which allows 255: `{path}`")]
    #[diagnostic(kind = Unsupported, hint = "shorten the name")]
    NameTooLong {
        /// Path with that name.
        path: String,
        /// Length of its last component.
        len: usize,
    },
    /// A target is stored in one block with a NUL.
    #[error("the target of the symbolic link `{path}` has {len} bytes but ext4 allows 4095")]
    #[diagnostic(kind = Unsupported, hint = "shorten the target, or link through a second link")]
    SymlinkTooLong {
        /// The link.
        path: String,
        /// Length of its target.
        len: usize,
    },
    /// An empty target is a corruption.
    #[error("the symbolic link `{path}` has an empty target")]
    #[diagnostic(hint = "give the link a target, or leave it out")]
    SymlinkEmpty {
        /// The link.
        path: String,
    },
    /// `EXT4_LINK_MAX`.
    #[error("`{path}` has {links} hard links but ext4 allows {LINK_MAX}")]
    #[diagnostic(kind = Unsupported, hint = "copy the file for some of its names instead of linking it")]
    TooManyLinks {
        /// First name of the file.
        path: String,
        /// Number of its names.
        links: u32,
    },
    /// Times have 34 bits.
    #[error(
        "the modification time {mtime} of `{path}` is out of range: ext4 stores seconds from -2147483648 to 15032385535"
    )]
    #[diagnostic(kind = Unsupported, hint = "set another time: touch `{path}`")]
    TimeOutOfRange {
        /// The file.
        path: String,
        /// Seconds since 1970.
        mtime: i64,
    },
    /// The image's own time.
    #[error(
        "the timestamp {timestamp} is out of range: an ext4 superblock stores seconds from 0 to 15032385535"
    )]
    #[diagnostic(hint = "set SOURCE_DATE_EPOCH to a time from 1970 on")]
    TimestampOutOfRange {
        /// Seconds since 1970.
        timestamp: i64,
    },
    /// Only namespaces with an index have a place on disk.
    #[error("ext4 cannot store the extended attribute `{name}` of `{path}`")]
    #[diagnostic(
        kind = Unsupported,
        hint = "keep to the namespaces user., trusted., security. and POSIX access control lists"
    )]
    XattrName {
        /// The file.
        path: String,
        /// Full name of the attribute.
        name: String,
    },
    /// In the inode and one block.
    #[error(
        "the extended attributes of `{path}` do not fit: `{name}` needs {need} bytes but {have} are left in its block"
    )]
    #[diagnostic(kind = Unsupported, hint = "keep fewer or shorter attributes on that file")]
    XattrTooLarge {
        /// The file.
        path: String,
        /// The attribute that did not fit any more.
        name: String,
        /// Bytes it needs.
        need: usize,
        /// Bytes left.
        have: usize,
    },
    /// The value is not what acl(5) says.
    #[error("the access control list `{name}` of `{path}` is malformed")]
    #[diagnostic(hint = "set the list again with setfacl, or remove it")]
    XattrAcl {
        /// The file.
        path: String,
        /// Full name of the attribute.
        name: String,
    },
    /// e2fsck wants a directory there.
    #[error("`/lost+found` is a {kind}, but ext4 keeps a directory there")]
    #[diagnostic(hint = "remove or rename it in the tree")]
    LostFound {
        /// Kind of the node.
        kind: &'static str,
    },
    /// Reading a file of the tree failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Content(#[from] ContentError),
    /// Writing failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] TargetError),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::super::{Journal, Options, layout};
    use super::*;
    use crate::tree::{Body, Content, Node, NodeId, Stat, Tree};

    const STAT: Stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
    const MIB: u64 = 1 << 20;

    fn options() -> Options {
        Options {
            label: "rootfs".into(),
            uuid: Uuid::from_u128(1),
            hash_seed: Uuid::from_u128(2),
            timestamp: 0,
            bytes_per_inode: 16384,
            inodes: 0,
            reserved_percent: 0,
            journal: Journal::None,
            grow_to: 0,
        }
    }

    fn fails_with(tree: &Tree, options: &Options, len: u64, message: &str, hint: &str) {
        let error = layout(tree, options, len).expect_err("refused");
        assert_eq!(error.to_string(), message);
        assert_eq!(error.hint().as_deref(), Some(hint));
    }

    fn add(tree: &mut Tree, dir: NodeId, name: &str, body: Body) -> NodeId {
        tree.insert(dir, name.as_bytes(), Node::new(STAT, body))
    }

    #[test]
    fn options_that_do_not_work() {
        let tree = Tree::new(STAT);
        fails_with(
            &tree,
            &Options { label: "a very long label".into(), ..options() },
            MIB,
            "the ext4 label `a very long label` has 17 bytes but there is room for 16",
            "choose a label of at most 16 bytes",
        );
        fails_with(
            &tree,
            &Options { journal: Journal::Bytes(MIB), ..options() },
            64 * MIB,
            "a journal of 1 MiB is not possible: it has 4 MiB to 4 GiB",
            "leave the journal size to its default, or give one in that range",
        );
        fails_with(
            &tree,
            &Options { reserved_percent: 51, ..options() },
            MIB,
            "51 % of blocks cannot be reserved: ext4 allows at most 50 %",
            "reserve 0 to 50 %",
        );
        fails_with(
            &tree,
            &Options { timestamp: -1, ..options() },
            MIB,
            "the timestamp -1 is out of range: an ext4 superblock stores seconds from 0 to 15032385535",
            "set SOURCE_DATE_EPOCH to a time from 1970 on",
        );
    }

    #[test]
    fn regions_that_do_not_fit() {
        let mut tree = Tree::new(STAT);
        fails_with(
            &tree,
            &options(),
            100 * 1024,
            "an ext4 filesystem needs 256 KiB but its region has 100 KiB",
            "give the partition at least 256 KiB",
        );
        fails_with(
            &tree,
            &options(),
            1 << 44,
            "an ext4 filesystem without `64bit` has at most 16777088 MiB but its region has 16 TiB",
            "give the partition at most 16777088 MiB; the rest can be another one",
        );
        add(
            &mut tree,
            Tree::ROOT,
            "large",
            Body::File(Content::file(std::path::Path::new("/x"), 0, 2 * MIB)),
        );
        fails_with(
            &tree,
            &options(),
            MIB,
            "the tree needs 2160 KiB as ext4 but its region has 1 MiB",
            "give the partition at least 2160 KiB, or put less into it",
        );
        add(
            &mut tree,
            Tree::ROOT,
            "large",
            Body::File(Content::file(std::path::Path::new("/x"), 0, 1 << 44)),
        );
        fails_with(
            &tree,
            &options(),
            MIB,
            "`/large` has 16 TiB, but a file of ext4 has at most 17179869180 KiB",
            "make it shorter: its holes count, too",
        );
        tree.unlink(Tree::ROOT, b"large");
        for n in 0..40_000 {
            add(&mut tree, Tree::ROOT, &n.to_string(), Body::Fifo);
        }
        fails_with(
            &tree,
            &options(),
            100 * MIB,
            "the tree needs 40011 inodes but a filesystem of this size has at most 32768",
            "give the partition more space (32768 inodes for each 128 MiB), or put fewer files into it",
        );
    }

    #[test]
    fn nodes_that_cannot_be_stored() {
        let mut tree = Tree::new(STAT);
        let dir = add(&mut tree, Tree::ROOT, "d", Body::Dir(BTreeMap::new()));
        let file = add(&mut tree, dir, "f", Body::File(Content::bytes(b"x".as_slice())));
        let refused = |change: &dyn Fn(&mut Tree), message: &str, hint: &str| {
            let mut tree = tree.clone();
            change(&mut tree);
            fails_with(&tree, &options(), 16 * MIB, message, hint);
        };
        let long = "n".repeat(256);
        refused(
            &|tree| {
                tree.link(dir, long.as_bytes(), file);
            },
            &format!("a name of 256 bytes is too long for ext4, which allows 255: `/d/{long}`"),
            "shorten the name",
        );
        refused(
            &|tree| {
                add(tree, dir, "l", Body::Symlink(vec![b'a'; 4096].into()));
            },
            "the target of the symbolic link `/d/l` has 4096 bytes but ext4 allows 4095",
            "shorten the target, or link through a second link",
        );
        refused(
            &|tree| {
                add(tree, dir, "l", Body::Symlink(Box::default()));
            },
            "the symbolic link `/d/l` has an empty target",
            "give the link a target, or leave it out",
        );
        refused(
            &|tree| {
                for n in 0..65_000 {
                    tree.link(dir, n.to_string().as_bytes(), file);
                }
            },
            "`/d/0` has 65001 hard links but ext4 allows 65000",
            "copy the file for some of its names instead of linking it",
        );
        refused(
            &|tree| tree.node_mut(file).stat.mtime = 15_032_385_536,
            "the modification time 15032385536 of `/d/f` is out of range: ext4 stores seconds from -2147483648 to 15032385535",
            "set another time: touch `/d/f`",
        );
        refused(
            &|tree| {
                add(tree, Tree::ROOT, "lost+found", Body::Fifo);
            },
            "`/lost+found` is a fifo, but ext4 keeps a directory there",
            "remove or rename it in the tree",
        );
    }
}
