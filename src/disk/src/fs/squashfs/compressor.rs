//! The work of compression: contexts that are reused from block to block.
//!
//! Before a slow compressor is set on a block that looks like noise, a fast one is tried: what that cannot
//! shrink is stored, which costs a fraction of a percent in size, and reads faster.

use std::fmt;

use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};
use zstd::zstd_safe::{self, CCtx, CParameter};

use super::{Bcj, Codec, SquashfsError};

/// A compressor context with its output buffer, for one thread.
pub(super) struct Compressor {
    codec: Codec,
    block_size: u32,
    engine: Engine,
    /// For blocks that look like noise; only beside a slow engine.
    probe: Option<CCtx<'static>>,
    out: Vec<u8>,
}

enum Engine {
    Gzip(Box<libdeflater::Compressor>),
    Zstd(CCtx<'static>),
    Tuned(Box<Tuned>),
    /// These libraries need no context, or make one for each call.
    PerCall,
}

impl Compressor {
    /// A context for blocks of at most `block_size` bytes.
    pub(super) fn new(codec: Codec, block_size: u32) -> Result<Compressor, SquashfsError> {
        let engine = match codec {
            Codec::Gzip { level } => {
                let level = libdeflater::CompressionLvl::new(level as i32)
                    .map_err(|error| failed(codec, format!("{error:?}")))?;
                Engine::Gzip(Box::new(libdeflater::Compressor::new(level)))
            }
            Codec::Zstd { level } => Engine::Zstd(zstd_context(&[CParameter::CompressionLevel(level)])?),
            Codec::ZstdTuned => Engine::Tuned(Box::new(Tuned::new()?)),
            Codec::Xz { .. } | Codec::Lz4 { .. } | Codec::Stored => Engine::PerCall,
        };
        let probe = match codec.is_slow() {
            true => Some(zstd_context(&[CParameter::CompressionLevel(1)])?),
            false => None,
        };
        Ok(Compressor { codec, block_size, engine, probe, out: Vec::new() })
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
        if let Some(probe) = &mut self.probe
            && looks_like_noise(input)
            && shrinks_little(probe, input, out)?
        {
            return Ok(None);
        }
        let codec = self.codec;
        let len = match (&mut self.engine, codec) {
            (Engine::Gzip(context), _) => context.zlib_compress(input, out).ok(),
            (Engine::Zstd(context), _) => compress2(context, input, out)?,
            (Engine::Tuned(tuned), _) => tuned.compress(input, out)?,
            (_, Codec::Xz { preset, bcj }) => {
                let best = smallest_xz(input, out, preset, bcj, self.block_size);
                best.map_err(|error| failed(codec, error))?
            }
            (_, Codec::Lz4 { hc }) => lz4(input, out, hc),
            (Engine::PerCall, _) => None,
        };
        Ok(len.map(|len| &self.out[..len]))
    }
}

fn failed(codec: impl fmt::Display, reason: impl fmt::Display) -> SquashfsError {
    SquashfsError::Compress { codec: codec.to_string(), reason: reason.to_string() }
}

fn zstd_context(parameters: &[CParameter]) -> Result<CCtx<'static>, SquashfsError> {
    let mut context = CCtx::try_create().ok_or_else(|| failed("zstd", "out of memory"))?;
    for parameter in parameters {
        context.set_parameter(*parameter).map_err(|code| failed("zstd", zstd_safe::get_error_name(code)))?;
    }
    Ok(context)
}

/// Code of `ZSTD_error_dstSize_tooSmall` (zstd_errors.h), as `ZSTD_isError` takes it.
const ZSTD_DST_SIZE_TOO_SMALL: usize = usize::MAX - 69;

/// The length of the compressed form; `None` if it does not fit `out`.
fn compress2(context: &mut CCtx, input: &[u8], out: &mut [u8]) -> Result<Option<usize>, SquashfsError> {
    match context.compress2(out, input) {
        Ok(len) => Ok(Some(len)),
        Err(ZSTD_DST_SIZE_TOO_SMALL) => Ok(None),
        Err(code) => Err(failed("zstd", zstd_safe::get_error_name(code))),
    }
}

/// Returns whether the bytes are spread as those of compressed or encrypted data are: by their entropy, which is almost
/// 8 bits.
fn looks_like_noise(input: &[u8]) -> bool {
    const BITS: f64 = 7.95;
    let mut counts = [0_u32; 256];
    input.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let len = input.len() as f64;
    let bits = |count: &u32| f64::from(*count) * (len / f64::from(*count)).log2();
    counts.iter().filter(|count| **count > 0).map(bits).sum::<f64>() > BITS * len
}

/// Returns whether a fast compressor saves less than 1 %.
fn shrinks_little(probe: &mut CCtx, input: &[u8], out: &mut [u8]) -> Result<bool, SquashfsError> {
    let enough = input.len() - input.len() / 100;
    Ok(compress2(probe, input, out)?.is_none_or(|len| len > enough))
}

