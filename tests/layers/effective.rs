//! What became of the settings of layers: `config explain|list|diff`, against what Kconfig itself makes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::project::{Project, expect_failure, json, succeed};
use crate::harness::skiffos::skiffos_tree;
use crate::harness::skip::leave_out;
use crate::harness::tools::oracle;
use skiff_image::buildroot::config::Config;
use skiff_image::buildroot::effective::{Dropped, Why, causes, compare};
use skiff_image::buildroot::kconfig::Definitions;
use skiff_image::layer::fragment::{self, Kind};
use skiff_image::layer::merge::Merged;
use skiff_image::layer::{Environment, Layer, Registry, Roots, discover};

const CONFIG_IN: &str = "mainmenu \"Made up $BR2_VERSION\"\n\
    config BR2_HOSTARCH\n\tstring\n\toption env=\"HOSTARCH\"\n\
    config BR2_BASE_DIR\n\tstring\n\toption env=\"BR2_BASE_DIR\"\n\
    choice\n\tprompt \"Target Architecture\"\n\
    config BR2_arm\n\tbool \"ARM\"\n\
    config BR2_x86_64\n\tbool \"x86_64\"\n\
    endchoice\n\
    config BR2_GLIBC\n\tbool \"glibc\"\n\
    config BR2_THREADS\n\tbool\n\tdefault y if BR2_GLIBC\n\
    source \"package/Config.in\"\n\
    source \"Config.in.legacy\"\n\
    source \"$BR2_BASE_DIR/.br2-external.in.menus\"\n";

const PACKAGES: &str = "menu \"Packages # all\"\n\
    \tdepends on BR2_HOSTARCH = \"x86_64\"\n\
    config BR2_PACKAGE_TOOL\n\tbool \"tool\"\n\tdepends on !BR2_arm\n\tselect BR2_PACKAGE_LIB if BR2_GLIBC\n\thelp\n\
    \t  The tool.\n\n\t  config BR2_PACKAGE_FALSE\n\
    config BR2_PACKAGE_LIB\n\tbool \"lib\"\n\
    if BR2_PACKAGE_LIB\n\
    config BR2_PACKAGE_LIB_MORE\n\tbool \"more\" if BR2_THREADS && \\\n\t\t(BR2_x86_64 || BR2_arm)\n\
    config BR2_PACKAGE_LIB_PATH\n\tstring \"path\"\n\tdefault \"/usr\"\n\
    endif\n\
    config BR2_JLEVEL\n\tint \"jobs\"\n\tdefault 0\n\
    config BR2_START\n\thex \"start\"\n\tdefault 0x0\n\
    config BR2_HAS_UDEV\n\tbool\n\
    config BR2_PACKAGE_EUDEV\n\tbool \"eudev\"\n\tselect BR2_HAS_UDEV\n\
    config BR2_PACKAGE_USB\n\tbool \"usb\"\n\tdepends on BR2_HAS_UDEV\n\
    config BR2_PACKAGE_IMAGE\n\tbool \"image\"\n\
    config BR2_PACKAGE_IMAGE_LZ4\n\tbool \"lz4\"\n\tdepends on BR2_PACKAGE_IMAGE\n\
    config BR2_PACKAGE_BIOS\n\tbool \"bios\"\n\tdepends on BR2_x86_64\n\
    comment \"the end\"\n\tdepends on BR2_arm\n\
    endmenu\n";

const LEGACY: &str = "config BR2_LEGACY\n\tbool\n\
    config BR2_PACKAGE_OLD\n\tbool \"old was renamed to lib\"\n\tselect BR2_LEGACY\n\tselect BR2_PACKAGE_LIB\n\
    config BR2_PACKAGE_GONE\n\tbool \"gone has been removed\"\n\tselect BR2_LEGACY\n";

/// A project with a source tree that Kconfig reads, in `br`.
fn made_up() -> Project {
    let made_up = Project::bare();
    made_up.write("br/Config.in", CONFIG_IN);
    made_up.write("br/package/Config.in", PACKAGES);
    made_up.write("br/Config.in.legacy", LEGACY);
    made_up.write(
        "workspaces/default/.br2-external.in.menus",
        "config BR2_EXTERNAL_MADE_PATH\n\tstring\n\tdefault \"../external\"\n\
         source \"$BR2_EXTERNAL_MADE_PATH/Config.in\"\n",
    );
    made_up.write(
        "external/Config.in",
        "config BR2_EXTERNAL_TOOL\n\tbool \"of an external tree\"\n\tdepends on BR2_PACKAGE_TOOL\n",
    );
    made_up.write("configs/a/first/metadata/description", "the first");
    made_up.write("configs/a/second/metadata/dependencies", "a/first");
    made_up
}

