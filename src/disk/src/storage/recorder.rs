//! Remembers what was written where, so that it can be read back and compared, and refuses to write a byte
//! twice.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Layer, Target, TargetError, WriteOp};
use crate::value::Digest;

/// No extent of a [`Record`] with a digest is longer than this, so that damage is located to within 4 MiB.
pub const LARGEST_EXTENT: u64 = 4 << 20;

/// Passes everything on to a target and records it.
pub struct Recorder<'a> {
    target: &'a dyn Target,
    log: Option<&'a dyn Log>,
    extents: Mutex<BTreeMap<u64, Recorded>>,
}

/// A log of what is written, which knows what needs not be.
pub trait Log: Sync {
    /// Returns whether the target has all of these already.
    fn holds(&self, extents: &[Extent]) -> bool;

    /// These were written to `target`.
    fn written(&self, target: &dyn Target, extents: &[Extent]) -> Result<(), TargetError>;
}

/// One write: its length and the digests of its pieces; zeros have none.
struct Recorded {
    len: u64,
    digests: Option<Vec<Digest>>,
}

/// Expected contents of a range of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// First byte on the target.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Digest of the bytes; none where they are all zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Digest>,
}

impl Extent {
    /// First byte and the one behind the last.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.len)
    }
}

/// Everything that was written to a target, sorted by offset and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The written ranges.
    pub extents: Vec<Extent>,
}

impl Record {
    /// Bytes in all extents.
    pub fn len(&self) -> u64 {
        self.extents.iter().map(|extent| extent.len).sum()
    }

    /// Returns whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// The extents that begin in `range`.
    pub fn within(&self, range: Range<u64>) -> &[Extent] {
        let start = self.extents.partition_point(|extent| extent.offset < range.start);
        let end = self.extents.partition_point(|extent| extent.offset < range.end);
        &self.extents[start..end.max(start)]
    }

