//! `configure`: what it writes, what Buildroot makes of it, what it remembers, and what it refuses. `clean`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::project;
use crate::harness::project::Project;
use crate::harness::project::{expect_failure, json, run, succeed};
use crate::harness::skip::leave_out;
use crate::harness::tools;
use crate::harness::tools::oracle;
use crate::harness::tools::{write, write_script};
use crate::harness::toy_buildroot::KCONFIG;
use serde_json::json;

#[test]
fn what_layers_ask_for_is_configured_once() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    project.write("configs/a/b/kernel/base", "CONFIG_X=y\n# CONFIG_Y is not set");
    let (stdout, stderr) = succeed(&mut project.configure());
    let (root, toy) = (project.root(), project.beside("toy"));
    assert_eq!(
        stdout,
        format!(
            "workspace  default (`{}`)\nchain      a/b\nBuildroot  2026.05.1 (`{}`)\n\
             settings   15; .config made anew (the workspace was not configured)\n\
             changed    12 files below workspaces/.config_default\nnext       skiff-image compile\n",
            root.join("workspaces/default").display(),
            toy.display()
        )
    );
    assert_eq!(stderr, "");
    assert_eq!(project.effective("BR2_aarch64").as_deref(), Some("y"));
    assert_eq!(project.effective("BR2_REPRODUCIBLE").as_deref(), Some("y"));
    assert_eq!(project.effective("BR2_TARGET_ROOTFS_TAR"), None);
    assert!(
        project
            .read("workspaces/.config_default/kernel/config")
            .contains("CONFIG_X=y\n# CONFIG_Y is not set")
    );
    let script = project.path("workspaces/.config_default/pre_build.sh");
    assert_eq!(
        project.read("workspaces/.config_default/pre_build.sh"),
        format!(
            "#!/bin/sh\nexec '{}' hook pre --workspace 'default' --root '{}'\n",
            fs::canonicalize(project::PROGRAM).unwrap().display(),
            root.display()
        )
    );
    assert_eq!(fs::metadata(script).unwrap().permissions().mode() & 0o777, 0o755);

    let before = project.times("workspaces");
    let again = json(&mut project.configure());
    assert_eq!(
        again,
        json!({
            "workspace": "default",
            "output": root.join("workspaces/default"),
            "chain": ["a/b"],
            "buildroot": toy,
            "buildroot_version": "2026.05.1",
            "externals": [],
            "changed": [],
            "made": null,
            "edited": null,
            "settings": 15,
            "dropped": [],
        })
    );
    assert_eq!(project.times("workspaces"), before, "nothing is written");
}

#[test]
fn only_what_changes_is_written() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    project.write("configs/a/b/kernel/base", "CONFIG_X=y\n");
    project.write("configs/a/b/busybox/base", "CONFIG_Z=y\n");
    succeed(&mut project.configure());
    let before = project.times("workspaces");
    project.write("configs/a/b/kernel/base", "CONFIG_X=m\n");
    let changed = json(&mut project.configure());
    assert_eq!(changed["changed"], json!(["workspaces/.config_default/kernel/config"]));
    assert_eq!(changed["made"], json!(null), "Kconfig of Buildroot does not read it");
    let after = project.times("workspaces");
    let differing: Vec<_> = after.iter().filter(|(path, time)| before.get(*path) != Some(*time)).collect();
    assert_eq!(differing.len(), 1, "{differing:?}");

    project.write("configs/a/b/buildroot/more", "BR2_PACKAGE_HELLO=y\n");
    let changed = json(&mut project.configure());
    assert_eq!(changed["changed"], json!(["workspaces/.config_default/buildroot/config"]));
    assert_eq!(changed["made"], json!("changed"));
    assert_eq!(project.effective("BR2_PACKAGE_HELLO").as_deref(), Some("y"));
}

#[test]
fn buildroot_is_told_where_the_parts_of_layers_are() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    project.write("configs/a/b/buildroot/more", "BR2_LINUX_KERNEL=y\nBR2_TARGET_UBOOT=y\nBR2_CCACHE=y\n");
    project.write("configs/a/b/metadata/dependencies", "a/c");
    for layer in ["a/b", "a/c"] {
        for part in ["root_overlay/etc/x", "buildroot_patches/x/1.patch", "uboot_patches/u.patch"] {
            project
                .write(&format!("configs/{layer}/{}", part.replace("u.patch", &layer.replace('/', "-"))), "");
        }
        project.write(
            &format!("configs/{layer}/cflags/flags"),
            format!("# why\n-m{}\n", layer.replace('/', "-")),
        );
    }
    project.write("configs/a/b/uboot_patches/0001-b.patch", "");
    project.write("configs/a/b/kernel_patches/0001-x.patch", "");
    project.write("configs/a/b/users/users", "a -1 a -1 * - - - no newline");
    project.write("configs/a/c/users/users", "c -1 c -1 * - - - -\n");
    project.write("overrides/kernel_patches/.gitkeep", "");
    project.write("overrides/root_overlay/.gitkeep", "");
    succeed(&mut project.configure());
    let root = project.root().display().to_string();
    let path = |name: &str| format!("{root}/{name}");
    let expected = [
        (
            "BR2_GLOBAL_PATCH_DIR",
            path("configs/a/c/buildroot_patches") + " " + &path("configs/a/b/buildroot_patches"),
        ),
        ("BR2_LINUX_KERNEL_PATCH", path("configs/a/b/kernel_patches")),
        ("BR2_TARGET_UBOOT_PATCH", path("configs/a/b/uboot_patches")),
        (
            "BR2_ROOTFS_OVERLAY",
            ["configs/a/c", "configs/a/b", "overrides"].map(|layer| path(layer) + "/root_overlay").join(" "),
        ),
        ("BR2_TARGET_OPTIMIZATION", "-ma-c -ma-b".into()),
        ("BR2_CCACHE_DIR", path("workspaces/.ccache/default")),
        ("BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES", path("workspaces/.config_default/kernel/config")),
        ("BR2_TARGET_UBOOT_CONFIG_FRAGMENT_FILES", path("workspaces/.config_default/uboot/config")),
        ("BR2_PACKAGE_BUSYBOX_CONFIG_FRAGMENT_FILES", path("workspaces/.config_default/busybox/config")),
        ("BR2_ROOTFS_USERS_TABLES", path("workspaces/.config_default/users")),
        ("BR2_ROOTFS_POST_BUILD_SCRIPT", path("workspaces/.config_default/pre_build.sh")),
        ("BR2_ROOTFS_POST_IMAGE_SCRIPT", path("workspaces/.config_default/post_build.sh")),
    ];
    for (symbol, value) in expected {
        assert_eq!(project.effective(symbol), Some(format!("\"{value}\"")), "{symbol}");
    }
    assert_eq!(
        project.read("workspaces/.config_default/users"),
        "c -1 c -1 * - - - -\na -1 a -1 * - - - no newline\n"
    );
    assert_eq!(
        project.effective("BR2_ROOTFS_DEVICE_TABLE_SUPPORTS_EXTENDED_ATTRIBUTES").as_deref(),
        Some("y")
    );
}

