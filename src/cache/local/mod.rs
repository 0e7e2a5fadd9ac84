//! Blocks in a directory of this machine.
//!
//! ```text
//! DIR/v1/CACHEDIR.TAG   touched by each build: backup programs leave the directory out
//! DIR/v1/ab/cdef...     one file for each block, named by its id
//! DIR/v1/ab/tmp-...     a block that is being written
//! ```
//!
//! Any number of builds can use one directory at a time, and each of them may be killed at any moment: an entry
//! gets its name when it is whole, and nothing is ever changed in place. Nothing is synced and nothing locked; that
//! an entry is the one that was written is seen by its checksum, which is verified on each read. A wrong one is
//! removed and made again. The checksum is no protection against people: who may write to the directory decides
//! what is in the images.
//!
//! The modification time of an entry says when it was used last, give or take an hour. All times are those of the
//! filesystem, which is the one clock that builds on different machines share.

mod directory;
mod entry;
mod eviction;
mod upkeep;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::io::Errno;

use super::{Block, BlockCache, Key, Summary};
use crate::error::Io;
use crate::value::{ByteSize, Digest};
use directory::{Directory, Reading, Space};
use eviction::{Bound, EvictionIndex};

pub use upkeep::{Contents, Keep, Pruned};

/// Bound of a cache for which none is given: the blocks of some 25 root filesystems of 600 MB.
pub const DEFAULT_BOUND: ByteSize = ByteSize(5 << 30);

/// Longest note in bytes: what is known of some 200,000 files.
const NOTE_MAX: u32 = 16 << 20;

/// A cache in a directory.
///
/// ```
/// use skiff_image::cache::{Block, BlockCache, DEFAULT_BOUND, Key, Local};
/// use skiff_image::fs::squashfs::Codec;
/// use skiff_image::value::Digest;
///
/// let directory = tempfile::tempdir()?;
/// let codec = Codec::Zstd { level: 15 };
/// let key = Key { raw: Digest::of(b"raw"), raw_len: 128 << 10, codec, block_size: 128 << 10 };
/// let cache = Local::open(directory.path(), DEFAULT_BOUND);
/// assert_eq!(cache.get(&key), None);
/// cache.put(&key, &Block::Compressed(b"packed".to_vec()));
/// assert_eq!(cache.get(&key), Some(Block::Compressed(b"packed".to_vec())));
/// let summary = cache.finish();
/// assert_eq!((summary.hits, summary.misses), (1, 1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Local {
    /// Missing where it cannot be used.
    directory: Option<Directory>,
    bound: Bound,
    /// Bytes of disk this build has added, by group.
    added: Vec<AtomicU64>,
    /// Becomes false when the filesystem takes nothing more.
    keeps: AtomicBool,
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: AtomicU64,
    warnings: Warnings,
}

/// The first trouble of each kind.
#[derive(Debug, Default)]
struct Warnings {
    open: OnceLock<String>,
    read: OnceLock<String>,
    write: OnceLock<String>,
    remove: OnceLock<String>,
}

impl Local {
    /// Opens the cache in `root`, which is made if it is not there. What goes wrong is reported by
    /// [`BlockCache::finish`]; a cache that cannot be opened gives and keeps nothing.
    ///
    /// After each build that has added blocks, the ones that were not used for longest are removed until
    /// the cache is not larger than `bound`, as far as the parts are concerned that were added to. While builds run
    /// it can grow beyond that, each build adding at most `bound`; what a killed build has added is counted by the
    /// next one that adds to the same part, or by [`Local::prune`].
    pub fn open(root: &Path, bound: ByteSize) -> Local {
        let bound = Bound::new(bound.0);
        let warnings = Warnings::default();
        let directory = match Directory::open(root) {
            Ok(directory) => Some(directory),
            Err(error) => {
                warnings.open.get_or_init(|| format!("the block cache is not used: {error}"));
                None
            }
        };
        Local {
            directory,
            bound,
            added: (0..bound.groups).map(|_| AtomicU64::new(0)).collect(),
            keeps: AtomicBool::new(true),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            warnings,
        }
    }

