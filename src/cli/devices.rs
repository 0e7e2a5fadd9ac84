//! `devices`.

use std::fmt;

use clap::Args;
use serde::Serialize;

use super::hints;
use super::session_args::health_directory;
use crate::device::{Candidate, Disk, Host, Mount, Override, Reason};
use crate::error::Result;
use crate::flash::health::History;
use crate::flash::journal::MediumId;
use crate::report::Report;

#[derive(Debug, Args)]
pub struct Devices {}

/// All disks.
#[derive(Serialize)]
struct Listing {
    devices: Vec<Listed>,
}

/// A disk, and whether it may be written.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    device: Candidate,
    mounts: Vec<Mount>,
    /// True if `flash` takes it without `--force`.
    eligible: bool,
    /// Token for `--confirm`.
    token: String,
    reasons: Vec<Refusal>,
    /// Record that `--health` has kept of it.
    health: Option<History>,
}

/// Reasons against writing a disk.
#[derive(Serialize)]
struct Refusal {
    reason: String,
    hint: String,
    /// The word of `--force` that overrides it; none where nothing does.
    force: Option<&'static str>,
}

impl Listed {
    fn from_disk(disk: Disk) -> Listed {
        let Disk { candidate, reasons, mounts } = disk;
        let refusal = |reason: &Reason| Refusal {
            reason: reason.to_string(),
            hint: reason.hint(&candidate.path) + reason.code().and_then(hints::words).unwrap_or_default(),
            force: Override::for_reason(reason).map(Override::word),
        };
        let refusals: Vec<Refusal> = reasons.iter().map(refusal).collect();
        Listed {
            health: health_directory()
                .and_then(|directory| History::for_medium(&directory, &MediumId::for_candidate(&candidate))),
            mounts,
            eligible: reasons.is_empty(),
            token: candidate.token(),
            reasons: refusals,
            device: candidate,
        }
    }
}

impl Listed {
    /// Returns whether the first reason says that already.
    fn begins_with(&self, mount: &str) -> bool {
        self.reasons.first().is_some_and(|first| first.reason.starts_with(mount))
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.devices.is_empty() {
            return f.write_str("this machine has no disks");
        }
        let listed: Vec<String> = self.devices.iter().map(Listed::to_string).collect();
        f.write_str(&listed.join("\n"))
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.device)?;
        match self.reasons.first() {
            None => write!(f, "\n  may be written, token {}", self.token),
            Some(Refusal { reason, hint, .. }) => write!(f, "\n  is not written: {reason}\n  hint: {hint}"),
        }?;
        // The first may be the reason.
        let mut others = self.mounts.iter().map(Mount::to_string).filter(|mount| !self.begins_with(mount));
        others.try_for_each(|mount| write!(f, "\n  {mount}"))?;
        self.health.as_ref().map_or(Ok(()), |health| write!(f, "\n  {health}"))
    }
}

impl Devices {
    pub fn run(self, report: &Report) -> Result<()> {
        let listing = Listing { devices: Host::new().disks().into_iter().map(Listed::from_disk).collect() };
        report.document(&listing, &listing);
        Ok(())
    }
}
