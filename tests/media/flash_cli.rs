//! `flash` and `verify` as a user runs them, on loop devices: the medium, the refusals, the failures.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::board::{about, assemble, output};
use crate::harness::disk::{Disk, Mount, SECTOR, bytes, check_ext4, contents, extract, oracles, read_fat};
use crate::harness::loopdev::LoopDevice;
use crate::harness::privilege;
use crate::harness::skip::skip;
use crate::harness::tools::command;
use crate::harness::tools::{run, skiff_image, temporary};
use serde_json::Value;
use skiff_image::bmap::Bmap;
use skiff_image::manifest::Manifest;

const SIZE: u64 = 512 << 20;
const GARBAGE: u8 = 0xA5;

/// A device of [`SIZE`] that was used before.
fn used_device(test: &str, options: &[&str]) -> Option<LoopDevice> {
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("backing file");
    let garbage = vec![GARBAGE; 1 << 20];
    for at in 0..SIZE >> 20 {
        file.as_file().write_all_at(&garbage, at << 20).expect("garbage");
    }
    LoopDevice::over(test, file, options)
}

fn hash(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).expect("a file")).expect("a file can be read");
    hasher.finalize()
}

/// `flash` of the virtual machine's board onto a device.
fn flash(device: &Path) -> Command {
    let mut command = about(&["--quiet", "flash"], "virt/qemu", "amd64");
    command.arg(device);
    command
}

/// Exit code and what is on stderr.
fn failure(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().expect("skiff-image runs");
    (status.code().expect("no signal"), String::from_utf8_lossy(&stderr).into_owned())
}

/// Fails if a byte of the ranges differs between two images or devices.
fn expect_same(ranges: &[Range<u64>], first: &Path, second: &Path) {
    assert!(ranges.len() > 3);
    for range in ranges {
        let (start, len) = (range.start, range.end - range.start);
        assert!(bytes(first, start, len) == bytes(second, start, len), "bytes from {start} differ");
    }
}

/// The ranges that the manifest lists.
fn written(manifest: &Path) -> Vec<Range<u64>> {
    let manifest = Manifest::read(manifest).expect("a manifest");
    manifest.regions.iter().flat_map(|region| &region.extents).map(|extent| extent.range()).collect()
}

/// The ranges that the block map lists.
fn mapped(bmap: &Path) -> Vec<Range<u64>> {
    let bmap = Bmap::parse(&fs::read_to_string(bmap).expect("a block map")).expect("a block map");
    bmap.ranges.into_iter().map(|range| range.bytes).collect()
}

/// Table, filesystems and modules of what is on a device.
fn expect_sound(device: &Path, directory: &Path) {
    let verdict = run(command("sgdisk").arg("--verify").arg(device));
    assert!(verdict.contains("No problems found"), "{verdict}");
    let disk = Disk::read(device);
    let fat = read_fat(&disk.extract(1, directory), "boot", directory);
    let kernel = output("amd64").join("images/bzImage");
    assert!(fs::read(fat.join("bzImage")).expect("a kernel") == fs::read(kernel).expect("a kernel"));
    assert_eq!(check_ext4(&disk.extract(2, directory)), "rootfs");
    assert_eq!(check_ext4(&disk.extract(3, directory)), "persist");
}

