//! Flags that say who signs.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use skiff_update::keys::Signature;

use crate::error::{Io, Result};
use crate::ota::Signers;
use crate::storage::AtomicFile;

/// Keys and signatures, or the text for others to sign.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// Key to sign with, as `ssh-keygen -Y sign -f` takes it: a private key, or a `.pub` file whose private half ssh-agent
    /// or a security key has. Can be given several times.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// Signature that somebody else has made of the text that `--unsigned` writes. Can be given several times.
    #[arg(long = "signature", value_name = "FILE")]
    signatures: Vec<PathBuf>,

    /// Write the text to sign to this file, and nothing else. The same command with `--signature` in its place makes the
    /// result.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keys", "signatures"])]
    unsigned: Option<PathBuf>,
}

impl SignArgs {
    /// File for the text, if others are to sign it.
    pub fn unsigned(&self) -> Option<&Path> {
        self.unsigned.as_deref()
    }

    /// Signatures of a text for a purpose.
    pub fn sign(&self, namespace: &str, text: &str) -> Result<Vec<Signature>> {
        let signers = Signers { keys: self.keys.clone(), signatures: self.signatures.clone() };
        signers.sign(namespace, text)
    }
}

/// Writes a text to sign, and returns how to sign it.
pub fn write_unsigned(path: &Path, namespace: &str, text: &str) -> Result<String> {
    let file = AtomicFile::beside(path)?;
    file.as_file().write_all(text.as_bytes()).map_err(Io::on("write", path))?;
    file.publish(path, true)?;
    let shown = path.display();
    Ok(format!("{shown}: sign it with `ssh-keygen -Y sign -n {namespace} -f KEY {shown}`"))
}
