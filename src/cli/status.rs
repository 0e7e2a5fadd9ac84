//! `status`, and what is shown without a verb: where one is, what was chosen, how far it is, and what comes next.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::args::{BoardArgs, LayerArgs};
use super::cmd;
use crate::board::Registry;
use crate::buildroot::source::{self, Places};
use crate::error::{Error, Io, Result};
use crate::layer::{Chain, Command, Order};
use crate::project::GivenChain;
use crate::report::Report;
use crate::workspace::{State, Workspace};

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    layers: LayerArgs,

    #[command(flatten)]
    boards: BoardArgs,
}

/// State of a workspace.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Progress {
    /// There is nothing in it.
    Empty,
    /// Buildroot is configured.
    Configured,
    /// There are images of Buildroot, a kernel for example.
    Compiled,
    /// There is an image for a medium.
    Assembled,
}

#[derive(Serialize)]
struct Shown {
    version: &'static str,
    root: String,
    /// True if there is a project at all.
    project: bool,
    workspace: String,
    progress: Progress,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<Selected>,
    #[serde(skip_serializing_if = "Option::is_none")]
    board: Option<BoardRow>,
    /// Images for media.
    images: Vec<String>,
    /// Of the layers of the chain.
    commands: Vec<Command>,
    /// Command that gets Buildroot, if it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_buildroot: Option<&'static str>,
    next: Vec<Next>,
}

#[derive(Serialize)]
struct Selected {
    /// As it was given.
    text: String,
    /// By which flag, variable or file.
    by: String,
    order: Order,
    layers: Vec<LayerRow>,
}

#[derive(Serialize)]
struct LayerRow {
    name: String,
    description: Option<String>,
}

#[derive(Serialize)]
struct BoardRow {
    name: String,
    description: String,
    /// Reason why there is no medium for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// A command line and what it is for.
#[derive(Serialize)]
struct Next {
    command: String,
    does: &'static str,
}

impl Status {
    pub fn run(&self, report: &Report) -> Result<()> {
        let mut shown = self.surroundings()?;
        let failed = match shown.project {
            true => self.look(&mut shown, report).err(),
            false => None,
        };
        shown.next = if failed.is_none() { next(&shown, &self.layers.repeated()) } else { Vec::new() };
        report.document(&shown, shown.to_string().trim_end());
        failed.map_or(Ok(()), Err)
    }

    /// Returns what can be said whatever is wrong with the project.
    fn surroundings(&self) -> Result<Shown> {
        let root = self.layers.selection().absolute_root()?;
        let is_project =
            ["configs", "configs-base", "workspaces"].iter().any(|name| root.join(name).exists());
        Ok(Shown {
            version: env!("CARGO_PKG_VERSION"),
            root: root.display().to_string(),
            project: is_project,
            workspace: self.layers.selection().workspace(),
            progress: Progress::Empty,
            chain: None,
            board: None,
            images: Vec::new(),
            commands: Vec::new(),
            no_buildroot: None,
            next: Vec::new(),
        })
    }

    /// Places in which the next configure looks for Buildroot.
    fn places(&self) -> Result<Places> {
        let remembered = self.layers.selection().remembered()?.and_then(|known| known.asked.buildroot);
        let variable = std::env::var_os(source::VARIABLE).filter(|value| !value.is_empty());
        Ok(Places { given: None, variable: variable.map(PathBuf::from), remembered, any: true })
    }

    fn look(&self, shown: &mut Shown, report: &Report) -> Result<()> {
        let output = self.layers.selection().below(format!("workspaces/{}", shown.workspace));
        let workspace = self.layers.selection().place()?;
        shown.progress = progress(&workspace)?;
        shown.no_buildroot = source::how_to_get(&workspace, &self.places()?)?;
        let Some(GivenChain { text, asked_by: by }) = self.layers.selection().chain()? else { return Ok(()) };
        shown.chain =
            Some(Selected { text, by, order: self.layers.selection().order()?, layers: Vec::new() });
        let chain = self.layers.resolve_and_report(report)?;
        shown.add_layers(&chain)?;
        cmd::note_left_out(&self.layers.selection(), &chain.chosen, report)?;
        shown.board = board(&self.boards.registry()?, &chain)?;
        shown.images = images(&output.join("images"), shown.board.as_ref())?;
        if !shown.images.is_empty() {
            shown.progress = Progress::Assembled;
        }
        Ok(())
    }
}

impl Shown {
    fn add_layers(&mut self, chain: &Chain) -> Result<()> {
        let row = |layer: &crate::layer::Layer| LayerRow {
            name: layer.name.clone(),
            description: layer.description.clone(),
        };
        self.chain.as_mut().expect("it was put there").layers = chain.layers().map(row).collect();
        for layer in &chain.chosen {
            self.commands.extend(layer.commands()?);
        }
        Ok(())
    }
}

/// State of the build, apart from images of ours. Buildroot writes its tables last, and nothing is composed without
/// them.
fn progress(workspace: &Workspace) -> Result<Progress> {
    let output = workspace.output();
    let is_built = output.join("build/buildroot-fs/full_devices_table.txt").exists();
    Ok(match State::read(workspace)? {
        _ if is_built && !names(&output.join("images"))?.is_empty() => Progress::Compiled,
        Some(_) if output.join(".config").exists() => Progress::Configured,
        _ => Progress::Empty,
    })
}

/// The board of the last layer that is called as one.
fn board(boards: &Registry, chain: &Chain) -> Result<Option<BoardRow>> {
    let Some(layer) = boards.layer_with_board(chain.chosen.iter()) else { return Ok(None) };
    let name = layer.name.clone();
    Ok(Some(match boards.refusal(&name)? {
        Some(refusal) => BoardRow { name, description: refusal.description, refused: Some(refusal.refused) },
        None => BoardRow { description: boards.board(&name)?.description, name, refused: None },
    }))
}

/// Images for media of a board: those that a manifest stands beside.
fn images(directory: &Path, board: Option<&BoardRow>) -> Result<Vec<String>> {
    let Some(board) = board else { return Ok(Vec::new()) };
    let start = format!("skiff-{}.", board.name.replace('/', "-"));
    let names = names(directory)?;
    let manifests = names.iter().filter(|name| name.starts_with(&start));
    let images = manifests.filter_map(|name| name.strip_suffix(".manifest.json"));
    let images = images.filter(|image| names.iter().any(|name| name == image));
    Ok(images.map(|image| directory.join(image).display().to_string()).collect())
}

/// Names in a directory that may not be there, in byte order.
fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Io::on("list", directory)(error).into()),
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<std::io::Result<Vec<String>>>().map_err(Io::on("list", directory))?;
    names.sort();
    Ok(names)
}

