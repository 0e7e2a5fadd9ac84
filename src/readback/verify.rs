//! Compares a medium with a record of what it should hold, past the page cache.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::diagnose::Diagnosis;
use crate::event::{Event, Listener};
use crate::storage::{AlignedBuffer, Extent, LARGEST_EXTENT, Record, Target, TargetError, Verb};
use crate::value::{ByteSize, Digest, is_zero};

/// More readers than this do not make a card or a USB disk faster.
const MOST_READERS: usize = 4;

/// A named range of a medium, to say where damage is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionRange {
    /// Name of the region.
    pub name: String,
    /// Its bytes on the target.
    pub range: Range<u64>,
}

/// A range that does not hold what it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The region it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// First byte on the target.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Expected digest; none for zeros.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Digest>,
    /// Digest of what is there; none if it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Digest>,
    /// Diagnosis, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
}

impl Damage {
    /// Extent that should be there.
    pub(crate) fn wanted(&self) -> Extent {
        Extent { offset: self.offset, len: self.len, blake3: self.expected }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(region) = &self.region {
            write!(f, "`{region}`: ")?;
        }
        write!(f, "{} at bytes {}..{}", ByteSize(self.len), self.offset, self.offset + self.len)?;
        match &self.diagnosis {
            Some(diagnosis) => write!(f, " ({diagnosis})"),
            None if self.found.is_none() => f.write_str(", which cannot be read"),
            None => Ok(()),
        }
    }
}

/// Reads every extent of `record` back from the medium and returns those that differ, by offset. Several
/// threads read in the order of the offsets and hash while others read.
pub fn verify(
    target: &dyn Target,
    record: &Record,
    regions: &[RegionRange],
    listener: &dyn Listener,
) -> Result<Vec<Damage>, TargetError> {
    ensure_inside(target, record)?;
    let damage = Mutex::new(Vec::new());
    let chunks = chunks(record);
    let largest = chunks.iter().map(|chunk| chunk.len.min(LARGEST_EXTENT)).max().unwrap_or(0);
    in_parallel(&chunks, largest, |chunk, buffer| {
        let found = check(target, chunk, buffer)?;
        damage.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        listener.event(Event::Advance { bytes: chunk.len });
        Ok(())
    })?;
    Ok(named(damage.into_inner().unwrap_or_else(PoisonError::into_inner), regions))
}

