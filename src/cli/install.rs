//! `install`.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::args::{InputArgs, beside};
use super::assemble::{prepare_manifest, prepare_text};
use super::cache_args::CacheArgs;
use super::kept_manifest;
use super::output_args::OutputArgs;
use super::proof::ProofArgs;
use super::session_args::{self, HealthArgs, TimeoutArgs};
use super::target_args::ConsentArgs;
use crate::compose::publish;
use crate::device::{Candidate, Host, Override, Reason, Refused};
use crate::error::{Io, Result};
use crate::flash::{DeviceSession, SessionSource, Summary};
use crate::install::{BlobChange, Change, InstallOptions, Installation, Survey};
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::stage::Inputs;
use crate::storage::{InPlace, ReadOnly};
use crate::value::ByteSize;

#[derive(Debug, Args)]
pub struct Install {
    /// Image file or block device that has a system of the board.
    target: PathBuf,

    /// Show what would be done; write nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    consent: ConsentArgs,

    /// Also write the raw boot loaders that differ. A power cut meanwhile leaves a board that does not start.
    #[arg(long)]
    boot_loader: bool,

    /// Rewrite a partition although it has files that are not the system's, and write these again. A power cut meanwhile
    /// loses them.
    #[arg(long)]
    carry_over: bool,

    /// Install although the medium is for another board.
    #[arg(long)]
    other_board: bool,

    /// File for the manifest of what was written; without it beside the images of the source.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    #[command(flatten)]
    inputs: InputArgs,

    #[command(flatten)]
    cache: CacheArgs,

    #[command(flatten)]
    proof: ProofArgs,

    #[command(flatten)]
    health: HealthArgs,

    #[command(flatten)]
    timeout: TimeoutArgs,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Installed<'a> {
    target: String,
    board: &'a str,
    before: &'a Option<String>,
    after: &'a Option<String>,
    partitions: &'a [Change],
    boot_loaders: &'a [BlobChange],
    written: u64,
    manifest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
}

impl std::fmt::Display for Installed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (target, written) = (&self.target, ByteSize(self.written));
        match &self.manifest {
            Some(manifest) => {
                write!(f, "{target}: {written} written, read back from the medium and right")?;
                self.summary.iter().try_for_each(|summary| write!(f, "{summary}"))?;
                write!(f, "\n{manifest}")
            }
            None => write!(f, "{target}: nothing was written"),
        }
    }
}

impl Install {
    pub fn run(self, report: &Report) -> Result<()> {
        self.output.run(report, |report| self.update(report))
    }

    fn update(&self, report: &Report) -> Result<()> {
        self.consent.reject_image_overrides()?;
        let session = self.open(report)?;
        // Looking at the medium and planning read as much of it as the session does.
        let progress = report.progress_of(session.target().name());
        let survey = Survey::new(&session.watched(self.timeout.watchdog(), progress))?;
        let mut medium = None;
        let mut inputs = self.inputs.load_onto(report, |board| {
            let found = survey.medium(&board)?;
            let (board, known) = (found.fit(board), found.known.clone());
            medium = Some(found);
            Ok((board, known))
        })?;
        let medium = medium.expect("the board was fitted to the medium");
        inputs.resources.verify = self.proof.verify_output();
        inputs.resources.trust_stat = self.cache.trust_stat;
        let ((), _) = self.cache.serve(report, |cache| {
            inputs.resources.cache = cache;
            let staged = inputs.stage()?;
            staged.warnings.iter().for_each(|warning| report.warn(warning));
            self.proof.left_out(&staged.left_out, report)?;
            // What persists is there already.
            self.proof.containers(&staged.containers.notes, report)?;
            let options = InstallOptions {
                boot_loader: self.boot_loader,
                carry_over: self.carry_over,
                other_board: self.other_board,
            };
            let installation = Installation::prepare(&survey, &medium, &inputs, staged, &options)?;
            installation.warnings.iter().for_each(|warning| report.warn(warning));
            report.note(&installation);
            if installation.blobs.iter().any(|blob| blob.differs && !blob.written) {
                report.note("  `--boot-loader` writes what differs");
            }
            self.install(&installation, &inputs, &session, report)
        })?;
        Ok(())
    }