#[test]
fn images_of_buildroot_are_left_out_unless_they_are_wanted() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    project.write("configs/a/b/buildroot/output", "BR2_TARGET_ROOTFS_CPIO=y\nBR2_TARGET_ROOTFS_TAR=y\n");
    let (_, stderr) = succeed(&mut project.configure());
    assert_eq!(
        stderr,
        "Buildroot's own images are left out (cpio, tar): `assemble` composes them; `--keep-images` keeps them\n"
    );
    assert_eq!(
        (project.effective("BR2_TARGET_ROOTFS_CPIO"), project.effective("BR2_TARGET_ROOTFS_TAR")),
        (None, None)
    );
    succeed(project.configure().arg("--keep-images"));
    let (_, stderr) = succeed(&mut project.configure());
    assert_eq!(stderr, "as at the last configure: `--keep-images` (`--forget` uses none of it)\n");
    assert_eq!(project.effective("BR2_TARGET_ROOTFS_CPIO").as_deref(), Some("y"));
    assert_eq!(project.effective("BR2_TARGET_ROOTFS_TAR").as_deref(), Some("y"));
}

#[test]
fn what_layers_set_without_effect_is_told() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    project.write(
        "configs/a/b/buildroot/own",
        "BR2_GLOBAL_PATCH_DIR=\"g\"\nBR2_LINUX_KERNEL_PATCH=\"k\"\nBR2_TARGET_UBOOT_PATCH=\"u\"\n\
         BR2_ROOTFS_OVERLAY=\"o\"\nBR2_ROOTFS_POST_BUILD_SCRIPT=\"b\"\nBR2_ROOTFS_POST_IMAGE_SCRIPT=\"i\"\n\
         BR2_ROOTFS_USERS_TABLES=\"t\"\nBR2_TARGET_OPTIMIZATION=\"-O9\"\nBR2_CCACHE_DIR=\"c\"\n\
         BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES=\"f\"\n# BR2_REPRODUCIBLE is not set\n",
    );
    project.write("configs/a/b/cflags/flags", "-mfast\n");
    let (_, stderr) = succeed(&mut project.configure());
    let mut lines: Vec<String> = [
        (9, "BR2_CCACHE_DIR", "\"c\"", "set the variable of this name"),
        (1, "BR2_GLOBAL_PATCH_DIR", "\"g\"", "put patches into `buildroot_patches/` of the layer"),
        (
            10,
            "BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES",
            "\"f\"",
            "put fragments into `kernel/`, `uboot/` or `busybox/` of the layer",
        ),
        (2, "BR2_LINUX_KERNEL_PATCH", "\"k\"", "put patches into `kernel_patches/` of the layer"),
        (11, "BR2_REPRODUCIBLE", "n", "composing needs it otherwise"),
        (4, "BR2_ROOTFS_OVERLAY", "\"o\"", "put files into `root_overlay/` of the layer"),
        (5, "BR2_ROOTFS_POST_BUILD_SCRIPT", "\"b\"", "name the script `hooks/pre.sh` of the layer"),
        (6, "BR2_ROOTFS_POST_IMAGE_SCRIPT", "\"i\"", "name the script `hooks/post.sh` of the layer"),
        (7, "BR2_ROOTFS_USERS_TABLES", "\"t\"", "put tables into `users/` of the layer"),
        (
            8,
            "BR2_TARGET_OPTIMIZATION",
            "\"-O9\"",
            "add the flags to `cflags/` of the layer, as other layers do",
        ),
        (3, "BR2_TARGET_UBOOT_PATCH", "\"u\"", "put patches into `uboot_patches/` of the layer"),
    ]
    .map(|(line, symbol, value, instead)| {
        format!("warning: `{symbol}={value}` (configs/a/b/buildroot/own:{line}) has no effect: {instead}")
    })
    .into();
    lines.sort();
    let mut told: Vec<&str> = stderr.lines().collect();
    told.sort_unstable();
    assert_eq!(told, lines);
}

