//! Decompression of single blocks.

use liblzma::stream::{Action, Status, Stream};
use zstd::zstd_safe::DCtx;

use super::super::Codec;
use super::super::SquashfsError;
use super::super::raw;

/// A decompressor of one image.
pub(super) enum Decoder {
    Gzip(libdeflater::Decompressor),
    Xz,
    Lz4,
    Zstd(DCtx<'static>),
}

/// A dictionary of the largest block, and what the decoder itself needs.
const XZ_MEMORY: u64 = 64 << 20;

impl Decoder {
    /// For the `compression` of a superblock.
    pub(super) fn new(compression: u16) -> Result<Decoder, SquashfsError> {
        match compression {
            raw::ZLIB_COMPRESSION => Ok(Decoder::Gzip(libdeflater::Decompressor::new())),
            raw::XZ_COMPRESSION => Ok(Decoder::Xz),
            raw::LZ4_COMPRESSION => Ok(Decoder::Lz4),
            raw::ZSTD_COMPRESSION => Ok(Decoder::Zstd(DCtx::create())),
            other => Err(SquashfsError::UnsupportedCodec(super::codec_name(other)?.into())),
        }
    }

    /// Decompresses a block into `out` and returns its length; `None` if the block is damaged or longer.
    pub(super) fn decode(&mut self, block: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            Decoder::Gzip(context) => context.zlib_decompress(block, out).ok(),
            Decoder::Zstd(context) => context.decompress(out, block).ok(),
            Decoder::Lz4 => lz4::block::decompress_to_buffer(block, Some(out.len() as i32), out).ok(),
            Decoder::Xz => {
                let mut stream = Stream::new_stream_decoder(XZ_MEMORY, 0).ok()?;
                let status = stream.process(block, out, Action::Finish).ok()?;
                (status == Status::StreamEnd).then_some(stream.total_out() as usize)
            }
        }
    }
}

/// The `raw_len` bytes that `packed` was made of; `None` if it is damaged, or of another length.
pub fn decode_block(codec: Codec, packed: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    if codec == Codec::Stored {
        return None;
    }
    let mut raw = vec![0; raw_len];
    let len = Decoder::new(codec.id()).ok()?.decode(packed, &mut raw)?;
    (len == raw_len).then_some(raw)
}
