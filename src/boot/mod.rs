//! Inputs of boot loaders: images with a U-Boot header, and text made from templates; and GRUB itself for a BIOS.

pub mod grub;
pub mod refind;
pub mod text;
pub mod uimage;
