//! The changes that bring an ext4 which users write to from the old system to the new one, without a byte of anything
//! else.

use std::collections::BTreeSet;

use super::InstallError;
use super::contents::{self, Files};
use super::generation::Generations;
use super::plan::FileChange;
use crate::error::Result;
use crate::fs::WrittenFile;
use crate::fs::ext4::update::{Change, Kind, Volume};
use crate::tree::{self, Body, Content, Stat, Tree};
use crate::value::Timestamp;

/// Suffix of the image before this one; `skiff-init` starts it when this one fails.
const OLD: &str = ".old";
/// Suffix of the file with the digest of an image, which `skiff-init` compares if asked to.
const DIGEST: &str = ".blake3";
/// The kernel argument that makes it so.
const VERIFY: &str = "skiffos.verify";

/// A change of one path.
#[derive(Clone, Debug)]
enum Edit {
    Rename { from: String, to: String },
    Remove { path: String },
    Directory { path: Vec<u8>, stat: Stat },
    Put { path: Vec<u8>, content: Content, stat: Stat },
    Link { path: Vec<u8>, target: Vec<u8> },
}

/// The changes of a partition.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    edits: Vec<Edit>,
    time: Timestamp,
}

/// Input of the changes.
pub struct Wanted<'a> {
    /// Files that should be there.
    pub tree: &'a Tree,
    /// Its files with their digests.
    pub expected: &'a [WrittenFile],
    /// Files that are left alone where they are there.
    pub kept: &'a BTreeSet<Vec<u8>>,
    /// Path of the image of the root filesystem, if it is on this partition.
    pub image: Option<&'a str>,
    /// Version of the system, if it has one.
    pub version: Option<&'a str>,
}

impl Edits {
    /// Compares, and plans. Returns the versions that were found, too.
    pub fn plan(wanted: &Wanted<'_>, files: &Files<'_>) -> Result<(Edits, Generations)> {
        let Some(volume) = files.used() else { return Ok(Default::default()) };
        let paths: Vec<String> = wanted.expected.iter().map(|file| file.path.clone()).collect();
        let version = wanted.version.unwrap_or_default();
        let generations = Generations::find(files, &paths, version)?;
        let root = wanted.tree.node(Tree::ROOT).stat;
        let mut edits = Edits { edits: Vec::new(), time: root.mtime };
        let differing: BTreeSet<String> = files.check(wanted.expected)?.into_iter().map(|d| d.path).collect();
        edits.keep_previous(wanted, files, &differing)?;
        for (path, id) in wanted.tree.walk().skip(1) {
            let (shown, node) = (tree::display(&path), wanted.tree.node(id));
            let mut stat = node.stat;
            if let Some(newest) = generations.newest.filter(|_| generations.names(&shown, version)) {
                // Boot managers offer the newest first.
                stat.mtime = stat.mtime.max(newest + 1);
            }
            let found = volume.stat(&path)?;
            let is = |kind| found.is_some_and(|found| found.kind == kind);
            let edit = match &node.body {
                Body::Dir(_) if is(Kind::Directory) => None,
                Body::Dir(_) if found.is_none() => Some(Edit::Directory { path, stat }),
                Body::File(_) if wanted.kept.contains(&path) && found.is_some() => None,
                Body::File(_) if !differing.contains(&shown) => None,
                Body::File(content) if !is(Kind::Directory) => {
                    Some(Edit::Put { path, content: content.clone(), stat })
                }
                Body::Symlink(target) if is(Kind::Symlink) && volume.read(&path)? == target[..] => None,
                Body::Symlink(target) if !is(Kind::Directory) => {
                    Some(Edit::Link { path, target: target.to_vec() })
                }
                body => return Err(InstallError::InTheWay { path: shown, wanted: body.kind() }.into()),
            };
            edits.edits.extend(edit);
        }
        let digests = edits.digest(wanted, files, &generations)?;
        edits.edits.extend(digests);
        for path in generations.obsolete() {
            for path in [format!("{path}{DIGEST}"), path] {
                if files.len(&path)?.is_some() {
                    edits.edits.push(Edit::Remove { path });
                }
            }
        }
        Ok((edits, generations))
    }

    /// The image that is replaced stays beside the new one.
    fn keep_previous(
        &mut self,
        wanted: &Wanted<'_>,
        files: &Files<'_>,
        differing: &BTreeSet<String>,
    ) -> Result<()> {
        let Some(image) = wanted.image.filter(|image| differing.contains(*image)) else { return Ok(()) };
        let old = format!("{image}{OLD}");
        for (from, to) in [(format!("{image}{DIGEST}"), format!("{old}{DIGEST}")), (image.to_owned(), old)] {
            if files.len(&from)?.is_some() {
                self.edits.push(Edit::Rename { from, to });
            }
        }
        Ok(())
    }

