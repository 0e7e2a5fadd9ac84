//! Metadata blocks: streams of records cut into 8 KiB and compressed, and tables of them with an index.

use super::SquashfsError;
use super::compressor::Compressor;
use super::raw::{Put, Reference, SQUASHFS_COMPRESSED_BIT, SQUASHFS_METADATA_SIZE};
use super::sink::Sink;

/// A stream of records whose places are known while it grows.
pub(super) struct MetadataStream {
    compressor: Compressor,
    /// The block that is being filled.
    open: Vec<u8>,
    /// The blocks before it, as they are on disk.
    packed: Vec<u8>,
    /// Length of those blocks before compression.
    before: u64,
}

impl MetadataStream {
    pub(super) fn new(compressor: Compressor) -> MetadataStream {
        let open = Vec::with_capacity(SQUASHFS_METADATA_SIZE);
        MetadataStream { compressor, open, packed: Vec::new(), before: 0 }
    }

    /// Start of the next record.
    pub(super) fn reference(&self) -> Reference {
        Reference { block: self.packed.len() as u64, offset: self.open.len() as u16 }
    }

    /// Start of the next record, counted in uncompressed bytes.
    pub(super) fn position(&self) -> u64 {
        self.before + self.open.len() as u64
    }

    /// Appends a record, over the end of a block if need be.
    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<(), SquashfsError> {
        while !bytes.is_empty() {
            let count = bytes.len().min(SQUASHFS_METADATA_SIZE - self.open.len());
            self.open.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.open.len() == SQUASHFS_METADATA_SIZE {
                self.close_block()?;
            }
        }
        Ok(())
    }

    /// All blocks as they are on disk.
    pub(super) fn finish(mut self, table: &'static str) -> Result<Vec<u8>, SquashfsError> {
        self.close_block()?;
        // References have 32 bits for the block.
        let (len, max) = (self.packed.len() as u64, u64::from(u32::MAX));
        if len > max {
            return Err(SquashfsError::TableTooLarge { table, len, max });
        }
        Ok(self.packed)
    }

    fn close_block(&mut self) -> Result<(), SquashfsError> {
        if !self.open.is_empty() {
            pack(&mut self.compressor, &self.open, &mut self.packed)?;
            self.before += self.open.len() as u64;
            self.open.clear();
        }
        Ok(())
    }
}

/// Appends one metadata block.
fn pack(compressor: &mut Compressor, block: &[u8], out: &mut Vec<u8>) -> Result<(), SquashfsError> {
    match compressor.compress(block)? {
        Some(packed) => out.u16(packed.len() as u16).extend_from_slice(packed),
        None => out.u16(block.len() as u16 | SQUASHFS_COMPRESSED_BIT).extend_from_slice(block),
    }
    Ok(())
}

/// Writes a lookup table and returns where its index of block positions is; `header` comes before the index.
pub(super) fn write_table(
    sink: &mut Sink,
    compressor: &mut Compressor,
    records: &[u8],
    header: &[u8],
) -> Result<u64, SquashfsError> {
    let mut index = Vec::new();
    let mut packed = Vec::new();
    for block in records.chunks(SQUASHFS_METADATA_SIZE) {
        index.u64(sink.position());
        packed.clear();
        pack(compressor, block, &mut packed)?;
        sink.put(&packed)?;
    }
    let start = sink.position();
    sink.put(header)?;
    sink.put(&index)?;
    Ok(start)
}

/// The compressor options: one metadata block that is never compressed.
pub(super) fn stored_block(block: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(2 + block.len());
    packed.u16(block.len() as u16 | SQUASHFS_COMPRESSED_BIT).extend_from_slice(block);
    packed
}