#[test]
fn later_runs_need_no_flags() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    write(&project.beside("extra/x/y/buildroot/z"), "BR2_PACKAGE_HELLO=y\n");
    write(&project.beside("own/buildroot/z"), "BR2_PACKAGE_SLOW=y\n");
    let mut first =
        project.command(&["configure", "--buildroot", "../toy", "--any-buildroot", "--skiffos-order"]);
    first
        .env("SKIFF_CONFIG", "a/b, x/y,new/one")
        .env("SKIFF_EXTRA_CONFIGS_PATH", "../extra")
        .env("SKIFF_CONFIG_PATH_NEW_ONE", project.beside("own"))
        .env("SOURCE_DATE_EPOCH", "1700000000");
    let chain = json(&mut first)["chain"].clone();
    assert_eq!(chain, json!(["a/b", "x/y", "new/one"]));
    assert_eq!(project.read("workspaces/.config_default/skiff_config"), "a/b,x/y,new/one\n");
    assert_eq!(project.read("workspaces/.config_default/skiff_extra_configs_path"), "../extra\n");
    let selection: serde_json::Value =
        serde_json::from_str(&project.read("workspaces/.config_default/selection.json")).unwrap();
    assert_eq!(selection["asked"]["chain"], "a/b, x/y,new/one");

    let before = project.times("workspaces");
    let (stdout, stderr) = run(&mut project.command(&["configure"])).clone_two();
    assert!(
        stdout.contains("chain      a/b, x/y, new/one\n") && stdout.contains("nothing to do"),
        "{stdout}"
    );
    assert_eq!(
        stderr,
        format!(
            "as at the last configure: chain `a/b, x/y,new/one`, SKIFF_EXTRA_CONFIGS_PATH=../extra, \
             `--skiffos-order`, SKIFF_CONFIG_PATH_NEW_ONE={}, Buildroot at `{}`, `--any-buildroot`, \
             SOURCE_DATE_EPOCH=1700000000 (`--forget` uses none of it)\n",
            project.beside("own").display(),
            project.beside("toy").display()
        )
    );
    assert_eq!(project.times("workspaces"), before);
    // What is given wins, one by one.
    let other = json(project.command(&["configure", "--config", "x/y"]).env("SOURCE_DATE_EPOCH", "5"));
    assert_eq!(other["chain"], json!(["x/y"]));
    expect_failure(
        &mut project.command(&["configure", "--forget"]),
        1,
        "error: no chain of layers is given, and the workspace `default` remembers none\nhint: `skiff-image layers list` \
         shows the layers; set SKIFF_CONFIG, for example to `pi/4,util/rootlogin`, or give `--config`",
    );
}

trait Two {
    fn clone_two(self) -> (String, String);
}

impl Two for (String, String, i32) {
    fn clone_two(self) -> (String, String) {
        assert_eq!(self.2, 0, "{}", self.1);
        (self.0, self.1)
    }
}

#[test]
fn what_is_remembered_must_be_right() {
    let project = Project::to_configure();
    let file = "workspaces/.config_default/selection.json";
    project.write(file, "{\n  \"format\": 1,\n  \"chain\": 3\n}\n");
    let hint = format!("hint: remove `{file}` and configure again with the chain of layers");
    expect_failure(
        &mut project.command(&["configure"]),
        1,
        &format!(
            "error: `{file}:3:9` does not say what was selected: unknown field `chain`, expected one of `format`, \
             `asked`, `used` at line 3 column 9\n{hint}"
        ),
    );
    project.write(file, "{\"format\": 2, \"other\": []}\n");
    expect_failure(
        &mut project.command(&["configure"]),
        1,
        &format!("error: `{file}` has format 2, this program knows 1\n{hint}"),
    );
    project.write("configs/a/b/metadata/description", "b");
    let command =
        &mut project.command(&["configure", "--forget", "--config", "a/b", "--buildroot", "../toy"]);
    expect_failure(
        command.env("SOURCE_DATE_EPOCH", "now"),
        1,
        "error: SOURCE_DATE_EPOCH is `now`: give whole seconds since 1970, as `date +%s` prints them\n\
         hint: unset it, or set it to a number",
    );
}

#[test]
fn the_time_of_the_last_commit_is_remembered_where_none_is_given() {
    if !oracle("configure", KCONFIG) || !oracle("configure", "git") {
        return;
    }
    let project = Project::to_configure();
    let used = |project: &Project| {
        succeed(&mut project.configure());
        let text = project.read("workspaces/.config_default/selection.json");
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["used"]["source_date_epoch"].clone()
    };
    assert_eq!(used(&project), json!(null));
    for arguments in [&["init", "--quiet"][..], &["add", "configs"], &["commit", "--quiet", "--message", "x"]]
    {
        let mut git = tools::command("git");
        let git = git.args(["-c", "user.name=x", "-c", "user.email=x@example.org"]).args(arguments);
        git.current_dir(project.root()).env("GIT_COMMITTER_DATE", "1600000000 +0000");
        assert!(git.status().unwrap().success());
    }
    assert_eq!(used(&project), json!(1_600_000_000));
    succeed(project.configure().env("SOURCE_DATE_EPOCH", "1700000000"));
    assert_eq!(used(&project), json!(1_700_000_000), "what was given is remembered");
}

#[test]
fn what_cannot_be_remembered_is_told() {
    let project = Project::to_configure();
    let odd = project.beside("extra").join(OsStr::from_bytes(b"\xff"));
    fs::create_dir_all(&odd).unwrap();
    expect_failure(
        project.configure().env("SKIFF_EXTRA_CONFIGS_PATH", &odd),
        1,
        &format!(
            "error: `{}` of `SKIFF_EXTRA_CONFIGS_PATH` is not UTF-8\nhint: rename the directory",
            odd.display()
        ),
    );
}

