//! What the test binaries share. Each uses a part of it.
#![allow(dead_code)]

pub mod board;
pub mod cached;
pub mod container_image;
pub mod device;
pub mod disk;
pub mod dump;
pub mod ext4;
pub mod fuse;
pub mod golden;
pub mod guest;
pub mod lies;
pub mod loopdev;
pub mod machine;
pub mod medium;
pub mod mount;
pub mod pi;
pub mod privilege;
pub mod project;
pub mod qemu;
pub mod sandbox;
pub mod server;
pub mod skiffos;
pub mod skip;
pub mod squashfs;
pub mod tools;
pub mod toy_buildroot;
pub mod trees;
