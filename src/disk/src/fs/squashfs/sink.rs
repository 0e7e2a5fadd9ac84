//! The way into the region: one sequential pass, with the first 4 KiB kept for the end.

use super::raw::SuperBlock;
use crate::storage::{RegionWriter, TargetError};

/// Images are padded to this multiple, so that they can be mounted through any block device.
pub(super) const PADDING: u64 = 4096;

/// Appends to a region. When the region is full it goes on counting, so that the error can say what the whole
/// image needs.
pub(super) struct Sink<'s, 'a> {
    /// Begins at [`PADDING`].
    writer: &'s mut RegionWriter<'a>,
    /// The first bytes of the image.
    head: Vec<u8>,
    position: u64,
    /// Bytes there is room for.
    room: u64,
}

impl<'s, 'a> Sink<'s, 'a> {
    /// Begins behind the superblock; `writer` begins at [`PADDING`] of a region of `room` bytes.
    pub(super) fn new(writer: &'s mut RegionWriter<'a>, room: u64) -> Sink<'s, 'a> {
        let head = vec![0; SuperBlock::LEN];
        Sink { writer, head, position: SuperBlock::LEN as u64, room }
    }

    /// Position of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Appends bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        let count = bytes.len().min(PADDING as usize - self.head.len());
        let (head, rest) = bytes.split_at(count);
        self.head.extend_from_slice(head);
        self.position += bytes.len() as u64;
        match self.position > self.room {
            true => Ok(()),
            false => self.writer.append(rest),
        }
    }

    /// Pads. Returns the length with padding, and the first bytes with the superblock, which are written when all
    /// the others have been.
    pub(super) fn finish(mut self, superblock: SuperBlock) -> Result<(u64, Vec<u8>), TargetError> {
        let padding = self.position.next_multiple_of(PADDING) - self.position;
        self.put(&[0; PADDING as usize][..padding as usize])?;
        let superblock = superblock.to_bytes();
        self.head[..superblock.len()].copy_from_slice(&superblock);
        Ok((self.position, self.head))
    }
}
