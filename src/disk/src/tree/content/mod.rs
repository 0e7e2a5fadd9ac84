//! File contents by reference: in memory, or a range of a file on disk that is opened when it is read.

mod error;
mod opened;
mod stamp;

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use error::ContentError;
pub use opened::Opened;
pub use stamp::Stamp;

/// Bytes that are read at a time.
const CHUNK: u64 = 1 << 20;
/// Holes are looked for where at least this many bytes are left: asking costs as much as reading so few.
const SPARSE_FROM: u64 = 128 << 10;

/// Place of the bytes of a regular file.
#[derive(Clone, Debug)]
pub struct Content {
    len: u64,
    source: Source,
    /// Ranges that a sparse member of an archive stores; without them all is in one piece.
    extents: Option<Arc<[Extent]>>,
}

/// A range of a content and its place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte in the content.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
    /// First byte in the source, counted from where the content begins there.
    pub from: u64,
}

impl Extent {
    fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// The place the bytes are read from.
#[derive(Clone, Debug)]
pub enum Source {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// From `offset` in the file at `path`: a file of a scanned directory, or a member of a tar archive.
    File {
        /// The file on the host.
        path: Arc<Path>,
        /// First byte.
        offset: u64,
        /// Stamp of the file when it was found, if anybody looked.
        stamp: Option<Stamp>,
    },
    /// From the start of an unnamed temporary file.
    Temporary(Arc<File>),
}

impl Content {
    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Content {
        let bytes = bytes.into();
        Content { len: bytes.len() as u64, source: Source::Bytes(bytes), extents: None }
    }

    /// `len` bytes from `offset` of a file on the host, which nobody changes meanwhile.
    pub fn file(path: impl Into<Arc<Path>>, offset: u64, len: u64) -> Content {
        Content { len, source: Source::File { path: path.into(), offset, stamp: None }, extents: None }
    }

    /// `len` bytes from `offset` of a file on the host that was looked at: if it is no longer what it was, reading
    /// fails.
    pub fn stamped(path: impl Into<Arc<Path>>, offset: u64, len: u64, stamp: Stamp) -> Content {
        Content { len, source: Source::File { path: path.into(), offset, stamp: Some(stamp) }, extents: None }
    }

    /// `len` bytes of which only `extents`, ascending and apart, are stored in a file, from `offset` on. The rest is
    /// zero.
    pub fn sparse(
        path: impl Into<Arc<Path>>,
        offset: u64,
        len: u64,
        stamp: Stamp,
        extents: impl Into<Arc<[Extent]>>,
    ) -> Content {
        Content { extents: Some(extents.into()), ..Content::stamped(path, offset, len, stamp) }
    }

    /// The first `len` bytes of an unnamed temporary file.
    pub fn temporary(file: Arc<File>, len: u64) -> Content {
        Content { len, source: Source::Temporary(file), extents: None }
    }

    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Place of the bytes.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Ranges that the source stores, ascending and apart, if it stores less than all: of a sparse file of the host, or of
    /// a sparse member of an archive. Opens a file only if it is large, and reads nothing of it; one that cannot be
    /// looked at counts as stored, so that reading says what is wrong.
    ///
    /// A file whose blocks are all there has no holes, even if some of them were never written: a swap file is made so,
    /// and must not get any.
    pub fn stored_ranges(&self) -> Option<Vec<Range<u64>>> {
        if let Some(extents) = &self.extents {
            return Some(extents.iter().map(|extent| extent.start..extent.end()).collect());
        }
        if !matches!(self.source, Source::File { .. }) || self.len < SPARSE_FROM {
            return None;
        }
        let opened = self.open().ok().filter(|opened| !opened.is_allocated())?;
        let (mut ranges, mut at, mut stored) = (Vec::new(), 0, 0);
        while let Some(data) = opened.next_data(at).ok()? {
            at = data.end;
            stored += data.end - data.start;
            ranges.push(data);
        }
        Some(ranges).filter(|_| stored < self.len)
    }

    /// Opens the content for reads at any offset, from any number of threads.
    pub fn open(&self) -> Result<Opened<'_>, ContentError> {
        Opened::new(self)
    }

    /// Hands the bytes out in order, a MiB at a time; what a sparse file does not store comes as its length.
    pub fn for_each_run<E: From<ContentError>>(
        &self,
        mut each: impl FnMut(Run<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_empty() {
            return Ok(());
        }
        let opened = self.open()?;
        let mut buffer = vec![0; CHUNK.min(self.len) as usize];
        let mut at = 0;
        while at < self.len {
            let data = opened.next_data(at)?.unwrap_or(self.len..self.len);
            if data.start > at {
                each(Run::Hole(data.start - at))?;
            }
            at = data.end;
            opened.read_in_chunks(data, &mut buffer, |part| each(Run::Data(part)))?;
        }
        Ok(())
    }

    /// Hands the bytes out in order, a MiB at a time.
    pub fn for_each_chunk<E: From<ContentError>>(
        &self,
        each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_empty() {
            return Ok(());
        }
        let mut buffer = vec![0; CHUNK.min(self.len) as usize];
        self.open()?.read_in_chunks(0..self.len, &mut buffer, each)
    }

    /// All bytes, for contents known to be small.
    pub fn read_all(&self) -> Result<Vec<u8>, ContentError> {
        let mut bytes = vec![0; usize::try_from(self.len).expect("a content read whole fits memory")];
        self.open()?.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// Next part of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run<'a> {
    /// These bytes.
    Data(&'a [u8]),
    /// This many zeros that the file does not store.
    Hole(u64),
}
