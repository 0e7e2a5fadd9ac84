//! A session on one medium: the target, the device that was claimed, a watchdog, a journal, a meter, a health record and
//! the user's interruption. `flash`, `install`, `verify` and `assemble` are sessions, so that all of them report the same
//! events and the same summary, and end the same way on Ctrl-C.
//!
//! The layers on each depend on the task:
//!
//! | verb | watchdog | journal | health record | interruption |
//! |---|---|---|---|---|
//! | `flash` | yes | yes | if wanted | until all is read back |
//! | `install` | yes, also while it looks at the medium before | no: the medium has its marker | if wanted | until the new system gets its names |
//! | `verify` | yes | no: nothing is written | no | always |
//! | `assemble` | no: a file does not hang alone | no: the file has no name yet | no | until all is read back |

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::health::Entry;
use super::journal::{Header, MediumId};
use super::{Commit, Done, FlashError, FlashOptions, Journal, JournalError, Meter, Summary};
use crate::device::Candidate;
use crate::error::{Error, ErrorKind, Io, Result};
use crate::event::{Event, Listener};
use crate::interrupt::{Interrupt, Interruptible};
use crate::source::Source;
use crate::storage::{CacheBypass, Device, Target, TargetError, Watchdog, WatchdogOptions};
use crate::value::Digest;

/// A medium: a device that was claimed, or a target that is no device.
pub struct DeviceSession {
    target: Arc<dyn Target>,
    device: Option<(Candidate, Arc<Device>)>,
}

/// Guards and records of a session. Without more than an interruption it is only measured.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    timeouts: Option<WatchdogOptions>,
    journals: Option<PathBuf>,
    resume: bool,
    health: Option<PathBuf>,
    interrupt: Interrupt,
}

/// Something the user should know about a session that goes on all the same.
#[derive(Debug)]
pub enum SessionWarning {
    /// Bytes that are read back may come from the page cache.
    CacheNotBypassed,
    /// There will be no journal.
    NotResumable(Io),
    /// The journal could not be removed.
    JournalLeft(Io),
    /// The health record was not written.
    NoHealthRecord(Io),
}

/// Subject of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionSource<'a> {
    /// Name in messages.
    pub name: &'a str,
    /// Equal for sources with the same bytes, see [`Source::identity`]; without it no session can be resumed.
    pub identity: Option<Digest>,
}

/// Result of a session.
pub struct SessionOutcome<T> {
    /// Value that the work returned.
    pub result: Result<T>,
    /// Cost of the session.
    pub summary: Summary,
    /// True if a later session can go on where this one failed.
    pub is_resumable: bool,
}

/// A session that is open: the medium as the work sees it.
pub struct OpenSession<'a> {
    meter: Meter<'a>,
    journal: Option<Journal>,
    interrupt: &'a Interrupt,
}

impl SessionOptions {
    /// A session that ends when `interrupt` is raised.
    pub fn new(interrupt: Interrupt) -> SessionOptions {
        SessionOptions { interrupt, ..SessionOptions::default() }
    }

    /// The same, which gives up when the medium does not answer in time.
    pub fn watched(self, timeouts: WatchdogOptions) -> SessionOptions {
        SessionOptions { timeouts: Some(timeouts), ..self }
    }

    /// The same, with a journal in `directory`; `resume` goes on with the one that is there.
    pub fn journalled(self, directory: Option<PathBuf>, resume: bool) -> SessionOptions {
        SessionOptions { journals: directory, resume, ..self }
    }

    /// The same, with a line in the health record of the device in `directory`.
    pub fn recorded(self, directory: Option<PathBuf>) -> SessionOptions {
        SessionOptions { health: directory, ..self }
    }
}

impl fmt::Display for SessionWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionWarning::CacheNotBypassed => f.write_str(
                "this device cannot be read past the page cache; pages are dropped before they are read back",
            ),
            SessionWarning::NotResumable(error) => write!(f, "this run cannot be resumed: {error}"),
            SessionWarning::JournalLeft(error) | SessionWarning::NoHealthRecord(error) => error.fmt(f),
        }
    }
}

impl DeviceSession {
    /// A device that was claimed.
    pub fn for_device(candidate: Candidate, device: Device) -> DeviceSession {
        let device = Arc::new(device);
        DeviceSession { target: Arc::clone(&device) as Arc<dyn Target>, device: Some((candidate, device)) }
    }

    /// An image file, or a medium that is not there.
    pub fn for_target(target: Arc<dyn Target>) -> DeviceSession {
        DeviceSession { target, device: None }
    }

    /// The medium, neither watched nor measured.
    pub fn target(&self) -> &Arc<dyn Target> {
        &self.target
    }

    /// The medium for what is read before the session runs: each operation fails when it has taken too long. `listener`
    /// receives those that take long.
    pub fn watched(
        &self,
        timeouts: WatchdogOptions,
        listener: impl Listener + Send + 'static,
    ) -> Arc<dyn Target> {
        let report = move |slow| listener.event(Event::from(slow));
        Arc::new(Watchdog::new(Arc::clone(&self.target), timeouts, report))
    }

    /// The device, if it is one.
    pub fn candidate(&self) -> Option<&Candidate> {
        self.device.as_ref().map(|(candidate, _)| candidate)
    }

