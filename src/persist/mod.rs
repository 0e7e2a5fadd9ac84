//! Settings of a new medium for its first boot: keys that may log in, its name, the wireless network it joins,
//! images of containers, and any other file of the persist partition. Without one of the first three nobody may be able to reach a
//! board that has no screen.
//!
//! The places are SkiffOS': its start-up copies `skiff/keys/*.pub` to root's `authorized_keys`, takes the name
//! from `skiff/hostname` and NetworkManager's connections from `skiff/connections`.

mod container_image;
mod ssh_key;
mod wifi;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use container_image::{ArchiveError, ContainerImage};
pub use ssh_key::PublicKeys;
pub use wifi::Wifi;

use crate::error::{Diagnostic, Error, Io};
use crate::tree::scan::{HardLinks, HostXattrs, Ownership, ScanOptions, scan};
use crate::tree::{Body, Content, Node, NodeId, Stat, Tree, components, display};
use crate::value::{Seed, Timestamp};

/// `HOST_NAME_MAX` of Linux, `include/uapi/linux/utsname.h` without the final zero.
const HOST_NAME_MAX: usize = 64;
/// Longest label of a host name (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;

/// Contents of the persist partition.
#[derive(Clone, Debug, Default)]
pub struct PreSeed {
    /// Keys that may log in as root.
    pub keys: Vec<PublicKeys>,
    /// Name of the machine.
    pub hostname: Option<Hostname>,
    /// Wireless network.
    pub wifi: Option<Wifi>,
    /// A directory of files; their modes are kept, because some of them are secrets.
    pub directory: Option<PathBuf>,
    /// Images of containers, which the device loads without a network.
    pub container_images: Vec<ContainerImage>,
}

/// Name of a machine: what Linux and RFC 1123, section 2.1, allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostname(String);

/// Reason why something cannot be put on the persist partition. No message shows a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "give a file such as `~/.ssh/id_ed25519.pub`, which `ssh-keygen` makes")]
pub enum PreSeedError {
    /// Not a host name.
    #[error("`{name}` is no host name: {problem}")]
    #[diagnostic(hint = "use letters, digits and `-`, such as `robot-7`")]
    Hostname {
        /// As given.
        name: String,
        /// Fault of it.
        problem: String,
    },
    /// A private key was given.
    #[error("`{file}` is a private key")]
    #[diagnostic(hint = "give the public key beside it, whose name ends in `.pub`")]
    PrivateKey {
        /// The file.
        file: String,
    },
    /// Not a public key.
    #[error("{file}:{line}: no public key of OpenSSH: {problem}")]
    Key {
        /// The file.
        file: String,
        /// Line from 1.
        line: usize,
        /// Fault of it.
        problem: String,
    },
    /// A file without any key.
    #[error("`{file}` has no key in it")]
    NoKey {
        /// The file.
        file: String,
    },
    /// Not the name of a wireless network.
    #[error("the name of a wireless network has 1 to 32 bytes, not {len}")]
    #[diagnostic(hint = "give the name that the access point sends")]
    Ssid {
        /// Its length in bytes.
        len: usize,
    },
    /// Not a WPA password.
    #[error(
        "the password of `{ssid}` has {len} bytes; it has 8 to 63 printable ASCII characters or 64 hexadecimal digits"
    )]
    #[diagnostic(hint = "give the password of the network, without quotes")]
    Password {
        /// The network.
        ssid: String,
        /// Length of the password in bytes.
        len: usize,
    },
    /// Two sources for one path.
    #[error("`{path}` of the persist partition is given twice: by {first} and by {second}")]
    #[diagnostic(hint = "leave one of them out")]
    Twice {
        /// The path.
        path: String,
        /// The first source.
        first: String,
        /// The second.
        second: String,
    },
    /// The board has no place for it.
    #[error("board `{board}` has no partition that keeps files")]
    #[diagnostic(hint = "leave the option out: this board's output starts without such files")]
    NoPersist {
        /// The board.
        board: String,
    },
}

impl std::str::FromStr for Hostname {
    type Err = PreSeedError;

    fn from_str(name: &str) -> Result<Hostname, PreSeedError> {
        let wrong = |problem: String| PreSeedError::Hostname { name: name.into(), problem };
        if name.is_empty() || name.len() > HOST_NAME_MAX {
            return Err(wrong(format!("it has {} characters, but 1 to {HOST_NAME_MAX} fit", name.len())));
        }
        for label in name.split('.') {
            if label.is_empty() || label.len() > LABEL_MAX {
                return Err(wrong(format!(
                    "`{label}` has {} characters, but 1 to {LABEL_MAX} fit",
                    label.len()
                )));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(wrong(format!("`{label}` begins or ends with `-`")));
            }
            if let Some(other) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
                return Err(wrong(format!("`{other}` is not possible in it")));
            }
        }
        Ok(Hostname(name.into()))
    }
}

