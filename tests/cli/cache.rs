//! The block cache as builds and users see it: the same bytes with any cache or none, whatever happens to it.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::harness::cached::{Made, Tmpfs, Work, disk_len};
use crate::harness::loopdev::LoopDevice;
use crate::harness::privilege;
use crate::harness::project;
use crate::harness::project::{PROGRAM, Project, expect_failure, json, run, succeed};
use crate::harness::trees::Random;
use serde_json::json;

#[test]
fn the_image_is_the_same_with_a_cold_a_warm_and_no_cache_on_any_number_of_threads() {
    let work = Work::new();
    for (writers, readers) in [("1", "4"), ("2", "1"), ("4", "2")] {
        assert!(work.without_cache(&["--threads", writers]) == work.expected, "{writers} threads, no cache");
        let cold = work.make(&["--threads", writers]);
        assert!(cold.image == work.expected, "{writers} threads, cold");
        assert!(cold.misses > 50, "{} blocks are made", cold.misses);
        let warm = work.make(&["--threads", readers]);
        assert!(warm.image == work.expected, "{writers} threads, then {readers}");
        assert_eq!((warm.hits, warm.misses), (cold.hits + cold.misses, 0));
        assert_eq!(warm.warnings, Vec::<String>::new());
        work.expect_no_unfinished();
        fs::remove_dir_all(work.path("cache")).unwrap();
    }
}

#[test]
fn codecs_levels_and_block_sizes_do_not_mix() {
    let work = Work::new();
    for settings in [
        ["--comp", "zstd:1", "--pack-tails"],
        ["--comp", "zstd:2", "--pack-tails"],
        ["--comp", "gzip:1", "--pack-tails"],
        ["--comp", "gzip:6", "--pack-tails"],
        ["--comp", "xz:0", "--pack-tails"],
        ["--comp", "lz4", "--pack-tails"],
        ["--comp", "lz4hc", "--pack-tails"],
    ] {
        let expected = work.without_cache(&settings);
        let cold = work.make(&settings);
        assert_eq!(cold.hits, 0, "{settings:?}");
        let warm = work.make(&settings);
        assert_eq!(warm.misses, 0, "{settings:?}");
        assert!(cold.image == expected && warm.image == expected, "{settings:?}");
    }
    let other_size = |cache: &str| work.command_with("16K", "32K", &["--cache", cache]);
    succeed(&mut other_size("off"));
    let expected = fs::read(work.path("out.sqfs")).unwrap();
    let cold = work.run(&mut other_size("cache"));
    assert!(cold.image == expected && cold.hits == 0, "{} hits", cold.hits);
}

#[test]
fn one_changed_file_costs_a_few_blocks() {
    let work = Work::new();
    work.make(&[]);
    // The same length, as after a new version of a program; and a small file that is packed with others.
    let mut bytes = fs::read(work.path("tree/lib/large-3")).unwrap();
    bytes[70_000] ^= 1;
    work.write("tree/lib/large-3", &bytes);
    let made = work.make(&[]);
    assert!((1..=2).contains(&made.misses), "{} misses", made.misses);
    assert!(made.image == work.without_cache(&[]));
    let mut bytes = fs::read(work.path("tree/etc/1/small-1")).unwrap();
    bytes[50] ^= 1;
    work.write("tree/etc/1/small-1", &bytes);
    let made = work.make(&[]);
    assert!((1..=3).contains(&made.misses), "{} misses", made.misses);
    assert!(made.image == work.without_cache(&[]));
}

#[test]
fn a_new_small_file_leaves_the_blocks_of_others_alone() {
    let work = Work::new();
    let mut random = Random(2);
    for number in 0..1500 {
        let len = 500 + random.below(4000) as usize;
        work.write(&format!("tree/share/{number:04}"), &random.text(len));
    }
    let blocks = work.make(&[]).misses;
    // Before all others in the order of packing.
    work.write("tree/etc/0/a", &random.text(9000));
    let made = work.make(&[]);
    assert!(made.misses * 4 < blocks, "{} of {blocks} blocks are made again", made.misses);
    assert!(made.image == work.without_cache(&[]));
}

