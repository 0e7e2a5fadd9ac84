//! The bundle: one file with a whole system, for a link, a stick or ranges of a web server.
//!
//! ```text
//! prefix       48 bytes: what it is, how long the parts before the payload are, CRC-32
//! roots        keys since earlier releases, each signed
//! statement    what it is and for which devices; the text that is signed
//! signatures   of the statement
//! index        length and digest of each block of each file; its own digest is in the statement
//! payload      the files, one after the other: a block is a range of it
//! ```
//!
//! A device reads it in this order and stops at the first thing that is not as it should be. It parses nothing but the
//! prefix and roots, which are signed themselves, before the signatures of the statement are known to be good, and
//! writes no block whose digest is not in the index. A file with another `kind` in its prefix has the same parts, and
//! blocks in another form in place of the payload.

mod error;
mod head;
mod index;
mod prefix;
mod source;
#[cfg(test)]
pub(crate) mod tests;

pub use error::BundleError;
pub(crate) use head::read_full;
pub use head::{Head, Parts};
pub use index::{BLOCK_MAX, Block, BlockId, Index};
pub use prefix::{Kind, PREFIX_LEN, Prefix};
pub use source::{BlockSource, Payload};
pub(crate) use source::{ensure_ended, ensure_signed};