fn config_command(made_up: &Project, more: &[&str]) -> Command {
    made_up.command(&[&["config"], more, &["--config", "a/second"]].concat())
}

fn layers(made_up: &Project) -> Vec<Layer> {
    resolved(&made_up.root(), "a/second")
}

fn request(made_up: &Project) -> Merged {
    Merged::from_fragments(&fragment::read(&layers(made_up), Kind::Buildroot).unwrap())
}

/// Lets Kconfig read what the layers ask for.
fn configure(made_up: &Project) -> Config {
    made_up.write("defconfig", request(made_up).text());
    let output = made_up.path("workspaces/default");
    let mut conf = Command::new("kconfig-conf");
    conf.args(["--defconfig=../defconfig", "Config.in"]).current_dir(made_up.path("br"));
    conf.env("CONFIG_", "").env("HOSTARCH", "x86_64").env("BR2_VERSION", "1").env("BR2_BASE_DIR", &output);
    for file in ["AUTOHEADER", "AUTOCONFIG", "TRISTATE"] {
        conf.env(format!("KCONFIG_{file}"), made_up.path(file));
    }
    let made = conf.env("KCONFIG_CONFIG", output.join(".config")).output().expect("kconfig-conf starts");
    let said = [made.stdout, made.stderr].concat();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&said));
    Config::parse(&fs::read_to_string(output.join(".config")).unwrap())
}

fn registry(root: &Path) -> Registry {
    let roots = Roots::for_project(root);
    discover(&Environment::default(), &roots).unwrap()
}

fn resolved(root: &Path, chain: &str) -> Vec<Layer> {
    registry(root).resolve(chain, "the test").unwrap()
}

const FIRST: &str = "BR2_x86_64=y\nBR2_GLIBC=y\nBR2_PACKAGE_TOOL=y\nBR2_JLEVEL=4\n# BR2_NOWHERE is not set\n";

#[test]
fn what_is_asked_for_and_effective_is_no_difference() {
    let test = "what_is_asked_for_and_effective_is_no_difference";
    if !oracle(test, "kconfig-conf") {
        return;
    }
    let made_up = made_up();
    made_up.write("configs/a/first/buildroot/base", FIRST);
    let more = "BR2_JLEVEL=5\nBR2_START=0x0040\nBR2_PACKAGE_LIB_PATH=\"a \\\"b\\\" \\\\ c\"\nBR2_PACKAGE_LIB_MORE=y # yes\n\
                BR2_EXTERNAL_TOOL=y\n# BR2_PACKAGE_OLD is not set\n# BR2_arm is not set\n";
    made_up.write("configs/a/second/buildroot/base", more);
    configure(&made_up);
    let (stdout, stderr) = succeed(&mut config_command(&made_up, &["diff", "--buildroot", "br"]));
    assert_eq!((stdout.as_str(), stderr.as_str()), ("0 of 11 settings are not effective\n", ""));
}

#[test]
fn every_reason_is_told_with_its_place() {
    if !oracle("every_reason_is_told_with_its_place", "kconfig-conf") {
        return;
    }
    let made_up = made_up();
    made_up.write("configs/a/first/buildroot/base", FIRST);
    let more = "# BR2_PACKAGE_LIB is not set\nBR2_PACKAGE_TOLO=y\nBR2_PACKAGE_OLD=y\nBR2_PACKAGE_GONE=y\n\
                BR2_THREADS=n\nBR2_JLEVEL=many\n# BR2_PACKAGE_LIB_PATH is not set\nBR2_NOTHING_LIKE_IT=y\n";
    made_up.write("configs/a/second/buildroot/base", more);
    configure(&made_up);
    let at = "configs/a/second/buildroot/base";
    let (stdout, _) = succeed(&mut config_command(&made_up, &["diff", "--buildroot", "br"]));
    assert_eq!(
        stdout,
        format!(
            "{at}:6: `BR2_JLEVEL=many` became `4`: a decimal number without leading zeros is expected\n\
             {at}:8: `BR2_NOTHING_LIKE_IT=y` is dropped: no such symbol\n\
             {at}:4: `BR2_PACKAGE_GONE=y` must not be set: it was removed: gone has been removed\n  \
               hint: remove `BR2_PACKAGE_GONE`\n\
             {at}:1: `BR2_PACKAGE_LIB=n` became `y`: it is selected by `BR2_PACKAGE_OLD`, `BR2_PACKAGE_TOOL`\n  \
               hint: turn off `BR2_PACKAGE_OLD`, `BR2_PACKAGE_TOOL` too\n\
             {at}:7: `BR2_PACKAGE_LIB_PATH=n` became `/usr`: a text in quotes is expected\n\
             {at}:3: `BR2_PACKAGE_OLD=y` must not be set: it was removed: old was renamed to lib\n  \
               hint: set `BR2_PACKAGE_LIB` instead\n\
             {at}:2: `BR2_PACKAGE_TOLO=y` is dropped: no such symbol\n  \
               hint: did you mean `BR2_PACKAGE_TOOL`?\n\
             {at}:5: `BR2_THREADS=n` became `y`: its value follows from other symbols only\n  \
               hint: set what selects `BR2_THREADS` or what its defaults depend on\n\
             8 of 12 settings are not effective\n"
        )
    );
    let document = json(&mut config_command(&made_up, &["diff", "--buildroot", "br"]));
    assert_eq!(document.as_array().unwrap().len(), 8);
    assert_eq!(
        document[7],
        serde_json::json!({
            "symbol": "BR2_THREADS",
            "requested": {"value": "n", "layer": "a/second", "file": at, "line": 5},
            "effective": "y",
            "why": {"kind": "no-prompt"},
        })
    );
}

