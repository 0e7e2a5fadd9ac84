//! Finds out within seconds whether a medium is as large as it says.
//!
//! Media with a false size either begin again at their start behind their real end, or forget what is written there;
//! both answer as if all was well. So sectors that tell their own place are written where they could collide: one
//! block of them without gaps (`B` bytes), and pages at every multiple of `B` behind it. Whatever the real size, one
//! of those pages is behind it by less than `B`, so that it meets the block. The block is written last, so it is the
//! block's marker that is found in the page, and the distance of the two is the real size. Being last, it also drives
//! the pages out of a cache in the medium that is smaller than the block. `B` grows with the root of the size: the
//! block of a card of 32 GB has 64 MiB, and there are some 500 pages.
//!
//! The first page is left alone, so a size that is wrong by two pages or less is not found here; whatever was written
//! and is not there is found when it is read back.

use std::ops::Range;

use crate::error::Diagnostic;
use crate::event::{Event, Listener, Phase, begin};
use crate::readback::Code;
use crate::storage::{AlignedBuffer, Target, TargetError};
use crate::value::ByteSize;

/// Bytes that are written and read at once beside the block.
const PAGE: u64 = 4096;
/// A marker fills a sector of the smallest size, so that it is found wherever the real end is.
const MARKER: usize = 512;
/// Bytes of the block that are written at once.
const CHUNK: u64 = 1 << 20;
/// Media below this size are not probed: nobody fakes them.
const SMALLEST: u64 = 64 << 10;
/// Nobody sells a medium with so little less than it says.
const LEAST_MISSING: u64 = 64 << 10;
/// No block is longer.
const LARGEST_BLOCK: u64 = 256 << 20;
/// First bytes of a marker.
const MAGIC: &[u8; 16] = b"skiff-image mark";

/// Reason why a medium must not be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Mismatch)]
pub enum CapacityError {
    /// It begins again behind its real end.
    #[error(
        "`{target}` says that it has {} but has {}: what is written behind that destroys what is before",
        ByteSize(*claimed), ByteSize(*real)
    )]
    #[diagnostic(hint("{}", Code::FakeCapacity.hint()), code = "fake-capacity")]
    Wraps {
        /// Name of the target.
        target: String,
        /// Bytes it says it has.
        claimed: u64,
        /// Bytes it has.
        real: u64,
    },
    /// It forgets what is written behind its real end.
    #[error(
        "`{target}` says that it has {} but keeps only what is written to the first {}",
        ByteSize(*claimed), ByteSize(*real)
    )]
    #[diagnostic(hint("{}", Code::FakeCapacity.hint()), code = "fake-capacity")]
    Short {
        /// Name of the target.
        target: String,
        /// Bytes it says it has.
        claimed: u64,
        /// Bytes it keeps, to within 4 KiB.
        real: u64,
    },
    /// It forgets everything.
    #[error("`{target}` keeps nothing of what is written to it")]
    #[diagnostic(hint("{}", Code::DroppedWrite.hint()), code = "dropped-write")]
    Deaf {
        /// Name of the target.
        target: String,
    },
    /// It cannot be written or read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] TargetError),
}

/// Writes markers that `seed` makes different from those of other runs, reads them past the cache and compares.
/// Whatever the medium held at [`places`] is lost. To be done when the old table is gone.
pub fn capacity(target: &dyn Target, seed: u64, listener: &dyn Listener) -> Result<(), CapacityError> {
    let claimed = target.geometry().len;
    if claimed < SMALLEST {
        return Ok(());
    }
    let probe = Probe { target, seed, block: block(claimed), claimed };
    let pages = pages(claimed);
    begin(listener, Phase::Probe, probe.block.end - probe.block.start + 2 * PAGE * pages.len() as u64);
    probe.write_all(&pages, listener)?;
    probe.judge(&probe.read_all(&pages, listener)?)
}

