//! Health records of media: a file of JSON lines for each, one line for each run, kept when the user asks for it. Cards
//! wear out slowly; retries and operations that take ever longer show it before data is lost.
//!
//! Lines of versions that this one does not know are left alone, and left out of the [`History`].

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::journal::MediumId;
use super::summary::Summary;
use crate::error::{Error, Io};

/// Version of the format.
const VERSION: u32 = 1;

/// A run, as a line of the record.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// Version of the format.
    health: u32,
    medium: &'a MediumId,
    /// Time at which it ended, in seconds since 1970.
    time: u64,
    /// Name of the source in messages.
    source: &'a str,
    /// True if all was read back as it should be.
    right: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    summary: &'a Summary,
}

/// Part of a line that is read.
#[derive(Debug, Deserialize)]
struct Line {
    health: u32,
    right: bool,
    summary: Retries,
}

#[derive(Debug, Deserialize)]
struct Retries {
    retries: u64,
}

/// All runs on a medium.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct History {
    /// Recorded runs.
    pub runs: u64,
    /// Number of runs that failed.
    pub failed: u64,
    /// Number of times that ranges were written again, in all of them.
    pub retries: u64,
}

impl<'a> Entry<'a> {
    /// A run that has just ended.
    pub fn new(
        medium: &'a MediumId,
        source: &'a str,
        error: Option<&Error>,
        summary: &'a Summary,
    ) -> Entry<'a> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Entry {
            health: VERSION,
            medium,
            time,
            source,
            right: error.is_none(),
            error: error.map(Error::to_string),
            code: error.and_then(Error::code),
            summary,
        }
    }

    /// Adds it to the record of its medium among those in `directory`.
    pub fn append(&self, directory: &Path) -> Result<(), Io> {
        fs::create_dir_all(directory).map_err(Io::on("create", directory))?;
        let path = path_of(directory, self.medium);
        let mut line = serde_json::to_vec(self).expect("an entry is JSON");
        line.push(b'\n');
        let mut file =
            OpenOptions::new().append(true).create(true).open(&path).map_err(Io::on("open", &path))?;
        // At once, so that lines of two programs do not mix.
        file.write_all(&line).map_err(Io::on("write", &path))
    }
}

impl History {
    /// Returns the history of a medium from its record in `directory`; none without a record.
    pub fn for_medium(directory: &Path, medium: &MediumId) -> Option<History> {
        let text = fs::read_to_string(path_of(directory, medium)).ok()?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let known = lines.filter(|line| line.health == VERSION);
        let history = known.fold(History::default(), |history, line| History {
            runs: history.runs + 1,
            failed: history.failed + u64::from(!line.right),
            retries: history.retries + line.summary.retries,
        });
        (history.runs > 0).then_some(history)
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let History { runs, failed, retries } = self;
        let plural = |n: &u64| if *n == 1 { "" } else { "s" };
        write!(f, "{runs} recorded run{}, {failed} failed, {retries} retr", plural(runs))?;
        f.write_str(if *retries == 1 { "y" } else { "ies" })
    }
}

/// Path of the record of a medium.
fn path_of(directory: &Path, medium: &MediumId) -> PathBuf {
    directory.join(format!("{}.jsonl", medium.id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medium(serial: &str) -> MediumId {
        MediumId { model: Some("SD".to_owned()), serial: Some(serial.to_owned()), len: 1 << 30 }
    }

    #[test]
    fn runs_are_counted_for_each_medium() {
        let directory = tempfile::tempdir().expect("a directory");
        let (one, other) = (medium("1"), medium("2"));
        let error = Error::from(Io::on("write", "/dev/sdz")(std::io::Error::from_raw_os_error(5)));
        let summary = Summary { retries: 2, ..Summary::default() };
        Entry::new(&one, "a.img", None, &summary).append(directory.path()).expect("a line");
        Entry::new(&one, "a.img", Some(&error), &summary).append(directory.path()).expect("a line");
        let history = History::for_medium(directory.path(), &one).expect("a history");
        assert_eq!(history, History { runs: 2, failed: 1, retries: 4 });
        assert_eq!(history.to_string(), "2 recorded runs, 1 failed, 4 retries");
        assert_eq!(History::for_medium(directory.path(), &other), None);
    }

    #[test]
    fn lines_of_other_versions_are_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let one = medium("1");
        Entry::new(&one, "a.img", None, &Summary::default()).append(directory.path()).expect("a line");
        let path = path_of(directory.path(), &one);
        let line = fs::read_to_string(&path).expect("a record");
        let newer = line.replace("\"health\":1", "\"health\":2");
        fs::write(&path, format!("{line}{newer}cut off")).expect("written");
        assert_eq!(History::for_medium(directory.path(), &one).map(|history| history.runs), Some(1));
    }
}
