//! The configuration layers of the project, and the check of the symbols that layers set.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::project::{PROGRAM, Project, expect_failure, json, run, succeed};
use crate::harness::skip::leave_out;
use skiff_core::config::Config;
use skiff_image::board::{self, Board, RootStyle};
use skiff_image::containers;
use skiff_image::layer::{Environment, Layer, Registry, Roots, discover};

pub(super) fn project_root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

pub(super) fn registry() -> Registry {
    let roots = Roots { overrides: project_root().join("none"), ..Roots::for_project(project_root()) };
    discover(&Environment::default(), &roots).unwrap()
}

fn chain(registry: &Registry, name: &str) -> Vec<Layer> {
    registry.resolve(name, "the test").unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The fragments of a chain, in the order in which they are merged.
fn fragments(layers: &[Layer], directory: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for directory in layers.iter().filter_map(|layer| layer.file(directory)) {
        let mut files: Vec<PathBuf> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        texts.extend(files.iter().map(|file| fs::read_to_string(file).unwrap()));
    }
    texts
}

/// Settings of a chain in a directory of fragments; the last one wins, as in `merge_config.sh`.
fn settings(layers: &[Layer], directory: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for text in fragments(layers, directory) {
        let set = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        found.extend(set.map(|(symbol, value)| (symbol.into(), value.into())));
        let unset = text.lines().filter_map(|line| line.strip_prefix("# ")?.strip_suffix(" is not set"));
        found.extend(unset.map(|symbol| (symbol.into(), "n".into())));
    }
    found
}

#[test]
fn every_layer_resolves_and_is_described() {
    let registry = registry();
    assert_eq!(registry.notes(), Vec::<String>::new());
    for layer in registry.layers().filter(|layer| layer.file("metadata/refused").is_none()) {
        let layers = chain(&registry, &layer.name);
        assert_eq!(layers.last().unwrap().name, layer.name);
        assert!(layer.description.as_ref().is_some_and(|text| text.len() > 5), "{}", layer.name);
        let base = layers.iter().any(|layer| layer.name == "skiff/standard");
        // What is put on top of a board's chain.
        let on_top = ["util/", "skiff/noserial", "amd/"].iter().any(|start| layer.name.starts_with(start));
        assert!(base || on_top, "{} has no base", layer.name);
    }
}

/// What SkiffOS has and Buildroot or the world has not, with what to do instead.
#[test]
fn a_layer_that_cannot_be_had_says_why_and_what_to_take() {
    let registry = registry();
    let refused: Vec<&Layer> =
        registry.layers().filter(|layer| layer.file("metadata/refused").is_some()).collect();
    assert!(refused.len() >= 5, "{refused:?}");
    for layer in &refused {
        let error = registry.resolve(&layer.name, "the test").expect_err("it is refused");
        let start = format!("layer `{}` cannot be used: ", layer.name);
        assert!(error.to_string().starts_with(&start), "{error}");
        assert!(skiff_image::Error::from(error).hint().is_some_and(|hint| hint.len() > 10), "{}", layer.name);
    }
    let project = Project::bare();
    project.write("configs/a/b/metadata/refused", "nobody makes it\ntake `a/c`\n");
    project.write("configs/a/c/metadata/dependencies", "a/b\n");
    let message = "error: layer `a/b` cannot be used: nobody makes it\nhint: take `a/c`";
    expect_failure(&mut project.command(&["layers", "resolve", "--config", "a/c"]), 1, message);
}

/// With the code of the device, and without a note.
#[test]
fn every_configuration_of_containers_is_right() {
    let registry = registry();
    let with = |layer: &&Layer| layer.file("root_overlay/opt/skiff/coreenv/defconfig.yaml").is_some();
    let layers: Vec<Layer> = registry.layers().filter(with).cloned().collect();
    assert!(layers.len() >= 15, "{} layers", layers.len());
    assert_eq!(containers::in_layers(&layers).unwrap(), Vec::<String>::new());
    for layer in &layers {
        let overlay = layer.root_overlay().unwrap();
        let path = overlay.join("opt/skiff/coreenv/defconfig.yaml");
        let (config, _) = Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        for image in &config.images {
            // Where it is built its context is in the layer; where it is pulled its name has a registry and a tag.
            match &image.build {
                Some(build) => {
                    let context = overlay.join(build.source.trim_start_matches('/'));
                    assert!(context.join(&build.dockerfile).is_file(), "{}", layer.name);
                }
                None => {
                    let (registry, rest) = image.reference.value.split_once('/').expect("a registry");
                    assert!(registry.contains('.') && rest.contains(':'), "{}", image.reference.value);
                }
            }
        }
        // What somebody has at home, or what the application keeps, outlives the container.
        let persists = |mount: &skiff_core::config::Mount| mount.source.starts_with("/mnt/persist/");
        assert!(config.containers[0].mounts.iter().any(persists), "{}", layer.name);
    }
}

#[test]
fn every_board_has_a_layer_that_can_be_chosen_and_every_such_layer_is_for_a_board() {
    let registry = registry();
    let listed: BTreeSet<&str> =
        registry.layers().filter(|layer| !layer.unlisted).map(|layer| layer.name.as_str()).collect();
    let boards = board::Registry::built_in();
    let missing: Vec<&str> = boards.names().filter(|name| !listed.contains(name)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "boards without a layer");
    let namespaces: BTreeSet<&str> = listed.iter().filter_map(|name| Some(name.split_once('/')?.0)).collect();
    assert!(namespaces.len() > 15, "{namespaces:?}");
}

#[test]
fn boards_with_a_squashfs_root_have_all_it_takes_built_into_the_kernel() {
    let registry = registry();
    let mut seen = 0;
    let usable = |layer: &&Layer| !layer.unlisted && layer.file("metadata/refused").is_none();
    for layer in registry.layers().filter(usable) {
        let layers = chain(&registry, &layer.name);
        let buildroot = settings(&layers, "buildroot");
        let of_host = buildroot.get("BR2_LINUX_KERNEL").is_some_and(|value| value == "n");
        if of_host || !layers.iter().any(|layer| layer.name == "skiff/squashfs") {
            continue;
        }
        seen += 1;
        let kernel = settings(&layers, "kernel");
        let wanted =
            ["SQUASHFS", "SQUASHFS_ZSTD", "SQUASHFS_LZ4", "BLK_DEV_LOOP", "OVERLAY_FS", "EXT4_FS", "VFAT_FS"];
        for symbol in wanted {
            assert_eq!(
                kernel.get(&format!("CONFIG_{symbol}")).map(String::as_str),
                Some("y"),
                "{}",
                layer.name
            );
        }
        let media = ["MMC_BLOCK", "BLK_DEV_NVME", "SATA_AHCI"];
        let storage =
            media.iter().any(|symbol| kernel.get(&format!("CONFIG_{symbol}")).is_some_and(|v| v == "y"));
        assert!(storage, "{} has no medium built in", layer.name);
    }
    assert!(seen > 20, "{seen} boards have a squashfs root");
}

/// Boards of the project with the layers of the same name.
pub(super) fn boards(registry: &Registry) -> Vec<(Board, String, Vec<Layer>)> {
    let boards = board::Registry::built_in();
    let names: Vec<&str> = boards.names().collect();
    let with_layers =
        |name: &str| (boards.board(name).unwrap(), boards.text(name).unwrap(), chain(registry, name));
    names.into_iter().map(with_layers).collect()
}

/// What a board's hooks for the base system's scripts set, over what is set without them.
fn hooked<'a>(layers: &[Layer], variable: &str, default: &'a str) -> std::borrow::Cow<'a, str> {
    let mut value = std::borrow::Cow::Borrowed(default);
    for layer in layers {
        let Some(directory) = layer.file("root_overlay/opt/skiff/scripts/mount-all.pre.d") else { continue };
        for entry in fs::read_dir(directory).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let mut set = text.lines().filter_map(|line| line.strip_prefix(variable)?.strip_prefix('='));
            value = set.next_back().map_or(value, |set| set.trim_matches('"').to_owned().into());
        }
    }
    value
}

