//! Changes that are not on the target yet: to work them out as if they were, and to write them later or never.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Layer, ReadFrom, Target, TargetError, WriteOp};

/// Bytes that are kept at once: no smaller than a sector, so that what is written later has whole sectors.
const PAGE: u64 = 4096;

/// A target that keeps what is written to it in memory; the target below is only read.
pub struct CowOverlay<'a> {
    target: &'a dyn Target,
    changes: Mutex<Changes>,
}

/// Differences from the target below.
#[derive(Default)]
struct Changes {
    /// By number; the last one of a target may be short.
    pages: BTreeMap<u64, Vec<u8>>,
    /// First page and the one behind the last of what was zeroed; pages of [`Changes::pages`] count more.
    zeros: BTreeMap<u64, u64>,
}

/// A range of a target and what it is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// First byte.
    pub offset: u64,
    /// Its new contents.
    pub data: ChangeData,
}

/// Contents of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeData {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many zeros.
    Zeros(u64),
}

impl Change {
    /// First byte and the one behind the last.
    pub fn range(&self) -> Range<u64> {
        let len = match &self.data {
            ChangeData::Bytes(bytes) => bytes.len() as u64,
            ChangeData::Zeros(len) => *len,
        };
        self.offset..self.offset + len
    }

    /// Writes it.
    pub fn write(&self, target: &dyn Target) -> Result<(), TargetError> {
        match &self.data {
            ChangeData::Bytes(bytes) => target.write_at(bytes, self.offset),
            ChangeData::Zeros(len) => target.zero(self.offset, *len),
        }
    }

    /// The part of it that is in `range`, if there is one.
    pub fn within(&self, range: &Range<u64>) -> Option<Change> {
        let own = self.range();
        let part = own.start.max(range.start)..own.end.min(range.end);
        let data = match &self.data {
            _ if part.is_empty() => return None,
            ChangeData::Bytes(bytes) => {
                let bytes = &bytes[(part.start - own.start) as usize..(part.end - own.start) as usize];
                ChangeData::Bytes(bytes.to_vec())
            }
            ChangeData::Zeros(_) => ChangeData::Zeros(part.end - part.start),
        };
        Some(Change { offset: part.start, data })
    }
}

impl<'a> CowOverlay<'a> {
    /// An overlay without changes.
    pub fn new(target: &'a dyn Target) -> CowOverlay<'a> {
        CowOverlay { target, changes: Mutex::default() }
    }

    /// Returns the changes, by offset and disjoint.
    pub fn into_changes(self) -> Vec<Change> {
        let Changes { pages, zeros } = self.changes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut changes = Vec::new();
        for (start, end) in zeros {
            let mut at = start;
            for &page in pages.range(start..end).map(|(page, _)| page).chain([&end]) {
                if page > at {
                    let data = ChangeData::Zeros((page - at) * PAGE);
                    changes.push(Change { offset: at * PAGE, data });
                }
                at = page + 1;
            }
        }
        for (page, bytes) in pages {
            push_bytes(&mut changes, page * PAGE, bytes);
        }
        changes.sort_by_key(|change| change.offset);
        changes
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        let mut changes = self.lock();
        for (page, part) in pages(offset, buf.len() as u64) {
            let zeroed = changes.is_zeroed(page);
            if let std::collections::btree_map::Entry::Vacant(e) = changes.pages.entry(page) {
                let mut bytes = self.below(page)?;
                if zeroed {
                    bytes.fill(0);
                }
                e.insert(bytes);
            }
            let bytes = changes.pages.get_mut(&page).expect("it is there now");
            let from = &buf[(part.start - offset) as usize..(part.end - offset) as usize];
            bytes[(part.start - page * PAGE) as usize..][..from.len()].copy_from_slice(from);
        }
        Ok(())
    }

    fn change_to_zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        let whole = offset.next_multiple_of(PAGE)..(offset + len) / PAGE * PAGE;
        if whole.is_empty() {
            return self.change(&vec![0; len as usize], offset);
        }
        self.change(&vec![0; (whole.start - offset) as usize], offset)?;
        self.change(&vec![0; (offset + len - whole.end) as usize], whole.end)?;
        self.lock().zero(whole.start / PAGE..whole.end / PAGE);
        Ok(())
    }

