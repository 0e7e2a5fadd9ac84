//! Loop devices for tests: real block devices on a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine;
use super::skip::skip;
use super::tools::{command, oracle};

/// An attached loop device; detached when it is dropped.
pub struct LoopDevice {
    /// `/dev/loopN`.
    pub path: PathBuf,
    /// The file behind it.
    pub file: tempfile::NamedTempFile,
}

/// Whether loop devices can be made here; if not, says so and fails in CI.
fn allowed(test: &str) -> bool {
    if !oracle(test, "losetup") {
        return false;
    }
    let root = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
    if !root {
        skip(test, "loop devices need root");
    }
    root
}

impl LoopDevice {
    /// A device of `len` bytes with further `losetup` options, or nothing where loop devices cannot be made.
    pub fn new(test: &str, len: u64, options: &[&str]) -> Option<LoopDevice> {
        if !allowed(test) {
            return None;
        }
        let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("backing file");
        file.as_file().set_len(len).expect("length");
        LoopDevice::over(test, file, options)
    }

    /// A device over a file with its bytes.
    pub fn over(test: &str, file: tempfile::NamedTempFile, options: &[&str]) -> Option<LoopDevice> {
        if !allowed(test) {
            return None;
        }
        let path = attach(file.path(), options);
        Some(LoopDevice { path, file })
    }

    /// The path as text.
    pub fn name(&self) -> &str {
        self.path.to_str().expect("a plain name")
    }

    /// The bytes behind the device, as they are in the backing file.
    pub fn backing(&self) -> &File {
        self.file.as_file()
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _lease = machine::loop_devices();
        remove_partitions(&self.path);
        let _ = command("losetup").arg("--detach").arg(&self.path).status();
    }
}

/// Attaches a file to a free loop device, which has no partitions but those of the file.
pub fn attach(file: &Path, options: &[&str]) -> PathBuf {
    let _lease = machine::loop_devices();
    let output = command("losetup").args(["--find", "--show"]).args(options).arg(file).output();
    let output = output.expect("losetup runs");
    assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
    let path = PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim());
    if !options.contains(&"--partscan") {
        remove_partitions(&path);
    }
    path
}

/// Removes what `addpart` or `partx` made of a device: it outlives the file that was attached.
fn remove_partitions(device: &Path) {
    let name = device.file_name().and_then(|name| name.to_str()).expect("a plain name");
    for entry in std::fs::read_dir(Path::new("/sys/block").join(name)).into_iter().flatten().flatten() {
        let partition = std::fs::read_to_string(entry.path().join("partition"));
        let _ = partition.map(|number| command("delpart").arg(device).arg(number.trim()).output());
    }
}

/// Runs a command and returns whether it succeeded and all it said.
pub fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("the tool runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
