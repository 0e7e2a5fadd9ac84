//! `flash` on real block devices: consent, force, locks, and devices that are too small, read-only or pulled out.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::loopdev::{LoopDevice, run};
use crate::harness::skip::skip;
use crate::harness::tools;
use crate::harness::tools::{command, oracle, unmount};
use skiff_image::device::{Destruction, Host, Override, Overrides};
use skiff_image::error::ErrorKind;
use skiff_image::event::{Event, Listener, Phase};
use skiff_image::flash::FlashOptions;
use skiff_image::flash::journal::{Header, Journal, MediumId};
use skiff_image::source::Image;
use skiff_image::storage::{Device, ReadOnly, Target};
use skiff_image::value::Digest;

const MIB: u64 = 1 << 20;

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory")
}

/// An image of bytes that differ everywhere.
fn image(directory: &Path, len: u64) -> PathBuf {
    let path = directory.join("image");
    let words = (0..len / 8).flat_map(|index| (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1).to_le_bytes());
    fs::write(&path, words.collect::<Vec<u8>>()).expect("an image");
    path
}

/// `flash` of an image onto a device.
fn flash(image: &Path, device: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-image"));
    command.args(["flash", "--image"]).arg(image).arg(device).args(options).stdin(Stdio::null());
    command
}

/// Exit code and what is on stderr.
fn said(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().expect("skiff-image runs");
    (status.code().expect("no signal"), String::from_utf8_lossy(&stderr).into_owned())
}

fn expect_written(command: &mut Command, image: &Path, device: &LoopDevice) -> String {
    let (code, text) = said(command);
    assert_eq!(code, 0, "{text}");
    let (same, difference) =
        run(tools::command("cmp").arg("--bytes").arg(len(image).to_string()).arg(image).arg(&device.path));
    assert!(same, "{difference}");
    text
}

fn len(path: &Path) -> u64 {
    path.metadata().expect("a file").len()
}

/// A refusal leaves the device as it was.
fn expect_refused(command: &mut Command, device: &LoopDevice, code: i32, expected: &str) {
    let bytes = || fs::read(device.file.path()).expect("the file behind the device");
    let before = bytes();
    let (found, text) = said(command);
    assert!(found == code && text.contains(expected), "exit code {found}: {text}");
    assert!(bytes() == before, "`{}` was written", device.path.display());
}

fn name(device: &LoopDevice) -> String {
    device.path.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn consent_is_for_one_device() {
    let test = "consent_is_for_one_device";
    if !oracle(test, "mke2fs") {
        return;
    }
    let Some(device) = LoopDevice::new(test, 16 * MIB, &[]) else { return };
    let Some(other) = LoopDevice::new(test, 17 * MIB, &[]) else { return };
    let directory = temporary();
    let image = image(directory.path(), 4 * MIB);
    assert!(run(command("mke2fs").args(["-q", "-t", "ext4", "-L", "photos"]).arg(&device.path)).0);
    let token = |device: &LoopDevice| Host::new().candidate(&device.path, 0).expect("free").token();
    let (own, foreign, path) = (token(&device), token(&other), device.path.display());
    // Nobody is asked where there is no terminal.
    let told = format!(
        "refused: `{path}` was not written: there is no terminal to ask on\nhint: give `--confirm {own}` to write this \
         device, or `--yes` to write whatever is there\n"
    );
    expect_refused(&mut flash(&image, &device.path, &[]), &device, 4, &told);
    let told = format!(
        "refused: `{path}` was not written: its token is not `{foreign}`\nhint: another device may be in its place; \
         `skiff-image devices` lists them with their tokens\n"
    );
    expect_refused(&mut flash(&image, &device.path, &["--confirm", &foreign]), &device, 4, &told);
    expect_refused(&mut flash(&image, &device.path, &["--yes", "--confirm", &foreign]), &device, 4, &told);
    let told = format!("refused: no device that was given has the token `{foreign}`\n");
    let both = ["--confirm", &own, "--confirm", &foreign];
    expect_refused(&mut flash(&image, &device.path, &both), &device, 4, &told);
    let text = expect_written(&mut flash(&image, &device.path, &["--confirm", &own]), &image, &device);
    let file = device.file.path().display();
    let told = format!(
        "everything on this device will be lost:\n  {path}: {file}, 16 MiB, loop, no partitions\n    now on it: no \
         partition table, ext4 `photos`, "
    );
    assert!(text.starts_with(&told), "{text}");
}

#[test]
fn who_is_asked_answers_with_the_name_of_the_device() {
    let test = "who_is_asked_answers_with_the_name_of_the_device";
    if !oracle(test, "script") {
        return;
    }
    let Some(device) = LoopDevice::new(test, 16 * MIB, &[]) else { return };
    let directory = temporary();
    let image = image(directory.path(), 4 * MIB);
    let program = env!("CARGO_BIN_EXE_skiff-image");
    let line = format!("'{program}' flash --image '{}' {}", image.display(), device.path.display());
    // A terminal of its own, on which the answer is typed.
    let answer = |answer: &str| {
        let mut terminal = command("script");
        terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdin(Stdio::piped());
        let mut terminal = terminal.stdout(Stdio::piped()).spawn().expect("script runs");
        let mut input = terminal.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut input, format!("{answer}\n").as_bytes()).expect("an answer");
        let output = terminal.wait_with_output().expect("script ends");
        drop(input);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n"))
    };
    let (code, text) = answer("yes");
    let (path, name) = (device.path.display(), name(&device));
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains(&format!("type the name of the device ({name}) to go on:")), "{text}");
    let told = format!(
        "refused: `{path}` was not written: the answer was not `{name}`\nhint: run it again and type `{name}`, as the \
         question has it\n"
    );
    assert!(text.ends_with(&told), "{text}");
    let (code, text) = answer(&name);
    assert_eq!(code, Some(0), "{text}");
    assert!(run(command("cmp").arg("--bytes").arg((4 * MIB).to_string()).arg(&image).arg(&device.path)).0);
}

