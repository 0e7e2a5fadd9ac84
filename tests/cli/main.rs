//! The program: its verbs, messages, cache and outputs.

#[path = "../harness/mod.rs"]
mod harness;

mod bad_input;
mod cache;
#[cfg(feature = "object-store")]
mod cache_shared;
mod containers;
mod first_boot;
mod invariants;
mod ota;
mod output;
mod outputs;
mod power_cut_files;
mod process;
mod reproducible;
mod sessions;
mod status;
mod trust;
mod verbs;
