//! A root directory with the base system's scripts, entered in mount and host name namespaces of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::device;
use super::loopdev::LoopDevice;
use super::tools::{command, write_script};

/// What a script of the sandbox said.
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

/// The root directory; devices and kernel interfaces are those of the machine, and programs as far as a device has them.
pub struct Sandbox {
    directory: tempfile::TempDir,
}

/// Mounts what is borrowed, and goes into the root directory. Mounts end with the namespace.
const ENTER: &str = "
mount -t overlay -o \"lowerdir=$1/opt/lib:/usr/lib\" sandbox \"$1/usr/lib\"
for directory in dev proc sys usr/lib64 usr/share; do mount --rbind \"/$directory\" \"$1/$directory\"; done
mount --rbind /usr \"$1/opt/host\"
rm -rf \"$1/run/skiff\"
exec chroot \"$1\" /opt/host/bin/env -i PATH=/opt/fake:/usr/sbin:/usr/bin HOME=/root LC_ALL=C sh -c \"
host() { PATH=/opt/host/sbin:/opt/host/bin \\\"\\$@\\\"; }
$2\"
";

impl Sandbox {
    /// A root directory with the overlays of these layers, the base system first. Swap is a matter of the whole
    /// machine, and is off.
    pub fn new(layers: &[&str]) -> Sandbox {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let sandbox = Sandbox { directory };
        for name in [
            "usr/lib",
            "usr/lib64",
            "usr/share",
            "dev",
            "proc",
            "sys",
            "mnt",
            "root",
            "run",
            "tmp",
            "var/log",
            "opt/fake",
            "opt/host",
            // Every device has a place for modules, this machine perhaps not.
            "opt/lib/modules",
        ] {
            fs::create_dir_all(sandbox.path(name)).unwrap();
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), sandbox.path(name)).unwrap();
        }
        device::install(&sandbox.path(""), &[&["skiff/standard"][..], layers].concat());
        sandbox.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nsshd:x:100:100::/run/sshd:/bin/false\n");
        sandbox.write("etc/group", "root:x:0:\nsystemd-journal:x:190:\n");
        sandbox.write("etc/hosts", "127.0.0.1\tlocalhost\n");
        for layer in ["skiff/standard"].iter().chain(layers) {
            let overlay =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(layer).join("root_overlay");
            for top in ["etc", "opt"].into_iter().filter(|top| overlay.join(top).is_dir()) {
                // Not by this process: what it has open for writing cannot be run.
                let copied = command("cp").arg("-rT").arg(overlay.join(top)).arg(sandbox.path(top)).status();
                assert!(copied.is_ok_and(|status| status.success()), "{}", overlay.display());
            }
        }
        sandbox.write("etc/skiff/swap.env", "DISABLE_ZRAM=true\nDISABLE_SWAPFILE=true\n");
        sandbox
    }

    /// A path of the root directory.
    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A file that can be run.
    pub fn write_script(&self, path: &str, text: &str) {
        write_script(&self.path(path), &format!("#!/bin/sh\n{text}\n"));
    }

    /// A board's hook that chooses a device for persist, and a directory of it for what lies beside the system.
    pub fn choose_persist(&self, device: &str) {
        self.write(
            "opt/skiff/scripts/mount-all.pre.d/50-test.sh",
            &format!(
                "PERSIST_DEVICE={device}\nPERSIST_WAIT=60\nROOTFS_DEVICE=/mnt/persist/rootfs\n\
                 ROOTFS_MNT_FLAGS=--rbind\nROOTFS_DEVICE_MKDIR=true\n"
            ),
        );
    }

    /// Runs shell text inside, as after a boot: nothing is mounted but what is borrowed, and no settings are known.
    /// `host PROGRAM` runs one of the machine that a device does not have.
    pub fn run(&self, text: &str) -> Said {
        let output = command("unshare")
            .args(["--mount", "--uts", "--propagation", "private", "sh", "-euc", ENTER, "sh"])
            .arg(self.directory.path())
            .arg(text)
            .output()
            .expect("unshare runs");
        Said {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap(),
        }
    }

    /// Runs one of the scripts.
    pub fn step(&self, name: &str) -> Said {
        self.run(&format!("/opt/skiff/scripts/{name}.sh"))
    }
}

/// A label that no other run of the tests has on this machine; at most 8 bytes of `name` fit into ext4.
pub fn label(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// A medium with one ext4 filesystem of this label.
pub fn persist(test: &str, label: &str) -> Option<LoopDevice> {
    let device = LoopDevice::new(test, 24 << 20, &[])?;
    let made = command("mke2fs").args(["-q", "-t", "ext4", "-L", label]).arg(&device.path).status().unwrap();
    assert!(made.success(), "mke2fs");
    Some(device)
}
