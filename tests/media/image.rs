//! Ready images: copied to a medium with and without a block map, and block maps against `bmaptool`.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::harness::loopdev::{LoopDevice, run};
use crate::harness::tools::{command, oracle};
use skiff_image::bmap::Bmap;
use skiff_image::error::ErrorKind;
use skiff_image::event::Silent;
use skiff_image::flash::FlashOptions;
use skiff_image::source::Image;
use skiff_image::storage::{Device, Fault, Faulty, Geometry, ImageFile, Memory, Record, Recorder, Target};
use skiff_image::table::{self, Partition, PartitionKind, gpt, mbr};

const MIB: u64 = 1 << 20;
/// Not a multiple of a block, as images of some tools are.
const LEN: u64 = 48 * MIB + 512;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// An image with a table, data, zeros that matter and free space, with its record.
fn image(dir: &Path) -> (PathBuf, Record) {
    image_in(dir, 512)
}

/// The same for sectors of `sector_size` bytes.
fn image_in(dir: &Path, sector_size: u32) -> (PathBuf, Record) {
    let path = dir.join("disk.img");
    let geometry = Geometry { len: LEN, sector_size };
    let file = ImageFile::create(&path, geometry, false).expect("create");
    let recorder = Recorder::new(&file);
    let kind = PartitionKind::Mbr { code: 0x83, active: false };
    let partition = Partition { number: 1, name: "rootfs".into(), start: 4 * MIB, len: 32 * MIB, kind };
    for piece in mbr::encode(0x1234_5678, &[partition], geometry).expect("encodes") {
        recorder.write_at(&piece.bytes, piece.offset).expect("write");
    }
    let block: Vec<u8> = (0..512 * 253u32).map(|at| (at / 7 % 253) as u8).collect();
    let data = &block.repeat(162)[..20 * MIB as usize];
    recorder.write_at(&data[..100], 8192).expect("write");
    recorder.write_at(data, 4 * MIB + 512).expect("write");
    recorder.write_at(&vec![0; MIB as usize], 26 * MIB).expect("zeros that are no hole");
    recorder.zero(30 * MIB, MIB + 100).expect("zero");
    recorder.write_at(&data[..777], LEN - 777).expect("write");
    let record = recorder.into_record();
    file.sync().expect("sync");
    file.finish().expect("finish");
    (path, record)
}

fn bmap_of(path: &Path, record: &Record) -> Bmap {
    Bmap::from_record(&fs::File::open(path).expect("open"), path, LEN, record).expect("a map")
}

/// A medium full of old data.
fn used_medium() -> Memory {
    let memory = Memory::new(64 * MIB);
    memory.write_at(&vec![0xa5; 64 * MIB as usize], 0).expect("write");
    memory
}

#[test]
fn an_image_is_copied_to_the_last_byte() {
    let dir = scratch();
    let (path, _) = image(dir.path());
    let memory = used_medium();
    let image = Image::open(&path, None).expect("open");
    let done = image.copy(&memory, true, &Silent, FlashOptions::default()).expect("copy");
    assert_eq!(done.record.len(), LEN);
    let bytes = memory.to_vec();
    assert!(bytes[..LEN as usize] == fs::read(&path).expect("read"));
    assert_eq!(bytes[LEN as usize + 4096], 0xa5, "behind the image nothing changes");
}

#[test]
fn with_a_block_map_only_what_matters_is_written() {
    let dir = scratch();
    let (path, record) = image(dir.path());
    let map = bmap_of(&path, &record);
    let memory = used_medium();
    let copied = Image::open(&path, Some(map.clone())).expect("open").copy(
        &memory,
        true,
        &Silent,
        FlashOptions::default(),
    );
    assert_eq!(copied.expect("copy").record.len(), map.mapped_len());
    let (bytes, expected) = (memory.to_vec(), fs::read(&path).expect("read"));
    for extent in &record.extents {
        let range = extent.offset as usize..(extent.offset + extent.len) as usize;
        assert!(bytes[range.clone()] == expected[range.clone()], "{range:?}");
    }
    assert_eq!(bytes[40 * MIB as usize], 0xa5, "free space is not written");
    assert_eq!(bytes[30 * MIB as usize], 0, "zeros that matter are");
}

#[test]
fn a_device_holds_the_image_and_a_table() {
    let test = "a_device_holds_the_image_and_a_table";
    for sector in [512, 4096] {
        let Some(disk) = LoopDevice::new(test, 64 * MIB, &["-b", &sector.to_string()]) else { return };
        let dir = scratch();
        let (path, _) = image_in(dir.path(), sector);
        let device = Device::open(&disk.path).expect("open");
        device.write_at(&vec![0xa5; 64 * MIB as usize], 0).expect("old data");
        Image::open(&path, None)
            .expect("open")
            .copy(&device, true, &Silent, FlashOptions::default())
            .expect("copy");
        let mut backing = vec![0; LEN as usize];
        disk.backing().read_exact_at(&mut backing, 0).expect("read");
        assert!(backing == fs::read(&path).expect("read"));
    }
}

#[test]
fn an_image_stays_sparse_in_a_file() {
    let dir = scratch();
    let (path, _) = image(dir.path());
    let copy = dir.path().join("copy.img");
    let target = ImageFile::create(&copy, Geometry { len: LEN, sector_size: 512 }, false).expect("create");
    Image::open(&path, None)
        .expect("open")
        .copy(&target, false, &Silent, FlashOptions::default())
        .expect("copy");
    target.finish().expect("finish");
    assert!(fs::read(&copy).expect("read") == fs::read(&path).expect("read"));
    assert!(copy.metadata().expect("metadata").blocks() * 512 < 24 * MIB);
}

