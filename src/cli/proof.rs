//! Flags that several verbs share: how sure the user wants to be of what is composed.

use clap::Args;

use crate::containers::ContainersError;
use crate::error::Result;
use crate::report::Report;

/// Number of things left out that an error names.
const NAMED: usize = 10;

/// Proof that the user wants of what is composed.
#[derive(Debug, Args)]
pub struct ProofArgs {
    /// Read each composed squashfs back with an independent reader and compare every file before the image gets its
    /// name; without it only where CI=true.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    verify_output: Option<bool>,

    #[command(flatten)]
    strict: StrictArgs,
}

/// Treatment of something that an image cannot hold.
#[derive(Debug, Args)]
pub struct StrictArgs {
    /// Fail instead of warning if anything has to be left out of the image, or a configuration of containers may be meant
    /// otherwise than it is written.
    #[arg(long)]
    strict: bool,
}

impl ProofArgs {
    /// Returns whether each squashfs is read back.
    pub fn verify_output(&self) -> bool {
        self.verify_output.unwrap_or_else(|| std::env::var_os("CI").is_some_and(|value| value == "true"))
    }

    /// See [`StrictArgs::containers`].
    pub fn containers(&self, notes: &[String], report: &Report) -> Result<()> {
        self.strict.containers(notes, report)
    }

    /// See [`StrictArgs::left_out`].
    pub fn left_out(&self, left_out: &[String], report: &Report) -> Result<()> {
        self.strict.left_out(left_out, report)
    }
}

impl StrictArgs {
    /// Warns about each note about a configuration of containers, or makes an error of them.
    pub fn containers(&self, notes: &[String], report: &Report) -> Result<()> {
        if self.strict && !notes.is_empty() {
            return Err(ContainersError::Strict(notes.to_vec()).into());
        }
        notes.iter().for_each(|note| report.warn(note));
        Ok(())
    }

    /// Warns about each thing that is left out, or makes an error of them.
    pub fn left_out(&self, left_out: &[String], report: &Report) -> Result<()> {
        if self.strict && !left_out.is_empty() {
            return Err(LeftOut(left_out.to_vec()).into());
        }
        left_out.iter().for_each(|one| report.warn(one));
        Ok(())
    }
}

/// `--strict` forbids to leave these out.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input, hint = "remove it from the source, or compose without `--strict`")]
#[error("{} would be left out of the image: {}", counted(.0.len()), listed(.0))]
struct LeftOut(Vec<String>);

fn counted(count: usize) -> String {
    if count == 1 { "one thing".into() } else { format!("{count} things") }
}

fn listed(left_out: &[String]) -> String {
    let mut text = left_out[..left_out.len().min(NAMED)].join("; ");
    if left_out.len() > NAMED {
        text.push_str(&format!("; and {} more", left_out.len() - NAMED));
    }
    text
}
