//! Unpacks an image while it is read: what it is packed with, its own first bytes say, not its name.
//!
//! Several members, streams or frames one behind the other are one image, as the tools of these formats have it;
//! zeros behind the last are padding. Anything else there is reported, not unpacked.
//!
//! Formats: gzip RFC 1952, xz `xz-file-format` 1.2, zstd RFC 8878, `lz4_Frame_format.md` 1.6, zip APPNOTE 6.3 by
//! way of [`super::zip`]; bzip2 is described by its source only.

use std::fmt;
use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use skiff_signatures::{Class, Format as Signature};

use super::input::{Input, ReadFailed};
use super::memory::{NotKnown, TooMuch};
use super::xz::Xz;
use super::zip::{Member, Unzip};
use super::zstd_frame::Frame;

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

/// Bytes that [`Format::of`] wants to see.
pub(super) const LONGEST_MAGIC: usize = 10;

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
    fn continues_with(self, start: &[u8]) -> bool {
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
fn is_skippable(start: &[u8]) -> bool {
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

/// Reason why there are no more bytes, and at which byte of what was given.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: u64,
    pub kind: FaultKind,
}

#[derive(Debug)]
pub(super) enum FaultKind {
    /// The stream ends too early.
    Truncated,
    /// It contradicts itself.
    Damaged(String),
    /// It needs more memory than it may have.
    Memory(TooMuch),
    /// It is well-formed as far as anybody knows, and cannot be unpacked.
    NotKnown(String),
    /// A zip file has something else in it than it should.
    Zip(super::zip::ZipError),
    /// It could not be read.
    Read(io::Error),
}

/// End of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The first byte of what belongs to no stream.
    pub trailing: Option<u64>,
    /// SHA-256 of all that was given, if it was asked for.
    pub sha256: Option<[u8; 32]>,
}

/// The bytes of an image.
pub(super) struct Decoded {
    format: Format,
    /// Memory that a member may take.
    memory: u64,
    state: State,
    trailing: Option<u64>,
}

enum State {
    Unpacking(Box<dyn Unpack>),
    /// Between two members, and behind the last.
    Between(Input),
    Failed,
}

/// A decoder that gives back what it reads from when it has come to its end.
trait Unpack: Read + Send {
    /// Bytes that were read.
    fn position(&self) -> u64;
    /// Bytes behind its end.
    fn rest(self: Box<Self>) -> io::Result<Input>;
}

impl Decoded {
    /// Begins to unpack with so many bytes of memory; `member` is what to take of a zip file, if its directory was read.
    ///
    /// # Errors
    /// With the format of what cannot be unpacked.
    pub(super) fn open(
        mut input: Input,
        member: Option<Member>,
        memory: u64,
    ) -> Result<Decoded, (Format, Fault)> {
        let start = input.peek(LONGEST_MAGIC).map_err(|error| (Format::Raw, fault(0, error)))?;
        let format = Format::from_start(start);
        let first = match (format, member) {
            (Format::Zip, Some(member)) => Unzip::member(input, member).map(|unzip| Box::new(unzip) as _),
            (Format::Zip, None) => Unzip::first_image(input).map(|unzip| Box::new(unzip) as _),
            _ => begin(format, input, memory),
        };
        let first = first.map_err(|error| (format, fault(0, error)))?;
        Ok(Decoded { format, memory, state: State::Unpacking(first), trailing: None })
    }

    /// Compression of the image.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Fills `buf`; the number of bytes is less only at the end.
    pub(super) fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Fault> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read(&mut buf[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// Takes the rest of what was given, behind the last byte of the image.
    pub(super) fn finish(self) -> Result<End, Fault> {
        let State::Between(mut input) = self.state else {
            return Err(Fault { at: 0, kind: FaultKind::Read(io::ErrorKind::InvalidInput.into()) });
        };
        let sha256 = input.drain().map_err(|error| fault(input.position(), error))?;
        Ok(End { trailing: self.trailing, sha256 })
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Fault> {
        loop {
            match std::mem::replace(&mut self.state, State::Failed) {
                State::Unpacking(mut member) => {
                    let read =
                        read_some(&mut *member, buf).map_err(|error| fault(member.position(), error))?;
                    if read > 0 {
                        self.state = State::Unpacking(member);
                        return Ok(read);
                    }
                    let at = member.position();
                    let rest = member.rest().map_err(|error| fault(at, error))?;
                    self.state = self.next(rest)?;
                }
                State::Between(input) => {
                    self.state = State::Between(input);
                    return Ok(0);
                }
                State::Failed => {
                    return Err(Fault { at: 0, kind: FaultKind::Read(io::ErrorKind::BrokenPipe.into()) });
                }
            }
        }
    }

    /// Goes on behind a member.
    fn next(&mut self, mut input: Input) -> Result<State, Fault> {
        let at = input.position();
        self.look_behind(&mut input).map_err(|error| fault(at, error)).and_then(|another| {
            if another {
                let at = input.position();
                let begun = begin(self.format, input, self.memory);
                return begun.map(State::Unpacking).map_err(|error| fault(at, error));
            }
            Ok(State::Between(input))
        })
    }

    /// Returns whether another member follows.
    fn look_behind(&mut self, input: &mut Input) -> io::Result<bool> {
        // The directory of a zip file was looked at where it could be.
        if matches!(self.format, Format::Raw | Format::Zip) || input.skip_zeros()?.is_none() {
            return Ok(false);
        }
        let another = self.format.continues_with(input.peek(LONGEST_MAGIC)?);
        if !another {
            self.trailing = Some(input.position());
        }
        Ok(another)
    }
}

fn read_some(reader: &mut dyn Unpack, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// The decoder of the next member.
fn begin(format: Format, mut input: Input, memory: u64) -> io::Result<Box<dyn Unpack>> {
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

/// Returns the meaning of an error of a decoder.
fn fault(at: u64, error: io::Error) -> Fault {
    let kind = error.kind();
    let Some(inner) = error.into_inner() else {
        let kind = match kind {
            io::ErrorKind::UnexpectedEof => FaultKind::Truncated,
            io::ErrorKind::OutOfMemory => FaultKind::Read(kind.into()),
            kind => FaultKind::Damaged(kind.to_string()),
        };
        return Fault { at, kind };
    };
    let inner = match inner.downcast::<ReadFailed>() {
        Ok(failed) => return Fault { at, kind: FaultKind::Read(failed.0) },
        Err(inner) => inner,
    };
    let inner = match inner.downcast::<TooMuch>() {
        Ok(memory) => return Fault { at, kind: FaultKind::Memory(*memory) },
        Err(inner) => inner,
    };
    let inner = match inner.downcast::<NotKnown>() {
        Ok(unknown) => return Fault { at, kind: FaultKind::NotKnown(unknown.0) },
        Err(inner) => inner,
    };
    let kind = match inner.downcast::<super::zip::ZipError>() {
        Ok(error) => FaultKind::Zip(*error),
        Err(_) if kind == io::ErrorKind::UnexpectedEof => FaultKind::Truncated,
        Err(inner) => FaultKind::Damaged(inner.to_string()),
    };
    Fault { at, kind }
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
