//! File contents: from the tree to data and fragment blocks.
//!
//! One thread (the caller's) hands out jobs, takes the results in the order of the jobs and writes; the threads
//! of a pool read, hash and compress. Only a bounded number of jobs is under way, and a bounded number of
//! fragment blocks waits to be written, so memory does not grow with the tree. Which byte goes where depends on
//! the order of the jobs alone.

mod duplicates;
mod jobs;
mod subtree;
mod worker;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use rayon::{Scope, ThreadPool};

use super::layout::Layout;
use super::sink::Sink;
use super::{Options, SquashfsError};
use crate::value::Digest;
use duplicates::Duplicates;
use jobs::{Job, Jobs};
use subtree::Subtrees;
use worker::{BatchDone, Block, Done, SpanDone, SpanHash, Workers};

/// Where the bytes of a file went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileData {
    /// First data block.
    pub start: u64,
    /// Sizes of the data blocks as the inode has them.
    pub sizes: Vec<u32>,
    /// Index of the fragment block, and the first byte inside of it.
    pub fragment: Option<(u32, u32)>,
    /// Bytes in holes.
    pub sparse: u64,
}

/// All contents, written.
pub(super) struct StoredData {
    /// By position in [`Layout::files`].
    pub files: Vec<Arc<FileData>>,
    /// By position in [`Layout::files`].
    pub digests: Vec<Digest>,
    /// `squashfs_fragment_entry` start and size.
    pub fragments: Vec<(u64, u32)>,
    /// How many files share the bytes of an earlier one.
    pub duplicates: u32,
}

/// Writes the contents of all files.
pub(super) fn store(
    layout: &Layout,
    pool: &ThreadPool,
    sink: &mut Sink,
) -> Result<StoredData, SquashfsError> {
    let workers = Workers::new(&layout.options, pool.current_num_threads());
    let duplicates = duplicates::find(layout, pool)?;
    let window = 4 * pool.current_num_threads() + 4;
    let mut store = Store::new(layout, &duplicates, sink);
    pool.in_place_scope(|scope| {
        let mut jobs = Jobs::new(layout, &duplicates);
        let mut under_way = VecDeque::with_capacity(window);
        loop {
            while under_way.len() < window
                && let Some(job) = jobs.next()?
            {
                under_way.push_back(spawn(scope, &workers, job));
            }
            match under_way.pop_front() {
                Some(job) => store.take(wait(&job)?, &|raw| spawn(scope, &workers, Job::Fragment(raw)))?,
                None => return store.finish(&|raw| spawn(scope, &workers, Job::Fragment(raw))),
            }
        }
    })
}

type Pending = Receiver<Result<Done, SquashfsError>>;

fn spawn<'scope, 't: 'scope>(scope: &Scope<'scope>, workers: &'scope Workers, job: Job<'t>) -> Pending {
    let (sender, receiver) = sync_channel(1);
    // Nobody listens any more after another job failed.
    scope.spawn(move |_| drop(sender.send(workers.run(job))));
    receiver
}

fn wait(job: &Pending) -> Result<Done, SquashfsError> {
    job.recv().expect("a job that does not panic sends its result")
}

/// A fragment block that is being compressed.
type StartFragment<'a> = &'a dyn Fn(Vec<u8>) -> Pending;

/// Takes results in order and writes them.
struct Store<'a, 'b, 't> {
    layout: &'a Layout<'t>,
    duplicates: &'a Duplicates,
    sink: &'a mut Sink<'b>,
    files: Vec<Option<Arc<FileData>>>,
    digests: Vec<Option<Digest>>,
    /// Small files by content.
    small: HashMap<(Digest, u64), u32>,
    same: u32,
    /// The large file whose spans arrive.
    current: FileData,
    hash: Subtrees,
    /// The fragment block that is being filled.
    fragment: Vec<u8>,
    fragments: Vec<(u64, u32)>,
    /// Fragment blocks that are not written yet, oldest first.
    waiting: VecDeque<Pending>,
    waiting_max: usize,
}

impl<'a, 'b, 't> Store<'a, 'b, 't> {
    fn new(layout: &'a Layout<'t>, duplicates: &'a Duplicates, sink: &'a mut Sink<'b>) -> Self {
        let count = layout.files.len();
        Store {
            layout,
            duplicates,
            sink,
            files: vec![None; count],
            digests: vec![None; count],
            small: HashMap::new(),
            same: 0,
            current: FileData::default(),
            hash: Subtrees::default(),
            fragment: Vec::new(),
            fragments: Vec::new(),
            waiting: VecDeque::new(),
            waiting_max: waiting_max(&layout.options),
        }
    }

