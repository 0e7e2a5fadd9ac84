//! Partition tables against `sfdisk`, `sgdisk` and two other Rust implementations.

#![allow(clippy::single_range_in_vec_init)] // a list of one reserved range is meant

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::Stdio;

use crate::harness::loopdev::{LoopDevice, run};
use crate::harness::tools::{command, oracle};
use skiff_image::storage::{Geometry, Memory, Target};
use skiff_image::table::{
    self, CopyState, Partition, PartitionKind, Scheme, TableBytes, TableError, gpt, mbr,
};
use tempfile::NamedTempFile;
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const DISK: Uuid = Uuid::from_u128(0x2c7d6f10_1b43_4d5a_9e55_0123456789ab);
const LINUX: Uuid = Uuid::from_u128(0x0fc63daf_8483_4772_8e79_3d69d8477de4);
const ESP: Uuid = Uuid::from_u128(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);

fn mbr_partition(number: u32, name: &str, start: u64, len: u64, code: u8) -> Partition {
    let kind = PartitionKind::Mbr { code, active: number == 1 };
    Partition { number, name: name.into(), start, len, kind }
}

fn gpt_partition(number: u32, name: &str, start: u64, len: u64, type_guid: Uuid) -> Partition {
    let guid = Uuid::from_u128(DISK.as_u128() + u128::from(number));
    let kind = PartitionKind::Gpt { type_guid, guid, attributes: 1 << 2, name: name.into() };
    Partition { number, name: name.into(), start, len, kind }
}

fn geometry(len: u64, sector_size: u32) -> Geometry {
    Geometry { len, sector_size }
}

fn options(entry_count: u32) -> gpt::Options<'static> {
    gpt::Options { disk_guid: DISK, entry_count, reserved: &[], hybrid: None }
}

/// An image file with a table in it.
fn image(len: u64, pieces: &[TableBytes]) -> NamedTempFile {
    let file = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("image");
    file.as_file().set_len(len).expect("length");
    for piece in pieces {
        file.as_file().write_all_at(&piece.bytes, piece.offset).expect("write");
    }
    file
}

/// The table as this crate reads it back.
fn read_back(geometry: Geometry, pieces: &[TableBytes]) -> table::Table {
    let memory = Memory::with_sector_size(geometry.len, geometry.sector_size);
    for piece in pieces {
        memory.write_at(&piece.bytes, piece.offset).expect("write");
    }
    table::read(&memory).expect("read").expect("a table")
}

fn assert_sfdisk_verifies(file: &NamedTempFile) -> String {
    let (clean, text) = run(command("sfdisk").arg("--verify").arg(file.path()));
    assert!(clean && text.contains("No errors detected"), "{text}");
    let (_, dump) = run(command("sfdisk").arg("--dump").arg(file.path()));
    dump
}

fn assert_sgdisk_verifies(path: &std::path::Path) -> String {
    let (clean, text) = run(command("sgdisk").arg("--verify").arg(path));
    assert!(clean && text.contains("No problems found"), "{text}");
    // Fewer than 128 entries and a gap before the first partition are told, not counted as problems.
    assert!(!text.contains("Caution"), "{text}");
    run(command("sgdisk").arg("--print").arg(path)).1
}

