//! The decoders of all formats.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

use super::format::is_skippable;
use super::{Format, LONGEST_MAGIC};
use crate::source::input::Input;
use crate::source::xz::Xz;
use crate::source::zip::Unzip;
use crate::source::zstd_frame::Frame;

/// A decoder that gives back what it reads from when it has come to its end.
pub(super) trait Unpack: Read + Send {
    /// Bytes that were read.
    fn position(&self) -> u64;
    /// Bytes behind its end.
    fn rest(self: Box<Self>) -> io::Result<Input>;
}

/// The decoder of the next member.
pub(super) fn begin(format: Format, mut input: Input, memory: u64) -> io::Result<Box<dyn Unpack>> {
    if matches!(format, Format::Zstd | Format::Lz4) && is_skippable(input.peek(LONGEST_MAGIC)?) {
        return Ok(Box::new(Skippable::new(input)?));
    }
    Ok(match format {
        Format::Raw | Format::Other(_) | Format::Zip => Box::new(input),
        Format::Gzip => Box::new(GzDecoder::new(input)),
        Format::Xz => Box::new(Xz::new(input, memory)?),
        Format::Zstd => Box::new(Frame::new(input, memory)?),
        Format::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(input)),
        Format::Lz4 => Box::new(lz4::Decoder::new(input)?),
    })
}

/// A frame that is skipped.
struct Skippable(Input);

impl Skippable {
    fn new(mut input: Input) -> io::Result<Skippable> {
        let len = match input.peek(8)? {
            [_, _, _, _, a, b, c, d] => u32::from_le_bytes([*a, *b, *c, *d]),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        match input.skip(8 + u64::from(len))? == 8 + u64::from(len) {
            true => Ok(Skippable(input)),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Read for Skippable {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

impl Unpack for Skippable {
    fn position(&self) -> u64 {
        self.0.position()
    }

    fn rest(self: Box<Self>) -> io::Result<Input> {
        Ok(self.0)
    }
}

impl Unpack for Input {
    fn position(&self) -> u64 {
        Input::position(self)
    }

    fn rest(self: Box<Self>) -> io::Result<Input> {
        Ok(*self)
    }
}

impl Unpack for GzDecoder<Input> {
    fn position(&self) -> u64 {
        self.get_ref().position()
    }

    fn rest(self: Box<Self>) -> io::Result<Input> {
        Ok(self.into_inner())
    }
}

impl Unpack for Xz {
    fn position(&self) -> u64 {
        self.input().position()
    }

    fn rest(self: Box<Self>) -> io::Result<Input> {
        Ok(self.into_input())
    }
}

impl Unpack for bzip2::bufread::BzDecoder<Input> {
    fn position(&self) -> u64 {
        self.get_ref().position()
    }

    fn rest(self: Box<Self>) -> io::Result<Input> {
        Ok(self.into_inner())
    }
}

impl Unpack for Frame {
    fn position(&self) -> u64 {
        self.input().position()
    }

    fn rest(self: Box<Self>) -> io::Result<Input> {
        Ok(self.into_input())
    }
}

impl Unpack for lz4::Decoder<Input> {
    fn position(&self) -> u64 {
        self.reader().position()
    }

    fn rest(self: Box<Self>) -> io::Result<Input> {
        let (input, ended) = self.finish();
        // The decoder does not distinguish a frame that ends too early from one that ends.
        ended.map(|()| input).map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Unpack for Unzip {
    fn position(&self) -> u64 {
        Unzip::position(self)
    }

    fn rest(self: Box<Self>) -> io::Result<Input> {
        (*self).into_rest()
    }
}
