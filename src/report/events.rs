//! Events as JSON Lines for programs: `flash --events FILE`, `compile --events FILE`.
//!
//! Each line is an object that was written at once, with `schema` (`skiff-image.events/1`; a field may be added to
//! it, and what changes its meaning changes the number), `event`, `seconds` since the stream began and, where it is
//! about one medium, `device`. Bytes and offsets are bytes, rates are bytes in a second.
//!
//! | `event` | fields | when |
//! |---|---|---|
//! | `phase` | `phase`, `total` | a phase begins; `total` is left out where it is not known |
//! | `progress` | `phase`, `bytes`, `total`, `rate` (of the last ten seconds), `mean`, `left` (seconds) | at most once a second, and when a phase ends; `total` and `left` are left out where they are not known |
//! | `step` | `package`, `version` (both empty for what is of no package), `step`, `done`, `total` (packages), `left` (seconds) | Buildroot begins a step; `total` and `left` are left out where they are not known |
//! | `retry` | `attempt`, `of`, `extents`, `bytes` | ranges were read back wrong and are written again |
//! | `stall` | `verb`, `offset`, `len`, `waited` (seconds) | an operation takes long, and again each time it has taken as long again |
//! | `warning` | `text` | something the user should change |
//! | `error` | `error`, `code`, `causes`, `hint`, `exit_code` | the last line of a run that failed |
//! | `result` | `document` | the document that `--json` prints; the last line of a run that did not fail |
//!
//! Phases are those of [`Phase`]. A run of several media of which some fail has a `result` for the others, and ends with
//! an `error`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::pace::Reading;
use super::{ErrorDocument, lose, print_line};
use crate::error::Io;
use crate::event::Phase;
use crate::storage::Verb;

/// Name and version of the stream.
const SCHEMA: &str = "skiff-image.events/1";

/// A stream of events.
pub struct Events {
    /// None behind a line that could not be written.
    out: Mutex<Option<Box<dyn Write + Send>>>,
    /// None for stdout.
    path: Option<PathBuf>,
    begun: Instant,
    /// First error of stdout.
    lost: Arc<OnceLock<io::Error>>,
}

/// Reason why there is no stream.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum EventsError {
    /// A slip of the hand would write to it.
    #[error("`{}` is a device, and events are not written to one", .0.display())]
    #[diagnostic(hint = "give a file, or `-` for standard output")]
    Device(PathBuf),
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    #[serde(flatten)]
    event: &'a Emitted,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
}

/// Content of a line.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Emitted {
    Phase {
        phase: Phase,
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
    Progress {
        phase: Phase,
        bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        rate: u64,
        mean: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        left: Option<u64>,
    },
    Step {
        package: String,
        version: String,
        step: String,
        done: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        left: Option<u64>,
    },
    Retry {
        attempt: u32,
        of: u32,
        extents: u64,
        bytes: u64,
    },
    Stall {
        verb: Verb,
        offset: u64,
        len: u64,
        waited: u64,
    },
    Warning {
        text: String,
    },
    Error(ErrorDocument),
    Result {
        document: serde_json::Value,
    },
}

impl Emitted {
    pub(super) fn progress(phase: Phase, reading: Reading) -> Emitted {
        let Reading { bytes, total, rate, mean, left } = reading;
        Emitted::Progress { phase, bytes, total, rate, mean, left }
    }
}

impl Events {
    /// A stream to a file, which is replaced, or with `-` to stdout.
    pub fn create(path: &Path) -> Result<Events, EventsError> {
        if path.as_os_str() == "-" {
            return Ok(Events::new(Box::new(io::stdout()), None));
        }
        if fs::metadata(path).is_ok_and(|meta| meta.file_type().is_block_device()) {
            return Err(EventsError::Device(path.into()));
        }
        let file = File::create(path).map_err(Io::on("write", path))?;
        Ok(Events::new(Box::new(file), Some(path.into())))
    }

    fn new(out: Box<dyn Write + Send>, path: Option<PathBuf>) -> Events {
        Events { out: Mutex::new(Some(out)), path, begun: Instant::now(), lost: Arc::default() }
    }

    /// The same with a place for an error of stdout.
    pub(super) fn losing(self, lost: Arc<OnceLock<io::Error>>) -> Events {
        Events { lost, ..self }
    }

    /// Returns whether stdout is a stream of events, and nothing else belongs there.
    pub(super) fn is_stdout(&self) -> bool {
        self.path.is_none()
    }

    /// Writes a line. A stream that cannot be written ends, and the run goes on.
    pub(super) fn emit(&self, device: Option<&str>, event: &Emitted) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = self.begun.elapsed().as_millis() as f64 / 1000.0;
        let line = Line { schema: SCHEMA, event, seconds, device };
        let mut text = serde_json::to_vec(&line).expect("events have string keys and no raw paths");
        text.push(b'\n');
        let Some(stream) = out.as_mut() else { return };
        if let Err(error) = stream.write_all(&text).and_then(|()| stream.flush()) {
            *out = None;
            self.warn(error);
        }
    }

    /// A reader that went away has what it wanted.
    fn warn(&self, error: io::Error) {
        match &self.path {
            None => lose(&self.lost, error),
            Some(_) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Some(path) => {
                let text = format!("warning: the events are incomplete: {}", Io::on("write", path)(error));
                print_line(&mut io::stderr().lock(), &text);
            }
        }
    }
}
