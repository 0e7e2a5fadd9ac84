//! What is shown without a verb, and the verbs that run programs of layers.

use std::process::Command;

use crate::harness::project::{Project, expect_failure, json, run, succeed};
use crate::harness::tools::oracle;
use serde_json::json as value;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A project with a layer that is a board, and one with commands.
fn project() -> Project {
    let project = Project::new();
    for part in ["Makefile", "Config.in", "package/Makefile.in"] {
        project.write(&format!("buildroot/{part}"), "");
    }
    project.write("configs/demo/board/metadata/description", "The demo board\n");
    project.write("configs/demo/board/metadata/dependencies", "demo/tool\n");
    project.write(
        "configs/demo/tool/metadata/commands",
        "say-all Say what there is, all.\n  fail\n\nno/target x\n",
    );
    project.write(
        "configs/demo/tool/extensions/Makefile",
        "X := y\nsay-all:\n\t@echo $(SKIFF_CURRENT_CONF_NAME) $(SKIFF_CURRENT_CONF_NAME_FULL) \
         $(SKIFF_WORKSPACE) $(LC_ALL); pwd; ls $(SKIFF_CURRENT_CONF_DIR)\nfail:\n\t@exit 3\n\
         killed:\n\t@kill -KILL $$PPID\n",
    );
    project
}

/// A verb, or none, with boards of the project.
fn command(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command(args);
    command.env("SKIFF_BOARDS_PATH", "boards");
    command
}

/// What is printed without a verb, with the project root as ROOT.
fn status(project: &Project, args: &[&str]) -> String {
    let root = project.path("").canonicalize().unwrap();
    succeed(&mut command(project, args)).0.replace(root.to_str().unwrap(), "ROOT")
}

#[test]
fn without_a_project_it_says_so_and_shows_the_demo() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let project = Project::new();
    let bare = |args: &[&str]| {
        let mut command = project.command(args);
        command.current_dir(&root);
        command
    };
    let expected = format!(
        "skiff-image {VERSION}\n\
         no project in {}: there is no configs/\n\
         \n\
         next\n  \
         skiff-image demo               compose, flash and verify a small built-in system\n  \
         skiff-image --help             all verbs\n  \
         skiff-image status --root DIR  look at the project in DIR\n",
        root.display()
    );
    assert_eq!(succeed(&mut bare(&[])), (expected.clone(), String::new()));
    assert_eq!(succeed(&mut bare(&["status"])).0, expected);
    let document = json(&mut bare(&[]));
    assert_eq!((&document["project"], &document["progress"]), (&false.into(), &"empty".into()));
    expect_failure(
        &mut bare(&["status", "--root", "none"]),
        1,
        "error: cannot find `none`: No such file or directory (os error 2)\nhint: check the name and the directory \
         it is in",
    );
}

#[test]
fn without_a_chain_it_shows_how_to_choose_one() {
    assert_eq!(
        status(&project(), &[]),
        format!(
            "skiff-image {VERSION}\n\
             project    ROOT\n\
             workspace  default: not configured\n\
             layers     none are chosen\n\
             \n\
             next\n  \
             skiff-image layers list                   layers that can be chosen\n  \
             skiff-image compile --config BOARD,LAYER  build a system of these layers\n"
        )
    );
}

#[test]
fn the_chain_is_shown_with_its_commands_and_flags_are_repeated() {
    let project = project();
    let flags = ["status", "--config", "demo/site demo/board", "--workspace", "W", "--skiffos-order"];
    assert_eq!(
        status(&project, &flags),
        format!(
            "skiff-image {VERSION}\n\
             project    ROOT\n\
             workspace  w: not configured\n\
             board      demo/board: Synthetic board of `skiff-image demo`: one filesystem of each kind\n\
             layers     demo/site demo/board (from --config, in SkiffOS' order)\n  \
             demo/site   Settings of one site\n  \
             demo/tool\n  \
             demo/board  The demo board\n\
             \n\
             commands of layers\n  \
             skiff-image cmd demo/tool/say-all  Say what there is, all.\n  \
             skiff-image cmd demo/tool/fail\n  \
             skiff-image cmd demo/tool/killed\n\
             \n\
             next\n  \
             skiff-image compile --config 'demo/site demo/board' --workspace W --skiffos-order    configure Buildroot \
             and build the system\n  \
             skiff-image configure --config 'demo/site demo/board' --workspace W --skiffos-order  only configure it\n"
        )
    );
    let mut of_environment = command(&project, &["--json"]);
    of_environment
        .env("SKIFF_CONFIG", "demo/board")
        .env("SKIFF_WORKSPACE", "w")
        .env("SKIFF_ORDER", "skiffos");
    let document: serde_json::Value = serde_json::from_str(&succeed(&mut of_environment).0).unwrap();
    assert_eq!(document["next"][0]["command"], "skiff-image compile");
    assert_eq!(
        document["chain"],
        value!({
            "text": "demo/board", "by": "SKIFF_CONFIG", "order": "skiffos",
            "layers": [{ "name": "demo/tool", "description": null },
                { "name": "demo/board", "description": "The demo board" }],
        })
    );
    assert_eq!(
        document["commands"][0],
        value!({ "command": "demo/tool/say-all", "description": "Say what there is, all." })
    );
}

