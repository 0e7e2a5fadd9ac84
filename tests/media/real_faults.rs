//! Media that lie, as real block devices under the real program: a success is only told when the medium holds
//! what it should, and what is read back comes from the medium and not from a cache.

use crate::harness::disk::oracles;
use crate::harness::fuse;
use crate::harness::fuse::{BlockDevice, CARD};
use crate::harness::lies::{Lie, medium, over};
use crate::harness::project::Project;
use crate::harness::skip::skip;
use crate::harness::tools::command;
use crate::harness::tools::{skiff_image, temporary};
use serde_json::Value;
use skiff_image::event::Silent;
use skiff_image::flash::{Commit, FlashOptions, Meter, Unwritten};
use skiff_image::storage::{Device, Layer, Memory, ReadFrom, Simulation, Target, TargetError, WriteOp};
use skiff_image::table::TableBytes;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const SIZE: u64 = 16 << 20;

/// Whether the devices can be made; if not, says so and fails in CI.
fn ready(test: &str) -> bool {
    if let Some(obstacle) = fuse::obstacle() {
        skip(test, obstacle);
        return false;
    }
    oracles(test, &["losetup", "sfdisk", "umount"])
}

/// Bytes that look like nothing.
fn noise(len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// An image of `len` bytes without a hole, with a table that `sfdisk` made.
fn image(directory: &Path, len: u64) -> PathBuf {
    let path = directory.join("disk.img");
    std::fs::write(&path, noise(len)).expect("an image");
    let mut sfdisk = command("sfdisk")
        .args(["--quiet", "--wipe", "never", "--label", "dos"])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("sfdisk runs");
    sfdisk.stdin.take().expect("a pipe").write_all(b"start=2048, type=c\n").expect("sfdisk listens");
    assert!(sfdisk.wait().expect("sfdisk ends").success());
    path
}

fn flash(device: &Path, image: &Path) -> Command {
    let mut command = skiff_image();
    command.args(["--quiet", "flash", "--json", "--yes", "--no-grow", "--image"]).args([image, device]);
    command
}

/// How a run ended.
struct End {
    exit: i32,
    /// The stable name of what went wrong.
    code: String,
    /// The JSON document.
    said: String,
}

fn end(command: &mut Command) -> End {
    let Output { status, stdout, stderr } = command.output().expect("skiff-image runs");
    let said = if status.success() { stdout } else { stderr };
    let said = String::from_utf8(said).expect("text");
    let document: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let code = document["code"].as_str().unwrap_or_default().to_owned();
    End { exit: status.code().expect("no signal"), code, said }
}

/// The first bytes as any other program sees them, from the cache.
fn seen(device: &Path, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    File::open(device)
        .and_then(|device| device.read_exact_at(&mut bytes, 0))
        .expect("the device can be read");
    bytes
}

/// A medium that acknowledges writes to its first sectors and forgets them.
struct Forgets(Memory);

impl Forgets {
    const BYTES: u64 = 4096;
}

impl Layer for Forgets {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &self.0
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let WriteOp::Bytes { offset, .. } = op else { return op.apply(&self.0) };
        let lost = Forgets::BYTES.saturating_sub(offset).min(op.len());
        op.part(offset + lost..op.range().end).apply(&self.0)
    }
}

/// What a flasher does that compares with what the kernel still remembers.
struct ReadsTheCache(Device);

impl Layer for ReadsTheCache {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &self.0
    }

    fn on_read(&self, _: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.0.read_at(buf, offset)
    }
}

#[test]
fn a_medium_that_is_right_holds_the_image() {
    let test = "a_medium_that_is_right_holds_the_image";
    if !ready(test) {
        return;
    }
    let directory = temporary();
    let image = image(directory.path(), SIZE);
    for sector_size in [512, 4096] {
        let medium = Arc::new(Memory::with_sector_size(SIZE, sector_size));
        let device = BlockDevice::new(medium.clone(), fuse::Options { sector_size, ..CARD });
        // The table of the image counts in 512 bytes.
        let force: &[&str] = if sector_size == 512 { &[] } else { &["--force", "sectors"] };
        let End { exit, said, .. } = end(flash(&device.path, &image).args(force));
        assert_eq!(exit, 0, "{said}");
        assert!(medium.to_vec() == std::fs::read(&image).expect("the image"));
    }
}