/// Returns the next commands, the likeliest first; `flags` are those that have to be given again.
fn next(shown: &Shown, flags: &str) -> Vec<Next> {
    let plain = |command: &str, does| Next { command: format!("skiff-image {command}"), does };
    let next = |command: &str, does| Next { command: format!("skiff-image {command}{flags}"), does };
    if !shown.project {
        let demo = plain("demo", "compose, flash and verify a small built-in system");
        let elsewhere = plain("status --root DIR", "look at the project in DIR");
        return vec![demo, plain("--help", "all verbs"), elsewhere];
    }
    if shown.chain.is_none() {
        let chosen = next("compile --config BOARD,LAYER", "build a system of these layers");
        return vec![next("layers list", "layers that can be chosen"), chosen];
    }
    let is_to_build = matches!(shown.progress, Progress::Empty | Progress::Configured);
    if let Some(command) = shown.no_buildroot.filter(|_| is_to_build) {
        let get = Next { command: command.into(), does: "get Buildroot, which is not there" };
        return vec![get, next("compile", "then configure Buildroot and build the system")];
    }
    let is_composed = shown.board.as_ref().is_some_and(|board| board.refused.is_none());
    let devices = || plain("devices", "list what it can be flashed to");
    match shown.progress {
        Progress::Empty => {
            let only = next("configure", "only configure it");
            vec![next("compile", "configure Buildroot and build the system"), only]
        }
        Progress::Configured => vec![next("compile", "build the system")],
        Progress::Compiled if is_composed => vec![next("assemble", "make an image"), devices()],
        Progress::Compiled => vec![plain("boards list", "boards that images are made for, for `--board`")],
        Progress::Assembled => vec![devices(), next("flash DEVICE", "write the system to a medium")],
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "skiff-image {}", self.version)?;
        match self.project {
            true => self.fmt_project(f)?,
            false => writeln!(f, "no project in {}: there is no configs/", self.root)?,
        }
        if !self.commands.is_empty() {
            let commands = self.commands.iter().map(|command| {
                let description = command.description.as_deref().unwrap_or_default();
                (format!("skiff-image cmd {}", command.command), description)
            });
            writeln!(f, "\ncommands of layers\n{}", columns(commands))?;
        }
        let next = self.next.iter().map(|next| (next.command.clone(), next.does));
        if self.next.is_empty() { Ok(()) } else { write!(f, "\nnext\n{}", columns(next)) }
    }
}

impl Shown {
    fn fmt_project(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "project    {}", self.root)?;
        writeln!(f, "workspace  {}: {}", self.workspace, self.progress)?;
        for image in &self.images {
            writeln!(f, "image      {image}")?;
        }
        match &self.board {
            Some(BoardRow { name, refused: Some(reason), .. }) => writeln!(f, "board      {name}: {reason}")?,
            Some(BoardRow { name, description, .. }) => writeln!(f, "board      {name}: {description}")?,
            None => {}
        }
        match &self.chain {
            None => writeln!(f, "layers     none are chosen"),
            Some(chain) => write!(f, "{chain}"),
        }
    }
}

impl fmt::Display for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.order == Order::Skiffos { ", in SkiffOS' order" } else { "" };
        writeln!(f, "layers     {} (from {}{order})", self.text.trim(), self.by)?;
        let rows =
            self.layers.iter().map(|row| (row.name.clone(), row.description.as_deref().unwrap_or_default()));
        if self.layers.is_empty() { Ok(()) } else { writeln!(f, "{}", columns(rows)) }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Progress::Empty => "not configured",
            Progress::Configured => "configured, not compiled",
            Progress::Compiled => "compiled",
            Progress::Assembled => "compiled, with an image",
        })
    }
}

/// Two columns, indented.
fn columns<'a>(rows: impl Iterator<Item = (String, &'a str)>) -> String {
    let rows: Vec<(String, &str)> = rows.collect();
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    let line = |(left, right): &(String, &str)| format!("  {left:<width$}  {right}").trim_end().to_owned();
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
