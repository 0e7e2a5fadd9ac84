//! Memory that a stream needs to be unpacked: how far back it may refer to what came before.

use std::io;

use crate::value::ByteSize;

/// Memory that unpacking may take unless the user allows more: enough for `xz -9` (65 MiB) and for `zstd --long=27`
/// (128 MiB). With a limit no stream can have all memory of the machine.
pub(super) const DEFAULT_LIMIT: u64 = 256 << 20;

/// A stream needs more memory than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of memory are needed, and {} are allowed", ByteSize(*need), ByteSize(*limit))]
pub(super) struct TooMuch {
    pub need: u64,
    pub limit: u64,
}

/// A stream is well-formed, but its decoder here does not know how to read it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotKnown(pub String);

impl From<TooMuch> for io::Error {
    fn from(error: TooMuch) -> io::Error {
        io::Error::new(io::ErrorKind::OutOfMemory, error)
    }
}

impl From<NotKnown> for io::Error {
    fn from(error: NotKnown) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, error)
    }
}
