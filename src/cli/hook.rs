//! `hook`, which Buildroot calls through the scripts that `configure` writes.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::args::{BoardArgs, LayerArgs};
use super::layer_program::ProgramError;
use crate::buildroot::hooks::{self, Hooks, Phase};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::layer::Layer;
use crate::layer::environment;
use crate::project::WorkspaceContext;
use crate::report::Report;

/// The variable with the time that a hook may take, which goes through make.
pub const LIMIT_VARIABLE: &str = "SKIFF_HOOK_TIMEOUT";

#[derive(Debug, Args)]
pub struct Hook {
    /// Hooks to run: those before the images, or those after them.
    phase: Phase,

    #[command(flatten)]
    layers: LayerArgs,

    #[command(flatten)]
    boards: BoardArgs,

    #[command(flatten)]
    limit: HookArgs,
}

/// Time that hooks may take.
#[derive(Debug, Args)]
pub struct HookArgs {
    /// End a hook of a layer that has not ended after this time.
    #[arg(long, value_name = "SECONDS", env = LIMIT_VARIABLE, default_value = "1800")]
    pub hook_timeout: u32,
}

impl Hook {
    /// All layers but those that would take away what is composed.
    fn layers_that_run(&self, system: &WorkspaceContext, report: &Report) -> Result<Vec<Layer>> {
        let layers: Vec<Layer> = system.chain.layers().cloned().collect();
        let board = self.boards.registry()?.board_of(layers.iter())?;
        let left_out = match board.filter(|_| self.phase == Phase::Pre && !system.keeps_images()) {
            Some(board) => hooks::left_out(&board, &layers),
            None => Vec::new(),
        };
        left_out.iter().for_each(|left| report.note(left));
        Ok(layers.into_iter().filter(|layer| left_out.iter().all(|left| left.layer != layer.name)).collect())
    }

    pub fn run(self, report: &Report) -> Result<()> {
        let interrupt = Interrupt::listen_only();
        let system = WorkspaceContext::for_layers(&self.layers.selection(), &interrupt)?;
        let directory = system.workspace.output();
        if !directory.is_dir() {
            let name = system.workspace.name().into();
            return Err(ProgramError::NoWorkspace { name, path: directory }.into());
        }
        let variables = system.variables();
        let layers = self.layers_that_run(&system, report)?;
        let for_layer = |layer: &Layer| -> Vec<(OsString, OsString)> {
            let directory = std::path::absolute(&layer.path).unwrap_or_else(|_| layer.path.clone());
            let of_layer = environment::for_layer(layer, &directory);
            variables.clone().into_iter().chain(of_layer).collect()
        };
        let hooks = Hooks {
            layers: &layers,
            phase: self.phase,
            root: system.workspace.root(),
            directory: &directory,
            environment: &for_layer,
            limit: Duration::from_secs(self.limit.hook_timeout.into()),
        };
        hooks.run(&interrupt, &mut |layer, line| report.note(format!("{layer}: {line}")))?;
        if self.phase == Phase::Pre {
            system.release.write(&directory, &system.chain.text())?;
        }
        Ok(())
    }
}
