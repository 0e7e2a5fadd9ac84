//! The trees of the partitions: files of the images directory and artifacts at the places the board names.

mod images;

use std::collections::{BTreeMap, BTreeSet};

use skiff_update::Slot;
use skiff_update::state::State;
use skiff_update::state::record::{self, Form};

use super::{Inputs, StageError};
use crate::artifact::Artifacts;
use crate::board::{ContentSource, FilePlacement, Filesystem, Partition};
use crate::error::Error;
use crate::tree::{self, Body, Content, Name, Node, NodeId, Stat, Tree};

/// Content of one partition, and the origin of each path.
#[derive(Clone, Debug)]
pub struct PartitionTree {
    /// The tree.
    pub tree: Tree,
    /// Content of a raw partition: file below the images directory and its bytes.
    pub raw: Option<(String, Content)>,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// Paths that an update leaves alone where they are there.
    pub kept: BTreeSet<Vec<u8>>,
    /// Path on the partition to what put it there, for messages.
    origins: BTreeMap<Vec<u8>, String>,
}

/// Builds the tree of one partition.
pub struct Placer<'a> {
    /// Directory that `image` and `tree` places are relative to, architecture, and time of all nodes that do not
    /// come from the root filesystem.
    pub inputs: &'a Inputs,
    /// Artifacts that were composed so far.
    pub artifacts: &'a Artifacts,
    /// The root filesystem.
    pub root: &'a Tree,
}

