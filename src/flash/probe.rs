//! Finds out within seconds whether a medium is as large as it says.
//!
//! Media with a false size begin again at their start behind their real end, ignore a bit of an address, or forget
//! what is written behind their end; all answer as if all was well. So sectors that hold their own address are written
//! where they could collide: one block of them without gaps (`B` bytes), and pages at every multiple of `B` behind it.
//! Whatever the real size, one of those pages is behind it by less than `B`, so that it meets the block. Further pages
//! are as far from one page of the block as a single bit of an address, for each bit that the size has.
//!
//! The block is written last, so it is the block's mark that is found in a page that meets it, and the distance of the
//! two is the real size. That order must hold on the medium, not only in this program: a block device keeps small
//! writes in the page cache for a while, so what comes first is synced before the block follows. Being last, the
//! block also drives the pages out of a cache in the medium that is smaller than it. `B` grows with the root of the
//! size: the block of a card of 32 GB has 64 MiB, and there are some 500 pages.
//!
//! The first page is left alone, so a size that is wrong by two pages or less is not found here; whatever was written
//! and is not there is found when it is read back.

use std::ops::Range;

use crate::error::Diagnostic;
use crate::event::{Event, Listener, Phase, begin};
use crate::readback::marks::{Laboratory, MARK};
use crate::readback::{Code, marks};
use crate::storage::{AlignedBuffer, Target, TargetError};
use crate::value::ByteSize;

