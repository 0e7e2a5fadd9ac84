//! `boards list|show|check`.

use std::fmt;

use clap::Subcommand;
use serde::Serialize;

use super::args::{self, BoardArgs};
use crate::board::{Board, Refusal, Size};
use crate::error::Result;
use crate::plan::{Demand, DemandLen, place};
use crate::report::Report;
use crate::value::Arch;

#[derive(Debug, Subcommand)]
pub enum Boards {
    /// List all boards.
    List {
        #[command(flatten)]
        boards: BoardArgs,
    },
    /// Show the descriptor of a board.
    Show {
        /// Board name.
        name: String,
        #[command(flatten)]
        boards: BoardArgs,
    },
    /// Check the descriptors of all boards, or of one.
    Check {
        /// Board name.
        name: Option<String>,
        #[command(flatten)]
        boards: BoardArgs,
    },
}

#[derive(Serialize)]
struct Row {
    name: String,
    arch: Vec<Arch>,
    description: String,
    status: String,
    /// Why there is no medium.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

struct Rows<'a>(&'a [Row]);

impl fmt::Display for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|row| row.name.len()).max().unwrap_or(0);
        for (index, row) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{:<width$}  {}\n{:<width$}  {}", row.name, row.description, "", row.status)?;
            if let Some(refused) = &row.refused {
                write!(f, "\n{:<width$}  refused: {refused}", "")?;
            }
        }
        Ok(())
    }
}

impl Boards {
    pub fn run(self, report: &Report) -> Result<()> {
        match self {
            Boards::List { boards } => list(&boards, report),
            Boards::Show { name, boards } => {
                let registry = boards.registry()?;
                let text = registry.text(&name)?;
                match registry.refusal(&name)? {
                    Some(refusal) => report.document(&refusal, text.trim_end()),
                    None => report.document(&registry.board(&name)?, text.trim_end()),
                }
                Ok(())
            }
            Boards::Check { name, boards } => check(name, &boards, report),
        }
    }
}

fn list(boards: &BoardArgs, report: &Report) -> Result<()> {
    let registry = boards.registry()?;
    let row = |name: &str| -> Result<Row> {
        let name = name.to_owned();
        if let Some(Refusal { description, status, arch, refused, .. }) = registry.refusal(&name)? {
            return Ok(Row { name, arch, description, status, refused: Some(refused) });
        }
        let Board { arch, description, status, .. } = registry.board(&name)?;
        Ok(Row { name, arch, description, status, refused: None })
    };
    let rows = registry.all_names().map(row).collect::<Result<Vec<_>>>()?;
    report.document(&rows, Rows(&rows));
    Ok(())
}

fn check(name: Option<String>, boards: &BoardArgs, report: &Report) -> Result<()> {
    let registry = boards.registry()?;
    let names = match name {
        Some(name) => vec![name],
        None => registry.all_names().map(String::from).collect(),
    };
    for name in &names {
        if registry.refusal(name)?.is_none() {
            lay_out(&args::board(boards, name)?)?;
        }
    }
    let text = match names.as_slice() {
        [one] => format!("board {one}: ok"),
        several => format!("{} boards: ok", several.len()),
    };
    report.document(&names, text);
    Ok(())
}

/// The layout with empty contents: offsets and fixed sizes that contradict each other are found without any
/// image.
fn lay_out(board: &Board) -> Result<()> {
    let demand = |partition: &crate::board::Partition| Demand {
        name: partition.name.clone(),
        start: partition.start.map(|start| start.0),
        len: match partition.size {
            Size::Exact(size) => DemandLen::Exact(size.0),
            Size::Fit { slack } => DemandLen::Exact(slack.0),
            Size::Rest { minimum } => DemandLen::Rest(minimum.0),
        },
    };
    let demands: Vec<Demand> = board.partitions.iter().map(demand).collect();
    place(board, &demands, None)?;
    Ok(())
}
