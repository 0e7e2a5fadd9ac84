//! `install` on media that SkiffOS' own scripts formatted: the system is the new one, and what is the user's stays.

mod cuts;
mod media;
mod refusals;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::board::synthetic;
use crate::harness::board::synthetic::{Synthetic, made_up};
use crate::harness::disk::{Disk, check_ext4, contents, extract, oracles, read_fat};
use crate::harness::tools;
use crate::harness::tools::{run, temporary};
use media::{Medium, SECTOR};
use skiff_image::board::Registry;

const TOOLS: [&str; 9] =
    ["sfdisk", "mkfs.vfat", "mke2fs", "debugfs", "blkid", "mcopy", "fsck.fat", "e2fsck", "dumpe2fs"];

fn synthetic(name: &str) -> Synthetic {
    let board = Registry::built_in().board(name).expect("a board");
    let arch = board.arch[0];
    Synthetic::new(board, arch)
}

/// `install` of what there is for a board onto a medium.
fn install(synthetic: &Synthetic, medium: &Medium, options: &[&str]) -> Command {
    let mut command = synthetic.command(&["install"]);
    command.args(options).arg("--manifest").arg(synthetic.path("installed.json")).arg(&medium.image);
    command
}

/// The files of a FAT partition of an image, which must be clean.
fn fat_files(image: &Path, number: usize, label: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let directory = temporary();
    let volume = Disk::read(image).extract(number, directory.path());
    let files = contents(&read_fat(&volume, label, directory.path()));
    files.into_iter().map(|(path, (_, bytes))| (path, bytes)).collect()
}

/// The files of an ext4 partition of an image, which must be clean.
fn ext4_files(image: &Path, number: usize, label: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let directory = temporary();
    let volume = Disk::read(image).extract(number, directory.path());
    assert_eq!(check_ext4(&volume), label);
    let to = directory.path().join("files");
    fs::create_dir(&to).expect("a directory");
    run(tools::command("debugfs").args(["-R", &format!("rdump / {}", to.display())]).arg(&volume));
    let files = contents(&to);
    files
        .into_iter()
        .map(|(path, (_, bytes))| (path, bytes))
        .filter(|(path, _)| !path.ends_with("lost+found"))
        .collect()
}

/// The bytes of a partition.
fn partition(image: &Path, number: usize) -> Vec<u8> {
    let directory = temporary();
    let entry = &Disk::read(image).entries[number - 1];
    let to = directory.path().join("partition");
    extract(image, entry.start * SECTOR, entry.size * SECTOR, &to).expect("a partition");
    fs::read(to).expect("a partition")
}

/// An image of the same inputs on a new medium.
fn assembled(synthetic: &Synthetic) -> PathBuf {
    let image = synthetic.path("new.img");
    let mut command = synthetic.command(&["--quiet", "assemble"]);
    run(command.args(synthetic.minimum()).arg("--out").arg(&image));
    image
}

/// Three partitions: boot and rootfs become the new system's, table, ids and persist stay.
fn three_partitions(test: &str, board: &str, label: &str, format: impl Fn(&Path) -> Medium) {
    if !oracles(test, &TOOLS) {
        return;
    }
    let (synthetic, directory) = (synthetic(board), temporary());
    let medium = format(directory.path());
    medium.put_fat(1, "rootfs.cpio.uboot", &made_up("an older system", 400_000));
    medium.put_ext4(2, "modules.squashfs", &made_up("older modules", 90_000));
    medium.put_ext4(3, "skiff/hostname", b"mine\n");
    medium.put_ext4(3, "photos/one.jpg", &made_up("a photo", 3_000_000));
    let (identity, persist) = (medium.identity(), partition(&medium.image, 3));
    run(&mut install(&synthetic, &medium, &["--carry-over"]));
    assert_eq!(medium.identity(), identity);
    assert!(partition(&medium.image, 3) == persist, "persist has other bytes");
    let new = assembled(&synthetic);
    let mut files = fat_files(&medium.image, 1, label);
    let expected = fat_files(&new, 1, label);
    if !expected.contains_key(Path::new("rootfs.cpio.uboot")) {
        files.remove(Path::new("rootfs.cpio.uboot")).expect("what is no file of the system is carried over");
    }
    assert!(files == expected, "{:?} is not {:?}", files.keys(), expected.keys());
    assert!(ext4_files(&medium.image, 2, "rootfs") == ext4_files(&new, 2, "rootfs"));
    // A second time there is nothing to do.
    let before = fs::read(synthetic.path("installed.json")).expect("a manifest");
    let told = run(&mut install(&synthetic, &medium, &["--carry-over"]));
    assert_eq!(told, format!("{}: nothing was written\n", medium.image.display()));
    assert!(fs::read(synthetic.path("installed.json")).expect("a manifest") == before);
    let mut verify = synthetic.program(&["verify"]);
    verify.arg(&medium.image).arg("--manifest").arg(synthetic.path("installed.json"));
    assert!(run(&mut verify).contains("all as written"));
}

