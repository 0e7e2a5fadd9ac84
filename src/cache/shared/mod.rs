//! A block cache that many machines share through an object store.
//!
//! The threads that compress ask the local cache only. Before a build, what is missing there is fetched, many blocks
//! at a time; during it, what had to be compressed is uploaded in the background; at its end, uploads that are under
//! way get some time to finish. [`object`] says what is believed of what others uploaded.
//!
//! No store makes a build fail, and none delays it for longer than this (see [`Limits`]): one that refuses
//! connections or credentials for less than a second; one that accepts connections and never answers for 10 s; a slow
//! one for 10 s and a second for each 32 MiB of blocks before the build, and the same after it. A store that failed is
//! not asked again in that build, and a warning says why.

mod breaker;
mod object;
mod s3;
mod store;
mod upload;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Access, Block, BlockCache, Key, RemoteUrl, Summary};
use crate::value::Digest;
use breaker::Breaker;
use store::Seconds;
pub use store::{Answer, BlockStore, Found, StoreError};
use upload::Uploads;

/// Blocks that are fetched at the same time. A request takes tens of milliseconds, most of it waiting.
const FETCHES_AT_ONCE: usize = 64;

/// So many blocks that the local cache did not keep, and none that it did, show that fetching is in vain.
const UNKEPT_IS_IN_VAIN: u64 = 16;

/// Time that a store is waited for, and number of its failures.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// For an answer to begin or to go on.
    pub answer: Duration,
    /// For all of a build's fetches, and again for its last uploads, whatever their number.
    pub wait: Duration,
    /// Bytes of blocks before compression for which [`Limits::wait`] is longer by a second. That many come through
    /// 100 Mbit/s; over a slower link, compressing is faster.
    pub bytes_per_second: u64,
    /// So many failures in a row are too many; each was tried again where that is of use.
    pub failures: u32,
    /// Blocks that can wait for their upload.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(3),
            answer: Duration::from_secs(10),
            wait: Duration::from_secs(10),
            bytes_per_second: 32 << 20,
            failures: 3,
            queue: 1 << 16,
        }
    }
}

impl Limits {
    /// Time that a build waits for blocks of together `raw_len` bytes before compression.
    pub fn allowance(&self, raw_len: u64) -> Duration {
        self.wait + Duration::from_secs_f64(raw_len as f64 / self.bytes_per_second.max(1) as f64)
    }
}

/// A local cache whose blocks are shared through a store.
pub struct Shared {
    inner: Arc<Inner>,
    uploads: Uploads,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// State that the tasks of the runtime share.
struct Inner {
    local: Arc<dyn BlockCache>,
    store: Arc<dyn BlockStore>,
    /// As warnings name the store.
    name: String,
    limits: Limits,
    breaker: Breaker,
    fetched: AtomicU64,
    unkept: AtomicU64,
    damaged: AtomicU64,
    uploaded: AtomicU64,
}

impl Shared {
    /// Shares `local` through `store`, which warnings call `name`.
    ///
    /// # Errors
    ///
    /// The system gives no threads.
    pub fn new(
        local: Arc<dyn BlockCache>,
        store: Arc<dyn BlockStore>,
        name: impl Into<String>,
        limits: Limits,
    ) -> std::io::Result<Shared> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            // These decompress and write what was fetched.
            .max_blocking_threads(8)
            .thread_name("shared-cache")
            .enable_all()
            .build()?;
        let inner = Arc::new(Inner {
            local,
            store,
            name: name.into(),
            breaker: Breaker::new(limits.failures),
            limits,
            fetched: AtomicU64::new(0),
            unkept: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            uploaded: AtomicU64::new(0),
        });
        let uploads = Uploads::start(&runtime, Arc::clone(&inner));
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Shared { inner, uploads, runtime: Some(runtime), hits, misses })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken by `drop` only")
    }

    /// Keys that neither the local cache nor `keys` before them have.
    fn missing(&self, keys: &[Key]) -> Vec<Key> {
        let mut seen = HashSet::new();
        keys.iter().copied().filter(|key| seen.insert(*key) && !self.inner.local.contains(key)).collect()
    }
}

