//! Virtual machines that boot media, and what their consoles must say.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use super::guest::Network;
use super::machine::{self, Lease};
use super::skip::leave_out;
use super::tools::command;

/// The slowest boot seen on a loaded machine with two cores took 66 seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the init of the fixtures prints when everything is mounted, and when something is not.
const OK: &str = "SKIFF-BOOT-OK ";
const FAIL: &str = "SKIFF-BOOT-FAIL";

/// Whether the slow chains are wanted too; `SKIFF_BOOT=fast` leaves them out, visibly.
pub fn full(test: &str) -> bool {
    let fast = std::env::var_os("SKIFF_BOOT").is_some_and(|set| set == "fast");
    if fast {
        leave_out(test, "`SKIFF_BOOT` is `fast`");
    }
    !fast
}

/// A machine that can be switched on, more than once.
#[derive(Clone, Debug)]
pub struct Machine {
    qemu: String,
    args: Vec<String>,
    /// Network namespace that it is in.
    namespace: Option<String>,
}

impl Machine {
    /// A machine of `qemu`, a program, with some of its options.
    pub fn new(qemu: &str, args: &[&str]) -> Machine {
        // Never KVM: a node /dev/kvm says nothing about whether guests run.
        let common = ["-accel", "tcg", "-nographic", "-no-reboot", "-nic", "none"];
        let args = common.iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        Machine { qemu: qemu.into(), args, namespace: None }
    }

    /// The same with more options.
    pub fn with<T: AsRef<str>>(mut self, args: impl IntoIterator<Item = T>) -> Machine {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// The same with `image` as the card in its first slot. QEMU takes only cards of a power of two bytes.
    pub fn with_card(self, image: &Path) -> Machine {
        self.with(["-drive", &format!("if=sd,format=raw,file={}", image.display())])
    }

    /// The same with `image` as the medium of `device`: `virtio-blk-device`, `virtio-blk-pci`, `ide-hd`...
    pub fn with_disk(self, image: &Path, device: &str) -> Machine {
        let drive = format!("if=none,id=disk,format=raw,file={}", image.display());
        self.with(["-drive", &drive, "-device", &format!("{device},drive=disk")])
    }

    /// The same with a card in `network`.
    pub fn within(mut self, network: &Network, device: &str) -> Machine {
        self.namespace = Some(network.namespace());
        self.with(network.card(device))
    }

    /// Switches it on, as soon as there is a place.
    pub fn start(&self) -> Running {
        let place = machine::virtual_machine();
        let mut child = self
            .program()
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run fixtures/install-oracles", self.qemu));
        let console = listen(child.stdout.take().expect("stdout is piped"));
        Running { child, console, text: String::new(), started: Instant::now(), _place: place }
    }

    fn program(&self) -> Command {
        let program = program(&self.qemu);
        let Some(namespace) = &self.namespace else { return program };
        let mut inside = command("nsenter");
        inside.arg(format!("--net={namespace}")).arg(program.get_program());
        inside
    }

    /// Boots the same medium twice: the partition `persist` keeps between them what was written to it.
    pub fn expect_persistence(&self) {
        assert_eq!(self.start().expect_boot(), 1, "the medium was booted before");
        assert_eq!(self.start().expect_boot(), 2, "`persist` lost what the first boot wrote");
    }
}

/// The emulator: the one that `fixtures/emulators` makes, for processors that it has, or the system's.
fn program(qemu: &str) -> Command {
    if ["qemu-system-arm", "qemu-system-aarch64", "qemu-system-riscv64"].contains(&qemu) {
        Command::new(emulators().join(qemu))
    } else {
        command(qemu)
    }
}

/// The directory of emulators that know every machine of these tests, made once.
fn emulators() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let base = root.join("target/fixtures");
        let mut make = Command::new(root.join("fixtures/emulators"));
        make.arg(base.join("emulators")).arg("--cache").arg(base.join("cache"));
        assert!(make.status().expect("fixtures/emulators runs").success(), "fixtures/emulators failed");
        base.join("emulators/bin")
    })
}

/// Passes on what the machine prints while the test does something else.
fn listen(mut stdout: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, console) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    console
}

/// A machine that is on, and what its console printed. It is switched off with this value.
pub struct Running {
    child: Child,
    console: mpsc::Receiver<Vec<u8>>,
    text: String,
    started: Instant,
    _place: Lease,
}

impl Running {
    /// The first line that contains one of `words`, or nothing when the time is up or the machine has stopped.
    pub fn line_with(&mut self, words: &[&str], patience: Duration) -> Option<String> {
        let end = Instant::now() + patience;
        loop {
            let complete = self.text.rfind('\n').map_or("", |end| &self.text[..end]);
            if let Some(line) = complete.lines().find(|line| words.iter().any(|word| line.contains(word))) {
                return Some(line.trim().to_owned());
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.console.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => return None,
            }
        }
    }

