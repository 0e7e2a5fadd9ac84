//! Cuts the files of a layout into jobs of a size that is worth a thread's attention.

use std::sync::Arc;

use super::super::SquashfsError;
use super::super::layout::Layout;
use super::duplicates::Duplicates;
use crate::tree::{Content, Opened};

/// Contents read by one job, in bytes, unless blocks are larger.
pub(super) const SPAN: u64 = 128 << 10;
/// Files smaller than a block that are read by one job, at most.
const BATCH_FILES: usize = 64;

/// A piece of work for one thread.
pub(super) enum Job<'t> {
    /// Part of a file of at least one block.
    Span(Span<'t>),
    /// Files smaller than a block.
    Batch(Vec<(u32, &'t Content)>),
    /// A full fragment block.
    Fragment(Vec<u8>),
}

/// Part of a file of at least one block. All spans of a file but the last are equally long: a power of two and
/// whole blocks.
pub(super) struct Span<'t> {
    /// Position in `Layout::files`.
    pub file: u32,
    pub opened: Arc<Opened<'t>>,
    pub offset: u64,
    pub len: usize,
}

impl Span<'_> {
    /// Whether this is the whole file.
    pub(super) fn is_whole(&self) -> bool {
        self.len as u64 == self.opened.len()
    }

    /// Whether the file ends here.
    pub(super) fn is_last(&self) -> bool {
        self.offset + self.len as u64 == self.opened.len()
    }
}

/// The jobs of a layout in order.
pub(super) struct Jobs<'a, 't> {
    layout: &'a Layout<'t>,
    duplicates: &'a Duplicates,
    next_file: u32,
    /// The rest of a large file: where it goes on.
    open: Option<(u32, Arc<Opened<'t>>, u64)>,
    batch: Vec<(u32, &'t Content)>,
    batch_len: u64,
}

impl<'a, 't> Jobs<'a, 't> {
    pub(super) fn new(layout: &'a Layout<'t>, duplicates: &'a Duplicates) -> Self {
        Jobs { layout, duplicates, next_file: 0, open: None, batch: Vec::new(), batch_len: 0 }
    }

    /// The next job; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Job<'t>>, SquashfsError> {
        loop {
            if let Some(span) = self.next_span() {
                return Ok(Some(Job::Span(span)));
            }
            if self.batch_len >= 2 * SPAN || self.batch.len() >= BATCH_FILES {
                return Ok(Some(self.take_batch()));
            }
            let file = self.next_file;
            let Some((_, content)) = self.layout.files.get(file as usize) else {
                return Ok((!self.batch.is_empty()).then(|| self.take_batch()));
            };
            self.next_file += 1;
            if content.is_empty() || self.duplicates.contains(file) {
                continue;
            }
            if content.len() < u64::from(self.layout.options.block_size) {
                self.batch.push((file, content));
                self.batch_len += content.len();
            } else {
                self.open = Some((file, Arc::new(content.open()?), 0));
            }
        }
    }

    fn next_span(&mut self) -> Option<Span<'t>> {
        let (file, opened, offset) = self.open.take()?;
        let len = (opened.len() - offset).min(SPAN.max(self.layout.options.block_size.into()));
        let end = offset + len;
        if end < opened.len() {
            self.open = Some((file, opened.clone(), end));
        }
        Some(Span { file, opened, offset, len: len as usize })
    }

    fn take_batch(&mut self) -> Job<'t> {
        self.batch_len = 0;
        Job::Batch(std::mem::take(&mut self.batch))
    }
}
