//! What the program says about input that is wrong, and that nothing is left of an image that could not be made.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::privilege;
use crate::harness::project::{PROGRAM, Project, expect_failure, expect_no_image, succeed};
use crate::harness::tools;
use crate::harness::tools::{command, oracle};

/// `open(2)`.
const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// `assemble` after `change`, which must fail like this.
#[track_caller]
fn broken(change: impl FnOnce(&Project), stderr: &str) {
    let project = Project::new();
    change(&project);
    expect_no_image(&project, &[], 1, stderr);
}

/// `assemble` with another descriptor: `old` replaced by `new`.
#[track_caller]
fn broken_board(old: &str, new: &str, stderr: &str) {
    broken(|project| project.edit_board(old, new), stderr);
}

/// Bytes that cannot be compressed.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn missing_files_are_named_with_who_needs_them() {
    broken(
        |project| project.remove("output/images/Image"),
        "error: partition `boot` needs `Image`, which is not in `output/images`\n\
         hint: build it, or give the directory that has it with `--images`",
    );
    broken_board(
        "{ image = \"Image\" },",
        "{ image = \"Image\" }, { image = [\"demo.dtb\", \"*-demo.dtb\"], to = \"/demo.dtb\" },",
        "error: partition `boot` needs one of `demo.dtb`, `*-demo.dtb`, but none of them is in `output/images`\n\
         hint: build it, or give the directory that has it with `--images`",
    );
    broken(
        |project| project.remove("output/images/loader.bin"),
        "error: blob `loader` needs `loader.bin`, which is not in `output/images`\n\
         hint: build it, or give the directory that has it with `--images`",
    );
    for table in ["users", "devices"] {
        let file = format!("build/buildroot-fs/full_{table}_table.txt");
        broken(
            |project| project.remove(&format!("output/{file}")),
            &format!("error: `output` has no `{file}`\nhint: run: make O=`output` rootfs-common"),
        );
    }
}

#[test]
fn a_blob_that_is_too_large_or_another_file_is_refused() {
    broken(
        |project| {
            let mut bytes = vec![0; 2 << 20];
            bytes[4..12].copy_from_slice(b"DEMO.LDR");
            project.write("output/images/loader.bin", bytes);
        },
        "error: blob `loader` needs 2 MiB but has 1016 KiB before partition `boot`\n\
         hint: build a smaller one, or check that it is the right file for this board",
    );
    broken(
        |project| project.write("output/images/loader.bin", vec![0; 4096]),
        "error: blob `loader`: `loader.bin` has 00 00 00 00 00 00 00 00 at byte 4 but \"DEMO.LDR\" is expected\n\
         hint: check that it was built for this board",
    );
    broken(
        |project| project.write("output/images/loader.bin", "short"),
        "error: blob `loader`: `loader.bin` has the end of the file at byte 4 but \"DEMO.LDR\" is expected\n\
         hint: check that it was built for this board",
    );
}

#[test]
fn what_does_not_fit_is_told_with_both_numbers() {
    let project = Project::new();
    expect_no_image(
        &project,
        &["--size", "40 MiB"],
        1,
        "error: the layout of board `demo/board` needs 66 MiB but the disk has 40 MiB\n\
         hint: use a larger disk, or give a larger `--size`",
    );
    expect_no_image(
        &project,
        &["--size", "70000001"],
        1,
        "error: a disk of 66.8 MiB (70000001 bytes) is no whole number of sectors of 512 bytes\n\
         hint: give a size such as `64 MiB`",
    );
    expect_failure(
        &mut project.assemble(&["--size", "40 quarts"]),
        2,
        "error: invalid value '40 quarts' for '--size <SIZE>': `40 quarts` has the unknown unit `quarts`: use B, \
         KiB, MiB, GiB, TiB (1024), kB, MB, GB, TB (1000) or sectors (512)\n\n\
         For more information, try '--help'.",
    );
    let squashfs = "size = \"fit\"\nfilesystem = \"squashfs\"";
    broken(
        |project| {
            project.edit_board(squashfs, &squashfs.replace("fit", "64 KiB"));
            project.write("output/target/usr/share/noise.bin", noise(128 << 10));
        },
        "error: partition `system` needs 380 KiB for its content but has 64 KiB\n\
         hint: give the partition a larger size in the board descriptor, or put less into it",
    );
    broken_board(
        "size = \"fit\"\nslack = \"4 MiB\"",
        "size = \"256 KiB\"",
        "error: partition `rootfs` needs 2052 KiB for its content but has 256 KiB\n\
         hint: give the partition a larger size in the board descriptor, or put less into it",
    );
}