#[test]
fn what_is_read_back_comes_from_the_medium_and_not_from_the_cache() {
    let test = "what_is_read_back_comes_from_the_medium_and_not_from_the_cache";
    if !ready(test) {
        return;
    }
    let directory = temporary();
    let path = image(directory.path(), SIZE);
    let table = seen(&path, Forgets::BYTES as usize);

    // The trap: whoever reads through the cache finds the table there, and the medium has none.
    let medium = Arc::new(Forgets(Memory::new(SIZE)));
    let device = BlockDevice::new(medium.clone(), CARD);
    let deceived = ReadsTheCache(Device::open(&device.path).expect("the device is free"));
    let bytes = std::fs::read(&path).expect("the image");
    let (first, rest) = bytes.split_at(table.len());
    let source = |target: &dyn Target| {
        target.write_at(rest, Forgets::BYTES)?;
        Ok(vec![TableBytes { name: "table".into(), offset: 0, bytes: first.to_vec() }])
    };
    let options = FlashOptions::default();
    let commit = Commit { target: &deceived, used: true, regions: &[], listener: &Silent, options };
    commit.run(&source).expect("the cache deceives who asks it");
    assert!(seen(&device.path, table.len()) == table, "the cache holds the table");
    assert!(medium.0.to_vec()[..table.len()].iter().all(|byte| *byte == 0), "the medium does not");
    drop(deceived);
    drop(device);

    // The program does not step into it.
    let medium = Arc::new(Forgets(Memory::new(SIZE)));
    let device = BlockDevice::new(medium, CARD);
    let End { exit, said, .. } = end(&mut flash(&device.path, &path));
    assert_eq!(exit, 3, "{said}");
    assert!(said.contains("does not hold what was written"), "{said}");
}

/// Media of 16 MiB, what is wrong with them, and the only way in which a run may end: exit code and word. None of them
/// may be told to hold an image that it does not give back.
const MEDIA: [(&str, i32, &str); 19] = [
    ("faulty:wrap,real=8MiB", 3, "fake-capacity"),
    ("faulty:wrap,real=16776704", 3, "fake-capacity"),
    ("faulty:short,real=8MiB", 3, "fake-capacity"),
    ("faulty:short,real=8MiB,with=255", 3, "fake-capacity"),
    ("faulty:flip,at=5MiB", 3, "bit-flip"),
    ("faulty:flip,at=5MiB,bits=9", 3, "bit-flip"),
    ("faulty:flip,at=0", 3, "bit-flip"),
    ("faulty:flip,at=5MiB,times=1", 0, ""),
    ("faulty:drop,at=5MiB", 3, "stuck-region"),
    ("faulty:drop,at=0", 3, "stuck-region"),
    ("faulty:torn,at=5MiB", 3, "stuck-region"),
    ("faulty:misplace,at=5MiB", 3, "misplaced-write"),
    ("faulty:stuck,at=5MiB", 3, "stuck-region"),
    ("faulty:stuck,at=5MiB,with=170", 3, "stuck-region"),
    ("faulty:unstable,at=5MiB", 3, "unstable-read"),
    ("faulty:eio-read,at=5MiB", 3, "unreadable"),
    ("faulty:eio-write,at=5MiB", 1, "write-error"),
    ("faulty:vanish,at=5MiB", 1, "vanished"),
    ("faulty:full,at=5MiB", 1, "full"),
];

/// A medium of [`SIZE`], and what is wrong with it.
fn simulated(text: &str) -> Arc<dyn Target> {
    let simulation: Simulation = format!("{text},size=16MiB").parse().expect("a simulation");
    simulation.open().expect("a medium").into()
}

/// Whether the medium gives these bytes to whoever asks next.
fn gives(medium: &dyn Target, bytes: &[u8]) -> bool {
    let mut found = vec![0; bytes.len()];
    medium.read_back(&mut found, 0).is_ok() && found == bytes
}

/// Whether a table makes the medium look whole, as far as it answers.
fn looks_whole(medium: &dyn Target) -> bool {
    let mut sector = [0; 512];
    medium.read_back(&mut sector, 0).is_ok() && sector[510..] == [0x55, 0xaa]
}

#[test]
fn no_medium_that_lies_is_told_to_be_right() {
    let test = "no_medium_that_lies_is_told_to_be_right";
    if !ready(test) {
        return;
    }
    let directory = temporary();
    let path = image(directory.path(), SIZE);
    let bytes = std::fs::read(&path).expect("the image");
    for (text, expected, word) in MEDIA {
        let medium = simulated(text);
        let device = BlockDevice::new(medium.clone(), CARD);
        let End { exit, code, said } = end(&mut flash(&device.path, &path));
        drop(device);
        println!("{text}: exit code {exit} {code}");
        assert_eq!((exit, code.as_str()), (expected, word), "{text}: {said}");
        match exit {
            0 => assert!(gives(&*medium, &bytes), "{text}: told to be right, and is not"),
            _ => assert!(!looks_whole(&*medium), "{text}: looks whole after {said}"),
        }
    }
}

