//! Raw blobs, cut into the pieces that are written.

use crate::board::Blob;

/// The file of a blob, as far as a plan has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobFile {
    /// Its name below the images directory, or the artifact.
    pub name: String,
    /// Its bytes.
    pub len: u64,
}

/// A blob in its place.
#[derive(Clone, Debug)]
pub struct PlacedBlob<'a> {
    /// Index into the board's list.
    pub index: usize,
    /// The blob.
    pub blob: &'a Blob,
    /// Name of its file.
    pub file: String,
    /// The bytes that are written, in rising order.
    pub pieces: Vec<BlobPiece>,
}

/// A run of bytes of a blob on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobPiece {
    /// First byte on the disk.
    pub offset: u64,
    /// First byte of the file.
    pub from: u64,
    /// Bytes.
    pub len: u64,
}

impl BlobPiece {
    /// Pieces of `blob` with a file of `file_len` bytes: those from `from` on, at most `length`, without the skipped
    /// ranges.
    pub fn cut(blob: &Blob, file_len: u64) -> Vec<BlobPiece> {
        let available = file_len.saturating_sub(blob.from.0);
        let len = blob.length.map_or(available, |length| available.min(length.0));
        let mut pieces = vec![BlobPiece { offset: blob.offset.0, from: blob.from.0, len }];
        for (start, end) in &blob.skip {
            pieces = pieces.into_iter().flat_map(|piece| piece.without(start.0, end.0)).collect();
        }
        pieces
    }

    /// The byte of the disk behind the last.
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// The parts of this piece outside `[start, end)` of the disk.
    fn without(self, start: u64, end: u64) -> Vec<BlobPiece> {
        let stop = self.end();
        let head = start.clamp(self.offset, stop) - self.offset;
        let tail = stop - end.clamp(self.offset, stop);
        let head_piece = BlobPiece { len: head, ..self };
        let tail_piece = BlobPiece { offset: stop - tail, from: self.from + self.len - tail, len: tail };
        if head + tail >= self.len {
            return vec![self];
        }
        [head_piece, tail_piece].into_iter().filter(|piece| piece.len > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_range_cuts_a_blob_in_two() {
        let piece = BlobPiece { offset: 0, from: 0, len: 1024 };
        let expected =
            vec![BlobPiece { offset: 0, from: 0, len: 440 }, BlobPiece { offset: 512, from: 512, len: 512 }];
        assert_eq!(piece.without(440, 512), expected);
        assert_eq!(piece.without(2000, 3000), vec![piece]);
        assert_eq!(piece.without(0, 2000), vec![]);
    }
}
