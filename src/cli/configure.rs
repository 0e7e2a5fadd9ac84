//! `configure`.

use std::fmt;

use clap::Args;
use serde::Serialize;

use super::configure_args::{ConfigureArgs, Ready, VERB, shown};
use crate::buildroot::configure::{Edited, Reason};
use crate::buildroot::effective::Dropped;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::report::Report;

/// Makes the configuration of a workspace: layers are merged, and Buildroot's Kconfig reads them. Nothing is done, and
/// nothing will be built anew, if nothing changed.
#[derive(Debug, Args)]
pub struct Configure {
    #[command(flatten)]
    args: ConfigureArgs,

    /// Show all that Buildroot prints.
    #[arg(long, short)]
    verbose: bool,
}

/// So many files are listed by name.
const FEW: usize = 3;

/// Document of the verb.
#[derive(Serialize)]
struct Document {
    workspace: String,
    output: String,
    chain: Vec<String>,
    buildroot: String,
    buildroot_version: String,
    externals: Vec<String>,
    changed: Vec<String>,
    made: Option<Reason>,
    edited: Option<Edited>,
    settings: usize,
    dropped: Vec<Dropped>,
}

impl Configure {
    pub fn run(self, report: &Report) -> Result<()> {
        let interrupt = Interrupt::listen();
        let mut said = |line: &str| {
            if self.verbose {
                report.note(line);
            }
        };
        let ready = self.args.ready(VERB, report, &interrupt, &mut said)?;
        let document = Document::from_ready(&ready);
        report.document(&document, &document);
        Ok(())
    }
}

impl Document {
    fn from_ready(ready: &Ready) -> Document {
        let configured = &ready.configured;
        Document {
            workspace: ready.workspace.name().into(),
            output: shown(&ready.workspace.output()),
            chain: ready.layers.iter().map(|layer| layer.name.clone()).collect(),
            buildroot: shown(&ready.source.path),
            buildroot_version: ready.source.version.clone(),
            externals: configured.externals.iter().map(|external| external.name.clone()).collect(),
            changed: configured.changed.iter().map(|path| shown(ready.workspace.short(path))).collect(),
            made: configured.made,
            edited: configured.edited.clone(),
            settings: configured.request.settings().count(),
            dropped: configured.dropped.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "workspace  {} (`{}`)", self.workspace, self.output)?;
        writeln!(f, "chain      {}", self.chain.join(", "))?;
        writeln!(f, "Buildroot  {} (`{}`)", self.buildroot_version, self.buildroot)?;
        if !self.externals.is_empty() {
            writeln!(f, "external   {}", self.externals.join(", "))?;
        }
        let made = match self.made {
            None => "nothing to do".to_owned(),
            Some(why) => format!(".config made anew ({})", reason(why)),
        };
        let dropped = match self.dropped.len() {
            0 => String::new(),
            dropped => format!(", {dropped} of them not effective"),
        };
        writeln!(f, "settings   {}{dropped}; {made}", self.settings)?;
        writeln!(f, "changed    {}", self.changes())?;
        write!(f, "next       skiff-image compile")
    }
}

impl Document {
    fn changes(&self) -> String {
        match self.changed.len() {
            0 => "nothing".into(),
            1..=FEW => self.changed.join(", "),
            files => format!("{files} files below workspaces/.config_{}", self.workspace),
        }
    }
}

fn reason(why: Reason) -> &'static str {
    match why {
        Reason::New => "the workspace was not configured",
        Reason::Changed => "layers or Buildroot changed",
        Reason::Missing => "it was missing",
        Reason::Edited => "it was edited",
    }
}
