//! `mkfs squashfs|fat|ext4|cpio SOURCE OUT`: one filesystem from one tree.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::{HostXattrsArg, MaybeTimestamp, thread_count, threads, timestamp};
use super::cache_args::CacheArgs;
use super::proof::{ProofArgs, StrictArgs};
use crate::cache::Summary;
use crate::compose::{publish, temporary_beside};
use crate::error::{Error, Io, Result};
use crate::fs::compress::Compression;
use crate::fs::{Loss, WrittenFile, cpio, ext4, fat, squashfs};
use crate::report::Report;
use crate::storage::{Geometry, ImageFile, Region, Target};
use crate::tree::scan::{HardLinks, HostXattrs, Ownership, ScanOptions};
use crate::tree::{self, Tree};
use crate::value::{ByteSize, Seed, Timestamp};

#[derive(Debug, Subcommand)]
pub enum Mkfs {
    /// squashfs 4.0.
    Squashfs(Squashfs),
    /// FAT16 or FAT32.
    Fat(Fat),
    /// ext4.
    Ext4(Ext4),
    /// newc archive, as for an initramfs.
    Cpio(Cpio),
}

/// Source of every filesystem.
#[derive(Debug, Args)]
struct Common {
    /// Directory or uncompressed tar archive.
    source: PathBuf,

    /// File to write; it gets its name when it is complete.
    out: PathBuf,

    /// Replace an existing file.
    #[arg(long)]
    force: bool,

    /// Make root the owner of everything.
    #[arg(long)]
    all_root: bool,

    /// Labels and measurements of the build host on the files of a directory, such as security.selinux and security.ima:
    /// `keep` takes them into the image, `drop` leaves them out. Without this they are left out with a warning, and an
    /// error with --strict. Those of an archive belong to its system and are taken.
    #[arg(long, value_name = "HOW")]
    host_xattrs: Option<HostXattrsArg>,

    /// Set all times to this, in seconds since 1970; without it, times are kept and the filesystem is made at 0.
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", value_parser = timestamp)]
    timestamp: Option<MaybeTimestamp>,
}

#[derive(Debug, Args)]
pub struct Squashfs {
    #[command(flatten)]
    common: Common,

    /// Compressor: zstd, gzip, xz, lz4, lz4hc or stored, with a level as in `zstd:15`; without it zstd:9.
    ///
    /// `zstd:tuned` is as small as zstd:15 in blocks of 128 KiB, for two thirds of the work; `xz:6+arm` tries a filter
    /// for machine code too (x86, arm, armthumb, arm64 or powerpc).
    #[arg(long)]
    comp: Option<String>,

    /// Level of the compressor.
    #[arg(long)]
    level: Option<u32>,

    /// Data block size, from 4K to 1M.
    #[arg(long, default_value_t = ByteSize(squashfs::DEFAULT_BLOCK_SIZE.into()))]
    block: ByteSize,

    /// Threads that compress and hash, in all; without it one for each core. The bytes do not depend on it.
    #[arg(long, value_name = "N", value_parser = thread_count())]
    threads: Option<u16>,

    /// Pack the ends of large files together with small files: smaller, a little slower to read.
    #[arg(long)]
    pack_tails: bool,

    #[command(flatten)]
    cache: CacheArgs,

    #[command(flatten)]
    proof: ProofArgs,
}

#[derive(Debug, Args)]
pub struct Fat {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    volume: VolumeArgs,

    /// Entry size: 16 or 32; without it by the size of the filesystem.
    #[arg(long, value_name = "BITS", value_parser = ["16", "32"])]
    bits: Option<String>,

    #[command(flatten)]
    strict: StrictArgs,
}

#[derive(Debug, Args)]
pub struct Ext4 {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    volume: VolumeArgs,

    #[command(flatten)]
    strict: StrictArgs,
}

/// Flags of filesystems with a size and a label.
#[derive(Debug, Args)]
struct VolumeArgs {
    /// Size of the filesystem; without it the least that holds everything.
    #[arg(long)]
    size: Option<ByteSize>,

    /// Volume label.
    #[arg(long, default_value = "")]
    label: String,

    /// Text that the ids are derived from.
    #[arg(long, default_value = "mkfs")]
    seed: String,
}

