//! What the benches share: a tree, runs of programs, Markdown and SVG.
#![allow(dead_code)] // each bench uses a part of it

pub mod chart;
#[path = "../../tests/harness/mod.rs"]
pub mod harness;
pub mod kept;
pub mod run;
pub mod table;
pub mod tree;

use std::path::{Path, PathBuf};

pub use harness::tools::command;

/// Where benches keep their trees and results: `bench/` in cargo's target directory.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp is in target").join("bench")
}

/// Runs a command that must succeed, and returns what it printed.
pub fn succeed(command: &mut std::process::Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

/// Replaces a directory by a new, empty one.
pub fn fresh(directory: &Path) {
    if directory.exists() {
        std::fs::remove_dir_all(directory).expect("a directory of the bench can be removed");
    }
    std::fs::create_dir_all(directory).expect("a directory of the bench can be made");
}
