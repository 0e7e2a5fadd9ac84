//! `ota keys new|show|rotate`.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use skiff_update::keys::{Key, ROOT_NAMESPACE, Root, SignedRoot};

use super::sign_args::{SignArgs, write_unsigned};
use crate::error::Result;
use crate::ota::{RootFile, new_root, next_root, read_key};
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make the first list of keys, from public keys of OpenSSH.
    New(New),
    /// Show a list of keys.
    Show {
        /// List of keys.
        file: PathBuf,
    },
    /// Make the list that follows another one, signed by its keys.
    Rotate(Rotate),
}

/// Makes a list of keys. It goes into the image, as /etc/skiff/update.root; nothing in it is secret.
#[derive(Debug, Args)]
pub struct New {
    /// Public keys: `ssh-ed25519`, or `sk-ssh-ed25519@openssh.com` of a security key.
    #[arg(required = true)]
    keys: Vec<PathBuf>,

    /// File to write; it gets its name when it is complete.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Signatures that a system needs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threshold: usize,

    /// Signatures that the next list of keys needs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    rotation_threshold: usize,

    /// Replace an existing file.
    #[arg(long)]
    force: bool,
}

/// Makes the next list of keys. It is written with `FILE.signed` beside it, which `ota bundle` brings to devices that have an
/// earlier list. Keys that are left out are revoked.
#[derive(Debug, Args)]
pub struct Rotate {
    /// List of keys that the next one follows.
    file: PathBuf,

    /// File to write; it gets its name when it is complete.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Public key to add. Can be given several times.
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,

    /// Key to revoke: its public key, or its fingerprint as `ota keys show` prints it. Can be given several times.
    #[arg(long, value_name = "FILE|SHA256:...")]
    remove: Vec<String>,

    /// Signatures that a system needs; without it as before.
    #[arg(long, value_name = "N")]
    threshold: Option<usize>,

    /// Signatures that the list of keys after this one needs; without it as before.
    #[arg(long, value_name = "N")]
    rotation_threshold: Option<usize>,

    #[command(flatten)]
    sign: SignArgs,

    /// Replace an existing file.
    #[arg(long)]
    force: bool,
}

/// A list of keys for people and programs.
#[derive(Serialize)]
struct Shown {
    file: String,
    epoch: u64,
    signatures: usize,
    rotations: usize,
    keys: Vec<ShownKey>,
    revoked: Vec<String>,
}

#[derive(Serialize)]
struct ShownKey {
    fingerprint: String,
    key: String,
}

impl Shown {
    fn new(path: &Path, root: &Root) -> Shown {
        let key = |key: &Key| ShownKey { fingerprint: key.fingerprint(), key: key.to_string() };
        Shown {
            file: path.display().to_string(),
            epoch: root.epoch,
            signatures: root.statements,
            rotations: root.rotations,
            keys: root.keys.iter().map(key).collect(),
            revoked: root.revoked.clone(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.keys.len();
        write!(f, "{}: root {}, {} of {of} sign a system, ", self.file, self.epoch, self.signatures)?;
        write!(f, "{} of {of} the next root", self.rotations)?;
        for ShownKey { fingerprint, key } in &self.keys {
            let kind = key.split(' ').next().unwrap_or_default();
            write!(f, "\n  {fingerprint}  {kind}")?;
        }
        self.revoked.iter().try_for_each(|fingerprint| write!(f, "\n  {fingerprint}  revoked"))
    }
}

impl Keys {
    pub fn run(self, report: &Report) -> Result<()> {
        match self {
            Keys::New(new) => new.run(report),
            Keys::Show { file } => {
                let shown = Shown::new(&file, &RootFile::read(&file)?.root);
                report.document(&shown, &shown);
                Ok(())
            }
            Keys::Rotate(rotate) => rotate.run(report),
        }
    }
}

impl New {
    fn run(self, report: &Report) -> Result<()> {
        let keys = self.keys.iter().map(|path| read_key(path)).collect::<Result<_>>()?;
        let root = new_root(keys, self.threshold, self.rotation_threshold)?;
        let shown = Shown::new(&self.output, &root);
        RootFile { root, roots: Vec::new() }.write(&self.output, self.force)?;
        report.document(&shown, &shown);
        Ok(())
    }
}

impl Rotate {
    fn run(self, report: &Report) -> Result<()> {
        let old = RootFile::read(&self.file)?;
        let next = self.next(&old.root)?;
        let text = next.to_text();
        if let Some(path) = self.sign.unsigned() {
            report.note(write_unsigned(path, ROOT_NAMESPACE, &text)?);
            return Ok(());
        }
        let signatures = self.sign.sign(ROOT_NAMESPACE, &text)?;
        let next = old.followed_by(SignedRoot { text: text.into_bytes(), signatures })?;
        next.write(&self.output, self.force)?;
        let shown = Shown::new(&self.output, &next.root);
        report.document(&shown, &shown);
        Ok(())
    }

    fn next(&self, old: &Root) -> Result<Root> {
        let add = self.add.iter().map(|path| read_key(path)).collect::<Result<_>>()?;
        let fingerprint = |text: &String| match text.starts_with("SHA256:") {
            true => Ok(text.clone()),
            false => Ok(read_key(Path::new(text))?.fingerprint()),
        };
        let remove = self.remove.iter().map(fingerprint).collect::<Result<Vec<_>>>()?;
        next_root(old, add, &remove, self.threshold, self.rotation_threshold)
    }
}
