//! Makes an unmounted filesystem larger, whoever made it.
//!
//! New groups are added as `mke2fs` would have made them, with unwritten bitmaps and inode tables where checksums of
//! descriptors allow that. The descriptors grow into the blocks that were reserved for them; where these do not
//! suffice, the filesystem becomes as large as they allow. No file and no block in use is moved, so nothing but
//! metadata is read or written.
//!
//! A filesystem is grown only if it is clean: what its journal holds would undo the change.

mod error;
mod groups;
mod supported;
mod volume;
use std::ops::Range;

pub use error::GrowError;
use groups::Growing;
pub use groups::Limit;
use volume::{
    Checksums, RESIZE_INO, Volume, addresses_per_block, get_half, inode_offset, put_block, put_half,
    seal_inode,
};

use super::raw::{BLOCK_UNINIT, INODE_UNINIT, get16, get32, put16, put32};
use crate::storage::Target;

/// Result of growing a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Bytes before.
    pub from: u64,
    /// Bytes now; the same where not even another block had room.
    pub to: u64,
    /// Reason why it does not fill the partition, if that is not for want of room.
    pub limit: Option<Limit>,
}

/// Makes the filesystem that begins at `partition.start` fill `partition` of `target`.
///
/// # Errors
/// Nothing is written if the filesystem cannot be grown. If the target fails, the filesystem may be damaged: it is to
/// be written again, or worked on in a [`crate::storage::CowOverlay`].
///
/// ```
/// # use skiff_disk::fs::ext4::{self, Journal};
/// # use skiff_disk::storage::{Memory, Region};
/// # use skiff_disk::tree::{Stat, Tree};
/// # let tree = Tree::new(Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 });
/// # let options = ext4::Options {
/// #     label: String::new(),
/// #     uuid: uuid::Uuid::nil(),
/// #     hash_seed: uuid::Uuid::nil(),
/// #     timestamp: 0,
/// #     bytes_per_inode: 16384,
/// #     inodes: 0,
/// #     reserved_percent: 5,
/// #     journal: Journal::Auto,
/// #     grow_to: 1 << 30,
/// # };
/// let disk = Memory::new(32 << 20);
/// let small = Region::new(&disk, "data", 0, 8 << 20, "free space");
/// ext4::write(&ext4::layout(&tree, &options, small.len())?, &small)?;
///
/// let grown = ext4::grow(&disk, &(0..32 << 20))?;
/// assert_eq!((grown.from, grown.to), (8 << 20, 32 << 20));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn grow(target: &dyn Target, partition: &Range<u64>) -> Result<Grown, GrowError> {
    let room = partition.end.saturating_sub(partition.start);
    let mut volume = Volume::open(target, partition.start, room)?;
    let from = volume.blocks() * volume.block;
    let Some(growing) = Growing::new(&volume, room / volume.block) else {
        return Ok(Grown { from, to: from, limit: None });
    };
    let last = extended_group(&mut volume, &growing)?;
    let resize = resize_inode(&volume, &growing)?;
    add_groups(&mut volume, &growing);
    count(&mut volume, &growing, last.as_ref().map_or(0, |last| last.added));
    if let Some(LastGroup { bitmap: Some((block, bytes)), .. }) = &last {
        volume.write_block(*block, bytes)?;
    }
    write_groups(&volume, &growing)?;
    for (at, bytes) in resize {
        volume.write_at(&bytes, at)?;
    }
    volume.write_supers()?;
    Ok(Grown { from, to: growing.blocks * volume.block, limit: growing.limit })
}

/// Changes to the last old group.
struct LastGroup {
    added: u64,
    /// Its changed bitmap and where that is; none if it is not written.
    bitmap: Option<(u64, Vec<u8>)>,
}

