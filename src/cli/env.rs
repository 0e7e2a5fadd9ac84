//! `env`: what programs of layers find in their environment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use clap::Args;

use super::args::LayerArgs;
use super::layer_program::system;
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
        let variables = system(&self.layers, report)?.variables();
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

/// A word of a shell; bytes that are no text are told as bash reads them.
pub fn quoted(value: &OsStr) -> String {
    match value.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.into(),
        Some(text) => format!("'{}'", text.replace('\'', r"'\''")),
        None => {
            format!("$'{}'", value.as_bytes().iter().map(|byte| format!("\\{byte:03o}")).collect::<String>())
        }
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':' | ',' | '@' | '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them_otherwise() {
        assert_eq!(quoted(OsStr::new("/a/b-c,d")), "/a/b-c,d");
        assert_eq!(quoted(OsStr::new("it's $x `y` #&")), r"'it'\''s $x `y` #&'");
        assert_eq!(quoted(OsStr::new("")), "''");
        assert_eq!(quoted(OsStr::from_bytes(b"a\xff")), r"$'\141\377'");
    }
}
