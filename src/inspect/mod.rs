//! Looks into images and devices with readers that share no code with the writers: what is there, and, where
//! bytes differ from a manifest, which files they belong to, and whether use explains that.

mod damage;
mod drift;
mod metadata;
mod stray;
mod summary;

use crate::error::Result;
use crate::event::Listener;
use crate::manifest::Manifest;
use crate::storage::{Cursor, ReadOnly, Target};

pub use damage::{DamagedFile, DamagedRegion, Verdict, VerifyError, verify};
pub use drift::{Drift, RegionDrift, verify_used};
pub use stray::Stray;
pub use summary::{Inspection, PartitionSummary, inspect};

/// A range of a medium, for readers of filesystems.
type Section = Cursor<ReadOnly>;

/// Differences from its manifest that a medium may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Not in a byte; also where nothing was written, if it is an image file.
    Strict,
    /// In what use changes.
    Used,
}

impl Comparison {
    /// A device was used, and an image file was not, unless the user says otherwise.
    pub fn new(medium: &ReadOnly, strict: bool, used: bool) -> Comparison {
        match used || (medium.is_device() && !strict) {
            true => Comparison::Used,
            false => Comparison::Strict,
        }
    }

    /// Compares everything the manifest knows of. `target` is `medium` with what guards it.
    pub fn run(
        self,
        medium: &ReadOnly,
        target: &dyn Target,
        manifest: &Manifest,
        listener: &dyn Listener,
    ) -> Result<Verdict> {
        match self {
            Comparison::Strict => verify(medium, target, manifest, listener),
            Comparison::Used => verify_used(medium, target, manifest, listener),
        }
    }
}
