//! Writes that go wrong: the medium gets other bytes, a part of them, or gets them elsewhere.

use std::ops::Range;

use rustix::io::Errno;

use super::fault::mix;
use super::{FaultKind, Faulty, Tear};
use crate::storage::{Target, TargetError, Verb};

/// A write as the medium gets it.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) buf: &'a [u8],
    pub(super) offset: u64,
}

impl Order<'_> {
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.buf.len() as u64
    }

    /// The part of it that goes to `range`, which is inside.
    pub(super) fn part(&self, range: &Range<u64>) -> Order<'_> {
        let within = (range.start - self.offset) as usize..(range.end - self.offset) as usize;
        Order { buf: &self.buf[within], offset: range.start }
    }
}

impl<M: Target> Faulty<M> {
    /// Writes something else; `part` are the bad bytes of the order.
    pub(super) fn wrong(
        &self,
        order: Order<'_>,
        kind: FaultKind,
        part: &Range<u64>,
    ) -> Result<(), TargetError> {
        let within = (part.start - order.offset) as usize..(part.end - order.offset) as usize;
        match kind {
            FaultKind::WriteError => {
                Err(self.error(Verb::Write, order.offset, order.buf.len() as u64, Errno::IO))
            }
            FaultKind::Stall(time) => {
                self.strikes.note();
                std::thread::sleep(time);
                self.right(order)
            }
            FaultKind::Flip { bit, bits } => self.write_instead(order, |bytes| {
                let bytes = &mut bytes[within];
                (0..bits).for_each(|index| flip(bytes, bit.wrapping_add(index * 7919)));
            }),
            FaultKind::Stick(Some(byte)) => self.write_instead(order, |bytes| bytes[within].fill(byte)),
            FaultKind::Stick(None) => {
                self.write_only(order, &[order.offset..part.start, part.end..order.range().end])
            }
            FaultKind::Lose => self.write_only(order, &[]),
            FaultKind::Tear(tear) => self.write_only(order, &self.kept(order, tear, part)),
            FaultKind::Misplace { by } => {
                let len = self.geometry().len;
                let to = (order.offset + by % len) % len;
                let end = order.buf.len().min((len - to) as usize) as u64 + order.offset;
                self.divert(order.part(&(order.offset..end)), to)?;
                self.divert(order.part(&(end..order.range().end)), 0)
            }
            // These concern no writes.
            FaultKind::Unstable | FaultKind::ReadError => self.right(order),
        }
    }

    /// The medium gets other bytes than the cache.
    fn write_instead(&self, order: Order<'_>, change: impl FnOnce(&mut [u8])) -> Result<(), TargetError> {
        self.remember(order)?;
        let mut bytes = order.buf.to_vec();
        change(&mut bytes);
        self.medium.write_at(&bytes, order.offset)
    }

    /// The medium gets only these parts.
    fn write_only(&self, order: Order<'_>, parts: &[Range<u64>]) -> Result<(), TargetError> {
        self.remember(order)?;
        parts.iter().filter(|part| !part.is_empty()).try_for_each(|part| {
            let part = order.part(part);
            self.medium.write_at(part.buf, part.offset)
        })
    }

    /// The medium writes to `at` instead; what was there is still in the cache.
    pub(super) fn divert(&self, order: Order<'_>, at: u64) -> Result<(), TargetError> {
        if order.buf.is_empty() || at == order.offset {
            return self.right(order);
        }
        let mut before = vec![0; order.buf.len()];
        self.medium.read_at(&mut before, at)?;
        self.cache.overlay(&mut before, at);
        self.remember(Order { buf: &before, offset: at })?;
        self.remember(order)?;
        self.medium.write_at(order.buf, at)
    }

    /// The sectors of a torn write that reach the medium.
    fn kept(&self, order: Order<'_>, tear: Tear, part: &Range<u64>) -> Vec<Range<u64>> {
        let (range, sector) = (order.range(), u64::from(self.geometry().sector_size));
        match tear {
            Tear::Prefix if *part == range => {
                let end = (range.start + (range.end - range.start) / 2) / sector * sector;
                vec![range.start..end.max(range.start)]
            }
            Tear::Prefix => vec![range.start..(part.start / sector * sector).max(range.start)],
            Tear::Subset(seed) => {
                let kept = |at: &u64| mix(seed ^ at) & 1 == 1 && *at != part.start / sector;
                let bytes = |at: u64| range.start.max(at * sector)..range.end.min((at + 1) * sector);
                (range.start / sector..range.end.div_ceil(sector)).filter(kept).map(bytes).collect()
            }
        }
    }
}

/// Flips a bit, taken modulo their number.
pub(super) fn flip(bytes: &mut [u8], bit: u64) {
    if !bytes.is_empty() {
        let bit = bit % (bytes.len() as u64 * 8);
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
}
