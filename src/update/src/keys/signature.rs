//! Signatures of OpenSSH: `PROTOCOL.sshsig` of its sources, and `PROTOCOL.u2f` for keys in hardware.

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha256, Sha512};
use skiff_disk::error::Diagnostic;

use super::Key;
use crate::wire::{Reader, put_string};

const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: u32 = 1;
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// Bytes of the largest signature: a key in hardware with a long application has 400.
pub(crate) const LEN_MAX: usize = 1024;

/// A signature by an Ed25519 key, on its own or in hardware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    key: Key,
    namespace: String,
    hash: Hash,
    signature: [u8; 64],
    /// Of a key in hardware: its flags (1: touched, 4: the user was verified), and how often it has signed.
    presence: Option<(u8, u32)>,
}

/// Digest of the message that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn name(self) -> &'static str {
        match self {
            Hash::Sha256 => "sha256",
            Hash::Sha512 => "sha512",
        }
    }

    fn of(self, message: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha256 => Sha256::digest(message).to_vec(),
            Hash::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(
    kind = Refused,
    hint = "get the bundle again from who made it; if that does not help, do not trust it",
    code = "bad-signature"
)]
pub enum SignatureError {
    /// The bytes are none.
    #[error("this is no signature of OpenSSH by an Ed25519 key: {reason}")]
    Damaged {
        /// What is wrong.
        reason: &'static str,
    },
    /// It was made for something else.
    #[error("the signature by {fingerprint} was made for `{found}`, not for `{expected}`")]
    Namespace {
        /// Key that it names.
        fingerprint: String,
        /// Namespace of the signature.
        found: String,
        /// Namespace that is needed.
        expected: &'static str,
    },
    /// It does not fit to key and message.
    #[error("the signature by {fingerprint} does not fit: what it signs, or itself, was changed")]
    Wrong {
        /// Key that it names.
        fingerprint: String,
    },
}

impl Signature {
    /// The signature in a `.sig` file of `ssh-keygen -Y sign`.
    pub fn from_armored(text: &str) -> Result<Signature, SignatureError> {
        let damaged = |reason| SignatureError::Damaged { reason };
        let body = text.trim().strip_prefix(BEGIN).and_then(|text| text.strip_suffix(END));
        let body = body.ok_or(damaged("its first and last line are not those of a signature"))?;
        let body: String = body.split_ascii_whitespace().collect();
        Signature::parse(&Base64::decode_vec(&body).map_err(|_| damaged("it is not base64"))?)
    }

    /// The signature of these bytes.
    pub fn parse(blob: &[u8]) -> Result<Signature, SignatureError> {
        let damaged = |reason| SignatureError::Damaged { reason };
        if blob.len() > LEN_MAX {
            return Err(damaged("it is too long"));
        }
        let mut reader = Reader(blob);
        if reader.take(MAGIC.len()) != Some(MAGIC) || reader.u32() != Some(VERSION) {
            return Err(damaged("it is of another kind or version"));
        }
        let mut string = || reader.string().ok_or(damaged("it ends too early"));
        let key = Key::from_blob(string()?).ok_or(damaged("its key is no Ed25519 key"))?;
        let namespace =
            String::from_utf8(string()?.to_vec()).map_err(|_| damaged("its namespace is no text"))?;
        if !string()?.is_empty() {
            return Err(damaged("a reserved field is used"));
        }
        let hash = string()?;
        let hash = [Hash::Sha256, Hash::Sha512].into_iter().find(|known| known.name().as_bytes() == hash);
        let hash = hash.ok_or(damaged("its digest is neither sha256 nor sha512"))?;
        let inner = parse_inner(string()?, &key).ok_or(damaged("its last field is no Ed25519 signature"))?;
        if !reader.is_empty() {
            return Err(damaged("something follows it"));
        }
        Ok(Signature { key, namespace, hash, signature: inner.0, presence: inner.1 })
    }

    /// Bytes of the signature.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut inner = Vec::new();
        put_string(&mut inner, self.key.kind().as_bytes());
        put_string(&mut inner, &self.signature);
        if let Some((flags, count)) = self.presence {
            inner.push(flags);
            inner.extend_from_slice(&count.to_be_bytes());
        }
        let mut blob = [MAGIC.as_slice(), &VERSION.to_be_bytes()].concat();
        put_string(&mut blob, &self.key.blob());
        self.put_header(&mut blob);
        put_string(&mut blob, &inner);
        blob
    }

    /// Key that the signature names.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Fails unless the key made this signature for `namespace` and `message`.
    pub fn verify(&self, namespace: &'static str, message: &[u8]) -> Result<(), SignatureError> {
        let fingerprint = self.key.fingerprint();
        if self.namespace != namespace {
            let found = self.namespace.escape_default().to_string();
            return Err(SignatureError::Namespace { fingerprint, found, expected: namespace });
        }
        let signed = self.signed(message);
        let signature = ed25519_dalek::Signature::from_bytes(&self.signature);
        let point = VerifyingKey::from_bytes(&self.key.point);
        // Strict: no keys or signatures with a part of small order, of which there are several for one message.
        let verified = point.and_then(|point| point.verify_strict(&signed, &signature));
        verified.map_err(|_| SignatureError::Wrong { fingerprint })
    }

    /// Bytes that the key has signed for `message`.
    fn signed(&self, message: &[u8]) -> Vec<u8> {
        let mut signed = MAGIC.to_vec();
        self.put_header(&mut signed);
        put_string(&mut signed, &self.hash.of(message));
        let (Some(application), Some((flags, count))) = (&self.key.application, self.presence) else {
            return signed;
        };
        // What an authenticator signs: the digest of the application, its own data, the digest of ours.
        let mut by_hardware = Sha256::digest(application).to_vec();
        by_hardware.push(flags);
        by_hardware.extend_from_slice(&count.to_be_bytes());
        by_hardware.extend_from_slice(&Sha256::digest(&signed));
        by_hardware
    }

    /// Namespace, reserved field and digest.
    fn put_header(&self, out: &mut Vec<u8>) {
        put_string(out, self.namespace.as_bytes());
        put_string(out, b"");
        put_string(out, self.hash.name().as_bytes());
    }
}

type Inner = ([u8; 64], Option<(u8, u32)>);

fn parse_inner(bytes: &[u8], key: &Key) -> Option<Inner> {
    let mut reader = Reader(bytes);
    if reader.string()? != key.kind().as_bytes() {
        return None;
    }
    let signature = reader.string()?.try_into().ok()?;
    let presence = match key.application {
        Some(_) => Some((reader.array::<1>()?[0], reader.u32()?)),
        None => None,
    };
    reader.is_empty().then_some((signature, presence))
}

#[cfg(test)]
impl Signature {
    /// Signs as `ssh-keygen -Y sign` does with a key in a file, or as a security key does.
    pub(crate) fn make(
        secret: &ed25519_dalek::SigningKey,
        application: Option<&str>,
        namespace: &str,
        message: &[u8],
    ) -> Signature {
        use ed25519_dalek::Signer as _;
        let key =
            Key { point: secret.verifying_key().to_bytes(), application: application.map(str::to_owned) };
        let presence = application.map(|_| (1, 7));
        let namespace = namespace.to_owned();
        let mut signature = Signature { key, namespace, hash: Hash::Sha512, signature: [0; 64], presence };
        signature.signature = secret.sign(&signature.signed(message)).to_bytes();
        signature
    }

    /// As a `.sig` file has it.
    pub(crate) fn to_armored(&self) -> String {
        let base64 = Base64::encode_string(&self.to_bytes());
        let lines: Vec<&str> =
            base64.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
    }
}
