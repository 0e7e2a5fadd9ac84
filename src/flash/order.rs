//! In which order a medium stops being an older system and becomes a newer one, so that nobody ever finds half of
//! either: power can fail between any two sectors.
//!
//! A reader of a medium begins with one sector, and takes it for nothing without that: sector 0 for an MBR, a FAT, a
//! squashfs and, by its protective MBR, a GPT; the sector of byte 1024 for an ext4; some programs begin with a
//! GPT's header in sector 1, and go on with its copy in the last sector. Each of these is gone for good before
//! anything is touched that those who still find the system need.

#![allow(clippy::single_range_in_vec_init)] // a list of one range is meant

use std::ops::Range;

use skiff_signatures::Format;
use skiff_signatures::ext4::SUPER_BLOCK_OFFSET;

use crate::storage::{Extent, Geometry, Record, Target, TargetError};
use crate::table::TableBytes;

/// Bytes that an old partition table, of any kind and sector size, has at the start and at the end of a disk.
pub(super) const WIPED: u64 = 1 << 20;
/// Boot loaders begin no earlier on a disk with a GPT; its primary header is before, in any sector size.
const TABLES: u64 = 8192;

/// Zeroes the first and the last MiB.
pub(super) fn wipe(target: &dyn Target) -> Result<(), TargetError> {
    steps(target.geometry()).into_iter().try_for_each(|ranges| {
        ranges.into_iter().try_for_each(|range| target.zero(range.start, range.end - range.start))?;
        target.sync()
    })
}

/// Ranges that are zero after [`wipe`].
pub(super) fn wiped(len: u64) -> Record {
    let head = WIPED.min(len);
    let ends = [0..head, len.saturating_sub(WIPED).max(head)..len];
    let extent =
        |range: &Range<u64>| Extent { offset: range.start, len: range.end - range.start, blake3: None };
    Record { extents: ends.iter().filter(|range| !range.is_empty()).map(extent).collect() }
}

/// The ranges to zero, those of each step after those of the one before are durable.
fn steps(geometry: Geometry) -> Vec<Vec<Range<u64>>> {
    let (len, sector) = (geometry.len, u64::from(geometry.sector_size));
    let (head, tail) = (WIPED.min(len), len.saturating_sub(WIPED));
    let last = len.saturating_sub(sector).max(head);
    let ext4 = SUPER_BLOCK_OFFSET / sector * sector;
    let all = [
        vec![0..sector],
        vec![ext4..ext4 + sector],
        vec![sector..TABLES],
        vec![last..len],
        vec![TABLES..head, tail.max(head)..last],
    ];
    let inside = |range: Range<u64>| range.start.min(len)..range.end.min(len);
    let clip = |step: Vec<Range<u64>>| -> Vec<Range<u64>> {
        step.into_iter().map(inside).filter(|range| !range.is_empty()).collect()
    };
    all.into_iter().map(clip).filter(|step| !step.is_empty()).collect()
}

/// Cuts critical bytes into what is written one after the other, each after the one before was read back: what nobody
/// looks for first; what somebody does, who then finds the system whole; sector 0. A piece can be in more than one;
/// a step may be empty.
pub(super) fn cut(critical: &[TableBytes], geometry: Geometry) -> [Vec<TableBytes>; 3] {
    let (len, sector) = (geometry.len, u64::from(geometry.sector_size));
    let ext4 = SUPER_BLOCK_OFFSET / sector * sector;
    let (early, last) = match critical.iter().any(is_ext4) {
        true => (ext4..ext4 + sector, len..len),
        // The headers of both copies of a GPT.
        false => (sector..TABLES, len.saturating_sub(sector)..len),
    };
    let start = early.start.max(sector);
    let early = start..early.end.max(start);
    let last = last.start.max(early.end)..last.end;
    let within = |ranges: &[Range<u64>]| -> Vec<TableBytes> {
        let parts = ranges.iter().flat_map(|range| critical.iter().filter_map(|piece| part(piece, range)));
        parts.collect()
    };
    [
        within(&[sector..early.start, early.end..last.start, last.end..u64::MAX]),
        within(&[early, last]),
        within(&[0..sector]),
    ]
}

