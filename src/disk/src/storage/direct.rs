//! Reads and writes that bypass the page cache, with the alignment that needs.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, OFlags};

/// Alignment that `O_DIRECT` wants of offsets, lengths and addresses: the largest logical sector there is.
pub(super) const ALIGNMENT: u64 = 4096;

/// Pages on some architectures are 64 KiB; only whole pages can be dropped from the cache.
const LARGEST_PAGE: u64 = 64 << 10;

/// Below this size a write goes through the page cache, which joins it with its neighbours.
const SMALLEST_DIRECT_WRITE: u64 = 64 << 10;

/// Way of [`super::Target::read_back`] past the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheBypass {
    /// `O_DIRECT`: what is read comes from the medium.
    Direct,
    /// The system cannot do `O_DIRECT` here; cached pages are written and dropped before each read, which the
    /// kernel may do only in part.
    Dropped,
}

/// Bytes whose address is a multiple of what `O_DIRECT` wants. A buffer for [`super::Target::read_back`] that
/// spares a copy.
pub struct AlignedBuffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zero bytes.
    pub fn new(len: usize) -> AlignedBuffer {
        let bytes = vec![0; len + ALIGNMENT as usize];
        let start = bytes.as_ptr().align_offset(ALIGNMENT as usize);
        AlignedBuffer { bytes, start, len }
    }

    /// The first `len` bytes.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub fn slice(&mut self, len: usize) -> &mut [u8] {
        assert!(len <= self.len, "an aligned buffer is longer than what is read into it");
        &mut self.bytes[self.start..self.start + len]
    }

    /// Like [`AlignedBuffer::slice`], to be read only.
    pub fn bytes(&self, len: usize) -> &[u8] {
        assert!(len <= self.len, "an aligned buffer is longer than what is read from it");
        &self.bytes[self.start..self.start + len]
    }

    /// Bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first `len` bytes of a buffer that has at least as many; it may be another one, of zeros.
    pub(super) fn at_least(&mut self, len: usize) -> &mut [u8] {
        if self.len < len {
            *self = AlignedBuffer::new(len);
        }
        self.slice(len)
    }
}

thread_local! {
    static BOUNCE: RefCell<AlignedBuffer> = RefCell::new(AlignedBuffer::new(0));
}

/// A second handle on a file or device that does not go through the page cache.
pub(super) struct Direct {
    file: File,
    bypass: CacheBypass,
}

impl Direct {
    /// Opens `path` with `O_DIRECT`, or without where the filesystem cannot do that. `write` asks for a handle
    /// that [`Direct::write_at`] can use.
    pub(super) fn open(path: &Path, write: bool) -> io::Result<Direct> {
        let open = |flags: OFlags| {
            OpenOptions::new().read(true).write(write).custom_flags(flags.bits() as i32).open(path)
        };
        let (file, bypass) = match open(OFlags::DIRECT) {
            Ok(file) => (file, CacheBypass::Direct),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                (open(OFlags::empty())?, CacheBypass::Dropped)
            }
            Err(error) => return Err(error),
        };
        let mut direct = Direct { file, bypass };
        direct.probe();
        Ok(direct)
    }

    /// Some filesystems accept the flag and refuse the read.
    fn probe(&mut self) {
        let mut buffer = AlignedBuffer::new(ALIGNMENT as usize);
        let read = self.file.read_at(buffer.slice(ALIGNMENT as usize), 0);
        if read.is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput) {
            self.bypass = CacheBypass::Dropped;
        }
    }

    pub(super) fn bypass(&self) -> CacheBypass {
        self.bypass
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Fills `buf` from the medium. The bytes must have been synced before.
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self.bypass {
            CacheBypass::Direct if is_aligned(buf, offset) => read_full(&self.file, buf, offset, buf.len()),
            CacheBypass::Direct => self.read_through_bounce(buf, offset),
            CacheBypass::Dropped => self.read_dropped(buf, offset),
        }
    }

    /// Writes `buf` past the page cache if its range is made of whole blocks; says whether it did.
    pub(super) fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<bool> {
        let whole = offset.is_multiple_of(ALIGNMENT) && (buf.len() as u64).is_multiple_of(ALIGNMENT);
        if self.bypass != CacheBypass::Direct || !whole {
            return Ok(false);
        }
        let written = match is_aligned(buf, offset) {
            true => self.file.write_all_at(buf, offset),
            false => BOUNCE.with_borrow_mut(|bounce| {
                let aligned = bounce.at_least(buf.len());
                aligned.copy_from_slice(buf);
                self.file.write_all_at(aligned, offset)
            }),
        };
        match written {
            // Some filesystems can read directly but not write.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
            written => written.map(|()| true),
        }
    }

    /// Writes the whole pages of a large buffer past the page cache, and what is left of it at both ends through
    /// the cache with `buffered`: there it meets its neighbours, and no page has bytes that went both ways.
    pub(super) fn write_split(&self, buffered: &File, buf: &[u8], offset: u64) -> io::Result<()> {
        let (start, end) = (offset.next_multiple_of(LARGEST_PAGE), offset + buf.len() as u64);
        let stop = end / LARGEST_PAGE * LARGEST_PAGE;
        if stop < start + SMALLEST_DIRECT_WRITE {
            return buffered.write_all_at(buf, offset);
        }
        let (head, rest) = buf.split_at((start - offset) as usize);
        let (whole, tail) = rest.split_at((stop - start) as usize);
        if !self.write_at(whole, start)? {
            return buffered.write_all_at(buf, offset);
        }
        buffered.write_all_at(head, offset)?;
        buffered.write_all_at(tail, stop)
    }

    fn read_through_bounce(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = offset / ALIGNMENT * ALIGNMENT;
        let end = (offset + buf.len() as u64).next_multiple_of(ALIGNMENT);
        let skip = (offset - start) as usize;
        BOUNCE.with_borrow_mut(|bounce| {
            let aligned = bounce.at_least((end - start) as usize);
            read_full(&self.file, aligned, start, skip + buf.len())?;
            buf.copy_from_slice(&aligned[skip..skip + buf.len()]);
            Ok(())
        })
    }

    fn read_dropped(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = offset / LARGEST_PAGE * LARGEST_PAGE;
        let end = (offset + buf.len() as u64).next_multiple_of(LARGEST_PAGE);
        if let Some(len) = NonZeroU64::new(end - start) {
            rustix::fs::fadvise(&self.file, start, Some(len), Advice::DontNeed)?;
        }
        self.file.read_exact_at(buf, offset)
    }
}

fn is_aligned(buf: &[u8], offset: u64) -> bool {
    let aligned = |number: u64| number.is_multiple_of(ALIGNMENT);
    aligned(offset) && aligned(buf.len() as u64) && aligned(buf.as_ptr() as u64)
}

/// Reads at least `need` bytes into the front of `buf`; behind the end of a file the rest stays as it is.
fn read_full(file: &File, buf: &mut [u8], offset: u64, need: usize) -> io::Result<()> {
    let mut filled = 0;
    while filled < need {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
