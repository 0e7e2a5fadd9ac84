//! Why an update does not go on.

use std::io;

use skiff_disk::error::Diagnostic;
use skiff_disk::value::ByteSize;

use crate::Slot;
use crate::bundle::BundleError;
use crate::state::{LoadError, SaveError, StepError, SystemId};

/// Why an update does not go on. Whatever it is, the device starts what it would have started before.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum ApplyError {
    /// The bundle cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BundleError),
    /// It is not the time for this step.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Step(#[from] StepError),
    /// There is no state.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Load(#[from] LoadError),
    /// The state cannot be changed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Save(#[from] SaveError),
    /// A slot runs that should not.
    #[error("slot `{running}` runs, but `{good}` is the good one and nothing is on trial")]
    #[diagnostic(
        hint = "restart the device; if this stays, its boot loader does not follow the state record",
        code = "wrong-slot"
    )]
    WrongSlot {
        /// Slot that runs.
        running: Slot,
        /// Slot that is good.
        good: Slot,
    },
    /// There is too little room.
    #[error("`{place}` has {} free, the update needs {}", ByteSize(*have), ByteSize(*need))]
    #[diagnostic(kind = Fit, hint = "remove files from it; nothing was changed", code = "no-room")]
    NoRoom {
        /// A directory of the filesystem.
        place: String,
        /// Bytes that are needed.
        need: u64,
        /// Bytes that are free.
        have: u64,
    },
    /// There are too few inodes.
    #[error("`{place}` has room for {have} files, the update needs {need}")]
    #[diagnostic(kind = Fit, hint = "remove files from it; nothing was changed", code = "no-inodes")]
    NoInodes {
        /// A directory of the filesystem.
        place: String,
        /// Files that are needed.
        need: u64,
        /// Files that can be made.
        have: u64,
    },
    /// The system refused.
    #[error("cannot {verb} `{slot}/{file}`: {source}")]
    #[diagnostic(kind = Io, hint = "check the medium and its free space; the running system is untouched", code = "slot-io")]
    Slot {
        /// `write`, for example.
        verb: &'static str,
        /// The slot.
        slot: Slot,
        /// File in it.
        file: String,
        /// Answer of the system.
        source: io::Error,
    },
    /// Other bytes came back.
    #[error("`{slot}/{file}` has other bytes than belong there, the first in the {} at byte {offset}", ByteSize(*len))]
    #[diagnostic(
        kind = Mismatch,
        hint = "apply the bundle again; if this happens again, the medium is failing: replace it",
        code = "damaged"
    )]
    Damaged {
        /// The slot.
        slot: Slot,
        /// File in it.
        file: String,
        /// Start of the first block that is damaged.
        offset: u64,
        /// Its length.
        len: u64,
    },
    /// The slot has no whole system.
    #[error("slot `{slot}` has no whole system")]
    #[diagnostic(hint = "apply an update first", code = "no-system")]
    NoSystem {
        /// The slot.
        slot: Slot,
    },
    /// What runs is not what was tried.
    #[error("slot `{slot}` has system {found}, but {tried} is on trial")]
    #[diagnostic(hint = "roll back, and apply the update again", code = "other-system")]
    OtherSystem {
        /// The slot.
        slot: Slot,
        /// System in it.
        found: SystemId,
        /// System on trial.
        tried: SystemId,
    },
}
