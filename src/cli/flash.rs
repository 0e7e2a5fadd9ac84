//! `flash`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::args::{InputArgs, beside};
use super::assemble::{prepare_manifest, prepare_text};
use super::cache_args::CacheArgs;
use super::preseed_args::PreSeedArgs;
use super::proof::ProofArgs;
use crate::board::TableKind;
use crate::cache::Summary;
use crate::compose::{Composition, publish};
use crate::error::{Error, Family, Io, Result};
use crate::flash::{Bmap, Candidate, FlashError, Host, Image, Reason, Refused, existing};
use crate::inspect::{Content, inspect};
use crate::manifest::Manifest;
use crate::plan::PlanError;
use crate::report::{Answer, Report};
use crate::stage::Inputs;
use crate::table::{self, CopyState, Scheme};
use crate::target::{CacheBypass, Device, DeviceError, ReadOnly};
use crate::value::ByteSize;

#[derive(Debug, Args)]
pub struct Flash {
    /// Block device of the whole medium, for example /dev/sdz; for boards without a partition table that of the
    /// partition, for example /dev/sdz3.
    device: PathBuf,

    /// Copy this ready image instead of composing; FILE.bmap beside it tells what can be left out.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["arch", "source", "images", "seed", "partuuid", "threads", "verify_output", "strict", "ssh_keys", "hostname", "wifi", "persist_dir"])]
    image: Option<PathBuf>,

    /// Where to write the manifest of what was composed; without it beside the images of the source.
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    manifest: Option<PathBuf>,

    /// Do not ask.
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    inputs: InputArgs,

    #[command(flatten)]
    first_boot: PreSeedArgs,

    #[command(flatten)]
    cache: CacheArgs,

    #[command(flatten)]
    proof: ProofArgs,
}

/// Reading back is only worth what it says if it does not come from memory.
fn warn_about_cache(device: &Device, report: &Report) {
    if device.cache_bypass() == CacheBypass::Dropped {
        report.warn(
            "this device cannot be read past the page cache; pages are dropped before they are read back",
        );
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum ConfirmError {
    #[error("`{}` was not written: the answer was not `{name}`", device.display())]
    Declined { device: PathBuf, name: String },
    #[error("`{}` was not written: there is no terminal to ask on", device.display())]
    NoTerminal { device: PathBuf },
}

impl crate::error::Report for ConfirmError {
    fn family(&self) -> Family {
        Family::Refused
    }

    fn hint(&self) -> Option<String> {
        Some("give `--yes` to write without being asked".into())
    }
}

#[derive(Serialize)]
struct Flashed {
    device: String,
    written: u64,
    manifest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Summary>,
}

impl std::fmt::Display for Flashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (device, written) = (&self.device, ByteSize(self.written));
        write!(f, "{device}: {written} written, read back from the medium and right")?;
        self.manifest.as_ref().map_or(Ok(()), |manifest| write!(f, "\n{manifest}"))
    }
}

/// What an image is for.
enum Goes {
    /// A whole disk.
    Disk,
    /// A partition, perhaps one that the image names.
    Partition { partuuid: Option<String> },
    /// No device.
    Nowhere,
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
    fn of_image(path: &Path) -> Result<Goes> {
        let found = inspect(&ReadOnly::open(path)?)?;
        let filesystem =
            |content: &Content| matches!(content, Content::Fat(_) | Content::Ext4(_) | Content::Squashfs(_));
        if found.partitions.iter().any(|whole| matches!(whole.content, Content::Tar(_))) {
            return Ok(Goes::Nowhere);
        }
        if found.table.is_some() || !found.partitions.iter().any(|whole| filesystem(&whole.content)) {
            return Ok(Goes::Disk);
        }
        let manifest = beside(path, ".manifest.json");
        let partuuid = if manifest.is_file() { Manifest::read(&manifest)?.partuuid } else { None };
        Ok(Goes::Partition { partuuid })
    }
}

/// Sectors of another size are told before any work is done.
fn reject_other_sectors(inputs: &Inputs, candidate: &Candidate) -> Result<()> {
    let (board, wanted, disk) = (&inputs.board, inputs.board.sector_size, candidate.sector_size);
    match wanted == disk {
        true => Ok(()),
        false => Err(PlanError::SectorSize { board: board.name.clone(), wanted, disk }.into()),
    }
}

/// What a failure leaves of a partition is not what it leaves of a disk.
fn about(candidate: &Candidate) -> impl FnOnce(Error) -> Error {
    let partition = candidate.part.is_some();
    move |error| match error.downcast::<FlashError>() {
        Ok(error) if partition => error.of_partition().into(),
        Ok(error) => error.into(),
        Err(error) => error,
    }
}

impl Flash {
    pub fn run(self, report: &Report) -> Result<()> {
        let flashed = match &self.image {
            Some(image) => self.copy(image, report)?,
            None => self.compose(report)?,
        };
        report.document(&flashed, &flashed);
        Ok(())
    }

