//! A project as the user names it: the chosen layers, what its workspace remembers of the last configure, and the inputs of
//! what is composed from them.
//!
//! A program gives what its user said; everything else has a default here. Nothing is printed: what the user should know
//! is returned.

mod context;
mod inputs;
mod layers;

pub use context::WorkspaceContext;
pub use inputs::{BuiltSystem, InputSelection, PreparedInputs, SlotSelection, TimestampFrom};
pub use layers::{GivenChain, LayerSelection, nearest_root};
