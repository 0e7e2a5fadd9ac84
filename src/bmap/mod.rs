//! Block maps: which blocks of an image matter, with checksums, in the format of `bmaptool` (version 2.0). A
//! flasher that reads one need not write the rest.
//!
//! The format is described by the comments that `bmaptool create` puts into its files.

mod error;
mod xml;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

pub use error::BmapError;

use crate::error::Io;
use crate::storage::Record;
use crate::value::from_hex;

/// `BlockSize` of the maps that are made here.
const BLOCK: u64 = 4096;
/// Ranges are cut to this length, so that they are hashed in parallel and damage is located closely.
pub(crate) const LARGEST_RANGE: u64 = 16 << 20;

/// A block map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bmap {
    /// Length of the image in bytes.
    pub image_len: u64,
    /// Bytes of a block.
    pub block_size: u64,
    /// Ranges that matter, in order.
    pub ranges: Vec<MappedRange>,
}

/// Blocks that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedRange {
    /// Their bytes in the image; the last range may end inside a block, with the image.
    pub bytes: Range<u64>,
    /// Their SHA-256, if the map has it.
    pub sha256: Option<[u8; 32]>,
}

impl Bmap {
    /// The map of an image that was made as `record` says: what was written or must be zero matters.
    pub fn from_record(image: &File, path: &Path, image_len: u64, record: &Record) -> Result<Bmap, Io> {
        let mapped: Vec<Range<u64>> = record.extents.iter().map(|extent| extent.range()).collect();
        Bmap::from_ranges(image, path, image_len, &mapped)
    }

    /// The map of an image of which `mapped`, sorted ranges of bytes, matter.
    pub fn from_ranges(image: &File, path: &Path, image_len: u64, mapped: &[Range<u64>]) -> Result<Bmap, Io> {
        let blocks = to_blocks(mapped, image_len);
        let hashed = blocks.into_par_iter().map(|bytes| {
            let sha256 = Some(sha256_of(image, &bytes)?);
            Ok(MappedRange { bytes, sha256 })
        });
        let ranges = hashed.collect::<io::Result<Vec<_>>>().map_err(Io::on("read", path))?;
        Ok(Bmap { image_len, block_size: BLOCK, ranges })
    }

    /// The map for `record` with the checksums that `sha256` gives.
    pub(crate) fn with_sums<E>(
        image_len: u64,
        record: &Record,
        sha256: impl Fn(&Range<u64>) -> Result<[u8; 32], E>,
    ) -> Result<Bmap, E> {
        let mapped: Vec<Range<u64>> = record.extents.iter().map(|extent| extent.range()).collect();
        let range = |bytes: Range<u64>| Ok(MappedRange { sha256: Some(sha256(&bytes)?), bytes });
        let ranges = to_blocks(&mapped, image_len).into_iter().map(range).collect::<Result<_, E>>()?;
        Ok(Bmap { image_len, block_size: BLOCK, ranges })
    }

    /// Bytes that matter.
    pub fn mapped_len(&self) -> u64 {
        self.ranges.iter().map(|range| range.bytes.end - range.bytes.start).sum()
    }

    /// The parts of `range` that the map leaves out.
    pub fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        let first = self.ranges.partition_point(|mapped| mapped.bytes.end <= range.start);
        for mapped in self.ranges[first..].iter().take_while(|mapped| mapped.bytes.start < range.end) {
            gaps.push(at..mapped.bytes.start);
            at = mapped.bytes.end;
        }
        gaps.push(at..range.end);
        gaps.retain(|gap| gap.start < gap.end);
        gaps
    }
}

/// SHA-256 of a range of an image.
pub(crate) fn sha256_of(image: &File, bytes: &Range<u64>) -> io::Result<[u8; 32]> {
    const CHUNK: u64 = 1 << 20;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK as usize];
    let mut at = bytes.start;
    while at < bytes.end {
        let chunk = &mut buffer[..CHUNK.min(bytes.end - at) as usize];
        image.read_exact_at(chunk, at)?;
        hasher.update(&chunk);
        at += chunk.len() as u64;
    }
    Ok(hasher.finalize().into())
}

/// Rounds ranges out to blocks, joins what meets, and cuts what is long.
pub(crate) fn to_blocks(mapped: &[Range<u64>], image_len: u64) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in mapped.iter().filter(|range| range.start < range.end.min(image_len)) {
        let start = range.start / BLOCK * BLOCK;
        let end = range.end.next_multiple_of(BLOCK).min(image_len);
        match joined.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => joined.push(start..end),
        }
    }
    let cut = |range: Range<u64>| {
        let starts = range.clone().step_by(LARGEST_RANGE as usize);
        starts.map(move |start| start..(start + LARGEST_RANGE).min(range.end))
    };
    joined.into_iter().flat_map(cut).collect()
}

/// SHA-256 of 64 hexadecimal digits.
pub(crate) fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    from_hex(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn map() -> Bmap {
        let ranges = vec![
            MappedRange { bytes: 0..4096, sha256: Some([0xab; 32]) },
            MappedRange { bytes: 8192..10_000, sha256: None },
        ];
        Bmap { image_len: 10_000, block_size: 4096, ranges }
    }

    #[test]
    fn gaps_are_what_no_range_covers() {
        assert_eq!(map().gaps(0..10_000), [4096..8192]);
        assert_eq!(map().gaps(100..20_000), [4096..8192, 10_000..20_000]);
        assert_eq!(map().gaps(5000..6000), [5000..6000]);
        assert_eq!(map().gaps(9000..9500), []);
    }

    #[test]
    fn ranges_are_rounded_joined_and_cut() {
        let blocks = to_blocks(&[5..6, 4096..4097, 20_000..40 << 20], (40 << 20) - 1);
        let end = (40 << 20) - 1;
        let first = 16_384;
        assert_eq!(
            blocks,
            [
                0..8192,
                first..first + (16 << 20),
                first + (16 << 20)..first + (32 << 20),
                first + (32 << 20)..end
            ]
        );
    }
}
