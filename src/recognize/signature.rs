//! What the first bytes say about what this program does not read.

/// Offset and bytes of what marks a format, and its name; the more certain first.
const SIGNATURES: [(usize, &[u8], &str); 23] = [
    (3, b"NTFS    ", "NTFS"),
    (3, b"EXFAT   ", "exFAT"),
    (3, b"-FVE-FS-", "BitLocker"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (0, b"XFSB", "XFS"),
    (0x1_0040, b"_BHRfS_M", "btrfs"),
    (0x218, b"LVM2 001", "LVM"),
    (0, &[0xfc, 0x4e, 0x2b, 0xa9], "RAID member"),
    (4096, &[0xfc, 0x4e, 0x2b, 0xa9], "RAID member"),
    (4086, b"SWAPSPACE2", "swap"),
    (16_374, b"SWAPSPACE2", "swap"),
    (65_526, b"SWAPSPACE2", "swap"),
    (1024, &[0x10, 0x20, 0xf5, 0xf2], "F2FS"),
    (1024, &[0xe2, 0xe1, 0xf5, 0xe0], "EROFS"),
    (0x8001, b"CD001", "ISO 9660"),
    (0x8001, b"BEA01", "UDF"),
    (1024, b"H+\x00\x04", "HFS+"),
    (1024, b"HX\x00\x05", "HFS+"),
    (32, b"NXSB", "APFS"),
    // What the readers of this program do not take: FAT12, and damaged ones of others.
    (54, b"FAT", "FAT"),
    (82, b"FAT32", "FAT"),
    (0, b"hsqs", "squashfs"),
    (1080, &[0x53, 0xef], "ext"),
];

/// The name of the first format whose signature is there.
pub fn of(head: &[u8]) -> Option<&'static str> {
    let found = SIGNATURES.iter().find(|(offset, bytes, _)| {
        head.get(*offset..offset + bytes.len()).is_some_and(|found| found == *bytes)
    });
    found.map(|(_, _, name)| *name)
}
