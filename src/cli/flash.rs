//! `flash`.

use std::path::Path;

use clap::Args;

use super::about::about;
use super::args::InputArgs;
use super::assemble::{prepare_manifest, prepare_text};
use super::cache_args::CacheArgs;
use super::flashed::{Document, Flashed};
use super::grow_args::GrowArgs;
use super::hints;
use super::image_args::ImageArgs;
use super::kept_manifest;
use super::medium::{Medium, examine};
use super::output_args::OutputArgs;
use super::preseed_args::PreSeedArgs;
use super::proof::ProofArgs;
use super::session_args;
use super::simulate_args::SimulateArgs;
use super::target_args::{Destination, TargetArgs};
use super::write_args::WriteArgs;
use crate::board::TableKind;
use crate::cache;
use crate::compose::{Composition, publish};
use crate::device::{Reason, Refused};
use crate::error::{Error, ErrorKind, Io, Result};
use crate::flash::several::{at_the_same_time, copy_to_each};
use crate::flash::{DeviceSession, Done, ResizePolicy, SessionSource, Unwritten};
use crate::interrupt::Interrupt;
use crate::manifest::Manifest;
use crate::plan::PlanError;
use crate::report::Report;
use crate::source::{Image, ImageKind, Override, Source, companion};
use crate::stage::Inputs;
use crate::storage::Target;
use crate::table;
use crate::value::ByteSize;

#[derive(Debug, Args)]
pub struct Flash {
    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    simulate: SimulateArgs,

    #[command(flatten)]
    image: ImageArgs,

    /// File for the manifest of what was composed; without it beside the images of the source.
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    manifest: Option<std::path::PathBuf>,

    #[command(flatten)]
    write: WriteArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    grow: GrowArgs,

    #[command(flatten)]
    inputs: InputArgs,

    #[command(flatten)]
    first_boot: PreSeedArgs,

    #[command(flatten)]
    cache: CacheArgs,

    #[command(flatten)]
    proof: ProofArgs,
}

/// Reason why not all media were written.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Fit)]
enum SeveralError {
    #[error("{failed} of {of} media were not written")]
    #[diagnostic(kind = *kind, hint = "what was wrong with each stands above")]
    Some { failed: usize, of: usize, kind: ErrorKind },
    #[error("`{}` has {} and `{}` has {}: an image is composed for one size", first.0, ByteSize(first.1), other.0, ByteSize(other.1))]
    #[diagnostic(
        hint = "make an image with `assemble` and copy that with `--image`: it grows to each medium"
    )]
    OtherLength { first: (String, u64), other: (String, u64) },
}

impl Destination {
    fn for_inputs(inputs: &Inputs) -> Destination {
        match inputs.board.table {
            _ if inputs.board.partitions.iter().any(|p| p.filesystem.is_archive()) => Destination::Nowhere,
            TableKind::None => Destination::Partition { partuuid: inputs.partuuid.clone() },
            TableKind::Mbr | TableKind::Gpt => Destination::Disk,
        }
    }

    /// A filesystem without a table is for a partition; the manifest beside it knows for which.
    fn for_image(image: &Image, path: Option<&Path>) -> Result<Destination> {
        Ok(match image.kind()? {
            ImageKind::Disk => Destination::Disk,
            ImageKind::Filesystem => {
                let manifest = path.and_then(|path| companion(path, ".manifest.json"));
                let partuuid = manifest.map(|path| Manifest::read(&path)).transpose()?;
                Destination::Partition { partuuid: partuuid.and_then(|manifest| manifest.partuuid) }
            }
        })
    }
}

/// Sectors of another size are rejected before any work is done.
fn reject_other_sectors(inputs: &Inputs, disk: u32) -> Result<()> {
    let (board, wanted) = (&inputs.board, inputs.board.sector_size);
    match wanted == disk {
        true => Ok(()),
        false => Err(PlanError::SectorSize { board: board.name.clone(), wanted, disk }.into()),
    }
}

fn reject_other_lengths(media: &[Medium]) -> Result<(), SeveralError> {
    let length = |medium: &Medium| (medium.name(), medium.geometry().len);
    match media.iter().find(|medium| medium.geometry().len != media[0].geometry().len) {
        Some(other) => Err(SeveralError::OtherLength { first: length(&media[0]), other: length(other) }),
        None => Ok(()),
    }
}

