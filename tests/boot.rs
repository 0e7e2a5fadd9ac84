//! Images composed from Debian fixtures boot in QEMU, through the boot loader that is on them.

#[path = "common/mod.rs"]
mod common;
#[path = "common/fixture.rs"]
mod fixture;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{command, oracle};
use fixture::{assemble, run, temporary};

/// Slowest boot seen on a loaded machine with two cores was 66 seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the init of the fixtures prints when everything is mounted.
const OK: &str = "SKIFF-BOOT-OK ";
const FAIL: &str = "SKIFF-BOOT-FAIL";

/// A running virtual machine and what its console printed.
struct Machine {
    child: Child,
    console: mpsc::Receiver<Vec<u8>>,
    text: String,
}

impl Machine {
    fn start(qemu: &str, args: &[&str], drive: &[String]) -> Machine {
        let mut child = command(qemu)
            .args(["-accel", "tcg", "-nographic", "-no-reboot", "-nic", "none"])
            .args(args)
            .args(drive)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("QEMU starts");
        let mut stdout = child.stdout.take().expect("stdout is piped");
        let (sender, console) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Machine { child, console, text: String::new() }
    }

    /// The first line that contains one of `words`, or nothing when the time is up or the machine has stopped.
    fn line_with(&mut self, words: &[&str], patience: Duration) -> Option<String> {
        let end = Instant::now() + patience;
        loop {
            let complete = self.text.rfind('\n').map_or("", |end| &self.text[..end]);
            if let Some(line) = complete.lines().find(|line| words.iter().any(|word| line.contains(word))) {
                return Some(line.trim().to_owned());
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.console.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => return None,
            }
        }
    }

