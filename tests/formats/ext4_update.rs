//! Changes of an existing ext4 against e2fsprogs and the kernel, and with the power failing at every write.

mod boot_loader;
mod cuts;
mod medium;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::ext4::{TIME, noise, stat};
use crate::harness::mount::{can_mount, mount};
use crate::harness::tools::{command, oracle};
use boot_loader::BootLoader;
use medium::{Medium, Operation};
use skiff_image::error::Diagnostic;
use skiff_image::fs::ext4::update::{Change, Kind, UpdateError, Volume};
use skiff_image::tree::{Content, Stat};

const MIB: usize = 1 << 20;
const LATER: i64 = TIME + 1000;

fn run(tool: &str, args: &[&str], path: &Path) -> (bool, String) {
    let output = command(tool).args(args).arg(path).output().expect("run");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// e2fsck finds nothing at all.
fn assert_clean(path: &Path, what: &str) {
    let (success, text) = run("e2fsck", &["-fn"], path);
    assert!(success && !text.contains('?') && !text.to_lowercase().contains("fix"), "{what}: {text}");
}

/// What an independent reader finds at a path.
fn debugfs_cat(image: &Path, path: &str) -> Vec<u8> {
    let output =
        command("debugfs").args(["-R", &format!("cat {path}")]).arg(image).output().expect("debugfs");
    output.stdout
}

/// The files of a user and of an old system.
fn user_files() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    files.insert("boot/Image".into(), noise(300_000, 1));
    files.insert("boot/rootfs.squashfs".into(), noise(900_000, 2));
    files.insert("boot/boot.scr".into(), noise(2_000, 3));
    files.insert("persist/key".into(), noise(4096, 4));
    files.insert("persist/empty".into(), Vec::new());
    for number in 0..400 {
        files.insert(format!("many/a file with number {number}"), noise(100 + number, 5));
    }
    files
}

