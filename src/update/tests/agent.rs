//! The program of the device on real files, with keys and signatures of ssh-keygen.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use skiff_disk::value::Arch;
use skiff_update::Slot;
use skiff_update::host::{Recipe, prepare};
use skiff_update::keys::{Key, Root, Signature};
use skiff_update::state::record::{Form, encode};
use skiff_update::state::{Copies, State};
use skiff_update::statement::STATEMENT_NAMESPACE;

#[allow(dead_code)] // as in the unit tests
#[path = "../../../tests/harness/skip.rs"]
mod skip;

/// A directory that is a device, with a key that it trusts.
struct Device(tempfile::TempDir);

impl Device {
    /// None if there is no ssh-keygen.
    fn new(test: &str) -> Option<Device> {
        let device = Device(tempfile::tempdir().expect("a directory"));
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(device.path("key")).stdin(Stdio::null());
        match keygen.status() {
            Ok(status) => assert!(status.success()),
            Err(error) => {
                skip::skip(test, &format!("ssh-keygen: {error}; run fixtures/install-oracles"));
                return None;
            }
        }
        for path in ["boot/a", "boot/b"] {
            fs::create_dir_all(device.path(path)).expect("a directory");
        }
        for name in ["boot/state1", "boot/state2"] {
            fs::write(device.path(name), encode(&State::new(Slot::A, 0), Form::Plain)).expect("a file");
        }
        fs::write(device.path("root"), device.root().to_text()).expect("a file");
        let boot = device.path("boot").display().to_string();
        let text = format!(
            "board maker/small\narch arm64\nloader uboot-fat\nstate1 {boot}/state1\nstate2 {boot}/state2\n\
             slots {boot}\nfile kernel\nfile rootfs.squashfs\nroot {}\n",
            device.path("root").display()
        );
        fs::write(device.path("update.conf"), text).expect("a file");
        Some(device)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn root(&self) -> Root {
        let line = fs::read_to_string(self.path("key.pub")).expect("a key");
        let key = Key::parse(&line).expect("an Ed25519 key");
        Root { epoch: 1, statements: 1, rotations: 1, keys: vec![key], revoked: Vec::new() }
    }

    fn bundle(&self, sequence: u64, kernel: &[u8], image: &[u8]) -> PathBuf {
        let (kernel_path, image_path) = (self.path("kernel"), self.path("image"));
        fs::write(&kernel_path, kernel).expect("a file");
        fs::write(&image_path, image).expect("a file");
        let prepared = prepare(Recipe {
            boards: vec!["maker/small".into()],
            arch: Arch::Arm64,
            loaders: vec!["uboot-fat".into()],
            version: format!("{sequence}.0"),
            sequence,
            root: self.root(),
            roots: Vec::new(),
            files: vec![("kernel".into(), kernel_path), ("rootfs.squashfs".into(), image_path)],
        });
        let prepared = prepared.expect("it can be made");
        let text = self.path("text");
        fs::write(&text, prepared.text()).expect("a file");
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-Y", "sign", "-n", STATEMENT_NAMESPACE, "-f"]).arg(self.path("key")).arg(&text);
        assert!(sign.stdin(Stdio::null()).stderr(Stdio::null()).status().expect("it runs").success());
        let armored = fs::read_to_string(self.path("text.sig")).expect("a signature");
        fs::remove_file(self.path("text.sig")).expect("it can be removed");
        let out = self.path(&format!("{sequence}.bundle"));
        let signature = Signature::from_armored(&armored).expect("a signature");
        prepared.write(&[signature], &out).expect("it is signed");
        out
    }

    /// Output, errors and exit code of the program.
    fn run(&self, slot: &str, words: &[&str], input: Option<&Path>) -> (String, String, i32) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-update"));
        command.arg("--config").arg(self.path("update.conf")).args(["--slot", slot]).args(words);
        command.stdin(input.map_or(Stdio::null(), |path| File::open(path).expect("it is there").into()));
        let output = command.output().expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (text(output.stdout), text(output.stderr), output.status.code().expect("it ends by itself"))
    }

    fn done(&self, slot: &str, words: &[&str]) -> String {
        let (stdout, stderr, code) = self.run(slot, words, None);
        assert_eq!((stderr.as_str(), code), ("", 0), "{words:?}");
        stdout
    }

