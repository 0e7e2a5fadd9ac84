//! Updates of a system that has two slots: what stands on its medium, and how one slot takes over from the other.
//!
//! ```text
//! idle -> staging -> staged -> armed (3 attempts) -> trial -> confirmed
//!                                                        \-> rejected
//! ```
//!
//! A slot is a directory, `a` or `b`, with the files of one whole system. The running system writes a new one into the
//! other slot, reads it back and arms it. The boot loader starts an armed slot a limited number of times; it counts
//! only then. The new system confirms itself when it is healthy. Until that moment the old system is the good one, and
//! is started again when the attempts are spent.
//!
//! - [`state`]: the record that says which slot is good and which one is tried, in two copies of one sector each.
//! - [`statement`]: what a bundle is and for which devices; the text that is signed.
//! - [`keys`]: who may sign, and how that changes.
//! - [`bundle`]: one file with a whole system.
//! - [`delta`]: what a device needs to make a new system from the one it has.
//! - [`apply`]: the agent on the device.
//! - [`serve`]: the agent at the other end of a link.
//! - `host` (feature of the same name): what makes bundles and deltas.

#![warn(unreachable_pub)]

pub mod apply;
pub mod bundle;
pub mod delta;
#[cfg(feature = "host")]
pub mod host;
pub mod keys;
#[cfg(test)]
mod oracle;
pub mod serve;
mod slot;
pub mod state;
pub mod statement;
mod text;
mod wire;

pub use slot::Slot;
pub use text::TextError;
