//! Directory listings: entries in runs behind headers, and the index that leads to the right block of a large
//! one (described at the top of the kernel's `namei.c`).

use super::SquashfsError;
use super::metadata::MetadataStream;
use super::raw::{Put, Reference, SQUASHFS_DIR_COUNT, SQUASHFS_METADATA_SIZE};

/// A name and the inode it leads to.
pub(super) struct Entry<'t> {
    pub name: &'t [u8],
    pub inode: Reference,
    pub inode_number: u32,
    /// Basic inode type.
    pub kind: u16,
}

impl Entry<'_> {
    /// Length of `struct squashfs_dir_entry`.
    fn len(&self) -> u64 {
        8 + self.name.len() as u64
    }
}

/// Length of `struct squashfs_dir_header`.
const HEADER_LEN: u64 = 12;

/// Place of a listing.
pub(super) struct Listing<'t> {
    /// Its first byte.
    pub start: Reference,
    /// Uncompressed bytes.
    pub len: u64,
    /// Empty for a listing inside one metadata block.
    pub index: Vec<IndexEntry<'t>>,
}

/// `struct squashfs_dir_index`: the first header in each further metadata block.
pub(super) struct IndexEntry<'t> {
    /// Bytes from the start of the listing to the header.
    pub index: u32,
    /// The metadata block with the header.
    pub start_block: u32,
    /// The first name behind the header.
    pub name: &'t [u8],
}

/// Appends the listing of one directory to the directory table.
pub(super) fn put_listing<'t>(
    stream: &mut MetadataStream,
    entries: &[Entry<'t>],
) -> Result<Listing<'t>, SquashfsError> {
    let (start, start_position) = (stream.reference(), stream.position());
    let mut index = Vec::new();
    let mut indexed_block = block_of(start_position);
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let position = stream.position();
        if block_of(position) != indexed_block {
            indexed_block = block_of(position);
            index.push(IndexEntry {
                index: (position - start_position) as u32,
                start_block: stream.reference().block as u32,
                name: first.name,
            });
        }
        let (run, behind) = rest.split_at(run_len(rest, position));
        put_run(stream, run)?;
        rest = behind;
    }
    Ok(Listing { start, len: stream.position() - start_position, index })
}

fn block_of(position: u64) -> u64 {
    position / SQUASHFS_METADATA_SIZE as u64
}

/// Number of entries that share a header at `position`: inodes in one block, numbers near the first one, and none
/// that begins in another metadata block than the header, so that each block has a header the index can name.
fn run_len(entries: &[Entry], position: u64) -> usize {
    let first = &entries[0];
    let mut at = position + HEADER_LEN;
    let mut len = 0;
    for entry in entries.iter().take(SQUASHFS_DIR_COUNT) {
        let near = i16::try_from(i64::from(entry.inode_number) - i64::from(first.inode_number)).is_ok();
        let together = entry.inode.block == first.inode.block && near && block_of(at) == block_of(position);
        if len > 0 && !together {
            break;
        }
        at += entry.len();
        len += 1;
    }
    len
}

fn put_run(stream: &mut MetadataStream, run: &[Entry]) -> Result<(), SquashfsError> {
    let first = &run[0];
    let mut bytes = Vec::with_capacity(run.iter().map(|entry| entry.len() as usize).sum::<usize>() + 12);
    bytes.u32(run.len() as u32 - 1).u32(first.inode.block as u32).u32(first.inode_number);
    for entry in run {
        let delta = entry.inode_number.wrapping_sub(first.inode_number) as u16;
        bytes.u16(entry.inode.offset).u16(delta).u16(entry.kind).u16(entry.name.len() as u16 - 1);
        bytes.extend_from_slice(entry.name);
    }
    stream.put(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8], block: u64, inode_number: u32) -> Entry<'_> {
        Entry { name, inode: Reference { block, offset: 0 }, inode_number, kind: 2 }
    }

    #[test]
    fn a_run_ends_where_its_header_cannot_speak_for_the_next_entry() {
        let names: Vec<_> = (1..=300).map(|_| b"name").collect();
        let same = |block: u64, number: u32| entry(names[0], block, number);
        let all: Vec<_> = (1..=300).map(|number| same(0, number)).collect();
        assert_eq!(run_len(&all, 0), 256);
        assert_eq!(run_len(&[same(0, 1), same(8000, 2)], 0), 1);
        assert_eq!(run_len(&[same(0, 1), same(0, 32_768)], 0), 2);
        assert_eq!(run_len(&[same(0, 1), same(0, 32_769)], 0), 1);
        assert_eq!(run_len(&[same(0, 32_769), same(0, 1)], 0), 2);
        assert_eq!(run_len(&[same(0, 32_770), same(0, 1)], 0), 1);
        // The header is in the first 8 KiB: 12 bytes, then 12 for each entry.
        assert_eq!(run_len(&all, 8192 - 12 - 24), 2);
        assert_eq!(run_len(&all, 8192 - 12 - 25), 3);
        assert_eq!(run_len(&all, 8192 - 1), 1);
    }
}