#[test]
fn choices_and_dependencies_that_do_not_hold_are_told() {
    if !oracle("choices_and_dependencies_that_do_not_hold_are_told", "kconfig-conf") {
        return;
    }
    let made_up = made_up();
    made_up.write("configs/a/first/buildroot/base", FIRST);
    let more = "BR2_arm=y\n# BR2_GLIBC is not set\nBR2_PACKAGE_LIB_PATH=\"/opt\"\nBR2_EXTERNAL_TOOL=y\n";
    made_up.write("configs/a/second/buildroot/base", more);
    configure(&made_up);
    let (first, second) = ("configs/a/first/buildroot/base", "configs/a/second/buildroot/base");
    let diff = |made_up: &Project| succeed(&mut config_command(made_up, &["diff", "--buildroot", "br"])).0;
    assert_eq!(
        diff(&made_up),
        format!(
            "{second}:4: `BR2_EXTERNAL_TOOL=y` is dropped: it depends on `BR2_PACKAGE_TOOL`, which is `n`\n  \
               hint: `BR2_PACKAGE_TOOL` is asked for, and is dropped too\n\
             {second}:3: `BR2_PACKAGE_LIB_PATH=\"/opt\"` is dropped: it depends on `BR2_PACKAGE_LIB`, which is `n`\n  \
               hint: set `BR2_PACKAGE_LIB` too\n\
             {first}:3: `BR2_PACKAGE_TOOL=y` is dropped: it depends on `!BR2_arm`, and `BR2_arm` is `y`\n\
             {first}:1: `BR2_x86_64=y` is dropped: `BR2_arm` is chosen, as {second}:1 asks for\n\
             4 of 8 settings are not effective\n"
        )
    );
    // Both are off, and one must be on; and a condition of the prompt.
    let more = "# BR2_x86_64 is not set\n# BR2_arm is not set\nBR2_PACKAGE_LIB=y\n# BR2_GLIBC is not set\n\
                BR2_PACKAGE_LIB_MORE=y\n";
    made_up.write("configs/a/second/buildroot/base", more);
    made_up.write("configs/a/first/buildroot/base", "");
    configure(&made_up);
    assert_eq!(
        diff(&made_up),
        format!(
            "{second}:5: `BR2_PACKAGE_LIB_MORE=y` is dropped: it depends on `BR2_THREADS`, which is `n`\n\
             {second}:2: `BR2_arm=n` became `y`: one member of its choice must be on, and no other was asked for\n  \
               hint: set another member of the choice to `y`\n\
             2 of 5 settings are not effective\n"
        )
    );
}