/// Returns whether a filesystem begins with these bytes that nobody looks for in sector 0.
fn is_ext4(piece: &TableBytes) -> bool {
    piece.offset == 0 && Format::Ext.begins(&piece.bytes)
}

/// Returns the part of a piece that lies in a range.
fn part(piece: &TableBytes, range: &Range<u64>) -> Option<TableBytes> {
    let end = piece.offset + piece.bytes.len() as u64;
    let (start, end) = (piece.offset.max(range.start), end.min(range.end));
    let bytes = || piece.bytes[(start - piece.offset) as usize..(end - piece.offset) as usize].to_vec();
    (start < end).then(|| TableBytes { name: piece.name.clone(), offset: start, bytes: bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    const LEN: u64 = 1 << 20;

    /// Returns the ranges of the pieces of each step.
    fn places(critical: &[TableBytes], sector_size: u32) -> [Vec<Range<u64>>; 3] {
        let place = |piece: TableBytes| piece.offset..piece.offset + piece.bytes.len() as u64;
        cut(critical, Geometry { len: LEN, sector_size }).map(|step| step.into_iter().map(place).collect())
    }

    #[test]
    fn tables_come_behind_the_rest_and_sector_0_is_last_and_alone() {
        let piece = |offset, len| TableBytes { name: "piece".into(), offset, bytes: vec![1; len] };
        let mbr = [piece(0, 440), piece(440, 72), piece(8192, 10)];
        assert_eq!(places(&mbr, 512), [vec![8192..8202], vec![], vec![0..440, 440..512]]);
        let image = [piece(0, 4096), piece(4096, 10_000), piece(LEN - 9000, 9000)];
        assert_eq!(
            places(&image, 512),
            [
                vec![8192..14096, LEN - 9000..LEN - 512],
                vec![512..4096, 4096..8192, LEN - 512..LEN],
                vec![0..512]
            ]
        );
        assert_eq!(places(&image, 4096)[1..], [vec![4096..8192, LEN - 4096..LEN], vec![0..4096]]);
    }

    #[test]
    fn the_superblock_of_an_ext4_is_last_but_for_sector_0() {
        let mut bytes: Vec<u8> = (0..4096).map(|at| at as u8).collect();
        bytes[1080..1082].copy_from_slice(&[0x53, 0xef]);
        let start = [TableBytes { name: "start".into(), offset: 0, bytes: bytes.clone() }];
        assert_eq!(places(&start, 512), [vec![512..1024, 1536..4096], vec![1024..1536], vec![0..512]]);
        assert_eq!(places(&start, 4096), [vec![], vec![], vec![0..4096]]);
        let [_, superblock, _] = cut(&start, Geometry { len: LEN, sector_size: 512 });
        assert_eq!(superblock[0].bytes, bytes[1024..1536]);
    }

    #[test]
    fn both_ends_of_any_medium_are_zeroed_and_nothing_else() {
        for sector_size in [512, 4096] {
            for len in [512, 4096, 8192, 1 << 20, (1 << 20) + 512, 3 << 19, 2 << 20, 5 << 20] {
                let memory = Memory::with_sector_size(len, sector_size);
                memory.write_at(&vec![7; len as usize], 0).expect("write");
                wipe(&memory).expect("wipes");
                let kept = WIPED.min(len)..len.saturating_sub(WIPED).max(WIPED.min(len));
                for (at, byte) in memory.to_vec().into_iter().enumerate() {
                    assert_eq!(byte == 7, kept.contains(&(at as u64)), "byte {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn what_is_looked_at_first_is_gone_first() {
        let steps = |sector_size| steps(Geometry { len: 4 << 20, sector_size });
        assert_eq!(
            steps(512),
            [
                vec![0..512],
                vec![1024..1536],
                vec![512..8192],
                vec![(4 << 20) - 512..4 << 20],
                vec![8192..1 << 20, 3 << 20..(4 << 20) - 512]
            ]
        );
        assert_eq!(steps(4096)[..3], [vec![0..4096], vec![0..4096], vec![4096..8192]]);
    }
}
