//! Images of the shipped boards, composed from Buildroot-shaped fixtures by the program itself.

pub mod every;
pub mod readback;
pub mod synthetic;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::tools::{run, skiff_image};

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
