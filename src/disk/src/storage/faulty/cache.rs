//! The cache of an operating system over a medium that did something else than it was asked for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::TargetError;

const PAGE: u64 = 4096;

type Pages = BTreeMap<u64, Box<[u8]>>;

/// Pages whose bytes the medium may not have.
#[derive(Default)]
pub(super) struct Cache {
    pages: Mutex<Pages>,
}

/// For each page that holds some of `range`: its first byte, and what of the range is in it.
fn pieces(range: &Range<u64>) -> impl Iterator<Item = (u64, Range<u64>)> + use<> {
    let Range { start, end } = range.clone();
    let first = start / PAGE;
    (first..end.div_ceil(PAGE).max(first)).map(move |index| {
        let page = index * PAGE;
        (page, start.max(page)..end.min(page + PAGE))
    })
}

/// A range as indices behind `start`.
fn behind(start: u64, range: &Range<u64>) -> Range<usize> {
    (range.start - start) as usize..(range.end - start) as usize
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `offset` has these bytes for whoever asks the cache. `medium` reads what belongs around them.
    pub(super) fn remember(
        &self,
        buf: &[u8],
        offset: u64,
        medium: impl Fn(&mut [u8], u64) -> Result<(), TargetError>,
    ) -> Result<(), TargetError> {
        let mut pages = self.lock();
        for (page, part) in pieces(&(offset..offset + buf.len() as u64)) {
            if let std::collections::btree_map::Entry::Vacant(entry) = pages.entry(page) {
                let mut bytes = vec![0; PAGE as usize];
                if part.end - part.start < PAGE {
                    medium(&mut bytes, page)?;
                }
                entry.insert(bytes.into());
            }
            let bytes = pages.get_mut(&page).expect("it was just put there");
            bytes[behind(page, &part)].copy_from_slice(&buf[behind(offset, &part)]);
        }
        Ok(())
    }

    /// The medium has these bytes too; pages that are remembered follow.
    pub(super) fn update(&self, buf: &[u8], offset: u64) {
        let range = offset..offset + buf.len() as u64;
        self.each_page(&range, |bytes, page, part| {
            bytes[behind(page, part)].copy_from_slice(&buf[behind(offset, part)]);
        });
    }

    /// The medium is zero here; pages that are remembered follow.
    pub(super) fn zero(&self, range: &Range<u64>) {
        self.each_page(range, |bytes, page, part| bytes[behind(page, part)].fill(0));
    }

    /// Puts what is remembered into `buf`, which was read from the medium at `offset`.
    pub(super) fn overlay(&self, buf: &mut [u8], offset: u64) {
        let range = offset..offset + buf.len() as u64;
        self.each_page(&range, |bytes, page, part| {
            buf[behind(offset, part)].copy_from_slice(&bytes[behind(page, part)]);
        });
    }

    /// Shows `visit` the pages that hold some of `range`, with what of it is there.
    fn each_page(&self, range: &Range<u64>, mut visit: impl FnMut(&mut [u8], u64, &Range<u64>)) {
        let first = range.start / PAGE * PAGE;
        for (&page, bytes) in self.lock().range_mut(first..range.end.max(first)) {
            visit(bytes, page, &(range.start.max(page)..range.end.min(page + PAGE)));
        }
    }
}
