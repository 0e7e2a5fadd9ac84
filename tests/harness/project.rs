//! A project directory for tests of the program: the built-in demo system as files, its board descriptor, and the
//! program itself, run inside the directory so that messages have short names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_skiff-image");
/// What says which system is composed.
pub const INPUTS: [&str; 8] =
    ["--boards", "boards", "--board", "demo/board", "--source", "output", "--config", "demo/site"];
/// The image that is composed, and what belongs to it.
pub const NAMES: [&str; 3] = ["disk.img", "disk.img.bmap", "disk.img.manifest.json"];

/// A project directory, gone when it is dropped.
pub struct Project {
    directory: tempfile::TempDir,
}

impl Project {
    /// `output/`, `configs/demo/site`, `boards/demo/board.toml` and an empty `out/`.
    pub fn new() -> Project {
        Project::fill(tempfile::tempdir().expect("a temporary directory can be made"))
    }

    /// The same below `parent`.
    pub fn below(parent: &Path) -> Project {
        fs::create_dir_all(parent).unwrap();
        Project::fill(tempfile::tempdir_in(parent).expect("a temporary directory can be made"))
    }

    fn fill(directory: tempfile::TempDir) -> Project {
        let project = Project { directory };
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

    /// A path of the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, with the directories that lead to it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
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
        command.args(args).current_dir(self.directory.path()).env_clear();
        for kept in ["PATH", "TMPDIR"] {
            std::env::var_os(kept).map(|value| command.env(kept, value));
        }
        command.env("SOURCE_DATE_EPOCH", "1700000000").env("SKIFF_CACHE", "off");
        command
    }

    /// The program with the inputs of the project.
    pub fn with_inputs(&self, verb: &[&str], more: &[&str]) -> Command {
        self.command(&[verb, &INPUTS, more].concat())
    }

    /// `assemble` to `out/disk.img`.
    pub fn assemble(&self, more: &[&str]) -> Command {
        self.with_inputs(&["assemble", "--out", "out/disk.img"], more)
    }

    /// Every path of the project with its length.
    pub fn listing(&self, name: &str) -> BTreeMap<PathBuf, u64> {
        let mut found = BTreeMap::new();
        list(&self.path(name), &mut found);
        found
    }
}

fn list(directory: &Path, found: &mut BTreeMap<PathBuf, u64>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            list(&path, found);
        }
        found.insert(path, metadata.len());
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
