//! `boards list`.

use std::fmt;

use serde::Serialize;

use crate::board::{Board, BoardError, Proof, Refusal, Registry, RootStyle, TableKind};
use crate::cli::args::BoardArgs;
use crate::error::Result;
use crate::report::Report;
use crate::value::Arch;

#[derive(Serialize)]
struct Row {
    name: String,
    arch: Vec<Arch>,
    description: String,
    status: String,
    #[serde(flatten)]
    medium: Medium,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Medium {
    /// A medium can be composed.
    Composed { table: TableKind, root: RootStyle, proof: Vec<Proof> },
    /// There is none, and why.
    Refused { refused: String },
    /// Nobody knows: the descriptor is wrong.
    Broken { error: String },
}

struct Rows<'a>(&'a [Row]);

impl fmt::Display for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|row| row.name.len()).max().unwrap_or(0);
        for (index, row) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{:<width$}  {}", row.name, row.description)?;
            if !row.status.is_empty() {
                write!(f, "\n{:<width$}  {}", "", row.status)?;
            }
            match &row.medium {
                Medium::Refused { refused } => write!(f, "\n{:<width$}  refused: {refused}", "")?,
                Medium::Broken { error } => write!(f, "\n{:<width$}  broken: {error}", "")?,
                Medium::Composed { proof, .. } => {
                    write!(f, "\n{:<width$}  {}", "", claims(proof, Proof::to_string))?;
                }
            }
        }
        Ok(())
    }
}

/// The same for a document that people read.
struct Markdown<'a>(&'a [Row]);

impl fmt::Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| board | what it is | table | root | proof |\n|---|---|---|---|---|")?;
        for Row { name, description, medium, .. } in self.0 {
            write!(f, "\n| `{name}` | {description} | ")?;
            match medium {
                Medium::Refused { refused } => write!(f, "| | refused: {refused} |")?,
                Medium::Broken { error } => write!(f, "| | broken: {error} |")?,
                Medium::Composed { table, root, proof } => {
                    write!(f, "{table} | {root} | {} |", claims(proof, claim))?;
                }
            }
        }
        Ok(())
    }
}

fn claims(proof: &[Proof], show: fn(&Proof) -> String) -> String {
    match proof {
        [] => "unproven".into(),
        _ => proof.iter().map(show).collect::<Vec<_>>().join(", "),
    }
}

fn claim(proof: &Proof) -> String {
    let level = proof.level();
    proof.by().map_or(level.into(), |by| format!("{level} ({by})"))
}

impl Row {
    fn new(registry: &Registry, name: &str) -> Row {
        let broken = |error: BoardError| Row {
            name: name.into(),
            arch: Vec::new(),
            description: "a descriptor that is wrong".into(),
            status: String::new(),
            medium: Medium::Broken { error: error.to_string() },
        };
        Row::read(registry, name).unwrap_or_else(broken)
    }

    fn read(registry: &Registry, name: &str) -> Result<Row, BoardError> {
        let row =
            |arch, description, status, medium| Row { name: name.into(), arch, description, status, medium };
        if let Some(Refusal { description, status, arch, refused, .. }) = registry.refusal(name)? {
            return Ok(row(arch, description, status, Medium::Refused { refused }));
        }
        let Board { arch, description, status, table, root, proof, .. } = registry.board(name)?;
        Ok(row(arch, description, status, Medium::Composed { table, root, proof }))
    }
}

pub fn run(markdown: bool, boards: &BoardArgs, report: &Report) -> Result<()> {
    let registry = boards.registry()?;
    let rows: Vec<Row> = registry.all_names().map(|name| Row::new(&registry, name)).collect();
    if markdown {
        report.document(&rows, Markdown(&rows));
    } else {
        report.document(&rows, Rows(&rows));
    }
    for Row { name, medium, .. } in &rows {
        if let Medium::Broken { error } = medium {
            report.warn(format!("board `{name}` is not known: {error}"));
        }
    }
    Ok(())
}
