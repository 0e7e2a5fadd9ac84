//! Targets: image files that appear only when complete, devices that are read back past the cache.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use crate::harness::loopdev::LoopDevice;
use skiff_image::Error;
use skiff_image::error::ErrorKind;
use skiff_image::event::Silent;
use skiff_image::flash::Meter;
use skiff_image::interrupt::Interruptible;
use skiff_image::storage::{
    CacheBypass, CowOverlay, Device, Fault, Faulty, Geometry, ImageFile, Layer, Memory, ReadOnly, Recorder,
    Target, TargetError, Watchdog, WatchdogOptions,
};

const MIB: u64 = 1 << 20;

fn geometry(len: u64) -> Geometry {
    Geometry { len, sector_size: 512 }
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

#[test]
fn an_image_file_has_its_name_only_when_finished() {
    let dir = scratch();
    let path = dir.path().join("disk.img");
    let names = || fs::read_dir(dir.path()).expect("list").count();

    let image = ImageFile::create(&path, geometry(8 * MIB), false).expect("create");
    image.write_at(b"boot", MIB + 3).expect("write");
    assert!(!path.exists());
    assert_eq!(names(), 0, "where files can be without a name");
    drop(image);
    assert_eq!(names(), 0, "a dropped image leaves nothing");

    let image = ImageFile::create(&path, geometry(8 * MIB), false).expect("create");
    image.write_at(b"boot", MIB + 3).expect("write");
    image.sync().expect("sync");
    image.finish().expect("finish");
    let metadata = path.metadata().expect("metadata");
    assert_eq!((metadata.len(), names()), (8 * MIB, 1));
    assert!(metadata.blocks() * 512 < MIB, "sparse");
    assert_eq!(&fs::read(&path).expect("read")[MIB as usize + 3..][..4], b"boot");
}

#[test]
fn an_existing_file_is_replaced_only_when_allowed() {
    let dir = scratch();
    let path = dir.path().join("disk.img");
    fs::write(&path, [1; 2048]).expect("write");
    let error = ImageFile::create(&path, geometry(MIB), false).err().map(Error::from).expect("refused");
    assert_eq!(error.to_string(), format!("`{}` exists already: a file of 2 KiB", path.display()));
    assert_eq!(error.kind(), ErrorKind::Refused);
    ImageFile::create(&path, geometry(MIB), true).expect("create").finish().expect("finish");
    assert_eq!(fs::read(&path).expect("read"), vec![0; MIB as usize]);
}

#[test]
fn a_file_that_appeared_meanwhile_is_not_replaced() {
    let dir = scratch();
    let path = dir.path().join("disk.img");
    let image = ImageFile::create(&path, geometry(MIB), false).expect("create");
    fs::write(&path, b"precious").expect("write");
    assert!(image.finish().is_err());
    assert_eq!(fs::read(&path).expect("read"), b"precious");
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
}

#[test]
fn what_is_not_a_file_is_named() {
    let dir = scratch();
    let link = dir.path().join("link.img");
    std::os::unix::fs::symlink("elsewhere", &link).expect("link");
    for (path, what) in [(dir.path(), "a directory"), (&link, "a symbolic link")] {
        let message = ImageFile::create(path, geometry(MIB), true).err().expect("refused").to_string();
        assert_eq!(message, format!("`{}` is {what}, not a regular file", path.display()));
    }
    let message =
        ImageFile::create("/dev/null".as_ref(), geometry(MIB), true).err().expect("refused").to_string();
    assert_eq!(message, "`/dev/null` is a character device, not a regular file");
}

#[test]
fn zero_is_zero_on_a_used_file_too() {
    let dir = scratch();
    let image = ImageFile::create(&dir.path().join("disk.img"), geometry(4 * MIB), false).expect("create");
    image.write_at(&vec![7; 4 * MIB as usize], 0).expect("write");
    image.zero(MIB - 5, MIB + 10).expect("zero");
    image.sync().expect("sync");
    for read in [Target::read_at, Target::read_back] {
        let mut bytes = vec![1; 4 * MIB as usize];
        read(&image, &mut bytes, 0).expect("read");
        let zeros = MIB as usize - 5..2 * MIB as usize + 5;
        assert!(bytes[zeros.clone()].iter().all(|byte| *byte == 0));
        assert!(bytes[..zeros.start].iter().chain(&bytes[zeros.end..]).all(|byte| *byte == 7));
    }
}

#[test]
fn a_write_behind_the_end_does_not_grow_the_file() {
    let dir = scratch();
    let image = ImageFile::create(&dir.path().join("disk.img"), geometry(4096), false).expect("create");
    let message = image.write_at(&[1; 512], 4000).unwrap_err().to_string();
    assert!(message.starts_with("cannot write 512 bytes at offset 4000 of `"), "{message}");
    assert!(message.contains("No space left on device"), "{message}");
}

#[test]
fn read_back_reads_any_range_of_a_file_of_any_length() {
    read_back_ranges(scratch());
    // A filesystem in memory has no medium behind its cache, and may not know `O_DIRECT`.
    if let Ok(dir) = tempfile::tempdir_in("/dev/shm") {
        read_back_ranges(dir);
    }
}

fn read_back_ranges(dir: tempfile::TempDir) {
    let len = 3 * MIB + 1234;
    let image = ImageFile::create(&dir.path().join("disk.img"), geometry(len), false).expect("create");
    let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    image.write_at(&bytes, 0).expect("write");
    image.sync().expect("sync");
    for (offset, count) in [(0, len), (1, 1), (4095, 2), (len - 7, 7), (MIB, MIB), (513, 2 * MIB)] {
        let mut found = vec![0; count as usize];
        image.read_back(&mut found, offset).expect("read back");
        assert_eq!(found, bytes[offset as usize..(offset + count) as usize], "{count} at {offset}");
    }
    assert!(image.read_back(&mut [0; 8], len - 7).is_err(), "behind the end");
}

#[test]
fn a_full_disk_says_so() {
    let memory = Memory::new(MIB);
    let target = Faulty::new(&memory, Fault::Full { after: 1000 });
    target.write_at(&[1; 1000], 0).expect("fits");
    let error = Error::from(target.write_at(&[1; 1], 1000).unwrap_err());
    assert_eq!(
        error.to_string(),
        "cannot write 1 bytes at offset 1000 of `memory`: No space left on device (os error 28)"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("free space on the filesystem of `memory`, or write to another one")
    );
}

#[test]
fn a_vanished_device_answers_nothing_any_more() {
    let memory = Memory::new(MIB);
    let target = Faulty::new(&memory, Fault::Vanish { after: 600 });
    target.write_at(&[1; 512], 0).expect("still there");
    let error = Error::from(target.write_at(&[1; 512], 512).unwrap_err());
    assert_eq!(
        error.to_string(),
        "cannot write 512 bytes at offset 512 of `memory`: No such device (os error 19)"
    );
    assert!(error.hint().expect("hint").starts_with("`memory` was unplugged or is failing"));
    assert!(target.sync().is_err() && target.read_at(&mut [0], 0).is_err());
}

#[test]
fn the_cache_of_a_faulty_target_lies_and_its_medium_does_not() {
    let memory = Memory::new(MIB);
    for fault in [Fault::Flip { write: 0, bit: 9 }, Fault::Lose { write: 0 }] {
        let target = Faulty::new(&memory, fault);
        target.write_at(&[255; 16], 100).expect("write");
        let (mut cached, mut medium) = ([0; 16], [0; 16]);
        target.read_at(&mut cached, 100).expect("read");
        target.read_back(&mut medium, 100).expect("read back");
        assert_eq!(cached, [255; 16]);
        assert_ne!(medium, [255; 16]);
        memory.zero(0, MIB).expect("zero");
    }
}

#[test]
fn a_device_has_its_sectors_and_is_held_exclusively() {
    for sector in ["512", "4096"] {
        let Some(disk) = LoopDevice::new("device geometry", 16 * MIB, &["-b", sector]) else { return };
        let device = Device::open(&disk.path).expect("open");
        assert_eq!(device.geometry().len, 16 * MIB);
        assert_eq!(device.geometry().sector_size.to_string(), sector);
        assert!(device.physical_sector_size() >= device.geometry().sector_size);
        let message = Device::open(&disk.path).err().expect("busy").to_string();
        let (path, pid) = (disk.path.display(), std::process::id());
        let own = fs::read_to_string("/proc/self/comm").expect("a name");
        assert_eq!(message, format!("`{path}` is locked by `{}` (process {pid})", own.trim()));
        let rdev = std::os::unix::fs::MetadataExt::rdev(&disk.path.metadata().expect("a device"));
        let number = format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev));
        device.ensure_is(&number, 16 * MIB).expect("it is the one");
        for (number, len) in [("0:0", 16 * MIB), (number.as_str(), 32 * MIB)] {
            let message = device.ensure_is(number, len).expect_err("another one").to_string();
            let exchanged = "was exchanged for another device since it was checked";
            assert_eq!(message, format!("`{}` {exchanged}", disk.path.display()));
        }
    }
}

