//! Digests of many files: each data and fragment block is read and decompressed once, on all threads, with the
//! memory of a few blocks.
//!
//! The cache of `backhand` would keep every fragment block of the image. It is left aside: a fragment block is read
//! as if it was the only data block of a file, and the ends of files are taken out of it here.

use std::collections::HashMap;
use std::io::Read;

use backhand::v4::inode::ExtendedFile;
use backhand::{DataSize, FilesystemReader, SquashfsFileReader};
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use rayon::prelude::*;

use crate::fs::file_hasher::{PIECE, has_cheap_zeros, piece, zero_pieces};
use crate::value::Digest;

/// Bytes of a file that one thread reads, unless blocks are larger: a power of two.
const SPAN: usize = PIECE as usize;
/// Bytes that are hashed at a time.
const CHUNK: usize = 64 << 10;
/// `SQUASHFS_INVALID_FRAG`
const NO_FRAGMENT: usize = u32::MAX as usize;
const NO_XATTR: u32 = u32::MAX;

/// The digest of each file, or why it cannot be read.
pub(super) fn digests(
    image: &FilesystemReader,
    files: &[&SquashfsFileReader],
) -> Vec<Result<Digest, String>> {
    let originals = originals(files);
    let firsts = (0..files.len()).filter(|file| originals[*file] == *file);
    let (tails, large): (Vec<usize>, Vec<usize>) =
        firsts.filter(|file| files[*file].file_len() > 0).partition(|file| is_tail(files[*file]));
    let tails = by_fragment(files, tails);
    let mut jobs: Vec<Job> = tails.chunk_by(|a, b| a.0 == b.0).map(|tails| Job::Fragment { tails }).collect();
    large.iter().for_each(|file| jobs.extend(spans(image, *file, files[*file]).map(Job::Span)));
    // In the order of the image; the spans of a file keep theirs.
    jobs.sort_by_key(|job| job.position(image));
    let done: Vec<Vec<Part>> = jobs.par_iter().map(|job| job.run(image, files)).collect();
    let empty = || Ok(Digest::of(b""));
    let mut digests: Vec<Result<Digest, String>> = files.iter().map(|_| empty()).collect();
    join(done.into_iter().flatten(), &mut digests);
    for file in 0..files.len() {
        if originals[file] != file {
            digests[file] = digests[originals[file]].clone();
        }
    }
    digests
}

/// For each file the first one with the same blocks: other names of a hard link, and files of equal content.
fn originals(files: &[&SquashfsFileReader]) -> Vec<usize> {
    let mut first = HashMap::new();
    let original = |(index, file): (usize, &&SquashfsFileReader)| {
        let start = if file.block_sizes().is_empty() { 0 } else { file.blocks_start() };
        let place = (start, file.file_len(), file.frag_index(), file.block_offset());
        let original = *first.entry(place).or_insert(index);
        if files[original].block_sizes() == file.block_sizes() { original } else { index }
    };
    files.iter().enumerate().map(original).collect()
}

/// Returns whether all of the file is in a fragment block.
fn is_tail(file: &SquashfsFileReader) -> bool {
    file.block_sizes().is_empty()
}

/// Files with the fragment block they are in, neighbours together.
fn by_fragment(files: &[&SquashfsFileReader], tails: Vec<usize>) -> Vec<(usize, usize)> {
    let mut tails: Vec<_> = tails.into_iter().map(|file| (files[file].frag_index(), file)).collect();
    tails.sort_unstable();
    tails
}

/// Cuts the blocks of a file into spans.
fn spans<'a>(
    image: &FilesystemReader,
    file: usize,
    reader: &'a SquashfsFileReader,
) -> impl Iterator<Item = Span<'a>> + use<'a> {
    let block = image.block_size as usize;
    let len = SPAN.max(block);
    let count = reader.file_len().div_ceil(len);
    let mut position = reader.blocks_start();
    let mut rest = reader.block_sizes();
    (0..count).map(move |number| {
        let (sizes, behind) = rest.split_at(rest.len().min(len / block));
        rest = behind;
        let span = Span {
            file,
            offset: number * len,
            position,
            sizes,
            len: len.min(reader.file_len() - number * len),
            is_whole: count == 1,
        };
        position += sizes.iter().map(|size| u64::from(size.size())).sum::<u64>();
        span
    })
}

