//! Lengths that filesystems have by their own first bytes.
//!
//! Sources: kernel, `Documentation/filesystems/ext4/super.rst`, `include/linux/f2fs_fs.h`, `fs/erofs/erofs_fs.h`,
//! `fs/xfs/libxfs/xfs_format.h`, `include/uapi/linux/btrfs_tree.h`, `fs/squashfs/squashfs_fs.h`, `include/linux/swap.h`
//! and `fs/hfsplus/hfsplus_raw.h`; Microsoft's specifications of FAT (2000) and exFAT (2019); ECMA-119, section 8.4;
//! "Apple File System Reference" (2020), `nx_superblock_t`.

use crate::ext4::{SUPER_BLOCK_OFFSET, incompat};
use crate::{Format, is_there};

const EXT: usize = SUPER_BLOCK_OFFSET as usize;
/// Superblock of F2FS, EROFS and HFS+.
const SUPER_BLOCK: usize = 1024;
/// Superblock of btrfs.
const BTRFS: usize = 0x1_0000;
/// First volume descriptor of ISO 9660.
const DESCRIPTOR: usize = 0x8000;

impl Format {
    /// Bytes that a filesystem says it has. None where it does not say so in its first bytes, or says what cannot be.
    pub fn claimed_len(self, head: &[u8]) -> Option<u64> {
        let len = match self {
            Format::Ext => ext(head),
            Format::Fat12 | Format::Fat => fat(head),
            Format::ExFat => times_power(le64(head, 72)?, u32::from(byte(head, 108)?), 9..=12),
            // The last sector is a copy of the first, and not counted.
            Format::Ntfs => times(le64(head, 40)?.checked_add(1)?, sector(le16(head, 11)?)?),
            Format::Squashfs => (le16(head, 28)? == 4).then(|| le64(head, 40))?,
            Format::Swap => swap(head),
            Format::Iso9660 => iso9660(head),
            Format::Xfs => times(be64(head, 8)?, power(be32(head, 4)?, 512, 65_536)?),
            Format::Btrfs => le64(head, BTRFS + 0xd1),
            Format::F2fs => {
                times_power(le64(head, SUPER_BLOCK + 36)?, le32(head, SUPER_BLOCK + 16)?, 12..=16)
            }
            Format::Erofs => {
                let bits = u32::from(byte(head, SUPER_BLOCK + 12)?);
                times_power(le32(head, SUPER_BLOCK + 36)?.into(), bits, 9..=16)
            }
            Format::HfsPlus => {
                let block = power(be32(head, SUPER_BLOCK + 40)?, 512, 1 << 20)?;
                times(be32(head, SUPER_BLOCK + 44)?.into(), block)
            }
            Format::Apfs => times(le64(head, 40)?, power(le32(head, 36)?, 4096, 65_536)?),
            _ => None,
        };
        // No device has more than what an offset of a file can say.
        len.filter(|len| (1..=i64::MAX as u64).contains(len))
    }
}

/// `s_blocks_count`, whose upper half counts with `64bit`, times `1024 << s_log_block_size`.
fn ext(head: &[u8]) -> Option<u64> {
    let wide = le32(head, EXT + incompat::AT)? & incompat::IS_64BIT != 0;
    let high = if wide { u64::from(le32(head, EXT + 0x150)?) } else { 0 };
    let blocks = high << 32 | u64::from(le32(head, EXT + 4)?);
    times_power(blocks, le32(head, EXT + 0x18)?.checked_add(10)?, 10..=16)
}

/// `BPB_TotSec16` or `BPB_TotSec32`, times `BPB_BytsPerSec`.
fn fat(head: &[u8]) -> Option<u64> {
    let sectors = match le16(head, 19)? {
        0 => u64::from(le32(head, 32)?),
        sectors => sectors.into(),
    };
    times(sectors, sector(le16(head, 11)?)?)
}

/// `last_page`, and the page behind which the signature is.
fn swap(head: &[u8]) -> Option<u64> {
    let mut pages = [4096, 16_384, 65_536].into_iter();
    let page = pages.find(|page| is_there(head, (page - 10, b"SWAPSPACE2")))?;
    (le32(head, 1024)? == 1).then(|| times(u64::from(le32(head, 1028)?) + 1, page as u64))?
}

/// `Volume Space Size` of the primary volume descriptor, in logical blocks.
fn iso9660(head: &[u8]) -> Option<u64> {
    let block = power(le16(head, DESCRIPTOR + 128)?.into(), 512, 2048)?;
    (byte(head, DESCRIPTOR)? == 1).then(|| times(le32(head, DESCRIPTOR + 80)?.into(), block))?
}

fn times(count: u64, size: u64) -> Option<u64> {
    count.checked_mul(size)
}

/// `count` units of `1 << bits` bytes, if that is a size they have.
fn times_power(count: u64, bits: u32, sizes: core::ops::RangeInclusive<u32>) -> Option<u64> {
    sizes.contains(&bits).then(|| times(count, 1 << bits))?
}

/// A size that is a power of two from `least` to `most`.
fn power(size: u32, least: u32, most: u32) -> Option<u64> {
    (size.is_power_of_two() && (least..=most).contains(&size)).then_some(size.into())
}

fn sector(size: u16) -> Option<u64> {
    power(size.into(), 512, 4096)
}

fn field<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn byte(head: &[u8], at: usize) -> Option<u8> {
    head.get(at).copied()
}

fn le16(head: &[u8], at: usize) -> Option<u16> {
    field(head, at).map(u16::from_le_bytes)
}

fn le32(head: &[u8], at: usize) -> Option<u32> {
    field(head, at).map(u32::from_le_bytes)
}

fn le64(head: &[u8], at: usize) -> Option<u64> {
    field(head, at).map(u64::from_le_bytes)
}

fn be32(head: &[u8], at: usize) -> Option<u32> {
    field(head, at).map(u32::from_be_bytes)
}

fn be64(head: &[u8], at: usize) -> Option<u64> {
    field(head, at).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_no_length() {
        let mut head = [0; 70_000];
        for format in Format::ALL {
            assert_eq!(format.claimed_len(&head), None, "{format:?} of zeros");
            assert_eq!(format.claimed_len(&[0xff; 70_000]), None, "{format:?} of ones");
            assert_eq!(format.claimed_len(&[]), None, "{format:?} of nothing");
        }
        // Blocks of 2^40 bytes.
        head[EXT + 4] = 1;
        head[EXT + 0x18] = 30;
        assert_eq!(Format::Ext.claimed_len(&head), None);
        head[EXT + 0x18] = 2;
        assert_eq!(Format::Ext.claimed_len(&head), Some(4096));
    }
}
