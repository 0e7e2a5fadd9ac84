//! The raw blobs of a board: found, recognised, and cut into the pieces that are written.

use std::path::Path;

use super::StageError;
use crate::board::Blob;
use crate::error::{Error, Io};
use crate::tree::{Content, Stamp};

/// A blob with its file.
#[derive(Clone, Debug)]
pub struct StagedBlob {
    /// File below the images directory.
    pub file: String,
    /// Its bytes.
    pub content: Content,
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

impl StagedBlob {
    /// Finds the file of `blob`, the first of `files` that exists, and checks that it is what it should be.
    pub fn find(blob: &Blob, files: &[String], images: &Path) -> Result<Option<StagedBlob>, Error> {
        let found = files.iter().find(|file| images.join(file).is_file());
        let Some(file) = found else {
            if blob.optional {
                return Ok(None);
            }
            return Err(StageError::MissingImage {
                wanted: format!("blob `{}`", blob.name),
                candidates: files.to_vec(),
                directory: images.to_path_buf(),
                hint: blob.hint.clone(),
            }
            .into());
        };
        let path = images.join(file);
        let metadata = path.metadata().map_err(Io::on("read", &path))?;
        let content = Content::stamped(path, 0, metadata.len(), Stamp::from_metadata(&metadata));
        let staged = StagedBlob { file: file.clone(), content };
        staged.ensure_magic(blob)?;
        Ok(Some(staged))
    }

    /// A blob that was composed.
    pub fn composed(blob: &Blob, artifact: &str, content: Content) -> Result<StagedBlob, Error> {
        let staged = StagedBlob { file: artifact.into(), content };
        staged.ensure_magic(blob)?;
        Ok(staged)
    }

    /// Puts the bytes that the blob has for the disk from `offset` on over `bytes`.
    pub fn overlay(&self, blob: &Blob, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let end = offset + bytes.len() as u64;
        for piece in self.pieces(blob) {
            let (start, stop) = (piece.offset.max(offset), (piece.offset + piece.len).min(end));
            if start < stop {
                let covered = &mut bytes[(start - offset) as usize..(stop - offset) as usize];
                self.content.open()?.read_at(covered, piece.from + start - piece.offset)?;
            }
        }
        Ok(())
    }

    /// What is written where: the bytes from `from` on, at most `length`, without the skipped ranges.
    pub fn pieces(&self, blob: &Blob) -> Vec<BlobPiece> {
        let available = self.content.len().saturating_sub(blob.from.0);
        let len = blob.length.map_or(available, |length| available.min(length.0));
        let mut pieces = vec![BlobPiece { offset: blob.offset.0, from: blob.from.0, len }];
        for (start, end) in &blob.skip {
            pieces = pieces.into_iter().flat_map(|piece| piece.without(start.0, end.0)).collect();
        }
        pieces
    }

    fn ensure_magic(&self, blob: &Blob) -> Result<(), Error> {
        let Some(magic) = &blob.magic else { return Ok(()) };
        let mut found = vec![0; magic.bytes.len()];
        let end = magic.at.0 + found.len() as u64;
        if self.content.len() >= end {
            self.content.open()?.read_at(&mut found, magic.at.0)?;
        } else {
            found.clear();
        }
        if found == magic.bytes {
            return Ok(());
        }
        Err(StageError::WrongMagic {
            blob: blob.name.clone(),
            file: self.file.clone(),
            at: magic.at.0,
            expected: printable(&magic.bytes),
            found: printable(&found),
        }
        .into())
    }
}

impl BlobPiece {
    /// The parts of this piece outside `[start, end)` of the disk.
    fn without(self, start: u64, end: u64) -> Vec<BlobPiece> {
        let stop = self.offset + self.len;
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

fn printable(bytes: &[u8]) -> String {
    if !bytes.is_empty() && bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return format!("\"{}\"", String::from_utf8_lossy(bytes));
    }
    match bytes {
        [] => "the end of the file".into(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
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