    fn read(&self, directory: &Directory, id: &Digest, longest: u32) -> Option<Block> {
        match directory.read(id, longest) {
            Ok(Reading::Sound(block)) => return Some(block),
            Ok(Reading::Absent) => {}
            Ok(Reading::Damaged) => {
                directory.remove(id);
                count(&self.damaged);
            }
            Err(errno) => {
                self.warnings.read.get_or_init(|| {
                    let path = path_of(directory, &entry::name(id));
                    let error = Io::on("read", path)(errno.into());
                    format!("blocks are compressed although they may be in the block cache: {error}")
                });
            }
        }
        None
    }

    fn write(&self, directory: &Directory, id: &Digest, block: &Block) {
        let entry = entry::encode(id, block);
        let bytes = entry::disk_len(entry.len() as u64);
        // What a build adds beyond the share would only push out what it has added before.
        let added = &self.added[self.bound.group(id)];
        if added.fetch_add(bytes, Ordering::Relaxed) + bytes > self.bound.share() {
            return;
        }
        if let Err(reason) = self.keep(directory, id, &entry) {
            let warning = &self.warnings.write;
            warning.get_or_init(|| format!("new blocks are not kept in the block cache: {reason}"));
        }
    }

    /// Writes an entry, or says why not, and whether it is worth while to try the next one.
    fn keep(&self, directory: &Directory, id: &Digest, entry: &[u8]) -> Result<(), String> {
        let Space { left, reserved } = directory.space();
        if left < reserved.saturating_add(entry.len() as u64) {
            self.keeps.store(false, Ordering::Relaxed);
            let (path, left, reserved) = (directory.path().display(), ByteSize(left), ByteSize(reserved));
            return Err(format!(
                "the filesystem of `{path}` has {left} free, and the last {reserved} are kept for others"
            ));
        }
        directory.write(id, entry).map_err(|error| {
            let errno = Errno::from_io_error(&error);
            if matches!(errno, Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS)) {
                self.keeps.store(false, Ordering::Relaxed);
            }
            Io::on("write", path_of(directory, &entry::name(id)[..2]))(error).to_string()
        })
    }

    fn insert(&self, id: &Digest, block: &Block) {
        if let Some(directory) = &self.directory
            && self.keeps.load(Ordering::Relaxed)
        {
            self.write(directory, id, block);
        }
    }

    /// Brings the groups that were added to back to their share.
    fn evict(&self, directory: &Directory) {
        for (group, added) in self.added.iter().enumerate() {
            if added.swap(0, Ordering::Relaxed) == 0 {
                continue;
            }
            if let Err(error) = self.evict_from(directory, group) {
                let bound = ByteSize(self.bound.bytes);
                let warning = &self.warnings.remove;
                warning.get_or_init(|| format!("the block cache may be larger than {bound}: {error}"));
            }
        }
    }

    fn evict_from(&self, directory: &Directory, group: usize) -> Result<(), Io> {
        let mut index = EvictionIndex::read(directory.path(), self.bound.shards(group))?;
        index.sweep(|written| eviction::is_stale(written, directory.now()))?;
        index.shrink(self.bound.share())?;
        Ok(())
    }
}

impl BlockCache for Local {
    fn get(&self, key: &Key) -> Option<Block> {
        let block = self.directory.as_ref();
        let block = block.and_then(|directory| self.read(directory, &key.id(), key.raw_len));
        count(if block.is_some() { &self.hits } else { &self.misses });
        block
    }

    fn contains(&self, key: &Key) -> bool {
        self.directory.as_ref().is_some_and(|directory| directory.contains(&key.id()))
    }

    fn put(&self, key: &Key, block: &Block) {
        self.insert(&key.id(), block);
    }

    fn note(&self, name: &Digest) -> Option<Vec<u8>> {
        match self.read(self.directory.as_ref()?, name, NOTE_MAX)? {
            Block::Compressed(note) => Some(note),
            Block::Incompressible => None,
        }
    }

    fn keep_note(&self, name: &Digest, note: &[u8]) {
        if note.len() <= NOTE_MAX as usize {
            self.insert(name, &Block::Compressed(note.into()));
        }
    }

    fn finish(&self) -> Summary {
        if let Some(directory) = &self.directory {
            self.evict(directory);
        }
        let Warnings { open, read, write, remove } = &self.warnings;
        Summary {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            warnings: [open, read, write, remove].into_iter().filter_map(OnceLock::get).cloned().collect(),
            ..Summary::default()
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn path_of(directory: &Directory, name: &str) -> PathBuf {
    directory.path().join(name)
}

#[cfg(test)]
mod tests;
