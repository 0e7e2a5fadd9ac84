//! `verify` of media that were used: what the kernel, mtools, sfdisk and sgdisk change is told apart from damage.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::loopdev::LoopDevice;
use crate::harness::mount::can_mount;
use crate::harness::project::{Project, run, succeed};
use crate::harness::tools::{command, oracle, unmount};
use serde_json::Value;
use skiff_image::manifest::{Manifest, Owner};

const MIB: u64 = 1 << 20;
const IMAGE: &str = "out/disk.img";
const USERS: &str = "\nnot compared, because it belongs to the user: the content of `persist`\n";

/// A project with an image of 128 MiB that has a persist partition and files that are the user's.
fn used_project(table: &str) -> Project {
    let project = Project::new();
    project.edit_board("root = \"none\"", "root = \"none\"\npersist = \"persist\"");
    project.edit_board("kind = \"mbr\"", &format!("kind = \"{table}\""));
    if table == "gpt" {
        project.edit_board("offset = \"8 KiB\"", "offset = \"64 KiB\"");
        project.edit_board("active = true\n", "");
    }
    project.edit_board("{ artifact = \"boot.cmd\" }", "{ artifact = \"boot.cmd\", update = \"keep\" }");
    project.edit_board(
        "file = [{ artifact = \"modules.squashfs\" }]",
        "file = [{ artifact = \"modules.squashfs\" }, { text = \"site\", to = \"/etc/site.conf\", update = \"keep\" }, \
         { text = \"system\", to = \"/etc/system.conf\" }]",
    );
    succeed(&mut project.assemble(&["--size", "128MiB"]));
    project
}

fn manifest(project: &Project) -> Manifest {
    Manifest::read(&project.path("out/disk.img.manifest.json")).expect("a manifest")
}

/// First byte and length of a region.
fn place(project: &Project, name: &str) -> (u64, u64) {
    let manifest = manifest(project);
    let region = manifest.regions.iter().find(|region| region.name == name).expect("a region");
    (region.offset, region.len)
}

fn verify(project: &Project, options: &[&str]) -> Command {
    project.command(&[&["--quiet", "verify", IMAGE], options].concat())
}

/// What is said of a used image, and the exit code.
fn told(project: &Project) -> (String, i32) {
    let (stdout, _, code) = run(&mut verify(project, &["--used"]));
    (stdout, code)
}

fn told_in_json(project: &Project) -> Value {
    let (stdout, _, _) = run(&mut verify(project, &["--used", "--json"]));
    serde_json::from_str(&stdout).expect("JSON")
}