/// The card is taken out of its reader while the question waits, and another one, of the same size, is put in.
#[test]
fn a_card_that_is_changed_while_the_question_waits_is_refused() {
    let test = "a_card_that_is_changed_while_the_question_waits_is_refused";
    if !oracle(test, "script") {
        return;
    }
    // Another test may take the reader in the moment when it is empty.
    for _ in 0..10 {
        let Some(device) = LoopDevice::new(test, 16 * MIB, &[]) else { return };
        let directory = temporary();
        let image = image(directory.path(), 4 * MIB);
        let program = env!("CARGO_BIN_EXE_skiff-image");
        let line = format!("'{program}' flash --image '{}' {}", image.display(), device.path.display());
        let mut terminal = command("script");
        terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdin(Stdio::piped());
        let mut terminal = Running(terminal.stdout(Stdio::piped()).spawn().expect("script runs"));
        let mut output = terminal.0.stdout.take().expect("a pipe");
        let mut text = String::new();
        while !text.contains("to go on:") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut output, &mut byte).expect("a question");
            text.push(byte[0].into());
        }
        assert!(run(command("losetup").arg("--detach").arg(&device.path)).0);
        // The very same file: only the number of the medium is another.
        if !run(command("losetup").arg(&device.path).arg(device.file.path())).0 {
            continue;
        }
        let mut input = terminal.0.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut input, format!("{}\n", name(&device)).as_bytes()).expect("an answer");
        std::io::Read::read_to_string(&mut output, &mut text).expect("text");
        assert_eq!(terminal.0.wait().expect("script ends").code(), Some(4), "{text}");
        let told = format!(
            "refused: `{}` was exchanged for another device since it was checked\r\nhint: start again when the device \
             is plugged in firmly\r\n",
            device.path.display()
        );
        assert!(text.ends_with(&told), "{text}");
        let bytes = fs::read(device.file.path()).expect("the file behind the device");
        assert!(bytes.iter().all(|byte| *byte == 0), "it was written");
        return;
    }
    panic!("no loop device stays the same for ten times");
}

#[test]
fn a_partition_is_told_with_what_is_in_it() {
    let test = "a_partition_is_told_with_what_is_in_it";
    if !oracle(test, "addpart") || !oracle(test, "mke2fs") {
        return;
    }
    let Some(device) = LoopDevice::new(test, 16 * MIB, &["--partscan"]) else { return };
    let Some(partition) = partition(test, &device) else { return };
    assert!(run(command("mke2fs").args(["-q", "-t", "ext4", "-L", "old"]).arg(&partition)).0);
    let candidate = Host::new().partition(&partition, 0).expect("free");
    let told = Destruction::for_device(&candidate, Some(3 * MIB)).expect("it is read").to_string();
    run(command("delpart").arg(&device.path).arg("1"));
    let (path, disk, file) = (partition.display(), device.path.display(), device.file.path().display());
    let head = format!("{path}: partition 1 of {disk}, {file}, 4 MiB, loop\n  now in it: ext4 `old`, ");
    assert!(told.starts_with(&head), "{told}");
    assert!(told.ends_with(" used\n  will be written: 3 MiB"), "{told}");
}

