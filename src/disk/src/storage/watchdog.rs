//! A watchdog for input and output that takes too long: media hang for minutes when they die, and the system calls with
//! them.
//!
//! This is one of the few places that measure time; nothing that is written depends on it.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{AlignedBuffer, Layer, ReadFrom, Target, TargetError, Verb, WriteOp};

/// Bytes that are zeroed at once: a time only says something about a bounded number of bytes.
const LARGEST_ZERO: u64 = 64 << 20;

/// Speed that a sync is given for what was written since the last one, in bytes of a second.
const SLOWEST: u64 = 1 << 20;

/// Times that a [`Watchdog`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchdogOptions {
    /// After this time, and each time it has passed again, the operation is reported.
    pub notice: Duration,
    /// After this time an operation has failed. A sync also has a second for each MiB that was written since the
    /// last one.
    pub timeout: Duration,
}

impl Default for WatchdogOptions {
    /// 10 seconds and two minutes: cards that are being worn out pause for up to a minute and then go on.
    fn default() -> WatchdogOptions {
        WatchdogOptions { notice: Duration::from_secs(10), timeout: Duration::from_secs(120) }
    }
}

/// An operation that takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowIo {
    /// `read`, `write`, `zero`, `sync`.
    pub verb: Verb,
    /// First byte of the range.
    pub offset: u64,
    /// Length of the range.
    pub len: u64,
    /// Time that it has taken so far.
    pub seconds: u64,
}

/// A layer that lets another thread do each operation, waits for it, and fails with [`TargetError::TimedOut`] in the
/// end.
///
/// Nobody can end a system call that hangs: its thread is left alone, holding the target, and the process ends when
/// the kernel lets go of it. A target that once did not answer is not waited for longer than
/// [`WatchdogOptions::notice`] any more.
pub struct Watchdog<'a> {
    inner: Arc<dyn Target>,
    options: WatchdogOptions,
    notify: Box<dyn Fn(SlowIo) + Send + Sync + 'a>,
    idle: Mutex<Vec<Worker>>,
    unsynced: AtomicU64,
    timed_out: AtomicBool,
}

/// A thread that has nothing to do, with a buffer that nobody else has.
struct Worker {
    jobs: Sender<Job>,
    results: Receiver<Done>,
    buffer: AlignedBuffer,
    thread: JoinHandle<()>,
}

#[derive(Clone, Copy)]
enum Task {
    Read(ReadFrom),
    Write,
    Zero,
    Discard,
    Sync,
}

struct Job {
    task: Task,
    offset: u64,
    len: u64,
    buffer: AlignedBuffer,
}

struct Done {
    /// `true` if all was done; only what is discarded may be not.
    result: Result<bool, TargetError>,
    buffer: AlignedBuffer,
}

impl Task {
    fn verb(self) -> Verb {
        match self {
            Task::Read(from) => from.verb(),
            Task::Write => Verb::Write,
            Task::Zero => Verb::Zero,
            Task::Discard => Verb::Discard,
            Task::Sync => Verb::Sync,
        }
    }
}

impl Job {
    fn run(mut self, target: &dyn Target) -> Done {
        let Job { task, offset, len, .. } = self;
        let done = match task {
            Task::Read(from) => from.read(target, self.buffer.slice(len as usize), offset),
            Task::Write => target.write_at(self.buffer.slice(len as usize), offset),
            Task::Zero => target.zero(offset, len),
            Task::Sync => target.sync(),
            Task::Discard => {
                return Done { result: target.discard(offset, len), buffer: self.buffer };
            }
        };
        Done { result: done.map(|()| true), buffer: self.buffer }
    }
}

impl Worker {
    fn start(target: Arc<dyn Target>) -> Worker {
        let (jobs, orders) = mpsc::channel::<Job>();
        let (done, results) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            for job in orders {
                // Nobody waits for it any more.
                if done.send(job.run(&*target)).is_err() {
                    break;
                }
            }
        });
        Worker { jobs, results, buffer: AlignedBuffer::new(0), thread }
    }
}

impl<'a> Watchdog<'a> {
    /// WatchdogOptions over `inner`; `notify` is called by whoever waits.
    pub fn new(
        inner: Arc<dyn Target>,
        options: WatchdogOptions,
        notify: impl Fn(SlowIo) + Send + Sync + 'a,
    ) -> Watchdog<'a> {
        let (idle, unsynced, timed_out) = (Mutex::default(), AtomicU64::new(0), AtomicBool::new(false));
        Watchdog { inner, options, notify: Box::new(notify), idle, unsynced, timed_out }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worker(&self) -> Worker {
        let idle = self.idle().pop();
        idle.unwrap_or_else(|| Worker::start(Arc::clone(&self.inner)))
    }

