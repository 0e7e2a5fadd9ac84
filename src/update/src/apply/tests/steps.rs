//! Steps of an update, in memory.

use skiff_disk::error::Diagnostic as _;
use skiff_disk::storage::Memory;
use skiff_disk::value::Arch;

use super::flat::{Flat, LEN};
use crate::Slot;
use crate::apply::{Applied, ApplyError, HEAD, Store, Undone, Updater};
use crate::bundle::Kind;
use crate::bundle::tests::{Sample, noise, trusted};
use crate::keys::tests::{root, signed_root};
use crate::state::record::{Form, encode};
use crate::state::{Contents, Copies, Copy, Phase, State};
use crate::statement::Machine;

pub(crate) fn machine() -> Machine {
    let files = vec!["kernel".into(), "rootfs.squashfs".into()];
    Machine { board: "maker/small".into(), arch: Arch::Arm64, loader: "uboot-fat".into(), files }
}

/// A system of a few sectors; most of it is the same whatever `seed` is.
pub(crate) fn small(seed: u64, sequence: u64) -> Sample {
    let kernel = noise(seed, 700);
    let image = [noise(100, 1000), noise(seed + 50, 1000), noise(101, 300)].concat();
    Sample { contents: vec![kernel, image], block: 1000, ..Sample::new(0, sequence) }
}

pub(crate) struct Device;

impl Device {
    /// Makes a medium that starts `sample` from `slot`.
    pub(crate) fn install(store: &dyn Store, slot: Slot, sample: &Sample) {
        let record = encode(&State::new(slot, 0), Form::Plain);
        for copy in [Copy::First, Copy::Second] {
            store.write(copy, &record).expect("memory does not fail");
        }
        let head = sample.parts().to_bytes(Kind::Bundle);
        let files = ["kernel", "rootfs.squashfs"].into_iter().zip(&sample.contents);
        for (name, bytes) in files.chain([(HEAD, &head)]) {
            store.create(slot, name, bytes.len() as u64).expect("memory does not fail");
            store.write_at(slot, name, bytes, 0).expect("memory does not fail");
        }
        store.settle(slot).expect("memory does not fail");
    }

    /// Whether all files of a slot are those of `sample`.
    pub(crate) fn has(store: &dyn Store, slot: Slot, sample: &Sample) -> bool {
        ["kernel", "rootfs.squashfs"].into_iter().zip(&sample.contents).all(|(name, bytes)| {
            let mut there = vec![0; bytes.len()];
            let len = store.len(slot, name).expect("memory does not fail");
            len == Some(bytes.len() as u64)
                && store.read_at(slot, name, &mut there, 0).is_ok()
                && there == *bytes
        })
    }
}

fn installed(sample: &Sample) -> Memory {
    let memory = Memory::new(LEN as u64);
    Device::install(&Flat(&memory), Slot::A, sample);
    memory
}

fn agent(memory: &Memory, running: Slot) -> Updater<Flat<'_>> {
    Updater { copies: Copies(Flat(memory)), machine: machine(), root: trusted(), running }
}

fn apply(memory: &Memory, running: Slot, sample: &Sample) -> Result<Applied, ApplyError> {
    agent(memory, running).apply(&mut &sample.bundle()[..], &mut |_| ())
}

/// Starts as a boot loader does, and returns the slot.
fn start(memory: &Memory) -> Slot {
    let copies = Copies(Flat(memory));
    let found = copies.load().expect("a state");
    let (slot, counted) = found.state.start();
    if let Some(counted) = counted {
        copies.save(&found, &counted).expect("memory does not fail");
    }
    slot
}

fn refusal(memory: &Memory, running: Slot, sample: &Sample) -> String {
    let before = memory.to_vec();
    let error = apply(memory, running, sample).unwrap_err();
    assert_eq!(memory.to_vec(), before, "{error}");
    assert!(error.hint().is_some(), "{error}");
    error.to_string()
}

