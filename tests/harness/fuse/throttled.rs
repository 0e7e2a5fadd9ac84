//! A medium with a speed: one bus that is busy for as long as the bytes of a request take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skiff_image::storage::{Layer, ReadFrom, Target, TargetError, WriteOp};

/// Bytes per second.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub write: f64,
    pub read: f64,
}

/// Delays what `inner` does.
pub struct Throttled {
    inner: Arc<dyn Target>,
    rates: Rates,
    bus: Mutex<Bus>,
}

/// What carries the bytes, one request after the other.
struct Bus {
    /// When it has carried all that it was given.
    free: Instant,
    used: Use,
}

/// What went over the bus.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    /// Bytes that were written.
    pub written: u64,
    /// Bytes that were read.
    pub read: u64,
    /// Requests.
    pub requests: u64,
    /// Time that it was waiting for the next request, from the first one on.
    pub idle: Duration,
}

impl Throttled {
    pub fn new(inner: Arc<dyn Target>, rates: Rates) -> Throttled {
        let bus = Bus { free: Instant::now(), used: Use::default() };
        Throttled { inner, rates, bus: Mutex::new(bus) }
    }

    /// What went over the bus since it was asked last.
    pub fn take_use(&self) -> Use {
        std::mem::take(&mut self.bus().used)
    }

    fn bus(&self) -> MutexGuard<'_, Bus> {
        self.bus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the bus has carried so many bytes for this request, behind those before it.
    fn carry(&self, len: u64, rate: f64, count: impl FnOnce(&mut Use)) {
        let takes = Duration::from_secs_f64(len as f64 / rate);
        let done = {
            let (mut bus, now) = (self.bus(), Instant::now());
            if bus.used.requests > 0 {
                let idle = now.saturating_duration_since(bus.free);
                bus.used.idle += idle;
            }
            bus.used.requests += 1;
            count(&mut bus.used);
            bus.free = bus.free.max(now) + takes;
            bus.free
        };
        std::thread::sleep(done.saturating_duration_since(Instant::now()));
    }
}

impl Layer for Throttled {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &*self.inner
    }

    /// The kernel's cache is above; nothing is cached here.
    fn on_read(&self, _: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let len = buf.len() as u64;
        self.carry(len, self.rates.read, |used| used.read += len);
        self.inner.read_back(buf, offset)
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let len = op.len();
        self.carry(len, self.rates.write, |used| used.written += len);
        op.apply(&self.inner)
    }
}