    /// Lets a worker do something; `fill` and `take` see the buffer before and after.
    fn run(
        &self,
        task: Task,
        (offset, len): (u64, u64),
        fill: impl FnOnce(&mut AlignedBuffer),
        take: impl FnOnce(&mut AlignedBuffer),
    ) -> Result<bool, TargetError> {
        let mut worker = self.worker();
        let mut buffer = std::mem::replace(&mut worker.buffer, AlignedBuffer::new(0));
        fill(&mut buffer);
        let sent = worker.jobs.send(Job { task, offset, len, buffer });
        let done = sent.ok().map(|()| self.wait(&worker, task, offset, len)).transpose()?.flatten();
        let Some(Done { result, mut buffer }) = done else {
            // It has panicked, and so does whoever asked it.
            std::panic::resume_unwind(
                worker.thread.join().expect_err("a thread ends with its jobs, or panics"),
            );
        };
        take(&mut buffer);
        worker.buffer = buffer;
        self.idle().push(worker);
        result
    }

    /// Waits for a worker; none if it has panicked.
    fn wait(&self, worker: &Worker, task: Task, offset: u64, len: u64) -> Result<Option<Done>, TargetError> {
        let (start, timeout) = (Instant::now(), self.timeout(task));
        loop {
            let rest = timeout.saturating_sub(start.elapsed());
            match worker.results.recv_timeout(rest.min(self.options.notice)) {
                Ok(done) => return Ok(Some(done)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let (verb, seconds) = (task.verb(), start.elapsed().as_secs());
            if start.elapsed() >= timeout {
                self.timed_out.store(true, Ordering::SeqCst);
                let target = self.inner.name().into();
                return Err(TargetError::TimedOut { verb, target, offset, len, seconds });
            }
            (self.notify)(SlowIo { verb, offset, len, seconds });
        }
    }

    fn timeout(&self, task: Task) -> Duration {
        let WatchdogOptions { notice, timeout } = self.options;
        match task {
            _ if self.timed_out.load(Ordering::SeqCst) => timeout.min(notice),
            Task::Sync => timeout + Duration::from_secs(self.unsynced.load(Ordering::SeqCst) / SLOWEST),
            _ => timeout,
        }
    }

    /// Lets a worker zero or discard a range. Returns whether all of it was done.
    fn run_in_pieces(&self, task: Task, range: Range<u64>) -> Result<bool, TargetError> {
        range.clone().step_by(LARGEST_ZERO as usize).try_fold(true, |all, at| {
            let piece = (at, LARGEST_ZERO.min(range.end - at));
            Ok(self.run(task, piece, |_| {}, |_| {})? && all)
        })
    }
}

impl Drop for Watchdog<'_> {
    /// Those who have nothing to do end, and let go of the target.
    fn drop(&mut self) {
        let idle = std::mem::take(&mut *self.idle());
        for Worker { jobs, thread, .. } in idle {
            drop(jobs);
            // It has nothing to say: whoever waited for it has the error.
            _ = thread.join();
        }
    }
}

impl Layer for Watchdog<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &*self.inner
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let len = buf.len();
        let fill = |buffer: &mut AlignedBuffer| _ = buffer.at_least(len);
        let take = |buffer: &mut AlignedBuffer| buf.copy_from_slice(buffer.slice(len));
        self.run(Task::Read(from), (offset, len as u64), fill, take).map(drop)
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        match op {
            WriteOp::Bytes { offset, bytes } => {
                self.unsynced.fetch_add(op.len(), Ordering::SeqCst);
                let fill = |buffer: &mut AlignedBuffer| buffer.at_least(bytes.len()).copy_from_slice(bytes);
                self.run(Task::Write, (offset, op.len()), fill, |_| {})
            }
            WriteOp::Zero { len, .. } => {
                self.unsynced.fetch_add(len, Ordering::SeqCst);
                self.run_in_pieces(Task::Zero, op.range())
            }
            WriteOp::Discard { .. } => self.run_in_pieces(Task::Discard, op.range()),
        }
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        self.run(Task::Sync, (0, self.geometry().len), |_| {}, |_| {})?;
        self.unsynced.store(0, Ordering::SeqCst);
        Ok(())
    }
}
