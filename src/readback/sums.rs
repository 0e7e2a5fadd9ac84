//! Reads an image back once for two purposes: to compare it with its record, and for the checksums of its block
//! map, which so are those of bytes that were found right on the medium.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

use sha2::{Digest as _, Sha256};

use super::multi_sha256::{BLOCK, LANES, MultiSha256};
use super::verify::{Damage, RegionRange, chunks, in_parallel, named};
use crate::bmap::{LARGEST_RANGE, to_blocks};
use crate::event::{Event, Listener};
use crate::storage::{AlignedBuffer, Extent, LARGEST_EXTENT, Record, Target, TargetError};
use crate::value::{Digest, is_zero};

/// SHA-256 of ranges of a target.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    by_start: BTreeMap<u64, (u64, [u8; 32])>,
}

impl Sums {
    /// That of exactly this range, if it was read.
    pub(crate) fn get(&self, bytes: &Range<u64>) -> Option<[u8; 32]> {
        self.by_start.get(&bytes.start).filter(|(end, _)| *end == bytes.end).map(|(_, sum)| *sum)
    }
}

/// Like [`super::verify`], and sums up what the block map of `record` has as its ranges.
pub(crate) fn verify_and_sum(
    target: &dyn Target,
    record: &Record,
    regions: &[RegionRange],
    listener: &dyn Listener,
) -> Result<(Vec<Damage>, Sums), TargetError> {
    let found = Mutex::new((Vec::new(), Sums::default()));
    in_parallel(&groups(units(record, target.geometry().len)), LARGEST_EXTENT, |group, buffer| {
        let results = match group.as_slice() {
            [unit] => vec![unit.read(target, buffer, listener)?],
            units => read_together(units, target, buffer, listener)?,
        };
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        for (unit, (damage, sum)) in group.iter().zip(results) {
            found.0.extend(damage);
            found.1.by_start.insert(unit.bytes.start, (unit.bytes.end, sum));
        }
        Ok(())
    })?;
    let (damage, sums) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((named(damage, regions), sums))
}

/// The SHA-256 of a range of the medium.
pub(crate) fn sum(target: &dyn Target, bytes: &Range<u64>) -> Result<[u8; 32], TargetError> {
    let unit = Unit { bytes: bytes.clone(), extents: Vec::new() };
    let mut buffer = AlignedBuffer::new(LARGEST_EXTENT as usize);
    Ok(unit.read(target, &mut buffer, &crate::event::Silent)?.1)
}

/// Damage in a unit, and the SHA-256 of its range.
type Found = (Vec<Damage>, [u8; 32]);

/// A range of a block map with the extents that begin in it.
struct Unit {
    bytes: Range<u64>,
    extents: Vec<Extent>,
}

fn units(record: &Record, len: u64) -> Vec<Unit> {
    let mapped: Vec<Range<u64>> = record.extents.iter().map(Extent::range).collect();
    let mut extents = chunks(record).into_iter().peekable();
    let unit = |bytes: Range<u64>| {
        let begins = |extent: &Extent| extent.offset < bytes.end;
        let extents = std::iter::from_fn(|| extents.next_if(begins)).collect();
        Unit { bytes, extents }
    };
    to_blocks(&mapped, len).into_iter().map(unit).collect()
}

/// Groups what one thread reads at a time: one unit, or several where their sums are faster to compute together.
fn groups(units: Vec<Unit>) -> Vec<Vec<Unit>> {
    if !MultiSha256::are_fast() {
        return units.into_iter().map(|unit| vec![unit]).collect();
    }
    // Zeros are not summed up at all.
    let (zeros, mut others): (Vec<_>, Vec<_>) =
        units.into_iter().partition(|unit| unit.extents.iter().all(|extent| extent.blake3.is_none()));
    others.sort_by_key(|unit| std::cmp::Reverse(unit.bytes.end - unit.bytes.start));
    let readers = rayon::current_num_threads().max(1);
    let count = others.len().div_ceil(LANES).next_multiple_of(readers);
    let size = others.len().div_ceil(count.max(1)).max(1);
    let mut groups: Vec<Vec<Unit>> = Vec::new();
    for unit in others {
        match groups.last_mut().filter(|group| group.len() < size) {
            Some(group) => group.push(unit),
            None => groups.push(vec![unit]),
        }
    }
    groups.extend(zeros.into_iter().map(|unit| vec![unit]));
    groups
}

