//! Keys: Ed25519, as OpenSSH has them, on disk, in an agent or in hardware.
//!
//! - [`Key`]: a public key, one line of a `.pub` file.
//! - [`Signature`]: what `ssh-keygen -Y sign` makes.
//! - [`Root`]: the keys that a device trusts, how many of them must sign, and how they are replaced by others.
//!
//! There are no certificates, no dates and no clock: what is trusted changes by a signed [`Root`] with the next number.

mod root;
mod signature;
#[cfg(test)]
pub(crate) mod tests;

pub use root::{ROOT_NAMESPACE, Root, SignedRoot, TrustError};
pub(crate) use root::{decode_signatures, encode_signatures};
pub use signature::{Signature, SignatureError};

use std::fmt;

use base64ct::{Base64, Base64Unpadded, Encoding as _};
use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha256};
use skiff_disk::error::Diagnostic;

use crate::wire::{Reader, put_string};

const ED25519: &str = "ssh-ed25519";
const SECURITY_KEY: &str = "sk-ssh-ed25519@openssh.com";
/// Longest application of a key in hardware; OpenSSH's own is `ssh:`.
const APPLICATION_MAX: usize = 64;

/// A public key, printed and parsed as OpenSSH does: `ssh-ed25519 AAAA...`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    point: [u8; 32],
    /// Of a key in a security key (FIDO): the application it was made for.
    application: Option<String>,
}

/// Why a line is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(
    kind = Input,
    hint = "make one with `ssh-keygen -t ed25519` or `ssh-keygen -t ed25519-sk`, and give its `.pub` file",
    code = "bad-key"
)]
pub enum KeyError {
    /// It is a private key.
    #[error("this is a private key")]
    #[diagnostic(hint = "give its `.pub` file; keep this one to yourself")]
    Private,
    /// It is of another kind.
    #[error("`{found}` is no kind of key that can sign updates: `{ED25519}` and `{SECURITY_KEY}` are")]
    Kind {
        /// Kind of the key.
        found: String,
    },
    /// What follows the kind is no key of this kind.
    #[error("what follows `{kind}` is no such key")]
    Damaged {
        /// Kind that the line states.
        kind: &'static str,
    },
    /// Anyone can sign for it.
    #[error("the key {fingerprint} is a point of small order, for which anyone can sign")]
    Weak {
        /// Fingerprint of the key.
        fingerprint: String,
    },
}

impl Key {
    /// A key of 32 bytes, as RFC 8032 encodes it.
    pub fn ed25519(point: [u8; 32]) -> Result<Key, KeyError> {
        Key { point, application: None }.checked()
    }

    /// The key of a line of a `.pub` file; a comment behind it is left out.
    pub fn parse(line: &str) -> Result<Key, KeyError> {
        if line.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        let mut words = line.split_ascii_whitespace();
        let kind = words.next().unwrap_or_default();
        let Some(kind) = [ED25519, SECURITY_KEY].into_iter().find(|known| *known == kind) else {
            return Err(KeyError::Kind { found: kind.escape_default().to_string() });
        };
        let blob = words.next().and_then(|word| Base64::decode_vec(word).ok());
        let key = blob.and_then(|blob| Key::from_blob(&blob)).filter(|key| key.kind() == kind);
        key.ok_or(KeyError::Damaged { kind })?.checked()
    }

    fn checked(self) -> Result<Key, KeyError> {
        match VerifyingKey::from_bytes(&self.point) {
            Ok(point) if !point.is_weak() => Ok(self),
            Ok(_) => Err(KeyError::Weak { fingerprint: self.fingerprint() }),
            Err(_) => Err(KeyError::Damaged { kind: self.kind() }),
        }
    }

    /// The key of the bytes that are signed with; the point may be none.
    fn from_blob(blob: &[u8]) -> Option<Key> {
        let mut reader = Reader(blob);
        let kind = reader.string()?;
        let point = reader.string()?.try_into().ok()?;
        let application = match kind {
            _ if kind == ED25519.as_bytes() => None,
            _ if kind == SECURITY_KEY.as_bytes() => Some(reader.string()?),
            _ => return None,
        };
        let printable = |text: &&[u8]| text.len() <= APPLICATION_MAX && text.iter().all(u8::is_ascii_graphic);
        let application = match application {
            None => None,
            Some(text) => Some(String::from_utf8(Some(text).filter(printable)?.to_vec()).ok()?),
        };
        reader.is_empty().then_some(Key { point, application })
    }

    /// Bytes that OpenSSH puts into lines, signatures and fingerprints.
    fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        put_string(&mut blob, self.kind().as_bytes());
        put_string(&mut blob, &self.point);
        if let Some(application) = &self.application {
            put_string(&mut blob, application.as_bytes());
        }
        blob
    }

    fn kind(&self) -> &'static str {
        if self.application.is_some() { SECURITY_KEY } else { ED25519 }
    }

    /// Fingerprint, as `ssh-keygen -l` and `ssh-add -l` print it: `SHA256:` and 43 characters.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(self.blob())))
    }
}

/// Returns whether a text has the form of a fingerprint.
fn is_fingerprint(text: &str) -> bool {
    let digest = text.strip_prefix("SHA256:").and_then(|text| Base64Unpadded::decode_vec(text).ok());
    digest.is_some_and(|digest| digest.len() == 32)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), Base64::encode_string(&self.blob()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}
