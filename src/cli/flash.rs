//! `flash`.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::args::InputArgs;
use super::assemble::{prepare_manifest, prepare_text};
use super::cache_args::CacheArgs;
use super::grow_args::GrowArgs;
use super::image_args::ImageArgs;
use super::output_args::OutputArgs;
use super::preseed_args::PreSeedArgs;
use super::proof::ProofArgs;
use super::simulate_args::SimulateArgs;
use super::target_args::{Goes, TargetArgs};
use super::write_args::{Lane, Run, WriteArgs};
use crate::board::TableKind;
use crate::cache;
use crate::compose::{Composition, publish};
use crate::error::{ErrorKind, Result};
use crate::flash::{Broadcast, Commit, Done, ResizePolicy, Rewritten, Summary, Unwritten};
use crate::interrupt::Interrupt;
use crate::manifest::Manifest;
use crate::plan::PlanError;
use crate::report::Report;
use crate::source::{Image, Source};
use crate::source::{ImageKind, companion};
use crate::stage::Inputs;
use crate::storage::Geometry;
use crate::value::ByteSize;

/// How long a medium that takes nothing may hold up the others.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub struct Flash {
    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    simulate: SimulateArgs,

    #[command(flatten)]
    image: ImageArgs,

    /// Where to write the manifest of what was composed; without it beside the images of the source.
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

/// Why not all media were written.
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

/// What became of one medium.
#[derive(Serialize)]
struct Flashed {
    device: String,
    written: u64,
    #[serde(skip_serializing_if = "is_zero")]
    unchanged: u64,
    #[serde(skip_serializing_if = "is_zero")]
    resumed: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rewritten: Vec<Rewritten>,
    summary: Summary,
    manifest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<cache::Summary>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Flashed {
    fn new(device: &str, done: Done, summary: Summary, manifest: Option<String>) -> Flashed {
        let Done { record, unchanged, resumed, rewritten, .. } = done;
        let device = device.into();
        Flashed {
            device,
            written: record.len(),
            unchanged,
            resumed,
            rewritten,
            summary,
            manifest,
            cache: None,
        }
    }
}

impl std::fmt::Display for Flashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (device, written) = (&self.device, ByteSize(self.written));
        write!(f, "{device}: {written} written, read back from the medium and right")?;
        for (bytes, text) in [
            (self.unchanged, "of it were right before"),
            (self.resumed, "of it were written by an earlier run"),
        ] {
            if bytes > 0 {
                write!(f, "\n  {} {text}", ByteSize(bytes))?;
            }
        }
        for Rewritten { damage, times } in &self.rewritten {
            write!(f, "\n  written again {times} times: {damage}")?;
        }
        for spent in self.summary.phases.iter().filter(|spent| spent.bytes > 0) {
            write!(f, "\n  {spent}")?;
        }
        if let Some(slowest) = self.summary.slowest.first() {
            write!(f, "\n  slowest: {slowest}")?;
        }
        self.manifest.as_ref().map_or(Ok(()), |manifest| write!(f, "\n{manifest}"))
    }
}

