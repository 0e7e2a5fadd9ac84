//! Index of the cache by last use, and removal of what was not used for longest.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::directory::{HOUR, UNFINISHED};
use super::entry;
use crate::error::Io;
use crate::value::{Digest, Timestamp};

/// Number of shards: directories by the first byte of the id.
pub(super) const SHARDS: usize = 256;
/// Least share of a group in bytes: 16 entries of the largest block.
const SHARE_MIN: u64 = 16 << 20;

/// Largest size of the cache, and its division.
///
/// Each group of shards has an equal share of the bound, so that a build looks only at the groups it has added to
/// and needs neither a lock nor a count that all builds agree on. Ids are evenly spread, so groups fill alike: one
/// with 470 entries of 35 KiB, which is a share of 16 MiB, is 5 % (1/√470) off the mean. The whole is never above
/// the bound after a build; it stays some percent below. Small bounds have fewer groups, because a share must
/// hold more than a few blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub bytes: u64,
    pub groups: usize,
}

impl Bound {
    pub(super) fn new(bytes: u64) -> Bound {
        let groups = (bytes / SHARE_MIN).clamp(1, SHARDS as u64);
        Bound { bytes, groups: 1 << groups.ilog2() }
    }

    /// Bytes of one group.
    pub(super) fn share(&self) -> u64 {
        self.bytes / self.groups as u64
    }

    /// The group of an entry.
    pub(super) fn group(&self, id: &Digest) -> usize {
        usize::from(id.0[0]) % self.groups
    }

    /// The shards of a group.
    pub(super) fn shards(&self, group: usize) -> impl Iterator<Item = usize> {
        (group..SHARDS).step_by(self.groups)
    }
}

/// A file of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub path: PathBuf,
    /// Bytes of disk.
    pub bytes: u64,
    /// Time of the last use: seconds since 1970 and nanoseconds.
    pub used: (Timestamp, i64),
}

/// Files of some shards, with their last uses.
#[derive(Debug, Default)]
pub(super) struct EvictionIndex {
    pub entries: Vec<Stored>,
    /// Entries that were never finished, or not yet.
    pub unfinished: Vec<Stored>,
}

/// Count of removed entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed {
    pub entries: u64,
    pub bytes: u64,
}

impl EvictionIndex {
    /// Lists shards of `DIR/v1`. What has no name of ours is none of our business.
    pub(super) fn read(path: &Path, shards: impl Iterator<Item = usize>) -> Result<EvictionIndex, Io> {
        let mut index = EvictionIndex::default();
        for shard in shards {
            index.add_shard(&path.join(format!("{shard:02x}")))?;
        }
        Ok(index)
    }

    fn add_shard(&mut self, shard: &Path) -> Result<(), Io> {
        let files = match fs::read_dir(shard) {
            Ok(files) => files,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(error) => return Err(Io::on("list", shard)(error)),
        };
        for file in files {
            let file = file.map_err(Io::on("list", shard))?;
            let name = file.file_name();
            let list = match name.as_bytes() {
                name if entry::is_name(name) => &mut self.entries,
                name if name.starts_with(UNFINISHED.as_bytes()) => &mut self.unfinished,
                _ => continue,
            };
            match file.metadata() {
                Ok(metadata) => list.extend(stored(file.path(), &metadata)),
                // Another build was faster.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Io::on("look at", file.path())(error)),
            }
        }
        Ok(())
    }

    /// Bytes of disk of the entries.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// Removes the entries that were not used for longest until `most` bytes are left.
    pub(super) fn shrink(&mut self, most: u64) -> Result<Removed, Io> {
        let mut left = self.bytes();
        if left <= most {
            return Ok(Removed::default());
        }
        self.entries.sort_unstable_by(|a, b| (b.used, &b.path).cmp(&(a.used, &a.path)));
        let mut removed = Removed::default();
        while left > most
            && let Some(oldest) = self.entries.pop()
        {
            left -= oldest.bytes;
            if remove(&oldest)? {
                removed.entries += 1;
                removed.bytes += oldest.bytes;
            }
        }
        Ok(removed)
    }

    /// Removes unfinished entries whose writers have ended, or all if the time is unknown to matter.
    pub(super) fn sweep(&mut self, stale: impl Fn(Timestamp) -> bool) -> Result<u64, Io> {
        let mut freed = 0;
        for unfinished in self.unfinished.extract_if(.., |unfinished| stale(unfinished.used.0)) {
            if remove(&unfinished)? {
                freed += unfinished.bytes;
            }
        }
        Ok(freed)
    }
}

/// Returns whether the writer of an unfinished entry has surely ended: no block takes an hour.
pub(super) fn is_stale(written: Timestamp, now: Option<Timestamp>) -> bool {
    now.is_some_and(|now| now.abs_diff(written) > HOUR.unsigned_abs())
}

fn stored(path: PathBuf, metadata: &Metadata) -> Option<Stored> {
    let used = (metadata.mtime(), metadata.mtime_nsec());
    metadata.is_file().then(|| Stored { path, bytes: entry::disk_len(metadata.len()), used })
}

/// Removes a file; false if it was not there any more.
fn remove(file: &Stored) -> Result<bool, Io> {
    match fs::remove_file(&file.path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Io::on("remove", &file.path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_disjoint_and_their_shares_are_within_the_bound() {
        for bytes in [0, 1, 15 << 20, 16 << 20, 100 << 20, 1 << 30, 5 << 30, 1 << 40] {
            let bound = Bound::new(bytes);
            let mut shards: Vec<usize> = (0..bound.groups).flat_map(|group| bound.shards(group)).collect();
            shards.sort_unstable();
            assert_eq!(shards, (0..SHARDS).collect::<Vec<_>>(), "{bytes}");
            assert!(bound.share() * bound.groups as u64 <= bytes, "{bytes}");
            assert!(bound.groups == 1 || bound.share() >= SHARE_MIN, "{bytes}");
            let id = Digest([0xa7; 32]);
            assert!(bound.shards(bound.group(&id)).any(|shard| shard == 0xa7), "{bytes}");
        }
        assert_eq!([0, 100 << 20, 5 << 30].map(|bytes| Bound::new(bytes).groups), [1, 4, 256]);
    }
}
