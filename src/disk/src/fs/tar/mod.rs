//! tar archives in the PAX format: what container programs and other installers take.
//!
//! Source of the format: POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Header Block"; extended attributes
//! are `SCHILY.xattr.` records, as GNU tar, star, libarchive and container programs read them. Names are relative and
//! in byte order, so that a directory comes before what is in it; there is no entry for the root, which belongs to
//! whoever unpacks. Owners are numbers without names. A record is only there where a header cannot hold the value.
//!
//! Sockets cannot be stored; [`Layout::dropped`] names them.
//!
//! ```
//! use skiff_disk::fs::tar;
//! use skiff_disk::tree::{Body, Content, Node, Stat, Tree};
//!
//! let root = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
//! let mut tree = Tree::new(root);
//! let hello = Body::File(Content::bytes(b"hello\n".as_slice()));
//! tree.insert(Tree::ROOT, b"hello", Node::new(Stat { mode: 0o644, ..root }, hello));
//!
//! let mut archive = Vec::new();
//! let written = tar::write(&tar::layout(&tree), &mut tar::Plain(&mut archive))?;
//!
//! assert_eq!(tar::summary(archive.as_slice())?.members, 1);
//! assert!(tar::check_files(archive.as_slice(), &written)?.is_empty());
//! # Ok::<(), tar::TarError>(())
//! ```

mod error;
mod layout;
mod raw;
mod read;
mod write;

pub use error::TarError;
pub use layout::{Layout, layout};
pub use read::{Summary, check_files, summary};
pub use write::{Plain, Sink, Sparse, write};
