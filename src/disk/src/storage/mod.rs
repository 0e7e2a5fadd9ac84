//! Targets of bytes: an image file, a block device, memory. Nothing else in the crate touches a device.
//!
//! A formatter gets a [`Region`] of a target. Its contract: each byte is written at most once; a range that
//! must read as zero is zeroed with [`Region::zero`]; what is neither written nor zeroed is "don't care" (free
//! blocks of a filesystem) and keeps whatever the target holds.

mod atomic_file;
mod buffered_direct;
#[cfg(feature = "simulation")]
mod cow_memory;
mod cow_overlay;
mod cursor;
#[cfg(feature = "simulation")]
pub mod cut;
mod device;
mod direct;
#[cfg(feature = "simulation")]
pub mod faulty;
mod file;
mod in_place;
mod layer;
mod lock;
mod memory;
mod read_only;
#[cfg(feature = "recorder")]
mod recorder;
mod region;
mod scratch;
mod sparse;
mod watchdog;

pub use atomic_file::{AtomicFile, sync_directory};
#[cfg(feature = "simulation")]
pub use cow_memory::CowMemory;
pub use cow_overlay::{Change, ChangeData, CowOverlay};
pub use cursor::Cursor;
#[cfg(feature = "simulation")]
pub use cut::PowerCut;
pub use device::{Device, DeviceError, Limits};
pub use direct::{AlignedBuffer, CacheBypass};
#[cfg(feature = "simulation")]
pub use faulty::{Fault, FaultKind, FaultLocation, Faulty, Simulation, SimulationError, Strikes, Tear};
pub use file::{ImageFile, ImageFileError};
pub use in_place::{InPlace, InPlaceError};
pub use layer::{Layer, ReadFrom, WriteOp};
pub use lock::Holder;
pub use memory::Memory;
pub use read_only::{ReadOnly, ReadOnlyError};
#[cfg(feature = "recorder")]
pub use recorder::{Extent, LARGEST_EXTENT, Log, Record, Recorder};
pub use region::{Region, RegionWriter};
pub use scratch::Scratch;
pub use sparse::Sparse;
pub use watchdog::{SlowIo, Watchdog, WatchdogOptions};

use std::fmt;
use std::ops::Range;

use crate::error::Diagnostic;
use crate::value::ByteSize;

/// First bytes of a sector that only shows its own address: what nobody wants to keep.
pub const MARK: &[u8; 16] = b"skiff-image mark";

/// Size and addressing of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes that can be addressed.
    pub len: u64,
    /// Logical sector size in bytes: 512 or 4096.
    pub sector_size: u32,
}

impl Geometry {
    /// Fails with `ENOSPC` where a range ends behind the target: a file would silently grow.
    fn ensure_inside(self, verb: Verb, target: &str, offset: u64, len: u64) -> Result<(), TargetError> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => {
                let source = rustix::io::Errno::NOSPC.into();
                Err(TargetError::Io { verb, target: target.into(), offset, len, source })
            }
        }
    }
}

/// Zeroes a range the slow way.
fn write_zeros(target: &dyn Target, offset: u64, len: u64) -> Result<(), TargetError> {
    const CHUNK: u64 = 1 << 20;
    static ZEROS: [u8; CHUNK as usize] = [0; CHUNK as usize];
    (0..len.div_ceil(CHUNK)).try_for_each(|index| {
        let at = index * CHUNK;
        target.write_at(&ZEROS[..CHUNK.min(len - at) as usize], offset + at)
    })
}

/// Random access to the place an image goes to, from several threads at once.
///
/// Nothing has a default: each target says itself how it reads past caches and what it can discard. What is stacked on
/// another target is a [`Layer`], which leaves out what it does not change.
///
/// ```compile_fail,E0046
/// use skiff_disk::storage::{Geometry, Target, TargetError};
///
/// struct Card;
///
/// // Without `read_back`: it would be verified against a cache.
/// impl Target for Card {
///     fn name(&self) -> &str {
///         "card"
///     }
///     fn geometry(&self) -> Geometry {
///         Geometry { len: 0, sector_size: 512 }
///     }
///     fn read_at(&self, _: &mut [u8], _: u64) -> Result<(), TargetError> {
///         Ok(())
///     }
///     fn write_at(&self, _: &[u8], _: u64) -> Result<(), TargetError> {
///         Ok(())
///     }
///     fn zero(&self, _: u64, _: u64) -> Result<(), TargetError> {
///         Ok(())
///     }
///     fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
///         Ok(false)
///     }
///     fn sync(&self) -> Result<(), TargetError> {
///         Ok(())
///     }
/// }
/// ```
pub trait Target: Send + Sync {
    /// Name in messages: a path or `memory`.
    fn name(&self) -> &str;

    /// Size and sector size.
    fn geometry(&self) -> Geometry;

    /// Fills `buf` from `offset`; what was never written reads as zero on a fresh target.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError>;

    /// Like [`Target::read_at`] but from the medium, never from a cache of the operating system. Only
    /// meaningful after [`Target::sync`].
    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError>;

