//! Copies a ready image to a medium, in the order of [`super::commit`].

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use rustix::fs::SeekFrom;

use super::bmap::{Bmap, MappedRange, hex, sha256_of};
use super::commit::{Commit, Critical};
use super::event::{Event, Listener, Phase, begin};
use super::verify::is_zero;
use crate::error::{Family, Io, Report, Result};
use crate::table::{self, Scheme, Table};
use crate::target::{ReadOnly, Record, Target};
use crate::value::ByteSize;

/// Where partition tables and most boot code are: the first and the last bytes are written last.
const ENDS: u64 = 1 << 20;
/// Sector 0, in either sector size.
const SECTOR_0: u64 = 4096;
/// Bytes that are read and written at once.
const CHUNK: u64 = 4 << 20;
/// Zeros shorter than this are written like data.
const SHORTEST_ZEROS: usize = 64 << 10;
/// A hole is zeroed in pieces, for the progress.
const LARGEST_HOLE: u64 = 256 << 20;
/// More threads do not make a medium faster.
const MOST_WRITERS: usize = 4;

/// First bytes of compressed files.
const COMPRESSED: [(&[u8], &str); 5] = [
    (&[0x1f, 0x8b], "gzip"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
];

/// An uncompressed disk image.
pub struct Image {
    path: PathBuf,
    file: File,
    len: u64,
    bmap: Option<Bmap>,
}

/// Why an image cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The image must be decompressed first.
    #[error("`{}` is compressed with {method}", path.display())]
    Compressed {
        /// The image.
        path: PathBuf,
        /// How.
        method: &'static str,
    },
    /// There is nothing in it.
    #[error("`{}` is empty", .0.display())]
    Empty(PathBuf),
    /// The block map belongs to another image.
    #[error("the block map is for an image of {} but `{}` has {}", ByteSize(*expected), path.display(), ByteSize(*found))]
    OtherLength {
        /// The image.
        path: PathBuf,
        /// What the block map says.
        expected: u64,
        /// What the image has.
        found: u64,
    },
    /// The image is not what its block map describes.
    #[error("bytes {}..{} of `{}` are damaged: their SHA-256 is {found}, the block map says {expected}", bytes.start, bytes.end, path.display())]
    Damaged {
        /// The image.
        path: PathBuf,
        /// Where.
        bytes: Range<u64>,
        /// What the block map says.
        expected: String,
        /// What the image has.
        found: String,
    },
    /// The image is larger than the medium.
    #[error("the image `{}` needs {} but `{target}` has {}", path.display(), ByteSize(*need), ByteSize(*have))]
    TooLarge {
        /// The image.
        path: PathBuf,
        /// Where it should go.
        target: String,
        /// Length of the image.
        need: u64,
        /// Length of the target.
        have: u64,
    },
    /// A GPT in other sectors than the medium has is none.
    #[error("the table of `{}` counts in sectors of {image} bytes but those of `{target}` have {medium}", path.display())]
    OtherSectors {
        /// The image.
        path: PathBuf,
        /// Where it should go.
        target: String,
        /// Bytes of a sector in the table.
        image: u32,
        /// Bytes of a sector of the medium.
        medium: u32,
    },
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] Io),
}

impl Report for ImageError {
    fn family(&self) -> Family {
        match self {
            ImageError::Compressed { .. } => Family::Unsupported,
            ImageError::Empty(_) | ImageError::OtherLength { .. } => Family::Input,
            ImageError::Damaged { .. } => Family::Corrupt,
            ImageError::TooLarge { .. } | ImageError::OtherSectors { .. } => Family::Fit,
            ImageError::Io(_) => Family::Io,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            ImageError::Compressed { method, .. } => {
                format!("decompress it with {method} and give the resulting file")
            }
            ImageError::Empty(_) | ImageError::Damaged { .. } => "get or build the image again".into(),
            ImageError::OtherLength { .. } => "give the .bmap file that was made with the image".into(),
            ImageError::TooLarge { .. } => "use a larger medium".into(),
            ImageError::OtherSectors { medium, .. } => {
                format!("build the image for sectors of {medium} bytes")
            }
            ImageError::Io(error) => return error.hint(),
        })
    }
}