#[test]
fn an_odroid_gets_the_new_system_and_keeps_persist_and_ids() {
    let test = "an_odroid_gets_the_new_system_and_keeps_persist_and_ids";
    three_partitions(test, "odroid/xu", "boot", Medium::odroid);
}

#[test]
fn an_orange_pi_gets_the_new_system_and_keeps_persist_and_ids() {
    let test = "an_orange_pi_gets_the_new_system_and_keeps_persist_and_ids";
    three_partitions(test, "orangepi/zero", "boot", Medium::orangepi);
}

#[test]
fn a_raspberry_pi_gets_the_new_system_and_keeps_persist_and_ids() {
    let test = "a_raspberry_pi_gets_the_new_system_and_keeps_persist_and_ids";
    three_partitions(test, "pi/4", "BOOT", Medium::pi);
}

/// Bytes that only a user could have made.
const PHOTO: &str = "photos/one.jpg";

/// Media with an ext4 that has the user's files beside the system's: those of the user stay, and so do the ids.
fn one_ext4(test: &str, board: &str, number: usize, label: &str, format: impl Fn(&Path) -> Medium) {
    if !oracles(test, &TOOLS) {
        return;
    }
    let (synthetic, directory) = (synthetic(board), temporary());
    let medium = format(directory.path());
    medium.put_ext4(number, "boot/rootfs.squashfs", &made_up("an older system", 400_000));
    medium.put_ext4(number, PHOTO, &made_up("a photo", 3_000_000));
    medium.put_ext4(number, "boot/notes.txt", b"mine too\n");
    let identity = medium.identity();
    run(&mut install(&synthetic, &medium, &[]));
    assert_eq!(medium.identity(), identity);
    let (mut files, expected) =
        (ext4_files(&medium.image, number, label), ext4_files(&assembled(&synthetic), number, label));
    let mut take = |path: &str| files.remove(Path::new(path)).unwrap_or_else(|| panic!("`{path}` stays"));
    assert!(take(PHOTO) == made_up("a photo", 3_000_000));
    assert_eq!(take("boot/notes.txt"), b"mine too\n");
    if expected.contains_key(Path::new("boot/rootfs.squashfs")) {
        assert!(take("boot/rootfs.squashfs.old") == made_up("an older system", 400_000));
    } else {
        take("boot/rootfs.squashfs");
    }
    take("photos");
    let mut verify = synthetic.program(&["verify"]);
    verify.arg(&medium.image).arg("--manifest").arg(synthetic.path("installed.json"));
    assert!(run(&mut verify).contains("all as written"));
    // Boot texts name the medium by its ids, which are not those of a new one.
    let texts = ["boot.txt", "boot.scr", "extlinux.conf", "refind_linux.conf"];
    for (path, bytes) in &expected {
        let found = files.get(path).unwrap_or_else(|| panic!("`{}` is there", path.display()));
        let is_text = texts.iter().any(|name| path.ends_with(name));
        assert!(found == bytes || is_text, "`{}` differs", path.display());
    }
    assert_eq!(files.len(), expected.len(), "{:?} is not {:?}", files.keys(), expected.keys());
    let told = run(&mut install(&synthetic, &medium, &[]));
    assert_eq!(told, format!("{}: nothing was written\n", medium.image.display()));
}