    /// Starts as a boot loader does.
    fn start(&self) -> Slot {
        let copies = Copies(skiff_update::apply::Directory::open(skiff_update::apply::Places {
            state: [self.path("boot/state1"), self.path("boot/state2")],
            slots: self.path("boot"),
            elsewhere: Vec::new(),
        }));
        let found = copies.load().expect("a state");
        let (slot, counted) = found.state.start();
        if let Some(counted) = counted {
            copies.save(&found, &counted).expect("it can be written");
        }
        slot
    }
}

#[test]
fn a_device_is_updated_from_a_file_and_from_a_pipe() {
    let Some(device) = Device::new("a_device_is_updated_from_a_file_and_from_a_pipe") else { return };
    let first = device.bundle(1, b"kernel one", &[1; 300_000]);
    let applied = device.done("a", &["apply", first.to_str().expect("a name")]);
    assert!(
        applied.starts_with("slot `b` has system ") && applied.ends_with(" is tried at the next start\n")
    );
    assert!(
        device
            .done("a", &["status"])
            .starts_with("phase     armed (3 attempts left)\nrunning   a\ngood      a\n")
    );
    assert_eq!(device.start(), Slot::B);
    assert!(device.done("b", &["status"]).starts_with("phase     trial (2 attempts left)\n"));
    assert!(device.done("b", &["confirm"]).ends_with(" is confirmed\n"));
    let verified = device.done("b", &["verify"]);
    assert_eq!(verified, "slot `a` has no whole system\nslot `b`: 300010 bytes are as they were signed\n");

    let second = device.bundle(2, b"kernel two", &[2; 300_000]);
    let (stdout, stderr, code) = device.run("b", &["apply", "-"], Some(&second));
    assert_eq!((stderr.as_str(), code), ("", 0));
    assert!(stdout.starts_with("slot `a` has system "), "{stdout}");
    assert_eq!(device.start(), Slot::A);
    assert!(device.done("a", &["rollback"]).ends_with("; slot `b` is started from now on\n"));
    let (_, stderr, code) = device.run("b", &["apply", "-"], Some(&second));
    assert!(
        stderr.ends_with("was tried on this device and rejected\nhint: make a bundle of a mended system\n"),
        "{stderr}"
    );
    assert_eq!(code, 4);

    let mut file =
        File::options().write(true).open(device.path("boot/b/rootfs.squashfs")).expect("it is there");
    file.write_all(b"damage").expect("it can be written");
    let (stdout, stderr, code) = device.run("b", &["verify", "b"], None);
    assert!(
        stdout.starts_with("`b/rootfs.squashfs` has other bytes than belong there, the first in "),
        "{stdout}"
    );
    assert_eq!(
        (stderr.as_str(), code),
        ("error: 1 files are damaged\nhint: apply the bundle of that system again\n", 3)
    );
}

#[test]
fn wrong_calls_say_what_is_right() {
    let Some(device) = Device::new("wrong_calls_say_what_is_right") else { return };
    let hint = "\nhint: `skiff-update --help` lists the commands\n";
    let usage = |words: &[&str]| {
        let (_, stderr, code) = device.run("a", words, None);
        assert_eq!(code, 2, "{words:?}");
        stderr.strip_suffix(hint).expect("a hint").to_owned()
    };
    assert_eq!(usage(&[]), "error: a command is missing");
    assert_eq!(usage(&["update"]), "error: `update` is no command");
    assert_eq!(usage(&["apply"]), "error: `apply` needs a value");
    assert_eq!(usage(&["status", "now"]), "error: `now` is one word too many");
    assert_eq!(usage(&["verify", "c"]), "error: `c` is not a slot: the slots are `a` and `b`");
    let help = device.done("a", &["--help"]);
    for command in ["apply", "status", "confirm", "rollback", "verify", "serve"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
    }
    let (_, stderr, code) = device.run("a", &["apply", "nowhere"], None);
    let expected = "error: cannot open `nowhere`: No such file or directory (os error 2)\nhint: check the name and the \
                    directory it is in\n";
    assert_eq!((stderr.as_str(), code), (expected, 1));
    let damaged = device.bundle(1, b"kernel", b"image");
    let mut bytes = fs::read(&damaged).expect("it is there");
    bytes.push(0);
    fs::write(&damaged, bytes).expect("it can be written");
    let (_, stderr, code) = device.run("a", &["apply", "-"], Some(&damaged));
    assert_eq!(
        (stderr.as_str(), code),
        ("error: something follows the end of the bundle\nhint: get the bundle again\n", 1)
    );
}