impl PreSeed {
    /// Returns whether nothing is put there.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.hostname.is_none()
            && self.wifi.is_none()
            && self.directory.is_none()
            && self.container_images.is_empty()
    }

    /// Returns whether it has something that others must not read: a password, or a file that its owner has closed to
    /// them.
    pub fn is_secret(&self) -> Result<bool, Error> {
        if self.wifi.as_ref().is_some_and(Wifi::has_password) {
            return Ok(true);
        }
        let Some(directory) = &self.directory else { return Ok(false) };
        let tree = read(directory, 0)?;
        let is_closed = |id| {
            let node = tree.node(id);
            matches!(node.body, Body::File(_)) && node.stat.mode & 0o004 == 0
        };
        Ok(tree.walk().any(|(_, id)| is_closed(id)))
    }

    /// The files as a tree whose root is the root of the persist partition.
    pub fn tree(&self, seed: &Seed, timestamp: Timestamp) -> Result<Tree, Error> {
        let mut grown = match &self.directory {
            Some(directory) => Growing::over(read(directory, timestamp)?, directory, timestamp),
            None => Growing::new(timestamp),
        };
        let mut names = BTreeMap::new();
        for keys in &self.keys {
            let name = free_name(&mut names, &keys.name);
            let path = format!("skiff/keys/{name}.pub");
            let text = Content::bytes(keys.text.clone().into_bytes());
            grown.file(&path, 0o644, text, format!("the key `{}`", keys.name))?;
        }
        if let Some(Hostname(name)) = &self.hostname {
            grown.file(
                "skiff/hostname",
                0o644,
                Content::bytes(format!("{name}\n").into_bytes()),
                "the host name".into(),
            )?;
        }
        if let Some(wifi) = &self.wifi {
            // NetworkManager ignores connections that others can read.
            grown.directory("skiff/connections", 0o700);
            let path = format!("skiff/connections/{}", wifi.file_name());
            let text = Content::bytes(wifi.keyfile(seed).into_bytes());
            grown.file(&path, 0o600, text, format!("the network `{}`", wifi.ssid()))?;
        }
        for image in &self.container_images {
            let content = Content::file(image.path.as_path(), 0, image.len);
            grown.file(&image.place(), 0o644, content, format!("the image `{}`", image.reference))?;
        }
        Ok(grown.tree)
    }
}

/// A name that no earlier file has: two people may both have an `id_ed25519`.
fn free_name(taken: &mut BTreeMap<String, u32>, wanted: &str) -> String {
    let count = taken.entry(wanted.to_owned()).or_default();
    *count += 1;
    if *count == 1 { wanted.to_owned() } else { format!("{wanted}-{count}") }
}

/// The directory as it is, but owned by root and with one time, so that two machines give the same bytes.
fn read(directory: &Path, timestamp: Timestamp) -> Result<Tree, Error> {
    if !directory.is_dir() {
        let error = std::io::Error::from(std::io::ErrorKind::NotADirectory);
        return Err(Io::on("read the directory", directory)(error).into());
    }
    let options = ScanOptions {
        ownership: Ownership::Root,
        xattrs: HostXattrs::Ignore,
        hard_links: HardLinks::Split,
        exclude: &|_| false,
    };
    let mut tree = scan(directory, &options)?;
    let nodes: Vec<NodeId> = tree.walk().map(|(_, id)| id).collect();
    nodes.into_iter().for_each(|id| tree.node_mut(id).stat.mtime = timestamp);
    // The root of the partition is not the directory's: nobody means that to be closed.
    tree.node_mut(Tree::ROOT).stat.mode = 0o755;
    Ok(tree)
}

/// A tree that files are added to, none over another.
struct Growing {
    tree: Tree,
    origins: BTreeMap<Vec<u8>, String>,
    timestamp: Timestamp,
}

impl Growing {
    fn new(timestamp: Timestamp) -> Growing {
        let root = Stat { mode: 0o755, uid: 0, gid: 0, mtime: timestamp };
        Growing { tree: Tree::new(root), origins: BTreeMap::new(), timestamp }
    }

    fn over(tree: Tree, directory: &Path, timestamp: Timestamp) -> Growing {
        let origin = format!("`{}`", directory.display());
        let files = tree.walk().filter(|(_, id)| tree.node(*id).entries().is_none());
        let origins = files.map(|(path, _)| (path, origin.clone())).collect();
        Growing { tree, origins, timestamp }
    }

    fn file(&mut self, path: &str, mode: u32, content: Content, origin: String) -> Result<(), PreSeedError> {
        let path = path.as_bytes();
        if let Some(first) = self.origins.get(path) {
            let (path, first) = (display(path), first.clone());
            return Err(PreSeedError::Twice { path, first, second: origin });
        }
        let (parent, name) =
            path.split_at(path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1));
        let parent = self.directory(std::str::from_utf8(parent).expect("our own path"), 0o755);
        let stat = Stat { mode, uid: 0, gid: 0, mtime: self.timestamp };
        self.tree.insert(parent, name, Node::new(stat, Body::File(content)));
        self.origins.insert(path.to_vec(), origin);
        Ok(())
    }

    /// The directory at `path`, made where it is missing; only what is made gets the mode.
    fn directory(&mut self, path: &str, mode: u32) -> NodeId {
        let names: Vec<&[u8]> = components(path.as_bytes()).collect();
        let mut at = Tree::ROOT;
        for (depth, name) in names.iter().enumerate() {
            let mode = if depth + 1 == names.len() { mode } else { 0o755 };
            at = match self.tree.child(at, name) {
                Some(child) => child,
                None => {
                    let stat = Stat { mode, uid: 0, gid: 0, mtime: self.timestamp };
                    self.tree.insert(at, name, Node::new(stat, Body::Dir(BTreeMap::new())))
                }
            };
        }
        at
    }
}
