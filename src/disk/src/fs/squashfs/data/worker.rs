//! Work of the threads: read, hash, look for zeros, compress.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blake3::hazmat::{ChainingValue, HasherExt};

use super::super::{Options, SquashfsError};
use super::block_packer::{BlockPacker, Work};
use super::fragment_packer::{Bin, Bytes};
use super::jobs::{Job, Small, Span};
use super::stat_cache::{Known, StatCache, ZEROS};
use crate::fs::file_hasher::{has_cheap_zeros, piece, zero_pieces};
use crate::tree::{Content, Source};
use crate::value::{Digest, is_zero};

/// The result of a [`Job`].
pub(super) enum Done<'t> {
    Span(SpanDone<'t>),
    Batch(BatchDone<'t>),
    Fragment(FragmentDone),
}

/// The blocks of a span.
pub(super) struct SpanDone<'t> {
    /// Position in `Layout::files`.
    pub file: u32,
    /// All blocks, one behind the other.
    pub bytes: Vec<u8>,
    /// Their size fields.
    pub sizes: Vec<u32>,
    /// Digests of the blocks before compression, for the stat cache.
    pub raws: Vec<Digest>,
    /// Bytes in holes.
    pub sparse: u64,
    pub hash: SpanHash,
    /// Piece that goes to a fragment block.
    pub tail: Option<Tail<'t>>,
}

/// The end of a large file.
pub(super) struct Tail<'t> {
    pub digest: Digest,
    pub len: usize,
    pub bytes: Bytes<'t>,
}

pub(super) enum SpanHash {
    /// The span is the file.
    Whole(Digest),
    /// One of several spans, as long as `1 << level` usual ones.
    Part { subtree: ChainingValue, level: u32, last: bool },
    /// One of several spans of a file that is known.
    Known { digest: Digest, last: bool },
}

/// Small files, not compressed yet.
pub(super) struct BatchDone<'t> {
    pub files: Vec<SmallFile<'t>>,
}

pub(super) struct SmallFile<'t> {
    /// Position in `Layout::files`.
    pub file: u32,
    pub len: u64,
    pub digest: Digest,
    /// All bytes are zero.
    pub zero: bool,
    pub bytes: Bytes<'t>,
    /// Set if a run of packing ends behind it.
    pub ends_run: bool,
}

/// A fragment block as it goes to disk.
pub(super) struct FragmentDone {
    pub bytes: Vec<u8>,
    /// Its size field.
    pub size: u32,
    /// Digests of what is in it and of the block before compression, for the stat cache.
    pub note: Option<(Digest, Digest)>,
}

/// One [`Worker`] for each thread of the pool, made when the thread has its first job.
pub(super) struct Workers<'m> {
    options: Options,
    work: Work,
    /// Knowledge, if that is to be used.
    stat_cache: Option<&'m StatCache>,
    slots: Vec<Mutex<Option<Worker<'m>>>>,
}

struct Worker<'m> {
    packer: BlockPacker,
    stat_cache: Option<&'m StatCache>,
    block_size: usize,
    pack_tails: bool,
    buffer: Vec<u8>,
}

impl<'m> Workers<'m> {
    pub(super) fn new(
        options: &Options,
        work: Work,
        stat_cache: Option<&'m StatCache>,
        threads: usize,
    ) -> Workers<'m> {
        let slots = (0..threads).map(|_| Mutex::new(None)).collect();
        Workers { options: options.clone(), work, stat_cache, slots }
    }

    /// Returns whether stamps of files are trusted.
    pub(super) fn trust(&self) -> bool {
        self.stat_cache.is_some()
    }

    /// Does a job on a thread of the pool.
    pub(super) fn run<'t>(&self, job: Job<'t>) -> Result<Done<'t>, SquashfsError> {
        let mut slot = self.slot();
        let worker = match &mut *slot {
            Some(worker) => worker,
            empty => empty.insert(self.worker()?),
        };
        match job {
            Job::Span(span) => worker.span(&span).map(Done::Span),
            Job::Batch(files) => batch(files).map(Done::Batch),
            Job::Fragment(bin) => worker.fragment(&bin).map(Done::Fragment),
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Worker<'m>>> {
        let thread = rayon::current_thread_index().expect("jobs run on threads of the pool");
        self.slots[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worker(&self) -> Result<Worker<'m>, SquashfsError> {
        Ok(Worker {
            packer: BlockPacker::new(&self.options, self.work.clone())?,
            stat_cache: self.stat_cache,
            block_size: self.options.block_size as usize,
            pack_tails: self.options.pack_tails,
            buffer: Vec::new(),
        })
    }
}

