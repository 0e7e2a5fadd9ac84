//! What a medium holds before it is written: media that other programs made, and garbage.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::tools::{command, oracle};
use skiff_image::device::{ExistingContents, existing_contents};
use skiff_image::storage::ReadOnly;

const MIB: u64 = 1 << 20;
const RELEASE: &str =
    "NAME=\"SkiffOS\"\nVERSION=\"2024.05.1\"\nPRETTY_NAME=\"SkiffOS (a long story)\"\nBUILD_CONFIG=pi/4\n";

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory")
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the tool runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn of(path: &Path) -> ExistingContents {
    existing_contents(&ReadOnly::open(path).expect("open"))
}

fn file(directory: &Path, name: &str, len: u64) -> PathBuf {
    let path = directory.join(name);
    File::create(&path).and_then(|file| file.set_len(len)).expect("a file");
    path
}

/// A filesystem of `len` bytes, made by `tool`.
fn filesystem(directory: &Path, name: &str, len: u64, tool: &mut Command) -> PathBuf {
    let path = file(directory, name, len);
    run(tool.arg(&path));
    path
}

/// A disk with a table by sfdisk, and contents of partitions copied to where they belong.
fn disk(directory: &Path, script: &str, contents: &[(u64, &Path)]) -> PathBuf {
    let path = file(directory, "disk", 128 * MIB);
    fs::write(directory.join("script"), script).expect("script");
    let script = File::open(directory.join("script")).expect("script");
    run(command("sfdisk").arg("--quiet").arg(&path).stdin(Stdio::from(script)));
    let disk = File::options().write(true).open(&path).expect("disk");
    for (offset, content) in contents {
        disk.write_all_at(&fs::read(content).expect("content"), *offset).expect("write");
    }
    path
}

fn oracles(test: &str, tools: &[&str]) -> bool {
    tools.iter().all(|tool| oracle(test, tool))
}

#[test]
fn a_used_card_is_told_with_its_partitions_and_its_system() {
    let test = "a_used_card_is_told_with_its_partitions_and_its_system";
    if !oracles(test, &["sfdisk", "mkfs.vfat", "mcopy", "mke2fs", "dumpe2fs", "mksquashfs"]) {
        return;
    }
    let directory = temporary();
    let at = directory.path();
    fs::write(at.join("skiff-release"), RELEASE).expect("release");
    fs::write(at.join("kernel"), vec![7; 3 * MIB as usize]).expect("kernel");
    let fat =
        filesystem(at, "fat", 40 * MIB, command("mkfs.vfat").args(["-F", "32", "-s", "1", "-n", "BOOT"]));
    run(command("mcopy").arg("-i").arg(&fat).arg(at.join("skiff-release")).arg(at.join("kernel")).arg("::"));
    let ext4 =
        filesystem(at, "ext4", 32 * MIB, command("mke2fs").args(["-q", "-t", "ext4", "-L", "persist"]));
    run(command("mksquashfs")
        .arg(at.join("kernel"))
        .arg(at.join("squashfs"))
        .args(["-quiet", "-no-progress"]));
    let squashfs = at.join("squashfs");
    let script = "label: gpt\nstart=2048, size=40MiB, name=\"boot\"\nsize=32MiB, name=\"persist\"\nsize=8MiB\nsize=1MiB\n";
    let contents = [(MIB, fat.as_path()), (41 * MIB, &ext4), (73 * MIB, &squashfs)];
    let disk = disk(at, script, &contents);
    // A partition with bytes that nobody knows.
    File::options()
        .write(true)
        .open(&disk)
        .and_then(|disk| disk.write_all_at(&[0xA5; 512], 81 * MIB))
        .expect("write");
    let found = of(&disk);
    // Three MiB of the kernel, the release and the root directory in clusters of 512 bytes.
    let fat_used = 3 * MIB + 512 + 512;
    let ext4_used = ext4_used(&ext4);
    let squashfs_used =
        u64::from_le_bytes(fs::read(&squashfs).expect("squashfs")[40..48].try_into().expect("eight"));
    assert_eq!(
        found.parts.iter().map(|part| (part.filesystem, part.used)).collect::<Vec<_>>(),
        [
            (Some("fat"), Some(fat_used)),
            (Some("ext4"), Some(ext4_used)),
            (Some("squashfs"), Some(squashfs_used)),
            (None, None)
        ]
    );
    let size = |bytes| skiff_image::value::ByteSize(bytes).to_string();
    assert_eq!(
        found.to_string(),
        format!(
            "GPT with 4 partitions, {} in use\n\
             1: `boot`, 40 MiB, fat `BOOT`, {} used, SkiffOS 2024.05.1 (pi/4)\n\
             2: `persist`, 32 MiB, ext4 `persist`, {} used\n\
             3: 8 MiB, squashfs, {} used\n\
             4: 1 MiB, unknown",
            size(fat_used + ext4_used + squashfs_used),
            size(fat_used),
            size(ext4_used),
            size(squashfs_used)
        )
    );
}