/// A filesystem of mke2fs with the files of a user.
fn make(path: &Path, mib: usize, options: &[&str], files: &BTreeMap<String, Vec<u8>>) {
    let tree = tempfile::tempdir().expect("temporary directory");
    for (name, bytes) in files {
        let file = tree.path().join(name);
        std::fs::create_dir_all(file.parent().expect("parent")).expect("directory");
        std::fs::write(file, bytes).expect("file");
    }
    symlink("boot/Image", tree.path().join("link")).expect("link");
    std::fs::File::create(path).and_then(|file| file.set_len((mib * MIB) as u64)).expect("create");
    let output = command("mke2fs")
        .args(["-q", "-t", "ext4", "-b", "4096", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-d"])
        .arg(tree.path())
        // The size of a journal makes one, whatever the features say.
        .args(if options.concat().contains("^has_journal") { &[][..] } else { &["-J", "size=4"] })
        .args(options)
        .arg(path)
        .output()
        .expect("mke2fs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn path(path: &str) -> Vec<u8> {
    path.into()
}

fn put(volume: &mut Volume, name: &str, bytes: Vec<u8>) -> Change {
    let staged = volume.stage(&Content::bytes(bytes), stat(0o644)).expect("staged");
    Change::Put { path: path(name), staged }
}

fn rename(from: &str, to: &str) -> Change {
    Change::Rename { from: path(from), to: path(to) }
}

/// What an update does, and more: the old system stays under another name, a new one takes its place.
fn update(volume: &mut Volume) -> Vec<Change> {
    vec![
        rename("boot/Image", "boot/Image.old"),
        rename("/boot/rootfs.squashfs", "/boot/rootfs.squashfs.old"),
        put(volume, "boot/Image", noise(350_000, 11)),
        put(volume, "boot/rootfs.squashfs", noise(1_500_000, 12)),
        put(volume, "boot/boot.scr", noise(2_500, 13)),
        Change::MakeDirectory { path: path("new"), stat: Stat { mode: 0o750, uid: 5, gid: 7, mtime: TIME } },
        put(volume, "new/file", noise(5000, 14)),
        put(volume, "new/empty", Vec::new()),
        put(volume, "many/another name in a directory with an index", noise(77, 15)),
        Change::Remove { path: path("many/a file with number 17") },
        Change::Symlink { path: path("new/short"), target: path("../boot/Image") },
        Change::Symlink { path: path("link"), target: vec![b'x'; 200] },
    ]
}

/// The files after [`update`].
fn updated() -> BTreeMap<String, Vec<u8>> {
    let mut files = user_files();
    let (image, squashfs) = (files["boot/Image"].clone(), files["boot/rootfs.squashfs"].clone());
    files.remove("many/a file with number 17");
    files.extend([
        ("boot/Image.old".into(), image),
        ("boot/rootfs.squashfs.old".into(), squashfs),
        ("boot/Image".into(), noise(350_000, 11)),
        ("boot/rootfs.squashfs".into(), noise(1_500_000, 12)),
        ("boot/boot.scr".into(), noise(2_500, 13)),
        ("new/file".into(), noise(5000, 14)),
        ("new/empty".into(), Vec::new()),
        ("many/another name in a directory with an index".into(), noise(77, 15)),
    ]);
    files
}

/// Every file of a volume.
fn files(volume: &Volume) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        for name in volume.list(&directory).expect("listed") {
            let name = String::from_utf8(name).expect("a name of this test");
            let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            match volume.stat(&path).expect("known").expect("there").kind {
                Kind::Directory => directories.push(path),
                Kind::File => _ = files.insert(path.clone(), volume.read(&path).expect("read")),
                _ => {}
            }
        }
    }
    files
}

fn open(medium: &Medium) -> Volume<'_> {
    Volume::open(medium, 0, medium.len()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_feature_set_is_kept_right() {
    if !oracle("every_feature_set_is_kept_right", "mke2fs") {
        return;
    }
    let sets: [&[&str]; 13] = [
        &[],
        &["-O", "^64bit"],
        &["-O", "^metadata_csum"],
        &["-O", "^metadata_csum,uninit_bg,^64bit"],
        &["-O", "^metadata_csum,^uninit_bg,^64bit,^flex_bg"],
        &["-O", "metadata_csum_seed,orphan_file"],
        &["-O", "^has_journal"],
        &["-O", "^has_journal,^metadata_csum,^64bit"],
        // ext2, as `mke2fs -t ext2` makes it.
        &[
            "-I",
            "128",
            "-O",
            "^has_journal,^extent,^64bit,^metadata_csum,^flex_bg,^huge_file,^dir_nlink,^extra_isize",
        ],
        &["-b", "1024"],
        &["-b", "2048", "-O", "^flex_bg,meta_bg,^resize_inode"],
        &["-I", "128", "-O", "^dir_index"],
        &["-O", "sparse_super2,^resize_inode", "-i", "4096"],
    ];
    let temp = tempfile::tempdir().expect("temporary directory");
    let image = temp.path().join("image");
    for set in sets {
        make(&image, 24, set, &user_files());
        let medium = Medium::load(&image);
        let mut volume = open(&medium);
        assert_eq!(files(&volume), user_files(), "{set:?}");
        let before = volume.free();
        let changes = update(&mut volume);
        volume.commit(&changes, LATER).unwrap_or_else(|error| panic!("{set:?}: {error}"));
        assert_eq!(files(&volume), updated(), "{set:?}");
        let after = volume.free();
        medium.save(&image);
        assert_clean(&image, &format!("{set:?}"));
        let again = open(&medium);
        assert_eq!((again.free(), files(&again)), (after, updated()), "{set:?}");
        assert_eq!(after.inodes, before.inodes - 9 + 3, "{set:?}");
        assert_eq!(debugfs_cat(&image, "/boot/Image"), noise(350_000, 11), "{set:?}");
        assert_eq!(debugfs_cat(&image, "/persist/key"), noise(4096, 4), "{set:?}");
        assert_eq!(again.read("link").expect("link"), [b'x'; 200]);
        assert_eq!(again.read("new/short").expect("link"), b"../boot/Image");
        assert_eq!(BootLoader::new(&medium.bytes()).read("boot/Image"), Some(noise(350_000, 11)), "{set:?}");
    }
}

/// A small system: what a cut is tried on.
fn small_files() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    files.insert("boot/Image".into(), noise(30_000, 1));
    files.insert("boot/rootfs.squashfs".into(), noise(90_000, 2));
    files.insert("persist/key".into(), noise(4096, 4));
    for number in 0..12 {
        files.insert(format!("boot/overlays/one with quite a long name, number {number}.dtbo"), noise(50, 5));
    }
    files
}

fn small_update(volume: &mut Volume) -> Vec<Change> {
    vec![
        Change::Remove { path: path("boot/Image.old") },
        rename("boot/Image", "boot/Image.old"),
        put(volume, "boot/Image", noise(35_000, 11)),
        put(volume, "boot/rootfs.squashfs", noise(80_000, 12)),
        put(
            volume,
            "boot/a new file with a name that crosses sectors, so that it can be torn",
            noise(10, 13),
        ),
        Change::Remove { path: path("boot/overlays/one with quite a long name, number 3.dtbo") },
    ]
}

/// A filesystem with an old system, the changes as they were written, and the files before and after.
struct Recorded {
    base: Vec<u8>,
    operations: Vec<Operation>,
    old: BTreeMap<String, Vec<u8>>,
    new: BTreeMap<String, Vec<u8>>,
}

/// With checksums of a version in the journal, as a kernel would turn them on, or without.
fn record(image: &Path, options: &[&str], journal_checksums: Option<u32>) -> Recorded {
    let mut start = small_files();
    start.insert("boot/Image.old".into(), noise(20_000, 9));
    make(image, 12, options, &start);
    if let Some(version) = journal_checksums {
        let script = image.with_extension("debugfs");
        std::fs::write(&script, format!("jo -c -v {version}\njc\n")).expect("script");
        let (success, text) = run("debugfs", &["-w", "-f", script.to_str().expect("UTF-8")], image);
        assert!(success && !text.contains("invalid"), "{text}");
    }
    let medium = Medium::load(image);
    let (base, mut volume) = (medium.bytes(), open(&medium));
    let old = files(&volume);
    let changes = small_update(&mut volume);
    volume.commit(&changes, LATER).expect("committed");
    Recorded { base, operations: medium.operations(), old, new: files(&volume) }
}

/// What a boot loader finds is, for each file, the old or the new one.
fn boots(recorded: &Recorded, bytes: &[u8]) -> Result<(), String> {
    let loader = BootLoader::new(bytes);
    for name in ["boot/Image", "boot/rootfs.squashfs", "boot/Image.old", "persist/key"] {
        let found = loader.read(name);
        if ![&recorded.old, &recorded.new].iter().any(|files| files.get(name) == found.as_ref()) {
            return Err(format!("a boot loader finds a wrong {name}"));
        }
    }
    Ok(())
}

/// A volume that is opened after the cut has all the old or all the new files.
fn is_old_or_new(recorded: &Recorded, bytes: &[u8]) -> Result<bool, String> {
    let medium = Medium::new(bytes.to_vec());
    let found = Volume::open(&medium, 0, medium.len()).map(|volume| files(&volume));
    match found.map_err(|error| error.to_string())? {
        found if found == recorded.old => Ok(false),
        found if found == recorded.new => Ok(true),
        _ => Err("neither the old nor the new files".into()),
    }
}

/// States, and those among them that are wrong.
fn cuts(
    recorded: &Recorded,
    operations: &[Operation],
    sample: Option<(usize, &Path)>,
) -> (usize, Vec<String>) {
    let (mut states, mut failures) = (0, Vec::new());
    cuts::for_each_state(&recorded.base, operations, |name, _, bytes| {
        states += 1;
        let checked = std::panic::catch_unwind(|| {
            boots(recorded, bytes)?;
            let is_new = is_old_or_new(recorded, bytes)?;
            match sample {
                Some((every, image)) if states % every == 0 => repaired(recorded, bytes, image, is_new),
                _ => Ok(()),
            }
        });
        match checked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failures.push(format!("{name}: {error}")),
            Err(_) => failures.push(format!("{name}: a reader fails")),
        }
    });
    (states, failures)
}

