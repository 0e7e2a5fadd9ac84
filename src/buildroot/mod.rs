//! Buildroot, driven: its source, its configuration, its build, and what a build leaves for others to read.

pub mod config;
pub(crate) mod configure;
pub(crate) mod delta;
pub(crate) mod dot_config;
pub(crate) mod drive;
pub mod effective;
pub(crate) mod hooks;
pub(crate) mod images;
pub mod kconfig;
pub(crate) mod legal;
pub(crate) mod make;
pub mod source;
pub(crate) mod stamp;

pub(crate) use images::stale_artifact;
