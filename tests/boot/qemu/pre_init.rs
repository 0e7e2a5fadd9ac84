//! What the machines start from: an initramfs, images, and disks with them, made without root rights.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::board::output;
use crate::harness::qemu::{Machine, Running};
use crate::harness::tools::command;
use crate::harness::tools::run;

/// Loads what the kernel of Debian has as modules. Stands where a board's kernel has it built in.
const LOAD: &str = r#"#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc proc /proc
while read -r group module; do busybox insmod "/modules/$module" 2>/dev/null; done </modules/order
busybox mount -t devtmpfs devtmpfs /dev
busybox umount /proc
"#;

/// Stands where the system stands: says what it finds, and switches the machine off.
const SYSTEM: &str = r#"#!/bin/sh
export PATH=/bin
echo 1 >/proc/sys/kernel/printk
mounted() { busybox awk -v at="$1" '$2 == at { print $3 "," substr($4, 1, 2) }' /proc/mounts; }
echo "image=$(cat /etc/image) pid=$$ arguments=$* word=$word"
echo "root=$(mounted /) persist=$(mounted /mnt/persist) boot=$(mounted /mnt/boot) sys=$(mounted /sys) dev=$(mounted /dev)"
echo "changes=$(busybox df -k / | busybox awk 'END { print $(NF-4) }') memory=$(busybox awk '/MemTotal/ { print $2 }' /proc/meminfo)"
echo "limit=$(cat /proc/sys/kernel/printk_devkmsg) input=$(readlink /proc/self/fd/0)"
busybox touch /etc/changed && echo "the root takes changes"
for place in /mnt/persist /mnt/boot; do
  [ -z "$(mounted $place)" ] || { echo boot >>$place/boots && echo "boots=$(busybox wc -l <$place/boots)"; }
done
[ ! -e /initramfs-is-here ] && echo "nothing of the initramfs is left"
busybox ls /mnt/extra 2>/dev/null
busybox sync
echo SKIFF-BOOT-OK
busybox poweroff -f
"#;

/// The binary for the machine, static as on a device.
pub fn skiff_init() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| static_program("skiff-init", &["--features", "pure"]))
}

/// Builds a program of the device as Buildroot's package of the same name does.
pub fn static_program(package: &str, options: &[&str]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(package);
    run(Command::new(env!("CARGO"))
        .env_remove("RUSTC_BOOTSTRAP") // of `tests/timed`: everything would be built anew
        .args(["build", "--quiet", "--locked", "--profile", "init", "--package", package])
        .args(options)
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static -Crelocation-model=static")
        .env("CARGO_TARGET_DIR", &target));
    target.join("x86_64-unknown-linux-gnu/init").join(package)
}

/// Starts the kernel of the fixture with an initramfs, a command line and a disk.
pub fn start(initramfs: &Path, cmdline: &str, disk: &Path) -> Running {
    let text = |path: &Path| path.to_str().expect("target/ has a plain name").to_owned();
    let kernel = output("amd64").join("images/bzImage");
    let append = format!("console=ttyS0 panic=1 loglevel=7 {cmdline}");
    Machine::new("qemu-system-x86_64", &["-M", "q35", "-m", "512"])
        .with(["-kernel", &text(&kernel), "-initrd", &text(initramfs), "-append", &append])
        .with_disk(disk, "virtio-blk-pci")
        .start()
}

