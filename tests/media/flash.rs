//! A medium is bootable when everything on it is right, and not before.

use std::sync::Mutex;

use crate::harness::loopdev::{LoopDevice, run};
use crate::harness::tools::{command, oracle};
use skiff_image::error::ErrorKind;
use skiff_image::event::{Event, Phase, Silent};
use skiff_image::flash::{Commit, Done, FlashOptions};
use skiff_image::readback::RegionRange;
use skiff_image::storage::{
    Device, Fault, Faulty, Geometry, Layer, Memory, Record, Target, TargetError, WriteOp,
};
use skiff_image::table::TableBytes;
use skiff_image::table::{self, Partition, PartitionKind, gpt, mbr};
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const DISK: u64 = 64 * MIB;

fn pattern(len: u64, seed: u8) -> Vec<u8> {
    let block: Vec<u8> = (0..251).map(|at| at ^ seed).collect();
    block.repeat(len as usize / 251 + 1)[..len as usize].to_vec()
}

/// An MBR and boot code at 8 KiB.
fn critical() -> Vec<TableBytes> {
    let kind = PartitionKind::Mbr { code: 0x0c, active: true };
    let boot = Partition { number: 1, name: "boot".into(), start: 4 * MIB, len: 8 * MIB, kind };
    let geometry = Geometry { len: DISK, sector_size: 512 };
    let mut critical = mbr::encode(0xcafe_f00d, &[boot], geometry).expect("encodes");
    let bytes = pattern(100_000, 3);
    critical.push(TableBytes { name: "u-boot".into(), offset: 8192, bytes });
    critical
}

fn regions() -> Vec<RegionRange> {
    vec![RegionRange { name: "boot".into(), range: 4 * MIB..12 * MIB }]
}

/// What a formatter would do: two megabytes at a time, and zeros.
fn body(target: &dyn Target) -> skiff_image::Result<()> {
    for index in 0..4 {
        target.write_at(&pattern(MIB, index), (4 + u64::from(index)) * MIB)?;
    }
    target.zero(8 * MIB, MIB)?;
    Ok(())
}

fn flash(target: &dyn Target) -> skiff_image::Result<Record> {
    Ok(flash_with(target, FlashOptions::default())?.record)
}

fn flash_with(target: &dyn Target, options: FlashOptions) -> skiff_image::Result<Done> {
    let (critical, regions) = (critical(), regions());
    let commit = Commit { target, used: true, regions: &regions, listener: &Silent, options };
    commit.run(&|target: &dyn Target| {
        body(target)?;
        Ok(critical.clone())
    })
}

/// A medium with an older table and older data everywhere.
fn used_medium() -> Memory {
    let memory = Memory::new(DISK);
    memory.write_at(&vec![0xa5; DISK as usize], 0).expect("write");
    for piece in critical() {
        memory.write_at(&piece.bytes, piece.offset).expect("write");
    }
    assert!(table::read(&memory).expect("read").is_some());
    memory
}

#[test]
fn a_good_medium_gets_everything() {
    let memory = used_medium();
    let record = flash(&memory).expect("flashes");
    let bytes = memory.to_vec();
    let at = |offset: u64, len: usize| &bytes[offset as usize..offset as usize + len];
    for piece in critical() {
        assert!(at(piece.offset, piece.bytes.len()) == piece.bytes, "{}", piece.name);
    }
    assert!(at(5 * MIB, MIB as usize) == pattern(MIB, 1));
    assert!(at(8 * MIB, MIB as usize).iter().all(|byte| *byte == 0));
    assert!(at(0, 440).iter().all(|byte| *byte == 0), "old boot code is gone");
    assert_eq!(at(20 * MIB, 1), [0xa5], "nobody cares about free space");
    assert_eq!(record.len(), 5 * MIB + 72 + 100_000);
    assert!(record.extents.is_sorted_by_key(|extent| extent.offset));
    assert_eq!(table::read(&memory).expect("read").expect("a table").partitions.len(), 1);
}

