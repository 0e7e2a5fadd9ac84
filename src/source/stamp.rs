//! Identity of a file, to see whether it is still the one that was opened.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::ImageError;
use crate::error::Io;

/// Length, number and times of a file. Whatever writes to a file changes its `ctime`, which nobody can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub len: u64,
    /// Device and number: two files can have been written at the same tick of the clock.
    file: (u64, u64),
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    pub(super) fn from_file(file: &File, path: &Path) -> Result<Stamp, Io> {
        let found = file.metadata().map_err(Io::on("look at", path))?;
        Ok(Stamp {
            len: found.len(),
            file: (found.dev(), found.ino()),
            mtime: (found.mtime(), found.mtime_nsec()),
            ctime: (found.ctime(), found.ctime_nsec()),
        })
    }

    /// Fails if the file was written to since.
    pub(super) fn ensure_same(&self, file: &File, path: &Path) -> Result<(), ImageError> {
        let now = Stamp::from_file(file, path)?;
        // A new name or link changes the ctime too, and no bytes.
        match (now.len, now.mtime) == (self.len, self.mtime) {
            true => Ok(()),
            false => Err(ImageError::Changed(path.display().to_string())),
        }
    }

    /// For [`super::Source::identity`].
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let times = [self.mtime.0, self.mtime.1, self.ctime.0, self.ctime.1];
        let times = times.into_iter().flat_map(i64::to_le_bytes);
        let numbers = [self.len, self.file.0, self.file.1].into_iter().flat_map(u64::to_le_bytes);
        numbers.chain(times).collect()
    }
}
