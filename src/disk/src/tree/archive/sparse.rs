//! Sparse members: which ranges of a file an archive stores.
//!
//! Formats: that of old GNU headers (type `S`), and the PAX formats 0.0 and 0.1, whose map is in records, and 1.0, whose
//! map precedes the data; GNU tar manual, "Storing Sparse Files". bsdtar writes 1.0.

use super::pax::{Records, decimal};
use crate::tree::Extent;

/// Size of a tar block.
const BLOCK: usize = 512;
/// Place of the first entries in an old GNU header, their number, and where the header says whether more follow.
const OLD_ENTRIES: (usize, usize, usize) = (386, 4, 482);
/// The same in each block that follows.
const MORE_ENTRIES: (usize, usize, usize) = (0, 21, 504);
/// Place of the length of the file in an old GNU header.
const OLD_LENGTH: std::ops::Range<usize> = 483..495;
/// Most entries of a map; GNU tar makes one for each hole.
const MOST_ENTRIES: u64 = 1 << 24;

/// Place of the map of a sparse member of a PAX archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// In records.
    Records,
    /// Before the data.
    Data,
}

impl Format {
    /// The format of a member with these records; nothing if it is not sparse by them.
    pub(super) fn from_records(records: &Records) -> Result<Option<Format>, String> {
        let (major, minor) = (records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor"));
        let has = |key: &[u8]| records.get(key).is_some();
        match (major, minor) {
            (Some(b"1"), Some(b"0")) => Ok(Some(Format::Data)),
            (None, None) if has(b"GNU.sparse.map") || has(b"GNU.sparse.size") => Ok(Some(Format::Records)),
            (Some(b"0"), Some(b"0" | b"1")) => Ok(Some(Format::Records)),
            (None, None) => Ok(None),
            (major, minor) => {
                let show = |value: Option<&[u8]>| value.unwrap_or_default().escape_ascii().to_string();
                Err(format!("sparse file of format {}.{}", show(major), show(minor)))
            }
        }
    }
}

/// A map: ranges of the file as offset and length, and the length of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    pub ranges: Vec<(u64, u64)>,
    pub len: u64,
}

impl Map {
    /// The map in records.
    pub(super) fn from_records(records: &Records) -> Option<Map> {
        let len = decimal(records.get(b"GNU.sparse.realsize").or(records.get(b"GNU.sparse.size"))?)?;
        let numbers: Option<Vec<u64>> = match records.get(b"GNU.sparse.map") {
            Some(b"") => Some(Vec::new()),
            Some(map) => map.split(|byte| *byte == b',').map(decimal).collect(),
            None => {
                let parts = records.iter();
                let parts =
                    parts.filter(|(key, _)| matches!(*key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes"));
                parts.map(|(_, value)| decimal(value)).collect()
            }
        };
        Some(Map { ranges: pairs(&numbers?)?, len })
    }

    /// The first part of the map of an old GNU header, and whether more blocks follow it.
    pub(super) fn from_header(header: &[u8; BLOCK]) -> Option<(Map, bool)> {
        let mut map = Map { ranges: Vec::new(), len: number(&header[OLD_LENGTH])? };
        let more = map.extend(header, OLD_ENTRIES)?;
        Some((map, more))
    }

    /// Adds a block that follows an old GNU header; returns whether another follows.
    pub(super) fn extend_from_block(&mut self, block: &[u8; BLOCK]) -> Option<bool> {
        self.extend(block, MORE_ENTRIES)
    }

    fn extend(&mut self, block: &[u8; BLOCK], (at, count, more): (usize, usize, usize)) -> Option<bool> {
        let (entries, _) = block[at..].as_chunks::<24>();
        for entry in entries[..count].iter().take_while(|entry| entry[0] != 0 && entry[12] != 0) {
            self.ranges.push((number(&entry[..12])?, number(&entry[12..])?));
        }
        (self.ranges.len() as u64 <= MOST_ENTRIES).then_some(block[more] == 1)
    }

    /// The map before the data: decimal lines, first the number of entries. `next_block` gives the blocks of the data.
    pub(super) fn from_data<E>(
        records: &Records,
        mut next_block: impl FnMut() -> Result<Option<[u8; BLOCK]>, E>,
    ) -> Result<Option<Map>, E> {
        let Some(len) = records.get(b"GNU.sparse.realsize").and_then(decimal) else { return Ok(None) };
        let (mut lines, mut numbers, mut wanted) = (Vec::new(), Vec::new(), 1);
        while (numbers.len() as u64) < wanted {
            let Some(block) = next_block()? else { return Ok(None) };
            lines.extend_from_slice(&block);
            while (numbers.len() as u64) < wanted
                && let Some(end) = lines.iter().position(|byte| *byte == b'\n')
            {
                let Some(number) = decimal(&lines[..end]) else { return Ok(None) };
                lines.drain(..=end);
                if numbers.is_empty() {
                    if number > MOST_ENTRIES {
                        return Ok(None);
                    }
                    wanted += 2 * number;
                }
                numbers.push(number);
            }
        }
        Ok(pairs(&numbers[1..]).map(|ranges| Map { ranges, len }))
    }

    /// The ranges with their places in the `stored` bytes of the member.
    pub(super) fn extents(&self, stored: u64) -> Result<Vec<Extent>, String> {
        let (mut extents, mut end, mut from) = (Vec::with_capacity(self.ranges.len()), 0, 0);
        for &(start, len) in &self.ranges {
            let next = start.checked_add(len).filter(|next| start >= end && *next <= self.len);
            end = next.ok_or_else(|| {
                format!(
                    "bytes {start}+{len} of its sparse map are out of order or behind its end at {}",
                    self.len
                )
            })?;
            if len > 0 {
                extents.push(Extent { start, len, from });
                from += len;
            }
        }
        match from <= stored {
            true => Ok(extents),
            false => Err(format!("its sparse map wants {from} bytes of data, but {stored} are stored")),
        }
    }
}

fn pairs(numbers: &[u64]) -> Option<Vec<(u64, u64)>> {
    let (pairs, []) = numbers.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[start, len]| (*start, *len)).collect())
}

/// A number of a header: octal digits, or big-endian bytes behind a byte with the highest bit.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let first = u64::from(field[0] & 0x7f);
        return field[1..]
            .iter()
            .try_fold(first, |number, byte| number.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok()
}
