//! Signatures, which OpenSSH makes: no key is read here.

use std::fs;
use std::path::{Path, PathBuf};

use skiff_update::keys::Signature;

use super::OtaError;
use crate::error::{Io, Result};
use crate::process::Program;

/// Most bytes that `ssh-keygen` prints.
const PRINTED_MAX: u64 = 16 << 10;

/// Where signatures come from.
#[derive(Clone, Debug, Default)]
pub struct Signers {
    /// Keys to sign with: private ones, or public ones whose private half an agent or a security key has.
    pub keys: Vec<PathBuf>,
    /// Signatures that others have made.
    pub signatures: Vec<PathBuf>,
}

impl Signers {
    /// Signatures of a text for a purpose, by all of them.
    pub fn sign(&self, namespace: &str, text: &str) -> Result<Vec<Signature>> {
        let made = self.keys.iter().map(|key| sign(key, namespace, text));
        made.chain(self.signatures.iter().map(|path| read(path))).collect()
    }
}

fn sign(key: &Path, namespace: &str, text: &str) -> Result<Signature> {
    let program = Program::new("ssh-keygen").args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(key);
    let (ended, printed) = program.filter(text.as_bytes(), PRINTED_MAX)?;
    if !ended.succeeded() {
        return Err(OtaError::NotSigned { key: key.into(), status: ended.status.to_string() }.into());
    }
    parse(key, &String::from_utf8_lossy(&printed))
}

fn read(path: &Path) -> Result<Signature> {
    parse(path, &fs::read_to_string(path).map_err(Io::on("read", path))?)
}

fn parse(path: &Path, text: &str) -> Result<Signature> {
    Ok(Signature::from_armored(text).map_err(|source| OtaError::Signature { path: path.into(), source })?)
}
