//! Reads a filesystem back, with a reader that shares no code with the writer.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use ext4_view::{Ext4, Ext4Read, FileType, PathBuf};
use skiff_signatures::ext4::{EXT4_SUPER_MAGIC, S_MAGIC, SUPER_BLOCK_OFFSET, incompat, ro_compat};
use uuid::Uuid;

use super::features::features;
use super::raw::{get16, get32};
use crate::error::{Diagnostic, ErrorKind};
use crate::fs::{Damage, FileHasher, Problem, WrittenFile};
use crate::tree;
use crate::value::ByteSize;

/// Reason why a filesystem or a file in it cannot be read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum ReadError {
    /// No ext4 there.
    #[error("there is no ext4 filesystem at offset {offset}: the magic number is {found:#06x}, not 0xef53")]
    #[diagnostic(kind = Corrupt, hint = "check the offset of the partition, or write the image again")]
    NotExt4 {
        /// First byte of the filesystem in the image.
        offset: u64,
        /// Number in the place of `s_magic`.
        found: u16,
    },
    /// The reader of filesystems refused.
    #[error("cannot read `{path}` of the ext4 filesystem: {source}")]
    #[diagnostic(kind = kind_of(source), hint = hint_for(source))]
    Path {
        /// Path that was read.
        path: String,
        /// Error of the reader.
        source: ext4_view::Ext4Error,
    },
    /// Reading the image or writing the copy failed.
    #[error("cannot {verb} the ext4 filesystem: {source}")]
    #[diagnostic(kind = Io)]
    Io {
        /// `read` or `copy a file of`.
        verb: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
}

fn kind_of(error: &ext4_view::Ext4Error) -> ErrorKind {
    match error {
        ext4_view::Ext4Error::Io(_) => ErrorKind::Io,
        ext4_view::Ext4Error::NotFound => ErrorKind::Input,
        ext4_view::Ext4Error::Incompatible(_) => ErrorKind::Unsupported,
        _ => ErrorKind::Corrupt,
    }
}

fn hint_for(error: &ext4_view::Ext4Error) -> Option<String> {
    let damaged = matches!(error, ext4_view::Ext4Error::Corrupt(_));
    damaged.then(|| "write the image again; the medium may be failing".into())
}

/// Facts of the superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Summary {
    /// Volume label.
    pub label: String,
    /// Identity.
    pub uuid: Uuid,
    /// Bytes of the filesystem.
    pub len: ByteSize,
    /// Bytes in free blocks.
    pub free: ByteSize,
    /// Number of inodes.
    pub inodes: u32,
    /// Of these, in no use.
    pub free_inodes: u32,
    /// Feature names as `dumpe2fs` prints them; unknown bits as `FEATURE_C31` and so on.
    pub features: Vec<String>,
}

impl Summary {
    /// Of the filesystem that starts at byte `offset` of `source`; whether it can be read is another question.
    pub fn read(source: &mut (impl Read + Seek), offset: u64) -> Result<Summary, ReadError> {
        let error = |source| ReadError::Io { verb: "read", source };
        let mut bytes = [0; 1024];
        source.seek(SeekFrom::Start(offset.saturating_add(SUPER_BLOCK_OFFSET))).map_err(error)?;
        source.read_exact(&mut bytes).map_err(error)?;
        Summary::parse(&bytes, offset)
    }

    /// From the 1024 bytes of a superblock that was found `offset` bytes into the image.
    fn parse(b: &[u8; 1024], offset: u64) -> Result<Summary, ReadError> {
        let found = get16(b, S_MAGIC);
        if found != EXT4_SUPER_MAGIC {
            return Err(ReadError::NotExt4 { offset, found });
        }
        let block = 1024_u64 << get32(b, 0x18).min(16);
        let is_64bit = get32(b, incompat::AT) & incompat::IS_64BIT != 0;
        let high = |at| if is_64bit { u64::from(get32(b, at)) << 32 } else { 0 };
        let label = b[0x78..0x88].split(|byte| *byte == 0).next().unwrap_or_default();
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&b[0x68..0x78]);
        Ok(Summary {
            label: String::from_utf8_lossy(label).into_owned(),
            uuid: Uuid::from_bytes(uuid),
            len: ByteSize((u64::from(get32(b, 0x04)) | high(0x150)).saturating_mul(block)),
            free: ByteSize((u64::from(get32(b, 0x0C)) | high(0x158)).saturating_mul(block)),
            inodes: get32(b, 0x00),
            free_inodes: get32(b, 0x10),
            features: features(b),
        })
    }
}

