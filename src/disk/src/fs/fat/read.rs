//! Reads a FAT filesystem back, through the `fatfs` crate: a reader that shares no code with the writer.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use fatfs::{Date, DirEntry, FileSystem, FsOptions, Time};

use super::{FatError, FatType, KeptEntry};
use crate::fs::{Damage, Problem, WrittenFile};
use crate::storage::{Cursor, Region, Target};
use crate::value::{ByteSize, Digest};

/// Bytes that are read from the medium at once.
const BLOCK: u64 = 64 << 10;
/// Blocks that are kept: reading switches between a table, a directory and a file.
const KEPT_BLOCKS: usize = 8;
/// Bytes of a file that are hashed at once.
const CHUNK: usize = 64 << 10;
/// Longest path: Linux has no longer ones, and only directories that contain themselves make them.
const MAX_PATH: usize = 4096;

/// Facts that a filesystem states about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Summary {
    /// Never [`FatType::Auto`].
    pub fat_type: FatType,
    /// The label of the root directory, which is the one systems go by; else that of the boot sector.
    pub label: String,
    /// Volume serial number.
    pub volume_id: u32,
    /// Bytes per cluster.
    pub cluster_size: u32,
    /// Number of clusters.
    pub clusters: u32,
    /// Number of free clusters.
    pub free_clusters: u32,
}

/// A FAT filesystem that is open for reading. Broken chains and directories end in errors, not in endless loops.
pub struct Volume<S: Read + Seek> {
    name: String,
    filesystem: FileSystem<Source<S>>,
    /// Shared with the source, see [`Volume::start_operation`].
    budget: Rc<Cell<u64>>,
    allowance: u64,
}

impl<'a> Volume<Cursor<&'a dyn Target>> {
    /// Opens the filesystem in a region.
    pub fn open(region: &Region<'a>) -> Result<Self, FatError> {
        Volume::from_reader(region.name(), region.cursor(region.len()))
    }
}

impl<S: Read + Seek> Volume<S> {
    /// Opens the filesystem that `reader` begins with; `name` is for messages.
    pub fn from_reader(name: &str, reader: S) -> Result<Self, FatError> {
        let corrupt = |error: io::Error| FatError::Corrupt { name: name.into(), reason: error.to_string() };
        let budget = Rc::new(Cell::new(BLOCK));
        let mut source = Source::new(reader, Rc::clone(&budget)).map_err(corrupt)?;
        source.check_boot_sector().map_err(corrupt)?;
        // Tables are read once for each cluster, directories about twice, contents once.
        let allowance = source.len.saturating_mul(4).saturating_add(BLOCK);
        let filesystem = FileSystem::new(source, FsOptions::new()).map_err(corrupt)?;
        Ok(Volume { name: name.into(), filesystem, budget, allowance })
    }

    /// Type, label, serial number and sizes.
    pub fn summary(&self) -> Result<Summary, FatError> {
        self.start_operation();
        let stats = self.filesystem.stats().map_err(|error| self.corrupt(&error))?;
        let in_root =
            self.filesystem.read_volume_label_from_root_dir().map_err(|error| self.corrupt(&error))?;
        Ok(Summary {
            fat_type: match self.filesystem.fat_type() {
                fatfs::FatType::Fat32 => FatType::Fat32,
                fatfs::FatType::Fat16 => FatType::Fat16,
                fatfs::FatType::Fat12 => {
                    let reason = "it is FAT12, which is not supported".into();
                    return Err(FatError::Corrupt { name: self.name.clone(), reason });
                }
            },
            label: in_root.unwrap_or_else(|| self.boot_sector_label()),
            volume_id: self.filesystem.volume_id(),
            cluster_size: stats.cluster_size(),
            clusters: stats.total_clusters(),
            free_clusters: stats.free_clusters(),
        })
    }

    /// Path and length of every file, sorted by path; contents are not read.
    pub fn list(&self) -> Result<BTreeMap<String, u64>, FatError> {
        let mut files = BTreeMap::new();
        self.visit(&mut |path, entry| {
            let entry = entry?;
            if entry.is_file() {
                files.insert(path.to_string(), entry.len());
            }
            Ok(())
        })
        .map_err(|error| self.corrupt(&error))?;
        Ok(files)
    }

    /// Every file with its digest, sorted by path.
    pub fn files(&self) -> Result<Vec<WrittenFile>, FatError> {
        let mut files = BTreeMap::new();
        self.visit(&mut |path, entry| {
            let entry = entry?;
            if entry.is_file() {
                let named = |error| io::Error::other(format!("`{path}`: {error}"));
                let blake3 = digest(&entry).map_err(named)?;
                files.insert(path.to_string(), WrittenFile { path: path.into(), size: entry.len(), blake3 });
            }
            Ok(())
        })
        .map_err(|error| self.corrupt(&error))?;
        Ok(files.into_values().collect())
    }

