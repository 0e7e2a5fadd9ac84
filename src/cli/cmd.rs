//! `cmd`: lists and runs commands of layers.

use std::fmt;
use std::fs;
use std::path::Path;

use clap::Args;

use super::args::LayerArgs;
use super::layer_program::{run, workspace_context};
use crate::error::{Io, Result};
use crate::layer::environment::for_layer;
use crate::layer::{Command, CommandName, Layer};
use crate::process::Program;
use crate::project::LayerSelection;
use crate::report::Report;

#[derive(Debug, Args)]
pub struct Cmd {
    /// Command as NAMESPACE/NAME/TARGET, of any layer; without it all commands of the chain are listed.
    command: Option<CommandName>,

    /// List the commands of all layers.
    #[arg(long, conflicts_with = "command")]
    all: bool,

    #[command(flatten)]
    layers: LayerArgs,
}

/// Commands for people.
pub struct Commands<'a>(pub &'a [Command]);

impl fmt::Display for Commands<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|command| command.command.len()).max().unwrap_or(0);
        let text = |command: &Command| command.description.clone().unwrap_or_default();
        let line = |command: &Command| format!("{:<width$}  {}", command.command, text(command));
        let lines: Vec<String> = self.0.iter().map(|command| line(command).trim_end().to_owned()).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Cmd {
    pub fn run(&self, report: &Report) -> Result<()> {
        match &self.command {
            Some(command) => self.start(command, report),
            None => self.list(report),
        }
    }

    /// Those of the chain, if there is one and not all are wanted.
    fn list(&self, report: &Report) -> Result<()> {
        let layers = match self.all || self.layers.selection().chain()?.is_none() {
            true => self.layers.selection().registry()?.layers().cloned().collect(),
            false => self.layers.resolve_and_report(report)?.chosen,
        };
        let mut found = Vec::new();
        for layer in &layers {
            found.extend(layer.commands()?);
        }
        if !self.all {
            note_left_out(&self.layers.selection(), &layers, report)?;
        }
        if found.is_empty() {
            report.note(
                "no layer of the chain has commands; `skiff-image cmd --all` lists those of all layers",
            );
        }
        report.document(&found, Commands(&found));
        Ok(())
    }

    fn start(&self, command: &CommandName, report: &Report) -> Result<()> {
        let system = workspace_context(&self.layers, report)?;
        let (layer, extensions) = system.registry.command(command)?;
        note_left_out(&self.layers.selection(), std::slice::from_ref(&layer), report)?;
        let directory = std::env::current_dir().map_err(Io::on("find", "."))?;
        let make = Program::new("make").arg(&command.target).directory(directory.join(&extensions));
        // Their scripts read what parted and its like print.
        let make = make.env("LC_ALL", "C");
        let own = for_layer(&layer, &directory.join(&layer.path));
        run(&make.envs(system.variables()).envs(own), format!("cmd {}/{}", command.layer, command.target))
    }
}

/// Buildroot's images of a root filesystem, as scripts of layers name them.
const IMAGES: [&str; 8] = [
    "rootfs.cpio",
    "rootfs.ext2",
    "rootfs.ext4",
    "rootfs.iso9660",
    "rootfs.squashfs",
    "rootfs.tar",
    "rootfs_part/",
    "efi-part.vfat",
];

/// Tells which commands of layers read an image that Buildroot does not make, because `assemble` composes it.
pub fn note_left_out(selection: &LayerSelection, layers: &[Layer], report: &Report) -> Result<()> {
    if selection.remembered()?.is_some_and(|known| known.asked.keep_images) {
        return Ok(());
    }
    let images = selection.below(format!("workspaces/{}/images", selection.workspace()));
    for layer in layers {
        if layer.commands()?.is_empty() {
            continue;
        }
        let text = ["extensions", "scripts"].map(|part| text_below(&layer.path.join(part))).concat();
        let missing = IMAGES.iter().find(|image| text.contains(*image) && !images.join(image).exists());
        if let Some(image) = missing {
            report.note(format!(
                "commands of `{}` read `{image}`, which Buildroot makes with `compile --keep-images` only",
                layer.name
            ));
        }
    }
    Ok(())
}

/// The texts of the files in a directory, which may not be there.
fn text_below(directory: &Path) -> String {
    let files = directory.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter_map(|path| fs::read_to_string(path).ok()).collect()
}
