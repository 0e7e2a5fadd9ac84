//! `verify`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::args::beside;
use super::kept_manifest;
use super::output_args::OutputArgs;
use super::session_args::{self, TimeoutArgs};
use crate::error::Result;
use crate::flash::{DeviceSession, SessionSource, Summary};
use crate::inspect::{Comparison, Verdict};
use crate::interrupt::Interrupt;
use crate::manifest::Manifest;
use crate::report::Report;
use crate::storage::{ReadOnly, Target};

#[derive(Debug, Args)]
pub struct Verify {
    /// Image or device.
    path: PathBuf,

    /// Manifest; without it PATH.manifest.json, or, for a device, what `flash` kept of it in
    /// $XDG_STATE_HOME/skiff-image/manifests.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    /// Every byte must be as it was written, and zero where nothing was. That is how an image file is compared anyway; of
    /// a device what was not written is not looked at, and its length is reported.
    #[arg(long, conflicts_with = "used")]
    strict: bool,

    /// Report what use changes, but not as damage: the persist partition, times and free space, files that were added, a
    /// partition that was grown. That is how a device is compared anyway.
    #[arg(long)]
    used: bool,

    #[command(flatten)]
    timeout: TimeoutArgs,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Verified<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    summary: Summary,
}

impl Verify {
    pub fn run(self, report: &Report) -> Result<()> {
        self.output.run(report, |report| self.verify(report))
    }

    /// The manifest that is meant.
    fn manifest(&self, is_device: bool, report: &Report) -> PathBuf {
        let beside = || beside(&self.path, ".manifest.json");
        let given = self.manifest.clone().or_else(|| Some(beside()).filter(|path| path.is_file()));
        given.unwrap_or_else(|| match kept_manifest::find(&self.path).filter(|_| is_device) {
            Some(kept) => {
                report
                    .note(format!("compared with what was flashed to it last, as `{}` says", kept.display()));
                kept
            }
            None => beside(),
        })
    }

    fn verify(&self, report: &Report) -> Result<()> {
        let medium = Arc::new(ReadOnly::open(&self.path)?);
        let manifest = Manifest::read(&self.manifest(medium.is_device(), report))?;
        let comparison = Comparison::new(&medium, self.strict, self.used);
        let session = DeviceSession::for_target(medium.clone());
        let options = self.timeout.session(Interrupt::listen());
        let source = SessionSource { name: &manifest.board, identity: None };
        let listeners = (&report.progress_of(medium.name()), report);
        let (verdict, summary) = session_args::run(&session, source, &options, listeners, |open| {
            let target = open.interruptible().without_writes("verifying");
            comparison.run(&medium, &target, &manifest, open.listener())
        })?;
        report.document(&Verified { verdict: &verdict, summary }, &verdict);
        Ok(verdict.into_result()?)
    }
}