#[test]
fn layers_and_descriptors_agree_on_how_the_root_filesystem_comes() {
    for (board, _, layers) in boards(&registry()) {
        let has = |name: &str| layers.iter().any(|layer| layer.name == name);
        // A bundle for another program says nothing about the system in it.
        let squashfs = !matches!(board.root, RootStyle::Initramfs);
        assert!(board.root == RootStyle::None || has("skiff/squashfs") == squashfs, "{}", board.name);
        let of_host =
            settings(&layers, "buildroot").get("BR2_LINUX_KERNEL").is_some_and(|value| value == "n");
        let modules = board.artifacts.iter().any(|artifact| artifact.name == "modules.squashfs");
        assert!(has("skiff/moduleimg") == modules || of_host, "{}: modules image {modules}", board.name);
    }
}

fn label(partition: &board::Partition) -> Option<&str> {
    use board::Filesystem::{Ext4, Fat16, Fat32};
    match &partition.filesystem {
        Fat16 { label } | Fat32 { label } | Ext4 { label } => Some(label),
        _ => None,
    }
}

#[test]
fn the_scripts_look_for_the_labels_that_the_descriptors_give() {
    for (board, _, layers) in boards(&registry()) {
        let Some(persist) = &board.persist else { continue };
        let labels: BTreeMap<&str, &str> = board
            .partitions
            .iter()
            .filter_map(|partition| Some((partition.name.as_str(), label(partition)?)))
            .collect();
        let wanted =
            |variable, default| hooked(&layers, variable, default).strip_prefix("LABEL=").map(String::from);
        let name = &board.name;
        assert_eq!(
            wanted("PERSIST_DEVICE", "LABEL=persist").as_deref(),
            labels.get(persist.as_str()).copied(),
            "{name}"
        );
        let mounted = [("ROOTFS_DEVICE", "LABEL=rootfs"), ("BOOT_DEVICE", "LABEL=boot")];
        for label in mounted.iter().filter_map(|(variable, default)| wanted(variable, default)) {
            let used = label != "boot" || hooked(&layers, "MOUNT_BOOT_DEVICE", "") == "true";
            assert!(
                !used || labels.values().any(|known| *known == label),
                "{name}: nothing is labelled {label}"
            );
        }
    }
}