impl Worker<'_> {
    fn span<'t>(&mut self, span: &Span<'t>) -> Result<SpanDone<'t>, SquashfsError> {
        if let Some(done) = span.known.and_then(|known| self.known_span(span, known)) {
            return Ok(done);
        }
        if let (true, Some(level)) = (span.is_hole && span.known.is_none(), span.zero_level()) {
            return Ok(self.hole(span, level));
        }
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.resize(bytes.len().max(span.len), 0);
        match span.is_hole {
            true => bytes[..span.len].fill(0),
            false => span.opened.read_at(&mut bytes[..span.len], span.offset)?,
        }
        let done = self.read_span(span, &bytes[..span.len]);
        self.buffer = bytes;
        done
    }

    fn read_span<'t>(&mut self, span: &Span<'t>, bytes: &[u8]) -> Result<SpanDone<'t>, SquashfsError> {
        let mut done = SpanDone::new(span, hash(span, bytes));
        // A block that is the whole file has its digest.
        let whole = match (&done.hash, span.len <= self.block_size) {
            (SpanHash::Whole(digest), true) => Some(*digest),
            _ => None,
        };
        for block in bytes.chunks(self.block_size) {
            if is_zero(block) {
                done.put_hole(block.len());
            } else if self.is_tail(block.len()) {
                let bytes = Bytes::Read(Arc::new(block.to_vec()), 0);
                done.put_tail(Tail { digest: Digest::of(block), len: block.len(), bytes });
            } else {
                let (size, raw) = self.packer.write(block, whole, &mut done.bytes)?;
                done.sizes.push(size);
                done.raws.extend(raw);
            }
        }
        match span.known {
            Some(known) if known.blocks_of(span, self.block_size) != Some(&done.raws) => {
                Err(changed(span.content))
            }
            _ => Ok(done),
        }
    }

    /// The blocks of whole pieces that the file does not store; nothing is read or hashed for them.
    fn hole<'t>(&self, span: &Span<'t>, level: u32) -> SpanDone<'t> {
        let hash = SpanHash::Part { subtree: zero_pieces(level), level, last: span.is_last() };
        let mut done = SpanDone::new(span, hash);
        let blocks = span.len / self.block_size;
        done.sizes = vec![0; blocks];
        done.sparse = span.len as u64;
        if self.stat_cache.is_some() {
            done.raws = vec![ZEROS; blocks];
        }
        done
    }

    /// The blocks of a span whose digests are known, if the cache has all of them.
    fn known_span<'t>(&self, span: &Span<'t>, known: &Known) -> Option<SpanDone<'t>> {
        let hash = match span.is_whole() {
            true => SpanHash::Whole(known.digest),
            false => SpanHash::Known { digest: known.digest, last: span.is_last() },
        };
        let mut done = SpanDone::new(span, hash);
        for (index, raw) in known.blocks_of(span, self.block_size)?.iter().enumerate() {
            let at = index * self.block_size;
            let len = self.block_size.min(span.len - at);
            if *raw == ZEROS {
                done.put_hole(len);
            } else if self.is_tail(len) {
                let bytes = Bytes::Unread(span.content, span.offset + at as u64);
                done.put_tail(Tail { digest: *raw, len, bytes });
            } else {
                done.sizes.push(self.packer.write_known(*raw, len, &mut done.bytes)?);
                done.raws.push(*raw);
            }
        }
        Some(done)
    }

    fn is_tail(&self, len: usize) -> bool {
        self.pack_tails && len < self.block_size
    }

    fn fragment(&mut self, bin: &Bin) -> Result<FragmentDone, SquashfsError> {
        let mut bytes = Vec::new();
        let members = self.stat_cache.map(|stat_cache| (stat_cache, members(bin)));
        if let Some((stat_cache, members)) = members
            && let Some(raw) = stat_cache.fragment(&members)
            && let Some(size) = self.packer.write_known(raw, bin.len, &mut bytes)
        {
            return Ok(FragmentDone { bytes, size, note: Some((members, raw)) });
        }
        let block = assemble(bin)?;
        let (size, raw) = self.packer.write(&block, None, &mut bytes)?;
        Ok(FragmentDone { bytes, size, note: members.map(|(_, members)| members).zip(raw) })
    }
}

