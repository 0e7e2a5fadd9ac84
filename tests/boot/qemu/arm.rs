//! Cards of ARM boards, composed from Debian fixtures, boot in QEMU: through the boot ROM that QEMU has for some, and
//! by what the firmware of a Raspberry Pi would load from them. Media of virtual machines are in `virt.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::board::{assemble, output};
use crate::harness::disk::oracles;
use crate::harness::medium::{copy, fat, move_bytes, remove_from_ext4, remove_from_fat};
use crate::harness::pi::{Model, PI_2, PI_3, PI_4};
use crate::harness::qemu::{Machine, full};
use crate::harness::tools::command;
use crate::harness::tools::{run, skiff_image, temporary};

/// Tools that look into a medium and change it.
const TOOLS: [&str; 6] = ["sfdisk", "mcopy", "mdel", "debugfs", "fdtget", "fdtput"];
/// The first line of a sunxi SPL comes within a second, and within five on a loaded machine.
const SILENCE: Duration = Duration::from_secs(20);
/// Bytes from the place of a sunxi loader to the first partition, on the boards here.
const LOADER: u64 = 960 << 10;

/// Whether the cards of `test` are wanted, and can be looked into.
fn wanted(test: &str) -> bool {
    full(test) && oracles(test, &TOOLS)
}

