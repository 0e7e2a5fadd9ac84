//! Contents of partitions, as far as a plan has to know them.

use super::{Action, Extent, PlanError};

/// The content of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedContent {
    /// Bytes that are written.
    pub action: Action,
    /// Bytes that it needs.
    pub need: Need,
}

/// Bytes that the content of a partition needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// For what is written.
    pub now: ContentSize,
    /// For what is written and, where an update writes the next files before it removes the present ones, the next
    /// version beside it.
    pub with_next: u64,
}

/// Size of a content, and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentSize {
    /// This many bytes.
    Exact(u64),
    /// At most this many: what is compressed on its way to the disk may be shorter.
    AtMost(u64),
}

impl ContentSize {
    /// Bytes that are surely enough.
    pub fn most(self) -> u64 {
        match self {
            ContentSize::Exact(len) | ContentSize::AtMost(len) => len,
        }
    }
}

impl Need {
    /// The need of a content that is replaced as a whole.
    pub fn exact(len: u64) -> Need {
        Need { now: ContentSize::Exact(len), with_next: len }
    }

    /// Fails if a partition is too small.
    pub(super) fn ensure_fits(self, extent: &Extent) -> Result<(), PlanError> {
        let (name, have) = (extent.name.clone(), extent.len);
        if self.now.most() > have {
            return Err(PlanError::ContentTooLarge { name, need: self.now.most(), have });
        }
        if self.with_next > have {
            return Err(PlanError::NoRoomForUpdate { name, need: self.with_next, have });
        }
        Ok(())
    }
}