    /// Waits for `prompt` at the end of what the console printed, and tells how long it took.
    pub fn expect_prompt(&mut self, prompt: &str) -> Duration {
        let end = self.started + PATIENCE;
        while !self.text.trim_end_matches(' ').ends_with(prompt.trim_end()) {
            let left = end.saturating_duration_since(Instant::now());
            match self.console.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no `{prompt}` on the console, which {}", self.end()),
            }
        }
        self.started.elapsed()
    }

    /// Waits until the system is up, with every partition mounted and the modules of its kernel; gives how many
    /// boots `persist` has seen.
    pub fn expect_boot(mut self) -> u32 {
        let line = self.line_with(&[OK, FAIL], PATIENCE);
        let line = line.unwrap_or_else(|| panic!("no `{OK}` on the console, which {}", self.end()));
        let named = |word: &str| {
            line.split_whitespace()
                .find_map(|part| part.strip_prefix(word))
                .unwrap_or_else(|| panic!("`{line}` does not name `{word}`; the console {}", self.end()))
        };
        eprintln!("after {:.1} s: {line}", self.started.elapsed().as_secs_f64());
        assert!(!named("rootfs=").is_empty() && !named("modules=").is_empty(), "{line}");
        assert!(named("persist=").ends_with(":ok"), "{line}");
        named("boots=").parse().unwrap_or_else(|_| panic!("`{line}` does not count the boots"))
    }

    /// Waits until the system says that it could not mount everything, and why: `reason`.
    pub fn expect_failure(mut self, reason: &str) {
        let line = self.line_with(&[OK, FAIL], PATIENCE);
        let line = line.unwrap_or_else(|| panic!("no `{FAIL}` on the console, which {}", self.end()));
        assert!(line.contains(FAIL) && line.contains(reason), "expected `{FAIL}` for `{reason}`: {line}");
    }

    /// Waits for a line with `words`, on the way to what is expected next.
    pub fn expect(&mut self, words: &str) {
        if self.line_with(&[words, OK, FAIL], PATIENCE).is_none_or(|line| !line.contains(words)) {
            panic!("no `{words}` on the console, which {}", self.end());
        }
    }

    /// Waits for a line with `words`, and gives all that the console printed so far.
    pub fn until(&mut self, words: &str) -> String {
        if self.line_with(&[words, FAIL], PATIENCE).is_none_or(|line| !line.contains(words)) {
            panic!("no `{words}` on the console, which {}", self.end());
        }
        self.text.clone()
    }

    /// Waits for a line with `expected`, and fails at once when one with `unwanted` is there first.
    pub fn expect_line(mut self, expected: &str, unwanted: &str) {
        let line = self.line_with(&[expected, unwanted], PATIENCE);
        let line = line.unwrap_or_else(|| panic!("no `{expected}` on the console, which {}", self.end()));
        assert!(line.contains(expected), "expected `{expected}` before `{line}`");
    }

    /// Types at the console.
    pub fn type_in(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("QEMU reads what is typed");
    }

    /// Types at the console, and waits until it prints `words` once more than it had.
    pub fn answer(&mut self, text: &str, words: &str) {
        self.drain();
        let before = self.text.matches(words).count();
        self.type_in(text);
        let end = Instant::now() + PATIENCE;
        while self.text.matches(words).count() == before {
            let left = end.saturating_duration_since(Instant::now());
            match self.console.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no `{words}` after `{}` on the console, which {}", text.trim(), self.end()),
            }
        }
    }

    /// Waits until the machine has switched itself off, and gives all that its console printed.
    pub fn finish(mut self) -> String {
        let from = Instant::now();
        assert_eq!(self.line_with(&["Kernel panic"], PATIENCE), None, "the console {}", self.end());
        // The console also ends when the patience does.
        assert!(from.elapsed() < PATIENCE, "the machine does not stop; the console {}", self.end());
        std::mem::take(&mut self.text)
    }

    /// Fails if a line with `banner` comes within `time`.
    pub fn expect_no(mut self, banner: &str, time: Duration) {
        assert_eq!(self.line_with(&[banner], time), None, "there must be no `{banner}`");
    }

    /// Since it was switched on.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The end of what the console printed so far, for messages.
    pub fn so_far(&mut self) -> String {
        self.drain();
        self.end()
    }

    fn drain(&mut self) {
        while let Ok(bytes) = self.console.try_recv() {
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// The end of what the console printed, for messages.
    fn end(&self) -> String {
        let skip = self.text.chars().count().saturating_sub(3000);
        format!("ends with:\n{}", self.text.chars().skip(skip).collect::<String>())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have powered off by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
