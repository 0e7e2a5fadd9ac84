//! tar archives in the PAX format: what container programs and other installers take.
//!
//! Source of the format: POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Header Block"; extended attributes
//! are `SCHILY.xattr.` records, as GNU tar, star, libarchive and container programs read them. Names are relative and
//! in byte order, so that a directory comes before what is in it; there is no entry for the root, which belongs to
//! whoever unpacks. Owners are numbers without names. A record is only there where a header cannot hold the value.
//!
//! Sockets cannot be stored; [`Layout::dropped`] names them.

mod error;
mod layout;
mod raw;
mod read;
mod write;

pub use error::TarError;
pub use layout::{Layout, layout};
pub use read::{Summary, check_files, summary};
pub use write::{Plain, Sink, Sparse, write};
