//! Media: what is written to disks, how it fails, and what is found on them.

#[path = "../harness/mod.rs"]
mod harness;

mod block_devices;
mod claims;
mod devices;
mod drift;
mod engine;
mod fault_matrix;
mod faults;
mod flash;
mod flash_cli;
mod grow;
mod image;
mod install;
mod layouts;
mod loss;
mod power_cut;
mod real_faults;
mod safety;
mod source;
mod target;
