//! Flags about media that are not there, or do not answer.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::error::Result;
use crate::storage::{Simulation, Target, WatchdogOptions};

/// A rehearsal.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Write no device but a medium that is not there: `memory`, or one that fails, `faulty:KIND`. Options follow
    /// after commas, for example `faulty:flip,seed=1,size=4GiB,times=2`. Kinds: wrap, short, flip, drop, torn,
    /// misplace, stuck, unstable, eio-read, eio-write, stall, vanish, full, slow. The medium is kept if it is a file
    /// (`file=disk.img`).
    #[arg(long, value_name = "MEDIUM")]
    pub simulate: Option<Simulation>,
}

impl SimulateArgs {
    /// The medium, if nothing else is to be written.
    pub fn target(&self) -> Result<Option<Arc<dyn Target>>> {
        Ok(self.simulate.as_ref().map(Simulation::open).transpose()?.map(Arc::from))
    }
}

/// How long a medium is waited for.
#[derive(Debug, Args)]
pub struct StallArgs {
    /// Give up when the medium has not done an operation after this time.
    #[arg(long, value_name = "SECONDS", default_value_t = WatchdogOptions::default().timeout.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    pub stall_timeout: u64,
}

impl StallArgs {
    /// What a [`crate::storage::Watchdog`] wants to know.
    pub fn options(&self) -> WatchdogOptions {
        WatchdogOptions { timeout: Duration::from_secs(self.stall_timeout), ..WatchdogOptions::default() }
    }
}
