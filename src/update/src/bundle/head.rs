//! All of a bundle before its payload.

use std::io::Read;

use super::{BundleError, Index, Kind, PREFIX_LEN, Prefix};
use crate::keys::{Key, Root, Signature, SignedRoot, decode_signatures, encode_signatures};
use crate::state::SystemId;
use crate::statement::{FitError, STATEMENT_NAMESPACE, Statement, Sum, system_id};

/// The parts before the payload, as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// List of roots.
    pub roots: Vec<u8>,
    /// Text of the statement.
    pub statement: Vec<u8>,
    /// List of signatures.
    pub signatures: Vec<u8>,
    /// Index.
    pub index: Vec<u8>,
}

/// The head of a bundle whose signatures are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What follows.
    pub kind: Kind,
    /// The parts.
    pub parts: Parts,
    /// What was signed.
    pub statement: Statement,
    /// Id of the system.
    pub system: SystemId,
    /// Blocks of its files.
    pub index: Index,
    /// Root whose keys have signed it.
    pub root: Root,
}

impl Parts {
    /// Parts with these contents.
    pub fn new(
        roots: &[SignedRoot],
        statement: &Statement,
        signatures: &[Signature],
        index: Vec<u8>,
    ) -> Parts {
        Parts {
            roots: SignedRoot::encode_all(roots),
            statement: statement.to_text().into_bytes(),
            signatures: encode_signatures(signatures),
            index,
        }
    }

    /// Bytes of a head, with what follows it.
    pub fn to_bytes(&self, kind: Kind) -> Vec<u8> {
        let len = |part: &[u8]| u32::try_from(part.len()).expect("parts are far below 4 GiB");
        let prefix = Prefix {
            kind,
            roots: len(&self.roots),
            statement: len(&self.statement),
            signatures: len(&self.signatures),
            index: len(&self.index),
        };
        [&prefix.to_bytes()[..], &self.roots, &self.statement, &self.signatures, &self.index].concat()
    }

    /// Sum of a list of roots, which the statement has.
    pub fn roots_sum(roots: &[SignedRoot]) -> Sum {
        Sum::of(&SignedRoot::encode_all(roots))
    }

    /// The roots.
    pub fn signed_roots(&self) -> Result<Vec<SignedRoot>, BundleError> {
        Ok(SignedRoot::decode_all(&self.roots)?)
    }
}

impl Head {
    /// Reads a head, on a device that trusts `root`.
    pub fn read(stream: &mut dyn Read, root: &Root) -> Result<Head, BundleError> {
        let prefix = read_prefix(stream)?;
        let roots = read_part(stream, "the list of roots", prefix.roots)?;
        let root = root.follow(&SignedRoot::decode_all(&roots)?)?;
        let statement = read_part(stream, "the statement", prefix.statement)?;
        let signatures = read_part(stream, "the list of signatures", prefix.signatures)?;
        let known = decode_signatures(&signatures, "the statement")?;
        root.check_statement(STATEMENT_NAMESPACE, &statement, &known)?;
        let parsed = Statement::parse(&statement).map_err(BundleError::Statement)?;
        if parsed.epoch != root.epoch {
            return Err(FitError::Epoch { found: parsed.epoch, have: root.epoch }.into());
        }
        ensure_signed("the list of roots", &roots, parsed.roots)?;
        let index = read_part(stream, "the index", prefix.index)?;
        let parts = Parts { roots, statement, signatures, index };
        Head::new(prefix.kind, parts, parsed, root)
    }

    /// The head that a device keeps beside a system which it has accepted before: signatures are not looked at,
    /// because the root of that time may not be the one of today. `root` is put into it.
    pub fn stored(bytes: &[u8], root: &Root) -> Result<Head, BundleError> {
        let mut stream = bytes;
        let head = Head::read_with(&mut stream, |_| Ok(root.clone()))?;
        if stream.is_empty() { Ok(head) } else { Err(BundleError::Trailing) }
    }

    /// Reads a head whose signatures are not looked at: whoever does this relies on a device that does. The root is
    /// the last one of the bundle, or one without keys.
    pub fn read_unsigned(stream: &mut dyn Read) -> Result<Head, BundleError> {
        Head::read_with(stream, |roots| {
            let last = roots.last().map(|root| Root::parse(&root.text)).transpose()?;
            let none = Root { epoch: 0, statements: 0, rotations: 0, keys: Vec::new(), revoked: Vec::new() };
            Ok(last.unwrap_or(none))
        })
    }

    /// Reads a head without a look at its signatures.
    fn read_with(
        stream: &mut dyn Read,
        root: impl FnOnce(&[SignedRoot]) -> Result<Root, BundleError>,
    ) -> Result<Head, BundleError> {
        let prefix = read_prefix(stream)?;
        let mut part = |name, len| read_part(stream, name, len);
        let parts = Parts {
            roots: part("the list of roots", prefix.roots)?,
            statement: part("the statement", prefix.statement)?,
            signatures: part("the list of signatures", prefix.signatures)?,
            index: part("the index", prefix.index)?,
        };
        let parsed = Statement::parse(&parts.statement).map_err(BundleError::Statement)?;
        ensure_signed("the list of roots", &parts.roots, parsed.roots)?;
        let root = root(&parts.signed_roots()?)?;
        Head::new(prefix.kind, parts, parsed, root)
    }

    fn new(kind: Kind, parts: Parts, statement: Statement, root: Root) -> Result<Head, BundleError> {
        ensure_signed("the index", &parts.index, statement.index)?;
        let index = Index::parse(&parts.index, &statement.files)?;
        let system = system_id(&parts.statement);
        Ok(Head { kind, parts, statement, system, index, root })
    }

    /// Keys that have signed it.
    pub fn signers(&self) -> Result<Vec<Key>, BundleError> {
        let signatures = decode_signatures(&self.parts.signatures, "the statement")?;
        Ok(signatures.iter().map(|signature| signature.key().clone()).collect())
    }

    /// Bytes that a device keeps beside the system.
    pub fn to_stored(&self) -> Vec<u8> {
        self.parts.to_bytes(Kind::Bundle)
    }
}

fn ensure_signed(part: &'static str, bytes: &[u8], stated: Sum) -> Result<(), BundleError> {
    if Sum::of(bytes) == stated { Ok(()) } else { Err(BundleError::OtherPart { part }) }
}

fn read_prefix(stream: &mut dyn Read) -> Result<Prefix, BundleError> {
    let mut bytes = [0; PREFIX_LEN];
    match read_full(stream, &mut bytes)? {
        PREFIX_LEN => Prefix::parse(&bytes),
        have => Err(BundleError::CutOff { part: "the prefix", need: PREFIX_LEN as u64, have: have as u64 }),
    }
}

fn read_part(stream: &mut dyn Read, part: &'static str, len: u32) -> Result<Vec<u8>, BundleError> {
    let mut bytes = vec![0; len as usize];
    match read_full(stream, &mut bytes)? {
        have if have == bytes.len() => Ok(bytes),
        have => Err(BundleError::CutOff { part, need: len.into(), have: have as u64 }),
    }
}

/// Fills `buf`, or as much of it as the stream has.
pub(crate) fn read_full(stream: &mut dyn Read, buf: &mut [u8]) -> Result<usize, BundleError> {
    let mut have = 0;
    while have < buf.len() {
        match stream.read(&mut buf[have..]) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BundleError::Read(error)),
        }
    }
    Ok(have)
}
