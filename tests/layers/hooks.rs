//! Hooks of layers in a build: their order, what they find, and what becomes of those that fail or hang.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::project::{Project, expect_failure, run, succeed};
use crate::harness::tools::oracle;
use crate::harness::toy_buildroot::KCONFIG;

/// Lines of the log that hooks of a layer printed.
fn said(built: &Project, layer: &str) -> Vec<String> {
    let log = built.read("workspaces/default/build.log");
    let prefix = format!("{layer}: ");
    log.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
}

#[test]
fn they_run_in_layer_order_with_what_skiffos_gives_them() {
    if !oracle("they_run_in_layer_order_with_what_skiffos_gives_them", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    built.write("configs/a/b/metadata/dependencies", "c/d\n");
    let order = "echo \"$SKIFF_CURRENT_CONF_DIR\" >>order\n";
    for layer in ["configs/c/d", "overrides", "overrides/workspaces/default"] {
        built.script(&format!("{layer}/hooks/pre.sh"), order);
    }
    // What is printed without an end of line, and what is no text, arrive too.
    let tell = "echo \"$SKIFF_CURRENT_CONF_DIR\" >>order\n\
                echo \"$# $PWD\"\necho \"$SKIFF_CONFIG $SKIFF_WORKSPACE\"\necho \"$TARGET_DIR $BINARIES_DIR\" >&2\n\
                echo \"${PATH%%:*} $SKIFF_CURRENT_CONF_NAME\"\nprintf 'a\\377b'\n";
    built.script("configs/a/b/hooks/pre.sh", tell);
    built.script("configs/a/b/hooks/post.sh", "ls target/etc/skiff-release images/Image\n");
    succeed(built.compile(&["--quiet"]).env("SKIFF_CONFIG", "c/d"));
    let root = built.root().canonicalize().unwrap();
    let workspace = root.join("workspaces/default");
    let order = built.read("workspaces/default/order");
    let layers = ["configs/c/d", "configs/a/b", "overrides", "overrides/workspaces/default"];
    let expected: String = layers.iter().map(|layer| format!("{}\n", root.join(layer).display())).collect();
    assert_eq!(order, expected);
    let shown = |path: &str| workspace.join(path).display().to_string();
    assert_eq!(
        said(&built, "a/b"),
        [
            format!("0 {}", workspace.display()),
            "c/d,a/b default".into(),
            format!("{} {}", shown("target"), shown("images")),
            format!("{} a/b", shown("host/bin")),
            "a\u{fffd}b".into(),
            "images/Image".into(),
            "target/etc/skiff-release".into(),
        ]
    );
}

#[test]
fn one_that_would_take_away_what_is_composed_is_left_out() {
    if !oracle("one_that_would_take_away_what_is_composed_is_left_out", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    built.write("configs/virt/qemu/metadata/dependencies", "skiff/moduleimg\n");
    built.write("configs/a/b/metadata/dependencies", "virt/qemu\n");
    // As that of SkiffOS does.
    let take = "mkdir -p moved\nmv \"$TARGET_DIR\"/usr/lib/modules/* moved\n";
    built.script("configs/skiff/moduleimg/hooks/pre.sh", take);
    built.script("configs/a/b/hooks/pre.sh", ": >ran\n");
    let modules = built.path("workspaces/default/target/usr/lib/modules/6.12/modules.dep");
    let told = "`hooks/pre.sh` of layer `skiff/moduleimg` is left out: `modules.squashfs` of board `virt/qemu` is \
                composed of the same files";
    let compile = |flags: &[&str]| built.compile(&[&["--quiet"], flags].concat());
    let (_, stderr, code) = run(&mut compile(&[]));
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(modules.exists() && built.path("workspaces/default/ran").exists());
    let log = built.read("workspaces/default/build.log");
    assert!(log.contains(told), "{log}");
    let (_, stderr, _) = run(&mut built.command(&["configure", "--config", "a/b", "--buildroot", "../toy"]));
    assert!(stderr.contains(told), "{stderr}");
    // Who wants what SkiffOS makes of them has it.
    succeed(&mut compile(&["--keep-images"]));
    assert!(!modules.exists() && built.path("workspaces/default/moved/6.12/modules.dep").exists());
}

#[test]
fn one_that_fails_ends_the_build_and_is_named() {
    if !oracle("one_that_fails_ends_the_build_and_is_named", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    let hook = "configs/a/b/hooks/pre.sh";
    built.script(hook, "echo first\necho 'no such thing' >&2\nexit 3\n");
    built.script("overrides/hooks/pre.sh", ": >never\n");
    let compile = || built.compile(&["--quiet"]);
    let place = |stderr: &str| {
        let line =
            stderr.lines().find(|line| line.starts_with("  the whole log: ")).expect("a place").to_owned();
        assert!(line.starts_with("  the whole log: `workspaces/default/build.log`, this part from line "));
        line
    };
    let (_, stderr, code) = run(&mut compile());
    assert_eq!(
        (stderr.replace(&format!("{}\n", place(&stderr)), ""), code),
        (
            format!(
                "error: hook `{hook}` of layer `a/b` failed with exit code 3\n    a/b: first\n    a/b: no such thing\n\
                 hint: correct the hook, and compile again\n"
            ),
            1
        )
    );
    assert!(!built.path("workspaces/default/never").exists(), "the next one does not run");
    assert!(!built.path("workspaces/default/images/skiff-release").exists());

    built.script(hook, "kill -SEGV $$\n");
    let (_, stderr, _) = run(&mut compile());
    assert!(
        stderr.starts_with(&format!("error: hook `{hook}` of layer `a/b` was ended by signal 11\n")),
        "{stderr}"
    );

    fs::set_permissions(built.path(hook), fs::Permissions::from_mode(0o644)).unwrap();
    let (_, stderr, _) = run(&mut compile());
    assert!(
        stderr.starts_with(&format!("error: hook `{hook}` of layer `a/b` is not executable\n")),
        "{stderr}"
    );
    assert!(stderr.ends_with(&format!("\nhint: chmod +x `{hook}`\n")), "{stderr}");

    built.script(hook, "");
    fs::write(built.path(hook), "#!/no/such/interpreter\n").unwrap();
    let (_, stderr, _) = run(&mut compile());
    let told = format!(
        "error: hook `{hook}` of layer `a/b` cannot be started: No such file or directory (os error 2)\n"
    );
    assert!(stderr.starts_with(&told), "{stderr}");
    assert!(
        stderr.ends_with("\nhint: its first line must name its interpreter, as in `#!/bin/sh`\n"),
        "{stderr}"
    );

    // The build goes on where it was.
    built.script(hook, "");
    succeed(&mut compile());
    assert!(!built.read("workspaces/default/build.log").contains(">>> hello"));
    assert!(built.path("workspaces/default/never").exists());
}

#[test]
fn one_that_hangs_is_ended_with_all_it_started() {
    if !oracle("one_that_hangs_is_ended_with_all_it_started", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    built.script("configs/a/b/hooks/post.sh", "sleep 1000 &\necho $! $$ >pids\necho waiting\nwait\n");
    let (_, stderr, code) = run(&mut built.compile(&["--quiet", "--hook-timeout", "1"]));
    let told = "error: hook `configs/a/b/hooks/post.sh` of layer `a/b` has not ended after 1 seconds, and was ended\n    \
                a/b: waiting\n";
    assert!(stderr.starts_with(told) && code == 1, "{stderr}");
    let hint = "\nhint: give it more time with `compile --hook-timeout SECONDS`\n";
    assert!(stderr.ends_with(hint), "{stderr}");
    for pid in built.read("workspaces/default/pids").split_whitespace() {
        let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z"), "{pid} runs: {stat}");
    }
}

#[test]
fn without_a_workspace_there_is_nothing_to_run_in() {
    let built = Project::to_compile();
    let path = built.root().canonicalize().unwrap().join("workspaces/default");
    expect_failure(
        &mut built.command(&["hook", "pre", "--config", "a/b"]),
        1,
        &format!(
            "error: workspace `default` has nothing in it yet: there is no `{}`\n\
             hint: `skiff-image configure` makes it",
            path.display()
        ),
    );
}

#[test]
fn called_alone_they_end_with_the_program_and_need_a_time_that_is_one() {
    let built = Project::to_compile();
    fs::create_dir_all(built.path("workspaces/default")).unwrap();
    built.script("configs/a/b/hooks/post.sh", "echo begun >begun\nsleep 1000\n");
    let post = || built.command(&["hook", "post", "--config", "a/b"]);
    expect_failure(
        post().env("SOURCE_DATE_EPOCH", "soon"),
        1,
        "error: `SOURCE_DATE_EPOCH` is `soon`, which is not a number of seconds\n\
         hint: give whole seconds since 1970, as `date +%s` prints them",
    );
    let child = post().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !built.path("workspaces/default/begun").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    // Make is told by its group, and tells those it started.
    for _ in 0..2 {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let told = "error: hook `configs/a/b/hooks/post.sh` of layer `a/b` was interrupted\n";
    assert_eq!((String::from_utf8(output.stderr).unwrap(), output.status.code()), (told.into(), Some(143)));
}
