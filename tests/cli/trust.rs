//! `--trust-stat`: files that have not been touched are not read, and nothing else changes.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::harness::cached::Work;
use crate::harness::project::{PROGRAM, expect_failure, succeed};

const TRUST: &[&str] = &["--trust-stat"];

#[test]
fn the_image_is_the_same_with_and_without_trust() {
    for more in [&[][..], &["--pack-tails"], &["--comp", "lz4"], &["--threads", "1"]] {
        let work = Work::new();
        let args = [TRUST, more].concat();
        let expected = work.without_cache(more);
        let cold = work.make(&args);
        let warm = work.make(&args);
        assert!(cold.image == expected && warm.image == expected, "{more:?}");
        assert_eq!((warm.misses, warm.damaged), (0, 0), "{more:?}");
        assert!(work.make(more).image == expected, "{more:?}: without trust again");
    }
}

#[test]
fn what_was_touched_is_read() {
    let work = Work::new();
    work.make(TRUST);
    for name in ["tree/lib/large-3", "tree/etc/1/small-1"] {
        // Same length, and the old modification time: only the time of change tells.
        let path = work.path(name);
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let mut bytes = fs::read(&path).unwrap();
        bytes[50] ^= 1;
        work.write(name, &bytes);
        fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        let made = work.make(TRUST);
        assert!(made.image != work.expected, "{name}");
        assert!(made.image == work.without_cache(&[]), "{name}");
    }
    fs::remove_file(work.path("tree/lib/large-5")).unwrap();
    work.write("tree/etc/2/new", b"new");
    assert!(work.make(TRUST).image == work.without_cache(&[]));
}

#[test]
fn blocks_that_are_gone_or_damaged_are_made_from_the_files() {
    let work = Work::new();
    work.make(TRUST);
    for (number, entry) in work.entries().iter().enumerate() {
        match number % 3 {
            0 => fs::remove_file(entry).unwrap(),
            1 => fs::write(entry, b"damaged").unwrap(),
            _ => {}
        }
    }
    let made = work.make(TRUST);
    assert!(made.image == work.expected);
    assert!(made.misses > 0 && made.damaged > 0);
    assert!(work.make(TRUST).misses == 0);
}

#[test]
fn untouched_files_are_not_read() {
    let work = Work::new();
    fs::remove_dir_all(work.path("tree")).unwrap();
    for number in 0..20 {
        let line = format!("line of file {number}\n");
        work.write(&format!("tree/large-{number}"), line.repeat(20_000).as_bytes());
        work.write(&format!("tree/small-{number}"), line.repeat(500).as_bytes());
    }
    work.make(TRUST);
    let read = |args: &[&str]| {
        let build = work.command(&[&["--cache", "cache", "--verify-output=false"], args].concat());
        // What a process has read is added to its parent's count when it ends.
        let mut shell = Command::new("sh");
        shell.args(["-c", r#""$@" >out.json && cat /proc/$$/io"#, "sh"]).arg(build.get_program());
        shell.args(build.get_args()).current_dir(work.path("")).env("SOURCE_DATE_EPOCH", "1700000000");
        let (stdout, _) = succeed(&mut shell);
        let line = stdout.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a count");
        line.parse::<u64>().expect("a number")
    };
    let tree: u64 =
        fs::read_dir(work.path("tree")).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
    let (all, trusting) = (read(&[]), read(TRUST));
    assert!(all > tree, "{all} of {tree} bytes are read");
    assert!(trusting < all - tree * 9 / 10, "{trusting} of {all} bytes are read; the tree has {tree}");
}

#[test]
fn trust_needs_a_cache() {
    let work = Work::new();
    let mut command = Command::new(PROGRAM);
    command.args(["mkfs", "squashfs", "tree", "out.sqfs", "--cache", "off", "--trust-stat"]);
    expect_failure(
        command.current_dir(work.path("")),
        1,
        "error: `--trust-stat` needs a block cache, and there is none\nhint: give `--cache DIR`",
    );
}
