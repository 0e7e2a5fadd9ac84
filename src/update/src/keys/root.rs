//! The keys that a device trusts.
//!
//! ```text
//! skiff-update root 1
//! epoch 2
//! statements 1                     signatures that a statement needs
//! rotations 2                      signatures that the next root needs
//! key ssh-ed25519 AAAA...
//! key sk-ssh-ed25519@openssh.com AAAA...
//! revoked SHA256:...               keys of earlier roots, so that a refusal can say so
//! ```
//!
//! The next root is signed by enough keys of this one, so that it is theirs, and by enough of its own, so that nobody
//! locks a device out with keys that do not work. Roots follow one another without a gap: a device that has missed some
//! gets all of them in one bundle.

use skiff_disk::error::Diagnostic;

use super::signature::LEN_MAX as SIGNATURE_MAX;
use super::{Key, Signature, SignatureError, is_fingerprint};
use crate::text::{Lines, TextError, parse_number};
use crate::wire::{Reader, put_string};

/// Namespace of signatures of a root.
pub const ROOT_NAMESPACE: &str = "skiff-update-root";

const FIRST_LINE: &str = "skiff-update root 1";
const LEN_MAX: usize = 16 << 10;
const KEYS_MAX: usize = 32;
const REVOKED_MAX: usize = 128;
/// Most signatures of one text: the keys of a root and of the one before.
const SIGNATURES_MAX: usize = 2 * KEYS_MAX;

/// Keys, and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Number of the root, from 1.
    pub epoch: u64,
    /// Signatures that a statement needs.
    pub statements: usize,
    /// Signatures that the next root needs.
    pub rotations: usize,
    /// The keys.
    pub keys: Vec<Key>,
    /// Fingerprints of keys that earlier roots had.
    pub revoked: Vec<String>,
}

/// A root with its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRoot {
    /// Text of the root.
    pub text: Vec<u8>,
    /// Its signatures.
    pub signatures: Vec<Signature>,
}

/// Why something that is signed is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum TrustError {
    /// A root is no root.
    #[error("a root cannot be read: {0}")]
    #[diagnostic(transparent)]
    Root(#[source] TextError),
    /// A root contradicts itself.
    #[error("root {epoch} cannot be used: {reason}")]
    #[diagnostic(kind = Input, hint = "make another root", code = "bad-root")]
    Contradiction {
        /// Its number.
        epoch: u64,
        /// What is wrong.
        reason: String,
    },
    /// A signature does not count.
    #[error("{what}: {source}")]
    #[diagnostic(transparent)]
    Signature {
        /// What is signed.
        what: String,
        /// What is wrong.
        source: SignatureError,
    },
    /// A key is not trusted.
    #[error("{what} is signed by {fingerprint}, which is not a key of root {epoch}")]
    #[diagnostic(
        hint = "sign with a key that the device trusts, or bring the roots that add it",
        code = "unknown-key"
    )]
    UnknownKey {
        /// What is signed.
        what: String,
        /// The key.
        fingerprint: String,
        /// Root that counts.
        epoch: u64,
    },
    /// A key is not trusted any more.
    #[error("{what} is signed by {fingerprint}, which root {epoch} has revoked")]
    #[diagnostic(hint = "sign with a key that the device still trusts", code = "revoked-key")]
    RevokedKey {
        /// What is signed.
        what: String,
        /// The key.
        fingerprint: String,
        /// Root that counts.
        epoch: u64,
    },
    /// A key has signed twice.
    #[error("{what} has two signatures by {fingerprint}")]
    #[diagnostic(hint = "each key signs once", code = "signed-twice")]
    SignedTwice {
        /// What is signed.
        what: String,
        /// The key.
        fingerprint: String,
    },
    /// There are too few signatures.
    #[error("{what} has {have} of the {need} signatures that root {epoch} wants")]
    #[diagnostic(hint = "let more holders of keys sign", code = "too-few-signatures")]
    TooFew {
        /// What is signed.
        what: String,
        /// Signatures that count.
        have: usize,
        /// Signatures that are needed.
        need: usize,
        /// Root that counts.
        epoch: u64,
    },
    /// A root is not the next one.
    #[error("root {found} follows root {have}: root {} is missing", have + 1)]
    #[diagnostic(hint = "make the bundle with all roots since root {have}", code = "skipped-epoch")]
    Skipped {
        /// Root of the device.
        have: u64,
        /// Root that was brought.
        found: u64,
    },
    /// The list of signatures or roots is none.
    #[error("the list of {what} is damaged")]
    #[diagnostic(kind = Corrupt, hint = "get the bundle again", code = "bad-list")]
    List {
        /// `signatures` or `roots`.
        what: &'static str,
    },
}

