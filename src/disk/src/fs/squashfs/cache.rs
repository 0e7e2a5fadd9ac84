//! Compressed blocks that are kept between builds, as the composer asks for them.
//!
//! A block is found by the content it was made of and by everything that decides its compressed form ([`Key`]), so
//! that an image has the same bytes with a full, an empty or no cache. A cache never fails a build: what it cannot give
//! is compressed, what it cannot keep is dropped, and [`BlockCache::finish`] reports what happened.

use std::fmt;

use super::Codec;
use crate::value::Digest;

/// Everything that decides the bytes of a compressed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Digest of the block before compression.
    pub raw: Digest,
    /// Bytes of the block before compression.
    pub raw_len: u32,
    /// Compressor and level.
    pub codec: Codec,
    /// Size of a full block in the filesystem.
    pub block_size: u32,
}

impl Key {
    /// The name a block is kept under: a digest of the key, of the compressor library's version and of this
    /// program's own rules of using it.
    pub fn id(&self) -> Digest {
        let Key { raw, raw_len, codec, block_size } = self;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&raw.0).update(&raw_len.to_le_bytes()).update(&block_size.to_le_bytes());
        hasher.update(format!("{codec} {}", codec.recipe()).as_bytes());
        hasher.finalize().into()
    }
}

/// A block as it goes to disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Shorter than before.
    Compressed(Vec<u8>),
    /// Compression does not make it shorter; it goes to disk as it is.
    Incompressible,
}

/// A place where blocks are kept. Used by many threads at once.
pub trait BlockCache: fmt::Debug + Send + Sync {
    /// The block of `key`, if it is there and undamaged.
    fn get(&self, key: &Key) -> Option<Block>;

    /// Returns whether [`BlockCache::get`] would probably find a block; cheaper where a look at its name is enough.
    fn contains(&self, key: &Key) -> bool {
        self.get(key).is_some()
    }

    /// Keeps a block. [`BlockCache::finish`] reports what goes wrong.
    fn put(&self, key: &Key, block: &Block);

    /// Returns what an earlier build has noted under a name, if it is there and undamaged.
    fn note(&self, _name: &Digest) -> Option<Vec<u8>> {
        None
    }

    /// Keeps a note, in the place of an older one of that name.
    fn keep_note(&self, _name: &Digest, _note: &[u8]) {}

    /// Returns whether [`BlockCache::prefetch`] is worth the work of computing all keys beforehand.
    fn wants_prefetch(&self) -> bool {
        false
    }

    /// Takes the keys of blocks that will be asked for.
    fn prefetch(&self, _keys: &[Key]) {}

    /// Ends a build, once: what was kept is complete, and what is too much is removed. Also called when the build
    /// has failed, so that what was compressed is there when it is tried again.
    fn finish(&self) -> Summary;
}

/// Statistics of a cache for a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Summary {
    /// Blocks that were there.
    pub hits: u64,
    /// Blocks that had to be compressed.
    pub misses: u64,
    /// Blocks that were damaged and made again, among the misses.
    pub damaged: u64,
    /// Blocks that came from a shared cache before they were asked for; most of them are hits later.
    pub fetched: u64,
    /// Blocks that a shared cache took up.
    pub uploaded: u64,
    /// Warnings for the user, for example that the directory is read-only; each comes once.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub warnings: Vec<String>,
}
