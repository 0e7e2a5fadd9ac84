//! What a boot loader reads: images with a U-Boot header, and text made from templates; and GRUB itself for a BIOS.

pub mod grub;
pub mod refind;
pub mod text;
pub mod uimage;
