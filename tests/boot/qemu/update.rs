//! A medium with two slots in QEMU: its boot loader counts, and the agent of the device updates it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use skiff_image::value::Arch;
use skiff_update::host::{Recipe, prepare};
use skiff_update::keys::{Key, Root, Signature};
use skiff_update::statement::STATEMENT_NAMESPACE;

use super::virt::{ARM64_U_BOOT, virt_arm64};
use crate::harness::board::output;
use crate::harness::disk::oracles;
use crate::harness::medium::{fat, start};
use crate::harness::skip::leave_out;
use crate::harness::tools::{command, run, skiff_image, temporary, write, write_script};

const TOOLS: [&str; 5] = ["sfdisk", "mcopy", "debugfs", "ssh-keygen", "aarch64-linux-gnu-gcc"];
const TARGET: &str = "aarch64-unknown-linux-gnu";
const BOOT: usize = 1;
const ROOTFS: usize = 2;

/// What the device does, start by start: `:FILE` are bundles on persist.
const STEPS: [&str; 7] = [
    // One runs in slot a. The second one is whole.
    "agent status\nagent apply /mnt/persist/2\nnext\n",
    // It confirms itself. The third one dies as soon as it is started.
    "agent status\nagent confirm\nagent apply /mnt/persist/3\nnext\n",
    // Back in the second. The kernel of the fourth is zeros.
    "agent status\nagent apply /mnt/persist/4\nnext\n",
    // Back again. The kernel of the fifth gets lost.
    "agent status\nagent apply /mnt/persist/5\nrm /mnt/boot/skiff/a/kernel\nnext\n",
    // And again. The sixth is whole, but the first copy of the state record is torn.
    "agent status\nagent apply /mnt/persist/6\ndd if=/dev/zero of=/mnt/boot/skiff/state1 bs=256 count=1 conv=notrunc\n\
     agent status\nnext\n",
    // It forgets to confirm itself once, and that costs it an attempt.
    "agent status\nnext\n",
    "agent status\nagent confirm\nagent verify\nagent status\n",
];

/// The agent for the machine, static as on a device; none if Rust cannot make programs for it here.
fn agent(test: &str) -> Option<&'static Path> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let rustc = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let libraries = String::from_utf8(rustc.expect("rustc starts").stdout).expect("a path");
    if !Path::new(libraries.trim()).is_dir() {
        leave_out(test, &format!("no libraries of Rust for {TARGET}; run `rustup target add {TARGET}`"));
        return None;
    }
    Some(BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("skiff-update");
        run(Command::new(env!("CARGO"))
            .env_remove("RUSTC_BOOTSTRAP") // of `tests/timed`: everything would be built anew
            .args(["build", "--quiet", "--locked", "--profile", "init", "--package", "skiff-update"])
            .args(["--features", "pure", "--target", TARGET])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", "-Ctarget-feature=+crt-static -Crelocation-model=static")
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
            .env("CARGO_TARGET_DIR", &target));
        target.join(TARGET).join("init/skiff-update")
    }))
}

/// A maker of systems, with the key of their bundles.
struct Maker<'a> {
    directory: &'a Path,
    agent: &'a Path,
}

