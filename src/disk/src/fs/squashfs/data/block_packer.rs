//! Blocks as they go to disk: compressed, or found in the cache.

use std::sync::{Arc, Mutex, PoisonError};

use super::super::compressor::Compressor;
use super::super::raw::SQUASHFS_COMPRESSED_BIT_BLOCK;
use super::super::{Codec, Options, SquashfsError};
use crate::fs::squashfs::cache::{Block, BlockCache, Key};
use crate::value::Digest;

/// Processing of blocks.
#[derive(Clone)]
pub(super) enum Work {
    /// They are compressed, or taken from a cache.
    Compress(Option<Arc<dyn BlockCache>>),
    /// Only their keys are wanted.
    Collect(Arc<Mutex<Vec<Key>>>),
}

/// A compressor with the cache before it, for one thread.
pub(super) struct BlockPacker {
    compressor: Compressor,
    work: Work,
    codec: Codec,
    block_size: u32,
}

impl BlockPacker {
    pub(super) fn new(options: &Options, work: Work) -> Result<BlockPacker, SquashfsError> {
        let (codec, block_size) = (options.codec, options.block_size);
        Ok(BlockPacker { compressor: Compressor::new(codec, block_size)?, work, codec, block_size })
    }

    /// Appends a block as it goes to disk; returns its size field, and its digest if that was wanted. `raw` is the
    /// digest if it is known.
    pub(super) fn write(
        &mut self,
        block: &[u8],
        raw: Option<Digest>,
        out: &mut Vec<u8>,
    ) -> Result<(u32, Option<Digest>), SquashfsError> {
        if let Work::Compress(None) = &self.work {
            return Ok((append(self.compressor.compress(block)?, block, out), None));
        }
        let raw = raw.unwrap_or_else(|| Digest::of(block));
        let key = self.key(raw, block.len());
        let Work::Compress(Some(cache)) = &self.work else {
            self.collect(key);
            return Ok((0, Some(raw)));
        };
        let known = match cache.get(&key) {
            Some(known) => known,
            None => {
                let made = match self.compressor.compress(block)? {
                    Some(packed) => Block::Compressed(packed.to_vec()),
                    None => Block::Incompressible,
                };
                cache.put(&key, &made);
                made
            }
        };
        let packed = match &known {
            Block::Compressed(packed) => Some(packed.as_slice()),
            Block::Incompressible => None,
        };
        Ok((append(packed, block, out), Some(raw)))
    }

    /// Appends a block that was not read; nothing if the cache does not have its bytes.
    pub(super) fn write_known(&self, raw: Digest, len: usize, out: &mut Vec<u8>) -> Option<u32> {
        let key = self.key(raw, len);
        match &self.work {
            Work::Collect(_) => {
                self.collect(key);
                Some(0)
            }
            Work::Compress(cache) => match cache.as_ref()?.get(&key)? {
                Block::Compressed(packed) => Some(append(Some(&packed), &[], out)),
                Block::Incompressible => None,
            },
        }
    }

    fn key(&self, raw: Digest, len: usize) -> Key {
        Key { raw, raw_len: len as u32, codec: self.codec, block_size: self.block_size }
    }

    fn collect(&self, key: Key) {
        if let Work::Collect(keys) = &self.work {
            keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        }
    }
}

/// Appends the compressed form of a block, or the block itself, and returns its size field.
fn append(packed: Option<&[u8]>, block: &[u8], out: &mut Vec<u8>) -> u32 {
    let (bytes, flag) = match packed {
        Some(packed) => (packed, 0),
        None => (block, SQUASHFS_COMPRESSED_BIT_BLOCK),
    };
    out.extend_from_slice(bytes);
    bytes.len() as u32 | flag
}
