//! An image that is a file with nothing packed in it: holes are not read, several threads copy, and what its block
//! map or its hash say is compared before the medium is touched.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use rustix::fs::SeekFrom;
use sha2::{Digest as _, Sha256};

use super::claims::Claims;
use super::error::ImageError;
use super::glimpse::Glimpse;
use super::pieces::{self, ENDS, Ends};
use super::stamp::Stamp;
use crate::bmap::{MappedRange, sha256_of};
use crate::error::{Io, Result};
use crate::event::{Event, Listener, Phase, begin};
use crate::storage::{AlignedBuffer, Target};
use crate::table::TableBytes;
use crate::value::to_hex;

/// Bytes that are read and written at once.
const CHUNK: u64 = 4 << 20;
/// A hole is zeroed in pieces, for the progress.
const LARGEST_HOLE: u64 = 256 << 20;
/// More threads do not make a medium faster.
const MOST_WRITERS: usize = 4;

/// A file that is an image as it is.
pub(super) struct Raw {
    path: PathBuf,
    file: File,
    stamp: Stamp,
    claims: Claims,
}

/// Treatment of a part of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Copy(Range<u64>),
    Zero(Range<u64>),
}

impl Raw {
    /// An open file. With a block map only the blocks that it lists are copied.
    pub(super) fn new(path: &Path, file: File, claims: Claims) -> Result<Raw, ImageError> {
        let stamp = Stamp::from_file(&file, path)?;
        claims.ensure_len(stamp.len)?;
        Ok(Raw { path: path.into(), file, stamp, claims })
    }

    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    pub(super) fn claims_mut(&mut self) -> &mut Claims {
        &mut self.claims
    }