#[test]
fn every_write_can_flip_a_bit_and_none_goes_unnoticed() {
    let count = {
        let memory = used_medium();
        let counted = Faulty::new(&memory, Fault::Full { after: u64::MAX });
        flash(&counted).expect("flashes");
        counted.writes()
    };
    assert_eq!(count, 8, "four of the body, two of marks, and two that make it bootable");
    for write in 0..count {
        for fault in [Fault::Flip { write, bit: 4_000_001 }, Fault::Lose { write }] {
            let memory = used_medium();
            let error = flash(&Faulty::new(&memory, fault)).map(drop).expect_err("noticed");
            assert_eq!(error.kind(), ErrorKind::Mismatch, "{fault:?}: {error}");
            assert_eq!(table::read(&memory).expect("read"), None, "{fault:?}: no table may be left");
        }
    }
}

#[test]
fn a_mismatch_names_region_and_bytes() {
    let memory = used_medium();
    let error = flash(&Faulty::new(&memory, Fault::Flip { write: 2, bit: 0 })).expect_err("noticed");
    assert_eq!(
        error.to_string(),
        "`memory` does not hold what was written: `boot`: 1 MiB at bytes 6291456..7340032 (one bit of byte \
         6291456 is wrong: it is 0x03, not 0x02); \
         it was left without a partition table, so that nothing boots from it"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some(
            "try another cable, reader or port first; if it is the same bit again, the medium is worn out: use another one"
        )
    );
}

#[test]
fn a_medium_that_fails_at_any_byte_has_no_table() {
    for after in [0, MIB, 3 * MIB + 7, 4 * MIB, 4 * MIB + 50_000, 4 * MIB + 100_000] {
        for (fault, text) in
            [(Fault::Full { after }, "No space left on device"), (Fault::Vanish { after }, "No such device")]
        {
            let memory = used_medium();
            let error = flash(&Faulty::new(&memory, fault)).map(drop).expect_err("fails");
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            let message = error.to_string();
            assert!(message.contains(text), "{message}");
            // Of a medium that vanished while sector 0 was written nobody knows what it holds.
            let left = match message.contains("write 512 bytes at offset 0") && text == "No such device" {
                true => "; it could not be wiped either: do not boot from it",
                false => "; it was left without a partition table, so that nothing boots from it",
            };
            assert!(message.ends_with(left), "{message}");
            assert_eq!(table::read(&memory).expect("read"), None, "{fault:?}");
        }
    }
}

#[test]
fn a_body_that_fails_keeps_its_message_and_hint() {
    let memory = used_medium();
    let options = FlashOptions::default();
    let commit = Commit { target: &memory, used: false, regions: &[], listener: &Silent, options };
    let error = commit
        .run(&|target: &dyn Target| {
            target.write_at(&[1; 512], 4096)?;
            target.write_at(&[1; 512], 4500)?;
            Ok(Vec::new())
        })
        .expect_err("fails");
    assert_eq!(
        error.to_string(),
        "bytes 4500..5012 of `memory` would be written twice: bytes 4096..4608 were written before"
    );
    assert_eq!(error.kind(), ErrorKind::Fit);
}

#[test]
fn critical_bytes_may_not_meet_others() {
    let piece = |offset, len| TableBytes { name: "blob".into(), offset, bytes: vec![1; len] };
    let message = |critical: &[TableBytes]| {
        let memory = Memory::new(DISK);
        let options = FlashOptions::default();
        let commit = Commit { target: &memory, used: true, regions: &[], listener: &Silent, options };
        let source = |target: &dyn Target| {
            body(target)?;
            Ok(critical.to_vec())
        };
        commit.run(&source).map(drop).expect_err("refused").to_string()
    };
    let end = "; it was left without a partition table, so that nothing boots from it";
    assert_eq!(
        message(&[piece(4 * MIB - 1, 2)]),
        format!(
            "bytes 4194303..4194305 of `memory` would be written twice: bytes 4194304..5242880 were written before{end}"
        )
    );
    assert_eq!(
        message(&[piece(600, 10), piece(0, 601)]),
        format!("bytes 600..610 of `memory` would be written twice: bytes 0..601 were written before{end}")
    );
}

