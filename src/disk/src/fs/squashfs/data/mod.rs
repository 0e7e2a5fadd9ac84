//! File contents: from the tree to data and fragment blocks.
//!
//! One thread (the caller's) hands out jobs, takes the results in the order of the jobs and writes; the threads
//! of a pool read, hash and compress. Only a bounded number of jobs is under way, and a bounded number of
//! fragment blocks waits to be written, so memory does not grow with the tree. Which byte goes where depends on
//! the order of the jobs alone.

mod block_packer;
mod duplicates;
mod fragment_packer;
mod jobs;
mod order;
mod stat_cache;
mod worker;

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{Scope, ThreadPool};

use super::layout::Layout;
use super::sink::Sink;
use super::{Codec, Options, Resources, SquashfsError};
use crate::fs::file_hasher::Subtrees;
use crate::storage::{Memory, Region};
use crate::value::Digest;
use block_packer::Work;
use duplicates::Duplicates;
use fragment_packer::{Bin, FragmentPacker, Piece};
use jobs::{Job, Jobs};
use order::{Order, Runs};
use stat_cache::{Known, StatCache};
use worker::{BatchDone, Done, FragmentDone, SmallFile, SpanDone, SpanHash, Tail, Workers};

/// Place of the bytes of a file in the image.
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
    pub files: Vec<FileData>,
    /// By position in [`Layout::files`].
    pub digests: Vec<Digest>,
    /// `squashfs_fragment_entry` start and size.
    pub fragments: Vec<(u64, u32)>,
    /// Number of files that share the bytes of an earlier one.
    pub duplicates: u32,
}

/// Writes the contents of all files.
pub(super) fn store(
    layout: &Layout,
    pool: &ThreadPool,
    sink: &mut Sink,
    resources: &Resources,
) -> Result<StoredData, SquashfsError> {
    // What is not compressed is not worth keeping.
    let cache = resources.cache.as_ref().filter(|_| layout.options.codec != Codec::Stored);
    let trusted = cache.filter(|_| resources.trust_stat);
    let stat_cache = trusted.map(|cache| StatCache::load(&**cache, layout)).unwrap_or_default();
    let duplicates = duplicates::find(layout, &stat_cache, pool)?;
    let plan = Plan { duplicates, order: Order::new(layout), stat_cache };
    let threads = pool.current_num_threads();
    let known = trusted.map(|_| &plan.stat_cache);
    if let Some(cache) = cache.filter(|cache| cache.wants_prefetch()) {
        let keys = Arc::new(Mutex::new(Vec::new()));
        let collect = Workers::new(&layout.options, Work::Collect(keys.clone()), known, threads);
        let (nowhere, name) = (Memory::new(0), "nowhere");
        let region = Region::whole(&nowhere, name);
        run(layout, &plan, pool, &collect, &mut Sink::new(&mut region.writer(0), 0))?;
        cache.prefetch(&keys.lock().unwrap_or_else(PoisonError::into_inner));
    }
    let workers = Workers::new(&layout.options, Work::Compress(cache.cloned()), known, threads);
    let (data, noted) = run(layout, &plan, pool, &workers, sink)?;
    if let Some(cache) = trusted {
        noted.save(&**cache, layout);
    }
    Ok(data)
}

/// Knowledge before contents are read in order.
struct Plan {
    duplicates: Duplicates,
    order: Order,
    /// Empty if stamps are not trusted.
    stat_cache: StatCache,
}

/// Also returns what the next build may know.
fn run<'a>(
    layout: &'a Layout<'a>,
    plan: &'a Plan,
    pool: &ThreadPool,
    workers: &Workers<'a>,
    sink: &mut Sink,
) -> Result<(StoredData, StatCache), SquashfsError> {
    let window = 8 * pool.current_num_threads() + 8;
    let mut store = Store::new(layout, plan, sink);
    store.trusting = workers.trust();
    pool.in_place_scope(|scope| {
        let mut jobs = Jobs::new(layout, plan);
        let mut under_way = VecDeque::with_capacity(window);
        let fragment = |bin| spawn(scope, workers, Job::Fragment(bin));
        loop {
            while under_way.len() < window
                && let Some(job) = jobs.next()?
            {
                under_way.push_back(spawn(scope, workers, job));
            }
            match under_way.pop_front() {
                Some(job) => store.take(wait(&job)?, &fragment)?,
                None => return store.finish(&fragment),
            }
        }
    })
}