/// Reads up to eight units in step.
fn read_together(
    units: &[Unit],
    target: &dyn Target,
    buffer: &mut AlignedBuffer,
    listener: &dyn Listener,
) -> Result<Vec<Found>, TargetError> {
    const PIECE: usize = LARGEST_EXTENT as usize / LANES;
    let mut lanes = MultiSha256::new();
    let mut readings: Vec<Reading> = units.iter().map(Reading::new).collect();
    let mut tails = vec![Vec::new(); units.len()];
    while !readings.iter().all(Reading::is_done) {
        let mut parts: [&[u8]; LANES] = [&[]; LANES];
        let pieces = buffer.slice(LANES * PIECE).chunks_mut(PIECE);
        for (lane, (reading, piece)) in readings.iter_mut().zip(pieces).enumerate() {
            let bytes = reading.next(target, piece)?;
            // Only the last piece of a range is not made of whole blocks.
            let (blocks, tail) = bytes.split_at(bytes.len() / BLOCK * BLOCK);
            parts[lane] = blocks;
            tails[lane].extend_from_slice(tail);
        }
        lanes.update(parts);
    }
    let finish =
        |(lane, reading): (usize, Reading)| (reading.finish(listener), lanes.finish(lane, &tails[lane]));
    Ok(readings.into_iter().enumerate().map(finish).collect())
}

impl Unit {
    fn read(
        &self,
        target: &dyn Target,
        buffer: &mut AlignedBuffer,
        listener: &dyn Listener,
    ) -> Result<Found, TargetError> {
        let mut reading = Reading::new(self);
        let mut sum = Lazy::<Sha256>::default();
        while !reading.is_done() {
            sum.update(reading.next(target, buffer.slice(LARGEST_EXTENT as usize))?);
        }
        Ok((reading.finish(listener), sum.finish()))
    }
}

/// A unit that is being read: its range, and on to the end of its last extent.
struct Reading<'a> {
    unit: &'a Unit,
    /// Bytes that were read, and its end.
    rest: Range<u64>,
    checks: Vec<Check<'a>>,
    /// Number of these that are complete.
    complete: usize,
}

impl<'a> Reading<'a> {
    fn new(unit: &'a Unit) -> Reading<'a> {
        let end = unit.extents.last().map_or(0, |extent| extent.range().end).max(unit.bytes.end);
        let checks = unit.extents.iter().map(Check::new).collect();
        Reading { unit, rest: unit.bytes.start..end, checks, complete: 0 }
    }

    fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads as much as there is space for; returns what belongs to the range.
    fn next<'b>(&mut self, target: &dyn Target, space: &'b mut [u8]) -> Result<&'b [u8], TargetError> {
        let at = self.rest.start;
        let len = (self.rest.end - at).min(space.len() as u64);
        let bytes = &mut space[..len as usize];
        if len > 0 {
            target.read_back(bytes, at)?;
        }
        self.rest.start += len;
        for check in &mut self.checks[self.complete..] {
            if check.extent.offset >= self.rest.start {
                break;
            }
            check.update(bytes, at);
            self.complete += usize::from(check.extent.range().end <= self.rest.start);
        }
        Ok(&bytes[..self.unit.bytes.end.saturating_sub(at).min(len) as usize])
    }

    fn finish(self, listener: &dyn Listener) -> Vec<Damage> {
        let advance = |extent: &Extent| listener.event(Event::Advance { bytes: extent.len });
        self.unit.extents.iter().for_each(advance);
        self.checks.into_iter().filter_map(Check::finish).collect()
    }
}

/// An extent that is being compared.
struct Check<'a> {
    extent: &'a Extent,
    found: Lazy<blake3::Hasher>,
}

impl<'a> Check<'a> {
    fn new(extent: &'a Extent) -> Check<'a> {
        Check { extent, found: Lazy::default() }
    }

    /// Takes what `bytes`, which are those from `at` on, have of the extent.
    fn update(&mut self, bytes: &[u8], at: u64) {
        let Range { start, end } = self.extent.range();
        let part = start.max(at) - at..end.min(at + bytes.len() as u64) - at;
        self.found.update(&bytes[part.start as usize..part.end as usize]);
    }

    fn finish(self) -> Option<Damage> {
        let Extent { offset, len, blake3: expected } = *self.extent;
        if expected.is_none() && self.found.hasher.is_none() {
            return None;
        }
        let found: Digest = self.found.finish();
        (expected != Some(found)).then_some(Damage {
            region: None,
            offset,
            len,
            expected,
            found: Some(found),
            diagnosis: None,
        })
    }
}

/// A digest that is not computed as long as there are only zeros: there can be many, and most are expected.
#[derive(Default)]
struct Lazy<H> {
    zeros: u64,
    hasher: Option<H>,
}

impl<H: Hash> Lazy<H> {
    fn update(&mut self, bytes: &[u8]) {
        if self.hasher.is_none() {
            if is_zero(bytes) {
                self.zeros += bytes.len() as u64;
                return;
            }
            self.hasher = Some(H::for_zeros(self.zeros));
        }
        self.hasher.iter_mut().for_each(|hasher| hasher.add(bytes));
    }

    fn finish<O>(self) -> O
    where
        H: Hash<Output = O>,
    {
        match self.hasher {
            Some(hasher) => hasher.end(),
            None => H::end_of_zeros(self.zeros),
        }
    }
}

trait Hash: Default {
    type Output;

    fn add(&mut self, bytes: &[u8]);

    fn end(self) -> Self::Output;

