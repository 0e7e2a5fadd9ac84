//! What a boot loader reads: images with a U-Boot header, and text made from templates.

pub mod text;
pub mod uimage;
