//! Journal of what is on a medium already, so that an interrupted run can go on. The journal is a file of JSON lines:
//! the first names the run, each further one the extents that were on stable storage when it was written. Nothing in it
//! is trusted: a resumed run leaves out writing what the journal has, and reads back everything.

mod error;
mod medium;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use error::JournalError;
pub use medium::MediumId;
use serde::{Deserialize, Serialize};

use crate::device::marker;
use crate::error::Io;
use crate::storage::{Extent, Log, Target, TargetError};
use crate::value::Digest;

/// Version of the format.
const VERSION: u32 = 1;
/// Bytes that are written between two entries: what an interruption costs at most, beside what is on its way.
pub const WINDOW: u64 = 64 << 20;

/// Medium and source of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the format.
    journal: u32,
    /// The medium.
    pub medium: MediumId,
    /// Name of the source in messages.
    pub source: String,
    /// [`crate::source::Source::identity`].
    pub identity: Digest,
}

impl Header {
    /// A run that writes `source` to `medium`.
    pub fn new(medium: MediumId, source: String, identity: Digest) -> Header {
        Header { journal: VERSION, medium, source, identity }
    }

    /// Id of the run, which the marker on the medium has too.
    pub fn run(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("a header is JSON"))
    }
}

/// A line behind the first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    /// These are on stable storage.
    Synced(Vec<Extent>),
    /// Ranges that are about to differ from the source.
    Changed(Vec<Range<u64>>),
    /// All is read back; from now on the medium may be bootable.
    Commit,
}

/// The journal of one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    header: Header,
    /// Extents that an earlier run has written.
    known: BTreeMap<u64, Extent>,
    /// True if an earlier run had begun to make the medium bootable.
    committing: bool,
    resumed: bool,
    window: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Written, but perhaps not on stable storage.
    pending: Vec<Extent>,
    pending_len: u64,
    skipped: u64,
    /// Error of the file; the run goes on without it.
    problem: Option<Io>,
}

impl Journal {
    /// Begins the journal of a new run.
    pub fn create(path: &Path, header: Header) -> Result<Journal, Io> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(Io::on("create", directory))?;
        }
        let mut file = File::create(path).map_err(Io::on("create", path))?;
        write_line(&mut file, &header).map_err(Io::on("write", path))?;
        Ok(Journal::on(path, header, file))
    }

    /// Goes on with the journal of a run that `header` is about.
    pub fn resume(path: &Path, header: Header) -> Result<Journal, JournalError> {
        let file = match File::options().read(true).append(true).open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(JournalError::Missing(path.into()));
            }
            file => file.map_err(Io::on("open", path))?,
        };
        let mut journal = Journal::on(path, header, file.try_clone().map_err(Io::on("open", path))?);
        journal.resumed = true;
        journal.read(BufReader::new(file))?;
        Ok(journal)
    }

    /// The same with another number of bytes between two entries than [`WINDOW`].
    pub fn with_window(self, window: u64) -> Journal {
        Journal { window, ..self }
    }

    fn on(path: &Path, header: Header, file: File) -> Journal {
        let state = State { file, pending: Vec::new(), pending_len: 0, skipped: 0, problem: None };
        let known = BTreeMap::new();
        Journal {
            path: path.into(),
            header,
            known,
            committing: false,
            resumed: false,
            window: WINDOW,
            state: Mutex::new(state),
        }
    }

    fn read(&mut self, lines: impl BufRead) -> Result<(), JournalError> {
        let path = self.path.clone();
        let format = |line, message: String| JournalError::Format { path: path.clone(), line, message };
        let mut lines = lines.lines().enumerate();
        let first = lines.next().and_then(|(_, line)| line.ok()).unwrap_or_default();
        let found: Header = serde_json::from_str(&first).map_err(|error| format(1, error.to_string()))?;
        self.ensure_same(found)?;
        let mut broken: Option<JournalError> = None;
        for (index, line) in lines {
            // Only the last line can be cut short.
            if let Some(error) = broken.take() {
                return Err(error);
            }
            match line.map_err(|error| error.to_string()).and_then(|line| parse(&line)) {
                Ok(Entry::Synced(extents)) => self.known.extend(extents.into_iter().map(|e| (e.offset, e))),
                Ok(Entry::Changed(ranges)) => self.known.retain(|_, extent| !meets(&extent.range(), &ranges)),
                Ok(Entry::Commit) => self.committing = true,
                Err(message) => broken = Some(format(index + 1, message)),
            }
        }
        Ok(())
    }

    fn ensure_same(&self, found: Header) -> Result<(), JournalError> {
        if found.medium != self.header.medium {
            return Err(JournalError::OtherMedium { found: found.medium, now: self.header.medium.clone() });
        }
        if found != self.header {
            return Err(JournalError::OtherSource { found: found.source, now: self.header.source.clone() });
        }
        Ok(())
    }

    /// Id of the run.
    pub(super) fn run(&self) -> Digest {
        self.header.run()
    }

    /// Returns whether this goes on with an earlier run.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Fails unless the medium is as the earlier run left it; says whether it can be gone on with as it is. One that
    /// had begun to be made bootable has to be wiped again.
    pub(super) fn ensure_marked(&self, target: &dyn Target) -> crate::error::Result<bool> {
        let marked = marker::read(target)? == Some(self.run());
        if !marked && !self.committing {
            return Err(JournalError::NotMarked { target: target.name().into() }.into());
        }
        Ok(marked)
    }

    /// Bytes that were on the medium already.
    pub(super) fn skipped(&self) -> u64 {
        self.state().skipped
    }

    /// Forgets these ranges: they are about to differ from the source, so a later run has to write them
    /// again.
    pub(super) fn forget(&self, ranges: Vec<Range<u64>>) {
        let mut state = self.state();
        state.pending.retain(|extent| !meets(&extent.range(), &ranges));
        self.append(&mut state, &Entry::Changed(ranges));
    }

    /// All is read back: from now on the medium may be bootable.
    pub(super) fn commit(&self) {
        let mut state = self.state();
        self.append(&mut state, &Entry::Commit);
    }

    /// The run is over, and there is nothing to go on with. Returns what went wrong with the journal, if anything.
    pub fn finish(self) -> Option<Io> {
        let removed = std::fs::remove_file(&self.path).map_err(Io::on("remove", &self.path)).err();
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).problem.or(removed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A journal that cannot be written costs a later run time, and this one nothing.
    fn append(&self, state: &mut State, entry: &Entry) {
        if state.problem.is_none() {
            let written = write_line(&mut state.file, entry);
            state.problem = written.map_err(Io::on("write", &self.path)).err();
        }
    }
}

