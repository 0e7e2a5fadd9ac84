//! `compile`: what it builds, what it tells, how it fails, and that it goes on after any interruption.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::project::{Project, expect_failure, json, run, succeed};
use crate::harness::tools::oracle;
use crate::harness::toy_buildroot::KCONFIG;
use rustix::process::Pid;
use serde_json::Value;

/// Signals the program itself, as a terminal does.
fn signal(child: &std::process::Child, signal: rustix::process::Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
    rustix::process::kill_process(pid, signal).expect("it is there");
}

/// Without times, which differ.
fn without_times(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if line.starts_with("packages") {
            *line = line.split("; the slowest").next().unwrap().split(" 0 s").next().unwrap().into();
        }
        if let Some((before, _)) = line.split_once(", about ") {
            *line = before.into();
        }
    }
    lines.join("\n")
}

#[test]
fn a_system_is_built_once_and_told_as_it_goes() {
    if !oracle("a_system_is_built_once_and_told_as_it_goes", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    let (stdout, stderr) = succeed(&mut built.compile(&[]));
    let first = stdout.lines().next().unwrap();
    assert!(first.starts_with("workspace default is built: version 0, ") && first.ends_with(" s"), "{first}");
    assert!(
        stdout.contains(
            "\nroot      target, with the tables of users and devices\nimages    Image, skiff-release\npackages  "
        ),
        "{stdout}"
    );
    assert!(stdout.ends_with("\nlog       workspaces/default/build.log\n"), "{stdout}");
    let lines = without_times(&stderr);
    let lines: Vec<&str> = lines.lines().filter(|line| !line.contains("Copying overlay")).collect();
    let script = |name: &str| built.path("workspaces/.config_default").join(name).display().to_string();
    assert_eq!(
        lines,
        [
            "Listing packages",
            "[0/3] busybox 1.36.1",
            "[1/3] hello 2.12",
            "[2/3] linux 6.12",
            "[3/3] Finalizing target directory",
            &format!("[3/3] Executing post-build script {}", script("pre_build.sh")),
            &format!("[3/3] Executing post-image script {}", script("post_build.sh")),
            "[3/3] Generating root filesystems common tables",
            "next: `skiff-image assemble`, or `skiff-image flash DEVICE`",
        ]
    );
    let log = built.read("workspaces/default/build.log");
    assert!(log.contains("hello at install\n") && !log.contains("show-build-order"), "{log}");

    // Nothing is left to do, and there is a log of both.
    let document = json(built.command(&["compile"]).stderr(Stdio::null()));
    assert_eq!(document["packages"], Value::Array(Vec::new()));
    assert_eq!(document["images"], serde_json::json!(["Image", "skiff-release"]));
    assert!(!built.read("workspaces/default/build.log").contains(">>> hello"));
    assert!(built.read("workspaces/default/build.log.1").contains(">>> hello"));
    let (stdout, _) = succeed(&mut built.command(&["compile", "--quiet"]));
    assert!(stdout.contains("\npackages  all were there\n"), "{stdout}");

    // All that is printed, on stderr; and what happens, for programs.
    fs::remove_file(built.path("workspaces/default/build/hello-2.12/.stamp_installed")).unwrap();
    let (_, stderr) = succeed(&mut built.command(&["compile", "--verbose", "--events", "events"]));
    assert!(stderr.contains("\nhello at build\n") && !stderr.contains('\u{1b}'), "{stderr}");
    let events: Vec<Value> =
        built.read("events").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let step = events.iter().find(|event| event["step"] == "build").expect("hello is built");
    assert_eq!(
        (&step["event"], &step["package"], &step["version"], &step["done"], &step["total"]),
        (&"step".into(), &"hello".into(), &"2.12".into(), &2.into(), &3.into())
    );
    assert!(step["left"].is_u64(), "earlier builds tell: {step}");
    assert_eq!(events.last().unwrap()["event"], "result");
}

#[test]
fn a_failure_is_told_with_its_package_and_its_lines() {
    if !oracle("a_failure_is_told_with_its_package_and_its_lines", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    built.write("configs/a/b/buildroot/more", "BR2_PACKAGE_BROKEN=y\n");
    let compile = || {
        let mut compile = built.compile(&["--quiet"]);
        compile.env("LC_ALL", "C.UTF-8");
        compile
    };
    let mut told = "error: `broken` 0.1 failed at `build`\n".to_owned();
    (22..=40).for_each(|line| told += &format!("    compiling broken {line}\n"));
    told += "    broken.c:7:1: error: it is \"broken\"\n";
    let (_, stderr, code) = run(&mut compile());
    let place = "  the whole log: `workspaces/default/build.log`, this part from line ";
    let line = stderr.lines().last().unwrap().strip_prefix(place).expect("the last line is the place");
    assert_eq!((stderr.replace(&format!("{place}{line}\n"), ""), code), (told.clone(), 1));
    let log = built.read("workspaces/default/build.log");
    let line: usize = line.parse().unwrap();
    assert_eq!(log.lines().nth(line - 1), Some("compiling broken 1"));

    // A log that the package itself has written is named, and causes that are known are told.
    fs::write(built.path("workspaces/default/build/broken-0.1/config.log"), "checking").unwrap();
    let script = fs::read_to_string(built.beside("toy/package/broken.sh")).unwrap();
    let missing = script.replace("exit 1", "echo '/bin/sh: 1: bison: not found'; exit 127");
    fs::write(built.beside("toy/package/broken.sh"), missing).unwrap();
    let (_, stderr, _) = run(&mut compile());
    let end = "\n  the log of the package: `workspaces/default/build/broken-0.1/config.log`\n\
               hint: install `bison` on this machine, and try again\n";
    assert!(stderr.ends_with(end), "{stderr}");
    let (_, stderr, code) = run(compile().arg("--json"));
    let document: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!((&document["code"], code), (&"build-failed".into(), 1));

    // What does not depend on it is built all the same.
    fs::remove_dir_all(built.path("workspaces/default/build/linux-6.12")).ok();
    let (_, stderr, _) = run(compile().args(["--keep-going", "--jobs", "2"]));
    assert!(stderr.starts_with("error: `broken` 0.1 failed at `build`\n"), "{stderr}");
    assert!(built.path("workspaces/default/build/linux-6.12/.stamp_installed").exists());

    // And the rest is built when it is mended.
    succeed(compile().env("TOY_FIXED", "1"));
    assert!(!built.read("workspaces/default/build.log").contains(">>> hello"));
}

#[test]
fn an_interrupted_build_goes_on() {
    if !oracle("an_interrupted_build_goes_on", KCONFIG) {
        return;
    }
    let whole = Project::to_compile();
    let slow = "BR2_PACKAGE_SLOW=y\n";
    whole.write("configs/a/b/buildroot/more", slow);
    let begun = Instant::now();
    succeed(&mut whole.compile(&["--quiet"]));
    let time = begun.elapsed();

    let built = Project::to_compile();
    built.write("configs/a/b/buildroot/more", slow);
    for attempt in 0..20_u32 {
        if attempt % 4 == 0 {
            _ = fs::remove_dir_all(built.path("workspaces"));
        }
        let mut child =
            built.compile(&["--quiet"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(time * attempt / 20);
        // It may have ended by itself.
        let kind =
            [rustix::process::Signal::INT, rustix::process::Signal::KILL][usize::from(attempt % 2 == 1)];
        if child.try_wait().unwrap().is_none() {
            signal(&child, kind);
        }
        child.wait().unwrap();
        wait_for_make(&built);
    }
    succeed(&mut built.compile(&["--quiet"]));
    for directory in ["workspaces/default/target", "workspaces/default/images"] {
        assert_eq!(built.contents(directory), whole.contents(directory));
    }
}

/// The make of a build, if it runs: the leader of a process group.
fn make_of(built: &Project) -> Option<Pid> {
    let output = built.path("workspaces/default").canonicalize().unwrap_or_default();
    let output = format!("O={}", output.display());
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    let make = processes.find(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).split('\0').any(|argument| argument == output)
    })?;
    Pid::from_raw(make.file_name().to_str()?.parse().ok()?)
}

/// Until it has ended, which a killed program cannot wait for.
fn wait_for_make(built: &Project) {
    let begun = Instant::now();
    while make_of(built).is_some() {
        assert!(begun.elapsed() < Duration::from_secs(60), "make was not told");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_interruption_is_told_and_ends_all_that_runs() {
    if !oracle("an_interruption_is_told_and_ends_all_that_runs", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    built.write("configs/a/b/buildroot/more", "BR2_PACKAGE_SLOW=y\n");
    let mut compile = built.compile(&["--verbose", "--events", "events"]);
    compile.env("TOY_SLOW", "1000").stdout(Stdio::piped()).stderr(Stdio::piped());
    let begin = |compile: &mut Command| {
        let child = compile.spawn().unwrap();
        let begun = Instant::now();
        let log = built.path("workspaces/default/build.log");
        while !fs::read_to_string(&log).unwrap_or_default().contains(">>> slow 1 build") {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never came");
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    };
    let child = begin(&mut compile);
    signal(&child, rustix::process::Signal::INT);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.ends_with(
            "error: the build was interrupted at `slow 1: build`\n\
             hint: run it again: what is built stays, and nothing is lost\n"
        ),
        "{stderr}"
    );
    assert_eq!(output.status.code(), Some(130));
    let last = built.read("events").lines().last().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["code"], "interrupted");
    wait_for_make(&built);

    // Make does not go on alone when the program that started it is gone.
    fs::remove_file(built.path("workspaces/default/build.log")).unwrap();
    compile.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = begin(&mut compile);
    let make = make_of(&built).expect("make runs");
    signal(&child, rustix::process::Signal::KILL);
    child.wait().unwrap();
    wait_for_make(&built);
    // What make itself had started is without a master now; the test ends it.
    _ = rustix::process::kill_process_group(make, rustix::process::Signal::KILL);
}

#[test]
fn a_layer_can_say_what_is_built() {
    if !oracle("a_layer_can_say_what_is_built", KCONFIG) {
        return;
    }
    let built = Project::to_compile();
    built.write("configs/a/b/metadata/buildtarget", "target-finalize\n");
    let script = built.path("workspaces/.config_default/post_build.sh").display().to_string();
    let (_, stderr) = succeed(&mut built.compile(&[]));
    assert!(
        !stderr.contains(&script) && stderr.contains("Generating root filesystems common tables"),
        "{stderr}"
    );
}

#[test]
fn what_cannot_be_built_is_told() {
    let built = Project::to_compile();
    let mut bare = built.command(&["compile", "--buildroot", "../toy"]);
    expect_failure(
        &mut bare,
        1,
        "error: no chain of layers is given, and the workspace `default` remembers none\nhint: `skiff-image layers list` \
         shows the layers; set SKIFF_CONFIG, for example to `pi/4,util/rootlogin`, or give `--config`",
    );
    if !oracle("what_cannot_be_built_is_told", KCONFIG) {
        return;
    }
    // A make that cannot even begin.
    succeed(&mut built.verb("configure", &["--quiet"]));
    let makefile = fs::read_to_string(built.beside("toy/Makefile")).unwrap();
    let wrong = format!("ifneq ($(filter all,$(MAKECMDGOALS)),)\n$(error it is wrong)\nendif\n{makefile}");
    fs::write(built.beside("toy/Makefile"), wrong).unwrap();
    let (_, stderr, code) = run(&mut built.command(&["compile", "--quiet"]));
    assert_eq!(code, 1);
    assert!(
        stderr.starts_with(
            "error: make failed before anything was built\n    Makefile:2: *** it is wrong.  Stop.\n"
        ),
        "{stderr}"
    );
}

/// `date`, which the boot scripts call.
fn date_of(text: &str) -> String {
    let mut date = Command::new("date");
    let said = date.args(["-u", "+%s", "-d", text]).output().expect("date can be started");
    assert!(said.status.success(), "{text}");
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_system_states_its_version_and_the_date_of_its_sources() {
    let test = "a_system_states_its_version_and_the_date_of_its_sources";
    if !oracle(test, KCONFIG) || !oracle(test, "git") {
        return;
    }
    let built = Project::to_compile();
    // As the base hook of SkiffOS, with a clock and a host.
    built.script(
        "configs/a/b/hooks/pre.sh",
        "echo NAME=Other BUILD_DATE=\"$(date +%s.%N)\" | tee target/etc/skiff-release >images/skiff-release\n",
    );
    let mut made = Vec::new();
    for zone in ["UTC", "Asia/Tokyo"] {
        succeed(built.compile(&["--quiet"]).env("TZ", zone).env("SKIFF_VERSION", "2026.08.1"));
        let read = |name: &str| built.read(&format!("workspaces/default/{name}"));
        assert_eq!(read("images/skiff-release"), read("target/etc/skiff-release"));
        assert_eq!(
            read("target/etc/os-release"),
            read("target/etc/skiff-release").replace("BUILD_CONFIG=\"a/b\"\n", "")
        );
        assert_eq!(read("target/etc/buildroot-release"), "NAME=Buildroot\nVERSION=2026.05.1\nID=buildroot\n");
        made.push(read("images/skiff-release"));
    }
    assert_eq!(made[0], made[1]);
    assert_eq!(
        made[0],
        "NAME=SkiffOS\nVERSION=2026.08.1\nID=skiff\nVERSION_ID=2026.08.1\nPRETTY_NAME=\"SkiffOS 2026.08.1\"\n\
         BUILD_DATE=\"2020-01-02 03:04:05\"\nVERSION_FULL=\"SkiffOS version 2026.08.1 2020-01-02 03:04:05\"\n\
         BUILD_CONFIG=\"a/b\"\n"
    );
    // What mount-all.sh of SkiffOS does with it, and clock.sh of ours.
    let mut shell = Command::new("sh");
    let cut = shell.arg("-c").arg("grep BUILD_DATE \"$1\" | cut -d\\\" -f2").arg("sh");
    let cut = cut.arg(built.path("workspaces/default/target/etc/skiff-release")).output().unwrap();
    assert_eq!(date_of(String::from_utf8(cut.stdout).unwrap().trim()), "1577934245");

    // A version that is more than a word would be more than a line for scripts.
    expect_failure(
        built.compile(&["--quiet"]).env("SKIFF_VERSION", "1 2"),
        1,
        "error: `SKIFF_VERSION` is `1 2`, which is not a version: scripts read it without quotes\n\
         hint: use letters, digits, `.`, `_`, `+`, `~` and `-`",
    );
}

#[test]
fn version_and_date_are_those_of_the_checkout() {
    let test = "version_and_date_are_those_of_the_checkout";
    if !oracle(test, KCONFIG) || !oracle(test, "git") {
        return;
    }
    let built = Project::to_compile();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(built.root()).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(arguments);
        git.env("GIT_COMMITTER_DATE", "1600000000 +0000").env("GIT_AUTHOR_DATE", "1600000000 +0000");
        let done = git.output().expect("git can be started");
        assert!(done.status.success(), "{git:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    built.write(".gitignore", "/workspaces\n");
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "a"]);
    git(&["tag", "2026.09"]);
    let commit = git(&["rev-parse", "--short", "HEAD"]);
    let release = || {
        succeed(built.compile(&["--quiet"]).env_remove("SOURCE_DATE_EPOCH"));
        let text = built.read("workspaces/default/images/skiff-release");
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        (value("VERSION="), value("VERSION_ID="), value("BUILD_DATE="))
    };
    let date = "\"2020-09-13 12:26:40\"".to_owned();
    assert_eq!(release(), ("2026.09".to_owned(), commit.clone(), date.clone()));
    built.write("configs/a/b/buildroot/base", "BR2_aarch64=y\n");
    assert_eq!(release(), ("2026.09-dirty".to_owned(), commit, date));

    // Without a checkout nobody says when.
    fs::remove_dir_all(built.path(".git")).unwrap();
    let mut compile = built.compile(&[]);
    let (_, stderr) = succeed(compile.env_remove("SOURCE_DATE_EPOCH"));
    let note = "neither SOURCE_DATE_EPOCH nor a commit says when this is made: BUILD_DATE is 1980-01-01\n";
    assert!(stderr.contains(note), "{stderr}");
    let text = built.read("workspaces/default/images/skiff-release");
    assert!(text.contains("VERSION=0\n") && text.contains("BUILD_DATE=\"1980-01-01 00:00:00\"\n"), "{text}");
}