#[test]
fn a_link_to_a_disk_is_followed_and_told() {
    let test = "a_link_to_a_disk_is_followed_and_told";
    let Some(device) = LoopDevice::new(test, 16 * MIB, &["--sector-size", "4096"]) else { return };
    let directory = temporary();
    let image = image(directory.path(), 4 * MIB);
    let link = directory.path().join("usb-Card_0815-0:0");
    symlink(&device.path, &link).expect("link");
    let text = expect_written(&mut flash(&image, &link, &["--yes"]), &image, &device);
    let told = format!("`{}` is `{}`\n", link.display(), device.path.display());
    assert!(text.starts_with(&told), "{text}");
}

/// One sector makes the difference.
#[test]
fn an_image_fits_to_the_sector() {
    let test = "an_image_fits_to_the_sector";
    for (sector, size) in [("512", 512), ("4096", 4096)] {
        let options = ["--sector-size", sector];
        let Some(exact) = LoopDevice::new(test, 4 * MIB, &options) else { return };
        let Some(small) = LoopDevice::new(test, 4 * MIB - size, &options) else { return };
        let directory = temporary();
        let image = image(directory.path(), 4 * MIB);
        let have = skiff_image::value::ByteSize(4 * MIB - size);
        let told = format!("is not written: the image needs 4 MiB and it has {have}\n");
        expect_refused(&mut flash(&image, &small.path, &["--yes"]), &small, 4, &told);
        expect_written(&mut flash(&image, &exact.path, &["--yes"]), &image, &exact);
    }
}

/// A mounted filesystem, until it is dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(device: &Path) -> Mounted {
        let at = temporary();
        assert!(run(command("mke2fs").args(["-q", "-t", "ext4", "-F"]).arg(device)).0);
        let (mounted, text) = run(command("mount").args(["-o", "ro"]).arg(device).arg(at.path()));
        assert!(mounted, "{text}");
        Mounted(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(self.0.path());
    }
}

#[test]
fn a_mounted_device_is_written_when_it_is_forced_and_only_by_that_word() {
    let test = "a_mounted_device_is_written_when_it_is_forced_and_only_by_that_word";
    if !oracle(test, "mke2fs") || !oracle(test, "mount") {
        return;
    }
    let Some(device) = LoopDevice::new(test, 16 * MIB, &[]) else { return };
    let directory = temporary();
    let image = image(directory.path(), 4 * MIB);
    let path = device.path.display();
    let told = "refused: `--force mounted` overrides nothing: no device that was given is mounted\nhint: leave it out, if this \
         is the right device\n";
    expect_refused(&mut flash(&image, &device.path, &["--yes", "--force", "mounted"]), &device, 4, told);
    let mounted = Mounted::new(&device.path);
    let reason = format!("`{path}` is mounted on `{}`", mounted.0.path().display());
    let told = format!(
        "refused: `{path}` is not written: {reason}\nhint: umount `{}` if this is the right disk, or give `--force \
         mounted`\n",
        mounted.0.path().display()
    );
    expect_refused(&mut flash(&image, &device.path, &["--yes"]), &device, 4, &told);
    expect_refused(&mut flash(&image, &device.path, &["--yes", "--force", "held"]), &device, 4, &told);
    // The kernel knows it as well as this program does.
    let busy = Device::open(&device.path).err().expect("busy").to_string();
    assert_eq!(busy, format!("`{path}` is in use by the system"));
    let text =
        expect_written(&mut flash(&image, &device.path, &["--yes", "--force", "mounted"]), &image, &device);
    assert!(
        text.contains(&format!("warning: `--force mounted` overrides for `{path}`: {reason}\n")),
        "{text}"
    );
    drop(mounted);
}

/// Swap space that is in use until it is dropped.
struct Swap(PathBuf);

impl Swap {
    fn on(test: &str, device: &Path) -> Option<Swap> {
        assert!(run(command("mkswap").arg(device)).0);
        let (on, text) = run(command("swapon").arg(device));
        if !on {
            skip(test, &format!("swapon: {text}"));
            return None;
        }
        Some(Swap(device.into()))
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        run(command("swapoff").arg(&self.0));
    }
}