#[test]
fn a_banana_pi_gets_the_new_system_on_both_partitions() {
    let test = "a_banana_pi_gets_the_new_system_on_both_partitions";
    if !oracles(test, &TOOLS) {
        return;
    }
    let (synthetic, directory) = (synthetic("bananapi/m1"), temporary());
    let medium = Medium::bananapi(directory.path());
    medium.put_fat(1, "rootfs.squashfs", &made_up("an older system", 400_000));
    medium.put_fat(1, "uboot.env", b"an environment");
    medium.put_ext4(2, "rootfs/modules.squashfs", &made_up("older modules", 90_000));
    medium.put_ext4(2, PHOTO, &made_up("a photo", 3_000_000));
    let identity = medium.identity();
    run(&mut install(&synthetic, &medium, &["--carry-over"]));
    assert_eq!(medium.identity(), identity);
    let new = assembled(&synthetic);
    let (mut boot, expected) = (fat_files(&medium.image, 1, "boot"), fat_files(&new, 1, "boot"));
    assert_eq!(boot.remove(Path::new("uboot.env")).expect("it is carried over"), b"an environment");
    assert!(boot.keys().eq(expected.keys()), "{:?}", boot.keys());
    let signature = run(tools::command("sfdisk").arg("--disk-id").arg(&medium.image));
    let wanted = format!("root=PARTUUID={}-01", signature.trim().trim_start_matches("0x"));
    let text = String::from_utf8_lossy(&boot[Path::new("boot.txt")]);
    assert!(text.contains(&wanted), "no {wanted} in {text}");
    assert!(boot[Path::new("rootfs.squashfs")] == expected[Path::new("rootfs.squashfs")]);
    let (persist, new) = (ext4_files(&medium.image, 2, "persist"), ext4_files(&new, 2, "persist"));
    let modules = Path::new("rootfs/modules.squashfs");
    assert!(persist[modules] == new[modules] && persist[Path::new(PHOTO)] == made_up("a photo", 3_000_000));
}

#[test]
fn a_pine64_gets_the_new_system_beside_what_is_the_users() {
    let test = "a_pine64_gets_the_new_system_beside_what_is_the_users";
    one_ext4(test, "pine64/h64", 1, "persist", Medium::pine64);
}

#[test]
fn a_pc_gets_the_new_system_beside_what_is_the_users() {
    let test = "a_pc_gets_the_new_system_beside_what_is_the_users";
    one_ext4(test, "intel/desktop", 2, "SKIFFOS", Medium::desktop);
}

/// Permissions and time of a file, as debugfs tells them.
fn stat(medium: &Medium, number: usize, path: &str) -> (String, i64) {
    let request = format!("stat {path}");
    let text = run(tools::command("debugfs").args(["-R", &request, &medium.ext4(number)]));
    let word = |name: &str| text.split(name).nth(1).and_then(|rest| rest.split_whitespace().next());
    let mode = word("Mode:").expect("a mode").to_owned();
    let time = word("mtime: 0x").and_then(|time| time.split(':').next()).expect("a time");
    (mode, i64::from_str_radix(time, 16).expect("seconds"))
}

#[test]
fn one_version_before_the_new_one_stays() {
    let test = "one_version_before_the_new_one_stays";
    if !oracles(test, &TOOLS) {
        return;
    }
    let (synthetic, directory) = (synthetic("intel/desktop"), temporary());
    let medium = Medium::desktop(directory.path());
    // The one that was written last is the one before, whatever its number is.
    for version in ["2025.1", "2026.12", "2026.9"] {
        for path in
            [format!("boot/bzImage-skiffos-{version}-1"), format!("boot/init-skiffos-{version}-1.squashfs")]
        {
            medium.put_ext4(2, &path, version.as_bytes());
            medium.set_time(2, &path, if version == "2026.9" { "20300101000000" } else { "20250101000000" });
        }
    }
    medium.put_ext4(2, "boot/init-skiffos-2026.9-1.squashfs.blake3", b"an older digest");
    medium.put_ext4(2, "boot/init-skiffos-2025.1-1.squashfs.blake3", b"an older digest");
    medium.put_ext4(2, "boot/bzImage-skiffos-mine-1", b"a kernel of the user");
    medium.put_ext4(2, "boot/refind_linux.conf", b"options of the user");
    let told = run(&mut install(&synthetic, &medium, &["--json"]));
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["before"], &told["after"]), (&"2026.9".into(), &synthetic::VERSION.into()));
    let files = ext4_files(&medium.image, 2, "SKIFFOS");
    let boot: Vec<&str> = files.keys().filter_map(|path| path.to_str()?.strip_prefix("boot/")).collect();
    let kernel = format!("bzImage-skiffos-{}-1", synthetic::VERSION);
    let image = format!("init-skiffos-{}-1.squashfs", synthetic::VERSION);
    for name in [&kernel, &image, "bzImage-skiffos-2026.9-1", "bzImage-skiffos-mine-1"] {
        assert!(boot.contains(&name), "no {name} in {boot:?}");
    }
    assert!(!boot.iter().any(|name| name.contains("2025.1") || name.contains("2026.12")), "{boot:?}");
    assert_eq!(files[Path::new("boot/refind_linux.conf")], b"options of the user");
    // rEFInd offers the newest first.
    let newest = stat(&medium, 2, "boot/bzImage-skiffos-2026.9-1").1;
    assert!(stat(&medium, 2, &format!("boot/{kernel}")).1 > newest && newest > 1_800_000_000);
    // The version before had a digest beside it, so this one has, too.
    let digest = blake3::hash(&files[Path::new(&format!("boot/{image}"))]);
    let stated = &files[Path::new(&format!("boot/{image}.blake3"))];
    assert_eq!(String::from_utf8_lossy(stated), format!("{digest}  {image}\n"));
}

