//! What the integration tests share.
#![allow(dead_code)]
use std::process::Command;
/// Whether `tool` can be run; a missing one is told, and is a failure where nothing may be skipped (in CI).
pub fn oracle(test: &str, tool: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|dir| dir.join(tool).is_file())
    });
    if !found {
        assert!(
            std::env::var_os("CI").is_none(),
            "{test}: `{tool}` is missing; run fixtures/install-oracles"
        );
        eprintln!("skipped: {test}: `{tool}` is missing; run fixtures/install-oracles");
    }
    found
}
/// A command that finds the tools of the system directories too.
pub fn command(tool: &str) -> Command {
    let mut command = Command::new(tool);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}