type Pending<'a> = Receiver<Result<Done<'a>, SquashfsError>>;

fn spawn<'scope, 'a: 'scope>(
    scope: &Scope<'scope>,
    workers: &'scope Workers<'a>,
    job: Job<'a>,
) -> Pending<'a> {
    let (sender, receiver) = sync_channel(1);
    // Nobody listens any more after another job failed.
    scope.spawn(move |_| drop(sender.send(workers.run(job))));
    receiver
}

fn wait<'a>(job: &Pending<'a>) -> Result<Done<'a>, SquashfsError> {
    job.recv().expect("a job that does not panic sends its result")
}

/// A fragment block that is being compressed.
type StartFragment<'a, 'f> = &'f dyn Fn(Bin<'a>) -> Pending<'a>;

/// Takes results in order and writes them.
struct Store<'a, 's, 'b, 'w> {
    layout: &'a Layout<'a>,
    plan: &'a Plan,
    sink: &'s mut Sink<'b, 'w>,
    /// For the next build; stays empty if stamps are not trusted.
    noted: StatCache,
    trusting: bool,
    files: Vec<FileData>,
    digests: Vec<Option<Digest>>,
    /// Small files by content.
    small: HashMap<(Digest, u64), u32>,
    /// Later file and the first with its content.
    same: Vec<(u32, u32)>,
    /// The large file whose spans arrive.
    current: FileData,
    /// Digests of its blocks.
    raws: Vec<Digest>,
    hash: Subtrees,
    /// The ends of large files are packed in runs of their own.
    tail_runs: Runs,
    packer: FragmentPacker<'a>,
    fragments: Vec<(u64, u32)>,
    /// Fragment blocks that are not written yet, oldest first.
    waiting: VecDeque<Pending<'a>>,
    waiting_max: usize,
}

impl<'a, 's, 'b, 'w> Store<'a, 's, 'b, 'w> {
    fn new(layout: &'a Layout<'a>, plan: &'a Plan, sink: &'s mut Sink<'b, 'w>) -> Self {
        let count = layout.files.len();
        Store {
            layout,
            plan,
            sink,
            noted: StatCache::default(),
            trusting: false,
            files: vec![FileData::default(); count],
            digests: vec![None; count],
            small: HashMap::new(),
            same: Vec::new(),
            current: FileData::default(),
            raws: Vec::new(),
            hash: Subtrees::default(),
            tail_runs: Runs::default(),
            packer: FragmentPacker::new(layout.options.block_size as usize),
            fragments: Vec::new(),
            waiting: VecDeque::new(),
            waiting_max: waiting_max(&layout.options),
        }
    }

    fn take(&mut self, done: Done<'a>, start: StartFragment<'a, '_>) -> Result<(), SquashfsError> {
        match done {
            Done::Span(span) => self.take_span(span, start),
            Done::Batch(batch) => self.take_batch(batch, start),
            Done::Fragment(_) => unreachable!("fragment blocks are taken from `waiting`"),
        }
    }

    fn take_span(&mut self, span: SpanDone<'a>, start: StartFragment<'a, '_>) -> Result<(), SquashfsError> {
        if self.current.sizes.is_empty() {
            self.current.start = self.sink.position();
        }
        self.sink.put(&span.bytes)?;
        self.current.sizes.extend_from_slice(&span.sizes);
        self.current.sparse += span.sparse;
        if self.trusting {
            self.raws.extend_from_slice(&span.raws);
        }
        let root = match span.hash {
            SpanHash::Whole(digest) => Some(digest),
            SpanHash::Part { subtree, level, last } => {
                self.hash.push(subtree, level);
                last.then(|| self.hash.root().into())
            }
            SpanHash::Known { digest, last } => last.then_some(digest),
        };
        if let Some(digest) = root {
            self.finish_large(span.file, digest)?;
            if let Some(tail) = span.tail {
                let ends_run = self.tail_runs.add(&self.plan.order, span.file, tail.len as u64);
                let Tail { digest, len, bytes } = tail;
                self.pack(Piece { file: span.file, digest, len, bytes }, ends_run, start)?;
            }
        }
        Ok(())
    }

