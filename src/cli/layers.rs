//! `layers list|resolve|check`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::LayerArgs;
use super::compat;
use crate::error::Result;
use crate::layer::Layer;
use crate::layer::fragment::Kind;
use crate::layer::symbols::{self, Checked, DefinedSymbols, SymbolError};
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub enum Layers {
    /// List all layers that can be chosen.
    List {
        #[command(flatten)]
        layers: LayerArgs,
        /// Also those that are only meant as dependencies.
        #[arg(long)]
        all: bool,
    },
    /// Show the layers of a chain in the order they are applied.
    Resolve {
        #[command(flatten)]
        layers: LayerArgs,
        /// Show SkiffOS' order beside ours, and which dependencies make the difference.
        #[arg(long)]
        compat: bool,
    },
    /// Check that every symbol which the fragments of layers set exists: in all layers, or in those of the chain.
    Check(Check),
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    layers: LayerArgs,

    /// Buildroot source tree that buildroot/ of the layers is for.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["kernel", "uboot"])]
    buildroot: Option<PathBuf>,

    /// External tree of Buildroot, besides buildroot/ of the project and buildroot_ext/ of the layers.
    #[arg(long, value_name = "DIR")]
    external: Vec<PathBuf>,

    /// Linux source tree that kernel/ of the layers is for.
    #[arg(long, value_name = "DIR")]
    kernel: Option<PathBuf>,

    /// U-Boot source tree that uboot/ of the layers is for.
    #[arg(long, value_name = "DIR")]
    uboot: Option<PathBuf>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    path: String,
    description: String,
    root_overlay: bool,
    /// Search step that found it.
    found: String,
    /// Directories of the same name that it replaces.
    replaces: Vec<String>,
}

struct Rows<'a>(&'a [Row]);

impl fmt::Display for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let line = |row: &Row| {
            let replaced: String = row.replaces.iter().map(|path| format!(" (replaces `{path}`)")).collect();
            format!("{:<width$}  {}{replaced}", row.name, row.description).trim_end().to_owned()
        };
        f.write_str(&self.0.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

impl Layers {
    pub fn run(self, report: &Report) -> Result<()> {
        let rows: Vec<Row> = match &self {
            Layers::Check(check) => return check.run(report),
            Layers::List { layers, all } => {
                let registry = layers.selection().some_layers()?;
                registry.notes().iter().for_each(|note| report.note(note));
                registry.layers().filter(|layer| *all || !layer.unlisted).map(row).collect()
            }
            Layers::Resolve { layers, compat: true } => return compat::run(layers, report),
            Layers::Resolve { layers, compat: false } => {
                layers.require_and_report(report)?.layers().map(row).collect()
            }
        };
        report.document(&rows, Rows(&rows));
        Ok(())
    }
}

fn row(layer: &Layer) -> Row {
    Row {
        name: layer.name.clone(),
        path: layer.path.display().to_string(),
        description: layer.description.clone().unwrap_or_default(),
        root_overlay: layer.root_overlay().is_some(),
        found: layer.found.to_string(),
        replaces: layer.shadows.iter().map(|path| path.display().to_string()).collect(),
    }
}

impl Check {
    fn run(&self, report: &Report) -> Result<()> {
        let layers = self.layers()?;
        self.report_other_version(report)?;
        let checked = symbols::check(&layers, &self.definitions(&layers)?)?;
        report.document(&checked, Shown(&checked));
        match checked.findings.len() {
            0 => Ok(()),
            findings => Err(SymbolError::Ignored { findings, settings: checked.settings }.into()),
        }
    }

    /// Those of the chain, if there is one, else all.
    fn layers(&self) -> Result<Vec<Layer>> {
        if self.layers.selection().chain()?.is_some() {
            return self.layers.selection().resolve();
        }
        let registry = self.layers.selection().some_layers()?;
        Ok(registry.layers().chain(registry.base()).chain(registry.overrides()).cloned().collect())
    }

    fn definitions(&self, layers: &[Layer]) -> Result<BTreeMap<Kind, DefinedSymbols>> {
        let given =
            [(Kind::Buildroot, &self.buildroot), (Kind::Kernel, &self.kernel), (Kind::UBoot, &self.uboot)];
        let mut trees = BTreeMap::new();
        for (tree, directory) in given {
            if let Some(directory) = directory {
                trees.insert(tree, DefinedSymbols::read(tree, directory)?);
            }
        }
        if let Some(definitions) = trees.get_mut(&Kind::Buildroot) {
            for directory in self.externals(layers) {
                definitions.add(Kind::Buildroot, &directory)?;
            }
        }
        Ok(trees)
    }

    fn externals(&self, layers: &[Layer]) -> Vec<PathBuf> {
        let own = [self.layers.selection().below("buildroot")].into_iter().filter(|path| path.is_dir());
        let of_layers = layers.iter().filter_map(|layer| layer.file("buildroot_ext"));
        own.chain(of_layers).chain(self.external.iter().cloned()).collect()
    }

    /// Layers are made for one version of Buildroot; another one may differ without fault.
    fn report_other_version(&self, report: &Report) -> Result<()> {
        let Some(directory) = &self.buildroot else { return Ok(()) };
        let pinned = symbols::first_line(&self.layers.selection().below("buildroot/VERSION"))?;
        let (Some(pinned), Some(found)) = (pinned, symbols::buildroot_version(directory)?) else {
            return Ok(());
        };
        if pinned != found {
            let directory = directory.display();
            report.warn(format!("`{directory}` is Buildroot {found}, the layers are made for {pinned}"));
        }
        Ok(())
    }
}

struct Shown<'a>(&'a Checked);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checked { fragments, settings, findings } = self.0;
        for finding in findings {
            writeln!(f, "{finding}")?;
        }
        let found = if findings.is_empty() { "ok".into() } else { format!("{} wrong", findings.len()) };
        write!(f, "{settings} settings in {fragments} fragments: {found}")
    }
}