/// Frees the blocks that the last old group did not have yet.
fn extended_group(volume: &mut Volume, growing: &Growing) -> Result<Option<LastGroup>, GrowError> {
    let group = growing.groups.start - 1;
    let (old, new) = (volume.group_range(group, volume.blocks()), volume.group_range(group, growing.blocks));
    let added = new.end - old.end;
    if added == 0 {
        return Ok(None);
    }
    let descriptor = volume.descriptor(group).to_vec();
    let free = get_half(&descriptor, 0x0C, 0x2C) + added;
    put_half(volume.descriptor_mut(group), 0x0C, 0x2C, free);
    let mut bitmap = None;
    if get16(&descriptor, 0x12) & BLOCK_UNINIT == 0 || volume.checksums == Checksums::None {
        let block = volume::get_block(&descriptor, 0x00, 0x20);
        let mut bytes = volume.read_block(block)?;
        let found = volume.bitmap_checksum(&bytes, volume.blocks_per_group);
        if found.is_some_and(|found| found != get_split(&descriptor, 0x18, 0x38)) {
            let what = format!("the checksum of the block bitmap of group {group} is wrong");
            return Err(GrowError::Corrupt { what });
        }
        set_bits(&mut bytes, old.end - old.start..new.end - new.start, false);
        put_bitmap_checksum(volume, group, (0x18, 0x38), &bytes, volume.blocks_per_group);
        bitmap = Some((block, bytes));
    }
    volume.seal_descriptor(group);
    Ok(Some(LastGroup { added, bitmap }))
}

/// Descriptors of the new groups.
fn add_groups(volume: &mut Volume, growing: &Growing) {
    let len = volume.desc_blocks(growing.groups.end) * volume.block;
    volume.descriptors.resize(len as usize, 0);
    let (inodes, checksums) = (volume.inodes_per_group, volume.checksums);
    for (group, place) in growing.groups.clone().zip(&growing.places) {
        let bitmap = block_bitmap(volume, growing, group);
        let is_uninitialized = growing.is_uninitialized(volume, group);
        let flags = match checksums {
            Checksums::None => 0,
            _ => INODE_UNINIT | if is_uninitialized { BLOCK_UNINIT } else { 0 },
        };
        let free = bitmap_free(&bitmap, volume.blocks_per_group);
        let descriptor = volume.descriptor_mut(group);
        descriptor.fill(0);
        put_block(descriptor, 0x00, 0x20, place.block_bitmap);
        put_block(descriptor, 0x04, 0x24, place.inode_bitmap);
        put_block(descriptor, 0x08, 0x28, place.inode_table);
        put_half(descriptor, 0x0C, 0x2C, free);
        put_half(descriptor, 0x0E, 0x2E, inodes);
        put16(descriptor, 0x12, flags);
        if checksums != Checksums::None {
            put_half(descriptor, 0x1C, 0x32, inodes); // bg_itable_unused
        }
        if !is_uninitialized {
            put_bitmap_checksum(volume, group, (0x18, 0x38), &bitmap, volume.blocks_per_group);
        }
        volume.seal_descriptor(group);
    }
}

/// The numbers of the superblock.
fn count(volume: &mut Volume, growing: &Growing, added: u64) {
    let (old, groups) = (volume.blocks(), growing.groups.end);
    let reserved = u128::from(volume.wide(0x08, 0x154)) * u128::from(growing.blocks) / u128::from(old);
    let new_free: u64 =
        growing.groups.clone().map(|group| get_half(volume.descriptor(group), 0x0C, 0x2C)).sum();
    let free = volume.wide(0x0C, 0x158) + added + new_free;
    let consumed = volume.desc_blocks(groups) - volume.desc_blocks(growing.groups.start);
    let new_inodes = (growing.groups.end - growing.groups.start) * volume.inodes_per_group;
    volume.set_wide(0x04, 0x150, growing.blocks);
    volume.set_wide(0x08, 0x154, reserved as u64);
    volume.set_wide(0x0C, 0x158, free);
    let b = &mut volume.superblock;
    for at in [0x00, 0x10] {
        let inodes = get32(b, at) + new_inodes as u32;
        put32(b, at, inodes);
    }
    if consumed > 0 {
        let left = get16(b, 0xCE) - consumed as u16;
        put16(b, 0xCE, left);
    }
    let overhead = get32(b, 0x248);
    if overhead != 0 {
        put32(b, 0x248, (u64::from(overhead) + growing.overhead()) as u32);
    }
}

/// Ranges of new groups that must not be what the medium held before.
fn write_groups(volume: &Volume, growing: &Growing) -> Result<(), GrowError> {
    for (group, place) in growing.groups.clone().zip(&growing.places) {
        if !growing.is_uninitialized(volume, group) {
            volume.write_block(place.block_bitmap, &block_bitmap(volume, growing, group))?;
        }
        if volume.checksums == Checksums::None {
            let mut bitmap = vec![0xFF; volume.block as usize];
            set_bits(&mut bitmap, 0..volume.inodes_per_group, false);
            volume.write_block(place.inode_bitmap, &bitmap)?;
            volume.zero_blocks(place.inode_table, volume.inode_table_blocks())?;
        }
    }
    Ok(())
}

