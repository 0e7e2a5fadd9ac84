//! `assemble`.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::args::{InputArgs, beside};
use super::cache_args::CacheArgs;
use super::output_args::OutputArgs;
use super::preseed_args::PreSeedArgs;
use super::proof::ProofArgs;
use crate::board::{Board, Filesystem};
use crate::cache::Summary;
use crate::compose::{Composition, compress, publish, temporary_beside};
use crate::error::{Io, Result};
use crate::flash::{self, FlashOptions, OpenSession};
use crate::fs::compress::Compression;
use crate::interrupt::Interrupt;
use crate::manifest::Manifest;
use crate::report::Report;
use crate::stage::Inputs;
use crate::storage::{AtomicFile, ImageFile, sync_directory};
use crate::value::ByteSize;

#[derive(Debug, Args)]
pub struct Assemble {
    #[command(flatten)]
    inputs: InputArgs,

    #[command(flatten)]
    first_boot: PreSeedArgs,

    #[command(flatten)]
    proof: ProofArgs,

    /// Image to write; without it skiff-BOARD.img (.tar, .oci.tar for archives) among the images of the source.
    /// The block map and the manifest get its name with .bmap and .manifest.json.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Replace a file of that name even if it is no image of this program.
    #[arg(long)]
    force: bool,

    /// Size of the disk; without it the least that holds everything.
    #[arg(long, value_name = "SIZE")]
    size: Option<ByteSize>,

    /// Write the image a second time, compressed with zstd, as FILE.zst.
    #[arg(long)]
    zst: bool,

    /// Level for --zst.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(i32).range(1..=19))]
    zst_level: i32,

    #[command(flatten)]
    cache: CacheArgs,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Assembled {
    board: String,
    image: String,
    size: u64,
    written: u64,
    bmap: Option<String>,
    manifest: String,
    zst: Option<String>,
    summary: flash::Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Summary>,
}

impl std::fmt::Display for Assembled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (written, size) = (ByteSize(self.written), ByteSize(self.size));
        write!(f, "{}: {size}, {written} of it written, read back and right", self.image)?;
        self.bmap.as_ref().map_or(Ok(()), |bmap| write!(f, "\n{bmap}"))?;
        write!(f, "\n{}", self.manifest)?;
        self.zst.as_ref().map_or(Ok(()), |zst| write!(f, "\n{zst}"))
    }
}

impl Assemble {
    pub fn run(self, report: &Report) -> Result<()> {
        self.output.run(report, |report| self.compose(report))
    }

    fn compose(&self, report: &Report) -> Result<()> {
        let mut inputs = self.inputs.load(&self.first_boot, report)?;
        inputs.resources.verify = self.proof.verify_output();
        inputs.resources.trust_stat = self.cache.trust_stat;
        let (assembled, cache) = self.cache.serve(report, |cache| {
            inputs.resources.cache = cache;
            self.assemble(&inputs, report)
        })?;
        let assembled = Assembled { cache, ..assembled };
        report.document(&assembled, &assembled);
        Ok(())
    }

