//! Positions in streams.

use std::io::{self, SeekFrom};

/// Position of a stream of `len` bytes, now at `at`, after a seek, as [`io::Seek::seek`] wants it.
pub fn seek(len: u64, at: u64, to: SeekFrom) -> io::Result<u64> {
    let position = match to {
        SeekFrom::Start(position) => Some(position),
        SeekFrom::End(by) => len.checked_add_signed(by),
        SeekFrom::Current(by) => at.checked_add_signed(by),
    };
    position.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
