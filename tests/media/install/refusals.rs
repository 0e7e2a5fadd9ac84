//! What is refused before a byte is written, word for word.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::FlockOperation;

use super::media::{Format, Medium, part};
use super::{TOOLS, synthetic};
use crate::harness::board::synthetic::{Synthetic, made_up};
use crate::harness::disk::{Mount, oracles};
use crate::harness::loopdev::LoopDevice;
use crate::harness::tools::run;
use skiff_image::board::Registry;
use skiff_image::value::Arch;

/// `install` of what there is for a board onto the `card.img` in its directory.
fn install(synthetic: &Synthetic, options: &[&str]) -> Command {
    let mut command = synthetic.command(&["install"]);
    command.args(options).args(["--quiet", "--manifest", "installed.json", "card.img"]);
    command
}

/// The exit code and what is told, of a run that must change nothing.
#[track_caller]
fn expect_refused(synthetic: &Synthetic, options: &[&str], code: i32, told: &str) {
    // The image may be larger than what one wants to read.
    let written =
        || fs::metadata(synthetic.path("card.img")).and_then(|image| image.modified()).expect("an image");
    let before = written();
    let output = install(synthetic, options).output().expect("skiff-image runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), told);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), b"".as_slice()));
    assert!(before == written() && !synthetic.path("installed.json").exists());
}

#[test]
fn a_medium_without_a_table_is_refused() {
    let synthetic = synthetic("odroid/xu");
    fs::write(synthetic.path("card.img"), vec![0; 8 << 20]).expect("an image");
    let told = "refused: `card.img` has no partition table, but board `odroid/xu` has MBR; on it is nothing known\n\
                hint: `flash` makes a new medium, and erases what is on this one";
    expect_refused(&synthetic, &[], 4, told);
    // A run of `flash` that was cut off says so in sector 0.
    let mut card = vec![0; 8 << 20];
    let start = "This medium is unfinished: writing it with skiff-image has begun and did not end.\n\
                 Nothing boots from it. Run `skiff-image flash` again; `--resume` goes on where it stopped.\n";
    let text = format!("{start}run: {}\n", "0123456789abcdef".repeat(4));
    card[..text.len()].copy_from_slice(text.as_bytes());
    fs::write(synthetic.path("card.img"), card).expect("an image");
    expect_refused(&synthetic, &[], 4, &told.replace("nothing known", "what an unfinished `flash` left"));
}

#[test]
fn what_is_no_image_is_refused() {
    let synthetic = synthetic("odroid/xu");
    for (path, what) in [("output", "a directory"), ("/dev/null", "a character device")] {
        let mut command = synthetic.command(&["install"]);
        let output = command.args(["--quiet", path]).output().expect("skiff-image runs");
        let told = format!(
            "refused: `{path}` is {what}, not an image file or a block device\n\
             hint: give the path of an image or of a whole disk\n"
        );
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
            (Some(4), &*told)
        );
    }
    File::create(synthetic.path("card.img")).and_then(|file| file.set_len(4 << 20)).expect("an image");
    let locked = File::open(synthetic.path("card.img")).expect("an image");
    rustix::fs::flock(&locked, FlockOperation::LockExclusive).expect("a lock");
    let told = "refused: `card.img` is being changed by another program\nhint: wait until it has ended";
    expect_refused(&synthetic, &[], 4, told);
}

#[test]
fn a_board_without_a_medium_has_nothing_to_install() {
    let synthetic = synthetic("virt/docker");
    fs::write(synthetic.path("card.img"), vec![0; 4 << 20]).expect("an image");
    let told = "error: board `virt/docker` has nothing that can be installed on a medium\n\
                hint: use `assemble` and the board's own tools";
    expect_refused(&synthetic, &[], 1, told);
}

#[test]
fn a_medium_with_slots_is_refused() {
    let board = Registry::built_in().board("virt/qemu").expect("a board");
    let synthetic = Synthetic::new(board, Arch::Arm64);
    let mut assemble = synthetic.command(&["--quiet", "assemble", "--slots"]);
    run(assemble.args(synthetic.minimum()).args(["--out", "card.img"]));
    let told = "refused: partition `boot` of `card.img` has two slots for systems, and the boot loader starts what is in one of \
                them\nhint: update the device with `skiff-update apply`, or make the medium anew with `flash`";
    expect_refused(&synthetic, &[], 4, told);
}

