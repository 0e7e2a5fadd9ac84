//! Every verb of the program: what it prints where, as text and as JSON, and what it writes.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::harness::project;
use crate::harness::project::{NAMES, Project, expect_failure, json, run, succeed};
use crate::harness::tools::{command, oracle};
use serde_json::Value;

const VERBS: [&str; 16] = [
    "assemble", "plan", "flash", "verify", "inspect", "explain", "boards", "layers", "mkfs", "cache", "demo",
    "status", "cmd", "shell", "env", "ota",
];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("`{value}` is a text"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("`{value}` is a number"))
}

#[test]
fn help_tells_all_verbs_and_each_verb_has_help() {
    let project = Project::new();
    let (help, stderr) = succeed(&mut project.command(&["--help"]));
    assert_eq!(stderr, "");
    for verb in VERBS {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{verb} ")));
        assert!(line.is_some_and(|line| line.trim().len() > verb.len() + 10), "{verb}: {help}");
        let (of_verb, _) = succeed(&mut project.command(&[verb, "--help"]));
        assert!(of_verb.contains(&format!("Usage: skiff-image {verb}")), "{of_verb}");
        assert!(of_verb.contains("--json") && of_verb.contains("--quiet"), "{of_verb}");
    }
    assert!(help.contains("Exit codes: 0 done, 1 failed, 2 usage, 3 verification mismatch, 4"), "{help}");
    let (version, _) = succeed(&mut project.command(&["--version"]));
    assert_eq!(version, concat!("skiff-image ", env!("CARGO_PKG_VERSION"), "\n"));
    let (stdout, _, code) = run(&mut project.command(&["no-such-verb"]));
    assert_eq!((stdout.as_str(), code), ("", 2));
}

