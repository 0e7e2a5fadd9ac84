//! File contents by reference: in memory, or a range of a file on disk that is opened when it is read.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Family, Report};

/// Bytes that are read at a time.
const CHUNK: u64 = 1 << 20;

/// Where the bytes of a regular file are.
#[derive(Clone, Debug)]
pub struct Content {
    len: u64,
    source: Source,
}

/// The place the bytes are read from.
#[derive(Clone, Debug)]
pub enum Source {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// From `offset` in the file at `path`: a file of a scanned directory, or a member of a tar archive.
    File {
        /// The file on the host.
        path: Arc<Path>,
        /// First byte.
        offset: u64,
    },
    /// From the start of an unnamed temporary file.
    Temporary(Arc<File>),
}

/// Why a content cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The operating system failed.
    #[error("cannot {verb} `{}`: {source}", path.display())]
    Io {
        /// `open` or `read`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file shrank between scan and read.
    #[error("`{}` changed while it was read: {expected} bytes were there when it was scanned, {found} now", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Length at scan time.
        expected: u64,
        /// What could be read.
        found: u64,
    },
}

impl Report for ContentError {
    fn family(&self) -> Family {
        Family::Io
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            ContentError::Io { path, source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                format!("make it readable: chmod u+r `{}`", path.display())
            }
            ContentError::Io { .. } => "run the build that makes this file again".into(),
            ContentError::Changed { .. } => "wait until the build that writes the tree has ended".into(),
        })
    }
}

impl Content {
    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Content {
        let bytes = bytes.into();
        Content { len: bytes.len() as u64, source: Source::Bytes(bytes) }
    }

    /// `len` bytes from `offset` of a file on the host.
    pub fn file(path: impl Into<Arc<Path>>, offset: u64, len: u64) -> Content {
        Content { len, source: Source::File { path: path.into(), offset } }
    }

    /// The first `len` bytes of an unnamed temporary file.
    pub fn temporary(file: Arc<File>, len: u64) -> Content {
        Content { len, source: Source::Temporary(file) }
    }

    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the bytes are.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Opens the content for reads at any offset, from any number of threads.
    pub fn open(&self) -> Result<Opened<'_>, ContentError> {
        let handle = match &self.source {
            Source::Bytes(bytes) => Handle::Bytes(bytes),
            Source::File { path, offset } => {
                let error = |source| ContentError::Io { verb: "open", path: path.to_path_buf(), source };
                Handle::File { file: File::open(path).map_err(error)?, path, offset: *offset }
            }
            Source::Temporary(file) => Handle::Temporary(file),
        };
        Ok(Opened { len: self.len, handle })
    }

    /// Hands the bytes out in order, a MiB at a time.
    pub fn for_each_chunk<E: From<ContentError>>(
        &self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_empty() {
            return Ok(());
        }
        let opened = self.open()?;
        let mut buffer = vec![0; CHUNK.min(self.len) as usize];
        let mut at = 0;
        while at < self.len {
            let part = &mut buffer[..CHUNK.min(self.len - at) as usize];
            opened.read_at(part, at)?;
            each(part)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// All bytes, for contents known to be small.
    pub fn read_all(&self) -> Result<Vec<u8>, ContentError> {
        let mut bytes = vec![0; usize::try_from(self.len).expect("a content read whole fits memory")];
        self.open()?.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// A content that is open for reading.
#[derive(Debug)]
pub struct Opened<'a> {
    len: u64,
    handle: Handle<'a>,
}

#[derive(Debug)]
enum Handle<'a> {
    Bytes(&'a [u8]),
    File { file: File, path: &'a Path, offset: u64 },
    Temporary(&'a File),
}

impl Opened<'_> {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buf` from byte `at` of the content.
    ///
    /// # Panics
    /// If the range ends behind [`Opened::len`].
    pub fn read_at(&self, buf: &mut [u8], at: u64) -> Result<(), ContentError> {
        assert!(at + buf.len() as u64 <= self.len, "read behind the end of a content");
        match &self.handle {
            Handle::Bytes(bytes) => {
                let start = at as usize;
                buf.copy_from_slice(&bytes[start..start + buf.len()]);
                Ok(())
            }
            Handle::File { file, path, offset } => self.read_file_at(file, path, *offset, buf, at),
            Handle::Temporary(file) => self.read_file_at(file, Path::new("temporary file"), 0, buf, at),
        }
    }

    fn read_file_at(
        &self,
        file: &File,
        path: &Path,
        offset: u64,
        buf: &mut [u8],
        at: u64,
    ) -> Result<(), ContentError> {
        let mut filled = 0;
        while filled < buf.len() {
            let position = offset + at + filled as u64;
            match file.read_at(&mut buf[filled..], position) {
                Ok(0) => {
                    let (expected, found) = (self.len, at + filled as u64);
                    return Err(ContentError::Changed { path: path.to_path_buf(), expected, found });
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(ContentError::Io { verb: "read", path: path.to_path_buf(), source });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_shrank_is_told_with_both_lengths() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), b"abc").expect("write");
        let content = Content::file(file.path(), 1, 5);
        let message = content.read_all().unwrap_err().to_string();
        assert!(
            message.ends_with("changed while it was read: 5 bytes were there when it was scanned, 2 now")
        );
    }
}
