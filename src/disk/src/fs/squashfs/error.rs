//! Errors of laying out, writing and reading a squashfs.

use crate::error::Diagnostic;
use crate::storage::TargetError;
use crate::tree::ContentError;
use crate::value::{ByteSize, Timestamp};

use super::{BLOCK_SIZE_MAX, BLOCK_SIZE_MIN};

/// Reason why a squashfs cannot be laid out, written or read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Fit)]
#[non_exhaustive]
pub enum SquashfsError {
    /// The block size is not one the kernel mounts.
    #[error(
        "a squashfs block of {} is not possible: it is a power of two from {} to {}",
        ByteSize((*.0).into()), ByteSize(BLOCK_SIZE_MIN.into()), ByteSize(BLOCK_SIZE_MAX.into())
    )]
    #[diagnostic(kind = Input, hint = "`128 KiB` reads fast, `1 MiB` is the smallest image")]
    BlockSize(u32),
    /// A codec level is outside of what the compressor accepts.
    #[error(transparent)]
    #[diagnostic(kind = Input)]
    Codec(#[from] super::codec::ParseCodecError),
    /// The superblock stores 32 unsigned bits of seconds.
    #[error("the timestamp {0} is not possible in a squashfs: it has 0 (1970) to {max} (2106)", max = u32::MAX)]
    #[diagnostic(kind = Input, hint = "give SOURCE_DATE_EPOCH as seconds since 1970")]
    Timestamp(Timestamp),
    /// Linux opens names of 255 bytes at most.
    #[error("the name of `{path}` has {len} bytes, Linux opens names of {max} at most")]
    NameTooLong {
        /// Path of the node.
        path: String,
        /// Length of the last component.
        len: usize,
        /// The most that is possible.
        max: usize,
    },
    /// Linux refuses squashfs symbolic links larger than a page.
    #[error("the symbolic link `{path}` has a target of {len} bytes, Linux follows 1 to {max}")]
    SymlinkLength {
        /// Path of the link.
        path: String,
        /// Length of the target text.
        len: usize,
        /// The most that is possible.
        max: usize,
    },
    /// A device number does not fit its field.
    #[error("the device `{path}` has the {which} number {given}, squashfs stores {max} at most")]
    DeviceNumber {
        /// Path of the device node.
        path: String,
        /// `major` or `minor`.
        which: &'static str,
        /// The number.
        given: u32,
        /// The most that is possible.
        max: u32,
    },
    /// Inodes name owners by a 16-bit index.
    #[error("the tree has {count} different user and group ids, squashfs stores {max} at most")]
    TooManyIds {
        /// Distinct numbers in the tree.
        count: usize,
        /// The most that is possible.
        max: usize,
    },
    /// A directory with two names is a tree no filesystem can hold.
    #[error("the directory `{path}` has a second name; only files can have several")]
    #[diagnostic(kind = Input)]
    DirectoryLinked {
        /// The second path.
        path: String,
    },
    /// The name or value of an extended attribute is longer than its field or than Linux reads.
    #[error(
        "the {what} of the extended attribute `{name}` of `{path}` has {len} bytes, Linux reads {max} at most"
    )]
    XattrTooLong {
        /// Path of the node.
        path: String,
        /// Full name of the attribute.
        name: String,
        /// `name` or `value`.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The most that is possible.
        max: usize,
    },
    /// A table outgrew the 32-bit offsets that point into it.
    #[error("the {table} table has {}, squashfs addresses {} at most", ByteSize(*len), ByteSize(*max))]
    TableTooLarge {
        /// `inode`, `directory` or `extended attribute`.
        table: &'static str,
        /// Its length.
        len: u64,
        /// The most that is possible.
        max: u64,
    },
    /// One directory outgrew the 32-bit size of its listing.
    #[error("the directory `{path}` has a listing of {}, squashfs stores {} at most", ByteSize(*len), ByteSize(*max))]
    DirectoryTooLarge {
        /// Path of the directory.
        path: String,
        /// Length of the listing.
        len: u64,
        /// The most that is possible.
        max: u64,
    },
    /// The bytes of a file were not the same when it was read a second time.
    #[error("`{path}` changed while it was read")]
    #[diagnostic(kind = Io, hint = "wait until the build that writes the tree has ended")]
    Changed {
        /// Path of the file in the filesystem.
        path: String,
    },
    /// A file has the times and length of an earlier build and not its bytes.
    #[error("`{path}` changed since the last build, but its times and length are the same")]
    #[diagnostic(kind = Io, hint = "build without trust in times and lengths", code = "trusted-stat")]
    Untrue {
        /// Path of the file on the host.
        path: String,
    },
    /// The compressor itself failed, which no input explains.
    #[error("`{codec}` cannot compress: {reason}")]
    #[diagnostic(kind = Io)]
    Compress {
        /// The codec.
        codec: String,
        /// Error of the library.
        reason: String,
    },
    /// The threads cannot be started.
    #[error("cannot start {threads} threads: {reason}")]
    #[diagnostic(kind = Io, hint = "use fewer threads")]
    Threads {
        /// Number that was wanted.
        threads: usize,
        /// Error of the operating system.
        reason: String,
    },
    /// A source file cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Content(#[from] ContentError),
    /// The target cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] TargetError),
    /// Reading back gives something else than was written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Proof(#[from] super::ProofError),
    /// An image contradicts itself.
    #[error("not a readable squashfs: {0}")]
    #[diagnostic(kind = Corrupt, hint = "write the image again, or read the medium with another reader")]
    Corrupt(String),
    /// An image uses a codec that cannot be decoded here.
    #[error("the squashfs is compressed with `{0}`, which this program cannot read")]
    #[diagnostic(kind = Unsupported)]
    UnsupportedCodec(String),
    /// An image cannot be read.
    #[error("cannot read the squashfs: {0}")]
    #[diagnostic(kind = Io)]
    Read(std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages that only huge trees, races or failing libraries cause.
    #[test]
    fn rare_messages_name_both_numbers() {
        let table = SquashfsError::TableTooLarge { table: "inode", len: 5 << 30, max: u32::MAX.into() };
        assert_eq!(
            table.to_string(),
            "the inode table has 5 GiB, squashfs addresses 4.0 GiB (4294967295 bytes) at most"
        );
        let directory =
            SquashfsError::DirectoryTooLarge { path: "/d".into(), len: 3 << 30, max: i32::MAX as u64 };
        assert_eq!(
            directory.to_string(),
            "the directory `/d` has a listing of 3 GiB, squashfs stores 2.0 GiB (2147483647 bytes) at most"
        );
        let changed = SquashfsError::Changed { path: "/f".into() };
        assert_eq!(changed.to_string(), "`/f` changed while it was read");
        let untrue = SquashfsError::Untrue { path: "/f".into() };
        assert_eq!(
            untrue.to_string(),
            "`/f` changed since the last build, but its times and length are the same"
        );
        let compress = SquashfsError::Compress { codec: "zstd:3".into(), reason: "no memory".into() };
        assert_eq!(compress.to_string(), "`zstd:3` cannot compress: no memory");
        let threads = SquashfsError::Threads { threads: 900, reason: "no memory".into() };
        assert_eq!(threads.to_string(), "cannot start 900 threads: no memory");
    }
}
