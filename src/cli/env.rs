//! `env`: what programs of layers find in their environment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;

use clap::Args;

use super::args::LayerArgs;
use super::layer_program::workspace_context;
use super::shell_word::quoted;
use crate::error::Result;
use crate::layer::environment::Variables;
use crate::report::Report;

#[derive(Debug, Args)]
pub struct Env {
    #[command(flatten)]
    layers: LayerArgs,
}

impl Env {
    pub fn run(&self, report: &Report) -> Result<()> {
        let variables = workspace_context(&self.layers, report)?.variables();
        let text = |value: &OsStr| value.to_string_lossy().into_owned();
        let document: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| (text(name), text(value))).collect();
        report.document(&document, Exports(&variables));
        Ok(())
    }
}

/// Variables as a shell reads them.
struct Exports<'a>(&'a Variables);

impl fmt::Display for Exports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |(name, value): (_, &_)| format!("export {}={}", OsStr::display(name), quoted(value));
        let lines: Vec<String> = self.0.iter().map(|(name, value)| line((name.as_os_str(), value))).collect();
        f.write_str(&lines.join("\n"))
    }
}
