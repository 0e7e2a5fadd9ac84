//! Skiff Core: users who log in to containers, on a host that stays as it is.
//!
//! ```text
//! config    images, containers, users; strict, with line and column
//! accounts  users of the host, made first and without the engine
//! engine    podman's API over its socket
//! plan      what a container needs, and what would be lost
//! session   the login shell, and the broker that enters containers for it
//! apply     images and containers made so; the old one kept, and back if the new one does not work
//! ```
//!
//! The composer checks a configuration with the same code as the device, before it is on a medium.

#[cfg(feature = "device")]
pub mod accounts;
#[cfg(feature = "device")]
pub mod apply;
pub mod config;
#[cfg(feature = "device")]
pub mod engine;
#[cfg(feature = "device")]
pub mod failure;
#[cfg(feature = "device")]
mod held;
#[cfg(feature = "device")]
pub mod images;
pub mod places;
#[cfg(feature = "device")]
pub mod plan;
#[cfg(feature = "device")]
pub mod quadlet;
#[cfg(feature = "device")]
mod replace;
#[cfg(feature = "device")]
pub mod session;
#[cfg(feature = "device")]
pub mod shipped;
#[cfg(feature = "device")]
pub mod status;

/// Start of the labels that mark what belongs to this program, for the engine.
pub const LABELS: &str = "skiff.core.";
