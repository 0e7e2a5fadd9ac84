//! Stamps of files on the host, by which it is seen that a file was touched.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// State of a file on the host, to see that it has not been touched: two stamps are equal unless it was written,
/// truncated or replaced in between, or its mode or owner changed.
///
/// Not seen are writes through a memory map before the system writes them back, and, on kernels before 6.13, a write
/// in the same tick of the kernel's clock (4 ms) as the last one before the stamp was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Length of the whole file in bytes.
    pub len: u64,
    /// Modification time in nanoseconds.
    pub mtime: i64,
    /// Time of the last change of content or metadata in nanoseconds, which nobody can set.
    pub ctime: i64,
}

impl Stamp {
    /// The stamp of a file. Inode numbers are no part of it: some network filesystems make them up.
    pub fn from_metadata(metadata: &Metadata) -> Stamp {
        let nanoseconds = |seconds: i64, rest: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(rest);
        Stamp {
            len: metadata.len(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
