//! An image file that is there already and is changed where it lies.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::buffered_direct::BufferedAndDirect;
use super::direct::Direct;
use super::{Geometry, Target, TargetError, Verb};
use crate::error::{Diagnostic, Io};

/// A regular file, opened for reading and writing and locked (`flock`), so that two programs do not change it at once.
/// Its length stays.
pub struct InPlace {
    name: String,
    file: File,
    direct: Direct,
    geometry: Geometry,
}

/// Reason why an image file cannot be changed.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum InPlaceError {
    /// It is something else.
    #[error("`{}` is {what}, not an image file or a block device", path.display())]
    #[diagnostic(hint = "give the path of an image or of a whole disk")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// Kind of file that it is, with an article.
        what: &'static str,
    },
    /// Another program has locked it.
    #[error("`{}` is being changed by another program", .0.display())]
    #[diagnostic(hint = "wait until it has ended")]
    Locked(PathBuf),
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

impl InPlace {
    /// Opens the file at `path`. It counts in sectors of 512 bytes, as [`super::ReadOnly`] does.
    pub fn open(path: &Path) -> Result<InPlace, InPlaceError> {
        let metadata = path.metadata().map_err(Io::on("look at", path))?;
        let kind = metadata.file_type();
        let what = match () {
            () if kind.is_file() => None,
            () if kind.is_dir() => Some("a directory"),
            () if kind.is_char_device() => Some("a character device"),
            () if kind.is_block_device() => Some("a block device"),
            () => Some("a socket or named pipe"),
        };
        if let Some(what) = what {
            return Err(InPlaceError::NotAFile { path: path.into(), what });
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(Io::on("open", path))?;
        // A filesystem without locks, which says something else, has no other program that holds one.
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        if locked == Err(rustix::io::Errno::WOULDBLOCK) {
            return Err(InPlaceError::Locked(path.into()));
        }
        let direct = Direct::open(path, true).map_err(Io::on("open", path))?;
        let geometry = Geometry { len: metadata.len(), sector_size: 512 };
        Ok(InPlace { name: path.display().to_string(), file, direct, geometry })
    }

    fn both(&self) -> BufferedAndDirect<'_> {
        BufferedAndDirect {
            name: &self.name,
            buffered: &self.file,
            direct: &self.direct,
            geometry: self.geometry,
        }
    }
}

impl Target for InPlace {
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
        self.both().write_at(buf, offset)
    }

    /// Makes a hole where the filesystem can.
    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.both().punch(self, offset, len)
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.file.sync_data().map_err(self.both().error(Verb::Sync, 0, self.geometry.len))
    }
}