#[test]
fn it_shows_how_far_the_workspace_is() {
    let project = project();
    project.write("workspaces/.config_default/skiff_config", "demo/board\n");
    project.write("boards/demo/none.toml", include_str!("../../boards/chip/r8.toml"));
    project.write("configs/demo/none/metadata/unlisted", "");
    let lines = || -> Vec<String> {
        let shown = status(&project, &[]);
        shown.lines().map(|line| line.trim().split("  ").next().unwrap().to_owned()).collect()
    };
    let next = || lines().into_iter().skip_while(|line| line != "next").skip(1).collect::<Vec<String>>();
    assert!(
        status(&project, &[])
            .contains("layers     demo/board (from workspaces/.config_default/skiff_config)\n")
    );
    assert_eq!(next(), ["skiff-image compile", "skiff-image configure"]);
    project.write("workspaces/default/.config", "");
    // The last configure was not finished.
    assert_eq!(next(), ["skiff-image compile", "skiff-image configure"]);
    let state = skiff_image::workspace::State::new("request".into());
    let workspace = skiff_image::workspace::Workspace::for_name(&project.path(""), "default").unwrap();
    state.write(&workspace).unwrap();
    assert!(status(&project, &[]).contains("workspace  default: configured, not compiled\n"));
    assert_eq!(next(), ["skiff-image compile"]);
    project.write("workspaces/default/images/Image", "");
    // Only the kernel is built.
    assert_eq!(next(), ["skiff-image compile"]);
    project.write("workspaces/default/build/buildroot-fs/full_devices_table.txt", "");
    // No image of this program without a manifest.
    project.write("workspaces/default/images/skiff-demo-board.img", "");
    assert!(status(&project, &[]).contains("workspace  default: compiled\n"));
    assert_eq!(next(), ["skiff-image assemble", "skiff-image devices"]);
    project.write("workspaces/default/images/skiff-demo-board.img.manifest.json", "");
    let shown = status(&project, &[]);
    assert!(shown.contains("workspace  default: compiled, with an image\n"), "{shown}");
    assert!(shown.contains("image      workspaces/default/images/skiff-demo-board.img\n"), "{shown}");
    assert_eq!(next(), ["skiff-image devices", "skiff-image flash DEVICE"]);
    project.write("workspaces/.config_default/skiff_config", "demo/none\n");
    let shown = status(&project, &[]);
    assert!(shown.contains("board      demo/none: it boots from NAND flash"), "{shown}");
    assert_eq!(next(), ["skiff-image boards list"]);
}

#[test]
fn what_is_wrong_is_told_after_what_is_known() {
    let project = project();
    let (stdout, stderr, code) = run(command(&project, &[]).env("SKIFF_CONFIG", "demo/sight"));
    assert!(
        stdout.contains("workspace  default: not configured\nlayers     demo/sight (from SKIFF_CONFIG)\n"),
        "{stdout}"
    );
    assert!(!stdout.contains("next"), "{stdout}");
    assert_eq!(
        (stderr.as_str(), code),
        (
            "error: unknown layer `demo/sight`, asked for by `SKIFF_CONFIG`\nhint: did you mean `demo/site`?\n",
            1
        )
    );
}