    fn assemble(&self, inputs: &Inputs, report: &Report) -> Result<Assembled> {
        let staged = inputs.stage()?;
        staged.warnings.iter().for_each(|warning| report.warn(warning));
        self.proof.left_out(&staged.left_out, report)?;
        self.proof.containers(&staged.containers.all(), report)?;
        let image = self.out.clone().unwrap_or_else(|| {
            inputs.images.join(format!(
                "skiff-{}.{}",
                inputs.board.name.replace('/', "-"),
                extension(&inputs.board)
            ))
        });
        let archive = inputs.board.partitions.iter().any(|partition| partition.filesystem.is_archive());
        let zst = self.zst.then(|| beside(&image, ".zst"));
        let (bmap, manifest_path) = (beside(&image, ".bmap"), beside(&image, ".manifest.json"));
        // An image that this program made may be made again; any other file is somebody's.
        let ours = manifest_path.is_file();
        let replace = self.force || ours;
        ImageFile::ensure_free(&image, replace)?;
        // All names are checked before the first file gets its own.
        for path in [&bmap, &manifest_path].into_iter().chain(&zst) {
            ImageFile::ensure_free(path, replace)?;
        }
        let composition = Composition::new(inputs, staged, self.size.map(|size| size.0))?;
        composition.warnings().iter().for_each(|warning| report.warn(warning));
        let file = ImageFile::create(&image, composition.geometry(), replace)?;
        if inputs.preseed.is_secret()? {
            file.restrict()?;
            report
                .note(format!("only you can read `{}`: it has secrets for the first boot", image.display()));
        }
        let (interrupt, progress) = (Interrupt::listen(), report.progress());
        let written = OpenSession::measure(&file, &interrupt, &progress, |open| {
            let options = open.commit_options(FlashOptions::default());
            composition.run_mapped(open.target(), open.listener(), options)
        });
        progress.finish();
        let ((manifest, record, map), summary) = written?;
        // All three are complete before the first gets its name.
        let map = prepare_text(&bmap, &map.to_xml())?;
        let manifest_text = prepare_manifest(&manifest_path, &manifest)?;
        // Digests of secrets help who guesses them.
        for (beside, path) in [(&map, &bmap), (&manifest_text, &manifest_path)] {
            beside.restrict_as(file.file()).map_err(Io::on("set the mode of", path))?;
        }
        if ours {
            // A manifest or compressed copy of an older image must never stand beside a newer one.
            for stale in [&manifest_path, &bmap, &beside(&image, ".zst")] {
                remove_stale(stale)?;
            }
            // Nor after the power failed.
            sync_directory(&image)?;
        }
        file.finish()?;
        // Nobody copies an archive by blocks.
        let bmap = (!archive).then_some(bmap);
        bmap.as_ref().map_or(Ok(()), |bmap| publish(map, bmap))?;
        publish(manifest_text, &manifest_path)?;
        if let Some(zst) = &zst {
            compress(&image, &record, zst, self.zst_level, &interrupt)?;
        }
        Ok(Assembled {
            board: inputs.board.name.clone(),
            size: manifest.disk_len,
            written: record.len(),
            manifest: manifest_path.display().to_string(),
            image: image.display().to_string(),
            bmap: bmap.map(|bmap| bmap.display().to_string()),
            zst: zst.map(|zst| zst.display().to_string()),
            summary,
            cache: None,
        })
    }
}

/// Returns the extension of a file of that kind.
fn extension(board: &Board) -> String {
    let compressed = |compression: Compression| match compression {
        Compression::None => String::new(),
        Compression::Gzip(_) => ".gz".into(),
        other => format!(".{}", if let Compression::Zstd(_) = other { "zst" } else { other.name() }),
    };
    match board.partitions.first().map(|partition| &partition.filesystem) {
        Some(Filesystem::Tar { compression }) => format!("tar{}", compressed(*compression)),
        Some(Filesystem::Oci { .. }) => "oci.tar".into(),
        _ => "img".into(),
    }
}

/// Removes what an earlier run left, if it did.
fn remove_stale(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Io::on("remove", path)(error).into())
        }
        _ => Ok(()),
    }
}

/// Writes a manifest under a temporary name beside its own.
pub fn prepare_manifest(path: &Path, manifest: &Manifest) -> Result<AtomicFile> {
    let mut temporary = temporary_beside(path)?;
    manifest.write(BufWriter::new(&mut temporary)).map_err(Io::on("write", path))?;
    temporary.as_file().sync_all().map_err(Io::on("write", path))?;
    Ok(temporary)
}

/// Writes a text under a temporary name beside its own.
pub fn prepare_text(path: &Path, text: &str) -> Result<AtomicFile> {
    let mut temporary = temporary_beside(path)?;
    temporary.write_all(text.as_bytes()).map_err(Io::on("write", path))?;
    temporary.as_file().sync_all().map_err(Io::on("write", path))?;
    Ok(temporary)
}
