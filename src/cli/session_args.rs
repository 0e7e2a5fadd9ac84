//! Options for the guards of a session on a medium and for its reports: the same for each verb that has one.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::error::Result;
use crate::flash::{DeviceSession, OpenSession, SessionOptions, SessionSource, Summary};
use crate::interrupt::Interrupt;
use crate::report::{Progress, Report};
use crate::storage::WatchdogOptions;

/// Time that a medium is waited for.
#[derive(Debug, Args)]
pub struct TimeoutArgs {
    /// Give up when the medium has not done an operation after this time.
    #[arg(long, value_name = "SECONDS", default_value_t = WatchdogOptions::default().timeout.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    stall_timeout: u64,
}

/// Record of a medium.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Keep a record of the runs on this medium: retries, what took longest, how each ended. It is a file of JSON lines
    /// in $XDG_STATE_HOME/skiff-image/health, named for model, serial number and size.
    #[arg(long)]
    health: bool,
}

impl TimeoutArgs {
    /// A session that is watched and ends with `interrupt`.
    pub fn session(&self, interrupt: Interrupt) -> SessionOptions {
        SessionOptions::new(interrupt).watched(self.watchdog())
    }

    /// Times that a medium is waited for.
    pub fn watchdog(&self) -> WatchdogOptions {
        let timeout = Duration::from_secs(self.stall_timeout);
        WatchdogOptions { timeout, ..WatchdogOptions::default() }
    }
}

impl HealthArgs {
    /// Directory of the record, if one is wanted.
    pub fn directory(&self, report: &Report) -> Option<PathBuf> {
        let directory = health_directory().filter(|_| self.health);
        if self.health && directory.is_none() {
            report.warn("no record is kept of this medium: neither XDG_STATE_HOME nor HOME is set");
        }
        directory
    }
}

/// Runs a session, and reports its warnings and whether it can go on.
pub fn run<T>(
    session: &DeviceSession,
    source: SessionSource<'_>,
    options: &SessionOptions,
    (progress, report): (&Progress, &Report),
    work: impl FnOnce(&OpenSession<'_>) -> Result<T>,
) -> Result<(T, Summary)> {
    let outcome = session.run(source, options, progress, &|warning| report.warn(warning), work)?;
    progress.finish();
    if outcome.is_resumable {
        report.note("`--resume` goes on with this run");
    }
    Ok((outcome.result?, outcome.summary))
}

/// Directory of the records of media.
pub fn health_directory() -> Option<PathBuf> {
    Some(state_directory()?.join("health"))
}

/// Directory of journals, in `$XDG_STATE_HOME` (XDG Base Directory Specification 0.8).
pub fn state_directory() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(base.join("skiff-image"))
}
