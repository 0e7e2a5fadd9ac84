//! Layers and Buildroot: configuration, builds, hooks, and the scripts of the base system.

#[path = "../harness/mod.rs"]
mod harness;

mod base_scripts;
mod buildroot_source;
mod buildroot_verbs;
mod compile;
mod configure;
mod effective;
mod hand_off;
mod hooks;
mod layer_order;
mod layers;
mod merge;
mod precheck;
mod skiffos;
mod tables;
mod toy;
