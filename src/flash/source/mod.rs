//! Where the bytes of a medium come from: a composition, or a ready [`Image`] from a file, a pipe or an address; and
//! [`Broadcast`], with which several media share one reading.

mod beside;
mod broadcast;
mod claims;
mod decode;
mod error;
mod fetch;
mod image;
mod input;
mod kind;
mod lengths;
mod origin;
mod pieces;
mod raw;
mod stamp;
mod stream;
mod sums;
mod zip;

pub use beside::{SumFileError, companion, sum_beside};
pub use broadcast::{Broadcast, BroadcastError, Reader};
pub use claims::{Expected, ParseSha256Error, Sha256Sum};
pub use decode::Format;
pub use error::ImageError;
pub use fetch::FetchError;
pub use image::{Image, Place};
pub use kind::Kind;
pub use zip::ZipError;

use super::commit::Critical;
use super::held::Held;
use crate::error::Result;
use crate::storage::Target;
use crate::table::TableBytes;
use crate::value::Digest;

/// What an address holds, from its first byte on, for those who know it by other means than the hash of the file.
pub fn stream_of(url: &str) -> Result<Box<dyn std::io::Read + Send>, ImageError> {
    origin::Origin::open(&fetch::Download::new(url, true)?)
}

/// Something that can be written to a medium.
#[expect(clippy::len_without_is_empty, reason = "an image without a byte is refused when it is opened")]
pub trait Source: Sync {
    /// How messages call it.
    fn name(&self) -> String;

    /// Bytes from the first to the last one on the medium, if that is known before it is read.
    fn len(&self) -> Option<u64>;

    /// Bytes that will be written or zeroed, if that is known, for the progress.
    fn planned(&self) -> Option<u64> {
        None
    }

    /// Equal only for sources that write the same bytes: what a resumed run compares. A source without one cannot
    /// be resumed.
    fn identity(&self) -> Option<Digest> {
        None
    }

    /// Whether [`Source::write`] can be called again and writes the same bytes: what is damaged on the medium is
    /// then written again.
    fn replays(&self) -> bool {
        true
    }

    /// Writes everything but the bytes that make the medium bootable, and returns those.
    fn write(&self, target: &dyn Target) -> Result<Vec<Critical>>;
}

impl<F: Fn(&dyn Target) -> Result<Vec<Critical>> + Sync> Source for F {
    fn name(&self) -> String {
        "image".into()
    }

    fn len(&self) -> Option<u64> {
        None
    }

    fn write(&self, target: &dyn Target) -> Result<Vec<Critical>> {
        self(target)
    }
}

/// A filesystem that begins at the first byte of its medium: nothing mounts it as long as its first bytes are not
/// there, so these make it bootable.
pub struct HeldBack<'a> {
    /// What is written.
    pub source: &'a dyn Source,
    /// How many of its first bytes are held back.
    pub len: u64,
}

impl Source for HeldBack<'_> {
    fn name(&self) -> String {
        self.source.name()
    }

    fn len(&self) -> Option<u64> {
        self.source.len()
    }

    fn planned(&self) -> Option<u64> {
        self.source.planned()
    }

    fn identity(&self) -> Option<Digest> {
        self.source.identity()
    }

    fn replays(&self) -> bool {
        self.source.replays()
    }

    fn write(&self, target: &dyn Target) -> Result<Vec<Critical>> {
        let start = Held::new(self.len);
        let critical = self.source.write(&start.before(target))?;
        let start = TableBytes { name: "start".into(), offset: 0, bytes: start.into_bytes() };
        Ok(critical.into_iter().chain([start]).collect())
    }
}