#[test]
fn a_workspace_of_skiffos_goes_on() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    fs::rename(project.beside("toy"), project.path("buildroot")).unwrap();
    write(&project.beside("extra/x/y/buildroot/z"), "BR2_PACKAGE_HELLO=y\n");
    project.write(
        "configs-base/pre/buildroot/base",
        "BR2_TARGET_GENERIC_HOSTNAME=\"SKIFF_CONFIG_ROOT REPLACEME_SKIFF_VERSION_COMMIT REPLACEME_SKIFF_VERSION\"\n",
    );
    project.write("configs-base/pre/root_overlay/etc/x", "");
    project.write("configs-base/post/buildroot/config", POST);
    project.write("workspaces/.config_default/skiff_config", "a/b,x/y\n");
    project.write("workspaces/.config_default/skiff_extra_configs_path", "../extra\n");
    project.write("workspaces/.config_default/final/buildroot", "# old\n");
    project.write("workspaces/default/Makefile", "");
    symlink("../.config_default/final/buildroot", project.path("workspaces/default/.config")).unwrap();
    symlink(project.path("workspaces/default"), project.path("workspaces/default/output")).unwrap();
    let mut configure = project.command(&["configure"]);
    let (stdout, stderr) = succeed(configure.env("BUILDROOT_DIR", project.path("workspaces/default")));
    assert_eq!(
        stderr,
        format!(
            "as at the last configure: chain `a/b,x/y`, SKIFF_EXTRA_CONFIGS_PATH=../extra (`--forget` uses none of \
             it)\nwarning: BUILDROOT_DIR names `{}`, an output directory of Buildroot, and is ignored\n",
            project.path("workspaces/default").display()
        )
    );
    assert!(stdout.contains("chain      configs-base/pre, a/b, x/y, configs-base/post\n"), "{stdout}");
    assert!(stdout.contains(&format!("(`{}`)", project.path("buildroot").display())), "{stdout}");
    assert!(!project.path("workspaces/default/.config").is_symlink());
    assert_eq!(project.effective("BR2_PACKAGE_HELLO").as_deref(), Some("y"));
    let base = project.path("configs-base/pre");
    assert_eq!(project.effective("BR2_TARGET_GENERIC_HOSTNAME"), Some(format!("\"{} 0 0\"", base.display())));
    assert_eq!(project.effective("BR2_ROOTFS_OVERLAY"), Some(format!("\"{}/root_overlay\"", base.display())));
    let request = project.read("workspaces/.config_default/buildroot/config");
    assert!(!request.contains("REPLACEME"), "{request}");
    let config = project.path("workspaces/.config_default").display().to_string();
    for line in [
        format!("BR2_ROOTFS_USERS_TABLES=\"{config}/users\""),
        format!("BR2_ROOTFS_POST_BUILD_SCRIPT=\"{config}/pre_build.sh\""),
        format!("BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES=\"{config}/kernel/config\""),
    ] {
        assert_eq!(request.matches(&line).count(), 2, "the base and we agree: {line}");
    }
}

/// What the base of a SkiffOS tree closes with.
const POST: &str = "BR2_GLOBAL_PATCH_DIR=\"REPLACEME_BR_PATCHES\"
BR2_PACKAGE_BUSYBOX_CONFIG_FRAGMENT_FILES=\"REPLACEME_BUSYBOX_FRAGMENTS\"
BR2_TARGET_UBOOT_CONFIG_FRAGMENT_FILES=\"REPLACEME_UBOOT_FRAGMENTS\"
BR2_TARGET_UBOOT_PATCH=\"REPLACEME_UBOOT_PATCHES\"
BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES=\"REPLACEME_KERNEL_FRAGMENTS\"
BR2_LINUX_KERNEL_PATCH=\"REPLACEME_KERNEL_PATCHES\"
BR2_ROOTFS_OVERLAY=\"REPLACEME_ROOTFS_OVERLAY\"
BR2_ROOTFS_POST_IMAGE_SCRIPT=\"REPLACEME_FINAL_CONFIG_DIR/post_build.sh\"
BR2_ROOTFS_POST_BUILD_SCRIPT=\"REPLACEME_FINAL_CONFIG_DIR/pre_build.sh\"
BR2_ROOTFS_USERS_TABLES=\"REPLACEME_FINAL_CONFIG_DIR/users\"
";

fn external(project: &Project, layer: &str, name: &str) {
    project.write(&format!("{layer}/buildroot_ext/external.desc"), format!("name: {name}\n"));
    project.write(&format!("{layer}/buildroot_ext/external.mk"), "");
    project.write(
        &format!("{layer}/buildroot_ext/Config.in"),
        format!("config BR2_PACKAGE_OF_{name}\n\tbool \"of {name}\"\n"),
    );
}

#[test]
fn layers_at_paths_that_buildroot_cannot_take_are_reached_by_links() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    let odd = "../ex tra@#&$'\":%";
    let layer = format!("{odd}/x/y");
    external(&project, &layer, "ODD");
    project.write(
        &format!("{layer}/buildroot/z"),
        "BR2_PACKAGE_OF_ODD=y\nBR2_LINUX_KERNEL=y\nBR2_TARGET_GENERIC_HOSTNAME=\"SKIFF_CONFIG_ROOT\"\n",
    );
    project.write(&format!("{layer}/root_overlay/etc/x"), "");
    project.write(&format!("{layer}/kernel_patches/1.patch"), "");
    let mut configure = project.command(&["configure", "--buildroot", "../toy", "--config", "a/b,x/y"]);
    // A colon separates the entries of that variable.
    let configure = configure.env("SKIFF_CONFIG_PATH_X_Y", project.path(&layer));
    succeed(configure);
    let link = project.path("workspaces/.config_default/layers/x.y");
    assert_eq!(fs::read_link(&link).unwrap(), fs::canonicalize(project.path(&layer)).unwrap());
    let link = link.display();
    assert_eq!(project.effective("BR2_PACKAGE_OF_ODD").as_deref(), Some("y"));
    assert_eq!(project.effective("BR2_ROOTFS_OVERLAY"), Some(format!("\"{link}/root_overlay\"")));
    assert_eq!(project.effective("BR2_LINUX_KERNEL_PATCH"), Some(format!("\"{link}/kernel_patches\"")));
    assert_eq!(project.effective("BR2_TARGET_GENERIC_HOSTNAME"), Some(format!("\"{link}\"")));
    succeed(&mut project.command(&["configure", "--config", "a/b"]));
    assert!(
        project.path("workspaces/.config_default/layers/x.y").symlink_metadata().is_err(),
        "the link goes again"
    );
}

