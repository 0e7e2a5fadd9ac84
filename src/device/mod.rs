//! Devices, and what speaks against writing them. What is a device is decided by what the kernel shows under `/sys` and
//! `/proc` only, so that it can be tested with a tree of files.
//!
//! [`Host`] finds the device and everything that is built on it, [`Candidate`] is what a person needs to recognize it,
//! [`Reason`] is what speaks against it, and [`Override`] which of the reasons a person may know better about.
//! [`contents`] reads what is on a device already, [`existing()`] which partition is which, and [`marker`] whether a
//! run did not finish it.

mod candidate;
pub mod contents;
pub mod existing;
mod force;
mod host;
pub mod marker;
mod node;
mod reason;

pub use candidate::{Candidate, Mount, Part};
pub use contents::{Destruction, ExistingContents, existing_contents};
pub use existing::{Existing, existing};
pub use force::{Override, Overrides, ParseOverrideError};
pub use host::{Disk, Host};
pub use reason::{Built, Reason, Refused};