#[derive(Debug, Args)]
pub struct Cpio {
    #[command(flatten)]
    common: Common,

    /// none, gzip, xz, zstd or lz4 (legacy frame), with a level as in `zstd:19`.
    #[arg(long, default_value = "none")]
    comp: Compression,

    #[command(flatten)]
    strict: StrictArgs,
}

#[derive(Serialize)]
struct Made {
    filesystem: &'static str,
    out: String,
    bytes: u64,
    files: Vec<WrittenFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Summary>,
}

impl Mkfs {
    pub fn run(self, report: &Report) -> Result<()> {
        let made = match self {
            Mkfs::Squashfs(args) => args.make(report)?,
            Mkfs::Fat(args) => args.make(report)?,
            Mkfs::Ext4(args) => args.make(report)?,
            Mkfs::Cpio(args) => args.make(report)?,
        };
        let text =
            format!("{}: {} {}, {} files", made.out, made.filesystem, ByteSize(made.bytes), made.files.len());
        report.document(&made, text);
        Ok(())
    }
}

impl Common {
    fn tree(&self) -> Result<Tree> {
        let mut tree = if self.source.is_dir() {
            tree::scan::scan(&self.source, &self.scan_options())?
        } else {
            tree::archive::read_archive(&self.source)?
        };
        let ids: Vec<_> = tree.walk_nodes().collect();
        for id in ids {
            let stat = &mut tree.node_mut(id).stat;
            if self.all_root {
                (stat.uid, stat.gid) = (0, 0);
            }
            stat.mtime = self.given_timestamp().unwrap_or(stat.mtime);
        }
        Ok(tree)
    }

    /// Things that the source has and the image will not have.
    fn left_out(&self, tree: &Tree, losses: &[Loss]) -> Vec<String> {
        tree.omitted().iter().cloned().chain(losses.iter().map(Loss::to_string)).collect()
    }

    /// A directory as it is, but for what belongs to the running host.
    fn scan_options(&self) -> ScanOptions<'static> {
        ScanOptions {
            ownership: Ownership::Keep,
            xattrs: match self.host_xattrs {
                Some(HostXattrsArg::Keep) => HostXattrs::KeepHost,
                Some(HostXattrsArg::Drop) => HostXattrs::KeepPortable,
                None => HostXattrs::Keep,
            },
            hard_links: HardLinks::Keep,
            exclude: &|_| false,
        }
    }

    fn given_timestamp(&self) -> Option<Timestamp> {
        self.timestamp.and_then(|MaybeTimestamp(timestamp)| timestamp)
    }

    fn timestamp(&self) -> Timestamp {
        self.given_timestamp().unwrap_or(0)
    }

    /// Writes a filesystem of a stated length.
    fn write<E: Into<Error>>(
        &self,
        len: u64,
        write: impl FnOnce(&Region) -> Result<(u64, Vec<WrittenFile>), E>,
    ) -> Result<(u64, Vec<WrittenFile>)> {
        let geometry = Geometry { len, sector_size: 512 };
        let file = ImageFile::create(&self.out, geometry, self.force)?;
        let (used, files) = write(&Region::whole(&file, "filesystem")).map_err(Into::into)?;
        file.file().set_len(used).map_err(Io::on("resize", &self.out))?;
        file.sync()?;
        file.finish()?;
        Ok((used, files))
    }

    fn made(&self, filesystem: &'static str, (bytes, files): (u64, Vec<WrittenFile>)) -> Made {
        Made { filesystem, out: self.out.display().to_string(), bytes, files, cache: None }
    }
}

