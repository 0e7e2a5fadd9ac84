//! `buildroot`.

use std::ffi::OsString;

use clap::Args;

use super::compile::prepare;
use super::configure_args::{ConfigureArgs, Ready};
use super::layer_program;
use crate::buildroot::delta::{self, Editable, Saved, Settings};
use crate::buildroot::dot_config::DotConfig;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::process::Program;
use crate::project::WorkspaceContext;
use crate::report::Report;
use crate::workspace::State;

/// Runs goals of Buildroot's make in a workspace, on the terminal, after a configure: `buildroot menuconfig`,
/// `buildroot linux-rebuild`, `buildroot help`. What an editor of a configuration changes is saved below overrides/.
#[derive(Debug, Args)]
pub struct BuildrootVerb {
    #[command(flatten)]
    args: ConfigureArgs,

    /// Goals, variables and flags of make.
    #[arg(required = true, value_name = "GOAL", trailing_var_arg = true, allow_hyphen_values = true)]
    goals: Vec<OsString>,
}

/// A configuration that is edited, as it was before.
struct Before {
    edited: Editable,
    settings: Settings,
}

impl BuildrootVerb {
    pub fn run(self, report: &Report) -> Result<()> {
        let interrupt = Interrupt::listen();
        let ready = self.ready(report, &interrupt)?;
        let edited = self.goals.iter().filter_map(|goal| Editable::from_goal(goal.to_str()?));
        let before =
            edited.map(|edited| Before::for_edited(edited, &ready)).collect::<Result<Vec<Before>>>()?;
        on_terminal(&ready.make.goals(&self.goals), &shown(&self.goals))?;
        if before.is_empty() {
            return Ok(());
        }
        let mut all = Vec::new();
        for before in &before {
            all.push(before.save(&ready)?);
        }
        all.iter().for_each(|saved| report_saved(saved, &ready, report));
        if all.iter().all(|saved| saved.changed == 0) {
            return Ok(());
        }
        // What was changed was changed on purpose.
        State::remove(&ready.workspace)?;
        let Ready { lock, .. } = ready;
        drop(lock);
        self.ready(report, &interrupt)?;
        Ok(())
    }

    fn ready(&self, report: &Report, interrupt: &Interrupt) -> Result<Ready> {
        let mut ready = prepare("buildroot", &self.args, false, report, interrupt)?;
        ready
            .make
            .environment
            .extend(WorkspaceContext::for_layers(&self.args.layers.selection(), interrupt)?.for_make());
        Ok(ready)
    }
}

impl Before {
    /// A package that has no configuration yet is configured first.
    fn for_edited(edited: Editable, ready: &Ready) -> Result<Before> {
        if DotConfig::find(&ready.make.output, edited.kind())?.is_none() {
            let goal = format!("{}-configure", edited.package());
            on_terminal(&ready.make.goals([&goal]), &goal)?;
        }
        Ok(Before { edited, settings: settings(edited, ready)? })
    }

    fn save(&self, ready: &Ready) -> Result<Saved> {
        let after = settings(self.edited, ready)?;
        Ok(delta::save(self.edited, &ready.workspace.overrides(), &self.settings, &after)?)
    }
}

fn settings(edited: Editable, ready: &Ready) -> Result<Settings> {
    let configured = DotConfig::find(&ready.make.output, edited.kind())?;
    Ok(configured.map(|configured| Settings::read(&configured.file)).transpose()?.unwrap_or_default())
}

fn report_saved(saved: &Saved, ready: &Ready, report: &Report) {
    let Saved { path, changed, settings, kept } = saved;
    let path = ready.workspace.short(path).display();
    match (changed, settings) {
        (0, _) => report.note("nothing was changed"),
        (_, 0) => report.note(format!("nothing is left to save: `{path}` is removed")),
        (_, _) => {
            report.note(format!("{changed} settings are saved in `{path}`, which keeps {kept} of earlier"))
        }
    }
}

fn on_terminal(make: &Program, goals: &str) -> Result<()> {
    layer_program::run(make, format!("make {goals}"))
}

fn shown(goals: &[OsString]) -> String {
    goals.iter().map(|goal| goal.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
