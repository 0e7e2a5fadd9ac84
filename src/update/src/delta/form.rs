//! Forms in which blocks are compressed, and the way there and back.

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

use crate::bundle::BLOCK_MAX;

/// Form of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// A zstd frame: data and fragment blocks of a squashfs.
    Zstd,
    /// A zstd frame behind its length of two bytes: metadata blocks of a squashfs.
    Metadata,
}

/// Bit of the length of a metadata block that is not compressed.
const STORED: u16 = 1 << 15;

impl Form {
    pub(super) fn number(self) -> u8 {
        match self {
            Form::Plain => 0,
            Form::Zstd => 1,
            Form::Metadata => 2,
        }
    }

    pub(super) fn from_number(number: u8) -> Option<Form> {
        [Form::Plain, Form::Zstd, Form::Metadata].into_iter().find(|form| form.number() == number)
    }

    /// What a block holds; `None` if it has another form or holds more than `max` bytes.
    pub fn decode(self, block: &[u8], max: usize) -> Option<Vec<u8>> {
        let frame = match self {
            Form::Plain => return (block.len() <= max).then(|| block.to_vec()),
            Form::Zstd => block,
            Form::Metadata => {
                let (len, frame) = block.split_first_chunk()?;
                let len = u16::from_le_bytes(*len);
                (len & STORED == 0 && usize::from(len) == frame.len()).then_some(frame)?
            }
        };
        let len = usize::try_from(zstd_safe::get_frame_content_size(frame).ok()??).ok()?;
        if len > max.min(BLOCK_MAX) {
            return None;
        }
        let mut out = vec![0; len];
        let decoded = DCtx::try_create()?.decompress(&mut out[..], frame).ok()?;
        (decoded == len).then_some(out)
    }

    /// The block that holds `raw`, as our writer of squashfs and `mksquashfs` make it with this level: shorter than
    /// `raw`, or `None`.
    pub fn encode(self, raw: &[u8], level: u8) -> Option<Vec<u8>> {
        if self == Form::Plain {
            return Some(raw.to_vec());
        }
        let start = if self == Form::Metadata { 2 } else { 0 };
        let mut context = CCtx::try_create()?;
        context.set_parameter(CParameter::CompressionLevel(level.into())).ok()?;
        let mut block = vec![0; start + raw.len().checked_sub(1)?];
        let len = context.compress2(&mut block[start..], raw).ok()?;
        block.truncate(start + len);
        if start > 0 {
            block[..2].copy_from_slice(&u16::try_from(len).ok()?.to_le_bytes());
        }
        Some(block)
    }
}

/// A frame from which [`unpatch`] makes `raw` with the same `prefix`.
#[cfg(any(test, feature = "host"))]
pub(super) fn patch(prefix: &[u8], raw: &[u8]) -> Option<Vec<u8>> {
    /// Measured on package updates of a Debian root filesystem: higher ones take much longer and save 2 %.
    const LEVEL: i32 = 12;
    /// All of the references and the block are in the window.
    const WINDOW_LOG: u32 = 24;
    let mut context = CCtx::try_create()?;
    context.set_parameter(CParameter::CompressionLevel(LEVEL)).ok()?;
    context.set_parameter(CParameter::WindowLog(WINDOW_LOG)).ok()?;
    context.ref_prefix(prefix).ok()?;
    let mut out = vec![0; zstd_safe::compress_bound(raw.len())];
    let len = context.compress2(&mut out[..], raw).ok()?;
    out.truncate(len);
    Some(out)
}

/// The `len` bytes that a patch makes; `None` if it is damaged or makes another number.
pub(super) fn unpatch(prefix: &[u8], patch: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; len];
    let mut context = DCtx::try_create()?;
    context.ref_prefix(prefix).ok()?;
    let made = context.decompress(&mut out[..], patch).ok()?;
    (made == len).then_some(out)
}
