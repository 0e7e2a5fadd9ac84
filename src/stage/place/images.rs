//! Files of the images directory: those that the candidates of a board name, and whole directories.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{PartitionTree, Placer, fits, is_excluded};
use crate::board::FilePlacement;
use crate::error::{Error, Io};
use crate::stage::StageError;
use crate::tree::overlay::Overlay;
use crate::tree::{self, Body, Content, Node, Stamp, Stat};

impl Placer<'_> {
    /// The first candidate that exists.
    pub(super) fn raw(
        &self,
        what: &str,
        candidates: &[String],
        optional: bool,
    ) -> Result<Option<(String, Content)>, Error> {
        for candidate in candidates {
            if let Some(path) = self.matching(candidate)?.first() {
                return Ok(Some((relative(path, &self.inputs.images), content(path)?)));
            }
        }
        if optional { Ok(None) } else { Err(self.missing(what, candidates).into()) }
    }

    pub(super) fn images(
        &self,
        placed: &mut PartitionTree,
        what: &str,
        place: &FilePlacement,
        candidates: &[String],
    ) -> Result<(), Error> {
        for candidate in candidates {
            let found = self.matching(candidate)?;
            if found.is_empty() {
                continue;
            }
            let several = candidate.contains('*');
            let (left, found): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|path| self.stale(path).is_some());
            let note = |path: &PathBuf| self.stale(path).map(|stale| stale.note());
            placed.notes.extend(left.iter().filter_map(note));
            if found.is_empty() {
                continue;
            }
            for path in found {
                let name = path.file_name().expect("a directory entry has a name").as_bytes().to_vec();
                let to = if several {
                    tree::join(place.to.trim_matches('/').as_bytes(), &name)
                } else {
                    place.to.as_bytes().to_vec()
                };
                let origin = format!("`images/{}`", relative(&path, &self.inputs.images));
                self.file(placed, place, &to, content(&path)?, origin)?;
            }
            return Ok(());
        }
        if place.optional { Ok(()) } else { Err(self.missing(what, candidates).into()) }
    }

    fn stale(&self, path: &Path) -> Option<StageError> {
        self.inputs.stale(&relative(path, &self.inputs.images))
    }

    /// The files a candidate names, in byte order; a `*` in the last component stands for any characters.
    pub(super) fn matching(&self, candidate: &str) -> Result<Vec<PathBuf>, Error> {
        let path = self.inputs.images.join(candidate);
        let Some(pattern) = candidate.rsplit('/').next().filter(|name| name.contains('*')) else {
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
            if fits(&name, pattern) && path.is_file() {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    pub(super) fn images_tree(
        &self,
        placed: &mut PartitionTree,
        to: &[u8],
        directory: &Path,
        exclude: &[String],
    ) -> Result<(), Error> {
        let base = relative(directory, &self.inputs.images);
        // Owners are root's and modes do not depend on the umask of the build, as for overlays.
        let scanned = Overlay::read(&base, directory)?.tree;
        for (path, id) in scanned.walk().skip(1) {
            if is_excluded(&path, exclude) {
                continue;
            }
            let to = tree::join(to.strip_prefix(b"/").unwrap_or(to), &path);
            let origin = format!("`images/{base}{}`", tree::display(&path));
            let node = scanned.node(id);
            match &node.body {
                Body::Dir(_) => {
                    let made = self.directory(placed, &to)?;
                    placed.tree.node_mut(made).stat.mode = node.stat.mode;
                }
                _ => {
                    let stat = Stat { mtime: self.inputs.timestamp, ..node.stat };
                    self.insert(placed, &to, Node { stat, ..node.clone() }, origin)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn missing(&self, what: &str, candidates: &[String]) -> StageError {
        StageError::MissingImage {
            wanted: what.into(),
            candidates: candidates.to_vec(),
            directory: self.inputs.images.clone(),
            hint: self.inputs.board.supplied_by(candidates).map(|supplied| supplied.hint.clone()),
        }
    }
}

/// A file of the images directory by reference.
fn content(path: &Path) -> Result<Content, Io> {
    let metadata = path.metadata().map_err(Io::on("read", path))?;
    Ok(Content::stamped(path, 0, metadata.len(), Stamp::from_metadata(&metadata)))
}

fn relative(path: &Path, base: &Path) -> String {
    path.strip_prefix(base).unwrap_or(path).display().to_string()
}