    fn expect_boot(mut self) {
        let line = self.line_with(&[OK, FAIL], PATIENCE);
        let tail: String = self.text.chars().rev().take(3000).collect::<Vec<_>>().into_iter().rev().collect();
        let line = line.unwrap_or_else(|| panic!("no `{OK}` on the console, which ends with:\n{tail}"));
        let named = |word: &str| {
            line.split_whitespace()
                .find_map(|part| part.strip_prefix(word))
                .unwrap_or_else(|| panic!("`{line}` does not name `{word}`; the console ends with:\n{tail}"))
        };
        eprintln!("{line}");
        assert!(!named("rootfs=").is_empty() && !named("modules=").is_empty(), "{line}");
        assert!(named("persist=").ends_with(":ok"), "{line}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have powered off by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sd_card(image: &Path) -> Vec<String> {
    vec!["-drive".into(), format!("if=sd,format=raw,file={}", image.display())]
}

fn virtio(image: &Path, device: &str) -> Vec<String> {
    vec![
        "-drive".into(),
        format!("if=none,id=disk,format=raw,file={}", image.display()),
        "-device".into(),
        format!("{device},drive=disk"),
    ]
}

const ORANGE_PI: [&str; 2] = ["-M", "orangepi-pc"];
const VIRT_ARM64: [&str; 6] = ["-M", "virt", "-cpu", "cortex-a57", "-m", "1024"];

#[test]
fn orangepi_zero_boots_through_its_spl_and_not_with_the_spl_moved() {
    let test = "orangepi_zero_boots_through_its_spl_and_not_with_the_spl_moved";
    if !oracle(test, "qemu-system-arm") {
        return;
    }
    let directory = temporary();
    let image = assemble("orangepi/zero", "armhf", directory.path(), &["--size", "1GiB"]);
    let moved = directory.path().join("moved.img");
    fs::copy(&image, &moved).expect("the image can be copied");
    move_loader(&moved, 8 << 10, 9 << 10);
    Machine::start("qemu-system-arm", &ORANGE_PI, &sd_card(&image)).expect_boot();
    let mut broken = Machine::start("qemu-system-arm", &ORANGE_PI, &sd_card(&moved));
    let banner = broken.line_with(&["U-Boot SPL"], Duration::from_secs(20));
    assert_eq!(banner, None, "the boot ROM must not find an SPL at 9 KiB");
}

/// Moves the boot loader before the first partition from one place to another.
fn move_loader(image: &Path, from: u64, to: u64) {
    let file = File::options().read(true).write(true).open(image).expect("the image opens");
    let mut loader = vec![0; 1 << 20];
    file.read_exact_at(&mut loader, from).expect("the image has a loader");
    file.write_all_at(&vec![0; (to - from) as usize], from).expect("the image is writable");
    file.write_all_at(&loader, to).expect("the image is writable");
}

#[test]
fn virt_arm64_boots_through_u_boot() {
    if !oracle("virt_arm64_boots_through_u_boot", "qemu-system-aarch64") {
        return;
    }
    let directory = temporary();
    let image = assemble("virt/qemu", "arm64", directory.path(), &["--size", "1GiB"]);
    let firmware = ["-bios", "/usr/lib/u-boot/qemu_arm64/u-boot.bin"];
    let args = [&VIRT_ARM64[..], &firmware].concat();
    Machine::start("qemu-system-aarch64", &args, &virtio(&image, "virtio-blk-device")).expect_boot();
}

#[test]
fn virt_arm64_boots_through_uefi() {
    if !oracle("virt_arm64_boots_through_uefi", "qemu-system-aarch64") {
        return;
    }
    let directory = temporary();
    let image = assemble("virt/qemu", "arm64", directory.path(), &["--size", "1GiB"]);
    let firmware = ["-bios", "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"];
    let args = [&VIRT_ARM64[..], &firmware].concat();
    Machine::start("qemu-system-aarch64", &args, &virtio(&image, "virtio-blk-device")).expect_boot();
}

#[test]
fn virt_x86_64_boots_through_uefi() {
    if !oracle("virt_x86_64_boots_through_uefi", "qemu-system-x86_64") {
        return;
    }
    let directory = temporary();
    let image = assemble("virt/qemu", "amd64", directory.path(), &["--size", "1GiB"]);
    let code = "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd";
    let vars = "if=pflash,unit=1,format=raw,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd";
    let args = ["-M", "q35", "-m", "1024", "-drive", code, "-drive", vars];
    Machine::start("qemu-system-x86_64", &args, &virtio(&image, "virtio-blk-pci")).expect_boot();
}

/// The firmware of a Raspberry Pi does what its two texts on the card say; the machine gets from the card what
/// it would load. QEMU has no BCM2711, but the kernel runs on the BCM2837 too, with that one's device tree.
#[test]
fn pi_4_boots_what_its_firmware_texts_name() {
    let test = "pi_4_boots_what_its_firmware_texts_name";
    if ["qemu-system-aarch64", "sfdisk", "mcopy"].iter().any(|tool| !oracle(test, tool)) {
        return;
    }
    let directory = temporary();
    // The emulated card reader wants a power of two.
    let image = assemble("pi/4", "arm64", directory.path(), &["--size", "16GiB"]);
    let fat = format!("{}@@{}", image.display(), first_partition(&image));
    let take = |name: &str| {
        let to = directory.path().join(name);
        run(command("mcopy").args(["-n", "-i", &fat, &format!("::/{name}")]).arg(&to));
        to
    };
    let config = fs::read_to_string(take("config.txt")).expect("config.txt");
    let kernel = config.lines().find_map(|line| line.strip_prefix("kernel=")).expect("a kernel");
    let ramdisk = config.lines().find_map(|line| line.strip_prefix("initramfs ")).expect("a ramdisk");
    let cmdline = fs::read_to_string(take("cmdline.txt")).expect("cmdline.txt");
    let (kernel, ramdisk) = (take(kernel), take(ramdisk));
    let tree = fixture::output("arm64").join("images/bcm2837-rpi-3-b.dtb");
    let text = |path: &Path| path.to_str().expect("target/ has a plain name").to_owned();
    let (kernel, ramdisk, tree) = (text(&kernel), text(&ramdisk), text(&tree));
    let args =
        ["-M", "raspi3b", "-kernel", &kernel, "-initrd", &ramdisk, "-dtb", &tree, "-append", cmdline.trim()];
    Machine::start("qemu-system-aarch64", &args, &sd_card(&image)).expect_boot();
}

/// Byte at which the first partition begins.
fn first_partition(image: &Path) -> u64 {
    let dump = run(command("sfdisk").arg("--dump").arg(image));
    let start = dump.lines().find_map(|line| line.split_once("start=")).expect("a partition").1;
    let start: u64 = start.split(',').next().and_then(|text| text.trim().parse().ok()).expect("a sector");
    start * 512
}
