//! The directory in the hands of builds, disks and strangers.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps};
use tempfile::TempDir;

use super::*;
use crate::fs::squashfs::Codec;
use crate::value::{Digest, Timestamp};
use directory::HOUR;

const ZSTD: Codec = Codec::Zstd { level: 3 };

fn key(number: u32) -> Key {
    Key { raw: Digest::of(&number.to_le_bytes()), raw_len: 128 << 10, codec: ZSTD, block_size: 128 << 10 }
}

/// A block that takes `units` of 4 KiB with its header.
fn block(number: u32, units: usize) -> Block {
    let fill = number.to_le_bytes().repeat(1024 * units);
    Block::Compressed(fill[entry::HEADER_LEN..].to_vec())
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn open(directory: &TempDir) -> Local {
    Local::open(directory.path(), DEFAULT_BOUND)
}

fn path(directory: &TempDir, key: &Key) -> PathBuf {
    directory.path().join(directory::VERSION).join(entry::name(&key.id()))
}

/// All files below the shards.
fn files(directory: &TempDir) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for shard in fs::read_dir(directory.path().join(directory::VERSION)).unwrap() {
        let shard = shard.unwrap().path();
        if shard.is_dir() {
            found.extend(fs::read_dir(shard).unwrap().map(|file| file.unwrap().path()));
        }
    }
    found
}

/// The time of the filesystem.
fn now() -> Timestamp {
    tempfile::tempfile().unwrap().metadata().unwrap().mtime()
}

fn set_used(path: &Path, used: Timestamp) {
    let time = Timespec { tv_sec: used, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::futimens(File::open(path).unwrap(), &times).unwrap();
}

fn used(path: &Path) -> Timestamp {
    fs::metadata(path).unwrap().mtime()
}

#[track_caller]
fn counts(cache: &Local, hits: u64, misses: u64, damaged: u64) {
    let summary = cache.finish();
    assert_eq!((summary.hits, summary.misses, summary.damaged), (hits, misses, damaged));
    assert_eq!(summary.warnings, Vec::<String>::new());
}

#[test]
fn what_is_put_is_there_for_the_next_build() {
    let directory = directory();
    let first = open(&directory);
    assert_eq!(first.get(&key(1)), None);
    first.put(&key(1), &block(1, 2));
    first.put(&key(2), &Block::Incompressible);
    assert_eq!(first.get(&key(1)), Some(block(1, 2)));
    counts(&first, 1, 1, 0);
    let second = open(&directory);
    assert_eq!(second.get(&key(1)), Some(block(1, 2)));
    assert_eq!(second.get(&key(2)), Some(Block::Incompressible));
    assert_eq!(second.get(&key(3)), None);
    counts(&second, 2, 1, 0);
    assert_eq!(files(&directory).len(), 2, "nothing but entries is left");
}

#[test]
fn everything_that_decides_the_bytes_is_in_the_key() {
    let directory = directory();
    let cache = open(&directory);
    let stored = key(1);
    cache.put(&stored, &block(1, 1));
    for other in [
        key(2),
        Key { raw_len: 4096, ..stored },
        Key { codec: Codec::Zstd { level: 4 }, ..stored },
        Key { codec: Codec::Gzip { level: 3 }, ..stored },
        Key { codec: Codec::Lz4 { hc: false }, ..stored },
        Key { codec: Codec::Lz4 { hc: true }, ..stored },
        Key { block_size: 1 << 20, ..stored },
    ] {
        assert_eq!(cache.get(&other), None, "{other:?}");
    }
    assert_eq!(cache.get(&stored), Some(block(1, 1)));
}

/// Damages the entry of `key(1)`, and checks that it is found, removed and made again.
fn expect_damage(what: &str, damage: impl FnOnce(&Path)) {
    let directory = directory();
    open(&directory).put(&key(1), &block(1, 1));
    open(&directory).put(&key(2), &block(2, 1));
    let path = path(&directory, &key(1));
    damage(&path);
    let cache = open(&directory);
    assert_eq!(cache.get(&key(1)), None, "{what}");
    assert!(path.symlink_metadata().is_err(), "{what}: it is removed");
    cache.put(&key(1), &block(1, 1));
    assert_eq!(cache.get(&key(1)), Some(block(1, 1)), "{what}");
    assert_eq!(cache.get(&key(2)), Some(block(2, 1)), "{what}");
    counts(&cache, 2, 1, 1);
}

#[test]
fn a_damaged_entry_is_never_used() {
    for at in [0, 8, 12, 16, 47, 48, 2000, 4095] {
        expect_damage(&format!("byte {at} is flipped"), |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[at] ^= 0x10;
            fs::write(path, bytes).unwrap();
        });
    }
    for len in [0, 1, 16, 47, 48, 49, 4095, 4097, 1 << 20, 1 << 40] {
        expect_damage(&format!("{len} bytes long"), |path| {
            File::options().write(true).open(path).unwrap().set_len(len).unwrap();
        });
    }
    expect_damage("zeros, as after a power failure", |path| {
        fs::write(path, vec![0; 4096]).unwrap();
    });
}

