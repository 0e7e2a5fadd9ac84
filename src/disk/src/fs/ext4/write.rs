//! Emits a layout: one ascending pass, each byte at most once.

use std::collections::BTreeMap;
use std::ops::Range;

use super::layout::{Data, Piece, inode_range, overlap};
use super::raw::{
    self, BLOCK, BLOCKS_PER_GROUP, INODES_PER_BLOCK, JOURNAL_INO, SuperBlock, journal_super_block, put32,
};
use super::{Ext4Error, Layout};
use crate::fs::{FileHasher, WrittenFile};
use crate::storage::{Region, RegionWriter};
use crate::tree::{self, Body, NodeId, Opened};
use crate::value::{Digest, is_zero};

/// Bytes of a file that are zeroed rather than written if they are zeros.
const LONG_RUN: usize = 512 << 10;

/// Result of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Regular files by first name, in tree order.
    pub files: Vec<WrittenFile>,
    /// Bytes in free blocks.
    pub free_len: u64,
}

/// Writes the filesystem; `region` has the length the layout was made for.
pub fn write(layout: &Layout, region: &Region) -> Result<Written, Ext4Error> {
    region.ensure_fits(layout.region_len)?;
    let digests = region.stream(0, |writer| {
        let mut output = Output { layout, writer, current: None, digests: BTreeMap::new() };
        layout.pieces.iter().try_for_each(|piece| output.piece(piece))?;
        output.finish_file()?;
        Ok::<_, Ext4Error>(output.digests)
    })?;
    let empty = Digest::of(b"");
    let file = |(path, id): &(Vec<u8>, NodeId)| {
        let (size, blake3) = digests.get(id).copied().unwrap_or((0, empty));
        WrittenFile { path: tree::display(path), size, blake3 }
    };
    Ok(Written { files: layout.files.iter().map(file).collect(), free_len: layout.free_len() })
}

struct Output<'a, 'w, 'r> {
    layout: &'a Layout<'a>,
    writer: &'w mut RegionWriter<'r>,
    /// The file that is being written.
    current: Option<Current<'a>>,
    digests: BTreeMap<NodeId, (u64, Digest)>,
}

struct Current<'a> {
    node: NodeId,
    opened: Opened<'a>,
    hasher: FileHasher,
    /// Bytes that were hashed.
    at: u64,
}

impl Output<'_, '_, '_> {
    fn piece(&mut self, piece: &Piece) -> Result<(), Ext4Error> {
        let layout = self.layout;
        self.writer.skip_to(piece.start * BLOCK)?;
        let end = (piece.start + piece.blocks) * BLOCK;
        match &piece.data {
            Data::SuperBlock { group } => self.super_block(*group)?,
            Data::ReservedDescriptors => self.writer.append(&layout.reserved_descriptors())?,
            Data::BlockBitmap { group } => self.writer.append(&layout.block_bitmap(*group))?,
            Data::InodeBitmap { group } => self.writer.append(&layout.inode_bitmap(*group))?,
            Data::InodeTable { group } => self.writer.append(&layout.inode_table(*group))?,
            Data::JournalSuperBlock { blocks } => {
                self.writer.append(&journal_super_block(*blocks as u32, layout.options.uuid))?;
            }
            Data::Bytes(bytes) => self.writer.append(bytes)?,
            Data::File { node, block } => self.file(*node, block * BLOCK, piece.blocks * BLOCK)?,
            Data::Zero => {}
        }
        self.writer.zero_to(end)?;
        Ok(())
    }

    fn super_block(&mut self, group: u32) -> Result<(), Ext4Error> {
        let bytes = self.layout.super_block().to_bytes(group as u16);
        // The primary one leaves space for a boot sector.
        let block = if group == 0 {
            [[0; 1024], bytes, [0; 1024], [0; 1024]]
        } else {
            [bytes, [0; 1024], [0; 1024], [0; 1024]]
        };
        self.writer.append(block.as_flattened())?;
        Ok(self.writer.append(&self.layout.descriptor_table())?)
    }

    /// At most `len` bytes of a file from `at` on; what is between this piece of it and the last is a hole.
    fn file(&mut self, node: NodeId, at: u64, len: u64) -> Result<(), Ext4Error> {
        let Body::File(content) = &self.layout.tree.node(node).body else { return Ok(()) };
        if self.current.as_ref().is_none_or(|current| current.node != node) {
            self.finish_file()?;
            let (opened, hasher) = (content.open()?, FileHasher::new(content.len()));
            self.current = Some(Current { node, opened, hasher, at: 0 });
        }
        let Some(mut current) = self.current.take() else { return Ok(()) };
        current.hasher.update_zeros(at - current.at);
        let end = (at + len).min(content.len());
        let mut at = at;
        while at < end {
            let data =
                current.opened.next_data(at)?.map_or(end..end, |data| data.start.min(end)..data.end.min(end));
            // Stored, but with zeros that need not be read.
            current.hasher.update_zeros(data.start - at);
            self.writer.zero_to(self.writer.position() + data.start - at)?;
            self.put_data(&mut current, data.clone())?;
            at = data.end;
        }
        current.at = end;
        self.current = Some(current);
        Ok(())
    }

    /// Concludes the file that was written last, which may end with a hole.
    fn finish_file(&mut self) -> Result<(), Ext4Error> {
        let Some(Current { node, opened, mut hasher, at }) = self.current.take() else { return Ok(()) };
        // That it has holes was concluded without reading them.
        opened.ensure_unchanged()?;
        hasher.update_zeros(opened.len() - at);
        self.digests.insert(node, (opened.len(), hasher.finalize()));
        Ok(())
    }

    /// Long runs of zeros are zeroed rather than written, which sparse files and some devices store for free.
    fn put_data(&mut self, current: &mut Current, data: Range<u64>) -> Result<(), Ext4Error> {
        let mut at = data.start;
        while at < data.end {
            let bytes = self.writer.spare_capacity(data.end - at)?;
            current.opened.read_at(bytes, at)?;
            current.hasher.update(bytes);
            let (len, zero) = (bytes.len(), bytes.len() >= LONG_RUN && is_zero(bytes));
            match zero {
                true => self.writer.zero_to(self.writer.position() + len as u64)?,
                false => self.writer.advance(len),
            }
            at += len as u64;
        }
        Ok(())
    }
}