/// Bytes of blocks that are not free, by e2fsprogs.
fn ext4_used(path: &Path) -> u64 {
    let text = run(command("dumpe2fs").arg("-h").arg(path));
    let number = |key: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
        line.trim().parse().expect("a number")
    };
    (number("Block count:") - number("Free blocks:")) * number("Block size:")
}

#[test]
fn a_system_on_the_only_partition_is_found_below_boot() {
    let test = "a_system_on_the_only_partition_is_found_below_boot";
    if !oracles(test, &["sfdisk", "mke2fs"]) {
        return;
    }
    let directory = temporary();
    let at = directory.path();
    fs::create_dir_all(at.join("tree/boot")).expect("directory");
    fs::write(at.join("tree/boot/skiff-release"), "VERSION_ID=2023.08\nPRETTY_NAME=\"SkiffOS 2023.08\"\n")
        .expect("release");
    let mut tool = command("mke2fs");
    let ext4 = filesystem(
        at,
        "ext4",
        32 * MIB,
        tool.args(["-q", "-t", "ext4", "-L", "per\u{7}sist", "-d"]).arg(at.join("tree")),
    );
    let disk = disk(at, "label: dos\nstart=2048, size=32MiB\n", &[(MIB, &ext4)]);
    let found = of(&disk).to_string();
    assert!(found.starts_with("MBR with 1 partition, "), "{found}");
    assert!(found.contains("\n1: 32 MiB, ext4 `persist`, "), "{found}");
    assert!(found.ends_with(" used, SkiffOS 2023.08"), "{found}");
    // The partition alone, as where one is flashed.
    let found = of(&ext4).to_string();
    assert!(found.starts_with("no partition table, ext4 `persist`, "), "{found}");
}

#[test]
fn a_release_that_is_garbage_is_none() {
    let test = "a_release_that_is_garbage_is_none";
    if !oracles(test, &["mkfs.vfat", "mcopy"]) {
        return;
    }
    let directory = temporary();
    let at = directory.path();
    let escape = "NAME=\u{1b}[31mred\nVERSION=\u{7}1\n".to_owned();
    for (text, expected) in [
        ("A=B\n".repeat(2000), None),
        ("\0\0\0".to_owned(), None),
        ("NAME=\nVERSION=\n".to_owned(), None),
        (escape, Some("[31mred 1")),
    ] {
        let fat = filesystem(at, "fat", 8 * MIB, command("mkfs.vfat").args(["-F", "16", "-s", "1"]));
        fs::write(at.join("skiff-release"), text).expect("release");
        run(command("mcopy").arg("-o").arg("-i").arg(&fat).arg(at.join("skiff-release")).arg("::"));
        assert_eq!(of(&fat).parts[0].release.as_deref(), expected);
        fs::remove_file(fat).expect("remove");
    }
}

