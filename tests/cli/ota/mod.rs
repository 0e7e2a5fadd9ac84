//! Updates over the air, from the host: `ota`.

mod bundles;
mod keys;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::project::{json, run, succeed};
use crate::harness::tools::{oracle, skiff_image, temporary};
use serde_json::Value;

/// A directory with keys, systems and bundles, in which the program runs.
pub struct Workshop(tempfile::TempDir);

impl Workshop {
    /// None where OpenSSH is missing.
    pub fn new(test: &str) -> Option<Workshop> {
        oracle(test, "ssh-keygen").then(|| Workshop(temporary()))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().expect("a parent")).expect("a directory");
        fs::write(self.path(name), bytes).expect("a file");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("it is there")
    }

    /// Makes a key without a passphrase.
    pub fn key(&self, name: &str) {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(self.path(name));
        assert!(keygen.status().expect("it starts").success());
    }

    /// The program, with `ota` and what follows.
    pub fn ota(&self, words: &[&str]) -> Command {
        let mut command = skiff_image();
        command.current_dir(self.0.path()).arg("ota").args(words);
        command
    }

    /// What it prints if it does what it should.
    pub fn done(&self, words: &[&str]) -> String {
        succeed(&mut self.ota(words)).0
    }

    /// Error and exit code if it does not.
    pub fn refused(&self, words: &[&str]) -> (String, i32) {
        let (stdout, stderr, code) = run(&mut self.ota(words));
        assert_eq!(stdout, "", "{words:?}");
        (stderr, code)
    }

    pub fn document(&self, words: &[&str]) -> Value {
        json(&mut self.ota(words))
    }

    /// A key `key`, and the list `root` that has it.
    pub fn with_root(self) -> Workshop {
        self.key("key");
        self.done(&["keys", "new", "key.pub", "-o", "root"]);
        self
    }

    /// Words that make a bundle of `kernel` and `image`, signed by `key`.
    pub fn bundle_words<'a>(&self, sequence: &'a str, out: &'a str) -> Vec<&'a str> {
        let mut words = vec!["bundle", "--trust", "root", "--key", "key", "--board", "maker/small"];
        words.extend(["--arch", "arm64", "--loader", "uboot-fat", "--release", sequence]);
        words.extend(["--sequence", sequence, "--file", "kernel=kernel"]);
        words.extend(["--file", "rootfs.squashfs=image", "-o", out]);
        words
    }

    /// Makes a bundle of these files.
    pub fn bundle(&self, sequence: &str, kernel: &[u8], image: &[u8]) -> PathBuf {
        self.write("kernel", kernel);
        self.write("image", image);
        let out = format!("{sequence}.bundle");
        self.done(&self.bundle_words(sequence, &out));
        self.path(&out)
    }
}

/// Bytes that repeat nowhere, the same in each run.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A squashfs of 40 files of words; the file `changed` has others.
pub fn squashfs(workshop: &Workshop, name: &str, changed: u64) -> Vec<u8> {
    let directory = workshop.path(name);
    for number in 0..40 {
        let seed = if number == 17 { 100 + changed } else { number };
        let mut words: Vec<u8> =
            noise(number, 20_000).iter().flat_map(|byte| [b'a' + byte % 20, b' ']).collect();
        words[3000..3008].copy_from_slice(&seed.to_be_bytes());
        workshop.write(&format!("{name}/file-{number}"), words);
    }
    let mut mkfs = skiff_image();
    mkfs.args(["mkfs", "squashfs", "--all-root", "--block", "16K"]).arg(&directory);
    succeed(mkfs.arg(workshop.path(&format!("{name}.squashfs"))));
    fs::read(directory.with_extension("squashfs")).expect("it is there")
}

/// Fingerprint of a key.
pub fn fingerprint(path: &Path) -> String {
    let output = Command::new("ssh-keygen").args(["-l", "-f"]).arg(path).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_whitespace().nth(1).expect("a fingerprint").into()
}
