//! Faults of a medium.

use std::time::Duration;

/// A fault of a medium. Everything is deterministic: the same operations in the same order have the same faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// After this many written bytes every operation answers `ENODEV`, as if the device was pulled.
    Vanish {
        /// Bytes that are written before.
        after: u64,
    },
    /// After this many written bytes writes answer `ENOSPC`.
    Full {
        /// Bytes that are written before.
        after: u64,
    },
    /// One bit of the medium is wrong without an error, and the cache still has the right one.
    Flip {
        /// The write it happens to, counted from 0.
        write: u64,
        /// Bit of the write, taken modulo its length in bits.
        bit: u64,
    },
    /// A write reaches the cache but not the medium.
    Lose {
        /// The write it happens to, counted from 0.
        write: u64,
    },
    /// The medium is smaller than it says, and begins again at its start behind its end: every address is taken
    /// modulo its real size.
    Wrap {
        /// The real size in bytes.
        size: u64,
    },
    /// The medium is smaller than it says: what is written behind its end is gone.
    Short {
        /// The real size in bytes.
        size: u64,
        /// Value that every byte behind the end reads as.
        reads: u8,
    },
    /// Operations take as long as the medium needs at this speed.
    Slow {
        /// Bytes of a second that are written.
        write: u64,
        /// Bytes of a second that are read.
        read: u64,
    },
    /// One place is bad.
    Local {
        /// The bad place.
        location: FaultLocation,
        /// The effect there.
        kind: FaultKind,
        /// Number of operations that it happens to; those that follow go well.
        times: u64,
    },
}

/// Place of a [`Fault::Local`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultLocation {
    /// At these bytes of the medium.
    At {
        /// The first of them.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
    /// In the sector that this byte of all that are written goes to, counted from 0, or the first one behind it that is
    /// not all zero: it could not be distinguished from one that was never written. [`MARK`](super::super::MARK)s do
    /// not count.
    Written(u64),
    /// The range of this write, counted from 0.
    Write(u64),
}

/// Effect on operations that touch a [`FaultLocation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Bits of the medium are wrong without an error.
    Flip {
        /// The first of them, taken modulo the bits of the place.
        bit: u64,
        /// Number of bytes.
        bits: u64,
    },
    /// A write is acknowledged and never reaches the medium.
    Lose,
    /// Only a part of a write reaches the medium, in whole sectors.
    Tear(Tear),
    /// A write goes to another place.
    Misplace {
        /// So many bytes behind the right one, and from the end around to the start.
        by: u64,
    },
    /// The place keeps what it has, or has the same byte everywhere once it is written.
    Stick(Option<u8>),
    /// Every reading has one wrong bit, each time another; the medium is right.
    Unstable,
    /// An operation answers only after this time.
    Stall(Duration),
    /// Writes answer `EIO` and write nothing.
    WriteError,
    /// Reads past the cache answer `EIO`.
    ReadError,
}

/// Sectors of a write that reach the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Those before the place; if that is the whole write, the first half of it.
    Prefix,
    /// A choice that this seed makes; never the first one of the place.
    Subset(u64),
}

impl FaultKind {
    pub(super) fn is_of_writes(self) -> bool {
        !matches!(self, FaultKind::Unstable | FaultKind::ReadError)
    }

    pub(super) fn is_of_reads(self) -> bool {
        matches!(self, FaultKind::Unstable | FaultKind::ReadError | FaultKind::Stall(_))
    }
}

/// A number that looks random, the same for the same `seed`: one step of SplitMix64 (Steele, Lea, Flood: Fast
/// splittable pseudorandom number generators, 2014).
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