/// Runs a tool that must succeed.
fn tool(command: &mut Command) -> String {
    let output = command.output().expect("the tool runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn flip(project: &Project, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(project.path(IMAGE)).expect("an image");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x20], at).expect("written");
}

/// A partition for mtools or e2fsprogs.
fn fat(project: &Project, name: &str) -> String {
    format!("{}@@{}", project.path(IMAGE).display(), place(project, name).0)
}

fn debugfs(project: &Project, name: &str, request: &str) {
    let at = format!("{}?offset={}", project.path(IMAGE).display(), place(project, name).0);
    tool(command("debugfs").args(["-w", "-R", request, &at]));
}

/// Where the bytes of a file that is in one piece are, found by its content.
fn find(project: &Project, region: &str, bytes: &[u8]) -> u64 {
    let (offset, len) = place(project, region);
    let mut content = vec![0; len as usize];
    File::open(project.path(IMAGE)).and_then(|file| file.read_exact_at(&mut content, offset)).expect("read");
    let at = content.windows(bytes.len()).position(|window| window == bytes).expect("the bytes are there");
    offset + at as u64
}

#[test]
fn what_was_not_used_is_as_written() {
    let project = used_project("mbr");
    let (text, code) = told(&project);
    let compared = told_in_json(&project)["compared"].as_u64().expect("a number");
    let compared = skiff_image::value::ByteSize(compared);
    assert_eq!((text, code), (format!("out/disk.img: {compared} compared, all as written{USERS}"), 0));
    // An image file is compared byte for byte unless it is said to be used.
    let (strict, _) = succeed(&mut verify(&project, &[]));
    assert!(strict.ends_with("compared, all as written\n"), "{strict}");
    let (same, _) = succeed(&mut verify(&project, &["--strict"]));
    assert_eq!(same, strict);
    assert_eq!(run(&mut verify(&project, &["--strict", "--used"])).2, 2);
}

#[test]
fn the_manifest_says_what_is_the_users() {
    let project = used_project("mbr");
    let manifest = manifest(&project);
    let owner =
        |name: &str| manifest.regions.iter().find(|region| region.name == name).expect("a region").owner;
    assert_eq!(
        (owner("persist"), owner("rootfs"), owner("boot")),
        (Owner::User, Owner::System, Owner::System)
    );
    let files = manifest.regions.iter().flat_map(|region| &region.files);
    let kept: Vec<&str> = files.filter(|entry| entry.keep).map(|entry| entry.file.path.as_str()).collect();
    assert_eq!(kept, ["/boot.cmd", "/etc/site.conf"]);
    // One that an older version of the program wrote says none of it, and can be used.
    let path = project.path("out/disk.img.manifest.json");
    let mut old: Value = serde_json::from_str(&fs::read_to_string(&path).expect("a manifest")).expect("JSON");
    for region in old["regions"].as_array_mut().expect("regions") {
        region.as_object_mut().expect("a region").retain(|key, _| key != "owner" && key != "identity");
        for file in region["files"].as_array_mut().expect("files") {
            file.as_object_mut().expect("a file").remove("keep");
        }
    }
    fs::write(&path, old.to_string()).expect("written");
    let (text, code) = told(&project);
    assert!(text.ends_with("compared, all as written\n") && code == 0, "{text}");
}

#[test]
fn files_on_a_fat_that_are_the_users_may_change() {
    if !oracle("files_on_a_fat_that_are_the_users_may_change", "mcopy") {
        return;
    }
    let project = used_project("mbr");
    project.write("note", "added");
    let (volume, note) = (fat(&project, "boot"), project.path("note"));
    tool(command("mcopy").args(["-i", &volume]).arg(&note).arg("::/config.txt"));
    tool(command("mcopy").args(["-o", "-i", &volume]).arg(&note).arg("::/boot.cmd"));
    tool(command("mattrib").args(["+r", "-i", &volume, "::/boot.cmd"]));
    let (text, code) = told(&project);
    let (first, rest) = text.split_once('\n').expect("lines");
    assert!(first.ends_with("compared, changed by use:") && code == 0, "{text}");
    let within = rest.lines().next().expect("a line");
    assert!(within.starts_with("  region `boot` (fat32): times, tables and free space, within "), "{text}");
    assert_eq!(
        rest.split_once('\n').expect("lines").1,
        format!(
            "  region `boot` (fat32): 1 file was added: `/config.txt`\n  \
               region `boot` (fat32): file `/boot.cmd` is another, which it may be\n\
             all else is as written{USERS}"
        )
    );
    let json = told_in_json(&project);
    assert_eq!(json["drift"][1]["drift"], "files-added");
    assert_eq!(
        (&json["drift"][2]["drift"], &json["drift"][2]["path"]),
        (&"file-changed".into(), &"/boot.cmd".into())
    );
    assert_eq!((&json["damaged"], &json["users"][0]), (&Value::Array(Vec::new()), &"persist".into()));

    tool(command("mdel").args(["-i", &volume, "::/boot.cmd"]));
    for index in 0..3 {
        tool(command("mcopy").args(["-i", &volume]).arg(&note).arg(format!("::/more{index}.txt")));
    }
    let (text, code) = told(&project);
    assert!(text.contains("file `/boot.cmd` was removed, which it may be\n") && code == 0, "{text}");
    assert!(text.contains("4 files were added: `/config.txt`, `/more0.txt`, `/more1.txt`, ...\n"), "{text}");
    // Linux sets this while it has the volume mounted.
    let (offset, _) = place(&project, "boot");
    let image = OpenOptions::new().write(true).open(project.path(IMAGE)).expect("an image");
    image.write_all_at(&[1], offset + 65).expect("written");
    let (text, code) = told(&project);
    assert!(
        text.contains("region `boot` (fat32): is mounted, or was not unmounted\n") && code == 0,
        "{text}"
    );
    // Byte for byte it is another.
    let (_, stderr, code) = run(&mut verify(&project, &[]));
    assert_eq!(
        (stderr.as_str(), code),
        (
            "error: `out/disk.img` differs from its manifest in `boot`\n\
             hint: write the image again; if the damage comes back, the medium or its reader is failing\n",
            3
        )
    );
}

#[test]
fn files_of_the_system_on_a_fat_must_stay() {
    if !oracle("files_of_the_system_on_a_fat_must_stay", "mcopy") {
        return;
    }
    let project = used_project("mbr");
    project.write("note", "changed");
    let volume = fat(&project, "boot");
    tool(command("mcopy").args(["-o", "-i", &volume]).arg(project.path("note")).arg("::/boot.scr"));
    tool(command("mdel").args(["-i", &volume, "::/rootfs.cpio.lz4"]));
    tool(command("mdel").args(["-i", &volume, "::/boot.cmd"]));
    let (text, code) = told(&project);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("\ndamaged:\n  region `boot` (fat32)\n"), "{text}");
    assert!(text.contains("\n    file `/rootfs.cpio.lz4` is missing\n"), "{text}");
    assert!(text.contains("\n    file `/boot.scr` has 7 bytes instead of the "), "{text}");
    assert!(
        text.contains("  region `boot` (fat32): file `/boot.cmd` was removed, which it may be\n"),
        "{text}"
    );
}

