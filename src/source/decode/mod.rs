//! Unpacks an image while it is read: what it is packed with, its own first bytes say, not its name.
//!
//! Several members, streams or frames one behind the other are one image, as the tools of these formats have it;
//! zeros behind the last are padding. Anything else there is reported, not unpacked.
//!
//! Formats: gzip RFC 1952, xz `xz-file-format` 1.2, zstd RFC 8878, `lz4_Frame_format.md` 1.6, zip APPNOTE 6.3 by
//! way of [`super::zip`]; bzip2 is described by its source only.

mod fault;
mod format;
mod unpack;

use std::io;

use fault::fault;
pub(super) use fault::{Fault, FaultKind};
pub use format::Format;
pub(super) use format::LONGEST_MAGIC;
use unpack::{Unpack, begin};

use super::input::Input;
use super::zip::{Member, Unzip};

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
