//! Changes of metadata, gathered in memory until they are written all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::disk::{Blocks, Disk};
use super::error::{UpdateError, corrupt};
use super::group::{Bitmap, Group};
use super::inode::Inode;
use super::super_block::{SUPER_BLOCK_OFFSET, SuperBlock};
use crate::value::Timestamp;

/// Time at which a block is written in place: the order of the variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Was in no use before.
    Fresh,
    /// Bitmaps, descriptors, inodes, attributes.
    Table,
    /// A block of a directory that was there before.
    Directory,
    /// The one with the superblock.
    Super,
}

/// Blocks with what they shall hold.
pub(super) type Changed = BTreeMap<u64, (Class, Vec<u8>)>;

/// A view of the filesystem with changes that are not written yet.
pub(super) struct Transaction<'d> {
    disk: &'d Disk<'d>,
    /// As it will be.
    pub super_block: SuperBlock,
    /// As they will be.
    pub groups: Vec<Group>,
    blocks: Changed,
    dirty: BTreeSet<u32>,
    /// Blocks that are free when everything else is done.
    pub released: Vec<Range<u64>>,
}

impl Blocks for Transaction<'_> {
    fn block(&self, number: u64) -> Result<Vec<u8>, UpdateError> {
        match self.blocks.get(&number) {
            Some((_, bytes)) => Ok(bytes.clone()),
            None => self.disk.block(number),
        }
    }
}

