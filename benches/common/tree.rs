//! The tree that is measured.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use skiff_image::tree::scan::{HardLinks, HostXattrs, Ownership, ScanOptions, scan};
use skiff_image::tree::{Body, Tree};

use super::{command, directory, succeed};

/// The packages of the Debian that is made where no tree is given: a system with kernel, modules and Python.
const PACKAGES: &str = "systemd,udev,kmod,openssh-server,ca-certificates,curl,python3,linux-image-amd64";

/// The given tree, or a Debian of about 700 MB that is made once, as root, with debootstrap.
pub fn given_or_debian(given: Option<&Path>) -> PathBuf {
    if let Some(tree) = given {
        return tree.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", tree.display()));
    }
    let (partial, tree) = (directory().join("partial"), directory().join("rootfs"));
    if !tree.exists() {
        eprintln!("making a Debian tree in {}", tree.display());
        super::fresh(&partial);
        succeed(
            command("debootstrap")
                .args(["--variant=minbase", &format!("--include={PACKAGES}"), "bookworm"])
                .arg(&partial),
        );
        // Downloads are no part of a root filesystem.
        std::fs::remove_dir_all(partial.join("var/cache/apt")).expect("remove the downloads");
        std::fs::rename(partial, &tree).expect("rename");
    }
    tree
}

/// What is in a tree.
pub struct Summary {
    nodes: usize,
    /// Length and path of every file that is not empty, in the order of their names.
    pub files: Vec<(u64, PathBuf)>,
}

impl Summary {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(len, _)| len).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nodes, {} files, {:.0} MB", self.nodes, self.files.len(), self.bytes() as f64 / 1e6)
    }
}

/// Looks at every node.
pub fn summary(root: &Path) -> Summary {
    let tree = read(root);
    let file = |(path, id)| match &tree.node(id).body {
        Body::File(content) if !content.is_empty() => Some((content.len(), OsString::from_vec(path).into())),
        _ => None,
    };
    Summary { nodes: tree.walk().count(), files: tree.walk().filter_map(file).collect() }
}

/// Reads all files once, so that no run waits for the disk.
pub fn warm(root: &Path) {
    let tree = read(root);
    for (_, id) in tree.walk() {
        if let Body::File(content) = &tree.node(id).body {
            content.read_all().expect("readable");
        }
    }
}

fn read(root: &Path) -> Tree {
    let options = ScanOptions {
        ownership: Ownership::Keep,
        xattrs: HostXattrs::Ignore,
        hard_links: HardLinks::Keep,
        exclude: &|_| false,
    };
    scan(root, &options).expect("the tree can be read")
}
