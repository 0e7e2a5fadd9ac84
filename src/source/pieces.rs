//! Division of an image: the ends that are written last, the ranges that matter, runs of zeros.

use std::ops::Range;

use crate::error::Result;
use crate::storage::{Target, TargetError};
use crate::value::is_zero;

/// Length of the ends, in which partition tables and most boot code are: the first and the last bytes are written last.
pub(super) const ENDS: u64 = 1 << 20;
/// Sector 0, in either sector size.
const SECTOR_0: u64 = 4096;
/// Zeros shorter than this are written like data.
const SHORTEST_ZEROS: usize = 64 << 10;

/// The ends of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// End of the head.
    pub head: u64,
    /// Start of the tail.
    pub tail: u64,
    len: u64,
}

impl Ends {
    /// Those of an image of `len` bytes.
    pub(super) fn for_len(len: u64) -> Ends {
        let head = ENDS.min(len);
        Ends { head, tail: (len.saturating_sub(ENDS) / SECTOR_0 * SECTOR_0).max(head), len }
    }

    /// Returns the ranges that are written last, with their names in messages; sector 0 apart.
    pub(super) fn named(self) -> [(&'static str, Range<u64>); 3] {
        let first = SECTOR_0.min(self.head);
        [("sector 0", 0..first), ("head", first..self.head), ("tail", self.tail..self.len)]
    }
}

/// Returns the parts of `mapped`, sorted ranges, that are inside of `range`.
pub(super) fn inside(mapped: &[Range<u64>], range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let first = mapped.partition_point(|mapped| mapped.end <= range.start);
    mapped[first..]
        .iter()
        .map(move |mapped| mapped.start.max(range.start)..mapped.end.min(range.end))
        .take_while(|bytes| bytes.start < bytes.end)
}

/// Writes bytes, and what of them is zero as zeros.
pub(super) fn write_sparse(target: &dyn Target, bytes: &[u8], at: u64) -> Result<(), TargetError> {
    runs(bytes).into_iter().try_for_each(|(zeros, run)| {
        let offset = at + run.start as u64;
        match zeros {
            true => target.zero(offset, run.len() as u64),
            false => target.write_at(&bytes[run], offset),
        }
    })
}

/// Runs of blocks that are all zero or not.
fn runs(bytes: &[u8]) -> Vec<(bool, Range<usize>)> {
    let mut runs: Vec<(bool, Range<usize>)> = Vec::new();
    for (index, block) in bytes.chunks(SHORTEST_ZEROS).enumerate() {
        let start = index * SHORTEST_ZEROS;
        let zeros = is_zero(block);
        match runs.last_mut() {
            Some((same, run)) if *same == zeros => run.end = start + block.len(),
            _ => runs.push((zeros, start..start + block.len())),
        }
    }
    runs
}

/// Does the same in several threads; the first of their errors is that of all.
pub(crate) fn in_threads(threads: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&work)).collect();
        let own = work();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        // All have to end before one reports.
        others.into_iter().map(join).fold(own, |first, other| first.and(other))
    })
}
