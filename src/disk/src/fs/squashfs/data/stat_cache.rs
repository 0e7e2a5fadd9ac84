//! Facts that an earlier build read in files, for builds that take a file for unchanged by its [`Stamp`].
//!
//! It is kept in the block cache, one for each block size and directory. It names a file by a digest of path,
//! length and stamp, and says which blocks it consists of; and it names a fragment block by the digests of the files
//! in it, and says which block that was. Blocks that the cache has need not be read then. Nothing else is taken
//! from here: a file that has to be read after all, because a block is gone, must still be what is noted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::layout::Layout;
use super::super::raw::Put;
use crate::fs::squashfs::cache::BlockCache;
use crate::tree::{Content, Source, Stamp};
use crate::value::Digest;

/// Goes up when what is below means something else.
const VERSION: u32 = 1;
/// Stands for a block of zeros.
pub(super) const ZEROS: Digest = Digest([0; 32]);

/// Knowledge of a build before it reads.
#[derive(Default)]
pub(super) struct StatCache {
    files: HashMap<Digest, Known>,
    fragments: HashMap<Digest, Digest>,
}

/// Facts about a file that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Digest of the file.
    pub digest: Digest,
    /// All bytes are zero.
    pub zero: bool,
    /// Digest of each block of a large file, or [`ZEROS`]; none of a file smaller than a block.
    pub blocks: Vec<Digest>,
}

impl StatCache {
    /// Returns what was known of this file, if it has the same stamp.
    pub(super) fn file(&self, content: &Content) -> Option<&Known> {
        self.files.get(&name_of(content)?)
    }

    /// The fragment block that consists of these files.
    pub(super) fn fragment(&self, members: &Digest) -> Option<Digest> {
        self.fragments.get(members).copied()
    }

    /// Notes a file; one without a stamp is read by the next build too.
    pub(super) fn add_file(&mut self, content: &Content, known: Known) {
        if let Some(name) = name_of(content) {
            self.files.insert(name, known);
        }
    }

    /// Notes a fragment block.
    pub(super) fn add_fragment(&mut self, members: Digest, raw: Digest) {
        self.fragments.insert(members, raw);
    }

    /// The stat cache of an earlier build of the same directory.
    pub(super) fn load(cache: &dyn BlockCache, layout: &Layout) -> StatCache {
        cache.note(&name(layout)).and_then(|bytes| StatCache::decode(&bytes)).unwrap_or_default()
    }

    /// Keeps it for the next build.
    pub(super) fn save(&self, cache: &dyn BlockCache, layout: &Layout) {
        cache.keep_note(&name(layout), &self.encode());
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 72 * self.files.len() + 64 * self.fragments.len());
        bytes.u32(self.files.len() as u32).u32(self.fragments.len() as u32);
        for (name, known) in &self.files {
            bytes.extend_from_slice(&name.0);
            bytes.extend_from_slice(&known.digest.0);
            bytes.u32(known.zero.into()).u32(known.blocks.len() as u32);
            known.blocks.iter().for_each(|block| bytes.extend_from_slice(&block.0));
        }
        for (members, raw) in &self.fragments {
            bytes.extend_from_slice(&members.0);
            bytes.extend_from_slice(&raw.0);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<StatCache> {
        let mut rest = bytes;
        let (files, fragments) = (number(&mut rest)?, number(&mut rest)?);
        let mut stat_cache = StatCache::default();
        for _ in 0..files {
            let (name, digest) = (digest(&mut rest)?, digest(&mut rest)?);
            let (zero, blocks) = (number(&mut rest)? != 0, number(&mut rest)?);
            let blocks = (0..blocks).map(|_| self::digest(&mut rest)).collect::<Option<_>>()?;
            stat_cache.files.insert(name, Known { digest, zero, blocks });
        }
        for _ in 0..fragments {
            let members = digest(&mut rest)?;
            stat_cache.fragments.insert(members, digest(&mut rest)?);
        }
        rest.is_empty().then_some(stat_cache)
    }
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u32::from_le_bytes(*number))
}

fn digest(rest: &mut &[u8]) -> Option<Digest> {
    let (digest, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(Digest(*digest))
}

/// The name of a file in the stat cache; none where nothing shows whether it changed.
fn name_of(content: &Content) -> Option<Digest> {
    let Source::File { path, offset, stamp: Some(Stamp { len, mtime, ctime }) } = content.source() else {
        return None;
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(path.as_os_str().as_encoded_bytes());
    hasher.update(&offset.to_le_bytes()).update(&content.len().to_le_bytes());
    hasher.update(&len.to_le_bytes()).update(&mtime.to_le_bytes()).update(&ctime.to_le_bytes());
    Some(hasher.finalize().into())
}

/// The name of the stat cache: by the directory that all files are in.
fn name(layout: &Layout) -> Digest {
    let mut common: Option<PathBuf> = None;
    for (_, content) in &layout.files {
        let Source::File { path, .. } = content.source() else { continue };
        let parent = path.parent().unwrap_or(Path::new(""));
        match &mut common {
            None => common = Some(parent.into()),
            Some(common) => while !parent.starts_with(&*common) && common.pop() {},
        }
    }
    let directory = common.unwrap_or_default();
    let rules = format!("memo {VERSION} {} ", layout.options.block_size);
    Digest::of(&[rules.as_bytes(), directory.as_os_str().as_encoded_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_is_read_as_it_was_written_and_never_in_part() {
        let stamp = Stamp { len: 300, mtime: 1, ctime: 2 };
        let content = |path: &str| Content::stamped(Path::new(path), 0, 300, stamp);
        let known = Known { digest: Digest::of(b"a"), zero: false, blocks: vec![ZEROS, Digest::of(b"b")] };
        let mut stat_cache = StatCache::default();
        stat_cache.add_file(&content("/a"), known.clone());
        stat_cache.add_file(&content("/b"), Known { zero: true, ..Known::default() });
        stat_cache.add_file(&Content::bytes(b"no stamp".as_slice()), Known::default());
        stat_cache.add_fragment(Digest::of(b"members"), Digest::of(b"raw"));
        let bytes = stat_cache.encode();
        let read = StatCache::decode(&bytes).expect("whole");
        assert_eq!(read.file(&content("/a")), Some(&known));
        assert_eq!(read.files.len(), 2);
        assert_eq!(read.fragment(&Digest::of(b"members")), Some(Digest::of(b"raw")));
        let later = Stamp { ctime: 3, ..stamp };
        assert_eq!(read.file(&Content::stamped(Path::new("/a"), 0, 300, later)), None);
        for len in 0..bytes.len() {
            assert!(StatCache::decode(&bytes[..len]).is_none(), "{len}");
        }
    }
}
