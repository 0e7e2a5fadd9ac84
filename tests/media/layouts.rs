//! Layouts that no shipped board has: a squashfs straight in a partition, a short GPT around a boot loader, a
//! hybrid MBR, sectors of 4096 bytes.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::board::output;
use crate::harness::disk;
use crate::harness::disk::{Disk, Mount, SECTOR, bytes, check_ext4, contents, oracles, read_fat};
use crate::harness::loopdev::LoopDevice;
use crate::harness::privilege;
use crate::harness::tools::command;
use crate::harness::tools::{run, skiff_image, temporary};

const BOARD: &str = r#"
description = "A board of a test"
status = "boots nothing"
arch = ["x86_64"]
root = "none"

[table]
kind = "gpt"
TABLE

[[partition]]
name = "boot"
size = "SIZE"
type = "esp"
filesystem = "fat32"
label = "boot"
file = [{ image = "bzImage" }]

[[partition]]
name = "system"
start = "START"
size = "64 MiB"
filesystem = "squashfs"
codec = "zstd:3"

[[partition]]
name = "persist"
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "persist"
"#;

/// A directory with a board descriptor and the images it wants.
fn workplace(board: &str) -> tempfile::TempDir {
    let directory = temporary();
    let boards = directory.path().join("boards/test");
    fs::create_dir_all(&boards).expect("a directory");
    fs::write(boards.join("layout.toml"), board).expect("a descriptor");
    let images = directory.path().join("images");
    fs::create_dir(&images).expect("a directory");
    fs::copy(output("amd64").join("images/bzImage"), images.join("bzImage")).expect("a kernel");
    fs::write(images.join("spl.bin"), loader()).expect("a loader");
    directory
}

/// A command about the board of a workplace.
fn about(verb: &str, directory: &Path) -> Command {
    let mut command = skiff_image();
    command.args(["--quiet", verb, "--board", "test/layout", "--root"]).arg(directory);
    command.arg("--boards").arg(directory.join("boards"));
    command.arg("--source").arg(output("amd64")).arg("--images").arg(directory.join("images"));
    command
}

/// An image of a board descriptor, and the directory it is in.
fn assemble(board: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = workplace(board);
    let image = directory.path().join("disk.img");
    run(about("assemble", directory.path()).arg("--out").arg(&image));
    (directory, image)
}

/// 200 KiB that differ everywhere.
fn loader() -> Vec<u8> {
    (0..50_u32 << 10).flat_map(|word| word.wrapping_mul(0x9E37_79B1).to_le_bytes()).collect()
}

/// The kernel mounts the squashfs where it is on the disk; it holds the root filesystem.
fn expect_kernel_mounts_system(image: &Path, offset: u64, len: u64, directory: &Path) {
    if !privilege::root("expect_kernel_mounts_system") {
        return;
    }
    let options = format!("ro,loop,offset={offset},sizelimit={len}");
    let mounted = Mount::new("squashfs", &options, image, &directory.join("mounted"));
    let (found, built) = (contents(&mounted.0), contents(&output("amd64").join("target")));
    let modules: Vec<_> = built.iter().filter(|(path, _)| path.starts_with("usr/lib/modules")).collect();
    assert!(modules.len() > 10);
    for (path, (mode, bytes)) in modules {
        assert!(found.get(path) == Some(&(*mode, bytes.clone())), "{}", path.display());
    }
    assert_eq!(found[Path::new("usr/bin/busybox")].0 & 0o7777, 0o4755, "the device table counts");
}

#[test]
fn a_short_gpt_leaves_room_for_a_loader_and_a_hybrid_mbr_names_the_fat() {
    if !oracles(
        "a_short_gpt_leaves_room_for_a_loader_and_a_hybrid_mbr_names_the_fat",
        &["sfdisk", "sgdisk", "fsck.fat", "mcopy", "mdir", "e2fsck", "dumpe2fs", "mount"],
    ) {
        return;
    }
    let board = BOARD.replace("TABLE", "entries = 56\nhybrid-mbr = [1]");
    let board = board.replace("SIZE", "64 MiB").replace("START", "65 MiB");
    let blob = "\n[[blob]]\nname = \"spl\"\nfiles = [\"spl.bin\"]\noffset = \"8 KiB\"\n";
    let (directory, image) = assemble(&(board + blob));
    let verdict = run(command("sgdisk").arg("--verify").arg(&image));
    assert!(verdict.contains("No problems found"), "{verdict}");
    let listing = run(command("sgdisk").arg("--print").arg(&image));
    assert!(listing.contains("Partition table holds up to 56 entries"), "{listing}");
    assert_eq!(bytes(&image, 8 << 10, 200 << 10), loader());
    let mbr = bytes(&image, 446, 64);
    let kinds = [mbr[4], mbr[20], mbr[36], mbr[52]];
    assert_eq!(kinds, [0xee, 0x0c, 0, 0]);
    let sector = |at: usize| u32::from_le_bytes(mbr[at..at + 4].try_into().expect("four bytes"));
    assert_eq!((sector(16 + 8), sector(16 + 12)), (2048, 64 * 2048));
    let disk = Disk::read(&image);
    let label = read_fat(&disk.extract(1, directory.path()), "boot", directory.path());
    assert!(label.join("bzImage").is_file());
    assert_eq!(check_ext4(&disk.extract(3, directory.path())), "persist");
    let system = &disk.entries[1];
    assert_eq!((system.start, system.size), (65 * 2048, 64 * 2048));
    expect_kernel_mounts_system(&image, system.start * SECTOR, system.size * SECTOR, directory.path());
}

