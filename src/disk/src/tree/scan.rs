//! A directory of the host as a [`Tree`].
//!
//! Metadata only: no file is opened, so a scan is fast and a file that cannot be read is reported when its bytes are
//! wanted (see [`ContentError`](super::ContentError)). Links are never followed.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::omitted::Omissions;
use super::{Body, Content, Device, Name, Node, NodeId, Stamp, Stat, Tree, Xattrs, join};
use crate::error::{Diagnostic, Io};

/// Owner of the scanned nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// As on the host.
    Keep,
    /// Root and group 0, whoever ran the build.
    Root,
}

/// Choice of extended attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostXattrs {
    /// None, and nobody asks for them: those of a source checkout.
    Ignore,
    /// None: what a build host attaches to files does not belong into an image, and an unprivileged user cannot see all
    /// of it. [`Tree::omitted`] names them.
    Omit,
    /// The same, but nobody asks for those of the running host (see [`is_host_xattr`]).
    OmitPortable,
    /// Those of `user.`, `trusted.` and `security.`, and access lists, but not the ones that belong to the running host
    /// (see [`is_host_xattr`]), which [`Tree::omitted`] names.
    Keep,
    /// The same, but nobody asks for those of the running host.
    KeepPortable,
    /// All that can be read.
    KeepHost,
}

/// Treatment of files with several names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HardLinks {
    /// One node with several names.
    Keep,
    /// A node for each name, for source checkouts, where a link is an accident of the host.
    Split,
}

/// Options of reading a directory. No defaults: each of these changes the bytes of an image.
pub struct ScanOptions<'a> {
    /// Owner of the nodes.
    pub ownership: Ownership,
    /// Extended attributes that are taken.
    pub xattrs: HostXattrs,
    /// Treatment of several names of one node.
    pub hard_links: HardLinks,
    /// Paths (without leading slash) to leave out, with everything below.
    pub exclude: &'a dyn Fn(&[u8]) -> bool,
}

/// Reason why a directory cannot become a tree.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
#[non_exhaustive]
pub enum ScanError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// The path exists but is not a directory.
    #[error("`{}` is not a directory", .0.display())]
    #[diagnostic(hint = "name the directory that holds the tree")]
    NotADirectory(PathBuf),
    /// There is no such directory.
    #[error("directory `{}` does not exist", .0.display())]
    #[diagnostic(hint = "run the build that makes it, or correct the path")]
    Missing(PathBuf),
}

/// Reads the directory at `root`. The order in which the host lists entries makes no difference.
///
/// ```
/// use skiff_disk::tree::scan::{HardLinks, HostXattrs, Ownership, ScanOptions, scan};
///
/// # let directory = tempfile::tempdir()?;
/// # std::fs::write(directory.path().join("hello"), "hello\n")?;
/// let options = ScanOptions {
///     ownership: Ownership::Root,
///     xattrs: HostXattrs::Ignore,
///     hard_links: HardLinks::Keep,
///     exclude: &|path| path == b".git",
/// };
/// let tree = scan(directory.path(), &options)?;
/// let hello = tree.node(tree.get("hello").expect("it is there"));
/// assert_eq!((hello.stat.uid, hello.body.kind()), (0, "file"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn scan(root: &Path, options: &ScanOptions) -> Result<Tree, ScanError> {
    let metadata = match fs::metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ScanError::Missing(root.into())),
        other => other.map_err(Io::on("look at", root))?,
    };
    if !metadata.is_dir() {
        return Err(ScanError::NotADirectory(root.into()));
    }
    let mut scanner = Scanner {
        options,
        tree: Tree::new(stat_of(&metadata, options)),
        links: HashMap::new(),
        omissions: Omissions::default(),
    };
    scanner.tree.node_mut(Tree::ROOT).xattrs = scanner.xattrs(root, b"")?;
    scanner.directory(root, Tree::ROOT, b"")?;
    scanner.tree.omit(scanner.omissions.sentences());
    Ok(scanner.tree)
}

struct Scanner<'a> {
    options: &'a ScanOptions<'a>,
    tree: Tree,
    /// Nodes of files with several names, by device and inode.
    links: HashMap<(u64, u64), NodeId>,
    omissions: Omissions,
}