#[test]
fn an_mbr_has_the_bytes_that_sfdisk_writes() {
    if !oracle("an_mbr_has_the_bytes_that_sfdisk_writes", "sfdisk") {
        return;
    }
    let len = 20 << 30;
    let partitions = [
        mbr_partition(1, "boot", 4 * MIB, 300 * MIB, 0x0c),
        mbr_partition(2, "rootfs", 304 * MIB, 700 * MIB, 0x83),
        mbr_partition(3, "persist", 1004 * MIB, len - 1004 * MIB, 0x83),
    ];
    let pieces = mbr::encode(0x5ca1_ab1e, &partitions, geometry(len, 512)).expect("encodes");
    assert_eq!(pieces.len(), 1);
    assert_eq!((pieces[0].offset, pieces[0].bytes.len()), (440, 72));

    let theirs = image(len, &[]);
    let mut sfdisk = command("sfdisk")
        .arg("--no-reread")
        .arg(theirs.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("sfdisk runs");
    let script = "label: dos\nlabel-id: 0x5ca1ab1e\n8192,614400,c,*\n622592,1433600,83\n2056192,,83\n";
    sfdisk.stdin.take().expect("pipe").write_all(script.as_bytes()).expect("script");
    assert!(sfdisk.wait().expect("sfdisk ends").success());
    let mut expected = vec![0; 72];
    theirs.as_file().read_exact_at(&mut expected, 440).expect("read");
    assert_eq!(pieces[0].bytes, expected);

    let dump = assert_sfdisk_verifies(&image(len, &pieces));
    assert!(dump.contains("label-id: 0x5ca1ab1e"), "{dump}");
    assert!(dump.contains("start=        8192, size=      614400, type=c, bootable"), "{dump}");
}

#[test]
fn an_mbr_reads_back_here_and_in_mbrman() {
    let geometry = geometry(64 * MIB, 512);
    let partitions = [mbr_partition(2, "a", 2 * MIB, MIB, 0x83), mbr_partition(1, "b", 8 * MIB, MIB, 0x0c)];
    let pieces = mbr::encode(7, &partitions, geometry).expect("encodes");
    let table = read_back(geometry, &pieces);
    assert_eq!(table.scheme, Scheme::Mbr { disk_signature: 7 });
    let starts: Vec<_> = table.partitions.iter().map(|p| (p.number, p.start, p.len)).collect();
    assert_eq!(starts, [(1, 8 * MIB, MIB), (2, 2 * MIB, MIB)]);

    let theirs = mbrman::MBR::read_from(&mut image(geometry.len, &pieces).as_file(), 512).expect("reads");
    assert_eq!(theirs.header.disk_signature, [7, 0, 0, 0]);
    assert_eq!((theirs[1].starting_lba, theirs[1].sectors, theirs[1].sys), (16384, 2048, 0x0c));
    assert!(theirs[1].is_active() && !theirs[2].is_active());
}

#[test]
fn the_fifth_partition_is_logical() {
    let geometry = geometry(64 * MIB, 512);
    let partitions = [
        mbr_partition(1, "boot", 2 * MIB, 4 * MIB, 0x0c),
        mbr_partition(5, "a", 8 * MIB, 4 * MIB, 0x83),
        mbr_partition(6, "b", 12 * MIB + 512, 4 * MIB, 0x83),
        mbr_partition(7, "c", 20 * MIB, 4 * MIB, 0x82),
        mbr_partition(3, "last", 32 * MIB, 32 * MIB, 0x83),
    ];
    let pieces = mbr::encode(7, &partitions, geometry).expect("encodes");
    let table = read_back(geometry, &pieces);
    let found: Vec<_> = table.partitions.iter().map(|p| (p.number, p.start, p.len)).collect();
    let mut expected: Vec<_> = partitions.iter().map(|p| (p.number, p.start, p.len)).collect();
    expected.sort_unstable();
    let mut sorted = found.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);

    let file = image(geometry.len, &pieces);
    let theirs = mbrman::MBR::read_from(&mut file.as_file(), 512).expect("reads");
    assert_eq!((theirs[2].starting_lba, theirs[2].sys), (7 * 2048, 0x0f));
    assert_eq!([5, 6, 7].map(|n| theirs[n].starting_lba), [8 * 2048, 12 * 2048 + 1, 20 * 2048]);
    if oracle("the_fifth_partition_is_logical", "sfdisk") {
        let dump = assert_sfdisk_verifies(&file);
        for line in ["start=       16384", "start=       24577", "start=       40960"] {
            assert!(dump.contains(line), "{dump}");
        }
    }
}

#[test]
fn an_mbr_counts_in_4096_byte_sectors() {
    let geometry = geometry(64 * MIB, 4096);
    let partitions =
        [mbr_partition(1, "boot", 2 * MIB, 4 * MIB, 0x0c), mbr_partition(5, "a", 8 * MIB, 4 * MIB, 0x83)];
    let pieces = mbr::encode(7, &partitions, geometry).expect("encodes");
    assert_eq!(read_back(geometry, &pieces).partitions.len(), 2);
    let file = image(geometry.len, &pieces);
    let Some(disk) = LoopDevice::over("mbr 4096", file, &["-b", "4096"]) else { return };
    let (_, dump) = run(command("sfdisk").arg("--dump").arg(&disk.path));
    assert!(dump.contains("start=         512, size=        1024, type=c, bootable"), "{dump}");
    assert!(dump.contains("start=        2048, size=        1024, type=83"), "{dump}");
}

