//! The unpacked length of a file, where its format has it without being unpacked. What is found here is only a
//! promise: it lets an image that is too large be refused early, and the decoder compares the bytes themselves.
//!
//! xz: `xz-file-format` 1.2, sections 2.1.2 (stream footer) and 4 (index). zstd: RFC 8878, section 3.1.1.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::decode::Format;

/// More streams or frames than any tool makes of one image.
const MOST_PARTS: usize = 1 << 16;
/// An index of all blocks that were made for a whole disk; a longer one is not worth to be read.
const LONGEST_INDEX: u64 = 16 << 20;

/// The unpacked length, if it stands there.
pub(super) fn unpacked_len(file: &File, len: u64, format: Format) -> Option<u64> {
    match format {
        Format::Xz => xz_len(file, len),
        Format::Zstd => zstd_len(file, len),
        _ => None,
    }
}

fn bytes<const N: usize>(file: &File, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

/// The sum over all streams, from the last to the first: each ends with where its index is.
fn xz_len(file: &File, len: u64) -> Option<u64> {
    let (mut end, mut total) = (len, 0_u64);
    for _ in 0..MOST_PARTS {
        if end == 0 {
            return Some(total);
        }
        // Streams are padded with zeros to multiples of four.
        let last: [u8; 4] = bytes(file, end.checked_sub(4)?)?;
        if last == [0; 4] {
            end -= 4;
            continue;
        }
        let footer: [u8; 12] = bytes(file, end.checked_sub(12)?)?;
        if &footer[10..] != b"YZ" {
            return None;
        }
        let stored = u32::from_le_bytes(footer[4..8].try_into().ok()?);
        let index_len = (u64::from(stored) + 1) * 4;
        let index_at = (end - 12).checked_sub(index_len)?;
        if index_len > LONGEST_INDEX {
            return None;
        }
        let mut index = vec![0; index_len as usize];
        file.read_exact_at(&mut index, index_at).ok()?;
        let (packed, unpacked) = xz_index(&index)?;
        total = total.checked_add(unpacked)?;
        end = index_at.checked_sub(packed)?.checked_sub(12)?;
    }
    None
}

/// Packed and unpacked bytes of the blocks of an index.
fn xz_index(index: &[u8]) -> Option<(u64, u64)> {
    let (0, mut rest) = index.split_first().map(|(first, rest)| (*first, rest))? else { return None };
    let records = variable(&mut rest)?;
    let (mut packed, mut unpacked) = (0_u64, 0_u64);
    for _ in 0..records {
        packed = packed.checked_add(variable(&mut rest)?.checked_next_multiple_of(4)?)?;
        unpacked = unpacked.checked_add(variable(&mut rest)?)?;
    }
    Some((packed, unpacked))
}

/// A number in groups of seven bits, the lowest first.
fn variable(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The sum over all frames, if each has its content's length: blocks are jumped over, not unpacked.
fn zstd_len(file: &File, len: u64) -> Option<u64> {
    let (mut at, mut total) = (0, 0_u64);
    for _ in 0..MOST_PARTS {
        if at == len {
            return Some(total);
        }
        let magic = u32::from_le_bytes(bytes(file, at)?);
        if magic & 0xffff_fff0 == 0x184d_2a50 {
            at += 8 + u64::from(u32::from_le_bytes(bytes(file, at + 4)?));
            continue;
        }
        let (content, blocks, checksum) = (magic == 0xfd2f_b528).then(|| zstd_header(file, at))??;
        total = total.checked_add(content)?;
        at = zstd_blocks_end(file, blocks)? + if checksum { 4 } else { 0 };
    }
    None
}

/// Content length, start of the first block, and whether a checksum follows the last, of the frame at `at`.
fn zstd_header(file: &File, at: u64) -> Option<(u64, u64, bool)> {
    let [descriptor] = bytes(file, at + 4)?;
    let single = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let length_at = at + 5 + u64::from(!single) + dictionary;
    let (length, size) = match (descriptor >> 6, single) {
        (0, false) => return None,
        (0, true) => (u64::from(bytes::<1>(file, length_at)?[0]), 1),
        (1, _) => (u64::from(u16::from_le_bytes(bytes(file, length_at)?)) + 256, 2),
        (2, _) => (u64::from(u32::from_le_bytes(bytes(file, length_at)?)), 4),
        _ => (u64::from_le_bytes(bytes(file, length_at)?), 8),
    };
    Some((length, length_at + size, descriptor & 4 != 0))
}

/// Returns the end of the blocks that begin at `at`.
fn zstd_blocks_end(file: &File, mut at: u64) -> Option<u64> {
    loop {
        let [a, b, c] = bytes(file, at)?;
        let header = u32::from_le_bytes([a, b, c, 0]);
        // A block of type 1 is one byte, repeated.
        let len = if header >> 1 & 3 == 1 { 1 } else { u64::from(header >> 3) };
        at += 3 + len;
        if header & 1 != 0 {
            return Some(at);
        }
    }
}
