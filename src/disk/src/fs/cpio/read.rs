//! Reads an archive back, whatever it is compressed with.

use std::collections::HashMap;
use std::io::{self, Read};

use super::CpioError;
use super::raw::{HEADER_SIZE, Header, PATH_MAX, TRAILER};
use crate::fs::{Damage, Problem, WrittenFile, compress};
use crate::tree::{Device, display};
use crate::value::Digest;

/// `S_IFMT` and two of its values (inode(7)).
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// Contents of an archive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Archive {
    /// `none`, `gzip`, `zstd`, `xz` or `lz4`.
    pub compression: &'static str,
    /// In the order of the archive.
    pub entries: Vec<ArchiveEntry>,
    /// Bytes before compression, up to the end mark.
    pub plain_len: u64,
}

/// One name in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveEntry {
    /// Path without a leading `./`; the root is empty.
    pub path: Vec<u8>,
    /// `st_mode`, with the type.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub nlink: u32,
    /// Inode number in this archive.
    pub ino: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Length of a regular file.
    pub size: u64,
    /// Number of a device.
    pub device: Device,
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// Digest of a regular file.
    pub blake3: Option<Digest>,
}

/// Counts for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Summary {
    /// Compression of the archive.
    pub compression: &'static str,
    /// Bytes before compression.
    pub plain_len: u64,
    /// Number of names.
    pub entries: usize,
    /// Number of regular files, by name.
    pub files: usize,
}

impl Archive {
    /// Counts for people.
    pub fn summary(&self) -> Summary {
        let files = self.entries.iter().filter(|entry| entry.blake3.is_some()).count();
        let (compression, plain_len, entries) = (self.compression, self.plain_len, self.entries.len());
        Summary { compression, plain_len, entries, files }
    }

    /// Every regular file, in the order of the archive.
    pub fn files(&self) -> Vec<WrittenFile> {
        let file = |entry: &ArchiveEntry| {
            Some(WrittenFile { path: display(&entry.path), size: entry.size, blake3: entry.blake3? })
        };
        self.entries.iter().filter_map(file).collect()
    }

    /// Returns which of the `expected` files are damaged, in their order. Other files do not matter.
    pub fn check_files(&self, expected: &[WrittenFile]) -> Vec<Damage> {
        let found: HashMap<String, WrittenFile> =
            self.files().into_iter().map(|file| (file.path.clone(), file)).collect();
        let problem = |file: &WrittenFile| match found.get(&file.path) {
            None => Some(Problem::Missing),
            Some(found) if found.size != file.size => {
                Some(Problem::Size { expected: file.size, found: found.size })
            }
            Some(found) if found.blake3 != file.blake3 => Some(Problem::Content),
            Some(_) => None,
        };
        let damage = |file: &WrittenFile| Some(Damage { path: file.path.clone(), problem: problem(file)? });
        expected.iter().filter_map(damage).collect()
    }
}

/// Reads an archive to its end mark.
pub fn read(reader: impl Read) -> Result<Archive, CpioError> {
    let (compression, reader) = compress::decoder(reader).map_err(input)?;
    let mut reader = Reader { inner: reader, at: 0 };
    let mut entries = Vec::new();
    while let Some(entry) = reader.entry()? {
        entries.push(entry);
    }
    share_contents(&mut entries);
    Ok(Archive { compression, entries, plain_len: reader.at })
}

/// Gives every name of a file the content that came with one of them.
fn share_contents(entries: &mut [ArchiveEntry]) {
    let mut contents: HashMap<u32, (u64, Option<Digest>)> = HashMap::new();
    let linked = |entry: &ArchiveEntry| entry.nlink > 1 && entry.blake3.is_some();
    for entry in entries.iter().filter(|entry| linked(entry) && entry.size > 0) {
        contents.insert(entry.ino, (entry.size, entry.blake3));
    }
    for entry in entries.iter_mut().filter(|entry| linked(entry)) {
        if let Some(content) = contents.get(&entry.ino) {
            (entry.size, entry.blake3) = *content;
        }
    }
}

struct Reader<R> {
    inner: R,
    at: u64,
}