#[test]
fn a_project_or_buildroot_at_such_a_path_is_told() {
    let hint = "hint: move or rename the directory: letters, digits, `_`, `-`, `.`, `+` and `,` are safe";
    for (name, character) in
        [("a b", "' '"), ("a@b", "'@'"), ("a#b", "'#'"), ("a&b", "'&'"), ("a'b", r"'\''")]
    {
        let project = Project::to_configure_in(name);
        let root = project.root();
        expect_failure(
            &mut project.configure(),
            1,
            &format!(
                "error: Buildroot cannot work with {character} in a path, and the project is at `{}`\n{hint}",
                root.display()
            ),
        );
    }
    let project = Project::to_configure();
    let elsewhere = project.beside("an output");
    fs::create_dir(&elsewhere).unwrap();
    fs::create_dir(project.path("workspaces")).unwrap();
    symlink(&elsewhere, project.path("workspaces/default")).unwrap();
    expect_failure(
        &mut project.configure(),
        1,
        &format!(
            "error: Buildroot cannot work with ' ' in a path, and the workspace is at `{}`\n{hint}",
            elsewhere.display()
        ),
    );
    let project = Project::to_configure();
    let tree = project.beside("to:y");
    fs::rename(project.beside("toy"), &tree).unwrap();
    expect_failure(
        &mut project.command(&["configure", "--buildroot", "../to:y", "--config", "a/b"]),
        1,
        &format!(
            "error: Buildroot cannot work with ':' in a path, and Buildroot is at `{}`\n{hint}",
            tree.display()
        ),
    );
}

#[test]
fn external_trees_are_checked() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    let ext = project.path("configs/a/b/buildroot_ext");
    external(&project, "configs/a/b", "ONE");
    fs::remove_file(ext.join("external.mk")).unwrap();
    expect_failure(
        &mut project.configure(),
        1,
        &format!(
            "error: the external tree `{}` has no `external.mk`\n\
             hint: an external tree has `external.desc`, `external.mk` and `Config.in`; empty ones will do",
            ext.display()
        ),
    );
    external(&project, "configs/a/b", "");
    expect_failure(
        &mut project.configure(),
        1,
        &format!(
            "error: `{}/external.desc` names no external tree: expected a line `name: NAME` of letters, digits and \
             `_`\nhint: add the line, for example `name: MY_LAYER`",
            ext.display()
        ),
    );
    external(&project, "configs/a/b", "ONE");
    external(&project, "overrides", "ONE");
    expect_failure(
        &mut project.configure(),
        1,
        &format!(
            "error: the external trees `{}` and `{}` are both called `ONE`\n\
             hint: rename one of them in its `external.desc`",
            ext.display(),
            project.path("overrides/buildroot_ext").display()
        ),
    );
    external(&project, "overrides", "TWO");
    project.write("configs/a/b/buildroot/z", "BR2_PACKAGE_OF_ONE=y\nBR2_PACKAGE_NEW=y\n");
    assert_eq!(json(&mut project.configure())["externals"], json!(["ONE", "TWO"]));
    assert_eq!(project.effective("BR2_PACKAGE_OF_ONE").as_deref(), Some("y"));
    // Kconfig reads it, so it is asked again.
    project.write("overrides/buildroot_ext/Config.in", "config BR2_PACKAGE_NEW\n\tbool \"new\"\n");
    assert_eq!(json(&mut project.configure())["made"], "changed");
    assert_eq!(project.effective("BR2_PACKAGE_NEW").as_deref(), Some("y"));
}

#[test]
fn patches_of_one_name_are_told() {
    let project = Project::to_configure();
    for patch in ["configs/a/b/kernel_patches/fix.patch", "overrides/kernel_patches/series"] {
        project.write(patch, "# in order\nfix.patch -p1\n");
    }
    expect_failure(
        &mut project.configure(),
        1,
        &format!(
            "error: the patches `{0}/configs/a/b/kernel_patches/fix.patch` and \
             `{0}/overrides/kernel_patches/fix.patch` have one name, which Buildroot cannot apply\n\
             hint: rename one of them, or remove it if they are the same",
            project.root().display()
        ),
    );
}

#[test]
fn another_version_of_buildroot_needs_another_workspace() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    succeed(&mut project.configure());
    let makefile = fs::read_to_string(project.beside("toy/Makefile")).unwrap();
    write(&project.beside("toy/Makefile"), makefile.replace("2026.05.1", "2026.08"));
    // Nothing was built yet.
    assert_eq!(json(&mut project.configure())["made"], "changed");
    write(&project.beside("toy/Makefile"), &makefile);
    project.write("workspaces/default/build/hello-2.12/.stamp_built", "");
    let refused = |project: &Project| {
        expect_failure(
            &mut project.configure(),
            4,
            &format!(
                "refused: workspace `default` was built with Buildroot 2026.08, and `{}` is 2026.05.1\n\
                 hint: `skiff-image clean` removes what was built; or give another workspace with `--workspace`",
                project.beside("toy").display()
            ),
        );
    };
    refused(&project);
    // One that SkiffOS made says so in its `.config` alone.
    fs::remove_dir_all(project.path("workspaces/.config_default")).unwrap();
    refused(&project);
    succeed(project.configure().args(["--workspace", "Other!"]));
    assert!(project.path("workspaces/other/.config").exists());
}

