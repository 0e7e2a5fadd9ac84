//! Clears old bytes where a source writes nothing, and the markers of a probe.

use std::ops::Range;

use super::changed::Changed;
use super::commit::{Commit, Unwritten};
use super::progress::Progress;
use super::{order, probe};
use crate::error::Result;
use crate::event::Silent;
use crate::readback::verify;
use crate::storage::{AlignedBuffer, Extent, Record, Recorder, Target, TargetError};
use crate::value::is_zero;

/// Flash memory is erased in blocks of at most this.
const ERASE_BLOCK: u64 = 4 << 20;
/// Bytes that are read to see whether a discarded range reads zero, and their distance.
const SAMPLE: u64 = 64 << 10;
const SAMPLED_EVERY: u64 = 256 << 20;

impl Commit<'_> {
    /// Zeroes what is left of the markers of a probe, and makes sure of that; says whether it was so the first time.
    pub(super) fn clear_probed(&self, body: &Record) -> Result<bool> {
        if !self.used || self.options.probe.is_none() {
            return Ok(true);
        }
        let places = probe::places(self.target.geometry().len);
        let left = places.into_iter().flat_map(|place| body.gaps(place));
        let zeros = |gap: Range<u64>| Extent { offset: gap.start, len: gap.end - gap.start, blake3: None };
        let left = Record { extents: left.map(zeros).collect() };
        zero(self.target, &left)?;
        self.ensure_zero(&left)
    }

    /// Makes sure that what was zeroed reads zero, and zeroes it again if not; says whether it was so the first time.
    fn ensure_zero(&self, ranges: &Record) -> Result<bool> {
        let mut times = 1;
        loop {
            self.target.sync()?;
            let damage = verify(self.target, ranges, self.regions, &Silent)?;
            if damage.is_empty() || times > self.options.retries {
                self.reject_damage(damage, times, &|target: &dyn Target| {
                    zero(target, ranges)?;
                    Ok(Vec::new())
                })?;
                return Ok(times == 1);
            }
            zero(self.target, ranges)?;
            times += 1;
        }
    }

    /// Clears old bytes between what was written; returns whether it was so the first time. Both ends of
    /// the medium are wiped already.
    pub(super) fn clear_unwritten(&self, body: &Record, len: Option<u64>) -> Result<bool> {
        let whole = self.target.geometry().len;
        if !self.used || self.options.unwritten == Unwritten::Keep {
            return Ok(true);
        }
        let between = order::WIPED..len.unwrap_or(whole).min(whole.saturating_sub(order::WIPED));
        let mut left = Vec::new();
        for gap in body.gaps(between) {
            left.extend(self.discard(gap)?);
        }
        match self.options.unwritten {
            Unwritten::Zero => self.clear(left),
            _ => Ok(true),
        }
    }

    /// Has a medium forget what it can of a range; returns what does not read zero for sure.
    fn discard(&self, gap: Range<u64>) -> Result<Vec<Range<u64>>> {
        // Less than a block of a flash memory is not erased, and an answer about it says nothing.
        let start = gap.start.next_multiple_of(ERASE_BLOCK).min(gap.end);
        let blocks = start..(gap.end / ERASE_BLOCK * ERASE_BLOCK).max(start);
        let len = blocks.end - blocks.start;
        let cleared = len > 0 && self.target.discard(blocks.start, len)? && self.reads_zero(&blocks)?;
        Ok(if cleared { vec![gap.start..blocks.start, blocks.end..gap.end] } else { vec![gap] })
    }

    /// Zeroes ranges. They are read first: media are read faster than they are written, and new ones read zero.
    fn clear(&self, ranges: Vec<Range<u64>>) -> Result<bool> {
        let interruptible = self.interruptible();
        let progress = Progress { target: &interruptible, listener: self.listener };
        let zeroed = Recorder::new(&progress);
        let changed = Changed::new(&zeroed);
        let mut filled = ranges.into_iter().filter(|range| !range.is_empty());
        filled.try_for_each(|range| changed.zero(range.start, range.end - range.start))?;
        let zeroed = zeroed.into_record();
        Ok(zeroed.is_empty() || self.ensure_zero(&zeroed)?)
    }

    /// Returns whether a discarded range reads zero where it is looked at: at both ends and in between.
    fn reads_zero(&self, range: &Range<u64>) -> Result<bool, TargetError> {
        let mut buffer = AlignedBuffer::new(SAMPLE as usize);
        let last = range.end.saturating_sub(SAMPLE).max(range.start);
        let between = (range.start..last).step_by(SAMPLED_EVERY as usize);
        for at in between.chain([last]) {
            let bytes = buffer.slice(SAMPLE.min(range.end - at) as usize);
            self.target.read_back(bytes, at)?;
            if !is_zero(bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn zero(target: &dyn Target, ranges: &Record) -> Result<(), TargetError> {
    ranges.extents.iter().try_for_each(|range| target.zero(range.offset, range.len))
}
