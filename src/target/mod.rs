//! Where bytes go: an image file, a block device, memory. Nothing else in the crate touches a device.
//!
//! A formatter gets a [`Region`] of a target. Its contract: each byte is written at most once; a range that
//! must read as zero is told with [`Region::zero`]; what is neither written nor zeroed is "don't care" (free
//! blocks of a filesystem) and keeps whatever the target holds.

mod device;
mod direct;
mod faulty;
mod file;
mod memory;
mod read_only;
mod recorder;
mod region;
mod scratch;

pub use device::{Device, DeviceError};
pub use direct::{AlignedBuffer, CacheBypass};
pub use faulty::{Fault, Faulty};
pub use file::{ImageFile, ImageFileError};
pub use memory::Memory;
pub use read_only::ReadOnly;
pub use recorder::{Extent, LARGEST_EXTENT, Record, Recorder};
pub use region::{Region, RegionWriter};
pub use scratch::Scratch;

use std::ops::Range;

use crate::error::{Family, Report};
use crate::value::ByteSize;

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
    fn ensure_inside(
        self,
        verb: &'static str,
        target: &str,
        offset: u64,
        len: u64,
    ) -> Result<(), TargetError> {
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
pub trait Target: Send + Sync {
    /// How messages call it: a path or `memory`.
    fn name(&self) -> &str;

    /// Size and sector size.
    fn geometry(&self) -> Geometry;

    /// Fills `buf` from `offset`; what was never written reads as zero on a fresh target.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError>;

    /// Like [`Target::read_at`] but from the medium, never from a cache of the operating system. Only
    /// meaningful after [`Target::sync`].
    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_at(buf, offset)
    }

    /// Writes all of `buf` at `offset`.
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError>;

    /// Makes a range read as zero, as cheaply as the target can.
    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError>;

    /// Returns when all that was written is on stable storage.
    fn sync(&self) -> Result<(), TargetError>;
}

/// Why a target cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The operating system failed.
    #[error("cannot {verb} {} at offset {offset} of `{target}`: {source}", ByteSize(*len))]
    Io {
        /// `read`, `write`, `zero`, `sync`.
        verb: &'static str,
        /// [`Target::name`].
        target: String,
        /// First byte of the range.
        offset: u64,
        /// Length of the range.
        len: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// A formatter wants more than its region has.
    #[error("`{region}` needs {} but has {} before {neighbour}", ByteSize(*need), ByteSize(*have))]
    RegionFull {
        /// Name of the region.
        region: String,
        /// Bytes wanted.
        need: u64,
        /// Bytes there are.
        have: u64,
        /// What follows: a region or the end of the target.
        neighbour: String,
    },
    /// Two parts of an image claim the same bytes.
    #[error(
        "bytes {}..{} of `{target}` would be written twice: bytes {}..{} were written before",
        second.start, second.end, first.start, first.end
    )]
    WrittenTwice {
        /// [`Target::name`].
        target: String,
        /// What was written before.
        first: Range<u64>,
        /// What was to be written now.
        second: Range<u64>,
    },
}

impl Report for TargetError {
    fn family(&self) -> Family {
        match self {
            TargetError::Io { .. } => Family::Io,
            TargetError::RegionFull { .. } | TargetError::WrittenTwice { .. } => Family::Fit,
        }
    }

    fn hint(&self) -> Option<String> {
        use std::io::ErrorKind;
        match self {
            TargetError::Io { target, source, .. } => match (source.kind(), source.raw_os_error()) {
                (ErrorKind::StorageFull, _) => {
                    Some(format!("free space on the filesystem of `{target}`, or write to another one"))
                }
                // EIO, ENXIO, ENODEV, ENOMEDIUM: what a pulled or dying device answers.
                (_, Some(5 | 6 | 19 | 123)) => Some(format!(
                    "`{target}` was unplugged or is failing: it has no valid partition table now; check the \
                     cable or reader and start again"
                )),
                _ => None,
            },
            TargetError::RegionFull { .. } => {
                Some("give the partition a larger size in the board descriptor, or put less into it".into())
            }
            TargetError::WrittenTwice { .. } => {
                Some("give the two parts offsets in the board descriptor that do not overlap".into())
            }
        }
    }
}
