//! Compressors: their names and levels as text, their ids and option blocks on disk, and the work itself.
//!
//! All of them are the reference C libraries, linked statically, so that the same release of this program makes
//! the same bytes on every host. The option blocks are those of `Documentation/filesystems/squashfs` users:
//! the kernel's `*_wrapper.c` read them, `unsquashfs -s` prints them.

use std::fmt;
use std::str::FromStr;

use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};
use zstd::zstd_safe::{self, CCtx, CParameter};

use super::SquashfsError;
use super::raw;

/// How blocks are compressed. Printed and parsed as `zstd:15`, `gzip:9`, `xz:6`, `lz4`, `lz4hc` or `stored`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// zlib streams made by libdeflate: small and far cheaper than zlib's own.
    Gzip {
        /// 1 to 12; what zlib calls 9 is about 6 here.
        level: u32,
    },
    /// The smallest images and the slowest reads.
    Xz {
        /// 0 to 9; the dictionary is always one block.
        preset: u32,
    },
    /// The fastest reads.
    Lz4 {
        /// Search hard (`lz4hc`): the same reading speed from smaller images, slower to write.
        hc: bool,
    },
    /// Small images and fast reads.
    Zstd {
        /// 1 to 22.
        level: i32,
    },
    /// No compression; the superblock says gzip, as the format has no id for it.
    Stored,
}

/// Why a text is not a [`Codec`], or a codec has an impossible level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCodecError {
    /// No such codec.
    #[error("unknown codec `{name}`: use `zstd`, `lz4`, `lz4hc`, `xz`, `gzip` or `stored`{}", suggest(*suggestion))]
    Unknown {
        /// What was given.
        name: String,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// What follows the colon is not a number.
    #[error("`{level}` is not a level of `{codec}`: expected a number from {min} to {max}")]
    NotALevel {
        /// The codec.
        codec: &'static str,
        /// What was given.
        level: String,
        /// Lowest level.
        min: i64,
        /// Highest level.
        max: i64,
    },
    /// The number is not a level.
    #[error("`{codec}` has no level {level}: its levels are {min} to {max}")]
    Level {
        /// The codec.
        codec: &'static str,
        /// What was given.
        level: i64,
        /// Lowest level.
        min: i64,
        /// Highest level.
        max: i64,
    },
    /// The codec has no levels at all.
    #[error("`{codec}` has no levels, `:{level}` must go")]
    NoLevels {
        /// The codec.
        codec: &'static str,
        /// What was given.
        level: String,
    },
}

fn suggest(suggestion: Option<&'static str>) -> String {
    suggestion.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

/// The levels of a codec.
#[derive(Clone, Copy)]
struct Levels {
    min: i64,
    max: i64,
    /// What the bare name means: the default of mksquashfs.
    usual: i64,
}

/// Names, with levels where there are any.
const CODECS: [(&str, Option<Levels>); 6] = [
    ("zstd", Some(Levels { min: 1, max: 22, usual: 15 })),
    ("lz4", None),
    ("lz4hc", None),
    ("xz", Some(Levels { min: 0, max: 9, usual: 6 })),
    ("gzip", Some(Levels { min: 1, max: 12, usual: 9 })),
    ("stored", None),
];

/// What people type for one of [`CODECS`].
const ALIASES: [(&str, &str); 7] = [
    ("zlib", "gzip"),
    ("deflate", "gzip"),
    ("lzma", "xz"),
    ("lzo", "lz4"),
    ("none", "stored"),
    ("uncompressed", "stored"),
    ("zst", "zstd"),
];

impl FromStr for Codec {
    type Err = ParseCodecError;

    fn from_str(text: &str) -> Result<Codec, ParseCodecError> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let Some((codec, levels)) = CODECS.into_iter().find(|(codec, _)| *codec == name) else {
            return Err(ParseCodecError::Unknown { name: name.into(), suggestion: nearest(name) });
        };
        let level = parse_level(codec, level, levels)?;
        Ok(match codec {
            "zstd" => Codec::Zstd { level: level as i32 },
            "lz4" => Codec::Lz4 { hc: false },
            "lz4hc" => Codec::Lz4 { hc: true },
            "xz" => Codec::Xz { preset: level as u32 },
            "gzip" => Codec::Gzip { level: level as u32 },
            _ => Codec::Stored,
        })
    }
}

fn parse_level(
    codec: &'static str,
    level: Option<&str>,
    levels: Option<Levels>,
) -> Result<i64, ParseCodecError> {
    match (level, levels) {
        (None, None) => Ok(0),
        (None, Some(Levels { usual, .. })) => Ok(usual),
        (Some(level), None) => Err(ParseCodecError::NoLevels { codec, level: level.into() }),
        (Some(level), Some(Levels { min, max, .. })) => match level.parse() {
            Ok(level) if (min..=max).contains(&level) => Ok(level),
            Ok(level) => Err(ParseCodecError::Level { codec, level, min, max }),
            Err(_) => Err(ParseCodecError::NotALevel { codec, level: level.into(), min, max }),
        },
    }
}