impl Squashfs {
    fn make(&self, report: &Report) -> Result<Made> {
        let comp = match (&self.comp, self.level) {
            (Some(comp), Some(level)) if comp.contains(':') => {
                return Err(TwoLevels { comp: comp.clone(), level }.into());
            }
            (Some(comp), Some(level)) => format!("{comp}:{level}"),
            (Some(comp), None) => comp.clone(),
            (None, Some(level)) => format!("zstd:{level}"),
            (None, None) => squashfs::DEFAULT_CODEC.to_string(),
        };
        let tree = self.common.tree()?;
        let options = squashfs::Options {
            codec: comp.parse::<squashfs::Codec>().map_err(BadCodec)?,
            block_size: u32::try_from(self.block.0).unwrap_or(u32::MAX),
            timestamp: self.common.timestamp(),
            pack_tails: self.pack_tails,
        };
        let layout = squashfs::layout(&tree, &options)?;
        self.proof.left_out(&self.common.left_out(&tree, layout.dropped()), report)?;
        let verify = self.proof.verify_output();
        if verify && let Some(reason) = squashfs::beyond_second_reader(&tree) {
            report.note(format!("the image is read back without the independent reader: {reason}"));
        }
        let (written, cache) = self.cache.serve(report, |cache| {
            let resources = squashfs::Resources {
                threads: threads(self.threads),
                cache,
                trust_stat: self.cache.trust_stat,
                verify,
            };
            let write = |region: &Region| {
                squashfs::write(&layout, region, &resources).map(|written| (written.len, written.files))
            };
            self.common.write(layout.size_bound(), write)
        })?;
        Ok(Made { cache, ..self.common.made("squashfs", written) })
    }
}

impl Fat {
    fn make(&self, report: &Report) -> Result<Made> {
        let tree = self.common.tree()?;
        let options = fat::Options {
            fat_type: match self.bits.as_deref() {
                Some("16") => fat::FatType::Fat16,
                Some("32") => fat::FatType::Fat32,
                _ => fat::FatType::Auto,
            },
            label: self.volume.label.clone(),
            volume_id: Seed(self.volume.seed.clone()).id32("fat"),
            timestamp: self.common.timestamp(),
            hidden_sectors: 0,
            sector_size: 512,
            cluster_size: None,
        };
        let len = match self.volume.size {
            Some(size) => size.0,
            None => fat::minimum_size(&tree, &options)?,
        };
        let layout = fat::layout(&tree, &options, len)?;
        self.strict.left_out(&self.common.left_out(&tree, layout.dropped()), report)?;
        let write = |region: &Region| fat::write(&layout, region).map(|written| (len, written.files));
        Ok(self.common.made("fat", self.common.write(len, write)?))
    }
}

impl Ext4 {
    fn make(&self, report: &Report) -> Result<Made> {
        let tree = self.common.tree()?;
        let seed = Seed(self.volume.seed.clone());
        let options = ext4::Options {
            label: self.volume.label.clone(),
            uuid: seed.uuid("ext4"),
            hash_seed: seed.uuid("ext4 hash seed"),
            timestamp: self.common.timestamp(),
            reserved_percent: 0,
            bytes_per_inode: 16 << 10,
            inodes: 0,
            journal: ext4::Journal::Auto,
            grow_to: 1 << 40,
        };
        let len = match self.volume.size {
            Some(size) => size.0,
            None => ext4::minimum_size(&tree, &options)?,
        };
        let layout = ext4::layout(&tree, &options, len)?;
        self.strict.left_out(&self.common.left_out(&tree, layout.dropped()), report)?;
        let write = |region: &Region| ext4::write(&layout, region).map(|written| (len, written.files));
        Ok(self.common.made("ext4", self.common.write(len, write)?))
    }
}

impl Cpio {
    fn make(&self, report: &Report) -> Result<Made> {
        ImageFile::ensure_free(&self.common.out, self.common.force)?;
        let tree = self.common.tree()?;
        let layout = cpio::layout(&tree)?;
        self.strict.left_out(&self.common.left_out(&tree, layout.dropped()), report)?;
        let mut temporary = temporary_beside(&self.common.out)?;
        let files = cpio::write(&layout, self.comp, &mut temporary)?.files;
        let len = temporary.as_file().metadata().map_err(Io::on("write", &self.common.out))?.len();
        publish(temporary, &self.common.out)?;
        Ok(self.common.made("cpio", (len, files)))
    }
}

/// `--comp zstd:15 --level 3` asks for two levels.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input, hint = "give the level once")]
#[error("`--comp {comp}` has a level already, and `--level {level}` gives another")]
struct TwoLevels {
    comp: String,
    level: u32,
}

/// `--comp` names no compressor.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input)]
#[error("--comp: {0}")]
struct BadCodec(squashfs::ParseCodecError);
