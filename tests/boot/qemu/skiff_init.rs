//! `skiff-init` starts systems in QEMU, from media made by other programs; and its rules, without a machine.

use std::fs;
use std::path::{Path, PathBuf};

use super::pre_init::{ext4, fat, image, initramfs, partitioned, put, skiff_init, start};
use crate::harness::tools::{command, oracle};
use crate::harness::tools::{run, temporary};

/// Where SkiffOS' kernel command lines look for the program.
const PROGRAM: &str = "boot/skiff-init/skiff-init-squashfs";

/// Makes the disk the root, as a kernel with built-in drivers does, without a console and without `/dev`.
const SWITCH: &str = "busybox mount -t ext4 -o $mode /dev/vda /root
exec busybox switch_root /root /boot/skiff-init/skiff-init-squashfs \"$@\" <&- >&- 2>&-\n";

/// Starts from the initramfs itself.
const STAY: &str = "exec /skiff-init \"$@\"\n";

fn ready(test: &str) -> bool {
    let tools =
        ["qemu-system-x86_64", "mksquashfs", "cpio", "mkfs.ext4", "mkfs.vfat", "mcopy", "sfdisk", "e2fsck"];
    tools.iter().all(|tool| oracle(test, tool))
}

/// What a board with its root on ext4 carries.
fn tree(directory: &Path) -> PathBuf {
    let tree = directory.join("tree");
    put(&tree.join(PROGRAM), fs::read(skiff_init()).expect("the binary"), 0o755);
    tree
}

fn shows(console: &str, words: &[&str]) {
    for word in words {
        assert!(console.contains(word), "no `{word}` on the console:\n{console}");
    }
}

#[test]
fn a_root_on_ext4_starts_grows_and_keeps_what_is_written() {
    let test = "a_root_on_ext4_starts_grows_and_keeps_what_is_written";
    if !ready(test) {
        return;
    }
    let directory = temporary();
    let (tree, disk) = (tree(directory.path()), directory.path().join("disk.img"));
    image(&tree.join("boot/my system.squashfs"), "new");
    put(
        &tree.join("boot/skiff-init/skiff-init.conf"),
        "# of the board\noverlay-size = 10%\nwiat = 3\n",
        0o644,
    );
    put(&tree.join("extra/seen-in-both"), "", 0o644);
    ext4(&disk, &tree, 64, 200);
    let initramfs = initramfs(directory.path(), SWITCH);
    // Longer than any buffer: the kernel takes 2048 bytes.
    let filler = "filler=".to_owned() + &"x".repeat(1300);
    let cmdline = format!(
        "{filler} word=\"two words\" single skiffos.wait=soon skiffos.verify skiffos.bind=/extra:/mnt/extra \
         skiffos.squashfs=\"/boot/my system.squashfs\""
    );
    let console = start(&initramfs, &format!("mode=rw {cmdline}"), &disk).finish();
    shows(
        &console,
        &[
            "skiff-init: /boot/skiff-init/skiff-init.conf:3: there is no setting `wiat`; it is ignored",
            "skiff-init: kernel command line: `wait` must be seconds from 0 to 3600, not `soon`; it is ignored",
            "skiff-init: the filesystem on `/dev/vda` grew from 65536 to 204800 blocks",
            "skiff-init: `/boot/my system.squashfs` has the digest that is stated",
            "skiff-init: `/boot/my system.squashfs` is attached to `/dev/loop0`",
            "skiff-init: starting `/sbin/init` after ",
            "image=new pid=1 arguments=single word=two words",
            "root=overlay,rw persist=ext4,rw boot= sys=sysfs,rw dev=devtmpfs,rw",
            "limit=ratelimit input=/dev/console",
            "the root takes changes",
            "boots=1",
            "seen-in-both",
            "SKIFF-BOOT-OK",
        ],
    );
    overlay_takes(&console, 10);
    run(command("e2fsck").args(["-f", "-n"]).arg(&disk));
    let again = start(&initramfs, "mode=ro skiffos.squashfs=\"/boot/my system.squashfs\"", &disk).finish();
    shows(&again, &["boots=2", "SKIFF-BOOT-OK"]);
    assert!(!again.contains("grew from"), "{again}");
}

/// The memory for changes is this part of all.
fn overlay_takes(console: &str, percent: u64) {
    let number = |word: &str| -> u64 {
        let after = console.split(word).nth(1).expect("the system says it");
        after.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
    };
    let (changes, memory) = (number("changes="), number("memory="));
    assert!(changes.abs_diff(memory * percent / 100) < memory / 100, "{changes} KiB of {memory}");
}

