//! An unnamed temporary file: where artifacts are composed before the length of a partition is known. Nothing
//! is left behind, however the program ends.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::{Geometry, Target, TargetError, Verb};
use crate::tree::Content;

/// A sparse temporary file of a stated greatest length.
#[derive(Debug)]
pub struct Scratch {
    file: Arc<File>,
    len: u64,
}

impl Scratch {
    /// An empty file for at most `len` bytes in the directory for temporary files (`TMPDIR`).
    pub fn new(len: u64) -> Result<Scratch, TargetError> {
        let error = |source| TargetError::Io {
            verb: Verb::Create,
            target: std::env::temp_dir().display().to_string(),
            offset: 0,
            len: 0,
            source,
        };
        Ok(Scratch { file: Arc::new(tempfile::tempfile().map_err(error)?), len })
    }

    /// The first `len` bytes as a content.
    pub fn into_content(self, len: u64) -> Result<Content, TargetError> {
        // A tail that was only zeroed is not there yet.
        self.file.set_len(len).map_err(self.error(Verb::Resize, 0, len))?;
        Ok(Content::temporary(self.file, len))
    }

    fn error(&self, verb: Verb, offset: u64, len: u64) -> impl FnOnce(std::io::Error) -> TargetError {
        move |source| TargetError::Io { verb, target: "temporary file".into(), offset, len, source }
    }
}

impl Target for Scratch {
    fn name(&self) -> &str {
        "temporary file"
    }

    fn geometry(&self) -> Geometry {
        Geometry { len: self.len, sector_size: 512 }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.file.read_exact_at(buf, offset).map_err(self.error(Verb::Read, offset, buf.len() as u64))
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        self.file.write_all_at(buf, offset).map_err(self.error(Verb::Write, offset, buf.len() as u64))
    }

    /// A fresh file reads as zero where nothing was written, and nothing is written twice.
    fn zero(&self, _offset: u64, _len: u64) -> Result<(), TargetError> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    fn sync(&self) -> Result<(), TargetError> {
        Ok(())
    }
}
