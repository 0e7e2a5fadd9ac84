//! `inspect`.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::inspect::inspect;
use crate::report::Report;
use crate::storage::ReadOnly;

#[derive(Debug, Args)]
pub struct Inspect {
    /// Image or device.
    path: PathBuf,
}

impl Inspect {
    pub fn run(self, report: &Report) -> Result<()> {
        let inspection = inspect(&ReadOnly::open(&self.path)?)?;
        report.document(&inspection, &inspection);
        Ok(())
    }
}
