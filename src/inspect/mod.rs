//! Looks into images and devices with readers that share no code with the writers: what is there, and, where
//! bytes differ from a manifest, which files they belong to.

mod damage;
mod section;
mod summary;

pub use damage::{DamagedFile, DamagedRegion, Verdict, VerifyError, verify};
pub use section::Section;
pub use summary::{Content, Inspection, PartitionSummary, inspect};
