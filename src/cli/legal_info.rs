//! `legal-info`.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::compile::prepare;
use super::configure_args::{ConfigureArgs, Ready};
use crate::buildroot::drive::Build;
use crate::buildroot::legal::{self, Layers};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::project::WorkspaceContext;
use crate::report::Report;

/// Written in the workspace.
const LOG: &str = "legal-info.log";
/// Buildroot's goal, and the directory it writes.
const GOAL: &str = "legal-info";

/// Collects sources, licenses and manifests of a system with Buildroot, and adds what Buildroot does not know of: the
/// layers.
#[derive(Debug, Args)]
pub struct LegalInfo {
    #[command(flatten)]
    args: ConfigureArgs,

    /// Show all that Buildroot prints.
    #[arg(long, short)]
    verbose: bool,
}

/// Paths of the result.
#[derive(Serialize)]
struct Document {
    directory: PathBuf,
    layers: PathBuf,
    log: PathBuf,
}

impl LegalInfo {
    pub fn run(self, report: &Report) -> Result<()> {
        let interrupt = Interrupt::listen();
        let mut ready = prepare("legal-info", &self.args, self.verbose, report, &interrupt)?;
        let system = WorkspaceContext::for_layers(&self.args.layers.selection(), &interrupt)?;
        ready.make.environment.extend(system.for_make());
        let output = self.args.layers.selection().below("workspaces").join(ready.workspace.name());
        let build =
            Build { make: &ready.make, goals: vec![GOAL.into()], log: output.join(LOG), others: Vec::new() };
        let steps = report.steps(self.verbose);
        let built = build.run(&interrupt, &steps);
        steps.finish();
        built?;
        let directory = output.join(GOAL);
        let layers = add(&directory, &ready, &system)?;
        let document = Document { directory, layers, log: build.log };
        report.document(&document, &document);
        Ok(())
    }
}

fn add(directory: &Path, ready: &Ready, system: &WorkspaceContext) -> Result<PathBuf> {
    let layers = Layers::for_chain(
        ready.workspace.root(),
        (&ready.selection.asked.chain, &ready.chain),
        &system.release,
        &ready.source.version,
    )?;
    Ok(legal::add(directory, &layers)?)
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "legal-info `{}`", self.directory.display())?;
        writeln!(f, "layers     `{}`", self.layers.display())?;
        write!(f, "log        `{}`", self.log.display())
    }
}
