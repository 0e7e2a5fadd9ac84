//! A medium that is not there.

use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;

use crate::error::Result;
use crate::report::Report;
use crate::storage::{Simulation, Strikes, Target};

/// A rehearsal.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Write no device but a medium that is not there: `memory`, or one that fails, `faulty:KIND`. Options follow
    /// after commas, for example `faulty:flip,seed=1,size=4GiB,times=2`. Kinds: wrap, short, flip, drop, torn,
    /// misplace, stuck, unstable, eio-read, eio-write, stall, vanish, full, slow. The medium is kept if it is a file
    /// (`file=disk.img`).
    #[arg(long, value_name = "MEDIUM", conflicts_with = "health")]
    pub simulate: Option<Simulation>,

    /// Counter of the effects of the simulated fault.
    #[arg(skip)]
    strikes: Mutex<Option<Strikes>>,
}

impl SimulateArgs {
    /// The medium, if nothing else is to be written.
    pub fn target(&self) -> Result<Option<Arc<dyn Target>>> {
        let Some(simulation) = &self.simulate else { return Ok(None) };
        let (target, strikes) = simulation.open_watched()?;
        *self.strikes.lock().unwrap_or_else(PoisonError::into_inner) = strikes;
        Ok(Some(Arc::from(target)))
    }

    /// Says that a rehearsal has shown nothing, if the fault had no effect on the medium that was opened last.
    pub fn report_strikes(&self, report: &Report) {
        let strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(simulation), Some(false)) = (&self.simulate, strikes.as_ref().map(Strikes::any)) {
            report.warn(format_args!(
                "the fault of `{simulation}` did not strike: what was written and read did not meet it, so this shows \
                 nothing; choose another place with `at=` or `seed=`"
            ));
        }
    }
}