#[test]
fn an_update_is_applied_tried_and_confirmed() {
    let memory = installed(&small(1, 1));
    let agent_a = agent(&memory, Slot::A);
    let phase = |agent: &Updater<Flat>| agent.status().expect("a status").phase;
    assert_eq!(phase(&agent_a), Phase::Idle);
    let mut steps = Vec::new();
    let bundle = small(2, 2).bundle();
    let applied = agent_a.apply(&mut &bundle[..], &mut |done| steps.push(done)).expect("it is applied");
    let Applied::Armed { slot: Slot::B, system, written: 3000, kept: 0 } = applied else {
        panic!("{applied:?}")
    };
    assert_eq!(steps, [700, 1700, 2700, 3000]);
    assert_eq!(phase(&agent_a), Phase::Armed { left: 3 });
    assert_eq!(start(&memory), Slot::B);
    let agent_b = agent(&memory, Slot::B);
    assert_eq!(phase(&agent_b), Phase::Trial { left: 2 });
    assert_eq!(agent_b.confirm().expect("it is confirmed"), system);
    let status = agent_b.status().expect("a status");
    assert_eq!((status.phase, status.found.state.floor, status.found.state.good), (Phase::Idle, 2, Slot::B));
    assert_eq!(status.slots[1].version, Some(("2.0".into(), 2)));
    assert_eq!(status.slots[1].contents, Contents::Whole(system));
    // The same bundle again changes nothing.
    let before = memory.to_vec();
    assert_eq!(apply(&memory, Slot::B, &small(2, 2)).expect("it is there"), Applied::Running(system));
    assert_eq!(memory.to_vec(), before);
    assert_eq!(
        refusal(&memory, Slot::B, &small(1, 1)),
        "the bundle has sequence 1 (version `1.0`), this device takes 2 and higher"
    );
}

#[test]
fn what_the_slot_has_is_not_written_again() {
    let memory = installed(&small(1, 1));
    let bundle = small(2, 2).bundle();
    let cut = &bundle[..bundle.len() - 200];
    let error = agent(&memory, Slot::A).apply(&mut &cut[..], &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "the bundle ends in the payload, after 2800 of 3000 bytes of it");
    assert_eq!(agent(&memory, Slot::A).status().expect("a status").phase, Phase::Staging);
    let applied = apply(&memory, Slot::A, &small(2, 2)).expect("it is applied");
    assert!(matches!(applied, Applied::Armed { written: 300, kept: 2700, .. }), "{applied:?}");
    // Armed already: read back, and nothing else.
    let before = memory.to_vec();
    let applied = apply(&memory, Slot::A, &small(2, 2)).expect("it is armed");
    assert!(matches!(applied, Applied::Armed { written: 0, kept: 3000, .. }), "{applied:?}");
    assert_eq!(memory.to_vec(), before);
}

#[test]
fn two_bad_versions_and_then_a_good_one() {
    let memory = installed(&small(1, 1));
    for seed in [2, 3] {
        apply(&memory, Slot::A, &small(seed, 2)).expect("it is applied");
        assert_eq!([(); 4].map(|()| start(&memory)), [Slot::B, Slot::B, Slot::B, Slot::A]);
        assert_eq!(agent(&memory, Slot::A).status().expect("a status").phase, Phase::Failed);
    }
    apply(&memory, Slot::A, &small(4, 2)).expect("the floor was not raised");
    assert_eq!(start(&memory), Slot::B);
    agent(&memory, Slot::B).confirm().expect("it is confirmed");
    let state = agent(&memory, Slot::B).status().expect("a status").found.state;
    assert_eq!((state.good, state.floor, state.rejected.len()), (Slot::B, 2, 2));
    assert_eq!([(); 3].map(|()| start(&memory)), [Slot::B; 3]);
    let error = refusal(&memory, Slot::B, &small(2, 2));
    assert!(error.ends_with(" was tried on this device and rejected"), "{error}");
}

#[test]
fn a_trial_is_rejected_and_a_confirmed_one_undone() {
    let memory = installed(&small(1, 1));
    apply(&memory, Slot::A, &small(2, 2)).expect("it is applied");
    start(&memory);
    let undone = agent(&memory, Slot::B).rollback().expect("it is rejected");
    assert!(matches!(undone, Undone::Rejected { good: Slot::A, .. }), "{undone:?}");
    assert_eq!(start(&memory), Slot::A);
    assert_eq!(agent(&memory, Slot::A).status().expect("a status").phase, Phase::Rejected);

    apply(&memory, Slot::A, &small(3, 2)).expect("it is applied");
    start(&memory);
    agent(&memory, Slot::B).confirm().expect("it is confirmed");
    let undone = agent(&memory, Slot::B).rollback().expect("the old one is there");
    assert!(matches!(undone, Undone::Armed { slot: Slot::A, .. }), "{undone:?}");
    assert_eq!(start(&memory), Slot::A);
    agent(&memory, Slot::A).confirm().expect("it is confirmed");
    let state = agent(&memory, Slot::A).status().expect("a status").found.state;
    assert_eq!((state.good, state.floor), (Slot::A, 2), "the floor stays");
}

#[test]
fn an_update_waits_for_the_end_of_a_trial() {
    let memory = installed(&small(1, 1));
    apply(&memory, Slot::A, &small(2, 2)).expect("it is applied");
    start(&memory);
    let error = refusal(&memory, Slot::B, &small(3, 3));
    assert!(
        error.starts_with("slot `b` with system ") && error.ends_with(", 2 of 3 attempts left"),
        "{error}"
    );
    agent(&memory, Slot::B).confirm().expect("it is confirmed");
    assert_eq!(
        refusal(&memory, Slot::A, &small(3, 3)),
        "slot `a` runs, but `b` is the good one and nothing is on trial"
    );
}