/// Writes a file, and the directories above it.
pub fn put(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("target/ is writable");
    fs::write(path, bytes).expect("target/ is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("target/ is writable");
}

/// An initramfs with `script` after the modules are loaded. It holds `skiff-init` and a shell.
pub fn initramfs(directory: &Path, script: &str) -> PathBuf {
    let tree = directory.join("initramfs");
    let target = output("amd64").join("target/usr");
    put(&tree.join("init"), format!("{LOAD}{script}"), 0o755);
    put(&tree.join("bin/busybox"), fs::read(target.join("bin/busybox")).expect("the fixture"), 0o755);
    put(&tree.join("skiff-init"), fs::read(skiff_init()).expect("the binary"), 0o755);
    put(&tree.join("initramfs-is-here"), "", 0o644);
    for name in ["proc", "sys", "dev", "root"] {
        fs::create_dir_all(tree.join(name)).expect("target/ is writable");
    }
    run(command("cp").arg("-r").arg(target.join("lib/fixture-modules")).arg(tree.join("modules")));
    let archive = directory.join("initramfs.cpio");
    let pack = "find . -print0 | LC_ALL=C sort -z | cpio --quiet --null -o -H newc -R 0:0 >\"$1\"";
    run(Command::new("sh").args(["-c", pack, "pack"]).arg(&archive).current_dir(&tree));
    archive
}

/// A squashfs image whose system calls itself `name`, with its digest beside it.
pub fn image(to: &Path, name: &str) {
    let tree = to.with_extension("tree");
    let busybox = output("amd64").join("target/usr/bin/busybox");
    put(&tree.join("bin/busybox"), fs::read(busybox).expect("the fixture"), 0o755);
    for applet in ["sh", "cat", "echo", "readlink"] {
        symlink("busybox", tree.join("bin").join(applet)).expect("target/ is writable");
    }
    put(&tree.join("usr/lib/system"), SYSTEM, 0o755);
    put(&tree.join("etc/image"), name, 0o644);
    fs::create_dir_all(tree.join("sbin")).expect("target/ is writable");
    // An absolute link, which leads elsewhere before this is the root.
    symlink("/usr/lib/system", tree.join("sbin/init")).expect("target/ is writable");
    fs::create_dir_all(to.parent().expect("a directory")).expect("target/ is writable");
    run(command("mksquashfs").arg(&tree).arg(to).args(["-all-root", "-noappend", "-quiet", "-no-progress"]));
    fs::remove_dir_all(&tree).expect("target/ is writable");
    let digest = blake3::hash(&fs::read(to).expect("the image"));
    let beside = format!("{digest}  {}\n", to.file_name().expect("a name").to_string_lossy());
    put(&sidecar(to), beside, 0o644);
}

/// The name of an image's digest.
pub fn sidecar(image: &Path) -> PathBuf {
    PathBuf::from(format!("{}.blake3", image.display()))
}

/// An ext4 disk of `disk_mib` with a filesystem of `mib` that holds a tree.
pub fn ext4(to: &Path, tree: &Path, mib: u64, disk_mib: u64) {
    run(command("mkfs.ext4")
        .args(["-q", "-F", "-L", "persist", "-d"])
        .arg(tree)
        .arg(to)
        .arg(format!("{mib}M")));
    fs::File::options()
        .write(true)
        .open(to)
        .and_then(|file| file.set_len(disk_mib << 20))
        .expect("a larger file");
}

/// A disk with the table that `script` describes to sfdisk, whose first partition of 64 MiB is what `make` makes.
pub fn partitioned(to: &Path, script: &str, make: impl Fn(&Path)) {
    let partition = to.with_extension("partition");
    make(&partition);
    fs::File::create(to).and_then(|file| file.set_len(96 << 20)).expect("target/ is writable");
    let pipe = "printf '%s\\n' \"$2\" | sfdisk --quiet \"$1\" && dd if=\"$3\" of=\"$1\" bs=1M seek=1 conv=notrunc status=none";
    run(command("sh").args(["-c", pipe, "disk"]).arg(to).arg(script).arg(&partition));
}

/// A FAT filesystem of 64 MiB with what is in a tree's root.
pub fn fat(to: &Path, tree: &Path, label: &str) {
    fs::File::create(to).and_then(|file| file.set_len(64 << 20)).expect("target/ is writable");
    run(command("mkfs.vfat").args(["-F", "32", "-s", "1", "-n", label]).arg(to));
    let copy = "mcopy -s -i \"$1\" \"$2\"/* ::/";
    run(command("sh").args(["-c", copy, "copy"]).arg(to).arg(tree));
}
