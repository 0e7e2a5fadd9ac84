//! A network for one virtual machine: its own loopback with a DNS server, and a way in over ssh.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::tools::{command, run};

/// What the DNS server knows: the host, as QEMU's user network shows it to a guest.
pub const NAME: &str = "host.skiff.test";
/// Where a guest finds the host: QEMU's manual, "Using the user mode network stack".
pub const HOST: &str = "10.0.2.2";
/// Tools that this needs.
pub const TOOLS: [&str; 6] = ["dnsmasq", "unshare", "nsenter", "busybox", "ssh", "ssh-keygen"];

/// Port of the namespace behind which the guest's ssh server is.
const PORT: &str = "2222";

/// A network namespace: nothing of the machine's own ports and resolvers is used or disturbed. Only root makes one.
pub struct Network {
    /// The DNS server, which keeps the namespace.
    server: Child,
    directory: PathBuf,
}

impl Network {
    /// A namespace with a DNS server at 127.0.0.1, and a key pair below `directory`.
    pub fn new(directory: &Path) -> Network {
        let serve = "busybox ip link set lo up && exec dnsmasq --keep-in-foreground --bind-interfaces \
                     --listen-address=127.0.0.1 --no-resolv --no-hosts --user=root --pid-file= --address=/$1/$2";
        let mut server = command("unshare");
        server.args(["--net", "sh", "-c", serve, "sh", NAME, HOST]);
        let server = server.stdin(Stdio::null()).spawn().expect("unshare starts");
        let network = Network { server, directory: directory.into() };
        run(command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(network.key()));
        network
    }

    /// Private key; the public one is beside it, with `.pub`.
    pub fn key(&self) -> PathBuf {
        self.directory.join("key")
    }

    /// The namespace, as `nsenter` wants to be told.
    pub fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.server.id())
    }

    /// Options of QEMU for a network card of this kind.
    pub fn card(&self, device: &str) -> [String; 4] {
        let user = format!("user,id=network,hostfwd=tcp:127.0.0.1:{PORT}-:22");
        ["-netdev".into(), user, "-device".into(), format!("{device},netdev=network")]
    }

    /// An ssh client that runs `script` in the guest, as a user. Its host keys must stay those of the first time.
    pub fn ssh(&self, user: &str, script: &str) -> Command {
        let mut ssh = command("nsenter");
        ssh.arg(format!("--net={}", self.namespace()))
            .args(["ssh", "-F", "none", "-p", PORT, "-i"])
            .arg(self.key());
        let known = format!("UserKnownHostsFile={}", self.known_hosts().display());
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=accept-new",
            &known,
            "ConnectTimeout=20",
            "ServerAliveInterval=15",
        ] {
            ssh.args(["-o", option]);
        }
        ssh.args([&format!("{user}@127.0.0.1"), script]).stdin(Stdio::null());
        ssh
    }

    fn known_hosts(&self) -> PathBuf {
        self.directory.join("known_hosts")
    }

    /// Other host keys are right from now on.
    pub fn forget_host_keys(&self) {
        std::fs::remove_file(self.known_hosts()).expect("there was a login");
    }

    /// Logs in as soon as that is possible, and runs `script`. Nothing if it is not within `patience`; the reason is on
    /// stderr.
    pub fn login(&self, script: &str, patience: Duration) -> Option<String> {
        self.login_as("root", script, patience)
    }

    /// The same as another user.
    pub fn login_as(&self, user: &str, script: &str, patience: Duration) -> Option<String> {
        let end = Instant::now() + patience;
        loop {
            let output = self.ssh(user, script).output().expect("ssh starts");
            let said = String::from_utf8_lossy(&output.stderr);
            // ssh's own failure, as for a server that is not there yet; a script has statuses of its own.
            if output.status.code() != Some(255) {
                assert!(output.status.success(), "{script}: {}\n{said}", output.status);
                return Some(String::from_utf8_lossy(&output.stdout).into_owned());
            }
            if Instant::now() >= end || said.contains("HOST IDENTIFICATION HAS CHANGED") {
                eprintln!("{said}");
                return None;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Has the guest end itself by `command`; the connection ends with it.
    pub fn tell(&self, command: &str) {
        drop(self.ssh("root", command).output().expect("ssh starts"));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// What a guest says about itself: for each question its answer, in one connection.
pub struct Answers(BTreeMap<String, String>);

impl Answers {
    /// A script that answers all `questions`: names and commands.
    pub fn script(questions: &[(&str, &str)]) -> String {
        let ask = |(name, command): &(&str, &str)| format!("echo '{MARK}{name}'\n{{ {command}\n}} 2>&1\n");
        questions.iter().map(ask).collect::<String>() + ":\n"
    }

    /// Reads what such a script printed.
    pub fn read(text: &str) -> Answers {
        let sections = text.split(MARK).skip(1).filter_map(|section| section.split_once('\n'));
        Answers(sections.map(|(name, answer)| (name.into(), answer.trim_end().into())).collect())
    }

    /// The answer to a question that was asked.
    #[track_caller]
    pub fn of(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("nobody answered `{name}`: {:?}", self.0))
    }

    /// The same, as a number.
    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let answer = self.of(name);
        answer.parse().unwrap_or_else(|_| panic!("`{name}` is no number: {answer}"))
    }
}

/// Begins the line with the name of a question.
const MARK: &str = "=== ";