/// Files that Linux does not have: of a board it does not know, and of L4T, which comes with its own.
const BROUGHT: [&str; 3] =
    ["imx6ulz-usbarmory", "tegra210-p3448-0000-p3449-0000-b00", "tegra186-quill-p3310-1000-c03-00-base"];

#[test]
fn every_device_tree_that_a_descriptor_names_is_built_by_its_layers() {
    for (board, text, layers) in boards(&registry()) {
        let settings = settings(&layers, "buildroot");
        let list =
            settings.get("BR2_LINUX_KERNEL_INTREE_DTS_NAME").map_or("", |value| value.trim_matches('"'));
        let built: BTreeSet<&str> = list.split(' ').filter_map(|name| name.rsplit('/').next()).collect();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.+".contains(c)));
        for tree in words.filter_map(|word| word.strip_suffix(".dtb")).filter(|tree| !tree.is_empty()) {
            // A word that begins with a hyphen is the end of a pattern.
            let known = built.contains(tree) || tree.starts_with('-') || BROUGHT.contains(&tree);
            assert!(known, "{}: {tree}.dtb is not among {built:?}", board.name);
        }
    }
}

/// Files of U-Boot that a chain asks Buildroot for.
fn loader_files(settings: &BTreeMap<String, String>) -> BTreeSet<String> {
    let formats = [
        ("BIN", "u-boot.bin"),
        ("DTB_BIN", "u-boot-dtb.bin"),
        ("IMG", "u-boot.img"),
        ("DTB_IMG", "u-boot-dtb.img"),
    ];
    let on = |format: &str| {
        settings.get(&format!("BR2_TARGET_UBOOT_FORMAT_{format}")).is_some_and(|value| value == "y")
    };
    let mut files: BTreeSet<String> =
        formats.iter().filter(|(format, _)| on(format)).map(|(_, file)| String::from(*file)).collect();
    for symbol in ["BR2_TARGET_UBOOT_FORMAT_CUSTOM_NAME", "BR2_TARGET_UBOOT_SPL_NAME"] {
        let names = settings.get(symbol).map_or("", |value| value.trim_matches('"')).split(' ');
        files.extend(names.filter_map(|name| name.rsplit('/').next()).map(String::from));
    }
    files
}