impl Maker<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn new<'a>(directory: &'a Path, agent: &'a Path) -> Maker<'a> {
        let maker = Maker { directory, agent };
        run(command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(maker.path("key")));
        write(&maker.path("update.root"), maker.root().to_text());
        maker
    }

    fn root(&self) -> Root {
        let line = fs::read_to_string(self.path("key.pub")).expect("a key");
        let key = Key::parse(&line).expect("an Ed25519 key");
        Root { epoch: 1, statements: 1, rotations: 1, keys: vec![key], revoked: Vec::new() }
    }

    /// A medium whose system calls itself `name`.
    fn medium(&self, name: &str, dies: bool, persist: &Path) -> PathBuf {
        let layers = self.path(&format!("layers-{name}"));
        let overlay = layers.join("proof/update/root_overlay");
        write_script(&overlay.join("usr/sbin/init"), include_str!("update_init.sh"));
        write(&overlay.join("etc/system"), name);
        if dies {
            write(&overlay.join("etc/dies"), "");
        }
        let agent = overlay.join("usr/bin/skiff-update");
        fs::create_dir_all(agent.parent().expect("a directory")).expect("target/ is writable");
        fs::copy(self.agent, &agent).expect("target/ is writable");
        let image = self.path(&format!("{name}.img"));
        let mut assemble = skiff_image();
        assemble.args(["--quiet", "assemble", "--slots", "--board", "virt/qemu", "--size", "1GiB"]);
        assemble.args(["--config", "virt/qemu,proof/update"]).env("SKIFF_EXTRA_CONFIGS_PATH", &layers);
        assemble.arg("--update-root").arg(self.path("update.root")).arg("--persist-dir").arg(persist);
        run(assemble.arg("--source").arg(output("arm64")).arg("--out").arg(&image));
        image
    }

    /// A bundle of a system like that, perhaps with another kernel.
    fn bundle(&self, name: &str, sequence: u64, dies: bool, kernel: Option<&[u8]>, out: &Path) {
        let nothing = self.path("nothing");
        fs::create_dir_all(&nothing).expect("target/ is writable");
        let image = self.medium(name, dies, &nothing);
        let names = ["kernel", "rootfs.cpio.lz4", "modules.squashfs"];
        let files = names.map(|file| (file.to_owned(), self.path(&format!("{name}-{file}"))));
        for (file, to) in &files[..2] {
            run(command("mcopy")
                .args(["-n", "-i", &fat(&image, BOOT), &format!("::/skiff/a/{file}")])
                .arg(to));
        }
        let volume = format!("{}?offset={}", image.display(), start(&image, ROOTFS));
        let dump = format!("dump /skiff/a/modules.squashfs {}", files[2].1.display());
        run(command("debugfs").args(["-R", &dump, &volume]));
        if let Some(kernel) = kernel {
            fs::write(&files[0].1, kernel).expect("target/ is writable");
        }
        let prepared = prepare(Recipe {
            boards: vec!["virt/qemu".into()],
            arch: Arch::Arm64,
            loaders: vec!["uboot-fat".into()],
            version: format!("{sequence}.0"),
            sequence,
            root: self.root(),
            roots: Vec::new(),
            files: files.to_vec(),
        });
        let prepared = prepared.expect("it can be made");
        prepared.write(&[self.sign(prepared.text())], out).expect("it is signed");
        fs::remove_file(image).expect("it is there");
    }

    fn sign(&self, text: String) -> Signature {
        let statement = self.path("statement");
        let _ = fs::remove_file(self.path("statement.sig"));
        fs::write(&statement, text).expect("target/ is writable");
        let mut sign = command("ssh-keygen");
        sign.args(["-q", "-Y", "sign", "-n", STATEMENT_NAMESPACE, "-f"]).arg(self.path("key")).arg(statement);
        assert!(sign.stdin(Stdio::null()).stderr(Stdio::null()).status().expect("it runs").success());
        let armored = fs::read_to_string(self.path("statement.sig")).expect("a signature");
        Signature::from_armored(&armored).expect("a signature")
    }
}

/// A medium with a first system, which will do `STEPS`, and the bundles for them.
fn site(maker: &Maker) -> PathBuf {
    let persist = maker.path("persist");
    fs::create_dir_all(&persist).expect("target/ is writable");
    for (number, step) in STEPS.iter().enumerate() {
        write(&persist.join(format!("steps/{}", number + 1)), step);
    }
    let bundle = |sequence: u64, name, dies, kernel: Option<&[u8]>| {
        maker.bundle(name, sequence, dies, kernel, &persist.join(sequence.to_string()));
    };
    bundle(2, "two", false, None);
    bundle(3, "three", true, None);
    bundle(4, "four", false, Some(&[0; 1 << 20]));
    bundle(5, "five", false, None);
    bundle(6, "six", false, None);
    maker.medium("one", false, &persist)
}