    /// Paths of all files, sorted.
    pub fn file_paths(&self) -> Result<Vec<String>, FatError> {
        let mut paths = Vec::new();
        self.visit(&mut |path, entry| {
            if entry?.is_file() {
                paths.push(path.to_string());
            }
            Ok(())
        })
        .map_err(|error| self.corrupt(&error))?;
        paths.sort();
        Ok(paths)
    }

    /// Times and attributes of every file, by path.
    pub fn entries(&self) -> Result<BTreeMap<String, KeptEntry>, FatError> {
        let mut entries = BTreeMap::new();
        self.visit(&mut |path, entry| {
            let entry = entry?;
            if entry.is_file() {
                entries.insert(path.to_string(), kept(&entry));
            }
            Ok(())
        })
        .map_err(|error| self.corrupt(&error))?;
        Ok(entries)
    }

    /// Returns whether a system that wrote to it did not unmount it.
    pub fn is_dirty(&self) -> Result<bool, FatError> {
        self.start_operation();
        Ok(self.filesystem.read_status_flags().map_err(|error| self.corrupt(&error))?.dirty())
    }

    /// Returns which of the `expected` files are damaged, in their order. Other files do not matter.
    pub fn check_files(&self, expected: &[WrittenFile]) -> Vec<Damage> {
        let by_path: HashMap<&str, &WrittenFile> =
            expected.iter().map(|file| (file.path.as_str(), file)).collect();
        let mut problems = HashMap::new();
        let visited = self.visit(&mut |path, entry| {
            // What a damaged directory no longer names is missing in the end.
            if let (Some(file), Ok(entry)) = (by_path.get(path), entry)
                && entry.is_file()
            {
                problems.insert(file.path.as_str(), problem(file, &entry));
            }
            Ok(())
        });
        // The visitor above takes any error for a missing file.
        debug_assert!(visited.is_ok());
        let damage = |file: &WrittenFile| {
            let problem = problems.remove(file.path.as_str()).unwrap_or(Some(Problem::Missing))?;
            Some(Damage { path: file.path.clone(), problem })
        };
        expected.iter().filter_map(damage).collect()
    }

    /// Writes the content of the file at `path` to `out`; returns its length.
    pub fn extract(&self, path: &str, out: &mut dyn Write) -> Result<u64, FatError> {
        self.start_operation();
        let open = self.filesystem.root_dir().open_file(path.trim_matches('/'));
        let mut file = open.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                FatError::NoSuchFile { name: self.name.clone(), path: path.to_string() }
            }
            _ => self.corrupt(&error),
        })?;
        let mut buffer = vec![0; CHUNK];
        let mut len = 0;
        loop {
            match file.read(&mut buffer).map_err(|error| self.corrupt(&error))? {
                0 => return Ok(len),
                count => {
                    let failed = |source| FatError::Output { path: path.to_string(), source };
                    out.write_all(&buffer[..count]).map_err(failed)?;
                    len += count as u64;
                }
            }
        }
    }

    /// The label of the boot sector; `NO NAME` stands for none.
    fn boot_sector_label(&self) -> String {
        let label = self.filesystem.volume_label();
        if label == "NO NAME" { String::new() } else { label }
    }

    /// Calls `visitor` with the path of every entry, or with the error that ends a directory.
    fn visit(&self, visitor: &mut Visitor<'_, S>) -> io::Result<()> {
        self.start_operation();
        let mut pending = vec![(String::new(), self.filesystem.root_dir())];
        while let Some((path, dir)) = pending.pop() {
            for entry in dir.iter() {
                let name = entry.as_ref().map(DirEntry::file_name).unwrap_or_default();
                if name == "." || name == ".." {
                    continue;
                }
                let child = format!("{path}/{name}");
                if child.len() > MAX_PATH {
                    visitor(&child, Err(io::Error::other("its directories contain themselves")))?;
                    continue;
                }
                if let Ok(entry) = &entry
                    && entry.is_dir()
                {
                    pending.push((child.clone(), entry.to_dir()));
                }
                visitor(&child, entry)?;
            }
        }
        Ok(())
    }

    /// Lets the next operation read as much as any intact filesystem needs.
    fn start_operation(&self) {
        self.budget.set(self.allowance);
    }

    fn corrupt(&self, error: &io::Error) -> FatError {
        FatError::Corrupt { name: self.name.clone(), reason: error.to_string() }
    }
}

type Visitor<'v, S> = dyn FnMut(&str, io::Result<DirEntry<'_, Source<S>>>) -> io::Result<()> + 'v;