/// e2fsck replays the journal, finds nothing else, and independent readers see the same state.
fn repaired(recorded: &Recorded, bytes: &[u8], image: &Path, is_new: bool) -> Result<(), String> {
    std::fs::write(image, bytes).expect("write the image");
    let (_, text) = run("e2fsck", &["-fy"], image);
    if text.contains("? yes") {
        return Err(format!("e2fsck repairs: {text}"));
    }
    assert_clean(image, "after the replay");
    let files = if is_new { &recorded.new } else { &recorded.old };
    match ["boot/Image", "boot/Image.old", "persist/key"]
        .iter()
        .all(|name| debugfs_cat(image, name) == files[*name])
    {
        true => Ok(()),
        false => Err("e2fsck makes another state of it".into()),
    }
}

#[test]
fn after_a_cut_at_every_write_there_is_the_old_or_the_new_system() {
    let test = "after_a_cut_at_every_write_there_is_the_old_or_the_new_system";
    if !oracle(test, "mke2fs") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let image = temp.path().join("image");
    let sets: [(&[&str], Option<u32>); 4] =
        [(&[], Some(3)), (&[], Some(2)), (&["-b", "1024"], None), (&["-O", "^metadata_csum,^64bit"], None)];
    for (options, journal_checksums) in sets {
        let recorded = record(&image, options, journal_checksums);
        let (states, failures) = cuts(&recorded, &recorded.operations, Some((23, &image)));
        eprintln!(
            "{options:?}: {} operations, {states} states, {} failures",
            recorded.operations.len(),
            failures.len()
        );
        assert!(failures.is_empty(), "{failures:#?}");
        assert!(states > 100, "{states}");
    }
}

