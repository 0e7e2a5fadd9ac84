//! Compressed streams: what an initramfs is wrapped in. The bytes never depend on the number of threads.
//!
//! lz4 is the legacy frame (magic `0x184C2102`, blocks of 8 MiB), the only one `lib/decompress_unlz4.c` of
//! Linux reads; xz has CRC32 checks, as `lib/decompress_unxz.c` wants them; gzip is one member.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::str::FromStr;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{Check, Stream};
use liblzma::write::XzEncoder;
use lz4::block::CompressionMode;
use rayon::prelude::*;
#[cfg(feature = "serde")]
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skiff_signatures::{Class, Format};

/// `LEGACY_MAGICNUMBER` of lz4, `ARCHIVE_MAGICNUMBER` in Linux.
const LZ4_MAGIC: [u8; 4] = skiff_signatures::LZ4_LEGACY_MAGIC;
/// `LEGACY_BLOCKSIZE`: bytes before compression; all blocks but the last have exactly that many.
const LZ4_BLOCK: usize = 8 << 20;

/// Blocks that are compressed at once at most: more threads would not be worth the memory.
const LZ4_MOST_AT_ONCE: usize = 16;

/// Compression of a stream, with its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// gzip, level 1 to 9.
    Gzip(u8),
    /// Zstandard, level 1 to 22.
    Zstd(u8),
    /// xz with CRC32, level 0 to 9.
    Xz(u8),
    /// Legacy lz4 frame, level 1 to 12; from 3 on the slow, dense compressor.
    Lz4(u8),
}

/// Reason why a text is not a compression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCompressionError {
    /// No such format.
    #[error(
        "`{0}` is not a compression: use none, gzip, zstd, xz or lz4, with a level if you like: `zstd:19`"
    )]
    Unknown(String),
    /// The level is no number or out of range.
    #[error("`{text}` has a wrong level: {name} has levels {lowest} to {highest}")]
    Level {
        /// The whole text.
        text: String,
        /// Name of the format.
        name: &'static str,
        /// Lowest level.
        lowest: u8,
        /// Highest level.
        highest: u8,
    },
}

impl Compression {
    /// Name of the format without the level.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip(_) => "gzip",
            Compression::Zstd(_) => "zstd",
            Compression::Xz(_) => "xz",
            Compression::Lz4(_) => "lz4",
        }
    }

    fn level(self) -> Option<u8> {
        match self {
            Compression::None => None,
            Compression::Gzip(n) | Compression::Zstd(n) | Compression::Xz(n) | Compression::Lz4(n) => Some(n),
        }
    }
}

impl FromStr for Compression {
    type Err = ParseCompressionError;

    /// `none`, `gzip`, `zstd`, `xz` or `lz4`, and a level after a colon.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        // Constructor, name, lowest, highest and usual level.
        let (make, name, lowest, highest, usual): (fn(u8) -> Compression, _, _, _, _) = match name {
            "none" if level.is_none() => return Ok(Compression::None),
            "gzip" => (Compression::Gzip, "gzip", 1, 9, 9),
            "zstd" => (Compression::Zstd, "zstd", 1, 22, 19),
            "xz" => (Compression::Xz, "xz", 0, 9, 6),
            "lz4" => (Compression::Lz4, "lz4", 1, 12, 9),
            _ => return Err(ParseCompressionError::Unknown(text.into())),
        };
        let level = level.map_or(Some(usual), |level| level.parse().ok());
        match level.filter(|level| (lowest..=highest).contains(level)) {
            Some(level) => Ok(make(level)),
            None => Err(ParseCompressionError::Level { text: text.into(), name, lowest, highest }),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level() {
            Some(level) => f.pad(&format!("{}:{level}", self.name())),
            None => f.pad(self.name()),
        }
    }
}

#[cfg(feature = "serde")]
impl Serialize for Compression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> Deserialize<'de> for Compression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A writer that compresses. Call [`Encoder::finish`]: dropping it loses the end.
///
/// ```
/// use std::io::{Read, Write};
///
/// use skiff_disk::fs::compress::{Encoder, decoder};
///
/// let mut encoder = Encoder::new("xz:6".parse()?, Vec::new())?;
/// encoder.write_all(b"hello\n")?;
/// let packed = encoder.finish()?;
///
/// let (name, mut plain) = decoder(packed.as_slice())?;
/// let mut text = String::new();
/// plain.read_to_string(&mut text)?;
/// assert_eq!((name, text.as_str()), ("xz", "hello\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Encoder<W: Write>(Inner<W>);