#[test]
fn a_medium_without_a_table_is_told_by_its_first_bytes() {
    let directory = temporary();
    let at = directory.path();
    let told = |path: &Path| of(path).to_string();
    assert_eq!(told(&file(at, "blank", MIB)), "no partition table, it begins with zeros");
    assert_eq!(told(&file(at, "short", 100)), "no partition table, it begins with zeros");
    fs::write(at.join("garbage"), vec![0xA5; 2 * MIB as usize]).expect("write");
    assert_eq!(told(&at.join("garbage")), "no partition table, nothing that is known");
    // Places and bytes as in the documents of each format, not as in the code.
    let formats: [(u64, &[u8], &str); 14] = [
        (3, b"NTFS    ", "NTFS"),
        (3, b"EXFAT   ", "exFAT"),
        (3, b"-FVE-FS-", "BitLocker"),
        (0, b"LUKS\xba\xbe\0\x02", "LUKS"),
        (0, b"XFSB\0\0\x10\0", "XFS"),
        (64 * 1024 + 64, b"_BHRfS_M", "btrfs"),
        (512 + 24, b"LVM2 001", "LVM"),
        (4096, &0xa92b_4efc_u32.to_le_bytes(), "RAID member"),
        (4096 - 10, b"SWAPSPACE2", "swap"),
        (1024, &0xf2f5_2010_u32.to_le_bytes(), "F2FS"),
        (1024, &0xe0f5_e1e2_u32.to_le_bytes(), "EROFS"),
        (16 * 2048 + 1, b"CD001\x01", "ISO 9660"),
        (16 * 2048 + 1, b"BEA01\x01", "UDF"),
        (32, b"NXSB", "APFS"),
    ];
    for (offset, bytes, name) in formats {
        let path = file(at, "format", MIB);
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.write_all_at(bytes, offset))
            .expect("write");
        assert_eq!(told(&path), format!("no partition table, {name}"));
    }
}

#[test]
fn real_swap_and_a_small_fat_are_known() {
    let test = "real_swap_and_a_small_fat_are_known";
    if !oracles(test, &["mkswap", "mkfs.vfat", "blkid"]) {
        return;
    }
    let directory = temporary();
    let at = directory.path();
    for (name, tool, expected) in [
        ("swap", command("mkswap").arg("-q"), "swap"),
        ("fat12", command("mkfs.vfat").args(["-F", "12"]), "FAT12"),
    ] {
        let path = filesystem(at, name, 2 * MIB, tool);
        assert_eq!(of(&path).parts[0].filesystem, Some(expected));
        let kind = run(command("blkid").args(["-p", "-o", "value", "-s", "TYPE"]).arg(&path));
        assert!(["swap", "vfat"].contains(&kind.trim()), "{kind}");
    }
}

/// A table with entries for all of GPT's places, and a FAT whose free clusters are not known.
#[test]
fn many_partitions_and_a_large_fat_do_not_take_long_to_tell() {
    let test = "many_partitions_and_a_large_fat_do_not_take_long_to_tell";
    if !oracles(test, &["sfdisk", "mkfs.vfat"]) {
        return;
    }
    let directory = temporary();
    let at = directory.path();
    let script: String =
        std::iter::once("label: gpt\n".to_owned()).chain((0..40).map(|_| "size=1MiB\n".into())).collect();
    let found = of(&disk(at, &script, &[])).to_string();
    assert!(found.starts_with("GPT with 40 partitions, 0 bytes in use\n1: 1 MiB, blank\n"), "{found}");
    assert!(found.ends_with("\n32: 1 MiB, blank\nand 8 more"), "{found}");
    // Tables of 16 MiB: to count what is free would be to read them.
    let fat =
        filesystem(at, "fat", 2048 * MIB, command("mkfs.vfat").args(["-F", "32", "-s", "1", "-n", "LARGE"]));
    let boot = File::options().read(true).write(true).open(&fat).expect("open");
    let mut count = [0; 4];
    boot.read_exact_at(&mut count, 512 + 488).expect("FSInfo");
    assert_ne!(count, [0xff; 4]);
    boot.write_all_at(&[0xff; 4], 512 + 488).expect("unknown");
    let found = of(&fat);
    assert_eq!((found.parts[0].filesystem, found.parts[0].used), (Some("FAT"), None));
}