    pub(super) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.stamp.len
    }

    /// The first MiB, or all of a shorter image.
    pub(super) fn head(&self) -> Result<Vec<u8>, ImageError> {
        let mut head = vec![0; ENDS.min(self.len()) as usize];
        self.file.read_exact_at(&mut head, 0).map_err(Io::on("read", &self.path))?;
        Ok(head)
    }

    /// Returns what the image says about itself; `head` is its first MiB.
    pub(super) fn glimpse(&self, head: &[u8]) -> Result<Glimpse> {
        let read = |bytes: &mut [u8], at| {
            self.file.read_exact_at(bytes, at).map_err(Io::on("read", &self.path))?;
            Ok(())
        };
        Glimpse::gather(head, Ends::for_len(self.len()).tail, self.len(), read)
    }

    /// Bytes that are copied, or zeroed where the file has holes.
    pub(super) fn planned(&self) -> u64 {
        self.claims.mapped(self.len()).iter().map(|range| range.end - range.start).sum()
    }

    /// Compares the file with the checksums of its block map, and with its hash.
    pub(super) fn check(&self, listener: &dyn Listener) -> Result<(), ImageError> {
        let bmap = self.claims.bmap.as_ref();
        let hashed = if self.claims.sha256.is_some() { self.len() } else { 0 };
        let total = bmap.map_or(0, |bmap| bmap.mapped_len()) + hashed;
        if total > 0 {
            begin(listener, Phase::CheckSource, total);
        }
        let ranges = bmap.map_or(&[][..], |bmap| &bmap.ranges);
        let (hash, map) = rayon::join(
            || self.check_hash(listener),
            || {
                ranges.par_iter().try_for_each(|range| {
                    self.check_range(range)?;
                    listener.event(Event::Advance { bytes: range.bytes.end - range.bytes.start });
                    Ok(())
                })
            },
        );
        hash.and(map)
    }

    fn check_range(&self, range: &MappedRange) -> Result<(), ImageError> {
        let Some(expected) = range.sha256 else { return Ok(()) };
        let found = sha256_of(&self.file, &range.bytes).map_err(Io::on("read", &self.path))?;
        if found == expected {
            return Ok(());
        }
        let (bytes, expected, found) = (range.bytes.clone(), to_hex(&expected), to_hex(&found));
        Err(ImageError::Damaged { image: self.claims.name.clone(), bytes, expected, found })
    }

    fn check_hash(&self, listener: &dyn Listener) -> Result<(), ImageError> {
        if self.claims.sha256.is_none() {
            return Ok(());
        }
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.len() {
            let chunk = &mut buffer[..(self.len() - at).min(1 << 20) as usize];
            self.file.read_exact_at(chunk, at).map_err(Io::on("read", &self.path))?;
            hasher.update(&*chunk);
            at += chunk.len() as u64;
            listener.event(Event::Advance { bytes: chunk.len() as u64 });
        }
        // Nothing is packed: what is given is what is in it.
        let found = hasher.finalize().into();
        self.claims.ensure_given(Some(found)).and_then(|()| self.claims.ensure_decoded(Some(found)))
    }

    /// Copies everything but the ends, which it returns. What the file has as a hole or as zeros is zero on the target
    /// too, unless the block map says that it does not matter.
    pub(super) fn write(&self, target: &dyn Target) -> Result<Vec<TableBytes>> {
        let parts = self.parts()?;
        self.copy_parts(&parts, target)?;
        let critical = self.critical()?;
        self.stamp.ensure_same(&self.file, &self.path)?;
        Ok(critical)
    }

    /// The first and the last bytes; sector 0 apart.
    fn critical(&self) -> Result<Vec<TableBytes>, ImageError> {
        let mut critical = Vec::new();
        for (name, range) in Ends::for_len(self.len()).named() {
            for bytes in pieces::inside(&self.claims.mapped(self.len()), range) {
                let mut buffer = vec![0; (bytes.end - bytes.start) as usize];
                self.file.read_exact_at(&mut buffer, bytes.start).map_err(Io::on("read", &self.path))?;
                critical.push(TableBytes { name: name.into(), offset: bytes.start, bytes: buffer });
            }
        }
        Ok(critical)
    }

    /// Returns the parts between head and tail, cut for copying; holes are not read.
    fn parts(&self) -> Result<Vec<Part>, ImageError> {
        let ends = Ends::for_len(self.len());
        let mut parts = Vec::new();
        for range in pieces::inside(&self.claims.mapped(self.len()), ends.head..ends.tail) {
            let mut at = range.start;
            while at < range.end {
                let data = self.seek(SeekFrom::Data(at))?.unwrap_or(range.end);
                push_cut(&mut parts, at..data.min(range.end), LARGEST_HOLE, Part::Zero);
                if data >= range.end {
                    break;
                }
                let hole = self.seek(SeekFrom::Hole(data))?.unwrap_or(range.end);
                push_cut(&mut parts, data..hole.min(range.end), CHUNK, Part::Copy);
                at = hole;
            }
        }
        Ok(parts)
    }

    /// Returns the start of the next data or hole; none if there is no more.
    fn seek(&self, from: SeekFrom) -> Result<Option<u64>, ImageError> {
        match rustix::fs::seek(&self.file, from) {
            Ok(position) => Ok(Some(position)),
            Err(rustix::io::Errno::NXIO) => Ok(None),
            Err(errno) => Err(Io::on("find the holes of", &self.path)(io::Error::from(errno)).into()),
        }
    }

    /// Several threads take parts in order, so that one reads while another writes.
    fn copy_parts(&self, parts: &[Part], target: &dyn Target) -> Result<()> {
        let next = AtomicUsize::new(0);
        let writers = rayon::current_num_threads().clamp(1, MOST_WRITERS);
        pieces::in_threads(writers, || {
            let mut buffer = AlignedBuffer::new(CHUNK as usize);
            while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.copy_part(part, &mut buffer, target)
                    .inspect_err(|_| next.store(parts.len(), Ordering::Relaxed))?;
            }
            Ok(())
        })
    }

    fn copy_part(&self, part: &Part, buffer: &mut AlignedBuffer, target: &dyn Target) -> Result<()> {
        match part {
            Part::Zero(range) => Ok(target.zero(range.start, range.end - range.start)?),
            Part::Copy(range) => {
                let bytes = buffer.slice((range.end - range.start) as usize);
                self.file.read_exact_at(bytes, range.start).map_err(Io::on("read", &self.path))?;
                Ok(pieces::write_sparse(target, bytes, range.start)?)
            }
        }
    }
}

/// Cuts a range at multiples of `largest`.
fn push_cut(parts: &mut Vec<Part>, range: Range<u64>, largest: u64, part: fn(Range<u64>) -> Part) {
    let mut at = range.start;
    while at < range.end {
        let end = ((at / largest + 1) * largest).min(range.end);
        parts.push(part(at..end));
        at = end;
    }
}
