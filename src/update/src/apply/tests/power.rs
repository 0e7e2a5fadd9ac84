//! The power fails at every moment of every step.

use std::io;

use skiff_disk::storage::{Memory, PowerCut, Target};

use super::flat::{Flat, LEN};
use super::steps::{Device, machine, small};
use crate::Slot;
use crate::apply::{Applied, ApplyError, HEAD, Room, Store, Updater};
use crate::bundle::tests::{Sample, trusted};
use crate::state::{Copies, Copy, Sectors, record};

/// What is done while the power may fail.
type Step<'a> = &'a dyn Fn(&dyn Target);

fn old() -> Sample {
    small(1, 1)
}

fn new() -> Sample {
    small(2, 2)
}

fn updater<S: Store>(store: S, running: Slot) -> Updater<S> {
    Updater { copies: Copies(store), machine: machine(), root: trusted(), running }
}

fn apply<S: Store>(store: S, running: Slot, sample: &Sample) -> Result<Applied, ApplyError> {
    updater(store, running).apply(&mut &sample.bundle()[..], &mut |_| ())
}

/// A medium with the old system in slot `a`, after `steps`.
fn medium(steps: &[Step]) -> Vec<u8> {
    let memory = Memory::new(LEN as u64);
    Device::install(&Flat(&memory), Slot::A, &old());
    steps.iter().for_each(|step| step(&memory));
    memory.to_vec()
}

/// What a boot loader starts from here on, one start after the other, counting as it does. Each start has to find all
/// files of the old or the new system.
fn starts(medium: &dyn Target, count: usize) -> Result<Vec<Slot>, String> {
    let store = Flat(medium);
    let copies = Copies(Flat(medium));
    let mut started = Vec::new();
    for _ in 0..count {
        let found = copies.load().map_err(|error| error.to_string())?;
        let (slot, counted) = found.state.start();
        if let Some(counted) = counted {
            copies.save(&found, &counted).map_err(|error| error.to_string())?;
        }
        let is = |sample: &Sample| Device::has(&store, slot, sample);
        if !is(&old()) && !is(&new()) {
            return Err(format!("slot `{slot}` is started and has no whole system"));
        }
        started.push(slot);
    }
    Ok(started)
}

/// Applies the new system and confirms it, from wherever the device is.
fn finish(medium: &dyn Target) -> Result<(), String> {
    let text = |error: ApplyError| error.to_string();
    let running = starts(medium, 1)?[0];
    if !Device::has(&Flat(medium), running, &new()) {
        apply(Flat(medium), running, &new()).map_err(text)?;
    }
    let running = starts(medium, 1)?[0];
    let agent = updater(Flat(medium), running);
    if agent.status().map_err(text)?.found.state.trial.is_some() {
        agent.confirm().map_err(text)?;
    }
    match starts(medium, 5)?.iter().all(|slot| Device::has(&Flat(medium), *slot, &new())) {
        true => Ok(()),
        false => Err("the new system is not the one that is started".into()),
    }
}

/// All moments of a step, and those at which something is wrong.
fn cut(before: &[u8], step: Step, also: &dyn Fn(&dyn Target) -> Result<(), String>) -> (usize, Vec<String>) {
    let recorded = PowerCut::new(before, 512);
    step(&recorded);
    let (mut count, mut wrong) = (0, Vec::new());
    for state in recorded.states(7) {
        count += 1;
        // Each look changes the medium, so each has its own.
        let copy = || PowerCut::over(&state.medium);
        let looked = starts(&copy(), 5).and_then(|_| also(&copy()));
        wrong.extend(looked.err().map(|problem| format!("{state}: {problem}")));
    }
    (count, wrong)
}

fn ensure(name: &str, before: &[u8], step: Step, also: &dyn Fn(&dyn Target) -> Result<(), String>) {
    let (count, wrong) = cut(before, step, also);
    assert!(wrong.is_empty(), "{name}: {} of {count} states: {}", wrong.len(), wrong[0]);
    assert!(count > 4, "{name}: {count} states");
}

/// One start, whatever is in the slot.
fn start(medium: &dyn Target) {
    let copies = Copies(Flat(medium));
    let found = copies.load().expect("a state");
    if let (_, Some(counted)) = found.state.start() {
        copies.save(&found, &counted).expect("memory does not fail");
    }
}