#[test]
fn a_device_reads_and_writes_any_range() {
    for sector in ["512", "4096"] {
        let Some(disk) = LoopDevice::new("device ranges", 16 * MIB, &["-b", sector]) else { return };
        let device = Device::open(&disk.path).expect("open");
        let bytes: Vec<u8> = (0..5 * MIB + 77).map(|at| (at % 249) as u8).collect();
        device.write_at(&bytes[..MIB as usize], 0).expect("direct");
        device.write_at(&bytes[MIB as usize..], MIB).expect("buffered");
        device
            .write_at(&bytes[3 * MIB as usize - 1000..4 * MIB as usize + 5], 3 * MIB - 1000)
            .expect("split");
        device.zero(100, 700).expect("zero inside sectors");
        device.zero(2 * MIB - 3, MIB).expect("zero across sectors");
        device.sync().expect("sync");
        let mut expected = bytes.clone();
        expected[100..800].fill(0);
        expected[2 * MIB as usize - 3..3 * MIB as usize - 3].fill(0);
        for read in [Target::read_at, Target::read_back] {
            let mut found = vec![0; bytes.len()];
            read(&device, &mut found, 0).expect("read");
            assert!(found == expected);
            let mut found = vec![0; 4097];
            read(&device, &mut found, 3 * MIB - 9).expect("read");
            assert!(found == expected[3 * MIB as usize - 9..][..4097]);
        }
        let mut backing = vec![0; bytes.len()];
        disk.backing().read_exact_at(&mut backing, 0).expect("read");
        assert!(backing == expected);
        device.reread_partitions();
    }
}

