//! Small values that are parsed from and printed to text: sizes, digests, identity.

mod arch;
mod date;
mod digest;
mod identity;
#[cfg(feature = "suggestions")]
mod nearest;
mod position;
mod size;
mod span;
mod zero;

pub use arch::{Arch, ForArch, ParseArchError};
pub use date::Utc;
#[cfg(feature = "fat")]
pub(crate) use date::civil;
pub use digest::{Digest, ParseDigestError};
pub use identity::Seed;
#[cfg(feature = "suggestions")]
pub use nearest::{did_you_mean, nearest};
pub use position::seek;
pub use size::{ByteSize, ParseByteSizeError};
pub use span::Span;
pub use zero::is_zero;

/// Seconds since the Unix epoch, as `SOURCE_DATE_EPOCH` gives them.
pub type Timestamp = i64;
