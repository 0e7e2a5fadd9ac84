//! Tests of Skiff Core: its configuration, and what it makes of it on this machine.

mod accounts;
mod config;
mod engine;
mod sandbox;
mod session;

#[path = "../../../../tests/harness/privilege.rs"]
pub mod privilege;
#[path = "../../../../tests/harness/skip.rs"]
pub mod skip;