#[test]
fn another_architecture_than_that_of_the_source_is_refused() {
    let board = Registry::built_in().board("virt/qemu").expect("a board");
    let synthetic = Synthetic::new(board, Arch::Arm64);
    let mut assemble =
        synthetic.program(&["--quiet", "assemble", "--board", "virt/qemu", "--arch", "riscv64"]);
    let output =
        assemble.args(["--source", "output", "--out", "card.img"]).output().expect("skiff-image runs");
    let told = "error: `output` was built for arm64, not for riscv64\n\
                hint: build the system for riscv64, or take the architecture of the source";
    assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), told);
    assert!(output.status.code() == Some(1) && !synthetic.path("card.img").exists());
}

/// What stands beside an image speaks of what it is now.
#[test]
fn manifest_and_block_map_beside_an_image_follow_it() {
    let synthetic = synthetic("orangepi/zero");
    let mut assemble = synthetic.command(&["--quiet", "assemble"]);
    run(assemble.args(synthetic.minimum()).args(["--out", "card.img"]));
    synthetic.write_image("zImage", &made_up("another kernel", 300_000));
    run(&mut install(&synthetic, &[]));
    let verified = run(&mut synthetic.program(&["verify", "--used", "card.img"]));
    assert!(verified.contains("as written"), "{verified}");
    assert!(!synthetic.path("card.img.bmap").exists());
}

#[test]
fn another_layout_is_refused_with_what_there_is() {
    let test = "another_layout_is_refused_with_what_there_is";
    if !oracles(test, &TOOLS) {
        return;
    }
    let synthetic = synthetic("odroid/xu");
    Medium::bananapi(&synthetic.path(""));
    let told = "refused: `card.img` is no medium of board `odroid/xu`: its partition `rootfs` (#2, ext4 labelled \
                `rootfs`) is not there\n  found: #1 FAT labelled `boot`, 953 MiB from byte 1048576\n         \
                #2 ext4 labelled `persist`, 200000 KiB from byte 1000341504\n\
                hint: check the board; `inspect` shows what is on the medium, `flash` makes a new one";
    expect_refused(&synthetic, &[], 4, told);
}

#[test]
fn a_disk_is_refused_where_a_partition_is_wanted() {
    let test = "a_disk_is_refused_where_a_partition_is_wanted";
    if !oracles(test, &TOOLS) {
        return;
    }
    let synthetic = synthetic("apple/intel");
    Medium::desktop(&synthetic.path(""));
    let told = "refused: `card.img` has a partition table, but the system of board `apple/intel` goes into one \
                partition\nhint: give the partition, not the disk";
    expect_refused(&synthetic, &[], 4, told);
}

#[test]
fn a_medium_of_another_board_is_refused() {
    let test = "a_medium_of_another_board_is_refused";
    if !oracles(test, &TOOLS) {
        return;
    }
    let hint = "hint: check the board, or go on with `--other-board`";
    let synthetic = synthetic("odroid/xu");
    let medium = Medium::pi(&synthetic.path(""));
    let told = |evidence: &str| {
        format!("refused: `card.img` is a medium of another board than `odroid/xu`: {evidence}\n{hint}")
    };
    let evidence = "none of its partitions begins where those of the board do";
    expect_refused(&synthetic, &[], 4, &told(evidence));
    medium.put_fat(1, "bcm2711-rpi-4-b.dtb", b"a device tree");
    let evidence = "it has the device tree `/bcm2711-rpi-4-b.dtb`, but not `/exynos5422-odroidhc1.dtb`";
    expect_refused(&synthetic, &[], 4, &told(evidence));
    medium.put_fat(1, "skiff-release", b"VERSION=1\nBUILD_CONFIG=\"pi/4,skiff/core\"\n");
    let evidence = "its `/skiff-release` says that it was built for `pi/4`";
    expect_refused(&synthetic, &[], 4, &told(evidence));
    let done = install(&synthetic, &["--other-board", "--dry-run"]).output().expect("skiff-image runs");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "card.img: nothing was written\n");
}