#[test]
fn every_boot_loader_that_a_descriptor_writes_is_built_or_known_to_be_brought() {
    // First stages that the maker of the chip signed, what is signed with them, and a board that U-Boot does not know.
    let brought = |name: &str| {
        name.contains(".hardkernel")
            || name.contains(".HardKernel")
            || name.starts_with("u-boot-signed")
            || name == "u-boot.imx"
    };
    let mut seen = 0;
    for (board, _, layers) in boards(&registry()) {
        let built = loader_files(&settings(&layers, "buildroot"));
        for blob in &board.blobs {
            let board::BlobSource::Images(files) = &blob.source else { continue };
            seen += 1;
            let known = files.iter().any(|file| built.contains(file.as_str()) || brought(file));
            assert!(known, "{}: none of {files:?} is among {built:?}", board.name);
        }
    }
    assert!(seen > 20, "{seen}");
}

/// A project with one layer, and source trees that are made up.
fn made_up() -> Project {
    let made_up = Project::bare();
    made_up.write("br/Config.in", "mainmenu \"Buildroot\"\nconfig BR2_GOOD\n\tbool \"good\"\n");
    made_up.write("br/package/tool/Config.in.host", "menuconfig BR2_PACKAGE_HOST_TOOL\n");
    made_up.write("br/package/tool/readme", "config BR2_PACKAGE_FALSE\n");
    made_up.write(
        "br/Config.in.legacy",
        "config BR2_PACKAGE_OLD\n\tbool \"old was renamed\"\n\tselect BR2_LEGACY\nconfig BR2_PACKAGE_OLDER\n",
    );
    made_up.write("br/Makefile", "# Makefile\nexport BR2_VERSION := 2026.08\n");
    made_up.write("linux/Kconfig", "source \"drivers/Kconfig\"\n");
    made_up.write("linux/drivers/Kconfig.extra", "config GOOD\n\thelp\n\t  config it well\n");
    made_up.write("uboot/Kconfig", "config BOOTDELAY\n");
    made_up.write("buildroot/VERSION", "2026.08\n");
    made_up.write("buildroot/package/own/Config.in", "config BR2_PACKAGE_OWN\n");
    made_up.write("configs/a/b/buildroot_ext/Config.in", "config BR2_PACKAGE_OF_LAYER\n");
    made_up
}

fn check(made_up: &Project, more: &[&str]) -> Command {
    made_up.command(&[&["layers", "check"], more].concat())
}

const TREES: [&str; 6] = ["--buildroot", "br", "--kernel", "linux", "--uboot", "uboot"];

#[test]
fn symbols_that_exist_are_all_right() {
    let made_up = made_up();
    let text =
        "BR2_GOOD=y\n# BR2_PACKAGE_HOST_TOOL is not set\nBR2_PACKAGE_OWN=\"x\"\nBR2_PACKAGE_OF_LAYER=y\n";
    made_up.write("configs/a/b/buildroot/base", text);
    made_up.write("configs/a/b/kernel/base", "# a remark\n\nCONFIG_GOOD=m\n");
    made_up.write("configs/a/b/uboot/base", "CONFIG_BOOTDELAY=0\n");
    let (stdout, stderr) = succeed(&mut check(&made_up, &TREES));
    assert_eq!((stdout.as_str(), stderr.as_str()), ("6 settings in 3 fragments: ok\n", ""));
    let document = json(&mut check(&made_up, &TREES));
    assert_eq!((&document["settings"], &document["findings"]), (&6.into(), &serde_json::json!([])));
}

#[test]
fn every_kind_of_setting_that_would_be_ignored_is_told_with_its_place() {
    let made_up = made_up();
    let text = "BR2_GODO=y\n# BR2_PACKAGE_OLD is not set\nBR2_PACKAGE_OLDER=y\nCONFIG_GOOD=y\n  BR2_GOOD=y\nBR2_GOOD\n";
    made_up.write("configs/a/b/buildroot/10-base", text);
    made_up.write("configs/a/b/kernel/base", "CONFIG_GOOD=y\n# CONFIG_XYZ is not set\n");
    let (stdout, stderr, code) = run(&mut check(&made_up, &TREES));
    let at = "configs/a/b/buildroot/10-base";
    assert_eq!(
        stdout,
        format!(
            "{at}:1:1: Buildroot has no symbol `BR2_GODO`\n  \
               hint: did you mean `BR2_GOOD`?\n\
             {at}:2:3: `BR2_PACKAGE_OLD` was removed from Buildroot\n  \
               hint: Buildroot says: old was renamed\n\
             {at}:3:1: `BR2_PACKAGE_OLDER` was removed from Buildroot\n\
             {at}:4:1: `CONFIG_GOOD` in buildroot/, where symbols begin with `BR2_`\n  \
               hint: Buildroot's symbols belong in buildroot/, those of Linux in kernel/, of U-Boot in uboot/, \
                of BusyBox in busybox/\n\
             {at}:5:3: neither `BR2_NAME=value` nor a remark\n  \
               hint: begin the line with the symbol, or with `#`\n\
             {at}:6:1: neither `BR2_NAME=value` nor a remark\n  \
               hint: begin the line with the symbol, or with `#`\n\
             configs/a/b/kernel/base:2:3: Linux has no symbol `CONFIG_XYZ`\n\
             8 settings in 2 fragments: 7 wrong\n"
        )
    );
    assert_eq!(
        (stderr.as_str(), code),
        (
            "error: 7 of 8 settings of the layers would be ignored\n\
             hint: correct the lines above: Kconfig drops them without a word\n",
            1
        )
    );
}