    /// The digest of the image, if the system before had one or the kernel's command line asks for one.
    fn digest(
        &self,
        wanted: &Wanted<'_>,
        files: &Files<'_>,
        generations: &Generations,
    ) -> Result<Option<Edit>> {
        let of_image = |file: &&WrittenFile| Some(file.path.as_str()) == wanted.image;
        let Some(file) = wanted.expected.iter().find(of_image) else { return Ok(None) };
        let path = format!("{}{DIGEST}", file.path);
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let text = format!("{}  {name}\n", contents::plain_digest(wanted.tree, file)?);
        let had = files.text(&path)?;
        let before = generations.others.first().zip(wanted.version);
        let before = before.map(|(other, version)| path.replace(version, other));
        let had_before = before.map(|path| files.len(&path)).transpose()?.flatten().is_some();
        let wants = had.is_some() || had_before || self.is_verified(wanted, files)?;
        if !wants || had.as_ref() == Some(&text) {
            return Ok(None);
        }
        let stat = Stat { mode: 0o644, ..wanted.tree.node(Tree::ROOT).stat };
        let content = Content::bytes(text.into_bytes());
        Ok(Some(Edit::Put { path: path.trim_start_matches('/').into(), content, stat }))
    }

    /// Returns whether a boot text, new or kept, has the argument.
    fn is_verified(&self, wanted: &Wanted<'_>, files: &Files<'_>) -> Result<bool> {
        for (path, id) in wanted.tree.walk() {
            let Body::File(content) = &wanted.tree.node(id).body else { continue };
            let text = match wanted.kept.contains(&path) {
                true => files.text(&tree::display(&path))?.or(contents::text_of(content)?),
                false => contents::text_of(content)?,
            };
            if text.is_some_and(|text| text.contains(VERIFY)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Returns the changes, for the plan.
    pub fn files(&self, files: &Files<'_>) -> Result<Vec<FileChange>> {
        let mut changes = Vec::new();
        for edit in &self.edits {
            let (path, to, after) = match edit {
                Edit::Rename { from, to } => (from.clone(), Some(to.clone()), None),
                Edit::Remove { path } => (path.clone(), None, None),
                Edit::Put { path, content, .. } => (tree::display(path), None, Some(content.len())),
                Edit::Directory { .. } | Edit::Link { .. } => continue,
            };
            let renamed = |other: &Edit| matches!(other, Edit::Rename { from, .. } if *from == path);
            // What was renamed before is no longer there.
            let gone = after.is_some() && self.edits.iter().any(renamed);
            let before = if gone { None } else { files.len(&path)? };
            changes.push(FileChange { path, before, after, to });
        }
        Ok(changes)
    }

    /// Bytes and inodes that the changes take before they give anything back.
    pub fn need(&self, volume: &Volume<'_>) -> (u64, u64) {
        let block = volume.free().block_size;
        let blocks = |edit: &Edit| match edit {
            Edit::Put { content, .. } => volume.blocks_for(content.len()),
            Edit::Directory { .. } | Edit::Link { .. } => 1,
            // A name may need another block of its directory.
            Edit::Rename { .. } => 1,
            Edit::Remove { .. } => 0,
        };
        let inode = |edit: &&Edit| !matches!(edit, Edit::Rename { .. } | Edit::Remove { .. });
        let bytes = self.edits.iter().map(blocks).sum::<u64>() * block;
        (bytes, self.edits.iter().filter(inode).count() as u64)
    }

    /// Writes the contents of new files to free blocks, where nothing leads to them.
    pub fn stage(&self, volume: &mut Volume<'_>) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for edit in self.edits.clone() {
            changes.push(match edit {
                Edit::Rename { from, to } => Change::Rename { from: from.into(), to: to.into() },
                Edit::Remove { path } => Change::Remove { path: path.into() },
                Edit::Directory { path, stat } => Change::MakeDirectory { path, stat },
                Edit::Put { path, content, stat } => {
                    Change::Put { path, staged: volume.stage(&content, stat)? }
                }
                Edit::Link { path, target } => Change::Symlink { path, target },
            });
        }
        Ok(changes)
    }

    /// Time of changed directories.
    pub fn time(&self) -> Timestamp {
        self.time
    }
}
