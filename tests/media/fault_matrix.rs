//! Every way in which a medium can lie, many times: a run that says it has succeeded has, whatever the medium did, and
//! one that has failed says what it was and leaves nothing that boots.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use crate::harness::lies::{Lie, over};
use rayon::prelude::*;
use skiff_image::error::ErrorKind;
use skiff_image::event::Silent;
use skiff_image::flash::{Commit, FlashOptions};
use skiff_image::readback::Code;
use skiff_image::storage::{
    Fault, FaultKind, FaultLocation, Faulty, Geometry, Layer, Memory, ReadFrom, Target, TargetError, Tear,
};
use skiff_image::table::TableBytes;
use skiff_image::table::{self, Partition, PartitionKind, gpt, mbr};
use uuid::Uuid;

const KIB: u64 = 1 << 10;
const ALWAYS: u64 = u64::MAX;
/// Variable with the number of trials of each kind; pairs of lies have a tenth of them.
const TRIALS_VARIABLE: &str = "SKIFF_FAULT_TRIALS";
/// Trials of each kind without it.
const TRIALS: u64 = 400;
/// Lengths of media; small ones are as good as large ones to go wrong.
const LENGTHS: [u64; 3] = [112 * KIB, 144 * KIB, 224 * KIB];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len() as u64) as usize]
    }
}

/// What all bytes are taken from: no two places are alike.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random(1);
    (0..1 << 17).flat_map(|_| random.next().to_le_bytes()).collect()
});

/// What a medium had before, and what makes it bootable.
struct Layout {
    len: u64,
    old: Vec<u8>,
    critical: Vec<TableBytes>,
}