/// Works on one of `of` media; where there are several, remarks and errors name it.
fn on_medium<T>(
    session: &DeviceSession,
    of: usize,
    report: &Report,
    work: impl FnOnce(&str, &Report) -> Result<T>,
) -> Result<T> {
    let device = session.target().name();
    match of {
        1 => work(device, report),
        _ => work(device, &report.for_medium(device)).map_err(|error| about(device, error)),
    }
}

impl Flash {
    pub fn run(self, report: &Report) -> Result<()> {
        self.output.run(report, |report| self.flash(report).map_err(hints::worded_resumable))
    }

    fn flash(&self, report: &Report) -> Result<()> {
        match self.image.open(report)? {
            Some(image) => self.copy(image, report),
            None => self.compose(report),
        }
    }

    fn copy(&self, image: Image, report: &Report) -> Result<()> {
        let overrides = self.target.image_overrides();
        let image = image.despite(overrides.clone());
        let destination = Destination::for_image(&image, self.image.path())?;
        let media = self.media(&destination, image.len().unwrap_or(0), report)?;
        examine(&image, &media, &overrides, report)?;
        let sessions = self.sessions(media, image.planned(), report)?;
        let options = self.write.session(Interrupt::listen(), report);
        let checking = report.progress();
        image.check(&checking)?;
        checking.finish();
        let fit = self.grow.fit(overrides.contains(&Override::CutOff));
        let (name, commit) = (image.name(), self.write.options(Unwritten::Zero, fit));
        let subject = SessionSource { name: &name, identity: image.identity() };
        let results = copy_to_each(&image, &sessions, |session, source| {
            on_medium(session, sessions.len(), report, |device, report| {
                let listeners = (&report.progress_of(device), report);
                let (done, summary) = session_args::run(session, subject, &options, listeners, |open| {
                    session.flash(open, source, commit)
                })?;
                self.grow.report(&done.fitted, report);
                let manifest = self.keep_manifest(&image, session, &done, report);
                Ok(Flashed::new(device, done, summary, manifest))
            })
        });
        image.remarks().iter().for_each(|remark| report.warn(remark));
        self.conclude(results, None, report)
    }

    fn compose(&self, report: &Report) -> Result<()> {
        // A device that must not be written is refused before any work is done. Only the board says whether it should be
        // a partition.
        self.target.reject_image_overrides()?;
        self.target.look()?;
        let mut inputs = self.inputs.load(&self.first_boot, report)?;
        let media = self.media(&Destination::for_inputs(&inputs), 0, report)?;
        media.iter().try_for_each(|medium| reject_other_sectors(&inputs, medium.geometry().sector_size))?;
        reject_other_lengths(&media)?;
        inputs.resources.verify = self.proof.verify_output();
        inputs.resources.trust_stat = self.cache.trust_stat;
        let (results, cache) = self.cache.serve(report, |cache| {
            inputs.resources.cache = cache;
            self.compose_onto(media, &inputs, report)
        })?;
        self.conclude(results, cache, report)
    }

    fn compose_onto(
        &self,
        media: Vec<Medium>,
        inputs: &Inputs,
        report: &Report,
    ) -> Result<Vec<Result<Flashed>>> {
        let staged = inputs.stage()?;
        staged.warnings.iter().for_each(|warning| report.warn(warning));
        self.proof.left_out(&staged.left_out, report)?;
        self.proof.containers(&staged.containers.all(), report)?;
        let composition = Composition::new(inputs, staged, Some(media[0].geometry().len))?;
        composition.warnings().iter().for_each(|warning| report.warn(warning));
        report.note(composition.plan());
        let path = self.manifest.clone().unwrap_or_else(|| {
            let name = inputs.board.name.replace('/', "-");
            inputs.images.join(format!("skiff-{name}.flashed.manifest.json"))
        });
        // A manifest that cannot be written must not be found out when the device is written.
        drop(prepare_text(&path, "")?);
        let sessions = self.sessions(media, None, report)?;
        let options = self.write.session(Interrupt::listen(), report);
        let name = format!("the image for `{}`", inputs.board.name);
        let subject = SessionSource { name: &name, identity: Some(composition.fingerprint()) };
        let commit = self.write.options(Unwritten::Discard, ResizePolicy::Nothing);
        let is_secret = inputs.preseed.is_secret()?;
        Ok(at_the_same_time(sessions.iter(), |session| {
            on_medium(session, sessions.len(), report, |device, report| {
                let listeners = (&report.progress_of(device), report);
                let ((manifest, done), summary) =
                    session_args::run(session, subject, &options, listeners, |open| {
                        composition.run(open.target(), true, open.listener(), open.commit_options(commit))
                    })?;
                session.reread_partitions();
                let prepared = prepare_manifest(&path, &manifest)?;
                if is_secret {
                    prepared.restrict().map_err(Io::on("set the mode of", &path))?;
                }
                publish(prepared, &path)?;
                session.candidate().map(|medium| kept_manifest::keep(medium, &manifest, report));
                Ok(Flashed::new(device, done, summary, Some(path.display().to_string())))
            })
        }))
    }