/// Every byte of a medium that can do everything by itself, as a disk does.
const DISK: fuse::Options = fuse::Options { zeroes: true, ..CARD };
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Lies about media of 16 MiB, and how a run on each ends: exit code and word.
fn lies() -> Vec<(Vec<Lie>, fuse::Options, i32, &'static str)> {
    let one = |lie, options, exit, word| (vec![lie], options, exit, word);
    vec![
        one(Lie::DeadBit(8 * MIB), CARD, 3, "fake-capacity"),
        one(Lie::DeadBit(128 * KIB), CARD, 3, "fake-capacity"),
        one(Lie::DeadBit(4 * KIB), CARD, 3, "fake-capacity"),
        one(Lie::DeadBit(512), CARD, 3, "fake-capacity"),
        one(Lie::Wraps(5 * MIB + 512), CARD, 3, "fake-capacity"),
        one(Lie::Wraps(SIZE - 512), CARD, 3, "fake-capacity"),
        one(Lie::Wraps(SIZE - 8 * KIB), CARD, 3, "fake-capacity"),
        // A sector of either end that is one of the body.
        one(Lie::SamePlace(0, 5 * MIB), CARD, 3, "misplaced-write"),
        one(Lie::SamePlace(5 * MIB, 0), CARD, 3, "misplaced-write"),
        one(Lie::SamePlace(300 * KIB, 9 * MIB), CARD, 3, "misplaced-write"),
        one(Lie::SamePlace(SIZE - 100 * KIB, 7 * MIB), CARD, 3, "misplaced-write"),
        one(Lie::SamePlace(5 * MIB, 9 * MIB), CARD, 3, "misplaced-write"),
        one(Lie::StaleReads, CARD, 3, "stale-read"),
        one(Lie::SyncFails { after: 0 }, CARD, 1, "write-error"),
        one(Lie::SyncFails { after: 7 }, CARD, 1, "write-error"),
        // What plainer writes make up for.
        one(Lie::CutsWrites(128 * KIB), CARD, 0, ""),
        one(Lie::CutsWrites(16 * KIB), CARD, 0, ""),
        one(Lie::NoZeroing, DISK, 0, ""),
        (vec![Lie::NoZeroing, Lie::CutsWrites(64 * KIB)], DISK, 0, ""),
        (vec![Lie::CutsWrites(128 * KIB), Lie::SamePlace(0, 5 * MIB)], CARD, 3, "misplaced-write"),
        (vec![Lie::CutsWrites(128 * KIB), Lie::Wraps(8 * MIB)], CARD, 3, "fake-capacity"),
        (vec![Lie::NoZeroing, Lie::DeadBit(MIB)], DISK, 3, "fake-capacity"),
        (vec![Lie::SamePlace(0, 5 * MIB), Lie::StaleReads], CARD, 3, "stale-read"),
    ]
}

#[test]
fn no_lie_about_a_real_device_is_believed() {
    let test = "no_lie_about_a_real_device_is_believed";
    if !ready(test) {
        return;
    }
    let directory = temporary();
    let path = image(directory.path(), SIZE);
    let bytes = std::fs::read(&path).expect("the image");
    for (lies, options, expected, word) in lies() {
        let memory = Arc::new(Memory::new(SIZE));
        // An older system, so that what is not written is not right.
        memory.write_at(&vec![0xa5; SIZE as usize], 0).expect("written");
        let medium = over(memory, &lies);
        let device = BlockDevice::new(medium.clone(), options);
        let End { exit, code, said } = end(&mut flash(&device.path, &path));
        drop(device);
        println!("{lies:?}: exit code {exit} {code}");
        assert_eq!((exit, code.as_str()), (expected, word), "{lies:?}: {said}");
        match exit {
            0 => assert!(gives(&*medium, &bytes), "{lies:?}: told to be right, and is not"),
            _ => assert!(!looks_whole(&*medium), "{lies:?}: looks whole after {said}"),
        }
    }
}