/// The console has all these lines, in this order.
fn shows(console: &str, lines: &[&str]) {
    let mut rest = console;
    for line in lines {
        let at = rest.find(line).unwrap_or_else(|| panic!("no `{line}` where it belongs:\n{console}"));
        rest = &rest[at + line.len()..];
    }
}

#[test]
fn updates_are_confirmed_and_those_that_do_not_start_fall_back() {
    let test = "updates_are_confirmed_and_those_that_do_not_start_fall_back";
    if !oracles(test, &TOOLS) {
        return;
    }
    let Some(agent) = agent(test) else { return };
    let directory = temporary();
    let maker = Maker::new(directory.path(), agent);
    let image = site(&maker);
    assert!(File::open(&image).is_ok());
    // The machine restarts where the others end.
    let mut machine = virt_arm64(ARM64_U_BOOT, &image).with(["-action", "reboot=reset"]).start();
    for step in 1..=STEPS.len() {
        machine.until(&format!("STEP {step} "));
    }
    let console = machine.until("SKIFF-BOOT-OK");
    eprintln!(
        "{} starts in {:.0} s",
        console.matches("skiff: starting slot").count(),
        machine.elapsed().as_secs_f64()
    );
    shows(&console, &EXPECTED);
    assert_eq!(console.matches("DIES slot=a system=three").count(), 3);
    assert_eq!(console.matches("skiff: slot a did not start").count(), 6);
    assert!(!console.contains("cannot be counted"), "{console}");
}

/// What the console says.
const EXPECTED: [&str; 50] = [
    "skiff: starting slot a (good a, on trial , attempts left )",
    "STEP 1 slot=a system=one",
    "phase     idle",
    "slot `b` has system ",
    "skiff: starting slot b (good a, on trial b, attempts left 2)",
    "STEP 2 slot=b system=two",
    "phase     trial (2 attempts left)",
    " is confirmed",
    "skiff: starting slot a (good b, on trial a, attempts left 2)",
    "DIES slot=a system=three",
    "Kernel panic",
    "skiff: starting slot a (good b, on trial a, attempts left 1)",
    "DIES slot=a system=three",
    "Kernel panic",
    "skiff: starting slot a (good b, on trial a, attempts left 0)",
    "DIES slot=a system=three",
    "Kernel panic",
    "skiff: starting slot b (good b, on trial a, attempts left 0)",
    "STEP 3 slot=b system=two",
    "phase     failed",
    "slot `a` has system ",
    "skiff: starting slot a (good b, on trial a, attempts left 2)",
    "skiff: slot a did not start",
    "skiff: starting slot a (good b, on trial a, attempts left 1)",
    "skiff: slot a did not start",
    "skiff: starting slot a (good b, on trial a, attempts left 0)",
    "skiff: slot a did not start",
    "skiff: starting slot b (good b, on trial a, attempts left 0)",
    "STEP 4 slot=b system=two",
    "phase     failed",
    "rejected  system ",
    "skiff: starting slot a (good b, on trial a, attempts left 2)",
    "skiff: slot a did not start",
    "skiff: slot a did not start",
    "skiff: slot a did not start",
    "STEP 5 slot=b system=two",
    "rejected  system ",
    "rejected  system ",
    "phase     armed (3 attempts left)",
    "record    the second copy is used: the first is damaged",
    "skiff: state1 is damaged",
    "skiff: starting slot a (good b, on trial a, attempts left 2)",
    "STEP 6 slot=a system=six",
    "phase     trial (2 attempts left)",
    "skiff: starting slot a (good b, on trial a, attempts left 1)",
    "STEP 7 slot=a system=six",
    "phase     trial (1 attempts left)",
    " is confirmed",
    "slot `a`: ",
    "phase     idle",
];
