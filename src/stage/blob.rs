//! The raw blobs of a board: found and recognised.

use std::path::Path;

use super::StageError;
use crate::board::Blob;
use crate::error::{Error, Io};
use crate::plan::{BlobFile, BlobPiece};
use crate::tree::{Content, Stamp};

/// A blob with its file.
#[derive(Clone, Debug)]
pub struct StagedBlob {
    /// File below the images directory.
    pub file: String,
    /// Its bytes.
    pub content: Content,
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
            let (start, stop) = (piece.offset.max(offset), piece.end().min(end));
            if start < stop {
                let covered = &mut bytes[(start - offset) as usize..(stop - offset) as usize];
                self.content.open()?.read_at(covered, piece.from + start - piece.offset)?;
            }
        }
        Ok(())
    }

    /// The pieces that are written.
    pub fn pieces(&self, blob: &Blob) -> Vec<BlobPiece> {
        BlobPiece::cut(blob, self.content.len())
    }

    /// The file as a plan has to know it.
    pub(crate) fn planned(&self) -> BlobFile {
        BlobFile { name: self.file.clone(), len: self.content.len() }
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

fn printable(bytes: &[u8]) -> String {
    if !bytes.is_empty() && bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return format!("\"{}\"", String::from_utf8_lossy(bytes));
    }
    match bytes {
        [] => "the end of the file".into(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    }
}
