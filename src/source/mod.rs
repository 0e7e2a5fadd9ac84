//! Sources of the bytes of a medium: a composition, or a ready [`Image`] from a file, a pipe or an address.

mod beside;
mod claims;
mod decode;
mod error;
mod glimpse;
mod image;
mod input;
mod kind;
mod lengths;
mod memory;
mod objection;
mod origin;
mod pieces;
mod raw;
mod stamp;
mod stream;
mod sums;
mod xz;
mod zip;
mod zstd_frame;

pub use beside::{SumFileError, companion, sum_beside};
pub use claims::{Expected, ParseSha256Error, Sha256Sum};
pub use decode::Format;
pub use error::ImageError;
pub use image::{Image, ImageLocation};
pub use kind::ImageKind;
pub use objection::{Comparison, Objection, Override, Overrides, ParseOverrideError};
pub(crate) use pieces::in_threads;
pub use zip::ZipError;

use crate::error::Result;
use crate::storage::Target;
use crate::table::TableBytes;
use crate::value::Digest;

/// Something that can be written to a medium.
#[expect(clippy::len_without_is_empty, reason = "an image without a byte is refused when it is opened")]
pub trait Source: Sync {
    /// Name in messages.
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

    /// Returns whether [`Source::write`] can be called again and writes the same bytes: what is damaged on the medium
    /// is then written again.
    fn replays(&self) -> bool {
        true
    }

    /// Writes everything but the bytes that make the medium bootable, and returns those.
    fn write(&self, target: &dyn Target) -> Result<Vec<TableBytes>>;
}

impl<F: Fn(&dyn Target) -> Result<Vec<TableBytes>> + Sync> Source for F {
    fn name(&self) -> String {
        "image".into()
    }

    fn len(&self) -> Option<u64> {
        None
    }

    fn write(&self, target: &dyn Target) -> Result<Vec<TableBytes>> {
        self(target)
    }
}

/// A source that is written in another way, and otherwise as it is.
pub(crate) struct Amended<'a, F> {
    /// The source.
    pub source: &'a dyn Source,
    /// [`Source::write`].
    pub write: F,
}

impl<F: Fn(&dyn Target) -> Result<Vec<TableBytes>> + Sync> Source for Amended<'_, F> {
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

    fn write(&self, target: &dyn Target) -> Result<Vec<TableBytes>> {
        (self.write)(target)
    }
}
