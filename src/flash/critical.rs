//! Writes what makes a medium bootable, and proves that nothing was destroyed by that.

use std::cell::Cell;
use std::ops::Range;

use super::changed::Changed;
use super::order;
use super::rehearsal::{extent_of, write_all};
use super::run::{Body, Run};
use crate::device::marker;
use crate::error::Result;
use crate::event::{Event, Phase, begin};
use crate::readback::verify;
use crate::source::Source;
use crate::storage::{Extent, Record, Target};
use crate::table::TableBytes;

impl Run<'_> {
    /// Writes the critical bytes; returns what was written with the body.
    pub(super) fn write_table(&self, body: Body, source: &dyn Source, wiped: &Cell<bool>) -> Result<Record> {
        let Body { record, critical, rehearsal, is_unproven, .. } = body;
        let left = self.clear_marks(rehearsal.left(&critical))?;
        let is_unproven = is_unproven || !left.is_empty() || !rehearsal.covers(&critical);
        let all = |target: &dyn Target| {
            source.write(target)?;
            write_all(&critical, target)?;
            Ok(critical.clone())
        };
        let source: &dyn Source = if source.replays() { &all } else { source };
        let [first, second, last] = order::cut(&critical, self.medium.geometry());
        let mut record = record.merge(left);
        for pieces in [first, second] {
            let (written, first_time) = self.write_critical(&pieces)?;
            record = record.merge(written);
            self.ensure_unharmed(&record, first_time, source)?;
        }
        wiped.set(false);
        let (last, first_time) = self.write_sector_0(&last, &record)?;
        let record = record.merge(last);
        let is_proven = first_time && !(is_unproven && self.commit.used) && !self.commit.options.second_pass;
        self.ensure_unharmed(&record, is_proven, source)?;
        self.ensure_ends(&record, &critical, source)?;
        Ok(record)
    }

    /// Clears marks that stand where nothing is written in the end.
    fn clear_marks(&self, left: Vec<Range<u64>>) -> Result<Record> {
        let zeros =
            |range: Range<u64>| Extent { offset: range.start, len: range.end - range.start, blake3: None };
        let record = Record { extents: left.into_iter().map(zeros).collect() };
        if !record.is_empty() {
            self.ensure_zero(&record)?;
        }
        Ok(record)
    }

    /// A write that went wrong, or to a place that had no mark, may have gone over what was right before.
    fn ensure_unharmed(&self, record: &Record, is_proven: bool, source: &dyn Source) -> Result<()> {
        match is_proven {
            true => Ok(()),
            false => self.reject_damage(self.compare(record)?, 1, source),
        }
    }

    /// The steps of the critical bytes must not have destroyed each other, nor what lies around them.
    fn ensure_ends(&self, record: &Record, critical: &[TableBytes], source: &dyn Source) -> Result<()> {
        let len = self.medium.geometry().len;
        let ends = [0..order::WIPED, len.saturating_sub(order::WIPED)..len];
        let critical_ranges = critical.iter().map(TableBytes::range);
        let near: Vec<Range<u64>> = ends.into_iter().chain(critical_ranges).collect();
        let is_near = |extent: &&Extent| {
            let range = extent.range();
            near.iter().any(|near| near.start < range.end && range.start < near.end)
        };
        // Zeros can be long; what is far from the ends was proven before.
        let extents = record.extents.iter().filter(is_near).filter(|extent| extent.blake3.is_some());
        let record = Record { extents: extents.cloned().collect() };
        begin(self.commit.listener, Phase::ReadBack, record.len());
        // No interruption: all that was wanted is there.
        let damage = verify(&self.medium, &record, self.commit.regions, self.commit.listener)?;
        self.reject_damage(damage, 1, source)
    }

    /// Writes, syncs and reads back, a few times if need be. Returns what was written, and whether it was right the
    /// first time.
    fn write_critical(&self, pieces: &[TableBytes]) -> Result<(Record, bool)> {
        if pieces.is_empty() {
            return Ok((Record::default(), true));
        }
        let record = Record { extents: pieces.iter().map(extent_of).collect() };
        let (damage, writes) =
            self.written_again(&record, self.commit.listener, || self.write_pieces(pieces))?;
        self.reject_damage(damage, writes, &written(pieces))?;
        Ok((record, writes == 1))
    }

    fn write_pieces(&self, pieces: &[TableBytes]) -> Result<()> {
        begin(self.commit.listener, Phase::Commit, total(pieces));
        // What is there already is not written: such a write could go anywhere, and its own place would read right.
        let changed = Changed::new(&self.medium);
        for piece in pieces {
            changed.write_at(&piece.bytes, piece.offset)?;
            self.commit.listener.event(Event::Advance { bytes: piece.bytes.len() as u64 });
        }
        Ok(self.sync()?)
    }

    /// Writes all of sector 0 at once, so that half of it is never there, and nothing of the marker stays.
    fn write_sector_0(&self, pieces: &[TableBytes], others: &Record) -> Result<(Record, bool)> {
        if pieces.is_empty() && !self.is_marked() {
            return Ok((Record::default(), true));
        }
        let mut sector = vec![0; self.medium.geometry().sector_size as usize];
        self.medium.read_at(&mut sector, 0)?;
        if self.is_marked() {
            let marked = others.gaps(0..marker::LEN as u64);
            marked.into_iter().for_each(|gap| sector[gap.start as usize..gap.end as usize].fill(0));
        }
        for piece in pieces {
            sector[piece.offset as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
        }
        let (_, first_time) =
            self.write_critical(&[TableBytes { name: "sector 0".into(), offset: 0, bytes: sector }])?;
        Ok((Record { extents: pieces.iter().map(extent_of).collect() }, first_time))
    }
}

/// Pieces as what they were written by.
fn written(pieces: &[TableBytes]) -> impl Source + '_ {
    |target: &dyn Target| {
        write_all(pieces, target)?;
        Ok(Vec::new())
    }
}

/// Bytes of all pieces.
pub(super) fn total(pieces: &[TableBytes]) -> u64 {
    pieces.iter().map(|piece| piece.bytes.len() as u64).sum()
}
