//! Compression of an image, by its first bytes.

use std::fmt;

use skiff_signatures::{Class, Format as Signature};

/// `CM` of gzip, the only method there is (RFC 1952).
const DEFLATE: u8 = 8;

/// Compression of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Not at all.
    Raw,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
    /// bzip2.
    Bzip2,
    /// LZ4 frames.
    Lz4,
    /// zip, with one image in it.
    Zip,
    /// A known format that cannot be read.
    Other(&'static str),
}

/// Bytes that [`Format::from_start`] wants to see.
pub(in crate::source) const LONGEST_MAGIC: usize = 10;

impl Format {
    /// Returns the format of what begins with these bytes, of which there should be ten.
    pub fn from_start(start: &[u8]) -> Format {
        match Signature::find(start, &[Class::Compressed, Class::Archive]) {
            Some(Signature::Gzip) if start.get(2) == Some(&DEFLATE) => Format::Gzip,
            Some(Signature::Xz) => Format::Xz,
            Some(Signature::Zstd) => Format::Zstd,
            // Three letters can begin anything: a block or the end of the stream follows the level.
            Some(Signature::Bzip2) if is_bzip2(start) => Format::Bzip2,
            Some(Signature::Lz4) => Format::Lz4,
            Some(Signature::Zip) => Format::Zip,
            Some(other @ (Signature::SevenZip | Signature::Rar)) => Format::Other(other.name()),
            Some(Signature::Gzip | Signature::Bzip2) => Format::Raw,
            Some(other) if other.class() == Class::Compressed => Format::Other(other.name()),
            // Archives of files are not unpacked: what is in them is no image.
            Some(_) => Format::Raw,
            None if is_skippable(start) => Format::Zstd,
            None => Format::Raw,
        }
    }

    /// Returns whether another member may begin with these bytes.
    pub(super) fn continues_with(self, start: &[u8]) -> bool {
        match self {
            Format::Zstd | Format::Lz4 if is_skippable(start) => true,
            Format::Raw | Format::Zip | Format::Other(_) => false,
            format => Format::from_start(start) == format,
        }
    }
}

fn is_bzip2(start: &[u8]) -> bool {
    let block = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    let end = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
    start.len() >= 10 && (b'1'..=b'9').contains(&start[3]) && (start[4..10] == block || start[4..10] == end)
}

/// A frame that means something to someone else, in zstd and lz4 alike.
pub(super) fn is_skippable(start: &[u8]) -> bool {
    start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18]
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::Raw => "raw",
            Format::Gzip => "gzip",
            Format::Xz => "xz",
            Format::Zstd => "zstd",
            Format::Bzip2 => "bzip2",
            Format::Lz4 => "lz4",
            Format::Zip => "zip",
            Format::Other(name) => name,
        })
    }
}
