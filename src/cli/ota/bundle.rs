//! `ota bundle`.

use std::path::PathBuf;

use clap::Args;
use skiff_update::host::{Prepared, Recipe, prepare};
use skiff_update::statement::STATEMENT_NAMESPACE;

use super::check::Shown;
use super::sign_args::{SignArgs, write_unsigned};
use crate::cli::args::{BoardArgs, LayerArgs};
use crate::error::Result;
use crate::ota::RootFile;
use crate::project::{BuiltSystem, InputSelection};
use crate::report::Report;
use crate::tree::scan::HostXattrs;
use crate::value::Arch;

/// Makes one file with a whole system, signed. The same files and flags give the same bytes.
#[derive(Debug, Args)]
pub struct BundleVerb {
    /// File to write; it gets its name when it is complete.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// List of keys that devices trust, as `ota keys` makes it; its own keys have to sign.
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,

    /// File of the system: its name in the slot of the device, and where it is; what is not there is looked for in images/
    /// of the workspace. Can be given several times.
    #[arg(long = "file", value_name = "NAME[=PATH]", required = true, value_parser = named_file)]
    files: Vec<(String, PathBuf)>,

    /// Board that the system is for; without it that of the workspace. Can be given several times.
    #[arg(long = "board", value_name = "NAME")]
    boards: Vec<String>,

    /// Architecture; without it that of the workspace.
    #[arg(long)]
    arch: Option<Arch>,

    /// Way in which devices start their slots, such as `uboot-fat`. Can be given several times.
    #[arg(long = "loader", value_name = "NAME", required = true)]
    loaders: Vec<String>,

    /// Version of the system, for people.
    #[arg(long, value_name = "TEXT")]
    release: String,

    /// Number of the system, which rises from release to release: devices refuse a lower one than they have confirmed.
    #[arg(long, value_name = "N")]
    sequence: u64,

    /// Directory with kernel and images; without it images/ of the workspace.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    #[command(flatten)]
    sign: SignArgs,

    #[command(flatten)]
    layers: LayerArgs,

    #[command(flatten)]
    descriptors: BoardArgs,
}

fn named_file(text: &str) -> std::result::Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').unwrap_or((text, text));
    Ok((name.into(), path.into()))
}

impl BundleVerb {
    pub fn run(self, report: &Report) -> Result<()> {
        let prepared = self.prepare()?;
        let text = prepared.text();
        if let Some(path) = self.sign.unsigned() {
            report.note(write_unsigned(path, STATEMENT_NAMESPACE, &text)?);
            return Ok(());
        }
        let signatures = self.sign.sign(STATEMENT_NAMESPACE, &text)?;
        let len = prepared.write(&signatures, &self.output)?;
        let signers = signatures.iter().map(|signature| signature.key().fingerprint()).collect();
        let shown = Shown::bundle(&self.output, prepared.statement(), signers, len);
        report.document(&shown, &shown);
        Ok(())
    }

    fn prepare(&self) -> Result<Prepared> {
        let trust = RootFile::read(&self.trust)?;
        let workspace = self.workspace()?;
        let of_workspace = || workspace.iter().map(|system| system.board.clone()).collect();
        let boards = if self.boards.is_empty() { of_workspace() } else { self.boards.clone() };
        let arch = self.arch.or(workspace.as_ref().map(|system| system.arch));
        let images = self.images.clone().or(workspace.map(|system| system.images));
        let path = |(name, path): &(String, PathBuf)| match (path.exists(), &images) {
            (false, Some(images)) => (name.clone(), images.join(path)),
            _ => (name.clone(), path.clone()),
        };
        Ok(prepare(Recipe {
            boards,
            arch: arch.expect("without one the workspace was asked"),
            loaders: self.loaders.clone(),
            version: self.release.clone(),
            sequence: self.sequence,
            root: trust.root,
            roots: trust.roots,
            files: self.files.iter().map(path).collect(),
        })?)
    }

    /// What the workspace says, if the flags leave something open.
    fn workspace(&self) -> Result<Option<BuiltSystem>> {
        let has_paths = self.images.is_some() || self.files.iter().all(|(_, path)| path.exists());
        if has_paths && !self.boards.is_empty() && self.arch.is_some() {
            return Ok(None);
        }
        let selection = InputSelection {
            layers: self.layers.selection(),
            board: self.boards.first().cloned(),
            arch: self.arch,
            source: None,
            images: self.images.clone(),
            seed: None,
            partuuid: None,
            timestamp: None,
            host_xattrs: HostXattrs::Omit,
            slots: None,
            threads: 1,
        };
        selection.system(&self.descriptors.registry()?).map(Some)
    }
}
