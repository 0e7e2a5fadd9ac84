//! Diagnosis of a medium from a bad range: the same wrong bytes need another cable, another reader or another card,
//! depending on how they are wrong.

use std::fmt;
use std::ops::Range;

use serde::{Serialize, Serializer};

use crate::value::{ByteSize, is_zero};

/// Wrong bytes are judged in these pieces, the least that media write.
pub(super) const SECTOR: u64 = 512;

/// A sector with more wrong bits than this (of 4096) holds something else.
const MOST_FLIPPED: u32 = 64;

/// Kind of fault of a medium. The words stay the same from version to version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The medium is smaller than it says.
    FakeCapacity,
    /// Some bits are not what they were when they were written.
    BitFlip,
    /// A write was acknowledged and not done.
    DroppedWrite,
    /// A write was done in part.
    TornWrite,
    /// A place holds what was written to another one.
    MisplacedWrite,
    /// A place cannot be changed.
    StuckRegion,
    /// A place reads as something else each time.
    UnstableRead,
    /// Places read as what they held before they were written last.
    StaleRead,
    /// A place cannot be read.
    Unreadable,
    /// The medium does not answer.
    Stalled,
    /// The medium is gone.
    Vanished,
    /// The medium has no space left.
    Full,
    /// A place cannot be written.
    WriteError,
    /// A place holds something else than what was written.
    WrongContent,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 14] = [
        Code::FakeCapacity,
        Code::BitFlip,
        Code::DroppedWrite,
        Code::TornWrite,
        Code::MisplacedWrite,
        Code::StuckRegion,
        Code::UnstableRead,
        Code::StaleRead,
        Code::Unreadable,
        Code::Stalled,
        Code::Vanished,
        Code::Full,
        Code::WriteError,
        Code::WrongContent,
    ];

    /// The word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::FakeCapacity => "fake-capacity",
            Code::BitFlip => "bit-flip",
            Code::DroppedWrite => "dropped-write",
            Code::TornWrite => "torn-write",
            Code::MisplacedWrite => "misplaced-write",
            Code::StuckRegion => "stuck-region",
            Code::UnstableRead => "unstable-read",
            Code::StaleRead => "stale-read",
            Code::Unreadable => "unreadable",
            Code::Stalled => "stalled",
            Code::Vanished => "vanished",
            Code::Full => "full",
            Code::WriteError => "write-error",
            Code::WrongContent => "wrong-content",
        }
    }

    /// Advice for the user.
    pub fn hint(self) -> &'static str {
        match self {
            Code::FakeCapacity => {
                "do not use this medium: give it back where it was bought, and use another one"
            }
            Code::BitFlip => {
                "try another cable, reader or port first; if it is the same bit again, the medium is worn out: use \
                 another one"
            }
            Code::DroppedWrite => {
                "check the lock switch of the card and try another reader; if writes are lost again, the medium is at \
                 the end of its life: use another one"
            }
            Code::TornWrite => {
                "the power of the medium may have failed: try another port without a hub, or a powered one"
            }
            Code::MisplacedWrite => {
                "do not trust this medium: what is written to one place appears in another; use another one"
            }
            Code::StuckRegion => "the medium is worn out there and cannot be repaired: use another one",
            Code::StaleRead => {
                "the reader answers with what it has read before: plug the medium in again, or use another reader"
            }
            Code::UnstableRead => "try another reader or cable; if it stays, the medium is about to fail",
            Code::Unreadable => "try another reader or cable; if it stays, the medium is broken there",
            Code::Stalled => "try another reader, cable or port",
            Code::Vanished => "plug the medium in firmly, or try another cable or port, and start again",
            Code::Full => "use a larger medium",
            Code::WriteError => {
                "try another reader or cable; if it stays, the medium is broken or write-protected"
            }
            Code::WrongContent => {
                "try again with another reader or cable; if it stays, the medium is worn out"
            }
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Facts about a bad range. All slices have the length of `expected`.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// First byte on the medium.
    pub offset: u64,
    /// Bytes that were written.
    pub expected: &'a [u8],
    /// Bytes that were read past the cache; none if that is an I/O error.
    pub found: Option<&'a [u8]>,
    /// Bytes of a second reading.
    pub again: Option<&'a [u8]>,
    /// Bytes that were there before, if they are known.
    pub before: Option<&'a [u8]>,
    /// Number of times that the range was written.
    pub writes: u32,
}

/// Diagnosis of a bad range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Kind of fault.
    pub code: Code,
    /// First byte on the medium that is wrong.
    pub at: u64,
    /// The same for people.
    pub text: String,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Kind of difference in a sector.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// As it was before.
    Old,
    /// The same byte everywhere.
    Constant(u8),
    /// So many bits.
    Flipped(u32),
    Foreign,
}