#[test]
fn overlapping_partitions_are_refused() {
    broken_board(
        "name = \"system\"\n",
        "name = \"system\"\nstart = \"20 MiB\"\n",
        "error: `boot` (bytes 1048576 to 42991616) overlaps `system` (bytes 20971520 to 22020096) by 1 MiB\n\
         hint: move one of them in the board descriptor",
    );
    broken_board(
        "name = \"system\"\n",
        "name = \"system\"\nstart = \"41984001\"\n",
        "error: `system` starts at byte 41984001, which is not a multiple of 512\n\
         hint: start it at a multiple of the alignment",
    );
    broken_board(
        "offset = \"8 KiB\"",
        "offset = \"0\"",
        "error: board `demo/board` breaks a rule: blob `loader` writes byte 444 but bytes 444 to 511 must stay\n  \
         rule `generic/partition-entries`: bytes 444 to 511 are the reserved word, the four partition entries and the \
         signature 55 aa\n  \
         source: UEFI Specification 2.10, table 5.1: PartitionRecord at offset 446, Signature at 510\n\
         hint: leave the range out of the blob with `skip`",
    );
}

#[test]
fn unknown_names_are_told_with_the_nearest_one() {
    let project = Project::new();
    let assemble = |board: &str, chain: &str| {
        let mut command = project.command(&["assemble", "--out", "out/disk.img", "--boards", "boards"]);
        command.args(["--source", "output", "--board", board, "--config", chain]);
        command
    };
    expect_failure(
        &mut assemble("demo/bord", "demo/site"),
        1,
        "error: unknown board `demo/bord`\nhint: did you mean `demo/board`?",
    );
    expect_failure(
        &mut assemble("nothing/like-it", "demo/site"),
        1,
        "error: unknown board `nothing/like-it`\nhint: `skiff-image boards list` shows all boards",
    );
    expect_failure(
        &mut assemble("demo/board", "demo/sight"),
        1,
        "error: unknown layer `demo/sight`, asked for by `--config`\nhint: did you mean `demo/site`?",
    );
    let mut by_variable = project.command(&["layers", "resolve"]);
    expect_failure(
        by_variable.env("SKIFF_CONFIG", "nothing/like-it"),
        1,
        "error: unknown layer `nothing/like-it`, asked for by `SKIFF_CONFIG`\n\
         hint: add the directory that holds it to SKIFF_EXTRA_CONFIGS_PATH, or correct the name",
    );
    project.write("workspaces/.config_default/skiff_config", "demo/sight\n");
    expect_failure(
        &mut project.command(&["layers", "resolve"]),
        1,
        "error: unknown layer `demo/sight`, asked for by `workspaces/.config_default/skiff_config`\n\
         hint: did you mean `demo/site`?",
    );
    expect_failure(
        &mut assemble("demo/board", "site"),
        1,
        "error: `site` is not the name of a layer: expected NAMESPACE/NAME of letters, digits, `_` and `-` (asked \
         for by `--config`)\n\
         hint: separate layers by commas or spaces, for example `pi/4,util/rootlogin`",
    );
    expect_failure(
        assemble("demo/board", "demo/site").args(["--arch", "arm"]),
        1,
        "error: board `demo/board` has no architecture `arm`; it has `arm64`\n\
         hint: check the layer chain the source was built with, or give `--arch`",
    );
}

