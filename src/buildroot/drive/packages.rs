//! Packages of a build, those of them that are there, and how long the others will take.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::times::Times;

/// Made in the directory of a package when all of its steps are done.
const LAST_STAMP: &str = ".stamp_installed";
/// Log of the durations of steps that Buildroot writes, in `build/`.
const TIMES: &str = "build-time.log";

/// The time of one package in this many must be known.
const KNOWN: usize = 4;

/// The packages of a configuration.
#[derive(Clone, Debug)]
pub struct Packages {
    names: BTreeSet<String>,
    build: PathBuf,
    times: Times,
}

impl Packages {
    /// Those with these names, of the output directory at `output`; `others` are output directories that may know how
    /// long a package takes, too.
    pub fn new(names: BTreeSet<String>, output: &Path, others: &[PathBuf]) -> Packages {
        let build = output.join("build");
        let mut times = read_times(&build);
        for other in others {
            times.add_unknown(read_times(&other.join("build")));
        }
        Packages { names, build, times }
    }

    /// Number of packages; zero if it is not known.
    pub fn total(&self) -> usize {
        self.names.len()
    }

    /// Those that are built and installed.
    pub fn done(&self) -> BTreeSet<&str> {
        let entries = fs::read_dir(&self.build).into_iter().flatten().flatten();
        let built = entries.filter(|entry| entry.path().join(LAST_STAMP).exists());
        built.filter_map(|entry| self.package(entry.file_name().to_str()?)).collect()
    }

    /// The package with a directory in `build/`: the longest name that it begins with, because names have dashes too.
    fn package(&self, directory: &str) -> Option<&str> {
        let begins = |end: usize| self.names.get(&directory[..end]).map(String::as_str);
        let dashes = directory.match_indices('-').map(|(at, _)| at);
        begins(directory.len()).or_else(|| dashes.rev().find_map(begins))
    }

    /// Estimates the time that all but `done` will take one after the other: as in earlier builds, or the mean of those
    /// whose time is known. Nothing if these are too few.
    pub fn left(&self, done: &BTreeSet<&str>) -> Option<Duration> {
        let mut times = self.times.clone();
        times.add_unknown(read_times(&self.build));
        let known = self.names.iter().filter(|name| times.total(name).is_some()).count();
        let mean = times.mean().filter(|_| known * KNOWN >= self.names.len())?;
        let missing = self.names.iter().filter(|name| !done.contains(name.as_str()));
        Some(missing.map(|name| times.total(name).unwrap_or(mean)).sum())
    }
}

/// Length of the log of times of an output directory, in bytes.
pub(super) fn times_len(output: &Path) -> usize {
    fs::metadata(output.join("build").join(TIMES)).map_or(0, |metadata| metadata.len() as usize)
}

/// Reads the log of times from byte `from` on.
pub(super) fn times_since(output: &Path, from: usize) -> Times {
    let text = fs::read(output.join("build").join(TIMES)).unwrap_or_default();
    Times::read(&String::from_utf8_lossy(text.get(from..).unwrap_or(&text)))
}

fn read_times(build: &Path) -> Times {
    Times::read(&String::from_utf8_lossy(&fs::read(build.join(TIMES)).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_known_by_their_directories() {
        let output = tempfile::tempdir().unwrap();
        let build = output.path().join("build");
        for directory in ["linux-headers-6.12", "linux-6.12", "toolchain", "host-linux-headers-1", "gone-1"] {
            fs::create_dir_all(build.join(directory)).unwrap();
            if directory != "linux-6.12" {
                fs::write(build.join(directory).join(LAST_STAMP), "").unwrap();
            }
        }
        let names = ["linux", "linux-headers", "toolchain", "busybox"].map(String::from);
        let log = "1.0:start:build: linux\n5.0:end:build: linux\n1.0:start:build: toolchain\n3.0:end:build: toolchain\n";
        fs::write(build.join(TIMES), log).unwrap();
        let packages = Packages::new(names.into(), output.path(), &[]);
        let done = packages.done();
        assert_eq!(done, BTreeSet::from(["linux-headers", "toolchain"]));
        assert_eq!(packages.total(), 4);
        // linux takes 4 s, busybox as long as the mean of the others.
        assert_eq!(packages.left(&done), Some(Duration::from_secs(7)));
        let names = (0..20).map(|number| format!("other{number}")).chain(["linux".into()]);
        assert_eq!(
            Packages::new(names.collect(), output.path(), &[]).left(&done),
            None,
            "too little is known"
        );
    }
}
