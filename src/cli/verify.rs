//! `verify`.

use std::path::PathBuf;

use clap::Args;

use super::args::beside;
use crate::error::Result;
use crate::inspect;
use crate::manifest::Manifest;
use crate::report::Report;
use crate::storage::ReadOnly;

#[derive(Debug, Args)]
pub struct Verify {
    /// Image or device.
    path: PathBuf,

    /// Manifest; without it PATH.manifest.json.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    /// Every byte must be as it was written. That is how an image file is compared anyway.
    #[arg(long, conflicts_with = "used")]
    strict: bool,

    /// What use changes is told, but is no damage: the persist partition, times and free space, files that were added, a
    /// partition that was grown. That is how a device is compared anyway.
    #[arg(long)]
    used: bool,
}

impl Verify {
    pub fn run(self, report: &Report) -> Result<()> {
        let medium = ReadOnly::open(&self.path)?;
        let manifest = self.manifest.unwrap_or_else(|| beside(&self.path, ".manifest.json"));
        let manifest = Manifest::read(&manifest)?;
        let is_used = self.used || (medium.is_device() && !self.strict);
        let progress = report.progress();
        let verdict = match is_used {
            true => inspect::verify_used(&medium, &manifest, &progress)?,
            false => inspect::verify(&medium, &manifest, &progress)?,
        };
        progress.finish();
        report.document(&verdict, &verdict);
        Ok(verdict.into_result()?)
    }
}