#[test]
fn a_used_device_is_composed_onto_and_verified_and_damage_is_named() {
    let test = "a_used_device_is_composed_onto_and_verified_and_damage_is_named";
    let tools = ["sfdisk", "sgdisk", "fsck.fat", "mdir", "mcopy", "e2fsck", "dumpe2fs", "mount"];
    if !oracles(test, &tools) {
        return;
    }
    let Some(device) = used_device(test, &[]) else { return };
    let directory = temporary();
    let manifest = directory.path().join("flashed.json");
    run(flash(&device.path).arg("--yes").arg("--manifest").arg(&manifest));
    // The device has what a fresh image of its size has, and the same manifest.
    let image = assemble("virt/qemu", "amd64", directory.path(), &["--size", "512MiB"]);
    let other = directory.path().join("disk.img.manifest.json");
    assert!(fs::read(&manifest).expect("a manifest") == fs::read(other).expect("a manifest"));
    expect_same(&written(&manifest), &image, &device.path);
    expect_sound(&device.path, directory.path());
    let verify = || {
        let mut command = skiff_image();
        command.args(["--json", "verify"]).arg(&device.path).arg("--manifest").arg(&manifest);
        command
    };
    let verdict: Value = serde_json::from_str(&run(&mut verify())).expect("JSON");
    assert_eq!(verdict["damaged"], Value::Array(Vec::new()));
    let modules = damage_modules(&device);
    let damaged = verify().output().expect("skiff-image runs");
    assert_eq!(damaged.status.code(), Some(3));
    let modules = unreadable_modules(device.file.path(), modules, directory.path());
    expect_named(&serde_json::from_slice(&damaged.stdout).expect("JSON"), &modules);
    let text = String::from_utf8_lossy(&damaged.stderr);
    let expected = format!("`{}` differs from its manifest in `rootfs`", device.path.display());
    assert!(text.contains(&expected), "{text}");
}

/// Changes a byte of a compressed module, in the file behind the device; gives the place of the squashfs.
fn damage_modules(device: &LoopDevice) -> (u64, u64) {
    let rootfs = &Disk::read(&device.path).entries[1];
    let (start, len) = (rootfs.start * SECTOR, rootfs.size * SECTOR);
    // Magic and `bytes_used` of the superblock.
    let block = (0..len / 4096).map(|block| start + block * 4096);
    let block = block.rev().find(|at| bytes(&device.path, *at, 4) == b"hsqs").expect("a squashfs");
    let used = u64::from_le_bytes(bytes(&device.path, block + 40, 8).try_into().expect("eight bytes"));
    let at = block + used / 3;
    let byte = bytes(device.file.path(), at, 1)[0];
    device.backing().write_all_at(&[!byte], at).expect("the file behind the device is writable");
    (block, used)
}

/// The report names the region, the file, and the module that the kernel cannot read either.
fn expect_named(verdict: &Value, unreadable: &[String]) {
    let [region] = &verdict["damaged"].as_array().expect("regions")[..] else { panic!("{verdict}") };
    assert_eq!((&region["name"], &region["kind"]), (&"rootfs".into(), &"ext4".into()), "{verdict}");
    let [file] = &region["files"].as_array().expect("files")[..] else { panic!("{verdict}") };
    assert_eq!(file["path"], "/modules.squashfs");
    let inside = file["inside"].as_array().expect("files inside");
    let named: Vec<&str> = inside.iter().map(|damage| damage["path"].as_str().expect("a path")).collect();
    assert!(!named.is_empty() && named == unreadable, "{unreadable:?} is not\n{verdict}");
}

/// What the kernel cannot read, or reads as something else, of the squashfs in a range of a disk.
fn unreadable_modules(disk: &Path, (start, len): (u64, u64), directory: &Path) -> Vec<String> {
    let copy = directory.join("modules.squashfs");
    extract(disk, start, len.next_multiple_of(4096), &copy).expect("a copy");
    let mounted = Mount::new("squashfs", "ro,loop", &copy, &directory.join("modules"));
    let built = output("amd64").join("target/usr/lib/modules");
    let files = contents(&built).into_iter().filter(|(path, _)| built.join(path).is_file());
    let hit = files.filter(|(path, (_, bytes))| fs::read(mounted.0.join(path)).ok().as_ref() != Some(bytes));
    hit.map(|(path, _)| format!("/{}", path.display())).collect()
}

