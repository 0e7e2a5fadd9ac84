//! U-Boot's legacy image: a header of 64 bytes before a boot script or an initramfs, as `mkimage` makes it.
//!
//! Source of the format: U-Boot, `include/image.h` (`struct legacy_img_hdr`); all numbers are big-endian.

use std::io::{self, Read, Write};

use libdeflater::Crc;
use serde::Serialize;

use crate::error::Diagnostic;
use crate::fs::compress::Compression;
use crate::tree::{Content, ContentError};
use crate::value::Arch;
use crate::value::{ByteSize, Timestamp};

/// Bytes of the header.
pub const HEADER_SIZE: usize = 64;
/// `IH_MAGIC`.
const IH_MAGIC: u32 = 0x2705_1956;
/// `IH_NMLEN`: bytes of the name.
const IH_NMLEN: usize = 32;
/// `IH_OS_LINUX`.
const IH_OS_LINUX: u8 = 5;
/// `IH_TYPE_RAMDISK`.
const IH_TYPE_RAMDISK: u8 = 3;
/// `IH_TYPE_SCRIPT`.
const IH_TYPE_SCRIPT: u8 = 6;
/// Bytes that are copied at once.
const CHUNK: u64 = 1 << 20;

/// Fields of a header besides sizes and checksums. Load address and entry point are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UImageOptions {
    /// For which architecture U-Boot takes the image; scripts for 64-bit ARM boards are often marked
    /// [`Arch::Arm`], which U-Boot does not mind.
    pub arch: Arch,
    /// At most 32 bytes, for people.
    pub name: String,
    /// Time of creation.
    pub timestamp: Timestamp,
    /// Compression that U-Boot shall undo before it hands the data on: [`Compression::None`] also for a compressed
    /// initramfs that the kernel unpacks itself. The level does not matter.
    pub compression: Compression,
}

