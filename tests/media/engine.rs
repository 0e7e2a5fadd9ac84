//! What a run does beside writing: it writes again what was read back wrong, leaves out what is right already, goes
//! on after an interruption, and clears what nobody writes.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use skiff_image::device::marker;
use skiff_image::error::ErrorKind;
use skiff_image::event::Silent;
use skiff_image::flash::journal::{Header, MediumId};
use skiff_image::flash::{Commit, Done, FlashOptions, Journal, Unwritten};
use skiff_image::source::Source;
use skiff_image::storage::{
    Fault, FaultKind, FaultLocation, Faulty, Geometry, Layer, Memory, ReadFrom, Target, TargetError, WriteOp,
};
use skiff_image::table::TableBytes;
use skiff_image::table::{self, Partition, PartitionKind, mbr};
use skiff_image::value::Digest;

const MIB: u64 = 1 << 20;
const DISK: u64 = 256 * MIB;
const BODY: u64 = 160 * MIB;

fn critical() -> Vec<TableBytes> {
    let kind = PartitionKind::Mbr { code: 0x0c, active: true };
    let boot = Partition { number: 1, name: "boot".into(), start: 4 * MIB, len: BODY, kind };
    let geometry = Geometry { len: DISK, sector_size: 512 };
    mbr::encode(0xcafe_f00d, &[boot], geometry).expect("encodes")
}

/// Bytes that are written before all is read back, in the places of the critical ones.
fn marks() -> u64 {
    critical().iter().map(|piece| piece.bytes.len() as u64).sum()
}

fn byte(mib: u64) -> u8 {
    (mib % 250) as u8 + 1
}

/// 160 MiB of data at 4 MiB, a MiB at a time, and zeros behind.
fn source(target: &dyn Target) -> skiff_image::Result<Vec<TableBytes>> {
    for mib in 0..BODY / MIB {
        target.write_at(&vec![byte(mib); MIB as usize], 4 * MIB + mib * MIB)?;
    }
    target.zero(4 * MIB + BODY, 3 * MIB)?;
    Ok(critical())
}

fn used_medium() -> Memory {
    let memory = Memory::new(DISK);
    memory.write_at(&vec![0xa5; DISK as usize], 0).expect("write");
    memory
}

fn flash(target: &dyn Target, source: &dyn Source, options: FlashOptions) -> skiff_image::Result<Done> {
    Commit { target, used: true, regions: &[], listener: &Silent, options }.run(source)
}

fn assert_complete(memory: &Memory) {
    let bytes = memory.to_vec();
    for mib in 0..BODY / MIB {
        let at = (4 * MIB + mib * MIB) as usize;
        assert!(bytes[at..at + MIB as usize].iter().all(|found| *found == byte(mib)), "MiB {mib}");
    }
    assert!(bytes[(4 * MIB + BODY) as usize..][..3 * MIB as usize].iter().all(|found| *found == 0));
    assert!(bytes[..440].iter().all(|found| *found == 0), "nothing is left of a marker");
    assert_eq!(table::read(memory).expect("reads").expect("a table").partitions.len(), 1);
}

/// Counts what reaches a medium.
struct Counted<'a> {
    target: &'a dyn Target,
    written: AtomicU64,
    read: AtomicU64,
}

impl<'a> Counted<'a> {
    fn new(target: &'a dyn Target) -> Counted<'a> {
        Counted { target, written: AtomicU64::new(0), read: AtomicU64::new(0) }
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    fn read(&self) -> u64 {
        self.read.load(Ordering::SeqCst)
    }
}

impl Layer for Counted<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        if from == ReadFrom::Medium {
            self.read.fetch_add(buf.len() as u64, Ordering::SeqCst);
        }
        from.read(self.target, buf, offset)
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        if !matches!(op, WriteOp::Discard { .. }) {
            self.written.fetch_add(op.len(), Ordering::SeqCst);
        }
        op.apply(self.target)
    }
}

#[test]
fn what_was_read_back_wrong_is_written_again() {
    for fault in [Fault::Flip { write: 7, bit: 99 }, Fault::Lose { write: 100 }] {
        let memory = used_medium();
        let faulty = Faulty::new(&memory, fault);
        let counted = Counted::new(&faulty);
        let done =
            flash(&counted, &source, FlashOptions { retries: 2, ..FlashOptions::default() }).expect("mended");
        assert_complete(&memory);
        let [again] = done.rewritten.as_slice() else { panic!("{fault:?}: {:?}", done.rewritten) };
        assert_eq!((again.times, again.damage.len), (1, MIB));
        assert_eq!(
            counted.written(),
            2 * MIB + 512 + BODY + 3 * MIB + MIB + marks() + 512,
            "and nothing else"
        );
    }
}