enum Inner<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
    Xz(XzEncoder<W>),
    Lz4(Lz4Encoder<W>),
}

impl<W: Write> Encoder<W> {
    /// Compresses what is written to it into `out`.
    pub fn new(compression: Compression, out: W) -> io::Result<Encoder<W>> {
        Ok(Encoder(match compression {
            Compression::None => Inner::None(out),
            // Without a time: flate2 writes zero.
            Compression::Gzip(level) => {
                Inner::Gzip(GzEncoder::new(out, flate2::Compression::new(u32::from(level))))
            }
            Compression::Zstd(level) => {
                let mut encoder = zstd::stream::write::Encoder::new(out, i32::from(level))?;
                encoder.include_checksum(true)?;
                Inner::Zstd(Box::new(encoder))
            }
            Compression::Xz(level) => {
                let stream = Stream::new_easy_encoder(u32::from(level), Check::Crc32)?;
                Inner::Xz(XzEncoder::new_stream(out, stream))
            }
            Compression::Lz4(level) => Inner::Lz4(Lz4Encoder::new(out, level)?),
        }))
    }

    /// Writes what is left and returns the inner writer.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::None(out) => Ok(out),
            Inner::Gzip(encoder) => encoder.finish(),
            Inner::Zstd(encoder) => encoder.finish(),
            Inner::Xz(encoder) => encoder.finish(),
            Inner::Lz4(encoder) => encoder.finish(),
        }
    }

    fn inner(&mut self) -> &mut dyn Write {
        match &mut self.0 {
            Inner::None(out) => out,
            Inner::Gzip(encoder) => encoder,
            Inner::Zstd(encoder) => encoder,
            Inner::Xz(encoder) => encoder,
            Inner::Lz4(encoder) => encoder,
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.inner().write(buf)
    }

    /// Does nothing: flushing in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writer of the legacy lz4 frame; compresses as many blocks at once as there are threads.
struct Lz4Encoder<W> {
    out: W,
    mode: CompressionMode,
    pending: Vec<u8>,
    batch: usize,
}

impl<W: Write> Lz4Encoder<W> {
    fn new(mut out: W, level: u8) -> io::Result<Self> {
        out.write_all(&LZ4_MAGIC)?;
        // As the lz4 command chooses; its fast levels differ only in name.
        let mode =
            if level < 3 { CompressionMode::DEFAULT } else { CompressionMode::HIGHCOMPRESSION(level.into()) };
        let batch = LZ4_BLOCK * rayon::current_num_threads().min(LZ4_MOST_AT_ONCE);
        Ok(Lz4Encoder { out, mode, pending: Vec::new(), batch })
    }

    fn compress_pending(&mut self) -> io::Result<()> {
        let mode = self.mode;
        let blocks: Vec<io::Result<Vec<u8>>> = self
            .pending
            .par_chunks(LZ4_BLOCK)
            .map(|block| lz4::block::compress(block, Some(mode), false))
            .collect();
        for block in blocks {
            let block = block?;
            self.out.write_all(&(block.len() as u32).to_le_bytes())?;
            self.out.write_all(&block)?;
        }
        self.pending.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.compress_pending()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Lz4Encoder<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = buf.len().min(self.batch - self.pending.len());
        self.pending.extend_from_slice(&buf[..count]);
        if self.pending.len() == self.batch {
            self.compress_pending()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a stream whatever it is compressed with, by its magic number; also returns the name of the format.
pub fn decoder<'r>(mut reader: impl Read + 'r) -> io::Result<(&'static str, Box<dyn Read + 'r>)> {
    let mut magic = Vec::new();
    reader.by_ref().take(6).read_to_end(&mut magic)?;
    let format = Format::find(&magic, &[Class::Compressed]);
    let whole = BufReader::with_capacity(1 << 17, Cursor::new(magic).chain(reader));
    Ok(match format {
        Some(Format::Gzip) => ("gzip", Box::new(MultiGzDecoder::new(whole))),
        Some(Format::Zstd) => ("zstd", Box::new(zstd::stream::read::Decoder::with_buffer(whole)?)),
        Some(Format::Xz) => ("xz", Box::new(XzDecoder::new_multi_decoder(whole))),
        Some(Format::Lz4Legacy) => ("lz4", Box::new(Lz4Decoder { reader: whole, block: Vec::new(), at: 0 })),
        _ => ("none", Box::new(whole)),
    })
}

/// Reader of the legacy lz4 frame.
struct Lz4Decoder<R> {
    reader: R,
    block: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Lz4Decoder<R> {
    /// Decompresses the next block; false at the end, or where only padding follows.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut size = [0; 4];
        loop {
            if self.reader.fill_buf()?.is_empty() {
                return Ok(false);
            }
            self.reader.read_exact(&mut size)?;
            match size {
                // Archives can follow one another, each with its own magic number.
                LZ4_MAGIC => continue,
                [0, 0, 0, 0] => return Ok(false),
                _ => break,
            }
        }
        let size = u32::from_le_bytes(size) as usize;
        if size > lz4::block::compress_bound(LZ4_BLOCK)? {
            let text = format!("an lz4 block cannot have {size} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut packed = vec![0; size];
        self.reader.read_exact(&mut packed)?;
        self.block = lz4::block::decompress(&packed, Some(LZ4_BLOCK as i32))?;
        self.at = 0;
        Ok(true)
    }
}

impl<R: BufRead> Read for Lz4Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if buf.is_empty() || !self.next_block()? {
                return Ok(0);
            }
        }
        let count = buf.len().min(self.block.len() - self.at);
        buf[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Compression, String> {
        text.parse().map_err(|error: ParseCompressionError| error.to_string())
    }

    #[test]
    fn parses_names_with_and_without_levels() {
        for (text, compression, shown) in [
            ("none", Compression::None, "none"),
            ("gzip", Compression::Gzip(9), "gzip:9"),
            ("zstd:3", Compression::Zstd(3), "zstd:3"),
            ("xz:0", Compression::Xz(0), "xz:0"),
            ("lz4", Compression::Lz4(9), "lz4:9"),
        ] {
            assert_eq!(parse(text), Ok(compression), "{text}");
            assert_eq!(compression.to_string(), shown);
        }
    }

    #[test]
    fn refuses_what_is_not_a_compression() {
        let unknown = |text| {
            format!(
                "`{text}` is not a compression: use none, gzip, zstd, xz or lz4, with a level if you like: `zstd:19`"
            )
        };
        assert_eq!(parse("bzip2"), Err(unknown("bzip2")));
        assert_eq!(parse("none:1"), Err(unknown("none:1")));
        assert_eq!(parse("zstd:23"), Err("`zstd:23` has a wrong level: zstd has levels 1 to 22".into()));
        assert_eq!(parse("xz:x"), Err("`xz:x` has a wrong level: xz has levels 0 to 9".into()));
    }

    #[test]
    fn what_was_compressed_is_read_back_and_the_format_is_known() {
        // More than two lz4 blocks, in odd writes.
        let bytes: Vec<u8> = (0..17_000_003u32).map(|i| ((i / 7) ^ (i >> 11)) as u8).collect();
        for text in ["none", "gzip:1", "zstd:1", "xz:0", "lz4:1", "lz4:3"] {
            let mut encoder = Encoder::new(parse(text).expect("valid"), Vec::new()).expect("encoder");
            bytes.chunks(999_983).for_each(|part| encoder.write_all(part).expect("write"));
            let packed = encoder.finish().expect("finish");
            let (name, mut reader) = decoder(packed.as_slice()).expect("decoder");
            let mut back = Vec::new();
            reader.read_to_end(&mut back).expect("read");
            assert!(back == bytes, "{text}");
            assert_eq!(Some(name), text.split(':').next());
        }
    }

    #[test]
    fn a_broken_lz4_block_is_an_error() {
        let mut packed = LZ4_MAGIC.to_vec();
        packed.extend_from_slice(&0x7FFF_FFFF_u32.to_le_bytes());
        let (_, mut reader) = decoder(packed.as_slice()).expect("decoder");
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "an lz4 block cannot have 2147483647 bytes");
    }
}
