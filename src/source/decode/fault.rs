//! Reasons why an image cannot be unpacked to its end.

use std::io;

use crate::source::input::ReadFailed;
use crate::source::memory::{NotKnown, TooMuch};
use crate::source::zip::ZipError;

/// Reason why there are no more bytes, and at which byte of what was given.
#[derive(Debug)]
pub(in crate::source) struct Fault {
    pub at: u64,
    pub kind: FaultKind,
}

#[derive(Debug)]
pub(in crate::source) enum FaultKind {
    /// The stream ends too early.
    Truncated,
    /// It contradicts itself.
    Damaged(String),
    /// It needs more memory than it may have.
    Memory(TooMuch),
    /// It is well-formed as far as anybody knows, and cannot be unpacked.
    NotKnown(String),
    /// A zip file has something else in it than it should.
    Zip(ZipError),
    /// It could not be read.
    Read(io::Error),
}

/// Returns the meaning of an error of a decoder.
pub(super) fn fault(at: u64, error: io::Error) -> Fault {
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
    let kind = match inner.downcast::<ZipError>() {
        Ok(error) => FaultKind::Zip(*error),
        Err(_) if kind == io::ErrorKind::UnexpectedEof => FaultKind::Truncated,
        Err(inner) => FaultKind::Damaged(inner.to_string()),
    };
    Fault { at, kind }
}