impl Root {
    /// Reads the text of a root.
    pub fn parse(text: &[u8]) -> Result<Root, TrustError> {
        let root = Root::parse_text(text).map_err(TrustError::Root)?;
        root.check()?;
        Ok(root)
    }

    fn parse_text(text: &[u8]) -> Result<Root, TextError> {
        let mut lines = Lines::new(text, LEN_MAX, FIRST_LINE)?;
        let epoch =
            lines.one("epoch", "a number from 1", |text| parse_number(text).filter(|epoch| *epoch > 0))?;
        let mut threshold = |word| {
            let parse = |text: &str| usize::try_from(parse_number(text)?).ok();
            lines.one(word, "a number of signatures", parse)
        };
        let (statements, rotations) = (threshold("statements")?, threshold("rotations")?);
        let parse_key = |text: &str| Key::parse(text).ok().filter(|key| key.to_string() == text);
        let keys = lines.many(
            "key",
            (1, KEYS_MAX),
            "an Ed25519 key of OpenSSH without a comment",
            parse_key,
            Key::eq,
        )?;
        let parse = |text: &str| is_fingerprint(text).then(|| text.to_owned());
        let revoked = lines.many(
            "revoked",
            (0, REVOKED_MAX),
            "a fingerprint as `ssh-keygen -l` prints it",
            parse,
            String::eq,
        )?;
        lines.end()?;
        Ok(Root { epoch, statements, rotations, keys, revoked })
    }

    /// Fails if no set of keys could do what is asked for.
    pub fn check(&self) -> Result<(), TrustError> {
        let error = |reason| TrustError::Contradiction { epoch: self.epoch, reason };
        for (what, need) in [("statements", self.statements), ("rotations", self.rotations)] {
            if need == 0 || need > self.keys.len() {
                return Err(error(format!("`{what}` is {need}, and it has {} keys", self.keys.len())));
            }
        }
        let revoked = self.keys.iter().map(Key::fingerprint).find(|key| self.revoked.contains(key));
        revoked.map_or(Ok(()), |key| Err(error(format!("{key} is one of its keys, and revoked"))))
    }

