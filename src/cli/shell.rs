//! `shell`: the user's shell where Buildroot builds, with the environment of programs of layers.

use clap::Args;

use super::args::LayerArgs;
use super::layer_program::{output, run, workspace_context};
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
        let system = workspace_context(&self.layers, report)?;
        let set = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
        let shell = Program::new(set.unwrap_or_else(|| "/bin/sh".into())).directory(output(&system)?);
        let name = shell.name();
        run(&shell.envs(system.variables()), name)
    }
}
