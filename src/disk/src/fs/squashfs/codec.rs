//! Compressors: their names and levels as text, their ids and option blocks on disk.
//!
//! All of them are the reference C libraries, linked statically, so that the same release of this program makes
//! the same bytes on every host. The option blocks are those of `Documentation/filesystems/squashfs` users:
//! the kernel's `*_wrapper.c` read them, `unsquashfs -s` prints them.

use std::fmt;
use std::str::FromStr;

use zstd::zstd_safe;

use super::raw;
use crate::value::{did_you_mean, nearest};

/// Compression of blocks. Printed and parsed as `zstd:15`, `zstd:tuned`, `gzip:6`, `xz:6`, `xz:6+arm`, `lz4`,
/// `lz4hc` or `stored`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// zlib streams made by libdeflate: small and far cheaper than zlib's own.
    Gzip {
        /// 1 to 12; 6 is as small as zlib's 9.
        level: u32,
    },
    /// The smallest images and the slowest reads.
    Xz {
        /// 0 to 9; the dictionary is always one block.
        preset: u32,
        /// A filter that is tried for each block.
        bcj: Option<Bcj>,
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
    /// zstd with parameters chosen for each block: in blocks of 128 KiB as small as level 15, for much less work.
    ZstdTuned,
    /// No compression; the superblock says gzip, as the format has no id for it.
    Stored,
}

/// A filter of xz that makes addresses in machine code easier to compress ("branch, call, jump"). A block is
/// compressed with and without it, and the shorter form is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bcj {
    /// x86 and x86-64.
    X86,
    /// 32-bit Arm in Arm encoding.
    Arm,
    /// 32-bit Arm in Thumb encoding.
    ArmThumb,
    /// 64-bit Arm; read by Linux 6.12 and later with `CONFIG_XZ_DEC_ARM64`.
    Arm64,
    /// Big-endian PowerPC.
    PowerPc,
}

impl Bcj {
    /// The bit of `unsquashfs -s`.
    fn flag(self) -> u32 {
        match self {
            Bcj::X86 => 1,
            Bcj::PowerPc => 2,
            Bcj::Arm => 8,
            Bcj::ArmThumb => 16,
            Bcj::Arm64 => 64,
        }
    }
}

/// Filters by name.
const FILTERS: [(&str, Bcj); 5] = [
    ("x86", Bcj::X86),
    ("arm", Bcj::Arm),
    ("armthumb", Bcj::ArmThumb),
    ("arm64", Bcj::Arm64),
    ("powerpc", Bcj::PowerPc),
];

/// Reason why a text is not a [`Codec`], or a codec has an impossible level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCodecError {
    /// No such codec.
    #[error("unknown codec `{name}`: use `zstd`, `lz4`, `lz4hc`, `xz`, `gzip` or `stored`{}", suggest(*suggestion))]
    Unknown {
        /// Text that was given.
        name: String,
        /// Text that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// The text behind the colon is not a number.
    #[error("`{level}` is not a level of `{codec}`: expected a number from {min} to {max}")]
    NotALevel {
        /// The codec.
        codec: &'static str,
        /// Text that was given.
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
        /// Level that was given.
        level: i64,
        /// Lowest level.
        min: i64,
        /// Highest level.
        max: i64,
    },
    /// The text behind the plus sign is not a filter of xz, or the codec is not xz.
    #[error("`{codec}` has no filter `{filter}`: `xz` has `x86`, `arm`, `armthumb`, `arm64` and `powerpc`")]
    Filter {
        /// The codec.
        codec: &'static str,
        /// Text that was given.
        filter: String,
    },
    /// The codec has no levels at all.
    #[error("`{codec}` has no levels, `:{level}` must go")]
    NoLevels {
        /// The codec.
        codec: &'static str,
        /// Text that was given.
        level: String,
    },
}

fn suggest(suggestion: Option<&'static str>) -> String {
    did_you_mean(suggestion).map(|question| format!(" ({question})")).unwrap_or_default()
}

