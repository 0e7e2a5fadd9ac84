//! Sectors that hold their own address, and small experiments with them: a medium whose bytes are wrong shows by where
//! such a sector appears what is wrong with it.

use std::ops::Range;

use crate::storage::{AlignedBuffer, MARK as MAGIC, Target, TargetError};

/// A mark fills a sector of the smallest size, so that it is found wherever the end of a medium is.
pub(crate) const MARK: usize = 512;
/// Bytes of the parts of a medium that are looked at together.
const PAGE: u64 = 4096;
/// Bytes at either end of a medium where the partner of a sector is searched.
const END: u64 = 1 << 20;

/// The mark of the sector at `offset`, which `seed` makes different from those of others. It never looks like the
/// sector of a partition table.
fn mark(sector: &mut [u8], seed: u64, offset: u64) {
    let (head, rest) = sector.split_at_mut(MAGIC.len() + 16);
    head[..16].copy_from_slice(MAGIC);
    head[16..24].copy_from_slice(&seed.to_le_bytes());
    head[24..].copy_from_slice(&offset.to_le_bytes());
    let (body, end) = rest.split_at_mut(MARK - 32 - 8);
    blake3::Hasher::new().update(head).finalize_xof().fill(body);
    end.fill(0);
}

/// Fills `bytes`, which go to `offset`, with marks.
pub(crate) fn fill(bytes: &mut [u8], seed: u64, offset: u64) {
    for (index, sector) in bytes.chunks_mut(MARK).enumerate() {
        mark(sector, seed, offset + (index * MARK) as u64);
    }
}

/// The bytes of `range` on a medium that is full of marks.
pub(crate) fn of(range: &Range<u64>, seed: u64) -> Vec<u8> {
    let start = range.start / MARK as u64 * MARK as u64;
    let mut bytes = vec![0; (range.end.next_multiple_of(MARK as u64) - start) as usize];
    fill(&mut bytes, seed, start);
    bytes[(range.start - start) as usize..(range.end - start) as usize].to_vec()
}

/// The place that a sector is the mark of.
pub(crate) fn place_of(sector: &[u8], seed: u64) -> Option<u64> {
    if !sector.starts_with(MAGIC) {
        return None;
    }
    let offset = u64::from_le_bytes(sector[24..32].try_into().expect("eight bytes"));
    let mut expected = [0; MARK];
    mark(&mut expected, seed, offset);
    (sector == expected).then_some(offset)
}

/// A medium with which experiments are made: what it holds where they write is lost.
pub(crate) struct Laboratory<'a> {
    /// The medium.
    pub target: &'a dyn Target,
    /// See [`fill`].
    pub seed: u64,
}

