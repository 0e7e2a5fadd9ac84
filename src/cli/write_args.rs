//! How a medium is written, and the medium itself.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::simulate_args::StallArgs;
use crate::device::Candidate;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Listener};
use crate::flash::health::Entry;
use crate::flash::journal::{Header, MediumId};
use crate::flash::{
    FlashError, FlashOptions, Journal, JournalError, Meter, ResizePolicy, Summary, Unwritten,
};
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::storage::{CacheBypass, Device, Target, Watchdog};
use crate::value::Digest;

/// How a medium is written.
#[derive(Debug, Args)]
pub struct WriteArgs {
    /// Read first, and write only what differs: media are read several times faster than they are written.
    #[arg(long)]
    only_changed: bool,

    /// Go on with a run on this medium that was interrupted. Nothing of it is trusted: all is read back.
    #[arg(long, conflicts_with = "simulate")]
    resume: bool,

    /// How many times what is read back wrong is written again.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=100))]
    retries: u32,

    /// What becomes of old bytes where the image has nothing: they are discarded if the medium can do that and reads
    /// zeros then, else overwritten with zeros (`zero`), or left (`discard`), or left in any case (`keep`). Without this
    /// it is `zero` for ready images and `discard` for what is composed.
    #[arg(long, value_name = "HOW")]
    unwritten: Option<UnwrittenArg>,

    /// Keep a record of the runs on this medium: retries, what took longest, how each ended. It is a file of JSON lines
    /// in $XDG_STATE_HOME/skiff-image/health, named for model, serial number and size.
    #[arg(long, conflicts_with = "simulate")]
    health: bool,

    #[command(flatten)]
    stall: StallArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum UnwrittenArg {
    Zero,
    Discard,
    Keep,
}

/// A medium that is written.
pub struct Lane {
    target: Arc<dyn Target>,
    /// A device that was claimed; none for a rehearsal.
    device: Option<(Candidate, Arc<Device>)>,
}

/// What a run is about, beside the medium.
pub struct Run<'a> {
    /// How messages call the source.
    pub source: String,
    /// [`crate::source::Source::identity`].
    pub identity: Option<Digest>,
    /// What becomes of old bytes unless the user says otherwise.
    pub unwritten: Unwritten,
    /// [`FlashOptions::fit`].
    pub fit: ResizePolicy,
    /// Ends it.
    pub interrupt: &'a Interrupt,
}

impl Lane {
    /// A device that was claimed.
    pub fn of_device(candidate: Candidate, device: Device, report: &Report) -> Lane {
        // Reading back is only worth what it says if it does not come from memory.
        if device.cache_bypass() == CacheBypass::Dropped {
            report.warn(
                "this device cannot be read past the page cache; pages are dropped before they are read back",
            );
        }
        let device = Arc::new(device);
        Lane { target: Arc::clone(&device) as Arc<dyn Target>, device: Some((candidate, device)) }
    }

    /// A medium that is not there.
    pub fn of_simulation(target: Arc<dyn Target>) -> Lane {
        Lane { target, device: None }
    }

    /// The medium.
    pub fn target(&self) -> &dyn Target {
        &*self.target
    }

    /// What tells it from others, if it is a device.
    fn medium(&self) -> Option<MediumId> {
        let (candidate, _) = self.device.as_ref()?;
        Some(MediumId::for_candidate(candidate))
    }

    /// Has the kernel look at the new table.
    pub fn finish(&self) {
        if let Some((candidate, device)) = &self.device
            && candidate.part.is_none()
        {
            device.reread_partitions();
        }
    }

    /// What a failure leaves of a partition is not what it leaves of a disk.
    fn about(&self, error: Error) -> Error {
        let partition = self.device.as_ref().is_some_and(|(candidate, _)| candidate.part.is_some());
        match error.downcast::<FlashError>() {
            Ok(error) if partition => error.for_partition().into(),
            Ok(error) => error.into(),
            Err(error) => error,
        }
    }
}

impl WriteArgs {
    /// Has `write` write the medium, watched over, measured and with a journal. What is told to the meter reaches the
    /// listener.
    pub fn write<T>(
        &self,
        lane: &Lane,
        run: &Run,
        listener: &dyn Listener,
        report: &Report,
        write: impl FnOnce(&Meter, FlashOptions) -> Result<T>,
    ) -> Result<(T, Summary)> {
        let journal = self.journal(lane, run, report)?;
        let options = FlashOptions {
            retries: self.retries,
            only_changed: self.only_changed,
            // Other markers than those of another run, as far as that matters.
            probe: Some(u64::from(std::process::id())),
            unwritten: self.unwritten.map_or(run.unwritten, Unwritten::from),
            journal: journal.as_ref(),
            fit: run.fit,
            interrupt: Some(run.interrupt),
        };
        let watchdog = Watchdog::new(Arc::clone(&lane.target), self.stall.options(), |stall| {
            listener.event(Event::from(stall));
        });
        let meter = Meter::new(&watchdog, listener);
        let written = write(&meter, options).map_err(|error| lane.about(error));
        match (&written, journal) {
            (Ok(_), Some(journal)) => {
                if let Some(problem) = journal.finish() {
                    report.warn(problem);
                }
            }
            // A medium that lies does so again.
            (Err(error), Some(_)) if error.kind() == ErrorKind::Io => {
                report.note("`--resume` goes on with this run");
            }
            _ => {}
        }
        let summary = meter.finish();
        self.remember(lane, run, written.as_ref().err(), &summary, report);
        written.map(|written| (written, summary))
    }

    /// What became of a run, for the record of its medium. The run is over, so a record that fails is only a warning.
    fn remember(&self, lane: &Lane, run: &Run, error: Option<&Error>, summary: &Summary, report: &Report) {
        let Some(medium) = lane.medium().filter(|_| self.health) else { return };
        match health_directory() {
            Some(directory) => {
                let appended = Entry::new(&medium, &run.source, error, summary).append(&directory);
                appended.unwrap_or_else(|error| report.warn(error));
            }
            None => report.warn("no record is kept of this medium: neither XDG_STATE_HOME nor HOME is set"),
        }
    }

    /// The journal of the run: an older one if it is to go on.
    fn journal(&self, lane: &Lane, run: &Run, report: &Report) -> Result<Option<Journal>> {
        let header = lane.medium().zip(run.identity).map(|(medium, identity)| {
            let name = medium.file_name();
            (Header::new(medium, run.source.clone(), identity), name)
        });
        let (Some((header, name)), Some(directory)) = (header, state_directory()) else {
            return match self.resume {
                true => Err(JournalError::NoIdentity(run.source.clone()).into()),
                false => Ok(None),
            };
        };
        let path = directory.join(name);
        if self.resume {
            return Ok(Some(Journal::resume(&path, header)?));
        }
        Ok(Journal::create(&path, header)
            .map_err(|error| report.warn(format!("this run cannot be resumed: {error}")))
            .ok())
    }
}

impl From<UnwrittenArg> for Unwritten {
    fn from(argument: UnwrittenArg) -> Unwritten {
        match argument {
            UnwrittenArg::Zero => Unwritten::Zero,
            UnwrittenArg::Discard => Unwritten::Discard,
            UnwrittenArg::Keep => Unwritten::Keep,
        }
    }
}

/// Where the records of media are.
pub fn health_directory() -> Option<PathBuf> {
    Some(state_directory()?.join("health"))
}

/// Where journals are: in `$XDG_STATE_HOME` (XDG Base Directory Specification 0.8).
pub fn state_directory() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")))?;
    Some(base.join("skiff-image"))
}