#[test]
fn without_syncs_a_cut_is_found_to_break_things() {
    if !oracle("without_syncs_a_cut_is_found_to_break_things", "mke2fs") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let recorded = record(&temp.path().join("image"), &[], None);
    let written = |operation: &&Operation| matches!(operation, Operation::Write { .. });
    let operations: Vec<Operation> = recorded.operations.iter().filter(written).cloned().collect();
    let (_, failures) = cuts(&recorded, &operations, None);
    assert!(failures.len() > 10, "{failures:#?}");
}

#[test]
fn a_cut_during_the_replay_is_replayed_again() {
    if !oracle("a_cut_during_the_replay_is_replayed_again", "mke2fs") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let image = temp.path().join("image");
    let first = record(&image, &[], Some(3));
    // The first write to a name comes when the log is complete; nothing is in place then.
    let mut base = None;
    cuts::for_each_state(&first.base, &first.operations, |_, _, bytes| {
        let medium = Medium::new(bytes.to_vec());
        if base.is_none() && is_old_or_new(&first, bytes) == Ok(true) && open(&medium).needs_replay() {
            base = Some(bytes.to_vec());
        }
    });
    let base = base.expect("a state with a log");
    let medium = Medium::new(base.clone());
    let mut volume = open(&medium);
    assert_eq!(files(&volume), first.new);
    volume.commit(&[], LATER).expect("replayed");
    assert!(!volume.needs_replay());
    let operations = medium.operations();
    let recorded =
        Recorded { base, operations: operations.clone(), old: first.new.clone(), new: first.new.clone() };
    let mut failures = Vec::new();
    let mut states = 0;
    cuts::for_each_state(&recorded.base, &operations, |name, _, bytes| {
        states += 1;
        if let Err(error) = is_old_or_new(&recorded, bytes) {
            failures.push(format!("{name}: {error}"));
        }
    });
    assert!(failures.is_empty() && states > 50, "{states} states: {failures:#?}");
    medium.save(&image);
    assert_clean(&image, "replayed");
}

