//! Media of virtual machines, composed from Debian fixtures, boot in QEMU, through the boot loader that is on them.
//! What boots on boards is in `arm.rs`.

use std::path::{Path, PathBuf};

use crate::harness::board::assemble;
use crate::harness::disk::oracles;
use crate::harness::medium::{copy, relabel_ext4, remove_from_ext4, remove_from_fat, spoil_in_fat};
use crate::harness::qemu::{Machine, full};
use crate::harness::tools::temporary;

/// Tools that look into a medium and change it.
const TOOLS: [&str; 4] = ["sfdisk", "mcopy", "mdel", "debugfs"];
/// Partitions of the board, in their order.
const BOOT: usize = 1;
const ROOTFS: usize = 2;
const PERSIST: usize = 3;

pub(super) const ARM64_U_BOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
const ARM64_UEFI: &str = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd";

pub(super) fn virt_arm64(firmware: &str, image: &Path) -> Machine {
    Machine::new(
        "qemu-system-aarch64",
        &["-M", "virt", "-cpu", "cortex-a57", "-m", "1024", "-bios", firmware],
    )
    .with_disk(image, "virtio-blk-device")
}

fn virt_arm(image: &Path) -> Machine {
    let firmware = "/usr/lib/u-boot/qemu_arm/u-boot.bin";
    Machine::new("qemu-system-arm", &["-M", "virt", "-cpu", "cortex-a15", "-m", "1024", "-bios", firmware])
        .with_disk(image, "virtio-blk-device")
}

/// OpenSBI comes with QEMU and starts what is given as the kernel in supervisor mode.
fn virt_riscv64(image: &Path) -> Machine {
    let loader = "/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin";
    Machine::new("qemu-system-riscv64", &["-M", "virt", "-m", "1024", "-kernel", loader])
        .with_disk(image, "virtio-blk-device")
}

fn q35(image: &Path) -> Machine {
    let code = "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd";
    let vars = "if=pflash,unit=1,format=raw,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd";
    Machine::new("qemu-system-x86_64", &["-M", "q35", "-m", "1024", "-drive", code, "-drive", vars])
        .with_disk(image, "virtio-blk-pci")
}

fn medium(arch: &str, directory: &Path) -> PathBuf {
    assemble("virt/qemu", arch, directory, &["--size", "1GiB"])
}

#[test]
fn virt_arm64_boots_through_u_boot_and_extlinux() {
    if !oracles("virt_arm64_boots_through_u_boot_and_extlinux", &TOOLS) {
        return;
    }
    let directory = temporary();
    let image = medium("arm64", directory.path());
    let broken = copy(&image);
    remove_from_ext4(&broken, ROOTFS, "/modules.squashfs");
    virt_arm64(ARM64_U_BOOT, &image).expect_persistence();
    virt_arm64(ARM64_U_BOOT, &broken).start().expect_failure("no modules.squashfs on ");
}

#[test]
fn virt_arm64_boots_through_u_boot_and_boot_scr() {
    if !oracles("virt_arm64_boots_through_u_boot_and_boot_scr", &TOOLS) {
        return;
    }
    let directory = temporary();
    let image = medium("arm64", directory.path());
    // Without it U-Boot takes what it looks for next.
    remove_from_fat(&image, BOOT, "/extlinux/extlinux.conf");
    let broken = copy(&image);
    spoil_in_fat(&broken, BOOT, "/boot.scr");
    let mut whole = virt_arm64(ARM64_U_BOOT, &image).start();
    whole.expect("skiff: loading from virtio 0:1");
    whole.expect_boot();
    virt_arm64(ARM64_U_BOOT, &broken).start().expect_line("Bad data crc", "skiff: loading from");
}

#[test]
fn virt_arm64_boots_through_uefi_and_grub() {
    if !oracles("virt_arm64_boots_through_uefi_and_grub", &TOOLS) {
        return;
    }
    let directory = temporary();
    let image = medium("arm64", directory.path());
    let broken = copy(&image);
    remove_from_fat(&broken, BOOT, "/EFI/BOOT/grub.cfg");
    virt_arm64(ARM64_UEFI, &image).start().expect_boot();
    virt_arm64(ARM64_UEFI, &broken).start().expect_line("Minimal BASH-like line editing", "Linux version");
}

#[test]
fn virt_arm_boots_through_u_boot_and_extlinux() {
    let test = "virt_arm_boots_through_u_boot_and_extlinux";
    if !full(test) || !oracles(test, &TOOLS) {
        return;
    }
    let directory = temporary();
    let image = medium("armhf", directory.path());
    let broken = copy(&image);
    relabel_ext4(&broken, ROOTFS, "other");
    virt_arm(&image).start().expect_boot();
    virt_arm(&broken).start().expect_failure("no partition LABEL=rootfs");
}

#[test]
fn virt_riscv64_boots_through_opensbi_u_boot_and_extlinux() {
    if !oracles("virt_riscv64_boots_through_opensbi_u_boot_and_extlinux", &TOOLS) {
        return;
    }
    let directory = temporary();
    let image = medium("riscv64", directory.path());
    let broken = copy(&image);
    relabel_ext4(&broken, PERSIST, "other");
    virt_riscv64(&image).expect_persistence();
    virt_riscv64(&broken).start().expect_failure("no partition LABEL=persist");
}

#[test]
fn virt_x86_64_boots_through_uefi() {
    let test = "virt_x86_64_boots_through_uefi";
    if !oracles(test, &TOOLS) || !oracles(test, &["qemu-system-x86_64"]) {
        return;
    }
    let directory = temporary();
    let image = medium("amd64", directory.path());
    let broken = copy(&image);
    remove_from_ext4(&broken, ROOTFS, "/modules.squashfs");
    q35(&image).start().expect_boot();
    q35(&broken).start().expect_failure("no modules.squashfs on ");
}