impl BlockCache for Shared {
    fn get(&self, key: &Key) -> Option<Block> {
        let block = self.inner.local.get(key);
        let count = if block.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Relaxed);
        block
    }

    fn contains(&self, key: &Key) -> bool {
        self.inner.local.contains(key)
    }

    fn put(&self, key: &Key, block: &Block) {
        self.inner.local.put(key, block);
        if !self.inner.breaker.is_open() {
            self.uploads.add(key);
        }
    }

    // What is known of files is of this machine.
    fn note(&self, name: &Digest) -> Option<Vec<u8>> {
        self.inner.local.note(name)
    }

    fn keep_note(&self, name: &Digest, note: &[u8]) {
        self.inner.local.keep_note(name, note);
    }

    fn wants_prefetch(&self) -> bool {
        !self.inner.breaker.is_open()
    }

    fn prefetch(&self, keys: &[Key]) {
        if self.inner.breaker.is_open() {
            return;
        }
        let missing = self.missing(keys);
        let (blocks, before) = (missing.len(), self.inner.fetched.load(Relaxed));
        let limit = self.inner.limits.allowance(missing.iter().map(|key| u64::from(key.raw_len)).sum());
        let work = async { tokio::time::timeout(limit, Arc::clone(&self.inner).fetch_all(missing)).await };
        if self.runtime().block_on(work).is_err() {
            let fetched = self.inner.fetched.load(Relaxed) - before;
            let limit = Seconds(limit);
            self.inner.breaker.open(format!("it is too slow, {fetched} of {blocks} blocks came in {limit}"));
        }
    }

    fn finish(&self) -> Summary {
        self.uploads.finish(self.runtime(), &self.inner);
        let inner = &self.inner;
        let mut summary = inner.local.finish();
        // The local cache counts what was read for uploads too.
        summary.hits = self.hits.load(Relaxed);
        summary.misses = self.misses.load(Relaxed);
        summary.damaged += inner.damaged.load(Relaxed);
        summary.fetched += inner.fetched.load(Relaxed);
        summary.uploaded += inner.uploaded.load(Relaxed);
        summary.warnings.extend(inner.breaker.reason().map(|reason| warning(&inner.name, &reason)));
        summary.warnings.extend(self.uploads.warning(&inner.name));
        summary
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Does not wait for what hangs.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Inner {
    /// Fetches many blocks; ends early when the store is given up.
    async fn fetch_all(self: Arc<Self>, missing: Vec<Key>) {
        let mut missing = missing.into_iter();
        let mut running = JoinSet::new();
        loop {
            for key in missing.by_ref().take(FETCHES_AT_ONCE - running.len()) {
                running.spawn(Arc::clone(&self).fetch(key));
            }
            if running.join_next().await.is_none() || self.breaker.is_open() {
                return;
            }
        }
    }

    async fn fetch(self: Arc<Self>, key: Key) {
        match self.store.fetch(key.id(), object::max_len(&key)).await {
            Err(error) => return self.breaker.failed(&error),
            Ok(Found::Nothing) => {}
            Ok(Found::TooLong) => {
                self.damaged.fetch_add(1, Relaxed);
            }
            Ok(Found::Body(body)) => {
                let inner = Arc::clone(&self);
                // It fails only while the process ends.
                drop(tokio::task::spawn_blocking(move || inner.keep(&key, &body)).await);
            }
        }
        self.breaker.succeeded();
    }

    /// Puts a fetched block into the local cache if it is what it says.
    fn keep(&self, key: &Key, body: &[u8]) {
        let Some(block) = object::open(key, body) else {
            self.damaged.fetch_add(1, Relaxed);
            return;
        };
        self.local.put(key, &block);
        if self.local.contains(key) {
            self.fetched.fetch_add(1, Relaxed);
        } else if self.unkept.fetch_add(1, Relaxed) + 1 >= UNKEPT_IS_IN_VAIN
            && self.fetched.load(Relaxed) == 0
        {
            self.breaker.open("the local cache keeps nothing of what comes from it".into());
        }
    }
}

/// Shares `local` through the bucket at `url`; if that cannot be done, for example without credentials, `local` with
/// a warning.
pub fn share(
    local: Arc<dyn BlockCache>,
    url: &RemoteUrl,
    access: &Access,
    limits: Limits,
) -> Arc<dyn BlockCache> {
    let name = url.to_string();
    let shared = s3::S3::open(url, access, &limits).and_then(|store| {
        let shared = Shared::new(Arc::clone(&local), Arc::new(store), &name, limits);
        shared.map_err(|error| format!("no threads for it: {error}"))
    });
    match shared {
        Ok(shared) => Arc::new(shared),
        Err(reason) => Arc::new(Unshared { local, warning: warning(&name, &reason) }),
    }
}

fn warning(name: &str, reason: &str) -> String {
    format!("the shared cache `{name}` is not used: {reason}")
}

/// A local cache that should have been shared.
#[derive(Debug)]
struct Unshared {
    local: Arc<dyn BlockCache>,
    warning: String,
}

impl BlockCache for Unshared {
    fn get(&self, key: &Key) -> Option<Block> {
        self.local.get(key)
    }

    fn contains(&self, key: &Key) -> bool {
        self.local.contains(key)
    }

    fn put(&self, key: &Key, block: &Block) {
        self.local.put(key, block);
    }

    fn note(&self, name: &Digest) -> Option<Vec<u8>> {
        self.local.note(name)
    }

    fn keep_note(&self, name: &Digest, note: &[u8]) {
        self.local.keep_note(name, note);
    }

    fn wants_prefetch(&self) -> bool {
        self.local.wants_prefetch()
    }

    fn prefetch(&self, keys: &[Key]) {
        self.local.prefetch(keys);
    }

    fn finish(&self) -> Summary {
        let mut summary = self.local.finish();
        summary.warnings.push(self.warning.clone());
        summary
    }
}