#[test]
fn a_descriptor_that_does_not_parse_is_told_with_line_and_column() {
    const CHECK: &str =
        "hint: boards/README.md documents every key, and `skiff-image boards schema` prints them";
    let expect = |old: &str, new: &str, message: &str, hint: &str| {
        broken_board(old, new, &format!("error: `boards/demo/board.toml:{message}\n{hint}"));
    };
    expect(
        "label = \"boot\"",
        "lable = \"boot\"",
        "51:1`: unknown field `lable`, expected one of `name`, `number`, `start`, `size`, `slack`, `minimum`, `type`, \
         `active`, `attributes`, `filesystem`, `label`, `codec`, `block`, `update`, `image`, `optional`, `compression`, \
         `oci`, `file`",
        "hint: did you mean `label`?",
    );
    expect("size = \"40 MiB\"", "size = 40", "49:8`: invalid type: integer `40`, expected a string", CHECK);
    expect(
        "offset = \"8 KiB\"",
        "offset = \"8 KB\"",
        "15:10`: `8 KB` has the unknown unit `KB`: use B, KiB, MiB, GiB, TiB (1024), kB, MB, GB, TB (1000) or sectors \
         (512)",
        CHECK,
    );
    expect("[table]", "[table", "6:7`: unclosed table, expected `]`", CHECK);
    expect(
        "format = \"cpio\"",
        "format = \"cpoi\"",
        "27:10`: unknown variant `cpoi`, expected one of `squashfs`, `cpio`, `ext4`, `fat32`, `uboot-ramdisk`, \
         `uboot-script`, `text`, `grub-boot`, `grub-core`",
        "hint: did you mean `cpio`?",
    );
}

#[test]
fn a_descriptor_that_contradicts_itself_is_told() {
    let expect = |old: &str, new: &str, message: &str| {
        let hint = "boards/README.md documents every key, and `skiff-image boards schema` prints them";
        let stderr = format!("error: `boards/demo/board.toml`: {message}\nhint: {hint}");
        broken_board(old, new, &stderr);
    };
    let fit = "size = \"fit\"\nfilesystem = \"squashfs\"";
    expect(
        fit,
        &fit.replace("\"fit\"", "\"rest\"\nminimum = \"1 MiB\""),
        "partition `system`: size \"rest\" is only possible for the last partition",
    );
    expect(
        "{ artifact = \"boot.scr\" }",
        "{ artifact = \"boot.src\" }",
        "partition `boot`: a file names the artifact `boot.src`, which does not exist",
    );
    expect(
        "from = \"boot.cmd\"",
        "from = \"boot.txt\"",
        "artifact `boot.scr`: `from` names `boot.txt`, which is not an artifact above it",
    );
    expect(
        "label = \"rootfs\"",
        "label = \"boot\"",
        "partition `rootfs`: the label `boot` is already that of partition `boot`",
    );
    expect(
        "files = [\"loader.bin\"]",
        "artifact = \"loader.bin\"",
        "blob `loader`: it is made of the artifact `loader.bin`, which does not exist",
    );
    expect(
        "files = [\"loader.bin\"]\n",
        "files = [\"loader.bin\"]\nartifact = \"boot.scr\"\n",
        "blob `loader`: a blob needs either `files` or `artifact`",
    );
    expect("files = [\"loader.bin\"]", "files = []", "blob `loader`: `files` is empty");
    expect("name = \"system\"", "name = \"boot\"", "partition `boot`: the name is used twice");
    expect("minimum = \"16 MiB\"\n", "", "partition `persist`: size \"rest\" needs `minimum`");
    expect("arch = [\"arm64\"]", "arch = []", "arch: at least one architecture is needed");
    expect(
        "filesystem = \"fat32\"\n",
        "filesystem = \"fat32\"\ncodec = \"xz\"\n",
        "partition `boot`: `codec` and `block` mean nothing but for squashfs",
    );
    expect("subtree = \"/usr/lib/modules\"\n", "", "artifact `modules.squashfs`: `subtree` is missing");
    expect(
        "compression = \"lz4\"",
        "compression = \"lzo\"",
        "artifact `rootfs.cpio.lz4`: `lzo` is not a compression: use none, gzip, zstd, xz or lz4, with a level if you \
         like: `zstd:19`",
    );
    expect(
        "codec = \"zstd:9\"\n\n",
        "codec = \"zstd:99\"\n\n",
        "artifact `modules.squashfs`: `zstd` has no level 99: its levels are 1 to 22",
    );
    expect("text = \"DEMO.LDR\"", "hex = \"0x12\"", "blob `loader`: magic `0x12` is not hexadecimal");
    expect(
        "kind = \"mbr\"",
        "kind = \"mbr\"\nsector-size = 1024",
        "table: sector-size is 1024 but must be 512 or 4096",
    );
}

