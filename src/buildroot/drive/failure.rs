//! Report of a failed build, the reason first: package, step, and the last lines of its part of the log.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};

use super::cause::Cause;
use super::message::{Message, plain};

/// Number of last lines that are kept, of which those of the failed package are looked for.
const KEPT: usize = 4000;
/// Number of lines that are shown.
const SHOWN: usize = 20;
/// Logs that configure programs leave in the directory of their package.
const OWN_LOGS: [&str; 7] = [
    "config.log",
    "build/config.log",
    "CMakeFiles/CMakeConfigureLog.yaml",
    "buildroot-build/CMakeFiles/CMakeConfigureLog.yaml",
    "CMakeFiles/CMakeError.log",
    "buildroot-build/CMakeFiles/CMakeError.log",
    "build/meson-logs/meson-log.txt",
];
/// Start of the line with which a script of a layer reports its failure, see [`crate::buildroot::hooks`].
const ERROR: &str = "error: ";
const HINT: &str = "hint: ";

/// Reason why a build failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Subject of the failure, for example `` `broken` 0.1 failed at `Building` ``.
    pub what: String,
    /// Directories of more packages that failed, in `build/`: with `--keep-going`.
    pub others: Vec<String>,
    /// The last lines of its part of the log.
    pub lines: Vec<String>,
    /// True if other packages were built at the same time, whose lines may be among them.
    pub mixed: bool,
    /// The whole log.
    pub log: PathBuf,
    /// The line of the log at which its part begins, from 1.
    pub line: usize,
    /// A log that the package has written itself.
    pub own_log: Option<PathBuf>,
    /// Remedy, if the cause is known.
    pub hint: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.others.is_empty() {
            write!(f, ", and so did `{}`", self.others.join("`, `"))?;
        }
        for line in &self.lines {
            write!(f, "\n    {line}")?;
        }
        if self.mixed {
            write!(f, "\n  packages were built at the same time: lines of others may be among these")?;
        }
        write!(f, "\n  the whole log: `{}`, this part from line {}", self.log.display(), self.line)?;
        match &self.own_log {
            Some(path) => write!(f, "\n  the log of the package: `{}`", path.display()),
            None => Ok(()),
        }
    }
}

/// Output of a build, as far as it is needed to report a failure.
#[derive(Debug, Default)]
pub(super) struct Trace {
    lines: VecDeque<String>,
    /// Number of lines so far.
    count: usize,
    /// Steps, with the number of their line.
    begun: Vec<(usize, Message)>,
    failed: Vec<Stop>,
}

/// A line with which make stops at something.
#[derive(Debug)]
struct Stop {
    line: usize,
    /// Directory of the package in `build/` and the step of whose stamp it was; none for what is of no package.
    stamp: Option<(String, String)>,
    /// True if the line itself says what is wrong.
    is_reason: bool,
}