#[test]
fn a_source_that_cannot_be_read_twice_is_not_written_again() {
    struct Once;
    impl Source for Once {
        fn name(&self) -> String {
            "stdin".into()
        }
        fn len(&self) -> Option<u64> {
            None
        }
        fn replays(&self) -> bool {
            false
        }
        fn write(&self, target: &dyn Target) -> skiff_image::Result<Vec<TableBytes>> {
            source(target)
        }
    }
    let memory = used_medium();
    let faulty = Faulty::new(&memory, Fault::Flip { write: 7, bit: 99 });
    let error =
        flash(&faulty, &Once, FlashOptions { retries: 2, ..FlashOptions::default() }).expect_err("noticed");
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert_eq!(table::read(&memory).expect("reads"), None);
}

#[test]
fn only_what_differs_is_written() {
    let memory = used_medium();
    flash(&memory, &source, FlashOptions::default()).expect("flashes");
    memory.write_at(&[0], 50 * MIB + 17).expect("differs");
    memory.write_at(&[1], 5 * MIB + BODY).expect("differs in zeros");
    let counted = Counted::new(&memory);
    let options = FlashOptions { only_changed: true, ..FlashOptions::default() };
    let done = flash(&counted, &source, options).expect("flashes");
    assert_complete(&memory);
    assert_eq!(done.unchanged, BODY + 3 * MIB - 2 * (64 << 10));
    assert_eq!(counted.written(), 2 * MIB + 512 + 2 * (64 << 10) + marks() + 512);
    // That the ends are wiped; everything, to compare, and once more, since what was written could have gone over what
    // was right. Sector 0 is compared before it is written, and read once more in the end.
    assert_eq!(counted.read(), 2 * MIB + 2 * (BODY + 3 * MIB) + marks() + 512 + 512 + marks());
}

fn journal_of(path: &Path, resume: bool) -> Journal {
    let medium = MediumId { model: None, serial: Some("7".into()), len: DISK };
    let header = Header::new(medium, "the image".into(), Digest::of(b"image"));
    match resume {
        true => Journal::resume(path, header).expect("resumes"),
        false => Journal::create(path, header).expect("creates"),
    }
}

#[test]
fn an_interrupted_run_goes_on() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("run.journal");
    let memory = used_medium();
    let journal = journal_of(&path, false);
    let faulty = Faulty::new(&memory, Fault::Vanish { after: 150 * MIB });
    let options = FlashOptions { journal: Some(&journal), ..FlashOptions::default() };
    flash(&faulty, &source, options).expect_err("pulled out");
    drop(journal);
    assert_eq!(table::read(&memory).expect("reads"), None);
    assert!(marker::read(&memory).expect("reads").is_some(), "it says that it is unfinished");

    let journal = journal_of(&path, true);
    let counted = Counted::new(&memory);
    let options = FlashOptions { journal: Some(&journal), ..FlashOptions::default() };
    let done = flash(&counted, &source, options).expect("goes on");
    assert_complete(&memory);
    assert_eq!(done.resumed, 128 * MIB, "two windows");
    assert_eq!(counted.written(), 32 * MIB + 3 * MIB + marks() + 512);
    assert_eq!(
        counted.read(),
        BODY + 3 * MIB + marks() + 3 * 512 + marks(),
        "all of it, the marker, and sector 0 before and after"
    );
    assert!(journal.finish().is_none());
}

#[test]
fn a_resumed_run_trusts_nothing() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("run.journal");
    let memory = used_medium();
    let journal = journal_of(&path, false);
    let faulty = Faulty::new(&memory, Fault::Vanish { after: 150 * MIB });
    flash(&faulty, &source, FlashOptions { journal: Some(&journal), ..FlashOptions::default() })
        .expect_err("pulled out");
    memory.write_at(&[0], 20 * MIB).expect("somebody wrote to it");
    let journal = journal_of(&path, true);
    let options = FlashOptions { journal: Some(&journal), retries: 1, ..FlashOptions::default() };
    let done = flash(&memory, &source, options).expect("mended");
    assert_eq!(done.rewritten.len(), 1);
    assert_complete(&memory);
}

#[test]
fn a_medium_without_the_marker_of_the_run_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("run.journal");
    drop(journal_of(&path, false));
    let memory = used_medium();
    let before = memory.to_vec();
    let journal = journal_of(&path, true);
    let error = flash(&memory, &source, FlashOptions { journal: Some(&journal), ..FlashOptions::default() });
    let error = error.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(
        error.to_string(),
        "`memory` does not say that it is unfinished: something else was written to it since the run stopped"
    );
    assert!(memory.to_vec() == before);
}

