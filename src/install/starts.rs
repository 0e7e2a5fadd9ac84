//! Holds back what is written to the first bytes of several partitions, until all the rest is there.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storage::{Layer, ReadFrom, Target, TargetError, WriteOp};

/// The first bytes of partitions, as they were meant to be written.
#[derive(Debug)]
pub(super) struct Starts {
    /// First byte and bytes of each, by offset.
    held: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl Starts {
    /// `len` bytes, which read as zero, at each of `offsets`.
    pub fn new(offsets: impl IntoIterator<Item = u64>, len: u64) -> Starts {
        let mut held: Vec<_> = offsets.into_iter().map(|offset| (offset, vec![0; len as usize])).collect();
        held.sort_by_key(|(offset, _)| *offset);
        Starts { held: Mutex::new(held) }
    }

    /// `target` but for these bytes.
    pub fn before<'a>(&'a self, target: &'a dyn Target) -> Behind<'a> {
        Behind { starts: self, target }
    }

    /// What was written to the one at `offset`.
    pub fn take(&self, offset: u64) -> Vec<u8> {
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

/// A target whose held bytes are held back.
pub(super) struct Behind<'a> {
    starts: &'a Starts,
    target: &'a dyn Target,
}

impl Layer for Behind<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        from.read(self.target, buf, offset)?;
        let range = offset..offset + buf.len() as u64;
        self.starts.split(range, |at, bytes| buf[at..at + bytes.len()].copy_from_slice(bytes));
        Ok(())
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let rest = match op {
            WriteOp::Bytes { bytes, .. } => {
                self.starts.split(op.range(), |at, held| held.copy_from_slice(&bytes[at..at + held.len()]))
            }
            WriteOp::Zero { .. } => self.starts.split(op.range(), |_, held| held.fill(0)),
            WriteOp::Discard { .. } => return Ok(false),
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
        let starts = Starts::new([65536, 4096], 1024);
        let behind = starts.before(&memory);
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
        assert_eq!(starts.take(4096), vec![7; 1024]);
        assert_eq!(starts.take(4096), Vec::<u8>::new());
    }
}
