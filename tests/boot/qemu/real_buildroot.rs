//! A real Buildroot, end to end: configured, compiled and composed by the verbs, and booted.
//!
//! `BUILDROOT_DIR` names its source tree; without it nothing is done. The chain (`SKIFF_CONFIG`), more layers
//! (`SKIFF_EXTRA_CONFIGS_PATH`), downloads (`BR2_DL_DIR`) and whatever else Buildroot needs come from the environment,
//! as a user has them. The project root is temporary, or `SKIFF_TEST_ROOT`, where an earlier build goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use crate::harness::qemu::Machine;
use crate::harness::skip::leave_out;
use crate::harness::tools::oracle;

/// What the user has set for `configure`, and what the workspace remembers for all that follows.
const REMEMBERED: [&str; 5] =
    ["SKIFF_CONFIG", "SKIFF_EXTRA_CONFIGS_PATH", "SKIFF_ORDER", "BUILDROOT_DIR", "SOURCE_DATE_EPOCH"];
/// Time of everything in the images, unless the environment says another: 2023-11-14 22:13:20.
const EPOCH: &str = "1700000000";
/// An applet that Buildroot's own configuration of busybox does not have.
const APPLET: &str = "ttysize";

/// The source tree, if there is one.
fn tree(test: &str) -> Option<PathBuf> {
    let tree = std::env::var_os("BUILDROOT_DIR").filter(|tree| !tree.is_empty()).map(PathBuf::from);
    if tree.is_none() {
        leave_out(test, "`BUILDROOT_DIR` is not set");
    }
    tree
}