/// Work of one thread.
enum Job<'a> {
    /// Files in one fragment block: its index and the files.
    Fragment { tails: &'a [(usize, usize)] },
    /// A part of a file.
    Span(Span<'a>),
}

/// A part of a file: some blocks and perhaps its end in a fragment block.
struct Span<'a> {
    file: usize,
    /// First byte of the file.
    offset: usize,
    /// First byte of the image.
    position: u64,
    sizes: &'a [DataSize],
    len: usize,
    is_whole: bool,
}

/// State of a file after a job.
type Part = (usize, Result<Hashed, String>);

enum Hashed {
    Whole(blake3::Hash),
    /// The next part of the file.
    Part(ChainingValue),
}

impl Job<'_> {
    fn position(&self, image: &FilesystemReader) -> u64 {
        match self {
            Job::Span(span) => span.position,
            Job::Fragment { tails } => {
                let fragment = image.fragments.as_ref().and_then(|fragments| fragments.get(tails[0].0));
                fragment.map_or(0, |fragment| fragment.start)
            }
        }
    }

    fn run(&self, image: &FilesystemReader, files: &[&SquashfsFileReader]) -> Vec<Part> {
        match self {
            Job::Span(span) => vec![(span.file, span.hash(image, files[span.file]))],
            Job::Fragment { tails } => hash_tails(image, files, tails),
        }
    }
}

impl Span<'_> {
    fn hash(&self, image: &FilesystemReader, file: &SquashfsFileReader) -> Result<Hashed, String> {
        if has_cheap_zeros(file.file_len() as u64) {
            return self.hash_piece(image, file).map(Hashed::Part);
        }
        let mut hasher = blake3::Hasher::new();
        if !self.is_whole {
            hasher.set_input_offset(self.offset as u64);
        }
        let in_blocks = self.len.min(self.sizes.len() * image.block_size as usize);
        read_blocks(image, self.position, self.sizes, in_blocks, |bytes| {
            hasher.update(bytes);
        })?;
        if in_blocks < self.len {
            let tail = tail_range(file, self.len - in_blocks);
            hasher.update(&read_fragment(image, file.frag_index(), tail.end)?[tail]);
        }
        Ok(match self.is_whole {
            true => Hashed::Whole(hasher.finalize()),
            false => Hashed::Part(hasher.finalize_non_root()),
        })
    }
}

impl Span<'_> {
    /// The chaining value of a part of a very long file.
    fn hash_piece(
        &self,
        image: &FilesystemReader,
        file: &SquashfsFileReader,
    ) -> Result<ChainingValue, String> {
        let is_hole = self.sizes.iter().all(|size| size.size() == 0);
        let in_blocks = self.len.min(self.sizes.len() * image.block_size as usize);
        if is_hole && in_blocks as u64 == PIECE {
            return Ok(zero_pieces(0));
        }
        let mut bytes = Vec::with_capacity(self.len);
        read_blocks(image, self.position, self.sizes, in_blocks, |part| bytes.extend_from_slice(part))?;
        if in_blocks < self.len {
            let tail = tail_range(file, self.len - in_blocks);
            bytes.extend_from_slice(&read_fragment(image, file.frag_index(), tail.end)?[tail]);
        }
        Ok(piece(&bytes, self.offset as u64))
    }
}

/// Place of the last `len` bytes of a file in its fragment block.
fn tail_range(file: &SquashfsFileReader, len: usize) -> std::ops::Range<usize> {
    let start = file.block_offset() as usize;
    start..start + len
}

fn hash_tails(
    image: &FilesystemReader,
    files: &[&SquashfsFileReader],
    tails: &[(usize, usize)],
) -> Vec<Part> {
    let range = |file: usize| tail_range(files[file], files[file].file_len());
    let end = tails.iter().map(|(_, file)| range(*file).end).max().unwrap_or_default();
    match read_fragment(image, tails[0].0, end) {
        Ok(block) => {
            let hash = |file: usize| Hashed::Whole(blake3::hash(&block[range(file)]));
            tails.iter().map(|(_, file)| (*file, Ok(hash(*file)))).collect()
        }
        Err(reason) => tails.iter().map(|(_, file)| (*file, Err(reason.clone()))).collect(),
    }
}

