//! Boards: descriptors, boot files, boot loaders, and what boots in QEMU (`qemu::`).

#[path = "../harness/mod.rs"]
mod harness;

mod boards;
mod boot_loaders;
mod boot_text;
mod descriptors;
mod documented;
mod every_board;
mod families;
mod grub;
mod lint;
mod own_boards;
mod proofs;
mod qemu;
mod refind;
mod skiff_init_rules;