/// A partition of 4 MiB at 1 MiB.
fn partition(test: &str, device: &LoopDevice) -> Option<PathBuf> {
    run(command("addpart").arg(&device.path).args(["1", "2048", "8192"]));
    let partition = PathBuf::from(format!("{}p1", device.path.display()));
    if partition.exists() {
        return Some(partition);
    }
    skip(test, "loop devices have no partitions here");
    None
}

/// The kernel protects the swap space itself, but not the disk that it is on.
#[test]
fn a_disk_with_swap_space_is_written_when_it_is_forced_and_swap_space_itself_never() {
    let test = "a_disk_with_swap_space_is_written_when_it_is_forced_and_swap_space_itself_never";
    if !oracle(test, "mkswap") || !oracle(test, "addpart") {
        return;
    }
    let Some(device) = LoopDevice::new(test, 16 * MIB, &["--partscan"]) else { return };
    let directory = temporary();
    let image = image(directory.path(), 4 * MIB);
    let path = device.path.display();
    let Some(swap) = Swap::on(test, &device.path) else { return };
    let told = format!(
        "refused: `{path}` is not written: `{path}` is used as swap space\nhint: swapoff `{path}` if this is the right \
         disk; the kernel lets nobody write to it before\n"
    );
    expect_refused(&mut flash(&image, &device.path, &["--yes", "--force", "swap"]), &device, 4, &told);
    drop(swap);
    let Some(partition) = partition(test, &device) else { return };
    let swap = Swap::on(test, &partition).expect("as before");
    let reason = format!("`{}` is used as swap space", partition.display());
    expect_refused(&mut flash(&image, &device.path, &["--yes"]), &device, 4, &reason);
    let forced = said(&mut flash(&image, &device.path, &["--yes", "--force", "swap"]));
    drop(swap);
    run(command("delpart").arg(&device.path).arg("1"));
    let warning = format!("warning: `--force swap` overrides for `{path}`: {reason}\n");
    assert!(forced.0 == 0 && forced.1.contains(&warning), "{forced:?}");
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what}");
}

#[test]
fn a_device_that_another_program_locks_is_refused_with_its_name() {
    let test = "a_device_that_another_program_locks_is_refused_with_its_name";
    if !oracle(test, "flock") {
        return;
    }
    let Some(device) = LoopDevice::new(test, 16 * MIB, &[]) else { return };
    let directory = temporary();
    let image = image(directory.path(), 4 * MIB);
    let path = device.path.display();
    // `flock` becomes the program, which keeps the lock.
    let holder =
        command("flock").args(["--no-fork", "--exclusive"]).arg(&device.path).args(["sleep", "600"]).spawn();
    let holder = Running(holder.expect("flock runs"));
    let pid = holder.0.id();
    let comm = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    wait_until("flock takes the lock", || comm() == "sleep\n");
    let told = format!(
        "refused: `{path}` is locked by `sleep` (process {pid})\nhint: wait until `sleep` (process {pid}) is done, or \
         stop it\n"
    );
    expect_refused(&mut flash(&image, &device.path, &["--yes"]), &device, 4, &told);
    drop(holder);
    // What has it open without a lock does not matter, but who claims it does.
    let reader = File::open(&device.path).expect("open");
    expect_written(&mut flash(&image, &device.path, &["--yes"]), &image, &device);
    drop(reader);
}

#[test]
fn a_lock_that_is_given_back_soon_is_waited_for() {
    let test = "a_lock_that_is_given_back_soon_is_waited_for";
    let Some(device) = LoopDevice::new(test, 16 * MIB, &[]) else { return };
    let file = File::open(&device.path).expect("open");
    file.lock_shared().expect("as udev does");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            file.unlock().expect("unlock");
        });
        Device::open(&device.path).expect("after a while");
    });
}

