//! The filesystem at the beginning of a range, as its own superblock says.

use std::cell::Cell;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::rc::Rc;

use crate::fs::{ext4, fat, squashfs};
use crate::storage::{Cursor, Target, TargetError};

/// A filesystem that one of the readers of this program knows.
#[derive(Clone, Debug)]
pub enum Superblock {
    /// FAT16 or FAT32.
    Fat(fat::Summary),
    /// ext2, ext3 or ext4.
    Ext4(ext4::Summary),
    /// squashfs.
    Squashfs(squashfs::Info),
}

/// Returns the filesystem that `section` begins with, if a reader knows it. Each looks for its own magic number; the
/// first that finds it is right.
///
/// # Errors
///
/// If no reader finds its filesystem, and one of them failed because the medium did. What [`Cursor::at_most`] forbids to
/// read is no such failure.
pub fn superblock<T: Target + Clone>(
    section: impl Fn() -> Cursor<T>,
) -> Result<Option<Superblock>, TargetError> {
    let failure = Rc::new(Cell::new(None));
    let section = || Observed { section: section(), failure: Rc::clone(&failure) };
    if let Ok(info) = squashfs::info(BufReader::new(section())) {
        return Ok(Some(Superblock::Squashfs(info)));
    }
    if let Ok(summary) = ext4::Summary::read(&mut section(), 0) {
        return Ok(Some(Superblock::Ext4(summary)));
    }
    if let Ok(summary) = fat::Volume::from_reader("partition", section()).and_then(|volume| volume.summary())
    {
        return Ok(Some(Superblock::Fat(summary)));
    }
    match failure.take() {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// A section that remembers the last failure of its medium: to a reader it is one of many reasons why a filesystem
/// cannot be its own.
struct Observed<T> {
    section: Cursor<T>,
    failure: Rc<Cell<Option<TargetError>>>,
}

impl<T: Target> Read for Observed<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.section.read(buf).map_err(|error| {
            let text = error.to_string();
            match error.downcast::<TargetError>() {
                Ok(failure) => {
                    self.failure.set(Some(failure));
                    io::Error::other(text)
                }
                Err(error) => error,
            }
        })
    }
}

impl<T: Target> Seek for Observed<T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.section.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::{Layer, ReadFrom, Sparse, Verb};

    /// A medium that fails from a byte on.
    struct Failing {
        inner: Sparse,
        from: u64,
    }

    impl Layer for Failing {
        fn inner(&self) -> &(impl Target + ?Sized) {
            &self.inner
        }

        fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
            if offset + buf.len() as u64 > self.from {
                let (verb, target, len) = (Verb::Read, "card".into(), buf.len() as u64);
                return Err(TargetError::TimedOut { verb, target, offset, len, seconds: 120 });
            }
            from.read(&self.inner, buf, offset)
        }
    }

    #[test]
    fn a_failure_of_the_medium_is_not_taken_for_unknown_content() {
        let probe = |from| {
            let medium = Arc::new(Failing { inner: Sparse::new(1 << 20, 512), from });
            superblock(|| Cursor::new(Arc::clone(&medium), 0, 1 << 20))
        };
        assert!(probe(1 << 20).expect("readable").is_none());
        assert!(matches!(probe(512), Err(TargetError::TimedOut { offset: 0, .. })));
    }

    #[test]
    fn a_limit_of_reading_is_no_failure() {
        let medium = Arc::new(Sparse::new(1 << 20, 512));
        let found = superblock(|| Cursor::new(Arc::clone(&medium), 0, 1 << 20).at_most(16));
        assert!(found.expect("no failure").is_none());
    }
}
