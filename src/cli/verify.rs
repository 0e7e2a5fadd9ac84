//! `verify`.

use std::path::PathBuf;

use clap::Args;

use super::args::beside;
use crate::error::Result;
use crate::inspect;
use crate::manifest::Manifest;
use crate::report::Report;
use crate::target::ReadOnly;

#[derive(Debug, Args)]
pub struct Verify {
    /// Image or device.
    path: PathBuf,

    /// Manifest; without it PATH.manifest.json.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

impl Verify {
    pub fn run(self, report: &Report) -> Result<()> {
        let image = ReadOnly::open(&self.path)?;
        let manifest = self.manifest.unwrap_or_else(|| beside(&self.path, ".manifest.json"));
        let manifest = Manifest::read(&manifest)?;
        let progress = report.progress();
        let verdict = inspect::verify(&image, &manifest, &progress)?;
        progress.finish();
        report.document(&verdict, &verdict);
        Ok(verdict.into_result()?)
    }
}