fn three_partitions() -> [Partition; 3] {
    [
        gpt_partition(1, "boot", 2 * MIB, 16 * MIB, ESP),
        gpt_partition(14, "rootfs – größer", 20 * MIB, 16 * MIB, LINUX),
        gpt_partition(3, "persist", 36 * MIB, 24 * MIB, LINUX),
    ]
}

fn assert_gpt_crate_agrees(file: &NamedTempFile, sector: u32, expected: &[Partition]) {
    let size = gpt_crate_sector(sector);
    let disk = ::gpt::GptConfig::new()
        .writable(false)
        .logical_block_size(size)
        .only_valid_headers(true)
        .open(file.path())
        .expect("reads");
    assert_eq!(*disk.guid(), DISK);
    assert!(disk.primary_header().is_ok() && disk.backup_header().is_ok());
    assert_eq!(disk.partitions().len(), expected.len());
    for partition in expected {
        let theirs = &disk.partitions()[&partition.number];
        let PartitionKind::Gpt { guid, attributes, name, .. } = &partition.kind else { panic!("a GPT") };
        assert_eq!(theirs.bytes_start(size).expect("start"), partition.start);
        assert_eq!(theirs.bytes_len(size).expect("length"), partition.len);
        assert_eq!((&theirs.part_guid, &theirs.flags, &theirs.name), (guid, attributes, name));
    }
}

fn gpt_crate_sector(sector: u32) -> ::gpt::disk::LogicalBlockSize {
    if sector == 512 { ::gpt::disk::LogicalBlockSize::Lb512 } else { ::gpt::disk::LogicalBlockSize::Lb4096 }
}

