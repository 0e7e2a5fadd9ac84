//! Makes an image fit the medium it was copied to: the backup of its GPT goes to the medium's end, and on demand its
//! last partition and the ext4 in it take what is free behind them.
//!
//! All of it is worked out in a [`CowOverlay`] over the medium, where the body of the image is already and its critical
//! bytes are not yet, so that nothing is written before all is known to work:
//!
//! ```text
//! source.write -> read back -> Growth::plan -> amend, write, sync, read back -> critical bytes -> sector 0
//! ```

mod fitted;

use std::ops::Range;

pub use fitted::{Fitted, FixedSizeReason, Grown};
use skiff_signatures::{Class, Format};

use crate::error::Result;
use crate::fs::ext4::{self, GrowError};
use crate::storage::{Change, ChangeData, CowOverlay, Extent, LARGEST_EXTENT, Record, Target, TargetError};
use crate::table::{self, Kept, OLD_BACKUP, Partition, Table, TableBytes};
use crate::value::{ByteSize, Digest, is_zero};

/// Parts that are made to fit a medium that is larger than the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResizePolicy {
    /// All stays as in the image.
    #[default]
    Nothing,
    /// The table: the backup of a GPT goes to the end of the medium.
    Table,
    /// The table, the last partition and an ext4 in it.
    LastPartition,
}

/// Changes that make an image fit a medium.
#[derive(Clone, Debug)]
pub struct Growth {
    /// The critical bytes, in place of the image's: its own, with the changes in them, and new copies of the table.
    pub critical: Vec<TableBytes>,
    /// Changes of the body, by offset and disjoint, and apart from the critical bytes.
    pub changes: Vec<Change>,
    /// Effect on the medium.
    pub fitted: Fitted,
}

impl Growth {
    /// Returns the changes of an image whose body is on `target` and whose critical bytes are still to be
    /// written, so that its table fits the medium; with `extend` the last partition and its filesystem take all of it.
    ///
    /// # Errors
    /// Only if the medium cannot be read. What cannot grow is listed in [`Fitted::kept`].
    pub fn plan(target: &dyn Target, critical: &[TableBytes], extend: bool) -> Result<Growth, TargetError> {
        let image = overlay_of(target, critical)?;
        let mut fitted = Fitted::default();
        let (table, partition) = match table::read(&image)? {
            Some(table) => fit_table(&image, &table, extend, &mut fitted)?,
            None => (Vec::new(), Some((0, 0..target.geometry().len))),
        };
        // The filesystem may have something where the old backup was, so it comes after the table.
        let (critical, erased) = with_table(critical, table);
        let image = overlay_of(target, &critical)?;
        let grown = CowOverlay::new(&image);
        erased.iter().try_for_each(|change| change.write(&grown))?;
        if let Some((number, partition)) = partition.filter(|_| extend)
            && filesystem(&grown, &partition)? == EXT4
        {
            grow_filesystem(&grown, number, &partition, &mut fitted)?;
        }
        let changes = grown.into_changes();
        let changed = |piece: &TableBytes| {
            let mut bytes = piece.bytes.clone();
            changes.iter().for_each(|change| lay_over(&mut bytes, piece.offset, change));
            TableBytes { bytes, ..piece.clone() }
        };
        let changed = critical.iter().map(changed).collect();
        Ok(Growth { critical: changed, changes: body(&critical, changes), fitted })
    }

