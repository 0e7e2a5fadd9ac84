//! A project directory for tests of the program: the built-in demo system as files, its board descriptor, and the
//! program itself, run inside the directory so that messages have short names.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use super::tools::{write, write_script};
use super::{disk, toy_buildroot};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_skiff-image");
/// What says which system is composed.
pub const INPUTS: [&str; 8] =
    ["--boards", "boards", "--board", "demo/board", "--source", "output", "--config", "demo/site"];
/// The image that is composed, and what belongs to it.
pub const NAMES: [&str; 3] = ["disk.img", "disk.img.bmap", "disk.img.manifest.json"];

/// A project directory, gone when it is dropped. Beside it is room for what is not the project's.
pub struct Project {
    directory: tempfile::TempDir,
    /// Name of the project in the directory.
    name: &'static str,
    /// What the program finds in its environment, besides what it needs to start.
    variables: &'static [(&'static str, &'static str)],
}

impl Project {
    /// The demo: `output/`, `configs/demo/site`, `boards/demo/board.toml` and an empty `out/`.
    pub fn new() -> Project {
        Project::demo_in(tempfile::tempdir().expect("a temporary directory can be made"))
    }

    /// The same below `parent`.
    pub fn below(parent: &Path) -> Project {
        fs::create_dir_all(parent).unwrap();
        Project::demo_in(tempfile::tempdir_in(parent).expect("a temporary directory can be made"))
    }

    fn demo_in(directory: tempfile::TempDir) -> Project {
        let variables = &[("SOURCE_DATE_EPOCH", "1700000000"), ("SKIFF_CACHE", "off")];
        let project = Project { directory, name: "", variables };
        skiff_image::demo::write(&project.path("")).unwrap();
        // Smaller than the demo, because it is composed over and over.
        for large in ["images/Image", "target/usr/bin/app", "target/usr/share/model.bin"] {
            let file = fs::File::options().write(true).open(project.path("output").join(large)).unwrap();
            file.set_len(128 << 10).unwrap();
        }
        fs::rename(project.path("layers"), project.path("configs")).unwrap();
        project.write("boards/demo/board.toml", include_str!("../../fixtures/demo/board.toml"));
        fs::create_dir(project.path("out")).unwrap();
        project
    }

    /// An empty directory.
    pub fn bare() -> Project {
        Project { directory: tempfile::tempdir().expect("a directory"), name: "", variables: &[] }
    }

    /// `project/` with one layer `a/b` that makes the pretend Buildroot in `toy/` an AArch64 system. Nothing says when.
    pub fn to_configure() -> Project {
        Project::to_configure_in("project")
    }

    /// The same with another name of the project.
    pub fn to_configure_in(name: &'static str) -> Project {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let project = Project { directory, name, variables: &[] };
        toy_buildroot::make(&project.beside("toy"));
        project.write("configs/a/b/buildroot/base", "BR2_aarch64=y\n");
        project
    }

    /// The same with a program and a kernel, and a time.
    pub fn to_compile() -> Project {
        let project =
            Project { variables: &[("SOURCE_DATE_EPOCH", "1577934245")], ..Project::to_configure() };
        let system = "BR2_aarch64=y\nBR2_PACKAGE_HELLO=y\nBR2_LINUX_KERNEL=y\n";
        project.write("configs/a/b/buildroot/base", system);
        project
    }

    /// The project root.
    pub fn root(&self) -> PathBuf {
        // Nothing that is joined to a path ends it with a `/`.
        if self.name.is_empty() { self.directory.path().into() } else { self.beside(self.name) }
    }