/// An ext4 filesystem in an image.
pub struct Reader {
    fs: Ext4,
    summary: Summary,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// A part of an image that starts at `offset`.
struct Part<R> {
    source: R,
    offset: u64,
    tables: InodeTables,
    /// Set if the journal has entries that the reader cannot replay, because it knows only those with checksums.
    hides_journal: bool,
}

/// `s_feature_incompat`, and its bit for a journal that must be replayed.
const INCOMPAT: u64 = SUPER_BLOCK_OFFSET + incompat::AT as u64;
const RECOVER: u8 = incompat::RECOVER as u8;

/// Places of times, to hide them: ext4-view 1.0 calls an inode with a time before 1970 or from 2038 to 2106 corrupt
/// (it takes the low 32 bits, which are signed, for an unsigned number).
#[derive(Default)]
struct InodeTables {
    inode_size: usize,
    /// In bytes of the filesystem, in order and disjoint.
    ranges: Vec<Range<u64>>,
}

impl InodeTables {
    /// From the superblock and the descriptors behind it; none if inodes have checksums, which cover times.
    fn read<R: Read + Seek>(part: &mut Part<R>, b: &[u8; 1024]) -> io::Result<InodeTables> {
        let (has_csum, is_64bit) = (
            get32(b, ro_compat::AT) & ro_compat::METADATA_CSUM != 0,
            get32(b, incompat::AT) & incompat::IS_64BIT != 0,
        );
        let (block, blocks) = (1024_u64 << get32(b, 0x18).min(6), u64::from(get32(b, 0x04)));
        let (inode_size, per_group) = (get16(b, 0x58), get32(b, 0x20).max(1));
        if has_csum || is_64bit || inode_size < 128 {
            return Ok(InodeTables::default());
        }
        let table_len = u64::from(get32(b, 0x28)) * u64::from(inode_size);
        let groups = blocks.div_ceil(per_group.into()).min(1 << 20);
        let mut descriptors = vec![0; groups as usize * 32];
        part.read_at(block * u64::from(get32(b, 0x14) + 1), &mut descriptors)?;
        let starts = descriptors.chunks_exact(32).map(|descriptor| u64::from(get32(descriptor, 8)) * block);
        let mut starts: Vec<u64> = starts.collect();
        starts.sort_unstable();
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for start in starts {
            // What overlaps is no table of a right volume, and would be gone over again with every read.
            if ranges.last().is_none_or(|last| last.end <= start) {
                ranges.push(start..start + table_len);
            }
        }
        Ok(InodeTables { inode_size: inode_size.into(), ranges })
    }

    /// Zeroes the times of the inodes in `bytes`, which are from `at`.
    fn hide_times(&self, at: u64, bytes: &mut [u8]) {
        let end = at + bytes.len() as u64;
        let first = self.ranges.partition_point(|range| range.end <= at);
        for range in self.ranges[first..].iter().take_while(|range| range.start < end) {
            let start = (range.start.max(at) - at) as usize;
            let stop = (range.end.min(end) - at) as usize;
            for inode in bytes[start..stop].chunks_exact_mut(self.inode_size) {
                inode[0x08..0x14].fill(0); // i_atime, i_ctime, i_mtime
                if inode.len() > 0x98 {
                    inode[0x84..0x98].fill(0); // their extra bits, and i_crtime
                }
            }
        }
    }
}

impl<R: Read + Seek> Part<R> {
    fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.source.seek(SeekFrom::Start(self.offset.saturating_add(at)))?;
        self.source.read_exact(bytes)
    }
}

impl<R: Read + Seek> Ext4Read for Part<R> {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        self.read_at(start_byte, dst)?;
        self.tables.hide_times(start_byte, dst);
        // As boot loaders do, which replay nothing: files that were not written to since are where they were.
        if self.hides_journal
            && let Some(at) = INCOMPAT.checked_sub(start_byte)
            && let Some(byte) = dst.get_mut(at as usize)
        {
            *byte &= !RECOVER;
        }
        Ok(())
    }
}

impl Reader {
    /// Opens the filesystem that starts at byte `offset` of `source`.
    pub fn open(source: impl Read + Seek + 'static, offset: u64) -> Result<Reader, ReadError> {
        let mut part = Part { source, offset, tables: InodeTables::default(), hides_journal: false };
        let error = |source| ReadError::Io { verb: "read", source };
        let mut bytes = [0; 1024];
        part.read_at(1024, &mut bytes).map_err(error)?;
        let summary = Summary::parse(&bytes, offset)?;
        part.tables = InodeTables::read(&mut part, &bytes).map_err(error)?;
        // With `metadata_csum` the journal has checksums, and the superblock one that covers the bit.
        part.hides_journal = get32(&bytes, ro_compat::AT) & ro_compat::METADATA_CSUM == 0;
        let fs = Ext4::load(Box::new(part)).map_err(|source| ReadError::Path { path: "/".into(), source })?;
        Ok(Reader { fs, summary })
    }

    /// Facts of the superblock.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Every regular file with its digest, in byte order of shown paths; one with several names is there under
    /// each.
    pub fn files(&self) -> Result<Vec<WrittenFile>, ReadError> {
        self.paths()?.into_iter().map(|(path, raw)| self.digest(path, &raw)).collect()
    }

