//! Tells how far a run is.

use super::event::{Event, Listener};
use crate::storage::{Geometry, Target, TargetError};

/// Tells the listener how much was written.
pub(super) struct Progress<'a> {
    pub target: &'a dyn Target,
    pub listener: &'a dyn Listener,
}

impl Target for Progress<'_> {
    fn name(&self) -> &str {
        self.target.name()
    }

    fn geometry(&self) -> Geometry {
        self.target.geometry()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.target.read_at(buf, offset)
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.target.read_back(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        self.target.write_at(buf, offset)?;
        self.listener.event(Event::Advance { bytes: buf.len() as u64 });
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.target.zero(offset, len)?;
        self.listener.event(Event::Advance { bytes: len });
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> Result<bool, TargetError> {
        self.target.discard(offset, len)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.target.sync()
    }
}
