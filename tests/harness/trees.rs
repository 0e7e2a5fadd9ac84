//! Trees to make filesystems of, and the comparison of a tree with what the kernel shows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use skiff_image::storage::{Layer, Memory, Target, TargetError, WriteOp};
use skiff_image::tree::acl::Acl;
use skiff_image::tree::{self, Body, Content, Device, Node, NodeId, Stat, Tree};

use super::skip::skip;
use super::tools;

/// Metadata that is nobody's default.
pub fn stat(mode: u32) -> Stat {
    Stat { mode, uid: 1000, gid: 50_000, mtime: 1_700_000_000 }
}

/// An access list as the value of its extended attribute.
pub fn access_list(text: &str) -> Vec<u8> {
    Acl::from_text(text, |_, _| None).expect("a valid list").to_xattr()
}

pub fn dir() -> Body {
    Body::Dir(BTreeMap::new())
}

pub fn file(bytes: impl Into<Vec<u8>>) -> Body {
    Body::File(Content::bytes(bytes.into()))
}

/// Knuth's MMIX generator: fixed sequences without a dependency.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    pub fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }

    /// Bytes that do not compress.
    pub fn noise(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Bytes that compress.
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        const WORDS: [&str; 6] = ["layer ", "board ", "target ", "tree ", "plan\n", "region "];
        let mut text = Vec::with_capacity(len + 8);
        while text.len() < len {
            text.extend_from_slice(WORDS[self.below(6) as usize].as_bytes());
        }
        text.truncate(len);
        text
    }
}

/// Memory that starts as garbage and panics when a byte is written twice or read as if it had been written.
pub struct Once {
    pub memory: Memory,
    written: Mutex<BTreeMap<u64, u64>>,
}

impl Once {
    pub fn new(len: u64) -> Once {
        let memory = Memory::new(len);
        memory.write_at(&vec![0xaa; len as usize], 0).expect("inside");
        Once { memory, written: Mutex::new(BTreeMap::new()) }
    }

    fn claim(&self, start: u64, len: u64) {
        let mut written = self.written.lock().expect("no panic before");
        let end = start + len;
        if let Some((other, other_end)) = written.range(..end).next_back() {
            assert!(*other_end <= start, "{start}..{end} overlaps {other}..{other_end}");
        }
        written.insert(start, end);
    }

    /// Whether exactly `0..len` was written.
    pub fn covers(&self, len: u64) -> bool {
        let mut at = 0;
        for (start, end) in self.written.lock().expect("no panic before").iter() {
            if *start != at {
                return false;
            }
            at = *end;
        }
        at == len
    }
}

impl Layer for Once {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &self.memory
    }

    fn own_name(&self) -> Option<&str> {
        Some("once")
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        self.claim(op.offset(), op.len());
        op.apply(&self.memory)
    }
}

/// A mounted image; unmounted when dropped.
pub struct Mounted {
    dir: tempfile::TempDir,
}

impl Mounted {
    /// Mounts `image` read-only through a loop device; `None` (told on stderr) if this process may not.
    pub fn new(test: &str, kind: &str, image: &Path) -> Option<Mounted> {
        if !tools::oracle(test, "mount") || !is_root(test) {
            return None;
        }
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut mount = tools::command("mount");
        mount.args(["-t", kind, "-o", "loop,ro"]).arg(image).arg(dir.path());
        let output = mount.output().expect("mount runs");
        assert!(output.status.success(), "{test}: {}", String::from_utf8_lossy(&output.stderr));
        Some(Mounted { dir })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        assert!(tools::unmount(self.dir.path()) || std::thread::panicking(), "umount");
    }
}

fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "only root can mount");
    }
    root
}

