//! `layers list|resolve`.

use std::fmt;

use clap::Subcommand;
use serde::Serialize;

use super::args::LayerArgs;
use crate::error::Result;
use crate::layer::Layer;
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
    },
}

#[derive(Serialize)]
struct Row {
    name: String,
    path: String,
    description: String,
    root_overlay: bool,
}

struct Rows<'a>(&'a [Row]);

impl fmt::Display for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let line = |row: &Row| format!("{:<width$}  {}", row.name, row.description).trim_end().to_owned();
        f.write_str(&self.0.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

impl Layers {
    pub fn run(self, report: &Report) -> Result<()> {
        let rows: Vec<Row> = match &self {
            Layers::List { layers, all } => {
                let registry = layers.registry()?;
                registry.layers().filter(|layer| *all || !layer.unlisted).map(row).collect()
            }
            Layers::Resolve { layers } => layers.resolve()?.iter().map(row).collect(),
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
    }
}
