//! A whole system, from layers to a login over ssh: the base system with the programs of Debian, composed for real
//! boards, started in QEMU, asked how it is, started again, and damaged.

use std::fs::File;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::virt::{ARM64_U_BOOT, virt_arm64};
use super::x86::{Desktop, partuuid, uefi};
use crate::harness::disk::{Disk, SECTOR, oracles};
use crate::harness::guest::{self, Answers, HOST, Network};
use crate::harness::medium::start;
use crate::harness::privilege::root;
use crate::harness::qemu::{Machine, Running, full};
use crate::harness::tools::{command, run, skiff_image, temporary, write, write_script};

/// From power-on to a login. It takes a minute on two cores that do nothing else, four where four times as much runs.
pub(super) const PATIENCE: Duration = Duration::from_secs(900);
/// What the medium gets before it is used: room to grow into.
const GROWN: u64 = 3 << 30;

/// A board, and how QEMU starts it.
struct Chain {
    board: &'static str,
    arch: &'static str,
    machine: fn(&Path) -> Machine,
    /// Network card that the machine has a place for.
    card: &'static str,
    /// Partition with what persists, from 1.
    persist: usize,
    /// What the modules of the kernel are on.
    modules: &'static str,
    /// `util/rootlogin` is a layer of the board.
    root_login: bool,
    /// Composes a medium from a fixture, with more layers and options.
    medium: fn(Medium) -> PathBuf,
}

/// What a medium is composed of.
struct Medium<'a> {
    fixture: PathBuf,
    directory: &'a Path,
    /// With the layer `proof/site`.
    layers: PathBuf,
    options: Vec<&'a str>,
}

/// The medium of a chain, with everything that `assemble` can put on it for the first boot.
struct Site {
    network: Network,
    image: PathBuf,
    _directory: tempfile::TempDir,
}

impl Site {
    fn new(chain: &Chain) -> Site {
        let directory = temporary();
        let path = directory.path();
        let network = Network::new(path);
        let overlay = path.join("layers/proof/site/root_overlay");
        let hook = "#!/bin/sh\necho \"$PERSIST_MNT\" >>/run/proof\n";
        write_script(&overlay.join("opt/skiff/scripts/mount-all.d/50-proof.sh"), hook);
        // Limits that boards keep easily, and an emulator on a busy machine does not.
        write(&overlay.join("etc/skiff/mount.env"), "PERSIST_WAIT=600\nEXTRA_SCRIPT_WAIT=600\n");
        let patient = "[Manager]\nDefaultTimeoutStartSec=15min\nDefaultDeviceTimeoutSec=15min\n";
        write(&overlay.join("etc/systemd/system.conf.d/90-proof.conf"), patient);
        let key = network.key().with_extension("pub");
        // For the day on which persist, with the same key, cannot be read.
        write(&overlay.join("etc/skiff/authorized_keys/proof.pub"), read(&key));
        let etc = path.join("persist/skiff/etc");
        write(&etc.join("proof/greeting"), "hello\n");
        symlink("../usr/share/zoneinfo/Europe/Berlin", etc.join("localtime")).expect("a link can be made");
        let wired = format!(
            "[connection]\nid=wired\ntype=ethernet\n\n[ipv4]\nmethod=auto\ndns={HOST};\nignore-auto-dns=true\n"
        );
        write(&path.join("persist/skiff/connections/wired.nmconnection"), wired);
        let password = path.join("password");
        write(&password, "correct horse\n");
        let text = |path: &Path| path.to_str().expect("target/ has a plain name").to_owned();
        let (key, persist, password) = (text(&key), text(&path.join("persist")), text(&password));
        let options = vec![
            "--size=2GiB",
            "--ssh-key",
            &key,
            "--hostname=proof-1",
            "--wifi=Proof Net",
            "--wifi-password-file",
            &password,
            "--persist-dir",
            &persist,
        ];
        let layers = path.join("layers");
        let image = (chain.medium)(Medium {
            fixture: output(chain.board, chain.arch),
            directory: path,
            layers,
            options,
        });
        let medium = File::options().write(true).open(&image).expect("the image is there");
        medium.set_len(GROWN).expect("target/ has room");
        Site { network, image, _directory: directory }
    }