impl<R: Read> Reader<R> {
    /// The next entry, or nothing at the end mark.
    fn entry(&mut self) -> Result<Option<ArchiveEntry>, CpioError> {
        let start = self.at;
        let corrupt = |what: &str| CpioError::Corrupt { reason: format!("{what} at byte {start}") };
        let mut bytes = [0; HEADER_SIZE as usize];
        self.fill(&mut bytes)?;
        let header = Header::parse(&bytes).ok_or_else(|| corrupt("there is no header"))?;
        if !(1..=PATH_MAX as u32).contains(&header.namesize) {
            return Err(corrupt("there is a name of impossible length"));
        }
        let mut path = vec![0; header.namesize as usize];
        self.fill(&mut path)?;
        if path.pop() != Some(0) {
            return Err(corrupt("there is a name without an end"));
        }
        self.skip_padding()?;
        if path == TRAILER {
            return Ok(None);
        }
        let (target, blake3) = self.data(&header).map_err(|error| match error {
            CpioError::Corrupt { reason } => corrupt(&reason),
            error => error,
        })?;
        Ok(Some(entry(header, relative(path), target, blake3)))
    }

    /// Target of a link and digest of a file.
    fn data(&mut self, header: &Header) -> Result<(Option<Vec<u8>>, Option<Digest>), CpioError> {
        let size = u64::from(header.filesize);
        if header.mode & S_IFMT == S_IFLNK {
            if size > PATH_MAX as u64 {
                return Err(CpioError::Corrupt {
                    reason: "there is a link target of impossible length".into(),
                });
            }
            let mut target = vec![0; size as usize];
            self.fill(&mut target)?;
            self.skip_padding()?;
            return Ok((Some(target), None));
        }
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; size.min(1 << 17) as usize];
        let mut left = size;
        while left > 0 {
            let count = left.min(buffer.len() as u64) as usize;
            self.fill(&mut buffer[..count])?;
            hasher.update(&buffer[..count]);
            left -= count as u64;
        }
        self.skip_padding()?;
        let is_file = header.mode & S_IFMT == S_IFREG;
        Ok((None, is_file.then(|| hasher.finalize().into())))
    }

    fn skip_padding(&mut self) -> Result<(), CpioError> {
        let count = (self.at.next_multiple_of(4) - self.at) as usize;
        self.fill(&mut [0; 3][..count])
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<(), CpioError> {
        self.inner.read_exact(buf).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                CpioError::Corrupt { reason: format!("it ends without an end mark after byte {}", self.at) }
            }
            _ => input(error),
        })?;
        self.at += buf.len() as u64;
        Ok(())
    }
}

fn entry(header: Header, path: Vec<u8>, target: Option<Vec<u8>>, blake3: Option<Digest>) -> ArchiveEntry {
    ArchiveEntry {
        path,
        mode: header.mode,
        uid: header.uid,
        gid: header.gid,
        nlink: header.nlink,
        ino: header.ino,
        mtime: header.mtime,
        size: if blake3.is_some() { header.filesize.into() } else { 0 },
        device: Device { major: header.rdevmajor, minor: header.rdevminor },
        target,
        blake3,
    }
}

/// Without the `.`, `./` or `/` some writers begin names with.
fn relative(path: Vec<u8>) -> Vec<u8> {
    let trimmed = path.strip_prefix(b"./").or(path.strip_prefix(b"/")).unwrap_or(&path);
    if trimmed == b"." { Vec::new() } else { trimmed.to_vec() }
}

fn input(source: io::Error) -> CpioError {
    CpioError::Input { source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_an_archive_is_told_with_the_place() {
        assert_eq!(message(&[0; 200]), "not a readable cpio archive: there is no header at byte 0");
        assert_eq!(
            message(b"070701"),
            "not a readable cpio archive: it ends without an end mark after byte 0"
        );
        let header = Header { mode: S_IFLNK, filesize: 5000, nlink: 1, ..Header::default() };
        assert_eq!(
            message(&header.encode(b"x")),
            "not a readable cpio archive: there is a link target of impossible length at byte 0"
        );
        let mut long = Header::default().encode(b"x");
        long[94..102].copy_from_slice(b"0000FFFF");
        assert_eq!(
            message(&long),
            "not a readable cpio archive: there is a name of impossible length at byte 0"
        );
        let mut open = Header::default().encode(b"x");
        open[111] = b'y';
        assert_eq!(message(&open), "not a readable cpio archive: there is a name without an end at byte 0");
        let broken = read(&[0x1F, 0x8B, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]).unwrap_err().to_string();
        assert!(broken.starts_with("cannot read the archive: "), "{broken}");
    }
}