    fn copy(&self, path: &Path, report: &Report) -> Result<Flashed> {
        let bmap = beside(path, ".bmap");
        let bmap = match bmap.is_file() {
            true => Some(Bmap::parse(&std::fs::read_to_string(&bmap).map_err(Io::on("read", &bmap))?)?),
            false => None,
        };
        let image = Image::open(path, bmap)?;
        let candidate = self.candidate(&Goes::of_image(path)?, image.len())?;
        let device = self.claim(&candidate, report)?;
        let progress = report.progress();
        warn_about_cache(&device, report);
        let record = image.copy(&device, true, &progress).map_err(about(&candidate))?;
        progress.finish();
        if candidate.part.is_some() {
            return Ok(self.flashed(record.len(), None));
        }
        if let Some(Scheme::Gpt { backup: CopyState::Misplaced { found, expected }, .. }) =
            table::read(&device)?.map(|table| table.scheme)
        {
            report.warn(format!(
                "the backup of the GPT is at byte {found}, as in the image; `sgdisk --move-second-header` moves it to \
                 byte {expected}, the end of this device"
            ));
        }
        device.reread_partitions();
        Ok(self.flashed(record.len(), None))
    }

    fn compose(&self, report: &Report) -> Result<Flashed> {
        // A device that must not be written is refused before any work is done. Only the board tells whether it
        // should be a partition.
        match Host::new().candidate(&self.device, 0) {
            Ok(_) | Err(Refused::Because { reason: Reason::Partition { .. }, .. }) => {}
            Err(refused) => return Err(refused.into()),
        }
        let mut inputs = self.inputs.load(&self.first_boot, report)?;
        let candidate = self.candidate(&Goes::of_inputs(&inputs), 0)?;
        reject_other_sectors(&inputs, &candidate)?;
        inputs.resources.verify = self.proof.verify_output();
        inputs.resources.trust_stat = self.cache.trust_stat;
        let (flashed, cache) = self.cache.serve(report, |cache| {
            inputs.resources.cache = cache;
            self.compose_onto(candidate, &inputs, report)
        })?;
        Ok(Flashed { cache, ..flashed })
    }

    fn compose_onto(&self, candidate: Candidate, inputs: &Inputs, report: &Report) -> Result<Flashed> {
        let staged = inputs.stage()?;
        staged.warnings.iter().for_each(|warning| report.warn(warning));
        self.proof.left_out(&staged.left_out, report)?;
        let composition = Composition::new(inputs, staged, Some(candidate.len))?;
        composition.warnings().iter().for_each(|warning| report.warn(warning));
        report.note(composition.plan());
        let path = self.manifest.clone().unwrap_or_else(|| {
            let name = inputs.board.name.replace('/', "-");
            inputs.images.join(format!("skiff-{name}.flashed.manifest.json"))
        });
        // What cannot be told about the device must not be found out when it is written.
        drop(prepare_text(&path, "")?);
        let device = self.claim(&candidate, report)?;
        let progress = report.progress();
        warn_about_cache(&device, report);
        let (manifest, record) = composition.run(&device, true, &progress).map_err(about(&candidate))?;
        progress.finish();
        if candidate.part.is_none() {
            device.reread_partitions();
        }
        publish(prepare_manifest(&path, &manifest)?, &path)?;
        Ok(self.flashed(record.len(), Some(path.display().to_string())))
    }

    fn flashed(&self, written: u64, manifest: Option<String>) -> Flashed {
        Flashed { device: self.device.display().to_string(), written, manifest, cache: None }
    }

    /// The device, if it is what the image goes to and nothing speaks against writing it.
    fn candidate(&self, goes: &Goes, need: u64) -> Result<Candidate> {
        let refuse = |reason| Err(Refused::Because { path: self.device.clone(), reason }.into());
        let partuuid = match goes {
            Goes::Disk => return Ok(Host::new().candidate(&self.device, need)?),
            Goes::Nowhere => return refuse(Reason::Archive),
            Goes::Partition { partuuid } => partuuid,
        };
        let candidate = Host::new().partition(&self.device, need)?;
        let part = candidate.part.as_ref().expect("a partition is on a disk");
        let entry = existing(&ReadOnly::open(&part.disk)?, part.number)?;
        match existing::reject(part.partuuid.as_deref(), entry.as_ref(), partuuid.as_deref()) {
            Some(reason) => refuse(reason),
            None => Ok(candidate),
        }
    }

    /// Opens the device for writing if the user agrees and it is still the one that was checked: cards are
    /// changed and cables pulled while a question waits.
    fn claim(&self, candidate: &Candidate, report: &Report) -> Result<Device> {
        self.confirm(candidate, report)?;
        let device = Device::open(&candidate.path)?;
        device.ensure_is(&candidate.number, candidate.len)?;
        let now = match candidate.part {
            Some(_) => Host::new().partition_of(&candidate.number, &self.device, candidate.len)?,
            None => Host::new().candidate_of(&candidate.number, &self.device, candidate.len)?,
        };
        if now != *candidate {
            return Err(DeviceError::Exchanged(self.device.clone()).into());
        }
        Ok(device)
    }

    fn confirm(&self, candidate: &Candidate, report: &Report) -> Result<()> {
        let mut loss = format!("everything on this device will be lost:\n  {candidate}");
        if candidate.part.is_some() {
            let now = inspect(&ReadOnly::open(&candidate.path)?)?;
            loss.extend(now.partitions.first().map(|now| format!("\n  now in it: {}", now.content)));
        }
        if self.yes {
            report.note(loss);
            return Ok(());
        }
        let (device, name) = (self.device.clone(), candidate.name.clone());
        let question = format!("{loss}\ntype the name of the device ({name}) to go on:");
        match report.confirm(question, &name) {
            Answer::Yes => Ok(()),
            Answer::No => Err(ConfirmError::Declined { device, name }.into()),
            Answer::NoTerminal => Err(ConfirmError::NoTerminal { device }.into()),
        }
    }
}