    fn for_zeros(len: u64) -> Self {
        let mut hasher = Self::default();
        crate::fs::zeros(len).for_each(|bytes| hasher.add(bytes));
        hasher
    }

    fn end_of_zeros(len: u64) -> Self::Output {
        Self::for_zeros(len).end()
    }
}

impl Hash for blake3::Hasher {
    type Output = Digest;

    fn add(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn end(self) -> Digest {
        self.finalize().into()
    }
}

impl Hash for Sha256 {
    type Output = [u8; 32];

    fn add(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn end(self) -> [u8; 32] {
        self.finalize().into()
    }

    fn end_of_zeros(len: u64) -> [u8; 32] {
        /// Of the ranges that a large hole is made of.
        static LARGEST: OnceLock<[u8; 32]> = OnceLock::new();
        match len {
            LARGEST_RANGE => *LARGEST.get_or_init(|| Self::for_zeros(len).end()),
            _ => Self::for_zeros(len).end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::event::Silent;
    use crate::readback::verify;
    use crate::storage::{Memory, Recorder};

    /// A record with extents that neither begin nor end at blocks, cross ranges of the map, and large zeros.
    fn written() -> (Memory, Record) {
        let memory = Memory::new(96 << 20);
        let recorder = Recorder::new(&memory);
        let bytes: Vec<u8> = (0..17 << 20).map(|at: u32| (at / 3 % 251) as u8).collect();
        recorder.write_at(&bytes[..700], 512).expect("write");
        recorder.write_at(&bytes[..100], 1300).expect("in the same block");
        recorder.write_at(&bytes, (1 << 20) + 1234).expect("write");
        recorder.zero(30 << 20, 40 << 20).expect("zero");
        recorder.write_at(&vec![0; 5 << 20], 80 << 20).expect("zeros that are written");
        recorder.write_at(&bytes[..9], (96 << 20) - 9).expect("the last bytes");
        let record = recorder.into_record();
        (memory, record)
    }

    #[test]
    fn the_sums_are_those_of_the_ranges() {
        let (memory, record) = written();
        let (damage, sums) = verify_and_sum(&memory, &record, &[], &Silent).expect("reads");
        assert_eq!(damage, []);
        let bytes = memory.to_vec();
        let mapped: Vec<_> = record.extents.iter().map(Extent::range).collect();
        let ranges = to_blocks(&mapped, 96 << 20);
        assert!(ranges.len() > 6, "{ranges:?}");
        for range in ranges {
            let expected: [u8; 32] = Sha256::digest(&bytes[range.start as usize..range.end as usize]).into();
            assert_eq!(sums.get(&range), Some(expected), "{range:?}");
            assert_eq!(sum(&memory, &range).expect("reads"), expected);
            assert_eq!(sums.get(&(range.start..range.end - 1)), None);
        }
    }

    #[test]
    fn units_that_are_read_together_have_the_same_sums() {
        let memory = Memory::new(12 << 20);
        let recorder = Recorder::new(&memory);
        for (index, len) in [700, 4096, 300_000, 1, 65_537, 4097, 20_000, 8192, 5].into_iter().enumerate() {
            let bytes: Vec<u8> = (0..len).map(|at: u32| (at / 3 % 251) as u8 + 1).collect();
            recorder.write_at(&bytes, ((index as u64) << 20) + index as u64 * 100).expect("write");
        }
        recorder.zero(11 << 20, 1 << 20).expect("zero");
        let record = recorder.into_record();
        memory.write_at(&[0], 2 << 20 | 250_000).expect("damage");
        let units = units(&record, 12 << 20);
        assert_eq!(units.len(), 10);
        for group in [&units[..1], &units[..2], &units[1..9], &units[3..]] {
            let mut buffer = AlignedBuffer::new(LARGEST_EXTENT as usize);
            let together = read_together(group, &memory, &mut buffer, &Silent).expect("reads");
            let alone = group.iter().map(|unit| unit.read(&memory, &mut buffer, &Silent).expect("reads"));
            assert_eq!(together, alone.collect::<Vec<_>>());
        }
        let grouped: BTreeSet<u64> = groups(units).iter().flatten().map(|unit| unit.bytes.start).collect();
        assert_eq!(grouped.len(), 10, "each unit is in a group");
    }

    #[test]
    fn damage_is_found_as_without_sums() {
        let (memory, record) = written();
        let regions = [RegionRange { name: "disk".into(), range: 0..96 << 20 }];
        for at in [600, 1301, (17 << 20) + 5, 31 << 20, 82 << 20, (96 << 20) - 1] {
            let mut byte = [0];
            memory.read_at(&mut byte, at).expect("read");
            memory.write_at(&[!byte[0]], at).expect("damage");
            let expected = verify(&memory, &record, &regions, &Silent).expect("reads");
            assert_eq!(expected.len(), 1, "{at}");
            let (damage, _) = verify_and_sum(&memory, &record, &regions, &Silent).expect("reads");
            assert_eq!(damage, expected, "{at}");
            memory.write_at(&byte, at).expect("repair");
        }
    }
}
