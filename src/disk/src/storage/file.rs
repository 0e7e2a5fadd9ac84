//! An image file, which gets its name when it is complete.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::atomic_file::AtomicFile;
use super::buffered_direct::BufferedAndDirect;
use super::direct::{CacheBypass, Direct};
use super::{Geometry, Target, TargetError, Verb};
use crate::error::{Diagnostic, Io};
use crate::value::ByteSize;

/// An image file. Until [`ImageFile::finish`] it has no name (see [`AtomicFile`]), so that an interrupted run leaves
/// nothing.
pub struct ImageFile {
    name: String,
    path: PathBuf,
    overwrite: bool,
    file: AtomicFile,
    direct: Direct,
    geometry: Geometry,
}

/// Reason why an image file cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum ImageFileError {
    /// There is a file of that name.
    #[error("`{}` exists already: a file of {}", path.display(), ByteSize(*len))]
    #[diagnostic(hint = "choose another name", code = "exists")]
    Exists {
        /// The final name.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
    },
    /// There is something else of that name.
    #[error("`{}` is {what}, not a regular file", path.display())]
    #[diagnostic(hint("{}", instead_of(what)))]
    NotAFile {
        /// The final name.
        path: PathBuf,
        /// Kind of file that it is, with an article.
        what: &'static str,
    },
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

fn instead_of(what: &str) -> &'static str {
    match what {
        "a block device" => "a device is written with `flash`, which asks first and reads back",
        _ => "choose the name of a file",
    }
}

impl ImageFile {
    /// A sparse file of `geometry.len` zero bytes that will be called `path`; the directory must exist. Without
    /// `overwrite` a file of that name is an error, now and in [`ImageFile::finish`].
    pub fn create(path: &Path, geometry: Geometry, overwrite: bool) -> Result<ImageFile, ImageFileError> {
        ImageFile::ensure_free(path, overwrite)?;
        let file = AtomicFile::beside(path)?;
        file.as_file().set_len(geometry.len).map_err(Io::on("set the length of", path))?;
        let direct = Direct::open(&file.path(), true).map_err(Io::on("open", path))?;
        let (name, path) = (path.display().to_string(), path.to_path_buf());
        Ok(ImageFile { name, path, overwrite, file, direct, geometry })
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

    /// Way of [`Target::read_back`] past the page cache.
    pub fn cache_bypass(&self) -> CacheBypass {
        self.direct.bypass()
    }

    /// The file as long as it has no final name, for reading.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Lets nobody but the owner read the file, now and under its name: for images with secrets.
    pub fn restrict(&self) -> Result<(), ImageFileError> {
        Ok(self.file.restrict().map_err(Io::on("set the mode of", &self.path))?)
    }

    /// Makes the bytes durable, gives the file its name and makes that durable.
    pub fn finish(self) -> Result<(), ImageFileError> {
        ImageFile::ensure_free(&self.path, self.overwrite)?;
        Ok(self.file.publish(&self.path, self.overwrite)?)
    }

    fn both(&self) -> BufferedAndDirect<'_> {
        BufferedAndDirect {
            name: &self.name,
            buffered: self.file.as_file(),
            direct: &self.direct,
            geometry: self.geometry,
        }
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
        self.both().read_at(buf, offset)
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.both().read_back(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        self.both().write_at(buf, offset)
    }

    /// Leaves or makes a hole, so that a fresh file stays sparse and a used range is zero all the same.
    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.both().punch(self, offset, len)
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.file.as_file().sync_data().map_err(self.both().error(Verb::Sync, 0, self.geometry.len))
    }
}
