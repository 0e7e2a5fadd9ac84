//! Loop mounts, for tests that ask the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use skiff_image::tree::{Body, Device, Tree, display};

use super::skip::skip;
use super::tools::{command, unmount};

/// A loop mount that ends with this value.
pub struct Mounted {
    at: PathBuf,
    mounted: bool,
}

impl Mounted {
    pub fn path(&self) -> &Path {
        &self.at
    }

    pub fn unmount(mut self) {
        assert!(self.unmount_quietly(), "umount failed");
    }

    fn unmount_quietly(&mut self) -> bool {
        std::mem::take(&mut self.mounted) && unmount(&self.at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.unmount_quietly();
    }
}

fn try_mount(image: &Path, at: &Path, options: &str) -> Result<Mounted, String> {
    std::fs::create_dir_all(at).expect("mount point");
    let output = command("mount")
        .args(["-t", "ext4", "-o", &format!("loop,{options}")])
        .args([image, at])
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(Mounted { at: at.into(), mounted: true })
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Mounts; a failure fails the test.
pub fn mount(image: &Path, at: &Path, options: &str) -> Mounted {
    try_mount(image, at, options).unwrap_or_else(|error| panic!("cannot mount: {error}"))
}

/// Whether the kernel mounts what mke2fs makes; if not, what we make proves nothing.
pub fn can_mount(test: &str) -> bool {
    let temp = tempfile::tempdir().expect("temporary directory");
    let image = temp.path().join("reference");
    std::fs::File::create(&image).and_then(|file| file.set_len(16 << 20)).expect("create");
    let made = command("mke2fs").args(["-q", "-t", "ext4", "-F"]).arg(&image).status();
    let mounted = made.is_ok_and(|status| status.success())
        && try_mount(&image, &temp.path().join("at"), "ro").map(Mounted::unmount).is_ok();
    if !mounted {
        skip(test, "loop mounts are not possible");
    }
    mounted
}

/// Compares everything of `tree` with the directory at `root`; `ignored` may be there in addition.
pub fn assert_same(tree: &Tree, root: &Path, ignored: &str) {
    let mut links = tree.link_counts();
    if tree.get(ignored).is_none() {
        links[Tree::ROOT.index()] += 1;
    }
    for (path, id) in tree.walk() {
        let (node, shown) = (tree.node(id), display(&path));
        let at = root.join(OsStr::from_bytes(&path));
        let meta = std::fs::symlink_metadata(&at).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let stat = node.stat;
        let found = (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec(), meta.nlink());
        let mode = stat.mode | node.body.file_type_bits();
        assert_eq!(found, (mode, stat.uid, stat.gid, stat.mtime, 0, links[id.index()].into()), "{shown}");
        match &node.body {
            Body::Dir(entries) => {
                let mut expected: BTreeSet<Vec<u8>> = entries.keys().map(|name| name.to_vec()).collect();
                if path.is_empty() {
                    expected.insert(ignored.into());
                }
                let found: BTreeSet<Vec<u8>> = std::fs::read_dir(&at)
                    .expect("directory")
                    .map(|entry| entry.expect("entry").file_name().into_vec())
                    .collect();
                assert!(found == expected, "{shown}");
            }
            Body::File(content) => {
                assert!(std::fs::read(&at).expect("read") == content.read_all().expect("read"), "{shown}");
            }
            Body::Symlink(target) => {
                assert_eq!(std::fs::read_link(&at).expect("link").as_os_str().as_bytes(), &**target);
            }
            Body::Char(device) | Body::Block(device) => {
                let rdev = meta.rdev();
                let found = Device { major: rustix::fs::major(rdev), minor: rustix::fs::minor(rdev) };
                assert_eq!(found, *device, "{shown}");
            }
            Body::Fifo | Body::Socket => {}
        }
        let expected: BTreeMap<Vec<u8>, Vec<u8>> =
            node.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        assert!(xattrs(&at) == expected, "{shown}: {:?} is not {expected:?}", xattrs(&at));
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0_u8; 65536];
    let len = rustix::fs::llistxattr(path, &mut names[..]).expect("llistxattr");
    let names = names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0_u8; 65536];
            let len =
                rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).expect("lgetxattr");
            (name.to_vec(), value[..len].to_vec())
        })
        .collect()
}
