//! The power fails at every moment of a run: the medium is the old system, the new one, or recognisably unfinished,
//! and a second run finishes.

mod readers;
mod systems;
mod verdict;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use skiff_image::event::Silent;
use skiff_image::flash::journal::{self, Header, Journal};
use skiff_image::flash::{FlashOptions, Unwritten};
use skiff_image::source::Image;
use skiff_image::storage::cut::State;
use skiff_image::storage::{CowMemory, Layer, PowerCut, Record, Target, TargetError, WriteOp};
use systems::{EXT4, FAT, GPT, MBR, Version, alone, compose, flash, flash_with, older};
use verdict::Run;

const MIB: u64 = 1 << 20;
const LEN: u64 = 16 * MIB;

/// Chooses every `nth` state.
fn every(nth: usize) -> impl FnMut() -> bool {
    let mut count = 0;
    move || {
        count += 1;
        count % nth == 0
    }
}

/// Composes the newer version of a board onto a medium with the older one, looks at all states, and composes again
/// onto some of them.
fn judge_composed(name: &str, board: &str, len: u64, readers: &[&str]) {
    let system = compose(board, Version::New, len);
    let run = Run::record(&older(board, len), |target| flash(&system, target).expect("flashes"));
    assert_eq!(run.found_by(), readers);
    let mut chosen = every(40);
    let again = |state: &State| chosen().then(|| flash(&system, &*state.medium));
    run.judge_all(again).expect_none_failed(&format!("composed, {name}"));
}

#[test]
fn a_board_with_an_mbr_and_blobs_is_never_half_there() {
    judge_composed("MBR", MBR, LEN, &["the own reader", "mbrman", "a BIOS"]);
}

#[test]
fn a_board_with_a_gpt_is_never_half_there() {
    judge_composed("GPT", GPT, LEN, &["the own reader", "gpt", "mbrman", "a BIOS"]);
}

#[test]
fn a_board_with_large_sectors_is_never_half_there() {
    let board = GPT.replace("kind = \"gpt\"", "kind = \"gpt\"\nsector-size = 4096");
    judge_composed("GPT, sectors of 4096", &board, LEN, &["the own reader", "gpt", "mbrman", "a BIOS"]);
}

#[test]
fn an_ext4_for_a_partition_is_never_half_there() {
    judge_composed("ext4 for a partition", EXT4, LEN, &["ext4-view"]);
}

#[test]
fn a_fat_for_a_partition_is_never_half_there() {
    judge_composed("FAT for a partition", FAT, 34 * MIB, &["mbrman", "a BIOS", "fatfs"]);
}

#[test]
fn other_ways_to_write_are_as_safe() {
    let ways = [
        ("only what changed", FlashOptions { only_changed: true, ..FlashOptions::default() }),
        ("and the rest zeroed", FlashOptions { unwritten: Unwritten::Zero, ..FlashOptions::default() }),
    ];
    let (system, before) = (compose(GPT, Version::New, LEN), older(GPT, LEN));
    for (name, options) in ways {
        let run = Run::record(&before, |target| flash_with(&system, target, options).expect("flashes"));
        let mut chosen = every(60);
        let again = |state: &State| chosen().then(|| flash_with(&system, &*state.medium, options));
        run.judge_all(again).expect_none_failed(&format!("composed, GPT, {name}"));
    }
}

/// Remembers what a file was whenever an operation was asked for.
struct Watched<'a> {
    target: &'a dyn Target,
    file: &'a Path,
    texts: Mutex<Vec<String>>,
}

impl Watched<'_> {
    fn note(&self) {
        let text = fs::read_to_string(self.file).expect("a journal");
        self.texts.lock().expect("no panic").push(text);
    }
}

impl Layer for Watched<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        self.note();
        op.apply(self.target)
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        self.note();
        self.target.sync()
    }
}

/// Every interrupted run is gone on with, with the journal that it had written by then.
#[test]
fn a_run_with_a_journal_is_never_half_there_and_is_resumed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal");
    let (system, before) = (compose(MBR, Version::New, LEN), older(MBR, LEN));
    let header = || {
        let medium = journal::MediumId { model: None, serial: Some("7".into()), len: LEN };
        Header::new(medium, "a board".into(), system.composition.fingerprint())
    };
    let flash = |target: &dyn Target, journal: &Journal| {
        flash_with(
            &system,
            target,
            FlashOptions { retries: 0, journal: Some(journal), ..FlashOptions::default() },
        )
    };
    let mut texts = Vec::new();
    let run = Run::record(&before, |target| {
        let journal = Journal::create(&path, header()).expect("a journal").with_window(MIB);
        let watched = Watched { target, file: &path, texts: Mutex::default() };
        let record = flash(&watched, &journal).expect("flashes");
        texts = watched.texts.into_inner().expect("no panic");
        texts.push(fs::read_to_string(&path).expect("a journal"));
        record
    });
    let (mut chosen, mut resumed, mut refused) = (every(15), 0, 0);
    let tally = run.judge_all(|state| {
        chosen().then(|| {
            fs::write(&path, &texts[state.returned()]).expect("writes");
            let journal = Journal::resume(&path, header()).expect("resumes").with_window(MIB);
            match flash(&*state.medium, &journal) {
                // The old table was not yet, or not all, removed.
                Err(error) if error.to_string().contains("does not say that it is unfinished") => {
                    refused += 1;
                    systems::flash(&system, &*state.medium)
                }
                result => {
                    resumed += 1;
                    result
                }
            }
        })
    });
    eprintln!("{resumed} resumed, {refused} begun again");
    assert!(resumed > 3 * refused && refused > 0, "{resumed} {refused}");
    tally.expect_none_failed("composed, MBR, with a journal");
}