#[test]
fn what_a_partition_cannot_hold_is_told_with_its_name() {
    broken_board(
        "label = \"boot\"",
        "label = \"a label that is too long\"",
        "error: partition `boot`: `a label that is too long` cannot be a FAT label: it has more than 11 bytes\n\
         hint: use up to 11 letters, digits, `-` or `_`",
    );
    broken_board(
        "subtree = \"/usr/lib/modules\"",
        "subtree = \"/usr/lib/module\"",
        "error: artifact `modules.squashfs` is made of `/usr/lib/module`, which is not a directory of the root \
         filesystem\n\
         hint: build the kernel modules, or change the board",
    );
}

#[test]
fn an_image_without_what_it_is_for_is_refused() {
    let project = Project::new();
    let modules = "output/target/usr/lib/modules";
    let refusal = |found: &str, hint: &str| {
        let message = format!(
            "error: artifact `modules.squashfs` would {found}\n\
             hint: {hint}"
        );
        expect_failure(&mut project.with_inputs(&["assemble"], &["--out", "out/disk.img"]), 1, &message);
        assert_eq!(fs::read_dir(project.path("out")).unwrap().count(), 0, "nothing is written");
    };
    let build = "build what belongs there, or change the board";
    fs::remove_dir_all(project.path(modules)).unwrap();
    fs::create_dir_all(project.path(modules).join("6.6.0-demo/kernel")).unwrap();
    refusal("be empty: `/usr/lib/modules` of the root filesystem has no file", build);
    let keys = "subtree = \"/usr/lib/modules\"\nholds = \"*/modules.dep\"\ninstead-of = \"demo/taker\"\n";
    project.edit_board("subtree = \"/usr/lib/modules\"\n", keys);
    // What SkiffOS' hook leaves.
    project.write(&format!("{modules}/MOUNTPOINT"), "Module image will be mounted here.\n");
    let only = "be without `*/modules.dep`: `/usr/lib/modules` of the root filesystem has only `/MOUNTPOINT`";
    refusal(only, build);
    project.script("configs/demo/taker/hooks/pre.sh", "");
    project.write("configs/demo/site/metadata/dependencies", "demo/taker\n");
    refusal(
        only,
        "`hooks/pre.sh` of layer `demo/taker` has moved the files away: run `skiff-image buildroot linux-reinstall`, \
         then `skiff-image compile` without Buildroot's own images, which leaves that hook out",
    );
    project.write(&format!("{modules}/6.6.0-demo/modules.dep"), "kernel/can.ko:\n");
    succeed(&mut project.with_inputs(&["assemble"], &["--out", "out/disk.img"]));
}

#[test]
fn boot_texts_are_checked() {
    let known = "known names: arch, board, cmdline, disk-id, partuuid.boot, partuuid.persist, partuuid.rootfs, \
         partuuid.system, uuid.boot, uuid.persist, uuid.rootfs";
    broken_board(
        "setenv bootargs \"@{cmdline}\"",
        "setenv bootargs \"@{comandline}\"",
        &format!(
            "error: template `boot.cmd` of board `demo/board`:1:18: `@{{comandline}}` has no value\n\
             hint: did you mean `@{{cmdline}}`? {known}"
        ),
    );
    broken_board(
        "@{partuuid.system}",
        "@{partuuid.sytem}",
        &format!(
            "error: variable `cmdline` of board `demo/board`:1:29: `@{{partuuid.sytem}}` has no value\n\
             hint: did you mean `@{{partuuid.system}}`? {known}"
        ),
    );
}

#[test]
fn tables_are_checked() {
    const USERS: &str = "output/build/buildroot-fs/full_users_table.txt";
    const DEVICES: &str = "output/build/buildroot-fs/full_devices_table.txt";
    broken(
        |project| {
            let lines = "# name uid group gid\nsensor 1000 sensor 1000 * - - - one\nmotor 1000 motor 1001 * - - - two\n";
            project.write(USERS, lines);
        },
        &format!(
            "error: `{USERS}:3`: uid 1000 is given to `motor`, but line 2 gives it to `sensor`\n\
             hint: give one of them another id, or -1 for the next free one"
        ),
    );
    let broken_table = |old: &str, new: &str, message: &str| {
        broken(|project| project.edit(DEVICES, old, new), &format!("error: `{DEVICES}:{message}"));
    };
    broken_table("/root d 700", "/root d 800", "2`: mode `800` is not an octal number");
    broken_table(
        "/usr/bin/app f",
        "/usr/bin/ap f",
        "4`: file `/usr/bin/ap` is not there: `/usr/bin/ap` does not exist in the tree\n\
         hint: use type `F` for a file that may be missing, or build the package that installs it",
    );
    broken_table(
        "755 sensor",
        "755 censor",
        "6`: user `censor` is not in `/etc/passwd` of the tree\n\
         hint: add the user to a users table, or write its number",
    );
}

