//! An image file or block device that is only looked at: to inspect it, or to verify it against a manifest.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

use super::buffered_direct::BufferedAndDirect;
use super::direct::{CacheBypass, Direct};
use super::{Geometry, Target, TargetError, Verb};
use crate::error::{Diagnostic, Io};

/// Reason why an image file or block device cannot be looked at.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum ReadOnlyError {
    /// It cannot be opened.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// Writes of others could not be synced to the medium.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sync(#[from] TargetError),
}

/// An image file or block device opened for reading; it may be in use. Writing fails. Copies are the same open file.
#[derive(Clone)]
pub struct ReadOnly {
    name: String,
    file: Arc<File>,
    direct: Arc<Direct>,
    geometry: Geometry,
    is_device: bool,
}

impl ReadOnly {
    /// Opens `path`. A file counts in sectors of 512 bytes; [`crate::table::read`] finds out when it was made
    /// for larger ones.
    pub fn open(path: &Path) -> Result<ReadOnly, ReadOnlyError> {
        let file = File::open(path).map_err(Io::on("open", path))?;
        let kind = file.metadata().map_err(Io::on("look at", path))?.file_type();
        let direct = Direct::open(path, false).map_err(Io::on("open", path))?;
        let len = (&file).seek(SeekFrom::End(0)).map_err(Io::on("find the size of", path))?;
        let is_device = kind.is_block_device();
        let sector_size = match is_device {
            true => rustix::fs::ioctl_blksszget(&file)
                .map_err(|errno| Io::on("find the sector size of", path)(errno.into()))?,
            false => 512,
        };
        // What cached writes of others have not reached the medium yet is not damage.
        file.sync_all().map_err(|source| {
            let target = path.display().to_string();
            TargetError::Io { verb: Verb::Sync, target, offset: 0, len, source }
        })?;
        let geometry = Geometry { len, sector_size };
        let (file, direct) = (Arc::new(file), Arc::new(direct));
        Ok(ReadOnly { name: path.display().to_string(), file, direct, geometry, is_device })
    }

    /// Returns whether it is a block device, not a file.
    pub fn is_device(&self) -> bool {
        self.is_device
    }

    /// Way of [`Target::read_back`] past the page cache.
    pub fn cache_bypass(&self) -> CacheBypass {
        self.direct.bypass()
    }

    /// Asks the kernel to drop what it has cached, so that [`Target::read_at`] reads the medium again. It may keep
    /// some.
    pub fn drop_cache(&self) {
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    /// Parts of `range` that are no holes of the file. A device, and a file of which that cannot be known, has none.
    pub fn data(&self, range: Range<u64>) -> Result<Vec<Range<u64>>, TargetError> {
        let (mut parts, mut at) = (Vec::new(), range.start);
        while at < range.end {
            let Some(start) = self.seek(rustix::fs::SeekFrom::Data(at))? else { break };
            let hole = self.seek(rustix::fs::SeekFrom::Hole(start))?.unwrap_or(range.end);
            parts.push(start.min(range.end)..hole.min(range.end));
            at = hole;
        }
        parts.retain(|part| part.start < part.end);
        Ok(parts)
    }

    /// Returns the start of the next data or hole; none if there is no more.
    fn seek(&self, from: rustix::fs::SeekFrom) -> Result<Option<u64>, TargetError> {
        use rustix::fs::SeekFrom;
        let (SeekFrom::Data(at) | SeekFrom::Hole(at)) = from else { return Ok(None) };
        match (rustix::fs::seek(&self.file, from), from) {
            (Ok(position), _) => Ok(Some(position)),
            (Err(rustix::io::Errno::NXIO), _) => Ok(None),
            // All of what has no holes is data.
            (Err(rustix::io::Errno::INVAL), SeekFrom::Data(at)) => Ok(Some(at)),
            (Err(rustix::io::Errno::INVAL), _) => Ok(None),
            (Err(errno), _) => Err(self.both().error(Verb::Read, at, 0)(errno.into())),
        }
    }

    fn both(&self) -> BufferedAndDirect<'_> {
        BufferedAndDirect {
            name: &self.name,
            buffered: &self.file,
            direct: &self.direct,
            geometry: self.geometry,
        }
    }

    fn refuse(&self, verb: Verb, offset: u64, len: u64) -> Result<(), TargetError> {
        Err(self.both().error(verb, offset, len)(io::ErrorKind::ReadOnlyFilesystem.into()))
    }
}

impl Target for ReadOnly {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.both().read_at(buf, offset)
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.both().read_back(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        self.refuse(Verb::Write, offset, buf.len() as u64)
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.refuse(Verb::Zero, offset, len)
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    fn sync(&self) -> Result<(), TargetError> {
        Ok(())
    }
}