#[test]
fn commands_of_layers_are_listed_and_run() {
    if !oracle("commands_of_layers_are_listed_and_run", "make") {
        return;
    }
    let project = project();
    let cmd = |args: &[&str]| command(&project, &[&["cmd"], args].concat());
    let listed = "demo/tool/say-all  Say what there is, all.\ndemo/tool/fail\ndemo/tool/killed\n";
    for args in [&[][..], &["--all"], &["--config", "demo/board"]] {
        assert_eq!(succeed(&mut cmd(args)), (listed.into(), String::new()));
    }
    assert_eq!(
        succeed(&mut cmd(&["--config", "demo/site"])),
        (
            "\n".into(),
            "no layer of the chain has commands; `skiff-image cmd --all` lists those of all layers\n".into()
        )
    );
    // Not a layer of the chain.
    let (stdout, stderr) =
        succeed(&mut cmd(&["demo/tool/say-all", "--config", "demo/site", "--workspace", "W"]));
    let extensions = project.path("configs/demo/tool/extensions").canonicalize().unwrap();
    assert_eq!(
        stdout,
        format!(
            "demo/tool SKIFF_CONFIG_PATH_DEMO_TOOL w C\n{}\nextensions\nmetadata\n",
            extensions.display()
        )
    );
    assert_eq!(stderr, "");
    let (_, stderr, code) = run(&mut cmd(&["demo/tool/fail"]));
    assert!(
        stderr.ends_with("error: `cmd demo/tool/fail` ended with exit code 2\n") && code == 2,
        "{stderr}"
    );
    let (_, stderr, code) = run(&mut cmd(&["demo/tool/killed"]));
    let told = "error: `cmd demo/tool/killed` was ended by a signal: signal: 9 (SIGKILL)\n";
    assert!(stderr.ends_with(told) && code == 1, "{stderr}");
    expect_failure(
        &mut cmd(&["demo/site/say"]),
        1,
        "error: layer `demo/site` has no commands: there is no `configs/demo/site/extensions/Makefile`\nhint: \
         choose a layer that has some; `skiff-image cmd --all` lists the commands of all layers",
    );
    expect_failure(
        &mut cmd(&["demo/sight/say"]),
        1,
        "error: unknown layer `demo/sight`, asked for by `cmd`\nhint: did you mean `demo/site`?",
    );
    let (_, stderr, code) = run(&mut cmd(&["demo/say"]));
    let told = "`demo/say` is not a command: expected NAMESPACE/NAME/TARGET, as `skiff-image cmd` lists them";
    assert!(stderr.contains(told) && code == 2, "{stderr}");
}

#[test]
fn a_shell_starts_in_the_workspace_and_reads_the_environment() {
    let project = project();
    let mut shell = command(&project, &["shell", "--config", "demo/board"]);
    let workspace = project.path("workspaces/default");
    expect_failure(
        shell.env("SHELL", "/bin/sh"),
        1,
        &format!(
            "error: workspace `default` has nothing in it yet: there is no `{}`\nhint: `skiff-image configure` makes it",
            project.path("").canonicalize().unwrap().join("workspaces/default").display()
        ),
    );
    std::fs::create_dir_all(&workspace).unwrap();
    project.write("in", "pwd; echo $SKIFF_CONFIG; exit 5\n");
    let (stdout, stderr, code) = run(shell.stdin(std::fs::File::open(project.path("in")).unwrap()));
    let workspace = workspace.canonicalize().unwrap();
    assert_eq!(stdout, format!("{}\ndemo/tool,demo/board\n", workspace.display()));
    assert_eq!((stderr.as_str(), code), ("error: `/bin/sh` ended with exit code 5\n", 5));
}

#[test]
fn the_environment_is_what_a_shell_reads() {
    let parent = tempfile::tempdir().unwrap();
    let project = Project::below(&parent.path().join("it's $a `b` #&@"));
    project.write("configs/demo/a-b/metadata/dependencies", "demo/site");
    project.write("extra/t/x/metadata/unlisted", "");
    let env = || {
        let mut command = command(&project, &["env", "--config", "demo/a-b,t/x"]);
        command.env("SKIFF_EXTRA_CONFIGS_PATH", "extra").env("SKIFF_CONFIG_PATH_OWN_ONE", "extra/t/x");
        command
    };
    let document = json(&mut env());
    let root = project.path("").canonicalize().unwrap();
    let root = root.to_str().unwrap();
    let path = format!("{root}/workspaces/default/host/bin:{}", std::env::var("PATH").unwrap());
    for (name, expected) in [
        ("SKIFF_ROOT_DIR", root.to_owned()),
        ("SKIFF_CONFIG", "demo/site,demo/a-b,t/x".into()),
        ("SKIFF_CONFIG_FULL", "DEMO_SITE DEMO_A_B T_X".into()),
        ("SKIFF_CONFIG_PATH_DEMO_A_B", format!("{root}/configs/demo/a-b")),
        ("SKIFF_CONFIG_NAME_DEMO_A_B", "demo/a-b".into()),
        ("SKIFF_CONFIG_PATH_T_X", format!("{root}/extra/t/x")),
        ("SKIFF_CONFIG_PATH_OWN_ONE", format!("{root}/extra/t/x")),
        ("SKIFF_EXTRA_CONFIGS_PATH", format!("{root}/extra")),
        ("SKIFF_FINAL_CONFIG_DIR", format!("{root}/workspaces/.config_default/")),
        ("BUILDROOT_DIR", format!("{root}/workspaces/default")),
        ("SKIFF_VERSION", "0".into()),
        ("SOURCE_DATE_EPOCH", "1700000000".into()),
        ("PATH", path),
    ] {
        assert_eq!(document[name], expected, "{name}");
    }
    assert_eq!(document.get("BUILDROOT_DEFAULT_DIR"), None);
    assert_eq!(document.get("SKIFF_ORDER"), None);
    assert_eq!(json(env().arg("--skiffos-order"))["SKIFF_ORDER"], "skiffos");
    let (text, _) = succeed(&mut env());
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("export ")?.split('=').next()).collect();
    assert!(names.is_sorted() && names.len() == document.as_object().unwrap().len(), "{names:?}");
    project.write(
        "script",
        format!("{text}for name in {}; do eval \"printf '%s\\\\n' \\\"\\$$name\\\"\"; done", names.join(" ")),
    );
    let shell = Command::new("/bin/sh").arg(project.path("script")).env_clear().output().unwrap();
    let values: Vec<String> =
        document.as_object().unwrap().values().map(|value| value.as_str().unwrap().into()).collect();
    assert_eq!(String::from_utf8(shell.stdout).unwrap().lines().collect::<Vec<_>>(), values);
}