#[test]
fn a_flipped_byte_names_its_file() {
    let expect = |project: &Project, lines: &[&str]| {
        let (text, code) = told(project);
        assert!(code == 3 && lines.iter().all(|line| text.contains(line)), "{text}");
    };
    // A kernel on the FAT.
    let project = used_project("mbr");
    let kernel = fs::read(project.path("output/images/Image")).expect("a kernel");
    flip(&project, find(&project, "boot", &kernel[1000..3000]) + 500);
    expect(&project, &["region `boot` (fat32)\n", "file `/Image` has other bytes than were written\n"]);

    // A module in a squashfs on the ext4, a boot loader.
    let project = used_project("mbr");
    let (offset, _) = place(&project, "rootfs");
    let squashfs = find(&project, "rootfs", b"hsqs");
    assert!(squashfs > offset);
    flip(&project, squashfs + 200);
    let (loader, _) = place(&project, "loader");
    flip(&project, loader + 100);
    expect(
        &project,
        &[
            "region `loader` (blob)\n",
            "region `rootfs` (ext4)\n",
            "    file `/modules.squashfs` has other bytes",
            "      in it `",
        ],
    );

    // A program in the squashfs partition.
    let project = used_project("mbr");
    let (offset, _) = place(&project, "system");
    flip(&project, offset + 300);
    expect(&project, &["region `system` (squashfs)\n", "    file `"]);
    let (text, _) = told(&project);
    assert!(!text.contains("changed by use"), "{text}");
}

#[test]
fn what_boards_find_a_filesystem_by_must_stay() {
    if !oracle("what_boards_find_a_filesystem_by_must_stay", "debugfs") || !oracle("mlabel", "mlabel") {
        return;
    }
    let project = used_project("mbr");
    debugfs(&project, "persist", "ssv volume_name other");
    debugfs(&project, "rootfs", "feature ^dir_nlink");
    tool(command("mlabel").args(["-N", "12345678", "-i", &fat(&project, "boot"), "::other"]));
    let (text, code) = told(&project);
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains("region `persist` (ext4)\n    its label is `other` instead of `persist`\n"),
        "{text}"
    );
    assert!(text.contains("    it has lost the features dir_nlink\n"), "{text}");
    assert!(text.to_lowercase().contains("    its label is `other` instead of `boot`\n"), "{text}");
    assert!(text.contains("    its id is 1234-5678 instead of "), "{text}");
    debugfs(&project, "persist", "feature encrypt");
    assert!(told(&project).0.contains("    it has features that were not written: encrypt\n"));

    // A persist partition that is none any more.
    let project = used_project("mbr");
    let (offset, _) = place(&project, "persist");
    let image = OpenOptions::new().write(true).open(project.path(IMAGE)).expect("an image");
    image.write_all_at(&[0; 4096], offset).expect("written");
    let (text, code) = told(&project);
    let reason = "there is no ext4 filesystem at offset 0: the magic number is 0x0000, not 0xef53";
    assert!(text.contains(&format!("    its files are not known: {reason}\n")) && code == 3, "{text}");
    let (_, stderr, _) = run(&mut verify(&project, &["--used"]));
    assert!(stderr.starts_with("error: `out/disk.img` differs from its manifest in `persist`\n"), "{stderr}");
}

