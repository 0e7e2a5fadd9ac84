//! Checksums of an image while its bytes pass by in order.

use sha2::{Digest as _, Sha256};

use super::claims::Claims;
use super::error::ImageError;
use crate::bmap::MappedRange;
use crate::value::to_hex;

/// Checksums so far.
pub(super) struct Sums<'a> {
    claims: &'a Claims,
    /// Ranges with checksums that are not over yet.
    ranges: &'a [MappedRange],
    range: Sha256,
    all: Option<Sha256>,
    at: u64,
}

impl<'a> Sums<'a> {
    /// Before the first byte.
    pub(super) fn new(claims: &'a Claims) -> Sums<'a> {
        let ranges = claims.bmap.as_ref().map_or(&[][..], |bmap| &bmap.ranges);
        let all = claims.wants_decoded().then(Sha256::new);
        Sums { claims, ranges, range: Sha256::new(), all, at: 0 }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// A range ends in them, and is not what the block map says.
    pub(super) fn update(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.all.iter_mut().for_each(|all| all.update(bytes));
        let (start, end) = (self.at, self.at + bytes.len() as u64);
        self.at = end;
        while let Some((range, others)) = self.ranges.split_first() {
            let (from, to) = (range.bytes.start.clamp(start, end), range.bytes.end.clamp(start, end));
            if range.sha256.is_some() {
                self.range.update(&bytes[(from - start) as usize..(to - start) as usize]);
            }
            if range.bytes.end > end {
                break;
            }
            self.end_range(range)?;
            self.ranges = others;
        }
        Ok(())
    }

    /// Behind the last byte.
    pub(super) fn finish(self) -> Result<(), ImageError> {
        self.claims.ensure_decoded(self.all.map(|all| all.finalize().into()))
    }

    fn end_range(&mut self, range: &MappedRange) -> Result<(), ImageError> {
        let found: [u8; 32] = self.range.finalize_reset().into();
        let Some(expected) = range.sha256.filter(|expected| *expected != found) else { return Ok(()) };
        let (expected, found) = (to_hex(&expected), to_hex(&found));
        let (image, bytes) = (self.claims.name.clone(), range.bytes.clone());
        Err(ImageError::Damaged { image, bytes, expected, found })
    }
}