    /// Has `work` use the medium, with what `options` ask for around it.
    pub fn run<T>(
        &self,
        source: SessionSource<'_>,
        options: &SessionOptions,
        listener: &dyn Listener,
        warn: &dyn Fn(SessionWarning),
        work: impl FnOnce(&OpenSession<'_>) -> Result<T>,
    ) -> Result<SessionOutcome<T>> {
        // Reading back is only worth what it says if it does not come from memory.
        if self.device.as_ref().is_some_and(|(_, device)| device.cache_bypass() == CacheBypass::Dropped) {
            warn(SessionWarning::CacheNotBypassed);
        }
        let journal = self.journal(source, options, warn)?;
        let watched = options.timeouts.map(|timeouts| {
            let report = |slow| listener.event(Event::from(slow));
            Watchdog::new(Arc::clone(&self.target), timeouts, report)
        });
        let target = watched.as_ref().map_or(&*self.target, |watched| watched as &dyn Target);
        let open =
            OpenSession { meter: Meter::new(target, listener), journal, interrupt: &options.interrupt };
        let result = work(&open).map_err(|error| self.with_partition(error));
        let OpenSession { meter, journal, .. } = open;
        let summary = meter.finish();
        // A medium that lies does so again.
        let goes_on = |error: &Error| matches!(error.kind(), ErrorKind::Io | ErrorKind::Interrupted);
        let is_resumable = journal.is_some() && result.as_ref().is_err_and(goes_on);
        if let Some(problem) = journal.filter(|_| result.is_ok()).and_then(Journal::finish) {
            warn(SessionWarning::JournalLeft(problem));
        }
        self.remember(source.name, options, result.as_ref().err(), &summary, warn);
        Ok(SessionOutcome { result, summary, is_resumable })
    }

    /// Writes a source as [`Commit::run`] does, and has the kernel read the new partition table.
    pub fn flash(
        &self,
        open: &OpenSession<'_>,
        source: &dyn Source,
        options: FlashOptions<'_>,
    ) -> Result<Done> {
        let options = open.commit_options(options);
        let (target, listener) = (open.target(), open.listener());
        let done = Commit { target, used: true, regions: &[], listener, options }.run(source)?;
        self.reread_partitions();
        Ok(done)
    }

    /// Has the kernel read the new partition table.
    pub fn reread_partitions(&self) {
        if let Some((candidate, device)) = &self.device
            && candidate.part.is_none()
        {
            device.reread_partitions();
        }
    }

    fn medium(&self) -> Option<MediumId> {
        self.candidate().map(MediumId::for_candidate)
    }

    /// Corrects what a failure says it left: of a partition it is not what it is of a disk.
    fn with_partition(&self, error: Error) -> Error {
        let is_partition = self.candidate().is_some_and(|candidate| candidate.part.is_some());
        match error.downcast::<FlashError>() {
            Ok(error) if is_partition => error.for_partition().into(),
            Ok(error) => error.into(),
            Err(error) => error,
        }
    }

    /// Appends what became of the session to the record of its device. It is over, so a record that fails is only a
    /// warning.
    fn remember(
        &self,
        source: &str,
        options: &SessionOptions,
        error: Option<&Error>,
        summary: &Summary,
        warn: &dyn Fn(SessionWarning),
    ) {
        let Some((medium, directory)) = self.medium().zip(options.health.as_ref()) else { return };
        if let Err(error) = Entry::new(&medium, source, error, summary).append(directory) {
            warn(SessionWarning::NoHealthRecord(error));
        }
    }

    /// The journal of the session: an older one if it is to go on.
    fn journal(
        &self,
        source: SessionSource<'_>,
        options: &SessionOptions,
        warn: &dyn Fn(SessionWarning),
    ) -> Result<Option<Journal>> {
        let known = self.medium().zip(source.identity).zip(options.journals.as_ref());
        let Some(((medium, identity), directory)) = known else {
            return match options.resume {
                true => Err(JournalError::NoIdentity(source.name.into()).into()),
                false => Ok(None),
            };
        };
        let path = directory.join(medium.file_name());
        let header = Header::new(medium, source.name.into(), identity);
        if options.resume {
            return Ok(Some(Journal::resume(&path, header)?));
        }
        Ok(Journal::create(&path, header).map_err(|error| warn(SessionWarning::NotResumable(error))).ok())
    }
}

impl OpenSession<'_> {
    /// A session on a target of its own that is only measured: what `options` ask for beyond that needs the medium to be
    /// shared with other threads.
    pub fn measure<T>(
        target: &dyn Target,
        interrupt: &Interrupt,
        listener: &dyn Listener,
        work: impl FnOnce(&OpenSession<'_>) -> Result<T>,
    ) -> Result<(T, Summary)> {
        let open = OpenSession { meter: Meter::new(target, listener), journal: None, interrupt };
        let done = work(&open)?;
        Ok((done, open.meter.finish()))
    }

    /// The medium, watched and measured.
    pub fn target(&self) -> &dyn Target {
        &self.meter
    }

    /// The medium, for what an interruption may end.
    pub fn interruptible(&self) -> Interruptible<'_> {
        Interruptible::new(&self.meter, Some(self.interrupt))
    }

    /// Fails if the user wants the session to end.
    pub fn ensure_not_interrupted(&self) -> Result<(), TargetError> {
        self.interrupt.ensure_not_raised("writing", self.meter.name())
    }

    /// Receives the events, and measures by them.
    pub fn listener(&self) -> &dyn Listener {
        &self.meter
    }

    /// The same options with the journal and the interruption of the session.
    pub fn commit_options<'s>(&'s self, options: FlashOptions<'s>) -> FlashOptions<'s> {
        FlashOptions { journal: self.journal.as_ref(), interrupt: Some(self.interrupt), ..options }
    }
}