#[test]
fn an_entry_of_another_name_or_kind_is_never_used() {
    expect_damage("a copy of another entry", |path| {
        let version = path.parent().unwrap().parent().unwrap();
        fs::copy(version.join(entry::name(&key(2).id())), path).unwrap();
    });
    expect_damage("a symbolic link to the entry itself", |path| {
        let elsewhere = path.with_extension("elsewhere");
        fs::rename(path, &elsewhere).unwrap();
        symlink(&elsewhere, path).unwrap();
    });
    expect_damage("a pipe that nobody writes to", |path| {
        fs::remove_file(path).unwrap();
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    });
}

#[test]
fn swapped_entries_are_both_found() {
    let directory = directory();
    open(&directory).put(&key(1), &block(1, 1));
    open(&directory).put(&key(2), &block(2, 1));
    let (one, two) = (path(&directory, &key(1)), path(&directory, &key(2)));
    let bytes = [fs::read(&one).unwrap(), fs::read(&two).unwrap()];
    fs::write(&one, &bytes[1]).unwrap();
    fs::write(&two, &bytes[0]).unwrap();
    let cache = open(&directory);
    assert_eq!([cache.get(&key(1)), cache.get(&key(2))], [None, None]);
    counts(&cache, 0, 2, 2);
}

#[test]
fn a_directory_in_the_place_of_an_entry_is_reported() {
    let directory = directory();
    let path = path(&directory, &key(1));
    fs::create_dir_all(path.join("of somebody")).unwrap();
    let cache = open(&directory);
    assert_eq!(cache.get(&key(1)), None);
    cache.put(&key(1), &block(1, 1));
    let told = format!(
        "new blocks are not kept in the block cache: cannot write `{}`: Is a directory (os error 21)",
        path.parent().unwrap().display()
    );
    assert_eq!(cache.finish().warnings, [told]);
    assert_eq!(files(&directory), [path], "what was being written is removed");
}

#[test]
fn files_in_the_place_of_directories_are_reported() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, "of somebody").unwrap();
    let cache = Local::open(&file, DEFAULT_BOUND);
    cache.put(&key(1), &block(1, 1));
    assert_eq!(cache.get(&key(1)), None);
    let version = file.join(directory::VERSION);
    let told = format!(
        "the block cache is not used: cannot create `{}`: Not a directory (os error 20)",
        version.display()
    );
    assert_eq!(cache.finish(), Summary { misses: 1, warnings: vec![told], ..Summary::default() });
    assert_eq!(fs::read(&file).unwrap(), b"of somebody");

    let path = path(&directory, &key(1));
    let shard = path.parent().unwrap();
    fs::create_dir_all(shard.parent().unwrap()).unwrap();
    fs::write(shard, "of somebody").unwrap();
    let cache = open(&directory);
    assert_eq!(cache.get(&key(1)), None);
    cache.put(&key(1), &block(1, 1));
    let told = format!(
        "new blocks are not kept in the block cache: cannot write `{}`: Not a directory (os error 20)",
        shard.display()
    );
    assert_eq!(cache.finish().warnings, [told]);
}

#[test]
fn a_link_that_leads_nowhere_is_reported() {
    const LOOP: &str = "Too many levels of symbolic links (os error 40)";
    let directory = directory();
    let path = path(&directory, &key(1));
    let shard = path.parent().unwrap();
    fs::create_dir_all(shard.parent().unwrap()).unwrap();
    symlink(shard, shard).unwrap();
    let cache = open(&directory);
    assert_eq!(cache.get(&key(1)), None);
    cache.put(&key(1), &block(1, 1));
    let shard = shard.display();
    let told = [
        format!("new blocks are not kept in the block cache: cannot write `{shard}`: {LOOP}"),
        format!("the block cache may be larger than 5 GiB: cannot list `{shard}`: {LOOP}"),
    ];
    assert_eq!(
        cache.finish(),
        Summary { misses: 1, damaged: 1, warnings: told.into(), ..Summary::default() }
    );
}