/// Reason why an image cannot be made or read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Corrupt, hint = "make the image again")]
pub enum UimageError {
    /// The name does not fit.
    #[error("the image name `{name}` has {len} bytes, and the header has room for {IH_NMLEN}")]
    #[diagnostic(kind = Input, hint = "shorten it to {IH_NMLEN} bytes")]
    Name {
        /// The name.
        name: String,
        /// Its length in bytes.
        len: usize,
    },
    /// U-Boot has no number for the compression.
    #[error("U-Boot cannot unpack `{0}`")]
    #[diagnostic(kind = Unsupported, hint = "use none: the kernel unpacks an initramfs itself")]
    Compression(Compression),
    /// The data does not fit 32 bits.
    #[error("an image for U-Boot has at most 4294967295 bytes, but the data has {}", ByteSize(*len))]
    #[diagnostic(kind = Fit, hint = "put less into it")]
    TooLarge {
        /// Length of the data in bytes.
        len: u64,
    },
    /// The data was another one when it was read the second time.
    #[error("the data changed while its image was written")]
    #[diagnostic(kind = Io, hint = "wait until the build that writes it has ended")]
    Changed,
    /// The first bytes are no header.
    #[error("not an image for U-Boot: it does not begin with 27 05 19 56")]
    Magic,
    /// Less data than the header says.
    #[error("the image for U-Boot ends after {found} of {expected} bytes")]
    Truncated {
        /// Bytes there should be.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The checksum of the header is wrong.
    #[error(
        "the header of the image for U-Boot is damaged: its checksum is {found:08x} and not {expected:08x}"
    )]
    HeaderCrc {
        /// Checksum in the header.
        expected: u32,
        /// Checksum of its bytes.
        found: u32,
    },
    /// The checksum of the data is wrong.
    #[error(
        "the data of the image for U-Boot is damaged: its checksum is {found:08x} and not {expected:08x}"
    )]
    DataCrc {
        /// Checksum in the header.
        expected: u32,
        /// Checksum of the data.
        found: u32,
    },
    /// The output failed.
    #[error("cannot write the image for U-Boot: {0}")]
    #[diagnostic(kind = Io, hint = None)]
    Output(#[source] io::Error),
    /// The input failed.
    #[error("cannot read the image for U-Boot: {0}")]
    #[diagnostic(kind = Io, hint = None)]
    Input(#[source] io::Error),
    /// The data cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Content(#[from] ContentError),
}

/// A boot script (`boot.scr`): the image holds a list of lengths that ends with zero, then the text.
pub fn script(options: &UImageOptions, text: &[u8]) -> Result<Vec<u8>, UimageError> {
    let len = u32::try_from(text.len()).map_err(|_| UimageError::TooLarge { len: text.len() as u64 })?;
    let mut data = Vec::with_capacity(8 + text.len());
    data.extend_from_slice(&len.to_be_bytes());
    data.extend_from_slice(&0u32.to_be_bytes());
    data.extend_from_slice(text);
    let mut image = header(options, IH_TYPE_SCRIPT, data.len() as u64, crc(&data))?.to_vec();
    image.append(&mut data);
    Ok(image)
}

/// Writes an initramfs with its header; returns the number of bytes. The content is read twice, as its
/// checksum comes first, and never held as a whole.
pub fn ramdisk(options: &UImageOptions, content: &Content, out: &mut dyn Write) -> Result<u64, UimageError> {
    let crc = pass(content, &mut io::sink())?;
    out.write_all(&header(options, IH_TYPE_RAMDISK, content.len(), crc)?).map_err(UimageError::Output)?;
    if pass(content, out)? != crc {
        return Err(UimageError::Changed);
    }
    Ok(HEADER_SIZE as u64 + content.len())
}

/// Copies a content and returns its checksum.
fn pass(content: &Content, out: &mut dyn Write) -> Result<u32, UimageError> {
    let mut crc = Crc::new();
    content.for_each_chunk(|chunk| {
        crc.update(chunk);
        out.write_all(chunk).map_err(UimageError::Output)
    })?;
    Ok(crc.sum())
}

/// The 64 bytes, with the field names of U-Boot.
fn header(
    options: &UImageOptions,
    ih_type: u8,
    data_len: u64,
    ih_dcrc: u32,
) -> Result<[u8; HEADER_SIZE], UimageError> {
    let len = options.name.len();
    if len > IH_NMLEN {
        return Err(UimageError::Name { name: options.name.clone(), len });
    }
    let ih_size = u32::try_from(data_len).map_err(|_| UimageError::TooLarge { len: data_len })?;
    let ih_time = options.timestamp.clamp(0, i64::from(u32::MAX)) as u32;
    let (ih_load, ih_ep) = (0u32, 0u32);
    let mut bytes = [0; HEADER_SIZE];
    let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    put(0, IH_MAGIC);
    put(8, ih_time);
    put(12, ih_size);
    put(16, ih_load);
    put(20, ih_ep);
    put(24, ih_dcrc);
    let ids = [IH_OS_LINUX, arch_id(options.arch), ih_type, compression_id(options.compression)?];
    bytes[28..32].copy_from_slice(&ids);
    bytes[32..32 + len].copy_from_slice(options.name.as_bytes());
    // The checksum of the header is taken with zero in its place.
    let ih_hcrc = crc(&bytes);
    bytes[4..8].copy_from_slice(&ih_hcrc.to_be_bytes());
    Ok(bytes)
}

/// CRC-32 of IEEE 802.3, as zlib has it.
fn crc(bytes: &[u8]) -> u32 {
    libdeflater::crc32(bytes)
}

/// `IH_ARCH_*`.
fn arch_id(arch: Arch) -> u8 {
    match arch {
        Arch::Arm => 2,
        Arch::Arm64 => 22,
        Arch::X86_64 => 24,
        Arch::Riscv64 => 26,
    }
}

/// `IH_COMP_*`; xz has none.
fn compression_id(compression: Compression) -> Result<u8, UimageError> {
    match compression {
        Compression::None => Ok(0),
        Compression::Gzip(_) => Ok(1),
        Compression::Lz4(_) => Ok(5),
        Compression::Zstd(_) => Ok(6),
        Compression::Xz(_) => Err(UimageError::Compression(compression)),
    }
}

/// An image that was read, its checksums found right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Name, for people.
    pub name: String,
    /// Time of creation.
    pub timestamp: Timestamp,
    /// Bytes of data behind the header.
    pub size: u32,
    /// Load address.
    pub load: u32,
    /// Entry point.
    pub entry: u32,
    /// Operating system: `linux`, or the number.
    pub os: String,
    /// Architecture by [`Arch::name`], or the number.
    pub arch: String,
    /// `script`, `ramdisk` or `kernel`, or the number.
    pub kind: String,
    /// `none`, `gzip`, `lz4` or `zstd`, or the number.
    pub compression: String,
}

/// Returns whether bytes begin like an image, to recognize the kind of a file.
pub fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&IH_MAGIC.to_be_bytes())
}

/// Reads an image, checks both checksums and passes the data to `data`. What follows the image is not read.
pub fn parse(reader: &mut dyn Read, data: &mut dyn Write) -> Result<Image, UimageError> {
    let mut bytes = [0; HEADER_SIZE];
    let found = read_up_to(reader, &mut bytes)?;
    if !has_magic(&bytes) {
        return Err(UimageError::Magic);
    }
    if found < HEADER_SIZE {
        return Err(UimageError::Truncated { expected: HEADER_SIZE as u64, found: found as u64 });
    }
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let expected = word(4);
    let mut cleared = bytes;
    cleared[4..8].fill(0);
    let found = crc(&cleared);
    if found != expected {
        return Err(UimageError::HeaderCrc { expected, found });
    }
    let (size, expected) = (word(12), word(24));
    let found = copy_data(reader, size, data)?;
    if found != expected {
        return Err(UimageError::DataCrc { expected, found });
    }
    let name = bytes[32..].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Image {
        name: String::from_utf8_lossy(name).into_owned(),
        timestamp: i64::from(word(8)),
        size,
        load: word(16),
        entry: word(20),
        os: id_name(bytes[28], &[(IH_OS_LINUX, "linux")]),
        arch: id_name(bytes[29], &Arch::ALL.map(|arch| (arch_id(arch), arch.name()))),
        kind: id_name(bytes[30], &[(2, "kernel"), (IH_TYPE_RAMDISK, "ramdisk"), (IH_TYPE_SCRIPT, "script")]),
        compression: id_name(bytes[31], &[(0, "none"), (1, "gzip"), (5, "lz4"), (6, "zstd")]),
    })
}