    fn finish_large(&mut self, file: u32, digest: Digest) -> Result<(), SquashfsError> {
        if self.plan.duplicates.digest(file).is_some_and(|before| before != digest) {
            let (node, _) = self.layout.files[file as usize];
            return Err(SquashfsError::Changed { path: self.layout.path_of(node) });
        }
        self.files[file as usize] = std::mem::take(&mut self.current);
        self.digests[file as usize] = Some(digest);
        let blocks = std::mem::take(&mut self.raws);
        self.note(file, Known { digest, zero: false, blocks });
        Ok(())
    }

    fn take_batch(
        &mut self,
        batch: BatchDone<'a>,
        start: StartFragment<'a, '_>,
    ) -> Result<(), SquashfsError> {
        batch.files.into_iter().try_for_each(|small| self.take_small(small, start))
    }

    fn take_small(
        &mut self,
        small: SmallFile<'a>,
        start: StartFragment<'a, '_>,
    ) -> Result<(), SquashfsError> {
        let SmallFile { file, len, digest, zero, bytes, ends_run } = small;
        self.digests[file as usize] = Some(digest);
        self.note(file, Known { digest, zero, blocks: Vec::new() });
        let first = *self.small.entry((digest, len)).or_insert(file);
        if first != file {
            self.same.push((file, first));
        } else if zero {
            let start = self.sink.position();
            self.files[file as usize] = FileData { start, sizes: vec![0], fragment: None, sparse: len };
        } else {
            return self.pack(Piece { file, digest, len: len as usize, bytes }, ends_run, start);
        }
        if ends_run { self.end_run(start) } else { Ok(()) }
    }

    fn note(&mut self, file: u32, known: Known) {
        if self.trusting {
            self.noted.add_file(self.layout.files[file as usize].1, known);
        }
    }

    /// Puts a file, or its end, into a fragment block.
    fn pack(
        &mut self,
        piece: Piece<'a>,
        ends_run: bool,
        start: StartFragment<'a, '_>,
    ) -> Result<(), SquashfsError> {
        if let Some(full) = self.packer.add(piece) {
            self.close(full, start)?;
        }
        if ends_run { self.end_run(start) } else { Ok(()) }
    }

    fn end_run(&mut self, start: StartFragment<'a, '_>) -> Result<(), SquashfsError> {
        self.packer.close().into_iter().try_for_each(|bin| self.close(bin, start))
    }

    fn close(&mut self, bin: Bin<'a>, start: StartFragment<'a, '_>) -> Result<(), SquashfsError> {
        let number = (self.fragments.len() + self.waiting.len()) as u32;
        let mut offset = 0;
        for piece in &bin.pieces {
            self.files[piece.file as usize].fragment = Some((number, offset));
            offset += piece.len as u32;
        }
        self.waiting.push_back(start(bin));
        // How many wait is a matter of the options only: so is where they go between the data blocks.
        if self.waiting.len() > self.waiting_max { self.write_fragment() } else { Ok(()) }
    }

    fn write_fragment(&mut self) -> Result<(), SquashfsError> {
        let Some(oldest) = self.waiting.pop_front() else {
            return Ok(());
        };
        let Done::Fragment(FragmentDone { bytes, size, note }) = wait(&oldest)? else {
            unreachable!("`waiting` has fragment blocks only");
        };
        if let Some((members, raw)) = note {
            self.noted.add_fragment(members, raw);
        }
        self.fragments.push((self.sink.position(), size));
        self.sink.put(&bytes)?;
        Ok(())
    }

    fn finish(mut self, start: StartFragment<'a, '_>) -> Result<(StoredData, StatCache), SquashfsError> {
        self.end_run(start)?;
        while !self.waiting.is_empty() {
            self.write_fragment()?;
        }
        self.same.extend(self.plan.duplicates.pairs());
        for (file, original) in &self.same {
            self.files[*file as usize] = self.files[*original as usize].clone();
            self.digests[*file as usize] = self.digests[*original as usize];
        }
        let digest = |digest: Option<Digest>| digest.unwrap_or_else(|| Digest::of(b""));
        let data = StoredData {
            files: self.files,
            digests: self.digests.into_iter().map(digest).collect(),
            fragments: self.fragments,
            duplicates: self.same.len() as u32,
        };
        Ok((data, self.noted))
    }
}

/// Enough fragment blocks to keep many threads busy, in a memory of about 16 MiB.
fn waiting_max(options: &Options) -> usize {
    ((16 << 20) / options.block_size as usize).clamp(16, 128)
}
