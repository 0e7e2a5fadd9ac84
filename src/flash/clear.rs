//! Clears old bytes where a source writes nothing, and the marks of a probe.

use std::ops::Range;

use super::changed::Changed;
use super::commit::Unwritten;
use super::progress::Progress;
use super::run::Run;
use super::{order, probe};
use crate::error::Result;
use crate::event::{Event, Silent};
use crate::readback::verify;
use crate::storage::{AlignedBuffer, Extent, Record, Recorder, Target, TargetError};

/// Flash memory is erased in blocks of at most this.
const ERASE_BLOCK: u64 = 4 << 20;
/// Bytes that are discarded at once, and then looked at.
const DISCARDED: u64 = 256 << 20;
/// Bytes that are read to see whether a range was discarded of which nobody needs to know what it reads as.
const SAMPLE: u64 = 64 << 10;

impl Run<'_> {
    /// Zeroes what is left of the marks of a probe, and makes sure of that; returns what was zeroed.
    pub(super) fn clear_probed(&self, held: &Record) -> Result<Record> {
        if !self.commit.used || self.commit.options.probe.is_none() {
            return Ok(Record::default());
        }
        let places = probe::places(self.medium.geometry().len);
        let left = zeros(places.into_iter().flat_map(|place| held.gaps(place)));
        self.ensure_zero(&left)?;
        Ok(left)
    }

    /// Zeroes ranges until they read zero, a few times at most.
    pub(super) fn ensure_zero(&self, ranges: &Record) -> Result<()> {
        let write = |target: &dyn Target| {
            zero(target, ranges)?;
            target.sync()?;
            Ok(Vec::new())
        };
        let (damage, writes) = self.written_again(ranges, &Silent, || write(&self.medium).map(drop))?;
        self.reject_damage(damage, writes, &write)
    }

    /// Clears old bytes between what was written; returns what reads zero for sure. Both ends of the medium are wiped
    /// already.
    pub(super) fn clear_unwritten(&self, held: &Record, len: Option<u64>) -> Result<Record> {
        let whole = self.medium.geometry().len;
        if !self.commit.used || self.commit.options.unwritten == Unwritten::Keep {
            return Ok(Record::default());
        }
        let between = order::WIPED..len.unwrap_or(whole).min(whole.saturating_sub(order::WIPED));
        let gaps = if between.is_empty() { Vec::new() } else { held.gaps(between) };
        let mut left = Vec::new();
        for gap in &gaps {
            left.extend(self.discard(gap)?);
        }
        match self.commit.options.unwritten {
            Unwritten::Zero => self.clear(left).map(|()| zeros(gaps.into_iter())),
            _ => Ok(Record::default()),
        }
    }

    /// Has a medium forget what it can of a range; returns what does not read zero for sure.
    fn discard(&self, gap: &Range<u64>) -> Result<Vec<Range<u64>>> {
        // Less than a block of a flash memory is not erased, and an answer about it says nothing.
        let start = gap.start.next_multiple_of(ERASE_BLOCK).min(gap.end);
        let blocks = start..(gap.end / ERASE_BLOCK * ERASE_BLOCK).max(start);
        let mut left = vec![gap.start..blocks.start];
        for at in blocks.clone().step_by(DISCARDED as usize) {
            let piece = at..blocks.end.min(at + DISCARDED);
            let len = piece.end - piece.start;
            if self.medium.discard(at, len)? && self.is_discarded(&piece)? {
                self.commit.listener.event(Event::Discard { bytes: len });
            } else {
                push(&mut left, piece);
            }
        }
        push(&mut left, blocks.end..gap.end);
        Ok(left)
    }

    /// Returns whether a range that was discarded is not what it was: where zeros are wanted, whether all of it reads
    /// zero, else whether a sample has a single byte throughout.
    fn is_discarded(&self, range: &Range<u64>) -> Result<bool> {
        if self.commit.options.unwritten == Unwritten::Zero {
            let all = zeros(std::iter::once(range.clone()));
            return Ok(verify(&self.interruptible(), &all, self.commit.regions, &Silent)?.is_empty());
        }
        let len = SAMPLE.min(range.end - range.start) as usize;
        let mut buffer = AlignedBuffer::new(len);
        let bytes = buffer.slice(len);
        self.medium.read_back(bytes, range.start)?;
        Ok(bytes.iter().all(|byte| *byte == bytes[0]))
    }

    /// Zeroes ranges. They are read first: media are read faster than they are written, and new ones read zero.
    fn clear(&self, ranges: Vec<Range<u64>>) -> Result<()> {
        let interruptible = self.interruptible();
        let progress = Progress { target: &interruptible, listener: self.commit.listener };
        let zeroed = Recorder::new(&progress);
        let changed = Changed::new(&zeroed);
        let mut filled = ranges.into_iter().filter(|range| !range.is_empty());
        filled.try_for_each(|range| changed.zero(range.start, range.end - range.start))?;
        let zeroed = zeroed.into_record();
        if zeroed.is_empty() {
            return Ok(());
        }
        self.medium.sync()?;
        match verify(&self.medium, &zeroed, self.commit.regions, &Silent)?.is_empty() {
            true => Ok(()),
            false => self.ensure_zero(&zeroed),
        }
    }
}

/// Appends a range, to the last one where that ends.
fn push(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut().filter(|last| last.end == range.start) {
        Some(last) => last.end = range.end,
        None => ranges.push(range),
    }
}

/// Ranges of zeros, in the order of their offsets.
fn zeros(ranges: impl Iterator<Item = Range<u64>>) -> Record {
    let extent =
        |range: Range<u64>| Extent { offset: range.start, len: range.end - range.start, blake3: None };
    Record { extents: ranges.map(extent).collect() }
}

fn zero(target: &dyn Target, ranges: &Record) -> Result<(), TargetError> {
    ranges.extents.iter().try_for_each(|range| target.zero(range.offset, range.len))
}