#[test]
fn what_a_later_layer_turned_off_is_told_from_what_is_missing() {
    if !oracle("what_a_later_layer_turned_off_is_told_from_what_is_missing", "kconfig-conf") {
        return;
    }
    let made_up = made_up();
    let base =
        "BR2_PACKAGE_IMAGE=y\nBR2_PACKAGE_IMAGE_LZ4=y\nBR2_PACKAGE_USB=y\nBR2_x86_64=y\nBR2_PACKAGE_BIOS=y\n";
    made_up.write("configs/a/first/buildroot/base", base);
    made_up.write("configs/a/second/buildroot/base", "# BR2_PACKAGE_IMAGE is not set\nBR2_arm=y\n");
    let config = configure(&made_up);
    let (first, second) = ("configs/a/first/buildroot/base", "configs/a/second/buildroot/base");
    let (stdout, _) = succeed(&mut config_command(&made_up, &["diff", "--buildroot", "br"]));
    assert_eq!(
        stdout,
        format!(
            "{first}:5: `BR2_PACKAGE_BIOS=y` is dropped: it depends on `BR2_x86_64`, which is `n`, as {second}:2 asks for\n\
             {first}:2: `BR2_PACKAGE_IMAGE_LZ4=y` is dropped: it depends on `BR2_PACKAGE_IMAGE`, which is `n`, as \
             {second}:1 asks for\n\
             {first}:3: `BR2_PACKAGE_USB=y` is dropped: it depends on `BR2_HAS_UDEV`, which is `n`\n  \
               hint: `BR2_HAS_UDEV` is selected by `BR2_PACKAGE_EUDEV`\n\
             {first}:4: `BR2_x86_64=y` is dropped: `BR2_arm` is chosen, as {second}:2 asks for\n\
             4 of 6 settings are not effective\n"
        )
    );
    let definitions = Definitions::for_buildroot(&made_up.path("br"), &made_up.path("workspaces/default"));
    let dropped = compare(&request(&made_up), &config, &definitions);
    let lost: Vec<&str> =
        dropped.iter().filter(|one| !one.is_override()).map(|one| one.symbol.as_str()).collect();
    assert_eq!(lost, ["BR2_PACKAGE_USB"]);
}

/// What does not follow from the files: a `.config` that somebody edited, and members that nobody asked for.
#[test]
fn a_config_that_was_edited_is_not_explained() {
    let made_up = made_up();
    made_up.write("configs/a/first/buildroot/base", "BR2_PACKAGE_LIB_PATH=\"/opt\"\nBR2_x86_64=y\n");
    made_up
        .write("workspaces/default/.config", "BR2_PACKAGE_LIB=y\nBR2_PACKAGE_LIB_PATH=\"/usr\"\nBR2_arm=y\n");
    made_up
        .write("workspaces/default/Makefile", format!("MAKEARGS := -C {}\n", made_up.path("br").display()));
    let at = "configs/a/first/buildroot/base";
    let (stdout, _) = succeed(&mut config_command(&made_up, &["diff"]));
    assert_eq!(
        stdout,
        format!(
            "{at}:1: `BR2_PACKAGE_LIB_PATH=\"/opt\"` became `/usr`: the Kconfig files do not say why\n\
             {at}:2: `BR2_x86_64=y` is dropped: `BR2_arm` is chosen\n\
             2 of 2 settings are not effective\n"
        )
    );
    let dropped = compare(
        &request(&made_up),
        &Config::parse("BR2_arm=y\n"),
        &Definitions::for_buildroot(&made_up.path("br"), &made_up.path("workspaces/default")),
    );
    assert!(dropped.iter().all(|dropped| !dropped.is_override()), "nobody asked for the winner: {dropped:?}");
}

/// A C library that is lost takes many packages with it: only the cause is told, and what is lost with it.
#[test]
fn what_follows_from_one_cause_is_told_with_it() {
    let made_up = made_up();
    made_up.write("configs/a/first/buildroot/base", "BR2_PACKAGE_EUDEV=y\nBR2_PACKAGE_USB=y\n");
    let definitions = Definitions::for_buildroot(&made_up.path("br"), &made_up.path("workspaces/default"));
    let config = Config::parse("BR2_HOSTARCH=\"x86_64\"\nBR2_arm=y\n");
    let dropped = compare(&request(&made_up), &config, &definitions);
    let place = format!("{}: ", made_up.path("configs/a/first/buildroot/base:1").display());
    let told: Vec<String> =
        causes(&dropped).iter().map(|cause| cause.to_string().replace(&place, "")).collect();
    let expected = "`BR2_PACKAGE_EUDEV=y` is dropped: the Kconfig files do not say why\n  \
                    lost with it: `BR2_PACKAGE_USB`";
    assert_eq!((told, dropped.len()), (vec![expected.to_owned()], 2));
    let hint = "`BR2_PACKAGE_EUDEV`, which would select `BR2_HAS_UDEV`, is asked for, and is dropped too";
    assert_eq!(dropped[1].hint().as_deref(), Some(hint));
}

