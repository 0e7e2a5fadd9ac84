//! A file or device that is open twice, through the page cache and past it: what all targets of the operating system do
//! alike.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::direct::Direct;
use super::{Geometry, Target, TargetError, Verb, write_zeros};

/// The two, with what messages need.
pub(super) struct BufferedAndDirect<'a> {
    pub name: &'a str,
    pub buffered: &'a File,
    pub direct: &'a Direct,
    pub geometry: Geometry,
}

impl BufferedAndDirect<'_> {
    pub(super) fn error(&self, verb: Verb, offset: u64, len: u64) -> impl FnOnce(io::Error) -> TargetError {
        let target = self.name.into();
        move |source| TargetError::Io { verb, target, offset, len, source }
    }

    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let error = self.error(Verb::Read, offset, buf.len() as u64);
        self.buffered.read_exact_at(buf, offset).map_err(error)
    }

    pub(super) fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let error = self.error(Verb::ReadBack, offset, buf.len() as u64);
        self.direct.read_at(buf, offset).map_err(error)
    }

    pub(super) fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        let len = buf.len() as u64;
        self.geometry.ensure_inside(Verb::Write, self.name, offset, len)?;
        self.direct.write_split(self.buffered, buf, offset).map_err(self.error(Verb::Write, offset, len))
    }

    /// Zeroes through `fallocate`; where that cannot be done, for one of the reasons `unable`, by writes to `target`,
    /// which is this one.
    pub(super) fn zero(
        &self,
        target: &dyn Target,
        mode: FallocateFlags,
        unable: &[Errno],
        (offset, len): (u64, u64),
    ) -> Result<(), TargetError> {
        match rustix::fs::fallocate(self.buffered, mode | FallocateFlags::KEEP_SIZE, offset, len) {
            Ok(()) => Ok(()),
            Err(errno) if unable.contains(&errno) => write_zeros(target, offset, len),
            Err(errno) => Err(self.error(Verb::Zero, offset, len)(errno.into())),
        }
    }

    /// Makes a hole in a file where the filesystem can, so that it stays or becomes sparse; else writes zeros.
    pub(super) fn punch(&self, target: &dyn Target, offset: u64, len: u64) -> Result<(), TargetError> {
        self.geometry.ensure_inside(Verb::Zero, self.name, offset, len)?;
        match len {
            0 => Ok(()),
            _ => self.zero(
                target,
                FallocateFlags::PUNCH_HOLE,
                &[Errno::OPNOTSUPP, Errno::NOSYS],
                (offset, len),
            ),
        }
    }
}