/// Mounts the partition of a region with the kernel while `work` runs in it.
fn mounted(project: &Project, name: &str, work: impl FnOnce(&Path)) {
    let (offset, _) = place(project, name);
    let at = project.path("mounted");
    fs::create_dir_all(&at).expect("a directory");
    let options = format!("loop,offset={offset}");
    tool(command("mount").args(["-t", "ext4", "-o", &options]).arg(project.path(IMAGE)).arg(&at));
    work(&at);
    assert!(unmount(&at), "umount");
}

#[test]
fn what_the_kernel_and_the_user_write_is_drift() {
    if !can_mount("what_the_kernel_and_the_user_write_is_drift") {
        return;
    }
    let project = used_project("mbr");
    mounted(&project, "persist", |at| {
        for index in 0..100 {
            fs::write(at.join(format!("user file {index}")), vec![index as u8; 100_000]).expect("a file");
        }
    });
    mounted(&project, "rootfs", |at| {
        fs::read(at.join("modules.squashfs")).expect("a file");
        fs::write(at.join("etc/site.conf"), "mine").expect("a file");
        fs::write(at.join("log"), "started").expect("a file");
    });
    let (text, code) = told(&project);
    assert_eq!(code, 0, "{text}");
    let drift: Vec<&str> = text.lines().filter(|line| line.starts_with("  region")).collect();
    assert!(
        drift[0].starts_with("  region `rootfs` (ext4): times, tables and free space, within "),
        "{text}"
    );
    assert_eq!(
        drift[1..],
        [
            "  region `rootfs` (ext4): 1 file was added: `/log`",
            "  region `rootfs` (ext4): file `/etc/site.conf` is another, which it may be"
        ]
    );
    // A copy that is made while it is mounted is what a cut power leaves.
    let copy = project.path("copy");
    mounted(&project, "rootfs", |at| {
        fs::write(at.join("open"), vec![7; 5000]).expect("a file");
        tool(command("sync").arg("-f").arg(at));
        fs::copy(project.path(IMAGE), &copy).expect("a copy");
    });
    fs::rename(&copy, project.path(IMAGE)).expect("renamed");
    let (text, code) = told(&project);
    assert!(
        text.contains("  region `rootfs` (ext4): is mounted, or was not unmounted\n") && code == 0,
        "{text}"
    );
    mounted(&project, "rootfs", |at| {
        fs::write(at.join("etc/system.conf"), "changed").expect("a file");
        fs::remove_file(at.join("modules.squashfs")).expect("removed");
    });
    let (text, code) = told(&project);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("    file `/modules.squashfs` is missing\n"), "{text}");
    assert!(
        text.contains("    file `/etc/system.conf` has 7 bytes instead of the 6 that were written\n"),
        "{text}"
    );
}

/// A number of the image.
fn number(project: &Project, at: u64, len: usize) -> u64 {
    let mut bytes = [0; 8];
    let file = File::open(project.path(IMAGE)).expect("an image");
    file.read_exact_at(&mut bytes[..len], at).expect("read");
    u64::from_le_bytes(bytes)
}

/// Damages a fresh project, and expects a line about a region.
fn expect_damage(damage: impl FnOnce(&Project), region: &str, line: &str) {
    let project = used_project("mbr");
    damage(&project);
    let (text, code) = told(&project);
    assert_eq!(code, 3, "{line}: {text}");
    let wanted = format!("  region `{region}` (");
    assert!(text.contains(&wanted) && text.contains(line), "{line}: {text}");
}

