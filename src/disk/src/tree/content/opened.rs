//! A content that is open: reads at any offset, holes, and whether the file is still what it was.

use std::fs::{File, Metadata, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;

use super::{Content, ContentError, Extent, SPARSE_FROM, Source, Stamp};

/// A content that is open for reading.
#[derive(Debug)]
pub struct Opened<'a> {
    len: u64,
    handle: Handle<'a>,
    extents: Option<&'a [Extent]>,
}

#[derive(Debug)]
enum Handle<'a> {
    Bytes(&'a [u8]),
    File { file: File, path: &'a Path, offset: u64, stamp: Option<Stamp> },
    Temporary(&'a File),
}

impl<'a> Opened<'a> {
    /// Opens the source of a content.
    pub(super) fn new(content: &'a Content) -> Result<Opened<'a>, ContentError> {
        let handle = match &content.source {
            Source::Bytes(bytes) => Handle::Bytes(bytes),
            Source::File { path, offset, stamp } => {
                Handle::File { file: open(path)?, path, offset: *offset, stamp: *stamp }
            }
            Source::Temporary(file) => Handle::Temporary(file),
        };
        Ok(Opened { len: content.len, handle, extents: content.extents.as_deref() })
    }
}

impl Opened<'_> {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether the host has a block for every byte of the file that the content is in.
    pub(super) fn is_allocated(&self) -> bool {
        let Handle::File { file, .. } = &self.handle else { return true };
        // `st_blocks` counts 512 bytes (inode(7)).
        file.metadata().is_ok_and(|metadata| metadata.blocks().saturating_mul(512) >= metadata.len())
    }

    /// Hands a range out in order, a buffer at a time.
    pub(super) fn read_in_chunks<E: From<ContentError>>(
        &self,
        range: Range<u64>,
        buffer: &mut [u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(buffer.len() as u64);
            let part = &mut buffer[..len as usize];
            self.read_at(part, at)?;
            each(part)?;
            at += len;
        }
        Ok(())
    }

    /// The next range at or behind byte `at` that may hold something other than zeros; none if all that is left
    /// is zero. Before the range, and behind it up to the next one, the file stores nothing and reads as zero.
    ///
    /// Counts what cannot be known as data: where the filesystem does not report holes, and where so few bytes are
    /// left that reading them is as cheap as asking. A range may begin at `at` and end anywhere behind it, so
    /// that a loop over all ranges visits every byte of data once, in order. Takes one or two system calls.
    ///
    /// # Errors
    /// A file that ends before the content does has no hole there: it shrank, and that is an error.
    ///
    /// # Panics
    /// If `at` is behind [`Opened::len`].
    pub fn next_data(&self, at: u64) -> Result<Option<Range<u64>>, ContentError> {
        assert!(at <= self.len, "a search behind the end of a content");
        if let Some(extents) = self.extents {
            let next = extents.get(extents.partition_point(|extent| extent.end() <= at));
            return Ok(next.map(|extent| extent.start.max(at)..extent.end()));
        }
        match &self.handle {
            _ if at == self.len => Ok(None),
            Handle::File { file, path, offset, .. } if self.len - at >= SPARSE_FROM => {
                let found = self.next_data_of(file, path, *offset, at);
                self.ensure_unchanged()?;
                found
            }
            Handle::Temporary(file) if self.len - at >= SPARSE_FROM => {
                self.next_data_of(file, Path::new("temporary file"), 0, at)
            }
            _ => Ok(Some(at..self.len)),
        }
    }

    /// See lseek(2). The position of the file is nobody's: all reads name theirs.
    fn next_data_of(
        &self,
        file: &File,
        path: &Path,
        offset: u64,
        at: u64,
    ) -> Result<Option<Range<u64>>, ContentError> {
        let (end, seek) = (offset + self.len, |to| rustix::fs::seek(file, to));
        let start = match seek(SeekFrom::Data(offset + at)) {
            Ok(start) if start < end => start,
            // The first data is that of another member of the archive.
            Ok(_) => return Ok(None),
            Err(Errno::NXIO) => return self.ensure_reaches(file, path, offset).map(|()| None),
            // Reading says what is wrong, if anything is.
            Err(_) => return Ok(Some(at..self.len)),
        };
        let hole = seek(SeekFrom::Hole(start)).unwrap_or(end).min(end);
        // Of a file that shrinks meanwhile the end is the start of a hole; nothing in it is to be skipped.
        let stop = if hole > start { hole } else { end };
        Ok(Some(start - offset..stop - offset))
    }

    /// Behind the last data of a file is a hole only up to its end.
    fn ensure_reaches(&self, file: &File, path: &Path, offset: u64) -> Result<(), ContentError> {
        let error = |source| ContentError::Io { verb: "read", path: path.to_path_buf(), source };
        let found = file.metadata().map_err(error)?.len().saturating_sub(offset);
        if found >= self.len {
            return Ok(());
        }
        Err(ContentError::Changed { path: path.to_path_buf(), expected: self.len, found })
    }

    /// Fills `buf` from byte `at` of the content. What comes back is what was there when the file was scanned, or an
    /// error: one more system call makes sure of it.
    ///
    /// # Panics
    /// If the range ends behind [`Opened::len`].
    pub fn read_at(&self, buf: &mut [u8], at: u64) -> Result<(), ContentError> {
        assert!(at + buf.len() as u64 <= self.len, "read behind the end of a content");
        let Some(extents) = self.extents else { return self.read_stored(buf, at) };
        buf.fill(0);
        let end = at + buf.len() as u64;
        let first = extents.partition_point(|extent| extent.end() <= at);
        for extent in extents[first..].iter().take_while(|extent| extent.start < end) {
            let (from, to) = (extent.start.max(at), extent.end().min(end));
            let part = &mut buf[(from - at) as usize..(to - at) as usize];
            self.read_stored(part, extent.from + (from - extent.start))?;
        }
        Ok(())
    }

    /// Fills `buf` with what the source stores from byte `at` on.
    fn read_stored(&self, buf: &mut [u8], at: u64) -> Result<(), ContentError> {
        match &self.handle {
            Handle::Bytes(bytes) => {
                let start = at as usize;
                buf.copy_from_slice(&bytes[start..start + buf.len()]);
                Ok(())
            }
            Handle::File { file, path, offset, .. } => {
                let read = self.read_file_at(file, path, *offset, buf, at);
                // That it changed explains any other error.
                self.ensure_unchanged()?;
                read
            }
            Handle::Temporary(file) => self.read_file_at(file, Path::new("temporary file"), 0, buf, at),
        }
    }

    /// Fails if the file is not what it was when it was scanned. [`Opened::read_at`] asks this itself; who concludes
    /// anything from the file without reading it has to ask.
    pub fn ensure_unchanged(&self) -> Result<(), ContentError> {
        let Handle::File { file, path, stamp: Some(stamp), .. } = &self.handle else { return Ok(()) };
        let error = |source| ContentError::Io { verb: "read", path: path.to_path_buf(), source };
        let metadata = file.metadata().map_err(error)?;
        let (now, path) = (Stamp::from_metadata(&metadata), path.to_path_buf());
        if now == *stamp {
            return Ok(());
        }
        Err(match other_kind(&metadata) {
            Some(what) => ContentError::NotAFile { path, what },
            None if now.len == stamp.len => ContentError::Modified(path),
            None => ContentError::Changed { path, expected: stamp.len, found: now.len },
        })
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

/// Opens what was a file. If it is a pipe or a terminal now, nothing waits for it: neither this nor a read.
fn open(path: &Path) -> Result<File, ContentError> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|source| {
        // A socket answers in riddles.
        let now = path.metadata().ok().and_then(|metadata| other_kind(&metadata));
        let path = path.to_path_buf();
        match now {
            Some(what) => ContentError::NotAFile { path, what },
            None => ContentError::Io { verb: "open", path, source },
        }
    })
}

/// Kind of a node that is no regular file, with its article.
fn other_kind(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_fifo() => Some("a named pipe"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Run;
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

    /// A file of `len` bytes with `data` at each offset; the rest is a hole.
    fn sparse(len: u64, pieces: &[(u64, &[u8])]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        file.as_file().set_len(len).expect("set the length");
        for (at, bytes) in pieces {
            file.as_file().write_all_at(bytes, *at).expect("write");
        }
        file
    }

    /// All ranges of data, and the content put together from its runs.
    fn ranges(content: &Content) -> (Vec<Range<u64>>, Vec<u8>) {
        let opened = content.open().expect("open");
        let (mut ranges, mut at) = (Vec::new(), 0);
        while let Some(range) = opened.next_data(at).expect("seek") {
            at = range.end;
            ranges.push(range);
        }
        let mut bytes = Vec::new();
        let add = |run: Run<'_>| {
            match run {
                Run::Data(data) => bytes.extend_from_slice(data),
                Run::Hole(len) => bytes.resize(bytes.len() + len as usize, 0),
            }
            Ok::<(), ContentError>(())
        };
        content.for_each_run(add).expect("read");
        (ranges, bytes)
    }

    #[test]
    fn holes_are_not_data_and_the_bytes_are_the_same() {
        const MIB: u64 = 1 << 20;
        let file = sparse(16 * MIB, &[(3 * MIB + 5, b"one"), (9 * MIB, &[7; 300_000])]);
        for (offset, len) in [(0, 16 * MIB), (5, 10 * MIB), (4 * MIB, 12 * MIB), (MIB, MIB), (3 * MIB, 4)] {
            let content = Content::file(file.path(), offset, len);
            let (ranges, bytes) = ranges(&content);
            assert_eq!(bytes, content.read_all().expect("read"), "{offset} {len}");
            let data: u64 = ranges.iter().map(|range| range.end - range.start).sum();
            // Some filesystems store no holes; where there is one at all, it must be found.
            let stored = file.as_file().metadata().expect("stat");
            if std::os::unix::fs::MetadataExt::blocks(&stored) < 4096 && len > SPARSE_FROM {
                assert!(data < len / 2, "{offset} {len}: {ranges:?}");
            }
        }
    }

    #[test]
    fn a_file_that_shrank_has_no_hole_there() {
        let file = sparse(1 << 20, &[(0, b"data")]);
        let content = Content::file(file.path(), 0, 2 << 20);
        let opened = content.open().expect("open");
        let first = opened.next_data(0).expect("seek").expect("data");
        let message = opened.next_data(first.end).unwrap_err().to_string();
        assert!(
            message.ends_with(
                "changed while it was read: 2097152 bytes were there when it was scanned, 1048576 now"
            ),
            "{message}"
        );
        assert!(opened.next_data(2 << 20).expect("the end").is_none());
    }

    /// Result of reading a file after `change` was done to it.
    fn error_after(change: impl FnOnce(&Path)) -> String {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("file");
        std::fs::write(&path, b"abcdef").expect("write");
        let stamp = Stamp::from_metadata(&path.metadata().expect("metadata"));
        let content = Content::stamped(path.as_path(), 0, 6, stamp);
        assert_eq!(content.read_all().expect("nothing changed"), b"abcdef");
        change(&path);
        let message = content.read_all().unwrap_err().to_string();
        message.replace(directory.path().to_str().expect("UTF-8"), "")
    }

    #[test]
    fn a_file_that_is_no_longer_what_it_was_is_reported_and_nothing_waits() {
        let changed = "`/file` changed while it was read:";
        let lengths = |now| format!("{changed} 6 bytes were there when it was scanned, {now} now");
        assert_eq!(error_after(|path| std::fs::write(path, b"abcdefg").expect("write")), lengths(7));
        assert_eq!(error_after(|path| std::fs::write(path, b"abc").expect("write")), lengths(3));
        let same =
            format!("{changed} it has the same length, but was written or replaced after it was scanned");
        assert_eq!(error_after(|path| std::fs::write(path, b"ABCDEF").expect("write")), same);
        let kind = |what| format!("`/file` was a file when it was scanned and is {what} now");
        let replace = |make: fn(&Path)| {
            error_after(|path| {
                std::fs::remove_file(path).expect("remove");
                make(path);
            })
        };
        assert_eq!(replace(|path| std::fs::create_dir(path).expect("a directory")), kind("a directory"));
        let fifo = |path: &Path| {
            use rustix::fs::{CWD, FileType, Mode, mknodat};
            mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("a named pipe");
        };
        assert_eq!(replace(fifo), kind("a named pipe"));
        let socket = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).expect("a socket"));
        assert_eq!(replace(socket), kind("a socket"));
        let link = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).expect("a link");
        assert_eq!(replace(link), kind("a device"));
        let gone = "cannot open `/file`: No such file or directory (os error 2)";
        assert_eq!(replace(|_| {}), gone);
    }
}