/// The codec whose name is at most two edits away, or the one an alias stands for.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    if let Some((_, codec)) = ALIASES.into_iter().find(|(alias, _)| *alias == name) {
        return Some(codec);
    }
    let distances = CODECS.into_iter().map(|(codec, _)| (edits(name.as_bytes(), codec.as_bytes()), codec));
    distances
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, codec)| codec)
}

/// Levenshtein distance.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level() {
            Some(level) => write!(f, "{}:{level}", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

impl serde::Serialize for Codec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Codec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Codec {
    fn name(self) -> &'static str {
        match self {
            Codec::Gzip { .. } => "gzip",
            Codec::Xz { .. } => "xz",
            Codec::Lz4 { hc: false } => "lz4",
            Codec::Lz4 { hc: true } => "lz4hc",
            Codec::Zstd { .. } => "zstd",
            Codec::Stored => "stored",
        }
    }

    fn level(self) -> Option<i64> {
        match self {
            Codec::Gzip { level } => Some(level.into()),
            Codec::Xz { preset } => Some(preset.into()),
            Codec::Zstd { level } => Some(level.into()),
            Codec::Lz4 { .. } | Codec::Stored => None,
        }
    }

    /// Fails for a level [`FromStr`] would not have accepted.
    pub(super) fn reject_impossible_level(self) -> Result<(), ParseCodecError> {
        self.to_string().parse::<Codec>().map(drop)
    }

    /// `compression` of the superblock.
    pub(super) fn id(self) -> u16 {
        match self {
            Codec::Gzip { .. } | Codec::Stored => raw::ZLIB_COMPRESSION,
            Codec::Xz { .. } => raw::XZ_COMPRESSION,
            Codec::Lz4 { .. } => raw::LZ4_COMPRESSION,
            Codec::Zstd { .. } => raw::ZSTD_COMPRESSION,
        }
    }

    /// The option block behind the superblock: nothing where the settings are what readers assume without it.
    /// The xz preset has no field; its dictionary is a block, which is what readers assume.
    pub(super) fn options_block(self) -> Option<Vec<u8>> {
        let block = match self {
            // Readers know zlib's levels only. Fields: level, window size (15), strategies (0 = default).
            Codec::Gzip { level } if level < 9 => [level.to_le_bytes(), [15, 0, 0, 0]].concat(),
            // Fields: version (1 = LZ4_LEGACY), flags (1 = LZ4_HC). The kernel demands this block.
            Codec::Lz4 { hc } => [1_u32.to_le_bytes(), u32::from(hc).to_le_bytes()].concat(),
            Codec::Zstd { level } if level != 15 => level.to_le_bytes().to_vec(),
            Codec::Gzip { .. } | Codec::Xz { .. } | Codec::Zstd { .. } | Codec::Stored => return None,
        };
        Some(block)
    }
}

/// A compressor context with its output buffer, for one thread.
pub(super) struct Compressor {
    codec: Codec,
    block_size: u32,
    engine: Engine,
    out: Vec<u8>,
}

enum Engine {
    Gzip(Box<libdeflater::Compressor>),
    Zstd(CCtx<'static>),
    /// These libraries need no context, or make one for each call.
    PerCall,
}

/// What `ZSTD_isError` codes are for `ZSTD_error_dstSize_tooSmall` (zstd_errors.h).
const ZSTD_DST_SIZE_TOO_SMALL: usize = usize::MAX - 69;

impl Compressor {
    /// A context for blocks of at most `block_size` bytes.
    pub(super) fn new(codec: Codec, block_size: u32) -> Result<Compressor, SquashfsError> {
        let engine = match codec {
            Codec::Gzip { level } => {
                let level = libdeflater::CompressionLvl::new(level as i32)
                    .map_err(|error| failed(codec, format!("{error:?}")))?;
                Engine::Gzip(Box::new(libdeflater::Compressor::new(level)))
            }
            Codec::Zstd { level } => Engine::Zstd(zstd_context(codec, level)?),
            Codec::Xz { .. } | Codec::Lz4 { .. } | Codec::Stored => Engine::PerCall,
        };
        Ok(Compressor { codec, block_size, engine, out: Vec::new() })
    }

