//! `compile`.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::configure_args::{ConfigureArgs, Ready};
use super::hook::{HookArgs, LIMIT_VARIABLE};
use super::output_args::OutputArgs;
use crate::buildroot::delta::Editable;
use crate::buildroot::dot_config::DotConfig;
use crate::buildroot::drive::{Build, Built};
use crate::buildroot::effective::{self, Dropped};
use crate::buildroot::stamp::EpochFrom;
use crate::error::{Io, Result};
use crate::interrupt::Interrupt;
use crate::layer::merge::Merged;
use crate::layer::{Layer, fragment};
use crate::project::WorkspaceContext;
use crate::report::Report;
use crate::rootfs::Output;
use crate::value::Span;

/// Written in the workspace.
const LOG: &str = "build.log";
/// Writes the tables of users and devices, which no goal of Buildroot needs without an image of its own.
const TABLES: &str = "rootfs-common";
/// A layer can name what is built instead of all.
const TARGET: &str = "metadata/buildtarget";
/// Number of packages that are shown.
const SLOWEST: usize = 5;

/// Builds the system of a workspace with Buildroot, after a configure. What is built already is not built again; an
/// interrupted build goes on where it was.
#[derive(Debug, Args)]
pub struct Compile {
    #[command(flatten)]
    args: ConfigureArgs,

    /// Build as much as possible after a failure.
    #[arg(long)]
    keep_going: bool,

    /// Packages that are built at the same time, where the configuration has BR2_PER_PACKAGE_DIRECTORIES. How many
    /// jobs a package has is BR2_JLEVEL.
    #[arg(long, value_name = "N", value_parser = super::args::thread_count())]
    jobs: Option<u16>,

    /// Show all that Buildroot prints.
    #[arg(long, short)]
    verbose: bool,

    #[command(flatten)]
    hooks: HookArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// Result of a build.
#[derive(Serialize)]
struct Document {
    workspace: String,
    seconds: u64,
    packages: Vec<Package>,
    root: &'static str,
    images: Vec<String>,
    version: String,
    log: String,
    dropped: Vec<Dropped>,
}

#[derive(Serialize)]
struct Package {
    name: String,
    seconds: f64,
}

impl Compile {
    pub fn run(self, report: &Report) -> Result<()> {
        self.output.run(report, |report| self.compile(report))
    }

    fn compile(&self, report: &Report) -> Result<()> {
        let interrupt = Interrupt::listen();
        let mut ready = prepare("compile", &self.args, self.verbose, report, &interrupt)?;
        let limit = (OsString::from(LIMIT_VARIABLE), OsString::from(self.hooks.hook_timeout.to_string()));
        ready.make.environment.push(limit);
        let system = WorkspaceContext::for_layers(&self.args.layers.selection(), &interrupt)?;
        report_epoch(&system, report);
        ready.make.environment.extend(system.for_make());
        let log = self.args.layers.selection().below("workspaces").join(ready.workspace.name()).join(LOG);
        let goals = self.goals(&ready.layers)?;
        let build = Build { make: &ready.make, goals, log, others: others(&ready) };
        let steps = report.steps(self.verbose);
        let built = build.run(&interrupt, &steps);
        steps.finish();
        let built = built?;
        let dropped = dropped(&ready, &built)?;
        dropped.iter().for_each(|dropped| report.warn(dropped));
        let document = Document::from_build(&ready, built, dropped, &system, &build.log)?;
        report.document(&document, &document);
        report.note("next: `skiff-image assemble`, or `skiff-image flash DEVICE`");
        Ok(())
    }

