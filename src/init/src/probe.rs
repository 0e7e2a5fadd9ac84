//! Recognizes the filesystem that begins with given bytes: type, label and id, as `LABEL=` and `UUID=` name them.
//!
//! Without udev nobody has read the superblocks before. Formats: Linux' `Documentation/filesystems/ext4/super.rst`,
//! and Microsoft's FAT specification (2000), whose label and serial number are read from the boot sector.

use skiff_signatures::ext4::{EXT4_SUPER_MAGIC, S_MAGIC, SUPER_BLOCK_OFFSET, incompat};
use skiff_signatures::{BOOT_SIGNATURE, FAT_TYPE, FAT32_TYPE, is_there};

/// Bytes from the start of a device that [`filesystem`] looks at.
pub const SPAN: usize = 2048;

/// A filesystem that a board may boot from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// As `mount` calls it.
    pub kind: &'static str,
    pub label: String,
    /// As `blkid` prints it: lower case with dashes for ext4, `XXXX-XXXX` for FAT.
    pub uuid: String,
}

/// Size of an ext4 filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtSize {
    pub blocks: u64,
    pub block_bytes: u64,
}

/// Names the filesystem that starts with `bytes`.
pub fn filesystem(bytes: &[u8]) -> Option<Filesystem> {
    ext(bytes).or_else(|| fat(bytes))
}

/// The size that an ext2, ext3 or ext4 superblock states.
pub fn ext_size(bytes: &[u8]) -> Option<ExtSize> {
    let superblock = ext_superblock(bytes)?;
    let wide = le32(superblock, incompat::AT)? & incompat::IS_64BIT != 0;
    let high = if wide { le32(superblock, 0x150)? } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(le32(superblock, 4)?);
    let block_bytes = 1024_u64.checked_shl(le32(superblock, 0x18)?)?;
    Some(ExtSize { blocks, block_bytes })
}

fn ext_superblock(bytes: &[u8]) -> Option<&[u8]> {
    let superblock = bytes.get(SUPER_BLOCK_OFFSET as usize..)?;
    is_there(superblock, (S_MAGIC, &EXT4_SUPER_MAGIC.to_le_bytes())).then_some(superblock)
}

fn ext(bytes: &[u8]) -> Option<Filesystem> {
    let superblock = ext_superblock(bytes)?;
    let uuid = superblock.get(0x68..0x78)?;
    Some(Filesystem { kind: "ext4", label: text(superblock.get(0x78..0x88)?), uuid: dashed(uuid) })
}

fn fat(bytes: &[u8]) -> Option<Filesystem> {
    if !is_there(bytes, BOOT_SIGNATURE) {
        return None;
    }
    let wide = is_there(bytes, (FAT32_TYPE, b"FAT32"));
    let narrow = is_there(bytes, (FAT_TYPE, b"FAT1"));
    let serial = match (wide, narrow) {
        (true, _) => 67,
        (_, true) => 39,
        _ => return None,
    };
    let id = le32(bytes, serial)?;
    let label = text(bytes.get(serial + 4..serial + 15)?);
    let label = if label == "NO NAME" { String::new() } else { label };
    Some(Filesystem { kind: "vfat", label, uuid: format!("{:04X}-{:04X}", id >> 16, id & 0xffff) })
}

/// A field that is filled up with zeros or blanks.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).trim_end().to_owned()
}

/// 16 bytes in the order of their text: `8-4-4-4-12` hexadecimal digits.
pub fn dashed(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Little-endian number at `offset`.
pub fn le32(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..offset + 4)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}