/// e2fsck may find lost blocks; names lead to the old or the new file.
#[test]
fn without_a_journal_a_cut_loses_nothing_but_space() {
    if !oracle("without_a_journal_a_cut_loses_nothing_but_space", "mke2fs") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let image = temp.path().join("image");
    let recorded = record(&image, &["-O", "^has_journal"], None);
    let (mut states, mut failures) = (0, Vec::new());
    cuts::for_each_state(&recorded.base, &recorded.operations, |name, _, bytes| {
        states += 1;
        if let Err(error) = boots(&recorded, bytes) {
            failures.push(format!("{name}: {error}"));
        }
        if states % 19 == 0 {
            std::fs::write(&image, bytes).expect("write the image");
            run("e2fsck", &["-fy"], &image);
            assert_clean(&image, name);
            let repaired = Medium::load(&image);
            for (name, bytes) in
                files(&open(&repaired)).iter().filter(|(name, _)| !name.starts_with("lost+found"))
            {
                let known = [&recorded.old, &recorded.new].iter().any(|files| files.get(name) == Some(bytes));
                assert!(known, "{name}");
            }
        }
    });
    eprintln!("{} operations, {states} states, {} failures", recorded.operations.len(), failures.len());
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn scattered_space_makes_deep_maps() {
    if !oracle("scattered_space_makes_deep_maps", "mke2fs") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let image = temp.path().join("image");
    for options in [&["-b", "1024", "-N", "2000"][..], &["-b", "1024", "-N", "2000", "-O", "^extent,^64bit"]]
    {
        let many = (0..900).map(|number| (format!("many/{number:04}"), noise(1000, number + 1))).collect();
        make(&image, 16, options, &many);
        let medium = Medium::load(&image);
        let mut volume = open(&medium);
        let filler = (volume.free().blocks - 80) * 1024;
        let mut changes = vec![put(&mut volume, "filler", vec![7; filler as usize])];
        let odd = many.keys().skip(1).step_by(2);
        changes.extend(odd.clone().map(|name| Change::Remove { path: path(name) }));
        volume.commit(&changes, LATER).expect("committed");
        let change = put(&mut volume, "scattered", noise(440 * 1024, 3));
        volume.commit(&[change], LATER).expect("committed");
        medium.save(&image);
        assert_clean(&image, &format!("{options:?}"));
        assert_eq!(debugfs_cat(&image, "/scattered"), noise(440 * 1024, 3));
        let changes = ["scattered", "filler"].map(|name| Change::Remove { path: path(name) });
        volume.commit(&changes, LATER).expect("committed");
        medium.save(&image);
        assert_clean(&image, &format!("{options:?}"));
        for name in many.keys().step_by(2) {
            assert_eq!(volume.read(name).expect("read"), many[name], "{name}");
        }
    }
}

#[test]
fn a_filesystem_that_a_kernel_uses_is_replayed_and_changed() {
    let test = "a_filesystem_that_a_kernel_uses_is_replayed_and_changed";
    if !oracle(test, "mke2fs") || !can_mount(test) {
        return;
    }
    for features in ["metadata_csum_seed,orphan_file", "^metadata_csum_seed,^orphan_file,^metadata_csum"] {
        replay_and_change(features);
    }
}

fn replay_and_change(features: &str) {
    let temp = tempfile::tempdir().expect("temporary directory");
    let (image, copy, at) = (temp.path().join("image"), temp.path().join("copy"), temp.path().join("at"));
    make(&image, 40, &["-O", features], &user_files());
    let mounted = mount(&image, &at, "rw");
    let busy = at.join("busy");
    std::fs::create_dir(&busy).expect("directory");
    for number in 0..900 {
        std::fs::write(busy.join(format!("{number}")), noise(number % 7000, 3)).expect("file");
    }
    assert!(command("sync").arg("-f").arg(&at).status().expect("sync").success());
    for number in (0..900).step_by(3) {
        std::fs::remove_file(busy.join(format!("{number}"))).expect("removed");
    }
    // An orphan: deleted, but open.
    let orphan = std::fs::File::create(busy.join("orphan")).expect("created");
    orphan.set_len(100_000).expect("length");
    std::fs::remove_file(busy.join("orphan")).expect("removed");
    assert!(command("sync").arg("-f").arg(&at).status().expect("sync").success());
    std::fs::copy(&image, &copy).expect("copied while it is mounted");
    drop(orphan);
    let expected: BTreeMap<String, Vec<u8>> = (0..900)
        .filter(|number| number % 3 != 0)
        .map(|number| (format!("busy/{number}"), noise(number % 7000, 3)))
        .collect();
    mounted.unmount();

    let medium = Medium::load(&copy);
    let mut volume = open(&medium);
    assert!(volume.needs_replay());
    let mut old = user_files();
    old.extend(expected.clone());
    assert!(files(&volume) == old, "the files before the replay");
    assert!(medium.operations().is_empty(), "a replay before it is needed");
    let changes = update(&mut volume);
    volume.commit(&changes, LATER).expect("committed");
    let mut new = updated();
    new.extend(expected);
    assert!(files(&volume) == new, "the files after the changes");
    medium.save(&copy);
    let mounted = mount(&copy, &at, "rw");
    for (name, bytes) in &new {
        assert!(std::fs::read(at.join(name)).expect("read") == *bytes, "{name}");
    }
    std::fs::write(at.join("boot/later"), noise(9000, 2)).expect("the kernel goes on");
    mounted.unmount();
    assert_clean(&copy, "after the kernel");
}

#[test]
fn a_kernel_replays_what_is_in_the_journal() {
    let test = "a_kernel_replays_what_is_in_the_journal";
    if !oracle(test, "mke2fs") || !can_mount(test) {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let (image, at) = (temp.path().join("image"), temp.path().join("at"));
    for (options, checksums) in [(&[][..], Some(3)), (&["-O", "^metadata_csum,^64bit"], None)] {
        let recorded = record(&image, options, checksums);
        let (mut states, mut replayed) = (0, 0);
        cuts::for_each_state(&recorded.base, &recorded.operations, |name, _, bytes| {
            let medium = Medium::new(bytes.to_vec());
            states += 1;
            if states % 7 != 0 || !open(&medium).needs_replay() {
                return;
            }
            replayed += 1;
            let files =
                if is_old_or_new(&recorded, bytes) == Ok(true) { &recorded.new } else { &recorded.old };
            medium.save(&image);
            let mounted = mount(&image, &at, "rw");
            for (path, bytes) in files {
                assert!(std::fs::read(at.join(path)).is_ok_and(|found| found == *bytes), "{name}: {path}");
            }
            mounted.unmount();
            assert_clean(&image, name);
        });
        assert!(replayed > 5, "{replayed}");
    }
}

/// The error, its message and its hint.
fn message(error: UpdateError) -> String {
    let hint = error.hint().map_or(String::new(), |hint| format!("\nhint: {hint}"));
    format!("{error}{hint}")
}

#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    let medium = Medium::new(bytes.to_vec());
    let error = Volume::open(&medium, 0, medium.len()).err().expect("refused");
    assert!(medium.operations().is_empty());
    message(error)
}

const CHECK: &str = "\nhint: run `e2fsck -f` on it, and try again when it finds nothing any more";
const ANEW: &str = "\nhint: change the files on a running system, or flash the medium anew";

#[test]
fn what_cannot_be_kept_right_is_refused_before_a_write() {
    if !oracle("what_cannot_be_kept_right_is_refused_before_a_write", "mke2fs") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let image = temp.path().join("image");
    make(&image, 12, &["-O", "^metadata_csum"], &small_files());
    let plain = std::fs::read(&image).expect("image");
    let changed = |base: &[u8], at: usize, value: u8| {
        let mut bytes = base.to_vec();
        bytes[1024 + at] = value;
        refusal(&bytes)
    };
    assert_eq!(
        changed(&plain, 0x38, 0),
        "there is no ext4 filesystem at offset 0: the magic number is 0xef00, not 0xef53\n\
         hint: check which partition holds the filesystem, or flash the medium"
    );
    let features =
        |text: &str| format!("the ext4 filesystem has features that cannot be kept right: {text}{ANEW}");
    assert_eq!(changed(&plain, 0x65, plain[1024 + 0x65] | 3), features("quota bigalloc"));
    assert_eq!(changed(&plain, 0x63, 0x40), features("FEATURE_I30"));
    assert_eq!(changed(&plain, 0x5D, 4), features("fast_commit"));
    assert_eq!(
        changed(&plain, 0x60, 0),
        format!("the ext4 filesystem has directories without file types, which cannot be kept right{ANEW}")
    );
    assert_eq!(
        changed(&plain, 0x18, 6),
        format!("the ext4 filesystem has blocks of 2^16 bytes, which cannot be kept right{ANEW}")
    );
    assert_eq!(
        changed(&plain, 0xE0, 0),
        format!("the ext4 filesystem has its journal on another device, which cannot be kept right{ANEW}")
    );
    assert_eq!(
        changed(&plain, 0x3A, 3),
        format!("the ext4 filesystem has errors, says its superblock{CHECK}")
    );
    let damaged = |text: &str| format!("the ext4 filesystem is damaged: {text}{CHECK}");
    assert_eq!(changed(&plain, 0x28, 1), damaged("the numbers in the superblock contradict each other"));
    assert_eq!(
        refusal(&plain[..plain.len() - 4096]),
        damaged("it has 3072 blocks of 4096 bytes but its partition has 12578816 bytes")
    );

    let journal = (0..plain.len())
        .step_by(4096)
        .find(|at| plain[*at..].starts_with(&[0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 4]));
    let journal = journal.expect("a journal") - 1024;
    assert_eq!(
        changed(&plain, journal + 0x23, 5),
        format!("the ext4 filesystem has errors, says its journal{CHECK}")
    );
    assert_eq!(
        changed(&plain, journal + 0x1F, 1),
        format!("the ext4 filesystem says that its journal is empty, which it is not{CHECK}")
    );
    assert_eq!(
        changed(&plain, journal + 0x2B, 0x20),
        format!("the ext4 filesystem has a journal with features 0x20, which cannot be kept right{ANEW}")
    );
    assert_eq!(changed(&plain, journal, 0), damaged("the superblock of the journal is malformed"));

    make(&image, 12, &["-O", "^has_journal"], &small_files());
    let sums = std::fs::read(&image).expect("image");
    assert_eq!(
        changed(&sums, 0x3FC, !sums[1024 + 0x3FC]),
        damaged("the checksum of the superblock is wrong")
    );
    let mut bytes = sums.clone();
    bytes[4096 + 0x0C] ^= 1;
    assert_eq!(refusal(&bytes), damaged("the checksum of the descriptor of group 0 is wrong"));
    let mut bytes = sums.clone();
    let bitmap = u32::from_le_bytes(sums[4096..4100].try_into().expect("four bytes")) as usize;
    bytes[4096 * bitmap + 300] ^= 1;
    assert_eq!(refusal(&bytes), damaged("the checksum of the block bitmap of group 0 is wrong"));

    let medium = Medium::new(sums.clone());
    let inode = open(&medium).stat("boot/Image").expect("known").expect("there").inode;
    let table = u32::from_le_bytes(sums[4104..4108].try_into().expect("four bytes")) as usize;
    let mut bytes = sums.clone();
    bytes[4096 * table + 256 * (inode as usize - 1) + 0x10] ^= 1;
    let medium = Medium::new(bytes);
    assert_eq!(
        message(open(&medium).stat("boot/Image").expect_err("refused")),
        damaged(&format!("the checksum of inode {inode} is wrong"))
    );

    make(&image, 12, &["-O", "^has_journal,^metadata_csum"], &small_files());
    let old = std::fs::read(&image).expect("image");
    assert_eq!(
        changed(&old, 0x3A, 0),
        format!("the ext4 filesystem was not unmounted and has no journal{CHECK}")
    );
}

#[test]
fn paths_and_space_are_checked_before_a_name_changes() {
    if !oracle("paths_and_space_are_checked_before_a_name_changes", "mke2fs") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let image = temp.path().join("image");
    make(&image, 12, &["-N", "40"], &small_files());
    let medium = Medium::load(&image);
    let error = |changes: &dyn Fn(&mut Volume) -> Vec<Change>| {
        let mut volume = open(&medium);
        let changes = changes(&mut volume);
        let error = volume.commit(&changes, LATER).expect_err("refused");
        assert_eq!(files(&open(&medium)), small_files());
        message(error)
    };
    let look = "\nhint: look at what is on the filesystem, for example with `debugfs -R 'ls -l'`";
    let remove = |name: &'static str| error(&move |_| vec![Change::Remove { path: path(name) }]);
    assert_eq!(remove("boot/none"), format!("`/boot/none` does not exist{look}"));
    assert_eq!(remove("none/file"), format!("`/none` does not exist{look}"));
    assert_eq!(remove("boot"), format!("`/boot` is a directory that is not empty{look}"));
    assert_eq!(remove("/"), format!("`/` is the root of the filesystem{look}"));
    assert_eq!(remove("boot/.."), format!("`/boot/..` is not a name that ext4 can store{look}"));
    assert_eq!(
        remove("boot/Image/x"),
        format!("`/boot/Image` leads through something that is not a directory{look}")
    );
    assert_eq!(error(&|volume| vec![put(volume, "boot", vec![1])]), format!("`/boot` is a directory{look}"));
    let make = |name: &str| Change::MakeDirectory { path: path(name), stat: stat(0o755) };
    assert_eq!(error(&|_| vec![make("boot")]), format!("`/boot` exists{look}"));
    assert_eq!(
        error(&|_| vec![rename("boot", "persist/boot")]),
        format!("`/boot` is a directory, which cannot be moved into another one{look}")
    );
    assert_eq!(
        error(&|_| vec![rename("boot", "link")]),
        format!("`/link` exists, and a directory cannot replace it{look}")
    );
    assert_eq!(
        error(&|_| vec![Change::Symlink { path: path("l"), target: Vec::new() }]),
        format!("`/l` cannot be a link: its target is empty or too long{look}")
    );
    let mut volume = open(&medium);
    let free = volume.free();
    let need = free.blocks + 1;
    let content = Content::bytes(vec![1; (need * 4096) as usize]);
    let less = "\nhint: delete files on it that are not needed any more";
    assert_eq!(
        message(volume.stage(&content, stat(0o644)).err().expect("refused")),
        format!("the ext4 filesystem needs {need} free blocks of 4096 bytes but has {}{less}", free.blocks)
    );
    for _ in 0..free.inodes {
        volume.stage(&Content::bytes(Vec::new()), stat(0o644)).expect("staged");
    }
    assert_eq!(
        message(volume.stage(&Content::bytes(Vec::new()), stat(0o644)).err().expect("refused")),
        format!("the ext4 filesystem needs 1 free inodes but has 0{less}")
    );
    assert_eq!(files(&open(&medium)), small_files());
    assert_eq!(
        message(UpdateError::JournalTooSmall { need: 1025, have: 1023 }),
        "the changes need 1025 blocks of the journal but it has 1023\nhint: make the changes in several steps"
    );
}

#[test]
fn content_that_reads_otherwise_is_never_given_a_name() {
    if !oracle("content_that_reads_otherwise_is_never_given_a_name", "mke2fs") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let image = temp.path().join("image");
    make(&image, 12, &[], &small_files());
    let medium = Medium::load(&image);
    let mut volume = open(&medium);
    let change = put(&mut volume, "boot/Image", noise(5000, 1));
    let written = medium.operations();
    let Some(Operation::Write { offset, .. }) = written.last() else { panic!("content was written last") };
    skiff_image::storage::Target::write_at(&medium, &[0xEE; 3], *offset as u64 + 10).expect("damaged");
    let error = volume.commit(&[change], LATER).expect_err("refused");
    assert_eq!(
        message(error),
        format!(
            "bytes {offset}..{} of `medium` are not what was written: the content of a new file\n\
             hint: write again; if it comes back, the medium or its reader is failing",
            offset + 5000
        )
    );
    assert_eq!(files(&open(&medium)), small_files());
}
