//! A project of one layer with a pretend Buildroot beside it, for tests of what builds it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::project::PROGRAM;
use super::toy_buildroot;

/// A directory with `project/` and `toy/`.
pub struct Built {
    directory: tempfile::TempDir,
}

impl Built {
    /// The layer `a/b`, an AArch64 system with a program and a kernel.
    pub fn new() -> Built {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let built = Built { directory };
        toy_buildroot::make(&built.beside("toy"));
        built.write("configs/a/b/buildroot/base", "BR2_aarch64=y\nBR2_PACKAGE_HELLO=y\nBR2_LINUX_KERNEL=y\n");
        built
    }

    /// The project root.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("project")
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
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory can be made");
        fs::write(path, text).expect("a file can be written");
    }

    /// Writes a script of the project.
    pub fn script(&self, name: &str, text: &str) {
        self.write(name, &format!("#!/bin/sh\n{text}"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).expect("it is there");
    }

    /// Reads a file of the project.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The program in the project, with a time and no other variable.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.root()).env_clear();
        for kept in ["PATH", "TMPDIR"] {
            std::env::var_os(kept).map(|value| command.env(kept, value));
        }
        // The directory may be in a checkout.
        command.env("GIT_CEILING_DIRECTORIES", self.directory.path());
        command.env("SOURCE_DATE_EPOCH", "1577934245");
        command
    }

    /// A verb with the toy and the layer.
    pub fn verb(&self, verb: &str, more: &[&str]) -> Command {
        self.command(&[&[verb, "--buildroot", "../toy", "--config", "a/b"], more].concat())
    }

    /// `compile`.
    pub fn compile(&self, more: &[&str]) -> Command {
        self.verb("compile", more)
    }

    /// Contents, links and modes of all below a directory of the project.
    pub fn contents(&self, name: &str) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let top = self.path(name);
        list(&top, &top, &mut found);
        found
    }
}

fn list(top: &Path, directory: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let metadata = path.symlink_metadata().expect("it is there");
        let bytes = match () {
            () if metadata.is_symlink() => {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            }
            () if metadata.is_dir() => {
                list(top, &path, found);
                Vec::new()
            }
            () => fs::read(&path).unwrap(),
        };
        found.insert(path.strip_prefix(top).unwrap().into(), (metadata.permissions().mode(), bytes));
    }
}
