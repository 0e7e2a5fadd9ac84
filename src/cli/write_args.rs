//! Options for writing a medium.

use clap::{Args, ValueEnum};

use super::session_args::{HealthArgs, TimeoutArgs, state_directory};
use crate::flash::{FlashOptions, ResizePolicy, SessionOptions, Unwritten};
use crate::interrupt::Interrupt;
use crate::report::Report;

/// Way in which a medium is written.
#[derive(Debug, Args)]
pub struct WriteArgs {
    /// Read first, and write only what differs: media are read several times faster than they are written. In the end
    /// everything is read once more, since what was written could have destroyed what was right.
    #[arg(long)]
    only_changed: bool,

    /// Go on with a run on this medium that was interrupted. Nothing of it is trusted: all is read back.
    #[arg(long, conflicts_with = "simulate")]
    resume: bool,

    /// Number of times that what is read back wrong is written again.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=100))]
    retries: u32,

    /// Read everything a second time when all is written: some media answer right only once. It takes as long as the first
    /// time, on a card about a fifth of the run.
    #[arg(long)]
    second_pass: bool,

    /// Treatment of old bytes where the image has nothing: they are discarded if the medium can do that and reads
    /// zeros then, else overwritten with zeros (`zero`), or left (`discard`), or left in any case (`keep`). Without this
    /// it is `zero` for ready images and `discard` for what is composed.
    #[arg(long, value_name = "HOW")]
    unwritten: Option<UnwrittenArg>,

    #[command(flatten)]
    health: HealthArgs,

    #[command(flatten)]
    timeout: TimeoutArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum UnwrittenArg {
    Zero,
    Discard,
    Keep,
}

impl WriteArgs {
    /// Returns what guards and remembers the session.
    pub fn session(&self, interrupt: Interrupt, report: &Report) -> SessionOptions {
        let options = self.timeout.session(interrupt).journalled(state_directory(), self.resume);
        options.recorded(self.health.directory(report))
    }

    /// Returns the way it is written; `unwritten` is used unless the user says otherwise.
    pub fn options(&self, unwritten: Unwritten, fit: ResizePolicy) -> FlashOptions<'static> {
        FlashOptions {
            retries: self.retries,
            only_changed: self.only_changed,
            second_pass: self.second_pass,
            // Other markers than those of another run, as far as that matters.
            probe: Some(u64::from(std::process::id())),
            unwritten: self.unwritten.map_or(unwritten, Unwritten::from),
            fit,
            ..FlashOptions::default()
        }
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