#[test]
fn what_no_system_writes_to_an_ext4_is_damage() {
    if !oracle("what_no_system_writes_to_an_ext4_is_damage", "debugfs") {
        return;
    }
    for (request, line) in [
        ("sif /etc/system.conf mode 0100444", "file `/etc/system.conf` has the mode 0444 instead of 0644\n"),
        ("sif /etc/system.conf uid 1000", "file `/etc/system.conf` has the owner 1000:0 instead of 0:0\n"),
        ("sif /etc/system.conf flags 0x80010", "file `/etc/system.conf` has the flags 0x10 instead of 0x0\n"),
        ("sif /etc/system.conf links_count 5", " has 1 names but counts 5\n"),
        ("sif /etc mode 040700", "file `/etc` has the mode 0700 instead of 0755\n"),
        ("ea_set /etc/system.conf user.note x", "file `/etc/system.conf` has the extended attributes "),
    ] {
        expect_damage(|project| debugfs(project, "rootfs", request), "rootfs", line);
    }
    // Bitmaps: that of the blocks and that of the inodes of group 0 are named by its descriptor.
    for (field, line) in [(0, "the block bitmap of group 0 has "), (4, "the inode bitmap of group 0 has ")] {
        let damage = |project: &Project| {
            let (offset, _) = place(project, "rootfs");
            flip(project, offset + 4096 * number(project, offset + 4096 + field, 4) + 1);
        };
        expect_damage(damage, "rootfs", line);
    }
    // Two bits, so that the counts stay right.
    let damage = |project: &Project| {
        let (offset, _) = place(project, "rootfs");
        let bitmap = offset + 4096 * number(project, offset + 4096, 4);
        let free = (0..4096).find(|at| number(project, bitmap + at, 1) == 0).expect("eight free blocks");
        assert_eq!(number(project, bitmap, 1), 0xff, "the first blocks are in use");
        let image = OpenOptions::new().write(true).open(project.path(IMAGE)).expect("an image");
        image
            .write_all_at(&[0xfe], bitmap)
            .and_then(|()| image.write_all_at(&[1], bitmap + free))
            .expect("written");
    };
    expect_damage(damage, "rootfs", "block 0 is in use but the bitmap of group 0 says free\n");
    // What a user adds is no damage, and neither is what it does to files of its own.
    let project = used_project("mbr");
    debugfs(&project, "rootfs", "mkdir /home");
    debugfs(&project, "rootfs", "sif /etc/site.conf mode 0100600");
    let (text, code) = told(&project);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("times, tables and free space"), "{text}");
}

#[test]
fn what_no_system_writes_to_a_fat_is_damage() {
    if !oracle("what_no_system_writes_to_a_fat_is_damage", "mattrib") {
        return;
    }
    let second_table = |project: &Project| {
        let (offset, _) = place(project, "boot");
        let (reserved, sectors) = (number(project, offset + 14, 2), number(project, offset + 36, 4));
        offset + (reserved + sectors) * 512
    };
    let flip_in_table = |project: &Project| flip(project, second_table(project) + 12);
    expect_damage(flip_in_table, "boot", "its two tables differ, first in the entry of cluster 3\n");
    let flip_in_copy = |project: &Project| flip(project, place(project, "boot").0 + 6 * 512 + 20);
    expect_damage(flip_in_copy, "boot", "sector 0 and its copy, sector 6, differ in byte 20\n");
    let hide = |project: &Project| {
        _ = tool(command("mattrib").args(["+h", "-i", &fat(project, "boot"), "::/Image"]))
    };
    expect_damage(hide, "boot", "file `/Image` has the attributes 0x02 instead of 0x00\n");
    // A cluster that nothing leads to, in both tables.
    let lose = |project: &Project| {
        let (offset, _) = place(project, "boot");
        let sectors = number(project, offset + 36, 4);
        let image = OpenOptions::new().write(true).open(project.path(IMAGE)).expect("an image");
        for table in [second_table(project) - sectors * 512, second_table(project)] {
            image.write_all_at(&[0xff, 0xff, 0xff, 0x0f], table + 4 * 60_000).expect("written");
        }
    };
    expect_damage(lose, "boot", "cluster 60000 is in use but no directory leads to it\n");
}