    /// Parts of `range` that were not written, in order.
    pub fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        for extent in self.extents.iter().map(Extent::range).filter(|extent| extent.end > range.start) {
            if extent.start >= range.end {
                break;
            }
            if at < extent.start {
                gaps.push(at..extent.start);
            }
            at = at.max(extent.end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// Both records as one.
    ///
    /// # Panics
    /// If they overlap: the recorder refuses that.
    pub fn merge(mut self, other: Record) -> Record {
        self.extents.extend(other.extents);
        self.extents.sort_by_key(|extent| extent.offset);
        let disjoint = self.extents.windows(2).all(|pair| pair[0].range().end <= pair[1].offset);
        assert!(disjoint, "records of one target are disjoint");
        self
    }
}

impl<'a> Recorder<'a> {
    /// Records what goes to `target`.
    pub fn new(target: &'a dyn Target) -> Recorder<'a> {
        Recorder { target, log: None, extents: Mutex::default() }
    }

    /// Records what goes to `target`, reports it to `log`, and does not write what that has already.
    pub fn with_log(target: &'a dyn Target, log: Option<&'a dyn Log>) -> Recorder<'a> {
        Recorder { log, ..Recorder::new(target) }
    }

    /// Returns what was written so far; the same whatever the order and the number of threads.
    pub fn into_record(self) -> Record {
        let recorded = self.extents.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut extents: Vec<Extent> = Vec::with_capacity(recorded.len());
        for (offset, Recorded { len, digests }) in recorded {
            match digests {
                Some(digests) => extents.extend(extents_of(offset, len, digests)),
                None => push_zeros(&mut extents, offset, len),
            }
        }
        Record { extents }
    }

    /// Writes unless the log says that the target has these bytes already.
    fn write_and_log(&self, op: WriteOp<'_>, digests: Option<Vec<Digest>>) -> Result<bool, TargetError> {
        let Some(log) = self.log else { return op.apply(self.target) };
        let (offset, len) = (op.offset(), op.len());
        let extents = match digests {
            Some(digests) => extents_of(offset, len, digests).collect(),
            None => vec![Extent { offset, len, blake3: None }],
        };
        if !log.holds(&extents) {
            op.apply(self.target)?;
            log.written(self.target, &extents)?;
        }
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Recorded>> {
        self.extents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a range before it is written, so that of two threads one is refused.
    fn claim(&self, offset: u64, len: u64, digests: Option<Vec<Digest>>) -> Result<(), TargetError> {
        let mut extents = self.lock();
        let end = offset.saturating_add(len);
        let before = extents.range(..end).next_back();
        if let Some((&other, recorded)) = before.filter(|(other, recorded)| *other + recorded.len > offset) {
            return Err(TargetError::WrittenTwice {
                target: self.target.name().into(),
                first: other..other + recorded.len,
                second: offset..end,
            });
        }
        extents.insert(offset, Recorded { len, digests });
        Ok(())
    }
}

/// Cuts a range into pieces of at most [`LARGEST_EXTENT`].
fn pieces(offset: u64, len: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..len.div_ceil(LARGEST_EXTENT)).map(move |index| {
        let at = index * LARGEST_EXTENT;
        (offset + at, LARGEST_EXTENT.min(len - at))
    })
}

/// One digest for each piece.
fn digests_of(bytes: &[u8]) -> Vec<Digest> {
    // Formatters write a MiB at a time; to ask other threads for help would cost more than it brings.
    match bytes.len() as u64 {
        0..=LARGEST_EXTENT => vec![Digest::of(bytes)],
        _ => bytes.par_chunks(LARGEST_EXTENT as usize).map(Digest::of).collect(),
    }
}

/// One extent for each digest.
fn extents_of(offset: u64, len: u64, digests: Vec<Digest>) -> impl Iterator<Item = Extent> {
    let extent = |((offset, len), digest)| Extent { offset, len, blake3: Some(digest) };
    pieces(offset, len).zip(digests).map(extent)
}

/// Appends a range of zeros, joined with one that ends where it begins.
fn push_zeros(extents: &mut Vec<Extent>, offset: u64, len: u64) {
    match extents.last_mut() {
        Some(last) if last.blake3.is_none() && last.offset + last.len == offset => last.len += len,
        _ => extents.push(Extent { offset, len, blake3: None }),
    }
}

impl Layer for Recorder<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let digests = match op {
            _ if op.is_empty() => return Ok(true),
            WriteOp::Bytes { bytes, .. } => Some(digests_of(bytes)),
            WriteOp::Zero { .. } => None,
            WriteOp::Discard { .. } => return op.apply(self.target),
        };
        self.claim(op.offset(), op.len(), digests.clone())?;
        self.write_and_log(op, digests)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    #[test]
    fn a_byte_written_twice_is_refused_with_both_ranges() {
        let memory = Memory::new(1 << 20);
        let recorder = Recorder::new(&memory);
        recorder.write_at(&[1; 100], 1000).expect("first write");
        recorder.zero(1100, 100).expect("behind it");
        recorder.write_at(&[1; 100], 900).expect("before it");
        let message = recorder.write_at(&[2; 10], 1085).unwrap_err().to_string();
        assert_eq!(
            message,
            "bytes 1085..1095 of `memory` would be written twice: bytes 1000..1100 were written before"
        );
        assert!(recorder.zero(0, 1 << 20).is_err(), "around all of them");
        assert!(recorder.write_at(&[0; 1], 1199).is_err(), "into zeros");
    }

    #[test]
    fn the_record_is_the_same_whatever_the_order() {
        let memory = Memory::new(64 << 20);
        let record = |offsets: &[u64]| {
            let recorder = Recorder::new(&memory);
            offsets.par_iter().for_each(|&offset| match offset % 2 {
                0 => recorder.write_at(&vec![offset as u8; 1 << 20], offset << 20).expect("write"),
                _ => recorder.zero(offset << 20, 1 << 20).expect("zero"),
            });
            recorder.into_record()
        };
        let forward: Vec<u64> = (0..64).collect();
        let backward: Vec<u64> = (0..64).rev().collect();
        assert_eq!(record(&forward), record(&backward));
        assert_eq!(record(&forward).len(), 64 << 20);
    }

    #[test]
    fn gaps_are_what_was_not_written() {
        let extent = |offset, len| Extent { offset, len, blake3: None };
        let record = Record { extents: vec![extent(10, 10), extent(20, 5), extent(40, 10)] };
        assert_eq!(record.gaps(0..100), [0..10, 25..40, 50..100]);
        assert_eq!(record.gaps(15..45), [25..40]);
        assert_eq!(record.gaps(12..18), []);
        assert_eq!(Record::default().gaps(3..4), [3..4]);
    }

    #[test]
    fn large_writes_are_cut_and_zeros_are_joined() {
        let memory = Memory::new(32 << 20);
        let recorder = Recorder::new(&memory);
        recorder.write_at(&vec![7; 9 << 20], 512).expect("write");
        recorder.zero(16 << 20, 512).expect("zero");
        recorder.zero((16 << 20) + 512, 512).expect("zero");
        let record = recorder.into_record();
        let lens: Vec<u64> = record.extents.iter().map(|extent| extent.len).collect();
        assert_eq!(lens, [4 << 20, 4 << 20, 1 << 20, 1024]);
        assert_eq!(record.extents[0].blake3, Some(Digest::of(&[7; 4 << 20])));
        assert_eq!(record.within(1 << 20..17 << 20).len(), 3);
    }
}