    fn start(&self, chain: &Chain) -> Running {
        (chain.machine)(&self.image).within(&self.network, chain.card).start()
    }

    /// Logs in and asks.
    fn ask(&self, machine: &mut Running, questions: &[(&str, &str)]) -> Answers {
        let said = self.network.login(&Answers::script(questions), PATIENCE);
        let said = said.unwrap_or_else(|| panic!("no login; the console {}", machine.so_far()));
        eprintln!("login and answers after {:.0} s", machine.elapsed().as_secs_f64());
        Answers::read(&said)
    }
}

/// The Buildroot-shaped directory of the layers of a chain, made once.
pub(super) fn output(config: &str, arch: &str) -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let resolve = ["--json", "layers", "resolve", "--config", config];
    let layers: serde_json::Value =
        serde_json::from_str(&run(skiff_image().args(resolve))).expect("the order of the layers");
    let layers =
        layers.as_array().expect("layers").iter().map(|layer| layer["name"].as_str().expect("a name"));
    let base = project.join("target/fixtures");
    let output = base.join(format!("system-{}-{arch}", config.replace(['/', ','], "-")));
    let mut make = command("bash");
    make.arg(project.join("fixtures/debian-system")).arg(arch).arg(&output);
    make.arg("--cache").arg(base.join("cache")).args(layers).stdout(Stdio::null());
    assert!(make.status().expect("bash starts").success(), "fixtures/debian-system failed");
    output
}

/// What is asked after every start.
const ALWAYS: [(&str, &str); 7] = [
    ("state", "systemctl is-system-running --wait"),
    ("failed", "systemctl list-units --failed --plain --no-legend"),
    ("problems", "cat /run/skiff/problems 2>/dev/null || :"),
    ("machine-id", "cat /etc/machine-id"),
    ("host keys", "for key in ed25519 ecdsa rsa; do ssh-keygen -lf /etc/ssh/ssh_host_${key}_key.pub; done"),
    ("hostname", "hostname"),
    ("hook", "cat /run/proof"),
];

/// What is asked after the first start.
const ONCE: [(&str, &str); 13] = [
    ("modules", "findmnt -n -o FSTYPE --target /usr/lib/modules/$(uname -r)/modules.dep"),
    ("module", "modprobe nls_utf8 && lsmod | grep -c ^nls_utf8"),
    ("persist", "findmnt -n -o FSTYPE --target /mnt/persist"),
    ("persist size", "stat -f -c '%b * %S' /mnt/persist | { read -r size; echo $(($size)); }"),
    ("swap", "grep -c ^/dev/zram0 /proc/swaps"),
    ("address", "ip -o -4 addr | grep -c 10.0.2.15"),
    ("name", "bash -c 'exec 3<>/dev/tcp/host.skiff.test/53 && echo resolved'"),
    ("connections", "nmcli -t -f NAME,TYPE connection | sort"),
    ("wifi", "nmcli -s -g 802-11-wireless.ssid,802-11-wireless-security.psk connection show 'Proof Net'"),
    ("wifi mode", "stat -c '%a %u' /etc/NetworkManager/system-connections/* | sort -u"),
    ("localtime", "readlink /etc/localtime"),
    ("greeting", "cat /etc/proof/greeting"),
    ("time", "systemd-analyze time"),
];

/// Every unit is up, nothing was complained about, and the hook of the layer ran once.
#[track_caller]
fn all_is_well(answers: &Answers) {
    assert_eq!((answers.of("state"), answers.of("failed")), ("running", ""));
    assert_eq!((answers.of("hostname"), answers.of("hook")), ("proof-1", "/mnt/persist"));
}