    /// Bytes of the target below that are in `page`.
    fn below(&self, page: u64) -> Result<Vec<u8>, TargetError> {
        let len = PAGE.min(self.geometry().len - page * PAGE);
        let mut bytes = vec![0; len as usize];
        self.target.read_at(&mut bytes, page * PAGE)?;
        Ok(bytes)
    }
}

impl Changes {
    fn is_zeroed(&self, page: u64) -> bool {
        self.zeros.range(..=page).next_back().is_some_and(|(_, end)| *end > page)
    }

    /// Notes that `pages` are zero.
    fn zero(&mut self, pages: Range<u64>) {
        self.pages.retain(|page, _| !pages.contains(page));
        let meets = |(start, end): (&u64, &u64)| {
            (*start <= pages.end && *end >= pages.start).then_some((*start, *end))
        };
        let met: Vec<(u64, u64)> = self.zeros.iter().filter_map(meets).collect();
        let (mut first, mut last) = (pages.start, pages.end);
        for (start, end) in met {
            self.zeros.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.zeros.insert(first, last);
    }
}

/// Appends bytes, joined with those that end where they begin.
fn push_bytes(changes: &mut Vec<Change>, offset: u64, bytes: Vec<u8>) {
    match changes.last_mut() {
        Some(Change { offset: at, data: ChangeData::Bytes(last) }) if *at + last.len() as u64 == offset => {
            last.extend(bytes);
        }
        _ => changes.push(Change { offset, data: ChangeData::Bytes(bytes) }),
    }
}

/// The pages that a range touches, each with the range's part of it.
fn pages(offset: u64, len: u64) -> impl Iterator<Item = (u64, Range<u64>)> {
    let end = offset + len;
    (offset / PAGE..end.div_ceil(PAGE)).map(move |page| {
        let start = page * PAGE;
        (page, offset.max(start)..end.min(start + PAGE))
    })
}

impl Layer for CowOverlay<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        from.read(self.target, buf, offset)?;
        let changes = self.lock();
        for (page, part) in pages(offset, buf.len() as u64) {
            let to = &mut buf[(part.start - offset) as usize..(part.end - offset) as usize];
            let from = (part.start - page * PAGE) as usize;
            match changes.pages.get(&page) {
                Some(bytes) => to.copy_from_slice(&bytes[from..from + to.len()]),
                None if changes.is_zeroed(page) => to.fill(0),
                None => {}
            }
        }
        Ok(())
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        self.geometry().ensure_inside(op.verb(), self.name(), op.offset(), op.len())?;
        match op {
            WriteOp::Bytes { offset, bytes } => self.change(bytes, offset)?,
            WriteOp::Zero { offset, len } => self.change_to_zero(offset, len)?,
            WriteOp::Discard { .. } => return Ok(false),
        }
        Ok(true)
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    #[test]
    fn the_target_below_stays_as_it_is_until_the_changes_are_written() {
        let memory = Memory::new(1 << 20);
        memory.write_at(&[7; 1 << 20], 0).expect("write");
        let overlay = CowOverlay::new(&memory);
        overlay.write_at(&[1; 100], 4090).expect("write");
        overlay.zero(10_000, 50_000).expect("zero");
        overlay.write_at(&[2; 10], 20_000).expect("into zeros");
        let mut seen = vec![0; 1 << 20];
        overlay.read_at(&mut seen, 0).expect("read");
        let mut meant = vec![7; 1 << 20];
        meant[4090..4190].fill(1);
        meant[10_000..60_000].fill(0);
        meant[20_000..20_010].fill(2);
        assert!(seen == meant);
        assert!(memory.to_vec().iter().all(|byte| *byte == 7));
        let changes = overlay.into_changes();
        assert!(changes.windows(2).all(|pair| pair[0].range().end <= pair[1].offset), "disjoint");
        assert!(changes.iter().any(|change| matches!(change.data, ChangeData::Zeros(_))), "{changes:?}");
        changes.iter().try_for_each(|change| change.write(&memory)).expect("write");
        assert!(memory.to_vec() == meant);
    }
}
