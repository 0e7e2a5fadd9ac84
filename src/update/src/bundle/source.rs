//! Blocks that come out of a bundle.

use std::io::Read;

use super::head::read_full;
use super::{Block, BlockId, BundleError, Head};

/// Where the blocks of a system come from, in the order of the index.
pub trait BlockSource {
    /// The next block, whose contents are those that were signed.
    fn next(&mut self, block: &Block, out: &mut Vec<u8>) -> Result<(), BundleError>;

    /// Fails unless nothing follows the last block.
    fn end(&mut self) -> Result<(), BundleError>;
}

/// The payload of a bundle: the files as they are.
pub struct Payload<'a> {
    stream: &'a mut dyn Read,
    head: &'a Head,
    position: u64,
}

impl<'a> Payload<'a> {
    /// The payload that follows `head` in `stream`.
    pub fn new(stream: &'a mut dyn Read, head: &'a Head) -> Payload<'a> {
        Payload { stream, head, position: 0 }
    }
}

impl BlockSource for Payload<'_> {
    fn next(&mut self, block: &Block, out: &mut Vec<u8>) -> Result<(), BundleError> {
        out.resize(block.len, 0);
        let have = read_full(self.stream, out)?;
        if have < block.len {
            let have = self.position + have as u64;
            return Err(BundleError::CutOff { part: "the payload", need: self.head.statement.len(), have });
        }
        self.position += have as u64;
        ensure_signed(self.head, block, out)
    }

    fn end(&mut self) -> Result<(), BundleError> {
        ensure_ended(self.stream)
    }
}

/// Fails unless these are the bytes of the block.
pub(crate) fn ensure_signed(head: &Head, block: &Block, bytes: &[u8]) -> Result<(), BundleError> {
    if BlockId::of(bytes) == block.id {
        return Ok(());
    }
    Err(BundleError::OtherBlock { file: head.statement.files[block.file].name.clone(), offset: block.offset })
}

/// Fails if something follows.
pub(crate) fn ensure_ended(stream: &mut dyn Read) -> Result<(), BundleError> {
    match read_full(stream, &mut [0])? {
        0 => Ok(()),
        _ => Err(BundleError::Trailing),
    }
}