/// zstd with parameters for what a block is like, as a fast pass over it shows. Measured on blocks of 128 KiB of a
/// root filesystem, against level 15:
///
/// - what shrinks to less than a fifth is full of long repeats (kernel modules, tables): level 9 makes it 1 to 3 %
///   smaller, in a tenth of the time;
/// - what shrinks to less than a quarter gets 1.2 % larger with 8 candidates in place of 64, in 3/4 of the time;
/// - the rest gets 0.3 % larger with 16 candidates, in 9/10 of the time.
struct Tuned {
    fast: CCtx<'static>,
    repeats: CCtx<'static>,
    dense: CCtx<'static>,
    rest: CCtx<'static>,
}

impl Tuned {
    fn new() -> Result<Tuned, SquashfsError> {
        use CParameter::{CompressionLevel, MinMatch, SearchLog, Strategy, TargetLength};
        let optimal = |search_log, target_length| {
            zstd_context(&[
                CompressionLevel(15),
                Strategy(zstd_safe::Strategy::ZSTD_btopt),
                SearchLog(search_log),
                MinMatch(3),
                TargetLength(target_length),
            ])
        };
        Ok(Tuned {
            fast: zstd_context(&[CompressionLevel(3)])?,
            repeats: zstd_context(&[CompressionLevel(9)])?,
            dense: optimal(3, 64)?,
            rest: optimal(4, 32)?,
        })
    }

    fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Result<Option<usize>, SquashfsError> {
        let fast = compress2(&mut self.fast, input, out)?.unwrap_or(input.len());
        let context = match fast {
            _ if fast < input.len() / 5 => &mut self.repeats,
            _ if fast < input.len() / 4 => &mut self.dense,
            _ => &mut self.rest,
        };
        compress2(context, input, out)
    }
}

fn lz4(input: &[u8], out: &mut [u8], hc: bool) -> Option<usize> {
    use lz4::block::CompressionMode;
    // 12 is LZ4HC_CLEVEL_MAX, as mksquashfs uses.
    let mode = if hc { CompressionMode::HIGHCOMPRESSION(12) } else { CompressionMode::DEFAULT };
    lz4::block::compress_to_buffer(input, Some(mode), false, out).ok()
}

/// The shorter of the forms with and without the filter for machine code. `None` if neither fits `out`.
fn smallest_xz(
    input: &[u8],
    out: &mut [u8],
    preset: u32,
    bcj: Option<Bcj>,
    block_size: u32,
) -> Result<Option<usize>, liblzma::stream::Error> {
    let plain = xz(input, out, preset, None, block_size)?;
    let Some(bcj) = bcj else {
        return Ok(plain);
    };
    let mut other = vec![0; plain.unwrap_or(out.len())];
    let filtered = xz(input, &mut other, preset, Some(bcj), block_size)?;
    Ok(match filtered {
        Some(len) if plain.is_none_or(|plain| len < plain) => {
            out[..len].copy_from_slice(&other[..len]);
            filtered
        }
        _ => plain,
    })
}

/// One `.xz` stream with CRC32, the only check the kernel knows. `None` if it does not fit `out`.
fn xz(
    input: &[u8],
    out: &mut [u8],
    preset: u32,
    bcj: Option<Bcj>,
    block_size: u32,
) -> Result<Option<usize>, liblzma::stream::Error> {
    let mut options = LzmaOptions::new_preset(preset)?;
    // The kernel allocates a dictionary of one block. A metadata block needs no more than itself.
    let dictionary = (input.len() as u32).next_power_of_two().clamp(8192.min(block_size), block_size);
    options.dict_size(dictionary);
    let mut filters = Filters::new();
    match bcj {
        Some(Bcj::X86) => drop(filters.x86()),
        Some(Bcj::Arm) => drop(filters.arm()),
        Some(Bcj::ArmThumb) => drop(filters.arm_thumb()),
        Some(Bcj::Arm64) => drop(filters.arm64()),
        Some(Bcj::PowerPc) => drop(filters.powerpc()),
        None => {}
    }
    let mut stream = Stream::new_stream_encoder(filters.lzma2(&options), Check::Crc32)?;
    match stream.process(input, out, Action::Finish)? {
        Status::StreamEnd => Ok(Some(stream.total_out() as usize)),
        Status::Ok | Status::MemNeeded | Status::GetCheck => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for codec in ["zstd:3", "zstd:15", "zstd:tuned", "gzip:6", "xz:6", "xz:6+x86", "lz4", "lz4hc"] {
            let mut compressor = Compressor::new(codec.parse().expect("valid"), 131_072).expect("a context");
            let len = compressor.compress(&text).expect("compresses").expect("shrinks").len();
            assert!(len < text.len() / 10, "{codec}: {len}");
            assert_eq!(compressor.compress(&noise).expect("compresses"), None, "{codec}");
            assert_eq!(compressor.compress(b"a").expect("compresses"), None, "{codec}");
        }
    }
}
