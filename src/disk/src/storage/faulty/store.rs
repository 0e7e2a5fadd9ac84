//! The medium of a simulation: a sparse file, with a name or only in memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, MemfdFlags};
use rustix::io::Errno;

use super::super::{Geometry, Target, TargetError, Verb, write_zeros};
use crate::error::Io;

pub(super) struct Store {
    name: String,
    file: File,
    geometry: Geometry,
}

impl Store {
    /// A medium in memory, which takes only what is written to it.
    pub(super) fn in_memory(len: u64, sector_size: u32) -> Result<Store, Io> {
        let name = "memory";
        let file = rustix::fs::memfd_create("medium", MemfdFlags::CLOEXEC);
        let file = File::from(file.map_err(io::Error::from).map_err(Io::on("create", name))?);
        file.set_len(len).map_err(Io::on("resize", name))?;
        Ok(Store { name: name.into(), file, geometry: Geometry { len, sector_size } })
    }

    /// The file at `path`; one that is new or empty gets `len` bytes.
    pub(super) fn in_file(path: &Path, len: u64, sector_size: u32) -> Result<Store, Io> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(Io::on("open", path))?;
        let len = match file.metadata().map_err(Io::on("look at", path))?.len() {
            0 => {
                file.set_len(len).map_err(Io::on("resize", path))?;
                len
            }
            len => len,
        };
        Ok(Store { name: path.display().to_string(), file, geometry: Geometry { len, sector_size } })
    }

    fn error(&self, verb: Verb, offset: u64, len: u64) -> impl FnOnce(io::Error) -> TargetError {
        let target = self.name.clone();
        move |source| TargetError::Io { verb, target, offset, len, source }
    }
}

impl Target for Store {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.file.read_exact_at(buf, offset).map_err(self.error(Verb::Read, offset, buf.len() as u64))
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        self.geometry.ensure_inside(Verb::Write, &self.name, offset, buf.len() as u64)?;
        self.file.write_all_at(buf, offset).map_err(self.error(Verb::Write, offset, buf.len() as u64))
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.geometry.ensure_inside(Verb::Zero, &self.name, offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, punch, offset, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(self, offset, len),
            Err(errno) => Err(self.error(Verb::Zero, offset, len)(errno.into())),
        }
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.file.sync_data().map_err(self.error(Verb::Sync, 0, self.geometry.len))
    }
}