    /// Returns whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        self.fitted == Fitted { kept: self.fitted.kept.clone(), ..Fitted::default() }
    }

    /// The record of a medium after [`Growth::write`]; `record` is that of before, and what it says is on the medium.
    /// Also what of it has to be read back, since it changed.
    pub fn amend(&self, target: &dyn Target, record: Record) -> Result<(Record, Record), TargetError> {
        let touched = |extent: &Extent| !self.changes_in(&extent.range()).is_empty();
        let (before, kept): (Vec<Extent>, Vec<Extent>) = record.extents.into_iter().partition(touched);
        let mut changed = Vec::new();
        for extent in &before {
            self.amend_extent(target, extent, &mut changed)?;
        }
        for change in &self.changes {
            push_uncovered(&mut changed, change, &before);
        }
        changed.sort_by_key(|extent| extent.offset);
        let changed = Record { extents: changed };
        Ok((Record { extents: kept }.merge(changed.clone()), changed))
    }

    /// The changes that touch `range`.
    fn changes_in(&self, range: &Range<u64>) -> &[Change] {
        let start = self.changes.partition_point(|change| change.range().end <= range.start);
        let end = self.changes.partition_point(|change| change.offset < range.end);
        &self.changes[start..end.max(start)]
    }

    /// Writes the changes of the body.
    pub fn write(&self, target: &dyn Target) -> Result<(), TargetError> {
        self.changes.iter().try_for_each(|change| change.write(target))
    }

    /// Amends an extent of the image: at most [`LARGEST_EXTENT`] of it at once, since one of zeros can be
    /// long.
    fn amend_extent(
        &self,
        target: &dyn Target,
        extent: &Extent,
        to: &mut Vec<Extent>,
    ) -> Result<(), TargetError> {
        let mut at = extent.offset;
        while at < extent.range().end {
            let part = at..extent.range().end.min(at + LARGEST_EXTENT);
            let changes = self.changes_in(&part);
            if changes.is_empty() && extent.blake3.is_none() {
                push_zeros(to, &part);
            } else {
                let mut bytes = vec![0; (part.end - part.start) as usize];
                if extent.blake3.is_some() {
                    target.read_back(&mut bytes, part.start)?;
                }
                changes.iter().for_each(|change| lay_over(&mut bytes, part.start, change));
                to.push(digested(part.start, &bytes));
            }
            at = part.end;
        }
        Ok(())
    }
}

/// Appends a range of zeros, joined with one that ends where it begins.
fn push_zeros(extents: &mut Vec<Extent>, range: &Range<u64>) {
    let len = range.end - range.start;
    match extents.last_mut() {
        Some(last) if last.blake3.is_none() && last.range().end == range.start => last.len += len,
        _ => extents.push(Extent { offset: range.start, len, blake3: None }),
    }
}

fn digested(offset: u64, bytes: &[u8]) -> Extent {
    Extent { offset, len: bytes.len() as u64, blake3: Some(Digest::of(bytes)) }
}

fn overlaps(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Puts the part of `change` that is in `bytes`, which are from `start`, there.
fn lay_over(bytes: &mut [u8], start: u64, change: &Change) {
    let range = start..start + bytes.len() as u64;
    let Some(part) = change.within(&range) else { return };
    let own = part.range();
    let to = &mut bytes[(own.start - start) as usize..(own.end - start) as usize];
    match &part.data {
        ChangeData::Bytes(from) => to.copy_from_slice(from),
        ChangeData::Zeros(_) => to.fill(0),
    }
}

/// Extents for what of a change is in none of `covered`.
fn push_uncovered(extents: &mut Vec<Extent>, change: &Change, covered: &[Extent]) {
    let range = change.range();
    let mut at = range.start;
    let met = covered.iter().map(Extent::range).filter(|extent| overlaps(extent, &range));
    for next in met.chain(std::iter::once(range.end..range.end)) {
        match change.within(&(at..next.start)) {
            Some(Change { offset, data: ChangeData::Zeros(len) }) => {
                extents.push(Extent { offset, len, blake3: None });
            }
            Some(Change { offset, data: ChangeData::Bytes(bytes) }) => {
                let offsets = (offset..).step_by(LARGEST_EXTENT as usize);
                let pieces = bytes.chunks(LARGEST_EXTENT as usize);
                extents.extend(offsets.zip(pieces).map(|(offset, bytes)| digested(offset, bytes)));
            }
            None => {}
        }
        at = next.end;
    }
}

/// The changes apart from the critical bytes.
fn body(critical: &[TableBytes], changes: Vec<Change>) -> Vec<Change> {
    let mut held: Vec<Range<u64>> = critical.iter().map(TableBytes::range).collect();
    held.sort_by_key(|range| range.start);
    let mut body = Vec::new();
    for change in changes {
        let own = change.range();
        let mut at = own.start;
        for held in held.iter().filter(|held| overlaps(held, &own)) {
            body.extend(change.within(&(at..held.start)));
            at = held.end;
        }
        body.extend(change.within(&(at..own.end)));
    }
    body
}

/// Returns the medium as it is when the critical bytes are there.
fn overlay_of<'t>(target: &'t dyn Target, critical: &[TableBytes]) -> Result<CowOverlay<'t>, TargetError> {
    let overlay = CowOverlay::new(target);
    critical.iter().try_for_each(|piece| overlay.write_at(&piece.bytes, piece.offset))?;
    Ok(overlay)
}