#[test]
fn wrong_bundles_change_nothing() {
    let memory = installed(&small(1, 1));
    let with = |change: fn(&mut Sample)| {
        let mut sample = small(2, 2);
        change(&mut sample);
        refusal(&memory, Slot::A, &sample)
    };
    assert_eq!(
        with(|sample| sample.statement.boards = vec!["maker/other".into()]),
        "the bundle is for the boards `maker/other`, this is `maker/small`"
    );
    assert_eq!(with(|sample| sample.statement.arch = Arch::Arm), "the bundle is for `arm`, this is `arm64`");
    assert_eq!(
        with(|sample| sample.statement.loaders = vec!["grub-env".into()]),
        "the bundle is for systems that are started by `grub-env`, this one is started by `uboot-fat`"
    );
    assert_eq!(
        with(|sample| sample.signers = vec![]),
        "the statement has 0 of the 1 signatures that root 1 wants"
    );
}

#[test]
fn keys_that_were_brought_count_after_confirmation() {
    let memory = installed(&small(1, 1));
    let second = root(2, (1, 1), &[2], &[1]);
    let by_second = |seed, sequence| {
        let mut sample = small(seed, sequence);
        sample.statement.epoch = 2;
        Sample { roots: vec![signed_root(&second, &[1, 2])], signers: vec![2], ..sample }
    };
    apply(&memory, Slot::A, &by_second(2, 2)).expect("it brings its keys");
    start(&memory);
    let epoch = |running| agent(&memory, running).status().expect("a status").epoch;
    assert_eq!(epoch(Slot::B), 1);
    agent(&memory, Slot::B).confirm().expect("it is confirmed");
    assert_eq!(epoch(Slot::B), 2);
    assert!(refusal(&memory, Slot::B, &small(3, 3)).ends_with(", which root 2 has revoked"));
    apply(&memory, Slot::B, &by_second(3, 3)).expect("the next one needs no roots, and may have them");
}

#[test]
fn damage_is_named_and_not_armed() {
    let memory = installed(&small(1, 1));
    apply(&memory, Slot::A, &small(2, 2)).expect("it is applied");
    let flip = |slot, name: &str, at: u64| {
        let mut byte = [0];
        Flat(&memory).read_at(slot, name, &mut byte, at).expect("memory does not fail");
        Flat(&memory).write_at(slot, name, &[byte[0] ^ 1], at).expect("memory does not fail");
    };
    assert_eq!(agent(&memory, Slot::A).verify(Slot::B).expect("it can be read").0, 3000);
    flip(Slot::B, "rootfs.squashfs", 1500);
    let (good, damages) = agent(&memory, Slot::A).verify(Slot::B).expect("it can be read");
    let text: Vec<String> = damages.iter().map(ToString::to_string).collect();
    let expected =
        "`b/rootfs.squashfs` has other bytes than belong there, the first in the 1000 bytes at byte 1000";
    assert_eq!((good, text), (700, vec![expected.to_owned()]));
    // Applied again, only that block is written.
    let applied = apply(&memory, Slot::A, &small(2, 2)).expect("it is applied");
    assert!(matches!(applied, Applied::Armed { written: 1000, kept: 2000, .. }), "{applied:?}");
    start(&memory);
    agent(&memory, Slot::B).confirm().expect("it is confirmed");
    flip(Slot::A, "kernel", 0);
    let error = agent(&memory, Slot::B).rollback().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`a/kernel` has other bytes than belong there, the first in the 700 bytes at byte 0"
    );
}

#[test]
fn what_was_not_tried_is_not_confirmed() {
    let memory = installed(&small(1, 1));
    let error = agent(&memory, Slot::A).confirm().unwrap_err();
    assert_eq!(error.to_string(), "no slot is on trial: `a` is the good one");
    apply(&memory, Slot::A, &small(2, 2)).expect("it is applied");
    start(&memory);
    let head = small(5, 2).parts().to_bytes(Kind::Bundle);
    Flat(&memory).write_at(Slot::B, HEAD, &head, 0).expect("memory does not fail");
    let error = agent(&memory, Slot::B).confirm().unwrap_err();
    assert!(matches!(error, ApplyError::OtherSystem { slot: Slot::B, .. }), "{error}");
    Flat(&memory).remove(Slot::B, HEAD).expect("memory does not fail");
    let error = agent(&memory, Slot::B).confirm().unwrap_err();
    assert_eq!(error.to_string(), "slot `b` has no whole system");
}
