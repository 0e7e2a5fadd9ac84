//! Signatures of filesystems, volumes, archives, compressed files and disk images: where in a file or on a device
//! they stand, and the name of the format.
//!
//! The one place for them: what is flashed, what is on a medium and what a device boots from are told apart by this
//! table. A format is one line of it. Sources: libblkid of util-linux, `file(1)`, and the specification of each format.
//! There are no dependencies, so that programs for devices can have it.

#![no_std]

pub mod ext4;
mod len;

/// Kind of a [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// Files and directories on a partition.
    Filesystem,
    /// Partition with something else: encryption, a part of a RAID or a volume group, swap.
    Volume,
    /// One file, compressed.
    Compressed,
    /// Several files in one.
    Archive,
    /// Disk in a format that is not raw.
    DiskImage,
    /// Partition table of other machines than those that boot from an MBR or a GPT.
    Label,
    /// Something else that is no disk: a program, a document, a piece of a boot chain.
    File,
}

/// Bytes at an offset.
pub type Mark = (usize, &'static [u8]);

/// Last two bytes of the first sector of an MBR and of the boot sector of FAT.
pub const BOOT_SIGNATURE: Mark = (510, &[0x55, 0xaa]);
/// Place of `BS_FilSysType` of FAT12 and FAT16.
pub const FAT_TYPE: usize = 54;
/// Place of `BS_FilSysType` of FAT32.
pub const FAT32_TYPE: usize = 82;
/// `LEGACY_MAGICNUMBER` of lz4, `ARCHIVE_MAGICNUMBER` in Linux.
pub const LZ4_LEGACY_MAGIC: [u8; 4] = 0x184C_2102_u32.to_le_bytes();

/// `DISKMAGIC`, in both places that it has in a label.
const BSD: [u8; 4] = 0x8256_4557_u32.to_le_bytes();
const EXT4_MAGIC: usize = ext4::SUPER_BLOCK_OFFSET as usize + ext4::S_MAGIC;

macro_rules! formats {
    ($($format:ident $class:ident $name:literal $([$($mark:expr),+])+;)*) => {
        /// Format that has a signature.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Format {
            $(#[doc = $name] $format,)*
        }

        impl Format {
            /// All formats, the more certain first.
            pub const ALL: &[Format] = &[$(Format::$format),*];

            /// Name, as messages have it.
            pub const fn name(self) -> &'static str {
                match self { $(Format::$format => $name,)* }
            }

            /// Kind of the format.
            pub const fn class(self) -> Class {
                match self { $(Format::$format => Class::$class,)* }
            }

            /// Signatures; each alone is enough, and all marks of it must be there.
            pub const fn signatures(self) -> &'static [&'static [Mark]] {
                match self { $(Format::$format => const { &[$(&[$($mark),+]),+] },)* }
            }
        }
    };
}