/// For each length one with an MBR and one with a GPT.
static LAYOUTS: LazyLock<Vec<Layout>> = LazyLock::new(|| {
    let both = LENGTHS.iter().flat_map(|len| [(*len, false), (*len, true)]);
    both.map(|(len, gpt)| {
        let mut old = NOISE[1000..1000 + len as usize].to_vec();
        for piece in tables(len, gpt, 1) {
            old[piece.offset as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
        }
        let mut critical = tables(len, gpt, 2);
        let start = if gpt { 20 * KIB } else { 8 * KIB };
        critical.push(TableBytes { name: "blob".into(), offset: start, bytes: NOISE[5..3005].to_vec() });
        Layout { len, old, critical }
    })
    .collect()
});

fn tables(len: u64, with_gpt: bool, id: u8) -> Vec<TableBytes> {
    let geometry = Geometry { len, sector_size: 512 };
    let kind = match with_gpt {
        true => PartitionKind::Gpt {
            type_guid: Uuid::from_u128(7),
            guid: Uuid::from_u128(id.into()),
            attributes: 0,
            name: "p".into(),
        },
        false => PartitionKind::Mbr { code: 0x83, active: true },
    };
    let partition = Partition { number: 1, name: "p".into(), start: 32 * KIB, len: 32 * KIB, kind };
    if !with_gpt {
        return mbr::encode(id.into(), &[partition], geometry).expect("encodes");
    }
    let disk_guid = Uuid::from_u128(id.into());
    let options = gpt::Options { disk_guid, entry_count: 128, reserved: &[], hybrid: None };
    gpt::encode(&[partition], geometry, &options).expect("encodes")
}

/// What is written between the tables; no bytes are zeros.
#[derive(Clone)]
struct Piece {
    at: u64,
    len: u64,
    bytes: Option<&'static [u8]>,
}

fn body(len: u64, random: &mut Random) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 24 * KIB + random.below(8) * 512;
    loop {
        let len_here = (1 + random.below(24)) * 512;
        // The backup of a GPT and its entries are the last 33 sectors.
        if at + len_here > len - 33 * 512 {
            return pieces;
        }
        let from = random.below(NOISE.len() as u64 - len_here) as usize;
        let bytes = (random.below(5) > 0).then(|| &NOISE[from..from + len_here as usize]);
        pieces.push(Piece { at, len: len_here, bytes });
        at += len_here + random.of(&[0, 0, 512, 4096]);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Sound,
    Wrap,
    Short,
    Vanish,
    Full,
    Local(&'static str, bool),
    Lies(&'static str, Option<&'static str>),
}

/// Faults in one place, for ever and for a while.
const LOCAL: [&str; 10] =
    ["flip", "flips", "drop", "torn", "scattered", "misplace", "stuck-old", "stuck", "unstable", "eio-read"];

fn classes() -> Vec<Class> {
    let others = [Class::Sound, Class::Wrap, Class::Short, Class::Vanish, Class::Full];
    let local = LOCAL
        .iter()
        .chain(&["eio-write"])
        .flat_map(|name| [Class::Local(name, false), Class::Local(name, true)]);
    others.into_iter().chain(local).collect()
}

/// Lies about every byte of a medium.
const LIES: [&str; 9] = [
    "same-place",
    "dead-bit",
    "wraps",
    "cuts-writes",
    "no-zeroing",
    "stale-reads",
    "right-once",
    "sync-fails",
    "also-at",
];

/// Each of them, and all pairs.
fn lying_classes() -> Vec<Class> {
    let pairs = LIES
        .iter()
        .enumerate()
        .flat_map(|(index, one)| LIES[index + 1..].iter().map(move |other| Class::Lies(one, Some(other))));
    LIES.iter().map(|name| Class::Lies(name, None)).chain(pairs).collect()
}

fn lie(name: &str, len: u64, writes: u64, random: &mut Random) -> Lie {
    let sectors = len / 512;
    match name {
        "same-place" => {
            let one = random.below(sectors);
            Lie::SamePlace(one * 512, (one + 1 + random.below(sectors - 1)) % sectors * 512)
        }
        "dead-bit" => Lie::DeadBit(512 << random.below(u64::from(sectors.ilog2()))),
        "wraps" => Lie::Wraps(512 * random.of(&[16 + random.0 % (sectors - 17), sectors - 1, sectors - 2])),
        "cuts-writes" => Lie::CutsWrites(512 << random.below(7)),
        "no-zeroing" => Lie::NoZeroing,
        "stale-reads" => Lie::StaleReads,
        "right-once" => Lie::RightOnce { at: random.below(sectors) * 512, len: random.of(&[512, 8192]) },
        "sync-fails" => Lie::SyncFails { after: random.below(12) },
        _ => Lie::AlsoAt { write: random.below(writes + 20), at: random.below(sectors) * 512 },
    }
}

struct Trial {
    layout: &'static Layout,
    body: Vec<Piece>,
    fault: Fault,
    lies: Vec<Lie>,
    retries: u32,
    only_changed: bool,
    second_pass: bool,
    /// The fault passes, and what it has done is written again in time.
    must_succeed: bool,
}

fn kind(name: &str, random: &mut Random) -> FaultKind {
    match name {
        "flip" => FaultKind::Flip { bit: random.next(), bits: 1 },
        "flips" => FaultKind::Flip { bit: random.next(), bits: 2 + random.below(60) },
        "drop" => FaultKind::Lose,
        "torn" => FaultKind::Tear(Tear::Prefix),
        "scattered" => FaultKind::Tear(Tear::Subset(random.next())),
        "misplace" => FaultKind::Misplace { by: 512 * (1 + random.below(400)) },
        "stuck-old" => FaultKind::Stick(None),
        "stuck" => FaultKind::Stick(Some(random.of(&[0, 0xff, 0x5a]))),
        "unstable" => FaultKind::Unstable,
        "eio-read" => FaultKind::ReadError,
        _ => FaultKind::WriteError,
    }
}

fn trial(class: Class, seed: u64) -> Trial {
    let random = &mut Random(seed);
    let layout = &LAYOUTS[random.below(LAYOUTS.len() as u64) as usize];
    let body = body(layout.len, random);
    let retries = random.below(4) as u32;
    let only_changed = random.below(4) == 0;
    let written: u64 = body.iter().filter(|piece| piece.bytes.is_some()).map(|piece| piece.len).sum();
    let mut must_succeed = class == Class::Sound;
    let writes = body.len() as u64;
    let mut lies = Vec::new();
    let fault = match class {
        Class::Lies(one, other) => {
            lies = [Some(one), other]
                .into_iter()
                .flatten()
                .map(|name| lie(name, layout.len, writes, random))
                .collect();
            must_succeed = lies.iter().all(|lie| heals(lie, retries));
            Fault::Full { after: ALWAYS }
        }
        Class::Sound => Fault::Full { after: ALWAYS },
        Class::Wrap => Fault::Wrap { size: 512 * (16 + random.below(layout.len / 512 - 40)) },
        Class::Short => {
            Fault::Short { size: 512 * random.below(layout.len / 512 - 20), reads: random.of(&[0, 0xff]) }
        }
        // The table is written in the last few kilobytes.
        Class::Vanish => Fault::Vanish { after: random.below(written + 40 * KIB) },
        Class::Full => Fault::Full { after: random.below(written + 40 * KIB) },
        Class::Local(name, passes) => {
            let times = if passes { 1 + random.below(3) } else { ALWAYS };
            let at = FaultLocation::At {
                offset: random.below(layout.len),
                len: random.of(&[1, 512, 4096, 20_000]),
            };
            let in_body = FaultLocation::Written(random.below(written));
            let write = FaultLocation::Write(random.below(body.len() as u64 + 6));
            let location = random.of(&[at, in_body, write]);
            // What an I/O error stops is not tried again, and a misplaced write can meet anything.
            let mendable = !matches!(name, "eio-write" | "misplace") && location == in_body && !only_changed;
            must_succeed = passes && mendable && u64::from(retries) >= times;
            Fault::Local { location, kind: kind(name, random), times }
        }
    };
    // What goes wrong behind the last reading, or from the second one on, only another reading finds.
    let second_pass = lies.iter().any(|lie| matches!(lie, Lie::RightOnce { .. } | Lie::AlsoAt { .. }));
    Trial { layout, body, fault, lies, retries, only_changed, second_pass, must_succeed }
}

/// Whether plainer writes make up for a lie.
fn heals(lie: &Lie, retries: u32) -> bool {
    match lie {
        Lie::CutsWrites(most) => *most >= 4096 && retries >= 3,
        Lie::NoZeroing => retries >= 3,
        _ => false,
    }
}

/// The medium before: an older system, of which some is what will be written.
fn medium(trial: &Trial) -> Memory {
    let memory = Memory::new(trial.layout.len);
    memory.write_at(&trial.layout.old, 0).expect("write");
    if trial.only_changed {
        for piece in trial.body.iter().step_by(2) {
            piece.bytes.iter().for_each(|bytes| memory.write_at(bytes, piece.at).expect("write"));
        }
    }
    memory
}

fn flash(trial: &Trial, target: &dyn Target) -> skiff_image::Result<()> {
    let options = FlashOptions {
        retries: trial.retries,
        only_changed: trial.only_changed,
        second_pass: trial.second_pass,
        probe: Some(1),
        ..FlashOptions::default()
    };
    let commit = Commit { target, used: true, regions: &[], listener: &Silent, options };
    let source = |target: &dyn Target| {
        for piece in &trial.body {
            match piece.bytes {
                Some(bytes) => target.write_at(bytes, piece.at)?,
                None => target.zero(piece.at, piece.len)?,
            }
        }
        Ok(trial.layout.critical.clone())
    };
    commit.run(&source).map(drop)
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Success, and everything is right.
    Right,
    /// Failure with this code, and no table.
    Failed(&'static str),
    /// Failure, with words that nobody must boot from it.
    Warned(&'static str),
    /// Success, and something is wrong.
    FalseSuccess,
    /// Anything else that must not be.
    Broken(&'static str),
}

fn run(trial: &Trial, lying: bool) -> End {
    let memory = Arc::new(medium(trial));
    let target = over(Arc::new(Faulty::new(Arc::clone(&memory), trial.fault)), &trial.lies);
    let result = match lying {
        true => flash(trial, &Lying(&*target)),
        false => flash(trial, &*target),
    };
    // What someone else sees who plugs it in later.
    let fault = match trial.fault {
        fault @ (Fault::Wrap { .. } | Fault::Short { .. }) => fault,
        _ => Fault::Full { after: ALWAYS },
    };
    // Addresses stay what they are, and what is read a second time is as wrong as before.
    let stays = |lie: &&Lie| !matches!(lie, Lie::StaleReads | Lie::SyncFails { .. });
    let lies: Vec<Lie> = trial.lies.iter().filter(stays).cloned().collect();
    let later = over(Arc::new(Faulty::new(Arc::clone(&memory), fault)), &lies);
    let later = Again(later);
    match result {
        Ok(()) if is_right(trial, &later) => End::Right,
        Ok(()) => End::FalseSuccess,
        Err(_) if trial.must_succeed => End::Broken("it could have been mended"),
        Err(error) => failed(&error, &later),
    }
}

fn failed(error: &skiff_image::Error, later: &dyn Target) -> End {
    let known = |code: &&str| Code::ALL.iter().any(|known| known.as_str() == *code);
    let Some(code) = error.code().filter(known) else { return End::Broken("a failure has no code") };
    if !matches!(error.kind(), ErrorKind::Io | ErrorKind::Mismatch) {
        return End::Broken("a failure of another family");
    }
    let message = error.to_string();
    if message.ends_with("; it could not be wiped either: do not boot from it") {
        return End::Warned(code);
    }
    match table::read(later).expect("it can be read") {
        None if message
            .ends_with("; it was left without a partition table, so that nothing boots from it") =>
        {
            End::Failed(code)
        }
        None => End::Broken("a failure that does not tell what became of the table"),
        Some(_) => End::Broken("a table was left"),
    }
}

/// Whether everything is where it belongs.
fn is_right(trial: &Trial, later: &dyn Target) -> bool {
    let holds = |at: u64, wanted: &[u8]| {
        let mut found = vec![0; wanted.len()];
        later.read_back(&mut found, at).expect("it can be read");
        found == wanted
    };
    let zeros = vec![0; 24 * 512];
    let piece = |piece: &Piece| holds(piece.at, piece.bytes.unwrap_or(&zeros[..piece.len as usize]));
    trial.body.iter().all(piece)
        && trial.layout.critical.iter().all(|piece| holds(piece.offset, &piece.bytes))
        && table::read(later).expect("it can be read").is_some_and(|table| table.partitions.len() == 1)
}

/// A medium that was read before.
struct Again(Arc<dyn Target>);

impl Layer for Again {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &*self.0
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        from.read(&*self.0, buf, offset)?;
        from.read(&*self.0, buf, offset)
    }
}

/// What happens without a read-back worth its name.
struct Lying<'a>(&'a dyn Target);

impl Layer for Lying<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.0
    }

    fn on_read(&self, _: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.0.read_at(buf, offset)
    }
}

type Ends = BTreeMap<End, (u64, u64)>;

/// How often each end was met, and in which trial first.
fn ends(class: Class, seeds: Range<u64>, lying: bool) -> Ends {
    let hash = |sum: u32, byte: u8| sum.wrapping_mul(31).wrapping_add(byte.into());
    let base = u64::from(format!("{class:?}").bytes().fold(7, hash)) << 20;
    let seed = |number| base + number;
    let each = seeds.into_par_iter().map(|number| (run(&trial(class, seed(number)), lying), number));
    let count = |mut ends: Ends, (end, number): (End, u64)| {
        ends.entry(end).or_insert((0, number)).0 += 1;
        ends
    };
    each.fold(Ends::new, count).reduce(Ends::new, |one, other| {
        other.into_iter().fold(one, |mut ends, (end, (count, number))| {
            ends.entry(end).or_insert((0, number)).0 += count;
            ends
        })
    })
}

/// Fails if a trial of these ended as none may; says how many there were.
fn expect_no_false_success(classes: &[(Class, u64)]) {
    let mut bad = Vec::new();
    let mut total = 0;
    for (class, trials) in classes {
        let ends = ends(*class, 0..*trials, false);
        println!("{class:?}: {ends:?}");
        total += ends.values().map(|(count, _)| count).sum::<u64>();
        bad.extend(
            ends.into_iter()
                .filter(|(end, _)| matches!(end, End::FalseSuccess | End::Broken(_)))
                .map(|end| (*class, end)),
        );
    }
    println!(
        "{total} trials of {} kinds, {} of them with a false success or worse",
        classes.len(),
        bad.len()
    );
    assert!(bad.is_empty(), "{bad:#?}");
    assert_eq!(total, classes.iter().map(|(_, trials)| trials).sum::<u64>());
}

fn trials() -> u64 {
    let set = std::env::var(TRIALS_VARIABLE).ok();
    set.map_or(TRIALS, |number| number.parse().expect("a number of trials"))
}

#[test]
fn no_fault_leads_to_a_false_success() {
    let all: Vec<(Class, u64)> = classes().into_iter().map(|class| (class, trials())).collect();
    expect_no_false_success(&all);
}

#[test]
fn no_lie_and_no_pair_of_lies_leads_to_a_false_success() {
    let share = |class| match class {
        Class::Lies(_, Some(_)) => (class, (trials() / 10).max(1)),
        class => (class, trials()),
    };
    let all: Vec<(Class, u64)> = lying_classes().into_iter().map(share).collect();
    expect_no_false_success(&all);
}

#[test]
fn without_a_real_read_back_there_are_false_successes() {
    for class in classes() {
        let silent = match class {
            Class::Local(name, _) => !matches!(name, "unstable" | "eio-read" | "eio-write"),
            class => matches!(class, Class::Wrap | Class::Short),
        };
        if silent {
            let ends = ends(class, 0..60, true);
            assert!(ends.contains_key(&End::FalseSuccess), "{class:?}: {ends:?}");
        }
    }
}
