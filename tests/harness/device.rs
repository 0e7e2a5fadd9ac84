//! The programs that a device has: those of the packages that layers select, and the applets of busybox.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Applets that `package/busybox/busybox.config` of Buildroot 2026.05.1 enables.
const APPLETS: &str = include_str!("busybox_applets.txt");

/// Programs of packages (the help texts of Buildroot's `package/*/Config.in`), as far as scripts may want them.
const PACKAGES: [(&str, &str); 17] = [
    ("BR2_INIT_SYSTEMD", "hostnamectl journalctl systemctl systemd-tmpfiles timedatectl udevadm"),
    ("BR2_PACKAGE_BASH", "bash"),
    ("BR2_PACKAGE_DOSFSTOOLS_FSCK_FAT", "fsck.fat fsck.vfat"),
    (
        "BR2_PACKAGE_E2FSPROGS",
        "badblocks chattr dumpe2fs e2fsck e2label fsck.ext4 lsattr mke2fs mkfs.ext4 tune2fs",
    ),
    ("BR2_PACKAGE_E2FSPROGS_RESIZE2FS", "resize2fs"),
    ("BR2_PACKAGE_KMOD_TOOLS", "depmod insmod kmod lsmod modinfo modprobe rmmod"),
    ("BR2_PACKAGE_NETWORK_MANAGER_CLI", "nmcli"),
    ("BR2_PACKAGE_OPENSSH", "scp ssh ssh-keygen sshd"),
    ("BR2_PACKAGE_RSYNC", "rsync"),
    (
        "BR2_PACKAGE_UTIL_LINUX_BINARIES",
        "blkdiscard blkid blockdev dmesg fdisk findfs findmnt flock fsfreeze fstrim getopt hexdump lsblk lscpu mkswap \
         setsid sfdisk swaplabel swapoff swapon uuidgen wipefs",
    ),
    ("BR2_PACKAGE_UTIL_LINUX_FALLOCATE", "fallocate"),
    ("BR2_PACKAGE_UTIL_LINUX_LOSETUP", "losetup"),
    ("BR2_PACKAGE_UTIL_LINUX_MOUNT", "mount umount"),
    ("BR2_PACKAGE_UTIL_LINUX_MOUNTPOINT", "mountpoint"),
    ("BR2_PACKAGE_UTIL_LINUX_PARTX", "addpart delpart partx"),
    ("BR2_PACKAGE_UTIL_LINUX_RFKILL", "rfkill"),
    ("BR2_PACKAGE_UTIL_LINUX_ZRAMCTL", "zramctl"),
];

/// Where the sandbox has the machine's own `/usr`.
pub const HOST: &str = "/opt/host";

/// Symbols that the fragments of a layer set to `y` or `n`.
fn symbols(layer: &str, kind: &str) -> BTreeMap<String, bool> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(layer).join(kind);
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut symbols = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for line in skiff_image::layer::fragment::lines(&text) {
            if let Some(symbol) = line.symbol {
                symbols.insert(symbol.to_owned(), line.value.to_string() == "y");
            }
        }
    }
    symbols
}

/// Names of the programs that a system of these layers has.
fn programs(layers: &[&str]) -> Vec<String> {
    let (mut packages, mut applets) = (BTreeMap::new(), BTreeMap::new());
    for layer in layers {
        packages.extend(symbols(layer, "buildroot"));
        applets.extend(symbols(layer, "busybox"));
    }
    let mut programs: Vec<String> = APPLETS.split_whitespace().map(String::from).collect();
    for (symbol, set) in applets {
        let name = symbol.trim_start_matches("CONFIG_").to_lowercase();
        programs.retain(|known| *known != name);
        programs.extend(set.then_some(name));
    }
    let selected = PACKAGES.iter().filter(|(symbol, _)| packages.get(*symbol) == Some(&true));
    programs.extend(selected.flat_map(|(_, names)| names.split_whitespace()).map(String::from));
    programs
}

/// Fills `usr/bin` of a root directory with links to these programs of the machine: the applets are those of a
/// busybox where it has them.
pub fn install(root: &Path, layers: &[&str]) {
    let bin = root.join("usr/bin");
    fs::create_dir_all(&bin).unwrap();
    symlink("bin", root.join("usr/sbin")).unwrap();
    let list = std::process::Command::new("busybox").arg("--list").output().expect("busybox runs");
    let list = String::from_utf8(list.stdout).unwrap();
    let in_busybox: Vec<&str> = list.lines().collect();
    let packaged: Vec<&str> = PACKAGES.iter().flat_map(|(_, names)| names.split_whitespace()).collect();
    // Debian's busybox runs its own applets as a shell, without a look at PATH; Buildroot's does not.
    for name in ["sh", "ash"] {
        symlink(format!("{HOST}/bin/dash"), bin.join(name)).unwrap();
    }
    for name in programs(layers).into_iter().filter(|name| !["sh", "ash"].contains(&&**name)) {
        let directory = ["bin", "sbin"]
            .into_iter()
            .find(|directory| Path::new("/usr").join(directory).join(&name).exists());
        let target = match directory {
            _ if in_busybox.contains(&&*name) && !packaged.contains(&&*name) => format!("{HOST}/bin/busybox"),
            Some(directory) => format!("{HOST}/{directory}/{name}"),
            None => continue,
        };
        // A program of a package replaces the applet.
        let _ = fs::remove_file(bin.join(&name));
        symlink(target, bin.join(&name)).unwrap();
    }
}
