//! A range of a medium as a stream.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// `len` bytes from `start` of a file or device; reads behind the end find nothing.
#[derive(Debug)]
pub struct Section {
    file: File,
    start: u64,
    len: u64,
    at: u64,
    /// How many more bytes may be read.
    allowance: u64,
}

impl Section {
    /// The range of `file`; its own position does not matter.
    pub fn new(file: File, start: u64, len: u64) -> Section {
        Section { file, start, len, at: 0, allowance: u64::MAX }
    }

    /// The same, of which no more than `bytes` are read: further reads fail. A filesystem that is asked for its name
    /// must not take minutes to answer.
    pub fn at_most(self, bytes: u64) -> Section {
        Section { allowance: bytes, ..self }
    }
}

impl Read for Section {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.len.saturating_sub(self.at).min(buf.len() as u64) as usize;
        let left = self.allowance.checked_sub(count as u64);
        self.allowance =
            left.ok_or_else(|| io::Error::other("more would have to be read than is allowed"))?;
        let read = self.file.read_at(&mut buf[..count], self.start + self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = crate::value::seek(self.len, self.at, to)?;
        Ok(self.at)
    }
}