    /// Returns which files of `expected` are not as they were written.
    pub fn check_files(&self, expected: &[WrittenFile]) -> Result<Vec<Damage>, ReadError> {
        let paths = self.paths()?;
        Ok(expected.iter().filter_map(|file| self.check_file(file, paths.get(&file.path))).collect())
    }

    /// Paths of all regular files, as shown.
    pub fn file_paths(&self) -> Result<Vec<String>, ReadError> {
        Ok(self.paths()?.into_keys().collect())
    }

    /// Fails unless the root directory can be read.
    pub fn check_root(&self) -> Result<(), ReadError> {
        let error = |source| ReadError::Path { path: "/".into(), source };
        self.fs.read_dir("/").map_err(error)?.try_for_each(|entry| entry.map(drop).map_err(error))
    }

    /// Copies the content of the file at `path` and returns its length.
    pub fn copy_file(&self, path: &[u8], to: &mut dyn Write) -> Result<u64, ReadError> {
        let mut file = self.open_file(path)?;
        io::copy(&mut file, to).map_err(|source| ReadError::Io { verb: "copy a file of", source })
    }

    /// Opens the file at `path` for reading at any position.
    pub fn open_file(&self, path: &[u8]) -> Result<FileReader, ReadError> {
        self.open_raw(&absolute(path), &tree::display(path))
    }

    fn open_raw(&self, raw: &[u8], shown: &str) -> Result<FileReader, ReadError> {
        let error = |source| ReadError::Path { path: shown.into(), source };
        let file = self.fs.open(raw).map_err(error)?;
        Ok(FileReader { len: file.metadata().len(), file, position: 0 })
    }

    /// Paths of regular files, as shown and as they are.
    fn paths(&self) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
        let mut paths = BTreeMap::new();
        let mut dirs = vec![PathBuf::new("/")];
        while let Some(dir) = dirs.pop() {
            let error = |source| ReadError::Path { path: shown(dir.as_ref()), source };
            for entry in self.fs.read_dir(&dir).map_err(error)? {
                let entry = entry.map_err(error)?;
                let name = entry.file_name();
                if name == "." || name == ".." {
                    continue;
                }
                match entry.file_type().map_err(error)? {
                    FileType::Directory => dirs.push(entry.path()),
                    FileType::Regular => {
                        let raw: Vec<u8> = AsRef::<[u8]>::as_ref(&entry.path()).to_vec();
                        paths.insert(shown(&raw), raw);
                    }
                    _ => {}
                }
            }
        }
        Ok(paths)
    }

    fn digest(&self, path: String, raw: &[u8]) -> Result<WrittenFile, ReadError> {
        let file = self.open_raw(raw, &path)?;
        let size = file.len;
        let mut hasher = FileHasher::new(size);
        let mut file = io::BufReader::with_capacity(1 << 20, file);
        io::copy(&mut file, &mut hasher).map_err(|source| ReadError::Io { verb: "read", source })?;
        Ok(WrittenFile { path, size, blake3: hasher.finalize() })
    }

    fn check_file(&self, expected: &WrittenFile, raw: Option<&Vec<u8>>) -> Option<Damage> {
        let damage = |problem| Some(Damage { path: expected.path.clone(), problem });
        let Some(raw) = raw else { return damage(Problem::Missing) };
        match self.digest(expected.path.clone(), raw) {
            Err(error) => damage(Problem::Unreadable { reason: error.to_string() }),
            Ok(found) if found.size != expected.size => {
                damage(Problem::Size { expected: expected.size, found: found.size })
            }
            Ok(found) if found.blake3 != expected.blake3 => damage(Problem::Content),
            Ok(_) => None,
        }
    }
}

/// A path of the reader as messages show it.
fn shown(raw: &[u8]) -> String {
    tree::display(raw.strip_prefix(b"/").unwrap_or(raw))
}

fn absolute(path: &[u8]) -> Vec<u8> {
    let mut absolute = vec![b'/'];
    absolute.extend_from_slice(path.strip_prefix(b"/").unwrap_or(path));
    absolute
}

/// A regular file of the filesystem.
pub struct FileReader {
    file: ext4_view::File,
    len: u64,
    position: u64,
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader").field("len", &self.len).field("position", &self.position).finish()
    }
}

impl FileReader {
    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Read for FileReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // Seeking in the file walks over its blocks from the start, so only if it has to be.
        if self.file.position() != self.position {
            self.file.seek_to(self.position).map_err(io::Error::other)?;
        }
        let mut filled = 0;
        while filled < buf.len() {
            match self.file.read_bytes(&mut buf[filled..]).map_err(io::Error::other)? {
                0 => break,
                count => filled += count,
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }
}

impl Seek for FileReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = crate::value::seek(self.len, self.position, to)?;
        Ok(self.position)
    }
}