/// Python claims a device as `mkfs` does, which no lock tells of.
#[test]
fn who_claims_a_device_is_named() {
    let test = "who_claims_a_device_is_named";
    if !oracle(test, "python3") {
        return;
    }
    let Some(device) = LoopDevice::new(test, 16 * MIB, &[]) else { return };
    let path = device.path.display();
    let script = format!(
        "import os, time\nos.open('{path}', os.O_RDWR | os.O_EXCL)\nprint('claimed', flush=True)\ntime.sleep(600)"
    );
    let mut claimer = command("python3");
    let claimer = claimer.args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("python3 runs");
    let mut claimer = Running(claimer);
    let mut line = String::new();
    let output = claimer.0.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("a line");
    assert_eq!(line, "claimed\n");
    let pid = claimer.0.id();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).expect("a name").trim().to_owned();
    let error = skiff_image::Error::from(Device::open(&device.path).err().expect("busy"));
    assert_eq!(error.to_string(), format!("`{path}` is in use by `{name}` (process {pid})"));
    assert_eq!(
        error.hint().expect("a hint"),
        format!("wait until `{name}` (process {pid}) is done, or stop it")
    );
}

#[test]
fn two_runs_do_not_write_one_device() {
    let test = "two_runs_do_not_write_one_device";
    let Some(device) = LoopDevice::new(test, 16 * MIB, &[]) else { return };
    let directory = temporary();
    let image = image(directory.path(), 4 * MIB);
    let first = Device::open(&device.path).expect("the first run");
    let (path, pid) = (device.path.display(), std::process::id());
    let name = fs::read_to_string("/proc/self/comm").expect("a name").trim().to_owned();
    let told = format!("refused: `{path}` is locked by `{name}` (process {pid})\n");
    expect_refused(&mut flash(&image, &device.path, &["--yes"]), &device, 4, &told);
    drop(first);
    expect_written(&mut flash(&image, &device.path, &["--yes"]), &image, &device);
}

/// The lock is that of the disk, so that a partition and its disk are not written at once.
#[test]
fn a_partition_locks_its_disk() {
    let test = "a_partition_locks_its_disk";
    if !oracle(test, "addpart") {
        return;
    }
    let Some(device) = LoopDevice::new(test, 16 * MIB, &["--partscan"]) else { return };
    let Some(partition) = partition(test, &device) else { return };
    let held = Device::open(&partition).expect("the partition");
    let refused = Device::open(&device.path).err().expect("locked").to_string();
    drop(held);
    run(command("delpart").arg(&device.path).arg("1"));
    assert!(refused.starts_with(&format!("`{}` is locked by ", device.path.display())), "{refused}");
}

#[test]
fn a_device_is_discarded_by_its_units() {
    let test = "a_device_is_discarded_by_its_units";
    for sector in ["512", "4096"] {
        let Some(disk) = LoopDevice::new(test, 16 * MIB, &["--sector-size", sector]) else { return };
        let device = Device::open(&disk.path).expect("open");
        let limits = device.limits();
        assert!(limits.largest_io >= 4096, "{limits:?}");
        if limits.largest_discard == 0 {
            assert!(!device.discard(0, 16 * MIB).expect("it is asked"));
            continue;
        }
        device.write_at(&vec![0xA5; 8 * MIB as usize], 0).expect("write");
        device.sync().expect("sync");
        assert!(device.discard(MIB, 2 * MIB).expect("discard"));
        let unit = limits.discard_granularity;
        assert!(!device.discard(4 * MIB + 1, MIB).expect("discard"), "not all of it is units");
        assert!(!device.discard(6 * MIB + 1, unit - 2).expect("discard"), "less than a unit");
        device.sync().expect("sync");
        let mut found = vec![0; 8 * MIB as usize];
        device.read_back(&mut found, 0).expect("read back");
        let mut expected = vec![0xA5; 8 * MIB as usize];
        expected[MIB as usize..3 * MIB as usize].fill(0);
        let inner = (4 * MIB + 1).next_multiple_of(unit)..(5 * MIB + 1) / unit * unit;
        expected[inner.start as usize..inner.end as usize].fill(0);
        assert!(found == expected);
        let message = device.discard(16 * MIB, 4096).expect_err("behind the end").to_string();
        let told = format!("cannot discard 4 KiB at offset 16777216 of `{}`: ", disk.path.display());
        assert!(message.starts_with(&told), "{message}");
    }
}