impl Log for Journal {
    fn holds(&self, extents: &[Extent]) -> bool {
        let holds = |extent: &Extent| match self.known.get(&extent.offset) {
            Some(known) if extent.blake3.is_some() => known == extent,
            // Zeros that were cut or joined otherwise are the same zeros.
            Some(known) => known.blake3.is_none() && known.len >= extent.len,
            None => false,
        };
        let all = extents.iter().all(holds);
        if all {
            self.state().skipped += extents.iter().map(|extent| extent.len).sum::<u64>();
        }
        all
    }

    fn written(&self, target: &dyn Target, extents: &[Extent]) -> Result<(), TargetError> {
        let synced = {
            let mut state = self.state();
            state.pending_len += extents.iter().map(|extent| extent.len).sum::<u64>();
            state.pending.extend_from_slice(extents);
            if state.pending_len < self.window {
                return Ok(());
            }
            state.pending_len = 0;
            std::mem::take(&mut state.pending)
        };
        // Others go on writing meanwhile; what they write is for the next entry.
        target.sync()?;
        self.append(&mut self.state(), &Entry::Synced(synced));
        Ok(())
    }
}

fn meets(extent: &Range<u64>, ranges: &[Range<u64>]) -> bool {
    ranges.iter().any(|range| range.start < extent.end && extent.start < range.end)
}

fn parse(line: &str) -> Result<Entry, String> {
    serde_json::from_str(line).map_err(|error| error.to_string())
}

/// Writes one line and waits until it is on stable storage.
fn write_line(file: &mut File, value: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    fn header(serial: &str, image: &str) -> Header {
        let medium = MediumId { model: Some("Card".into()), serial: Some(serial.into()), len: 1 << 30 };
        Header::new(medium, format!("`{image}`"), Digest::of(image.as_bytes()))
    }

    fn extent(offset: u64, len: u64) -> Extent {
        Extent { offset, len, blake3: Some(Digest::of(&offset.to_le_bytes())) }
    }

    #[test]
    fn what_was_synced_is_known_to_the_next_run() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("state/run.journal");
        let memory = Memory::new(4096);
        let journal = Journal::create(&path, header("1", "a.img")).expect("creates");
        journal.written(&memory, &[extent(0, WINDOW)]).expect("written");
        journal.written(&memory, &[extent(WINDOW, 4096)]).expect("written");
        drop(journal);
        let text = std::fs::read_to_string(&path).expect("reads");
        std::fs::write(&path, format!("{text}{{\"synced\":[{{\"offs")).expect("the last line is cut short");
        let journal = Journal::resume(&path, header("1", "a.img")).expect("resumes");
        assert!(journal.holds(&[extent(0, WINDOW)]));
        assert!(!journal.holds(&[extent(WINDOW, 4096)]), "it was not synced");
        assert!(!journal.holds(&[Extent { blake3: Some(Digest::of(b"other")), ..extent(0, WINDOW) }]));
        assert_eq!(journal.skipped(), WINDOW);
        assert!(journal.finish().is_none());
        assert!(!path.exists());
    }

    #[test]
    fn what_is_changed_afterwards_is_not_known() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("run.journal");
        let memory = Memory::new(4096);
        let journal = Journal::create(&path, header("1", "a.img")).expect("creates");
        journal.written(&memory, &[extent(0, WINDOW), extent(WINDOW, 4096)]).expect("written");
        journal.forget(vec![Range { start: WINDOW + 100, end: WINDOW + 101 }]);
        drop(journal);
        let journal = Journal::resume(&path, header("1", "a.img")).expect("resumes");
        assert!(journal.holds(&[extent(0, WINDOW)]));
        assert!(!journal.holds(&[extent(WINDOW, 4096)]), "it was changed");
    }

    #[test]
    fn another_run_is_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("run.journal");
        let message = |header| Journal::resume(&path, header).expect_err("refused").to_string();
        assert_eq!(
            message(header("1", "a.img")),
            format!("no unfinished run on this medium is known: there is no `{}`", path.display())
        );
        drop(Journal::create(&path, header("1", "a.img")).expect("creates"));
        assert_eq!(
            message(header("1", "b.img")),
            "the unfinished run on this medium wrote `a.img`, and this is another image: `b.img`"
        );
        assert_eq!(
            message(header("2", "a.img")),
            "the unfinished run was on another medium: Card, serial 1, 1 GiB, not Card, serial 2, 1 GiB"
        );
        std::fs::write(&path, "hello\n").expect("writes");
        let text = message(header("1", "a.img"));
        assert!(
            text.starts_with(&format!("`{}:1`: this is not a journal of a run: ", path.display())),
            "{text}"
        );
    }
}
