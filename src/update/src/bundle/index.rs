//! The index: the blocks of all files, in order.

use std::fmt;

use skiff_disk::value::to_hex;

use super::BundleError;
use crate::statement::File;
use crate::wire::Reader;

/// Most bytes of a block: the largest one of a squashfs.
pub const BLOCK_MAX: usize = 1 << 20;
/// Bytes of a block in the index: its length and its id.
const ENTRY_LEN: usize = 20;

/// First 16 bytes of the BLAKE3 digest of a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockId(pub [u8; 16]);

impl BlockId {
    /// Id of these bytes.
    pub fn of(bytes: &[u8]) -> BlockId {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        BlockId(id)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A block of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Index of the file in the statement.
    pub file: usize,
    /// Place in the file.
    pub offset: u64,
    /// Bytes, 1 to [`BLOCK_MAX`].
    pub len: usize,
    /// What it is.
    pub id: BlockId,
}

/// Blocks of all files of a statement, without gaps, in the order of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index(Vec<Block>);

impl Index {
    /// The index of these bytes, which describes these files.
    pub fn parse(bytes: &[u8], files: &[File]) -> Result<Index, BundleError> {
        let wrong = |reason: String| BundleError::Index { reason };
        if !bytes.len().is_multiple_of(ENTRY_LEN) {
            return Err(wrong(format!("it has {} bytes, {ENTRY_LEN} for each block", bytes.len())));
        }
        let mut reader = Reader(bytes);
        let mut blocks = Vec::with_capacity(bytes.len() / ENTRY_LEN);
        for (file, stated) in files.iter().enumerate() {
            let mut offset = 0;
            while offset < stated.sum.len {
                let ends = || {
                    wrong(format!("it ends at byte {offset} of the {} of `{}`", stated.sum.len, stated.name))
                };
                let len = reader.u32().ok_or_else(ends)? as usize;
                let id = BlockId(reader.array().ok_or_else(ends)?);
                let rest = stated.sum.len - offset;
                if len == 0 || len > BLOCK_MAX || len as u64 > rest {
                    let name = &stated.name;
                    return Err(wrong(format!(
                        "the block at byte {offset} of `{name}` has {len} bytes, 1 to {} are possible",
                        rest.min(BLOCK_MAX as u64)
                    )));
                }
                blocks.push(Block { file, offset, len, id });
                offset += len as u64;
            }
        }
        match reader.0.len() / ENTRY_LEN {
            0 => Ok(Index(blocks)),
            more => Err(wrong(format!("it has {more} blocks more than the files"))),
        }
    }

    /// Bytes of the index of these blocks.
    pub fn encode<'a>(blocks: impl IntoIterator<Item = (usize, &'a BlockId)>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (len, id) in blocks {
            let len = u32::try_from(len).expect("a block is not larger than BLOCK_MAX");
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(&id.0);
        }
        bytes
    }

    /// The blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.0
    }
}
