//! Skiff Core: users who log in to containers, on a host that stays as it is.
//!
//! ```text
//! config    images, containers, users; strict, with line and column
//! accounts  users of the host, made first and without the engine
//! ```
//!
//! The composer checks a configuration with the same code as the device, before it is on a medium.

pub mod accounts;
pub mod config;
pub mod failure;
mod replace;

/// Start of the labels that mark what belongs to this program, for the engine.
pub const LABELS: &str = "skiff.core.";
