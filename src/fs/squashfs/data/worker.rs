//! What the threads do: read, hash, look for zeros, compress.

use std::sync::{Mutex, MutexGuard, PoisonError};

use blake3::hazmat::{ChainingValue, HasherExt};

use super::super::codec::Compressor;
use super::super::raw::SQUASHFS_COMPRESSED_BIT_BLOCK;
use super::super::{Options, SquashfsError};
use super::jobs::{Job, Span};
use crate::tree::Content;
use crate::value::Digest;

/// The result of a [`Job`].
pub(super) enum Done {
    Span(SpanDone),
    Batch(BatchDone),
    Fragment(Block),
}

/// A block as it goes to disk, with its size field.
pub(super) struct Block {
    pub bytes: Vec<u8>,
    pub size: u32,
}

/// The blocks of a span.
pub(super) struct SpanDone {
    /// Position in `Layout::files`.
    pub file: u32,
    /// All blocks, one behind the other.
    pub bytes: Vec<u8>,
    /// Their size fields.
    pub sizes: Vec<u32>,
    /// Bytes in holes.
    pub sparse: u64,
    pub hash: SpanHash,
    /// What goes to a fragment block.
    pub tail: Option<Vec<u8>>,
}

pub(super) enum SpanHash {
    /// The span is the file.
    Whole(blake3::Hash),
    /// One of several spans.
    Part { subtree: ChainingValue, last: bool },
}

/// Small files, not compressed yet.
pub(super) struct BatchDone {
    /// All contents, one behind the other.
    pub bytes: Vec<u8>,
    pub files: Vec<SmallFile>,
}

pub(super) struct SmallFile {
    /// Position in `Layout::files`.
    pub file: u32,
    pub len: u64,
    pub digest: Digest,
    /// All bytes are zero.
    pub zero: bool,
}

/// One [`Worker`] for each thread of the pool, made when the thread has its first job.
pub(super) struct Workers {
    options: Options,
    slots: Vec<Mutex<Option<Worker>>>,
}

struct Worker {
    compressor: Compressor,
    buffer: Vec<u8>,
}

impl Workers {
    pub(super) fn new(options: &Options, threads: usize) -> Workers {
        Workers { options: options.clone(), slots: (0..threads).map(|_| Mutex::new(None)).collect() }
    }

    /// Does a job on a thread of the pool.
    pub(super) fn run(&self, job: Job) -> Result<Done, SquashfsError> {
        let mut slot = self.slot();
        let worker = match &mut *slot {
            Some(worker) => worker,
            empty => empty.insert(Worker::new(&self.options)?),
        };
        match job {
            Job::Span(span) => worker.span(&span, &self.options).map(Done::Span),
            Job::Batch(files) => batch(&files).map(Done::Batch),
            Job::Fragment(bytes) => worker.fragment(bytes).map(Done::Fragment),
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Worker>> {
        let thread = rayon::current_thread_index().expect("jobs run on threads of the pool");
        self.slots[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn new(options: &Options) -> Result<Worker, SquashfsError> {
        let compressor = Compressor::new(options.codec, options.block_size)?;
        Ok(Worker { compressor, buffer: Vec::new() })
    }

    fn span(&mut self, span: &Span, options: &Options) -> Result<SpanDone, SquashfsError> {
        if self.buffer.len() < span.len {
            self.buffer.resize(span.len, 0);
        }
        let bytes = &mut self.buffer[..span.len];
        span.opened.read_at(bytes, span.offset)?;
        let mut done = SpanDone {
            file: span.file,
            bytes: Vec::new(),
            sizes: Vec::new(),
            sparse: 0,
            hash: hash(span, bytes),
            tail: None,
        };
        for block in bytes.chunks(options.block_size as usize) {
            let is_tail = block.len() < options.block_size as usize;
            if is_zero(block) {
                done.sizes.push(0);
                done.sparse += block.len() as u64;
            } else if is_tail && options.pack_tails {
                done.tail = Some(block.to_vec());
            } else {
                done.sizes.push(put_block(&mut self.compressor, block, &mut done.bytes)?);
            }
        }
        Ok(done)
    }

    fn fragment(&mut self, raw: Vec<u8>) -> Result<Block, SquashfsError> {
        let mut bytes = Vec::new();
        let size = put_block(&mut self.compressor, &raw, &mut bytes)?;
        Ok(Block { bytes, size })
    }
}

/// Appends a block as it goes to disk and returns its size field.
fn put_block(compressor: &mut Compressor, block: &[u8], out: &mut Vec<u8>) -> Result<u32, SquashfsError> {
    let (bytes, flag) = match compressor.compress(block)? {
        Some(packed) => (packed, 0),
        None => (block, SQUASHFS_COMPRESSED_BIT_BLOCK),
    };
    out.extend_from_slice(bytes);
    Ok(bytes.len() as u32 | flag)
}

fn hash(span: &Span, bytes: &[u8]) -> SpanHash {
    if span.is_whole() {
        return SpanHash::Whole(blake3::hash(bytes));
    }
    let mut hasher = blake3::Hasher::new();
    let subtree = hasher.set_input_offset(span.offset).update(bytes).finalize_non_root();
    SpanHash::Part { subtree, last: span.is_last() }
}

fn batch(files: &[(u32, &Content)]) -> Result<BatchDone, SquashfsError> {
    let len: u64 = files.iter().map(|(_, content)| content.len()).sum();
    let mut bytes = vec![0; len as usize];
    let mut rest = bytes.as_mut_slice();
    let mut small = Vec::with_capacity(files.len());
    for (file, content) in files {
        let (bytes, behind) = rest.split_at_mut(content.len() as usize);
        rest = behind;
        content.open()?.read_at(bytes, 0)?;
        let (digest, zero) = (Digest::of(bytes), is_zero(bytes));
        small.push(SmallFile { file: *file, len: content.len(), digest, zero });
    }
    Ok(BatchDone { bytes, files: small })
}

/// Stops at the first byte that is not zero; else compares with itself, one byte on, at the speed of `memcmp`.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| *first == 0)
        && bytes.get(1..).is_none_or(|rest| rest == &bytes[..rest.len()])
}