impl Scanner<'_> {
    fn directory(&mut self, dir: &Path, id: NodeId, path: &[u8]) -> Result<(), ScanError> {
        for name in sorted_names(dir)? {
            let path = join(path, &name);
            if (self.options.exclude)(&path) {
                continue;
            }
            let on_host = dir.join(OsStr::from_bytes(&name));
            let child = self.node(&on_host, &path)?;
            self.tree.link(id, &name, child);
            if self.tree.node(child).entries().is_some() {
                self.directory(&on_host, child, &path)?;
            }
        }
        Ok(())
    }

    /// The node of one name: a new one, or the one another name has already given.
    fn node(&mut self, on_host: &Path, path: &[u8]) -> Result<NodeId, ScanError> {
        let metadata = fs::symlink_metadata(on_host).map_err(Io::on("look at", on_host))?;
        let shared = metadata.nlink() > 1 && !metadata.is_dir();
        let key = (metadata.dev(), metadata.ino());
        if shared && let Some(id) = self.links.get(&key) {
            return Ok(*id);
        }
        let node = Node {
            stat: stat_of(&metadata, self.options),
            xattrs: self.xattrs(on_host, path)?,
            body: body_of(on_host, &metadata)?,
        };
        let id = self.tree.add(node);
        if shared && self.options.hard_links == HardLinks::Keep {
            self.links.insert(key, id);
        }
        Ok(id)
    }

    /// The attributes that are taken; the others are noted.
    fn xattrs(&mut self, on_host: &Path, path: &[u8]) -> Result<Xattrs, ScanError> {
        let mut taken = Xattrs::new();
        if self.options.xattrs == HostXattrs::Ignore {
            return Ok(taken);
        }
        let error = |errno: Errno| Io::on("read attributes of", on_host)(errno.into());
        for name in names_of_xattrs(on_host).map_err(error)? {
            let shown = name.escape_ascii();
            match (self.options.xattrs, is_host_xattr(&name)) {
                (HostXattrs::OmitPortable | HostXattrs::KeepPortable, true) => continue,
                (HostXattrs::Omit | HostXattrs::OmitPortable, false) => {
                    self.omissions.add(path, format!("the attribute `{shown}`"));
                    continue;
                }
                (HostXattrs::Omit | HostXattrs::Keep, true) => {
                    self.omissions.add(path, format!("the attribute `{shown}`, which belongs to the host"));
                    continue;
                }
                _ => {}
            }
            match grown(|buffer| rustix::fs::lgetxattr(on_host, OsStr::from_bytes(&name), buffer)) {
                Ok(value) => drop(taken.insert(name, value.into())),
                // It was removed meanwhile.
                Err(Errno::NODATA) => {}
                Err(Errno::PERM | Errno::ACCESS) => {
                    self.omissions.add(path, format!("the attribute `{shown}`, which may not be read"));
                }
                Err(errno) => return Err(error(errno).into()),
            }
        }
        Ok(taken)
    }
}

fn sorted_names(dir: &Path) -> Result<Vec<Name>, ScanError> {
    let entries = fs::read_dir(dir).map_err(Io::on("list", dir))?;
    let names: io::Result<Vec<Name>> =
        entries.map(|entry| Ok(entry?.file_name().into_vec().into_boxed_slice())).collect();
    let mut names = names.map_err(Io::on("list", dir))?;
    names.sort();
    Ok(names)
}

fn stat_of(metadata: &Metadata, options: &ScanOptions) -> Stat {
    let (uid, gid) = match options.ownership {
        Ownership::Keep => (metadata.uid(), metadata.gid()),
        Ownership::Root => (0, 0),
    };
    Stat { mode: metadata.mode() & 0o7777, uid, gid, mtime: metadata.mtime() }
}

fn body_of(path: &Path, metadata: &Metadata) -> Result<Body, ScanError> {
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        Body::Dir(BTreeMap::new())
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_err(Io::on("read link", path))?;
        Body::Symlink(target.into_os_string().into_vec().into())
    } else if kind.is_char_device() {
        Body::Char(device_of(metadata))
    } else if kind.is_block_device() {
        Body::Block(device_of(metadata))
    } else if kind.is_fifo() {
        Body::Fifo
    } else if kind.is_socket() {
        Body::Socket
    } else {
        Body::File(Content::stamped(path, 0, metadata.len(), Stamp::from_metadata(metadata)))
    })
}

fn device_of(metadata: &Metadata) -> Device {
    let rdev = metadata.rdev();
    Device { major: rustix::fs::major(rdev), minor: rustix::fs::minor(rdev) }
}

