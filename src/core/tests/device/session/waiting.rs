//! Logins before a container is ready.

use std::fs;
use std::process::Stdio;

use super::Host;
use crate::sandbox::{on_a_machine, told, wait_for};

#[test]
fn a_login_waits_for_apply_and_says_what_it_does() {
    on_a_machine(|machine| {
        let host = Host::start_without_container(machine);
        let login = host.ssh("core", &["echo there"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let login = login.expect("ssh starts");
        wait_for("the broker of the login", || {
            host.host_processes("skiff-core").len() + host.host_processes("exe").len() > 1
        });
        let applied = machine.skiff_core(&["apply"]);
        assert!(applied.starts_with('0'), "{applied}");
        let said = told(&login.wait_with_output().expect("it ends"));
        assert!(said.starts_with("0\nthere\ncontainer `box`: "), "{said}");
        host.stop();
    });
}

#[test]
fn a_failed_apply_is_told_at_once_with_what_to_do() {
    on_a_machine(|machine| {
        let host = Host::start_without_container(machine);
        fs::remove_file(machine.base()).expect("it is there");
        assert!(machine.skiff_core(&["apply"]).starts_with('1'));
        let (status, out, err) = host.run("core", "echo there");
        assert_eq!((status, &*out), (Some(255), ""));
        let path = machine.base().display().to_string();
        let expected = format!(
            "skiff-shell: container `box` is not ready: image `base:1`: there is no `{path}`\nhint: put the archive there, or pull \
             the image\nhint: as root: `skiff-core apply` tries again, and `skiff-core check` reads the configuration\n"
        );
        assert_eq!(err, expected);
        host.stop();
    });
}

#[test]
fn a_container_that_was_stopped_is_started_by_a_login() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        machine.podman(&["stop", "--time=0", "box"]);
        let (status, out, err) = host.run("core", "echo there");
        assert_eq!((status, &*out), (Some(0), "there\n"), "{err}");
        assert_eq!(err, "container `box` does not run; starting it\n");
        machine.podman(&["rm", "--force", "--time=0", "box"]);
        let (status, _, err) = host.run("core", "echo there");
        assert_eq!(status, Some(255));
        assert!(
            err.contains("no such container") && err.contains("hint: as root: `skiff-core apply`"),
            "{err}"
        );
        host.stop();
    });
}
