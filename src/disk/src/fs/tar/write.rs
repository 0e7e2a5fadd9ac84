//! From a layout to bytes.

use std::io::Write;

use super::TarError;
use super::layout::{Layout, Member};
use super::raw::{BLOCK, END};
use crate::fs::{FileHasher, WrittenFile, zeros};
use crate::storage::RegionWriter;
use crate::tree::{Content, Run, display};
use crate::value::Digest;

/// Destination of an archive.
pub trait Sink {
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]) -> Result<(), TarError>;

    /// Appends zeros.
    fn append_zeros(&mut self, len: u64) -> Result<(), TarError> {
        zeros(len).try_for_each(|bytes| self.append(bytes))
    }
}

/// Any writer.
pub struct Plain<W>(pub W);

impl<W: Write> Sink for Plain<W> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        self.0.write_all(bytes).map_err(|source| TarError::Output { source })
    }
}

/// A region, in which holes of sparse files stay holes.
pub struct Sparse<'w, 'r>(pub &'w mut RegionWriter<'r>);

impl Sink for Sparse<'_, '_> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        Ok(self.0.append(bytes)?)
    }

    fn append_zeros(&mut self, len: u64) -> Result<(), TarError> {
        Ok(self.0.zero_to(self.0.position() + len)?)
    }
}

/// Writes the archive; returns every regular file, one with several names once for each.
pub fn write(layout: &Layout, out: &mut dyn Sink) -> Result<Vec<WrittenFile>, TarError> {
    let mut digests: Vec<Option<(u64, Digest)>> = Vec::with_capacity(layout.members.len());
    for member in &layout.members {
        out.append(&member.headers)?;
        let digest = match (member.content, member.same_as) {
            (Some(content), _) => Some((content.len(), append_content(content, out)?)),
            (None, Some(first)) => digests[first],
            (None, None) => None,
        };
        digests.push(digest);
    }
    out.append_zeros(END)?;
    let file = |(member, digest): (&Member, Option<(u64, Digest)>)| {
        let (size, blake3) = digest?;
        Some(WrittenFile { path: display(&member.path), size, blake3 })
    };
    Ok(layout.members.iter().zip(digests).filter_map(file).collect())
}

fn append_content(content: &Content, out: &mut dyn Sink) -> Result<Digest, TarError> {
    let mut hasher = FileHasher::new(content.len());
    content.for_each_run(|run| match run {
        Run::Data(bytes) => {
            hasher.update(bytes);
            out.append(bytes)
        }
        Run::Hole(len) => {
            hasher.update_zeros(len);
            out.append_zeros(len)
        }
    })?;
    out.append_zeros(content.len().next_multiple_of(BLOCK) - content.len())?;
    Ok(hasher.finalize())
}