#[test]
fn layers_in_conflict_are_both_named() {
    broken(
        |project| {
            project.write("configs/demo/first/root_overlay/opt/tool/run", "x");
            project.write("configs/demo/site/root_overlay/opt/tool", "y");
            project.write("configs/demo/site/metadata/dependencies", "demo/first\n");
        },
        "error: layer `demo/site` puts a file at `/opt/tool`, where layer `demo/first` has a directory that is not \
         empty (entries: 1)\n\
         hint: rename `/opt/tool` in the root_overlay of `demo/site`, or make it a directory",
    );
    broken(
        |project| project.write("configs/demo/site/root_overlay/bin/tool", "x"),
        "error: layer `demo/site` puts a directory at `/bin`, where source `output/target` has a symbolic link to \
         `/usr/bin`\n\
         hint: put it under `/usr/bin` in the root_overlay of `demo/site`",
    );
}

#[test]
fn names_that_fat_cannot_hold_are_told_with_their_origins() {
    let broken_tree = |name: &str, stderr: &str| {
        broken(
            |project| {
                project.write(&format!("output/images/overlays/{name}"), "x");
                project
                    .edit_board("{ image = \"Image\" },", "{ image = \"Image\" }, { tree = \"overlays\" },");
            },
            stderr,
        );
    };
    broken_tree(
        "image",
        "error: `/Image` of `images/Image` and `/image` of `images/overlays/image` are the same name on the FAT of \
         partition `boot`\n\
         hint: rename one of them: FAT ignores case",
    );
    broken_tree(
        "Image",
        "error: `/Image` is placed twice: by `images/Image` and by `images/overlays/Image`\n\
         hint: exclude it from the directory that brings it along",
    );
    broken_tree(
        "a:b",
        "error: partition `boot`: `/a:b` cannot be stored on FAT: its name has the character `:`\n\
         hint: rename the file, or put it on a partition with ext4",
    );
}

#[test]
fn missing_flags_are_told() {
    let project = Project::new();
    let expect = |args: &[&str], stderr: &str| {
        expect_failure(&mut project.command(&[&["assemble"], args].concat()), 1, stderr);
    };
    expect(
        &["--config", "demo/site"],
        "error: no board: none is given, and no layer of the chain `demo/site` names one\n\
         hint: `skiff-image boards list` shows all boards; `--board` takes one",
    );
    expect(
        &[],
        "error: no board: neither a board nor a chain of layers is given\n\
         hint: set SKIFF_CONFIG, or name a board: `skiff-image boards list` shows all boards; `--board` takes one",
    );
    expect(
        &["--board", "virt/qemu"],
        "error: no source: `workspaces/default` does not exist and no other is given\n\
         hint: set SKIFF_WORKSPACE, or give the output directory of Buildroot (O=...) with `--source`",
    );
    let buildroot = "hint: give the directory that is O= for Buildroot, workspaces/NAME in SkiffOS";
    expect(
        &["--board", "virt/qemu", "--source", "nowhere"],
        &format!("error: Buildroot output `nowhere` does not exist\n{buildroot}"),
    );
    expect(
        &["--board", "virt/qemu", "--source", "configs"],
        &format!("error: `configs` is not a Buildroot output: it has no `.config`\n{buildroot}"),
    );
    expect(
        &["--boards", "nowhere", "--board", "virt/qemu"],
        "error: cannot read the directory `nowhere`: No such file or directory (os error 2)\n\
         hint: check the name and the directory it is in",
    );
}

#[test]
fn a_source_for_another_architecture_is_refused() {
    broken(
        |project| project.write("output/.config", "BR2_x86_64=y\n"),
        "error: board `demo/board` has no architecture `x86_64`; it has `arm64`\n\
         hint: check the layer chain the source was built with, or give `--arch`",
    );
}

