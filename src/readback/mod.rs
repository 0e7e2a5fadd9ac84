//! Reads a medium past the page cache: [`verify()`] compares it with a record of what should be there,
//! [`diagnose`] says what wrong bytes say about the medium.

pub mod diagnose;
mod examine;
pub(crate) mod marks;
mod multi_sha256;
mod only;
mod sums;
mod verify;
mod witness;

pub use diagnose::{Code, Diagnosis, Evidence};
pub(crate) use examine::{Examiner, Replay, explain};
pub(crate) use only::Only;
pub(crate) use sums::{sum, verify_and_sum};
pub use verify::{Damage, RegionRange, verify};