/// Has each item read by one of several threads, which begin them in order and have a buffer of `largest` bytes each.
pub(super) fn in_parallel<T: Sync>(
    items: &[T],
    largest: u64,
    read: impl Fn(&T, &mut AlignedBuffer) -> Result<(), TargetError> + Sync,
) -> Result<(), TargetError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || {
        let mut buffer = AlignedBuffer::new(largest as usize);
        while !failed.load(Ordering::Relaxed) {
            let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            read(item, &mut buffer).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    let readers = rayon::current_num_threads().clamp(1, MOST_READERS).min(items.len().max(1));
    let mut results: Vec<Result<(), TargetError>> = (0..readers).map(|_| Ok(())).collect();
    rayon::scope(|scope| {
        for result in &mut results {
            scope.spawn(|_| *result = run());
        }
    });
    results.into_iter().collect()
}

/// Damage by offset, with the regions it is in.
pub(super) fn named(mut damage: Vec<Damage>, regions: &[RegionRange]) -> Vec<Damage> {
    damage.sort_by_key(|damage| damage.offset);
    for damage in &mut damage {
        damage.region = name_of(regions, damage.offset);
    }
    damage
}

/// Fails where the target is too short for a record that comes from elsewhere.
fn ensure_inside(target: &dyn Target, record: &Record) -> Result<(), TargetError> {
    let behind = |extent: &&Extent| {
        extent.offset.checked_add(extent.len).is_none_or(|end| end > target.geometry().len)
    };
    match record.extents.iter().find(behind) {
        None => Ok(()),
        Some(extent) => Err(TargetError::Io {
            verb: Verb::ReadBack,
            target: target.name().into(),
            offset: extent.offset,
            len: extent.len,
            source: std::io::ErrorKind::UnexpectedEof.into(),
        }),
    }
}

/// The extents, those of zeros cut to what one buffer holds.
pub(super) fn chunks(record: &Record) -> Vec<Extent> {
    let cut = |extent: &Extent| -> Vec<Extent> {
        let (offset, len, blake3) = (extent.offset, extent.len, extent.blake3);
        if blake3.is_some() {
            return vec![extent.clone()];
        }
        let starts = (0..len).step_by(LARGEST_EXTENT as usize);
        starts.map(|at| Extent { offset: offset + at, len: LARGEST_EXTENT.min(len - at), blake3 }).collect()
    };
    record.extents.iter().flat_map(cut).collect()
}

fn name_of(regions: &[RegionRange], offset: u64) -> Option<String> {
    // A region inside another one is the better name.
    let holding = regions.iter().filter(|region| region.range.contains(&offset));
    holding.min_by_key(|region| region.range.end - region.range.start).map(|region| region.name.clone())
}

/// Reads a chunk; returns the damage.
fn check(
    target: &dyn Target,
    chunk: &Extent,
    buffer: &mut AlignedBuffer,
) -> Result<Option<Damage>, TargetError> {
    let (offset, len, expected) = (chunk.offset, chunk.len, chunk.blake3);
    let damage = |found| Damage { region: None, offset, len, expected, found, diagnosis: None };
    match hash(target, chunk, buffer) {
        Ok((zero, found)) if expected.map_or(zero, |expected| expected == found) => Ok(None),
        Ok((_, found)) => Ok(Some(damage(Some(found)))),
        Err(error) if is_bad_spot(&error) => Ok(Some(damage(None))),
        Err(error) => Err(error),
    }
}

/// Returns whether a medium says that it cannot read this, and not that it cannot read at all.
fn is_bad_spot(error: &TargetError) -> bool {
    use rustix::io::Errno;
    let TargetError::Io { source, .. } = error else { return false };
    let bad = [Errno::IO, Errno::NODATA, Errno::ILSEQ, Errno::REMOTEIO, Errno::BADMSG];
    source.raw_os_error().is_some_and(|code| bad.iter().any(|errno| errno.raw_os_error() == code))
}

/// Returns whether a chunk is all zero, and its digest, which of expected zeros nobody needs. A record of another
/// program may have chunks that are longer than the buffer.
fn hash(
    target: &dyn Target,
    chunk: &Extent,
    buffer: &mut AlignedBuffer,
) -> Result<(bool, Digest), TargetError> {
    let mut hasher = blake3::Hasher::new();
    let mut zero = true;
    for at in (0..chunk.len).step_by(LARGEST_EXTENT as usize) {
        let bytes = buffer.slice(LARGEST_EXTENT.min(chunk.len - at) as usize);
        target.read_back(bytes, chunk.offset + at)?;
        zero = zero && is_zero(bytes);
        if zero && chunk.blake3.is_none() && bytes.len() as u64 == chunk.len {
            return Ok((true, Digest::default()));
        }
        hasher.update(bytes);
    }
    Ok((zero, hasher.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use crate::storage::{Memory, Recorder};

    #[test]
    fn damage_has_its_region_and_range() {
        let memory = Memory::new(16 << 20);
        let recorder = Recorder::new(&memory);
        recorder.write_at(&vec![1; 10 << 20], 1 << 20).expect("write");
        recorder.zero(12 << 20, 1 << 20).expect("zero");
        let record = recorder.into_record();
        let regions = [
            RegionRange { name: "disk".into(), range: 0..16 << 20 },
            RegionRange { name: "rootfs".into(), range: 1 << 20..11 << 20 },
        ];
        assert_eq!(verify(&memory, &record, &regions, &Silent).expect("reads"), []);
        memory.write_at(&[0], 6 << 20).expect("damage");
        memory.write_at(&[1], (13 << 20) - 1).expect("damage");
        memory.write_at(&[1], 14 << 20).expect("nobody cares");
        let damage = verify(&memory, &record, &regions, &Silent).expect("reads");
        let texts: Vec<String> = damage.iter().map(Damage::to_string).collect();
        assert_eq!(
            texts,
            ["`rootfs`: 4 MiB at bytes 5242880..9437184", "`disk`: 1 MiB at bytes 12582912..13631488"]
        );
        assert_eq!(damage[0].expected, Some(Digest::of(&[1; 4 << 20])));
    }

    #[test]
    fn a_record_of_another_program_may_have_long_extents() {
        let memory = Memory::new(16 << 20);
        memory.write_at(&[1; 100], 9 << 20).expect("write");
        let all = Extent { offset: 0, len: 16 << 20, blake3: Some(Digest::of(&memory.to_vec())) };
        let record = Record { extents: vec![all] };
        assert_eq!(verify(&memory, &record, &[], &Silent).expect("reads"), []);
        memory.write_at(&[2], 9 << 20).expect("damage");
        assert_eq!(verify(&memory, &record, &[], &Silent).expect("reads").len(), 1);
    }

    #[test]
    fn a_target_that_is_too_short_is_an_error() {
        let memory = Memory::new(1 << 20);
        for (offset, len) in [(1 << 20, 1), (u64::MAX, 5), (0, (1 << 20) + 1)] {
            let record = Record { extents: vec![Extent { offset, len, blake3: None }] };
            let message = verify(&memory, &record, &[], &Silent).unwrap_err().to_string();
            assert!(message.starts_with("cannot read back "), "{message}");
            assert!(message.ends_with("of `memory`: unexpected end of file"), "{message}");
        }
    }
}
