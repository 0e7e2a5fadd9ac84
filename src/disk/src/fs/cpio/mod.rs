//! The "newc" cpio archive: an initramfs.
//!
//! Source of the format: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst` and
//! `init/initramfs.c`. The bytes are those of `find . | LC_ALL=C sort | cpio --reproducible -o -H newc` of GNU
//! cpio, which is what Buildroot runs: names in byte order (so a directory is before what is in it), inode
//! numbers counted from zero, no device numbers of the filesystem, and of a file with several names all but the
//! last without data.
//!
//! Extended attributes cannot be stored; [`Layout::dropped`] names what loses some.

mod error;
mod layout;
mod raw;
mod read;
mod write;

pub use error::CpioError;
pub use layout::{Layout, layout};
pub use read::{Archive, ArchiveEntry, Summary, read};
pub use write::{Written, write};
