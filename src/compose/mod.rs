//! The executor: puts a [`Composition`] on a target, with its manifest. The only code that writes images; it decides
//! nothing.

mod frames;
mod manifest;
mod schedule;
mod write;

pub use frames::{compress, publish, temporary_beside};
pub use write::{RegionFiles, START};

pub use crate::prepare::Composition;