/// All of them, as a document.
#[derive(Serialize)]
#[serde(untagged)]
enum Document<'a> {
    One(&'a Flashed),
    Several { devices: &'a [Flashed] },
}

impl Goes {
    fn of_inputs(inputs: &Inputs) -> Goes {
        match inputs.board.table {
            _ if inputs.board.partitions.iter().any(|p| p.filesystem.is_archive()) => Goes::Nowhere,
            TableKind::None => Goes::Partition { partuuid: inputs.partuuid.clone() },
            TableKind::Mbr | TableKind::Gpt => Goes::Disk,
        }
    }

    /// A filesystem without a table is for a partition; the manifest beside it knows for which.
    fn of_image(image: &Image, path: Option<&Path>) -> Result<Goes> {
        Ok(match image.kind()? {
            ImageKind::Disk => Goes::Disk,
            ImageKind::Archive => Goes::Nowhere,
            ImageKind::Filesystem => {
                let manifest = path.and_then(|path| companion(path, ".manifest.json"));
                let partuuid = manifest.map(|path| Manifest::read(&path)).transpose()?;
                Goes::Partition { partuuid: partuuid.and_then(|manifest| manifest.partuuid) }
            }
        })
    }
}

/// Sectors of another size are told before any work is done.
fn reject_other_sectors(inputs: &Inputs, disk: u32) -> Result<()> {
    let (board, wanted) = (&inputs.board, inputs.board.sector_size);
    match wanted == disk {
        true => Ok(()),
        false => Err(PlanError::SectorSize { board: board.name.clone(), wanted, disk }.into()),
    }
}

fn reject_other_lengths(media: &[(String, Geometry)]) -> Result<(), SeveralError> {
    let length = |(name, geometry): &(String, Geometry)| (name.clone(), geometry.len);
    match media.iter().find(|(_, geometry)| geometry.len != media[0].1.len) {
        Some(other) => Err(SeveralError::OtherLength { first: length(&media[0]), other: length(other) }),
        None => Ok(()),
    }
}

impl Flash {
    pub fn run(self, report: &Report) -> Result<()> {
        let report = self.output.report(report)?;
        self.flash(&report).inspect_err(|error| report.failed(error))
    }

    fn flash(&self, report: &Report) -> Result<()> {
        match self.image.open(report)? {
            Some(image) => self.copy(&image, report),
            None => self.compose(report),
        }
    }

    fn copy(&self, image: &Image, report: &Report) -> Result<()> {
        let goes = Goes::of_image(image, self.image.path())?;
        let lanes = self.lanes(&goes, image.len().unwrap_or(0), image.planned(), report)?;
        lanes.iter().try_for_each(|lane| image.ensure_fits(lane.target()))?;
        let interrupt = Interrupt::listen();
        let checking = report.progress();
        image.check(&checking)?;
        checking.finish();
        let run = Run {
            source: image.name(),
            identity: image.identity(),
            unwritten: Unwritten::Zero,
            fit: self.grow.fit(),
            interrupt: &interrupt,
        };
        let results = match lanes.as_slice() {
            [lane] => vec![self.copy_onto(lane, image, &run, report)],
            lanes => Broadcast::new(image, lanes.len(), PATIENCE).run(|readers| {
                each(lanes.iter().zip(readers), |(lane, reader)| self.copy_onto(lane, &reader, &run, report))
            }),
        };
        image.remarks().iter().for_each(|remark| report.warn(remark));
        self.conclude(results, None, report)
    }

    fn copy_onto(&self, lane: &Lane, source: &dyn Source, run: &Run, report: &Report) -> Result<Flashed> {
        let progress = report.progress_of(lane.target().name());
        let (done, summary) = self.write.write(lane, run, &progress, report, |meter, options| {
            Commit { target: meter, used: true, regions: &[], listener: meter, options }.run(source)
        })?;
        progress.finish();
        self.grow.tell(&done.fitted, report);
        lane.finish();
        Ok(Flashed::new(lane.target().name(), done, summary, None))
    }

    fn compose(&self, report: &Report) -> Result<()> {
        // A device that must not be written is refused before any work is done. Only the board tells whether it
        // should be a partition.
        self.target.look()?;
        let mut inputs = self.inputs.load(&self.first_boot, report)?;
        let media = self.media(&Goes::of_inputs(&inputs), report)?;
        media.iter().try_for_each(|(_, geometry)| reject_other_sectors(&inputs, geometry.sector_size))?;
        reject_other_lengths(&media)?;
        inputs.resources.verify = self.proof.verify_output();
        inputs.resources.trust_stat = self.cache.trust_stat;
        let (results, cache) = self.cache.serve(report, |cache| {
            inputs.resources.cache = cache;
            self.compose_onto(media[0].1.len, &inputs, report)
        })?;
        self.conclude(results, cache, report)
    }

    fn compose_onto(&self, len: u64, inputs: &Inputs, report: &Report) -> Result<Vec<Result<Flashed>>> {
        let staged = inputs.stage()?;
        staged.warnings.iter().for_each(|warning| report.warn(warning));
        self.proof.left_out(&staged.left_out, report)?;
        let composition = Composition::new(inputs, staged, Some(len))?;
        composition.warnings().iter().for_each(|warning| report.warn(warning));
        report.note(composition.plan());
        let path = self.manifest.clone().unwrap_or_else(|| {
            let name = inputs.board.name.replace('/', "-");
            inputs.images.join(format!("skiff-{name}.flashed.manifest.json"))
        });
        // What cannot be told about the device must not be found out when it is written.
        drop(prepare_text(&path, "")?);
        let lanes = self.lanes(&Goes::of_inputs(inputs), 0, None, report)?;
        let interrupt = Interrupt::listen();
        let run = Run {
            source: format!("the image for `{}`", inputs.board.name),
            identity: Some(composition.fingerprint()),
            unwritten: Unwritten::Discard,
            fit: ResizePolicy::Nothing,
            interrupt: &interrupt,
        };
        Ok(each(lanes.iter(), |lane| {
            let progress = report.progress_of(lane.target().name());
            let ((manifest, done), summary) =
                self.write.write(lane, &run, &progress, report, |meter, options| {
                    composition.run(meter, true, meter, options)
                })?;
            progress.finish();
            lane.finish();
            publish(prepare_manifest(&path, &manifest)?, &path)?;
            Ok(Flashed::new(lane.target().name(), done, summary, Some(path.display().to_string())))
        }))
    }

    /// Names and sizes of what will be written.
    fn media(&self, goes: &Goes, report: &Report) -> Result<Vec<(String, Geometry)>> {
        if let Some(target) = self.simulate.target()? {
            return Ok(vec![(target.name().into(), target.geometry())]);
        }
        let candidates = self.target.candidates(goes, 0, report)?;
        let medium = |candidate: &crate::device::Candidate| {
            let geometry = Geometry { len: candidate.len, sector_size: candidate.sector_size };
            (candidate.path.display().to_string(), geometry)
        };
        Ok(candidates.iter().map(medium).collect())
    }

    /// The media, opened for writing.
    fn lanes(&self, goes: &Goes, need: u64, writes: Option<u64>, report: &Report) -> Result<Vec<Lane>> {
        if let Some(target) = self.simulate.target()? {
            return Ok(vec![Lane::of_simulation(target)]);
        }
        let candidates = self.target.candidates(goes, need, report)?;
        let devices = self.target.claim(&candidates, writes, report)?;
        let lane = |(candidate, device)| Lane::of_device(candidate, device, report);
        Ok(candidates.into_iter().zip(devices).map(lane).collect())
    }

    /// Tells what became of each medium; fails if one was not written.
    fn conclude(
        &self,
        results: Vec<Result<Flashed>>,
        cache: Option<cache::Summary>,
        report: &Report,
    ) -> Result<()> {
        let of = results.len();
        let (mut flashed, mut failed) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(done) => flashed.push(Flashed { cache: cache.clone(), ..done }),
                Err(error) if of == 1 => return Err(error),
                Err(error) => failed.push(error),
            }
        }
        let text = flashed.iter().map(Flashed::to_string).collect::<Vec<_>>().join("\n");
        match flashed.as_slice() {
            [one] if of == 1 => report.document(&Document::One(one), text),
            several => report.document(&Document::Several { devices: several }, text),
        }
        failed.iter().for_each(|error| report.error(error));
        match failed.first() {
            Some(first) => Err(SeveralError::Some { failed: failed.len(), of, kind: first.kind() }.into()),
            None => Ok(()),
        }
    }
}

/// Runs something for each item, all at the same time.
fn each<I: Send, T: Send>(items: impl Iterator<Item = I>, run: impl Fn(I) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = items.map(|item| scope.spawn(move || run(item))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, T>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}
