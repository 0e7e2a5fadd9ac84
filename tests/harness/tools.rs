//! What the integration tests share.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::skip::skip;

/// Whether `tool` can be run; a missing one is told, and is a failure where nothing may be skipped (in CI).
pub fn oracle(test: &str, tool: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|dir| dir.join(tool).is_file())
    });
    if !found {
        skip(test, &format!("`{tool}` is missing; run fixtures/install-oracles"));
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

/// Time of everything in the images: 2023-11-14 22:13:20.
pub const TIMESTAMP: &str = "1700000000";

/// The program, with nothing of the caller's environment that changes what it does.
pub fn skiff_image() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-image"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SKIFF_")) {
        command.env_remove(name);
    }
    command.env("SOURCE_DATE_EPOCH", TIMESTAMP).env("SKIFF_CACHE", "off");
    command.env("XDG_STATE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/state"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

/// Runs a command that must succeed and gives what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", shown(command)));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {}\n{stdout}{stderr}", shown(command), output.status);
    stdout.into_owned()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// A directory for images, below `target/`: /tmp may be a small memory filesystem.
pub fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("target/ is writable")
}

/// Writes a file, with the directories that lead to it.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory can be made");
    std::fs::write(path, bytes).expect("a file can be written");
}

/// Writes a file that can be run, and the directories that lead to it. Another program does it: one that this process
/// has open for writing cannot be run, and between its fork and its exec each child of another test has all of them open.
pub fn write_script(path: &Path, text: &str) {
    let mut install = Command::new("install");
    install.args(["-D", "-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped());
    let mut child = install.spawn().expect("install starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("install reads it");
    assert!(child.wait().is_ok_and(|status| status.success()), "a script can be written");
}