impl Laboratory<'_> {
    fn len(&self) -> u64 {
        self.target.geometry().len
    }

    /// Bytes that a medium writes at once, around the sector at `at`.
    fn sector(&self, at: u64) -> Range<u64> {
        let sector = u64::from(self.target.geometry().sector_size);
        let start = at / sector * sector;
        start..start + sector
    }

    /// Writes marks to a range, so that the medium has them; returns them.
    fn write(&self, range: &Range<u64>, seed: u64) -> Result<Vec<u8>, TargetError> {
        let bytes = of(range, seed);
        self.target.write_at(&bytes, range.start)?;
        self.target.sync()?;
        Ok(bytes)
    }

    fn read(&self, range: &Range<u64>) -> Result<Vec<u8>, TargetError> {
        let len = (range.end - range.start) as usize;
        let mut buffer = AlignedBuffer::new(len);
        self.target.read_back(buffer.slice(len), range.start)?;
        Ok(buffer.slice(len).to_vec())
    }

    /// Returns whether what is written to `at` appears at `other`: a write that once went to the wrong place is another
    /// fault.
    pub(crate) fn is_same_place(&self, at: u64, other: u64) -> Result<bool, TargetError> {
        let range = at..at + u64::from(self.target.geometry().sector_size);
        let moved = other..other + (range.end - range.start);
        if range.end.max(moved.end) > self.len() || at == other {
            return Ok(false);
        }
        // A page is written at once, so of two sectors in it the first never has the last word.
        if at / PAGE == other / PAGE {
            let page = at / PAGE * PAGE..(at / PAGE * PAGE + PAGE).min(self.len());
            self.write(&page, !self.seed)?;
            return Ok(self.read(&range)? == self.read(&moved)?);
        }
        Ok(self.write(&range, !self.seed)? == self.read(&moved)?)
    }

    /// Finds another address of the sector at `at`: at either end of the medium, where one that is slightly smaller than
    /// it says begins again, or one that differs in a bit.
    pub(crate) fn partner(&self, at: u64) -> Result<Option<u64>, TargetError> {
        let (own, len) = (self.sector(at), self.len());
        let wanted = self.write(&own, self.seed)?;
        let head = 0..END.min(len);
        let tail = len.saturating_sub(END).max(head.end)..len;
        let bits = MARK.trailing_zeros()..u64::BITS - len.leading_zeros();
        let pages = bits.map(|bit| (own.start ^ 1 << bit) / PAGE * PAGE).filter(|page| page + PAGE <= len);
        for range in [head, tail].into_iter().chain(pages.map(|page| page..page + PAGE)) {
            // A place that cannot be read holds nothing.
            let Ok(found) = self.read(&range) else { continue };
            let places = (range.start..).step_by(MARK).zip(found.chunks(MARK));
            let mut others = places.filter(|(place, _)| !own.contains(place));
            if let Some((place, _)) = others.find(|(_, sector)| wanted.starts_with(sector)) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Returns whether other addresses that are as far apart as two of one place are the same place, too, as far as there
    /// are any: those of the neighbours, where the medium begins again, or those that differ from the two in another bit.
    pub(crate) fn is_rule(&self, at: u64, other: u64) -> Result<bool, TargetError> {
        let sector = u64::from(self.target.geometry().sector_size);
        let (low, high) = (at.min(other), at.max(other));
        let inside = |shift: &u64| high + shift + sector <= self.len();
        let mut others: Vec<(u64, u64)> = [sector, 2 * (high - low)]
            .iter()
            .filter(|shift| inside(shift))
            .map(|shift| (low + shift, high + shift))
            .collect();
        others.extend(low.checked_sub(sector).filter(|_| others.is_empty()).map(|low| (low, high - sector)));
        let is_same = |(low, high): &(u64, u64)| self.is_same_place(*high, *low);
        let same: Vec<bool> = others.iter().map(is_same).collect::<Result<_, _>>()?;
        Ok(same.is_empty() || same.contains(&true))
    }

    /// Returns whether the medium answers with what a place held before it was written last, as a reader does that
    /// remembers what it has read. `sound` are pages that hold what was written to them, which shows that they can be
    /// changed.
    pub(crate) fn reads_are_stale(&self, sound: &[u64]) -> Result<bool, TargetError> {
        let len = self.len();
        let page = |at: u64| at..at + PAGE;
        for at in sound.iter().filter(|at| **at + PAGE <= len) {
            let Ok(before) = self.read(&page(*at)) else { continue };
            // It may hold a mark of the same seed.
            let wanted = self.write(&page(*at), !self.seed)?;
            if wanted != before && self.read(&page(*at)).is_ok_and(|found| found == before) {
                return Ok(true);
            }
        }
        // Of other places only what was never read says something: the first of two writes, if it stays.
        for at in [2, 3, 5, 7].map(|part| len / part / PAGE * PAGE).into_iter().filter(|at| at + PAGE <= len)
        {
            let first = self.write(&page(at), self.seed)?;
            let is_kept = self.read(&page(at)).is_ok_and(|found| found == first);
            self.write(&page(at), !self.seed)?;
            if is_kept && self.read(&page(at)).is_ok_and(|found| found == first) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Fault, Faulty, Memory};

    #[test]
    fn a_mark_says_where_it_belongs() {
        let bytes = of(&(512..4096), 7);
        for (index, sector) in bytes.chunks(MARK).enumerate() {
            assert_eq!(place_of(sector, 7), Some(512 + 512 * index as u64));
            assert_eq!(place_of(sector, 8), None);
            assert_ne!(sector[510..], [0x55, 0xaa]);
        }
        assert_eq!(of(&(700..900), 7), bytes[188..388]);
    }

    #[test]
    fn a_partner_is_found_at_the_ends_and_by_a_bit() {
        let memory = Memory::new(16 << 20);
        let sound = Laboratory { target: &memory, seed: 1 };
        assert_eq!(sound.partner(5 << 20).expect("reads"), None);
        assert!(!sound.is_same_place(0, 8 << 20).expect("reads"));
        assert!(!sound.reads_are_stale(&[4096]).expect("reads"));
        for (real, at, other) in [((16 << 20) - 512, (16 << 20) - 512, 0), (8 << 20, 5 << 20, 13 << 20)] {
            let wraps = Faulty::new(&memory, Fault::Wrap { size: real });
            let laboratory = Laboratory { target: &wraps, seed: 1 };
            assert_eq!(laboratory.partner(at).expect("reads"), Some(other), "{real}");
            assert!(laboratory.is_same_place(at, other).expect("reads"));
            assert!(laboratory.is_same_place(other, at).expect("reads"));
        }
    }
}
