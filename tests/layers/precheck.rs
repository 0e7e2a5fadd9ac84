//! What `configure` foresees: files that nothing makes, malformed users tables, overlays that do not fit, scripts without
//! their programs, a login where the kernel does not write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::layers::{boards, configure, project_root, registry, tree};
use crate::harness::golden;
use crate::harness::project::{Project, run};
use crate::harness::tools::oracle;
use crate::harness::toy_buildroot::KCONFIG;
use skiff_image::board::Board;
use skiff_image::buildroot::config::Config;
use skiff_image::layer::Layer;
use skiff_image::precheck::{Foreseen, Subject, foresee};

/// Symbols that are looked at, besides those of programs of scripts.
const READ: [&str; 12] = [
    "BR2_ARCH=",
    "BR2_INIT_SYSTEMD",
    "BR2_LINUX_KERNEL",
    "BR2_PACKAGE_HOST_AMLOGIC",
    "BR2_PACKAGE_RPI_FIRMWARE",
    "BR2_PACKAGE_SKIFF_",
    "BR2_ROOTFS_MERGED",
    "BR2_TARGET_GENERIC_GETTY",
    "BR2_TARGET_GRUB2",
    "BR2_TARGET_UBOOT",
    "BR2_arm",
    "BR2_x86",
];
/// Symbols of programs that scripts of the base call.
const PROGRAMS: [&str; 8] = [
    "BR2_PACKAGE_BASH",
    "BR2_PACKAGE_DOSFSTOOLS",
    "BR2_PACKAGE_E2FSPROGS",
    "BR2_PACKAGE_NETWORK_MANAGER",
    "BR2_PACKAGE_OPENSSH",
    "BR2_PACKAGE_RSYNC",
    "BR2_PACKAGE_UTIL_LINUX",
    "BR2_PACKAGE_SUDO",
];

/// The part of a `.config` that is looked at, as it is recorded for machines without Buildroot.
fn recorded(config: &BTreeMap<String, String>) -> String {
    let is_read = |line: &String| READ.iter().chain(&PROGRAMS).any(|start| line.starts_with(start));
    let lines = config.iter().map(|(symbol, value)| format!("{symbol}={value}\n"));
    lines.filter(is_read).filter(|line| !line.ends_with("=\"\"\n")).collect()
}

fn of_chain(board: &Board, layers: &[Layer], text: &str, buildroot: &Path) -> Vec<Foreseen> {
    let config = Config::parse(text);
    let external = [project_root().join("buildroot")];
    let subject = Subject {
        board: Some(board),
        layers,
        config: &config,
        images: (Path::new("/nonexistent"), Path::new("images")),
        buildroot,
        externals: &external,
    };
    foresee(&subject).unwrap_or_else(|error| panic!("{}: {error}", board.name))
}

/// What is told of all boards of the project: files that only their users can bring, and nothing else.
#[test]
fn what_our_boards_will_miss_is_known_before_they_are_built() {
    let test = "what_our_boards_will_miss_is_known_before_they_are_built";
    let tree = tree(test, "SKIFF_BUILDROOT_TREE");
    let output = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut told = String::new();
    for (board, _, layers) in boards(&registry()) {
        let name = format!("configs/{}.config", board.name.replace('/', "-"));
        if let Some(tree) = &tree {
            golden::expect(&name, &recorded(&configure(tree, output.path(), &layers)));
        }
        let text = fs::read_to_string(project_root().join("tests/golden").join(&name)).unwrap();
        let none = PathBuf::from("/nonexistent");
        for foreseen in of_chain(&board, &layers, &text, tree.as_ref().unwrap_or(&none)) {
            told += &format!("{}: {foreseen}\n", board.name);
        }
    }
    golden::expect("foreseen.txt", &told);
}

/// A board that needs one file of each kind.
const BOARD: &str = r#"
description = "board of a test"
status = "boots nothing"
arch = ["arm64"]
root = "none"
table = { kind = "mbr" }

[[supplied]]
name = "maker"
files = ["vendor"]
hint = "ask the maker for `vendor`"

[[partition]]
name = "boot"
size = "64 MiB"
filesystem = "fat32"
label = "boot"
file = [
    { image = "of-hook.bin" },
    { image = "vendor/x.bin" },
    { image = "vendor/y.bin" },
    { image = "loader.bin" },
    { image = "there.bin" },
    { image = "may-miss.bin", optional = true },
]
"#;

