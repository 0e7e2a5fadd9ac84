//! Reports how far a run is.

use crate::event::{Event, Listener};
use crate::storage::{Layer, Target, TargetError, WriteOp};

/// Reports to the listener how much was written.
pub(crate) struct Progress<'a> {
    pub target: &'a dyn Target,
    pub listener: &'a dyn Listener,
}

impl Layer for Progress<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let done = op.apply(self.target)?;
        if !matches!(op, WriteOp::Discard { .. }) {
            self.listener.event(Event::Advance { bytes: op.len() });
        }
        Ok(done)
    }
}
