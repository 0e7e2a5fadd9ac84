//! A range of a target as a stream, for readers of filesystems.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::storage::Target;

/// `len` bytes from `start` of a target.
#[derive(Clone)]
pub struct Stream {
    target: Arc<dyn Target>,
    start: u64,
    len: u64,
    at: u64,
}

impl Stream {
    /// The range, at its start.
    pub fn new(target: &Arc<dyn Target>, start: u64, len: u64) -> Stream {
        let len = len.min(target.geometry().len.saturating_sub(start));
        Stream { target: Arc::clone(target), start, len, at: 0 }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.len.saturating_sub(self.at).min(buf.len() as u64) as usize;
        self.target.read_at(&mut buf[..count], self.start + self.at).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Stream {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = crate::value::seek(self.len, self.at, to)?;
        Ok(self.at)
    }
}