impl Diagnosis {
    /// Byte `at` has what belongs to byte `home`.
    pub fn misplaced(at: u64, home: u64) -> Diagnosis {
        let text = format!("byte {at} has what belongs to byte {home}");
        Diagnosis { code: Code::MisplacedWrite, at, text }
    }

    /// Bytes written to `home` appear at byte `at` as well, which has an address of its own; `all` says whether
    /// the bytes around them are the same places, too.
    pub fn same_place(at: u64, home: u64, all: bool) -> Diagnosis {
        let (low, high) = (at.min(home), at.max(home));
        let text = format!("bytes {low} and {high} are the same place");
        match all {
            true => {
                let apart = ByteSize(high - low);
                let text =
                    format!("{text}, as are all that are {apart} apart: the medium has less than it says");
                Diagnosis { code: Code::FakeCapacity, at, text }
            }
            false => Diagnosis { code: Code::MisplacedWrite, at, text },
        }
    }

    /// Bytes written to `at` appear at byte `other` instead.
    pub fn diverted(at: u64, other: u64) -> Diagnosis {
        let text = format!("what is written to byte {at} appears at byte {other}");
        Diagnosis { code: Code::MisplacedWrite, at, text }
    }

    /// A range from `at` on has what it had before, as other places do that were written twice.
    pub fn stale(at: u64) -> Diagnosis {
        let text = format!("byte {at} reads as before it was written, and so does what is sound");
        Diagnosis { code: Code::StaleRead, at, text }
    }

    /// A range from `at` on cannot be read.
    pub fn unreadable(at: u64) -> Diagnosis {
        Diagnosis { code: Code::Unreadable, at, text: format!("byte {at} cannot be read") }
    }

    /// A range from `at` on was wrong, and is not any more.
    pub fn passing(at: u64) -> Diagnosis {
        Diagnosis { code: Code::UnstableRead, at, text: "another reading was not the same".into() }
    }
}

impl<'a> Evidence<'a> {
    /// Diagnoses it. The range must be bad: unreadable, read as something else than what was written, or
    /// read as two things.
    pub fn diagnose(&self) -> Diagnosis {
        let Some(found) = self.found else { return Diagnosis::unreadable(self.offset) };
        let differs = match self.again {
            Some(again) => first_difference(found, again),
            None => Some(0),
        };
        if let Some(at) = differs {
            let at = self.offset + at;
            let text = format!("two readings differ, first in byte {at}");
            return Diagnosis { code: Code::UnstableRead, at, text };
        }
        let wrong: Vec<(Range<u64>, Wrong)> = self.sectors(found).collect();
        let Some(at) = first_difference(self.expected, found).map(|at| self.offset + at) else {
            return Diagnosis::passing(self.offset);
        };
        let (code, text) = self.judge(found, &wrong, at);
        Diagnosis { code, at, text }
    }

    /// The first sector that has something else altogether, and what it has: that may belong elsewhere.
    pub fn stray(&self) -> Option<(u64, &'a [u8])> {
        let found = self.found.filter(|found| self.again == Some(*found))?;
        let (range, _) = self.sectors(found).find(|(_, wrong)| *wrong == Wrong::Foreign)?;
        let within = self.within(&range);
        Some((range.start, &found[within]))
    }

    fn judge(&self, found: &[u8], wrong: &[(Range<u64>, Wrong)], at: u64) -> (Code, String) {
        let all = |like: fn(Wrong) -> bool| wrong.iter().all(|(_, wrong)| like(*wrong));
        if all(|wrong| matches!(wrong, Wrong::Flipped(_))) {
            return (Code::BitFlip, self.flipped(found, wrong, at));
        }
        if let Some(byte) = constant(wrong) {
            return (Code::StuckRegion, format!("every byte is {byte:#04x}, from byte {at} on"));
        }
        if all(|wrong| wrong == Wrong::Old) {
            let old = if self.before.is_some() { "what was there before" } else { "zeros" };
            return self.judge_unwritten(wrong, at, old);
        }
        // Most of what nobody has written now was there before.
        match self.before.is_none() && all(|wrong| matches!(wrong, Wrong::Old | Wrong::Foreign)) {
            true => self.judge_unwritten(wrong, at, "something that this run did not write"),
            false => (Code::WrongContent, format!("byte {at} has something that was not written")),
        }
    }