#[test]
fn a_device_is_compared_as_used() {
    let test = "a_device_is_compared_as_used";
    if !can_mount(test) {
        return;
    }
    let project = used_project("mbr");
    mounted(&project, "persist", |at| fs::write(at.join("user file"), "mine").expect("a file"));
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("backing file");
    fs::copy(project.path(IMAGE), file.path()).expect("a copy");
    let Some(device) = LoopDevice::over(test, file, &[]) else { return };
    let on_device = |options: &[&str]| {
        let mut command = project.command(&["verify", "--manifest", "out/disk.img.manifest.json"]);
        command.args(options).arg(&device.path);
        command
    };
    let (text, _) = succeed(&mut on_device(&[]));
    assert!(text.contains("compared, all as written\n"), "{text}");
    let (_, stderr, code) = run(&mut on_device(&["--strict"]));
    assert!(stderr.contains("differs from its manifest in `persist`") && code == 3, "{stderr}");
}

fn sfdisk(image: &Path, options: &[&str], script: &str) {
    let mut child = command("sfdisk")
        .args(["-q", "--no-reread"])
        .args(options)
        .arg(image)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sfdisk runs");
    child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("written");
    assert!(child.wait().expect("sfdisk ends").success());
}

/// The image on a larger medium, with the last partition and its filesystem grown to its end by others.
fn enlarge(project: &Project) -> PathBuf {
    let image = project.path(IMAGE);
    OpenOptions::new().write(true).open(&image).and_then(|file| file.set_len(300 * MIB)).expect("longer");
    image
}

#[test]
fn a_table_that_was_fitted_to_the_disk_is_drift() {
    let test = "a_table_that_was_fitted_to_the_disk_is_drift";
    if ["sfdisk", "sgdisk", "mke2fs", "resize2fs"].iter().any(|tool| !oracle(test, tool)) {
        return;
    }
    for table in ["gpt", "mbr"] {
        let project = used_project(table);
        let image = enlarge(&project);
        assert!(told(&project).0.contains("compared, all as written"), "{table}");
        let (offset, from) = place(&project, "persist");
        if table == "gpt" {
            tool(command("sgdisk").arg("--move-second-header").arg(&image));
        }
        sfdisk(&image, &["-N", "4"], ", +\n");
        let (text, code) = told(&project);
        let now = tool(command("sfdisk").args(["--dump"]).arg(&image));
        let size = now.lines().last().and_then(|line| line.split("size=").nth(1)).expect("a size");
        let size: u64 = size.split(',').next().and_then(|size| size.trim().parse().ok()).expect("a number");
        let (from, to) = (skiff_image::value::ByteSize(from), skiff_image::value::ByteSize(size * 512));
        let resized = format!("  region `persist` (ext4): the partition has {to} instead of {from}\n");
        assert!(code == 0 && text.contains(&resized), "{text}");
        let moved = "the backup of the GPT is at the end of the medium\n";
        assert_eq!(text.contains(moved), table == "gpt", "{text}");

        // The filesystem too, as the board does when it starts.
        let part = project.path("part");
        let mut bytes = vec![0; size as usize * 512];
        File::open(&image).and_then(|file| file.read_exact_at(&mut bytes, offset)).expect("read");
        fs::write(&part, &bytes).expect("written");
        tool(command("e2fsck").args(["-f", "-p"]).arg(&part));
        tool(command("resize2fs").arg(&part));
        let grown = fs::read(&part).expect("read");
        OpenOptions::new()
            .write(true)
            .open(&image)
            .and_then(|file| file.write_all_at(&grown, offset))
            .expect("back");
        let (text, code) = told(&project);
        let grown = format!("  region `persist` (ext4): the filesystem grew from {from} to ");
        assert!(code == 0 && text.contains(&grown), "{text}");

        // But not with anything else in it.
        let kind = if table == "gpt" { "21686148-6449-6E6F-744E-656564454649" } else { "82" };
        tool(command("sfdisk").args(["-q", "--no-reread", "--part-type"]).arg(&image).args(["2", kind]));
        let (text, code) = told(&project);
        assert!(code == 3 && text.contains("(table)\n"), "{text}");
    }
}

#[test]
fn a_flipped_byte_of_a_table_is_damage() {
    for (table, regions) in [
        ("mbr", &["mbr"] as &[&str]),
        ("gpt", &["protective mbr", "gpt header", "gpt entries", "gpt backup entries", "gpt backup header"]),
    ] {
        for region in regions {
            let project = used_project(table);
            flip(&project, place(&project, region).0 + 8);
            let (text, code) = told(&project);
            assert!(code == 3 && text.contains(&format!("region `{region}` (table)\n")), "{region}: {text}");
        }
    }
}

