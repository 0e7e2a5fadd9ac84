//! Looks into images and devices with readers that share no code with the writers: what is there, and, where
//! bytes differ from a manifest, which files they belong to, and whether use explains that.

mod damage;
mod drift;
mod summary;

pub use damage::{DamagedFile, DamagedRegion, Verdict, VerifyError, verify};
pub use drift::{Drift, RegionDrift, verify_used};
pub use summary::{Inspection, PartitionSummary, inspect};

use crate::storage::{Cursor, ReadOnly};

/// A range of a medium, for readers of filesystems.
type Section = Cursor<ReadOnly>;