/// Returns the ranges in which a probe writes on a medium of `len` bytes.
pub fn places(len: u64) -> Vec<Range<u64>> {
    if len < SMALLEST {
        return Vec::new();
    }
    std::iter::once(block(len)).chain(pages(len).iter().map(|at| *at..at + PAGE)).collect()
}

/// Returns the offsets of pages on a medium of `len` bytes, in order.
fn pages(len: u64) -> Vec<u64> {
    let block = block(len);
    let last = (len / PAGE - 1) * PAGE;
    let between = (block.end..last).step_by((block.end - block.start) as usize);
    between.filter(|at| at + PAGE <= last).chain([last]).collect()
}

/// Returns the range of the block on a medium of `len` bytes.
fn block(len: u64) -> Range<u64> {
    let root = (len.saturating_mul(64 << 10)).isqrt().next_power_of_two();
    PAGE..PAGE + root.min(LARGEST_BLOCK).min(len / 4 / PAGE * PAGE)
}

/// Content of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Its markers.
    Own,
    /// The marker of this other place.
    Of(u64),
    /// Something else, or it cannot be read.
    Lost,
}

struct Probe<'a> {
    target: &'a dyn Target,
    seed: u64,
    block: Range<u64>,
    claimed: u64,
}

/// The marker of the sector at `offset`. It never looks like the sector of a partition table.
fn marker(sector: &mut [u8], seed: u64, offset: u64) {
    let (head, rest) = sector.split_at_mut(MAGIC.len() + 16);
    head[..16].copy_from_slice(MAGIC);
    head[16..24].copy_from_slice(&seed.to_le_bytes());
    head[24..].copy_from_slice(&offset.to_le_bytes());
    let (body, end) = rest.split_at_mut(MARKER - 32 - 8);
    blake3::Hasher::new().update(head).finalize_xof().fill(body);
    end.fill(0);
}

/// Fills `bytes`, which go to `offset`, with markers.
fn markers(bytes: &mut [u8], seed: u64, offset: u64) {
    for (index, sector) in bytes.chunks_mut(MARKER).enumerate() {
        marker(sector, seed, offset + (index * MARKER) as u64);
    }
}

/// The place that a sector is the marker of.
fn place_of(sector: &[u8], seed: u64) -> Option<u64> {
    if !sector.starts_with(MAGIC) {
        return None;
    }
    let offset = u64::from_le_bytes(sector[24..32].try_into().expect("eight bytes"));
    let mut expected = [0; MARKER];
    marker(&mut expected, seed, offset);
    (sector == expected).then_some(offset)
}