/// Copies a ready image of the newer version of a board onto a medium with the older version of another one.
fn judge_copied(name: &str, board: &str, before: &str) {
    let finished = CowMemory::new(LEN - MIB, 512);
    flash(&compose(board, Version::New, LEN - MIB), &finished).expect("flashes");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("disk.img");
    finished.write_to(&File::create(&path).expect("a file")).expect("writes");
    let image = Image::open(&path, None).expect("an image");
    let copy = |target: &dyn Target| {
        alone(|| Ok(image.copy(target, true, &Silent, FlashOptions::default())?.record))
    };
    let run = Run::record(&older(before, LEN), |target| copy(target).expect("copies"));
    let mut chosen = every(10);
    let again = |state: &State| chosen().then(|| copy(&*state.medium));
    run.judge_all(again).expect_none_failed(&format!("copied, {name}"));
}

#[test]
fn a_copied_image_is_never_half_there() {
    judge_copied("MBR over MBR", MBR, MBR);
    judge_copied("MBR over GPT", MBR, GPT);
    judge_copied("GPT over MBR", GPT, MBR);
    judge_copied("ext4 over ext4", EXT4, EXT4);
}

/// Leaves out a sync, as a program with a mistake in its order would.
struct Without<'a> {
    target: &'a dyn Target,
    sync: usize,
    asked: AtomicUsize,
}

impl Layer for Without<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        match self.asked.fetch_add(1, Ordering::SeqCst) == self.sync {
            true => Ok(()),
            false => self.target.sync(),
        }
    }
}

/// The syncs of a run without each of which a medium could be found half written.
fn needed(board: &str, before: &str) -> Vec<usize> {
    let (system, before) = (compose(board, Version::New, LEN), older(before, LEN));
    let syncs = Run::record(&before, |target| flash(&system, target).expect("flashes")).power.syncs();
    let fails = |sync: &usize| {
        let run = Run::record(&before, |target| {
            flash(&system, &Without { target, sync: *sync, asked: AtomicUsize::new(0) }).expect("flashes")
        });
        run.can_fail()
    };
    (0..syncs).filter(fails).collect()
}

#[test]
fn a_sync_that_is_left_out_is_noticed() {
    // The first one, behind which the old system is gone, and the one before sector 0.
    assert_eq!(needed(MBR, MBR), [0, 8]);
    // Whoever does not look at sector 0 needs the one before the tables too.
    assert_eq!(needed(GPT, GPT), [0, 7, 8]);
    // The superblock of an ext4 goes in the second step, and comes in the last but one.
    assert_eq!(needed(EXT4, EXT4), [1, 7]);
}

/// Has `write` write a finished system in its own order.
fn can_fail(write: impl FnOnce(&PowerCut, &CowMemory, &Record)) -> bool {
    let finished = older(MBR, LEN);
    let record = flash(&compose(MBR, Version::New, LEN), &finished).expect("flashes");
    let power = PowerCut::over(&older(MBR, LEN));
    write(&power, &finished, &record);
    let run = Run::new(power, &record);
    assert!(run.is_finished(&run.power.after()), "without a cut it is right");
    run.can_fail()
}

/// Copies what is in a range, and begins there.
fn copy(from: &CowMemory, to: &PowerCut, record: &Record, begin: std::ops::Range<u64>) {
    for extent in record.within(begin) {
        let mut bytes = vec![0; extent.len as usize];
        from.read_at(&mut bytes, extent.offset).expect("inside");
        to.write_at(&bytes, extent.offset).expect("inside");
    }
}

#[test]
fn a_table_that_is_written_first_is_noticed() {
    let fails = can_fail(|power, finished, record| {
        power.zero(0, MIB).expect("zero");
        power.sync().expect("sync");
        copy(finished, power, record, 0..MIB);
        power.sync().expect("sync");
        copy(finished, power, record, MIB..LEN);
        power.sync().expect("sync");
    });
    assert!(fails);
}

#[test]
fn a_table_that_is_written_with_the_rest_is_noticed() {
    let fails = can_fail(|power, finished, record| {
        power.zero(0, MIB).expect("zero");
        power.sync().expect("sync");
        copy(finished, power, record, MIB..LEN);
        copy(finished, power, record, 0..MIB);
        power.sync().expect("sync");
    });
    assert!(fails);
}

#[test]
fn a_table_that_is_never_removed_is_noticed() {
    let fails = can_fail(|power, finished, record| {
        copy(finished, power, record, MIB..LEN);
        power.sync().expect("sync");
        copy(finished, power, record, 0..MIB);
        power.sync().expect("sync");
    });
    assert!(fails);
}