// Format, class, name, and signatures as offset and bytes. The first that is there is taken.
formats! {
    Ntfs           Filesystem "NTFS"        [(3, b"NTFS    ")];
    ExFat          Filesystem "exFAT"       [(3, b"EXFAT   ")];
    BitLocker      Volume     "BitLocker"   [(3, b"-FVE-FS-")];
    Luks           Volume     "LUKS"        [(0, b"LUKS\xba\xbe")];
    Xfs            Filesystem "XFS"         [(0, b"XFSB")];
    Btrfs          Filesystem "btrfs"       [(0x1_0040, b"_BHRfS_M")];
    Lvm            Volume     "LVM"         [(0x218, b"LVM2 001")];
    RaidMember     Volume     "RAID member" [(0, b"\xfc\x4e\x2b\xa9")] [(4096, b"\xfc\x4e\x2b\xa9")];
    Swap           Volume     "swap"        [(4086, b"SWAPSPACE2")] [(16_374, b"SWAPSPACE2")] [(65_526, b"SWAPSPACE2")];
    F2fs           Filesystem "F2FS"        [(1024, b"\x10\x20\xf5\xf2")];
    Erofs          Filesystem "EROFS"       [(1024, b"\xe2\xe1\xf5\xe0")];
    Iso9660        Filesystem "ISO 9660"    [(0x8001, b"CD001")];
    Udf            Filesystem "UDF"         [(0x8001, b"BEA01")];
    HfsPlus        Filesystem "HFS+"        [(1024, b"H+\x00\x04")] [(1024, b"HX\x00\x05")];
    Apfs           Filesystem "APFS"        [(32, b"NXSB")];
    Fat12          Filesystem "FAT12"       [(FAT_TYPE, b"FAT12")];
    Fat            Filesystem "FAT"         [(FAT_TYPE, b"FAT")] [(FAT32_TYPE, b"FAT")];
    Squashfs       Filesystem "squashfs"    [(0, b"hsqs")];
    Ext            Filesystem "ext"         [(EXT4_MAGIC, &ext4::EXT4_SUPER_MAGIC.to_le_bytes())];

    Gzip           Compressed "gzip"        [(0, b"\x1f\x8b")];
    Xz             Compressed "xz"          [(0, b"\xfd7zXZ\x00")];
    Zstd           Compressed "zstd"        [(0, b"\x28\xb5\x2f\xfd")];
    Bzip2          Compressed "bzip2"       [(0, b"BZh")];
    Lz4            Compressed "lz4"         [(0, b"\x04\x22\x4d\x18")];
    Lz4Legacy      Compressed "the legacy format of lz4" [(0, &LZ4_LEGACY_MAGIC)];
    Lzip           Compressed "lzip"        [(0, b"LZIP")];
    Lzma           Compressed "lzma"        [(0, b"\x5d\x00\x00\x80\x00")];
    Lzop           Compressed "lzo"         [(0, b"\x89LZO")];
    Compress       Compressed "compress"    [(0, b"\x1f\x9d")];

    Zip            Archive    "zip"         [(0, b"PK\x03\x04")] [(0, b"PK\x05\x06")];
    SevenZip       Archive    "7-Zip"       [(0, b"7z\xbc\xaf\x27\x1c")];
    Rar            Archive    "RAR"         [(0, b"Rar!\x1a\x07")];
    Tar            Archive    "tar"         [(257, b"ustar")];
    Cpio           Archive    "cpio"        [(0, b"070701")] [(0, b"070702")] [(0, b"070707")];
    Deb            Archive    "Debian package" [(0, b"!<arch>\ndebian")];
    Ar             Archive    "ar"          [(0, b"!<arch>\n")];
    Rpm            Archive    "RPM package" [(0, b"\xed\xab\xee\xdb")];
    Cab            Archive    "Windows cabinet" [(0, b"MSCF\0\0\0\0")];
    Wim            Archive    "Windows image (WIM)" [(0, b"MSWIM\0\0\0")];

    Qcow2          DiskImage  "QEMU (qcow2)" [(0, b"QFI\xfb")];
    Qed            DiskImage  "QEMU (qed)"  [(0, b"QED\0")];
    AndroidSparse  DiskImage  "Android (sparse image)" [(0, b"\x3a\xff\x26\xed")];
    Vmdk           DiskImage  "VMware (vmdk)" [(0, b"KDMV")] [(0, b"COWD")] [(0, b"# Disk DescriptorFile")];
    Vdi            DiskImage  "VirtualBox (vdi)" [(64, b"\x7f\x10\xda\xbe")];
    Vhd            DiskImage  "Virtual PC (vhd)" [(0, b"conectix")];
    Vhdx           DiskImage  "Hyper-V (vhdx)" [(0, b"vhdxfile")];
    Parallels      DiskImage  "Parallels (hdd)" [(0, b"WithoutFreeSpace")] [(0, b"WithouFreSpacExt")];
    Partclone      DiskImage  "Partclone"   [(0, b"partclone-image")];

    Apm            Label      "Apple partition map" [(0, b"ER"), (512, b"PM\0\0")];
    Sun            Label      "Sun disk label" [(508, b"\xda\xbe")];
    Sgi            Label      "SGI disk label" [(0, b"\x0b\xe5\xa9\x41")];
    Bsd            Label      "BSD disk label" [(512, &BSD), (644, &BSD)] [(64, &BSD), (196, &BSD)] [(128, &BSD), (260, &BSD)];

    UImage         File       "U-Boot image (uImage)" [(0, b"\x27\x05\x19\x56")];
    DeviceTree     File       "device tree or FIT image" [(0, b"\xd0\x0d\xfe\xed")];
    AndroidBoot    File       "Android boot image" [(0, b"ANDROID!")];
    BzImage        File       "Linux kernel (bzImage)" [(514, b"HdrS")];
    ZImage         File       "Linux kernel (zImage)" [(36, b"\x18\x28\x6f\x01")];
    Arm64Kernel    File       "Linux kernel (arm64)" [(56, b"ARMd")];
    RiscvKernel    File       "Linux kernel (riscv)" [(48, b"RISCV\0\0\0")];
    Uf2            File       "UF2 firmware" [(0, b"UF2\n\x57\x51\x5d\x9e")];
    Elf            File       "ELF program" [(0, b"\x7fELF")];
    Pdf            File       "PDF document" [(0, b"%PDF-")];
    Png            File       "PNG picture" [(0, b"\x89PNG\r\n\x1a\n")];
    Jpeg           File       "JPEG picture" [(0, b"\xff\xd8\xff\xe0")] [(0, b"\xff\xd8\xff\xe1")];
}