    /// Text that is signed.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nepoch {}\n", self.epoch);
        text += &format!("statements {}\nrotations {}\n", self.statements, self.rotations);
        text.extend(self.keys.iter().map(|key| format!("key {key}\n")));
        text.extend(self.revoked.iter().map(|fingerprint| format!("revoked {fingerprint}\n")));
        text
    }

    /// Fingerprints that a root with these keys has to revoke if it follows this one: of keys that are not among them,
    /// and of those that were revoked before.
    pub fn revoked_by(&self, keys: &[Key]) -> Vec<String> {
        let fingerprints = |keys: &[Key]| keys.iter().map(Key::fingerprint).collect::<Vec<_>>();
        let (kept, had) = (fingerprints(keys), fingerprints(&self.keys));
        let mut revoked: Vec<String> = self.revoked.iter().cloned().chain(had).collect();
        revoked.retain(|fingerprint| !kept.contains(fingerprint));
        revoked
    }

    /// The root that follows this one after `roots`, which begin at or before the next one.
    pub fn follow(&self, roots: &[SignedRoot]) -> Result<Root, TrustError> {
        let mut root = self.clone();
        for signed in roots {
            let next = Root::parse(&signed.text)?;
            if next.epoch <= root.epoch {
                continue;
            }
            if next.epoch != root.epoch + 1 {
                return Err(TrustError::Skipped { have: root.epoch, found: next.epoch });
            }
            root.check_next(&next, signed)?;
            root = next;
        }
        Ok(root)
    }

    fn check_next(&self, next: &Root, signed: &SignedRoot) -> Result<(), TrustError> {
        let what = format!("root {}", next.epoch);
        for signature in &signed.signatures {
            if !self.keys.contains(signature.key()) && !next.keys.contains(signature.key()) {
                return Err(next.stranger(&what, signature.key()));
            }
        }
        for (root, need) in [(self, self.rotations), (next, next.rotations)] {
            let have = count(&root.keys, &what, ROOT_NAMESPACE, &signed.text, &signed.signatures)?;
            if have < need {
                return Err(TrustError::TooFew { what, have, need, epoch: root.epoch });
            }
        }
        Ok(())
    }

    /// Fails unless a statement has enough signatures, and none that does not count.
    pub(crate) fn check_statement(
        &self,
        namespace: &'static str,
        statement: &[u8],
        signatures: &[Signature],
    ) -> Result<(), TrustError> {
        let what = "the statement".to_owned();
        if let Some(stranger) = signatures.iter().find(|signature| !self.keys.contains(signature.key())) {
            return Err(self.stranger(&what, stranger.key()));
        }
        let have = count(&self.keys, &what, namespace, statement, signatures)?;
        let (need, epoch) = (self.statements, self.epoch);
        if have < need { Err(TrustError::TooFew { what, have, need, epoch }) } else { Ok(()) }
    }

    fn stranger(&self, what: &str, key: &Key) -> TrustError {
        let (what, fingerprint, epoch) = (what.to_owned(), key.fingerprint(), self.epoch);
        match self.revoked.contains(&fingerprint) {
            true => TrustError::RevokedKey { what, fingerprint, epoch },
            false => TrustError::UnknownKey { what, fingerprint, epoch },
        }
    }
}

/// Number of `keys` that have signed; fails if one of the signatures does not fit.
fn count(
    keys: &[Key],
    what: &str,
    namespace: &'static str,
    message: &[u8],
    signatures: &[Signature],
) -> Result<usize, TrustError> {
    let mut have = 0;
    for (index, signature) in signatures.iter().enumerate() {
        if signatures[..index].iter().any(|before| before.key() == signature.key()) {
            let fingerprint = signature.key().fingerprint();
            return Err(TrustError::SignedTwice { what: what.into(), fingerprint });
        }
        let verified = signature.verify(namespace, message);
        verified.map_err(|source| TrustError::Signature { what: what.into(), source })?;
        have += usize::from(keys.contains(signature.key()));
    }
    Ok(have)
}

/// Bytes of a list of signatures.
pub(crate) fn encode_signatures(signatures: &[Signature]) -> Vec<u8> {
    let mut list = Vec::new();
    signatures.iter().for_each(|signature| put_string(&mut list, &signature.to_bytes()));
    list
}

/// The signatures of a list.
pub(crate) fn decode_signatures(list: &[u8], what: &str) -> Result<Vec<Signature>, TrustError> {
    let damaged = TrustError::List { what: "signatures" };
    if list.len() > SIGNATURES_MAX * (SIGNATURE_MAX + 4) {
        return Err(damaged);
    }
    let mut reader = Reader(list);
    let mut signatures = Vec::new();
    while !reader.is_empty() {
        let blob = reader.string().ok_or(damaged.clone())?;
        let signature = Signature::parse(blob);
        signatures.push(signature.map_err(|source| TrustError::Signature { what: what.into(), source })?);
    }
    Ok(signatures)
}

impl SignedRoot {
    /// Bytes of a list of roots.
    pub fn encode_all(roots: &[SignedRoot]) -> Vec<u8> {
        let mut list = Vec::new();
        for root in roots {
            put_string(&mut list, &root.text);
            put_string(&mut list, &encode_signatures(&root.signatures));
        }
        list
    }

    /// The roots of a list.
    pub fn decode_all(list: &[u8]) -> Result<Vec<SignedRoot>, TrustError> {
        let damaged = || TrustError::List { what: "roots" };
        let mut reader = Reader(list);
        let mut roots = Vec::new();
        while !reader.is_empty() {
            let text = reader.string().ok_or_else(damaged)?.to_vec();
            let signatures = decode_signatures(reader.string().ok_or_else(damaged)?, "a root")?;
            roots.push(SignedRoot { text, signatures });
        }
        Ok(roots)
    }
}