/// Changes every entry of a warm cache and builds with it.
fn expect_rebuilt(work: &Work, what: &str, damage: impl Fn(&mut Vec<u8>)) {
    let entries = work.entries();
    for path in &entries {
        let mut bytes = fs::read(path).unwrap();
        damage(&mut bytes);
        fs::write(path, bytes).unwrap();
    }
    let blocks = entries.len() as u64;
    let made = work.make(&[]);
    assert!(made.image == work.expected, "{what}");
    assert_eq!((made.hits, made.misses, made.damaged), (0, blocks, blocks), "{what}");
    let told = format!("warning: {blocks} blocks of the block cache were damaged and were made again");
    assert_eq!(made.warnings, [told], "{what}");
}

#[test]
fn a_corrupt_cache_is_made_again() {
    let work = Work::new();
    let blocks = work.make(&[]).misses;
    // Magic, kind, length, checksum, and the payload where there is one.
    for at in [0, 9, 13, 30, usize::MAX] {
        expect_rebuilt(&work, &format!("byte {at} is flipped"), |bytes| {
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 0x40;
        });
    }
    for len in [0, 47] {
        expect_rebuilt(&work, &format!("cut to {len} bytes"), |bytes| bytes.truncate(len));
    }
    expect_rebuilt(&work, "without the last byte", |bytes| bytes.truncate(bytes.len() - 1));
    expect_rebuilt(&work, "with a byte more", |bytes| bytes.push(0));
    expect_rebuilt(&work, "full of zeros", |bytes| bytes.fill(0));
    let again = work.make(&[]);
    assert!(again.image == work.expected);
    assert_eq!((again.hits, again.misses, again.damaged), (blocks, 0, 0));
}

#[test]
fn entries_under_the_names_of_others_are_made_again() {
    let work = Work::new();
    let blocks = work.make(&[]).misses;
    let entries = work.entries();
    let contents: Vec<_> = entries.iter().map(|path| fs::read(path).unwrap()).collect();
    for (index, path) in entries.iter().enumerate() {
        fs::write(path, &contents[(index + 1) % contents.len()]).unwrap();
    }
    let made = work.make(&[]);
    assert!(made.image == work.expected);
    assert_eq!((made.hits, made.damaged), (0, blocks));
}

