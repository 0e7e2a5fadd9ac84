//! Uploads in the background: keys wait in a queue, and blocks are read from the local cache when it is their turn,
//! so that memory depends neither on the size of a build nor on the speed of the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::object;
use super::{Inner, Seconds};
use crate::cache::Key;

/// Blocks that are uploaded at the same time.
const UPLOADS_AT_ONCE: usize = 16;

/// The queue, and what is in it or under way.
pub(super) struct Uploads {
    queue: mpsc::Sender<Key>,
    backlog: watch::Sender<Backlog>,
    /// Blocks the queue had no place for.
    left_out: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Backlog {
    blocks: u64,
    /// Of them, before compression.
    raw_len: u64,
}

impl Uploads {
    /// Starts to upload what will be added.
    pub fn start(runtime: &Runtime, inner: Arc<Inner>) -> Uploads {
        let (queue, keys) = mpsc::channel(inner.limits.queue.max(1));
        let backlog = watch::Sender::new(Backlog::default());
        runtime.spawn(upload_all(inner, keys, backlog.clone()));
        Uploads { queue, backlog, left_out: AtomicU64::new(0) }
    }

    /// Has a block of the local cache uploaded. Never waits.
    pub fn add(&self, key: &Key) {
        // Counted first: the task can be faster.
        self.backlog.send_modify(|backlog| backlog.add(key));
        if self.queue.try_send(*key).is_err() {
            self.backlog.send_modify(|backlog| backlog.remove(key));
            self.left_out.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all is uploaded, the store is given up, or the time for it is over.
    pub fn finish(&self, runtime: &Runtime, inner: &Inner) {
        let mut backlog = self.backlog.subscribe();
        let limit = inner.limits.allowance(self.backlog.borrow().raw_len);
        let done = backlog.wait_for(|backlog| backlog.blocks == 0 || inner.breaker.is_open());
        let work = async { tokio::time::timeout(limit, done).await.is_err() };
        if runtime.block_on(work) {
            let (blocks, limit) = (self.backlog.borrow().blocks, Seconds(limit));
            inner.breaker.open(format!("it is too slow, {blocks} blocks were not uploaded in {limit}"));
        }
    }

    /// Warning about blocks that were left out, if any were.
    pub fn warning(&self, name: &str) -> Option<String> {
        let (blocks, queue) = (self.left_out.load(Relaxed), self.queue.max_capacity());
        (blocks > 0).then(|| {
            format!("{blocks} blocks were not uploaded to `{name}`: more than {queue} were waiting for it")
        })
    }
}

impl Backlog {
    fn add(&mut self, key: &Key) {
        self.blocks += 1;
        self.raw_len += u64::from(key.raw_len);
    }

    fn remove(&mut self, key: &Key) {
        self.blocks -= 1;
        self.raw_len -= u64::from(key.raw_len);
    }
}

/// Works until the queue is dropped.
async fn upload_all(inner: Arc<Inner>, mut keys: mpsc::Receiver<Key>, backlog: watch::Sender<Backlog>) {
    let mut running = JoinSet::new();
    while let Some(key) = keys.recv().await {
        if running.len() == UPLOADS_AT_ONCE {
            running.join_next().await;
        }
        let (inner, backlog) = (Arc::clone(&inner), backlog.clone());
        running.spawn(async move {
            if !inner.breaker.is_open() {
                upload(&inner, key).await;
            }
            backlog.send_modify(|backlog| backlog.remove(&key));
        });
    }
}

async fn upload(inner: &Arc<Inner>, key: Key) {
    let local = Arc::clone(&inner.local);
    // What the local cache does not have any more, nobody gets.
    let read = move || local.get(&key).map(|block| object::seal(&key, &block));
    let Ok(Some(body)) = tokio::task::spawn_blocking(read).await else {
        return;
    };
    match inner.store.store(key.id(), body).await {
        Ok(()) => {
            inner.uploaded.fetch_add(1, Relaxed);
            inner.breaker.succeeded();
        }
        Err(error) => inner.breaker.failed(&error),
    }
}
