//! Roots as files: `NAME` is the text that images have, `NAME.signed` the signed roots that lead to it.

use std::fs;
use std::path::{Path, PathBuf};

use skiff_update::keys::{Key, Root, SignedRoot};

use super::OtaError;
use crate::error::{Io, Result};
use crate::storage::AtomicFile;

/// Suffix of the list of signed roots.
const SIGNED: &str = ".signed";

/// A root, and the signed roots that lead to it from the first one.
#[derive(Clone, Debug)]
pub struct RootFile {
    /// The root.
    pub root: Root,
    /// Roots behind the first one, up to this one: what a bundle brings to devices that have an earlier one.
    pub roots: Vec<SignedRoot>,
}

impl RootFile {
    /// Reads a root, and the list beside it if there is one.
    pub fn read(path: &Path) -> Result<RootFile> {
        let text = fs::read(path).map_err(Io::on("read", path))?;
        let root = Root::parse(&text).map_err(|source| OtaError::Root { path: path.into(), source })?;
        let signed = signed_path(path);
        let roots = match fs::read(&signed) {
            Ok(list) => SignedRoot::decode_all(&list)
                .map_err(|source| OtaError::Root { path: signed.clone(), source })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Io::on("read", &signed)(error).into()),
        };
        match roots.last() {
            Some(last) if last.text != text => Err(OtaError::OtherRoots { signed, path: path.into() }.into()),
            _ => Ok(RootFile { root, roots }),
        }
    }

    /// The root that follows this one, which enough keys have signed.
    pub fn followed_by(&self, signed: SignedRoot) -> Result<RootFile> {
        let root = self.root.follow(std::slice::from_ref(&signed))?;
        let roots = self.roots.iter().cloned().chain([signed]).collect();
        Ok(RootFile { root, roots })
    }

    /// Writes the root, and the list beside it; without `replace` neither if one of them is there.
    pub fn write(&self, path: &Path, replace: bool) -> Result<()> {
        for path in [path, &signed_path(path)] {
            if !replace && path.exists() {
                return Err(OtaError::Exists { path: path.into() }.into());
            }
        }
        if !self.roots.is_empty() {
            write(&signed_path(path), &SignedRoot::encode_all(&self.roots), replace)?;
        }
        write(path, self.root.to_text().as_bytes(), replace)
    }
}

fn signed_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SIGNED);
    name.into()
}

fn write(path: &Path, bytes: &[u8], replace: bool) -> Result<()> {
    use std::io::Write as _;
    let file = AtomicFile::beside(path)?;
    file.as_file().write_all(bytes).map_err(Io::on("write", path))?;
    Ok(file.publish(path, replace)?)
}

/// Reads a public key of OpenSSH from a file.
pub fn read_key(path: &Path) -> Result<Key> {
    let text = fs::read_to_string(path).map_err(Io::on("read", path))?;
    Ok(Key::parse(text.trim()).map_err(|source| OtaError::Key { path: path.into(), source })?)
}

/// The first root: `statements` of its keys sign a system, `rotations` the next root.
pub fn new_root(keys: Vec<Key>, statements: usize, rotations: usize) -> Result<Root> {
    checked(Root { epoch: 1, statements, rotations, keys, revoked: Vec::new() })
}

/// The root that follows `old` with other keys; a number that is none stays as it is.
pub fn next_root(
    old: &Root,
    add: Vec<Key>,
    remove: &[String],
    statements: Option<usize>,
    rotations: Option<usize>,
) -> Result<Root> {
    let mut keys = old.keys.clone();
    for fingerprint in remove {
        let place = keys.iter().position(|key| key.fingerprint() == *fingerprint);
        let place = place.ok_or_else(|| OtaError::NoSuchKey { fingerprint: fingerprint.clone() })?;
        keys.remove(place);
    }
    keys.extend(add);
    let revoked = old.revoked_by(&keys);
    checked(Root {
        epoch: old.epoch + 1,
        statements: statements.unwrap_or(old.statements),
        rotations: rotations.unwrap_or(old.rotations),
        keys,
        revoked,
    })
}

/// What a device would refuse is not made: two times the same key, for example.
fn checked(root: Root) -> Result<Root> {
    Root::parse(root.to_text().as_bytes()).map_err(OtaError::Impossible)?;
    Ok(root)
}
