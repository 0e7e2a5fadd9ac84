//! `buildroot`, which runs goals of Buildroot's make and saves what an editor changes, and `legal-info`.

use std::fs;
use std::process::Command;

use crate::harness::project::{Project, json, run, succeed};
use crate::harness::tools::oracle;
use crate::harness::toy_buildroot::KCONFIG;
use serde_json::json;

/// `buildroot GOAL` whose editor runs these lines in the directory of the configuration.
fn edit(built: &Project, goal: &str, lines: &str) -> Command {
    built.script("edit.sh", lines);
    let mut command = built.verb("buildroot", &[goal]);
    command.env("TOY_MENUCONFIG", format!("sh {}", built.path("edit.sh").display()));
    command
}

/// A symbol of the effective configuration.
fn effective(built: &Project, symbol: &str) -> Option<String> {
    let text = built.read("workspaces/default/.config");
    text.lines().find_map(|line| line.strip_prefix(symbol)?.strip_prefix('=')).map(str::to_owned)
}

#[test]
fn what_make_prints_and_how_it_ends_is_passed_on() {
    if !oracle("what_make_prints_and_how_it_ends_is_passed_on", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    let (stdout, _) = succeed(&mut built.verb("buildroot", &["-s", "print-version"]));
    assert_eq!(stdout, "2026.05.1\n");
    let (_, stderr, code) = run(&mut built.command(&["buildroot", "no-such-goal", "X=1"]));
    assert_eq!(code, 2);
    assert!(stderr.ends_with("\nerror: `make no-such-goal X=1` ended with exit code 2\n"), "{stderr}");
}

#[test]
fn edits_are_kept_through_configures_and_further_edits() {
    if !oracle("edits_are_kept_through_configures_and_further_edits", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    let delta = "overrides/workspaces/default/buildroot/zz-buildroot-menuconfig-delta";
    let name = "sed -i 's/^BR2_TARGET_GENERIC_HOSTNAME=.*/BR2_TARGET_GENERIC_HOSTNAME=\"a b\"/' .config";
    let (_, stderr) = succeed(&mut edit(&built, "menuconfig", name));
    assert!(
        stderr.contains(&format!("1 settings are saved in `{delta}`, which keeps 0 of earlier\n")),
        "{stderr}"
    );
    assert_eq!(built.read(delta), "BR2_TARGET_GENERIC_HOSTNAME=\"a b\"\n");
    // SkiffOS would forget the first edit now.
    let hello = "sed -i 's/^BR2_PACKAGE_HELLO=y/# BR2_PACKAGE_HELLO is not set/' .config";
    let (_, stderr) = succeed(&mut edit(&built, "menuconfig", hello));
    assert!(
        stderr.contains(&format!("1 settings are saved in `{delta}`, which keeps 1 of earlier\n")),
        "{stderr}"
    );
    assert_eq!(built.read(delta), "# BR2_PACKAGE_HELLO is not set\nBR2_TARGET_GENERIC_HOSTNAME=\"a b\"\n");
    for _ in 0..2 {
        let told = |symbol| effective(&built, symbol);
        assert_eq!(
            (told("BR2_TARGET_GENERIC_HOSTNAME").as_deref(), told("BR2_PACKAGE_HELLO")),
            (Some("\"a b\""), None)
        );
        let (_, stderr) = succeed(&mut built.verb("configure", &[]));
        assert!(!stderr.contains("edited by hand"), "{stderr}");
    }
    let (_, stderr) = succeed(&mut edit(&built, "menuconfig", "true"));
    assert!(stderr.ends_with("nothing was changed\n"), "{stderr}");
    // An editor that fails has saved nothing.
    let before = built.read(delta);
    let (_, stderr, code) = run(&mut edit(&built, "menuconfig", "echo BR2_CCACHE=y >>.config; exit 1"));
    assert_eq!((code, built.read(delta)), (2, before));
    assert!(stderr.ends_with("\nerror: `make menuconfig` ended with exit code 2\n"), "{stderr}");
}

#[test]
fn edits_of_the_kernel_are_kept_too() {
    if !oracle("edits_of_the_kernel_are_kept_too", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    built.write("start", "CONFIG_A=y\nCONFIG_B=m\n");
    let lines =
        "sed -i '/CONFIG_B/d' .config\necho '# CONFIG_B is not set' >>.config\necho CONFIG_C=7 >>.config";
    let mut command = edit(&built, "linux-menuconfig", lines);
    let (_, stderr) = succeed(command.env("TOY_LINUX_FRAGMENT", built.path("start")));
    let delta = "overrides/workspaces/default/kernel/zz-linux-menuconfig-delta";
    assert!(
        stderr.contains(&format!("2 settings are saved in `{delta}`, which keeps 0 of earlier\n")),
        "{stderr}"
    );
    assert_eq!(built.read(delta), "# CONFIG_B is not set\nCONFIG_C=7\n");
    // They are what the kernel is given from now on.
    let given = built.read("workspaces/.config_default/kernel/config");
    assert!(given.contains("# CONFIG_B is not set\nCONFIG_C=7\n"), "{given}");
    // What is gone from the configuration is not kept.
    let (_, stderr) = succeed(&mut edit(&built, "linux-menuconfig", ": >.config"));
    assert!(stderr.contains(&format!("nothing is left to save: `{delta}` is removed\n")), "{stderr}");
    assert!(!built.path(delta).exists());
}

#[test]
fn settings_of_the_kernel_that_were_dropped_are_told_when_it_is_built() {
    if !oracle("settings_of_the_kernel_that_were_dropped_are_told_when_it_is_built", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    built.write("configs/a/b/kernel/base", "CONFIG_A=y\nCONFIG_GONE=y\n");
    built.write("made", "CONFIG_A=y\n");
    let mut compile = built.compile(&["--quiet"]);
    compile.env("TOY_LINUX_FRAGMENT", built.path("made"));
    succeed(&mut compile);
    let linux = "workspaces/default/build/linux-6.12";
    built.write(&format!("{linux}/Kconfig"), "config A\n\tbool \"a\"\n");
    fs::remove_file(built.path(linux).join(".stamp_installed")).unwrap();
    let (_, stderr) = succeed(&mut compile);
    assert_eq!(stderr, "warning: configs/a/b/kernel/base:2: `CONFIG_GONE=y` is dropped: no such symbol\n");
}

#[test]
fn layers_are_part_of_the_legal_info() {
    if !oracle("layers_are_part_of_the_legal_info", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    built.write("configs/a/b/metadata/description", "a board\n");
    built.write("configs/a/b/root_overlay/etc/motd", "hi\n");
    built.write("overrides/kernel_patches/1.patch", "");
    let info = json(&mut built.verb("legal-info", &["--quiet"]));
    let directory = "workspaces/default/legal-info";
    assert_eq!(
        info,
        json!({
            "directory": directory,
            "layers": format!("{directory}/layers.json"),
            "log": "workspaces/default/legal-info.log",
        })
    );
    let read = || {
        serde_json::from_str::<serde_json::Value>(&built.read(&format!("{directory}/layers.json"))).unwrap()
    };
    let first = read();
    let digest = |layers: &serde_json::Value, index: usize| layers["layers"][index]["digest"].clone();
    assert_eq!(
        first,
        json!({
            "schema": "skiff-image.layers/1",
            "skiff_image": env!("CARGO_PKG_VERSION"),
            "buildroot": "2026.05.1",
            "chain": "a/b",
            "version": "0",
            "commit": "0",
            "layers": [
                {
                    "name": "a/b", "description": "a board", "path": "configs/a/b", "digest": digest(&first, 0),
                    "root_overlay": true, "patches": [],
                },
                {
                    "name": "overrides", "description": null, "path": "overrides", "digest": digest(&first, 1),
                    "root_overlay": false, "patches": ["kernel_patches"],
                },
            ],
        })
    );
    // Its sum is among Buildroot's, once, and all are right.
    for _ in 0..2 {
        let (stdout, _) = succeed(&mut built.command(&["legal-info", "--quiet"]));
        assert_eq!(
            stdout,
            format!(
                "legal-info `{directory}`\nlayers     `{directory}/layers.json`\nlog        \
                 `workspaces/default/legal-info.log`\n"
            )
        );
    }
    let mut sums = Command::new("sha256sum");
    let checked =
        sums.args(["--check", "legal-info.sha256"]).current_dir(built.path(directory)).output().unwrap();
    assert_eq!(String::from_utf8(checked.stdout).unwrap(), "layers.json: OK\nmanifest.csv: OK\n");
    built.write("configs/a/b/root_overlay/etc/motd", "ho\n");
    succeed(&mut built.command(&["legal-info", "--quiet"]));
    assert_ne!(digest(&read(), 0), digest(&first, 0));
    assert_eq!(digest(&read(), 1), digest(&first, 1));
}
