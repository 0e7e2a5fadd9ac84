//! An image file, which gets its name when it is complete.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use super::direct::{CacheBypass, Direct};
use super::draft::Draft;
use super::{Geometry, Target, TargetError, write_zeros};
use crate::error::{Family, Io, Report};
use crate::value::ByteSize;

/// An image file. Until [`ImageFile::finish`] it has no name (see [`Draft`]), so that an interrupted run leaves nothing.
pub struct ImageFile {
    name: String,
    path: PathBuf,
    overwrite: bool,
    draft: Draft,
    direct: Direct,
    geometry: Geometry,
}

/// Why an image file cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageFileError {
    /// There is a file of that name.
    #[error("`{}` exists already: a file of {}", path.display(), ByteSize(*len))]
    Exists {
        /// The final name.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
    },
    /// There is something else of that name.
    #[error("`{}` is {what}, not a regular file", path.display())]
    NotAFile {
        /// The final name.
        path: PathBuf,
        /// What it is, with its article.
        what: &'static str,
    },
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] Io),
}

impl Report for ImageFileError {
    fn family(&self) -> Family {
        match self {
            ImageFileError::Exists { .. } | ImageFileError::NotAFile { .. } => Family::Refused,
            ImageFileError::Io(_) => Family::Io,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ImageFileError::Exists { .. } => {
                Some("choose another name, or replace the file with `--force`".into())
            }
            ImageFileError::NotAFile { what: "a block device", .. } => {
                Some("a device is written with `flash`, which asks first and reads back".into())
            }
            ImageFileError::NotAFile { .. } => Some("choose the name of a file".into()),
            ImageFileError::Io(error) => error.hint(),
        }
    }
}

impl ImageFile {
    /// A sparse file of `geometry.len` zero bytes that will be called `path`; the directory must exist. Without
    /// `overwrite` a file of that name is an error, now and in [`ImageFile::finish`].
    pub fn create(path: &Path, geometry: Geometry, overwrite: bool) -> Result<ImageFile, ImageFileError> {
        ImageFile::ensure_free(path, overwrite)?;
        let draft = Draft::beside(path)?;
        draft.as_file().set_len(geometry.len).map_err(Io::on("set the length of", path))?;
        let direct = Direct::open(&draft.path(), true).map_err(Io::on("open", path))?;
        let (name, path) = (path.display().to_string(), path.to_path_buf());
        Ok(ImageFile { name, path, overwrite, draft, direct, geometry })
    }

    /// Fails unless a file may get this name: there is nothing, or a regular file that may be replaced.
    pub fn ensure_free(path: &Path, overwrite: bool) -> Result<(), ImageFileError> {
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Io::on("look at", path)(error).into()),
        };
        let kind = metadata.file_type();
        let path = path.to_path_buf();
        let what = match () {
            () if kind.is_file() && overwrite => return Ok(()),
            () if kind.is_file() => return Err(ImageFileError::Exists { path, len: metadata.len() }),
            () if kind.is_dir() => "a directory",
            () if kind.is_symlink() => "a symbolic link",
            () if kind.is_block_device() => "a block device",
            () if kind.is_char_device() => "a character device",
            () => "a socket or named pipe",
        };
        Err(ImageFileError::NotAFile { path, what })
    }

    /// How [`Target::read_back`] gets past the page cache.
    pub fn cache_bypass(&self) -> CacheBypass {
        self.direct.bypass()
    }

    /// The file as long as it has no final name, for reading.
    pub fn file(&self) -> &File {
        self.draft.as_file()
    }

    /// Makes the bytes durable, gives the file its name and makes that durable.
    pub fn finish(self) -> Result<(), ImageFileError> {
        ImageFile::ensure_free(&self.path, self.overwrite)?;
        Ok(self.draft.publish(&self.path, self.overwrite)?)
    }

    fn error(&self, verb: &'static str, offset: u64, len: u64) -> impl FnOnce(io::Error) -> TargetError {
        let target = self.name.clone();
        move |source| TargetError::Io { verb, target, offset, len, source }
    }
}

impl Target for ImageFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let error = self.error("read", offset, buf.len() as u64);
        self.draft.as_file().read_exact_at(buf, offset).map_err(error)
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let error = self.error("read back", offset, buf.len() as u64);
        self.direct.read_at(buf, offset).map_err(error)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        let len = buf.len() as u64;
        self.geometry.ensure_inside("write", &self.name, offset, len)?;
        let buffered = self.draft.as_file();
        self.direct.write_split(buffered, buf, offset).map_err(self.error("write", offset, len))
    }

    /// Leaves or makes a hole, so that a fresh file stays sparse and a used range is zero all the same.
    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.geometry.ensure_inside("zero", &self.name, offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(self.draft.as_file(), punch, offset, len) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => write_zeros(self, offset, len),
            Err(errno) => Err(self.error("zero", offset, len)(errno.into())),
        }
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.draft.as_file().sync_data().map_err(self.error("sync", 0, self.geometry.len))
    }
}
