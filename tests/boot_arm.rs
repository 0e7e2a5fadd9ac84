//! Cards of ARM boards, composed from Debian fixtures, boot in QEMU: through the boot ROM that QEMU has for some, and
//! by what the firmware of a Raspberry Pi would load from them. Media of virtual machines are in `boot.rs`.

#[path = "common/mod.rs"]
mod common;
#[path = "common/disk.rs"]
mod disk;
#[path = "common/fixture.rs"]
mod fixture;
#[path = "common/medium.rs"]
mod medium;
#[path = "common/pi.rs"]
mod pi;
#[path = "common/qemu.rs"]
mod qemu;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use disk::oracles;
use fixture::{about, assemble, output, run, temporary};
use medium::{copy, move_bytes, relabel_ext4, remove_from_ext4, remove_from_fat};
use pi::Model;
use qemu::{Machine, full};

/// Tools that look into a medium and change it.
const TOOLS: [&str; 6] = ["sfdisk", "mcopy", "mdel", "debugfs", "fdtget", "fdtput"];
/// The first line of a sunxi SPL comes within a second, and within five on a loaded machine.
const SILENCE: Duration = Duration::from_secs(20);
/// Bytes from the place of a sunxi loader to the first partition, on the boards here.
const LOADER: u64 = 960 << 10;

#[test]
fn orangepi_zero_boots_through_its_spl_and_not_with_the_spl_moved() {
    if !oracles("orangepi_zero_boots_through_its_spl_and_not_with_the_spl_moved", &TOOLS) {
        return;
    }
    let directory = temporary();
    let image = assemble("orangepi/zero", "armhf", directory.path(), &["--size", "1GiB"]);
    let moved = copy(&image);
    move_bytes(&moved, 8 << 10, LOADER, 9 << 10);
    let card = |image| Machine::new("qemu-system-arm", &["-M", "orangepi-pc"]).with_card(image);
    let mut whole = card(&image).start();
    whole.expect("skiff: loading from mmc 0:1");
    assert_eq!(whole.expect_boot(), 1);
    card(&moved).start().expect_no("U-Boot SPL", SILENCE);
}
