//! Images of the shipped boards, composed from Buildroot-shaped fixtures by the program itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Time of everything in the images: 2023-11-14 22:13:20.
pub const TIMESTAMP: &str = "1700000000";

/// A Buildroot-shaped directory for an architecture of Debian, made once.
pub fn output(arch: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let base = root.join("target/fixtures");
    let output = base.join(arch);
    let done = Command::new(root.join("fixtures/debian-output"))
        .arg(arch)
        .arg(&output)
        .arg("--cache")
        .arg(base.join("cache"))
        .stdout(Stdio::null())
        .status()
        .expect("fixtures/debian-output runs");
    assert!(done.success(), "fixtures/debian-output {arch} failed");
    output
}

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

/// A command about `board`, with its layer and its fixture.
pub fn about(verb: &[&str], board: &str, arch: &str) -> Command {
    let mut command = skiff_image();
    command.args(verb).args(["--board", board, "--config", board, "--source"]).arg(output(arch));
    command
}

/// An image of `board` in `directory`.
pub fn assemble(board: &str, arch: &str, directory: &Path, options: &[&str]) -> PathBuf {
    let image = directory.join("disk.img");
    run(about(&["--quiet", "assemble"], board, arch).args(options).arg("--out").arg(&image));
    image
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
