//! `boards check`: each descriptor by itself, so that one that is wrong hides nothing about the others.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::board::{Board, BoardError, Registry, Severity};
use crate::cli::about::about;
use crate::cli::args::BoardArgs;
use crate::error::{Error, Result};
use crate::lint::{Finding, lint_board, refuse};
use crate::report::Report;

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
    /// Reason why it is no board at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = self.rules.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let rules: usize = self.rules.values().sum();
        write!(f, "board {}: ", self.board)?;
        if let Some(error) = &self.error {
            return write!(f, "{error}");
        }
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
    fn named(board: &str) -> Checked {
        let (rules, violations) = (BTreeMap::new(), Vec::new());
        Checked { board: board.into(), rules, violations, refused: None, error: None }
    }

    /// Checks a board of the registry.
    fn read(registry: &Registry, name: &str) -> Result<Checked> {
        if let Some(refusal) = registry.refusal(name)? {
            return Ok(Checked { refused: Some(refusal.refused), ..Checked::named(name) });
        }
        let board: Board = registry.board(name)?;
        let rules = board.rules.iter().map(|set| (set.name.clone(), set.rules.len())).collect();
        Ok(Checked { rules, violations: lint_board(&board)?, ..Checked::named(name) })
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
        let is_broken = |checked: &&Checked| checked.error.is_some() || checked.errors().next().is_some();
        match self.0.iter().filter(is_broken).count() {
            0 => write!(f, "{} boards: ok", self.0.len()),
            broken => write!(f, "{} boards: {broken} wrong", self.0.len()),
        }
    }
}

/// Failed check of several boards.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input, hint = "what is wrong with each stands above")]
#[error("{broken} of {checked} boards are wrong")]
struct BrokenBoards {
    broken: usize,
    checked: usize,
}

pub fn run(names: Vec<String>, boards: &BoardArgs, report: &Report) -> Result<()> {
    let registry = boards.registry()?;
    let names = match names.is_empty() {
        true => registry.all_names().map(String::from).collect(),
        false => names,
    };
    if let [name] = names.as_slice() {
        let checked = check(&registry, name)?;
        report.document(&checked, &checked);
        return report_rules(&checked, report);
    }
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for name in &names {
        let checked = check(&registry, name);
        all.push(checked.unwrap_or_else(|error| {
            let failed = Checked { error: Some(error.to_string()), ..Checked::named(name) };
            errors.push(error);
            failed
        }));
    }
    report.document(&all, Table(&all));
    errors.extend(all.iter().filter_map(|checked| report_rules(checked, report).err()));
    errors.iter().for_each(|error| report.error(error));
    match errors.len() {
        0 => Ok(()),
        broken => Err(BrokenBoards { broken, checked: all.len() }.into()),
    }
}

/// Checks a board by its name, or by the file of its descriptor.
fn check(registry: &Registry, name: &str) -> Result<Checked> {
    if !name.ends_with(".toml") {
        return Checked::read(registry, name).map_err(|error| in_descriptor(registry, name, error));
    }
    let mut with_file = registry.clone();
    let board = with_file.add_file(Path::new(name));
    Checked::read(&with_file, &board).map_err(|error| in_descriptor(&with_file, &board, error))
}

/// The error, with the descriptor where its message does not name that.
fn in_descriptor(registry: &Registry, name: &str, error: Error) -> Error {
    // These name the file that is wrong, which may be another one.
    let error = match error.downcast::<BoardError>() {
        Ok(error) => return error.into(),
        Err(error) => error,
    };
    match registry.source(name) {
        Ok(source) if !error.to_string().contains(name) => about(source.file, error),
        _ => error,
    }
}

/// Reports warnings, and fails if there are errors.
fn report_rules(checked: &Checked, report: &Report) -> Result<()> {
    let Checked { board, violations, .. } = checked;
    let warnings = refuse(board, violations.clone())?;
    warnings.iter().for_each(|warning| report.warn(format!("board `{board}`: {warning}")));
    Ok(())
}