#[test]
fn a_device_that_is_written_in_plainer_ways_is_told_so() {
    let test = "a_device_that_is_written_in_plainer_ways_is_told_so";
    if !ready(test) {
        return;
    }
    let directory = temporary();
    let path = image(directory.path(), SIZE);
    for (lie, options, fallback) in [
        (Lie::CutsWrites(128 * KIB), CARD, serde_json::json!({ "pieces": 64 * KIB })),
        (Lie::NoZeroing, DISK, serde_json::json!("plain-zeros")),
    ] {
        let memory = Arc::new(Memory::new(SIZE));
        memory.write_at(&vec![0xa5; SIZE as usize], 0).expect("written");
        let device = BlockDevice::new(over(memory, &[lie]), options);
        let End { exit, said, .. } = end(&mut flash(&device.path, &path));
        let document: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!((exit, &document["fallback"]), (0, &fallback), "{said}");
    }
}

#[test]
fn what_reads_right_only_once_is_found_by_a_second_pass() {
    let test = "what_reads_right_only_once_is_found_by_a_second_pass";
    if !ready(test) {
        return;
    }
    let directory = temporary();
    let path = image(directory.path(), SIZE);
    for (options, expected) in [(&[] as &[&str], 0), (&["--second-pass"], 3)] {
        let medium = medium(SIZE, &[Lie::RightOnce { at: 6 * MIB, len: 4 * KIB }]);
        let device = BlockDevice::new(medium.clone(), CARD);
        let End { exit, code, said } = end(flash(&device.path, &path).args(options));
        drop(device);
        assert_eq!(exit, expected, "{said}");
        if exit != 0 {
            assert_eq!(code, "bit-flip", "{said}");
            assert!(!looks_whole(&*medium), "{said}");
        }
    }
}

/// Old data may be anywhere in a range that a medium says it has discarded.
#[test]
fn what_was_not_discarded_is_cleared() {
    let len = 64 * MIB;
    let body = noise(MIB);
    let source = |target: &dyn Target| {
        target.write_at(&body, 4 * MIB)?;
        Ok(vec![TableBytes { name: "table".into(), offset: 0, bytes: vec![7; 512] }])
    };
    for except in [0, MIB, 20 * MIB] {
        let memory = Arc::new(Memory::new(len));
        memory.write_at(&vec![0xa5; len as usize], 0).expect("written");
        let target = over(memory.clone(), &[Lie::NoDiscard { except }]);
        let options = FlashOptions { unwritten: Unwritten::Zero, ..FlashOptions::default() };
        let meter = Meter::new(&*target, &Silent);
        let commit = Commit { target: &meter, used: true, regions: &[], listener: &meter, options };
        commit.run(&source).expect("it is cleared otherwise");
        let bytes = memory.to_vec();
        let (before, rest) = bytes.split_at(4 << 20);
        assert!(before[512..].iter().all(|byte| *byte == 0), "{except}");
        assert!(rest[..1 << 20] == body && rest[1 << 20..].iter().all(|byte| *byte == 0), "{except}");
        assert_eq!(meter.finish().discarded, 0, "{except}: nothing was discarded as a whole");
    }
}

/// A medium that answers no reads while it is shut.
struct Gated {
    inner: Memory,
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gated {
    /// A program that waits for good would never end the test.
    const PATIENCE: Duration = Duration::from_secs(120);

    fn set_shut(&self, is_shut: bool) {
        *self.is_shut.lock().expect("nobody panicked") = is_shut;
        self.opened.notify_all();
    }
}

impl Layer for Gated {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &self.inner
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let is_shut = self.is_shut.lock().expect("nobody panicked");
        drop(self.opened.wait_timeout_while(is_shut, Gated::PATIENCE, |is_shut| *is_shut).expect("as above"));
        from.read(&self.inner, buf, offset)
    }
}

#[test]
fn a_medium_that_hangs_is_not_waited_for_when_an_update_looks_at_it() {
    if !ready("a_medium_that_hangs_is_not_waited_for_when_an_update_looks_at_it") {
        return;
    }
    let (inner, is_shut, opened) = (Memory::new(SIZE), Mutex::new(false), Condvar::new());
    let medium = Arc::new(Gated { inner, is_shut, opened });
    let device = BlockDevice::new(medium.clone(), CARD);
    let project = Project::new();
    let path = device.path.display().to_string();
    let mut install = project.with_inputs(&["install"], &["--dry-run", "--stall-timeout", "1", &path]);
    medium.set_shut(true);
    let mut child = install.stderr(Stdio::piped()).spawn().expect("skiff-image runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains("\nhint: ") && stderr.read_line(&mut said).expect("text") > 0 {}
    // Until then the kernel does not let the program end.
    medium.set_shut(false);
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "{said}");
    assert!(said.starts_with(&format!("error: `{path}` does not answer: to read ")), "{said}");
    let hint = "\nhint: try another reader, cable or port; `--stall-timeout` waits longer if the medium is only slow\n";
    assert!(said.ends_with(hint), "{said}");
}
