//! The trees of the partitions: files of the images directory and artifacts at the places the board names.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Artifacts, StageError};
use crate::board::{self, Filesystem, Partition, Place};
use crate::error::{Error, Io};
use crate::tree::overlay::Overlay;
use crate::tree::{self, Body, Content, Name, Node, NodeId, Stamp, Stat, Tree};
use crate::value::{Arch, Timestamp};

/// What goes onto one partition, and where each path comes from.
#[derive(Clone, Debug)]
pub struct PartitionTree {
    /// The tree.
    pub tree: Tree,
    /// Path on the partition to what put it there, for messages.
    origins: BTreeMap<Vec<u8>, String>,
}

/// Builds the tree of one partition.
pub struct Placer<'a> {
    /// Directory that `image` and `tree` places are relative to.
    pub images: &'a Path,
    /// What was composed so far.
    pub artifacts: &'a Artifacts,
    /// Architecture that is composed for.
    pub arch: Arch,
    /// Time of all nodes.
    pub timestamp: Timestamp,
}

impl Placer<'_> {
    /// The tree of `partition`.
    pub fn tree(&self, partition: &Partition) -> Result<PartitionTree, Error> {
        let root = Stat { mode: 0o755, uid: 0, gid: 0, mtime: self.timestamp };
        let mut placed = PartitionTree { tree: Tree::new(root), origins: BTreeMap::new() };
        for place in partition.files.iter().filter(|place| place.arch.is_none_or(|arch| arch == self.arch)) {
            self.place(&mut placed, partition, place)?;
        }
        if matches!(partition.filesystem, Filesystem::Fat16 { .. } | Filesystem::Fat32 { .. }) {
            placed.reject_case_collisions(&partition.name)?;
        }
        Ok(placed)
    }

    /// Fails if a file that must be there is missing.
    pub fn ensure_present(&self, partition: &Partition) -> Result<(), Error> {
        for place in partition.files.iter().filter(|place| place.arch.is_none_or(|arch| arch == self.arch)) {
            let wanted = match &place.from {
                board::From::Images(candidates) => candidates.as_slice(),
                board::From::ImagesTree { tree, .. } => std::slice::from_ref(tree),
                board::From::Artifact(_) | board::From::Directory => continue,
            };
            let found = |wanted: &String| -> Result<bool, Error> {
                Ok(self.images.join(wanted).is_dir() || !self.matching(wanted)?.is_empty())
            };
            let found = wanted.iter().map(found).collect::<Result<Vec<_>, _>>()?;
            if !place.optional && !found.contains(&true) {
                return Err(self.missing(partition, wanted).into());
            }
        }
        Ok(())
    }

    fn place(&self, placed: &mut PartitionTree, partition: &Partition, place: &Place) -> Result<(), Error> {
        let to = place.to.as_bytes();
        match &place.from {
            board::From::Directory => {
                self.directory(&mut placed.tree, to);
            }
            board::From::Artifact(name) => {
                let content = self.artifacts.content(name)?;
                self.file(placed, to, content, format!("artifact `{name}`"))?;
            }
            board::From::Images(candidates) => self.images(placed, partition, place, candidates)?,
            board::From::ImagesTree { tree, exclude } => {
                let directory = self.images.join(tree);
                if directory.is_dir() {
                    self.images_tree(placed, to, &directory, exclude)?;
                } else if !place.optional {
                    return Err(self.missing(partition, std::slice::from_ref(tree)).into());
                }
            }
        }
        Ok(())
    }

    fn images(
        &self,
        placed: &mut PartitionTree,
        partition: &Partition,
        place: &Place,
        candidates: &[String],
    ) -> Result<(), Error> {
        for candidate in candidates {
            let found = self.matching(candidate)?;
            if found.is_empty() {
                continue;
            }
            let several = candidate.contains('*');
            for path in found {
                let name = path.file_name().expect("a directory entry has a name").as_bytes().to_vec();
                let to = if several {
                    tree::join(place.to.trim_matches('/').as_bytes(), &name)
                } else {
                    place.to.as_bytes().to_vec()
                };
                let metadata = path.metadata().map_err(Io::on("read", &path))?;
                let origin = format!("`images/{}`", relative(&path, self.images));
                let content = Content::stamped(path, 0, metadata.len(), Stamp::of(&metadata));
                self.file(placed, &to, content, origin)?;
            }
            return Ok(());
        }
        if place.optional { Ok(()) } else { Err(self.missing(partition, candidates).into()) }
    }

    /// The files a candidate names, in byte order; a `*` in the last component stands for any characters.
    fn matching(&self, candidate: &str) -> Result<Vec<PathBuf>, Error> {
        let path = self.images.join(candidate);
        let Some((before, after)) = candidate.rsplit('/').next().and_then(|name| name.split_once('*')) else {
            return Ok(if path.is_file() { vec![path] } else { Vec::new() });
        };
        let directory = path.parent().expect("a candidate lies below the images directory");
        if !directory.is_dir() {
            return Ok(Vec::new());
        }
        let entries = std::fs::read_dir(directory).map_err(Io::on("read the directory", directory))?;
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(Io::on("read the directory", directory))?.path();
            let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
            let long_enough = name.len() >= before.len() + after.len();
            let fits = name.starts_with(before.as_bytes()) && name.ends_with(after.as_bytes());
            if long_enough && fits && path.is_file() {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    fn images_tree(
        &self,
        placed: &mut PartitionTree,
        to: &[u8],
        directory: &Path,
        exclude: &[String],
    ) -> Result<(), Error> {
        let base = relative(directory, self.images);
        // Owners are root's and modes do not depend on the umask of the build, as for overlays.
        let scanned = Overlay::read(&base, directory)?.tree;
        for (path, id) in scanned.walk().skip(1) {
            let excluded = |pattern: &String| {
                let pattern = pattern.trim_matches('/').as_bytes();
                path == pattern || path.strip_prefix(pattern).is_some_and(|rest| rest.starts_with(b"/"))
            };
            if exclude.iter().any(excluded) {
                continue;
            }
            let to = tree::join(to.strip_prefix(b"/").unwrap_or(to), &path);
            let origin = format!("`images/{base}{}`", tree::display(&path));
            let node = scanned.node(id);
            match &node.body {
                Body::Dir(_) => {
                    let made = self.directory(&mut placed.tree, &to);
                    placed.tree.node_mut(made).stat.mode = node.stat.mode;
                }
                _ => {
                    let stat = Stat { mtime: self.timestamp, ..node.stat };
                    self.insert(placed, &to, Node { stat, ..node.clone() }, origin)?;
                }
            }
        }
        Ok(())
    }

    fn file(
        &self,
        placed: &mut PartitionTree,
        to: &[u8],
        content: Content,
        origin: String,
    ) -> Result<NodeId, Error> {
        let stat = Stat { mode: 0o644, uid: 0, gid: 0, mtime: self.timestamp };
        self.insert(placed, to, Node::new(stat, Body::File(content)), origin)
    }

    fn insert(
        &self,
        placed: &mut PartitionTree,
        to: &[u8],
        node: Node,
        origin: String,
    ) -> Result<NodeId, Error> {
        let mut names: Vec<&[u8]> = tree::components(to).collect();
        let name = names.pop().expect("a file has a path");
        let path = names.iter().chain([&name]).fold(Vec::new(), |path, name| tree::join(&path, name));
        if let Some(first) = placed.origins.get(&path) {
            let (path, first) = (tree::display(&path), first.clone());
            return Err(StageError::PlacedTwice { path, first, second: origin }.into());
        }
        let parent = self.directory(&mut placed.tree, &names.join(b"/".as_slice()));
        placed.origins.insert(path, origin);
        Ok(placed.tree.insert(parent, name, node))
    }

    /// The directory at a path, made with its parents where it is missing.
    fn directory(&self, tree: &mut Tree, path: &[u8]) -> NodeId {
        let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: self.timestamp };
        let make = |parent: NodeId, name: &[u8]| match tree.child(parent, name) {
            Some(child) => child,
            None => tree.insert(parent, name, Node::new(stat, Body::Dir(BTreeMap::new()))),
        };
        tree::components(path).fold(Tree::ROOT, make)
    }

    fn missing(&self, partition: &Partition, candidates: &[String]) -> StageError {
        StageError::MissingImage {
            wanted: format!("partition `{}`", partition.name),
            candidates: candidates.to_vec(),
            directory: self.images.to_path_buf(),
            hint: None,
        }
    }
}

impl PartitionTree {
    /// Names that FAT cannot tell apart would overwrite each other.
    fn reject_case_collisions(&self, partition: &str) -> Result<(), StageError> {
        let mut seen: BTreeMap<Name, &Vec<u8>> = BTreeMap::new();
        for (path, origin) in &self.origins {
            let folded = String::from_utf8_lossy(path).to_uppercase().into_bytes();
            if let Some(first) = seen.insert(folded.into(), path) {
                return Err(StageError::CaseCollision {
                    partition: partition.into(),
                    first: tree::display(first),
                    first_origin: self.origins[first].clone(),
                    second: tree::display(path),
                    second_origin: origin.clone(),
                });
            }
        }
        Ok(())
    }
}

fn relative(path: &Path, base: &Path) -> String {
    path.strip_prefix(base).unwrap_or(path).display().to_string()
}