/// A configure that does not end before it is told to.
fn slow(project: &Project, workspace: &str) -> Child {
    let script = project.beside("slow");
    let begun = project.beside(&format!("begun-{workspace}"));
    write_script(&script, "#!/bin/sh\n: >\"$BEGUN\"\nsleep 100\n");
    let mut command = project.configure();
    command.args(["--workspace", workspace]).env("CONF", &script).env("BEGUN", &begun);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !begun.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "it never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn end(child: Child) -> (String, Option<i32>) {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

#[test]
fn two_runs_exclude_each_other_and_an_ended_one_is_made_up_for() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    let child = slow(&project, "default");
    expect_failure(
        &mut project.configure(),
        4,
        &format!(
            "refused: workspace `default` is in use by `configure` (process {})\n\
             hint: wait for it to end, or give another workspace with `--workspace`",
            child.id()
        ),
    );
    // Beside it, another workspace is free.
    succeed(project.configure().args(["--workspace", "other"]));
    assert_eq!(end(child), ("error: `make` was interrupted\n".into(), Some(130)));
    assert!(!project.path("workspaces/.config_default/configured.json").exists());
    assert_eq!(json(&mut project.configure())["made"], "new");
    assert_eq!(
        project.read("workspaces/default/.config").replace("_default", "_other"),
        project.read("workspaces/other/.config"),
        "as if nothing had happened"
    );
}

/// Whether a process has this text on its command line.
fn runs_with(text: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_made_up_for() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    let all = |project: &Project, number: u32| {
        external(project, "configs/a/b", "ONE");
        project.write("configs/a/b/buildroot/more", format!("BR2_PACKAGE_OF_ONE=y\nBR2_JLEVEL={number}\n"));
        project.write("configs/a/b/kernel/base", format!("CONFIG_X={number}\n"));
        project.write("configs/a/b/users/users", format!("a -1 a -1 * - - - {number}\n"));
    };
    for number in 0..20 {
        all(&project, number);
        let mut child = project.configure().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // As long as all of it takes, more or less.
        std::thread::sleep(Duration::from_millis(4 * u64::from(number)));
        child.kill().unwrap();
        child.wait().unwrap();
        // Nobody was left to end what it had started.
        let root = project.root().display().to_string();
        let begun = Instant::now();
        while runs_with(&root) {
            assert!(begun.elapsed() < Duration::from_secs(60), "make ends by itself");
            std::thread::sleep(Duration::from_millis(5));
        }
        let kernel = fs::read_to_string(project.path("workspaces/.config_default/kernel/config"));
        assert!(kernel.is_err() || kernel.is_ok_and(|text| text.ends_with('\n')), "what is there is whole");
    }
    all(&project, 20);
    succeed(&mut project.configure());
    succeed(project.configure().args(["--workspace", "other"]));
    for file in ["buildroot/config", "kernel/config", "users", "final/buildroot"] {
        let of_other = project.read(&format!("workspaces/.config_other/{file}"));
        let own = project.read(&format!("workspaces/.config_default/{file}"));
        assert_eq!(
            own.replace("_default", "_other").replace(".ccache/default", ".ccache/other"),
            of_other,
            "{file}"
        );
    }
    assert_eq!(json(&mut project.configure())["made"], json!(null));
}

#[test]
fn workspaces_are_configured_side_by_side() {
    if !oracle("configure", KCONFIG) || !oracle("configure", "patch") {
        return;
    }
    let project = Project::to_configure();
    let diff =
        "--- a/package/hello.sh\n+++ b/package/hello.sh\n@@ -1 +1,2 @@\n+# patched\n echo \"hello at $1\"\n";
    project.write("buildroot/patches/1.patch", diff);
    let names = ["one", "two", "three"];
    let children = names.map(|name| {
        let mut command = project.configure();
        command.args(["--workspace", name]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let config =
        |name: &str| project.read(&format!("workspaces/{name}/.config")).replace(&format!("_{name}"), "_");
    assert_eq!((config("one"), config("one")), (config("two"), config("three")));
}

#[test]
fn an_edit_by_hand_is_told_and_kept() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    succeed(&mut project.configure());
    let config = project.read("workspaces/default/.config");
    let edited = config.replace("# BR2_PACKAGE_HELLO is not set", "BR2_PACKAGE_HELLO=y") + "# remark\n";
    project.write("workspaces/default/.config", &edited);
    let (stdout, stderr) = succeed(&mut project.configure());
    assert!(stdout.contains(".config made anew (it was edited)"), "{stdout}");
    assert_eq!(
        stderr,
        "warning: `.config` was edited by hand (BR2_PACKAGE_HELLO): it is made anew from the layers, and the edited \
         one is kept as `workspaces/.config_default/edited`; `skiff-image buildroot menuconfig` keeps changes in \
         overrides/\n"
    );
    assert_eq!(project.read("workspaces/.config_default/edited"), edited);
    assert_eq!(project.read("workspaces/default/.config"), config);
    fs::remove_file(project.path("workspaces/default/.config")).unwrap();
    let (stdout, _) = succeed(&mut project.configure());
    assert!(stdout.contains(".config made anew (it was missing)"), "{stdout}");
    project.write("configs/a/b/buildroot/more", "BR2_PACKAGE_HELLO=y\n");
    let (stdout, _) = succeed(&mut project.configure());
    assert!(stdout.contains(".config made anew (layers or Buildroot changed)"), "{stdout}");
}

#[test]
fn what_make_says_is_shown_when_it_fails() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    external(&project, "configs/a/b", "ONE");
    project.write("configs/a/b/buildroot_ext/Config.in", "no such thing\n");
    let (stdout, stderr, code) = run(&mut project.configure());
    assert_eq!((stdout.as_str(), code), ("", 1));
    assert!(stderr.starts_with("error: `make defconfig` failed with exit status: 2: "), "{stderr}");
    assert!(stderr.contains("buildroot_ext/Config.in:1"), "{stderr}");
    assert!(
        stderr.ends_with(&format!(
            "hint: the request is `{}`; it says which layer each line is from\n",
            project.path("workspaces/.config_default/buildroot/config").display()
        )),
        "{stderr}"
    );
    external(&project, "configs/a/b", "ONE");
    let (_, stderr) = succeed(project.configure().arg("--verbose"));
    assert!(stderr.contains("configuration written"), "{stderr}");
}

#[test]
fn what_did_not_become_effective_is_told() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    project.write(
        "configs/a/b/buildroot/more",
        "BR2_PACKAGE_HELLO_COLORS=y\nBR2_PACKAGE_HELO=y\nBR2_TARGET_ROOTFS_CPIO_LZ4=y\nBR2_x86_64=y\nBR2_aarch64=y\n",
    );
    let warnings = "warning: configs/a/b/buildroot/more:1: `BR2_PACKAGE_HELLO_COLORS=y` is dropped: it depends on \
         `BR2_PACKAGE_HELLO`, which is `n`\n  hint: set `BR2_PACKAGE_HELLO` too\n\
         warning: configs/a/b/buildroot/more:2: `BR2_PACKAGE_HELO=y` is dropped: no such symbol\n\
         \u{20} hint: did you mean `BR2_PACKAGE_HELLO`?\n";
    let images = "Buildroot's own images are left out (cpio lz4): `assemble` composes them; `--keep-images` keeps them\n";
    for made in ["new", ""] {
        let (stdout, stderr) = succeed(&mut project.configure());
        assert_eq!(stderr, format!("{images}{warnings}"), "{made}");
        assert!(stdout.contains("settings   19, 2 of them not effective; "), "{stdout}");
    }
    let (stdout, stderr, code) = run(project.configure().arg("--strict"));
    assert_eq!((stdout.as_str(), code), ("", 1));
    assert_eq!(
        stderr,
        format!(
            "{images}{warnings}error: 2 of 19 settings are not effective, and the workspace is not configured\n\
             hint: correct what the warnings name, or leave `--strict` out\n"
        )
    );
    assert!(!project.path("workspaces/.config_default/configured.json").exists());
    project.write("configs/a/b/buildroot/more", "BR2_PACKAGE_HELLO=y\nBR2_PACKAGE_HELLO_COLORS\n");
    let (_, stderr, code) = run(project.configure().arg("--strict"));
    let told = "error: 0 of 16 settings are not effective, 1 line is no setting, and the workspace is not configured\n";
    assert!(code == 1 && stderr.contains(told), "{stderr}");
    project.write("configs/a/b/buildroot/more", "BR2_PACKAGE_HELLO=y\n");
    succeed(project.configure().arg("--strict"));
}

