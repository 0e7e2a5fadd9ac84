//! The way into the region: one sequential pass in aligned pieces, with the first 4 KiB kept for the end.

use super::raw::SuperBlock;
use crate::target::{Region, TargetError};

/// Images are padded to this multiple, so that they can be mounted through any block device.
pub(super) const PADDING: u64 = 4096;

/// Bytes per write to the region.
const PIECE: usize = 1 << 20;

/// Appends to a region. When the region is full it goes on counting, so that the error can tell what the whole
/// image needs.
pub(super) struct Sink<'a> {
    region: &'a Region<'a>,
    /// Where `buffer` belongs.
    at: u64,
    buffer: Vec<u8>,
    /// The first piece of the image once it has left `buffer`.
    head: Vec<u8>,
    full: bool,
}

impl<'a> Sink<'a> {
    /// Begins behind the superblock.
    pub(super) fn new(region: &'a Region<'a>) -> Sink<'a> {
        let mut buffer = Vec::with_capacity(PIECE);
        buffer.resize(SuperBlock::LEN, 0);
        Sink { region, at: 0, buffer, head: Vec::new(), full: false }
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    /// Appends bytes.
    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<(), TargetError> {
        while !bytes.is_empty() {
            let count = bytes.len().min(PIECE - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.buffer.len() == PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Pads, writes what is left, and the superblock last. Returns the length with padding.
    pub(super) fn finish(mut self, superblock: SuperBlock) -> Result<u64, TargetError> {
        let padding = self.position().next_multiple_of(PADDING) - self.position();
        self.put(&[0; PADDING as usize][..padding as usize])?;
        let len = self.position();
        self.region.ensure_fits(len)?;
        let superblock = superblock.to_bytes();
        if self.at == 0 {
            self.buffer[..superblock.len()].copy_from_slice(&superblock);
            self.region.write_at(&self.buffer, 0)?;
        } else {
            self.flush()?;
            self.head[..superblock.len()].copy_from_slice(&superblock);
            self.region.write_at(&self.head, 0)?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> Result<(), TargetError> {
        let end = self.position();
        let head = if self.at == 0 { PADDING as usize } else { 0 };
        self.head.extend_from_slice(&self.buffer[..head]);
        self.full |= end > self.region.len();
        if !self.full && self.buffer.len() > head {
            self.region.write_at(&self.buffer[head..], self.at + head as u64)?;
        }
        self.buffer.clear();
        self.at = end;
        Ok(())
    }
}
