//! Media for PCs, composed from Debian fixtures, boot in QEMU from their boot sector or their ESP on.
//!
//! Debian's kernel has the drivers of disks and filesystems as modules, and a kernel of SkiffOS has them built in. Where
//! the kernel has to mount its root itself, an initramfs of the fixture lies on the medium and loads them; it then
//! starts what `init=` names on the medium, as the kernel would. A layer brings the command line that names it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::pre_init::{put, skiff_init};
use crate::harness::board::{assemble, output};
use crate::harness::disk::oracles;
use crate::harness::medium::{copy, move_bytes, remove_from_ext4, rename_in_ext4};
use crate::harness::qemu::Machine;
use crate::harness::tools::command;
use crate::harness::tools::{run, skiff_image, temporary};

/// Tools that look into a medium and change it.
const TOOLS: [&str; 4] = ["sfdisk", "debugfs", "dd", "qemu-system-x86_64"];
const SECTOR: u64 = 512;
/// What the fixture calls its release, as rEFInd finds it in the name of the kernel.
const TAG: &str = "2026.08.1-1";
/// Longer than any boot loader here took to its first line on a loaded machine.
const SILENCE: Duration = Duration::from_secs(25);

/// A PC with a BIOS and a disk on SATA.
fn bios(image: &Path) -> Machine {
    Machine::new("qemu-system-x86_64", &["-M", "q35", "-m", "512"]).with_disk(image, "ide-hd")
}

/// A PC with UEFI that knows of no boot entry.
pub(super) fn uefi(image: &Path) -> Machine {
    let code = "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd";
    let vars = "if=pflash,unit=1,format=raw,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd";
    Machine::new("qemu-system-x86_64", &["-M", "q35", "-m", "1024", "-drive", code, "-drive", vars])
        .with_disk(image, "virtio-blk-pci")
}

#[test]
fn apu2_boots_through_grub_behind_the_mbr_and_not_with_its_core_moved() {
    if !oracles("apu2_boots_through_grub_behind_the_mbr_and_not_with_its_core_moved", &TOOLS) {
        return;
    }
    let directory = temporary();
    let image = assemble("pcengines/apu2", "amd64", directory.path(), &[]);
    let broken = copy(&image);
    move_bytes(&broken, SECTOR, 200 << 10, SECTOR + 1024);
    bios(&image).expect_persistence();
    let mut moved = bios(&broken).start();
    moved.expect("Booting from Hard Disk");
    moved.expect_no("Welcome to GRUB!", SILENCE);
}

#[test]
fn x64_boots_through_uefi_and_grub_and_not_without_its_modules() {
    if !oracles("x64_boots_through_uefi_and_grub_and_not_without_its_modules", &TOOLS) {
        return;
    }
    let directory = temporary();
    let image = assemble("intel/x64", "amd64", directory.path(), &[]);
    let broken = copy(&image);
    remove_from_ext4(&broken, 2, "/modules.squashfs");
    uefi(&image).expect_persistence();
    uefi(&broken).start().expect_failure("no modules.squashfs on ");
}

/// A medium of the `intel-desktop` family: what it is composed of besides the fixture.
pub(super) struct Desktop {
    directory: tempfile::TempDir,
    fixture: PathBuf,
    /// Layers, in order.
    config: &'static str,
    /// Directories with more layers, as the program wants to be told.
    layers: OsString,
}

impl Desktop {
    fn new() -> Desktop {
        Desktop::of(output("amd64"), "test/pc", OsString::new())
    }