#[test]
fn changed_compiler_flags_have_the_compiler_built_again() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    let stamps = [".stamp_built", ".stamp_configured", ".stamp_host_installed", ".stamp_installed"];
    let build = || {
        for stamp in stamps.iter().chain(&[".stamp_extracted"]) {
            for package in ["host-gcc-final-14.3.0", "gcc-notes-1", "hello-2.12"] {
                project.write(&format!("workspaces/default/build/{package}/{stamp}"), "");
            }
        }
    };
    let there = |package: &str| {
        let path = project.path("workspaces/default/build").join(package);
        stamps.iter().filter(|stamp| path.join(stamp).exists()).count()
    };
    succeed(&mut project.configure());
    build();
    succeed(&mut project.configure());
    assert_eq!(there("host-gcc-final-14.3.0"), 4, "no flag changed");
    project.write("configs/a/b/cflags/flags", "-mfast\n");
    succeed(&mut project.configure());
    assert_eq!((there("host-gcc-final-14.3.0"), there("hello-2.12")), (0, 4));
    assert!(project.path("workspaces/default/build/host-gcc-final-14.3.0/.stamp_extracted").exists());
}

#[test]
fn a_file_where_a_directory_belongs_is_told() {
    let project = Project::to_configure();
    for name in ["workspaces/default", "workspaces/.config_default", "workspaces"] {
        project.write(name, "");
        for mut command in [project.configure(), project.command(&["clean", "--yes"])] {
            let path = project.path(name);
            expect_failure(
                &mut command,
                1,
                &format!(
                    "error: `{}` is not a directory\n\
                     hint: move it away: a workspace, its configuration and what holds them are directories",
                    path.display()
                ),
            );
        }
        fs::remove_file(project.path(name)).unwrap();
        fs::remove_dir_all(project.path("workspaces")).ok();
    }
}