/// A bit for each block in use of a new group; those behind the end of the filesystem count as such.
fn block_bitmap(volume: &Volume, growing: &Growing, group: u64) -> Vec<u8> {
    let range = volume.group_range(group, growing.blocks);
    let mut bitmap = vec![0xFF; volume.block as usize];
    set_bits(&mut bitmap, 0..range.end - range.start, false);
    for run in growing.used_in(&range) {
        let bits = run.start.max(range.start) - range.start..run.end.min(range.end) - range.start;
        set_bits(&mut bitmap, bits, true);
    }
    bitmap
}

/// Bits among the first `count` that are clear.
fn bitmap_free(bitmap: &[u8], count: u64) -> u64 {
    bitmap[..(count / 8) as usize].iter().map(|byte| u64::from(byte.count_zeros())).sum()
}

fn set_bits(bitmap: &mut [u8], bits: Range<u64>, value: bool) {
    for bit in bits {
        let mask = 1 << (bit % 8);
        match value {
            true => bitmap[(bit / 8) as usize] |= mask,
            false => bitmap[(bit / 8) as usize] &= !mask,
        }
    }
}

/// The checksum of a bitmap into the descriptor of its group, where there is one.
fn put_bitmap_checksum(
    volume: &mut Volume,
    group: u64,
    (low, high): (usize, usize),
    bitmap: &[u8],
    bits: u64,
) {
    let Some(sum) = volume.bitmap_checksum(bitmap, bits) else { return };
    put_half(volume.descriptor_mut(group), low, high, sum.into());
}

fn get_split(descriptor: &[u8], low: usize, high: usize) -> u32 {
    get_half(descriptor, low, high) as u32
}

/// Changes to the inode that owns the reserved descriptor blocks (`fs/ext4/resize.c`): it loses those that become
/// descriptors, and each of the others lists its copies in the new groups, too. Bytes, and where they go.
fn resize_inode(volume: &Volume, growing: &Growing) -> Result<Vec<(u64, Vec<u8>)>, GrowError> {
    let reserved = volume.reserved_gdt();
    if !volume.has_resize_inode() || reserved == 0 {
        return Ok(Vec::new());
    }
    let at = inode_offset(volume, RESIZE_INO);
    let table = volume.read_block(at / volume.block)?;
    let within = (at % volume.block) as usize;
    let mut inode = table[within..within + usize::from(get16(&volume.superblock, 0x58))].to_vec();
    let indirect = u64::from(get32(&inode, 0x28 + 4 * 13));
    let mut addresses = volume.read_block(indirect)?;
    let (old, new) = (volume.desc_blocks(growing.groups.start), volume.desc_blocks(growing.groups.end));
    let copies: Vec<u64> = volume.supers(1..growing.groups.end).collect();
    let mut changes = Vec::new();
    for index in old..old + reserved {
        let slot = 4 * (index % addresses_per_block(volume)) as usize;
        let block = volume.first + 1 + index;
        if u64::from(get32(&addresses, slot)) != block {
            return Err(GrowError::Corrupt {
                what: "its resize inode lists other blocks than are reserved".into(),
            });
        }
        match index < new {
            true => put32(&mut addresses, slot, 0),
            false => changes.push((block * volume.block, copies_of(volume, index, &copies))),
        }
    }
    let sectors = (1 + (old + reserved - new) * (1 + copies.len() as u64)) * (volume.block / 512);
    put32(&mut inode, 0x1C, sectors as u32);
    seal_inode(volume, RESIZE_INO, &mut inode);
    changes.extend([(indirect * volume.block, addresses), (at, inode)]);
    Ok(changes)
}

/// The content of a reserved block: where its copies are.
fn copies_of(volume: &Volume, index: u64, groups: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0; volume.block as usize];
    for (slot, group) in groups.iter().enumerate() {
        let copy = volume.group_range(*group, u64::MAX).start + 1 + index;
        put32(&mut bytes, 4 * slot, copy as u32);
    }
    bytes
}