#[test]
fn a_gpt_is_accepted_in_both_sector_sizes() {
    for (sector, count) in [(512, 128), (512, 56), (4096, 128), (4096, 56)] {
        let geometry = geometry(64 * MIB, sector);
        let pieces = gpt::encode(&three_partitions(), geometry, &options(count)).expect("encodes");
        let table = read_back(geometry, &pieces);
        let mut expected = three_partitions();
        expected.sort_by_key(|p| p.number);
        let starts = |partitions: &[Partition]| -> Vec<_> {
            partitions.iter().map(|p| (p.number, p.start, p.len, p.kind.clone())).collect()
        };
        assert_eq!(starts(&table.partitions), starts(&expected));
        let Scheme::Gpt { primary, backup, hybrid, entry_count, .. } = &table.scheme else { panic!("a GPT") };
        assert_eq!((primary, backup, entry_count), (&CopyState::Good, &CopyState::Good, &count));
        assert!(hybrid.is_empty());

        let file = image(geometry.len, &pieces);
        assert_gpt_crate_agrees(&file, sector, &expected);
        let Some(disk) = LoopDevice::over("gpt", file, &["-b", &sector.to_string()]) else { continue };
        if oracle("a_gpt_is_accepted_in_both_sector_sizes", "sgdisk") {
            let text = assert_sgdisk_verifies(&disk.path);
            assert!(text.contains(&format!("holds up to {count} entries")), "{text}");
            assert!(text.to_lowercase().contains(&DISK.to_string()), "{text}");
        }
        let (clean, text) = run(command("sfdisk").arg("--verify").arg(&disk.path));
        assert!(clean && text.contains("No errors detected"), "{text}");
        let (_, dump) = run(command("sfdisk").arg("--dump").arg(&disk.path));
        assert!(dump.contains(r#"name="rootfs \xe2\x80\x93 gr\xc3\xb6\xc3\x9fer""#), "{dump}");
    }
}

#[test]
fn the_entries_move_behind_boot_code() {
    // Boot code at 8 KiB, as many SoCs want it, in the way of 128 entries but not of 56.
    let blob = [8192..600_000];
    let geometry = geometry(64 * MIB, 512);
    let with = |count| gpt::Options { reserved: &blob, ..options(count) };
    let offset = |count| {
        let pieces = gpt::encode(&three_partitions(), geometry, &with(count)).expect("encodes");
        let file = image(geometry.len, &pieces);
        if oracle("the_entries_move_behind_boot_code", "sgdisk") {
            assert_sgdisk_verifies(file.path());
        }
        assert_sfdisk_verifies(&file);
        assert!(pieces.iter().all(|p| p.offset >= 600_000 || p.offset + p.bytes.len() as u64 <= 8192));
        match read_back(geometry, &pieces).scheme {
            Scheme::Gpt { entries_offset, .. } => entries_offset,
            Scheme::Mbr { .. } => panic!("a GPT"),
        }
    };
    assert_eq!(offset(56), 1024);
    assert_eq!(offset(128), 600_064);
}

#[test]
fn a_hybrid_mbr_shows_what_it_is_told() {
    for protective_first in [true, false] {
        let hybrid = gpt::Hybrid { partitions: vec![(1, 0x0c, true), (3, 0x83, false)], protective_first };
        let geometry = geometry(64 * MIB, 512);
        let options = gpt::Options { hybrid: Some(&hybrid), ..options(128) };
        let pieces = gpt::encode(&three_partitions(), geometry, &options).expect("encodes");
        let Scheme::Gpt { hybrid, .. } = read_back(geometry, &pieces).scheme else { panic!("a GPT") };
        let shown: Vec<_> = hybrid.iter().map(|p| (p.start, p.len)).collect();
        assert_eq!(shown, [(2 * MIB, 16 * MIB), (36 * MIB, 24 * MIB)]);
        let file = image(geometry.len, &pieces);
        if oracle("a_hybrid_mbr_shows_what_it_is_told", "sgdisk") {
            let (clean, text) = run(command("sgdisk").arg("--verify").arg(file.path()));
            assert!(clean && text.contains("No problems found"), "{text}");
            let (_, text) = run(command("gdisk").arg("-l").arg(file.path()));
            assert!(text.contains("MBR: hybrid") && text.contains("GPT: present"), "{text}");
        }
        let theirs = mbrman::MBR::read_from(&mut file.as_file(), 512).expect("reads");
        let codes: Vec<u8> = (1..=3).map(|number| theirs[number].sys).collect();
        let expected = if protective_first { [0xee, 0x0c, 0x83] } else { [0x0c, 0x83, 0xee] };
        assert_eq!(codes, expected);
    }
}

#[test]
fn damage_to_either_copy_is_told() {
    let geometry = geometry(64 * MIB, 512);
    let pieces = gpt::encode(&three_partitions(), geometry, &options(128)).expect("encodes");
    let states = |damaged: u64, grown: u64| {
        let memory = Memory::new(geometry.len + grown);
        for piece in &pieces {
            memory.write_at(&piece.bytes, piece.offset).expect("write");
        }
        if damaged != 0 {
            memory.write_at(&[0x5a], damaged).expect("damage");
        }
        let table = table::read(&memory).expect("read").expect("a table");
        assert_eq!(table.partitions.len(), 3);
        let Scheme::Gpt { primary, backup, .. } = table.scheme else { panic!("a GPT") };
        (primary, backup)
    };
    let damaged = |reason: &str| CopyState::Damaged(reason.into());
    assert_eq!(states(512, 0), (damaged("has no signature"), CopyState::Good));
    assert_eq!(states(512 + 40, 0).0, damaged("has a wrong checksum of its header"));
    assert_eq!(states(1024 + 40, 0).0, damaged("has a wrong checksum of its entries"));
    assert_eq!(states(64 * MIB - 512, 0), (CopyState::Good, damaged("has no signature")));
    let misplaced = CopyState::Misplaced { found: 64 * MIB - 512, expected: 65 * MIB - 512 };
    assert_eq!(states(0, MIB), (CopyState::Good, misplaced));
}

#[test]
fn an_older_gpt_below_an_mbr_does_not_count() {
    let geometry = geometry(64 * MIB, 512);
    let mut pieces = gpt::encode(&three_partitions(), geometry, &options(128)).expect("encodes");
    let newer = mbr::encode(9, &[mbr_partition(1, "boot", MIB, MIB, 0x0c)], geometry).expect("encodes");
    pieces.extend(newer);
    assert_eq!(read_back(geometry, &pieces).scheme, Scheme::Mbr { disk_signature: 9 });
}

#[test]
fn no_table_is_no_table() {
    let memory = Memory::new(MIB);
    assert_eq!(table::read(&memory).expect("read"), None);
    let mut fat = vec![0; 512];
    fat[510..].copy_from_slice(&[0x55, 0xaa]);
    fat[82..87].copy_from_slice(b"FAT32");
    fat[440..444].copy_from_slice(&[1, 2, 3, 4]);
    memory.write_at(&fat, 0).expect("write");
    assert_eq!(table::read(&memory).expect("read"), None);
    assert_eq!(table::read(&Memory::new(100)).expect("read"), None);
}

#[test]
fn both_readers_survive_any_bytes() {
    let mut state = 1u64;
    for round in 0..300u64 {
        let pieces =
            gpt::encode(&three_partitions(), geometry(64 * MIB, 512), &options(128)).expect("encodes");
        let memory = Memory::new(256 << 10);
        for piece in pieces.iter().filter(|piece| piece.offset < 128 << 10) {
            memory.write_at(&piece.bytes, piece.offset).expect("write");
        }
        for _ in 0..round % 20 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            memory.write_at(&[(state >> 56) as u8], (state >> 20) % 2048).expect("write");
        }
        let _ = table::read(&memory).expect("reads");
    }
}

#[test]
fn impossible_mbrs_are_refused() {
    let message = |partitions: &[Partition], len: u64| {
        mbr::encode(1, partitions, geometry(len, 512)).unwrap_err().to_string()
    };
    let one = |start, len, code| [mbr_partition(1, "boot", start, len, code)];
    assert_eq!(
        message(&one(MIB + 1, MIB, 0x0c), 8 * MIB),
        "the start of partition `boot` is 1048577 bytes, not a multiple of the 512-byte sectors"
    );
    assert_eq!(
        message(&one(MIB, 100, 0x0c), 8 * MIB),
        "the length of partition `boot` is 100 bytes, not a multiple of the 512-byte sectors"
    );
    assert_eq!(message(&one(MIB, 0, 0x0c), 8 * MIB), "partition `boot` is empty");
    assert_eq!(
        message(&one(0, MIB, 0x0c), 8 * MIB),
        "partition `boot` is at bytes 0..1048576, outside of 512..8388608 that the table leaves for partitions"
    );
    assert_eq!(
        message(&one(MIB, MIB, 0x05), 8 * MIB),
        "partition `boot` has type 0x05, which is reserved for extended partitions"
    );
    let huge = 3 << 40;
    assert_eq!(
        message(&one(MIB, huge - MIB, 0x83), huge),
        "partition `boot` ends at 3 TiB but an MBR with 512-byte sectors ends at 2.0 TiB (2199023255040 bytes)"
    );
    let two = |a: (u32, u64), b: (u32, u64)| {
        [mbr_partition(a.0, "boot", a.1, MIB, 0x0c), mbr_partition(b.0, "rootfs", b.1, MIB, 0x83)]
    };
    assert_eq!(
        message(&two((1, MIB), (2, MIB + 512)), 8 * MIB),
        "partitions `boot` and `rootfs` overlap in bytes 1049088..2097152"
    );
    assert_eq!(
        message(&two((1, MIB), (1, 4 * MIB)), 8 * MIB),
        "partitions `boot` and `rootfs` both have number 1"
    );
    assert_eq!(
        message(&two((1, MIB), (6, 4 * MIB)), 8 * MIB),
        "logical partition `rootfs` has number 6 but would get 5: they are numbered from 5 in the order of their offsets"
    );
    assert_eq!(
        message(&two((1, MIB), (5, 2 * MIB)), 8 * MIB),
        "logical partition `rootfs` needs a free sector before its start for its own table"
    );
    assert_eq!(
        message(&two((0, MIB), (2, 2 * MIB)), 8 * MIB),
        "partition `boot` has number 0; the table has 1 to 60"
    );
    let mut five: Vec<_> =
        (1..=5).map(|n| mbr_partition(n, "p", u64::from(n) * 4 * MIB, MIB, 0x83)).collect();
    assert_eq!(
        message(&five, 64 * MIB),
        "there are logical partitions but the four primary entries are taken"
    );
    five.remove(0);
    five[3].number = 5;
    five[0].start = 30 * MIB;
    let inside = [
        mbr_partition(1, "boot", 10 * MIB, MIB, 0x0c),
        mbr_partition(5, "a", 4 * MIB, MIB, 0x83),
        mbr_partition(6, "b", 20 * MIB, MIB, 0x83),
    ];
    assert_eq!(
        message(&inside, 64 * MIB),
        "partitions `boot` and `extended` overlap in bytes 10485760..11534336"
    );
    assert_eq!(
        mbr::encode(1, &three_partitions(), geometry(64 * MIB, 512)).unwrap_err().to_string(),
        "partition `boot` is described for another table than an MBR"
    );
}

#[test]
fn impossible_gpts_are_refused() {
    let disk = geometry(64 * MIB, 512);
    let error = |partitions: &[Partition], options: &gpt::Options<'_>| -> TableError {
        gpt::encode(partitions, disk, options).unwrap_err()
    };
    let one = |number, start| [gpt_partition(number, "boot", start, MIB, LINUX)];
    assert_eq!(
        error(&one(57, MIB), &options(56)).to_string(),
        "partition `boot` has number 57; the table has 1 to 56"
    );
    assert_eq!(
        error(&one(1, 63 * MIB), &options(128)).to_string(),
        "partition `boot` is at bytes 66060288..67108864, outside of 17408..67091968 that the table leaves for partitions"
    );
    let blob = [512..1024];
    assert_eq!(
        error(&one(1, MIB), &gpt::Options { reserved: &blob, ..options(128) }).to_string(),
        "raw bytes 512..1024 cover sector 1, where a GPT has its header"
    );
    let blob = [8192..MIB];
    assert_eq!(
        error(&one(1, MIB), &gpt::Options { reserved: &blob, ..options(128) }).to_string(),
        "the GPT entries need 16 KiB below 1 MiB but raw bytes leave no such gap"
    );
    let long = [gpt_partition(1, &"x".repeat(37), MIB, MIB, LINUX)];
    let name = "x".repeat(37);
    assert_eq!(
        error(&long, &options(128)).to_string(),
        format!("the GPT name `{name}` of partition `{name}` has 37 UTF-16 units; 36 fit")
    );
    let hybrid = gpt::Hybrid { partitions: vec![(2, 0x0c, false)], protective_first: true };
    assert_eq!(
        error(&one(1, MIB), &gpt::Options { hybrid: Some(&hybrid), ..options(128) }).to_string(),
        "the hybrid MBR shows partition 2, which the GPT does not have"
    );
    let hybrid = gpt::Hybrid { partitions: vec![(1, 0x0c, false); 4], protective_first: true };
    assert_eq!(
        error(&one(1, MIB), &gpt::Options { hybrid: Some(&hybrid), ..options(128) }).to_string(),
        "a hybrid MBR shows at most 3 partitions, not 4"
    );
    let guid = Uuid::from_u128(DISK.as_u128() + 1);
    let twins = [gpt_partition(1, "boot", MIB, MIB, LINUX), {
        let mut other = gpt_partition(2, "rootfs", 4 * MIB, MIB, LINUX);
        other.kind = PartitionKind::Gpt { type_guid: LINUX, guid, attributes: 0, name: String::new() };
        other
    }];
    assert_eq!(
        error(&twins, &options(128)).to_string(),
        format!("partitions `boot` and `rootfs` have the same GUID {guid}")
    );
    assert_eq!(
        error(&[gpt_partition(1, "boot", MIB, MIB, Uuid::nil())], &options(128)).to_string(),
        "partition `boot` has an all-zero type GUID"
    );
    assert_eq!(
        gpt::encode(&[], geometry(8192, 512), &options(128)).unwrap_err().to_string(),
        "a disk of 8 KiB is too small for a GPT with 128 entries"
    );
    assert_eq!(
        error(&[mbr_partition(1, "boot", MIB, MIB, 0x83)], &options(128)).to_string(),
        "partition `boot` is described for another table than a GPT"
    );
}