/// Whoever chose ARM is not told to choose x86.
#[test]
fn the_other_member_of_a_choice_that_was_made_is_no_advice() {
    let made_up = made_up();
    made_up.write("configs/a/first/buildroot/base", "BR2_arm=y\nBR2_PACKAGE_BIOS=y\n");
    let definitions = Definitions::for_buildroot(&made_up.path("br"), &made_up.path("workspaces/default"));
    let hints = |text: &str| -> Vec<Option<String>> {
        let config = Config::parse(&format!("BR2_HOSTARCH=\"x86_64\"\nBR2_arm=y\n{text}"));
        compare(&request(&made_up), &config, &definitions).iter().map(Dropped::hint).collect()
    };
    assert_eq!(hints(""), [None]);
    made_up.write("configs/a/first/buildroot/base", "BR2_PACKAGE_BIOS=y\n");
    assert_eq!(hints(""), [Some("set `BR2_x86_64` too".to_owned())]);
}

#[test]
fn a_value_that_no_layer_asks_for_is_explained() {
    let made_up = made_up();
    made_up.write("configs/a/first/buildroot/base", "BR2_PACKAGE_EUDEV=y\n");
    let explain = |config: &str, symbol: &str| {
        made_up.write("workspaces/default/.config", format!("BR2_HOSTARCH=\"x86_64\"\n{config}"));
        let told = succeed(&mut config_command(&made_up, &["explain", symbol, "--buildroot", "br"])).0;
        told.lines().last().unwrap().to_owned()
    };
    let on = "BR2_PACKAGE_EUDEV=y\nBR2_HAS_UDEV=y\n";
    assert_eq!(
        explain(on, "BR2_HAS_UDEV"),
        "because it is selected by `BR2_PACKAGE_EUDEV` (configs/a/first/buildroot/base:1)"
    );
    assert_eq!(explain(&format!("{on}BR2_JLEVEL=0\n"), "BR2_JLEVEL"), "because this is its default");
}

#[test]
fn a_setting_is_explained() {
    let made_up = made_up();
    made_up.write("configs/a/first/buildroot/base", "BR2_JLEVEL=1\nBR2_PACKAGE_LIB_PATH=\"/a\"\n");
    made_up.write("configs/a/second/buildroot/10", "\nBR2_JLEVEL=2\n");
    made_up.write("configs/a/second/buildroot/9", "BR2_JLEVEL=3\n");
    let at = [
        "configs/a/first/buildroot/base:1",
        "configs/a/second/buildroot/10:2",
        "configs/a/second/buildroot/9:1",
    ];
    let [first, ten, nine] = at;
    let set = format!(
        "BR2_JLEVEL\n  {first}: 1 (a/first, overridden)\n  {ten}: 2 (a/second, overridden)\n  {nine}: 3 (a/second, wins)\n"
    );
    let explain =
        |symbol: &str| succeed(&mut config_command(&made_up, &["explain", symbol, "--buildroot", "br"])).0;
    assert_eq!(explain("BR2_JLEVEL"), format!("{set}  not configured yet\n"));
    made_up.write("workspaces/default/.config", "BR2_JLEVEL=3\nBR2_arm=y\n");
    assert_eq!(explain("BR2_JLEVEL"), format!("{set}  workspaces/default/.config: 3 (effective)\n"));
    assert_eq!(
        explain("BR2_arm"),
        "BR2_arm\n  no layer sets it\n  workspaces/default/.config: y (effective)\nbecause this is its default\n"
    );
    assert_eq!(
        explain("BR2_PACKAGE_LIB_PATH"),
        "BR2_PACKAGE_LIB_PATH\n  configs/a/first/buildroot/base:2: \"/a\" (a/first, wins)\n  \
           workspaces/default/.config: not set (effective)\n\
         because it depends on `BR2_PACKAGE_LIB`, which is `n`\n  hint: set `BR2_PACKAGE_LIB` too\n"
    );
    made_up.write("configs/a/first/buildroot/path", "BR2_HERE=\"SKIFF_CONFIG_ROOT/file\"\n");
    let here = made_up.root().canonicalize().unwrap().join("configs/a/first/file");
    assert!(explain("BR2_HERE").contains(&format!("path:1: \"{}\" (a/first, wins)\n", here.display())));
    let document = json(&mut config_command(&made_up, &["explain", "BR2_JLEVEL", "--buildroot", "br"]));
    assert_eq!(document["assignments"][2]["file"], "configs/a/second/buildroot/9");
    assert_eq!(document["effective"]["value"], "3");
    assert_eq!(document["difference"], serde_json::Value::Null);
    expect_failure(
        &mut config_command(&made_up, &["explain", "BR2_JLEVLE"]),
        1,
        "error: no layer of the chain sets `BR2_JLEVLE`\nhint: did you mean `BR2_JLEVEL`?",
    );
    expect_failure(
        &mut config_command(&made_up, &["explain", "BR2_SOMETHING_ELSE"]),
        1,
        "error: no layer of the chain sets `BR2_SOMETHING_ELSE`\nhint: `skiff-image config list` shows all settings",
    );
}