/// Returns whether an attribute says something about the host and not about the file: labels of its security modules,
/// integrity measurements, overlay bookkeeping. Access lists are kept: ext4 can hold them, and a filesystem that
/// cannot says that it drops them.
pub fn is_host_xattr(name: &[u8]) -> bool {
    const HOST: [&[u8]; 7] = [
        b"security.selinux",
        b"security.SMACK64",
        b"security.apparmor",
        b"security.ima",
        b"security.evm",
        b"trusted.overlay.",
        b"trusted.SGI_",
    ];
    let portable = [b"user.".as_slice(), b"trusted.", b"security.", b"system.posix_acl_"];
    !portable.iter().any(|prefix| name.starts_with(prefix))
        || HOST.iter().any(|prefix| name.starts_with(prefix))
}

/// Names of all attributes; none where the filesystem has no attributes.
fn names_of_xattrs(path: &Path) -> Result<Vec<Box<[u8]>>, Errno> {
    let names = match grown(|buffer| rustix::fs::llistxattr(path, buffer)) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        other => other?,
    };
    Ok(names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(Box::from).collect())
}

/// Calls `read` with larger and larger buffers until the answer fits. 64 KiB is `XATTR_SIZE_MAX`.
fn grown(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 16 => buffer.resize(buffer.len() * 16, 0),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options<'a>(hard_links: HardLinks, exclude: &'a dyn Fn(&[u8]) -> bool) -> ScanOptions<'a> {
        ScanOptions { ownership: Ownership::Root, xattrs: HostXattrs::Keep, hard_links, exclude }
    }

    fn sample() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/file"), b"abc").unwrap();
        fs::hard_link(dir.path().join("d/file"), dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        fs::write(dir.path().join(OsStr::from_bytes(b"\xff")), b"").unwrap();
        fs::write(dir.path().join("MARKER"), b"").unwrap();
        dir
    }

    #[test]
    fn names_kinds_and_hard_links_are_kept() {
        let dir = sample();
        let tree = scan(dir.path(), &options(HardLinks::Keep, &|path| path == b"MARKER")).unwrap();
        let paths: Vec<_> = tree.walk().map(|(path, _)| super::super::display(&path)).collect();
        assert_eq!(paths, ["/", "/d", "/d/file", "/dangling", "/link", "/\\xff"]);
        assert_eq!(tree.get("d/file"), tree.get("link"));
        let Body::File(content) = &tree.node(tree.get("link").unwrap()).body else { panic!("a file") };
        assert_eq!(content.read_all().unwrap(), b"abc");
        let Body::Symlink(target) = &tree.node(tree.get("dangling").unwrap()).body else { panic!("a link") };
        assert_eq!(&**target, b"nowhere");
    }

    #[test]
    fn hard_links_of_a_checkout_can_be_split() {
        let dir = sample();
        let tree = scan(dir.path(), &options(HardLinks::Split, &|_| false)).unwrap();
        assert_ne!(tree.get("d/file"), tree.get("link"));
    }

    #[test]
    fn what_is_not_a_directory_is_told() {
        let dir = sample();
        let path = dir.path().join("link");
        let error = scan(&path, &options(HardLinks::Keep, &|_| false)).unwrap_err();
        assert_eq!(error.to_string(), format!("`{}` is not a directory", path.display()));
        let path = dir.path().join("absent");
        let error = scan(&path, &options(HardLinks::Keep, &|_| false)).unwrap_err();
        assert_eq!(error.to_string(), format!("directory `{}` does not exist", path.display()));
        assert_eq!(error.hint().unwrap(), "run the build that makes it, or correct the path");
    }

    #[test]
    fn a_file_that_vanished_after_the_scan_is_named_when_it_is_read() {
        let dir = sample();
        let tree = scan(dir.path(), &options(HardLinks::Keep, &|_| false)).unwrap();
        let path = dir.path().join("d/file");
        fs::remove_file(&path).unwrap();
        let Body::File(content) = &tree.node(tree.get("d/file").unwrap()).body else { panic!("a file") };
        let error = content.read_all().unwrap_err();
        let expected = format!("cannot open `{}`: No such file or directory (os error 2)", path.display());
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint().unwrap(), "run the build that makes this file again");
    }

    #[test]
    fn attributes_of_the_host_are_left_behind() {
        assert!(is_host_xattr(b"security.selinux") && !is_host_xattr(b"system.posix_acl_access"));
        assert!(!is_host_xattr(b"security.capability") && !is_host_xattr(b"user.note"));
    }
}
