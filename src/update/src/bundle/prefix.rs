//! The first 48 bytes.

use super::BundleError;
use crate::statement::{self, INDEX_MAX, ROOTS_MAX};
use crate::wire::Reader;

/// Bytes of the prefix.
pub const PREFIX_LEN: usize = 48;

const MAGIC: &[u8; 12] = b"skiff-update";
const FORMAT: u16 = 1;
const SIGNATURES_MAX: u64 = 96 << 10;

/// What follows the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The files as they are.
    Bundle,
    /// What a device that has other files needs to make them.
    Delta,
}

/// The prefix: magic, format (2 bytes), kind (2 bytes), lengths of roots, statement, signatures and index (4 bytes
/// each), zeros, CRC-32 of all before it; big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// What follows the index.
    pub kind: Kind,
    /// Bytes of the list of roots.
    pub roots: u32,
    /// Bytes of the statement.
    pub statement: u32,
    /// Bytes of the list of signatures.
    pub signatures: u32,
    /// Bytes of the index.
    pub index: u32,
}

impl Prefix {
    /// Bytes of the prefix.
    pub fn to_bytes(self) -> [u8; PREFIX_LEN] {
        let kind: u16 = match self.kind {
            Kind::Bundle => 1,
            Kind::Delta => 2,
        };
        let mut fields = MAGIC.to_vec();
        fields.extend([FORMAT, kind].iter().flat_map(|field| field.to_be_bytes()));
        let lens = [self.roots, self.statement, self.signatures, self.index];
        fields.extend(lens.iter().flat_map(|field| field.to_be_bytes()));
        let mut bytes = [0; PREFIX_LEN];
        bytes[..fields.len()].copy_from_slice(&fields);
        let sum = crc32fast::hash(&bytes[..PREFIX_LEN - 4]);
        bytes[PREFIX_LEN - 4..].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The prefix that these bytes are.
    pub fn parse(bytes: &[u8; PREFIX_LEN]) -> Result<Prefix, BundleError> {
        let mut reader = Reader(bytes);
        if reader.take(MAGIC.len()) != Some(MAGIC) {
            return Err(BundleError::NoBundle);
        }
        let [format, kind] = [(); 2].map(|()| reader.array().map_or(0, u16::from_be_bytes));
        let [roots, statement, signatures, index] = [(); 4].map(|()| reader.u32().unwrap_or_default());
        let (covered, sum) = bytes.split_at(PREFIX_LEN - 4);
        let (stated, found) = (Reader(sum).u32().unwrap_or_default(), crc32fast::hash(covered));
        if stated != found {
            return Err(BundleError::Prefix { stated, found });
        }
        let kind = match (format, kind) {
            (FORMAT, 1) => Kind::Bundle,
            (FORMAT, 2) => Kind::Delta,
            _ => return Err(BundleError::Format { found: format, known: FORMAT }),
        };
        let prefix = Prefix { kind, roots, statement, signatures, index };
        // Each field has one form, so a prefix has one as well.
        if prefix.to_bytes() != *bytes {
            return Err(BundleError::Format { found: format, known: FORMAT });
        }
        prefix.check_lens()?;
        Ok(prefix)
    }

    fn check_lens(&self) -> Result<(), BundleError> {
        let parts = [
            ("the list of roots", self.roots, ROOTS_MAX),
            ("the statement", self.statement, statement::LEN_MAX as u64),
            ("the list of signatures", self.signatures, SIGNATURES_MAX),
            ("the index", self.index, INDEX_MAX),
        ];
        let long = parts.into_iter().find(|(_, len, max)| u64::from(*len) > *max);
        match long {
            Some((part, len, max)) => Err(BundleError::TooLong { part, len: len.into(), max }),
            None => Ok(()),
        }
    }
}
