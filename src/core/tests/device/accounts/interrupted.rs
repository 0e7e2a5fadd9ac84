//! A run that is killed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::system;
use crate::privilege::root;

const CONFIG: &str = "containers: {box: {image: 'a:1'}}\nusers:\n  core: {container: box, auth: {copyRootKeys: yes}}\n  \
                      older: {container: box}\n  admin: {host: yes}\n";

fn program(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-core"));
    command.args(["accounts", "--root"]).arg(root).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Contents of what a run writes.
fn state(root: &Path) -> Vec<String> {
    let files = ["etc/passwd", "etc/shadow", "etc/group", "etc/shells", "mnt/persist/skiff/core/uids"];
    let keys = ["home/core/.ssh/authorized_keys", "etc/skiff-core.accounts"];
    let read =
        |path: &&str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    files.iter().chain(&keys).map(read).collect()
}

#[test]
fn a_killed_run_is_made_good_by_the_next() {
    if !root("a_killed_run_is_made_good_by_the_next") {
        return;
    }
    let prepare = || {
        let system = system();
        fs::create_dir_all(system.path().join("mnt/persist/skiff/core")).expect("a directory");
        fs::write(system.path().join("mnt/persist/skiff/core/config.yaml"), CONFIG).expect("a file");
        system
    };
    let whole = prepare();
    let start = Instant::now();
    assert!(program(whole.path()).status().expect("it starts").success());
    let (expected, duration) = (state(whole.path()), start.elapsed());
    let passwd = fs::read(prepare().path().join("etc/passwd")).expect("a file");
    for moment in 0..100u32 {
        let system = prepare();
        let mut child = program(system.path()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_nanos(duration.as_nanos() as u64 * u64::from(moment) / 100));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let found = fs::read(system.path().join("etc/passwd")).expect("it is always there");
        assert!(found == passwd || found == expected[0].as_bytes(), "{}", String::from_utf8_lossy(&found));
        assert!(program(system.path()).status().expect("it starts").success());
        assert_eq!(state(system.path()), expected, "killed at {moment} hundredths");
    }
}
