//! Buildroot, driven: its source, its configuration, its build, and what a build leaves for others to read.

pub mod config;
pub mod configure;
pub mod configured;
pub mod delta;
pub mod drive;
pub mod effective;
pub mod hooks;
pub mod kconfig;
pub mod legal;
pub mod make;
pub mod source;
mod stale;
pub mod stamp;

pub use stale::stale_artifact;
