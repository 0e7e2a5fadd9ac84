//! What programs see of a run.

use std::path::PathBuf;

use clap::Args;

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
    /// The report of the run.
    pub fn report(&self, report: &Report) -> Result<Report> {
        let events = self.events.as_deref().map(Events::create).transpose()?;
        Ok(report.with_events(events))
    }
}
