//! From a layout to bytes.

use std::io::{self, Write};

use super::CpioError;
use super::layout::{Data, Entry, Layout};
use super::raw::{BLOCK_SIZE, Header, TRAILER, padding};
use crate::fs::compress::{Compression, Encoder};
use crate::fs::{WrittenFile, zeros};
use crate::tree::{Content, Run, display};
use crate::value::Digest;

/// Result of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Every regular file; one with several names once for each.
    pub files: Vec<WrittenFile>,
    /// Bytes that were written, after compression.
    pub len: u64,
    /// Bytes before compression.
    pub plain_len: u64,
}

/// Writes the archive, compressed, to any writer: a file, or a [`crate::storage::RegionWriter`].
pub fn write(layout: &Layout, compression: Compression, out: &mut dyn Write) -> Result<Written, CpioError> {
    let encoder = Encoder::new(compression, Counted { inner: out, count: 0 }).map_err(output)?;
    let mut plain = Counted { inner: encoder, count: 0 };
    let mut files = Vec::new();
    for entry in &layout.entries {
        append_entry(entry, &mut plain, &mut files)?;
    }
    append(&mut plain, &Header { nlink: 1, ..Header::default() }.encode(TRAILER))?;
    let plain_len = plain.count.next_multiple_of(BLOCK_SIZE);
    let rest = (plain_len - plain.count) as usize;
    append(&mut plain, &[0; BLOCK_SIZE as usize][..rest])?;
    debug_assert_eq!(plain_len, layout.len());
    let counted = plain.inner.finish().map_err(output)?;
    counted.inner.flush().map_err(output)?;
    Ok(Written { files, len: counted.count, plain_len })
}

fn append_entry(entry: &Entry, out: &mut impl Write, files: &mut Vec<WrittenFile>) -> Result<(), CpioError> {
    append(out, &entry.header.encode(entry.name()))?;
    match entry.data {
        Data::None => {}
        Data::Target(target) => append(out, target)?,
        // The digest is filled in when the content comes with the last name.
        Data::Later => files.push(written(entry, 0, Digest([0; 32]))),
        Data::Content(content) => {
            let blake3 = append_content(content, out)?;
            let waiting = if entry.header.nlink > 1 { entry.header.nlink as usize - 1 } else { 0 };
            let first = files.len() - waiting;
            for file in &mut files[first..] {
                (file.size, file.blake3) = (content.len(), blake3);
            }
            files.push(written(entry, content.len(), blake3));
        }
    }
    append(out, padding(entry.header.filesize.into()))
}

fn written(entry: &Entry, size: u64, blake3: Digest) -> WrittenFile {
    WrittenFile { path: display(&entry.path), size, blake3 }
}

fn append_content(content: &Content, out: &mut impl Write) -> Result<Digest, CpioError> {
    let mut hasher = blake3::Hasher::new();
    content.for_each_run(|run| match run {
        Run::Data(bytes) => {
            hasher.update(bytes);
            append(out, bytes)
        }
        Run::Hole(len) => zeros(len).try_for_each(|bytes| {
            hasher.update(bytes);
            append(out, bytes)
        }),
    })?;
    Ok(hasher.finalize().into())
}

fn append(out: &mut impl Write, bytes: &[u8]) -> Result<(), CpioError> {
    out.write_all(bytes).map_err(output)
}

fn output(source: io::Error) -> CpioError {
    CpioError::Output { source }
}

/// Counts the bytes that pass.
struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buf)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