#[test]
fn an_image_that_fails_gives_way_to_the_previous_one() {
    if !ready("an_image_that_fails_gives_way_to_the_previous_one") {
        return;
    }
    let directory = temporary();
    let (tree, disk) = (tree(directory.path()), directory.path().join("disk.img"));
    let (damaged, torn) = (tree.join("boot/rootfs.squashfs"), tree.join("torn.squashfs"));
    image(&damaged, "new");
    image(&tree.join("boot/rootfs.squashfs.old"), "old");
    let stated = spoil(&damaged);
    fs::write(&torn, &fs::read(&damaged).expect("the image")[..20_000]).expect("target/ is writable");
    ext4(&disk, &tree, 64, 64);
    let initramfs = initramfs(directory.path(), SWITCH);
    let found = blake3::hash(&fs::read(&damaged).expect("the image"));
    let console = start(&initramfs, "mode=rw quiet skiffos.verify=1", &disk).finish();
    let refused =
        format!("skiff-init: `/boot/rootfs.squashfs` is damaged: its BLAKE3 digest is {found}, not {stated}");
    let previous = "skiff-init: starting the previous image `/boot/rootfs.squashfs.old`";
    let hint = "skiff-init: hint: write the image again; without `skiffos.verify` it is not checked";
    shows(&console, &[&refused, hint, previous, "image=old", "SKIFF-BOOT-OK"]);

    let missing = "skiffos.squashfs=/boot/none.squashfs skiffos.previous=/boot/rootfs.squashfs.old";
    let console = start(&initramfs, &format!("mode=rw {missing}"), &disk).finish();
    let none = "skiff-init: no image: there is no `/boot/none.squashfs`";
    let hint =
        "skiff-init: hint: name it with `skiffos.squashfs=PATH`, or the device it is on with `skiffos.boot=`";
    shows(&console, &[none, hint, previous, "image=old", "SKIFF-BOOT-OK"]);

    let torn = "skiffos.squashfs=/torn.squashfs skiffos.previous=/boot/rootfs.squashfs.old";
    let console = start(&initramfs, &format!("mode=rw {torn}"), &disk).finish();
    let mount = "skiff-init: cannot mount `/dev/loop0` (squashfs) at `/skiff-overlays/image`: ";
    let hint = "skiff-init: hint: the kernel may lack this filesystem, or the medium is damaged";
    shows(&console, &[mount, hint, previous, "image=old", "SKIFF-BOOT-OK"]);
}

/// Changes one byte in the middle of an image, and gives the digest that it had.
fn spoil(image: &Path) -> String {
    let mut bytes = fs::read(image).expect("the image");
    let digest = blake3::hash(&bytes).to_string();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(image, bytes).expect("target/ is writable");
    digest
}

#[test]
fn nothing_to_start_ends_in_a_shell_or_a_restart() {
    if !ready("nothing_to_start_ends_in_a_shell_or_a_restart") {
        return;
    }
    let directory = temporary();
    let (tree, disk) = (tree(directory.path()), directory.path().join("disk.img"));
    ext4(&disk, &tree, 64, 64);
    let none = "skiff-init: no image: there is no `/boot/rootfs.squashfs`, `/rootfs.squashfs` or \
                `/mnt/boot/rootfs.squashfs`";
    let switch = initramfs(&directory.path().join("switch"), SWITCH);
    let console = start(&switch, "mode=rw skiffos.panic=2", &disk).finish();
    let end = "skiff-init: the system cannot start; there is no shell, restart in 2 s";
    shows(&console, &[none, end, "skiff-init: restart\r\n"]);

    let stay = initramfs(&directory.path().join("stay"), STAY);
    let mut machine = start(&stay, "skiffos.panic=60", &disk);
    machine.expect("skiff-init: the system cannot start; Enter for a shell, restart in 60 s");
    machine.type_in("\r");
    machine.expect("skiff-init: this is `/bin/busybox`; leaving it restarts the machine");
    machine.type_in("echo shell-$((6*7))\r");
    machine.expect("shell-42");
    machine.type_in("exit\r");
    shows(&machine.finish(), &[none, "skiff-init: restart\r\n"]);
}