#[test]
fn a_circle_of_layers_is_told() {
    let project = Project::new();
    project.write("configs/demo/site/metadata/dependencies", "demo/other\n");
    project.write("configs/demo/other/metadata/dependencies", "\ndemo/site\n");
    let circle = "error: layers depend on each other: demo/site -> demo/other -> demo/site\n\
                  hint: remove the dependency in `configs/demo/other/metadata/dependencies:2`, or take SkiffOS' order with `--skiffos-order`";
    expect_no_image(&project, &[], 1, circle);
    let mut by_variable = project.command(&["assemble", "--board", "virt/qemu", "--source", "output"]);
    expect_failure(by_variable.env("SKIFF_CONFIG", "demo/site"), 1, circle);
}

#[test]
fn a_cut_archive_is_told() {
    if !oracle("a_cut_archive_is_told", "tar") {
        return;
    }
    let project = Project::new();
    let tar = |args: &[&str]| {
        let status = command("tar").args(args).current_dir(project.path("output")).status().unwrap();
        assert!(status.success());
    };
    let archive = ["images/rootfs.tar", "--sort=name", "-C", "target", "."];
    tar(&[&["--format=posix", "-cf"], archive.as_slice()].concat());
    let whole = fs::read(project.path("output/images/rootfs.tar")).unwrap();
    project.write("output/images/rootfs.tar", &whole[..100_000]);
    let mut command = project.command(&["assemble", "--out", "out/disk.img", "--boards", "boards"]);
    command.args(["--board", "demo/board", "--source", "output/images/rootfs.tar"]);
    expect_failure(
        &mut command,
        1,
        "error: `output/images/rootfs.tar` is truncated: the member at byte 29696 (`/usr/bin/app`) ends at byte 161280, the file at byte 100000\n\
         hint: make the archive again, or copy it again",
    );
    tar(&[&["-czf"], archive.as_slice()].concat());
    expect_failure(
        &mut command,
        1,
        "error: `output/images/rootfs.tar` is compressed with gzip\n\
         hint: decompress it first: gzip -d `output/images/rootfs.tar`",
    );
    assert!(project.listing("out").is_empty());
}

#[test]
fn a_manifest_that_is_missing_or_of_another_version_is_told() {
    let project = Project::new();
    let verify = || project.command(&["verify", "out/disk.img"]);
    let none = "error: cannot open `out/disk.img`: No such file or directory (os error 2)\n\
                hint: check the name and the directory it is in";
    expect_failure(&mut verify(), 1, none);
    expect_failure(&mut project.command(&["inspect", "out/disk.img"]), 1, none);
    project.write("out/disk.img", vec![0; 512]);
    expect_failure(
        &mut verify(),
        1,
        "error: the manifest `out/disk.img.manifest.json` does not exist\n\
         hint: `assemble` and `flash` write one; name it with `--manifest`",
    );
    project.write("out/disk.img.manifest.json", "{ \"manifest\": 2, \"new\": true }");
    expect_failure(
        &mut verify(),
        1,
        "error: `out/disk.img.manifest.json` has manifest version 2 but this program reads version 1\n\
         hint: use the version of skiff-image that made the image",
    );
    project.write("out/disk.img.manifest.json", "{\n  \"manifest\": 1, \"new\": true }");
    let json = "hint: give the .manifest.json that `assemble` wrote beside the image";
    expect_failure(
        &mut verify(),
        1,
        &format!(
            "error: `out/disk.img.manifest.json:2:22`: unknown field `new`, expected one of `manifest`, `generator`, \
             `board`, `arch`, `seed`, `timestamp`, `partuuid`, `disk_len`, `sector_size`, `updated`, `regions`, `artifacts`\n{json}"
        ),
    );
    project.write("out/disk.img.manifest.json", "\u{0}");
    let stderr = format!("error: `out/disk.img.manifest.json:1:1`: expected value\n{json}");
    expect_failure(&mut verify(), 1, &stderr);
}

