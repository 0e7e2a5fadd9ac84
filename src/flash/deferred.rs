//! Headers that are written when all the rest is there: nothing finds a filesystem without its first bytes.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::source::{Amended, Source};
use crate::storage::{Layer, ReadFrom, Target, TargetError, WriteOp};
use crate::table::TableBytes;

/// A source of a filesystem that begins at the first byte of its medium, which holds its first `len` bytes back: nothing
/// mounts it as long as they are not there, so these make it bootable.
pub fn header_last(source: &dyn Source, len: u64) -> impl Source + '_ {
    let write = move |target: &dyn Target| {
        let header = DeferredHeaders::new([0], len);
        let critical = source.write(&header.before(target))?;
        let start = TableBytes { name: "start".into(), offset: 0, bytes: header.take(0) };
        Ok(critical.into_iter().chain([start]).collect())
    };
    Amended { source, write }
}

/// The headers of one or several partitions, as they were meant to be written.
#[derive(Debug)]
pub(crate) struct DeferredHeaders {
    /// First byte and bytes of each, by offset.
    held: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl DeferredHeaders {
    /// `len` bytes, which read as zero, at each of `offsets`.
    pub(crate) fn new(offsets: impl IntoIterator<Item = u64>, len: u64) -> DeferredHeaders {
        let mut held: Vec<_> = offsets.into_iter().map(|offset| (offset, vec![0; len as usize])).collect();
        held.sort_by_key(|(offset, _)| *offset);
        DeferredHeaders { held: Mutex::new(held) }
    }

    /// `target` without the headers.
    pub(crate) fn before<'a>(&'a self, target: &'a dyn Target) -> WithoutHeaders<'a> {
        WithoutHeaders { headers: self, target }
    }

    /// Header at `offset`, as it was written.
    pub(crate) fn take(&self, offset: u64) -> Vec<u8> {
        let mut held = self.lock();
        let found = held.iter_mut().find(|(start, _)| *start == offset);
        found.map(|(_, bytes)| std::mem::take(bytes)).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Vec<u8>)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `change` have the held bytes within a range, with their place in the range; returns what of the range is
    /// not held.
    fn split(&self, range: Range<u64>, mut change: impl FnMut(usize, &mut [u8])) -> Vec<Range<u64>> {
        let (mut rest, mut at) = (Vec::new(), range.start);
        for (offset, bytes) in self.lock().iter_mut() {
            let end = *offset + bytes.len() as u64;
            let (start, stop) = (at.max(*offset), range.end.min(end));
            if start >= stop {
                continue;
            }
            rest.push(at..start);
            let inside = (start - *offset) as usize..(stop - *offset) as usize;
            change((start - range.start) as usize, &mut bytes[inside]);
            at = stop;
        }
        rest.push(at..range.end);
        rest.retain(|range| range.start < range.end);
        rest
    }
}

/// A target without the headers that are written later.
pub(crate) struct WithoutHeaders<'a> {
    headers: &'a DeferredHeaders,
    target: &'a dyn Target,
}

impl Layer for WithoutHeaders<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        from.read(self.target, buf, offset)?;
        let range = offset..offset + buf.len() as u64;
        self.headers.split(range, |at, bytes| buf[at..at + bytes.len()].copy_from_slice(bytes));
        Ok(())
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let rest = match op {
            WriteOp::Bytes { bytes, .. } => {
                self.headers.split(op.range(), |at, held| held.copy_from_slice(&bytes[at..at + held.len()]))
            }
            WriteOp::Zero { .. } => self.headers.split(op.range(), |_, held| held.fill(0)),
            WriteOp::Discard { .. } => {
                let rest = self.headers.split(op.range(), |_, _| ());
                return if rest == [op.range()] { op.apply(self.target) } else { Ok(false) };
            }
        };
        rest.into_iter().try_for_each(|part| op.part(part).apply(self.target).map(drop))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn only_what_is_held_is_held_back() {
        let memory = Memory::new(1 << 20);
        let headers = DeferredHeaders::new([65536, 4096], 1024);
        let behind = headers.before(&memory);
        behind.write_at(&vec![7; 100_000], 1000).expect("it fits");
        behind.zero(66000, 100).expect("it fits");
        let bytes = memory.to_vec();
        let sevens = |range: Range<usize>| bytes[range].iter().all(|byte| *byte == 7);
        assert!(sevens(1000..4096) && sevens(5120..65536) && sevens(66560..101_000));
        assert!(bytes[4096..5120].iter().chain(&bytes[65536..66560]).all(|byte| *byte == 0));
        let mut read = vec![0; 2000];
        behind.read_at(&mut read, 65000).expect("it is there");
        let zeros: Vec<usize> = (0..2000).filter(|at| read[*at] == 0).collect();
        assert_eq!(zeros, (1000..1100).collect::<Vec<_>>());
        assert_eq!(headers.take(4096), vec![7; 1024]);
        assert_eq!(headers.take(4096), Vec::<u8>::new());
    }
}
