//! On-disk structures, with the field names of fatgen103.

use super::kept::KeptEntry;
use crate::value::{Timestamp, civil};

/// `ATTR_VOLUME_ID`.
pub(super) const ATTR_VOLUME_ID: u8 = 0x08;
/// `ATTR_DIRECTORY`.
pub(super) const ATTR_DIRECTORY: u8 = 0x10;
/// `ATTR_ARCHIVE`.
pub(super) const ATTR_ARCHIVE: u8 = 0x20;
/// `ATTR_LONG_NAME`.
const ATTR_LONG_NAME: u8 = 0x0F;
/// `LAST_LONG_ENTRY`.
const LAST_LONG_ENTRY: u8 = 0x40;

/// Bytes of a directory entry.
pub(super) const DIR_ENTRY_SIZE: u64 = 32;
/// `BPB_Media` of a fixed disk, also the low byte of the first FAT entry.
const MEDIA_FIXED: u8 = 0xF8;
/// UTF-16 units of a long name in one entry.
const UNITS_PER_ENTRY: usize = 13;
/// `BPB_BkBootSec`, the value the specification recommends.
pub(super) const BACKUP_BOOT_SECTOR: u64 = 6;

/// Fields of the boot sector; the same numbers as in the specification.
pub(super) struct BootSector {
    pub is_fat32: bool,
    pub byts_per_sec: u32,
    pub sec_per_clus: u32,
    pub rsvd_sec_cnt: u32,
    pub root_ent_cnt: u32,
    pub tot_sec: u32,
    pub fat_sz: u32,
    pub hidd_sec: u32,
    pub vol_id: u32,
    pub vol_lab: [u8; 11],
}

impl BootSector {
    /// One sector of bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut sector = vec![0; self.byts_per_sec as usize];
        self.put_common(&mut sector);
        if self.is_fat32 {
            put_u32(&mut sector, 36, self.fat_sz);
            put_u32(&mut sector, 44, 2); // BPB_RootClus
            put_u16(&mut sector, 48, 1); // BPB_FSInfo
            put_u16(&mut sector, 50, BACKUP_BOOT_SECTOR as u16);
            self.put_tail(&mut sector, 64, b"FAT32   ");
        } else {
            put_u16(&mut sector, 22, self.fat_sz as u16);
            self.put_tail(&mut sector, 36, b"FAT16   ");
        }
        sector[510..512].copy_from_slice(&[0x55, 0xAA]);
        sector
    }

    /// The first 36 bytes, which both types share.
    fn put_common(&self, sector: &mut [u8]) {
        sector[3..11].copy_from_slice(b"MSWIN4.1"); // the OEM name the specification recommends
        put_u16(sector, 11, self.byts_per_sec as u16);
        sector[13] = self.sec_per_clus as u8;
        put_u16(sector, 14, self.rsvd_sec_cnt as u16);
        sector[16] = 2; // BPB_NumFATs
        put_u16(sector, 17, self.root_ent_cnt as u16);
        match u16::try_from(self.tot_sec) {
            Ok(count) if !self.is_fat32 => put_u16(sector, 19, count),
            _ => put_u32(sector, 32, self.tot_sec),
        }
        sector[21] = MEDIA_FIXED;
        put_u16(sector, 24, 63); // BPB_SecPerTrk and BPB_NumHeads: what a BIOS says of a large disk
        put_u16(sector, 26, 255);
        put_u32(sector, 28, self.hidd_sec);
    }

    /// The fields from `BS_DrvNum` on, at `at`, and the jump over them to the boot code.
    fn put_tail(&self, sector: &mut [u8], at: usize, file_system_type: &[u8; 8]) {
        sector[at] = 0x80; // BS_DrvNum
        sector[at + 2] = 0x29; // BS_BootSig
        put_u32(sector, at + 3, self.vol_id);
        sector[at + 7..at + 18].copy_from_slice(&self.vol_lab);
        sector[at + 18..at + 26].copy_from_slice(file_system_type);
        sector[..3].copy_from_slice(&[0xEB, (at + 26 - 2) as u8, 0x90]);
        // A BIOS that boots this sector goes on with the next device: int 0x18, then halt.
        sector[at + 26..at + 31].copy_from_slice(&[0xCD, 0x18, 0xF4, 0xEB, 0xFD]);
    }
}

/// The `FSInfo` sector of FAT32.
pub(super) fn fs_info(sector_size: u32, free_count: u32, next_free: u32) -> Vec<u8> {
    let mut sector = vec![0; sector_size as usize];
    put_u32(&mut sector, 0, 0x4161_5252); // FSI_LeadSig
    put_u32(&mut sector, 484, 0x6141_7272); // FSI_StrucSig
    put_u32(&mut sector, 488, free_count);
    put_u32(&mut sector, 492, next_free);
    put_u32(&mut sector, 508, 0xAA55_0000); // FSI_TrailSig
    sector
}

/// One of the two table formats.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FatEntry {
    Bits16,
    Bits32,
}

impl FatEntry {
    /// Bytes of an entry.
    pub(super) fn size(self) -> u64 {
        match self {
            FatEntry::Bits16 => 2,
            FatEntry::Bits32 => 4,
        }
    }