    fn install(
        &self,
        installation: &Installation,
        inputs: &Inputs,
        session: &DeviceSession,
        report: &Report,
    ) -> Result<()> {
        if self.dry_run || installation.is_done() {
            if let Some(path) = self.manifest.as_ref().filter(|_| !self.dry_run) {
                report.warn(format!("nothing was written, so there is no manifest for `{}`", path.display()));
            }
            self.report(installation, 0, None, None, report);
            return Ok(());
        }
        let path = self.manifest.clone().unwrap_or_else(|| {
            let name = inputs.board.name.replace('/', "-");
            inputs.images.join(format!("skiff-{name}.installed.manifest.json"))
        });
        // A manifest that cannot be written must not be found out when the medium is written.
        let beside_image = Some(beside(&self.target, ".manifest.json"));
        let beside_image = beside_image.filter(|path| session.candidate().is_none() && path.exists());
        for path in beside_image.iter().chain([&path]) {
            drop(prepare_text(path, "")?);
        }
        if let Some(candidate) = session.candidate() {
            let changed = format!("the system on this device is replaced:\n  {candidate}");
            self.consent.confirm(&changed, std::slice::from_ref(candidate), report)?;
        }
        let options = self.timeout.session(Interrupt::listen()).recorded(self.health.directory(report));
        let name = format!("the system of `{}`", inputs.board.name);
        let source = SessionSource { name: &name, identity: None };
        let listeners = (&report.progress_of(session.target().name()), report);
        let (done, summary) =
            session_args::run(session, source, &options, listeners, |open| installation.run(open))?;
        for path in beside_image.iter().chain([&path]) {
            publish(prepare_manifest(path, &done.manifest)?, path)?;
        }
        match session.candidate() {
            Some(candidate) => drop(kept_manifest::keep(candidate, &done.manifest, report)),
            None => self.remove_block_map(report)?,
        }
        let manifest = Some(path.display().to_string());
        self.report(installation, done.record.len(), manifest, Some(summary), report);
        Ok(())
    }

    /// Removes the block map beside an image file, which is that of the image as it was.
    fn remove_block_map(&self, report: &Report) -> Result<()> {
        let map = beside(&self.target, ".bmap");
        if map.exists() {
            fs::remove_file(&map).map_err(Io::on("remove", &map))?;
            report
                .note(format!("`{}` was removed: it is the block map of the image as it was", map.display()));
        }
        Ok(())
    }

    fn report(
        &self,
        installation: &Installation,
        written: u64,
        manifest: Option<String>,
        summary: Option<Summary>,
        report: &Report,
    ) {
        let installed = Installed {
            target: self.target.display().to_string(),
            board: installation.board(),
            before: &installation.before,
            after: &installation.after,
            partitions: &installation.changes,
            boot_loaders: &installation.blobs,
            written,
            manifest,
            summary,
        };
        report.document(&installed, &installed);
    }

    /// A device is held exclusively from here on; a run that only looks holds nothing.
    fn open(&self, report: &Report) -> Result<DeviceSession> {
        let kind = self.target.metadata().map_err(Io::on("look at", &self.target))?.file_type();
        if !kind.is_block_device() {
            return Ok(DeviceSession::for_target(Arc::new(InPlace::open(&self.target)?)));
        }
        if self.dry_run {
            return Ok(DeviceSession::for_target(Arc::new(ReadOnly::open(&self.target)?)));
        }
        // A disk with a system of the board is the right one, wherever it is and however large.
        let host = self.consent.host_despite(&[Override::Internal, Override::Large]);
        let candidate = candidate(&host, &self.target)?;
        self.consent.report_overridden(std::slice::from_ref(&candidate), report)?;
        let device = self.consent.open(&host, &candidate)?;
        Ok(DeviceSession::for_device(candidate, device))
    }
}

/// The device, if nothing speaks against writing it. A partition is one for boards without a table.
fn candidate(host: &Host, path: &Path) -> Result<Candidate> {
    match host.candidate(path, 0) {
        Err(Refused::Because { reason: Reason::Partition { .. }, .. }) => Ok(host.partition(path, 0)?),
        other => Ok(other?),
    }
}
