//! Programs that are started: what they print, how they end, and what becomes of those that do not.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use skiff_image::error::Diagnostic;
use skiff_image::interrupt::Interrupt;
use skiff_image::process::{ProcessError, Program};

fn shell(script: &str) -> Program {
    Program::new("sh").arg("-c").arg(script)
}

fn lines_of(program: &Program) -> (Vec<String>, bool) {
    let mut lines = Vec::new();
    let ended = program.run(&Interrupt::default(), None, &mut |line| lines.push(line.to_owned()));
    (lines, ended.expect("it ends").succeeded())
}

/// Whether a process is there and not a zombie, which nobody may wait for where the first process is no init.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn wait_for(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn both_streams_come_in_the_order_they_were_written() {
    let program = shell("echo a; echo b >&2; echo c; printf 'd\\377'; echo $ONE $TWO; pwd; exit 3");
    let program = program.env("ONE", "1").env("TWO", "2").without_env("TWO").directory("/");
    let (lines, succeeded) = lines_of(&program);
    assert_eq!((lines, succeeded), (["a", "b", "c", "d\u{fffd}1", "/"].map(String::from).to_vec(), false));
}

#[test]
fn what_it_leaves_behind_is_not_waited_for() {
    let begun = Instant::now();
    let (lines, succeeded) = lines_of(&shell("sleep 1000 & echo $!"));
    assert!(succeeded);
    assert!(begun.elapsed() < Duration::from_secs(900), "the program itself ended at once");
    // It is its own master now; the test ends it.
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(lines[0].parse().expect("a number")).expect("a process"),
        rustix::process::Signal::KILL,
    )
    .expect("it is there");
}

#[test]
fn one_that_takes_too_long_is_ended_with_all_it_started() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("pids");
    let script = format!("trap '' TERM; sleep 1000 & echo $! $$ >{}; wait; wait; sleep 1000", file.display());
    let pids = |limit: u64| {
        let limit_of_time = Some(Duration::from_secs(limit));
        let error =
            shell(&script).run(&Interrupt::default(), limit_of_time, &mut |_| {}).expect_err("too long");
        assert_eq!(error.to_string(), format!("`sh` has not ended after {limit} seconds, and was ended"));
        assert!(matches!(error, ProcessError::TimedOut { .. }));
        fs::read_to_string(&file).ok().filter(|pids| pids.ends_with('\n'))
    };
    // On a busy machine it may not have begun by then.
    let pids = [2, 20, 200].into_iter().find_map(pids).expect("it has begun");
    for pid in pids.split_whitespace() {
        wait_for(|| !is_alive(pid));
    }
}

#[test]
fn an_interruption_ends_it() {
    let interrupt = Interrupt::default();
    let error = shell("echo $$; echo begun; sleep 1000").run(&interrupt, None, &mut |line| {
        if line == "begun" {
            interrupt.raise();
        }
    });
    assert_eq!(error.expect_err("interrupted").to_string(), "`sh` was interrupted");
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let run = |name: &str| {
        let error = Program::new(name).run(&Interrupt::default(), None, &mut |_| {}).expect_err("not there");
        (error.to_string(), error.hint())
    };
    assert_eq!(
        run("no-such-program"),
        (
            "there is no program `no-such-program`".to_owned(),
            Some("install it, or add its directory to PATH".to_owned())
        )
    );
    assert_eq!(run("/no/such").0, "cannot start `/no/such`: No such file or directory (os error 2)");
    let error = Program::new("no-such-program").on_terminal().expect_err("not there");
    assert_eq!(error.to_string(), "there is no program `no-such-program`");
}

#[test]
fn it_can_have_another_umask() {
    let directory = tempfile::tempdir().expect("a directory");
    let made = directory.path().join("a b");
    for (umask, mode) in [(0o022, 0o644), (0o077, 0o600)] {
        let program = Program::new("sh").args(["-c", "umask; : >\"$1\"", "x"]).arg(&made).umask(umask);
        assert_eq!(lines_of(&program), (vec![format!("{umask:04o}")], true));
        let permissions = fs::metadata(&made).expect("it was made").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777, mode);
        fs::remove_file(&made).expect("it was made");
    }
    let missing = Program::new("no-such-program").umask(0o022).run(&Interrupt::default(), None, &mut |_| {});
    assert_eq!(missing.expect_err("not there").to_string(), "there is no program `no-such-program`");
}
