//! Tests of Skiff Core: its configuration, and what it makes of it on this machine.

mod config;

#[path = "../../../../tests/harness/skip.rs"]
pub mod skip;
