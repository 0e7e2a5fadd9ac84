//! `layers resolve --compat`: our order of layers beside that of SkiffOS.

use std::fmt;

use serde::Serialize;

use super::args::LayerArgs;
use crate::error::Result;
use crate::layer::{Displaced, Order, displaced};
use crate::project::GivenChain;
use crate::report::Report;

#[derive(Serialize)]
struct Compared {
    ours: Vec<String>,
    skiffos: Vec<String>,
    displaced: Vec<Displaced>,
}

pub fn run(layers: &LayerArgs, report: &Report) -> Result<()> {
    let registry = layers.selection().registry()?;
    let (GivenChain { text: chain, asked_by }, _) = layers.selection().required()?;
    let names = |order| -> Result<Vec<String>> {
        let chain = registry.chain(&chain, &asked_by, order)?;
        Ok(chain.chosen.into_iter().map(|layer| layer.name).collect())
    };
    let compared = Compared {
        ours: names(Order::Dependencies)?,
        skiffos: names(Order::Skiffos)?,
        displaced: displaced(&registry, &chain, &asked_by)?,
    };
    report.document(&compared, &compared);
    Ok(())
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.ours.iter().map(String::len).chain([4]).max().unwrap_or_default();
        write!(f, "{:<width$}  skiffos", "ours")?;
        for (ours, skiffos) in self.ours.iter().zip(&self.skiffos) {
            write!(f, "\n{ours:<width$}  {skiffos}")?;
        }
        if self.ours == self.skiffos {
            return write!(f, "\nboth orders are the same");
        }
        for Displaced { dependency, dependent } in &self.displaced {
            write!(f, "\nskiffos has `{dependency}` behind `{dependent}`, which depends on it")?;
        }
        Ok(())
    }
}