#[test]
fn orangepi_zero_boots_through_its_spl_and_not_with_the_spl_moved() {
    if !wanted("orangepi_zero_boots_through_its_spl_and_not_with_the_spl_moved") {
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

/// The kernel of the fixture cannot mount a root by itself. Its layer has the board's own script load an initramfs
/// too, which does that by the same command line: mounts the FAT, and the squashfs on it.
#[test]
fn bananapi_m2ultra_boots_through_its_spl_and_not_with_the_spl_moved() {
    if !wanted("bananapi_m2ultra_boots_through_its_spl_and_not_with_the_spl_moved") {
        return;
    }
    let directory = temporary();
    let images = banana_images(directory.path());
    let own = banana_card(directory.path(), &images, None);
    let script = directory.path().join("boot.txt");
    run(command("mcopy").args(["-i", &fat(&own, 1), "::/boot.txt"]).arg(&script));
    let script = fs::read_to_string(&script).expect("the script is on the card");
    let image = banana_card(directory.path(), &images, Some(&with_initramfs(&script)));
    let moved = copy(&image);
    move_bytes(&moved, 8 << 10, LOADER, 9 << 10);
    let card = |image| Machine::new("qemu-system-arm", &["-M", "bpim2u"]).with_card(image);
    let mut whole = card(&image).start();
    whole.expect("skiff: loading from mmc 0:1");
    assert_eq!(whole.expect_boot(), 1);
    card(&moved).start().expect_no("U-Boot SPL", SILENCE);
}

/// The images of the fixture with this board's loader, and files on the boot partition that the fixture needs.
fn banana_images(directory: &Path) -> PathBuf {
    let (output, images) = (output("armhf"), directory.join("images"));
    run(command("cp").arg("-r").arg(output.join("images")).arg(&images));
    let loader = "u-boot-sunxi-with-spl.bin";
    fs::copy(output.join("u-boot/Bananapi_M2_Ultra").join(loader), images.join(loader)).expect("a loader");
    for name in ["boot_part", "skiff-init"] {
        fs::create_dir(images.join(name)).expect("the images are new");
    }
    fs::copy(output.join("early.cpio.gz"), images.join("boot_part/early.cpio.gz")).expect("an initramfs");
    fs::write(images.join("skiff-init/skiff-init-squashfs"), "stands for the first program\n")
        .expect("a file");
    images
}

/// A card of the board, with `script` as the boot script of a layer.
fn banana_card(directory: &Path, images: &Path, script: Option<&str>) -> PathBuf {
    let layer = directory.join("layers/test/script/resources/boot-scripts");
    fs::create_dir_all(&layer).expect("the directory is writable");
    let mut chain = "bananapi/m2ultra".to_owned();
    if let Some(script) = script {
        fs::write(layer.join("boot.txt"), script).expect("the directory is writable");
        chain += ",test/script";
    }
    let image = directory.join("disk.img");
    let mut assemble = skiff_image();
    assemble.env("SKIFF_EXTRA_CONFIGS_PATH", directory.join("layers"));
    // The seed decides the id of the partition that is the root, and is otherwise made of the chain too.
    assemble.args([
        "--quiet",
        "assemble",
        "--board",
        "bananapi/m2ultra",
        "--seed",
        "m2ultra",
        "--size",
        "2GiB",
    ]);
    assemble.args(["--config", &chain, "--force", "--source"]).arg(output("armhf"));
    run(assemble.arg("--images").arg(images).arg("--out").arg(&image));
    image
}

fn with_initramfs(script: &str) -> String {
    let boot = "bootz ${kernel_addr_r} - ${fdt_addr_r}\n";
    assert!(script.contains(boot), "{script}");
    let load = "load ${devtype} ${devnum}:${distro_bootpart} ${ramdisk_addr_r} early.cpio.gz\n";
    script.replace(boot, &format!("{load}{}", boot.replace(" - ", " ${ramdisk_addr_r}:${filesize} ")))
}

/// A card of a Raspberry Pi, and one that lacks the kernel's modules.
fn pi_cards(board: &str, arch: &str, directory: &Path) -> (PathBuf, PathBuf) {
    // The first two partitions take 10 GB.
    let image = assemble(board, arch, directory, &["--size", "16GiB"]);
    let broken = copy(&image);
    remove_from_ext4(&broken, 2, "/modules.squashfs");
    (image, broken)
}

/// The machine that boots what the firmware of `model` loads from `image`.
fn firmware(model: &Model, image: &Path, directory: &Path) -> Machine {
    let loaded = model.load(image, directory).unwrap_or_else(|name| panic!("the firmware finds no `{name}`"));
    if model.machine == "raspi4b" {
        loaded.fit_qemu();
    }
    model.machine(image, &loaded)
}

/// Without its own files on the card the firmware loads nothing.
fn expect_firmware_needs(model: &Model, image: &Path, directory: &Path, name: &str) {
    let broken = copy(image);
    remove_from_fat(&broken, 1, &format!("/{name}"));
    assert_eq!(model.load(&broken, directory).err().as_deref(), Some(name));
}

#[test]
fn pi_2_boots_what_its_firmware_finds_on_the_card() {
    if !wanted("pi_2_boots_what_its_firmware_finds_on_the_card") {
        return;
    }
    let directory = temporary();
    let (image, _) = pi_cards("pi/2", "armhf", directory.path());
    expect_firmware_needs(&PI_2, &image, directory.path(), "start_x.elf");
    assert_eq!(firmware(&PI_2, &image, directory.path()).start().expect_boot(), 1);
}

#[test]
fn pi_3_boots_what_its_firmware_finds_on_the_card() {
    if !wanted("pi_3_boots_what_its_firmware_finds_on_the_card") {
        return;
    }
    let directory = temporary();
    let (image, broken) = pi_cards("pi/3x64", "arm64", directory.path());
    expect_firmware_needs(&PI_3, &image, directory.path(), "bootcode.bin");
    assert_eq!(firmware(&PI_3, &image, directory.path()).start().expect_boot(), 1);
    firmware(&PI_3, &broken, directory.path()).start().expect_failure("no modules.squashfs on ");
}

#[test]
fn pi_4_boots_what_its_firmware_finds_on_the_card() {
    if !wanted("pi_4_boots_what_its_firmware_finds_on_the_card") {
        return;
    }
    let directory = temporary();
    let (image, broken) = pi_cards("pi/4", "arm64", directory.path());
    expect_firmware_needs(&PI_4, &image, directory.path(), "fixup4x.dat");
    firmware(&PI_4, &image, directory.path()).expect_persistence();
    firmware(&PI_4, &broken, directory.path()).start().expect_failure("no modules.squashfs on ");
}
