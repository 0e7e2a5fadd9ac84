//! Data and fragment blocks.

use std::collections::VecDeque;
use std::io::{Read, Seek};
use std::sync::Arc;

use super::super::SquashfsError;
use super::metadata::{Metadata, block_size_field};
use super::walk::FileMap;
use crate::fs::FileHasher;
use crate::value::Digest;

/// Fragment blocks that are kept: neighbours in a directory mostly share one.
const FRAGMENTS_KEPT: usize = 8;

/// Reads the contents of files, with the memory of a few blocks.
pub(super) struct Contents {
    fragments: Vec<(u64, u32)>,
    kept: VecDeque<(u32, Arc<[u8]>)>,
    packed: Vec<u8>,
    block: Vec<u8>,
}

impl Contents {
    pub(super) fn open<R: Read + Seek>(metadata: &mut Metadata<R>) -> Result<Contents, SquashfsError> {
        let fragments = metadata.fragments();
        let fragments =
            fragments.map_err(|reason| SquashfsError::Corrupt(format!("the table of fragments {reason}")))?;
        let block = vec![0; metadata.superblock.block_size as usize];
        Ok(Contents { fragments, kept: VecDeque::new(), packed: Vec::new(), block })
    }

    /// The digest of a file, or why it cannot be read.
    pub(super) fn digest<R: Read + Seek>(
        &mut self,
        metadata: &mut Metadata<R>,
        file: &FileMap,
    ) -> Result<Digest, String> {
        let mut hasher = FileHasher::new(file.size);
        let (mut position, mut rest) = (file.start, file.size);
        for size in &file.blocks {
            let len = rest.min(self.block.len() as u64) as usize;
            match block_size_field(*size).0 {
                0 => hasher.update_zeros(len as u64),
                _ => {
                    self.read_block(metadata, position, *size, Some(len))?;
                    hasher.update(&self.block[..len]);
                }
            }
            position += block_size_field(*size).0 as u64;
            rest -= len as u64;
        }
        if let Some((index, offset)) = file.fragment {
            let fragment = self.fragment(metadata, index)?;
            let range = offset as usize..offset as usize + rest as usize;
            let Some(tail) = fragment.get(range) else {
                return Err(format!("ends behind the {} bytes of fragment block {index}", fragment.len()));
            };
            hasher.update(tail);
        }
        Ok(hasher.finalize())
    }

    fn fragment<R: Read + Seek>(
        &mut self,
        metadata: &mut Metadata<R>,
        index: u32,
    ) -> Result<Arc<[u8]>, String> {
        if let Some((_, block)) = self.kept.iter().find(|(kept, _)| *kept == index) {
            return Ok(block.clone());
        }
        let Some((start, size)) = self.fragments.get(index as usize).copied() else {
            return Err(format!("is in fragment block {index} of {}", self.fragments.len()));
        };
        let len = self.read_block(metadata, start, size, None)?;
        let block: Arc<[u8]> = self.block[..len].into();
        if self.kept.len() == FRAGMENTS_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((index, block.clone()));
        Ok(block)
    }

    /// Reads a block of `wanted` bytes, or of any number up to a whole block, into `self.block`.
    fn read_block<R: Read + Seek>(
        &mut self,
        metadata: &mut Metadata<R>,
        position: u64,
        size: u32,
        wanted: Option<usize>,
    ) -> Result<usize, String> {
        let (packed_len, compressed) = block_size_field(size);
        let room = wanted.unwrap_or(self.block.len());
        if packed_len == 0 {
            // A hole.
            self.block[..room].fill(0);
            return Ok(room);
        }
        if packed_len > self.block.len() {
            return Err(format!("has a block of {packed_len} bytes at byte {position} of the image"));
        }
        self.packed.resize(packed_len, 0);
        metadata.read_at(&mut self.packed, position)?;
        let out = &mut self.block[..room];
        let len = if compressed {
            metadata.decoder.decode(&self.packed, out)
        } else {
            out.get_mut(..packed_len).map(|out| {
                out.copy_from_slice(&self.packed);
                packed_len
            })
        };
        let whole = len.filter(|len| wanted.is_none_or(|wanted| wanted == *len));
        whole.ok_or_else(|| format!("has a damaged block at byte {position} of the image"))
    }
}
