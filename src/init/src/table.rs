//! `PARTUUID=` of a partition, read from the table on its disk: Linux shows it in sysfs only since version 6.9.
//!
//! MBR: the disk id in lower-case hexadecimal, a dash and the number in two digits. GPT (UEFI specification, chapter 5):
//! the entry's unique id, whose first three fields are little-endian.

use super::probe::{dashed, le32};

const ENTRY_TYPE: usize = 450;
const PROTECTIVE: u8 = 0xee;

/// Reads `length` bytes at an offset of a disk; nothing if they cannot be had.
pub trait ReadAt: Fn(u64, usize) -> Option<Vec<u8>> {}
impl<F: Fn(u64, usize) -> Option<Vec<u8>>> ReadAt for F {}

/// The id of partition `number` on a disk with blocks of `block` bytes.
pub fn partition_uuid(read: impl ReadAt, number: u32, block: u64) -> Option<String> {
    let mbr = read(0, 512)?;
    if mbr.get(510..512)? != [0x55, 0xaa] {
        return None;
    }
    let protective = (0..4).any(|entry| mbr[ENTRY_TYPE + entry * 16] == PROTECTIVE);
    match protective {
        true => gpt_uuid(read, number, block),
        false => Some(format!("{:08x}-{number:02x}", le32(&mbr, 440)?)),
    }
}

fn gpt_uuid(read: impl ReadAt, number: u32, block: u64) -> Option<String> {
    let header = read(block, 92)?;
    let (count, bytes) = (le32(&header, 80)?, le32(&header, 84)?);
    if !header.starts_with(b"EFI PART") || number == 0 || number > count || bytes < 128 {
        return None;
    }
    let array = u64::from(le32(&header, 76)?) << 32 | u64::from(le32(&header, 72)?);
    let offset = u64::from(number - 1) * u64::from(bytes);
    let entry = read(array.checked_mul(block)?.checked_add(offset)?, 128)?;
    Some(guid(entry.get(16..32)?))
}

fn guid(bytes: &[u8]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    dashed(&ORDER.map(|index| bytes[index]))
}
