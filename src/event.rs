//! Events of a run on a medium, for whoever shows them. Nothing here prints.

use std::fmt;

use serde::Serialize;

use crate::storage::{SlowIo, Verb};

/// A part of a run, in the order they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The old partition table is removed.
    Wipe,
    /// The boot partition is marked, so that nothing boots from it until the end.
    Mark,
    /// It is found out whether the medium is as large as it says.
    Probe,
    /// Everything that does not make the medium bootable is written.
    Write,
    /// The device finishes writing.
    Sync,
    /// Everything that was written is read back from the medium and compared.
    ReadBack,
    /// Ranges that were read back wrong are written again.
    Rewrite,
    /// Partition and filesystem are made as large as the medium.
    Fit,
    /// Boot code and partition table are written.
    Commit,
    /// A medium is compared with what it should hold.
    Verify,
    /// An image is compared with its own checksums.
    CheckSource,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Wipe => "wipe the old partition table",
            Phase::Mark => "mark the boot partition as unfinished",
            Phase::Probe => "check the capacity",
            Phase::Write => "write",
            Phase::Sync => "sync",
            Phase::ReadBack => "read back",
            Phase::Rewrite => "write again",
            Phase::Fit => "grow the filesystem",
            Phase::Commit => "write boot code and partition table",
            Phase::Verify => "verify",
            Phase::CheckSource => "check the image",
        })
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A phase begins.
    Phase {
        /// The phase.
        phase: Phase,
        /// Bytes that it is about, if they are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
    /// The phase has done more bytes.
    Advance {
        /// Bytes more.
        bytes: u64,
    },
    /// The medium has discarded a range, as was seen when it was read.
    Discard {
        /// Bytes of the range.
        bytes: u64,
    },
    /// Ranges that were read back wrong are written again.
    Retry {
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Most tries.
        of: u32,
        /// Number of ranges that differ.
        extents: u64,
        /// Bytes of these ranges.
        bytes: u64,
    },
    /// An operation takes long.
    Stall {
        /// The operation.
        verb: Verb,
        /// Its first byte on the medium.
        offset: u64,
        /// Bytes.
        len: u64,
        /// Seconds that it has taken so far.
        seconds: u64,
    },
}

impl From<SlowIo> for Event {
    fn from(SlowIo { verb, offset, len, seconds }: SlowIo) -> Event {
        Event::Stall { verb, offset, len, seconds }
    }
}

/// Receives events, from several threads.
pub trait Listener: Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

/// Listens to nothing.
pub struct Silent;

impl Listener for Silent {
    fn event(&self, _: Event) {}
}

impl<F: Fn(Event) + Sync> Listener for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

/// Reports that a phase begins.
pub(crate) fn begin(listener: &dyn Listener, phase: Phase, total: impl Into<Option<u64>>) {
    listener.event(Event::Phase { phase, total: total.into() });
}