/// The text of a script image's data.
pub fn script_text(data: &[u8]) -> Option<&[u8]> {
    let len = u32::from_be_bytes(data.get(..4)?.try_into().ok()?) as usize;
    data.get(8..)?.get(..len)
}

fn id_name(id: u8, names: &[(u8, &'static str)]) -> String {
    let known = names.iter().find(|(known, _)| *known == id);
    known.map_or_else(|| id.to_string(), |(_, name)| (*name).to_string())
}

/// Copies `size` bytes and returns their checksum.
fn copy_data(reader: &mut dyn Read, size: u32, out: &mut dyn Write) -> Result<u32, UimageError> {
    let mut crc = Crc::new();
    let mut buffer = vec![0; CHUNK.min(u64::from(size)) as usize];
    let mut done = 0;
    while done < u64::from(size) {
        let want = buffer.len().min((u64::from(size) - done) as usize);
        let count = read_up_to(reader, &mut buffer[..want])?;
        crc.update(&buffer[..count]);
        out.write_all(&buffer[..count]).map_err(UimageError::Output)?;
        done += count as u64;
        if count < want {
            let header = HEADER_SIZE as u64;
            return Err(UimageError::Truncated { expected: header + u64::from(size), found: header + done });
        }
    }
    Ok(crc.sum())
}

/// Fills as much of `buf` as there is.
fn read_up_to(reader: &mut dyn Read, buf: &mut [u8]) -> Result<usize, UimageError> {
    let mut filled = 0;
    while filled < buf.len() {
        match reader.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(UimageError::Input(error)),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str) -> UImageOptions {
        UImageOptions { arch: Arch::Arm, name: name.into(), timestamp: 1, compression: Compression::None }
    }

    fn message(bytes: &[u8]) -> String {
        parse(&mut &*bytes, &mut io::sink()).unwrap_err().to_string()
    }

    #[test]
    fn a_script_is_read_back() {
        let image = script(&options("SkiffOS"), b"boot\n").expect("valid");
        let mut data = Vec::new();
        let parsed = parse(&mut image.as_slice(), &mut data).expect("valid");
        assert_eq!((parsed.name.as_str(), parsed.timestamp, parsed.size), ("SkiffOS", 1, 13));
        assert_eq!((parsed.os.as_str(), parsed.arch.as_str()), ("linux", "arm"));
        assert_eq!((parsed.kind.as_str(), parsed.compression.as_str()), ("script", "none"));
        assert_eq!(script_text(&data), Some(b"boot\n".as_slice()));
        assert_eq!(script_text(&data[..10]), None);
    }

    #[test]
    fn damages_are_told_with_both_checksums() {
        let image = script(&options(""), b"boot\n").expect("valid");
        assert_eq!(message(b"MZ"), "not an image for U-Boot: it does not begin with 27 05 19 56");
        assert_eq!(message(&image[..20]), "the image for U-Boot ends after 20 of 64 bytes");
        assert_eq!(message(&image[..70]), "the image for U-Boot ends after 70 of 77 bytes");
        let mut header = image.clone();
        header[40] = 1;
        let start = "the header of the image for U-Boot is damaged: its checksum is ";
        assert!(message(&header).starts_with(start), "{}", message(&header));
        let mut data = image.clone();
        data[72] ^= 1;
        let found = crc(&data[64..]);
        let expected = crc(&image[64..]);
        assert_eq!(
            message(&data),
            format!(
                "the data of the image for U-Boot is damaged: its checksum is {found:08x} and not {expected:08x}"
            )
        );
    }

    #[test]
    fn what_a_header_cannot_say_is_an_error() {
        let long = "a name of more than thirty-two bytes";
        assert_eq!(
            script(&options(long), b"").unwrap_err().to_string(),
            format!("the image name `{long}` has 36 bytes, and the header has room for 32")
        );
        let xz = UImageOptions { compression: Compression::Xz(6), ..options("") };
        assert_eq!(script(&xz, b"").unwrap_err().to_string(), "U-Boot cannot unpack `xz:6`");
        let error = header(&options(""), IH_TYPE_RAMDISK, 5 << 30, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "an image for U-Boot has at most 4294967295 bytes, but the data has 5 GiB"
        );
    }
}