impl<'t> SpanDone<'t> {
    fn new(span: &Span<'t>, hash: SpanHash) -> SpanDone<'t> {
        let (bytes, sizes, raws) = (Vec::new(), Vec::new(), Vec::new());
        SpanDone { file: span.file, bytes, sizes, raws, sparse: 0, hash, tail: None }
    }

    fn put_hole(&mut self, len: usize) {
        self.sizes.push(0);
        self.raws.push(ZEROS);
        self.sparse += len as u64;
    }

    fn put_tail(&mut self, tail: Tail<'t>) {
        self.raws.push(tail.digest);
        self.tail = Some(tail);
    }
}

impl Known {
    /// The digests of the blocks of a span.
    fn blocks_of(&self, span: &Span, block_size: usize) -> Option<&[Digest]> {
        let first = usize::try_from(span.offset).ok()? / block_size;
        self.blocks.get(first..first + span.len.div_ceil(block_size))
    }
}

/// Names what is in a fragment block, in order.
fn members(bin: &Bin) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for piece in &bin.pieces {
        hasher.update(&piece.digest.0).update(&(piece.len as u64).to_le_bytes());
    }
    hasher.finalize().into()
}

/// The bytes of a fragment block.
fn assemble(bin: &Bin) -> Result<Vec<u8>, SquashfsError> {
    let mut block = Vec::with_capacity(bin.len);
    for piece in &bin.pieces {
        match &piece.bytes {
            Bytes::Read(bytes, at) => block.extend_from_slice(&bytes[*at..*at + piece.len]),
            Bytes::Unread(content, at) => {
                let start = block.len();
                block.resize(start + piece.len, 0);
                content.open()?.read_at(&mut block[start..], *at)?;
                if Digest::of(&block[start..]) != piece.digest {
                    return Err(changed(content));
                }
            }
        }
    }
    Ok(block)
}

/// A file that has the stamp of an earlier build and not its bytes.
fn changed(content: &Content) -> SquashfsError {
    let path = match content.source() {
        Source::File { path, .. } => path.display().to_string(),
        Source::Bytes(_) | Source::Temporary(_) => "memory".into(),
    };
    SquashfsError::Untrue { path }
}

fn hash(span: &Span, bytes: &[u8]) -> SpanHash {
    if span.is_whole() {
        return SpanHash::Whole(Digest::of(bytes));
    }
    if let Some(known) = span.known {
        return SpanHash::Known { digest: known.digest, last: span.is_last() };
    }
    let subtree = match has_cheap_zeros(span.opened.len()) {
        true => piece(bytes, span.offset),
        false => {
            let mut hasher = blake3::Hasher::new();
            hasher.set_input_offset(span.offset).update(bytes).finalize_non_root()
        }
    };
    SpanHash::Part { subtree, level: 0, last: span.is_last() }
}

fn batch<'t>(files: Vec<Small<'t>>) -> Result<BatchDone<'t>, SquashfsError> {
    let unread = || files.iter().filter(|small| small.known.is_none());
    let len: u64 = unread().map(|small| small.content.len()).sum();
    let mut bytes = vec![0; len as usize];
    let mut rest = bytes.as_mut_slice();
    let mut read = Vec::with_capacity(files.len());
    for small in unread() {
        let (bytes, behind) = rest.split_at_mut(small.content.len() as usize);
        rest = behind;
        small.content.open()?.read_at(bytes, 0)?;
        read.push((Digest::of(bytes), is_zero(bytes)));
    }
    let (bytes, mut read, mut at) = (Arc::new(bytes), read.into_iter(), 0);
    let done = files.iter().map(|Small { file, content, ends_run, known }| {
        let len = content.len();
        let (digest, zero, bytes) = match known {
            Some(known) => (known.digest, known.zero, Bytes::Unread(content, 0)),
            None => {
                let (digest, zero) = read.next().expect("every unknown file was read");
                at += len as usize;
                (digest, zero, Bytes::Read(bytes.clone(), at - len as usize))
            }
        };
        SmallFile { file: *file, len, digest, zero, bytes, ends_run: *ends_run }
    });
    Ok(BatchDone { files: done.collect() })
}