#[test]
fn a_device_in_use_is_locked_all_the_same() {
    let test = "a_device_in_use_is_locked_all_the_same";
    if !oracle(test, "mke2fs") || !oracle(test, "mount") {
        return;
    }
    let Some(device) = LoopDevice::new(test, 16 * MIB, &[]) else { return };
    let mounted = Mounted::new(&device.path);
    let despite = Host::new().despite(Overrides::from([Override::Mounted]));
    let candidate = despite.candidate(&device.path, 0).expect("overridden");
    assert_eq!(candidate.overridden.len(), 1);
    let used = Device::open_used(&device.path).expect("in use");
    let refused = Device::open_used(&device.path).err().expect("locked").to_string();
    assert!(refused.contains("is locked by"), "{refused}");
    drop(used);
    drop(mounted);
}

/// Pulls a device out when the first bytes are written: it ends before its first byte, at once.
struct Puller<'a> {
    device: &'a LoopDevice,
    writing: AtomicBool,
    /// What was on it when it was pulled out.
    pulled: OnceLock<Vec<u8>>,
}

impl Puller<'_> {
    fn pull(&self) -> Vec<u8> {
        let bytes = fs::read(self.device.file.path()).expect("the file behind the device");
        self.resize(0);
        bytes
    }

    fn put_back(&self) {
        let bytes = self.pulled.get().expect("it was pulled out");
        self.device.backing().write_all_at(bytes, 0).expect("the file behind the device");
        self.resize(bytes.len() as u64);
    }

    fn resize(&self, len: u64) {
        self.device.backing().set_len(len).expect("length");
        assert!(run(command("losetup").arg("--set-capacity").arg(&self.device.path)).0);
    }
}

impl Listener for Puller<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Phase { phase, .. } => self.writing.store(phase == Phase::Write, Ordering::SeqCst),
            Event::Advance { .. } if self.writing.load(Ordering::SeqCst) => {
                self.pulled.get_or_init(|| self.pull());
            }
            _ => {}
        }
    }
}

#[test]
fn a_device_that_is_pulled_out_is_unfinished_and_is_written_by_the_next_run() {
    let test = "a_device_that_is_pulled_out_is_unfinished_and_is_written_by_the_next_run";
    for sector in ["512", "4096"] {
        let Some(device) = LoopDevice::new(test, 32 * MIB, &["--sector-size", sector]) else { return };
        let directory = temporary();
        let path = image(directory.path(), 24 * MIB);
        let puller = Puller { device: &device, writing: AtomicBool::new(false), pulled: OnceLock::new() };
        let opened = Device::open(&device.path).expect("open");
        let medium = MediumId { model: None, serial: None, len: 32 * MIB };
        let header = Header::new(medium, "an image".into(), Digest::of(b"its bytes"));
        let journal = Journal::create(&directory.path().join("journal"), header).expect("a journal");
        let options = FlashOptions { journal: Some(&journal), ..FlashOptions::default() };
        let copied = Image::open(&path, None).expect("an image").copy(&opened, true, &puller, options);
        let error = copied.expect_err("it is gone");
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        let told = error.to_string();
        assert!(told.contains(&format!("of `{}`: ", device.path.display())), "{told}");
        drop(opened);
        // It comes back with what was written before: the text that tells so.
        puller.put_back();
        let medium = ReadOnly::open(&device.path).expect("open");
        assert_eq!(skiff_image::table::read(&medium).expect("reads"), None);
        drop(medium);
        let text = expect_written(&mut flash(&path, &device.path, &["--yes"]), &path, &device);
        assert!(text.contains("\n    now on it: an image that was begun and not finished\n"), "{text}");
    }
}

/// What cannot be provoked here, word for word.
#[test]
fn refusals_of_other_kernels_and_containers_are_worded() {
    use skiff_image::storage::DeviceError;
    let told = |error: DeviceError| {
        let error = skiff_image::Error::from(error);
        (error.to_string(), error.hint().expect("a hint"), error.kind().exit_code())
    };
    assert_eq!(
        told(DeviceError::Locked { path: "/dev/sdb".into(), holder: None }),
        (
            "`/dev/sdb` is locked by another program".into(),
            "`lsof /dev/sdb` may show which program it is".into(),
            4
        )
    );
    assert_eq!(
        told(DeviceError::Protected("/dev/sdb".into())),
        (
            "the kernel lets nobody write to `/dev/sdb` as long as it is used".into(),
            "no flag can override that: unmount it, or close what is built on it".into(),
            4
        )
    );
    assert_eq!(
        told(DeviceError::Busy { path: "/dev/sdb".into(), holder: None }),
        (
            "`/dev/sdb` is in use by the system".into(),
            "unmount its partitions and stop what uses `/dev/sdb`".into(),
            4
        )
    );
}
