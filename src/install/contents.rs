//! The files that are on a partition, and those that will be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::survey::{Found, Holds};
use crate::error::{Error, Result};
use crate::fs::ext4::update::{Kind, Volume};
use crate::fs::{Damage, FileHasher, Problem, WrittenFile, fat};
use crate::storage::{Cursor, Region, Scratch, Target};
use crate::tree::{self, Body, Content, Tree};
use crate::value::Digest;

/// Files that other systems leave on a FAT that they have seen, by the start of their paths.
const LEFT_BY_OTHERS: [&str; 6] =
    ["/System Volume Information/", "/.fseventsd/", "/.Spotlight-V100/", "/.Trashes/", "/._", "/FSCK"];
/// Texts are no longer than this.
const LONGEST_TEXT: u64 = 64 << 10;

/// The filesystem of a partition, for reading.
pub enum Files<'t> {
    /// FAT, with paths and lengths of all files.
    Fat(Box<fat::Volume<Cursor<Arc<dyn Target>>>>, BTreeMap<String, u64>),
    /// ext4, with paths and lengths of all files where users do not write: nobody looks at all that they have.
    Ext4(Box<Volume<'t>>, Option<BTreeMap<String, u64>>),
    /// None.
    None,
}

impl<'t> Files<'t> {
    /// Opens what is in a partition; `used` says whether users write to it.
    pub fn open(target: &'t Arc<dyn Target>, found: &Found, used: bool) -> Result<Files<'t>> {
        Ok(match found.holds {
            Holds::Fat { .. } => {
                let stream = Cursor::new(Arc::clone(target), found.start, found.len);
                let volume = fat::Volume::from_reader(&format!("partition {}", found.number), stream)?;
                let list = volume.list()?;
                Files::Fat(Box::new(volume), list)
            }
            Holds::Ext4 { .. } => {
                let volume = Volume::open(&**target, found.start, found.len)?;
                let list = if used { None } else { Some(list(&volume)?) };
                Files::Ext4(Box::new(volume), list)
            }
            _ => Files::None,
        })
    }

    /// Paths and lengths of all files, where users do not write.
    pub fn list(&self) -> Option<&BTreeMap<String, u64>> {
        match self {
            Files::Fat(_, list) => Some(list),
            Files::Ext4(_, list) => list.as_ref(),
            Files::None => None,
        }
    }

    /// The ext4 whose files are replaced, where it is not written as a whole.
    pub fn used(&self) -> Option<&Volume<'t>> {
        match self {
            Files::Ext4(volume, None) => Some(volume),
            _ => None,
        }
    }

    /// Length of the regular file at `path`, if there is one.
    pub fn len(&self, path: &str) -> Result<Option<u64>> {
        Ok(match self {
            Files::Ext4(volume, _) => {
                volume.stat(path)?.filter(|found| found.kind == Kind::File).map(|found| found.len)
            }
            Files::Fat(_, list) => list.get(path).copied(),
            Files::None => None,
        })
    }

    /// Names in a directory; none if it is not there.
    pub fn names_in(&self, directory: &str) -> Result<Vec<String>> {
        if let Files::Ext4(volume, _) = self {
            let found = volume.stat(directory)?.filter(|found| found.kind == Kind::Directory);
            let names = found.map(|_| volume.list(directory)).transpose()?.unwrap_or_default();
            return Ok(names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect());
        }
        let inside = |path: &String| {
            let name = path.strip_prefix(directory.trim_end_matches('/'))?.strip_prefix('/')?;
            (!name.contains('/')).then(|| name.to_owned())
        };
        Ok(self.list().into_iter().flat_map(|list| list.keys()).filter_map(inside).collect())
    }

    /// Returns those of `expected` that are not there with these bytes.
    pub fn check(&self, expected: &[WrittenFile]) -> Result<Vec<Damage>> {
        match self {
            Files::Fat(volume, _) => Ok(volume.check_files(expected)),
            Files::Ext4(volume, _) => {
                let damage = |file: &WrittenFile| Ok(differs(volume, file)?.then(|| missing(file)));
                let all: Vec<Option<Damage>> = expected.iter().map(damage).collect::<Result<_>>()?;
                Ok(all.into_iter().flatten().collect())
            }
            Files::None => Ok(expected.iter().map(missing).collect()),
        }
    }