#[test]
fn a_workspace_is_removed_with_what_belongs_to_it() {
    if !oracle("configure", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    let (stdout, _) = succeed(&mut project.command(&["clean"]));
    assert_eq!(stdout, "workspace default: there is nothing to remove\n");
    succeed(&mut project.configure());
    succeed(project.configure().args(["--workspace", "other"]));
    for kept in ["overrides/buildroot/x", "workspaces/.downloads/x", "workspaces/.ccache/default/x"] {
        project.write(kept, "");
    }
    write(&project.beside("elsewhere/x"), "");
    symlink(project.beside("elsewhere"), project.path("workspaces/default/link")).unwrap();
    let (stdout, stderr, code) = run(project.command(&["clean"]).stdin(Stdio::null()));
    assert_eq!((stdout.as_str(), code), ("", 4));
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(lines[0].starts_with("to be removed: `workspaces/default` ("), "{stderr}");
    assert!(lines[1].starts_with("to be removed: `workspaces/.config_default` ("), "{stderr}");
    assert_eq!(
        lines[2..],
        [
            "refused: workspace `default` is not removed without being asked for, and there is no terminal to ask on",
            "hint: say so with `--yes`"
        ]
    );
    assert!(project.path("workspaces/default/.config").exists());
    expect_failure(
        &mut project.command(&["clean", "--yes", "--workspace", "de fault"]),
        1,
        "error: `de fault` is not the name of a workspace: without the characters that no name has it is `default`\n\
         hint: a name has letters, digits, `.`, `_` and `-`: give the one that is meant",
    );
    succeed(project.configure().args(["--workspace", "third"]));
    let mut unattended = project.command(&["clean", "--workspace", "third"]);
    succeed(unattended.env("SKIFF_NO_INTERACTIVE", "1").stdin(Stdio::null()));
    assert!(!project.path("workspaces/third").exists(), "as in SkiffOS, nothing is asked");
    let removed = json(&mut project.command(&["clean", "--yes"]));
    assert_eq!(removed["removed"][0]["path"], "workspaces/default");
    assert!(removed["removed"][0]["bytes"].as_u64().unwrap() > 4096);
    for gone in ["workspaces/default", "workspaces/.config_default", "workspaces/.removed_default"] {
        assert!(!project.path(gone).exists(), "{gone}");
    }
    for kept in [
        "overrides/buildroot/x",
        "workspaces/.downloads/x",
        "workspaces/.ccache/default/x",
        "workspaces/other",
    ] {
        assert!(project.path(kept).exists(), "{kept}");
    }
    assert!(project.beside("elsewhere/x").exists(), "what a link leads to stays");
    let (stdout, _) = succeed(&mut project.command(&["clean", "--yes", "--ccache"]));
    assert!(stdout.starts_with("workspace default: ") && stdout.ends_with(" removed\n"), "{stdout}");
    assert!(!project.path("workspaces/.ccache/default").exists());
}

#[test]
fn who_is_asked_has_to_say_yes() {
    if !oracle("who_is_asked_has_to_say_yes", "script") || !oracle("who_is_asked_has_to_say_yes", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    succeed(&mut project.configure());
    let answer = |answer: &str| {
        let line = format!("'{}' clean", project::PROGRAM);
        let mut terminal = tools::command("script");
        terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(project.root());
        let mut terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = terminal.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, format!("{answer}\n").as_bytes()).unwrap();
        let output = terminal.wait_with_output().unwrap();
        drop(input);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n"))
    };
    let (code, text) = answer("y");
    assert!(text.contains("Remove workspace `default`? [yes/no] "), "{text}");
    let refused = "refused: workspace `default` is not removed: the answer was not `yes`\nhint: run it again and type `yes`\n";
    assert!(text.ends_with(refused), "{text}");
    assert_eq!(code, Some(4), "{text}");
    assert!(project.path("workspaces/default/.config").exists());
    let (code, text) = answer("yes");
    assert_eq!(code, Some(0), "{text}");
    assert!(!project.path("workspaces/default").exists());
}

#[test]
fn what_is_no_workspace_is_not_removed() {
    let project = Project::to_configure();
    let config = project.path("workspaces/.config_default");
    fs::create_dir_all(project.beside("kept")).unwrap();
    fs::create_dir(project.path("workspaces")).unwrap();
    symlink(project.beside("kept"), &config).unwrap();
    let (_, stderr, code) = run(&mut project.command(&["clean", "--yes"]));
    assert!(code == 4 && stderr.contains("and nothing behind a link is removed"), "{stderr}");
    fs::remove_file(config).unwrap();
    project.write("workspaces/default/holiday.jpg", "");
    let path = project.path("workspaces/default");
    expect_failure(
        &mut project.command(&["clean", "--yes"]),
        4,
        &format!(
            "refused: `{}` is not a workspace: nothing was configured there\n\
             hint: look at what is in it, and remove it by hand if it is not needed",
            path.display()
        ),
    );
    let elsewhere = project.beside("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    expect_failure(
        &mut project.command(&["clean", "--yes"]),
        4,
        &format!(
            "refused: `{}` is a link to `{}`, and nothing behind a link is removed\n\
             hint: remove the link and what it leads to by hand",
            path.display(),
            elsewhere.display()
        ),
    );
}

/// The layers of this project with a real Buildroot, named by SKIFF_BUILDROOT_TREE.
#[test]
fn a_real_buildroot_is_configured() {
    let Some(tree) = std::env::var_os("SKIFF_BUILDROOT_TREE").map(PathBuf::from) else {
        leave_out("a_real_buildroot_is_configured", "SKIFF_BUILDROOT_TREE names no source tree of Buildroot");
        return;
    };
    let project = Project::to_configure();
    for part in ["configs", "buildroot"] {
        let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(part);
        let copied = Command::new("cp").arg("-r").arg(from).arg(project.root()).status();
        assert!(copied.unwrap().success());
    }
    let odd = "../ex tra@#&$'/x/y";
    external(&project, odd, "ODD");
    project.write(&format!("{odd}/buildroot/z"), "BR2_PACKAGE_OF_ODD=y\n");
    project.write(&format!("{odd}/root_overlay/etc/x"), "");
    for chain in ["virt/qemu,x/y", "pi/4,x/y", "intel/desktop,x/y"] {
        let configure = || {
            let mut command = project.command(&["configure", "--strict", "--config", chain, "--buildroot"]);
            command.arg(&tree).env("SKIFF_CONFIG_PATH_X_Y", project.path(odd));
            command
        };
        let configured = json(&mut configure());
        assert_eq!(configured["dropped"], json!([]), "{chain}");
        assert_eq!(configured["externals"], json!(["SKIFF_IMAGE", "ODD"]));
        assert_eq!(project.effective("BR2_PACKAGE_OF_ODD").as_deref(), Some("y"));
        assert_eq!(project.effective("BR2_TARGET_ROOTFS_TAR"), None);
        let before = project.times("workspaces");
        assert_eq!(json(&mut configure())["made"], json!(null));
        assert_eq!(project.times("workspaces"), before);
    }
}