#[test]
fn settings_of_what_buildroot_builds_are_explained_from_their_own_files() {
    let made_up = made_up();
    made_up.write("configs/a/first/kernel/base", "CONFIG_WIFI=m\nCONFIG_CHIP=y\n");
    made_up.write("configs/a/first/uboot/base", "CONFIG_BOOTDELAY=0\n");
    made_up.write("configs/a/second/busybox/base", "CONFIG_ASH=y\n");
    let output = "workspaces/default";
    made_up.write(&format!("{output}/.config"), "BR2_LINUX_KERNEL_VERSION=\"6.12\"\n");
    let linux = format!("{output}/build/linux-6.12");
    let title =
        "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/arm64 6.12.0 Kernel Configuration\n#\n";
    made_up.write(&format!("{linux}/.config"), format!("{title}CONFIG_ARM64=y\n"));
    made_up.write(
        &format!("{linux}/Kconfig"),
        "source \"arch/$(SRCARCH)/Kconfig\"\nconfig NET\n\tbool \"net\"\n",
    );
    made_up.write(
        &format!("{linux}/arch/arm64/Kconfig"),
        "config ARM64\n\tdef_bool y\nconfig WIFI\n\ttristate \"wifi\"\n\tdepends on $(success,true) && NET\n",
    );
    made_up.write(&format!("{output}/build/linux-headers-6.12/.config"), "CONFIG_WIFI=m\n");
    made_up.write(&format!("{output}/build/busybox-1.36.1/.config"), "CONFIG_ASH=y\n");
    let explain =
        |arguments: &[&str]| succeed(&mut config_command(&made_up, &[&["explain"], arguments].concat())).0;
    assert_eq!(
        explain(&["CONFIG_WIFI"]),
        format!(
            "CONFIG_WIFI\n  configs/a/first/kernel/base:1: m (a/first, wins)\n  \
               {linux}/.config: not set (effective)\n\
             because it depends on `CONFIG_NET`, which is `n`\n  hint: set `CONFIG_NET` too\n"
        )
    );
    assert_eq!(
        explain(&["CONFIG_ASH", "--busybox"]),
        format!(
            "CONFIG_ASH\n  configs/a/second/busybox/base:1: y (a/second, wins)\n  \
               {output}/build/busybox-1.36.1/.config: y (effective)\n"
        )
    );
    assert_eq!(
        explain(&["CONFIG_BOOTDELAY", "--uboot"]),
        "CONFIG_BOOTDELAY\n  configs/a/first/uboot/base:1: 0 (a/first, wins)\n  not configured yet\n"
    );
    let (stdout, _) = succeed(&mut config_command(&made_up, &["diff", "--kernel"]));
    assert!(stdout.contains("`CONFIG_CHIP=y` is dropped: no such symbol\n"), "{stdout}");
    expect_failure(
        &mut config_command(&made_up, &["diff", "--uboot"]),
        1,
        "error: U-Boot is not configured in the workspace `default`\n\
         hint: it is configured when it is built: `skiff-image compile`",
    );
}

#[test]
fn settings_are_listed_and_lines_that_set_nothing_are_told() {
    let made_up = made_up();
    made_up.write("configs/a/first/buildroot/base", "BR2_JLEVEL=1\nBR2_x86_64=y\n BR2_arm=y\nPACKAGE=y\n");
    made_up.write("configs/a/second/buildroot/base", "BR2_JLEVEL=2\n");
    let (stdout, stderr) = succeed(&mut config_command(&made_up, &["list"]));
    let (first, second) = ("configs/a/first/buildroot/base", "configs/a/second/buildroot/base");
    assert_eq!(
        stdout,
        format!("BR2_JLEVEL=2 ({second}:1, 1 overridden)\nBR2_x86_64=y ({first}:2)\n2 settings\n")
    );
    assert_eq!(
        stderr,
        format!(
            "warning: {first}:3:2: `BR2_arm=y` sets nothing\nwarning: {first}:4:1: `PACKAGE=y` sets nothing\n"
        )
    );
    let document = json(&mut config_command(&made_up, &["list"]));
    assert_eq!(document[0]["overridden"][0]["value"], "1");
    made_up.write(first, "BR2_JLEVEL=1\n");
    expect_failure(
        &mut config_command(&made_up, &["diff"]),
        1,
        "error: Buildroot is not configured in the workspace `default`\nhint: run `skiff-image configure` first",
    );
    made_up.write("workspaces/default/.config", "");
    expect_failure(
        &mut config_command(&made_up, &["diff"]),
        1,
        "error: it is not known which Buildroot the workspace `default` was configured from\n\
         hint: give its source tree by `--buildroot`",
    );
}