#[test]
fn a_fault_anywhere_leaves_no_table() {
    let dir = scratch();
    let (path, _) = image(dir.path());
    let image = Image::open(&path, None).expect("open");
    for write in [0, 1, 5, 6, 7] {
        let memory = used_medium();
        let faulty = Faulty::new(&memory, Fault::Flip { write, bit: 12_345 });
        let error =
            image.copy(&faulty, true, &Silent, FlashOptions::default()).map(drop).expect_err("noticed");
        assert_eq!(error.kind(), ErrorKind::Mismatch, "write {write}: {error}");
        assert_eq!(table::read(&memory).expect("read"), None, "write {write}");
    }
}

#[test]
fn bmaptool_copies_by_our_map_and_notices_damage() {
    let test = "bmaptool_copies_by_our_map_and_notices_damage";
    if !oracle(test, "bmaptool") {
        return;
    }
    let dir = scratch();
    let (path, record) = image(dir.path());
    let map = dir.path().join("disk.bmap");
    fs::write(&map, bmap_of(&path, &record).to_xml()).expect("write");
    let copy = |to: &str| {
        let to = dir.path().join(to);
        let (good, text) = run(command("bmaptool").arg("copy").arg("--bmap").arg(&map).arg(&path).arg(&to));
        (good, text, to)
    };
    let (good, text, to) = copy("copy.img");
    assert!(good, "{text}");
    assert!(fs::read(&to).expect("read") == fs::read(&path).expect("read"));

    let file = fs::OpenOptions::new().write(true).open(&path).expect("open");
    file.write_all_at(&[0xee], 20 * MIB).expect("damage");
    let (good, text, _) = copy("damaged.img");
    assert!(!good && text.contains("checksum mismatch"), "{text}");

    let bytes = Bmap::parse(&fs::read_to_string(&map).expect("read")).expect("parses");
    let memory = used_medium();
    let error =
        Image::open(&path, Some(bytes)).expect("open").copy(&memory, true, &Silent, FlashOptions::default());
    let error = error.map(drop).expect_err("noticed");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let message = error.to_string();
    assert!(
        message.starts_with(&format!(
            "bytes 20971520..25169920 of `{}` are damaged: their SHA-256 is ",
            path.display()
        )),
        "{message}"
    );
    assert_eq!(memory.to_vec()[0], 0xa5, "the medium was not touched");
}

#[test]
fn a_map_of_bmaptool_is_read() {
    let test = "a_map_of_bmaptool_is_read";
    if !oracle(test, "bmaptool") {
        return;
    }
    let dir = scratch();
    let (path, _) = image(dir.path());
    let map = dir.path().join("theirs.bmap");
    let (good, text) = run(command("bmaptool").arg("create").arg("-o").arg(&map).arg(&path));
    assert!(good, "{text}");
    let map = Bmap::parse(&fs::read_to_string(&map).expect("read")).expect("parses");
    assert_eq!(map.image_len, LEN);
    let image = Image::open(&path, Some(map)).expect("open");
    image.check(&Silent).expect("their checksums are right");
    let memory = Memory::new(64 * MIB);
    image.copy(&memory, true, &Silent, FlashOptions::default()).expect("copy");
    assert!(memory.to_vec()[..LEN as usize] == fs::read(&path).expect("read"));
}

#[test]
fn what_cannot_be_copied_is_refused_before_the_medium_is_touched() {
    let dir = scratch();
    let (path, record) = image(dir.path());
    let open = |path: &Path, map| Image::open(path, map).err().expect("refused").to_string();
    let small = Memory::new(MIB);
    let error = Image::open(&path, None)
        .expect("open")
        .copy(&small, true, &Silent, FlashOptions::default())
        .map(drop);
    assert_eq!(
        error.expect_err("too large").to_string(),
        format!("the image `{}` needs 48.0 MiB (50332160 bytes) but `memory` has 1 MiB", path.display())
    );
    let other = dir.path().join("other.img");
    fs::write(&other, b"other").expect("write");
    assert_eq!(
        open(&other, Some(bmap_of(&path, &record))),
        format!(
            "the block map is for an image of 48.0 MiB (50332160 bytes) but `{}` has 5 bytes",
            other.display()
        )
    );
    let refused = |target: &Memory| {
        let image = Image::open(&other, None).expect("open");
        image.copy(target, true, &Silent, FlashOptions::default()).map(drop).expect_err("refused").to_string()
    };
    fs::write(&other, b"QFI\xfb and more").expect("write");
    let unknown =
        format!("`{}` is not written: it is not a raw disk image (found: QEMU (qcow2))", other.display());
    assert_eq!(refused(&used_medium()), unknown);
    fs::write(&other, b"").expect("write");
    assert_eq!(open(&other, None), format!("`{}` is empty", other.display()));
    let disk_guid = uuid::Uuid::from_u128(1);
    let options = gpt::Options { disk_guid, entry_count: 128, reserved: &[], hybrid: None };
    let file = fs::File::create(&other).expect("create");
    file.set_len(4 * MIB).expect("length");
    for piece in gpt::encode(&[], Geometry { len: 4 * MIB, sector_size: 512 }, &options).expect("encodes") {
        file.write_all_at(&piece.bytes, piece.offset).expect("write");
    }
    let large_sectors = Memory::with_sector_size(8 * MIB, 4096);
    assert_eq!(
        refused(&large_sectors),
        format!(
            "`{}` is not written: its table counts in sectors of 512 bytes, and those of the medium have 4096",
            other.display()
        )
    );
    let missing = dir.path().join("missing.img");
    assert_eq!(
        open(&missing, None),
        format!("cannot open `{}`: No such file or directory (os error 2)", missing.display())
    );
}