#[test]
fn a_cache_that_is_removed_under_a_build_is_no_failure() {
    let directory = directory();
    let cache = open(&directory);
    cache.put(&key(1), &block(1, 1));
    fs::remove_dir_all(directory.path().join(directory::VERSION)).unwrap();
    assert_eq!(cache.get(&key(1)), None);
    cache.put(&key(2), &block(2, 1));
    let shard = path(&directory, &key(2)).parent().unwrap().display().to_string();
    let told = format!(
        "new blocks are not kept in the block cache: cannot write `{shard}`: No such file or directory (os error 2)"
    );
    assert_eq!(cache.finish().warnings, [told]);
}

#[test]
fn threads_and_builds_share_a_directory() {
    let directory = directory();
    let caches = [open(&directory), open(&directory)];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &caches[thread % 2];
            scope.spawn(move || {
                for number in 0..60 {
                    match cache.get(&key(number)) {
                        Some(found) => assert_eq!(found, block(number, 2)),
                        None => cache.put(&key(number), &block(number, 2)),
                    }
                }
            });
        }
    });
    for cache in caches {
        let summary = cache.finish();
        assert_eq!((summary.hits + summary.misses, summary.damaged), (120, 0));
        assert_eq!(summary.warnings, Vec::<String>::new());
    }
    assert_eq!(files(&directory).len(), 60, "nothing but entries is left");
    let warm = open(&directory);
    (0..60).for_each(|number| assert_eq!(warm.get(&key(number)), Some(block(number, 2))));
}

#[test]
fn what_was_not_used_for_longest_is_removed() {
    let directory = directory();
    let now = now();
    let old = open(&directory);
    for number in 0..10 {
        old.put(&key(number), &block(number, 4));
        set_used(&path(&directory, &key(number)), now - HOUR * (20 - i64::from(number)));
    }
    // Room for ten entries of 16 KiB; the two oldest are used again, three are added.
    let cache = Local::open(directory.path(), ByteSize(160 << 10));
    assert!(cache.get(&key(0)).is_some() && cache.get(&key(1)).is_some());
    (20..23).for_each(|number| cache.put(&key(number), &block(number, 4)));
    counts(&cache, 2, 0, 0);
    let left: BTreeSet<PathBuf> = files(&directory).into_iter().collect();
    let expected = [0, 1, 5, 6, 7, 8, 9, 20, 21, 22].map(|number| path(&directory, &key(number)));
    assert_eq!(left, BTreeSet::from(expected));
}

#[test]
fn only_groups_that_were_added_to_are_looked_at() {
    let directory = directory();
    let bound = ByteSize(32 << 20);
    let groups = Bound::new(bound.0);
    assert_eq!(groups.groups, 2);
    let of_group = |group| (0..).map(key).find(|key| groups.group(&key.id()) == group).unwrap();
    let stale = |group| {
        let shard = path(&directory, &of_group(group)).parent().unwrap().to_owned();
        fs::create_dir_all(&shard).unwrap();
        let file = shard.join("tmp-1-2-3");
        fs::write(&file, "torn").unwrap();
        set_used(&file, now() - HOUR * 2);
        file
    };
    let [first, second] = [0, 1].map(stale);
    let cache = Local::open(directory.path(), bound);
    cache.put(&of_group(1), &block(1, 1));
    counts(&cache, 0, 0, 0);
    assert!(first.exists() && !second.exists());
}

#[test]
fn a_build_adds_no_more_than_the_bound() {
    let directory = directory();
    let cache = Local::open(directory.path(), ByteSize(64 << 10));
    (0..100).for_each(|number| cache.put(&key(number), &block(number, 2)));
    assert_eq!(Local::contents(directory.path()).unwrap().bytes, 64 << 10);
    counts(&cache, 0, 0, 0);
    assert_eq!(Local::contents(directory.path()).unwrap().entries, 8);
    // And the next build gets what there is.
    let next = Local::open(directory.path(), ByteSize(64 << 10));
    assert_eq!((0..100).filter(|number| next.get(&key(*number)).is_some()).count(), 8);
    let none = Local::open(directory.path(), ByteSize(0));
    none.put(&key(200), &block(200, 2));
    counts(&none, 0, 0, 0);
    assert_eq!(Local::contents(directory.path()).unwrap(), Contents::default());
}

