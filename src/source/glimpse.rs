//! The bytes of an image that say what it is, gathered from a file or while a stream passes.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::recognize::outline::windows;
use crate::storage::{Sparse, Target as _, TargetError};

/// Length of a stream of which nobody knows how long it is: more than any image has.
const UNKNOWN: u64 = 1 << 62;

/// Known bytes of an image.
pub(super) struct Glimpse {
    disk: Sparse,
    /// Ranges in which the parts of the image say what they are, as far as what is known leads to them.
    wanted: Vec<Range<u64>>,
    /// Length of the image, or what is promised of it.
    len: Option<u64>,
    /// True if the end of the image was seen.
    is_whole: bool,
}

impl Glimpse {
    /// The first bytes of an image of `len` bytes, if that is known.
    pub(super) fn new(head: &[u8], len: Option<u64>) -> Result<Glimpse, TargetError> {
        let disk = Sparse::new(len.unwrap_or(UNKNOWN).max(head.len() as u64), 512);
        disk.write_at(head, 0)?;
        let wanted = windows(&disk)?;
        Ok(Glimpse { disk, wanted, len, is_whole: false })
    }

    /// An image that can be read anywhere; `tail` is where its end begins.
    pub(super) fn gather<E: From<TargetError>>(
        head: &[u8],
        tail: u64,
        len: u64,
        read: impl Fn(&mut [u8], u64) -> Result<(), E>,
    ) -> Result<Glimpse, E> {
        let mut glimpse = Glimpse::new(head, Some(len))?;
        let bytes_of = |range: Range<u64>| {
            let mut bytes = vec![0; (range.end.min(len) - range.start) as usize];
            read(&mut bytes, range.start).map(|()| bytes)
        };
        let mut seen = BTreeSet::new();
        let next = |glimpse: &Glimpse, seen: &BTreeSet<u64>| {
            glimpse.wanted.iter().find(|window| window.start < len && !seen.contains(&window.start)).cloned()
        };
        while let Some(window) = next(&glimpse, &seen) {
            seen.insert(window.start);
            glimpse.offer(window.start, &bytes_of(window.clone())?)?;
        }
        Ok(glimpse.finish(tail, &bytes_of(tail..len)?, len)?)
    }

    /// Takes of the bytes at `at` what says something.
    pub(super) fn offer(&mut self, at: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let end = at + bytes.len() as u64;
        let parts = self.wanted.iter().map(|window| window.start.max(at)..window.end.min(end));
        let parts: Vec<Range<u64>> = parts.filter(|part| !part.is_empty()).collect();
        for part in &parts {
            self.disk.write_at(&bytes[(part.start - at) as usize..(part.end - at) as usize], part.start)?;
        }
        // A record of a logical partition leads to the next one.
        if !parts.is_empty() {
            self.wanted = windows(&self.disk)?;
        }
        Ok(())
    }

    /// Takes the end of the image, of `len` bytes, from `at` on.
    pub(super) fn finish(self, at: u64, tail: &[u8], len: u64) -> Result<Glimpse, TargetError> {
        let disk = self.disk.with_len(len);
        disk.write_at(tail, at)?;
        Ok(Glimpse { disk, len: Some(len), is_whole: true, ..self })
    }

    /// The image; what is not known of it is zero.
    pub(super) fn disk(&self) -> &Sparse {
        &self.disk
    }

    /// Length of the image, if it is known or promised.
    pub(super) fn len(&self) -> Option<u64> {
        self.len
    }

    /// Returns whether the end of the image was seen.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }
}