#[test]
fn one_damaged_block_is_told_even_if_quiet() {
    let work = Work::new();
    work.make(&[]);
    fs::write(&work.entries()[7], "").unwrap();
    let (_, stderr) = succeed(&mut work.command(&["--cache", "cache", "--quiet"]));
    assert_eq!(stderr, "warning: 1 block of the block cache was damaged and was made again\n");
    let (_, stderr) = succeed(&mut work.command(&["--cache", "cache", "--quiet"]));
    assert_eq!(stderr, "");
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn builds_share_a_cache_at_the_same_time() {
    let work = Work::new();
    for round in 0..2 {
        let outs = ["a.sqfs", "b.sqfs", "c.sqfs"];
        let builds = outs.map(|out| {
            start(&mut work.command_with("out.sqfs", out, &["--cache", "cache", "--threads", "2"]))
        });
        for mut build in builds {
            assert!(build.wait().unwrap().success(), "round {round}");
        }
        for out in outs {
            assert!(fs::read(work.path(out)).unwrap() == work.expected, "round {round}, {out}");
        }
        let warm = work.make(&[]);
        assert_eq!((warm.misses, warm.damaged), (0, 0), "round {round}");
        assert!(warm.image == work.expected, "round {round}");
        work.expect_no_unfinished();
        fs::remove_dir_all(work.path("cache")).unwrap();
    }
}

#[test]
fn a_build_that_is_killed_at_any_moment_leaves_a_cache_for_the_next() {
    let work = Work::new();
    let settings = ["--comp", "xz:6", "--threads", "2"];
    let expected = work.without_cache(&settings);
    for wanted in [0, 1, 10, 50] {
        let mut build = start(&mut work.command(&[&["--cache", "cache"], &settings[..]].concat()));
        while work.entries().len() < wanted && build.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        build.kill().unwrap();
        build.wait().unwrap();
        let kept = work.entries().iter().filter(|path| !path.to_string_lossy().contains("/tmp-")).count();
        let next = work.make(&settings);
        assert!(next.image == expected, "killed at {wanted} entries");
        assert_eq!((next.hits, next.damaged), (kept as u64, 0), "killed at {wanted} entries");
        let warm = work.make(&settings);
        assert!(warm.image == expected && warm.misses == 0, "killed at {wanted} entries");
        fs::remove_dir_all(work.path("cache")).unwrap();
    }
}

#[test]
fn the_bound_is_kept_and_what_was_used_is_there() {
    let work = Work::new();
    let all = work.make(&[]);
    let bytes = || disk_len(&work.entries());
    let whole = bytes();
    for path in work.entries() {
        File::open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    }
    // Other blocks come in, for which half of the old ones have to go.
    let bound = whole.to_string();
    let other = ["--comp", "gzip:1", "--cache-size", &bound];
    let made = work.make(&other);
    assert!(made.image == work.without_cache(&other[..2]));
    assert!(bytes() <= whole, "{} of {whole}", bytes());
    // The new ones are all there.
    let again = work.make(&other);
    assert_eq!(again.misses, 0);
    // A build whose blocks do not fit is right as well, and the next one finds some of them.
    fs::remove_dir_all(work.path("cache")).unwrap();
    let small = ["--cache-size", "100K"];
    assert!(work.make(&small).image == all.image);
    assert!(bytes() <= 100 << 10);
    let next = work.make(&small);
    assert!(next.image == all.image && next.hits > 5, "{} hits", next.hits);
}

#[test]
fn a_cache_of_somebody_else_is_read_and_told() {
    let work = Work::new();
    let blocks = work.make(&[]).misses;
    fs::set_permissions(work.path(""), Permissions::from_mode(0o755)).unwrap();
    fs::copy(PROGRAM, work.path("program")).unwrap();
    fs::create_dir(work.path("out")).unwrap();
    fs::set_permissions(work.path("out"), Permissions::from_mode(0o777)).unwrap();
    // As somebody who may not write to the cache.
    let root = rustix::process::geteuid().is_root();
    let shards: Vec<_> =
        fs::read_dir(work.path("cache/v1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let allow = |mode| {
        for shard in shards.iter().filter(|shard| shard.is_dir()).chain([&work.path("cache/v1")]) {
            fs::set_permissions(shard, Permissions::from_mode(mode)).unwrap();
        }
    };
    allow(0o555);
    let build = || {
        let out = work.path("out/o.sqfs");
        let _ = fs::remove_file(&out);
        let mut command = Command::new(work.path("program"));
        command.args(["mkfs", "squashfs", "tree", "out/o.sqfs", "--block", "16K", "--comp", "zstd:1"]);
        command.args(["--cache", "cache"]).current_dir(work.path("")).env_clear();
        if root {
            command.uid(65_534).gid(65_534);
        }
        let (_, stderr) = succeed(command.env("SOURCE_DATE_EPOCH", "1700000000"));
        (fs::read(out).unwrap(), stderr)
    };
    let (image, stderr) = build();
    assert_eq!(stderr, format!("cache: {blocks} of {blocks} blocks were there\n"), "nothing is missed");
    assert!(image == work.without_cache(&[]));

    work.write("tree/lib/large-1", &Random(9).text(100_000));
    let (image, stderr) = build();
    let (warning, note) = stderr.trim_end().split_once('\n').unwrap();
    let denied = "`: Permission denied (os error 13)";
    let start = "warning: new blocks are not kept in the block cache: cannot write `cache/v1/";
    assert!(warning.starts_with(start) && warning.ends_with(denied), "{warning}");
    assert!(note.starts_with("cache: ") && !note.starts_with("cache: 0 "), "{note}");
    assert!(image == work.without_cache(&[]));

    work.entries().iter().for_each(|path| fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap());
    let (image, stderr) = build();
    let start =
        "warning: blocks are compressed although they may be in the block cache: cannot read `cache/v1/";
    let warning = stderr.lines().next().unwrap();
    assert!(warning.starts_with(start) && warning.ends_with(denied), "{stderr}");
    assert_eq!(stderr.lines().count(), 3, "each is told once: {stderr}");
    assert!(image == work.without_cache(&[]));
    allow(0o755);
}

#[test]
fn a_cache_that_cannot_be_made_is_told() {
    let work = Work::new();
    work.write("file", b"of somebody");
    let (_, stderr) = succeed(&mut work.command(&["--cache", "file"]));
    let expected = "warning: the block cache is not used: cannot create `file/v1`: Not a directory (os error 20)\n\
                    cache: 0 of ";
    assert!(stderr.starts_with(expected), "{stderr}");
    assert!(fs::read(work.path("out.sqfs")).unwrap() == work.without_cache(&[]));
    assert_eq!(fs::read(work.path("file")).unwrap(), b"of somebody");
}

#[test]
fn a_full_or_read_only_filesystem_is_told() {
    if !privilege::root("a_full_or_read_only_filesystem_is_told") {
        return;
    }
    let work = Work::new();
    let tmpfs = Tmpfs::mount(work.path("cache"), "size=8m,nr_inodes=40");
    let full = work.make(&[]);
    assert!(full.image == work.expected);
    expect_not_kept(&full, "`: No space left on device (os error 28)");
    work.expect_no_unfinished();
    let kept = work.entries().len() as u64;
    assert!(kept > 3);
    tmpfs.make_read_only();
    let read_only = work.make(&[]);
    assert!(read_only.image == work.expected);
    assert_eq!((read_only.hits, read_only.damaged), (kept, 0));
    expect_not_kept(&read_only, "`: Read-only file system (os error 30)");
    let (_, stderr, code) = run(&mut work.cache(&["prune", "--all"]));
    assert!(stderr.starts_with("error: cannot remove `cache/v1/"), "{stderr}");
    assert!(stderr.ends_with("`: Read-only file system (os error 30)\n") && code == 1, "{stderr}");
}

#[track_caller]
fn expect_not_kept(made: &Made, reason: &str) {
    let [warning] = &made.warnings[..] else { panic!("{:?}", made.warnings) };
    let start = "warning: new blocks are not kept in the block cache: cannot write `cache/v1/";
    assert!(warning.starts_with(start) && warning.ends_with(reason), "{warning}");
}

#[test]
fn the_last_part_of_a_filesystem_is_left_for_images() {
    if !privilege::root("the_last_part_of_a_filesystem_is_left_for_images") {
        return;
    }
    let work = Work::new();
    let _tmpfs = Tmpfs::mount(work.path("cache"), "size=128k");
    let full = work.make(&["--threads", "1"]);
    assert!(full.image == work.expected);
    let told = |left: &str| {
        format!(
            "warning: new blocks are not kept in the block cache: the filesystem of `cache/v1` has {left} free, \
             and the last 8 KiB are kept for others"
        )
    };
    assert!(full.warnings == [told("12 KiB")] || full.warnings == [told("8 KiB")], "{:?}", full.warnings);
    work.expect_no_unfinished();
    let again = work.make(&["--threads", "1"]);
    assert!(again.image == work.expected);
    assert_eq!((again.hits, again.warnings), (work.entries().len() as u64, full.warnings));
}

#[test]
fn stats_and_prune_tell_what_is_there_and_what_was_removed() {
    let work = Work::new();
    let (stdout, stderr) = succeed(&mut work.cache(&["stats"]));
    assert_eq!((stdout.as_str(), stderr.as_str()), ("cache: 0 blocks, 0 bytes, at most 5 GiB\n", ""));
    assert_eq!(
        json(&mut work.cache(&["stats", "--cache-size", "1GiB"])),
        json!({"path": "cache", "bound": 1 << 30, "entries": 0, "bytes": 0, "oldest_use": null})
    );
    let (stdout, _) = succeed(&mut work.cache(&["prune"]));
    assert_eq!(stdout, "cache: 0 blocks, 0 bytes removed; 0 blocks, 0 bytes left\n");
    assert!(!work.path("cache").exists(), "looking makes nothing");

    fs::remove_dir_all(work.path("tree/lib")).unwrap();
    work.write("tree/large", &vec![7; 16 << 10]);
    let made = work.make(&[]);
    let entries = work.entries();
    assert_eq!(entries.len() as u64, made.misses);
    for (age, path) in entries.iter().enumerate() {
        let used = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + age as u64);
        File::open(path).unwrap().set_modified(used).unwrap();
    }
    let (count, whole) = (entries.len(), disk_len(&entries));
    let size = |bytes: u64| skiff_image::value::ByteSize(bytes);
    let (stdout, _) = succeed(&mut work.cache(&["stats"]));
    let expected = format!(
        "cache: {count} blocks, {}, at most 5 GiB\noldest use: 2023-11-14 22:13:20 UTC\n",
        size(whole)
    );
    assert_eq!(stdout, expected);
    assert_eq!(
        json(&mut work.cache(&["stats"])),
        json!({"path": "cache", "bound": 5_u64 << 30, "entries": count, "bytes": whole, "oldest_use": 1_700_000_000})
    );

    let (gone, last) = entries.split_at(count - 1);
    let (removed, left) = (disk_len(gone), disk_len(last));
    let (stdout, stderr) = succeed(&mut work.cache(&["prune", "--max", &left.to_string()]));
    let blocks = if gone.len() == 1 { "1 block".into() } else { format!("{} blocks", gone.len()) };
    let expected = format!("cache: {blocks}, {} removed; 1 block, {} left\n", size(removed), size(left));
    assert_eq!((stdout, stderr.as_str()), (expected, ""));
    assert_eq!(work.entries(), last);
    assert_eq!(
        json(&mut work.cache(&["prune", "--all"])),
        json!({"path": "cache", "removed": 1, "freed": left, "entries": 0, "bytes": 0})
    );
    assert_eq!(work.make(&[]).misses, made.misses);
}

#[test]
fn the_cache_is_where_the_user_has_caches() {
    let project = Project::new();
    let home = project.path("home");
    fs::create_dir(&home).unwrap();
    let place = |variables: &[(&str, &str)]| {
        let mut command = project.command(&["cache", "stats"]);
        command.env_remove("SKIFF_CACHE").envs(variables.iter().copied());
        let stats = json(&mut command);
        stats["path"].as_str().unwrap().to_owned()
    };
    let home = home.to_str().unwrap();
    assert_eq!(place(&[("XDG_CACHE_HOME", "/caches"), ("HOME", home)]), "/caches/skiff-image");
    let below_home = format!("{home}/.cache/skiff-image");
    assert_eq!(place(&[("HOME", home)]), below_home);
    assert_eq!(place(&[("XDG_CACHE_HOME", "relative"), ("HOME", home)]), below_home);
    assert_eq!(place(&[("XDG_CACHE_HOME", ""), ("HOME", home), ("SKIFF_CACHE", "")]), below_home);
    assert_eq!(place(&[("HOME", home), ("SKIFF_CACHE", "here"), ("SKIFF_CACHE_SIZE", "")]), "here");
    let off = "error: the block cache is off\nhint: give its directory with `--cache`";
    for (name, value) in
        [("SKIFF_CACHE", "off"), ("HOME", "/nonexistent"), ("HOME", "relative"), ("HOME", "")]
    {
        let mut command = project.command(&["cache", "stats"]);
        expect_failure(command.env_remove("SKIFF_CACHE").env(name, value), 1, off);
    }
    expect_failure(&mut project.command(&["cache", "prune", "--cache", "off"]), 1, off);
    project.write("file", "");
    expect_failure(
        &mut project.command(&["cache", "stats", "--cache", "file"]),
        1,
        "error: cannot list `file/v1`: Not a directory (os error 20)",
    );

    let (_, stderr, code) = run(project.command(&["cache", "stats"]).env("SKIFF_CACHE_SIZE", "much"));
    assert_eq!(code, 2);
    let expected = "error: invalid value 'much' for '--cache-size <SIZE>': `much` is not a size";
    assert!(stderr.starts_with(expected), "{stderr}");
    // A build uses that place, and a flag wins over a variable.
    let mut command = project.assemble(&["--cache", "off"]);
    succeed(command.env("SKIFF_CACHE", project.path("variable")).env("HOME", home));
    assert!(!project.path("variable").exists() && !Path::new(&below_home).exists());
    let (_, stderr) = succeed(project.assemble(&[]).env_remove("SKIFF_CACHE").env("HOME", home));
    assert!(stderr.lines().any(|line| line.starts_with("cache: 0 of ")), "{stderr}");
    assert!(Path::new(&below_home).join("v1").is_dir());
}

#[test]
fn disks_are_composed_with_the_cache() {
    let project = Project::new();
    let read = || project::NAMES.map(|name| fs::read(project.path(&format!("out/{name}"))).unwrap());
    let without = json(&mut project.assemble(&["--quiet"]));
    assert!(without.get("cache").is_none(), "{without}");
    let expected = read();
    let cold = json(&mut project.assemble(&["--cache", "cache"]))["cache"].clone();
    assert!(read() == expected);
    assert_eq!((&cold["hits"], &cold["damaged"]), (&json!(0), &json!(0)));
    let blocks = cold["misses"].as_u64().unwrap();
    assert!(blocks >= 5, "{blocks}");
    let (_, stderr) = succeed(project.assemble(&["--cache", "cache"]).arg("--force"));
    assert!(stderr.ends_with(&format!("cache: {blocks} of {blocks} blocks were there\n")), "{stderr}");
    assert!(read() == expected);
    // Other filesystems have no blocks to keep.
    let fat = json(&mut project.command(&["mkfs", "cpio", "configs", "out/a.cpio"]));
    assert!(fat.get("cache").is_none(), "{fat}");
    let Some(device) = LoopDevice::new("disks_are_composed_with_the_cache", 80 << 20, &[]) else {
        return;
    };
    let device = device.path.to_str().unwrap();
    let flashed = json(&mut project.with_inputs(&["flash", device, "--yes", "--cache", "cache"], &[]));
    assert_eq!(
        flashed["cache"],
        json!({"hits": blocks, "misses": 0, "damaged": 0, "fetched": 0, "uploaded": 0})
    );
}

#[test]
fn what_a_failed_build_has_compressed_is_kept() {
    let project = Project::new();
    let (fit, small) = ("size = \"fit\"\nslack = \"4 MiB\"", "size = \"256 KiB\"");
    project.edit_board(fit, small);
    let mut command = project.assemble(&["--cache", "cache"]);
    let (stdout, stderr, code) = run(&mut command);
    assert_eq!((stdout.as_str(), code), ("", 1));
    assert!(stderr.starts_with("error: partition `rootfs`"), "no talk about blocks: {stderr}");
    let stats = json(&mut project.command(&["cache", "stats", "--cache", "cache"]));
    let kept = stats["entries"].as_u64().unwrap();
    assert!(kept > 2, "{stats}");
    project.edit_board(small, fit);
    let next = json(&mut project.assemble(&["--cache", "cache"]));
    assert_eq!(next["cache"]["hits"], kept);
}

#[test]
fn a_wrong_command_line_makes_no_cache() {
    let project = Project::new();
    let (_, _, code) = run(&mut project.assemble(&["--cache", "cache", "--board", "demo/bored"]));
    assert_eq!(code, 2, "given twice");
    let inputs = ["assemble", "--board", "demo/bored", "--boards", "boards", "--source", "output"];
    let (_, _, code) = run(&mut project.command(&[&inputs[..], &["--cache", "cache"]].concat()));
    assert_eq!(code, 1);
    let names: BTreeSet<_> = project.listing("").into_keys().collect();
    assert!(!names.contains(&project.path("cache")));
}
