//! The last writes, made before everything is read back: marks in the places of the critical bytes. Where an address of
//! theirs leads to a place that has another address too, either the mark or what belongs there is not found then.

use std::ops::Range;

use super::grow::Growth;
use super::run::Run;
use crate::device::marker;
use crate::error::Result;
use crate::readback::marks;
use crate::source::{Amended, Source};
use crate::storage::{Extent, Record, Target, TargetError};
use crate::table::TableBytes;
use crate::value::Digest;

/// Makes these marks others than those of a probe.
const SEED: u64 = 0x7265_6865_6172_7361;

/// Marks as they are on the medium.
#[derive(Clone, Debug, Default)]
pub(super) struct Rehearsal {
    /// By offset and disjoint.
    marks: Vec<TableBytes>,
}

impl Rehearsal {
    /// Marks, and where a run has its marker that, in the places of `ranges`, which are disjoint.
    fn new(mut ranges: Vec<Range<u64>>, marker: &[u8]) -> Rehearsal {
        ranges.sort_by_key(|range| range.start);
        let mark = |range: Range<u64>| {
            let mut bytes = marks::of(&range, SEED);
            let marked = range.start as usize..marker.len().min(range.end as usize);
            if !marked.is_empty() {
                bytes[..marked.len()].copy_from_slice(&marker[marked]);
            }
            TableBytes { name: "a mark".into(), offset: range.start, bytes }
        };
        Rehearsal { marks: ranges.into_iter().map(mark).collect() }
    }

    /// Record of the marks.
    pub(super) fn record(&self) -> Record {
        Record { extents: self.marks.iter().map(extent_of).collect() }
    }

    /// A source that writes the marks behind what `source` writes.
    pub(super) fn after<'a>(&'a self, source: &'a dyn Source) -> impl Source + 'a {
        let write = |target: &dyn Target| {
            let critical = source.write(target)?;
            write_all(&self.marks, target)?;
            Ok(critical)
        };
        Amended { source, write }
    }

    /// Places that have a mark and are not among `critical`.
    pub(super) fn left(&self, critical: &[TableBytes]) -> Vec<Range<u64>> {
        let mut extents: Vec<Extent> = critical.iter().map(extent_of).collect();
        extents.sort_by_key(|extent| extent.offset);
        let written = Record { extents };
        self.marks.iter().flat_map(|mark| written.gaps(mark.range())).collect()
    }

    /// Returns whether all of `critical` goes to places that have a mark.
    pub(super) fn covers(&self, critical: &[TableBytes]) -> bool {
        let marked = self.record();
        critical.iter().all(|piece| marked.gaps(piece.range()).is_empty())
    }
}

impl Run<'_> {
    /// Writes marks in the places of the critical bytes, as far as they are known: fitting a table adds some.
    pub(super) fn rehearse(&self, critical: &[TableBytes]) -> Result<Rehearsal> {
        if !self.commit.used {
            return Ok(Rehearsal::default());
        }
        let mut ranges: Vec<Range<u64>> = critical.iter().map(TableBytes::range).collect();
        // The body was not read back yet; what is wrong with it is found by that.
        let fitted = self.extends().and_then(|extend| Growth::plan(&self.medium, critical, extend).ok());
        if let Some(growth) = fitted {
            ranges = growth.critical.iter().map(TableBytes::range).collect();
        }
        let marker = match self.commit.options.journal {
            Some(journal) => marker::sector(journal.run(), self.medium.geometry().sector_size),
            None => Vec::new(),
        };
        let rehearsal = Rehearsal::new(ranges, &marker);
        write_all(&rehearsal.marks, &self.medium)?;
        Ok(rehearsal)
    }
}

/// Writes pieces to their places.
pub(super) fn write_all(pieces: &[TableBytes], target: &dyn Target) -> Result<(), TargetError> {
    pieces.iter().try_for_each(|piece| target.write_at(&piece.bytes, piece.offset))
}

/// Extent of a piece that is written.
pub(super) fn extent_of(piece: &TableBytes) -> Extent {
    Extent { offset: piece.offset, len: piece.bytes.len() as u64, blake3: Some(Digest::of(&piece.bytes)) }
}