    /// All that is wrong looks as if it had not been written.
    fn judge_unwritten(&self, wrong: &[(Range<u64>, Wrong)], at: u64, old: &str) -> (Code, String) {
        if self.writes > 1 {
            let text = format!("byte {at} has {old}, though it was written {} times", self.writes);
            return (Code::StuckRegion, text);
        }
        let is_wrong = |range: &Range<u64>| wrong.iter().any(|(wrong, _)| wrong == range);
        let changed: Vec<Range<u64>> =
            self.pieces().filter(|range| self.is_changed(range) || is_wrong(range)).collect();
        let written = changed.len() - wrong.len();
        let text = match changed.get(written).is_some_and(|first| first.start == wrong[0].0.start) {
            _ if written == 0 => {
                return (Code::DroppedWrite, format!("a write to byte {at} was lost: it has {old}"));
            }
            true => format!("a write ended at byte {at}: behind it is {old}"),
            false => {
                format!(
                    "{} of {} sectors were not written, the first one at byte {at}",
                    wrong.len(),
                    changed.len()
                )
            }
        };
        (Code::TornWrite, text)
    }

    fn flipped(&self, found: &[u8], wrong: &[(Range<u64>, Wrong)], at: u64) -> String {
        let within = (at - self.offset) as usize;
        let (is, should) = (found[within], self.expected[within]);
        let count = |wrong: &Wrong| if let Wrong::Flipped(bits) = wrong { *bits } else { 0 };
        match wrong.iter().map(|(_, wrong)| count(wrong)).sum::<u32>() {
            1 => format!("one bit of byte {at} is wrong: it is {is:#04x}, not {should:#04x}"),
            bits => {
                format!("{bits} bits are wrong, the first in byte {at}: it is {is:#04x}, not {should:#04x}")
            }
        }
    }

    /// The range, cut where sectors of the medium end.
    fn pieces(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let (start, end) = (self.offset, self.offset + self.expected.len() as u64);
        (start / SECTOR..end.div_ceil(SECTOR))
            .map(move |at| start.max(at * SECTOR)..end.min((at + 1) * SECTOR))
    }

    fn within(&self, range: &Range<u64>) -> Range<usize> {
        (range.start - self.offset) as usize..(range.end - self.offset) as usize
    }

    /// Returns whether a sector that was not written would be noticed.
    fn is_changed(&self, range: &Range<u64>) -> bool {
        let within = self.within(range);
        match self.before {
            Some(before) => before[within.clone()] != self.expected[within],
            None => !is_zero(&self.expected[within]),
        }
    }

    /// The sectors that are wrong.
    fn sectors<'b>(&'b self, found: &'b [u8]) -> impl Iterator<Item = (Range<u64>, Wrong)> + 'b {
        self.pieces().filter_map(move |range| {
            let within = self.within(&range);
            let (is, should) = (&found[within.clone()], &self.expected[within.clone()]);
            (is != should).then(|| (range, self.wrong(is, should, self.before.map(|before| &before[within]))))
        })
    }

    fn wrong(&self, is: &[u8], should: &[u8], before: Option<&[u8]>) -> Wrong {
        let constant = is[1..] == is[..is.len() - 1];
        let old = match before {
            Some(before) => is == before,
            None => constant && is[0] == 0,
        };
        let bits = wrong_bits(is, should);
        match (old, constant) {
            (true, _) => Wrong::Old,
            _ if bits <= MOST_FLIPPED => Wrong::Flipped(bits),
            (_, true) => Wrong::Constant(is[0]),
            _ => Wrong::Foreign,
        }
    }
}

/// The byte that all wrong sectors are full of, if it is one that no medium has before it is written.
fn constant(wrong: &[(Range<u64>, Wrong)]) -> Option<u8> {
    let (_, first) = wrong.first()?;
    match first {
        Wrong::Constant(byte) if wrong.iter().all(|(_, wrong)| wrong == first) => Some(*byte),
        _ => None,
    }
}

/// Index of the first byte that is not the same.
fn first_difference(one: &[u8], other: &[u8]) -> Option<u64> {
    let blocks = one.chunks(SECTOR as usize).zip(other.chunks(SECTOR as usize));
    let (index, (one, other)) = blocks.enumerate().find(|(_, (one, other))| one != other)?;
    let at = one.iter().zip(other).position(|(one, other)| one != other)?;
    Some((index as u64) * SECTOR + at as u64)
}

/// Returns the number of bits that differ.
fn wrong_bits(one: &[u8], other: &[u8]) -> u32 {
    let ((one, one_rest), (other, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let word = |(one, other): (&[u8; 8], &[u8; 8])| {
        (u64::from_ne_bytes(*one) ^ u64::from_ne_bytes(*other)).count_ones()
    };
    let byte = |(one, other): (&u8, &u8)| (one ^ other).count_ones();
    one.iter().zip(other).map(word).sum::<u32>() + one_rest.iter().zip(other_rest).map(byte).sum::<u32>()
}
