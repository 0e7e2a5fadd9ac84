//! A position in a range of a target, for readers of formats that want a stream.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use super::Target;

/// Bytes that are tried alone when a longer range cannot be read.
const PIECE: u64 = 4096;

/// Reads a range of a target as [`Target::read_at`] does; behind its end there is nothing.
#[derive(Clone)]
pub struct Cursor<T> {
    target: T,
    start: u64,
    len: u64,
    position: u64,
    /// Bytes that may still be read.
    allowance: u64,
}

impl<T: Target> Cursor<T> {
    /// `len` bytes from `start` of `target`, as far as it has them.
    pub fn new(target: T, start: u64, len: u64) -> Cursor<T> {
        let len = len.min(target.geometry().len.saturating_sub(start));
        Cursor { target, start, len, position: 0, allowance: u64::MAX }
    }

    /// The same, of which no more than `bytes` are read: further reads fail. A filesystem that is asked for its name
    /// must not take minutes to answer.
    pub fn at_most(self, bytes: u64) -> Cursor<T> {
        Cursor { allowance: bytes, ..self }
    }

    /// Reads so much that a bad sector only fails whoever wants it, not who wants what is before.
    fn read_some(&self, buf: &mut [u8]) -> io::Result<usize> {
        let at = self.start + self.position;
        let error = match self.target.read_at(buf, at) {
            Ok(()) => return Ok(buf.len()),
            Err(error) => error,
        };
        let first = (PIECE - at % PIECE).min(buf.len() as u64) as usize;
        match first < buf.len() && self.target.read_at(&mut buf[..first], at).is_ok() {
            true => Ok(first),
            false => Err(io::Error::other(error)),
        }
    }
}

impl<T: Target> Read for Cursor<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.len.saturating_sub(self.position).min(buf.len() as u64) as usize;
        let left = self.allowance.checked_sub(count as u64);
        self.allowance =
            left.ok_or_else(|| io::Error::other("more would have to be read than is allowed"))?;
        let read = self.read_some(&mut buf[..count])?;
        self.position += read as u64;
        Ok(read)
    }
}

impl<T: Target> Seek for Cursor<T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = crate::value::seek(self.len, self.position, to)?;
        Ok(self.position)
    }
}

impl<T: Target> fmt::Debug for Cursor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at {} of {}..", self.target.name(), self.position, self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    #[test]
    fn a_range_ends_where_it_or_the_target_ends() {
        let memory = Memory::new(8192);
        memory.write_at(b"start", 1000).expect("write");
        let mut text = String::new();
        Cursor::new(&memory, 1000, 5).read_to_string(&mut text).expect("it reads");
        assert_eq!(text, "start");
        let mut bytes = Vec::new();
        let mut cursor = Cursor::new(&memory, 8000, u64::MAX);
        cursor.read_to_end(&mut bytes).expect("it reads");
        assert_eq!((bytes.len(), cursor.seek(SeekFrom::End(-92)).expect("inside")), (192, 100));
        assert_eq!(format!("{cursor:?}"), "`memory` at 100 of 8000..");
        let message = Cursor::new(&memory, 0, 8192).at_most(100).read(&mut [0; 101]).expect_err("too much");
        assert_eq!(message.to_string(), "more would have to be read than is allowed");
    }

    #[cfg(feature = "simulation")]
    #[test]
    fn what_is_before_a_bad_sector_can_be_read() {
        use super::super::{Fault, FaultKind, FaultLocation, Faulty};

        let (location, kind) = (FaultLocation::At { offset: 5000, len: 10 }, FaultKind::ReadError);
        let faulty = Faulty::new(Memory::new(16384), Fault::Local { location, kind, times: u64::MAX });
        let (mut cursor, mut buf) = (Cursor::new(&faulty, 100, 16000), [0; 8192]);
        assert_eq!(cursor.read(&mut buf).expect("what is before"), 4096 - 100);
        let error = cursor.read(&mut buf).expect_err("a bad sector");
        assert!(error.to_string().starts_with("cannot read back "), "{error}");
    }
}