/// The levels of a codec.
#[derive(Clone, Copy)]
struct Levels {
    min: i64,
    max: i64,
    /// Level that the bare name means: it makes images as small as mksquashfs does by default.
    usual: i64,
}

/// Names, with levels where there are any.
const CODECS: [(&str, Option<Levels>); 6] = [
    ("zstd", Some(Levels { min: 1, max: 22, usual: 15 })),
    ("lz4", None),
    ("lz4hc", None),
    ("xz", Some(Levels { min: 0, max: 9, usual: 6 })),
    ("gzip", Some(Levels { min: 1, max: 12, usual: 6 })),
    ("stored", None),
];

/// Names that people type for one of [`CODECS`].
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
        let (text, filter) = split(text, '+');
        let (name, level) = split(text, ':');
        let Some((codec, levels)) = CODECS.into_iter().find(|(codec, _)| *codec == name) else {
            return Err(ParseCodecError::Unknown { name: name.into(), suggestion: meant(name) });
        };
        let bcj = filter.map(|filter| parse_filter(codec, filter)).transpose()?;
        if (codec, level) == ("zstd", Some("tuned")) {
            return Ok(Codec::ZstdTuned);
        }
        let level = parse_level(codec, level, levels)?;
        Ok(match codec {
            "zstd" => Codec::Zstd { level: level as i32 },
            "lz4" => Codec::Lz4 { hc: false },
            "lz4hc" => Codec::Lz4 { hc: true },
            "xz" => Codec::Xz { preset: level as u32, bcj },
            "gzip" => Codec::Gzip { level: level as u32 },
            _ => Codec::Stored,
        })
    }
}

/// Texts before and behind a separator.
fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(before, behind)| (before, Some(behind)))
}

