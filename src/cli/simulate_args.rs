//! A medium that is not there.

use std::sync::Arc;

use clap::Args;

use crate::error::Result;
use crate::storage::{Simulation, Target};

/// A rehearsal.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Write no device but a medium that is not there: `memory`, or one that fails, `faulty:KIND`. Options follow
    /// after commas, for example `faulty:flip,seed=1,size=4GiB,times=2`. Kinds: wrap, short, flip, drop, torn,
    /// misplace, stuck, unstable, eio-read, eio-write, stall, vanish, full, slow. The medium is kept if it is a file
    /// (`file=disk.img`).
    #[arg(long, value_name = "MEDIUM", conflicts_with = "health")]
    pub simulate: Option<Simulation>,
}

impl SimulateArgs {
    /// The medium, if nothing else is to be written.
    pub fn target(&self) -> Result<Option<Arc<dyn Target>>> {
        Ok(self.simulate.as_ref().map(Simulation::open).transpose()?.map(Arc::from))
    }
}