    /// Appends an entry that points to cluster `next`.
    pub(super) fn put(self, out: &mut Vec<u8>, next: u32) {
        match self {
            FatEntry::Bits16 => out.extend_from_slice(&(next as u16).to_le_bytes()),
            FatEntry::Bits32 => out.extend_from_slice(&next.to_le_bytes()),
        }
    }

    /// Appends the entry that ends a chain.
    pub(super) fn put_end(self, out: &mut Vec<u8>) {
        self.put(out, 0x0FFF_FFFF);
    }

    /// Appends the two reserved entries: media byte; end mark with the "clean" and "no error" bits set.
    pub(super) fn put_head(self, out: &mut Vec<u8>) {
        self.put(out, 0x0FFF_FF00 | u32::from(MEDIA_FIXED));
        self.put_end(out);
    }
}

/// A timestamp as FAT has it: from 1980 to 2107 in steps of two seconds, taken as UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DosTime {
    pub date: u16,
    pub time: u16,
}

impl DosTime {
    const FIRST: Timestamp = 315_532_800; // 1980-01-01T00:00:00Z
    const LAST: Timestamp = 4_354_819_199; // 2107-12-31T23:59:59Z

    /// The nearest time FAT can store, not after `timestamp` unless that is before 1980.
    pub(super) fn from_unix(timestamp: Timestamp) -> DosTime {
        let seconds = timestamp.clamp(DosTime::FIRST, DosTime::LAST);
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        DosTime {
            date: (((year - 1980) << 9) | (month << 5) | day) as u16,
            time: ((hour << 11) | (minute << 5) | (second / 2)) as u16,
        }
    }
}

/// A directory entry with a short name.
pub(super) struct ShortEntry {
    pub name: [u8; 11],
    pub stamps: KeptEntry,
    pub cluster: u32,
    pub size: u32,
}

impl ShortEntry {
    /// Appends the 32 bytes.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let mut entry = [0; DIR_ENTRY_SIZE as usize];
        entry[..11].copy_from_slice(&self.name);
        entry[11] = self.stamps.attributes;
        entry[13] = self.stamps.created_tenth;
        put_u16(&mut entry, 14, self.stamps.created_time);
        put_u16(&mut entry, 16, self.stamps.created_date);
        put_u16(&mut entry, 18, self.stamps.accessed_date);
        put_u16(&mut entry, 20, (self.cluster >> 16) as u16); // DIR_FstClusHI
        put_u16(&mut entry, 22, self.stamps.written_time);
        put_u16(&mut entry, 24, self.stamps.written_date);
        put_u16(&mut entry, 26, self.cluster as u16); // DIR_FstClusLO
        put_u32(&mut entry, 28, self.size);
        out.extend_from_slice(&entry);
    }
}

/// Number of entries a long name takes, besides the short one.
pub(super) fn long_entries(units: &[u16]) -> usize {
    units.len().div_ceil(UNITS_PER_ENTRY)
}

/// Appends the entries of a long name: last part first, each with the checksum of the short name.
pub(super) fn put_long(out: &mut Vec<u8>, units: &[u16], short: &[u8; 11]) {
    let count = long_entries(units);
    let checksum = checksum(short);
    for (index, part) in units.chunks(UNITS_PER_ENTRY).enumerate().rev() {
        let last = if index + 1 == count { LAST_LONG_ENTRY } else { 0 };
        // A name that does not fill its last entry ends with one zero and is padded with ones.
        let mut padded = [0xFFFF; UNITS_PER_ENTRY];
        padded[..part.len()].copy_from_slice(part);
        if let Some(end) = padded.get_mut(part.len()) {
            *end = 0;
        }
        let mut entry = [0; DIR_ENTRY_SIZE as usize];
        entry[0] = (index + 1) as u8 | last; // LDIR_Ord
        entry[11] = ATTR_LONG_NAME;
        entry[13] = checksum;
        for (unit, at) in padded.iter().zip((1..11).chain(14..26).chain(28..32).step_by(2)) {
            put_u16(&mut entry, at, *unit);
        }
        out.extend_from_slice(&entry);
    }
}

/// `ChkSum` of fatgen103: ties the long name to its short one.
fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(timestamp: Timestamp) -> (u16, u16, u16, u16, u16, u16) {
        let DosTime { date, time } = DosTime::from_unix(timestamp);
        (1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2)
    }

    #[test]
    fn times_are_even_seconds_between_1980_and_2107() {
        assert_eq!(parts(0), (1980, 1, 1, 0, 0, 0));
        assert_eq!(parts(951_827_697), (2000, 2, 29, 12, 34, 56));
        assert_eq!(parts(1_709_210_096), (2024, 2, 29, 12, 34, 56));
        assert_eq!(parts(i64::MAX), (2107, 12, 31, 23, 59, 58));
    }

    #[test]
    fn long_entries_end_with_zero_and_ones_unless_full() {
        let mut out = Vec::new();
        put_long(&mut out, &[b'a' as u16; 14], b"AAAAAA~1   ");
        assert_eq!(out.len(), 64);
        assert_eq!((out[0], out[1], out[3], out[5]), (0x42, b'a', 0, 0xFF));
        assert_eq!((out[32], out[32 + 28], out[32 + 30]), (1, b'a', b'a'));
        assert_eq!(out[13], checksum(b"AAAAAA~1   "));
        assert_eq!(long_entries(&[0; 13]), 1);
    }
}
