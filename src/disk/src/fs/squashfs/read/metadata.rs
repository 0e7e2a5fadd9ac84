//! Metadata blocks and the records in them.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use super::super::SquashfsError;
use super::super::raw::{self, SQUASHFS_COMPRESSED_BIT, SQUASHFS_METADATA_SIZE, SuperBlock};
use super::decoder::Decoder;

/// The reader of an image with its metadata blocks, each decompressed once.
pub(super) struct Metadata<R> {
    reader: R,
    pub superblock: SuperBlock,
    pub decoder: Decoder,
    /// User and group ids.
    pub ids: Vec<u32>,
    /// Blocks by position, with the position of the next one.
    blocks: HashMap<u64, (Arc<[u8]>, u64)>,
}

/// A place in the metadata that moves on as records are read.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    /// Position of a metadata block in the image.
    pub block: u64,
    /// Byte in the decompressed block.
    pub offset: usize,
}

impl Cursor {
    /// The place a 48 and 16-bit reference means in the table that begins at `start`.
    pub(super) fn new(start: u64, reference: u64) -> Cursor {
        Cursor { block: start.saturating_add(reference >> 16), offset: (reference & 0xffff) as usize }
    }
}

impl<R: Read + Seek> Metadata<R> {
    pub(super) fn open(reader: R, superblock: SuperBlock) -> Result<Metadata<R>, SquashfsError> {
        let decoder = Decoder::new(superblock.compression)?;
        let mut metadata = Metadata { reader, superblock, decoder, ids: Vec::new(), blocks: HashMap::new() };
        let ids = metadata.table(superblock.id_table_start, superblock.no_ids.into(), 4);
        let ids = ids.map_err(|reason| SquashfsError::Corrupt(format!("the table of owners {reason}")))?;
        metadata.ids = ids.chunks_exact(4).map(|id| u32_at(id, 0)).collect();
        Ok(metadata)
    }

    /// Fills `buf` from a position of the image.
    pub(super) fn read_at(&mut self, buf: &mut [u8], position: u64) -> Result<(), String> {
        let read = self.reader.seek(SeekFrom::Start(position)).and_then(|_| self.reader.read_exact(buf));
        read.map_err(|error| format!("cannot be read at byte {position} of the image: {error}"))
    }

    /// The records of a lookup table.
    pub(super) fn table(&mut self, index: u64, count: usize, record: usize) -> Result<Vec<u8>, String> {
        let len = count * record;
        let mut records = Vec::new();
        for number in 0..len.div_ceil(SQUASHFS_METADATA_SIZE) {
            let mut position = [0; 8];
            self.read_at(&mut position, index.saturating_add(number as u64 * 8))?;
            let (block, _) = self.block(u64::from_le_bytes(position))?;
            records.extend_from_slice(&block);
        }
        if records.len() < len {
            return Err(format!("ends after {} of {len} bytes", records.len()));
        }
        if records.len() > len {
            return Err(format!("has {} bytes, {len} belong to it", records.len()));
        }
        Ok(records)
    }

    /// The next `len` bytes at a cursor.
    pub(super) fn take(&mut self, cursor: &mut Cursor, len: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::with_capacity(len.min(SQUASHFS_METADATA_SIZE));
        while bytes.len() < len {
            let (block, next) = self.block(cursor.block)?;
            let rest = block.get(cursor.offset..).unwrap_or_default();
            let count = rest.len().min(len - bytes.len());
            bytes.extend_from_slice(&rest[..count]);
            cursor.offset += count;
            if cursor.offset >= block.len() && bytes.len() < len {
                if block.len() < SQUASHFS_METADATA_SIZE {
                    return Err(format!(
                        "has metadata that ends early, at byte {} of the image",
                        cursor.block
                    ));
                }
                *cursor = Cursor { block: next, offset: 0 };
            }
        }
        Ok(bytes)
    }

    /// Moves a cursor at the end of a block to the start of the next one, which is the same place.
    pub(super) fn settle(&mut self, cursor: &mut Cursor) -> Result<(), String> {
        if cursor.offset == SQUASHFS_METADATA_SIZE {
            let (_, next) = self.block(cursor.block)?;
            *cursor = Cursor { block: next, offset: 0 };
        }
        Ok(())
    }

    /// The metadata block at a position, and the position behind it.
    fn block(&mut self, position: u64) -> Result<(Arc<[u8]>, u64), String> {
        if let Some(known) = self.blocks.get(&position) {
            return Ok(known.clone());
        }
        let mut header = [0; 2];
        self.read_at(&mut header, position)?;
        let header = u16::from_le_bytes(header);
        let len = usize::from(header & !SQUASHFS_COMPRESSED_BIT);
        if len == 0 || len > SQUASHFS_METADATA_SIZE {
            return Err(format!("has a metadata block of {len} bytes at byte {position} of the image"));
        }
        let mut bytes = vec![0; len];
        self.read_at(&mut bytes, position + 2)?;
        if header & SQUASHFS_COMPRESSED_BIT == 0 {
            let mut out = vec![0; SQUASHFS_METADATA_SIZE];
            let Some(len) = self.decoder.decode(&bytes, &mut out) else {
                return Err(format!("has damaged metadata at byte {position} of the image"));
            };
            out.truncate(len);
            bytes = out;
        }
        let block = (Arc::from(bytes), position + 2 + len as u64);
        self.blocks.insert(position, block.clone());
        Ok(block)
    }

    /// Start and size of the fragment blocks.
    pub(super) fn fragments(&mut self) -> Result<Vec<(u64, u32)>, String> {
        if self.superblock.fragments == 0 {
            return Ok(Vec::new());
        }
        let start = self.superblock.fragment_table_start;
        let records = self.table(start, self.superblock.fragments as usize, 16)?;
        Ok(records.chunks_exact(16).map(|record| (u64_at(record, 0), u32_at(record, 8))).collect())
    }

    /// The id an inode's index stands for.
    pub(super) fn id(&self, index: u16) -> Result<u32, String> {
        let id = self.ids.get(usize::from(index)).copied();
        id.ok_or_else(|| format!("has owner {index} of {}", self.ids.len()))
    }

    /// Place of an inode.
    pub(super) fn inode(&self, reference: u64) -> Cursor {
        Cursor::new(self.superblock.inode_table_start, reference)
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Length and compression of a data block's size field.
pub(super) fn block_size_field(size: u32) -> (usize, bool) {
    let stored = size & raw::SQUASHFS_COMPRESSED_BIT_BLOCK != 0;
    ((size & !raw::SQUASHFS_COMPRESSED_BIT_BLOCK) as usize, !stored)
}