impl Trace {
    /// Remembers a line; gives the step that it begins.
    pub(super) fn add(&mut self, line: &str) -> Option<&Message> {
        self.count += 1;
        let line = plain(line);
        self.failed.extend(Stop::parse(&line, self.count));
        let message = Message::parse(&line);
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line.into_owned());
        self.begun.push((self.count, message?));
        self.last()
    }

    /// The last step that began.
    pub(super) fn last(&self) -> Option<&Message> {
        self.begun.last().map(|(_, message)| message)
    }

    /// Finds the failure of a build with this log.
    pub(super) fn failure(&self, log: &Path) -> Failure {
        let of_package = self.failed.iter().find(|stop| stop.stamp.is_some());
        let stop = of_package.or(self.failed.first());
        let end = stop.map_or(self.count + 1, |stop| stop.line + usize::from(stop.is_reason));
        let stamp = stop.and_then(|stop| stop.stamp.as_ref());
        let begun = self.begun.iter().rev().find(|(line, message)| {
            *line < end && stamp.is_none_or(|(directory, _)| message.directory() == *directory)
        });
        // A step may say nothing, as one that finds a wrong file among the downloads.
        let before = self.begun.iter().rev().find(|(line, _)| *line < end);
        let start = begun.or(before).map_or(1, |(line, _)| line + 1);
        let (part, mixed) = self.part(start, end, stamp.map(|(directory, _)| directory.as_str()));
        let reported = reported(&part);
        let downloads = stamp.is_some_and(|(_, step)| step.contains("download"))
            || begun.is_some_and(|(_, message)| message.text == "Downloading");
        let cause = || Cause::find(&part, downloads).map(|cause| cause.hint());
        let own_log = stamp.and_then(|(directory, _)| own_log(log, directory));
        Failure {
            what: reported.as_ref().map_or_else(|| what(begun, stamp), |(what, _)| what.clone()),
            others: self.others(stamp),
            hint: reported.as_ref().and_then(|(_, hint)| hint.clone()).or_else(cause),
            lines: shown(part, reported.is_some()),
            mixed,
            log: log.into(),
            line: start,
            own_log,
        }
    }

    /// Lines from `start` up to `end`, without those that are known to be of others than `directory`, and whether
    /// there were others.
    fn part(&self, start: usize, end: usize, directory: Option<&str>) -> (Vec<String>, bool) {
        let first = self.count + 1 - self.lines.len();
        let range = start.max(first)..end.min(self.count + 1);
        let others = self.begun.iter().filter(|(line, message)| {
            range.contains(line) && directory.is_some_and(|directory| message.directory() != directory)
        });
        let others: Vec<String> =
            others.map(|(_, message)| format!("/build/{}/", message.directory())).collect();
        let is_ours = |line: &&String| {
            !others.iter().any(|other| line.contains(other.as_str())) && Message::parse(line).is_none()
        };
        let lines = self.lines.range(range.start - first..(range.end - first).max(range.start - first));
        let lines: Vec<String> = lines.filter(is_ours).cloned().collect();
        (lines, !others.is_empty())
    }

    /// The other packages that failed.
    fn others(&self, first: Option<&(String, String)>) -> Vec<String> {
        let all = self.failed.iter().filter_map(|stop| stop.stamp.as_ref()).map(|(directory, _)| directory);
        let mut names: Vec<String> = Vec::new();
        for name in all.filter(|name| first.is_none_or(|(first, _)| first != *name)) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

impl Stop {
    /// `make[1]: *** [FILE:LINE: TARGET] Error 1`, or `FILE:LINE: *** TEXT.  Stop.`
    fn parse(line: &str, number: usize) -> Option<Stop> {
        let (before, after) = line.split_once("*** ")?;
        let by_make = before.starts_with("make") && before.ends_with(": ");
        let in_file = before.ends_with(": ") && after.ends_with("Stop.");
        let target = after.strip_prefix('[').and_then(|rest| rest.split_once(']')).filter(|_| by_make);
        let stamp = target.and_then(|(target, _)| stamp(target));
        (by_make || in_file).then(|| Stop { line: number, stamp, is_reason: target.is_none() })
    }
}

/// Directory and step of a stamp, `.../build/DIRECTORY/.stamp_STEP`.
fn stamp(target: &str) -> Option<(String, String)> {
    let (path, step) = target.rsplit_once("/.stamp_")?;
    let directory = path.rsplit('/').next()?;
    Some((directory.into(), step.into()))
}

/// Message and hint with which a script of a layer reports its failure.
fn reported(part: &[String]) -> Option<(String, Option<String>)> {
    let at = part.iter().position(|line| line.starts_with("error: hook `"))?;
    let hint = part[at + 1..].iter().find_map(|line| line.strip_prefix(HINT));
    Some((part[at].trim_start_matches(ERROR).into(), hint.map(str::to_owned)))
}

fn what(begun: Option<&(usize, Message)>, stamp: Option<&(String, String)>) -> String {
    match (begun.map(|(_, message)| message), stamp) {
        (Some(Message { package, version, text }), _) if !package.is_empty() => {
            format!("{} failed at `{text}`", format!("`{package}` {version}").trim_end())
        }
        (Some(message), _) => format!("the build failed at `{}`", message.text),
        (None, Some((directory, step))) => format!("`{directory}` failed at `{step}`"),
        (None, None) => "make failed before anything was built".into(),
    }
}

/// The last lines with something in them.
fn shown(mut part: Vec<String>, reported: bool) -> Vec<String> {
    part.retain(|line| !line.trim().is_empty());
    if reported {
        part.retain(|line| !line.starts_with(ERROR) && !line.starts_with(HINT));
    }
    part.split_off(part.len().saturating_sub(SHOWN))
}

fn own_log(log: &Path, directory: &str) -> Option<PathBuf> {
    let build = log.parent()?.join("build").join(directory);
    OWN_LOGS.iter().map(|name| build.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(lines: &[&str]) -> String {
        let mut trace = Trace::default();
        for line in lines {
            trace.add(line);
        }
        trace.failure(Path::new("out/build.log")).to_string()
    }

    #[test]
    fn the_package_whose_stamp_failed_is_named() {
        let report = failure(&[
            "\x1b[7m>>> zlib 1.3 Building\x1b[27m",
            "zlib is fine",
            ">>> broken 0.1 Configuring",
            "checking",
            ">>> broken 0.1 Building",
            "x.c:1: error: no",
            "make[2]: *** [Makefile:3: x.o] Error 1",
            "make[1]: *** [package/pkg-generic.mk:283: /w/build/broken-0.1/.stamp_built] Error 2",
            "make: *** [Makefile:83: _all] Error 2",
        ]);
        // The first stop names no package, and is of the package.
        assert_eq!(
            report,
            "`broken` 0.1 failed at `Building`\n    x.c:1: error: no\n    make[2]: *** [Makefile:3: x.o] Error 1\n  \
             the whole log: `out/build.log`, this part from line 6"
        );
    }

    #[test]
    fn lines_of_packages_that_are_built_at_the_same_time_are_left_out_as_far_as_they_are_known() {
        let report = failure(&[
            ">>> broken 0.1 Building",
            "cc broken.c",
            ">>> zlib 1.3 Building",
            "cc /w/build/zlib-1.3/x.c",
            "cc who-knows.c",
            "broken.c:1: error: no",
            "make[1]: *** [package/pkg-generic.mk:283: /w/build/broken-0.1/.stamp_built] Error 2",
            "make[1]: *** Waiting for unfinished jobs....",
            "make[1]: *** [package/pkg-generic.mk:283: /w/build/zlib-1.3/.stamp_built] Error 2",
        ]);
        assert_eq!(
            report,
            "`broken` 0.1 failed at `Building`, and so did `zlib-1.3`\n    cc broken.c\n    cc who-knows.c\n    \
             broken.c:1: error: no\n  packages were built at the same time: lines of others may be among these\n  \
             the whole log: `out/build.log`, this part from line 2"
        );
    }

    #[test]
    fn what_is_of_no_package_is_reported_too() {
        let report = failure(&[
            ">>>   Finalizing target directory",
            "cp: no",
            "make[1]: *** [Makefile:757: target-finalize] Error 1",
            "make: *** [Makefile:83: _all] Error 2",
        ]);
        let place = "the whole log: `out/build.log`, this part from line";
        assert_eq!(
            report,
            format!("the build failed at `Finalizing target directory`\n    cp: no\n  {place} 2")
        );
        let report = failure(&["Makefile.legacy:9: *** \"Please check your configuration\".  Stop."]);
        assert_eq!(
            report,
            format!(
                "make failed before anything was built\n    Makefile.legacy:9: *** \"Please check your configuration\".  \
                 Stop.\n  {place} 1"
            )
        );
        let report = failure(&[
            ">>> zlib 1.3 Building",
            "ERROR: x.tar.gz has wrong sha256 hash:",
            "make: *** [x.mk:1: /w/build/x-1/.stamp_downloaded] Error 1",
        ]);
        let hash = "ERROR: x.tar.gz has wrong sha256 hash:";
        assert_eq!(report, format!("`x-1` failed at `downloaded`\n    {hash}\n  {place} 2"));
        assert_eq!(failure(&[]), format!("make failed before anything was built\n  {place} 1"));
    }

    #[test]
    fn only_the_last_lines_are_shown_and_kept() {
        let lines: Vec<String> = (1..=KEPT + 10).map(|number| format!("line {number}")).collect();
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        lines.insert(0, ">>> broken 0.1 Building");
        lines.push("make[1]: *** [x.mk:1: /w/build/broken-0.1/.stamp_built] Error 2");
        let report = failure(&lines);
        assert_eq!(report.lines().count(), SHOWN + 2, "{report}");
        assert!(report.contains(&format!("    line {}\n  the whole log", KEPT + 10)), "{report}");
    }
}