#[test]
fn a_disk_with_large_sectors_is_read_by_the_kernel_and_by_tools() {
    let test = "a_disk_with_large_sectors_is_read_by_the_kernel_and_by_tools";
    if !oracles(test, &["sfdisk", "sgdisk", "fsck.fat", "mdir", "e2fsck", "dumpe2fs", "mount"]) {
        return;
    }
    // A FAT32 has at least 65525 clusters, here of a sector each.
    let board = BOARD.replace("TABLE", "sector-size = 4096").replace("SIZE", "300 MiB");
    let (directory, image) = assemble(&board.replace("START", "301 MiB"));
    let copy = tempfile::NamedTempFile::new_in(directory.path()).expect("a file");
    fs::copy(&image, copy.path()).expect("a copy");
    let Some(device) = LoopDevice::over(test, copy, &["--sector-size", "4096"]) else { return };
    let verdict = run(command("sgdisk").arg("--verify").arg(&device.path));
    assert!(verdict.contains("No problems found"), "{verdict}");
    let listing = run(command("sgdisk").arg("--print").arg(&device.path));
    assert!(listing.contains("Sector size (logical/physical): 4096/4096 bytes"), "{listing}");
    let disk = Disk::read(&device.path);
    let sectors: Vec<_> = disk.entries.iter().map(|entry| (entry.start, entry.size)).collect();
    assert_eq!(sectors[..2], [(256, 300 * 256), (301 * 256, 64 * 256)]);
    let part = |number: usize| {
        let (start, size) = sectors[number - 1];
        let to = directory.path().join(format!("part{number}"));
        disk::extract(&image, start * 4096, size * 4096, &to).expect("a partition");
        to
    };
    let fat = read_fat(&part(1), "boot", directory.path());
    assert!(fs::read(fat.join("bzImage")).ok() == fs::read(output("amd64").join("images/bzImage")).ok());
    assert_eq!(check_ext4(&part(3)), "persist");
    expect_kernel_mounts_system(&device.path, sectors[1].0 * 4096, sectors[1].1 * 4096, directory.path());
}

/// The layout of [`BOARD`] with other sizes of its squashfs.
fn with_system_of(size: &str) -> String {
    let board = BOARD.replace("TABLE", "").replace("SIZE", "64 MiB").replace("START", "65 MiB");
    board.replace(
        "size = \"64 MiB\"\nfilesystem = \"squashfs\"",
        &format!("size = \"{size}\"\nfilesystem = \"squashfs\""),
    )
}

#[test]
fn a_squashfs_that_does_not_fit_is_found_before_a_device_is_touched() {
    let test = "a_squashfs_that_does_not_fit_is_found_before_a_device_is_touched";
    let directory = workplace(&with_system_of("2 MiB"));
    let Some(device) = LoopDevice::new(test, 256 << 20, &[]) else { return };
    device.backing().write_all_at(b"an older system", 0).expect("the backing file is writable");
    let mut flash = about("flash", directory.path());
    let done = flash.arg("--yes").arg(&device.path).output().expect("skiff-image runs");
    let text = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(
        text.contains("partition `system` needs ") && text.contains(" for its content but has 2 MiB"),
        "{text}"
    );
    assert_eq!(bytes(device.file.path(), 0, 15), b"an older system");
}

/// A partition that is smaller than the files, but not than the squashfs of them, holds the same bytes.
#[test]
fn a_squashfs_is_the_same_in_a_large_and_in_a_narrow_partition() {
    let squashfs = |size: &str, bytes_used: u64| {
        let (_directory, image) = assemble(&with_system_of(size));
        bytes(&image, 65 << 20, bytes_used)
    };
    let superblock = squashfs("64 MiB", 96);
    assert_eq!(&superblock[..4], b"hsqs");
    let len = u64::from_le_bytes(superblock[40..48].try_into().expect("eight bytes"));
    assert!(len < 3 << 20);
    assert!(squashfs("64 MiB", len) == squashfs("3 MiB", len));
}