impl Layout<'_> {
    fn super_block(&self) -> SuperBlock<'_> {
        let sum = |count: fn(&raw::GroupDesc) -> u16| -> u32 {
            self.descriptors.iter().map(|descriptor| u32::from(count(descriptor))).sum()
        };
        let journal = self.inodes[JOURNAL_INO as usize - 1].as_ref();
        let journal_blocks = journal.map_or(0, |inode| inode.size / BLOCK);
        let geometry = &self.geometry;
        SuperBlock {
            inodes_count: geometry.groups_count() * geometry.inodes_per_group,
            blocks_count: geometry.blocks as u32,
            r_blocks_count: (geometry.blocks * u64::from(self.options.reserved_percent) / 100) as u32,
            free_blocks_count: sum(|descriptor| descriptor.free_blocks_count),
            free_inodes_count: sum(|descriptor| descriptor.free_inodes_count),
            inodes_per_group: geometry.inodes_per_group,
            reserved_gdt_blocks: geometry.reserved_gdt as u16,
            overhead_clusters: (geometry.overhead() + journal_blocks) as u32,
            uuid: self.options.uuid,
            hash_seed: self.options.hash_seed,
            volume_name: &self.options.label,
            timestamp: self.options.timestamp,
            journal: journal.map(|inode| (inode.block, inode.size)),
        }
    }

    fn descriptor_table(&self) -> Vec<u8> {
        let mut table = Vec::with_capacity((self.geometry.desc_blocks * BLOCK) as usize);
        for (group, descriptor) in self.descriptors.iter().enumerate() {
            table.extend(descriptor.to_bytes(self.options.uuid, group as u32));
        }
        table
    }

    /// Each reserved block lists where its copies are.
    fn reserved_descriptors(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for index in 0..self.geometry.reserved_gdt {
            let at = 1 + self.geometry.desc_blocks + index;
            let mut block = [0; BLOCK as usize];
            for (slot, group) in self.geometry.super_copies().enumerate() {
                put32(&mut block, 4 * slot, (at + u64::from(group) * BLOCKS_PER_GROUP) as u32);
            }
            bytes.extend(block);
        }
        bytes
    }

    /// A bit for each block in use; those behind the end of the filesystem count as such.
    fn block_bitmap(&self, group: u32) -> Vec<u8> {
        let range = self.geometry.group_range(group);
        let mut bitmap = vec![0xFF; BLOCK as usize];
        for run in self.free.iter().filter(|run| overlap(run, &range) > 0) {
            clear(
                &mut bitmap,
                run.start.max(range.start) - range.start..run.end.min(range.end) - range.start,
            );
        }
        bitmap
    }

    fn inode_bitmap(&self, group: u32) -> Vec<u8> {
        let used = inode_range(&self.geometry, self.inodes.len(), group).len() as u64;
        let mut bitmap = vec![0xFF; BLOCK as usize];
        clear(&mut bitmap, used..self.geometry.inodes_per_group.into());
        bitmap
    }

    fn inode_table(&self, group: u32) -> Vec<u8> {
        let range = inode_range(&self.geometry, self.inodes.len(), group);
        let mut table = Vec::with_capacity(range.len().next_multiple_of(INODES_PER_BLOCK as usize) * 256);
        for inode in &self.inodes[range] {
            match inode {
                Some(inode) => inode.append_to(&mut table),
                None => table.extend([0; raw::INODE_SIZE as usize]),
            }
        }
        table
    }
}

/// Clears bits; whole bytes at once.
fn clear(bitmap: &mut [u8], bits: std::ops::Range<u64>) {
    let mut bit = bits.start;
    while bit < bits.end {
        if bit.is_multiple_of(8) && bits.end - bit >= 8 {
            let bytes = (bits.end - bit) / 8;
            bitmap[(bit / 8) as usize..][..bytes as usize].fill(0);
            bit += 8 * bytes;
        } else {
            bitmap[(bit / 8) as usize] &= !(1 << (bit % 8));
            bit += 1;
        }
    }
}
