//! Targets that are stacked: a layer changes some of what is asked of it, and has the rest done by the target inside.

use std::ops::Range;

use super::{Geometry, Target, TargetError, Verb};

/// A target over another one, which is a [`Target`] too. It says only what it does itself; the rest passes through.
///
/// There is one method for all reads and one for all writes: a layer that changes what is read is asked for readings
/// of the medium too, and one that changes what is written for zeros and discards.
///
/// ```
/// use skiff_disk::storage::{Layer, Memory, Target, TargetError, WriteOp};
///
/// /// Prints what is written.
/// struct Loud<'a>(&'a dyn Target);
///
/// impl Layer for Loud<'_> {
///     fn inner(&self) -> &(impl Target + ?Sized) {
///         self.0
///     }
///
///     fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
///         println!("{} {:?}", op.verb(), op.range());
///         op.apply(self.0)
///     }
/// }
///
/// # fn main() -> Result<(), TargetError> {
/// Loud(&Memory::new(4096)).zero(512, 512)?;
/// # Ok(())
/// # }
/// ```
pub trait Layer: Send + Sync {
    /// The target inside.
    fn inner(&self) -> &(impl Target + ?Sized);

    /// Name that messages use instead of the one of the target inside.
    fn own_name(&self) -> Option<&str> {
        None
    }

    /// Fills `buf` from `offset`.
    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        from.read(self.inner(), buf, offset)
    }

    /// Writes, zeroes or discards a range. Returns whether all of it was done: only what is discarded may be not.
    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        op.apply(self.inner())
    }

    /// Returns when all that was written is on stable storage.
    fn on_sync(&self) -> Result<(), TargetError> {
        self.inner().sync()
    }
}

/// Side of the operating system's cache that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// As [`Target::read_at`] does.
    Cache,
    /// As [`Target::read_back`] does.
    Medium,
}

impl ReadFrom {
    /// Operation that errors name.
    pub fn verb(self) -> Verb {
        match self {
            ReadFrom::Cache => Verb::Read,
            ReadFrom::Medium => Verb::ReadBack,
        }
    }

    /// Fills `buf` from `offset` of `target`.
    pub fn read(
        self,
        target: &(impl Target + ?Sized),
        buf: &mut [u8],
        offset: u64,
    ) -> Result<(), TargetError> {
        match self {
            ReadFrom::Cache => target.read_at(buf, offset),
            ReadFrom::Medium => target.read_back(buf, offset),
        }
    }
}

/// An operation that changes a range of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOp<'b> {
    /// [`Target::write_at`].
    Bytes {
        /// First byte.
        offset: u64,
        /// Their new values.
        bytes: &'b [u8],
    },
    /// [`Target::zero`].
    Zero {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
    /// [`Target::discard`].
    Discard {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
}

impl<'b> WriteOp<'b> {
    /// Operation that errors name.
    pub fn verb(&self) -> Verb {
        match self {
            WriteOp::Bytes { .. } => Verb::Write,
            WriteOp::Zero { .. } => Verb::Zero,
            WriteOp::Discard { .. } => Verb::Discard,
        }
    }

    /// First byte and the one behind the last.
    pub fn range(&self) -> Range<u64> {
        self.offset()..self.offset().saturating_add(self.len())
    }

    /// First byte.
    pub fn offset(&self) -> u64 {
        match *self {
            WriteOp::Bytes { offset, .. }
            | WriteOp::Zero { offset, .. }
            | WriteOp::Discard { offset, .. } => offset,
        }
    }

    /// Bytes of the range.
    pub fn len(&self) -> u64 {
        match *self {
            WriteOp::Bytes { bytes, .. } => bytes.len() as u64,
            WriteOp::Zero { len, .. } | WriteOp::Discard { len, .. } => len,
        }
    }

    /// Returns whether the range has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same for a part of the range.
    ///
    /// # Panics
    /// If `part` is not inside.
    pub fn part(&self, part: Range<u64>) -> WriteOp<'b> {
        let (offset, len) = (part.start, part.end - part.start);
        match *self {
            WriteOp::Bytes { offset: start, bytes } => {
                WriteOp::Bytes { offset, bytes: &bytes[(offset - start) as usize..][..len as usize] }
            }
            WriteOp::Zero { .. } => WriteOp::Zero { offset, len },
            WriteOp::Discard { .. } => WriteOp::Discard { offset, len },
        }
    }

    /// Does it on `target`. Returns whether all of it was done: only what is discarded may be not.
    pub fn apply(&self, target: &(impl Target + ?Sized)) -> Result<bool, TargetError> {
        match *self {
            WriteOp::Bytes { offset, bytes } => target.write_at(bytes, offset).map(|()| true),
            WriteOp::Zero { offset, len } => target.zero(offset, len).map(|()| true),
            WriteOp::Discard { offset, len } => target.discard(offset, len),
        }
    }
}

impl<L: Layer> Target for L {
    fn name(&self) -> &str {
        self.own_name().unwrap_or_else(|| self.inner().name())
    }

    fn geometry(&self) -> Geometry {
        self.inner().geometry()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.on_read(ReadFrom::Cache, buf, offset)
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.on_read(ReadFrom::Medium, buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), TargetError> {
        self.on_write(WriteOp::Bytes { offset, bytes }).map(drop)
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.on_write(WriteOp::Zero { offset, len }).map(drop)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<bool, TargetError> {
        self.on_write(WriteOp::Discard { offset, len })
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.on_sync()
    }
}

impl<T: Target + ?Sized> Layer for &T {
    fn inner(&self) -> &(impl Target + ?Sized) {
        *self
    }
}

impl<T: Target + ?Sized> Layer for Box<T> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &**self
    }
}

impl<T: Target + ?Sized> Layer for std::sync::Arc<T> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &**self
    }
}