#[test]
fn fragments_that_cannot_be_read_are_told() {
    let belongs = "hint: Buildroot's symbols belong in buildroot/, those of Linux in kernel/, of U-Boot in uboot/, of \
                   BusyBox in busybox/";
    let made_up = made_up();
    let at = "configs/a/first";
    let fails =
        |arguments: &[&str], said: &str| expect_failure(&mut config_command(&made_up, arguments), 1, said);

    made_up.write(&format!("{at}/kernel/base"), "CONFIG_A=y\n# BR2_JLEVEL is not set\n");
    let said = format!(
        "error: {at}/kernel/base:2:3: `BR2_JLEVEL` in kernel/, where symbols begin with `CONFIG_`\n{belongs}"
    );
    fails(&["list", "--kernel"], &said);
    made_up.write(&format!("{at}/buildroot/base"), "# all\n\nCONFIG_NET=y\n");
    let said = format!(
        "error: {at}/buildroot/base:3:1: `CONFIG_NET` in buildroot/, where symbols begin with `BR2_`\n{belongs}"
    );
    fails(&["list"], &said);
    made_up.write(&format!("{at}/buildroot/base"), b"BR2_A=y\n# \xc3\xa4\xc3\xa4 \xff\n");
    let said = format!(
        "error: {at}/buildroot/base:2:6: byte 0xff is not UTF-8\nhint: save the file as UTF-8, or remove the line"
    );
    fails(&["list"], &said);
    fs::create_dir(made_up.path(&format!("{at}/buildroot/old"))).unwrap();
    let said = format!(
        "error: `{at}/buildroot/old` is a directory, where only files are read\n\
         hint: move its files one level up, or begin its name with a dot"
    );
    fails(&["list"], &said);
}

#[test]
fn what_configure_added_is_part_of_the_request() {
    let made_up = made_up();
    let at = "configs/a/first/buildroot/base";
    made_up.write(at, "BR2_PACKAGE_IMAGE=y\nBR2_PACKAGE_IMAGE_LZ4=y\n");
    made_up.write(
        "workspaces/.config_default/buildroot/config",
        "\n# a/first: buildroot/base\nBR2_JLEVEL=1\n\n# skiff-image\n# BR2_PACKAGE_IMAGE is not set\nBR2_PATH=\"x\"\n",
    );
    made_up.write("workspaces/default/.config", "BR2_arm=y\n");
    let (stdout, _) =
        succeed(&mut config_command(&made_up, &["explain", "BR2_PACKAGE_IMAGE", "--buildroot", "br"]));
    assert_eq!(
        stdout,
        format!(
            "BR2_PACKAGE_IMAGE\n  {at}:1: y (a/first, overridden)\n  skiff-image: n (skiff-image, wins)\n  \
               workspaces/default/.config: not set (effective)\n"
        )
    );
    let (stdout, _) = succeed(&mut config_command(&made_up, &["diff", "--buildroot", "br"]));
    assert_eq!(
        stdout,
        format!(
            "{at}:2: `BR2_PACKAGE_IMAGE_LZ4=y` is dropped: it depends on `BR2_PACKAGE_IMAGE`, which is `n`, as \
             skiff-image asks for\n1 of 3 settings are not effective\n"
        )
    );
}

/// The tree that SKIFF_BUILDROOT_TREE names; without it the test is skipped, visibly.
fn tree(test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("SKIFF_BUILDROOT_TREE").filter(|value| !value.is_empty()).map(PathBuf::from);
    if found.is_none() {
        leave_out(test, "SKIFF_BUILDROOT_TREE names no source tree");
    }
    found
}

/// What Buildroot makes of a request with our external tree.
fn configured(tree: &Path, external: &[PathBuf], output: &Path, request: &Merged) -> Config {
    fs::write(output.join("defconfig"), request.text()).unwrap();
    let variable = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(tree).arg(variable("O", output)).arg("defconfig");
    let external = std::env::join_paths(external).unwrap();
    make.arg(variable("BR2_DEFCONFIG", &output.join("defconfig")));
    make.arg(variable("BR2_EXTERNAL", Path::new(&external)));
    let made = make.env("LC_ALL", "C").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Config::parse(&fs::read_to_string(output.join(".config")).unwrap())
}