/// The medium changes behind the page cache, as when a card returns other bytes than it was given.
#[test]
fn read_back_sees_the_medium_and_not_the_page_cache() {
    let Some(disk) = LoopDevice::new("page cache", 4 * MIB, &[]) else { return };
    let device = Device::open(&disk.path).expect("open");
    device.write_at(&[1; 4096], MIB).expect("write");
    device.sync().expect("sync");
    let mut cached = [0; 4096];
    device.read_at(&mut cached, MIB).expect("read");
    disk.backing().write_all_at(&[2], MIB + 5).expect("damage");
    disk.backing().sync_all().expect("sync");
    device.read_at(&mut cached, MIB).expect("read");
    let mut medium = [0; 4096];
    device.read_back(&mut medium, MIB).expect("read back");
    assert_eq!(cached[5], 1, "the cache still holds what was written");
    assert_eq!(medium[5], 2, "read back must see the damage");
    assert_eq!(device.cache_bypass(), CacheBypass::Direct);
}

#[test]
fn what_is_not_a_device_is_refused() {
    let message = Device::open("/dev/null".as_ref()).err().expect("refused").to_string();
    assert_eq!(message, "`/dev/null` is not a block device");
    let message = Device::open("/dev/does-not-exist".as_ref()).err().expect("fails").to_string();
    assert_eq!(message, "cannot look at `/dev/does-not-exist`: No such file or directory (os error 2)");
}