    /// Keeps a manifest of a device to which an image was copied: the one that was made with the image, or else one of
    /// what was written. Returns its path.
    fn keep_manifest(
        &self,
        image: &Image,
        session: &DeviceSession,
        done: &Done,
        report: &Report,
    ) -> Option<String> {
        let medium = session.candidate()?;
        let beside = self.image.path().and_then(|path| companion(path, ".manifest.json"));
        // One that cannot be read is as good as none: the medium is written.
        let made = beside.and_then(|path| Manifest::read(&path).ok());
        let manifest = made.filter(|manifest| image.len() == Some(manifest.disk_len)).unwrap_or_else(|| {
            let target = session.target();
            let (name, table) = (image.name(), table::read(&**target).ok().flatten());
            let name = name.rsplit('/').next().unwrap_or(&name);
            Manifest::for_copy(name, &done.record, target.geometry(), table.as_ref())
        });
        Some(kept_manifest::keep(medium, &manifest, report)?.display().to_string())
    }

    /// The media that will be written, if nothing speaks against writing `need` bytes to each. One that is not there
    /// stands for a disk or a partition, as the image needs it.
    fn media(&self, destination: &Destination, need: u64, report: &Report) -> Result<Vec<Medium>> {
        match self.simulate.target()? {
            Some(target) if matches!(destination, Destination::Nowhere) => {
                let (path, reason) = (target.name().into(), Reason::Archive);
                Err(Refused::Because { path, reason }.into())
            }
            Some(target) => Ok(vec![Medium::Simulated(target)]),
            None => {
                let candidates = self.target.candidates(destination, need, report)?;
                Ok(candidates.into_iter().map(|device| Medium::Device(Box::new(device))).collect())
            }
        }
    }

    /// The media, opened for writing if the user agrees.
    fn sessions(
        &self,
        media: Vec<Medium>,
        writes: Option<u64>,
        report: &Report,
    ) -> Result<Vec<DeviceSession>> {
        let (mut sessions, mut candidates) = (Vec::new(), Vec::new());
        for medium in media {
            match medium {
                Medium::Simulated(target) => sessions.push(DeviceSession::for_target(target)),
                Medium::Device(device) => candidates.push(*device),
            }
        }
        if !candidates.is_empty() {
            let devices = self.target.claim(&candidates, writes, report)?;
            let session = |(candidate, device)| DeviceSession::for_device(candidate, device);
            sessions.extend(candidates.into_iter().zip(devices).map(session));
        }
        Ok(sessions)
    }

    /// Reports what became of each medium; fails if one was not written.
    fn conclude(
        &self,
        results: Vec<Result<Flashed>>,
        cache: Option<cache::Summary>,
        report: &Report,
    ) -> Result<()> {
        let of = results.len();
        let (mut flashed, mut failed) = (Vec::new(), Vec::new());
        self.simulate.report_strikes(report);
        for result in results {
            match result {
                Ok(mut done) => {
                    done.cache.clone_from(&cache);
                    flashed.push(done);
                }
                Err(error) if of == 1 => return Err(error),
                Err(error) => failed.push(error),
            }
        }
        let text = flashed.iter().map(Flashed::to_string).collect::<Vec<_>>().join("\n");
        match flashed.as_slice() {
            [one] if of == 1 => report.document(&Document::One(one), text),
            several => report.document(&Document::Several { devices: several }, text),
        }
        let (count, kind) = (failed.len(), failed.first().map(Error::kind));
        for error in failed {
            report.error(&hints::worded(hints::worded_resumable(error)));
        }
        match kind {
            Some(kind) => Err(SeveralError::Some { failed: count, of, kind }.into()),
            None => Ok(()),
        }
    }
}