    /// Times and attributes of all files, where the filesystem is written anew and stores them otherwise than others.
    pub fn entries(&self) -> Result<BTreeMap<String, fat::KeptEntry>> {
        match self {
            Files::Fat(volume, _) => Ok(volume.entries()?),
            _ => Ok(BTreeMap::new()),
        }
    }

    /// A copy of a file, in an unnamed temporary file.
    pub fn copy(&self, path: &str, len: u64) -> Result<Content> {
        let scratch = Scratch::new(len)?;
        let region = Region::whole(&scratch, path);
        let mut writer = region.writer(0);
        match self {
            Files::Fat(volume, _) => _ = volume.extract(path, &mut writer)?,
            Files::Ext4(volume, _) => writer.append(&volume.read(path)?)?,
            Files::None => {}
        }
        writer.finish()?;
        Ok(scratch.into_content(len)?)
    }

    /// The text of a small file, if it is there and one.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        match self.len(path)?.filter(|len| *len <= LONGEST_TEXT) {
            Some(len) => Ok(String::from_utf8(self.copy(path, len)?.read_all()?).ok()),
            None => Ok(None),
        }
    }
}

/// Paths and lengths of all regular files, but for what e2fsck has found.
fn list(volume: &Volume<'_>) -> Result<BTreeMap<String, u64>> {
    let (mut files, mut open) = (BTreeMap::new(), vec![Vec::new()]);
    while let Some(directory) = open.pop() {
        for name in volume.list(&directory)? {
            let path = tree::join(&directory, &name);
            match volume.stat(&path)? {
                Some(found) if found.kind == Kind::Directory => open.push(path),
                Some(found) if found.kind == Kind::File => _ = files.insert(tree::display(&path), found.len),
                _ => {}
            }
        }
    }
    Ok(files)
}

fn differs(volume: &Volume<'_>, file: &WrittenFile) -> Result<bool> {
    let same_len =
        |found: &crate::fs::ext4::update::Metadata| found.kind == Kind::File && found.len == file.size;
    if volume.stat(&file.path)?.filter(same_len).is_none() {
        return Ok(true);
    }
    let mut hasher = FileHasher::new(file.size);
    volume.copy(&file.path, &mut |piece| hasher.update(piece))?;
    Ok(hasher.finalize() != file.blake3)
}

fn missing(file: &WrittenFile) -> Damage {
    Damage { path: file.path.clone(), problem: Problem::Missing }
}

/// Every regular file of a tree with its digest, by path.
pub fn expected(tree: &Tree) -> Result<Vec<WrittenFile>> {
    let file = |(path, id): (Vec<u8>, tree::NodeId)| match &tree.node(id).body {
        Body::File(content) => Some((tree::display(&path), content)),
        _ => None,
    };
    let written = |(path, content): (String, &Content)| {
        Ok(WrittenFile { path, size: content.len(), blake3: FileHasher::digest(content)? })
    };
    tree.walk().filter_map(file).map(written).collect()
}

/// The BLAKE3 of a file of a tree, as the device computes it.
pub fn plain_digest(tree: &Tree, file: &WrittenFile) -> Result<Digest> {
    let node = tree.get(&file.path).map(|id| &tree.node(id).body);
    let Some(Body::File(content)) = node.filter(|_| !FileHasher::is_plain(file.size)) else {
        return Ok(file.blake3);
    };
    let mut hasher = blake3::Hasher::new();
    content.for_each_chunk(|chunk| {
        hasher.update(chunk);
        Ok::<(), Error>(())
    })?;
    Ok(hasher.finalize().into())
}

/// The text of a content, if it is short and one.
pub fn text_of(content: &Content) -> Result<Option<String>> {
    match content.len() <= LONGEST_TEXT {
        true => Ok(String::from_utf8(content.read_all()?).ok()),
        false => Ok(None),
    }
}

/// The files that are nobody's but the user's: not in the new tree, and no device tree of an earlier version.
pub fn foreign(present: &BTreeMap<String, u64>, expected: &[WrittenFile]) -> Vec<String> {
    let ours: BTreeSet<String> = expected.iter().map(|file| file.path.to_lowercase()).collect();
    let is_foreign = |path: &&String| {
        let earlier = [".dtb", ".dtbo"].iter().any(|end| path.ends_with(end));
        let left = LEFT_BY_OTHERS.iter().any(|start| path.starts_with(start));
        !ours.contains(&path.to_lowercase()) && !earlier && !left
    };
    present.keys().filter(is_foreign).cloned().collect()
}