#[test]
fn plan_writes_nothing_and_its_steps_are_sorted_disjoint_and_inside() {
    let project = Project::new();
    fs::create_dir(project.path("tmp")).unwrap();
    let before = project.listing("");
    for size in [None, Some("96MiB")] {
        let more: Vec<&str> = size.iter().flat_map(|size| ["--size", size]).collect();
        let plan = json(project.with_inputs(&["plan"], &more).env("TMPDIR", project.path("tmp")));
        let len = number(&plan["disk"]["len"]);
        assert!(size.is_none() || len == 96 << 20, "{len}");
        let mut end = 0;
        for step in plan["steps"].as_array().unwrap() {
            assert!(number(&step["offset"]) >= end, "{plan:#}");
            end = number(&step["offset"]) + number(&step["len"]);
            assert!(end <= len, "{plan:#}");
        }
        let names: Vec<&str> =
            plan["steps"].as_array().unwrap().iter().map(|step| text(&step["name"])).collect();
        assert_eq!(names, ["boot code", "mbr", "loader", "boot", "system", "rootfs", "persist"]);
    }
    let (shown, _) = succeed(&mut project.with_inputs(&["plan"], &[]));
    for expected in
        ["board demo/board (arm64), disk 66 MiB", "loader*", "#1 fat32 `boot`", "#4 ext4 `persist`"]
    {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(shown.contains("\nMBR ") && shown.contains("#2 squashfs, "), "{shown}");
    assert_eq!(project.listing(""), before);
}

#[test]
fn a_plan_counts_in_sectors_of_the_board() {
    let project = Project::new();
    let first_sector = |project: &Project| {
        let (shown, _) = succeed(&mut project.with_inputs(&["plan"], &[]));
        let line = shown.lines().find(|line| line.contains("#1 fat32")).unwrap().to_owned();
        line.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(first_sector(&project), "2048");
    project.edit_board("kind = \"mbr\"", "kind = \"mbr\"\nsector-size = 4096");
    project.edit_board("size = \"40 MiB\"", "size = \"300 MiB\"");
    assert_eq!(first_sector(&project), "256");
}

#[test]
fn assemble_writes_what_was_planned_and_verify_and_inspect_find_it() {
    let project = Project::new();
    let plan = json(&mut project.with_inputs(&["plan"], &[]));
    let (stdout, stderr) = succeed(&mut project.assemble(&[]));
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(
        lines[0].starts_with("out/disk.img: 66 MiB, ") && lines[0].ends_with(" read back and right"),
        "{stdout}"
    );
    assert_eq!(lines[1..], ["out/disk.img.bmap", "out/disk.img.manifest.json"]);
    assert!(stderr.starts_with("write\nsync\nread back: "), "progress is told on stderr: {stderr}");
    let names: Vec<String> = project
        .listing("out")
        .keys()
        .map(|path| path.file_name().unwrap().to_str().unwrap().into())
        .collect();
    assert_eq!(names, NAMES);

    let made = json(&mut project.assemble(&["--quiet", "--zst"]));
    assert_eq!((number(&made["size"]), &made["zst"]), (66 << 20, &"out/disk.img.zst".into()));
    let packed = fs::read(project.path("out/disk.img.zst")).unwrap();
    assert!(zstd::decode_all(packed.as_slice()).unwrap() == fs::read(project.path("out/disk.img")).unwrap());

    let (shown, _) = succeed(&mut project.command(&["inspect", "out/disk.img"]));
    let id = text(&plan["disk"]["id"]);
    assert!(shown.starts_with(&format!("out/disk.img: 66 MiB, MBR {id}\n")), "{shown}");
    for expected in ["\n  1  40 MiB from 1 MiB  fat32 `boot` ", "  squashfs zstd, ", "  ext4 `persist` "] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let inspected = json(&mut project.command(&["inspect", "out/disk.img"]));
    assert_eq!(inspected["table"]["partitions"].as_array().unwrap().len(), 4);

    let verified = json(&mut project.command(&["verify", "out/disk.img"]));
    assert_eq!((&verified["damaged"], &verified["compared"]), (&Value::Array(vec![]), &made["written"]));
    let (shown, _) = succeed(&mut project.command(&["verify", "out/disk.img"]));
    assert!(shown.ends_with(" compared, all as written\n"), "{shown}");
}

#[test]
fn a_layer_chooses_how_squashfs_is_made() {
    let project = Project::new();
    let choice = "[squashfs]\ncodec = \"lz4\"\nblock = \"128 KiB\"\n";
    project.write("configs/demo/site/image.toml", choice);
    succeed(&mut project.assemble(&[]));
    let (shown, _) = succeed(&mut project.command(&["inspect", "out/disk.img"]));
    assert!(shown.contains("squashfs lz4, blocks of 128 KiB"), "{shown}");
    project.write("configs/demo/site/image.toml", choice.replace("128 KiB", "100 KiB"));
    project::expect_failure(
        &mut project.assemble(&["--quiet", "--force"]),
        1,
        "error: `configs/demo/site/image.toml`: squashfs: a block of 100 KiB is not possible: it is a power of two from 4 KiB to 1 MiB\n\
         hint: boards/README.md documents every key, and `skiff-image boards schema` prints them",
    );
}

#[test]
fn an_image_that_is_cut_off_is_told() {
    let project = Project::new();
    succeed(&mut project.assemble(&["--quiet"]));
    let image = fs::File::options().write(true).open(project.path("out/disk.img")).unwrap();
    image.set_len(45 << 20).unwrap();
    let (shown, _) = succeed(&mut project.command(&["inspect", "out/disk.img"]));
    assert!(shown.contains("\ncut off: partition 4 ends at 66 MiB, behind the end of it"), "{shown}");
    let inspected = json(&mut project.command(&["inspect", "out/disk.img"]));
    let missing = &inspected["cut_off"].as_array().unwrap().last().unwrap()["need"];
    assert_eq!(number(missing), 66 << 20);
    let (stdout, stderr, code) = run(&mut project.command(&["verify", "out/disk.img"]));
    assert_eq!((stdout.as_str(), code), ("", 3));
    assert_eq!(
        stderr,
        "error: `out/disk.img` has 45 MiB but the manifest is about a disk of 66 MiB\n\
         hint: check that it is the right image or device\n"
    );
}

#[test]
fn verify_names_the_file_that_was_hit_and_exits_with_3() {
    let project = Project::new();
    succeed(&mut project.assemble(&["--quiet"]));
    let kernel = fs::read(project.path("output/images/Image")).unwrap();
    let mut image = fs::read(project.path("out/disk.img")).unwrap();
    let at = (0..image.len()).step_by(512).find(|at| image[*at..].starts_with(&kernel)).unwrap();
    image[at + 1000] ^= 1;
    fs::write(project.path("out/disk.img"), image).unwrap();
    let (stdout, stderr, code) = run(&mut project.command(&["verify", "--quiet", "out/disk.img"]));
    assert_eq!(code, 3, "{stdout}{stderr}");
    assert!(stdout.contains("region `boot` (fat32)") && stdout.contains("`/Image`"), "{stdout}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    let (stdout, _, code) = run(&mut project.command(&["verify", "--json", "--quiet", "out/disk.img"]));
    let verdict: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, verdict["damaged"].as_array().unwrap().len()), (3, 1));
}

#[test]
fn quiet_leaves_results_and_errors() {
    let project = Project::new();
    let (_, stderr) = succeed(project.assemble(&["--quiet"]).env_remove("SOURCE_DATE_EPOCH"));
    assert_eq!(stderr, "");
    let (_, stderr) = succeed(project.assemble(&[]).env_remove("SOURCE_DATE_EPOCH"));
    assert!(stderr.starts_with("SOURCE_DATE_EPOCH is not set: all timestamps are 1980-01-01\n"), "{stderr}");
    expect_failure(
        &mut project.command(&["--quiet", "boards", "show", "virt/qemo"]),
        1,
        "error: unknown board `virt/qemo`\nhint: did you mean `virt/qemu`?",
    );
    let (stdout, stderr, code) = run(&mut project.command(&["--json", "boards", "show", "virt/qemo"]));
    let error: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!((stdout.as_str(), code), ("", 1));
    assert_eq!(error["error"], "unknown board `virt/qemo`");
    assert_eq!((&error["hint"], &error["exit_code"]), (&"did you mean `virt/qemu`?".into(), &1.into()));
}

#[test]
fn boards_are_listed_shown_and_checked() {
    let project = Project::new();
    let (list, stderr) = succeed(&mut project.command(&["boards", "list", "--boards", "boards"]));
    assert_eq!(stderr, "");
    for name in ["demo/board", "odroid/xu", "orangepi/zero", "pi/4", "virt/qemu"] {
        assert!(list.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {list}");
    }
    let lines: Vec<&str> = list.lines().collect();
    let claims = |name: &str| {
        let first = lines.iter().position(|line| line.starts_with(&format!("{name} "))).unwrap();
        lines[first + 2].trim()
    };
    assert_eq!(claims("demo/board"), "unproven");
    assert_eq!(claims("orangepi/zero"), "L1, L2:u-boot-sunxi, L3:orangepi-pc");
    assert!(claims("chip/r8").starts_with("refused: it boots from NAND flash"), "{list}");
    let table = ["boards", "list", "--boards", "boards", "--markdown"];
    let (table, _) = succeed(&mut project.command(&table));
    assert!(
        table.starts_with("| board | what it is | table | root | proof |\n|---|---|---|---|---|\n"),
        "{table}"
    );
    let demo = "| `demo/board` | Synthetic board of `skiff-image demo`: one filesystem of each kind | MBR | boots \
                nothing by itself | unproven |";
    assert!(table.lines().any(|line| line == demo), "{table}");
    let rows = json(&mut project.command(&["boards", "list", "--boards", "boards"]));
    let demo = rows.as_array().unwrap().iter().find(|row| row["name"] == "demo/board").unwrap();
    assert_eq!(demo["arch"][0], "arm64");

    let (shown, _) = succeed(&mut project.command(&["boards", "show", "demo/board", "--boards", "boards"]));
    assert_eq!(shown, include_str!("../../fixtures/demo/board.toml"));
    let board = json(&mut project.command(&["boards", "show", "demo/board", "--boards", "boards"]));
    assert_eq!(board["partitions"].as_array().unwrap().len(), 4);

    let (checked, _) = succeed(&mut project.command(&["boards", "check"]));
    let boards = json(&mut project.command(&["boards", "list"])).as_array().unwrap().len();
    assert_eq!(checked.lines().last(), Some(format!("{boards} boards: ok").as_str()));
    let check = || project.command(&["boards", "check", "demo/board", "--boards", "boards"]);
    assert_eq!(succeed(&mut check()).0, "board demo/board: ok, 16 rules of generic\n");
    project.edit_board("name = \"rootfs\"\n", "name = \"rootfs\"\nstart = \"41 MiB\"\n");
    project.edit_board("name = \"system\"\nsize = \"fit\"", "name = \"system\"\nsize = \"2 MiB\"");
    expect_failure(
        &mut check(),
        1,
        "error: `boards/demo/board.toml`: `system` (bytes 42991616 to 45088768) overlaps `rootfs` (bytes 42991616 to \
         47185920) by 2 MiB\n\
         hint: move one of them in the board descriptor",
    );
}

#[test]
fn a_project_is_found_from_below_and_its_absence_is_told() {
    let project = Project::new();
    let below = project.path("output/target/etc");
    let (listed, _) = succeed(project.command(&["layers", "list"]).current_dir(&below));
    assert!(listed.starts_with("demo/site  "), "{listed}");
    let (plan, _) = succeed(
        project
            .command(&[
                "plan",
                "--boards",
                "../../../boards",
                "--board",
                "demo/board",
                "--config",
                "demo/site",
            ])
            .args(["--source", "../../../output"])
            .current_dir(&below),
    );
    assert_eq!(plan, succeed(&mut project.with_inputs(&["plan"], &[])).0);
    let bare = Project::bare();
    fs::create_dir_all(bare.path("configs/empty")).unwrap();
    for verb in [&["layers", "list"][..], &["layers", "check", "--buildroot", "."]] {
        let told = format!(
            "error: there are no layers: neither `{}` nor a directory above it has `configs/`\n\
             hint: go to the directory of a project, or name directories with layers in SKIFF_EXTRA_CONFIGS_PATH, or \
             give its directory with `--root`",
            bare.root().canonicalize().unwrap().display()
        );
        expect_failure(&mut bare.command(verb), 1, &told);
    }
}

/// An empty answer would look like an answer.
#[test]
fn verbs_about_a_chain_need_one() {
    let project = Project::new();
    let told = "error: no chain of layers is given, and the workspace `default` remembers none\n\
                hint: `skiff-image layers list` shows the layers; set SKIFF_CONFIG, for example to \
                `pi/4,util/rootlogin`, or give `--config`";
    for verb in [
        &["layers", "resolve"][..],
        &["layers", "resolve", "--compat"],
        &["config", "explain", "BR2_INIT_SYSTEMD"],
        &["config", "list"],
        &["config", "diff"],
    ] {
        expect_failure(&mut project.command(verb), 1, told);
    }
}

#[test]
fn a_chain_that_is_for_another_board_is_told() {
    let project = Project::new();
    project.write("configs/demo/board/metadata/description", "The board");
    project.write("configs/other/board/metadata/description", "Another board");
    let demo = project.read("boards/demo/board.toml");
    project.write("boards/other/board.toml", demo);
    let told = "warning: the board is `demo/board` but the chain of layers is for `other/board`: kernel, boot loader \
                and device trees of another board do not start this one\n";
    let told_of = |chain: &str| {
        let mut command = project.command(&["plan", "--boards", "boards", "--board", "demo/board"]);
        succeed(command.args(["--source", "output", "--config", chain])).1
    };
    assert!(told_of("other/board").contains(told));
    for right in ["demo/board", "demo/board,other/board", "demo/site"] {
        assert!(!told_of(right).contains("the chain of layers is for"), "{right}");
    }
}

#[test]
fn layers_are_listed_and_resolved_dependencies_first() {
    let project = Project::new();
    project.write("configs/demo/base/metadata/description", "Below all\n");
    project.write("configs/demo/hidden/metadata/unlisted", "");
    project.write("configs/demo/site/metadata/dependencies", "demo/base\n");
    project.write("overrides/root_overlay/etc/own", "x");
    let layers = |args: &[&str]| succeed(&mut project.command(&[&["layers"], args].concat())).0;
    assert_eq!(layers(&["list"]), "demo/base  Below all\ndemo/site  Settings of one site\n");
    assert!(layers(&["list", "--all"]).contains("demo/hidden\n"));
    let resolved = layers(&["resolve", "--config", "demo/site"]);
    let names: Vec<&str> = resolved.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["demo/base", "demo/site", "overrides"]);
    let rows = json(&mut project.command(&["layers", "resolve", "--config", "demo/site"]));
    assert_eq!((&rows[1]["path"], &rows[1]["root_overlay"]), (&"configs/demo/site".into(), &true.into()));
}

#[test]
fn explain_answers_in_one_line() {
    let project = Project::new();
    project.write("configs/demo/site/root_overlay/usr/bin/app", "replaced");
    project.write("configs/demo/site/root_overlay/var/log/site", "x");
    project.write("output/target/run/lock", "x");
    project.edit(
        "output/build/buildroot-fs/full_devices_table.txt",
        "/root d",
        "/var/log/site f 640 sensor sensor - - - - -\n/root d",
    );
    let explain = |path: &str| succeed(&mut project.with_inputs(&["explain", path], &[])).0;
    let first = |path: &str| explain(path).lines().next().unwrap().to_owned();
    let table = "device table `output/build/buildroot-fs/full_devices_table.txt";
    assert_eq!(
        explain("/bin/app"),
        format!(
            "/usr/bin/app: from layer `demo/site`, which shadows package `app`; mode 4755 from {table}:5`; owner 0:0 \
             from layer `demo/site`\n  \
             file of 8 bytes\n  \
             created as file        by package `app`\n  \
             file replaced by file  by layer `demo/site`\n  \
             mode 0644 -> 4755      by {table}:5`\n"
        )
    );
    assert_eq!(
        first("/var/log/site"),
        format!(
            "/var/log/site: from layer `demo/site`; mode 0640 from {table}:2`; owner 1000:1000 from {table}:2`"
        )
    );
    assert_eq!(
        first("/home/sensor"),
        "/home/sensor: from users table `output/build/buildroot-fs/full_users_table.txt:2`; mode 0755 from users \
         table `output/build/buildroot-fs/full_users_table.txt:2`; owner 1000:1000 from users table \
         `output/build/buildroot-fs/full_users_table.txt:2`"
    );
    let taken = explain("/usr/lib/modules/6.6.0-demo/kernel/lidar.ko");
    assert!(taken.ends_with("\n  it leaves the root filesystem for `modules.squashfs`\n"), "{taken}");
    let stays = explain("/usr/lib/modules");
    assert!(!stays.contains("leaves"), "{stays}");
    let absent =
        |path: &str, told: &str| expect_failure(&mut project.with_inputs(&["explain", path], &[]), 1, told);
    absent(
        "/nothing/here",
        "error: /nothing/here is not in the image: nothing brings it\n\
         hint: check the path, and that the source was built with what brings it",
    );
    absent(
        "/usr/bin/ap",
        "error: /usr/bin/ap is not in the image: nothing brings it\nhint: did you mean `/usr/bin/app`?",
    );
    let answer = json(&mut project.with_inputs(&["explain", "/usr/bin/app"], &[]));
    assert_eq!(answer["winner"]["name"], "demo/site");
    assert_eq!(answer["shadowed"][0]["name"], "app");
    assert_eq!(
        (text(&answer["mode_from"]["kind"]), &answer["mode_from"]["line"]),
        ("device-table", &5.into())
    );
    assert_eq!(answer["owner_from"]["kind"], "layer");
    let (_, told, code) = run(&mut project.with_inputs(&["explain", "/run/lock"], &[]));
    assert_eq!(code, 1);
    let expected =
        "error: /run/lock is not in the image: it was removed by step `empty /run`\n  created as file";
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn the_demo_names_the_region_and_the_nested_file() {
    let directory = tempfile::tempdir().unwrap();
    let project = Project::new();
    let (stdout, stderr) = succeed(&mut project.command(&["demo"]));
    for expected in
        ["region `rootfs` (ext4)", "file `/modules.squashfs`", "in it `/6.6.0-demo/kernel/lidar.ko`"]
    {
        assert!(stdout.contains(expected), "{expected}: {stdout}");
    }
    assert!(stdout.ends_with("\nthe damage was caught, and the file it hit was named\n"), "{stdout}");
    assert!(stderr.starts_with("1. compose a disk image"), "{stderr}");
    let kept = directory.path().join("kept");
    let demo = || project.command(&["demo", "--quiet", "--keep", kept.to_str().unwrap()]);
    let shown = json(&mut demo());
    assert_eq!(shown["intact"]["damaged"], Value::Array(vec![]));
    assert_eq!(shown["damaged"]["damaged"].as_array().unwrap().len(), 1);
    assert!(kept.join("demo.img").is_file() && kept.join("card").is_file());
    expect_failure(
        &mut demo(),
        4,
        &format!(
            "refused: `{}` is not empty\nhint: give a directory that is empty or does not exist",
            kept.display()
        ),
    );
}

/// A small tree for mkfs, and what is in it.
fn mkfs_project() -> (Project, BTreeMap<String, u64>) {
    let project = Project::new();
    let mut files = BTreeMap::new();
    for (name, bytes) in [("/etc/hostname", "demo\n"), ("/empty", ""), ("/usr/bin/app", "#!/bin/sh\n")] {
        project.write(&format!("in{name}"), bytes);
        files.insert(name.to_owned(), bytes.len() as u64);
    }
    (project, files)
}

/// Whether this is what `kind` begins with, at the offset its specification gives.
fn has_magic(kind: &str, bytes: &[u8]) -> bool {
    let (at, magic): (usize, &[u8]) = match kind {
        "squashfs" => (0, b"hsqs"),
        "fat" => (510, &[0x55, 0xaa]),
        "ext4" => (1024 + 56, &[0x53, 0xef]),
        "cpio" => (0, b"070701"),
        _ => panic!("no such kind"),
    };
    bytes[at..].starts_with(magic)
}

#[test]
fn mkfs_makes_each_filesystem_of_a_directory_and_of_an_archive() {
    let (project, files) = mkfs_project();
    let mut sources = vec!["in"];
    if oracle("mkfs_makes_each_filesystem_of_a_directory_and_of_an_archive", "tar") {
        let mut tar = command("tar");
        tar.args(["--format=posix", "-cf", "in.tar", "-C", "in", "."]).current_dir(project.path(""));
        assert!(tar.status().unwrap().success());
        sources.push("in.tar");
    }
    for source in sources {
        for kind in ["squashfs", "fat", "ext4", "cpio"] {
            let out = format!("out/{source}.{kind}");
            let made = json(&mut project.command(&["mkfs", kind, source, &out]));
            let told: BTreeMap<String, u64> = made["files"]
                .as_array()
                .unwrap()
                .iter()
                .map(|f| (text(&f["path"]).into(), number(&f["size"])))
                .collect();
            assert_eq!(told, files, "{out}");
            assert!(has_magic(kind, &fs::read(project.path(&out)).unwrap()), "{out}");
            assert_eq!(number(&made["bytes"]), project.path(&out).metadata().unwrap().len(), "{out}");
            assert_eq!((text(&made["filesystem"]), text(&made["out"])), (kind, out.as_str()));
        }
    }
}

#[test]
fn mkfs_replaces_a_file_only_when_told_to() {
    let (project, files) = mkfs_project();
    for kind in ["squashfs", "fat", "ext4", "cpio"] {
        project.write("out/image", "older");
        expect_failure(
            &mut project.command(&["mkfs", kind, "in", "out/image"]),
            4,
            "refused: `out/image` exists already: a file of 5 bytes\n\
             hint: choose another name, or replace the file with `--force`",
        );
        assert_eq!(fs::read(project.path("out/image")).unwrap(), b"older");
        let (stdout, stderr) = succeed(&mut project.command(&["mkfs", kind, "in", "out/image", "--force"]));
        assert!(stdout.starts_with(&format!("out/image: {kind} ")), "{stdout}");
        assert!(stdout.ends_with(&format!(", {} files\n", files.len())), "{stdout}");
        assert_eq!(stderr, "");
        assert_eq!(project.listing("out").len(), 1);
        project.remove("out/image");
    }
}

/// A project with nothing but what SkiffOS has: configs and a workspace, for a board of the program.
fn skiff_project() -> Project {
    let project = Project::new();
    fs::create_dir(project.path("workspaces")).unwrap();
    fs::rename(project.path("output"), project.path("workspaces/default")).unwrap();
    fs::remove_dir_all(project.path("boards")).unwrap();
    project.write("configs/virt/qemu/metadata/dependencies", "demo/site\n");
    // As depmod leaves it: none of the modules needs another.
    let modules = ["can", "lidar", "motor"].map(|name| format!("kernel/{name}.ko:\n")).concat();
    project.write("workspaces/default/target/usr/lib/modules/6.6.0-demo/modules.dep", modules);
    project
}

#[test]
fn the_environment_is_enough() {
    let project = skiff_project();
    let image = "workspaces/default/images/skiff-virt-qemu.img";
    let made = |command: &mut Command| {
        let made = json(command.args(["assemble", "--quiet"]));
        assert_eq!((text(&made["board"]), text(&made["image"])), ("virt/qemu", image));
        let digest = blake3::hash(&fs::read(project.path(image)).unwrap());
        for name in [image.to_owned(), format!("{image}.bmap"), format!("{image}.manifest.json")] {
            project.remove(&name);
        }
        digest
    };
    let by_variable = made(project.command(&[]).env("SKIFF_CONFIG", "virt/qemu"));
    project.write("workspaces/.config_default/skiff_config", "virt/qemu\n");
    assert_eq!(made(&mut project.command(&[])), by_variable, "remembered by the workspace");
    assert_eq!(made(project.command(&[]).env("SKIFF_CONFIG", "")), by_variable, "empty is not set");
    let mut empty = project.command(&[]);
    for name in ["SKIFF_BOARD", "SKIFF_BOARDS_PATH", "SKIFF_WORKSPACE", "SKIFF_EXTRA_CONFIGS_PATH"] {
        empty.env(name, "");
    }
    assert_eq!(made(&mut empty), by_variable, "empty is not set");
}

#[test]
fn a_workspace_is_named_as_skiffos_does() {
    let project = skiff_project();
    fs::rename(project.path("workspaces/default"), project.path("workspaces/other")).unwrap();
    project.write("workspaces/.config_other/skiff_config", "virt/qemu\n");
    for name in ["other", "Other", "ot/her"] {
        let plan = json(project.command(&["plan", "--quiet"]).env("SKIFF_WORKSPACE", name));
        assert_eq!(
            (text(&plan["board"]), text(&plan["seed"])),
            ("virt/qemu", "virt/qemu demo/site,virt/qemu")
        );
    }
    json(&mut project.command(&["plan", "--quiet", "--workspace", "OTHER"]));
}

#[test]
fn outputs_have_the_permissions_of_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new();
    let assemble = project.assemble(&["--zst"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 0077; exec \"$@\"", "sh"])
        .arg(assemble.get_program())
        .args(assemble.get_args());
    command.current_dir(project.path("")).env("SOURCE_DATE_EPOCH", "1700000000");
    succeed(&mut command);
    let images = project.listing("").into_keys().filter(|path| path.to_string_lossy().contains(".img"));
    let modes: Vec<u32> = images
        .map(|path| fs::metadata(project.path("").join(path)).unwrap().permissions().mode() & 0o777)
        .collect();
    assert_eq!(modes, [0o600; 4], "image, block map, manifest and compressed image hold secrets");
}

#[test]
fn wrong_command_lines_are_json_when_json_is_asked_for() {
    let project = Project::new();
    let (_, stderr, code) = run(&mut project.command(&["--json", "verify"]));
    let document: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!((code, number(&document["exit_code"])), (2, 2));
    assert_eq!(text(&document["error"]), "the following required arguments were not provided: <PATH>",);
    let (_, stderr, code) = run(&mut project.command(&["plan", "--threads", "100000"]));
    assert_eq!(code, 2);
    assert!(
        stderr.starts_with("error: invalid value '100000' for '--threads <N>': 100000 is not in 1..=512"),
        "{stderr}"
    );
    expect_failure(
        &mut project.command(&["mkfs", "squashfs", ".", "x.squashfs", "--comp", "gzip:3", "--level", "5"]),
        1,
        "error: `--comp gzip:3` has a level already, and `--level 5` gives another\nhint: give the level once",
    );
}

#[test]
fn a_stale_compressed_image_does_not_stay_beside_a_new_one() {
    let project = Project::new();
    succeed(&mut project.assemble(&["--zst"]));
    let compressed = |project: &Project| {
        project.listing("").into_keys().filter(|path| path.to_string_lossy().ends_with(".zst")).count()
    };
    assert_eq!(compressed(&project), 1);
    succeed(&mut project.assemble(&["--seed", "another"]));
    assert_eq!(compressed(&project), 0);
}

#[test]
fn files_of_others_beside_an_image_are_left_alone() {
    let project = Project::new();
    for name in ["out/disk.img", "out/disk.img.bmap", "out/disk.img.zst"] {
        project.write(name, "somebody's");
        let refused = name != "out/disk.img.zst";
        let (_, stderr, code) = run(&mut project.assemble(&[]));
        assert_eq!(code, if refused { 4 } else { 0 }, "{name}: {stderr}");
        assert_eq!(stderr.contains("replace the file with `--force`"), refused, "{name}: {stderr}");
        assert_eq!(fs::read(project.path(name)).unwrap(), b"somebody's", "{name}");
        project.remove(name);
    }
}