#[test]
fn a_medium_that_is_too_short_is_told() {
    let project = used_project("mbr");
    OpenOptions::new()
        .write(true)
        .open(project.path(IMAGE))
        .and_then(|file| file.set_len(100 * MIB))
        .expect("cut");
    let (_, stderr, code) = run(&mut verify(&project, &["--used"]));
    assert_eq!(code, 3);
    assert!(
        stderr.contains("`out/disk.img` has 100 MiB but the manifest is about a disk of 128 MiB"),
        "{stderr}"
    );
}

#[test]
fn what_flashing_grew_is_drift() {
    use skiff_image::event::Silent;
    use skiff_image::flash::{FlashOptions, ResizePolicy};
    use skiff_image::source::Image;
    use skiff_image::storage::{Geometry, ImageFile};
    for table in ["gpt", "mbr"] {
        let project = used_project(table);
        let geometry = Geometry { len: 300 * MIB, sector_size: 512 };
        let target = ImageFile::create(&project.path("out/card"), geometry, false).expect("a file");
        let options = FlashOptions { fit: ResizePolicy::LastPartition, ..FlashOptions::default() };
        let image = Image::open(&project.path(IMAGE), None).expect("an image");
        let done = image.copy(&target, true, &Silent, options).expect("written");
        assert!(done.fitted.filesystem.is_some(), "{:?}", done.fitted);
        target.finish().expect("renamed");
        fs::rename(project.path("out/card"), project.path(IMAGE)).expect("renamed");
        let (text, code) = told(&project);
        let drift: Vec<&str> = text.lines().filter(|line| line.starts_with("  region")).collect();
        let moved = "  region `gpt backup header` (table): the backup of the GPT is at the end of the medium";
        let (_, from) = place(&project, "persist");
        let from = skiff_image::value::ByteSize(from);
        let to = done.fitted.partition.expect("it grew").to;
        let resized = format!("  region `persist` (ext4): the partition has {to} instead of {from}");
        let grown = done.fitted.filesystem.expect("it grew").to;
        let grown = format!("  region `persist` (ext4): the filesystem grew from {from} to {grown}");
        let meant: Vec<&str> =
            [moved, &resized, &grown].into_iter().skip(usize::from(table == "mbr")).collect();
        assert_eq!((drift, code), (meant, 0), "{text}");
    }
}

#[test]
fn a_damaged_backup_of_a_gpt_that_was_moved_is_told_as_that() {
    use skiff_image::event::Silent;
    use skiff_image::flash::{FlashOptions, ResizePolicy};
    use skiff_image::source::Image;
    use skiff_image::storage::{Geometry, ImageFile};
    let project = used_project("gpt");
    let len = 300 * MIB;
    let target = ImageFile::create(&project.path("out/card"), Geometry { len, sector_size: 512 }, false);
    let target = target.expect("a file");
    let options = FlashOptions { fit: ResizePolicy::LastPartition, ..FlashOptions::default() };
    let image = Image::open(&project.path(IMAGE), None).expect("an image");
    image.copy(&target, true, &Silent, options).expect("written");
    target.finish().expect("renamed");
    fs::rename(project.path("out/card"), project.path(IMAGE)).expect("renamed");
    for (at, region, reason) in [
        (len - 512 + 60, "gpt backup header", "has a wrong checksum of its header"),
        (len - 512 - 16_384 + 3, "gpt backup entries", "has a wrong checksum of its entries"),
    ] {
        flip(&project, at);
        let (text, code) = told(&project);
        let damaged: Vec<&str> = text.lines().filter(|line| line.starts_with("  region `gpt")).collect();
        let moved = "  region `gpt backup header` (table): the backup of the GPT is at the end of the medium";
        assert_eq!((damaged, code), (vec![moved, &format!("  region `{region}` (table)")], 3), "{text}");
        let problem = format!("\n    the backup copy of the GPT, at the end of the medium, {reason}\n");
        assert!(text.contains(&problem), "{text}");
        flip(&project, at);
        assert_eq!(told(&project).1, 0);
    }
}