fn stage(medium: &dyn Target) {
    let applied = apply(Flat(medium), Slot::A, &new()).expect("it is applied");
    assert!(matches!(applied, Applied::Armed { slot: Slot::B, .. }));
}

fn confirm(medium: &dyn Target) {
    updater(Flat(medium), Slot::B).confirm().expect("it is confirmed");
}

fn reject(medium: &dyn Target) {
    updater(Flat(medium), Slot::B).rollback().expect("it is rejected");
}

#[test]
fn staging_and_arming() {
    ensure("staging an empty slot", &medium(&[]), &stage, &finish);
    // Over what another update has left: whole, armed, failed, and half.
    let other = small(3, 2);
    let armed = |medium: &dyn Target| {
        apply(Flat(medium), Slot::A, &other).expect("it is applied");
    };
    let before = medium(&[&armed]);
    ensure_old_or_new("staging over an armed slot", &before, &other);
    let before = medium(&[&armed, &start, &start, &start]);
    ensure_old_or_new("staging over a slot that has failed", &before, &other);
    let half = |medium: &dyn Target| {
        let bundle = other.bundle();
        let result = updater(Flat(medium), Slot::A).apply(&mut &bundle[..bundle.len() - 700], &mut |_| ());
        result.expect_err("it ends too early");
    };
    ensure("staging over half a system", &medium(&[&half]), &stage, &finish);
}

/// Here the slot had a third system before, which may also be started as long as it is armed.
fn ensure_old_or_new(name: &str, before: &[u8], third: &Sample) {
    let recorded = PowerCut::new(before, 512);
    stage(&recorded);
    let mut count = 0;
    for state in recorded.states(7) {
        count += 1;
        let copy = PowerCut::over(&state.medium);
        let copies = Copies(Flat(&copy));
        for _ in 0..5 {
            let found = copies.load().expect("a state");
            let (slot, counted) = found.state.start();
            if let Some(counted) = counted {
                copies.save(&found, &counted).expect("memory does not fail");
            }
            let whole = [&old(), &new(), third].iter().any(|sample| Device::has(&Flat(&copy), slot, sample));
            assert!(whole, "{name}: {state}: slot `{slot}` is started and has no whole system");
        }
        // Five starts have spent the attempts, so that the good slot runs, from which the update is finished.
        finish_after_failure(&copy).unwrap_or_else(|error| panic!("{name}: {state}: {error}"));
    }
    assert!(count > 4);
}

/// As [`finish`]; the new system may have been tried in vain meanwhile, which is remembered: then another one follows.
fn finish_after_failure(medium: &dyn Target) -> Result<(), String> {
    match finish(medium) {
        Err(error) if error.ends_with("was tried on this device and rejected") => {
            let next = small(9, 3);
            let applied = apply(Flat(medium), Slot::A, &next).map_err(|error| error.to_string())?;
            match applied {
                Applied::Armed { slot, .. } if Device::has(&Flat(medium), slot, &next) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }
        result => result,
    }
}

#[test]
fn counting() {
    let mut before = medium(&[&stage]);
    for left in [2, 1, 0] {
        ensure(&format!("counting to {left}"), &before, &start, &|medium| {
            // However often the power fails, a start costs at most what it should.
            let started = starts(medium, 5)?;
            match started.iter().filter(|slot| **slot == Slot::B).count() {
                tried if tried == left || tried == left + 1 => Ok(()),
                tried => Err(format!("{tried} more attempts, {left} are left")),
            }
        });
        let memory = PowerCut::new(&before, 512);
        start(&memory);
        before = bytes(&memory.after());
    }
}

fn bytes(medium: &dyn Target) -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    medium.read_at(&mut bytes, 0).expect("memory");
    bytes
}

#[test]
fn confirming_and_rejecting() {
    let trial = medium(&[&stage, &start]);
    ensure("confirming", &trial, &confirm, &finish);
    ensure("rejecting", &trial, &reject, &|medium| match starts(medium, 5)?.last() {
        Some(Slot::A) => Ok(()),
        other => Err(format!("{other:?} is started in the end")),
    });
    let confirmed = medium(&[&stage, &start, &confirm]);
    ensure("arming the system before", &confirmed, &reject, &|_| Ok(()));
}

