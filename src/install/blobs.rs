//! Raw boot loaders: compared with those on the medium, and written only if asked for.

use std::ops::Range;

use serde::Serialize;

use super::InstallError;
use crate::board::Board;
use crate::error::Result;
use crate::plan::BlobPiece;
use crate::stage::StagedBlob;
use crate::storage::Target;
use crate::table::{Scheme, Table};
use crate::tree::Content;

/// A raw boot loader.
#[derive(Clone, Debug, Serialize)]
pub struct BlobChange {
    /// Its name.
    pub name: String,
    /// Its file among the images.
    pub file: String,
    /// True if the medium has other bytes.
    pub differs: bool,
    /// True if it is written.
    pub written: bool,
    #[serde(skip)]
    content: Content,
    #[serde(skip)]
    pieces: Vec<BlobPiece>,
}

impl BlobChange {
    /// Compares a boot loader with what is in its place.
    pub fn new(
        board: &Board,
        (index, staged): (&usize, &StagedBlob),
        target: &dyn Target,
        write: bool,
    ) -> Result<BlobChange> {
        let blob = &board.blobs[*index];
        let pieces = staged.pieces(blob);
        let mut change = BlobChange {
            name: blob.name.clone(),
            file: staged.file.clone(),
            differs: false,
            written: false,
            content: staged.content.clone(),
            pieces,
        };
        for (offset, bytes) in change.bytes()? {
            let mut found = vec![0; bytes.len()];
            let end = offset + bytes.len() as u64;
            change.differs |= end > target.geometry().len || {
                target.read_at(&mut found, offset)?;
                found != bytes
            };
        }
        change.written = change.differs && write;
        Ok(change)
    }

    /// Offsets and bytes on the medium.
    pub fn bytes(&self) -> Result<Vec<(u64, Vec<u8>)>> {
        let piece = |piece: &BlobPiece| {
            let mut bytes = vec![0; piece.len as usize];
            self.content.open()?.read_at(&mut bytes, piece.from)?;
            Ok((piece.offset, bytes))
        };
        self.pieces.iter().map(piece).collect()
    }

    /// A medium of another origin may have a table or a partition where the board has its boot loader.
    pub fn reject_overlap(&self, taken: &[(Range<u64>, String)]) -> Result<(), InstallError> {
        for BlobPiece { offset, len, .. } in &self.pieces {
            let (start, end) = (*offset, offset + len);
            let meets = |(range, _): &&(Range<u64>, String)| start < range.end && range.start < end;
            if let Some((_, owner)) = taken.iter().find(meets) {
                let (blob, owner) = (self.name.clone(), owner.clone());
                return Err(InstallError::BlobInTheWay { blob, start, end, owner });
            }
        }
        Ok(())
    }
}

/// Ranges where nothing but the table and the partitions may be.
pub(super) fn taken(
    table: Option<&Table>,
    partitions: impl Iterator<Item = (Range<u64>, String)>,
) -> Vec<(Range<u64>, String)> {
    let mut taken: Vec<(Range<u64>, String)> = partitions.collect();
    let Some(table) = table else { return taken };
    // Boot code may stand before the signature of the disk.
    taken.push((440..512, "the partition table".into()));
    if let Scheme::Gpt { entries_offset, entry_count, .. } = &table.scheme {
        let sector = u64::from(table.sector_size);
        taken.push((sector..2 * sector, "the partition table".into()));
        taken.push((
            *entries_offset..entries_offset + u64::from(*entry_count) * 128,
            "the partition table".into(),
        ));
    }
    taken
}
