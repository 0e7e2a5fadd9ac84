//! Places of the blocks of an image.

use std::collections::BTreeSet;
use std::io::{Read, Seek};

use super::super::SquashfsError;
use super::super::raw::{SQUASHFS_COMPRESSED_BIT, SQUASHFS_INVALID_BLK, SQUASHFS_METADATA_SIZE};
use super::metadata::{Metadata, block_size_field};
use super::read_superblock;
use super::walk::{Kind, Walk};

/// Places at which a part of an image begins or ends, from 0 to its last byte: the superblock, each block of data and of
/// fragments, each metadata block of the inodes and directories, and what follows them. Two images with a block of the
/// same contents have the same bytes between two places, wherever that block is.
pub fn block_boundaries(mut reader: impl Read + Seek) -> Result<Vec<u64>, SquashfsError> {
    let superblock = read_superblock(&mut reader)?;
    let mut metadata = Metadata::open(reader, superblock)?;
    let corrupt = |table: &'static str| move |reason| SquashfsError::Corrupt(format!("the {table} {reason}"));
    let mut places = BTreeSet::from([0, superblock.bytes_used]);
    for (start, size) in metadata.fragments().map_err(corrupt("table of fragments"))? {
        places.extend([start, start.saturating_add(block_size_field(size).0 as u64)]);
    }
    let mut walk = Walk::new(&metadata);
    while let Some((_, inode)) = walk.next(&mut metadata) {
        let Kind::File(map) = inode.kind else { continue };
        let mut place = map.start;
        for len in map.blocks.iter().map(|size| block_size_field(*size).0 as u64).filter(|len| *len > 0) {
            places.insert(place);
            place = place.saturating_add(len);
            places.insert(place);
        }
    }
    if let Some(damage) = walk.damages.first() {
        return Err(SquashfsError::Corrupt(damage.to_string()));
    }
    metadata_blocks(&mut metadata, &mut places).map_err(corrupt("inodes and directories"))?;
    let inside = |place: &u64| *place <= superblock.bytes_used;
    Ok(places.into_iter().filter(inside).collect())
}

/// The metadata blocks from the first inode to the first block of a table.
fn metadata_blocks<R: Read + Seek>(
    metadata: &mut Metadata<R>,
    places: &mut BTreeSet<u64>,
) -> Result<(), String> {
    let superblock = metadata.superblock;
    let tables = [
        Some(superblock.fragment_table_start).filter(|_| superblock.fragments > 0),
        Some(superblock.lookup_table_start),
        Some(superblock.id_table_start),
        Some(superblock.xattr_id_table_start),
    ];
    let mut end = superblock.bytes_used;
    for table in tables.into_iter().flatten().filter(|table| *table != SQUASHFS_INVALID_BLK) {
        // Each index begins with the position of a block that is before it.
        let mut first = [0; 8];
        metadata.read_at(&mut first, table)?;
        end = end.min(u64::from_le_bytes(first)).min(table);
    }
    let mut place = superblock.inode_table_start;
    while place < end {
        places.insert(place);
        let mut header = [0; 2];
        metadata.read_at(&mut header, place)?;
        let len = usize::from(u16::from_le_bytes(header) & !SQUASHFS_COMPRESSED_BIT);
        if len == 0 || len > SQUASHFS_METADATA_SIZE {
            return Err(format!("have a block of {len} bytes at byte {place} of the image"));
        }
        place += 2 + len as u64;
    }
    places.insert(end);
    Ok(())
}
