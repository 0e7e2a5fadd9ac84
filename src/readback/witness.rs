//! Finds places of a medium that hold what was written to them: those that can be changed.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::storage::{AlignedBuffer, Layer, Target, TargetError, WriteOp};
use crate::value::is_zero;

/// Places that are enough.
const ENOUGH: usize = 3;
/// Bytes of a place, and what its address is a multiple of.
const PAGE: u64 = 4096;

/// A target that looks at what passes it for pages that the medium holds.
pub(super) struct Witness<'a> {
    target: &'a dyn Target,
    medium: &'a dyn Target,
    found: Mutex<Vec<u64>>,
}

impl<'a> Witness<'a> {
    /// Passes everything on to `target`, and compares some of it with `medium`.
    pub(super) fn new(target: &'a dyn Target, medium: &'a dyn Target) -> Witness<'a> {
        Witness { target, medium, found: Mutex::default() }
    }

    /// First bytes of the pages.
    pub(super) fn into_places(self) -> Vec<u64> {
        self.found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, bytes: &[u8], range: &Range<u64>) {
        let page = range.start.next_multiple_of(PAGE);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() >= ENOUGH || page + PAGE > range.end {
            return;
        }
        let wanted = &bytes[(page - range.start) as usize..][..PAGE as usize];
        let mut buffer = AlignedBuffer::new(PAGE as usize);
        let held = buffer.slice(PAGE as usize);
        if !is_zero(wanted) && self.medium.read_back(held, page).is_ok() && held == wanted {
            found.push(page);
        }
    }
}

impl Layer for Witness<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        if let WriteOp::Bytes { bytes, .. } = op {
            self.look(bytes, &op.range());
        }
        op.apply(self.target)
    }
}