/// Bytes that are written and read at once beside the block.
const PAGE: u64 = 4096;
/// A page of the block whose neighbours in each bit of an address are not the first page of the medium.
const BASE: u64 = 3 * PAGE;
/// Bytes of the block that are written at once.
const CHUNK: u64 = 1 << 20;
/// Media below this size are not probed: nobody fakes them.
const SMALLEST: u64 = 64 << 10;
/// Nobody sells a medium with so little less than it says.
const LEAST_MISSING: u64 = 64 << 10;
/// No block is longer.
const LARGEST_BLOCK: u64 = 256 << 20;

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
    /// It ignores a bit of each address.
    #[error(
        "`{target}` says that it has {} but ignores a bit of its addresses: bytes that are {} apart are the same place",
        ByteSize(*claimed), ByteSize(*apart)
    )]
    #[diagnostic(hint("{}", Code::FakeCapacity.hint()), code = "fake-capacity")]
    Folds {
        /// Name of the target.
        target: String,
        /// Bytes it says it has.
        claimed: u64,
        /// Value of the bit.
        apart: u64,
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

/// Writes marks that `seed` makes different from those of other runs, reads them past the cache and compares.
/// Whatever the medium held at [`places`] is lost. To be done when the old table is gone.
pub fn capacity(target: &dyn Target, seed: u64, listener: &dyn Listener) -> Result<(), CapacityError> {
    let claimed = target.geometry().len;
    if claimed < SMALLEST {
        return Ok(());
    }
    let probe = Probe { target, seed, block: block(claimed), claimed };
    let (written, read) = (pages(claimed), looked_at(claimed));
    let pages = (written.len() + read.len()) as u64;
    begin(listener, Phase::Probe, probe.block.end - probe.block.start + PAGE * pages);
    probe.write_all(&written, listener)?;
    probe.judge(&probe.read_all(&read, listener)?)
}

/// Returns the ranges in which a probe writes on a medium of `len` bytes.
pub fn places(len: u64) -> Vec<Range<u64>> {
    if len < SMALLEST {
        return Vec::new();
    }
    std::iter::once(block(len)).chain(pages(len).iter().map(|at| *at..at + PAGE)).collect()
}

/// Returns the offsets of pages behind the block of a medium of `len` bytes, in order.
fn pages(len: u64) -> Vec<u64> {
    let block = block(len);
    let last = (len / PAGE - 1) * PAGE;
    let between = (block.end..last).step_by((block.end - block.start) as usize);
    let neighbours = neighbours(len).filter(|at| *at >= block.end);
    let mut pages: Vec<u64> =
        between.chain(neighbours).filter(|at| at + PAGE <= last).chain([last]).collect();
    pages.sort_unstable();
    pages.dedup();
    pages
}

/// Returns the offsets of pages that are read on a medium of `len` bytes, in order: those behind the block, and those of
/// the block that differ from its page at [`BASE`] in one bit of their address.
fn looked_at(len: u64) -> Vec<u64> {
    let block = block(len);
    let within = neighbours(len).chain([BASE]).filter(|at| block.contains(at) && at + PAGE <= block.end);
    let mut pages: Vec<u64> = within.chain(pages(len)).collect();
    pages.sort_unstable();
    pages
}

/// Returns the offsets of pages whose address differs from [`BASE`] in one bit.
fn neighbours(len: u64) -> impl Iterator<Item = u64> {
    let bits = PAGE.trailing_zeros()..u64::BITS - len.leading_zeros();
    bits.map(|bit| BASE ^ 1 << bit)
}

/// Returns the range of the block on a medium of `len` bytes.
fn block(len: u64) -> Range<u64> {
    let root = (len.saturating_mul(64 << 10)).isqrt().next_power_of_two();
    PAGE..PAGE + root.min(LARGEST_BLOCK).min(len / 4 / PAGE * PAGE)
}

/// Content of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Its marks.
    Own,
    /// The mark of this other place.
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

impl Probe<'_> {
    fn write_all(&self, places: &[u64], listener: &dyn Listener) -> Result<(), TargetError> {
        for at in places {
            self.write_page(*at)?;
            listener.event(Event::Advance { bytes: PAGE });
        }
        // They must reach the medium before the block does.
        self.target.sync()?;
        let mut buffer = AlignedBuffer::new(CHUNK as usize);
        for at in self.block.clone().step_by(CHUNK as usize) {
            let len = CHUNK.min(self.block.end - at);
            let bytes = buffer.slice(len as usize);
            marks::fill(bytes, self.seed, at);
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
        marks::fill(bytes, self.seed, at);
        self.target.write_at(bytes, at).or_else(ignore_bad_place)
    }

    fn read_page(&self, at: u64) -> Result<Found, TargetError> {
        let mut buffer = AlignedBuffer::new(PAGE as usize);
        let bytes = buffer.slice(PAGE as usize);
        if let Err(error) = self.target.read_back(bytes, at) {
            return ignore_bad_place(error).map(|()| Found::Lost);
        }
        let places = bytes.chunks(MARK).map(|sector| marks::place_of(sector, self.seed));
        let own = |index: usize| at + (index * MARK) as u64;
        let wrong = places.enumerate().filter(|(index, place)| *place != Some(own(*index)));
        let mut wrong =
            wrong.map(|(index, place)| place.map(|place| place.wrapping_sub((index * MARK) as u64)));
        Ok(match wrong.next() {
            None => Found::Own,
            Some(first) => first.or_else(|| wrong.flatten().next()).map_or(Found::Lost, Found::Of),
        })
    }

    fn judge(&self, found: &[(u64, Found)]) -> Result<(), CapacityError> {
        let distance = |(at, found): &(u64, Found)| match found {
            Found::Of(other) => Some((at.abs_diff(*other), *at, *other)),
            _ => None,
        };
        let mut distances: Vec<(u64, u64, u64)> = found.iter().filter_map(distance).collect();
        distances.sort_unstable();
        for (apart, at, other) in distances {
            if self.laboratory().is_same_place(at, other)? {
                return Err(self.too_small(apart, at.min(other))?);
            }
        }
        self.judge_end(found)
    }

    /// Two places that are `apart` bytes from each other, of which `first` is the first, are the same one: either the
    /// medium begins again after so many bytes, or it ignores that bit.
    fn too_small(&self, apart: u64, first: u64) -> Result<CapacityError, TargetError> {
        let (target, claimed) = (self.name(), self.claimed);
        let second_round = first + 2 * apart;
        let folds = apart.is_power_of_two()
            && second_round + PAGE <= claimed
            && !self.laboratory().is_same_place(second_round, first)?;
        Ok(match folds {
            true => CapacityError::Folds { target, claimed, apart },
            false => CapacityError::Wraps { target, claimed, real: apart },
        })
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
        // A reader that answers with what it has read before is another fault.
        let own = found.iter().filter(|(_, found)| *found == Found::Own).map(|(at, _)| *at);
        if self.laboratory().reads_are_stale(&own.take(2).collect::<Vec<_>>())? {
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

    fn laboratory(&self) -> Laboratory<'_> {
        Laboratory { target: self.target, seed: self.seed }
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