#[test]
fn files_of_the_user_are_not_rewritten_without_consent() {
    let test = "files_of_the_user_are_not_rewritten_without_consent";
    if !oracles(test, &TOOLS) {
        return;
    }
    let synthetic = synthetic("orangepi/zero");
    let medium = Medium::orangepi(&synthetic.path(""));
    medium.put_fat(1, "uboot.env", b"an environment");
    medium.put_fat(1, "older.dtb", b"of an older system");
    medium.put_fat(1, "System Volume Information/x", b"of Windows");
    let told = "refused: partition `boot` is rewritten as a whole, and has files that are not the system's: `/uboot.env`\n\
                hint: copy them elsewhere and go on with `--carry-over`: they are written again, but lost if the run \
                is cut off";
    medium.put_fat(1, "sun8i-h2-plus-orangepi-zero.dtb", b"its own");
    expect_refused(&synthetic, &[], 4, told);
}

#[test]
fn a_partition_that_is_too_small_is_refused() {
    let test = "a_partition_that_is_too_small_is_refused";
    if !oracles(test, &TOOLS) {
        return;
    }
    let synthetic = synthetic("orangepi/zero");
    let parts = vec![
        part(204_800, 81_920, "type=c", Format::Fat("boot")),
        part(286_720, 200_000, "type=83", Format::Ext4("rootfs", &[])),
        part(839_680, 200_000, "type=83", Format::Ext4("persist", &[])),
    ];
    Medium::format(&synthetic.path(""), "dos", parts);
    synthetic.write_image("zImage", &made_up("a large kernel", 60 << 20));
    let told = "error: partition `boot` of `card.img` has 40 MiB but the system needs ";
    let output = install(&synthetic, &[]).output().expect("skiff-image runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.starts_with(told), "{stderr}");
    assert!(
        stderr.ends_with("\nhint: put less into the system, or make a new medium with `flash`\n"),
        "{stderr}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn too_little_room_for_new_files_is_refused() {
    let test = "too_little_room_for_new_files_is_refused";
    if !oracles(test, &TOOLS) {
        return;
    }
    let synthetic = synthetic("pine64/h64");
    let few = &["-b", "4096", "-N", "16"];
    Medium::format(
        &synthetic.path(""),
        "dos",
        vec![part(262_144, 60_000, "type=83", Format::Ext4("persist", few))],
    );
    let told = "error: partition `persist` of `card.img` has 5 free inodes but the new files need ";
    let expect = |told: &str| {
        let output = install(&synthetic, &[]).output().expect("skiff-image runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let hint = "\nhint: remove files from it; the old ones stay until the new ones are complete\n";
        assert!(stderr.starts_with(told) && stderr.ends_with(hint), "{stderr}");
        assert_eq!(output.status.code(), Some(1));
    };
    expect(told);
    synthetic.write_image("Image", &made_up("a large kernel", 40 << 20));
    expect("error: partition `persist` of `card.img` has ");
}

#[test]
fn what_is_in_the_way_is_named() {
    let test = "what_is_in_the_way_is_named";
    if !oracles(test, &TOOLS) {
        return;
    }
    let synthetic = synthetic("pine64/h64");
    let medium = Medium::pine64(&synthetic.path(""));
    medium.put_ext4(1, "boot/rootfs.squashfs/a", b"a directory where a file should be");
    let told = "refused: `/boot/rootfs.squashfs` is in the way: the system has a file there\n\
                hint: move it away: it is not the system's";
    expect_refused(&synthetic, &[], 4, told);
}

#[test]
fn boot_loaders_are_compared_and_written_only_if_asked_for() {
    let test = "boot_loaders_are_compared_and_written_only_if_asked_for";
    if !oracles(test, &TOOLS) {
        return;
    }
    let synthetic = synthetic("odroid/xu");
    let medium = Medium::odroid(&synthetic.path(""));
    let told = |options: &[&str]| {
        let mut command = synthetic.command(&["install"]);
        let output = command.args(options).args(["--manifest", "installed.json", "card.img"]).output();
        String::from_utf8(output.expect("skiff-image runs").stderr).expect("text")
    };
    let plan = told(&["--dry-run"]);
    let left = "\n  boot loader `u-boot`: differs from `u-boot-dtb.bin` and is left alone\n";
    assert!(plan.contains(left) && plan.ends_with("\n  `--boot-loader` writes what differs\n"), "{plan}");
    told(&[]);
    let u_boot = |image: &Path| {
        let mut bytes = vec![0; 100_000];
        File::open(image).and_then(|file| file.read_exact_at(&mut bytes, 63 * 512)).expect("an image");
        bytes
    };
    assert!(u_boot(&medium.image).iter().all(|byte| *byte == 0));
    let plan = told(&["--boot-loader"]);
    assert!(plan.contains("\n  boot loader `u-boot`: written from `u-boot-dtb.bin`"), "{plan}");
    assert!(u_boot(&medium.image) == fs::read(synthetic.image("u-boot-dtb.bin")).expect("u-boot")[..100_000]);
    let plan = told(&["--boot-loader"]);
    assert!(!plan.contains("boot loader"), "{plan}");
}

#[test]
fn a_boot_loader_does_not_overwrite_a_partition() {
    let test = "a_boot_loader_does_not_overwrite_a_partition";
    if !oracles(test, &TOOLS) {
        return;
    }
    let synthetic = synthetic("odroid/xu");
    let parts = vec![
        part(1024, 200_000, "type=c, bootable", Format::Fat("boot")),
        part(1_953_792, 200_000, "type=83", Format::Ext4("rootfs", &[])),
        part(3_905_536, 200_704, "type=83", Format::Ext4("persist", &[])),
    ];
    Medium::format(&synthetic.path(""), "dos", parts);
    let told = "error: boot loader `u-boot` would be written to bytes 32256 to 646656, which belong to partition 1\n\
                hint: make a new medium with `flash`, or leave `--boot-loader` out";
    expect_refused(&synthetic, &["--boot-loader"], 1, told);
}

#[test]
fn a_device_is_installed_on_and_refused_while_it_is_mounted() {
    let test = "a_device_is_installed_on_and_refused_while_it_is_mounted";
    if !oracles(test, &TOOLS) {
        return;
    }
    let synthetic = synthetic("pine64/h64");
    let medium = Medium::pine64(&synthetic.path(""));
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
    fs::copy(&medium.image, file.path()).expect("a copy");
    let Some(device) = LoopDevice::over(test, file, &["--partscan"]) else { return };
    let told = |options: &[&str]| {
        let mut command = synthetic.command(&["install"]);
        command.args(options).args(["--manifest", "installed.json"]).arg(&device.path);
        let output = command.output().expect("skiff-image runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (code, stderr) = told(&[]);
    let unasked = format!("`{}` was not written: there is no terminal to ask on", device.path.display());
    assert!(code == Some(4) && stderr.contains(&unasked), "{stderr}");
    let (code, stderr) = told(&["--dry-run"]);
    assert!(code == Some(0) && stderr.contains(": files are replaced, "), "{stderr}");
    let (code, stderr) = told(&["--yes"]);
    assert!(code == Some(0) && stderr.contains("the system on this device is replaced:\n  "), "{stderr}");
    let written = fs::read(device.file.path()).expect("the file behind it");
    fs::write(&medium.image, written).expect("an image");
    assert!(medium.read_ext4(1, "boot/Image") == fs::read(synthetic.image("Image")).expect("a kernel"));
    // The kernel makes partitions where it can; where it cannot there is nothing to mount.
    let partition = format!("{}p1", device.path.display());
    if Path::new(&partition).exists() {
        let directory = synthetic.path("mounted");
        let mount = Mount::new("ext4", "ro", Path::new(&partition), &directory);
        let (code, stderr) = told(&["--yes"]);
        assert!(code == Some(4) && stderr.contains("mounted"), "{stderr}");
        drop(mount);
    }
}

#[test]
fn a_boot_text_that_comes_before_the_new_one_is_told() {
    let test = "a_boot_text_that_comes_before_the_new_one_is_told";
    if !oracles(test, &TOOLS) {
        return;
    }
    let synthetic = synthetic("pine64/h64");
    let medium = Medium::pine64(&synthetic.path(""));
    medium.put_ext4(1, "boot.scr", b"of an earlier system");
    let output = install(&synthetic, &["--dry-run"]).output().expect("skiff-image runs");
    let expected = "warning: `/boot.scr` stays on the medium, and U-Boot finds it before the \
                    `/boot/extlinux/extlinux.conf` of the new system: remove it\n";
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains(expected), "{stderr}");
}