fn parse_filter(codec: &'static str, filter: &str) -> Result<Bcj, ParseCodecError> {
    let known = FILTERS.into_iter().find(|(name, _)| codec == "xz" && *name == filter);
    known.map(|(_, bcj)| bcj).ok_or_else(|| ParseCodecError::Filter { codec, filter: filter.into() })
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

/// The codec whose name is like this one, or the one an alias stands for.
fn meant(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let alias = ALIASES.into_iter().find(|(alias, _)| *alias == name);
    alias.map(|(_, codec)| codec).or_else(|| nearest(&name, CODECS.map(|(codec, _)| codec)))
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.level().map_or(Ok(()), |level| write!(f, ":{level}"))?;
        match self {
            Codec::ZstdTuned => f.write_str(":tuned"),
            Codec::Xz { bcj: Some(bcj), .. } => {
                let name = FILTERS.iter().find(|(_, other)| other == bcj).map_or("", |(name, _)| name);
                write!(f, "+{name}")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Codec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
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
            Codec::Zstd { .. } | Codec::ZstdTuned => "zstd",
            Codec::Stored => "stored",
        }
    }

    fn level(self) -> Option<i64> {
        match self {
            Codec::Gzip { level } => Some(level.into()),
            Codec::Xz { preset, .. } => Some(preset.into()),
            Codec::Zstd { level } => Some(level.into()),
            Codec::ZstdTuned | Codec::Lz4 { .. } | Codec::Stored => None,
        }
    }

    /// Returns whether it pays to look at a block before compressing it.
    pub(super) fn is_slow(self) -> bool {
        match self {
            Codec::Zstd { level } => level >= 10,
            Codec::Gzip { level } => level >= 10,
            Codec::Xz { .. } | Codec::ZstdTuned | Codec::Lz4 { hc: true } => true,
            Codec::Lz4 { hc: false } | Codec::Stored => false,
        }
    }

    /// Fails for a level [`FromStr`] would not have accepted.
    pub(super) fn reject_impossible_level(self) -> Result<(), ParseCodecError> {
        self.to_string().parse::<Codec>().map(drop)
    }

    /// Version of what decides the bytes of a block besides the level: the library, and how it is used here. The rules'
    /// number goes up when the use changes. libdeflate and liblzma report no version; a release of this program is
    /// locked to one.
    pub(crate) fn recipe(self) -> String {
        const RULES: u32 = 1;
        let library = match self {
            Codec::Gzip { .. } => format!("libdeflate of {}", env!("CARGO_PKG_VERSION")),
            Codec::Xz { .. } => format!("liblzma of {}", env!("CARGO_PKG_VERSION")),
            Codec::Lz4 { .. } => format!("lz4 {}", lz4::version()),
            Codec::Zstd { .. } | Codec::ZstdTuned => format!("zstd {}", zstd_safe::version_string()),
            Codec::Stored => "none".into(),
        };
        format!("{library} rules {RULES}")
    }

    /// `compression` of the superblock.
    pub(super) fn id(self) -> u16 {
        match self {
            Codec::Gzip { .. } | Codec::Stored => raw::ZLIB_COMPRESSION,
            Codec::Xz { .. } => raw::XZ_COMPRESSION,
            Codec::Lz4 { .. } => raw::LZ4_COMPRESSION,
            Codec::Zstd { .. } | Codec::ZstdTuned => raw::ZSTD_COMPRESSION,
        }
    }

    /// The option block behind the superblock: nothing where the settings are what readers assume without it.
    /// The xz preset has no field; its dictionary is a block, which is what readers assume.
    pub(super) fn options_block(self, block_size: u32) -> Option<Vec<u8>> {
        let block = match self {
            // Readers know zlib's levels only. Fields: level, window size (15), strategies (0 = default).
            Codec::Gzip { level } if level < 9 => [level.to_le_bytes(), [15, 0, 0, 0]].concat(),
            // Fields: version (1 = LZ4_LEGACY), flags (1 = LZ4_HC). The kernel demands this block.
            Codec::Lz4 { hc } => [1_u32.to_le_bytes(), u32::from(hc).to_le_bytes()].concat(),
            Codec::Zstd { level } if level != 15 => level.to_le_bytes().to_vec(),
            // Dictionary size and filters.
            Codec::Xz { bcj: Some(bcj), .. } => [block_size.to_le_bytes(), bcj.flag().to_le_bytes()].concat(),
            Codec::Gzip { .. } | Codec::Xz { .. } | Codec::Stored => return None,
            Codec::Zstd { .. } | Codec::ZstdTuned => return None,
        };
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_round_trip() {
        for text in
            ["zstd:15", "zstd:1", "zstd:tuned", "xz:6+armthumb", "lz4", "lz4hc", "gzip:12", "xz:0", "stored"]
        {
            assert_eq!(text.parse::<Codec>().expect(text).to_string(), text);
        }
        for (bare, full) in [("zstd", "zstd:15"), ("gzip", "gzip:6"), ("xz", "xz:6"), ("xz+arm", "xz:6+arm")]
        {
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
        let filters = "`xz` has `x86`, `arm`, `armthumb`, `arm64` and `powerpc`";
        assert_eq!(message("xz:6+mips"), format!("`xz` has no filter `mips`: {filters}"));
        assert_eq!(message("zstd:6+arm"), format!("`zstd` has no filter `arm`: {filters}"));
        assert_eq!(message("lz4:3"), "`lz4` has no levels, `:3` must go");
    }

    #[test]
    fn option_blocks_are_there_where_readers_need_them() {
        let block = |text: &str| text.parse::<Codec>().expect("valid").options_block(131_072);
        assert_eq!(block("lz4hc"), Some(vec![1, 0, 0, 0, 1, 0, 0, 0]));
        assert_eq!(block("zstd:3"), Some(vec![3, 0, 0, 0]));
        assert_eq!(block("gzip:6"), Some(vec![6, 0, 0, 0, 15, 0, 0, 0]));
        assert_eq!(
            (block("zstd:15"), block("gzip:9"), block("xz:6"), block("stored")),
            (None, None, None, None)
        );
    }
}
