//! Cuts the files of a layout into jobs of a size that is worth a thread's attention.

use std::ops::Range;
use std::sync::Arc;

use super::super::SquashfsError;
use super::super::layout::Layout;
use super::Plan;
use super::fragment_packer::Bin;
use super::stat_cache::Known;
use crate::fs::file_hasher::{PIECE, has_cheap_zeros};
use crate::tree::{Content, Opened};

/// Contents read by one job, in bytes, unless blocks are larger.
pub(super) const SPAN: u64 = 128 << 10;
/// Binary logarithm of the pieces in one span of a hole, at most: 1 GiB.
const LONGEST_HOLE: u32 = 10;
/// Files smaller than a block that are read by one job, at most.
const BATCH_FILES: usize = 64;

/// A piece of work for one thread.
pub(super) enum Job<'t> {
    /// Part of a file of at least one block.
    Span(Span<'t>),
    /// Files smaller than a block.
    Batch(Vec<Small<'t>>),
    /// A fragment block.
    Fragment(Bin<'t>),
}

/// A file smaller than a block.
pub(super) struct Small<'t> {
    /// Position in `Layout::files`.
    pub file: u32,
    pub content: &'t Content,
    /// Set if a run of packing ends behind it.
    pub ends_run: bool,
    /// Facts that an earlier build read.
    pub known: Option<&'t Known>,
}

/// Part of a file of at least one block. All spans of a file but the last are equally long: a power of two and
/// whole blocks. In a file with cheap zeros, a long hole is one span of many such.
pub(super) struct Span<'t> {
    /// Position in `Layout::files`.
    pub file: u32,
    pub content: &'t Content,
    pub opened: Arc<Opened<'t>>,
    pub offset: u64,
    pub len: usize,
    /// Facts that an earlier build read.
    pub known: Option<&'t Known>,
    /// The file stores nothing there.
    pub is_hole: bool,
}

impl Span<'_> {
    /// Returns whether this is the whole file.
    pub(super) fn is_whole(&self) -> bool {
        self.len as u64 == self.opened.len()
    }

    /// Binary logarithm of the pieces of cheap zeros that the span has if it is a hole; nothing if it is none of those.
    pub(super) fn zero_level(&self) -> Option<u32> {
        let pieces = self.len as u64 / PIECE;
        let whole = has_cheap_zeros(self.opened.len()) && self.len as u64 == pieces * PIECE;
        (whole && pieces > 0).then(|| pieces.ilog2())
    }

    /// Returns whether the file ends here.
    pub(super) fn is_last(&self) -> bool {
        self.offset + self.len as u64 == self.opened.len()
    }
}

/// The rest of a large file.
struct Rest<'t> {
    file: u32,
    content: &'t Content,
    known: Option<&'t Known>,
    opened: Arc<Opened<'t>>,
    /// Offset at which it goes on.
    offset: u64,
    /// The next range the file stores, if it ends behind `offset`; nothing if there is none.
    data: Option<Range<u64>>,
}

/// The jobs of a layout in order: small files as they are packed, then large files as they are in the layout.
pub(super) struct Jobs<'a> {
    layout: &'a Layout<'a>,
    plan: &'a Plan,
    small: std::slice::Iter<'a, (u32, bool)>,
    next_file: u32,
    open: Option<Rest<'a>>,
}

impl<'a> Jobs<'a> {
    pub(super) fn new(layout: &'a Layout<'a>, plan: &'a Plan) -> Self {
        Jobs { layout, plan, small: plan.order.small.iter(), next_file: 0, open: None }
    }

    /// The next job; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Job<'a>>, SquashfsError> {
        let batch = self.next_batch();
        if !batch.is_empty() {
            return Ok(Some(Job::Batch(batch)));
        }
        loop {
            if let Some(span) = self.next_span()? {
                return Ok(Some(Job::Span(span)));
            }
            let file = self.next_file;
            let Some((_, content)) = self.layout.files.get(file as usize) else {
                return Ok(None);
            };
            self.next_file += 1;
            let is_large = content.len() >= u64::from(self.layout.options.block_size);
            if is_large && !self.plan.duplicates.contains(file) {
                let opened = Arc::new(content.open()?);
                let data = opened.next_data(0)?;
                let known = self.plan.stat_cache.file(content);
                self.open = Some(Rest { file, content, known, opened, offset: 0, data });
            }
        }
    }

    fn next_batch(&mut self) -> Vec<Small<'a>> {
        let (mut batch, mut len) = (Vec::new(), 0);
        while len < 2 * SPAN
            && batch.len() < BATCH_FILES
            && let Some(&(file, ends_run)) = self.small.next()
        {
            let content = self.layout.files[file as usize].1;
            len += content.len();
            batch.push(Small { file, content, ends_run, known: self.plan.stat_cache.file(content) });
        }
        batch
    }

    fn next_span(&mut self) -> Result<Option<Span<'a>>, SquashfsError> {
        let Some(Rest { file, content, known, opened, offset, data }) = self.open.take() else {
            return Ok(None);
        };
        let usual = match has_cheap_zeros(opened.len()) {
            true => PIECE,
            false => SPAN.max(self.layout.options.block_size.into()),
        };
        let hole_end = data.as_ref().map_or(opened.len(), |data| data.start);
        let len = match hole_len(offset, hole_end) {
            Some(len) if has_cheap_zeros(opened.len()) => len,
            _ => usual.min(opened.len() - offset),
        };
        let end = offset + len;
        let is_hole = hole_end >= end;
        if end < opened.len() {
            let data = match data {
                Some(data) if data.end <= end => opened.next_data(end)?,
                data => data,
            };
            let opened = opened.clone();
            self.open = Some(Rest { file, content, known, opened, offset: end, data });
        }
        Ok(Some(Span { file, content, opened, offset, len: len as usize, known, is_hole }))
    }
}

/// Length of the longest span of a hole that is one subtree of whole pieces: from `start`, at most to `end`, and not so
/// long that its block sizes would fill the memory.
fn hole_len(start: u64, end: u64) -> Option<u64> {
    let pieces = end.checked_sub(start).filter(|len| *len >= PIECE)? / PIECE;
    let level = (start / PIECE).trailing_zeros().min(pieces.ilog2()).min(LONGEST_HOLE);
    Some(PIECE << level)
}
