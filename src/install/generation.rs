//! Versions of the system that lie side by side: files whose names hold the version, as rEFInd finds them. One before
//! the new one is kept.

use std::collections::BTreeSet;

use super::contents::Files;
use crate::error::Result;
use crate::fs::ext4::update::Volume;
use crate::value::Timestamp;

/// A file of each version: `directory/prefix@{version}suffix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    directory: String,
    prefix: String,
    suffix: String,
}

/// The versions that are on a medium.
#[derive(Clone, Debug, Default)]
pub struct Generations {
    patterns: Vec<Pattern>,
    /// Versions of which every file is there, the newest first, without the one that is installed.
    pub others: Vec<String>,
    /// Time when the newest of them was written.
    pub newest: Option<Timestamp>,
}

impl Pattern {
    /// The pattern of a path that holds `version`.
    pub fn from_path(path: &str, version: &str) -> Option<Pattern> {
        let (directory, name) = path.rsplit_once('/')?;
        let (prefix, suffix) = name.split_once(version).filter(|_| !version.is_empty())?;
        Some(Pattern { directory: directory.into(), prefix: prefix.into(), suffix: suffix.into() })
    }

    /// The path of a version.
    fn path(&self, version: &str) -> String {
        format!("{}/{}{version}{}", self.directory, self.prefix, self.suffix)
    }

    fn versions(&self, files: &Files<'_>) -> Result<BTreeSet<String>> {
        let version = |name: String| {
            let version = name.strip_prefix(&self.prefix)?.strip_suffix(&self.suffix)?;
            (!version.is_empty()).then(|| version.to_owned())
        };
        Ok(files.names_in(&self.directory)?.into_iter().filter_map(version).collect())
    }
}

impl Generations {
    /// Those on a medium, besides `version`, whose files in the new tree are `paths`.
    pub fn find(files: &Files<'_>, paths: &[String], version: &str) -> Result<Generations> {
        let patterns: Vec<Pattern> =
            paths.iter().filter_map(|path| Pattern::from_path(path, version)).collect();
        let Some(volume) = files.used() else { return Ok(Generations::default()) };
        let mut common: Option<BTreeSet<String>> = None;
        for pattern in &patterns {
            let found = pattern.versions(files)?;
            common = Some(common.map_or(found.clone(), |common| &common & &found));
        }
        let mut dated = Vec::new();
        for other in common.unwrap_or_default().into_iter().filter(|other| other != version) {
            dated.push((time(volume, &patterns, &other)?, other));
        }
        dated.sort_by(|a, b| b.cmp(a));
        let newest = dated.first().map(|(time, _)| *time);
        Ok(Generations { patterns, others: dated.into_iter().map(|(_, other)| other).collect(), newest })
    }

    /// Returns whether a path is one of a version.
    pub fn names(&self, path: &str, version: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.path(version) == path)
    }

    /// The files of all versions but the newest of the others.
    pub fn obsolete(&self) -> Vec<String> {
        let paths = |version: &String| {
            self.patterns.iter().map(|pattern| pattern.path(version)).collect::<Vec<String>>()
        };
        self.others.iter().skip(1).flat_map(paths).collect()
    }
}

/// Time when the latest of the files of a version was written.
fn time(volume: &Volume<'_>, patterns: &[Pattern], version: &str) -> Result<Timestamp> {
    let mut latest = Timestamp::MIN;
    for pattern in patterns {
        let found = volume.stat(pattern.path(version))?;
        latest = latest.max(found.map_or(Timestamp::MIN, |found| found.stat.mtime));
    }
    Ok(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_what_stands_around_the_version() {
        let pattern =
            Pattern::from_path("/boot/init-skiffos-2026.08.1-1.squashfs", "2026.08.1").expect("it is there");
        assert_eq!(pattern.path("2025.1"), "/boot/init-skiffos-2025.1-1.squashfs");
        assert_eq!(Pattern::from_path("/boot/refind_linux.conf", "2026.08.1"), None);
        assert_eq!(Pattern::from_path("/boot/x", ""), None);
    }
}
