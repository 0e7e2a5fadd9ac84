//! Whether a path may be written as a whole disk, or as a partition. The answer depends on what the kernel tells under
//! `/sys` and `/proc` only, so that it can be tested with a tree of files.
//!
//! [`Host`] finds the device and everything that is built on it, [`Candidate`] is what a person needs to recognize it,
//! [`Reason`] is what speaks against it, and [`Override`] which of the reasons a person may know better about.

mod candidate;
mod force;
mod host;
mod node;
mod reason;

pub use candidate::{Candidate, Mount, Part};
pub use force::{Override, Overrides, ParseOverrideError};
pub use host::{Disk, Host};
pub use reason::{Built, Reason, Refused};
