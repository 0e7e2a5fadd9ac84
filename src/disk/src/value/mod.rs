//! Small values that are parsed from and printed to text: sizes, digests, identity.
//!
//! ```
//! use skiff_disk::value::{Arch, ByteSize, Seed};
//!
//! assert_eq!("8 KiB".parse(), Ok(ByteSize(8192)));
//! assert_eq!("aarch64".parse(), Ok(Arch::Arm64));
//! // Ids are derived, not drawn: the same seed gives the same image.
//! assert_eq!(Seed("router 1.2".into()).uuid("disk"), Seed("router 1.2".into()).uuid("disk"));
//! ```

mod arch;
mod date;
mod digest;
mod hex;
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
pub use hex::{from_hex, to_hex};
pub use identity::Seed;
#[cfg(feature = "suggestions")]
pub use nearest::{did_you_mean, nearest};
pub use position::seek;
#[cfg(feature = "schema")]
pub use size::PATTERN as SIZE_PATTERN;
pub use size::{ByteSize, ParseByteSizeError};
pub use span::Span;
pub use zero::is_zero;

/// Seconds since the Unix epoch, as `SOURCE_DATE_EPOCH` gives them.
pub type Timestamp = i64;