impl<'d> Transaction<'d> {
    /// Nothing changed yet.
    pub(super) fn new(disk: &'d Disk<'d>, super_block: &SuperBlock, groups: &[Group]) -> Transaction<'d> {
        Transaction {
            disk,
            super_block: super_block.clone(),
            groups: groups.to_vec(),
            blocks: BTreeMap::new(),
            dirty: BTreeSet::new(),
            released: Vec::new(),
        }
    }

    /// Bytes of a block.
    pub(super) fn block_size(&self) -> u64 {
        self.super_block.block_size()
    }

    /// Changes a block.
    pub(super) fn put(&mut self, number: u64, class: Class, bytes: Vec<u8>) {
        let class = self.blocks.get(&number).map_or(class, |(known, _)| *known);
        self.blocks.insert(number, (class, bytes));
    }

    fn inode_place(&self, number: u32) -> Result<(u64, usize), UpdateError> {
        if number == 0 || number > self.super_block.inodes_count() {
            return Err(corrupt(format!("inode {number} of {} is in use", self.super_block.inodes_count())));
        }
        let (group, index) = self.inode_group(number);
        let at = u64::from(index) * self.super_block.inode_size() as u64;
        let block = self.groups[group as usize].inode_table() + at / self.block_size();
        Ok((block, (at % self.block_size()) as usize))
    }

    fn inode_group(&self, number: u32) -> (u32, u32) {
        let per_group = self.super_block.inodes_per_group();
        ((number - 1) / per_group, (number - 1) % per_group)
    }

    /// An inode in use.
    pub(super) fn inode(&self, number: u32) -> Result<Inode, UpdateError> {
        let inode = self.inode_slot(number)?;
        if self.super_block.has_metadata_csum() && !inode.is_sound(&self.super_block) {
            return Err(corrupt(format!("the checksum of inode {number} is wrong")));
        }
        Ok(inode)
    }

    /// The bytes in the place of an inode, whatever they are.
    pub(super) fn inode_slot(&self, number: u32) -> Result<Inode, UpdateError> {
        let (block, at) = self.inode_place(number)?;
        Ok(Inode::new(number, &self.block(block)?[at..at + self.super_block.inode_size()]))
    }

    /// Stores an inode with its checksum.
    pub(super) fn put_inode(&mut self, inode: &mut Inode) -> Result<(), UpdateError> {
        inode.seal(&self.super_block);
        let (block, at) = self.inode_place(inode.number)?;
        let mut bytes = self.block(block)?;
        bytes[at..at + inode.bytes().len()].copy_from_slice(inode.bytes());
        self.put(block, Class::Table, bytes);
        Ok(())
    }

    /// A bitmap, made up if it was never written, else checked.
    pub(super) fn bitmap(&self, group: u32, bitmap: Bitmap) -> Result<Vec<u8>, UpdateError> {
        let descriptor = &self.groups[group as usize];
        if self.super_block.has_uninit_groups() && descriptor.is_uninit(bitmap) {
            return Ok(self.initial_bitmap(group, bitmap));
        }
        let bytes = self.block(descriptor.bitmap(bitmap))?;
        if !descriptor.knows(bitmap, &bytes, &self.super_block) {
            return Err(corrupt(format!("the checksum of the {} of group {group} is wrong", name(bitmap))));
        }
        let free = count_zeros(&bytes, self.bits(group, bitmap));
        if free != descriptor.free(bitmap) {
            return Err(corrupt(format!(
                "the {} of group {group} has {free} free but its descriptor says {}",
                name(bitmap),
                descriptor.free(bitmap)
            )));
        }
        Ok(bytes)
    }

    /// Bits of a bitmap that stand for something.
    fn bits(&self, group: u32, bitmap: Bitmap) -> u64 {
        match bitmap {
            Bitmap::Inodes => self.super_block.inodes_per_group().into(),
            Bitmap::Blocks => {
                let range = self.super_block.group_range(group.into());
                range.end - range.start
            }
        }
    }

    /// Returns what the kernel makes up for a bitmap that was never written (`ext4_init_block_bitmap`).
    fn initial_bitmap(&self, group: u32, bitmap: Bitmap) -> Vec<u8> {
        let mut bytes = vec![0; self.block_size() as usize];
        let bits = self.bits(group, bitmap);
        set(&mut bytes, bits..8 * self.block_size());
        if bitmap == Bitmap::Blocks {
            let range = self.super_block.group_range(group.into());
            set(&mut bytes, 0..self.super_block.base_blocks(group.into()).min(bits));
            let descriptor = &self.groups[group as usize];
            let table = descriptor.inode_table();
            let maps = [Bitmap::Blocks, Bitmap::Inodes].map(|bitmap| descriptor.bitmap(bitmap));
            let own = [maps[0]..maps[0] + 1, maps[1]..maps[1] + 1, table..table + self.inode_table_len()];
            for block in own.into_iter().flatten().filter(|block| range.contains(block)) {
                set(&mut bytes, block - range.start..block - range.start + 1);
            }
        }
        bytes
    }

    /// Blocks of the inode table of a group.
    pub(super) fn inode_table_len(&self) -> u64 {
        let bytes = u64::from(self.super_block.inodes_per_group()) * self.super_block.inode_size() as u64;
        bytes.div_ceil(self.block_size())
    }

    /// A bitmap that is going to be changed, for which it has to be written.
    fn bitmap_to_change(&mut self, group: u32, bitmap: Bitmap) -> Result<Vec<u8>, UpdateError> {
        let bytes = self.bitmap(group, bitmap)?;
        let descriptor = &mut self.groups[group as usize];
        if descriptor.is_uninit(bitmap) {
            descriptor.set_init(bitmap);
        }
        Ok(bytes)
    }

    fn put_bitmap(&mut self, group: u32, bitmap: Bitmap, bytes: Vec<u8>) {
        let free = count_zeros(&bytes, self.bits(group, bitmap));
        let descriptor = &mut self.groups[group as usize];
        descriptor.set_free(bitmap, free);
        descriptor.seal_bitmap(bitmap, &bytes, &self.super_block);
        let block = descriptor.bitmap(bitmap);
        self.put(block, Class::Table, bytes);
        self.dirty.insert(group);
    }

    /// The part of `run` in its first group: the group, and the bits.
    fn first_part(&self, run: &Range<u64>) -> (u32, Range<u64>) {
        let group = (run.start - self.super_block.first_data_block()) / self.super_block.blocks_per_group();
        let range = self.super_block.group_range(group);
        (group as u32, run.start - range.start..run.end.min(range.end) - range.start)
    }

    fn mark(&mut self, run: Range<u64>, used: bool) -> Result<(), UpdateError> {
        let mut run = run;
        while !run.is_empty() {
            let (group, bits) = self.first_part(&run);
            let mut bytes = self.bitmap_to_change(group, Bitmap::Blocks)?;
            if bits.clone().any(|bit| is_set(&bytes, bit) == used) {
                return Err(corrupt(format!("a block among {}..{} is used twice", run.start, run.end)));
            }
            run.start += bits.end - bits.start;
            if used {
                set(&mut bytes, bits)
            } else {
                clear(&mut bytes, bits)
            }
            self.put_bitmap(group, Bitmap::Blocks, bytes);
        }
        Ok(())
    }

    /// Marks blocks as in use.
    pub(super) fn allocate(&mut self, run: Range<u64>) -> Result<(), UpdateError> {
        self.mark(run, true)
    }

    /// Remembers blocks that readers of the old state may still follow.
    pub(super) fn release_later(&mut self, run: Range<u64>) {
        self.released.push(run);
    }

    /// Marks blocks as free. What they hold stays.
    pub(super) fn release(&mut self, run: Range<u64>) -> Result<(), UpdateError> {
        self.mark(run, false)
    }

    /// Marks an inode as in use.
    pub(super) fn allocate_inode(&mut self, number: u32, is_directory: bool) -> Result<(), UpdateError> {
        let (group, index) = self.inode_group(number);
        let mut bytes = self.bitmap_to_change(group, Bitmap::Inodes)?;
        if is_set(&bytes, index.into()) {
            return Err(corrupt(format!("inode {number} is used twice")));
        }
        set(&mut bytes, index.into()..u64::from(index) + 1);
        self.put_bitmap(group, Bitmap::Inodes, bytes);
        // As the kernel does: a group with inodes in use has a bitmap of its blocks.
        if self.groups[group as usize].is_uninit(Bitmap::Blocks) {
            let bytes = self.bitmap_to_change(group, Bitmap::Blocks)?;
            self.put_bitmap(group, Bitmap::Blocks, bytes);
        }
        if self.super_block.has_uninit_groups() {
            self.extend_table(group, index)?;
        }
        let descriptor = &mut self.groups[group as usize];
        descriptor.set_used_dirs(descriptor.used_dirs() + u32::from(is_directory));
        Ok(())
    }

    /// Makes the used part of an inode table reach `index`; its blocks may never have been written.
    fn extend_table(&mut self, group: u32, index: u32) -> Result<(), UpdateError> {
        let per_group = self.super_block.inodes_per_group();
        let used = per_group - self.groups[group as usize].itable_unused().min(per_group);
        if index < used {
            return Ok(());
        }
        self.groups[group as usize].set_itable_unused(per_group - (index + 1));
        let (size, per_block) =
            (self.super_block.inode_size(), self.block_size() as usize / self.super_block.inode_size());
        let end = (index as usize + 1).next_multiple_of(per_block).min(per_group as usize);
        for slot in used as usize..end {
            let block = self.groups[group as usize].inode_table() + (slot / per_block) as u64;
            let mut bytes = self.block(block)?;
            bytes[slot % per_block * size..][..size].fill(0);
            self.put(block, Class::Table, bytes);
        }
        Ok(())
    }

    /// Marks an inode as free, and says so in it. Its map stays, for boot loaders that are about to follow it.
    pub(super) fn release_inode(&mut self, inode: &mut Inode, time: Timestamp) -> Result<(), UpdateError> {
        let (group, index) = self.inode_group(inode.number);
        let mut bytes = self.bitmap_to_change(group, Bitmap::Inodes)?;
        if !is_set(&bytes, index.into()) {
            return Err(corrupt(format!(
                "inode {} is in use but its bitmap says that it is free",
                inode.number
            )));
        }
        clear(&mut bytes, index.into()..u64::from(index) + 1);
        self.put_bitmap(group, Bitmap::Inodes, bytes);
        let descriptor = &mut self.groups[group as usize];
        if inode.kind() == super::inode::S_IFDIR {
            descriptor.set_used_dirs(descriptor.used_dirs().saturating_sub(1));
        }
        inode.set_links(0);
        // A small number there would be taken for the next one in a list of orphans.
        inode.set_dtime((time as u32).max(self.super_block.inodes_count() + 1));
        self.put_inode(inode)
    }

    /// A free inode that is not in `taken`, in the first group from `near` on that has one; those in groups whose
    /// tables were never used come last.
    pub(super) fn find_inode(&self, near: u32, taken: &BTreeSet<u32>) -> Result<Option<u32>, UpdateError> {
        let count = self.groups.len() as u32;
        for uninit in [false, true] {
            for group in (0..count).map(|index| (near + index) % count) {
                let descriptor = &self.groups[group as usize];
                let is_uninit = self.super_block.has_uninit_groups() && descriptor.is_uninit(Bitmap::Inodes);
                if descriptor.free(Bitmap::Inodes) == 0 || is_uninit != uninit {
                    continue;
                }
                let bytes = self.bitmap(group, Bitmap::Inodes)?;
                let first = group * self.super_block.inodes_per_group() + 1;
                let mut all = first..first + self.super_block.inodes_per_group();
                let free = all.find(|inode| {
                    let bit = u64::from(inode - first);
                    *inode >= self.super_block.first_inode() && !is_set(&bytes, bit) && !taken.contains(inode)
                });
                if free.is_some() {
                    return Ok(free);
                }
            }
        }
        Ok(None)
    }

    /// The runs of free blocks of a group.
    pub(super) fn free_runs(&self, group: u32) -> Result<Vec<Range<u64>>, UpdateError> {
        if self.groups[group as usize].free(Bitmap::Blocks) == 0 {
            return Ok(Vec::new());
        }
        let bytes = self.bitmap(group, Bitmap::Blocks)?;
        let range = self.super_block.group_range(group.into());
        let mut runs = Vec::new();
        let mut start = None;
        for bit in 0..range.end - range.start {
            match (is_set(&bytes, bit), start) {
                (false, None) => start = Some(bit),
                (true, Some(first)) => {
                    runs.push(range.start + first..range.start + bit);
                    start = None;
                }
                _ => {}
            }
        }
        runs.extend(start.map(|first| range.start + first..range.end));
        Ok(runs)
    }

    /// Everything that changed so far, with all counts and checksums.
    pub(super) fn changed(&mut self, time: Timestamp) -> Result<Changed, UpdateError> {
        for group in std::mem::take(&mut self.dirty) {
            let super_block = &self.super_block;
            let descriptor = &mut self.groups[group as usize];
            descriptor.seal(group, super_block);
            let bytes = descriptor.bytes().to_vec();
            let (block, at) = super_block.descriptor_place(group.into());
            let mut table = self.block(block)?;
            table[at..at + bytes.len()].copy_from_slice(&bytes);
            self.put(block, Class::Table, table);
        }
        self.sum_up(time);
        let number = SUPER_BLOCK_OFFSET / self.block_size();
        let mut bytes = self.block(number)?;
        let at = (SUPER_BLOCK_OFFSET % self.block_size()) as usize;
        bytes[at..at + 1024].copy_from_slice(self.super_block.bytes());
        self.put(number, Class::Super, bytes);
        Ok(self.blocks.clone())
    }

    /// The counts of the superblock are those of the groups; the kernel leaves them behind until it unmounts.
    fn sum_up(&mut self, time: Timestamp) {
        let sum = |bitmap| self.groups.iter().map(|group| u64::from(group.free(bitmap))).sum::<u64>();
        let (blocks, inodes) = (sum(Bitmap::Blocks), sum(Bitmap::Inodes));
        self.super_block.set_free(blocks, inodes as u32);
        self.super_block.set_write_time(time);
        self.super_block.seal();
    }
}

fn name(bitmap: Bitmap) -> &'static str {
    match bitmap {
        Bitmap::Blocks => "block bitmap",
        Bitmap::Inodes => "inode bitmap",
    }
}

/// Returns whether a bit of a bitmap is set.
pub(super) fn is_set(bytes: &[u8], bit: u64) -> bool {
    bytes[(bit / 8) as usize] >> (bit % 8) & 1 == 1
}

/// Sets bits of a bitmap.
pub(super) fn set(bytes: &mut [u8], bits: Range<u64>) {
    bits.for_each(|bit| bytes[(bit / 8) as usize] |= 1 << (bit % 8));
}

fn clear(bytes: &mut [u8], bits: Range<u64>) {
    bits.for_each(|bit| bytes[(bit / 8) as usize] &= !(1 << (bit % 8)));
}

fn count_zeros(bytes: &[u8], bits: u64) -> u32 {
    let (whole, rest) = bytes.split_at((bits / 8) as usize);
    let zeros: u32 = whole.iter().map(|byte| byte.count_zeros()).sum();
    zeros + (0..bits % 8).filter(|bit| !is_set(rest, *bit)).count() as u32
}