#[test]
fn a_place_that_cannot_be_written_is_refused() {
    let project = Project::new();
    let assemble = |out: &str| project.with_inputs(&["assemble", "--quiet", "--out", out], &[]);
    expect_failure(
        &mut assemble("nowhere/disk.img"),
        1,
        "error: cannot create a file in `nowhere`: No such file or directory (os error 2)\n\
         hint: check the name and the directory it is in",
    );
    let hint = "hint: choose the name of a file";
    expect_failure(
        &mut assemble("out"),
        4,
        &format!("refused: `out` is a directory, not a regular file\n{hint}"),
    );
    expect_failure(
        &mut assemble("/dev/null"),
        4,
        &format!("refused: `/dev/null` is a character device, not a regular file\n{hint}"),
    );
    for suffix in ["bmap", "manifest.json"] {
        let taken = format!("out/disk.img.{suffix}");
        fs::create_dir(project.path(&taken)).unwrap();
        expect_failure(
            &mut assemble("out/disk.img"),
            4,
            &format!("refused: `{taken}` is a directory, not a regular file\n{hint}"),
        );
        assert_eq!(project.listing("out").len(), 1, "no image without its {suffix}");
        fs::remove_dir(project.path(&taken)).unwrap();
    }
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    if !privilege::root("a_full_disk_leaves_nothing_behind") {
        return;
    }
    let project = Project::new();
    let out = project.path("out");
    let mounted = command("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(&out).status();
    assert!(mounted.is_ok_and(|status| status.success()), "a tmpfs can be mounted");
    let outcome = std::panic::catch_unwind(|| {
        expect_no_image(
            &project,
            // Of several filesystems that are written at once, any can be the one that finds the disk full.
            &["--quiet", "--threads", "1"],
            1,
            "error: cannot write 1 MiB at offset 49283072 of `out/disk.img`: No space left on device (os error 28)\n\
 hint: free space on the filesystem of `out/disk.img`, or write to another one",
        );
    });
    assert!(tools::unmount(&out));
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn what_the_user_may_not_read_or_write_is_told() {
    let project = Project::new();
    let secret = project.path("output/target/usr/bin/app");
    fs::set_permissions(project.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = project.assemble(&["--quiet"]);
    if rustix::process::geteuid().is_root() {
        // The program may be where nobody else can go, so a copy of it is run.
        fs::copy(PROGRAM, project.path("program")).unwrap();
        command = rerun(&command, &project.path("program"));
        command.uid(65_534).gid(65_534);
    }
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    expect_failure(
        &mut command,
        1,
        "error: cannot open `output/target/usr/bin/app`: Permission denied (os error 13)\n\
 hint: make it readable: chmod u+r `output/target/usr/bin/app`",
    );
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(project.path("out"), fs::Permissions::from_mode(0o555)).unwrap();
    expect_failure(
        &mut command,
        1,
        "error: cannot create a file in `out`: Permission denied (os error 13)\n\
 hint: give the user that runs this command access to `out`",
    );
    assert!(project.listing("out").is_empty());
}

/// The same command with another program.
fn rerun(command: &Command, program: &Path) -> Command {
    let mut other = Command::new(program);
    other.args(command.get_args()).current_dir(command.get_current_dir().unwrap()).env_clear();
    other.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    other
}

/// Stops the program between scan and read by a pipe that it takes for a text of a layer.
fn change_between_scan_and_read(change: impl FnOnce(&Path), stderr: &str) {
    let project = Project::new();
    let first = "[[artifact]]\nname = \"first\"\nformat = \"text\"\nrules = \"plain\"\ntemplate = \"\"\nlayer-files = [\"pipe\"]\n\n";
    project.edit_board("[[artifact]]\n", &format!("{first}[[artifact]]\n"));
    let pipe = project.path("configs/demo/site/pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()));
    let mut command = project.assemble(&["--quiet"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut writer = loop {
        // Opens only when the program has opened the other end.
        match File::options().write(true).custom_flags(O_NONBLOCK).open(&pipe) {
            Ok(writer) => break writer,
            Err(_) => assert!(child.try_wait().unwrap().is_none(), "the program reads the pipe"),
        }
        std::thread::yield_now();
    };
    change(&project.path("output/target/usr/share/model.bin"));
    writer.write_all(b"text").unwrap();
    drop(writer);
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap().trim_end(), stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(project.listing("out").is_empty());
}

#[test]
fn a_source_that_changes_under_the_run_is_told() {
    change_between_scan_and_read(
        |file| fs::write(file, "short").unwrap(),
        "error: `output/target/usr/share/model.bin` changed while it was read: 131072 bytes were there when it was scanned, 5 now\n\
hint: wait until the build that writes the tree has ended",
    );
    change_between_scan_and_read(
        |file| fs::remove_file(file).unwrap(),
        "error: cannot open `output/target/usr/share/model.bin`: No such file or directory (os error 2)\n\
hint: run the build that makes this file again",
    );
}
