//! One xz stream. The decoder of the `liblzma` crate does the same, but does not say how much memory a stream needs that
//! needs too much.

use std::io::{self, BufRead, Read};

use liblzma::stream::{Action, Error, Status, Stream};

use super::input::Input;
use super::memory::{NotKnown, TooMuch};

/// Accuracy of the memory in messages.
const STEP: u64 = 1 << 20;

/// Unpacks one stream.
pub(super) struct Xz {
    input: Input,
    stream: Stream,
    limit: u64,
    ended: bool,
}

impl Xz {
    /// A stream that may take `limit` bytes of memory.
    pub(super) fn new(input: Input, limit: u64) -> io::Result<Xz> {
        Ok(Xz { input, stream: Stream::new_stream_decoder(limit, 0)?, limit, ended: false })
    }

    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    pub(super) fn into_input(self) -> Input {
        self.input
    }

    /// Memory that the stream needs: the decoder takes no limit below it.
    fn need(&mut self) -> u64 {
        let (mut low, mut high) = (self.limit, self.limit.saturating_mul(2));
        while self.stream.set_memlimit(high).is_err() && high < u64::MAX {
            (low, high) = (high, high.saturating_mul(2));
        }
        while high - low > STEP {
            let middle = low + (high - low) / 2;
            match self.stream.set_memlimit(middle) {
                Ok(()) => high = middle,
                Err(_) => low = middle,
            }
        }
        high.next_multiple_of(STEP)
    }

    fn error(&mut self, error: Error) -> io::Error {
        match error {
            Error::MemLimit => TooMuch { need: self.need(), limit: self.limit }.into(),
            Error::Mem => io::ErrorKind::OutOfMemory.into(),
            Error::Options => NotKnown("a filter or option that is not known".into()).into(),
            error => error.into(),
        }
    }
}

impl Read for Xz {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buf.is_empty() {
            let bytes = self.input.fill_buf()?;
            let at_end = bytes.is_empty();
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let action = if at_end { Action::Finish } else { Action::Run };
            let status = self.stream.process(bytes, buf, action);
            let taken = (self.stream.total_in() - before_in) as usize;
            let made = (self.stream.total_out() - before_out) as usize;
            self.input.consume(taken);
            self.ended = status.map_err(|error| self.error(error))? == Status::StreamEnd;
            match (made, taken) {
                (0, _) if self.ended => {}
                (0, _) if at_end => return Err(io::ErrorKind::UnexpectedEof.into()),
                (0, 0) => return Err(io::Error::new(io::ErrorKind::InvalidData, "corrupt xz stream")),
                (0, _) => {}
                (made, _) => return Ok(made),
            }
        }
        Ok(0)
    }
}