#[test]
fn a_digest_is_written_where_the_kernel_is_told_to_want_one() {
    let test = "a_digest_is_written_where_the_kernel_is_told_to_want_one";
    if !oracles(test, &TOOLS) {
        return;
    }
    let (synthetic, directory) = (synthetic("pine64/h64"), temporary());
    let medium = Medium::pine64(directory.path());
    medium.put_ext4(1, "boot/rootfs.squashfs", b"an older system");
    medium.put_ext4(1, "boot/rootfs.squashfs.blake3", b"its digest");
    run(&mut install(&synthetic, &medium, &[]));
    let digest = |path: &str| blake3::hash(&medium.read_ext4(1, path));
    let stated = |path: &str| String::from_utf8(medium.read_ext4(1, path)).expect("text");
    let expected = format!("{}  rootfs.squashfs\n", digest("boot/rootfs.squashfs"));
    assert_eq!(stated("boot/rootfs.squashfs.blake3"), expected);
    assert_eq!(stated("boot/rootfs.squashfs.old"), "an older system");
    assert_eq!(stated("boot/rootfs.squashfs.old.blake3"), "its digest");
    let mode = stat(&medium, 1, "boot/skiff-init/skiff-init-squashfs").0;
    assert_eq!(mode, "0755");
    // Only one system before is kept.
    synthetic.write_image("skiff-release", b"VERSION=2027.1\n");
    fs::write(synthetic.path("output/target/etc/motd"), "another").expect("a file");
    run(&mut install(&synthetic, &medium, &[]));
    assert_eq!(stated("boot/rootfs.squashfs.old.blake3"), expected);
    assert!(medium.read_ext4(1, "boot/rootfs.squashfs.old.old").is_empty());
    let (_, fresh) = (assembled(&synthetic), temporary());
    let other = Medium::pine64(fresh.path());
    other.put_ext4(1, "boot/notes", b"x");
    run(&mut install(&synthetic, &other, &[]));
    assert!(other.read_ext4(1, "boot/rootfs.squashfs.blake3").is_empty(), "nobody wants a digest there");
}

#[test]
fn a_plan_says_what_changes_and_writes_nothing() {
    let test = "a_plan_says_what_changes_and_writes_nothing";
    if !oracles(test, &TOOLS) {
        return;
    }
    let (synthetic, directory) = (synthetic("pine64/h64"), temporary());
    let medium = Medium::pine64(directory.path());
    medium.put_ext4(1, "boot/rootfs.squashfs", &made_up("an older system", 400_000));
    medium.put_ext4(1, "boot/skiff-release", b"VERSION=\"2025.1\"\n");
    let before = fs::read(&medium.image).expect("an image");
    let output = install(&synthetic, &medium, &["--dry-run"]).output().expect("skiff-image runs");
    assert!(fs::read(&medium.image).expect("an image") == before);
    let told = String::from_utf8_lossy(&output.stderr);
    let image = medium.image.display();
    for line in [
        format!("{image}: board `pine64/h64`, version 2025.1 becomes {}", synthetic::VERSION),
        "    `/boot/rootfs.squashfs` is kept as `/boot/rootfs.squashfs.old`".into(),
        "    `/boot/Image` new, 293.0 KiB (300000 bytes)".into(),
        "    `/boot/skiff-release` 17 bytes becomes 31 bytes".into(),
    ] {
        assert!(told.lines().any(|found| found == line), "no `{line}` in\n{told}");
    }
    let change = told.lines().find(|line| line.starts_with("  #1 `persist`, ext4, ")).expect("a partition");
    assert!(change.contains(": files are replaced, ") && change.contains(" that are free, "), "{change}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{image}: nothing was written\n"));
}