/// The first `len` bytes of a fragment block.
fn read_fragment(image: &FilesystemReader, index: usize, len: usize) -> Result<Vec<u8>, String> {
    let fragments = image.fragments.as_deref().unwrap_or_default();
    if index == NO_FRAGMENT || len > image.block_size as usize {
        return Err("its blocks cannot be found".into());
    }
    let Some(fragment) = fragments.get(index) else {
        return Err(format!("it is in fragment block {index} of {}", fragments.len()));
    };
    let mut block = Vec::with_capacity(len);
    let found = read(image, fragment.start, &[fragment.size], len, |bytes| block.extend_from_slice(bytes))?;
    if found < len { Err(ends_early(fragment.start, found, len)) } else { Ok(block) }
}

/// Decompresses the blocks of `sizes` from `position` on, which are `len` bytes.
fn read_blocks(
    image: &FilesystemReader,
    position: u64,
    sizes: &[DataSize],
    len: usize,
    each: impl FnMut(&[u8]),
) -> Result<(), String> {
    // A byte more is asked for: the kernel refuses blocks that hold more than they should. A hole holds anything.
    let ends_in_hole = sizes.last().is_none_or(|size| size.size() == 0);
    match read(image, position, sizes, if ends_in_hole { len } else { len + 1 }, each)? {
        found if found == len => Ok(()),
        found if found < len => Err(ends_early(position, found, len)),
        _ => Err(format!("the blocks from byte {position} of the image hold more than {len} bytes")),
    }
}

fn ends_early(position: u64, found: usize, len: usize) -> String {
    format!("the blocks from byte {position} of the image end after {found} of {len} bytes")
}

/// Decompresses blocks until there are `len` bytes, or no more; returns how many there were.
fn read(
    image: &FilesystemReader,
    position: u64,
    sizes: &[DataSize],
    len: usize,
    mut each: impl FnMut(&[u8]),
) -> Result<usize, String> {
    let file = SquashfsFileReader::Extended(ExtendedFile {
        blocks_start: position,
        file_size: len as u64,
        sparse: 0,
        link_count: 1,
        frag_index: NO_FRAGMENT as u32,
        block_offset: 0,
        xattr_index: NO_XATTR,
        block_sizes: sizes.to_vec(),
    });
    let mut reader = image.file(&file).reader();
    let mut buffer = vec![0; CHUNK.min(len)];
    let mut at = 0;
    while at < len {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                each(&buffer[..count]);
                at += count;
            }
            Err(error) => return Err(format!("the blocks from byte {position} of the image: {error}")),
        }
    }
    Ok(at)
}

/// Puts parts of files, in order, together.
fn join(parts: impl Iterator<Item = Part>, digests: &mut [Result<Digest, String>]) {
    let mut open: HashMap<usize, Result<Vec<ChainingValue>, String>> = HashMap::new();
    for (file, hashed) in parts {
        match hashed {
            Ok(Hashed::Whole(hash)) => digests[file] = Ok(hash.into()),
            Ok(Hashed::Part(value)) => {
                if let Ok(values) = open.entry(file).or_insert_with(|| Ok(Vec::new())) {
                    values.push(value);
                }
            }
            Err(reason) => {
                digests[file] = Err(reason.clone());
                open.insert(file, Err(reason));
            }
        }
    }
    for (file, values) in open {
        digests[file] = values.map(|values| root(&values).into());
    }
}

/// The root over parts of equal length, a power of two; the last one may be shorter. There are at least two.
fn root(values: &[ChainingValue]) -> blake3::Hash {
    let (left, right) = halves(values);
    merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash)
}

fn subtree(values: &[ChainingValue]) -> ChainingValue {
    if let [one] = values {
        return *one;
    }
    let (left, right) = halves(values);
    merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
}

/// The left side of a hash tree is the largest complete one that leaves something for the right side.
fn halves(values: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    values.split_at(values.len().next_power_of_two() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hash_like_the_whole() {
        const PART: usize = 2048;
        let bytes: Vec<u8> = (0..PART * 17).map(|n| (n * 37 % 241) as u8).collect();
        for len in (PART + 1..=bytes.len()).step_by(PART / 2 + 1).chain([PART * 2, PART * 16]) {
            let hash = |(number, part): (usize, &[u8])| {
                let mut hasher = blake3::Hasher::new();
                hasher.set_input_offset((number * PART) as u64).update(part).finalize_non_root()
            };
            let values: Vec<_> = bytes[..len].chunks(PART).enumerate().map(hash).collect();
            assert_eq!(root(&values), blake3::hash(&bytes[..len]), "{len}");
        }
    }
}
