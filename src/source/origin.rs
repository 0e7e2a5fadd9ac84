//! Origins of streams: a file, what can be read once, or, in [`crate::network`], an address.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::ImageError;
use super::stamp::Stamp;
use crate::network::Download;

/// Origin of a stream.
pub(super) trait Origin: Send + Sync {
    /// A reader from the first byte on.
    fn open(&self) -> Result<Box<dyn Read + Send>, ImageError>;

    /// Returns whether it can be opened again.
    fn replays(&self) -> bool;

    /// Fails if it is known that the bytes changed since they were first looked at.
    fn ensure_same(&self) -> Result<(), ImageError> {
        Ok(())
    }

    /// Returns what distinguishes the bytes from others, if anything does.
    fn identity(&self) -> Option<Vec<u8>> {
        None
    }
}

/// A file that can be read from anywhere.
pub(super) struct Seekable {
    pub path: PathBuf,
    pub file: Arc<File>,
    pub stamp: Stamp,
}

/// Reads a file at an offset of its own: several may read it at once.
struct ReadAt {
    file: Arc<File>,
    at: u64,
}

impl Read for ReadAt {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Origin for Seekable {
    fn open(&self) -> Result<Box<dyn Read + Send>, ImageError> {
        self.ensure_same()?;
        Ok(Box::new(ReadAt { file: Arc::clone(&self.file), at: 0 }))
    }

    fn replays(&self) -> bool {
        true
    }

    fn ensure_same(&self) -> Result<(), ImageError> {
        self.stamp.ensure_same(&self.file, &self.path)
    }

    fn identity(&self) -> Option<Vec<u8>> {
        Some(self.stamp.to_bytes())
    }
}

/// Standard input, a pipe, or what else ends when it was read.
pub(super) struct Once {
    name: String,
    reader: Mutex<Option<Box<dyn Read + Send>>>,
}

impl Once {
    pub(super) fn new(name: String, reader: Box<dyn Read + Send>) -> Once {
        Once { name, reader: Mutex::new(Some(reader)) }
    }
}

impl Origin for Once {
    fn open(&self) -> Result<Box<dyn Read + Send>, ImageError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        reader.ok_or_else(|| ImageError::Once(self.name.clone()))
    }

    fn replays(&self) -> bool {
        false
    }
}

impl Origin for Download {
    fn open(&self) -> Result<Box<dyn Read + Send>, ImageError> {
        Ok(Download::open(self)?)
    }

    fn replays(&self) -> bool {
        true
    }
}
