//! Filesystem formatters: each is a pure `layout` of a tree and a `write` of that layout into a region.
//!
//! Every one is deterministic: the same tree and options give the same bytes, whatever the number of threads.

pub mod compress;
pub mod cpio;
mod damage;
pub mod ext4;
pub mod fat;
pub mod squashfs;

pub use damage::{Damage, Problem};
use serde::Serialize;

use crate::value::Digest;

/// A regular file as it was written, with what is needed to name it when its bytes are damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct WrittenFile {
    /// Path inside the filesystem, see [`crate::tree::display`].
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Digest of the content.
    pub blake3: Digest,
}
