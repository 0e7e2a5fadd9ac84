//! Looking at a cache and making it smaller, on request.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use super::Local;
use super::directory::{Directory, VERSION};
use super::eviction::{self, EvictionIndex, SHARDS};
use crate::error::Io;
use crate::value::{ByteSize, Timestamp};

/// Contents of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Number of blocks.
    pub entries: u64,
    /// Bytes of disk they take, counted in units of 4 KiB.
    pub bytes: u64,
    /// Last use of the block that was not used for longest, give or take an hour; none if there is no block.
    pub oldest_use: Option<Timestamp>,
}

/// Blocks that [`Local::prune`] leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// At most this many bytes: what was used last.
    AtMost(ByteSize),
    /// No block, and nothing that a build is just writing.
    Nothing,
}

/// Result of [`Local::prune`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Number of blocks that were removed.
    pub removed: u64,
    /// Bytes of disk that were freed, also those of blocks whose writer was killed.
    pub freed: u64,
    /// Number of blocks that are left.
    pub entries: u64,
    /// Bytes of disk they take.
    pub bytes: u64,
}

impl Local {
    /// Counts what is in the cache in `root`. One that does not exist is empty.
    pub fn contents(root: &Path) -> Result<Contents, Io> {
        if !exists(root)? {
            return Ok(Contents::default());
        }
        let index = EvictionIndex::read(&root.join(VERSION), 0..SHARDS)?;
        Ok(Contents {
            entries: index.entries.len() as u64,
            bytes: index.bytes(),
            oldest_use: index.entries.iter().map(|entry| entry.used.0).min(),
        })
    }

    /// Removes the blocks of the cache in `root` that were not used for longest, and what killed builds have left.
    /// Builds that use it at the same time go on and compress what they miss.
    pub fn prune(root: &Path, keep: Keep) -> Result<Pruned, Io> {
        if !exists(root)? {
            return Ok(Pruned::default());
        }
        let directory = Directory::open(root)?;
        let mut index = EvictionIndex::read(directory.path(), 0..SHARDS)?;
        let (most, all) = match keep {
            Keep::AtMost(size) => (size.0, false),
            Keep::Nothing => (0, true),
        };
        let freed = index.sweep(|written| all || eviction::is_stale(written, directory.now()))?;
        let removed = index.shrink(most)?;
        Ok(Pruned {
            removed: removed.entries,
            freed: freed + removed.bytes,
            entries: index.entries.len() as u64,
            bytes: index.bytes(),
        })
    }
}

/// Returns whether there is a cache in `root`.
fn exists(root: &Path) -> Result<bool, Io> {
    let path = root.join(VERSION);
    match fs::read_dir(&path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Io::on("list", &path)(error)),
    }
}
