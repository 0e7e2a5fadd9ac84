//! `cmd`: lists and runs commands of layers.

use std::fmt;

use clap::Args;

use super::args::LayerArgs;
use super::layer_program::{run, workspace_context};
use crate::error::{Io, Result};
use crate::layer::environment::for_layer;
use crate::layer::{Command, CommandName};
use crate::process::Program;
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
        for layer in layers {
            found.extend(layer.commands()?);
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
        let directory = std::env::current_dir().map_err(Io::on("find", "."))?;
        let make = Program::new("make").arg(&command.target).directory(directory.join(&extensions));
        // Their scripts read what parted and its like print.
        let make = make.env("LC_ALL", "C");
        let own = for_layer(&layer, &directory.join(&layer.path));
        run(&make.envs(system.variables()).envs(own), format!("cmd {}/{}", command.layer, command.target))
    }
}