#[test]
fn a_ready_image_is_copied_with_and_without_its_block_map() {
    let test = "a_ready_image_is_copied_with_and_without_its_block_map";
    if !oracles(test, &["losetup", "cmp"]) {
        return;
    }
    let Some(device) = used_device(test, &[]) else { return };
    let directory = temporary();
    let image = assemble("virt/qemu", "amd64", directory.path(), &["--size", "512MiB"]);
    let copy = || {
        let mut command = skiff_image();
        command.args(["--quiet", "flash", "--yes", "--image"]).arg(&image).arg(&device.path);
        command
    };
    let bmap = directory.path().join("disk.img.bmap");
    let hole = || bytes(&device.path, 200 << 20, 4096);
    run(copy().args(["--unwritten", "keep"]));
    expect_same(&mapped(&bmap), &image, &device.path);
    assert!(hole().iter().all(|byte| *byte == GARBAGE), "what is not mapped was written");
    run(&mut copy());
    expect_same(&mapped(&bmap), &image, &device.path);
    assert!(hole().iter().all(|byte| *byte == 0), "old bytes are left");
    fs::rename(&bmap, directory.path().join("elsewhere")).expect("rename");
    run(&mut copy());
    run(command("cmp").arg(&image).arg(&device.path));
    // A block map of another image is found out before anything is written.
    let text = fs::read_to_string(directory.path().join("elsewhere")).expect("a block map");
    fs::write(&bmap, text.replace(&SIZE.to_string(), &(SIZE * 2).to_string())).expect("a block map");
    let (code, said) = failure(&mut copy());
    assert_eq!(code, 1, "{said}");
    run(command("cmp").arg(&image).arg(&device.path));
}

/// A refusal leaves the device, or what the path names, as it was.
fn expect_refused(command: &mut Command, untouched: &Path, code: i32, reason: &str) {
    let before = hash(untouched);
    let (found, said) = failure(command);
    assert!(found == code && said.contains(reason), "exit code {found}: {said}");
    assert!(hash(untouched) == before, "`{}` was written", untouched.display());
}

#[test]
fn what_is_no_free_whole_disk_is_refused() {
    let test = "what_is_no_free_whole_disk_is_refused";
    if !oracles(test, &["losetup", "mkfs.ext4", "mount"]) {
        return;
    }
    let Some(device) = LoopDevice::new(test, SIZE, &[]) else { return };
    let directory = temporary();
    let file = directory.path().join("file");
    fs::write(&file, "precious").expect("a file");
    let force = |path: &Path| {
        let mut command = flash(path);
        command.arg("--yes");
        command
    };
    expect_refused(&mut force(&file), &file, 4, "is not written: it is a file, not a block device");
    let named = format!("`{}` is not written: it is a directory", directory.path().display());
    expect_refused(&mut force(directory.path()), &file, 4, &named);
    let null = "`/dev/null` is not written: it is a character device, not a block device";
    expect_refused(&mut force(Path::new("/dev/null")), &file, 4, null);
    expect_refused(&mut force(Path::new("/dev/there-is-none")), &file, 1, "there is no `/dev/there-is-none`");
    run(command("mkfs.ext4").args(["-q", "-F"]).arg(&device.path));
    let ask = format!("`{}` was not written: there is no terminal to ask on", device.path.display());
    expect_refused(&mut flash(&device.path), device.file.path(), 4, &ask);
    let at = directory.path().join("at");
    let mounted = Mount::new("ext4", "ro", &device.path, &at);
    let reason = format!("`{}` is mounted on `{}`", device.path.display(), at.display());
    expect_refused(&mut force(&device.path), device.file.path(), 4, &reason);
    let image = directory.path().join("image");
    File::create(&image).and_then(|file| file.set_len(1 << 20)).expect("an image");
    let mut copy = skiff_image();
    copy.args(["flash", "--yes", "--image"]).arg(&image).arg(&device.path);
    expect_refused(&mut copy, device.file.path(), 4, &reason);
    drop(mounted);
}

