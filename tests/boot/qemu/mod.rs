//! What boots in QEMU.

mod arm;
mod core;
mod pre_init;
mod real_buildroot;
mod skiff_init;
mod system;
mod update;
mod virt;
mod x86;