#[test]
fn differences_of_our_boards_with_buildroot_are_overrides_only() {
    let Some(tree) = tree("differences_of_our_boards_with_buildroot_are_overrides_only") else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for chain in ["pi/4", "virt/qemu", "intel/desktop"] {
        let request =
            Merged::from_fragments(&fragment::read(&resolved(root, chain), Kind::Buildroot).unwrap());
        let config = configured(&tree, &[root.join("buildroot")], output.path(), &request);
        let begun = std::time::Instant::now();
        let definitions = Definitions::for_buildroot(&tree, output.path());
        eprintln!("{chain}: {} files of Kconfig in {:?}", definitions.files(), begun.elapsed());
        assert!(definitions.missing().is_empty(), "{:?}", definitions.missing());
        assert!(definitions.files() > 3000, "{} files", definitions.files());
        let dropped = compare(&request, &config, &definitions);
        for dropped in &dropped {
            eprintln!("{chain}: {dropped}");
        }
        eprintln!("{chain}: {} of {} settings differ", dropped.len(), request.settings().count());
        let lost: Vec<_> = dropped.iter().filter(|dropped| !dropped.is_override()).collect();
        assert!(lost.is_empty(), "{chain}: {lost:#?}");
    }
}

/// Kconfig's own answer for symbols of the real tree: what cannot be turned on has a dependency that does not hold.
#[test]
fn dependencies_of_packages_of_buildroot_are_found() {
    let Some(tree) = tree("dependencies_of_packages_of_buildroot_are_found") else { return };
    let output = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let empty = output.path().join("external");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("external.desc"), "name: EMPTY\n").unwrap();
    fs::write(empty.join("external.mk"), "").unwrap();
    fs::write(empty.join("Config.in"), "").unwrap();
    let definitions = Definitions::for_buildroot(&tree, output.path());
    let packages = definitions.symbols().filter(|symbol| symbol.starts_with("BR2_PACKAGE_"));
    let mut request = Merged::default();
    request.append("all", &packages.map(|symbol| format!("{symbol}=y\n")).collect::<String>());
    let config = configured(&tree, &[empty], output.path(), &request);
    let definitions = Definitions::for_buildroot(&tree, output.path());
    let dropped = compare(&request, &config, &definitions);
    let count = |wanted: fn(&Why) -> bool| dropped.iter().filter(|dropped| wanted(&dropped.why)).count();
    let unexplained: Vec<_> =
        dropped.iter().filter(|dropped| dropped.why == Why::Unexplained).map(ToString::to_string).collect();
    eprintln!(
        "{} of {} packages cannot be had at once: {} depend on what is not there, {} are chosen otherwise, {} follow \
         from others, {} expect another type, {} unexplained",
        dropped.len(),
        request.settings().count(),
        count(|why| matches!(why, Why::Unmet { .. })),
        count(|why| matches!(why, Why::Chosen { .. })),
        count(|why| *why == Why::NoPrompt),
        count(|why| matches!(why, Why::Invalid { .. })),
        unexplained.len()
    );
    assert!(count(|why| matches!(why, Why::Unmet { .. })) > 100);
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}

/// What SkiffOS drops in silence: every setting of its layers that Buildroot does not take has a reason here.
#[test]
fn what_buildroot_drops_of_skiffos_is_explained() {
    let test = "what_buildroot_drops_of_skiffos_is_explained";
    let (Some(root), Some(tree)) = (skiffos_tree(test), tree(test)) else { return };
    for chain in ["virt/qemu", "pi/4,skiff/core", "odroid/xu", "intel/desktop"] {
        let output = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let layers = resolved(&root, chain);
        let external: Vec<PathBuf> = layers.iter().filter_map(|layer| layer.file("buildroot_ext")).collect();
        let request = Merged::from_fragments(&fragment::read(&layers, Kind::Buildroot).unwrap());
        let config = configured(&tree, &external, output.path(), &request);
        let definitions = Definitions::for_buildroot(&tree, output.path());
        let dropped = compare(&request, &config, &definitions);
        for dropped in &dropped {
            eprintln!("{chain}: {dropped}");
        }
        let overrides = dropped.iter().filter(|dropped| dropped.is_override()).count();
        eprintln!(
            "{chain}: {} of {} settings, {overrides} overrides",
            dropped.len(),
            request.settings().count()
        );
        assert!(dropped.len() > overrides, "{chain}: something is dropped");
        assert!(dropped.iter().all(|dropped| dropped.why != Why::Unexplained), "{chain}");
    }
}
