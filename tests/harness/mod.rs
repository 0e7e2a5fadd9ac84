//! What the test binaries share. Each uses a part of it.
#![allow(dead_code)]

pub mod built;
pub mod cached;
pub mod configured;
pub mod disk;
pub mod dump;
pub mod every_board;
pub mod ext4;
pub mod fixture;
pub mod fuse;
pub mod golden;
pub mod loopdev;
pub mod medium;
pub mod mount;
pub mod pi;
pub mod privilege;
pub mod project;
pub mod qemu;
pub mod readback;
pub mod sandbox;
pub mod server;
pub mod skiffos;
pub mod squashfs;
pub mod synthetic;
pub mod tools;
pub mod toy_buildroot;
pub mod trees;
