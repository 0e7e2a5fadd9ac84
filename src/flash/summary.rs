//! Cost of a run: bytes by what was done with them, time by phase, and what took longest. Durations are measured for
//! the reader; nothing that is written depends on them.

use std::cmp::Reverse;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::event::{Event, Listener, Phase};
use crate::storage::{Layer, ReadFrom, Target, TargetError, Verb, WriteOp};
use crate::value::ByteSize;

/// Operations that are named.
const NAMED: usize = 5;

/// Summary of a run, all tries and the removal of the old table included.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Bytes that were written.
    pub written: u64,
    /// Bytes that were overwritten with zeros.
    pub zeroed: u64,
    /// Bytes that the medium discarded when it was asked to, as was seen when they were read.
    pub discarded: u64,
    /// Bytes that were read past the cache and compared.
    pub verified: u64,
    /// Number of times that ranges which were read back wrong were written again.
    pub retries: u64,
    /// Phases, in the order they were first begun; a phase that came again has its time added.
    pub phases: Vec<Spent>,
    /// The operations that took longest, the longest first.
    pub slowest: Vec<Operation>,
}

/// Cost of a phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// The phase.
    pub phase: Phase,
    /// Bytes that it had done.
    pub bytes: u64,
    /// Duration.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub time: Duration,
}

/// One operation of a medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// Kind.
    pub verb: Verb,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Duration.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub time: Duration,
}

/// In milliseconds at best.
fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_millis() as f64 / 1000.0)
}

impl Spent {
    /// Bytes in a second; none where that says nothing.
    pub fn rate(&self) -> Option<u64> {
        let rate = u128::from(self.bytes).checked_mul(1_000_000)?.checked_div(self.time.as_micros())?;
        u64::try_from(rate).ok().filter(|rate| *rate > 0)
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spent { phase, bytes, time } = self;
        write!(f, "{phase}: {} in {:.1} s", ByteSize(*bytes), time.as_secs_f64())?;
        let rate = self.rate().map(|rate| rate as f64 / f64::from(1 << 20));
        rate.map_or(Ok(()), |rate| write!(f, ", {rate:.1} MiB/s"))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operation { verb, offset, len, time } = self;
        match len {
            0 => write!(f, "{verb}: {:.1} s", time.as_secs_f64()),
            _ => write!(f, "{verb} of {} at byte {offset}: {:.1} s", ByteSize(*len), time.as_secs_f64()),
        }
    }
}

impl fmt::Display for Summary {
    /// A line for each phase that did something, and one for the slowest operation, each after a line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for spent in self.phases.iter().filter(|spent| spent.bytes > 0) {
            write!(f, "\n  {spent}")?;
        }
        self.slowest.first().map_or(Ok(()), |slowest| write!(f, "\n  slowest: {slowest}"))
    }
}

impl Summary {
    fn count(&mut self, operation: Operation) {
        let sum = match operation.verb {
            Verb::Write => Some(&mut self.written),
            Verb::Zero => Some(&mut self.zeroed),
            Verb::ReadBack => Some(&mut self.verified),
            _ => None,
        };
        sum.into_iter().for_each(|sum| *sum += operation.len);
        let at = self.slowest.partition_point(|other| Reverse(other.time) <= Reverse(operation.time));
        self.slowest.insert(at, operation);
        self.slowest.truncate(NAMED);
    }

    fn spend(&mut self, spent: Spent) {
        match self.phases.iter_mut().find(|other| other.phase == spent.phase) {
            Some(other) => {
                other.bytes += spent.bytes;
                other.time += spent.time;
            }
            None => self.phases.push(spent),
        }
    }
}

/// Passes everything on, from the medium and to the listener, and measures it.
pub struct Meter<'a> {
    target: &'a dyn Target,
    listener: &'a dyn Listener,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    summary: Summary,
    phase: Option<(Phase, u64, Instant)>,
}

impl State {
    fn end(&mut self) {
        if let Some((phase, bytes, begun)) = self.phase.take() {
            self.summary.spend(Spent { phase, bytes, time: begun.elapsed() });
        }
    }
}

impl<'a> Meter<'a> {
    /// Measures what is done to `target` and reported to `listener`.
    pub fn new(target: &'a dyn Target, listener: &'a dyn Listener) -> Meter<'a> {
        Meter { target, listener, state: Mutex::default() }
    }

    /// Returns the summary until now; the last phase ends.
    pub fn finish(&self) -> Summary {
        let mut state = self.lock();
        state.end();
        state.summary.clone()
    }

    /// Measures an operation; one that failed has done nothing.
    fn timed<T>(
        &self,
        (verb, offset, len): (Verb, u64, usize),
        run: impl FnOnce() -> Result<T, TargetError>,
        did: impl FnOnce(&T) -> bool,
    ) -> Result<T, TargetError> {
        let begun = Instant::now();
        let result = run();
        let done = if result.as_ref().is_ok_and(did) { len as u64 } else { 0 };
        self.lock().summary.count(Operation { verb, offset, len: done, time: begun.elapsed() });
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Meter<'_> {
    fn event(&self, event: Event) {
        let mut state = self.lock();
        match event {
            Event::Phase { phase, .. } => {
                state.end();
                state.phase = Some((phase, 0, Instant::now()));
            }
            Event::Advance { bytes } => {
                state.phase.iter_mut().for_each(|(_, done, _)| *done += bytes);
            }
            Event::Discard { bytes } => state.summary.discarded += bytes,
            Event::Retry { .. } => state.summary.retries += 1,
            Event::Stall { .. } => {}
        }
        drop(state);
        self.listener.event(event);
    }
}

impl Layer for Meter<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.timed((from.verb(), offset, buf.len()), || from.read(self.target, buf, offset), |()| true)
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let what = (op.verb(), op.offset(), op.len() as usize);
        self.timed(what, || op.apply(self.target), |done| *done)
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        self.timed((Verb::Sync, 0, 0), || self.target.sync(), |()| true)
    }
}
