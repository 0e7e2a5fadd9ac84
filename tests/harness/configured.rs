//! A project with layers and a pretend Buildroot, for tests of what configures it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use super::project::PROGRAM;
use super::toy_buildroot;

/// A directory with `project/` and `toy/`.
pub struct Configured {
    directory: tempfile::TempDir,
    project: &'static str,
}

impl Configured {
    /// One layer `a/b` that makes the toy an AArch64 system.
    pub fn new() -> Configured {
        Configured::named("project")
    }

    /// The same in a directory of this name.
    pub fn named(project: &'static str) -> Configured {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let configured = Configured { directory, project };
        toy_buildroot::make(&configured.beside("toy"));
        configured.write("configs/a/b/buildroot/arch", "BR2_aarch64=y\n");
        configured
    }

    /// The project root.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join(self.project)
    }

    /// A path in the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// A path beside the project.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file of the project.
    pub fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    /// Reads a file of the project.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The program in the project, without any variable.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.root()).env_clear();
        for kept in ["PATH", "TMPDIR"] {
            std::env::var_os(kept).map(|value| command.env(kept, value));
        }
        // It is in our own checkout.
        command.env("GIT_CEILING_DIRECTORIES", env!("CARGO_TARGET_TMPDIR"));
        command
    }

    /// `configure` with the toy and the layer.
    pub fn configure(&self) -> Command {
        self.command(&["configure", "--buildroot", "../toy", "--config", "a/b"])
    }

    /// A symbol of the effective configuration.
    pub fn effective(&self, symbol: &str) -> Option<String> {
        let text = self.read("workspaces/default/.config");
        let mut values = text.lines().filter_map(|line| line.strip_prefix(symbol)?.strip_prefix('='));
        values.next().map(String::from)
    }

    /// When each file below a directory was changed.
    pub fn times(&self, name: &str) -> BTreeMap<PathBuf, SystemTime> {
        let mut found = BTreeMap::new();
        list(&self.path(name), &mut found);
        found
    }
}

pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory can be made");
    fs::write(path, text).expect("a file can be written");
}

fn list(directory: &Path, found: &mut BTreeMap<PathBuf, SystemTime>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let metadata = path.symlink_metadata().expect("it is there");
        if metadata.is_dir() {
            list(&path, found);
        } else if !path.ends_with("lock") {
            found.insert(path, metadata.modified().expect("a time"));
        }
    }
}