    /// Writes all of `buf` at `offset`.
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError>;

    /// Makes a range read as zero, as cheaply as the target can.
    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError>;

    /// Says to the medium that the bytes of a range do not matter any more, as far as it can be said: only whole units
    /// of the medium are discarded. Returns whether all of the range was. What the range reads as then is the medium's
    /// own affair, to be looked at with [`Target::read_back`].
    fn discard(&self, offset: u64, len: u64) -> Result<bool, TargetError>;

    /// Returns when all that was written is on stable storage.
    fn sync(&self) -> Result<(), TargetError>;
}

/// Operation on a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(into = "&'static str"))]
pub enum Verb {
    /// Making a file.
    Create,
    /// Setting the length of a file.
    Resize,
    /// [`Target::read_at`].
    Read,
    /// [`Target::read_back`].
    ReadBack,
    /// [`Target::write_at`].
    Write,
    /// [`Target::zero`].
    Zero,
    /// [`Target::discard`].
    Discard,
    /// [`Target::sync`].
    Sync,
}

impl Verb {
    /// Word for it in errors and events.
    fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Resize => "resize",
            Verb::Read => "read",
            Verb::ReadBack => "read back",
            Verb::Write => "write",
            Verb::Zero => "zero",
            Verb::Discard => "discard",
            Verb::Sync => "sync",
        }
    }
}

impl From<Verb> for &'static str {
    fn from(verb: Verb) -> &'static str {
        verb.as_str()
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reason why a target cannot be read or written.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Io)]
pub enum TargetError {
    /// The operating system failed.
    #[error("cannot {verb} {} at offset {offset} of `{target}`: {source}", ByteSize(*len))]
    #[diagnostic(hint = hint_for(source, target), code = code_of(source, *verb))]
    Io {
        /// Operation that failed.
        verb: Verb,
        /// [`Target::name`].
        target: String,
        /// First byte of the range.
        offset: u64,
        /// Length of the range.
        len: u64,
        /// Answer of the system.
        source: std::io::Error,
    },
    /// The target does not answer.
    #[error(
        "`{target}` does not answer: to {verb} {} at offset {offset} has taken {seconds} seconds",
        ByteSize(*len)
    )]
    #[diagnostic(hint = "try another reader, cable or port", code = "stalled")]
    TimedOut {
        /// Operation that failed.
        verb: Verb,
        /// [`Target::name`].
        target: String,
        /// First byte of the range.
        offset: u64,
        /// Length of the range.
        len: u64,
        /// Time that was waited.
        seconds: u64,
    },
    /// The user wants the run to end.
    #[error("{verb} `{target}` was interrupted")]
    #[diagnostic(kind = Interrupted, hint = "run the same command again", code = "interrupted")]
    Interrupted {
        /// `writing`, for example.
        verb: &'static str,
        /// [`Target::name`].
        target: String,
    },
    /// A formatter wants more than its region has.
    #[error("`{region}` needs {} but has {} before {neighbour}", ByteSize(*need), ByteSize(*have))]
    #[diagnostic(
        kind = Fit,
        hint = "give the partition a larger size in the board descriptor, or put less into it"
    )]
    RegionFull {
        /// Name of the region.
        region: String,
        /// Bytes wanted.
        need: u64,
        /// Bytes there are.
        have: u64,
        /// The next thing: a region or the end of the target.
        neighbour: String,
    },
    /// Two parts of an image claim the same bytes.
    #[error(
        "bytes {}..{} of `{target}` would be written twice: bytes {}..{} were written before",
        second.start, second.end, first.start, first.end
    )]
    #[diagnostic(kind = Fit, hint = "give the two parts offsets in the board descriptor that do not overlap")]
    WrittenTwice {
        /// [`Target::name`].
        target: String,
        /// The range that was written before.
        first: Range<u64>,
        /// The range that was to be written now.
        second: Range<u64>,
    },
}

/// Advice for what the system refused on `target`.
fn hint_for(source: &std::io::Error, target: &str) -> Option<String> {
    match (source.kind(), source.raw_os_error()) {
        (std::io::ErrorKind::StorageFull, _) => {
            Some(format!("free space on the filesystem of `{target}`, or write to another one"))
        }
        // EIO, ENXIO, ENODEV, ENOMEDIUM: what a pulled or dying device answers.
        (_, Some(5 | 6 | 19 | 123)) => Some(format!(
            "`{target}` was unplugged or is failing: it has no valid partition table now; check the cable or reader \
             and start again"
        )),
        _ => None,
    }
}

/// Word for what the system refused when it should `verb`.
fn code_of(source: &std::io::Error, verb: Verb) -> Option<&'static str> {
    match (source.kind(), source.raw_os_error()) {
        (std::io::ErrorKind::StorageFull, _) => Some("full"),
        // ENXIO, ENODEV, ENOMEDIUM; EIO.
        (_, Some(6 | 19 | 123)) => Some("vanished"),
        (_, Some(5)) if matches!(verb, Verb::Read | Verb::ReadBack) => Some("unreadable"),
        (_, Some(5)) => Some("write-error"),
        _ => None,
    }
}
