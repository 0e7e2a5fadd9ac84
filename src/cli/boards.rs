//! `boards list|show|check`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use clap::Subcommand;
use serde::Serialize;

use super::args::BoardArgs;
use crate::board::Severity;
use crate::board::{Board, Proof, Refusal, Registry, RootStyle, TableKind};
use crate::error::Result;
use crate::lint::{Finding, lint_board, refuse};
use crate::report::Report;
use crate::value::Arch;

#[derive(Debug, Subcommand)]
pub enum Boards {
    /// List all boards.
    List {
        /// As a table in Markdown.
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
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
    /// Check the descriptors of all boards, or of some, against the rules of their boot ROMs and boot loaders.
    Check {
        /// Board names, or files of descriptors (namespace/name.toml).
        #[arg(value_name = "NAME|FILE")]
        names: Vec<String>,
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
}

struct Rows<'a>(&'a [Row]);

impl fmt::Display for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|row| row.name.len()).max().unwrap_or(0);
        for (index, row) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{:<width$}  {}\n{:<width$}  {}", row.name, row.description, "", row.status)?;
            match &row.medium {
                Medium::Refused { refused } => write!(f, "\n{:<width$}  refused: {refused}", "")?,
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

impl Boards {
    pub fn run(self, report: &Report) -> Result<()> {
        match self {
            Boards::List { markdown, boards } => list(markdown, &boards, report),
            Boards::Show { name, boards } => {
                let registry = boards.registry()?;
                let text = registry.text(&name)?;
                match registry.refusal(&name)? {
                    Some(refusal) => report.document(&refusal, text.trim_end()),
                    None => report.document(&registry.board(&name)?, text.trim_end()),
                }
                Ok(())
            }
            Boards::Check { names, boards } => check(names, &boards, report),
        }
    }
}

fn list(markdown: bool, boards: &BoardArgs, report: &Report) -> Result<()> {
    let registry = boards.registry()?;
    let row = |name: &str| -> Result<Row> {
        let name = name.to_owned();
        if let Some(Refusal { description, status, arch, refused, .. }) = registry.refusal(&name)? {
            return Ok(Row { name, arch, description, status, medium: Medium::Refused { refused } });
        }
        let Board { arch, description, status, table, root, proof, .. } = registry.board(&name)?;
        Ok(Row { name, arch, description, status, medium: Medium::Composed { table, root, proof } })
    };
    let rows = registry.all_names().map(row).collect::<Result<Vec<_>>>()?;
    if markdown {
        report.document(&rows, Markdown(&rows));
    } else {
        report.document(&rows, Rows(&rows));
    }
    Ok(())
}

/// Result of checking a board.
#[derive(Serialize)]
struct Checked {
    board: String,
    /// Number of rules that were looked at, by set.
    rules: BTreeMap<String, usize>,
    violations: Vec<Finding>,
    /// Reason why no medium can be composed for it, and so nothing was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = self.rules.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let rules: usize = self.rules.values().sum();
        write!(f, "board {}: ", self.board)?;
        if let Some(refused) = &self.refused {
            return write!(f, "ok, refused: {refused}");
        }
        match self.errors().count() {
            0 => write!(f, "ok, {rules} rules of {sets}"),
            1 => write!(f, "breaks a rule of {sets}"),
            errors => write!(f, "breaks rules of {sets} {errors} times"),
        }
    }
}

impl Checked {
    fn new(board: &Board) -> Result<Checked> {
        let rules = board.rules.iter().map(|set| (set.name.clone(), set.rules.len())).collect();
        Ok(Checked { board: board.name.clone(), rules, violations: lint_board(board)?, refused: None })
    }

    fn refused(board: &str, refusal: Refusal) -> Checked {
        let (rules, violations) = (BTreeMap::new(), Vec::new());
        Checked { board: board.into(), rules, violations, refused: Some(refusal.refused) }
    }

    fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.violations.iter().filter(|finding| finding.severity == Severity::Error)
    }
}

/// The boards that were checked, one line each, and what they break.
struct Table<'a>(&'a [Checked]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for checked in self.0 {
            writeln!(f, "{checked}")?;
            checked.errors().try_for_each(|finding| writeln!(f, "  {}: {}", finding.rule, finding.found))?;
        }
        match self.0.iter().filter(|checked| checked.errors().next().is_some()).count() {
            0 => write!(f, "{} boards: ok", self.0.len()),
            broken => write!(f, "{} boards: {broken} break rules", self.0.len()),
        }
    }
}

/// Failed check of several boards; the document says what each breaks.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input, hint = "`skiff-image boards check NAME` tells what to change")]
#[error("{broken} of {checked} boards break rules")]
struct BrokenBoards {
    broken: usize,
    checked: usize,
}

fn check(names: Vec<String>, boards: &BoardArgs, report: &Report) -> Result<()> {
    let registry = boards.registry()?;
    let names = match names.is_empty() {
        true => registry.all_names().map(String::from).collect(),
        false => names,
    };
    let checked = names.iter().map(|name| check_one(&registry, name)).collect::<Result<Vec<_>>>()?;
    match checked.as_slice() {
        [one] => report.document(one, one),
        several => report.document(&several, Table(several)),
    }
    report_checks(checked, report)
}

/// Checks a board by its name, or by the file of its descriptor.
fn check_one(registry: &Registry, name: &str) -> Result<Checked> {
    if name.ends_with(".toml") {
        return Checked::new(&registry.board_of_file(Path::new(name))?);
    }
    match registry.refusal(name)? {
        Some(refusal) => Ok(Checked::refused(name, refusal)),
        None => Checked::new(&registry.board(name)?),
    }
}

/// Tells warnings, and fails if there are errors.
fn report_checks(checked: Vec<Checked>, report: &Report) -> Result<()> {
    let (total, mut broken) = (checked.len(), Vec::new());
    for Checked { board, violations, .. } in checked {
        match refuse(&board, violations) {
            Ok(warnings) => {
                warnings.iter().for_each(|warning| report.warn(format!("board `{board}`: {warning}")));
            }
            Err(error) => broken.push(error),
        }
    }
    match (total, broken.pop()) {
        (_, None) => Ok(()),
        (1, Some(error)) => Err(error.into()),
        (checked, Some(_)) => Err(BrokenBoards { broken: broken.len() + 1, checked }.into()),
    }
}