/// A project root with the layers and the external tree of this repository.
struct Project {
    root: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Project {
    fn new() -> Project {
        let given = std::env::var_os("SKIFF_TEST_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from);
        let temporary = given.is_none().then(|| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        let root = given.unwrap_or_else(|| temporary.as_ref().expect("made above").path().into());
        fs::create_dir_all(&root).unwrap();
        let root = fs::canonicalize(root).unwrap();
        for name in ["configs", "buildroot"] {
            let link = root.join(name);
            if fs::symlink_metadata(&link).is_err() {
                std::os::unix::fs::symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join(name), link).unwrap();
            }
        }
        // What an earlier run that was ended left changed.
        let _ = fs::remove_dir_all(root.join("overrides/busybox"));
        Project { root, _temporary: temporary }
    }

    fn workspace(&self) -> PathBuf {
        self.root.join("workspaces/default")
    }

    /// Runs the program in the project; it must succeed. Gives what it printed, and seconds.
    fn run(&self, verb: &[&str], told: bool) -> (String, f64) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-image"));
        command.args(verb).current_dir(&self.root).env_remove("SKIFF_WORKSPACE").env_remove("SKIFF_BOARD");
        command.env("SKIFF_CACHE", "off");
        if told {
            command.env("SOURCE_DATE_EPOCH", std::env::var("SOURCE_DATE_EPOCH").unwrap_or(EPOCH.into()));
        } else {
            REMEMBERED.iter().for_each(|name| _ = command.env_remove(name));
        }
        let started = Instant::now();
        let output = command.output().unwrap();
        let seconds = started.elapsed().as_secs_f64();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{verb:?}: {}\n{stdout}\n{stderr}", output.status);
        eprintln!("{}: {seconds:.2} s", verb.join(" "));
        (stdout.into_owned() + &stderr, seconds)
    }

    /// The stamps of all packages, with their times.
    fn stamps(&self) -> BTreeMap<PathBuf, SystemTime> {
        let packages = fs::read_dir(self.workspace().join("build")).unwrap();
        let files = packages.map(|package| package.unwrap().path()).filter(|path| path.is_dir());
        let files = files.flat_map(|package| fs::read_dir(package).unwrap().map(|file| file.unwrap()));
        let stamps = files.filter(|file| file.file_name().to_string_lossy().starts_with(".stamp_"));
        stamps.map(|file| (file.path(), file.metadata().unwrap().modified().unwrap())).collect()
    }

    /// Composes without a flag, and keeps the image under a name of its own.
    fn assemble(&self, name: &str) -> PathBuf {
        let (said, _) = self.run(&["--json", "assemble"], false);
        let image =
            said.split('"').find(|word| word.ends_with(".img")).expect("the image is named").to_owned();
        let kept = self.root.join(name);
        fs::rename(self.root.join(image), &kept).unwrap();
        kept
    }
}

/// Packages whose stamps are not what they were.
fn rebuilt(
    before: &BTreeMap<PathBuf, SystemTime>,
    after: &BTreeMap<PathBuf, SystemTime>,
) -> BTreeSet<String> {
    let changed = after.iter().filter(|(stamp, time)| before.get(*stamp) != Some(time));
    let names = changed.map(|(stamp, _)| stamp.parent().unwrap().file_name().unwrap().to_string_lossy());
    names.map(|name| name.rsplit_once('-').map_or(&*name, |(package, _)| package).to_owned()).collect()
}

/// The machine for which the system in a workspace is.
fn machine(workspace: &Path, image: &Path) -> Machine {
    let config = fs::read_to_string(workspace.join(".config")).unwrap();
    let (qemu, args, device): (_, &[&str], _) = if config.contains("\nBR2_aarch64=y\n") {
        let firmware = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
        ("qemu-system-aarch64", &["-M", "virt", "-cpu", "cortex-a57", "-bios", firmware], "virtio-blk-device")
    } else {
        assert!(config.contains("\nBR2_x86_64=y\n"), "only arm64 and x86_64 are booted here");
        ("qemu-system-x86_64", &["-M", "q35", "-bios", "/usr/share/ovmf/OVMF.fd"], "virtio-blk-pci")
    };
    Machine::new(qemu, args).with(["-m", "1024"]).with_disk(image, device)
}

/// Boots `image`, logs in and has the system say how it is.
fn boot(workspace: &Path, image: &Path) {
    let mut system = machine(workspace, image).start();
    let time = system.expect_prompt("login:");
    eprintln!("boot to the login prompt: {:.1} s", time.as_secs_f64());
    system.type_in("root\n");
    system.expect_prompt("#");
    system.type_in("cat /etc/skiff-release; ttysize; poweroff\n");
    let said = system.finish();
    assert!(said.contains("ID=skiff"), "{said}");
    // Columns and rows; a serial console may have neither.
    let size = said.lines().map(|line| line.trim().split(' ').map(str::parse::<u16>).collect::<Vec<_>>());
    let mut size = size.filter(|words| words.len() == 2 && words.iter().all(Result::is_ok));
    assert!(size.next().is_some(), "`{APPLET}` is not there: {said}");
}

#[test]
fn a_real_build_composes_without_flags_boots_and_is_repeated_without_work() {
    let test = "a_real_build_composes_without_flags_boots_and_is_repeated_without_work";
    let Some(_) = tree(test) else { return };
    if !["make", "cmp"].into_iter().all(|tool| oracle(test, tool)) {
        return;
    }
    let project = Project::new();
    project.run(&["configure"], true);
    project.run(&["compile"], false);
    let built = project.stamps();
    let first = project.assemble("first.img");

    project.run(&["configure"], false);
    project.run(&["compile"], false);
    assert_eq!(rebuilt(&built, &project.stamps()), BTreeSet::new());
    let second = project.assemble("second.img");
    assert!(Command::new("cmp").args([&first, &second]).status().unwrap().success());

    let fragment = project.root.join("overrides/busybox");
    fs::create_dir_all(&fragment).unwrap();
    fs::write(fragment.join("applet"), format!("CONFIG_{}=y\n", APPLET.to_uppercase())).unwrap();
    project.run(&["compile"], false);
    assert_eq!(rebuilt(&built, &project.stamps()), BTreeSet::from(["busybox".to_owned()]));
    boot(&project.workspace(), &project.assemble("third.img"));
}
