//! Programs that own a format and are asked for a second opinion in tests.

#[allow(dead_code, unreachable_pub)] // tests of the composer leave things out, those here do not
#[path = "../../../tests/harness/skip.rs"]
mod skip;

use std::process::{Command, Stdio};

/// A command that reads nothing.
pub(crate) fn command(tool: &str) -> Command {
    let mut command = Command::new(tool);
    command.stdin(Stdio::null());
    command
}

/// Whether `tool` can be run; where it is missing, `test` is skipped and says so.
pub(crate) fn oracle(test: &str, tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(tool).is_file());
    if !found {
        skip::skip(test, &format!("`{tool}` is missing; run fixtures/install-oracles"));
    }
    found
}
