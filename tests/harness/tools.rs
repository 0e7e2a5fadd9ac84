//! What the integration tests share.
#![allow(dead_code)] // benches and unit tests use it too

use std::path::Path;
use std::process::Command;
use std::time::Duration;
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
/// Unmounts, and says whether that worked. Tried again for a while: a program that another test starts holds a copy
/// of every open file between its fork and its exec, those on this filesystem too.
pub fn unmount(at: &Path) -> bool {
    let umount = || command("umount").arg(at).status().is_ok_and(|status| status.success());
    (0..100).any(|_| {
        let done = umount();
        if !done {
            std::thread::sleep(Duration::from_millis(100));
        }
        done
    })
}
