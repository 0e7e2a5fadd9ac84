//! Signals that wake a `poll`.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Result};

/// Signals that were asked for.
pub(super) struct Signals {
    /// Can be read when one has come.
    pub(super) wake: UnixStream,
    flags: Vec<(i32, Arc<AtomicBool>)>,
}

impl Signals {
    /// Takes these signals from now on.
    pub(super) fn take(signals: &[i32]) -> Result<Self> {
        let fail = |error: std::io::Error| Failure::new(format!("cannot take signals: {error}"));
        let (wake, write) = UnixStream::pair().map_err(fail)?;
        wake.set_nonblocking(true).map_err(fail)?;
        let mut flags = Vec::new();
        for signal in signals {
            let flag = Arc::new(AtomicBool::new(false));
            // First the flag: the order is that of the calls, and whoever wakes looks at it.
            signal_hook::flag::register(*signal, Arc::clone(&flag)).map_err(fail)?;
            signal_hook::low_level::pipe::register(*signal, write.try_clone().map_err(fail)?)
                .map_err(fail)?;
            flags.push((*signal, flag));
        }
        Ok(Self { wake, flags })
    }

    /// Those that have come since the last call.
    pub(super) fn come(&mut self) -> Vec<i32> {
        let mut buffer = [0; 64];
        while self.wake.read(&mut buffer).is_ok_and(|count| count > 0) {}
        self.flags
            .iter()
            .filter(|(_, flag)| flag.swap(false, Ordering::SeqCst))
            .map(|(signal, _)| *signal)
            .collect()
    }
}