/// Digest of a file's content.
fn digest<S: Read + Seek>(entry: &DirEntry<'_, Source<S>>) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut file = entry.to_file();
    let mut buffer = vec![0; CHUNK];
    let mut len = 0;
    loop {
        match file.read(&mut buffer)? {
            0 if len == entry.len() => return Ok(hasher.finalize().into()),
            0 => {
                let text = format!("its clusters end after {len} of {} bytes", entry.len());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            count => {
                hasher.update(&buffer[..count]);
                len += count as u64;
            }
        }
    }
}

/// Times and attributes as they are stored.
fn kept<S: Read + Seek>(entry: &DirEntry<'_, Source<S>>) -> KeptEntry {
    let date = |date: Date| (date.year.saturating_sub(1980) << 9) | (date.month << 5) | date.day;
    let time = |time: Time| (time.hour << 11) | (time.min << 5) | (time.sec / 2);
    let (created, written) = (entry.created(), entry.modified());
    KeptEntry {
        attributes: entry.attributes().bits(),
        created_tenth: (created.time.sec % 2 * 100 + created.time.millis / 10) as u8,
        created_time: time(created.time),
        created_date: date(created.date),
        accessed_date: date(entry.accessed()),
        written_time: time(written.time),
        written_date: date(written.date),
    }
}

fn problem<S: Read + Seek>(file: &WrittenFile, entry: &DirEntry<'_, Source<S>>) -> Option<Problem> {
    if entry.len() != file.size {
        return Some(Problem::Size { expected: file.size, found: entry.len() });
    }
    match digest(entry) {
        Ok(blake3) if blake3 == file.blake3 => None,
        Ok(_) => Some(Problem::Content),
        Err(error) => Some(Problem::Unreadable { reason: error.to_string() }),
    }
}

/// Source that `fatfs` reads from: a stream that keeps a few blocks, refuses to be written, and ends a reader that
/// runs in circles.
struct Source<S> {
    reader: S,
    len: u64,
    at: u64,
    /// Start and bytes of the kept blocks, the one that was used last in front.
    blocks: VecDeque<(u64, Vec<u8>)>,
    /// Bytes that may still be read in this operation.
    budget: Rc<Cell<u64>>,
}

impl<S: Read + Seek> Source<S> {
    fn new(mut reader: S, budget: Rc<Cell<u64>>) -> io::Result<Source<S>> {
        let len = reader.seek(SeekFrom::End(0))?;
        Ok(Source { reader, len, at: 0, blocks: VecDeque::new(), budget })
    }

    /// Fails unless the sizes in the boot sector are possible: the reader above trusts them.
    fn check_boot_sector(&mut self) -> io::Result<()> {
        let mut sector = [0; 512];
        self.read_exact(&mut sector)?;
        self.at = 0;
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
        let u32_at = |at: usize| u16_at(at) | u16_at(at + 2) << 16;
        let or = |small: u64, large: u64| if small == 0 { large } else { small };
        let (sector_size, per_cluster) = (u16_at(11), u64::from(sector[13]));
        let (total, fat_sectors) = (or(u16_at(19), u32_at(32)), or(u16_at(22), u32_at(36)));
        let before = u16_at(14) + 2 * fat_sectors + u16_at(17) * 32 / sector_size.max(512);
        if sector[510..] != [0x55, 0xAA] {
            return Err(io::Error::other("its first sector does not end with the mark 55 AA"));
        }
        if !sector_size.is_power_of_two() || !per_cluster.is_power_of_two() || !(1..=2).contains(&sector[16])
        {
            return Err(io::Error::other("the sizes in its first sector are impossible"));
        }
        let len = total * sector_size;
        if len > self.len || before >= total {
            let text =
                format!("its first sector speaks of {} but there are {}", ByteSize(len), ByteSize(self.len));
            return Err(io::Error::other(text));
        }
        Ok(())
    }

    /// The block that begins at `start`.
    fn block(&mut self, start: u64) -> io::Result<&[u8]> {
        if let Some(index) = self.blocks.iter().position(|(at, _)| *at == start) {
            self.blocks.swap(0, index);
        } else {
            let mut bytes = match self.blocks.len() {
                KEPT_BLOCKS => self.blocks.pop_back().map(|(_, bytes)| bytes).unwrap_or_default(),
                _ => Vec::new(),
            };
            bytes.resize(BLOCK.min(self.len - start) as usize, 0);
            self.reader.seek(SeekFrom::Start(start))?;
            self.reader.read_exact(&mut bytes)?;
            self.blocks.push_front((start, bytes));
        }
        Ok(&self.blocks[0].1)
    }
}

impl<S: Read + Seek> Read for Source<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.len || buf.is_empty() {
            return Ok(0);
        }
        let within = (self.at % BLOCK) as usize;
        let block = self.block(self.at - within as u64)?;
        let count = buf.len().min(block.len() - within);
        buf[..count].copy_from_slice(&block[within..within + count]);
        self.at += count as u64;
        let rest = self.budget.get().checked_sub(count as u64);
        self.budget.set(rest.ok_or_else(|| io::Error::other("its clusters or directories form a loop"))?);
        Ok(count)
    }
}

impl<S> Write for Source<S> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S> Seek for Source<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = crate::value::seek(self.len, self.at, to)?;
        Ok(self.at)
    }
}