    /// The images of the fixture with `skiff-init` and the initramfs, and an empty layer `test/pc`.
    pub(super) fn of(fixture: PathBuf, config: &'static str, layers: OsString) -> Desktop {
        let desktop = Desktop { directory: temporary(), fixture: fixture.clone(), config, layers };
        run(Command::new("cp").arg("-rl").arg(fixture.join("images")).arg(desktop.path("images")));
        let early = fs::read(fixture.join("early.cpio.gz")).expect("the fixture");
        put(&desktop.path("images/skiff-init/early.cpio.gz"), early, 0o644);
        let program = fs::read(skiff_init()).expect("the binary");
        put(&desktop.path("images/skiff-init/skiff-init-squashfs"), program, 0o755);
        put(&desktop.path("configs/test/pc/metadata/description"), "A PC of a test\n", 0o644);
        desktop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The layer names the initramfs, and this partition as the root.
    pub(super) fn name_root(&self, partuuid: &str) {
        let text = format!(
            "\"Boot SkiffOS\" \"root=PARTUUID={partuuid} skiffos.squashfs=/boot/init-skiffos-%v.squashfs rootwait rw \
             console=ttyS0,115200 init=/boot/skiff-init/skiff-init-squashfs initrd=/boot/skiff-init/early.cpio.gz \
             fixture.start=init\"\n"
        );
        put(&self.path("configs/test/pc/resources/refind_linux.conf"), text, 0o644);
    }

    pub(super) fn assemble(&self, board: &str, name: &str, options: &[&str]) -> PathBuf {
        let image = self.path(name);
        run(skiff_image()
            .args(["--quiet", "assemble", "--board", board, "--config", self.config, "--seed", "test"])
            .env("SKIFF_EXTRA_CONFIGS_PATH", &self.layers)
            .arg("--root")
            .arg(self.directory.path())
            .arg("--source")
            .arg(&self.fixture)
            .arg("--images")
            .arg(self.path("images"))
            .args(options)
            .arg("--out")
            .arg(&image));
        image
    }
}

/// The GUID of a partition, as the kernel has it.
pub(super) fn partuuid(image: &Path, number: &str) -> String {
    run(command("sfdisk").arg("--part-uuid").arg(image).arg(number)).trim().to_lowercase()
}

#[test]
fn desktop_boots_through_grub_and_refind_and_not_without_its_squashfs_or_its_partition() {
    let test = "desktop_boots_through_grub_and_refind_and_not_without_its_squashfs_or_its_partition";
    if !oracles(test, &TOOLS) {
        return;
    }
    let desktop = Desktop::new();
    desktop.name_root("00000000-0000-0000-0000-000000000000");
    let nowhere = desktop.assemble("intel/desktop", "nowhere.img", &[]);
    desktop.name_root(&partuuid(&nowhere, "2"));
    let image = desktop.assemble("intel/desktop", "disk.img", &[]);
    let empty = copy(&image);
    remove_from_ext4(&empty, 2, &format!("/boot/init-skiffos-{TAG}.squashfs"));

    let mut first = uefi(&image).start();
    first.expect("Welcome to GRUB!");
    first.expect(&format!("skiffos.squashfs=/boot/init-skiffos-{TAG}.squashfs"));
    first.expect("skiff-init: starting `/sbin/init`");
    assert_eq!(first.expect_boot(), 1);
    assert_eq!(uefi(&image).start().expect_boot(), 2, "what the first boot wrote is lost");
    uefi(&nowhere).start().expect_failure("no partition root=PARTUUID=00000000-");
    uefi(&empty).start().expect_line("no image: there is no ", "SKIFF-BOOT-OK");
}

/// The disk of a Mac: an ESP that macOS made, with rEFInd on it as its installer leaves it, a partition of macOS, and
/// one for Linux with `image`.
fn mac(directory: &Path, image: &Path, linux: &str) -> PathBuf {
    const MIB: u64 = 1 << 20;
    let (disk, esp) = (directory.join("mac.img"), directory.join("esp.img"));
    let len = fs::metadata(image).expect("an image").len();
    File::create(&disk).and_then(|file| file.set_len(228 * MIB + len)).expect("target/ is writable");
    let table = format!(
        "label: gpt\nfirst-lba: 34\n\
         start=40, size=409600, name=\"EFI System Partition\", type=U\n\
         size=32768, name=\"Macintosh HD\", type=7C3457EF-0000-11AA-AA11-00306543ECAC\n\
         start={}, size={}, name=\"Linux\", type=L, uuid={linux}\n",
        218 * MIB / SECTOR,
        len / SECTOR
    );
    let sfdisk = "printf '%s' \"$2\" | sfdisk --quiet \"$1\"";
    run(command("sh").args(["-c", sfdisk, "sfdisk"]).arg(&disk).arg(table));
    let refind = output("amd64").join("images/efi-part/EFI/refind");
    let make = "mkfs.vfat -C -F 32 -s 1 -n EFI \"$1\" 204800 >/dev/null && mmd -i \"$1\" ::/EFI ::/EFI/BOOT \
                ::/EFI/BOOT/drivers_x64 && mcopy -i \"$1\" \"$2/refind_x64.efi\" ::/EFI/BOOT/BOOTX64.EFI && \
                mcopy -i \"$1\" \"$2/drivers_x64/ext4_x64.efi\" ::/EFI/BOOT/drivers_x64/ && \
                printf 'timeout 1\\ntextonly\\n' | mcopy -i \"$1\" - ::/EFI/BOOT/refind.conf";
    run(command("sh").args(["-c", make, "mkfs"]).arg(&esp).arg(&refind));
    let put = |file: &Path, at: u64| {
        let (from, to) = (format!("if={}", file.display()), format!("of={}", disk.display()));
        let place = format!("seek={at}");
        run(command("dd").args([&from, &to, &place]).args([
            "bs=64K",
            "oflag=seek_bytes",
            "conv=notrunc,sparse",
            "status=none",
        ]));
    };
    put(&esp, 40 * SECTOR);
    put(image, 218 * MIB);
    disk
}

#[test]
fn mac_boots_from_a_partition_beside_macos_and_not_under_another_version() {
    let test = "mac_boots_from_a_partition_beside_macos_and_not_under_another_version";
    if !oracles(test, &TOOLS) || !oracles(test, &["mkfs.vfat", "mmd", "mcopy"]) {
        return;
    }
    let desktop = Desktop::new();
    let linux = "6d616320-0000-4000-8000-736b6966666f";
    desktop.name_root(linux);
    let image = desktop.assemble("apple/intel", "linux.img", &["--partuuid", linux]);
    let disk = mac(desktop.directory.path(), &image, linux);
    let broken = copy(&disk);
    rename_in_ext4(&broken, 3, &format!("/boot/bzImage-skiffos-{TAG}"), "/boot/bzImage-skiffos-2027.01-1");

    let mut first = uefi(&disk).start();
    first.expect(&format!("skiffos.squashfs=/boot/init-skiffos-{TAG}.squashfs"));
    assert_eq!(first.expect_boot(), 1);
    assert_eq!(uefi(&disk).start().expect_boot(), 2, "what the first boot wrote is lost");
    let missing = "no image: there is no `/boot/init-skiffos-.squashfs`";
    uefi(&broken).start().expect_line(missing, "SKIFF-BOOT-OK");
    let table = run(command("sfdisk").arg("--dump").arg(&disk));
    assert!(table.contains("name=\"Macintosh HD\""), "{table}");
}