/// The critical bytes with the table in them, and in addition what of the table is elsewhere. Also what is to be erased of
/// an old backup that has other bytes of the image behind it: that is a change of the body.
fn with_table(critical: &[TableBytes], table: Vec<TableBytes>) -> (Vec<TableBytes>, Vec<Change>) {
    let (mut pieces, mut erased) = (critical.to_vec(), Vec::new());
    for new in table {
        let over = Change { offset: new.offset, data: ChangeData::Bytes(new.bytes) };
        pieces.iter_mut().for_each(|piece| lay_over(&mut piece.bytes, piece.offset, &over));
        for change in body(&pieces, vec![over]) {
            match change.data {
                ChangeData::Bytes(bytes) if new.name != OLD_BACKUP => {
                    pieces.push(TableBytes { name: new.name.clone(), offset: change.offset, bytes });
                }
                data => erased.push(Change { data, ..change }),
            }
        }
    }
    (pieces, erased)
}

/// The last partition: its number and where it is.
type Last = (u32, Range<u64>);

/// The bytes of the table for the medium, and the last partition in it, unless nothing is known of that.
fn fit_table(
    image: &CowOverlay<'_>,
    table: &Table,
    extend: bool,
    fitted: &mut Fitted,
) -> Result<(Vec<TableBytes>, Option<Last>), TargetError> {
    let room = if extend { extension(image, table, fitted)? } else { None };
    let fit = match table::fit(image, table, room.as_ref())? {
        Ok(fit) => fit,
        Err(kept) => {
            // Without a backup to move there is nothing to say about the end of the medium.
            if matches!(table.scheme, table::Scheme::Gpt { .. }) {
                fitted.kept = vec![FixedSizeReason::Table(kept)];
            }
            return Ok((Vec::new(), None));
        }
    };
    fitted.backup_moved = fit.pieces.iter().any(|piece| piece.name == OLD_BACKUP)
        || (fit.grown.is_none() && !fit.pieces.is_empty());
    if let (Some(grown), Some(last)) = (&fit.grown, table.last()) {
        let (from, to) = (ByteSize(last.len), ByteSize(grown.len));
        fitted.partition = Some(Grown { number: grown.number, from, to });
    }
    let last = fit.grown.as_ref().or_else(|| table.last());
    Ok((fit.pieces, last.map(|last| (last.number, last.range()))))
}

/// Returns the new range of the last partition, if what it holds is grown.
fn extension(
    overlay: &CowOverlay<'_>,
    table: &Table,
    fitted: &mut Fitted,
) -> Result<Option<Range<u64>>, TargetError> {
    let room = match table::room(overlay, table)? {
        Ok(room) => room,
        Err(Kept::NoSpace { .. }) => return Ok(None),
        Err(kept) => {
            fitted.kept.push(FixedSizeReason::Partition(kept));
            return Ok(None);
        }
    };
    let Some(Partition { number, .. }) = table.last() else { return Ok(None) };
    match filesystem(overlay, &room)? {
        EXT4 => Ok(Some(room)),
        what => {
            fitted.kept.push(FixedSizeReason::Content { number: *number, what });
            Ok(None)
        }
    }
}

fn grow_filesystem(
    overlay: &CowOverlay<'_>,
    number: u32,
    partition: &Range<u64>,
    fitted: &mut Fitted,
) -> Result<(), TargetError> {
    match ext4::grow(overlay, partition) {
        Ok(ext4::Grown { from, to, limit }) => {
            if to > from {
                fitted.filesystem = Some(Grown { number, from: ByteSize(from), to: ByteSize(to) });
            }
            let room = partition.end - partition.start;
            fitted.kept.extend(limit.map(|limit| FixedSizeReason::Limited { number, have: to, room, limit }));
            Ok(())
        }
        Err(GrowError::Target(error)) => Err(error),
        Err(reason) => {
            fitted.kept.push(FixedSizeReason::Filesystem { number, reason: reason.to_string() });
            Ok(())
        }
    }
}

/// Kind of filesystem that is grown.
const EXT4: &str = "ext4";

/// Returns the format of a range, by its magic number.
fn filesystem(target: &dyn Target, range: &Range<u64>) -> Result<&'static str, TargetError> {
    let mut start = vec![0; (range.end - range.start).min(4096) as usize];
    target.read_at(&mut start, range.start)?;
    let classes = [Class::Filesystem, Class::Volume];
    Ok(match Format::find(&start, &classes) {
        _ if Format::Ext.begins(&start) => EXT4,
        Some(Format::Squashfs) => "a squashfs",
        Some(Format::Fat) => "FAT",
        Some(Format::Luks) => "something encrypted",
        Some(Format::Swap) => "swap space",
        None if is_zero(&start) => "nothing known",
        _ => "something unknown",
    })
}
