//! A tree and a cache for the tests of the block cache, and the program that uses them.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::project::{PROGRAM, succeed};
use super::tools::{command, unmount};
use super::trees::Random;

/// A directory with a tree of about a hundred blocks.
pub struct Work {
    directory: tempfile::TempDir,
    /// The image, made without a cache.
    pub expected: Vec<u8>,
}

/// What `mkfs squashfs` made and said.
#[derive(Debug)]
pub struct Made {
    pub image: Vec<u8>,
    pub hits: u64,
    pub misses: u64,
    pub damaged: u64,
    /// All lines but the note.
    pub warnings: Vec<String>,
}

/// Bytes of disk of some files.
pub fn disk_len(files: &[PathBuf]) -> u64 {
    files.iter().map(|path| fs::metadata(path).unwrap().len().next_multiple_of(4096)).sum()
}

impl Work {
    pub fn new() -> Work {
        let mut work = Work { directory: tempfile::tempdir().unwrap(), expected: Vec::new() };
        let mut random = Random(1);
        for number in 0..10 {
            let text = match number % 5 {
                0 => random.noise(50_000),
                _ => random.text(100_000 + 10_000 * number),
            };
            work.write(&format!("tree/lib/large-{number}"), &text);
        }
        for number in 0..40 {
            let len = 100 + random.below(4000) as usize;
            work.write(&format!("tree/etc/{}/small-{number}", number % 4), &random.text(len));
        }
        work.expected = work.without_cache(&[]);
        work
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// `mkfs squashfs` of the tree, with no variable but those that are needed to start.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["--json", "mkfs", "squashfs", "tree", "out.sqfs", "--force", "--block", "16K"]);
        command.args(args).current_dir(self.path("")).env_clear();
        command.env("SOURCE_DATE_EPOCH", "1700000000");
        if !args.contains(&"--comp") {
            command.args(["--comp", "zstd:1"]);
        }
        command
    }

    /// [`Work::command`] with one word in the place of another.
    pub fn command_with(&self, word: &str, other: &str, args: &[&str]) -> Command {
        let command = self.command(args);
        let replace = |found: &OsStr| if found == word { other.into() } else { found.to_owned() };
        let mut changed = Command::new(PROGRAM);
        changed.args(command.get_args().map(replace)).current_dir(self.path("")).env_clear();
        changed.env("SOURCE_DATE_EPOCH", "1700000000");
        changed
    }

    /// Runs the command, which must succeed with a cache.
    pub fn run(&self, command: &mut Command) -> Made {
        let (stdout, stderr) = succeed(command);
        let document: Value = serde_json::from_str(&stdout).unwrap();
        let count = |name: &str| document["cache"][name].as_u64().unwrap_or_else(|| panic!("{document}"));
        let (hits, misses, damaged) = (count("hits"), count("misses"), count("damaged"));
        assert_eq!(document["cache"].as_object().unwrap().len(), 5, "{document}");
        let mut warnings: Vec<String> = stderr.lines().map(String::from).collect();
        let note = format!("cache: {hits} of {} blocks were there", hits + misses);
        assert_eq!(warnings.pop(), Some(note), "{stderr}");
        Made { image: fs::read(self.path("out.sqfs")).unwrap(), hits, misses, damaged, warnings }
    }

    pub fn make(&self, args: &[&str]) -> Made {
        self.run(&mut self.command(&[&["--cache", "cache"], args].concat()))
    }

    /// The image without a cache.
    pub fn without_cache(&self, args: &[&str]) -> Vec<u8> {
        let (stdout, stderr) = succeed(&mut self.command(&[&["--cache", "off"], args].concat()));
        assert_eq!(stderr, "");
        assert!(!stdout.contains("\"cache\""), "{stdout}");
        fs::read(self.path("out.sqfs")).unwrap()
    }

    /// All files below the shards of `cache`.
    pub fn entries(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for shard in fs::read_dir(self.path("cache/v1")).into_iter().flatten() {
            let files = fs::read_dir(shard.unwrap().path()).into_iter().flatten();
            found.extend(files.map(|file| file.unwrap().path()));
        }
        found.sort();
        found
    }

    /// `cache stats` or `cache prune` of the cache.
    pub fn cache(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("cache").args(args).args(["--cache", "cache"]).current_dir(self.path("")).env_clear();
        command
    }

    #[track_caller]
    pub fn expect_no_unfinished(&self) {
        let unfinished =
            self.entries().into_iter().filter(|path| path.to_string_lossy().contains("/tmp-")).count();
        assert_eq!(unfinished, 0, "everything that was begun is finished or removed");
    }
}

/// A small filesystem of its own, gone when it is dropped. Only root can mount.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    pub fn mount(at: PathBuf, options: &str) -> Tmpfs {
        fs::create_dir_all(&at).unwrap();
        let tmpfs = Tmpfs(at);
        tmpfs.mount_with(options);
        tmpfs
    }

    pub fn make_read_only(&self) {
        self.mount_with("remount,ro");
    }

    fn mount_with(&self, options: &str) {
        let status = command("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "a tmpfs can be mounted");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        assert!(unmount(&self.0) || std::thread::panicking(), "umount");
    }
}