impl Probe<'_> {
    fn write_all(&self, places: &[u64], listener: &dyn Listener) -> Result<(), TargetError> {
        for at in places {
            self.write_page(*at)?;
            listener.event(Event::Advance { bytes: PAGE });
        }
        let mut buffer = AlignedBuffer::new(CHUNK as usize);
        for at in self.block.clone().step_by(CHUNK as usize) {
            let len = CHUNK.min(self.block.end - at);
            let bytes = buffer.slice(len as usize);
            markers(bytes, self.seed, at);
            self.target.write_at(bytes, at)?;
            listener.event(Event::Advance { bytes: len });
        }
        self.target.sync()
    }

    fn read_all(&self, places: &[u64], listener: &dyn Listener) -> Result<Vec<(u64, Found)>, TargetError> {
        let read = |at: &u64| {
            let found = self.read_page(*at)?;
            listener.event(Event::Advance { bytes: PAGE });
            Ok((*at, found))
        };
        places.iter().map(read).collect()
    }

    /// A page that cannot be written is found when it is read.
    fn write_page(&self, at: u64) -> Result<(), TargetError> {
        let mut buffer = AlignedBuffer::new(PAGE as usize);
        let bytes = buffer.slice(PAGE as usize);
        markers(bytes, self.seed, at);
        self.target.write_at(bytes, at).or_else(ignore_bad_place)
    }

    fn read_page(&self, at: u64) -> Result<Found, TargetError> {
        let mut buffer = AlignedBuffer::new(PAGE as usize);
        let bytes = buffer.slice(PAGE as usize);
        if let Err(error) = self.target.read_back(bytes, at) {
            return ignore_bad_place(error).map(|()| Found::Lost);
        }
        let places = bytes.chunks(MARKER).map(|sector| place_of(sector, self.seed));
        let own = |index: usize| at + (index * MARKER) as u64;
        let wrong = places.enumerate().filter(|(index, place)| *place != Some(own(*index)));
        let mut wrong =
            wrong.map(|(index, place)| place.map(|place| place.wrapping_sub((index * MARKER) as u64)));
        Ok(match wrong.next() {
            None => Found::Own,
            Some(first) => first.or_else(|| wrong.flatten().next()).map_or(Found::Lost, Found::Of),
        })
    }

    fn judge(&self, found: &[(u64, Found)]) -> Result<(), CapacityError> {
        let distance = |(at, found): &(u64, Found)| match found {
            Found::Of(other) => Some((at.abs_diff(*other), *at)),
            _ => None,
        };
        let mut distances: Vec<(u64, u64)> = found.iter().filter_map(distance).collect();
        distances.sort_unstable();
        for (real, at) in distances {
            if self.is_alias(at, real)? {
                return Err(CapacityError::Wraps { target: self.name(), claimed: self.claimed, real });
            }
        }
        self.judge_end(found)
    }

    /// Returns whether what is written to `at` appears `distance` before it: a write that once went to the wrong place
    /// is another fault.
    fn is_alias(&self, at: u64, distance: u64) -> Result<bool, TargetError> {
        let Some(other) = at.checked_sub(distance) else { return Ok(false) };
        let mut buffer = AlignedBuffer::new(PAGE as usize);
        let fresh = buffer.slice(PAGE as usize);
        markers(fresh, !self.seed, at);
        let fresh = fresh.to_vec();
        self.target.write_at(&fresh, at)?;
        self.target.sync()?;
        let bytes = buffer.slice(PAGE as usize);
        self.target.read_back(bytes, other)?;
        Ok(*bytes == *fresh)
    }

    /// Returns whether there is a place behind which nothing is kept.
    fn judge_end(&self, found: &[(u64, Found)]) -> Result<(), CapacityError> {
        let kept = found.iter().rposition(|(_, found)| *found != Found::Lost);
        let lost = &found[kept.map_or(0, |last| last + 1)..];
        let Some((first, _)) = lost.first() else { return Ok(()) };
        // A page that was lost by chance is kept the second time.
        if self.keeps(lost.last().expect("one is the first").0)? {
            return Ok(());
        }
        let good = match kept {
            Some(last) => found[last].0,
            None if self.keeps(self.block.start)? => self.block.start,
            None if self.keeps(PAGE)? => PAGE,
            None => return Err(CapacityError::Deaf { target: self.name() }),
        };
        let real = self.end_between(good, *first)?;
        // So little is a bad place, which matters only if something is written to it.
        if self.claimed - real < LEAST_MISSING {
            return Ok(());
        }
        Err(CapacityError::Short { target: self.name(), claimed: self.claimed, real })
    }

    /// First byte that is not kept, given a place that is and a later one that is not.
    fn end_between(&self, mut good: u64, mut lost: u64) -> Result<u64, TargetError> {
        while lost - good > PAGE {
            let middle = good + (lost - good) / 2 / PAGE * PAGE;
            match self.keeps(middle)? {
                true => good = middle,
                false => lost = middle,
            }
        }
        Ok(lost)
    }

    fn keeps(&self, at: u64) -> Result<bool, TargetError> {
        self.write_page(at)?;
        self.target.sync()?;
        Ok(self.read_page(at)? == Found::Own)
    }

    fn name(&self) -> String {
        self.target.name().into()
    }
}

/// Some media with a false size answer with an error behind their end: that is a place like one that forgets.
fn ignore_bad_place(error: TargetError) -> Result<(), TargetError> {
    match error.code() {
        Some("unreadable" | "write-error") => Ok(()),
        _ => Err(error),
    }
}
