//! The "newc" cpio archive: an initramfs.
//!
//! Source of the format: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst` and
//! `init/initramfs.c`. The bytes are those of `find . | LC_ALL=C sort | cpio --reproducible -o -H newc` of GNU
//! cpio, which is what Buildroot runs: names in byte order (so a directory is before what is in it), inode
//! numbers counted from zero, no device numbers of the filesystem, and of a file with several names all but the
//! last without data.
//!
//! Extended attributes cannot be stored; [`Layout::dropped`] names what loses some.
//!
//! ```
//! use skiff_disk::fs::compress::Compression;
//! use skiff_disk::fs::cpio;
//! use skiff_disk::tree::{Body, Content, Node, Stat, Tree};
//!
//! let root = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
//! let mut tree = Tree::new(root);
//! let hello = Body::File(Content::bytes(b"hello\n".as_slice()));
//! tree.insert(Tree::ROOT, b"hello", Node::new(Stat { mode: 0o644, ..root }, hello));
//!
//! let mut initramfs = Vec::new();
//! let written = cpio::write(&cpio::layout(&tree)?, Compression::Zstd(19), &mut initramfs)?;
//!
//! let archive = cpio::read(initramfs.as_slice())?;
//! assert_eq!(archive.compression, "zstd");
//! assert_eq!(archive.files(), written.files);
//! # Ok::<(), cpio::CpioError>(())
//! ```

mod error;
mod layout;
mod raw;
mod read;
mod write;

pub use error::CpioError;
pub use layout::{Layout, layout};
pub use read::{Archive, ArchiveEntry, Summary, read};
pub use write::{Written, write};