#[test]
fn a_directory_that_is_no_source_tree_is_told() {
    let made_up = made_up();
    made_up.write("configs/a/b/metadata/description", "a layer\n");
    for (flag, tree, file) in [
        ("--buildroot", "Buildroot", "Config.in"),
        ("--kernel", "Linux", "Kconfig"),
        ("--uboot", "U-Boot", "Kconfig"),
    ] {
        expect_failure(
            &mut check(&made_up, &[flag, "configs"]),
            1,
            &format!(
                "error: `configs` is not a source tree of {tree}: it has no `{file}`\n\
                 hint: give the directory that {tree} was unpacked to"
            ),
        );
    }
    let (_, stderr, code) = run(&mut check(&made_up, &[]));
    assert_eq!(code, 2, "{stderr}");
}

#[test]
fn another_version_of_buildroot_is_told_and_a_chain_limits_the_check() {
    let made_up = made_up();
    made_up.write("buildroot/VERSION", "2026.05.1\n");
    made_up.write("configs/a/b/buildroot/base", "BR2_GOOD=y\n");
    made_up.write("configs/a/c/buildroot/base", "BR2_GOD=y\n");
    let (stdout, stderr) = succeed(&mut check(&made_up, &["--config", "a/b", "--buildroot", "br"]));
    assert_eq!(stdout, "1 settings in 1 fragments: ok\n");
    assert_eq!(stderr, "warning: `br` is Buildroot 2026.08, the layers are made for 2026.05.1\n");
    let (_, _, code) = run(&mut check(&made_up, &["--buildroot", "br"]));
    assert_eq!(code, 1);
    made_up.write("other/Config.in", "config BR2_GOD\n");
    succeed(&mut check(&made_up, &["--buildroot", "br", "--external", "other"]));
}

/// The directory that a variable names; without it the test is skipped, visibly, and in CI too: trees of this size
/// are brought by whoever wants the check.
pub(super) fn tree(test: &str, variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    if found.is_none() {
        leave_out(test, &format!("{variable} names no source tree"));
    }
    found
}

fn check_own_layers(flag: &str, directory: &Path) {
    let mut command = Command::new(PROGRAM);
    command.current_dir(project_root()).env_remove("SKIFF_CONFIG").env_remove("SKIFF_EXTRA_CONFIGS_PATH");
    let (stdout, stderr, code) = run(command.args(["layers", "check", flag]).arg(directory));
    assert!(code == 0 && stdout.contains(": ok\n"), "{stdout}{stderr}");
}

#[test]
fn every_symbol_of_our_layers_exists_in_buildroot() {
    if let Some(tree) = tree("every_symbol_of_our_layers_exists_in_buildroot", "SKIFF_BUILDROOT_TREE") {
        check_own_layers("--buildroot", &tree);
    }
}

#[test]
fn every_symbol_of_our_layers_exists_in_linux_and_u_boot() {
    let test = "every_symbol_of_our_layers_exists_in_linux_and_u_boot";
    for (flag, variable) in [("--kernel", "SKIFF_LINUX_TREE"), ("--uboot", "SKIFF_UBOOT_TREE")] {
        if let Some(tree) = tree(test, variable) {
            check_own_layers(flag, &tree);
        }
    }
}

