//! The same on a filesystem.

use std::fs;
use std::path::Path;

use super::steps::{Device, machine, small};
use crate::Slot;
use crate::apply::{Applied, ApplyError, Directory, DirectoryError, Places, Store, Updater};
use crate::bundle::tests::{noise, trusted};
use crate::state::{Copies, Phase};

/// Slots on one filesystem, the images of which are in another directory.
fn places(root: &Path) -> Places {
    for directory in ["boot/a", "boot/b", "persist/a", "persist/b"] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    let state = ["boot/state1", "boot/state2"].map(|name| root.join(name));
    if !state[0].exists() {
        state.iter().for_each(|path| fs::write(path, [0; 512]).expect("a file"));
    }
    Places {
        state,
        slots: root.join("boot"),
        elsewhere: vec![("rootfs.squashfs".into(), root.join("persist"))],
    }
}

fn agent(root: &Path, running: Slot) -> Updater<Directory> {
    let store = Directory::lock(places(root)).expect("nobody else updates");
    Updater { copies: Copies(store), machine: machine(), root: trusted(), running }
}

fn start(root: &Path) -> Slot {
    let copies = Copies(Directory::open(places(root)));
    let found = copies.load().expect("a state");
    let (slot, counted) = found.state.start();
    if let Some(counted) = counted {
        copies.save(&found, &counted).expect("it can be written");
    }
    slot
}

#[test]
fn an_update_goes_from_slot_to_slot_on_a_filesystem() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    Device::install(&Directory::open(places(root)), Slot::A, &small(1, 1));
    let mut second = small(2, 2);
    second.contents[1] = noise(2, 3 << 20);
    let second = crate::bundle::tests::Sample { block: 100_000, ..second };
    let bundle = second.bundle();
    let applied = agent(root, Slot::A).apply(&mut &bundle[..], &mut |_| ()).expect("it is applied");
    assert!(matches!(applied, Applied::Armed { slot: Slot::B, .. }), "{applied:?}");
    assert_eq!(fs::read(root.join("persist/b/rootfs.squashfs")).expect("it is there"), second.contents[1]);
    assert_eq!(fs::read(root.join("boot/b/kernel")).expect("it is there"), second.contents[0]);
    assert_eq!(start(root), Slot::B);
    agent(root, Slot::B).confirm().expect("it is confirmed");
    // The next one is shorter and goes over the first.
    fs::write(root.join("boot/a/stale"), "left by somebody").expect("a file");
    agent(root, Slot::B).apply(&mut &small(3, 3).bundle()[..], &mut |_| ()).expect("it is applied");
    assert!(Device::has(&Directory::open(places(root)), Slot::A, &small(3, 3)));
    assert!(!root.join("boot/a/stale").exists());
    assert_eq!(start(root), Slot::A);
    assert_eq!(agent(root, Slot::A).status().expect("a status").phase, Phase::Trial { left: 2 });
}

#[test]
fn two_updates_at_once_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = Directory::lock(places(directory.path())).expect("nobody else updates");
    let error = Directory::lock(places(directory.path())).err().expect("it is locked");
    assert!(matches!(error, DirectoryError::Locked(_)));
    let expected = format!("another update is going on in `{}`", directory.path().join("boot").display());
    assert_eq!(error.to_string(), expected);
    drop(first);
    assert!(Directory::lock(places(directory.path())).is_ok());
}

#[test]
fn a_record_of_another_length_is_not_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    Device::install(&Directory::open(places(root)), Slot::A, &small(1, 1));
    fs::write(root.join("boot/state2"), [0; 100]).expect("a file");
    let error = agent(root, Slot::A).apply(&mut &small(2, 2).bundle()[..], &mut |_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot write the second copy of the state record: it has 100 bytes, a state record has 512"
    );
    assert_eq!(start(root), Slot::A);
}

#[test]
fn a_system_that_does_not_fit_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    Device::install(&Directory::open(places(root)), Slot::A, &small(1, 1));
    let store = Directory::open(places(root));
    let rooms = store.room(Slot::B, &[("kernel", 1), ("rootfs.squashfs", 1 << 60)]).expect("it can be asked");
    // Both directories are on one filesystem here.
    assert_eq!(rooms.len(), 1);
    assert!(rooms[0].need > 1 << 60 && rooms[0].have < rooms[0].need && rooms[0].files == 2, "{rooms:?}");
    let there = store.room(Slot::A, &[("kernel", 700), ("rootfs.squashfs", 2300)]).expect("it can be asked");
    assert_eq!((there[0].need, there[0].files), (0, 0), "files that are there need nothing more");
}

#[test]
fn a_medium_that_cannot_be_written_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    Device::install(&Directory::open(places(root)), Slot::A, &small(1, 1));
    // What nobody can write, root too: a directory in the place of a file.
    fs::create_dir(root.join("boot/b/kernel")).expect("a directory");
    let error = agent(root, Slot::A).apply(&mut &small(2, 2).bundle()[..], &mut |_| ()).unwrap_err();
    assert!(matches!(&error, ApplyError::Slot { slot: Slot::B, .. }), "{error}");
    let shown = error.to_string();
    assert!(shown.contains("`b/kernel`") || shown.contains("`b/.system`"), "{shown}");
    assert_eq!(start(root), Slot::A);
}