#[test]
fn the_version_is_that_of_the_checkout() {
    if !oracle("the_version_is_that_of_the_checkout", "git") {
        return;
    }
    let project = project();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(project.path("")).args([
            "-c",
            "user.name=n",
            "-c",
            "user.email=e",
            "-c",
            "init.defaultBranch=m",
        ]);
        let output = git.args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let version = || {
        let document = json(&mut command(&project, &["env"]));
        let text = |name: &str| document[name].as_str().unwrap().to_owned();
        (text("SKIFF_VERSION"), text("SKIFF_VERSION_COMMIT"))
    };
    assert_eq!(version(), ("0".into(), "0".into()));
    git(&["init", "-q"]);
    assert_eq!(version(), ("0".into(), "0".into()));
    git(&["add", "configs"]);
    git(&["commit", "-q", "-m", "x"]);
    let commit = git(&["rev-parse", "--short", "HEAD"]);
    assert_eq!(version(), (commit.clone(), commit.clone()));
    git(&["tag", "-a", "2026.08", "-m", "x"]);
    assert_eq!(version(), ("2026.08".into(), commit.clone()));
    project.write("configs/demo/site/new", "");
    git(&["add", "configs"]);
    assert_eq!(version(), ("2026.08-dirty".into(), commit));
}

#[test]
fn without_buildroot_the_next_step_is_to_get_it() {
    let project = project();
    std::fs::remove_dir_all(project.path("buildroot")).unwrap();
    let next = || {
        let document = json(command(&project, &[]).env("SKIFF_CONFIG", "demo/board"));
        let next = document["next"].as_array().unwrap().clone();
        next.iter().map(|next| next["command"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(next(), ["skiff-image fetch", "skiff-image compile"]);
    project.write(
        ".gitmodules",
        "[submodule \"buildroot\"]\n\tpath = buildroot\n\turl = https://example.org/x\n",
    );
    assert_eq!(next(), ["git submodule update --init buildroot", "skiff-image compile"]);
}

#[test]
fn commands_that_read_images_of_buildroot_say_that_these_are_left_out() {
    let project = project();
    project.write("configs/demo/tool/scripts/run.sh", "qemu -initrd $IMAGES/rootfs.cpio.lz4\n");
    let told = "commands of `demo/tool` read `rootfs.cpio`, which Buildroot makes with `compile --keep-images` only\n";
    let listed = |project: &Project| run(command(project, &["cmd"]).env("SKIFF_CONFIG", "demo/tool")).1;
    assert_eq!(listed(&project), told);
    assert_eq!(run(command(&project, &[]).env("SKIFF_CONFIG", "demo/tool")).1, told);
    project.write("workspaces/default/images/rootfs.cpio", "");
    assert_eq!(listed(&project), "");
}

/// A project of layers with the project that it extends as a sub-module.
#[test]
fn an_extension_project_works_from_its_own_directory() {
    for name in ["skiffos", "skiff-image"] {
        let project = Project::bare();
        project.write(".gitmodules", format!("[submodule \"{name}\"]\n\tpath = {name}\n"));
        project.write("configs/my/site/metadata/dependencies", "pi/4\n");
        project.write(&format!("{name}/configs/pi/4/metadata/description"), "A board\n");
        let resolved = |root: &[&str]| {
            let mut resolve =
                project.command(&[&["layers", "resolve", "--config", "my/site"], root].concat());
            let layers = json(&mut resolve);
            layers.as_array().unwrap().iter().map(|layer| layer["name"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(resolved(&[]), ["pi/4", "my/site"]);
        assert_eq!(resolved(&["--root", name]), ["pi/4", "my/site"]);
        let root = project.path(name).canonicalize().unwrap();
        assert_eq!(json(&mut project.command(&["status"]))["root"], root.to_str().unwrap());
    }
}