impl Placer<'_> {
    /// Gathers the content of `partition`.
    pub fn partition(&self, partition: &Partition) -> Result<PartitionTree, Error> {
        let mut placed =
            self.files(&named(partition), &partition.files, partition.filesystem.kind().is_fat())?;
        if let Filesystem::Raw { images, optional } = &partition.filesystem {
            placed.raw = self.raw(&named(partition), images, *optional)?;
        }
        if self.inputs.board.persist.as_ref() == Some(&partition.name) {
            self.pre_seed(&mut placed)?;
        }
        Ok(placed)
    }

    /// Adds what the medium knows before its first boot.
    fn pre_seed(&self, placed: &mut PartitionTree) -> Result<(), Error> {
        let seeded = self.inputs.preseed.tree(&self.inputs.seed, self.inputs.timestamp)?;
        for (path, id) in seeded.walk().skip(1) {
            let node = seeded.node(id);
            if node.entries().is_some() {
                let made = self.directory(placed, &path)?;
                placed.tree.node_mut(made).stat = node.stat;
            } else {
                self.insert(placed, &path, node.clone(), "the options for the first boot".into())?;
                placed.kept.insert(path);
            }
        }
        Ok(())
    }

    /// The tree of `files`; `what` is what they are put on, for messages.
    pub fn files(&self, what: &str, files: &[FilePlacement], fat: bool) -> Result<PartitionTree, Error> {
        let root = Stat { mode: 0o755, uid: 0, gid: 0, mtime: self.inputs.timestamp };
        let mut placed = PartitionTree {
            tree: Tree::new(root),
            raw: None,
            notes: Vec::new(),
            kept: BTreeSet::new(),
            origins: BTreeMap::new(),
        };
        for place in self.of_arch(files) {
            let before: BTreeSet<Vec<u8>> = match place.keep {
                true => placed.origins.keys().cloned().collect(),
                false => BTreeSet::new(),
            };
            self.place(&mut placed, what, place)?;
            if place.keep {
                placed.kept.extend(placed.origins.keys().filter(|path| !before.contains(*path)).cloned());
            }
        }
        if fat {
            placed.reject_case_collisions(what)?;
        }
        Ok(placed)
    }

    /// Fails if a file that must be there is missing.
    pub fn ensure_partition_present(&self, partition: &Partition) -> Result<(), Error> {
        if let Filesystem::Raw { images, optional } = &partition.filesystem {
            self.raw(&named(partition), images, *optional)?;
        }
        self.ensure_present(&named(partition), &partition.files)
    }

    /// Fails if one of the `files` that must be there is missing.
    pub fn ensure_present(&self, what: &str, files: &[FilePlacement]) -> Result<(), Error> {
        for place in self.of_arch(files) {
            let wanted = match &place.from {
                ContentSource::Images(candidates) => candidates.as_slice(),
                ContentSource::ImagesTree { tree, .. } => std::slice::from_ref(tree),
                _ => continue,
            };
            let found = |wanted: &String| -> Result<bool, Error> {
                Ok(self.inputs.images.join(wanted).is_dir() || !self.matching(wanted)?.is_empty())
            };
            let found = wanted.iter().map(found).collect::<Result<Vec<_>, _>>()?;
            if !place.optional && !found.contains(&true) {
                return Err(self.missing(what, wanted).into());
            }
            if let Some(stale) = self.inputs.only_stale(wanted) {
                return Err(stale.into());
            }
        }
        Ok(())
    }

    fn of_arch<'p>(&self, files: &'p [FilePlacement]) -> impl Iterator<Item = &'p FilePlacement> {
        let arch = self.inputs.arch;
        files.iter().filter(move |place| place.arch.covers(arch))
    }

    fn place(&self, placed: &mut PartitionTree, what: &str, place: &FilePlacement) -> Result<(), Error> {
        let to = place.to.as_bytes();
        match &place.from {
            ContentSource::Directory => {
                let made = self.directory(placed, to)?;
                placed.tree.node_mut(made).stat.mode = place.mode.unwrap_or(0o755);
            }
            ContentSource::Artifact(name) => {
                let content = self.artifacts.content(name)?;
                self.file(placed, place, to, content, format!("artifact `{name}`"))?;
            }
            ContentSource::Text(text) => {
                let origin = format!("the text for `{}` of {what}", place.to);
                self.file(placed, place, to, Content::bytes(text.as_bytes()), origin)?;
            }
            ContentSource::Link(target) => {
                let origin = format!("the link `{}` of {what}", place.to);
                let stat = Stat { mode: 0o777, uid: 0, gid: 0, mtime: self.inputs.timestamp };
                self.insert(placed, to, Node::new(stat, Body::Symlink(target.as_bytes().into())), origin)?;
            }
            ContentSource::SlotState => {
                let state = record::encode(&State::new(Slot::A, 0), Form::Plain);
                let origin = format!("the state record `{}` of {what}", place.to);
                self.file(placed, place, to, Content::bytes(state), origin)?;
            }
            ContentSource::Images(candidates) => self.images(placed, what, place, candidates)?,
            ContentSource::ImagesTree { tree, exclude } => {
                let directory = self.inputs.images.join(tree);
                if directory.is_dir() {
                    self.images_tree(placed, to, &directory, exclude)?;
                } else if !place.optional {
                    return Err(self.missing(what, std::slice::from_ref(tree)).into());
                }
            }
            ContentSource::Root { path, exclude } => match self.root.get(path) {
                Some(id) => self.root_tree(placed, to, path, id, exclude)?,
                None if place.optional => {}
                None => return Err(StageError::MissingPath { what: what.into(), path: path.clone() }.into()),
            },
        }
        Ok(())
    }

    /// A path of the root filesystem and what is below it, as it is there; several names of one file stay one file.
    fn root_tree(
        &self,
        placed: &mut PartitionTree,
        to: &[u8],
        from: &str,
        id: NodeId,
        exclude: &[String],
    ) -> Result<(), Error> {
        let origin = |path: &[u8]| {
            format!(
                "`{}` of the root filesystem",
                tree::display(&tree::join(from.trim_matches('/').as_bytes(), path))
            )
        };
        let Some(part) = self.root.subtree(id) else {
            self.insert(placed, to, self.root.node(id).clone(), origin(b""))?;
            return Ok(());
        };
        let mut names: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        for (path, id) in part.walk().filter(|(path, _)| !is_excluded(path, exclude)) {
            let to = tree::join(to.strip_prefix(b"/").unwrap_or(to), &path);
            let node = part.node(id);
            if let Body::Dir(_) = node.body {
                let made = self.directory(placed, &to)?;
                let made = placed.tree.node_mut(made);
                (made.stat, made.xattrs) = (node.stat, node.xattrs.clone());
            } else if let Some(first) = names.get(&id) {
                let (parent, name) = self.slot(placed, &to, origin(&path))?;
                placed.tree.link(parent, &name, *first);
            } else {
                names.insert(id, self.insert(placed, &to, node.clone(), origin(&path))?);
            }
        }
        Ok(())
    }

    fn file(
        &self,
        placed: &mut PartitionTree,
        place: &FilePlacement,
        to: &[u8],
        content: Content,
        origin: String,
    ) -> Result<NodeId, Error> {
        let stat = Stat { mode: place.mode.unwrap_or(0o644), uid: 0, gid: 0, mtime: self.inputs.timestamp };
        self.insert(placed, to, Node::new(stat, Body::File(content)), origin)
    }

    fn insert(
        &self,
        placed: &mut PartitionTree,
        to: &[u8],
        node: Node,
        origin: String,
    ) -> Result<NodeId, Error> {
        let (parent, name) = self.slot(placed, to, origin)?;
        Ok(placed.tree.insert(parent, &name, node))
    }

    /// The directory and the name for something at `to`, where nothing is yet.
    fn slot(
        &self,
        placed: &mut PartitionTree,
        to: &[u8],
        origin: String,
    ) -> Result<(NodeId, Vec<u8>), StageError> {
        let mut names: Vec<&[u8]> = tree::components(to).collect();
        let name = names.pop().expect("a file has a path");
        let path = names.iter().chain([&name]).fold(Vec::new(), |path, name| tree::join(&path, name));
        let parent = self.directory(placed, &names.join(b"/".as_slice()))?;
        if placed.tree.child(parent, name).is_some() {
            let first = placed.origins.get(&path).cloned().unwrap_or_else(|| "a directory".into());
            let path = tree::display(&path);
            return Err(StageError::PlacedTwice { path, first, second: origin });
        }
        placed.origins.insert(path, origin);
        Ok((parent, name.to_vec()))
    }

    /// The directory at a path, made with its parents where it is missing.
    fn directory(&self, placed: &mut PartitionTree, path: &[u8]) -> Result<NodeId, StageError> {
        let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: self.inputs.timestamp };
        let (mut at, mut id) = (Vec::new(), Tree::ROOT);
        for name in tree::components(path) {
            at = tree::join(&at, name);
            id = match placed.tree.child(id, name) {
                Some(child) => child,
                None => placed.tree.insert(id, name, Node::new(stat, Body::Dir(BTreeMap::new()))),
            };
            let body = &placed.tree.node(id).body;
            if !matches!(body, Body::Dir(_)) {
                let (path, kind) = (tree::display(path), body.kind());
                let (file, origin) = (tree::display(&at), placed.origins[&at].clone());
                return Err(StageError::BelowFile { path, file, kind, origin });
            }
        }
        Ok(id)
    }
}