#[test]
fn a_read_only_a_small_and_a_strange_device_and_a_manifest_without_a_place_are_refused() {
    let test = "a_read_only_a_small_and_a_strange_device_and_a_manifest_without_a_place_are_refused";
    let Some(locked) = LoopDevice::new(test, SIZE, &["--read-only"]) else { return };
    let force = |path: &Path| {
        let mut command = flash(path);
        command.arg("--yes");
        command
    };
    expect_refused(&mut force(&locked.path), locked.file.path(), 4, "is not written: it is read-only");
    let Some(small) = LoopDevice::new(test, 100 << 20, &[]) else { return };
    let reason = "the layout of board `virt/qemu` needs ";
    expect_refused(&mut force(&small.path), small.file.path(), 1, reason);
    let directory = temporary();
    let image = directory.path().join("image");
    File::create(&image).and_then(|file| file.set_len(SIZE)).expect("an image");
    let mut copy = skiff_image();
    copy.args(["flash", "--yes", "--image"]).arg(&image).arg(&small.path);
    let reason = "is not written: the image needs 512 MiB and it has 100 MiB";
    expect_refused(&mut copy, small.file.path(), 4, reason);
    let Some(good) = LoopDevice::new(test, SIZE, &[]) else { return };
    let nowhere = directory.path().join("nowhere/manifest");
    let parent = nowhere.parent().expect("a directory").display();
    let reason = format!("cannot create a file in `{parent}`: No such file or directory");
    let mut flash = force(&good.path);
    expect_refused(flash.arg("--manifest").arg(&nowhere), good.file.path(), 1, &reason);
    let Some(strange) = LoopDevice::new(test, SIZE, &["--sector-size", "4096"]) else { return };
    let reason = "the disk has sectors of 4096 bytes but board `virt/qemu` is laid out for 512";
    expect_refused(&mut force(&strange.path), strange.file.path(), 1, reason);
}

#[test]
fn a_partition_and_a_disk_with_a_mounted_one_are_refused() {
    let test = "a_partition_and_a_disk_with_a_mounted_one_are_refused";
    if !oracles(test, &["addpart", "delpart", "mkfs.ext4", "mount"]) {
        return;
    }
    let Some(device) = LoopDevice::new(test, SIZE, &["--partscan"]) else { return };
    let added =
        command("addpart").arg(&device.path).args(["1", "2048", "2048"]).output().expect("addpart runs");
    let partition = PathBuf::from(format!("{}p1", device.path.display()));
    if !added.status.success() || !partition.exists() {
        skip(test, "loop devices have no partitions here");
        return;
    }
    let reason =
        format!("it is a partition of `{}`, and an image covers a whole disk", device.path.display());
    expect_refused(flash(&partition).arg("--yes"), device.file.path(), 4, &reason);
    // A disk is in use when one of its partitions is.
    run(command("mkfs.ext4").args(["-q", "-F"]).arg(&partition));
    let directory = temporary();
    let mounted = Mount::new("ext4", "ro", &partition, &directory.path().join("at"));
    let reason = format!("`{}` is mounted on `{}`", partition.display(), mounted.0.display());
    let link = directory.path().join("disk");
    std::os::unix::fs::symlink(&device.path, &link).expect("a link");
    expect_refused(flash(&link).arg("--yes"), device.file.path(), 4, &reason);
    drop(mounted);
    run(command("delpart").arg(&device.path).arg("1"));
}

#[test]
fn a_medium_that_fails_is_left_without_a_table() {
    let test = "a_medium_that_fails_is_left_without_a_table";
    if !oracles(test, &["losetup", "sfdisk", "mount"]) || !privilege::root(test) {
        return;
    }
    // What is behind the device has 24 MiB less than it says: writes fail somewhere in the middle.
    let directory = temporary();
    let memory = Mount::new("tmpfs", "size=24m", Path::new("none"), &directory.path().join("memory"));
    let file = tempfile::NamedTempFile::new_in(&memory.0).expect("a file");
    file.as_file().set_len(SIZE).expect("length");
    run(command("sfdisk")
        .args(["--quiet", "--label", "gpt"])
        .arg(file.path())
        .stdin(table(directory.path())));
    let Some(device) = LoopDevice::over(test, file, &[]) else { return };
    assert_eq!(Disk::read(&device.path).entries.len(), 1);
    let (code, said) =
        failure(flash(&device.path).arg("--yes").arg("--manifest").arg(directory.path().join("m")));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("it was left without a partition table, so that nothing boots from it"), "{said}");
    let dump = command("sfdisk").arg("--dump").arg(&device.path).output().expect("sfdisk runs");
    let text = String::from_utf8_lossy(&dump.stderr);
    assert!(
        !dump.status.success() && text.contains("does not contain a recognized partition table"),
        "{text}"
    );
    assert!(!directory.path().join("m").exists(), "there is no manifest of what failed");
    drop(device);
}

/// What `sfdisk` reads: one partition.
fn table(directory: &Path) -> File {
    let path = directory.join("table");
    fs::write(&path, ",\n").expect("a table");
    File::open(path).expect("a table")
}