    fn take(&mut self, done: Done, start: StartFragment) -> Result<(), SquashfsError> {
        match done {
            Done::Span(span) => self.take_span(span, start),
            Done::Batch(batch) => self.take_batch(batch, start),
            Done::Fragment(_) => unreachable!("fragment blocks are taken from `waiting`"),
        }
    }

    fn take_span(&mut self, span: SpanDone, start: StartFragment) -> Result<(), SquashfsError> {
        if self.current.sizes.is_empty() {
            self.current.start = self.sink.position();
        }
        self.sink.put(&span.bytes)?;
        self.current.sizes.extend_from_slice(&span.sizes);
        self.current.sparse += span.sparse;
        let root = match span.hash {
            SpanHash::Whole(hash) => Some(hash),
            SpanHash::Part { subtree, last } => self.hash.push(subtree, last),
        };
        if let Some(hash) = root {
            if let Some(tail) = span.tail {
                self.current.fragment = Some(self.add_tail(&tail, start)?);
            }
            let data = std::mem::take(&mut self.current);
            self.finish_large(span.file, data, hash.into())?;
        }
        Ok(())
    }

    fn finish_large(&mut self, file: u32, data: FileData, digest: Digest) -> Result<(), SquashfsError> {
        if self.duplicates.digest(file).is_some_and(|before| before != digest) {
            let (node, _) = self.layout.files[file as usize];
            return Err(SquashfsError::Changed { path: self.layout.path_of(node) });
        }
        self.files[file as usize] = Some(Arc::new(data));
        self.digests[file as usize] = Some(digest);
        Ok(())
    }

    fn take_batch(&mut self, batch: BatchDone, start: StartFragment) -> Result<(), SquashfsError> {
        let mut rest = batch.bytes.as_slice();
        for small in &batch.files {
            let (bytes, behind) = rest.split_at(small.len as usize);
            rest = behind;
            let index = small.file as usize;
            self.digests[index] = Some(small.digest);
            let first = *self.small.entry((small.digest, small.len)).or_insert(small.file);
            if first != small.file {
                self.same += 1;
                self.files[index] = self.files[first as usize].clone();
                continue;
            }
            let data = if small.zero {
                FileData { start: self.sink.position(), sizes: vec![0], fragment: None, sparse: small.len }
            } else {
                FileData { fragment: Some(self.add_tail(bytes, start)?), ..FileData::default() }
            };
            self.files[index] = Some(Arc::new(data));
        }
        Ok(())
    }

    /// Packs bytes into the fragment block that is being filled; tells which and where.
    fn add_tail(&mut self, tail: &[u8], start: StartFragment) -> Result<(u32, u32), SquashfsError> {
        if self.fragment.len() + tail.len() > self.layout.options.block_size as usize {
            self.close_fragment(start)?;
        }
        let place = (self.fragments.len() + self.waiting.len()) as u32;
        let offset = self.fragment.len() as u32;
        self.fragment.extend_from_slice(tail);
        Ok((place, offset))
    }

    fn close_fragment(&mut self, start: StartFragment) -> Result<(), SquashfsError> {
        let capacity = self.layout.options.block_size as usize;
        let full = std::mem::replace(&mut self.fragment, Vec::with_capacity(capacity));
        self.waiting.push_back(start(full));
        // How many wait is a matter of the options only: so is where they go between the data blocks.
        if self.waiting.len() > self.waiting_max { self.write_fragment() } else { Ok(()) }
    }

    fn write_fragment(&mut self) -> Result<(), SquashfsError> {
        let Some(oldest) = self.waiting.pop_front() else {
            return Ok(());
        };
        let Done::Fragment(Block { bytes, size }) = wait(&oldest)? else {
            unreachable!("`waiting` has fragment blocks only");
        };
        self.fragments.push((self.sink.position(), size));
        self.sink.put(&bytes)?;
        Ok(())
    }

    fn finish(mut self, start: StartFragment) -> Result<StoredData, SquashfsError> {
        if !self.fragment.is_empty() {
            self.close_fragment(start)?;
        }
        while !self.waiting.is_empty() {
            self.write_fragment()?;
        }
        for (file, original) in self.duplicates.pairs() {
            self.same += 1;
            self.files[file as usize] = self.files[original as usize].clone();
            self.digests[file as usize] = self.digests[original as usize];
        }
        let empty = Arc::new(FileData::default());
        Ok(StoredData {
            files: self.files.into_iter().map(|data| data.unwrap_or_else(|| empty.clone())).collect(),
            digests: self
                .digests
                .into_iter()
                .map(|digest| digest.unwrap_or_else(|| Digest::of(b"")))
                .collect(),
            fragments: self.fragments,
            duplicates: self.same,
        })
    }
}

/// Enough fragment blocks to keep many threads busy, in a memory of about 16 MiB.
fn waiting_max(options: &Options) -> usize {
    ((16 << 20) / options.block_size as usize).clamp(16, 128)
}