#[test]
fn the_order_is_wipe_write_sync_read_back_commit() {
    let memory = used_medium();
    let phases = Mutex::new(Vec::new());
    let advanced = Mutex::new(0);
    let listener = |event: Event| match event {
        Event::Phase { phase, total } => phases.lock().expect("lock").push((phase, total)),
        Event::Advance { bytes } => *advanced.lock().expect("lock") += bytes,
        Event::Retry { .. } => panic!("nothing is wrong"),
        Event::Discard { .. } => panic!("memory discards nothing"),
        Event::Stall { .. } => panic!("memory does not hang"),
    };
    let critical = critical();
    let options = FlashOptions::default();
    let commit = Commit { target: &memory, used: true, regions: &[], listener: &listener, options };
    let source = |target: &dyn Target| {
        body(target)?;
        Ok(critical.clone())
    };
    commit.run(&source).expect("flashes");
    use Phase::{Commit as Table, ReadBack, Sync, Wipe, Write};
    let total: u64 = critical.iter().map(|piece| piece.bytes.len() as u64).sum();
    assert_eq!(
        *phases.lock().expect("lock"),
        [
            (Wipe, None),
            (Write, None),
            (Sync, None),
            // With what stands in the places of the critical bytes.
            (ReadBack, Some(5 * MIB + total)),
            (Table, Some(100_000)),
            (Sync, None),
            (ReadBack, Some(100_000)),
            (Table, Some(512)),
            (Sync, None),
            (ReadBack, Some(512)),
            // Both ends once more, where the body has nothing.
            (ReadBack, Some(total)),
        ]
    );
    // What is held back counts when the source has given it, when it is written, and whenever its place is read.
    assert_eq!(*advanced.lock().expect("lock"), 2 * (5 * MIB + 100_000 + 512) + 3 * total);
}

#[test]
fn the_record_does_not_depend_on_threads() {
    let record = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| flash(&used_medium()).expect("flashes"))
    };
    assert_eq!(record(1), record(5));
}

#[test]
fn a_device_has_a_table_only_after_success() {
    let test = "a_device_has_a_table_only_after_success";
    let Some(disk) = LoopDevice::new(test, DISK, &[]) else { return };
    if !oracle(test, "sfdisk") {
        return;
    }
    let has_table = || run(command("sfdisk").arg("--dump").arg(&disk.path)).0;
    let device = || Device::open(&disk.path).expect("open");

    flash(&device()).expect("flashes");
    let (_, dump) = run(command("sfdisk").arg("--dump").arg(&disk.path));
    assert!(dump.contains("label-id: 0xcafef00d") && dump.contains("size=       16384, type=c"), "{dump}");
    for fault in [
        Fault::Flip { write: 1, bit: 77 },
        Fault::Vanish { after: 2 * MIB },
        Fault::Full { after: 2 * MIB },
        Fault::Lose { write: 5 },
    ] {
        let device = device();
        flash(&Faulty::new(&device, fault)).map(drop).expect_err("fails");
        drop(device);
        assert!(!has_table(), "{fault:?}");
        flash(&Device::open(&disk.path).expect("open")).expect("flashes");
        assert!(has_table());
    }
}

#[test]
fn an_older_gpt_is_wiped_at_both_ends_in_both_sector_sizes() {
    for sector_size in [512, 4096] {
        let memory = Memory::with_sector_size(DISK, sector_size);
        let options =
            gpt::Options { disk_guid: Uuid::from_u128(5), entry_count: 128, reserved: &[], hybrid: None };
        for piece in gpt::encode(&[], memory.geometry(), &options).expect("encodes") {
            memory.write_at(&piece.bytes, piece.offset).expect("write");
        }
        flash(&memory).expect("flashes");
        assert!(!memory.to_vec().chunks(512).any(|sector| sector.starts_with(b"EFI PART")));
    }
}

/// A medium that can only be read, as cards become at the end of their life.
struct WornOut<'a>(&'a Memory);

impl Layer for WornOut<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.0
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let (verb, target, source) =
            (op.verb(), self.name().into(), std::io::ErrorKind::ReadOnlyFilesystem.into());
        Err(TargetError::Io { verb, target, offset: op.offset(), len: op.len(), source })
    }
}

#[test]
fn a_medium_that_cannot_be_wiped_is_not_said_to_be() {
    let memory = used_medium();
    let error = flash(&WornOut(&memory)).expect_err("fails");
    assert!(table::read(&memory).expect("read").is_some(), "the old table is still there");
    assert!(error.to_string().ends_with("; it could not be wiped either: do not boot from it"), "{error}");
}
