//! A small made-up system that is built into the program, so that composing, flashing and verifying can be seen
//! without any build output: a Buildroot-shaped directory, a layer, and a board with one filesystem of each
//! kind.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::board::{Board, BoardError, DescriptorSource, NoFamilies};
use crate::error::Io;

/// Name of the demo board.
pub const BOARD_NAME: &str = "demo/board";
/// Its descriptor.
const BOARD: &str = include_str!("../../fixtures/demo/board.toml");

/// Text files of the Buildroot output and the layer.
const TEXTS: [(&str, &str); 11] = [
    ("output/.config", include_str!("../../fixtures/demo/config")),
    (
        "output/build/buildroot-fs/full_users_table.txt",
        include_str!("../../fixtures/demo/full_users_table.txt"),
    ),
    (
        "output/build/buildroot-fs/full_devices_table.txt",
        include_str!("../../fixtures/demo/full_devices_table.txt"),
    ),
    ("output/build/packages-file-list.txt", "app,./usr/bin/app\n"),
    ("output/target/THIS_IS_NOT_YOUR_ROOT_FILESYSTEM", "Not part of any image.\n"),
    ("output/target/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("output/target/etc/group", "root:x:0:\n"),
    ("output/target/etc/shadow", "root:*:::::::\n"),
    ("output/target/etc/os-release", "NAME=Demo\nVERSION=1\nID=demo\n"),
    ("layers/demo/site/metadata/description", "Settings of one site\n"),
    ("layers/demo/site/root_overlay/etc/motd", "Composed by skiff-image.\n"),
];

/// Files whose bytes are made up: name, length, and the text they start with.
const BINARIES: [(&str, usize, &[u8]); 7] = [
    ("output/images/Image", 3 << 20, b"MZ demo kernel"),
    ("output/images/loader.bin", 200 << 10, b"\0\0\0\0DEMO.LDR"),
    ("output/target/usr/bin/app", 700 << 10, b"\x7fELF"),
    ("output/target/usr/lib/modules/6.6.0-demo/kernel/can.ko", 260 << 10, b"\x7fELF"),
    ("output/target/usr/lib/modules/6.6.0-demo/kernel/lidar.ko", 900 << 10, b"\x7fELF"),
    ("output/target/usr/lib/modules/6.6.0-demo/kernel/motor.ko", 410 << 10, b"\x7fELF"),
    ("output/target/usr/share/model.bin", 2 << 20, b"model"),
];

const DIRECTORIES: [&str; 6] = ["dev", "proc", "sys", "run", "tmp", "mnt/persist"];

/// Paths of the made-up system.
#[derive(Clone, Debug)]
pub struct Demo {
    /// A Buildroot output directory.
    pub output: PathBuf,
    /// A directory of layers.
    pub layers: PathBuf,
    /// The chain to use.
    pub chain: &'static str,
}

/// The demo board.
pub fn board() -> Result<Board, BoardError> {
    let source = DescriptorSource { file: "fixtures/demo/board.toml", text: BOARD };
    Board::parse(BOARD_NAME, source, &NoFamilies)
}

/// Writes the made-up system below `directory`.
pub fn write(directory: &Path) -> Result<Demo, Io> {
    let target = directory.join("output/target");
    for name in DIRECTORIES {
        make_directory(&target.join(name))?;
    }
    make_directory(&target.join("usr/bin"))?;
    let bin = target.join("bin");
    symlink("usr/bin", &bin).map_err(Io::on("write", &bin))?;
    for (name, text) in TEXTS {
        make_file(&directory.join(name), text.as_bytes())?;
    }
    for (number, (name, len, start)) in BINARIES.iter().enumerate() {
        make_file(&directory.join(name), &made_up(number as u64, *len, start))?;
    }
    Ok(Demo { output: directory.join("output"), layers: directory.join("layers"), chain: "demo/site" })
}

fn make_file(path: &Path, bytes: &[u8]) -> Result<(), Io> {
    make_directory(path.parent().expect("a file is in a directory"))?;
    fs::write(path, bytes).map_err(Io::on("write", path))
}

fn make_directory(path: &Path) -> Result<(), Io> {
    fs::create_dir_all(path).map_err(Io::on("write", path))
}

/// Bytes that compress about as well as programs do: words of a small vocabulary in an order given by a linear
/// congruential generator (Knuth's MMIX constants).
fn made_up(seed: u64, len: usize, start: &[u8]) -> Vec<u8> {
    let mut state = seed.wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let vocabulary: Vec<u32> = (0..2048).map(|_| next()).collect();
    let mut bytes = start.to_vec();
    while bytes.len() < len {
        let word = vocabulary[next() as usize % vocabulary.len()];
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
