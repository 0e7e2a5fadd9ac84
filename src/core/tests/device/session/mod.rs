//! Sessions in a container, through a real `sshd`, the login shell and the broker.

mod hang_up;
mod matrix;
mod refused;
mod waiting;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use crate::sandbox::{Machine, wait_for};

/// A machine with a container, a user `core` in it, a user `plain` of the host, and `sshd`.
pub struct Host<'a> {
    machine: &'a Machine,
    port: u16,
    broker: Child,
    sshd: Child,
}

/// Where both the host and the container see files.
const SHARED: &str = "/mnt/persist/shared";

impl<'a> Host<'a> {
    pub fn start(machine: &'a Machine) -> Self {
        let host = Self::start_without_container(machine);
        let applied = machine.skiff_core(&["apply"]);
        assert!(applied.starts_with('0'), "{applied}");
        host
    }

    /// The same, before `apply`.
    pub fn start_without_container(machine: &'a Machine) -> Self {
        let key = machine.directory().join("key");
        for path in [&key, &machine.directory().join("host_key")] {
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
            assert!(made.expect("ssh-keygen starts").success());
        }
        fs::create_dir_all(SHARED).expect("a directory");
        machine.configure(&config(machine));
        let accounts = machine.skiff_core(&["accounts"]);
        assert!(accounts.starts_with('0'), "{accounts}");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = port.expect("a free port").port();
        let conf = machine.directory().join("sshd_config");
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nUsePAM no\nMaxStartups 200\nPermitUserEnvironment no\nAcceptEnv LANG \
             LC_* COLORTERM\nSubsystem sftp /usr/lib/openssh/sftp-server\nPidFile none\n",
            machine.directory().join("host_key").display()
        );
        fs::write(&conf, text).expect("a file");
        let sshd = Command::new("/usr/sbin/sshd")
            .args(["-D", "-E"])
            .arg(machine.directory().join("sshd.log"))
            .arg("-f")
            .arg(conf)
            .spawn();
        let broker = machine.command(&["broker", "--listen"]).spawn();
        let host =
            Self { machine, port, broker: broker.expect("it starts"), sshd: sshd.expect("sshd starts") };
        wait_for("sshd", || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        wait_for("the broker", || PathBuf::from("/run/skiff-core/broker.sock").exists());
        host
    }

    pub fn stop(mut self) {
        for child in [&mut self.sshd, &mut self.broker] {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    /// Options that `ssh`, `scp`, `sftp` and `rsync` need to reach the machine.
    pub fn options(&self) -> Vec<String> {
        let key = self.machine.directory().join("key");
        let options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"];
        let options = options.into_iter().flat_map(|option| ["-o".to_string(), option.to_string()]);
        let first =
            ["-i".to_string(), key.display().to_string(), "-o".to_string(), format!("Port={}", self.port)];
        first.into_iter().chain(options).collect()
    }

    /// `ssh` to a user, with a command.
    pub fn ssh(&self, user: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(self.options()).arg("-n").args(&arguments[..arguments.len() - 1]);
        command.arg(format!("{user}@127.0.0.1"));
        command.args(arguments.last().filter(|command| !command.is_empty())).stdin(Stdio::null());
        command
    }

    /// What a command gives a user: status, standard output, standard error.
    pub fn run(&self, user: &str, command: &str) -> (Option<i32>, String, String) {
        parts(&self.ssh(user, &[command]).output().expect("ssh starts"))
    }

    /// Commands of processes in the container that have this text in them.
    pub fn processes(&self, text: &str) -> Vec<String> {
        let all = self.machine.podman(&["exec", "box", "ps", "-o", "args"]);
        all.lines().filter(|line| line.contains(text)).map(Into::into).collect()
    }

    /// Waits until nothing of any session is left: no broker, no directory, no process in the container but its own.
    pub fn wait_until_nothing_is_left(&self) {
        let sessions = || fs::read_dir("/run/skiff-core/sessions").map_or(0, Iterator::count);
        wait_for("the end of all files of sessions", || sessions() == 0);
        wait_for("the end of all brokers", || self.host_processes("skiff-core").len() == 1);
        wait_for("the end of all shells", || self.host_processes("skiff-shell").is_empty());
        // The engine asks the container for its processes in a session of its own.
        wait_for("the end of other monitors", || self.host_processes("conmon").len() == 1);
    }

    /// Programs on the host of this name that live.
    fn host_processes(&self, name: &str) -> Vec<String> {
        let processes = fs::read_dir("/proc").expect("it can be listed").flatten();
        let processes = processes.filter_map(|entry| {
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let lives = !status.contains("State:\tZ");
            (lives && status.starts_with(&format!("Name:\t{name}\n"))).then_some(status)
        });
        processes.collect()
    }
}

pub fn parts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn config(machine: &Machine) -> String {
    let key = fs::read_to_string(machine.directory().join("key.pub")).expect("a key");
    let key = key.trim();
    format!(
        "containers:\n  box:\n    image: base:1\n    entrypoint: [/bin/sh, -c, \"trap 'exit 0' TERM; while :; do sleep 0.5; \
         done\"]\n    hostNetwork: true\n    disableInit: true\n    startAfterCreate: true\n    mounts: [{SHARED}:{SHARED}]\n    \
         env: [FROM_CONTAINER=yes]\nimages:\n  base:1: {{import: {}}}\nusers:\n  core: {{container: box, containerUser: core, \
         auth: {{sshKeys: ['{key}']}}}}\n  admin: {{container: box, auth: {{sshKeys: ['{key}']}}}}\n  lost: {{container: box, \
         containerUser: nobody-there, auth: {{sshKeys: ['{key}']}}}}\n  plain: {{host: true, auth: {{sshKeys: ['{key}']}}}}\n",
        machine.base().display()
    )
}