impl Format {
    /// First format of one of these classes whose signature is in the first bytes.
    pub fn find(head: &[u8], classes: &[Class]) -> Option<Format> {
        let mut formats = Format::ALL.iter().copied().filter(|format| classes.contains(&format.class()));
        formats.find(|format| format.begins(head))
    }

    /// Returns whether its signature is in the first bytes.
    pub fn begins(self, head: &[u8]) -> bool {
        self.signatures().iter().any(|marks| marks.iter().all(|mark| is_there(head, *mark)))
            && (self != Format::Sun || is_sun_label(head))
    }
}

/// Returns whether the bytes of a mark are there.
pub fn is_there(head: &[u8], (offset, bytes): (usize, &[u8])) -> bool {
    head.get(offset..).is_some_and(|rest| rest.starts_with(bytes))
}

/// Returns whether the checksum of a Sun label is right, the exclusive or of its big-endian halfwords (kernel,
/// `block/partitions/sun.c`): its signature has two bytes only.
fn is_sun_label(head: &[u8]) -> bool {
    let label = head.get(..512).unwrap_or_default();
    let (even, odd) = label.chunks_exact(2).fold((0, 0), |(even, odd), pair| (even ^ pair[0], odd ^ pair[1]));
    !label.is_empty() && (even, odd) == (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 70 KiB of zeros with the marks of a signature.
    fn head(marks: &[Mark]) -> [u8; 70_000] {
        let mut head = [0; 70_000];
        for (offset, bytes) in marks {
            head[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        if marks == Format::Sun.signatures()[0] {
            head.copy_within(508..510, 510);
        }
        head
    }

    #[test]
    fn each_signature_tells_its_format() {
        for format in Format::ALL {
            for marks in format.signatures() {
                assert_eq!(Format::find(&head(marks), &[format.class()]), Some(*format));
            }
        }
    }

    #[test]
    fn what_is_cut_off_has_no_signature() {
        assert_eq!(Format::find(b"XFS", &[Class::Filesystem]), None);
        assert_eq!(Format::find(&head(&[])[..1080], &[Class::Filesystem]), None);
        assert!(!Format::Gzip.begins(b""));
    }

    #[test]
    fn classes_are_told_apart() {
        assert_eq!(Format::find(b"hsqs", &[Class::Compressed]), None);
        assert_eq!(Format::find(b"hsqs", &[Class::Volume, Class::Filesystem]), Some(Format::Squashfs));
        let mut sun = head(Format::Sun.signatures()[0]);
        assert!(Format::Sun.begins(&sun));
        sun[0] = 1;
        assert!(!Format::Sun.begins(&sun), "its checksum is wrong");
    }
}
