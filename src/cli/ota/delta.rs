//! `ota delta`.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use skiff_update::host::{OpenBundle, write_delta};

use crate::error::{Io, Result};
use crate::report::Report;
use crate::value::ByteSize;

/// Makes what a device that has the system of one bundle needs to get that of another. A device checks what comes out against
/// the signatures of the new bundle, so nobody has to sign a delta.
#[derive(Debug, Args)]
pub struct Delta {
    /// Bundle of the system that devices have.
    old: PathBuf,

    /// Bundle of the system that they are to get.
    new: PathBuf,

    /// File to write; it gets its name when it is complete.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Made {
    file: String,
    size: u64,
    bundle_size: u64,
    /// Blocks that the device has, that are made from others, and that are sent as they are.
    present: usize,
    patched: usize,
    literal: usize,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, whole) = (ByteSize(self.size), ByteSize(self.bundle_size));
        let Made { file, present, patched, literal, .. } = self;
        write!(f, "{file}: {size} for a bundle of {whole}; blocks: {present} are there, ")?;
        write!(f, "{patched} are patched, {literal} are new")
    }
}

impl Delta {
    pub fn run(self, report: &Report) -> Result<()> {
        let (old, new) = (OpenBundle::open_unsigned(&self.old)?, OpenBundle::open_unsigned(&self.new)?);
        let summary = write_delta(&old, &new, &self.output)?;
        let size = |path: &PathBuf| std::fs::metadata(path).map(|meta| meta.len());
        let made = Made {
            file: self.output.display().to_string(),
            size: size(&self.output).map_err(Io::on("look at", &self.output))?,
            bundle_size: size(&self.new).map_err(Io::on("look at", &self.new))?,
            present: summary.present,
            patched: summary.patched,
            literal: summary.literal,
        };
        report.document(&made, &made);
        Ok(())
    }
}
