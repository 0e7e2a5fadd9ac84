//! `shell`: the user's shell where Buildroot builds, with the environment of programs of layers.

use clap::Args;

use super::args::LayerArgs;
use super::layer_program::{Given, run};
use crate::error::Result;
use crate::process::Program;
use crate::report::Report;

#[derive(Debug, Args)]
pub struct Shell {
    #[command(flatten)]
    layers: LayerArgs,
}

impl Shell {
    pub fn run(&self, report: &Report) -> Result<()> {
        let given = Given::load(&self.layers, report)?;
        let set = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
        let shell = set.unwrap_or_else(|| "/bin/sh".into());
        let program = Program::new(&shell).directory(given.workspace()?);
        let program =
            given.variables().into_iter().fold(program, |program, (name, value)| program.env(name, value));
        let name = program.name();
        run(&program, name)
    }
}