    fn goals(&self, layers: &[Layer]) -> Result<Vec<OsString>> {
        let mut goals = Vec::new();
        goals.extend(self.keep_going.then(|| OsString::from("--keep-going")));
        goals.extend(self.jobs.map(|jobs| OsString::from(format!("-j{jobs}"))));
        goals.extend(target(layers)?.into_iter().map(OsString::from));
        goals.push(TABLES.into());
        Ok(goals)
    }
}

/// Configures if anything changed.
pub fn prepare(
    verb: &str,
    args: &ConfigureArgs,
    verbose: bool,
    report: &Report,
    interrupt: &Interrupt,
) -> Result<Ready> {
    let mut line = |line: &str| {
        if verbose {
            report.note(line);
        }
    };
    args.ready(verb, report, interrupt, &mut line)
}

/// Returns what the first layer that names something wants built, else all.
fn target(layers: &[Layer]) -> Result<Vec<String>> {
    let Some(path) = layers.iter().find_map(|layer| layer.file(TARGET)) else {
        return Ok(vec!["all".into()]);
    };
    let text = fs::read_to_string(&path).map_err(Io::on("read", &path))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// Settings of the kernel and others that were built now which did not become effective. One that another layer wants
/// otherwise is no loss.
fn dropped(ready: &Ready, built: &Built) -> Result<Vec<Dropped>> {
    let mut found = Vec::new();
    for edited in [Editable::Linux, Editable::UBoot, Editable::Busybox] {
        let kind = edited.kind();
        let is_built = built.packages.iter().any(|(name, _)| name == edited.package());
        let Some(configured) = DotConfig::find(&ready.make.output, kind)?.filter(|_| is_built) else {
            continue;
        };
        let Some(definitions) = configured.definitions(kind, Some(&ready.source.path)) else { continue };
        let request = Merged::from_fragments(&fragment::read(&ready.layers, kind)?);
        found.extend(effective::compare(&request, &configured.config, &definitions));
    }
    found.retain(|dropped| !dropped.is_override());
    Ok(found)
}

/// The other workspaces, which may know how long packages take.
fn others(ready: &Ready) -> Vec<PathBuf> {
    let own = ready.workspace.output();
    let beside = own.parent().and_then(|parent| fs::read_dir(parent).ok());
    let mut found: Vec<PathBuf> = beside
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| *path != own)
        .collect();
    found.sort();
    found
}

impl Document {
    fn from_build(
        ready: &Ready,
        built: Built,
        dropped: Vec<Dropped>,
        system: &WorkspaceContext,
        log: &Path,
    ) -> Result<Document> {
        // It is read as `assemble` will read it.
        let output = Output::open(&ready.workspace.output())?;
        let package =
            |(name, time): (String, std::time::Duration)| Package { name, seconds: time.as_secs_f64() };
        Ok(Document {
            workspace: ready.workspace.name().into(),
            seconds: built.time.as_secs(),
            packages: built.packages.into_iter().map(package).collect(),
            root: "target, with the tables of users and devices",
            images: files(&output.path.join("images"))?,
            version: system.release.version.clone(),
            log: log.display().to_string(),
            dropped,
        })
    }
}

/// Names of what is in a directory, which may not be there.
fn files(directory: &Path) -> Result<Vec<String>, Io> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory).map_err(Io::on("list", directory))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>, _>>().map_err(Io::on("list", directory))?;
    names.sort();
    Ok(names)
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Span(std::time::Duration::from_secs(self.seconds));
        writeln!(f, "workspace {} is built: version {}, {time}", self.workspace, self.version)?;
        writeln!(f, "root      {}", self.root)?;
        let images = if self.images.is_empty() { "none".into() } else { self.images.join(", ") };
        writeln!(f, "images    {images}")?;
        let slowest = self.packages.iter().take(SLOWEST).map(Package::to_string).collect::<Vec<_>>();
        match slowest.len() {
            0 => writeln!(f, "packages  all were there")?,
            shown if shown == self.packages.len() => writeln!(f, "packages  {}", slowest.join(", "))?,
            _ => writeln!(f, "packages  {}; the slowest: {}", self.packages.len(), slowest.join(", "))?,
        }
        write!(f, "log       {}", self.log)
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, Span(std::time::Duration::from_secs_f64(self.seconds)))
    }
}

/// Reports the time that is taken where nobody says one.
fn report_epoch(context: &WorkspaceContext, report: &Report) {
    if context.release.epoch_from == EpochFrom::Nobody {
        report
            .note("neither SOURCE_DATE_EPOCH nor a commit says when this is made: BUILD_DATE is 1980-01-01");
    }
}
