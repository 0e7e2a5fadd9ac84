//! `ota check`.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use skiff_update::bundle::{Head, Kind};
use skiff_update::host::OpenBundle;
use skiff_update::statement::{Statement, system_id};

use crate::error::{Io, Result};
use crate::ota::RootFile;
use crate::report::Report;
use crate::value::{ByteSize, Digest};

/// Compares a bundle or delta with its signatures and its index, and shows what is in it.
#[derive(Debug, Args)]
pub struct Check {
    /// Bundle or delta.
    file: PathBuf,

    /// List of keys that devices trust, or an earlier one that the bundle's own follow.
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,

    /// Bundle that a delta was made from: its blocks are made and compared, too.
    #[arg(long, value_name = "BUNDLE")]
    old: Option<PathBuf>,
}

/// A bundle for people and programs.
#[derive(Serialize)]
pub struct Shown {
    file: String,
    kind: &'static str,
    size: u64,
    system: String,
    boards: Vec<String>,
    arch: String,
    loaders: Vec<String>,
    version: String,
    sequence: u64,
    epoch: u64,
    signers: Vec<String>,
    files: Vec<ShownFile>,
    /// Whether all blocks were compared with the signed index.
    blocks_checked: bool,
}

#[derive(Serialize)]
struct ShownFile {
    name: String,
    size: u64,
    blake3: Digest,
}

impl Shown {
    /// A bundle that was just made.
    pub fn bundle(path: &Path, statement: &Statement, signers: Vec<String>, size: u64) -> Shown {
        let file = |file: &skiff_update::statement::File| ShownFile {
            name: file.name.clone(),
            size: file.sum.len,
            blake3: file.sum.blake3,
        };
        Shown {
            file: path.display().to_string(),
            kind: "bundle",
            size,
            system: system_id(statement.to_text().as_bytes()).to_string(),
            boards: statement.boards.clone(),
            arch: statement.arch.to_string(),
            loaders: statement.loaders.clone(),
            version: statement.version.clone(),
            sequence: statement.sequence,
            epoch: statement.epoch,
            signers,
            files: statement.files.iter().map(file).collect(),
            blocks_checked: true,
        }
    }

    /// One that was read.
    fn read(path: &Path, head: &Head, size: u64, blocks_checked: bool) -> Result<Shown> {
        let signers = head.signers()?.iter().map(|key| key.fingerprint()).collect();
        let kind = if head.kind == Kind::Delta { "delta" } else { "bundle" };
        Ok(Shown { kind, blocks_checked, ..Shown::bundle(path, &head.statement, signers, size) })
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { file, kind, version, sequence, system, .. } = self;
        writeln!(f, "{file}: {kind}, {}, version {version}, sequence {sequence}", ByteSize(self.size))?;
        writeln!(f, "  system   {system}")?;
        writeln!(f, "  boards   {} ({})", self.boards.join(", "), self.arch)?;
        writeln!(f, "  loaders  {}", self.loaders.join(", "))?;
        for ShownFile { name, size, .. } in &self.files {
            writeln!(f, "  file     {name}, {}", ByteSize(*size))?;
        }
        write!(f, "  signed   by {} for root {}", self.signers.join(", "), self.epoch)?;
        match self.blocks_checked {
            true => Ok(()),
            false => {
                write!(f, "\n  the blocks were not compared: `--old` takes the bundle they are made from")
            }
        }
    }
}

impl Check {
    pub fn run(self, report: &Report) -> Result<()> {
        let root = RootFile::read(&self.trust)?.root;
        let old = self.old.as_deref().map(|old| OpenBundle::open(old, &root)).transpose()?;
        let checked = OpenBundle::check(&self.file, &root, old.as_ref())?;
        let size = std::fs::metadata(&self.file).map_err(Io::on("look at", &self.file))?.len();
        let shown = Shown::read(&self.file, &checked.head, size, checked.blocks)?;
        report.document(&shown, &shown);
        Ok(())
    }
}
