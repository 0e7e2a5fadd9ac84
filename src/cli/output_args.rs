//! Options for the output that programs read.

use std::path::PathBuf;

use clap::Args;

use super::hints;
use crate::error::Result;
use crate::report::{Events, Report};

/// Beside what is printed.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Write what happens to this file while it happens, one JSON document a line (`skiff-image.events/1`); `-` is
    /// stdout, where the last line then has the result.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

impl OutputArgs {
    /// Does a run with a report that has the events; a run that fails ends them with its error.
    pub fn run(&self, report: &Report, run: impl FnOnce(&Report) -> Result<()>) -> Result<()> {
        let events = self.events.as_deref().map(Events::create).transpose()?;
        let report = report.with_events(events);
        run(&report).map_err(hints::worded).inspect_err(|error| report.failed(error))
    }
}
