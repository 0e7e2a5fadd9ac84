//! The files of a partition, as far as they are known.

use crate::board::{ContentSource, FilePlacement};
use crate::tree::{self, Tree};
use crate::value::Arch;

/// Paths on a partition. A descriptor knows some of them only as `name*`, and what a directory of the images holds
/// not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionFiles {
    /// Absolute paths; a `*` in the last component stands for any characters.
    named: Vec<String>,
    /// Directories that hold what is not known.
    open: Vec<String>,
}

impl PartitionFiles {
    /// Files that a descriptor places on a partition. A directory that may be missing counts for nothing: the board
    /// must boot without it.
    pub fn from_places(places: &[FilePlacement], arch: Arch) -> PartitionFiles {
        let mut files = PartitionFiles::default();
        for place in places.iter().filter(|place| place.arch.covers(arch)) {
            match &place.from {
                ContentSource::Images(names) => files.named.push(path_of(place, names)),
                ContentSource::Artifact(_) => files.named.push(absolute(&place.to)),
                ContentSource::Directory => {}
                ContentSource::ImagesTree { .. } if place.optional => {}
                _ => files.open.push(absolute(&place.to)),
            }
        }
        files
    }

    /// Files that are really there, and those that may be missing by the descriptor.
    pub fn from_tree(tree: &Tree, places: &[FilePlacement], arch: Arch) -> PartitionFiles {
        let optional: Vec<FilePlacement> = places.iter().filter(|place| place.optional).cloned().collect();
        let mut files = PartitionFiles::from_places(&optional, arch);
        files.named.extend(tree.walk().skip(1).map(|(path, _)| tree::display(&path)));
        files
    }

    /// Returns whether a file of this path is there, or may be. `wanted` can hold a `*`. On a FAT, `fold` makes
    /// letters of both cases equal.
    pub fn hold(&self, wanted: &str, fold: bool) -> bool {
        let wanted = absolute(wanted);
        self.name(&wanted, fold) || self.open.iter().any(|directory| below(&wanted, directory, fold))
    }

    /// Returns whether a file of this path is named.
    pub fn name(&self, wanted: &str, fold: bool) -> bool {
        self.named.iter().any(|name| meet(&folded(name, fold), &folded(wanted, fold)))
    }

    /// Returns whether a file with this last component is there, or may be.
    pub fn hold_base_name(&self, wanted: &str) -> bool {
        let same = |name: &String| meet_component(base_name(name).as_bytes(), wanted.as_bytes());
        !self.open.is_empty() || self.named.iter().any(same)
    }

    /// The paths that are known.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(String::as_str)
    }
}

/// Last component of a path.
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The path of what the place puts there: in a directory, if several files may match.
fn path_of(place: &FilePlacement, names: &[String]) -> String {
    match names {
        [one] if one.contains('*') => {
            absolute(&format!("{}/{}", place.to.trim_end_matches('/'), base_name(one)))
        }
        _ => absolute(&place.to),
    }
}

fn absolute(path: &str) -> String {
    format!("/{}", path.trim_matches('/'))
}

fn folded(path: &str, fold: bool) -> String {
    if fold { path.to_lowercase() } else { path.into() }
}

fn below(path: &str, directory: &str, fold: bool) -> bool {
    let (path, directory) = (folded(path, fold), folded(directory, fold));
    let rest = path.strip_prefix(directory.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns whether two paths, each perhaps with `*` in its last component, can be the same.
fn meet(one: &str, other: &str) -> bool {
    let split = |path: &str| path.rsplit_once('/').map_or((String::new(), path.into()), owned);
    let ((one_parent, one), (other_parent, other)) = (split(one), split(other));
    one_parent == other_parent && meet_component(one.as_bytes(), other.as_bytes())
}

fn owned((parent, name): (&str, &str)) -> (String, String) {
    (parent.into(), name.into())
}

fn meet_component(one: &[u8], other: &[u8]) -> bool {
    match (one, other) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            meet_component(rest, other) || (!other.is_empty() && meet_component(one, &other[1..]))
        }
        (_, [b'*', ..]) => meet_component(other, one),
        ([a, one @ ..], [b, other @ ..]) => a == b && meet_component(one, other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_meet_where_some_name_fits_both() {
        for (one, other) in [("/a*.dtb", "/ab.dtb"), ("/a*", "/*b"), ("/x/*", "/x/y"), ("/a", "/a")] {
            assert!(meet(one, other) && meet(other, one), "{one} {other}");
        }
        for (one, other) in [("/a*.dtb", "/b.dtb"), ("/x/*", "/y/z"), ("/*.dtb", "/a.dtbo"), ("/a", "/A")] {
            assert!(!meet(one, other) && !meet(other, one), "{one} {other}");
        }
    }
}