    /// The compressed form if that is shorter than `input`.
    pub(super) fn compress(&mut self, input: &[u8]) -> Result<Option<&[u8]>, SquashfsError> {
        if input.len() < 2 || self.codec == Codec::Stored {
            return Ok(None);
        }
        if self.out.len() < input.len() {
            self.out.resize(input.len(), 0);
        }
        // One byte less than the input: what does not fit there is not worth it.
        let out = &mut self.out[..input.len() - 1];
        let len = match (&mut self.engine, self.codec) {
            (Engine::Gzip(context), _) => context.zlib_compress(input, out).ok(),
            (Engine::Zstd(context), _) => match context.compress2(out, input) {
                Ok(len) => Some(len),
                Err(ZSTD_DST_SIZE_TOO_SMALL) => None,
                Err(code) => return Err(failed(self.codec, zstd_safe::get_error_name(code))),
            },
            (_, Codec::Xz { preset }) => {
                xz(input, out, preset, self.block_size).map_err(|error| failed(self.codec, error))?
            }
            (_, Codec::Lz4 { hc }) => lz4(input, out, hc),
            (Engine::PerCall, _) => None,
        };
        Ok(len.map(|len| &self.out[..len]))
    }
}

fn failed(codec: Codec, reason: impl fmt::Display) -> SquashfsError {
    SquashfsError::Compress { codec: codec.to_string(), reason: reason.to_string() }
}

fn zstd_context(codec: Codec, level: i32) -> Result<CCtx<'static>, SquashfsError> {
    let mut context = CCtx::try_create().ok_or_else(|| failed(codec, "out of memory"))?;
    context
        .set_parameter(CParameter::CompressionLevel(level))
        .map_err(|code| failed(codec, zstd_safe::get_error_name(code)))?;
    Ok(context)
}

fn lz4(input: &[u8], out: &mut [u8], hc: bool) -> Option<usize> {
    use lz4::block::CompressionMode;
    // 12 is LZ4HC_CLEVEL_MAX, as mksquashfs uses.
    let mode = if hc { CompressionMode::HIGHCOMPRESSION(12) } else { CompressionMode::DEFAULT };
    lz4::block::compress_to_buffer(input, Some(mode), false, out).ok()
}

/// One `.xz` stream with CRC32, the only check the kernel knows. `None` if it does not fit `out`.
fn xz(
    input: &[u8],
    out: &mut [u8],
    preset: u32,
    block_size: u32,
) -> Result<Option<usize>, liblzma::stream::Error> {
    let mut options = LzmaOptions::new_preset(preset)?;
    // The kernel allocates a dictionary of one block. A metadata block needs no more than itself.
    let dictionary = (input.len() as u32).next_power_of_two().clamp(8192.min(block_size), block_size);
    options.dict_size(dictionary);
    let mut stream = Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc32)?;
    match stream.process(input, out, Action::Finish)? {
        Status::StreamEnd => Ok(Some(stream.total_out() as usize)),
        Status::Ok | Status::MemNeeded | Status::GetCheck => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_round_trip() {
        for text in ["zstd:15", "zstd:1", "lz4", "lz4hc", "gzip:12", "xz:0", "stored"] {
            assert_eq!(text.parse::<Codec>().expect(text).to_string(), text);
        }
        for (bare, full) in [("zstd", "zstd:15"), ("gzip", "gzip:9"), ("xz", "xz:6")] {
            assert_eq!(bare.parse::<Codec>().expect(bare).to_string(), full);
        }
    }

    #[test]
    fn refusals_name_both_numbers_and_what_was_meant() {
        let message = |text: &str| text.parse::<Codec>().unwrap_err().to_string();
        let all = "use `zstd`, `lz4`, `lz4hc`, `xz`, `gzip` or `stored`";
        assert_eq!(message("zstt:3"), format!("unknown codec `zstt`: {all} (did you mean `zstd`?)"));
        assert_eq!(message("zlib"), format!("unknown codec `zlib`: {all} (did you mean `gzip`?)"));
        assert_eq!(message("brotli"), format!("unknown codec `brotli`: {all}"));
        assert_eq!(message("zstd:23"), "`zstd` has no level 23: its levels are 1 to 22");
        assert_eq!(message("xz:best"), "`best` is not a level of `xz`: expected a number from 0 to 9");
        assert_eq!(message("lz4:3"), "`lz4` has no levels, `:3` must go");
    }

    #[test]
    fn every_codec_shrinks_text_and_gives_up_on_noise() {
        let text = b"all work and no play ".repeat(400);
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u8
        })
        .take(8192)
        .collect();
        for codec in ["zstd:3", "gzip:6", "xz:6", "lz4", "lz4hc"] {
            let mut compressor = Compressor::new(codec.parse().expect("valid"), 131_072).expect("a context");
            let len = compressor.compress(&text).expect("compresses").expect("shrinks").len();
            assert!(len < text.len() / 10, "{codec}: {len}");
            assert_eq!(compressor.compress(&noise).expect("compresses"), None, "{codec}");
            assert_eq!(compressor.compress(b"a").expect("compresses"), None, "{codec}");
        }
    }

    #[test]
    fn option_blocks_are_there_where_readers_need_them() {
        let block = |text: &str| text.parse::<Codec>().expect("valid").options_block();
        assert_eq!(block("lz4hc"), Some(vec![1, 0, 0, 0, 1, 0, 0, 0]));
        assert_eq!(block("zstd:3"), Some(vec![3, 0, 0, 0]));
        assert_eq!(block("gzip:6"), Some(vec![6, 0, 0, 0, 15, 0, 0, 0]));
        assert_eq!(
            (block("zstd:15"), block("gzip:9"), block("xz:6"), block("stored")),
            (None, None, None, None)
        );
    }
}
