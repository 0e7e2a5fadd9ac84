//! `demo`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::args::threads;
use crate::compose::Composition;
use crate::demo;
use crate::error::{Io, Result};
use crate::flash::FlashOptions;
use crate::fs::squashfs::Resources;
use crate::inspect::{Verdict, inspect, verify};
use crate::layer::{self, Environment};
use crate::manifest::Manifest;
use crate::persist::PreSeed;
use crate::report::Report;
use crate::rootfs::{Handoff, Output};
use crate::stage::{Inputs, TemplateVariables};
use crate::storage::{Geometry, ImageFile, ReadOnly};
use crate::tree::scan::HostXattrs;
use crate::value::{ByteSize, Seed};

/// Time of all timestamps of the demo: 2024-01-01.
const TIMESTAMP: i64 = 1_704_067_200;
/// Length of the file that stands for a card.
const CARD_LEN: u64 = 128 << 20;

#[derive(Debug, Args)]
pub struct Demo {
    /// Keep what was made in this directory, which must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Serialize)]
struct Shown {
    image_bytes: u64,
    card_bytes: u64,
    intact: Verdict,
    damaged_byte: u64,
    damaged: Verdict,
}

impl Demo {
    pub fn run(self, report: &Report) -> Result<()> {
        let temporary = tempfile::tempdir().map_err(Io::on("create a directory in", std::env::temp_dir()))?;
        let directory = self.keep.as_deref().unwrap_or(temporary.path());
        ensure_empty(directory)?;
        let inputs = inputs(directory)?;
        let progress = report.progress();

        report.note("1. compose a disk image from a Buildroot-shaped directory, one layer and a board");
        let image = directory.join("demo.img");
        let composition = Composition::new(&inputs, inputs.stage()?, None)?;
        report.note(composition.plan());
        let image_bytes = write(&composition, &image, &progress)?.disk_len;
        progress.finish();

        report.note(format!("\n2. compose it again, straight onto a card of {}", ByteSize(CARD_LEN)));
        let card = directory.join("card");
        let composition = Composition::new(&inputs, inputs.stage()?, Some(CARD_LEN))?;
        let manifest = write(&composition, &card, &progress)?;
        progress.finish();
        report.note(inspect(&ReadOnly::open(&card)?)?);

        report.note("\n3. read the card back and compare it with its manifest");
        let medium = ReadOnly::open(&card)?;
        let intact = verify(&medium, &medium, &manifest, &progress)?;
        progress.finish();
        report.note(&intact);

        let damaged_byte = victim(&manifest);
        report.note(format!("\n4. flip one bit in byte {damaged_byte} of the card and compare again"));
        flip(&card, damaged_byte)?;
        let medium = ReadOnly::open(&card)?;
        let damaged = verify(&medium, &medium, &manifest, &progress)?;
        progress.finish();

        let text = format!("{damaged}\nthe damage was caught, and the file it hit was named");
        let shown = Shown { image_bytes, card_bytes: CARD_LEN, intact, damaged_byte, damaged };
        report.document(&shown, text);
        Ok(())
    }
}

/// `--keep` names a directory that holds something.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Refused, hint = "give a directory that is empty or does not exist")]
#[error("`{}` is not empty", .0.display())]
struct NotEmpty(PathBuf);

/// Nothing of the user's is mixed with, or replaced by, what the demo makes.
fn ensure_empty(directory: &Path) -> Result<()> {
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Io::on("list", directory)(error).into()),
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(NotEmpty(directory.into()).into()),
            None => Ok(()),
        },
    }
}

fn inputs(directory: &Path) -> Result<Inputs> {
    let demo = demo::write(directory)?;
    let overrides = directory.join("overrides");
    let roots = layer::Roots { configs: demo.layers, overrides, project: directory.into() };
    let layers = layer::discover(&Environment::default(), &roots)?.resolve(demo.chain, "demo")?;
    let board = demo::board()?;
    let (arch, images) = (board.pick_arch(None)?, demo.output.join("images"));
    let variables = TemplateVariables::new(&board, arch, &Seed("demo".into()), &images, None)?;
    Ok(Inputs {
        slots: None,
        arch,
        board: variables.fill(board)?,
        variables,
        layers,
        images,
        output: Output::read(&demo.output, Handoff::Target)?,
        seed: Seed("demo".into()),
        partuuid: None,
        timestamp: TIMESTAMP,
        host_xattrs: HostXattrs::OmitPortable,
        preseed: PreSeed::default(),
        resources: Resources { threads: threads(None), ..Default::default() },
    })
}

fn write(composition: &Composition, path: &Path, listener: &dyn crate::event::Listener) -> Result<Manifest> {
    let Geometry { len, sector_size } = composition.geometry();
    let file = ImageFile::create(path, Geometry { len, sector_size }, true)?;
    let (manifest, _) = composition.run(&file, false, listener, FlashOptions::default())?;
    file.finish()?;
    Ok(manifest)
}

/// A byte in the middle of the largest extent of a partition that has an artifact with files inside.
fn victim(manifest: &Manifest) -> u64 {
    let nested = |region: &&crate::manifest::RegionEntry| {
        let is_image =
            |name: &str| manifest.artifact(name).is_some_and(|artifact| artifact.format == "squashfs");
        region.files.iter().any(|file| file.artifact.as_deref().is_some_and(is_image))
    };
    let region = manifest.regions.iter().find(nested).expect("the demo board has a squashfs in a partition");
    let digested = region.extents.iter().filter(|extent| extent.blake3.is_some());
    let largest = digested.max_by_key(|extent| extent.len).expect("the partition is not empty");
    largest.offset + largest.len / 2
}

fn flip(path: &Path, offset: u64) -> Result<(), Io> {
    let file = File::options().read(true).write(true).open(path).map_err(Io::on("open", path))?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).map_err(Io::on("read", path))?;
    file.write_all_at(&[byte[0] ^ 1], offset).map_err(Io::on("write", path))
}