#[test]
fn a_root_on_fat_is_seen_as_the_boot_partition() {
    if !ready("a_root_on_fat_is_seen_as_the_boot_partition") {
        return;
    }
    let directory = temporary();
    let (tree, disk) = (directory.path().join("tree"), directory.path().join("disk.img"));
    put(&tree.join("skiff-init/skiff-init-squashfs"), fs::read(skiff_init()).expect("the binary"), 0o755);
    put(&tree.join("skiff-init/skiff-init.conf"), "init = /usr/lib/system\n", 0o644);
    image(&tree.join("rootfs.squashfs"), "new");
    fat(&disk, &tree, "BOOT");
    let switch = SWITCH.replace("ext4", "vfat").replace("/boot/skiff-init/", "/skiff-init/");
    let initramfs = initramfs(directory.path(), &switch);
    let console = start(&initramfs, "mode=rw", &disk).finish();
    let up = ["image=new", "root=overlay,rw persist= boot=vfat,rw", "boots=1", "SKIFF-BOOT-OK"];
    shows(&console, &up);
    shows(&console, &["skiff-init: starting `/usr/lib/system` after "]);
}

#[test]
fn an_initramfs_finds_its_medium_and_is_freed() {
    if !ready("an_initramfs_finds_its_medium_and_is_freed") {
        return;
    }
    let directory = temporary();
    let (tree, disk) = (directory.path().join("tree"), directory.path().join("disk.img"));
    image(&tree.join("rootfs.squashfs"), "new");
    let initramfs = initramfs(directory.path(), STAY);
    let up =
        ["image=new", "root=overlay,rw persist= boot=vfat,rw", "boots=1", "nothing of the initramfs is left"];
    let mbr = "label: dos\nlabel-id: 0x1234abcd\nstart=2048, size=131072, type=c";
    partitioned(&disk, mbr, |partition| fat(partition, &tree, "SKIFF"));
    let absent = "mode=rw skiffos.boot=LABEL=nowhere skiffos.wait=1 skiffos.panic=1";
    let console = start(&initramfs, absent, &disk).finish();
    let missing = "skiff-init: no device `LABEL=nowhere` within 1 s; there are: vda, vda1 (vfat `SKIFF`)";
    let hint = "skiff-init: hint: check the medium and `skiffos.boot=`; `skiffos.wait=SECONDS` waits longer";
    shows(&console, &[missing, hint, "skiff-init: restart\r\n"]);
    let console = start(&initramfs, "skiffos.boot=PARTUUID=1234ABCD-01 init=/sbin/init", &disk).finish();
    shows(&console, &[&up[..], &["SKIFF-BOOT-OK"]].concat());
    partitioned(&disk, mbr, |partition| fat(partition, &tree, "SKIFF"));
    let console = start(&initramfs, "skiffos.boot=LABEL=SKIFF skiffos.init=/usr/lib/system", &disk).finish();
    shows(&console, &[&up[..], &["skiff-init: starting `/usr/lib/system` after ", "SKIFF-BOOT-OK"]].concat());
}

#[test]
fn a_guid_table_and_a_volume_on_the_whole_disk_are_found_too() {
    if !ready("a_guid_table_and_a_volume_on_the_whole_disk_are_found_too") {
        return;
    }
    let directory = temporary();
    let (tree, disk) = (directory.path().join("tree"), directory.path().join("disk.img"));
    image(&tree.join("boot.squashfs"), "new");
    let initramfs = initramfs(directory.path(), STAY);
    let gpt =
        "label: gpt\nstart=2048, size=131072, uuid=01234567-89AB-CDEF-0123-456789ABCDEF, name=\"skiff boot\"";
    partitioned(&disk, gpt, |partition| ext4(partition, &tree, 64, 64));
    let image = "skiffos.squashfs=/mnt/boot/boot.squashfs";
    let boot = "skiffos.boot=PARTUUID=01234567-89ab-cdef-0123-456789abcdef";
    let console = start(&initramfs, &format!("{boot} {image}"), &disk).finish();
    shows(&console, &["image=new", "persist= boot=ext4,rw", "boots=1", "SKIFF-BOOT-OK"]);
    let boot = "skiffos.boot=\"PARTLABEL=skiff boot\" skiffos.root-as=none";
    let console = start(&initramfs, &format!("{boot} {image}"), &disk).finish();
    shows(&console, &["image=new", "boot=ext4,rw", "boots=2", "SKIFF-BOOT-OK"]);
    fat(&disk, &tree, "WHOLE");
    let console = start(&initramfs, &format!("skiffos.boot=/dev/vda {image}"), &disk).finish();
    shows(&console, &["image=new", "boot=vfat,rw", "SKIFF-BOOT-OK"]);
}