    /// A path of the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// A path beside the project.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, with the directories that lead to it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        write(&self.path(name), bytes);
    }

    /// Writes a shell script, ready to be run.
    pub fn script(&self, name: &str, text: &str) {
        write_script(&self.path(name), &format!("#!/bin/sh\n{text}"));
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Replaces a text, which must be there, in a file.
    pub fn edit(&self, name: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(old), "`{name}` has no `{old}`");
        fs::write(self.path(name), text.replacen(old, new, 1)).unwrap();
    }

    /// Replaces a text in the descriptor of the board.
    pub fn edit_board(&self, old: &str, new: &str) {
        self.edit("boards/demo/board.toml", old, new);
    }

    /// The program, run in the project, with no variable of this process but those it needs to start.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(self.root()).env_clear();
        for kept in ["PATH", "TMPDIR"] {
            std::env::var_os(kept).map(|value| command.env(kept, value));
        }
        // The directory may be in a checkout.
        command.env("GIT_CEILING_DIRECTORIES", self.directory.path());
        command.envs(self.variables.iter().copied());
        command
    }

    /// The program with the inputs of the demo.
    pub fn with_inputs(&self, verb: &[&str], more: &[&str]) -> Command {
        self.command(&[verb, &INPUTS, more].concat())
    }

    /// `assemble` of the demo to `out/disk.img`.
    pub fn assemble(&self, more: &[&str]) -> Command {
        self.with_inputs(&["assemble", "--out", "out/disk.img"], more)
    }

    /// A verb with the toy and the layer.
    pub fn verb(&self, verb: &str, more: &[&str]) -> Command {
        self.command(&[&[verb, "--buildroot", "../toy", "--config", "a/b"], more].concat())
    }

    /// `configure` with the toy and the layer.
    pub fn configure(&self) -> Command {
        self.verb("configure", &[])
    }

    /// `compile` with the toy and the layer.
    pub fn compile(&self, more: &[&str]) -> Command {
        self.verb("compile", more)
    }

    /// A symbol of the effective configuration.
    pub fn effective(&self, symbol: &str) -> Option<String> {
        let text = self.read("workspaces/default/.config");
        let mut values = text.lines().filter_map(|line| line.strip_prefix(symbol)?.strip_prefix('='));
        values.next().map(String::from)
    }

    /// Every path below a directory of the project, with its length.
    pub fn listing(&self, name: &str) -> BTreeMap<PathBuf, u64> {
        let mut found = BTreeMap::new();
        walk(&self.path(name), &mut |path, metadata| _ = found.insert(path, metadata.len()));
        found
    }

    /// When each file below a directory of the project was changed, but locks.
    pub fn times(&self, name: &str) -> BTreeMap<PathBuf, SystemTime> {
        let mut found = BTreeMap::new();
        walk(&self.path(name), &mut |path, metadata| {
            if !metadata.is_dir() && !path.ends_with("lock") {
                found.insert(path, metadata.modified().expect("a time"));
            }
        });
        found
    }

    /// Modes, contents and links of all below a directory of the project.
    pub fn contents(&self, name: &str) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        disk::contents(&self.path(name))
    }
}

fn walk(directory: &Path, visit: &mut impl FnMut(PathBuf, Metadata)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            walk(&path, visit);
        }
        visit(path, metadata);
    }
}

/// stdout and stderr as text, and the exit code.
pub fn run(command: &mut Command) -> (String, String, i32) {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("what is printed is UTF-8");
    (text(stdout), text(stderr), status.code().unwrap_or_else(|| panic!("{command:?} was killed: {status}")))
}

/// stdout and stderr of a run that must succeed.
pub fn succeed(command: &mut Command) -> (String, String) {
    let (stdout, stderr, code) = run(command);
    assert_eq!(code, 0, "{command:?}:\n{stderr}");
    (stdout, stderr)
}

/// stdout of a run that must succeed, as JSON.
pub fn json(command: &mut Command) -> serde_json::Value {
    let (stdout, _) = succeed(command.arg("--json"));
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{command:?}: {error}: {stdout}"))
}

/// Runs the program, which must fail with this exit code, message and hint, and print no result.
#[track_caller]
pub fn expect_failure(command: &mut Command, code: i32, stderr: &str) {
    let (stdout, told, found) = run(command);
    assert_eq!(told.trim_end(), stderr, "{command:?}");
    assert_eq!((found, stdout.as_str()), (code, ""), "{command:?}");
}

/// Runs `assemble` of a project, which must fail, and checks that neither an unfinished image nor anything else
/// is left, and that an older image keeps its bytes.
#[track_caller]
pub fn expect_no_image(project: &Project, more: &[&str], code: i32, stderr: &str) {
    expect_failure(&mut project.assemble(more), code, stderr);
    assert_eq!(project.listing("out"), BTreeMap::new(), "nothing is left behind");
    for name in NAMES {
        project.write(&format!("out/{name}"), "older");
    }
    let before = project.listing("out");
    expect_failure(&mut project.assemble(more), code, stderr);
    assert_eq!(project.listing("out"), before, "nothing is added");
    for name in NAMES {
        assert_eq!(fs::read(project.path(&format!("out/{name}"))).unwrap(), b"older", "{name}");
        project.remove(&format!("out/{name}"));
    }
}
