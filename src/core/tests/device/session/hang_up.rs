//! Sessions that end before their processes do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::refused::{STREAMS, as_number, request};
use super::{Host, SHARED};
use crate::sandbox::{on_a_machine, wait_for};

/// Sessions, for more of which the variable `SKIFF_KILL_SESSIONS` asks, and how many of them at a time.
const SESSIONS: usize = 60;
const AT_A_TIME: usize = 20;

fn share() {
    fs::set_permissions(SHARED, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("a mode");
}

#[test]
fn nothing_is_left_of_a_client_that_is_gone() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        share();
        for (index, terminal) in ["-T", "-tt"].iter().enumerate() {
            let began = format!("{SHARED}/began{index}");
            let command = format!("trap '' HUP; echo >{began}; exec sleep 98765");
            let mut ssh =
                host.ssh("core", &[terminal, &command]).stdout(Stdio::null()).spawn().expect("ssh starts");
            wait_for("the session", || Path::new(&began).exists() && !host.processes("98765").is_empty());
            ssh.kill().expect("it runs");
            ssh.wait().expect("it ends");
            // Even what does not heed a hang-up.
            wait_for("the end of the process", || host.processes("98765").is_empty());
            host.wait_until_nothing_is_left();
        }
        host.stop();
    });
}

#[test]
fn a_client_that_is_gone_before_its_process_starts_leaves_none() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        let uid = fs::metadata("/home/core").expect("it is there").uid();
        as_number(uid, &format!("{}s.close()\n", request("b'P0 0\\0Csleep 98766'", STREAMS)));
        host.wait_until_nothing_is_left();
        wait_for("the end of the process", || host.processes("98766").is_empty());
        host.stop();
    });
}

#[test]
fn signals_reach_the_process() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        share();
        for (signal, status) in [("TERM", 9), ("INT", 9), ("USR1", 9)] {
            let began = format!("{SHARED}/{signal}");
            let command = format!("trap 'exit 9' {signal}; echo >{began}; while :; do sleep 0.1; done");
            let mut su = Command::new("setsid")
                .args(["su", "core", "-c", &command])
                .stdin(Stdio::null())
                .spawn()
                .expect("su starts");
            wait_for("the session", || Path::new(&began).exists());
            let pids = Command::new("pidof").arg("skiff-shell").output().expect("pidof starts");
            let pid = String::from_utf8(pids.stdout).expect("text").trim().to_string();
            assert!(
                Command::new("kill")
                    .args([&format!("-{signal}"), &pid])
                    .status()
                    .expect("kill starts")
                    .success()
            );
            assert_eq!(su.wait().expect("it ends").code(), Some(status), "{signal}");
        }
        host.wait_until_nothing_is_left();
        host.stop();
    });
}

#[test]
fn sessions_that_are_killed_at_any_moment_leave_nothing() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        let sessions =
            std::env::var("SKIFF_KILL_SESSIONS").map_or(SESSIONS, |text| text.parse().expect("a number"));
        for round in 0..sessions / AT_A_TIME {
            let mut sessions: Vec<_> = (0..AT_A_TIME)
                .map(|index| {
                    let terminal = if index % 2 == 0 { "-T" } else { "-tt" };
                    let mut ssh = host.ssh("core", &[terminal, "cat /dev/zero >/dev/null"]);
                    ssh.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ssh starts")
                })
                .collect();
            for (index, session) in sessions.iter_mut().enumerate() {
                // Moments from before the key exchange to long after the start.
                std::thread::sleep(Duration::from_millis((index * 37 + round * 13) as u64 % 150));
                session.kill().expect("it was not waited for");
                session.wait().expect("it ends");
            }
        }
        wait_for("the end of all processes", || host.processes("/dev/zero").is_empty());
        host.wait_until_nothing_is_left();
        assert_eq!(host.run("core", "echo still here").1, "still here\n");
        host.stop();
    });
}
