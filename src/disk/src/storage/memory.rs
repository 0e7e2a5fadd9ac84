//! A target in memory, for tests and rehearsals.

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Geometry, Target, TargetError, Verb};

/// A target that is a vector of bytes, all zero at first.
pub struct Memory {
    bytes: RwLock<Vec<u8>>,
    len: u64,
    sector_size: u32,
}

impl Memory {
    /// `len` zero bytes in sectors of 512.
    pub fn new(len: u64) -> Memory {
        Memory::with_sector_size(len, 512)
    }

    /// `len` zero bytes in sectors of `sector_size`.
    pub fn with_sector_size(len: u64, sector_size: u32) -> Memory {
        Memory { bytes: RwLock::new(vec![0; len as usize]), len, sector_size }
    }

    /// A copy of the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self.read().clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<u8>> {
        self.bytes.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<u8>> {
        self.bytes.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn range(&self, verb: Verb, offset: u64, len: u64) -> Result<std::ops::Range<usize>, TargetError> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(offset as usize..end as usize),
            _ => Err(TargetError::Io {
                verb,
                target: "memory".into(),
                offset,
                len,
                source: std::io::ErrorKind::StorageFull.into(),
            }),
        }
    }
}

impl Target for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn geometry(&self) -> Geometry {
        Geometry { len: self.len, sector_size: self.sector_size }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let range = self.range(Verb::Read, offset, buf.len() as u64)?;
        buf.copy_from_slice(&self.read()[range]);
        Ok(())
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        let range = self.range(Verb::Write, offset, buf.len() as u64)?;
        self.write()[range].copy_from_slice(buf);
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        let range = self.range(Verb::Zero, offset, len)?;
        self.write()[range].fill(0);
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    fn sync(&self) -> Result<(), TargetError> {
        Ok(())
    }
}
