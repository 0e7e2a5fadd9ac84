//! Deltas: what a device needs to make a new system from the one that it has.
//!
//! A delta has the head of a bundle. In place of the payload it has, for each block of the index in order, one byte and
//! what follows it:
//!
//! ```text
//! 0 present   the device has a block with this id, in the good slot or already in the new one
//! 1 literal   the block as it is
//! 2 patch     form (1), level (1), bytes decoded (4), number of references (1);
//!             for each: id (16), bytes (4), form (1); length (4) and bytes of a zstd frame
//! ```
//!
//! A patch is made between *decoded* blocks: the device decodes the references, lays them one behind the other as the
//! prefix of the frame, decodes it, and compresses the result again. A small change in a package is a small change of
//! what its blocks hold, but changes most bytes of the blocks. Nothing of a delta is signed but its head: what it makes is
//! compared with the signed index as any other block. If one does not come out as it should, the device wants the bundle.
//!
//! A device needs at most [`REFERENCES_MAX`] bytes of decoded references, three blocks, what zstd needs for a block of
//! 1 MiB, and the index in memory, however large the system is.

mod form;
mod read;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "host"))]
pub mod write;

pub use form::Form;
pub(crate) use read::{DeltaPayload, System};

/// Most bytes of all references of a patch, decoded.
pub const REFERENCES_MAX: usize = 8 << 20;
/// Most references of a patch.
pub const REFERENCE_COUNT_MAX: usize = 32;

/// First byte of each block of a delta.
mod op {
    pub(super) const PRESENT: u8 = 0;
    pub(super) const LITERAL: u8 = 1;
    pub(super) const PATCH: u8 = 2;
}
