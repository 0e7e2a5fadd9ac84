//! Small values that are parsed from and printed to text: sizes, digests, identity.

mod digest;
mod identity;
mod size;

pub use digest::Digest;
pub use identity::Seed;
pub use size::{ByteSize, ParseByteSizeError};

/// Seconds since the Unix epoch, as `SOURCE_DATE_EPOCH` gives them.
pub type Timestamp = i64;