#[test]
fn builds_that_remove_at_once_do_no_harm() {
    let directory = directory();
    let bound = ByteSize(256 << 10);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let path = directory.path();
            scope.spawn(move || {
                for round in 0..10 {
                    let cache = Local::open(path, bound);
                    for number in 0..20 {
                        let number = thread * 1000 + round * 20 + number;
                        cache.put(&key(number), &block(number, 2));
                        assert!(cache.get(&key(number)).is_none_or(|found| found == block(number, 2)));
                    }
                    let summary = cache.finish();
                    assert_eq!((summary.damaged, summary.warnings), (0, Vec::new()));
                }
            });
        }
    });
    let last = Local::open(directory.path(), bound);
    last.put(&key(9999), &block(9999, 1));
    counts(&last, 0, 0, 0);
    let bytes = Local::contents(directory.path()).unwrap().bytes;
    assert!((200 << 10..=256 << 10).contains(&bytes), "{bytes}");
    assert!(files(&directory).iter().all(|file| !file.to_string_lossy().contains("tmp-")));
}

#[test]
fn the_time_of_use_is_renewed_at_most_once_an_hour() {
    let directory = directory();
    open(&directory).put(&key(1), &block(1, 1));
    let path = path(&directory, &key(1));
    let now = now();
    for (before, renewed) in
        [(now - HOUR / 2, false), (now - HOUR * 2, true), (now + HOUR / 2, false), (now + HOUR * 2, true)]
    {
        set_used(&path, before);
        let before = used(&path);
        assert!(open(&directory).get(&key(1)).is_some());
        assert_eq!(used(&path) != before, renewed, "{before:?}");
        assert!(!renewed || used(&path).abs_diff(now) < 900);
    }
}

#[test]
fn unfinished_entries_are_removed_when_their_writer_has_ended() {
    let directory = directory();
    open(&directory).put(&key(1), &block(1, 1));
    let shard = path(&directory, &key(1)).parent().unwrap().to_owned();
    let names = ["tmp-1-2-3", "tmp-7-8-9", "README"].map(|name| shard.join(name));
    names.iter().for_each(|name| fs::write(name, "x").unwrap());
    set_used(&names[0], now() - HOUR * 2);
    set_used(&names[2], now() - HOUR * 2);
    let pruned = Local::prune(directory.path(), Keep::AtMost(DEFAULT_BOUND)).unwrap();
    assert_eq!(pruned, Pruned { removed: 0, freed: 4096, entries: 1, bytes: 4096 });
    assert_eq!(names.each_ref().map(|name| name.exists()), [false, true, true]);
    let pruned = Local::prune(directory.path(), Keep::Nothing).unwrap();
    assert_eq!(pruned, Pruned { removed: 1, freed: 8192, entries: 0, bytes: 0 });
    assert_eq!(names.map(|name| name.exists()), [false, false, true], "a file of somebody stays");
}

#[test]
fn pruning_keeps_what_was_used_last_in_all_shards() {
    let directory = directory();
    let now = now();
    let cache = open(&directory);
    for number in 0..30 {
        cache.put(&key(number), &block(number, 1));
        set_used(&path(&directory, &key(number)), now - HOUR * i64::from(number));
    }
    let contents = Local::contents(directory.path()).unwrap();
    let oldest_use = Some(now - HOUR * 29);
    assert_eq!(contents, Contents { entries: 30, bytes: 30 * 4096, oldest_use });
    let pruned = Local::prune(directory.path(), Keep::AtMost(ByteSize(10 * 4096 + 4095))).unwrap();
    assert_eq!(pruned, Pruned { removed: 20, freed: 20 * 4096, entries: 10, bytes: 10 * 4096 });
    let left: BTreeSet<PathBuf> = files(&directory).into_iter().collect();
    assert_eq!(left, (0..10).map(|number| path(&directory, &key(number))).collect());
    // A build that is under way goes on.
    cache.put(&key(77), &block(77, 1));
    assert_eq!(cache.get(&key(77)), Some(block(77, 1)));
    counts(&cache, 1, 0, 0);
}

#[test]
fn a_cache_that_does_not_exist_is_empty_and_is_not_made() {
    let directory = directory();
    let root = directory.path().join("none");
    assert_eq!(Local::contents(&root).unwrap(), Contents::default());
    assert_eq!(Local::prune(&root, Keep::Nothing).unwrap(), Pruned::default());
    assert!(!root.exists());
    fs::write(&root, "").unwrap();
    let said = Local::contents(&root).unwrap_err().to_string();
    assert_eq!(said, format!("cannot list `{}`: Not a directory (os error 20)", root.join("v1").display()));
}

#[test]
fn only_our_part_of_the_directory_is_tagged() {
    let directory = directory();
    open(&directory);
    open(&directory);
    let tag = fs::read(directory.path().join("v1/CACHEDIR.TAG")).unwrap();
    assert_eq!(tag.strip_prefix(directory::TAG_TEXT), Some(&b""[..]));
    assert!(tag.starts_with(b"Signature: 8a477f597d28d172789f06886806bc55\n"));
    assert!(!directory.path().join("CACHEDIR.TAG").exists());
}
