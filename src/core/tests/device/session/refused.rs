//! What users of containers must not do.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::{Command, Stdio};

use super::{Host, SHARED};
use crate::sandbox::on_a_machine;

/// Runs `python3` as a user of the host with this number: the worst client of the broker that one can be.
pub fn as_number(uid: u32, script: &str) -> String {
    let mut python = Command::new("setpriv");
    python.args([
        &format!("--reuid={uid}"),
        &format!("--regid={uid}"),
        "--clear-groups",
        "/usr/bin/python3",
        "-",
    ]);
    let mut child = python
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("setpriv starts");
    child.stdin.take().expect("it is piped").write_all(script.as_bytes()).expect("python reads");
    let output = child.wait_with_output().expect("it ends");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Sends a request with descriptors, and prints the answers until the end.
fn asking(bytes: &str, descriptors: &str) -> String {
    let sent = request(bytes, descriptors);
    format!("{sent}while True:\n  m = s.recv(65536)\n  if not m: break\n  print(m.decode())\n")
}

/// Sends a request with descriptors.
pub fn request(request: &str, descriptors: &str) -> String {
    format!(
        "import socket, array, os, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.settimeout(60)\n\
         s.connect('/run/skiff-core/broker.sock')\nfds = {descriptors}\ns.sendmsg([{request}], [(socket.SOL_SOCKET, \
         socket.SCM_RIGHTS, array.array('i', fds))] if fds else [])\n"
    )
}

pub const STREAMS: &str = "[os.open('/dev/null', os.O_RDWR), 1, 2]";

#[test]
fn the_broker_does_only_what_the_configuration_says() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        let uid = fs::metadata("/home/core").expect("it is there").uid();
        // A good request, to show that the bad ones are refused for what they are.
        let good = as_number(uid, &asking("b'P0 0\\0Cid -u'", STREAMS));
        assert!(good.contains("1000\n") && good.contains("E0"), "{good}");
        // Another number has no container; a user of the host has none either.
        for other in [1u32, 65_534, fs::metadata("/home/plain").expect("it is there").uid()] {
            let said = as_number(other, &asking("b'P0 0\\0Cid'", STREAMS));
            assert!(said.contains(&format!("F255 user number {other} has no container")), "{said}");
        }
        // Nothing that a request says names a user, a container or a variable that changes programs.
        let said = as_number(
            uid,
            &asking(
                "b'P0 0\\0Cenv; id -u\\0USER=root\\0LD_PRELOAD=/x\\0PATH=/evil\\0HOME=/\\0LANG=C'",
                STREAMS,
            ),
        );
        assert!(
            said.contains("USER=core\n") && said.contains("LANG=C\n") && said.contains("HOME=/home/core\n"),
            "{said}"
        );
        assert!(!said.contains("LD_PRELOAD") && !said.contains("/evil"), "{said}");
        // Requests that break the rules get no answer and start nothing.
        for (request, descriptors) in [
            ("b'P0 0\\0Cid'", "[]"),
            ("b'P0 0\\0Cid'", "[0, 1]"),
            ("b'P0 0\\0Cid'", "[0, 1, 2, 0]"),
            ("b'X'", STREAMS),
            ("b''", STREAMS),
            ("b'P0 0\\0Cid\\xff\\0' + b'A' * 150000 + b'\\0\\0'", "[]"),
            ("b'\\0' * 1000", STREAMS),
        ] {
            let said = as_number(uid, &asking(request, descriptors));
            assert!(!said.contains("uid="), "{request}: {said}");
        }
        // The sockets and files of the host that matter.
        for path in [
            "/run/podman/podman.sock",
            "/run/skiff-core/users.json",
            "/run/skiff-core/status.json",
            "/run/skiff-core/sessions",
        ] {
            let stat = fs::metadata(path).expect("it is there");
            let open = if stat.file_type().is_socket() { stat.mode() & 0o007 } else { stat.mode() & 0o077 };
            assert_eq!(open, 0, "{path}: {:o}", stat.mode());
        }
        let groups = Command::new("id").args(["-Gn", "core"]).output().expect("id starts");
        assert_eq!(String::from_utf8_lossy(&groups.stdout), "core\n");
        host.wait_until_nothing_is_left();
        host.stop();
    });
}

#[test]
fn a_container_cannot_lead_the_broker_out_of_itself() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        let secret = format!("{SHARED}/../secret");
        fs::write(&secret, "core:x:0:0::/:/bin/sh\n").expect("a file");
        // Not by podman, which would itself wait for a pipe in the place of `passwd`.
        let id = machine.podman(&["inspect", "--format", "{{.Id}}", "box"]);
        let inside = |command: &str| {
            let status = Command::new("crun").args(["exec", &id, "/bin/sh", "-c", command]).status();
            assert!(status.expect("crun starts").success(), "{command}");
        };
        // `passwd` is a link to a file of the host: below the container's root there is none.
        inside("cp /etc/passwd /etc/passwd.kept; rm /etc/passwd; ln -s /mnt/persist/secret /etc/passwd");
        let (status, _, err) = host.run("core", "id");
        assert_eq!(status, Some(255));
        assert!(err.contains("there is no user `core` in it"), "{err}");
        // One that goes up and up ends at the container's own root.
        inside("rm /etc/passwd; ln -s ../../../../../../etc/passwd.kept /etc/passwd");
        assert_eq!(host.run("core", "id -u").1, "1000\n");
        // A pipe that nobody writes to, a device that never ends, a file that is very large, no text at all.
        for make in [
            "busybox mkfifo /etc/passwd",
            "ln -s /dev/zero /etc/passwd",
            "busybox dd if=/dev/zero of=/etc/passwd bs=1M seek=100000 count=0",
            "head -c 100000 /dev/urandom >/etc/passwd",
            "ln -s /proc/self/root/etc/passwd.kept /etc/passwd",
        ] {
            inside(&format!("rm -f /etc/passwd; {make}"));
            let (status, _, err) = host.run("core", "id");
            assert_eq!(status, Some(255), "{make}");
            assert!(err.contains("there is no user `core` in it"), "{make}: {err}");
        }
        // A home that is a link out of the container is looked for below its root.
        inside(
            "rm -f /etc/passwd; cp /etc/passwd.kept /etc/passwd; rm -rf /home/core; ln -s /mnt/persist/skiff /home/core",
        );
        let (status, out, err) = host.run("core", "pwd");
        assert_eq!((status, &*out), (Some(0), "/\n"));
        assert_eq!(err, "the home `/home/core` is not there; this begins in `/`\n");
        host.stop();
    });
}