#[test]
fn what_will_be_missing_is_told_by_configure_with_where_it_comes_from() {
    if !oracle("what_will_be_missing_is_told_by_configure_with_where_it_comes_from", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    project.write("boards/a/b.toml", BOARD);
    project.script("configs/a/b/hooks/post.sh", "cp x \"$BINARIES_DIR/of-hook.bin\"\n");
    project.write("workspaces/default/images/there.bin", "x");
    let warnings = || {
        let mut configure = project.configure();
        let (_, stderr, code) =
            run(configure.args(["--forget", "--boards", "boards"]).env("SKIFF_CONFIG", "a/b"));
        assert_eq!(code, 0, "{stderr}");
        stderr
            .lines()
            .filter(|line| !line.starts_with("note:"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    assert_eq!(
        warnings(),
        "warning: `assemble` needs `vendor/x.bin`, `vendor/y.bin`, which nothing makes that is selected\n  \
           hint: ask the maker for `vendor`; its place is `workspaces/default/images`\n\
         warning: `assemble` needs `loader.bin`, which nothing makes that is selected\n  \
           hint: add a package or a hook that makes it; its place is `workspaces/default/images`\n"
    );
    for file in ["vendor/x.bin", "vendor/y.bin", "loader.bin"] {
        project.write(&format!("workspaces/default/images/{file}"), "x");
    }
    assert_eq!(warnings(), "");

    project.write(
        "configs/a/b/users/table",
        "ok -1 ok -1 * - - - good\n# remark\nname only\n\nbad x bad -1 * - - - c\n",
    );
    project.write(
        "configs/a/b/root_overlay/usr/bin/tool",
        "#!/bin/bash\ncurl \"$1\" | jq .\ncommand -v git && git pull\n",
    );
    project.write("configs/c/d/root_overlay/etc/x", "");
    project.write("configs/a/b/root_overlay/etc/x/y", "");
    project.write("configs/a/b/metadata/dependencies", "c/d\n");
    let told = warnings();
    for part in [
        "warning: `configs/a/b/users/table:3`: ",
        "warning: `configs/a/b/users/table:5`: ",
        "warning: `root_overlay/usr/bin/tool` of layer `a/b` is a script for `bash`, which the system does not have\n  \
           hint: set `BR2_PACKAGE_BASH` in `buildroot/` of the layer\n",
        "warning: `root_overlay/usr/bin/tool` of layer `a/b` calls `curl`, which the system does not have\n  \
           hint: set `BR2_PACKAGE_LIBCURL_CURL` in `buildroot/` of the layer\n",
        "warning: `root_overlay/usr/bin/tool` of layer `a/b` calls `jq`, ",
    ] {
        assert!(told.contains(part), "no {part}\nin {told}");
    }
    assert!(!told.contains("git") && !told.contains("table:1"), "{told}");
}

/// A link of the skeleton and a directory of an overlay: Buildroot would stop after hours.
#[test]
fn an_overlay_over_the_links_of_a_merged_usr_is_told() {
    let project = Project::bare();
    project.write("configs/a/b/root_overlay/sbin/tool", "");
    project.write("configs/c/d/root_overlay/usr/sbin/tool", "");
    let registry = skiff_image::layer::discover(
        &skiff_image::layer::Environment::default(),
        &skiff_image::layer::Roots::for_project(project.root()),
    )
    .unwrap();
    let layers = registry.resolve("a/b,c/d", "the test").unwrap();
    let found = |text: &str| -> Vec<String> {
        let config = Config::parse(text);
        let none = Path::new("/nonexistent");
        let subject = Subject {
            board: None,
            layers: &layers,
            config: &config,
            images: (none, none),
            buildroot: none,
            externals: &[],
        };
        foresee(&subject).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(found(""), Vec::<String>::new());
    let told = "layer `a/b` puts a directory at `/sbin`, where package `skeleton` has a symbolic link to `/usr/sbin`\n  \
                hint: put it under `/usr/sbin` in the root_overlay of `a/b`";
    assert_eq!(found("BR2_ROOTFS_MERGED_USR=y\n"), [told]);
    assert_eq!(found("BR2_ROOTFS_MERGED_USR=y\nBR2_ROOTFS_MERGED_BIN=y\n").len(), 2);
}

/// Getty and kernel, for a board whose kernel writes to the third port at a speed of its own.
#[test]
fn a_login_where_the_kernel_does_not_write_is_told() {
    let board = skiff_image::board::Registry::built_in().board("pine64/rock64").unwrap();
    let told = |port: &str, speed: &str| -> Vec<String> {
        let text = format!(
            "BR2_TARGET_GENERIC_GETTY=y\nBR2_TARGET_GENERIC_GETTY_PORT=\"{port}\"\n\
             BR2_TARGET_GENERIC_GETTY_BAUDRATE=\"{speed}\"\n"
        );
        let config = Config::parse(&text);
        let arch = board.arch[0];
        skiff_image::lint::login_apart(&board, arch, &config).unwrap().into_iter().collect()
    };
    for (port, speed) in
        [("ttyS2", "0"), ("ttyS2", "1500000"), ("console", "115200"), ("tty1", "0"), ("ttyGS0", "0")]
    {
        assert_eq!(told(port, speed), Vec::<String>::new(), "{port} {speed}");
    }
    let other =
        "the login is on `ttyS0` (BR2_TARGET_GENERIC_GETTY_PORT), but the kernel writes to `tty1`, `ttyS2`";
    assert_eq!(told("ttyS0", "115200"), [other]);
    let speed = "the login on `ttyS2` has 115200 baud (BR2_TARGET_GENERIC_GETTY_BAUDRATE), but the kernel writes at 1500000";
    assert_eq!(told("ttyS2", "115200"), [speed]);
}

/// Whoever takes `buildroot/` alone lacks what its packages are built from.
#[test]
fn packages_of_this_project_without_its_source_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let external = [directory.path().join("buildroot")];
    for package in ["skiff-init", "skiff-core"] {
        let path = external[0].join("package").join(package);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(format!("{package}.mk")), "").unwrap();
    }
    fs::write(directory.path().join("Cargo.lock"), "").unwrap();
    let config = Config::parse("BR2_PACKAGE_SKIFF_CORE=y\nBR2_PACKAGE_SKIFF_INIT=y\n");
    let subject = Subject {
        board: None,
        layers: &[],
        config: &config,
        images: (Path::new("/nonexistent"), Path::new("images")),
        buildroot: Path::new("/nonexistent"),
        externals: &external,
    };
    let told: Vec<String> = foresee(&subject).unwrap().iter().map(ToString::to_string).collect();
    let message = |package: &str, source: &str| {
        format!(
            "{package} cannot be built: it is built from the source around `buildroot/`, and `{}/src/{source}/Cargo.toml` is not \
             there\n  hint: take the whole source of skiff-image, a clone or an archive of it, and not its `buildroot/` alone",
            directory.path().display()
        )
    };
    assert_eq!(told, [message("skiff-init", "init"), message("skiff-core", "core")]);
}