#[test]
fn a_run_that_stopped_while_it_made_the_medium_bootable_goes_on() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("run.journal");
    for write in 0.. {
        let memory = used_medium();
        let journal = journal_of(&path, false);
        // The last operations: the write of sector 0, and what comes after.
        let faulty = Faulty::new(&memory, Fault::Vanish { after: BODY + write * 512 });
        let failed =
            flash(&faulty, &source, FlashOptions { journal: Some(&journal), ..FlashOptions::default() });
        drop(journal);
        if failed.is_ok() {
            assert!(write > 0, "the fault was too late");
            break;
        }
        let journal = journal_of(&path, true);
        flash(&memory, &source, FlashOptions { journal: Some(&journal), ..FlashOptions::default() })
            .expect("goes on");
        assert_complete(&memory);
    }
}

#[test]
fn what_nobody_writes_is_cleared() {
    for (unwritten, expected) in [(Unwritten::Keep, 0xa5), (Unwritten::Discard, 0xa5), (Unwritten::Zero, 0)] {
        let memory = used_medium();
        flash(&memory, &source, FlashOptions { unwritten, ..FlashOptions::default() }).expect("flashes");
        assert_complete(&memory);
        let bytes = memory.to_vec();
        for range in [MIB..4 * MIB, 4 * MIB + BODY + 3 * MIB..DISK - MIB] {
            let range = range.start as usize..range.end as usize;
            assert!(bytes[range].iter().all(|found| *found == expected), "{unwritten:?}");
        }
    }
}

#[test]
fn what_reads_zero_already_is_not_zeroed_again() {
    let memory = Memory::new(DISK);
    memory.write_at(&[7], 200 * MIB + 5).expect("old");
    let counted = Counted::new(&memory);
    flash(&counted, &source, FlashOptions { unwritten: Unwritten::Zero, ..FlashOptions::default() })
        .expect("flashes");
    assert_complete(&memory);
    assert_eq!(memory.to_vec()[200 * MIB as usize + 5], 0);
    // Both ends, the body with its zeros, one block, sector 0 twice.
    assert_eq!(counted.written(), 2 * MIB + BODY + 3 * MIB + (64 << 10) + marks() + 2 * 512);
}

#[test]
fn a_medium_that_is_full_is_too_small() {
    let memory = used_medium();
    let faulty = Faulty::new(&memory, Fault::Full { after: 20 * MIB });
    let error = flash(&faulty, &source, FlashOptions::default()).expect_err("full");
    assert_eq!((error.code(), error.hint().as_deref()), (Some("full"), Some("use a larger medium")));
}

#[test]
fn zeros_that_do_not_stay_are_noticed() {
    let memory = used_medium();
    let faulty = Faulty::new(
        &memory,
        Fault::Local {
            location: FaultLocation::At { offset: 200 * MIB, len: 512 },
            kind: FaultKind::Stick(None),
            times: u64::MAX,
        },
    );
    let options = FlashOptions { unwritten: Unwritten::Zero, retries: 1, ..FlashOptions::default() };
    let error = flash(&faulty, &source, options).expect_err("noticed");
    assert_eq!(error.kind(), ErrorKind::Mismatch);
}

/// A medium that can discard, and reads as `after` then.
struct Discards<'a> {
    memory: &'a Memory,
    after: u8,
}

impl Layer for Discards<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.memory
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        if let WriteOp::Discard { offset, len } = op {
            self.memory.write_at(&vec![self.after; len as usize], offset)?;
            return Ok(true);
        }
        op.apply(self.memory)
    }
}

#[test]
fn a_discarded_range_must_read_zero() {
    for (after, zeroed) in [(0, 3 * MIB + MIB + 3 * MIB), (0xff, DISK - 2 * MIB - BODY - 3 * MIB)] {
        let memory = used_medium();
        let discards = Discards { memory: &memory, after };
        let counted = Counted::new(&discards);
        flash(&counted, &source, FlashOptions { unwritten: Unwritten::Zero, ..FlashOptions::default() })
            .expect("flashes");
        assert_complete(&memory);
        assert!(memory.to_vec()[MIB as usize..4 * MIB as usize].iter().all(|found| *found == 0));
        assert_eq!(
            counted.written() - (2 * MIB + 512 + BODY + 3 * MIB + marks() + 512),
            zeroed,
            "{after:#x}"
        );
    }
}