/// Everything in which a directory differs from a tree, one line each. `keep` tells which attributes the
/// filesystem stores.
pub fn differences(tree: &Tree, root: &Path, keep: fn(&[u8]) -> bool) -> Vec<String> {
    let links = tree.link_counts();
    let mut inodes: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut names = BTreeSet::new();
    let mut lines = Vec::new();
    for (path, id) in tree.walk() {
        let host = root.join(OsStr::from_bytes(&path));
        names.insert(host.clone());
        let Ok(found) = fs::symlink_metadata(&host) else {
            lines.push(format!("{} is missing", tree::display(&path)));
            continue;
        };
        let mut expect = |what: &str, found: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
            let (found, wanted) = (format!("{found:?}"), format!("{wanted:?}"));
            if found != wanted {
                lines.push(format!("{}: {what} is {found}, not {wanted}", tree::display(&path)));
            }
        };
        let node = tree.node(id);
        let stat = &node.stat;
        expect("mode", &found.mode(), &(stat.mode | node.body.file_type_bits()));
        expect("owner", &(found.uid(), found.gid()), &(stat.uid, stat.gid));
        expect("mtime", &(found.mtime(), found.mtime_nsec()), &(stat.mtime.clamp(0, u32::MAX.into()), 0));
        expect("nlink", &found.nlink(), &u64::from(links[id.index()]));
        expect("ino", &found.ino(), &*inodes.entry(id).or_insert(found.ino()));
        match &node.body {
            Body::File(content) => {
                expect("size", &found.len(), &content.len());
                let same = fs::read(&host).is_ok_and(|bytes| bytes == content.read_all().expect("readable"));
                expect("content", &same, &true);
            }
            Body::Symlink(target) => {
                let link = fs::read_link(&host).map(|link| link.into_os_string().into_vec());
                expect("target", &link.ok(), &Some(target.to_vec()));
            }
            Body::Char(Device { major, minor }) | Body::Block(Device { major, minor }) => {
                let rdev = found.rdev();
                expect("rdev", &(rustix::fs::major(rdev), rustix::fs::minor(rdev)), &(*major, *minor));
            }
            Body::Dir(_) | Body::Fifo | Body::Socket => {}
        }
        let wanted: BTreeMap<Vec<u8>, Vec<u8>> = (node.xattrs.iter())
            .filter(|(name, _)| keep(name))
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        expect("xattrs", &xattrs(&host), &wanted);
    }
    let listed = list(root);
    lines.extend(listed.difference(&names).map(|path| format!("{} is too many", path.display())));
    lines.extend(names.difference(&listed).map(|path| format!("{} is not listed", path.display())));
    assert_eq!(inodes.values().collect::<BTreeSet<_>>().len(), inodes.len(), "inode numbers are distinct");
    lines
}

fn list(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::from([root.to_path_buf()]);
    let mut stack = vec![root.to_path_buf()];
    while let Some(dir) = stack.pop() {
        for entry in fs::read_dir(&dir).expect("a readable directory") {
            let entry = entry.expect("a readable entry");
            if entry.file_type().expect("a known type").is_dir() {
                stack.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65_536];
    let Ok(len) = rustix::fs::llistxattr(path, &mut names) else {
        return BTreeMap::new();
    };
    names.truncate(len);
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 65_536];
        let name = OsString::from_vec(name.to_vec());
        let len = rustix::fs::lgetxattr(path, &name, &mut value).expect("a listed attribute");
        value.truncate(len);
        value
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

/// Reads a directory into a tree: only what the tests and benchmarks need.
pub fn scan(root: &Path) -> Tree {
    let meta = fs::symlink_metadata(root).expect("a root");
    let mut tree = Tree::new(stat_of(&meta));
    tree.node_mut(Tree::ROOT).xattrs = node_xattrs(root);
    let mut inodes = BTreeMap::new();
    let mut stack = vec![(root.to_path_buf(), Tree::ROOT)];
    while let Some((host, dir)) = stack.pop() {
        for entry in fs::read_dir(&host).expect("a readable directory") {
            let path = entry.expect("a readable entry").path();
            let meta = fs::symlink_metadata(&path).expect("metadata");
            let name = path.file_name().expect("a name").as_bytes().to_vec();
            if let Some(node) = inodes.get(&(meta.dev(), meta.ino())) {
                tree.link(dir, &name, *node);
                continue;
            }
            let mut node = Node::new(stat_of(&meta), body_of(&path, &meta));
            node.xattrs = node_xattrs(&path);
            let id = tree.insert(dir, &name, node);
            if meta.is_dir() {
                stack.push((path, id));
            } else if meta.nlink() > 1 {
                inodes.insert((meta.dev(), meta.ino()), id);
            }
        }
    }
    tree
}

fn node_xattrs(path: &Path) -> tree::Xattrs {
    xattrs(path).into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn stat_of(meta: &fs::Metadata) -> Stat {
    Stat { mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid(), mtime: meta.mtime() }
}

fn body_of(path: &Path, meta: &fs::Metadata) -> Body {
    let device = Device { major: rustix::fs::major(meta.rdev()), minor: rustix::fs::minor(meta.rdev()) };
    match meta.mode() & 0o170_000 {
        0o040_000 => dir(),
        0o100_000 => Body::File(Content::file(path, 0, meta.len())),
        0o120_000 => Body::Symlink(fs::read_link(path).expect("a link").into_os_string().into_vec().into()),
        0o020_000 => Body::Char(device),
        0o060_000 => Body::Block(device),
        0o010_000 => Body::Fifo,
        _ => Body::Socket,
    }
}
