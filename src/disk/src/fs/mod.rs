//! Filesystem formatters: each is a pure `layout` of a tree and a `write` of that layout into a region.
//!
//! Every one is deterministic: the same tree and options give the same bytes, whatever the number of threads.

#[cfg(feature = "compress")]
pub mod compress;
#[cfg(feature = "cpio")]
pub mod cpio;
mod damage;
#[cfg(feature = "ext4")]
pub mod ext4;
#[cfg(feature = "fat")]
pub mod fat;
mod file_hasher;
#[cfg_attr(
    not(any(feature = "cpio", feature = "ext4", feature = "fat", feature = "squashfs")),
    expect(dead_code, reason = "only writers of filesystems ask")
)]
mod loss;
#[cfg(feature = "oci")]
pub mod oci;
#[cfg(feature = "squashfs")]
pub mod squashfs;
#[cfg(feature = "tar")]
pub mod tar;

pub use damage::{Damage, Problem};
pub use file_hasher::FileHasher;
#[cfg(any(feature = "cpio", feature = "ext4", feature = "fat", feature = "squashfs"))]
use loss::Holds;
pub use loss::{Loss, Lost};

use crate::value::Digest;

/// A regular file as it was written, with what is needed to name it when its bytes are damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WrittenFile {
    /// Path inside the filesystem, see [`crate::tree::display`].
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Digest of the content, as [`FileHasher`] computes it.
    pub blake3: Digest,
}

/// `len` zero bytes in pieces: what a hole of a sparse file reads as.
pub fn zeros(len: u64) -> impl Iterator<Item = &'static [u8]> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let piece = ZEROS.len() as u64;
    (0..len.div_ceil(piece)).map(move |index| &ZEROS[..piece.min(len - index * piece) as usize])
}