/// What happens to a part of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Copy(Range<u64>),
    Zero(Range<u64>),
}

impl Image {
    /// Opens an image. With a block map only the blocks that it lists are copied.
    pub fn open(path: &Path, bmap: Option<Bmap>) -> Result<Image, ImageError> {
        let file = File::open(path).map_err(Io::on("open", path))?;
        let len = file.metadata().map_err(Io::on("look at", path))?.len();
        let path = path.to_path_buf();
        if len == 0 {
            return Err(ImageError::Empty(path));
        }
        let mut start = Vec::new();
        (&file).take(8).read_to_end(&mut start).map_err(Io::on("read", &path))?;
        if let Some((_, method)) = COMPRESSED.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Err(ImageError::Compressed { path, method });
        }
        match &bmap {
            Some(map) if map.image_len != len => {
                Err(ImageError::OtherLength { path, expected: map.image_len, found: len })
            }
            _ => Ok(Image { path, file, len, bmap }),
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Never: [`Image::open`] refuses that.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Compares the image with the checksums of its block map. To be done before the medium is touched.
    pub fn check(&self, listener: &dyn Listener) -> Result<(), ImageError> {
        let Some(bmap) = &self.bmap else { return Ok(()) };
        begin(listener, Phase::CheckSource, bmap.mapped_len());
        bmap.ranges.par_iter().try_for_each(|range| {
            self.check_range(range)?;
            listener.event(Event::Advance { bytes: range.bytes.end - range.bytes.start });
            Ok(())
        })
    }

    fn check_range(&self, range: &MappedRange) -> Result<(), ImageError> {
        let Some(expected) = range.sha256 else { return Ok(()) };
        let found = sha256_of(&self.file, &range.bytes).map_err(Io::on("read", &self.path))?;
        if found == expected {
            return Ok(());
        }
        let (bytes, expected, found) = (range.bytes.clone(), hex(&expected), hex(&found));
        Err(ImageError::Damaged { path: self.path.clone(), bytes, expected, found })
    }

    /// Checks the image and copies it: the first and last MiB last, see [`Commit::run`]. What the image has as
    /// a hole or as zeros is zero on the target too, unless the block map says that it does not matter. `used`
    /// is [`Commit::used`].
    pub fn copy(&self, target: &dyn Target, used: bool, listener: &dyn Listener) -> Result<Record> {
        let have = target.geometry().len;
        if have < self.len {
            let (path, target) = (self.path.clone(), target.name().into());
            return Err(ImageError::TooLarge { path, target, need: self.len, have }.into());
        }
        self.reject_other_sectors(target)?;
        self.check(listener)?;
        let critical = self.critical()?;
        let parts = self.parts()?;
        let expected_len = Some(parts.iter().map(|part| part.len()).sum());
        let commit = Commit { target, used, critical: &critical, regions: &[], listener, expected_len };
        commit.run(|target| self.copy_parts(&parts, target))
    }

    /// Only a GPT says in which sectors it counts.
    fn reject_other_sectors(&self, target: &dyn Target) -> Result<()> {
        let image = ReadOnly::open(&self.path)?;
        let Some(Table { scheme: Scheme::Gpt { .. }, sector_size, .. }) = table::read(&image)? else {
            return Ok(());
        };
        let medium = target.geometry().sector_size;
        if sector_size == medium {
            return Ok(());
        }
        let (path, target) = (self.path.clone(), target.name().into());
        Err(ImageError::OtherSectors { path, target, image: sector_size, medium }.into())
    }

    /// The bytes that matter, in order.
    fn mapped(&self) -> Vec<Range<u64>> {
        match &self.bmap {
            Some(bmap) => bmap.ranges.iter().map(|range| range.bytes.clone()).collect(),
            None => vec![Range { start: 0, end: self.len }],
        }
    }

    /// The first and the last bytes; sector 0 apart.
    fn critical(&self) -> Result<Vec<Critical>, ImageError> {
        let (head, tail) = self.ends();
        let ranges = [
            ("sector 0", 0..SECTOR_0.min(head)),
            ("head", SECTOR_0.min(head)..head),
            ("tail", tail..self.len),
        ];
        let mut critical = Vec::new();
        for (name, range) in ranges {
            for mapped in self.mapped() {
                let bytes = mapped.start.max(range.start)..mapped.end.min(range.end);
                if !bytes.is_empty() {
                    critical.push(Critical {
                        name: name.into(),
                        offset: bytes.start,
                        bytes: self.read(&bytes)?,
                    });
                }
            }
        }
        Ok(critical)
    }

    /// End of the head and start of the tail.
    fn ends(&self) -> (u64, u64) {
        let head = ENDS.min(self.len);
        (head, (self.len.saturating_sub(ENDS) / SECTOR_0 * SECTOR_0).max(head))
    }

    /// What lies between head and tail, cut for copying; holes are not read.
    fn parts(&self) -> Result<Vec<Part>, ImageError> {
        let (head, tail) = self.ends();
        let mut parts = Vec::new();
        for mapped in self.mapped() {
            let range = mapped.start.max(head)..mapped.end.min(tail);
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

    /// Where the next data or hole begins; none if there is no more.
    fn seek(&self, from: SeekFrom) -> Result<Option<u64>, ImageError> {
        match rustix::fs::seek(&self.file, from) {
            Ok(position) => Ok(Some(position)),
            Err(rustix::io::Errno::NXIO) => Ok(None),
            Err(errno) => Err(Io::on("find the holes of", &self.path)(io::Error::from(errno)).into()),
        }
    }

    fn read(&self, bytes: &Range<u64>) -> Result<Vec<u8>, ImageError> {
        let mut buffer = vec![0; (bytes.end - bytes.start) as usize];
        self.file.read_exact_at(&mut buffer, bytes.start).map_err(Io::on("read", &self.path))?;
        Ok(buffer)
    }

    /// Several threads take parts in order, so that one reads while another writes.
    fn copy_parts(&self, parts: &[Part], target: &dyn Target) -> Result<()> {
        let next = AtomicUsize::new(0);
        let copy = || -> Result<()> {
            while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.copy_part(part, target) {
                    next.store(parts.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(())
        };
        let writers = rayon::current_num_threads().clamp(1, MOST_WRITERS);
        let mut results: Vec<Result<()>> = (0..writers).map(|_| Ok(())).collect();
        rayon::scope(|scope| {
            for result in &mut results {
                scope.spawn(|_| *result = copy());
            }
        });
        results.into_iter().collect()
    }

    fn copy_part(&self, part: &Part, target: &dyn Target) -> Result<()> {
        match part {
            Part::Zero(range) => target.zero(range.start, range.end - range.start)?,
            Part::Copy(range) => {
                let bytes = self.read(range)?;
                for (zeros, run) in runs(&bytes) {
                    let offset = range.start + run.start as u64;
                    match zeros {
                        true => target.zero(offset, run.len() as u64)?,
                        false => target.write_at(&bytes[run], offset)?,
                    }
                }
            }
        }
        Ok(())
    }
}

impl Part {
    fn len(&self) -> u64 {
        let (Part::Copy(range) | Part::Zero(range)) = self;
        range.end - range.start
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

/// Runs of blocks that are all zero or not.
fn runs(bytes: &[u8]) -> Vec<(bool, Range<usize>)> {
    let mut runs: Vec<(bool, Range<usize>)> = Vec::new();
    for (index, block) in bytes.chunks(SHORTEST_ZEROS).enumerate() {
        let start = index * SHORTEST_ZEROS;
        let zeros = is_zero(block);
        match runs.last_mut() {
            Some((same, run)) if *same == zeros => run.end = start + block.len(),
            _ => runs.push((zeros, start..start + block.len())),
        }
    }
    runs
}
