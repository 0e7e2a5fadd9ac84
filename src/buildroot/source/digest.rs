//! Digests of a source tree: one for each entry of its top directory, and one for all.
//!
//! An entry's digest is BLAKE3 over what is below it, in the order of the paths' bytes; for each file and link: the
//! length of its path in bytes as 8 bytes, the path from the top on, one of `f`, `x` (a file that can be executed) and
//! `l`, the length of its contents or its target as 8 bytes, and that. Numbers are little-endian. Directories count by
//! what is in them. The digest of all is over the lines `NAME DIGEST`.
//!
//! Left out are what a checkout, a release and use add: hidden entries of the top directory, `docs` (releases have the
//! manual there), `dl`, `output`, and what Python compiles.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use blake3::Hasher;
use rayon::prelude::*;

use crate::error::Io;

const LEFT_OUT: [&str; 3] = ["docs", "dl", "output"];

/// The digests of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeDigest {
    /// By the names of the entries of the top directory, in hexadecimal.
    pub entries: BTreeMap<String, String>,
}

/// A file or link.
struct Item {
    /// From the top of the tree on.
    name: PathBuf,
    kind: u8,
}

impl TreeDigest {
    /// Reads the whole tree.
    pub fn for_tree(tree: &Path) -> Result<TreeDigest, Io> {
        let mut by_entry: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for name in names(tree)?.into_iter().filter(|name| counts(name)) {
            let mut items = Vec::new();
            list(tree, Path::new(&name), &mut items)?;
            items.sort_by(|a, b| a.name.as_os_str().as_bytes().cmp(b.name.as_os_str().as_bytes()));
            by_entry.insert(name.to_string_lossy().into_owned(), items);
        }
        let digests = by_entry.into_iter().map(|(name, items)| Ok((name, digest_items(tree, &items)?)));
        let entries = digests.collect::<Result<_, Io>>()?;
        Ok(TreeDigest { entries })
    }

    /// The digest of all.
    pub fn whole(&self) -> String {
        let mut hasher = Hasher::new();
        for (name, digest) in &self.entries {
            hasher.update(format!("{name} {digest}\n").as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

fn counts(name: &OsStr) -> bool {
    !name.as_bytes().starts_with(b".") && !LEFT_OUT.iter().any(|left_out| name == *left_out)
}

fn names(directory: &Path) -> Result<Vec<std::ffi::OsString>, Io> {
    let entries = fs::read_dir(directory).map_err(Io::on("list", directory))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>();
    names.map_err(Io::on("list", directory))
}

fn list(tree: &Path, name: &Path, items: &mut Vec<Item>) -> Result<(), Io> {
    let path = tree.join(name);
    let metadata = path.symlink_metadata().map_err(Io::on("read", &path))?;
    if !metadata.is_dir() {
        let executable = metadata.permissions().mode() & 0o100 != 0;
        let kind = if metadata.is_symlink() { b'l' } else { [b'f', b'x'][usize::from(executable)] };
        items.push(Item { name: name.into(), kind });
        return Ok(());
    }
    for inner in names(&path)? {
        if inner != "__pycache__" && !inner.as_bytes().ends_with(b".pyc") {
            list(tree, &name.join(inner), items)?;
        }
    }
    Ok(())
}

/// Many files are read at once; what is hashed is in order.
fn digest_items(tree: &Path, items: &[Item]) -> Result<String, Io> {
    const AT_ONCE: usize = 256;
    let mut hasher = Hasher::new();
    for some in items.chunks(AT_ONCE) {
        let contents: Vec<Vec<u8>> =
            some.par_iter().map(|item| contents(tree, item)).collect::<Result<_, Io>>()?;
        for (item, bytes) in some.iter().zip(contents) {
            let name = item.name.as_os_str().as_bytes();
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name).update(&[item.kind]);
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn contents(tree: &Path, item: &Item) -> Result<Vec<u8>, Io> {
    let path = tree.join(&item.name);
    if item.kind == b'l' {
        let target = fs::read_link(&path).map_err(Io::on("read", &path))?;
        return Ok(target.as_os_str().as_bytes().to_vec());
    }
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(Io::on("read", &path))?;
    Ok(bytes)
}