/// A store that leaves something out, or does it at another time.
struct Mutated<'a> {
    flat: Flat<'a>,
    /// Answers a wish to settle without doing it.
    settles: fn(usize) -> bool,
    count: std::cell::Cell<usize>,
    /// Neither overwrites the head nor removes anything.
    keeps_head: bool,
}

impl Sectors for Mutated<'_> {
    fn read(&self, copy: Copy) -> io::Result<[u8; record::LEN]> {
        self.flat.read(copy)
    }

    fn write(&self, copy: Copy, sector: &[u8; record::LEN]) -> io::Result<()> {
        self.flat.write(copy, sector)
    }

    fn sync(&self) -> io::Result<()> {
        self.flat.sync()
    }
}

impl Store for Mutated<'_> {
    fn len(&self, slot: Slot, name: &str) -> io::Result<Option<u64>> {
        self.flat.len(slot, name)
    }

    fn names(&self, slot: Slot) -> io::Result<Vec<String>> {
        self.flat.names(slot)
    }

    fn read_at(&self, slot: Slot, name: &str, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.flat.read_at(slot, name, buf, offset)
    }

    fn read_back(&self, slot: Slot, name: &str, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.flat.read_back(slot, name, buf, offset)
    }

    fn create(&self, slot: Slot, name: &str, len: u64) -> io::Result<()> {
        self.flat.create(slot, name, len)
    }

    fn write_at(&self, slot: Slot, name: &str, bytes: &[u8], offset: u64) -> io::Result<()> {
        let overwritten = name == HEAD && bytes.iter().all(|byte| *byte == 0);
        if self.keeps_head && overwritten { Ok(()) } else { self.flat.write_at(slot, name, bytes, offset) }
    }

    fn remove(&self, slot: Slot, name: &str) -> io::Result<()> {
        if self.keeps_head { Ok(()) } else { self.flat.remove(slot, name) }
    }

    fn settle(&self, slot: Slot) -> io::Result<()> {
        self.count.set(self.count.get() + 1);
        if (self.settles)(self.count.get()) { self.flat.settle(slot) } else { Ok(()) }
    }

    fn room(&self, slot: Slot, files: &[(&str, u64)]) -> io::Result<Vec<Room>> {
        self.flat.room(slot, files)
    }
}

/// Moments at which something is wrong if staging over another system settles only some of the times.
fn wrong_with(settles: fn(usize) -> bool, keeps_head: bool) -> usize {
    let other = small(3, 2);
    let before = medium(&[&|medium: &dyn Target| {
        apply(Flat(medium), Slot::A, &other).expect("it is applied");
        // Not armed any more: the slot has a whole system that nobody tries.
        let copies = Copies(Flat(medium));
        let found = copies.load().expect("a state");
        copies.save(&found, &found.state.disarm().expect("it is armed")).expect("memory does not fail");
    }]);
    let step = |medium: &dyn Target| {
        let store = Mutated { flat: Flat(medium), settles, count: Default::default(), keeps_head };
        apply(store, Slot::A, &new()).expect("it is applied");
    };
    let whole = |medium: &dyn Target| {
        let slot = Slot::B;
        match updater(Flat(medium), Slot::A).verify(slot) {
            Ok((_, damages)) if damages.is_empty() => Ok(()),
            // No head: nobody takes the slot for whole.
            Err(ApplyError::NoSystem { .. }) => Ok(()),
            Ok((_, damages)) => Err(damages[0].to_string()),
            Err(error) => Err(error.to_string()),
        }
    };
    let (count, wrong) = cut(&before, &step, &whole);
    assert!(count > 20, "{count} states");
    wrong.len()
}

/// The suite notices each sync that is left out, and a head that stays while its files are replaced.
#[test]
fn another_order_is_noticed() {
    assert_eq!(wrong_with(|_| true, false), 0);
    assert!(wrong_with(|count| count != 1, false) > 0, "the head is removed in time");
    assert!(wrong_with(|count| count != 2, false) > 0, "files are there before the head");
    assert!(wrong_with(|count| count < 2, false) > 0, "files are there before the slot is armed");
    assert!(wrong_with(|_| true, true) > 0, "the head is removed");
}