/// Starts the system for the first time, and has it restart.
fn first_boot(chain: &Chain, site: &Site) -> Answers {
    let mut machine = site.start(chain);
    let answers = site.ask(&mut machine, &[&ALWAYS[..], &ONCE].concat());
    eprintln!("{}", answers.of("time"));
    all_is_well(&answers);
    assert_eq!(answers.of("problems"), "");
    for (question, answer) in [
        ("modules", chain.modules),
        ("module", "1"),
        ("persist", "ext4"),
        ("swap", "1"),
        ("address", "1"),
        ("name", "resolved"),
        ("wifi", "Proof Net\ncorrect horse"),
        ("wifi mode", "600 0"),
        ("localtime", "../usr/share/zoneinfo/Europe/Berlin"),
        ("greeting", "hello"),
    ] {
        assert_eq!(answers.of(question), answer, "{question}");
    }
    let connections = answers.of("connections");
    for connection in ["Proof Net:802-11-wireless", "wired:802-3-ethernet"] {
        assert!(connections.lines().any(|line| line == connection), "{connections}");
    }
    if chain.root_login {
        log_in_at_the_console(&mut machine);
    }
    site.network.tell("systemctl reboot");
    machine.finish();
    answers
}

/// Without a password, through agetty, login and PAM.
fn log_in_at_the_console(machine: &mut Running) {
    // A message of the kernel may stand behind the prompt.
    machine.answer("\n", "login:");
    // As the profile of the base has it; dash leaves the words of bash and ash as they are.
    machine.answer("root\n", "\\u@\\h:\\w$");
    machine.answer("echo console-$((6 * 7))\n", "console-42");
}

/// The partition reaches to the end of the medium, its filesystem to the end of the partition, and is clean.
fn persist_has_grown(chain: &Chain, site: &Site, size: u64) {
    let persist = &Disk::read(&site.image).entries[chain.persist - 1];
    let end = (persist.start + persist.size) * SECTOR;
    assert!(GROWN - end < 2 << 20, "partition {} ends at {end} of {GROWN}", chain.persist);
    let len = persist.size * SECTOR;
    // The rest is the filesystem's own tables and journal.
    assert!(size > len / 10 * 9 && size <= len, "{size} bytes of {len} can be used");
    let clean =
        command("e2fsck").args(["-f", "-n"]).arg(partition(chain, site)).output().expect("e2fsck runs");
    assert!(clean.status.success(), "{}", String::from_utf8_lossy(&clean.stdout));
}

/// The partition with what persists, as the tools for ext4 want to be told.
fn partition(chain: &Chain, site: &Site) -> String {
    format!("{}?offset={}", site.image.display(), start(&site.image, chain.persist))
}

/// Starts the system again, on a persist that a power cut has left with errors: they are mended and told, and all that
/// persists is there.
fn second_boot(chain: &Chain, site: &Site, first: &Answers) {
    for damage in ["ssv state 2", "clri <8>"] {
        run(command("debugfs").args(["-w", "-R", damage]).arg(partition(chain, site)));
    }
    let mut machine = site.start(chain);
    let journals = ("journals", "journalctl --list-boots --quiet | wc -l");
    let second = site.ask(&mut machine, &[&ALWAYS[..], &[journals]].concat());
    all_is_well(&second);
    for name in ["machine-id", "host keys"] {
        assert_eq!(second.of(name), first.of(name), "{name}");
    }
    assert_eq!(second.of("journals"), "2");
    let mended = "was damaged and is repaired: ";
    assert!(second.of("problems").contains(mended), "{}", second.of("problems"));
    expect(&mut machine, mended);
    site.network.tell("systemctl poweroff");
    machine.finish();
}

/// Starts the system on a persist that nothing but a decision can mend: it comes up, and says what is wrong.
fn third_boot(chain: &Chain, site: &Site) {
    let medium = File::options().write(true).open(&site.image).expect("the image is there");
    // The group descriptors, behind the block of the superblock.
    medium.write_all_at(&[0; 4096], start(&site.image, chain.persist) + 4096).expect("the image is writable");
    site.network.forget_host_keys();
    let mut machine = site.start(chain);
    let status = ("status", "/opt/skiff/scripts/status.sh");
    let answers = site.ask(&mut machine, &[&ALWAYS[..], &[status]].concat());
    assert_eq!(answers.of("state"), "degraded");
    assert!(answers.of("failed").contains("skiff-persist.service "), "{}", answers.of("failed"));
    let damaged = "is damaged, and e2fsck -p does not repair it (status 4)";
    for reason in [damaged, "cannot be mounted on /mnt/persist"] {
        assert!(answers.of("status").contains(reason), "{}", answers.of("status"));
        expect(&mut machine, reason);
    }
}

