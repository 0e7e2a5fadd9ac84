//! Reads before it writes, and writes only what differs: most media are read several times faster than they are
//! written.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::storage::{AlignedBuffer, Layer, Target, TargetError, WriteOp};
use crate::value::is_zero;

/// Bytes that are compared, and written if it differs: less than this costs as much on a card.
const BLOCK: u64 = 64 << 10;
/// Bytes that are read at once.
const READ: u64 = 4 << 20;

/// A target that compares what it is given with what is on the medium.
pub(super) struct Changed<'a> {
    target: &'a dyn Target,
    skipped: AtomicU64,
}

impl<'a> Changed<'a> {
    pub(super) fn new(target: &'a dyn Target) -> Changed<'a> {
        Changed { target, skipped: AtomicU64::new(0) }
    }

    /// Returns the number of bytes that were right, and not written.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Compares the bytes at `offset`, which are at most [`READ`] long, with those of the medium block by block,
    /// and writes what differs as `op` does.
    fn compare(
        &self,
        offset: u64,
        len: u64,
        equal: impl Fn(&[u8], Range<usize>) -> bool,
        op: WriteOp<'_>,
    ) -> Result<(), TargetError> {
        let write = |run: Range<usize>| {
            op.part(offset + run.start as u64..offset + run.end as u64).apply(self.target).map(drop)
        };
        let mut buffer = AlignedBuffer::new(len as usize);
        let found = buffer.slice(len as usize);
        // What cannot be read is written: that may mend it.
        if self.target.read_back(found, offset).is_err() {
            return write(0..len as usize);
        }
        for (same, run) in runs(offset, len, |range| equal(&found[range.clone()], range)) {
            match same {
                true => _ = self.skipped.fetch_add(run.len() as u64, Ordering::Relaxed),
                false => write(run)?,
            }
        }
        Ok(())
    }
}

/// Runs of blocks that are the same or not; blocks begin at multiples of their length on the medium.
fn runs(offset: u64, len: u64, same: impl Fn(Range<usize>) -> bool) -> Vec<(bool, Range<usize>)> {
    let mut runs: Vec<(bool, Range<usize>)> = Vec::new();
    let mut at = 0;
    while at < len {
        let end = ((offset + at) / BLOCK * BLOCK + BLOCK - offset).min(len);
        let block = at as usize..end as usize;
        let same = same(block.clone());
        match runs.last_mut().filter(|(last, _)| *last == same) {
            Some((_, run)) => run.end = block.end,
            None => runs.push((same, block)),
        }
        at = end;
    }
    runs
}

/// Cuts a range into what is read at once.
fn pieces(offset: u64, len: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..len.div_ceil(READ)).map(move |index| (offset + index * READ, READ.min(len - index * READ)))
}

impl Layer for Changed<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        if let WriteOp::Discard { .. } = op {
            return Ok(false);
        }
        pieces(op.offset(), op.len()).try_for_each(|(at, len)| match op.part(at..at + len) {
            WriteOp::Bytes { bytes, .. } => self.compare(at, len, |found, range| *found == bytes[range], op),
            _ => self.compare(at, len, |found, _| is_zero(found), op),
        })?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Memory, Recorder};

    #[test]
    fn only_blocks_that_differ_are_written() {
        let memory = Memory::new(16 << 20);
        let wanted: Vec<u8> = (0..9_u64 << 20).map(|at| (at / 7 % 251) as u8).collect();
        memory.write_at(&wanted, 1000).expect("write");
        for at in [1000, (5 << 20) + 3, (9 << 20) + 999] {
            memory.write_at(&[0xff], at).expect("damage");
        }
        memory.write_at(&[1], 12 << 20).expect("damage in zeros");
        let recorder = Recorder::new(&memory);
        let changed = Changed::new(&recorder);
        changed.write_at(&wanted, 1000).expect("write");
        changed.zero(11 << 20, 2 << 20).expect("zero");
        let skipped = changed.skipped();
        let written = recorder.into_record();
        let lens: Vec<(u64, u64)> =
            written.extents.iter().map(|extent| (extent.offset, extent.len)).collect();
        // The first block ends at a multiple of its length, the last one with what is written.
        assert_eq!(lens, [(1000, BLOCK - 1000), (5 << 20, BLOCK), (9 << 20, 1000), (12 << 20, BLOCK)]);
        assert_eq!(skipped + written.len(), 11 << 20);
        assert!(memory.to_vec()[1000..][..wanted.len()] == wanted);
    }
}