impl PartitionTree {
    /// Names that FAT cannot tell apart would overwrite each other.
    fn reject_case_collisions(&self, what: &str) -> Result<(), StageError> {
        let mut seen: BTreeMap<Name, &Vec<u8>> = BTreeMap::new();
        for (path, origin) in &self.origins {
            let folded = String::from_utf8_lossy(path).to_uppercase().into_bytes();
            if let Some(first) = seen.insert(folded.into(), path) {
                return Err(StageError::CaseCollision {
                    what: what.into(),
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

fn named(partition: &Partition) -> String {
    format!("partition `{}`", partition.name)
}

/// Returns whether a name is one that a pattern stands for, in which a `*` stands for any characters.
pub(in crate::stage) fn fits(name: &[u8], pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern.as_bytes(),
        Some((before, after)) => {
            name.len() >= before.len() + after.len()
                && name.starts_with(before.as_bytes())
                && name.ends_with(after.as_bytes())
        }
    }
}

/// Returns whether a path is one of `exclude` or below one.
fn is_excluded(path: &[u8], exclude: &[String]) -> bool {
    exclude.iter().any(|pattern| {
        let pattern = pattern.trim_matches('/').as_bytes();
        path == pattern || path.strip_prefix(pattern).is_some_and(|rest| rest.starts_with(b"/"))
    })
}