/// The console has a line with these words, already or soon.
#[track_caller]
fn expect(machine: &mut Running, words: &str) {
    let line = machine.line_with(&[words], PATIENCE);
    assert!(line.is_some(), "no `{words}` on the console, which {}", machine.so_far());
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn ready(test: &str) -> bool {
    full(test)
        && root(test)
        && oracles(test, &guest::TOOLS)
        && oracles(test, &["sfdisk", "debugfs", "e2fsck", "qemu-system-x86_64"])
}

#[test]
fn qemu_x86_64_starts_restarts_and_comes_up_on_a_damaged_persist() {
    if !ready("qemu_x86_64_starts_restarts_and_comes_up_on_a_damaged_persist") {
        return;
    }
    let chain = Chain {
        board: "virt/qemu",
        arch: "amd64",
        machine: two_cores,
        card: "virtio-net-pci",
        persist: 3,
        modules: "squashfs",
        root_login: true,
        medium: virt_qemu,
    };
    let site = Site::new(&chain);
    let first = first_boot(&chain, &site);
    persist_has_grown(&chain, &site, first.number("persist size"));
    second_boot(&chain, &site, &first);
    third_boot(&chain, &site);
}

#[test]
fn qemu_arm64_starts_and_all_is_well() {
    if !ready("qemu_arm64_starts_and_all_is_well") {
        return;
    }
    let chain = Chain {
        board: "virt/qemu",
        arch: "arm64",
        machine: |image| virt_arm64(ARM64_U_BOOT, image).with(["-smp", "2"]),
        card: "virtio-net-device",
        persist: 3,
        modules: "squashfs",
        root_login: true,
        medium: virt_qemu,
    };
    let site = Site::new(&chain);
    let first = first_boot(&chain, &site);
    persist_has_grown(&chain, &site, first.number("persist size"));
}

/// The root is a squashfs on the partition that persists; the first program on it is `skiff-init`.
#[test]
fn a_desktop_starts_from_its_squashfs_and_all_is_well() {
    let test = "a_desktop_starts_from_its_squashfs_and_all_is_well";
    if !ready(test) {
        return;
    }
    let chain = Chain {
        board: "intel/desktop",
        arch: "amd64",
        machine: two_cores,
        card: "virtio-net-pci",
        persist: 2,
        modules: "overlay",
        root_login: false,
        medium: desktop,
    };
    let site = Site::new(&chain);
    let first = first_boot(&chain, &site);
    persist_has_grown(&chain, &site, first.number("persist size"));
}

pub(super) fn two_cores(image: &Path) -> Machine {
    uefi(image).with(["-smp", "2"])
}

fn virt_qemu(medium: Medium) -> PathBuf {
    let image = medium.directory.join("disk.img");
    let mut assemble = skiff_image();
    assemble.args(["--quiet", "assemble", "--board", "virt/qemu", "--config", "virt/qemu,proof/site"]);
    assemble.env("SKIFF_EXTRA_CONFIGS_PATH", medium.layers).args(medium.options);
    run(assemble.arg("--source").arg(medium.fixture).arg("--out").arg(&image));
    image
}

fn desktop(medium: Medium) -> PathBuf {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let layers = std::env::join_paths([&configs, &medium.layers]).expect("target/ has a plain name");
    let desktop = Desktop::of(medium.fixture, "intel/desktop,test/pc,proof/site", layers);
    // The partition that is the root follows from the seed.
    desktop.name_root("00000000-0000-0000-0000-000000000000");
    let nowhere = desktop.assemble("intel/desktop", "nowhere.img", &medium.options);
    desktop.name_root(&partuuid(&nowhere, "2"));
    let image = medium.directory.join("disk.img");
    let composed = desktop.assemble("intel/desktop", "disk.img", &medium.options);
    std::fs::rename(composed, &image).expect("both are below target/");
    image
}