#[test]
fn what_is_only_looked_at_cannot_be_written() {
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("file");
    fs::write(file.path(), vec![7; 10_000]).expect("write");
    let target = ReadOnly::open(file.path()).expect("open");
    assert_eq!(target.geometry(), geometry(10_000));
    for read in [Target::read_at, Target::read_back] {
        let mut bytes = [0; 5001];
        read(&target, &mut bytes, 4999).expect("read");
        assert_eq!(bytes, [7; 5001]);
    }
    assert_eq!(
        target.write_at(&[1; 512], 512).unwrap_err().to_string(),
        format!(
            "cannot write 512 bytes at offset 512 of `{}`: read-only filesystem or storage medium",
            file.path().display()
        )
    );
    assert!(target.zero(0, 512).is_err());
    assert_eq!(fs::read(file.path()).expect("read"), vec![7; 10_000]);
}

#[test]
fn a_mounted_device_can_be_looked_at() {
    for sector in ["512", "4096"] {
        let Some(disk) = LoopDevice::new("read-only device", 4 * MIB, &["-b", sector]) else { return };
        let _held = Device::open(&disk.path).expect("open");
        let target = ReadOnly::open(&disk.path).expect("open");
        assert_eq!(target.geometry().len, 4 * MIB);
        assert_eq!(target.geometry().sector_size.to_string(), sector);
        assert_eq!(target.cache_bypass(), CacheBypass::Direct);
    }
}

/// A medium that does not hold what the cache says.
struct Stale;

impl Target for Stale {
    fn name(&self) -> &str {
        "stale"
    }

    fn geometry(&self) -> Geometry {
        geometry(MIB)
    }

    fn read_at(&self, buf: &mut [u8], _: u64) -> Result<(), TargetError> {
        buf.fill(b'c');
        Ok(())
    }

    fn read_back(&self, buf: &mut [u8], _: u64) -> Result<(), TargetError> {
        buf.fill(b'm');
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<(), TargetError> {
        Ok(())
    }

    fn zero(&self, _: u64, _: u64) -> Result<(), TargetError> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(true)
    }

    fn sync(&self) -> Result<(), TargetError> {
        Ok(())
    }
}

/// A layer that leaves everything to the target inside.
struct Plain<'a>(&'a dyn Target);

impl Layer for Plain<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.0
    }
}

#[test]
fn what_is_read_back_through_a_layer_comes_from_the_medium() {
    let never = Fault::Full { after: u64::MAX };
    let layers: [(&str, Box<dyn Target>); 10] = [
        ("a layer", Box::new(Plain(&Stale))),
        ("a reference", Box::new(&Stale)),
        ("a box", Box::new(Box::new(Stale))),
        ("an arc", Box::new(Arc::new(Stale))),
        ("recorder", Box::new(Recorder::new(&Stale))),
        ("overlay", Box::new(CowOverlay::new(&Stale))),
        ("watchdog", Box::new(Watchdog::new(Arc::new(Stale), WatchdogOptions::default(), |_| {}))),
        ("fault", Box::new(Faulty::new(Stale, never))),
        ("interrupt", Box::new(Interruptible::new(&Stale, None))),
        ("meter", Box::new(Meter::new(&Stale, &Silent))),
    ];
    for (name, layer) in layers {
        let mut read = [0; 4096];
        layer.read_back(&mut read, 0).expect("it reads");
        assert_eq!(read, [b'm'; 4096], "{name}");
        // A medium with faults has a cache of its own, which is empty.
        layer.read_at(&mut read, 0).expect("it reads");
        assert_eq!(read[0], if name == "fault" { b'm' } else { b'c' }, "{name}");
        assert_eq!(layer.name(), "stale", "{name}");
    }
}
