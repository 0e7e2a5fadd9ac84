//! Users in containers, from layers to a login: a system with Skiff Core, and on its medium the image of a container,
//! started in QEMU without a registry.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::pre_init::static_program;
use super::system::{PATIENCE, output, ready, two_cores};
use crate::harness::container_image::Layout;
use crate::harness::guest::{Answers, Network};
use crate::harness::qemu::Running;
use crate::harness::tools::{command, run, skiff_image, temporary, write};

/// The configuration of the device; `MARK` is a variable in the container.
const CONFIG: &str = "\
containers:
  core:
    image: test/box:1
    entrypoint: [/bin/sh, -c, \"trap 'exit 0' TERM; while :; do sleep 1; done\"]
    env: [MARK=first]
    hostNetwork: true
    disableInit: true
    startAfterCreate: true
    restartPolicy: always
    mounts: [/mnt/persist/skiff/core/home:/home]
users:
  core:
    container: core
    containerUser: core
    auth: {copyRootKeys: true}
images:
  test/box:1:
    pull: {}
";

/// The medium of a device, and a network to reach it.
struct Device {
    network: Network,
    image: PathBuf,
    _directory: tempfile::TempDir,
}

impl Device {
    fn new() -> Device {
        let directory = temporary();
        let path = directory.path();
        let network = Network::new(path);
        let overlay = path.join("layers/proof/site/root_overlay");
        // Limits that boards keep easily, and an emulator on a busy machine does not.
        write(&overlay.join("etc/skiff/mount.env"), "PERSIST_WAIT=600\nEXTRA_SCRIPT_WAIT=600\n");
        let patient = "[Manager]\nDefaultTimeoutStartSec=15min\nDefaultDeviceTimeoutSec=15min\n";
        write(&overlay.join("etc/systemd/system.conf.d/90-proof.conf"), patient);
        // What the package of Buildroot installs.
        let program = overlay.join("usr/bin/skiff-core");
        let built = static_program("skiff-core", &[]);
        write(&program, fs::read(built).expect("the binary"));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
        symlink("skiff-core", overlay.join("usr/bin/skiff-shell")).expect("a link");
        write(&path.join("persist/skiff/core/config.yaml"), CONFIG);
        let container = path.join("box.tar");
        container_image(path).archive(&container);
        let image = path.join("disk.img");
        let config = "virt/qemu,skiff/core";
        let mut assemble = skiff_image();
        assemble.args(["--quiet", "assemble", "--board", "virt/qemu", "--size=2GiB", "--strict"]);
        assemble.arg("--config").arg(format!("{config},proof/site"));
        assemble.env("SKIFF_EXTRA_CONFIGS_PATH", path.join("layers"));
        assemble.arg("--ssh-key").arg(network.key().with_extension("pub"));
        assemble.arg("--persist-dir").arg(path.join("persist"));
        assemble.arg("--container-image").arg(&container);
        assemble.arg("--source").arg(output(config, "amd64")).arg("--out").arg(&image);
        run(&mut assemble);
        Device { network, image, _directory: directory }
    }

    fn start(&self) -> Running {
        two_cores(&self.image).within(&self.network, "virtio-net-pci").start()
    }

    /// Logs in as a user, and asks.
    fn ask(&self, user: &str, machine: &mut Running, questions: &[(&str, &str)]) -> Answers {
        let said = self.network.login_as(user, &Answers::script(questions), PATIENCE);
        let said = said.unwrap_or_else(|| panic!("no login; the console {}", machine.so_far()));
        eprintln!("answers of `{user}` after {:.0} s", machine.elapsed().as_secs_f64());
        Answers::read(&said)
    }
}

/// An image with busybox, a user, and something in its home.
fn container_image(directory: &Path) -> Layout {
    let tree = directory.join("box");
    for path in ["bin", "dev", "etc", "home/core", "proc", "root", "sys", "tmp"] {
        fs::create_dir_all(tree.join(path)).expect("a directory");
    }
    run(command("sh").args(["-c", "cp $(command -v busybox) \"$1/bin/busybox\"", "sh"]).arg(&tree));
    for applet in ["cat", "echo", "id", "ls", "ps", "pwd", "sh", "sleep", "stat"] {
        symlink("busybox", tree.join("bin").join(applet)).expect("a link");
    }
    write(&tree.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\ncore:x:1000:1000::/home/core:/bin/sh\n");
    write(&tree.join("etc/group"), "root:x:0:\ncore:x:1000:\n");
    write(&tree.join("etc/box"), "a box\n");
    write(&tree.join("home/core/.profile"), "of the image\n");
    let layer = directory.join("layer.tar");
    let mut tar = command("tar");
    tar.arg("-C").arg(&tree).args(["--owner=0", "--group=0", "-cf"]).arg(&layer);
    run(tar.args(["bin", "dev", "etc", "proc", "root", "sys", "tmp"]));
    let mut homes = command("tar");
    run(homes
        .arg("-C")
        .arg(&tree)
        .args(["--owner=1000", "--group=1000", "-rf"])
        .arg(&layer)
        .arg("home/core"));
    Layout::make(&directory.join("layout"), "test/box:1", "amd64", &fs::read(&layer).expect("the layer"))
}

/// What a user finds.
const INSIDE: [(&str, &str); 6] = [
    ("who", "id -un"),
    ("where", "pwd"),
    ("system", "cat /etc/box"),
    ("mark", "echo $MARK"),
    ("profile", "cat .profile; stat -c %u .profile"),
    ("file", "cat file 2>/dev/null || :"),
];
/// What root finds on the host.
const HOST: [(&str, &str); 3] = [
    ("state", "systemctl is-system-running --wait"),
    ("failed", "systemctl list-units --failed --plain --no-legend"),
    ("group", "id -nG core"),
];

#[track_caller]
fn is_inside(answers: &Answers, mark: &str, file: &str) {
    for (question, answer) in [
        ("who", "core"),
        ("where", "/home/core"),
        ("system", "a box"),
        ("mark", mark),
        ("profile", "of the image\n1000"),
        ("file", file),
    ] {
        assert_eq!(answers.of(question), answer, "{question}");
    }
}

#[track_caller]
fn host_is_well(answers: &Answers) {
    assert_eq!((answers.of("state"), answers.of("failed")), ("running", ""));
    // Nobody is in a group that leads to root.
    assert_eq!(answers.of("group"), "core");
}

#[test]
fn a_login_is_in_the_container_of_the_medium_and_its_home_stays() {
    let test = "a_login_is_in_the_container_of_the_medium_and_its_home_stays";
    if !ready(test) {
        return;
    }
    let device = Device::new();
    let mut machine = device.start();
    is_inside(&device.ask("core", &mut machine, &INSIDE), "first", "");
    let write = device.network.ssh("core", "echo kept >file; exit 7").status().expect("ssh starts");
    assert_eq!(write.code(), Some(7));
    host_is_well(&device.ask("root", &mut machine, &HOST));
    device.network.tell("systemctl reboot");
    // A container that nobody ended would keep systemd waiting for 90 s.
    let console = machine.finish();
    assert!(!console.contains("(1min "), "something does not stop: {console}");

    let mut machine = device.start();
    is_inside(&device.ask("core", &mut machine, &INSIDE), "first", "kept");
    host_is_well(&device.ask("root", &mut machine, &HOST));
    // The writable layer has a file too, which a replacement leaves behind.
    let change = "set -e; podman exec core sh -c 'echo x >/etc/left'; \
                  sed -i s/MARK=first/MARK=second/ /mnt/persist/skiff/core/config.yaml; \
                  skiff-core apply && exit 1; skiff-core apply --recreate core; podman ps --all --format '{{.Names}}'";
    let changed = device.ask("root", &mut machine, &[("containers", change)]);
    assert!(changed.of("containers").ends_with("core.previous\ncore"), "{}", changed.of("containers"));
    is_inside(&device.ask("core", &mut machine, &INSIDE), "second", "kept");
    device.network.tell("systemctl poweroff");
    machine.finish();
}