/// A choice of Kconfig: the first is what the base chooses, the second what a board may choose instead.
const CHOICES: [[&str; 2]; 5] = [
    ["BR2_x86_64", "BR2_arm"],
    ["BR2_x86_64", "BR2_aarch64"],
    ["BR2_x86_64", "BR2_riscv"],
    ["BR2_LINUX_KERNEL_USE_ARCH_DEFAULT_CONFIG", "BR2_LINUX_KERNEL_USE_DEFCONFIG"],
    ["BR2_LINUX_KERNEL_LATEST_VERSION", "BR2_LINUX_KERNEL_CUSTOM_TARBALL"],
];

/// What Kconfig makes of the fragments of a chain.
pub(super) fn configure(tree: &Path, output: &Path, layers: &[Layer]) -> BTreeMap<String, String> {
    fs::write(output.join("defconfig"), fragments(layers, "buildroot").join("\n")).unwrap();
    let variable = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(tree).arg(variable("O", output)).arg("defconfig");
    make.arg(variable("BR2_DEFCONFIG", &output.join("defconfig")));
    let made = make.arg(variable("BR2_EXTERNAL", &project_root().join("buildroot"))).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = fs::read_to_string(output.join(".config")).unwrap();
    let set = config.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    set.map(|(symbol, value)| (symbol.into(), value.into())).collect()
}

/// Settings of a chain that its `.config` does not have.
fn lost(tree: &Path, output: &Path, layers: &[Layer]) -> Vec<(String, String)> {
    let made = configure(tree, output, layers);
    let is = |symbol: &str| made.get(symbol).map_or("n", String::as_str);
    let chosen_otherwise =
        |symbol: &str| CHOICES.iter().any(|[first, second]| symbol == *first && is(second) == "y");
    let mut wanted = settings(layers, "buildroot");
    wanted.retain(|symbol, value| is(symbol) != value.as_str() && !chosen_otherwise(symbol));
    wanted.into_iter().collect()
}

#[test]
fn every_setting_survives_what_buildroot_makes_of_its_dependencies() {
    let test = "every_setting_survives_what_buildroot_makes_of_its_dependencies";
    let Some(tree) = tree(test, "SKIFF_BUILDROOT_TREE") else { return };
    let output = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (board, _, layers) in boards(&registry()) {
        // Without a kernel there are no settings of it.
        if settings(&layers, "buildroot").get("BR2_LINUX_KERNEL").is_some_and(|value| value == "n") {
            continue;
        }
        assert_eq!(lost(&tree, output.path(), &layers), Vec::new(), "{}", board.name);
    }
}

/// Of what is put on top of a board, for processors of 32 and 64 bits.
#[test]
fn every_setting_of_applications_survives_on_boards() {
    let test = "every_setting_of_applications_survives_on_boards";
    let Some(tree) = tree(test, "SKIFF_BUILDROOT_TREE") else { return };
    let output = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let registry = registry();
    let own = |layer: &&Layer| ["apps/", "skiff/core"].iter().any(|start| layer.name.starts_with(start));
    let usable = registry.layers().filter(own).filter(|layer| layer.file("metadata/refused").is_none());
    for name in usable.map(|layer| &layer.name) {
        for board in ["virt/qemu", "pi/4", "orangepi/zero"] {
            let layers = chain(&registry, &format!("{board},{name}"));
            assert_eq!(lost(&tree, output.path(), &layers), Vec::new(), "{board},{name}");
        }
    }
}

/// A descriptor says how its boot loader is built, and the layer builds it so.
#[test]
fn layers_build_the_boot_loader_that_the_descriptor_advises() {
    let mut seen = 0;
    for (board, _, layers) in boards(&registry()) {
        let settings = settings(&layers, "buildroot");
        let Some(built) = settings.get("BR2_TARGET_UBOOT_BOARD_DEFCONFIG") else { continue };
        let variables = board.vars_for(board.arch[0]);
        for hint in board.blobs.iter().filter_map(|blob| blob.hint.as_deref()) {
            let Some((_, rest)) = hint.split_once("the defconfig `") else { continue };
            let advised = rest.split('`').next().unwrap();
            let advised = match advised.strip_prefix("@{").and_then(|word| word.strip_suffix('}')) {
                Some(word) => variables[word].as_str(),
                None => advised,
            };
            assert_eq!(advised, built.trim_matches('"'), "{}", board.name);
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}
