//! The power fails at every moment of an update: the medium has the old system, the new one, or is recognisably
//! unfinished; what is the user's is there in any case; and a second run finishes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use skiff_image::board::{Board, DescriptorSource, NoFamilies};
use skiff_image::compose::Composition;
use skiff_image::demo;
use skiff_image::event::{Event, Listener, Phase, Silent};
use skiff_image::flash::OpenSession;
use skiff_image::fs::ext4::update::{Change, Kind, Volume};
use skiff_image::fs::squashfs::Resources;
use skiff_image::fs::{WrittenFile, ext4, fat};
use skiff_image::install::{Holds, InstallError, InstallOptions, Installation, Survey};
use skiff_image::interrupt::Interrupt;
use skiff_image::layer::{self, Environment};
use skiff_image::persist::PreSeed;
use skiff_image::plan::KnownIds;
use skiff_image::rootfs::{Handoff, Output};
use skiff_image::stage::{Inputs, TemplateVariables};
use skiff_image::storage::{CowMemory, Cursor, Layer, PowerCut, Target, TargetError, Verb, WriteOp};
use skiff_image::tree::scan::HostXattrs;
use skiff_image::tree::{self, Content, Stat};
use skiff_image::value::{Digest, Seed};

use crate::harness::tools::{command, oracle};

const MIB: u64 = 1 << 20;
/// Seconds since 1970 of everything that is composed.
const TIME: i64 = 1_704_067_200;
/// What a user wrote.
const PHOTO: &[u8] = b"bytes that are the user's";

/// A FAT to boot from, a root filesystem, and what users write.
const THREE: &str = r#"
[[partition]]
name = "boot"
size = "4 MiB"
filesystem = "fat16"
label = "boot"
file = [{ image = "Image" }, { artifact = "rootfs.squashfs" }]

[[partition]]
name = "rootfs"
size = "2 MiB"
filesystem = "ext4"
label = "rootfs"
file = [{ image = "loader.bin", to = "/modules" }]

[[partition]]
name = "persist"
size = "rest"
minimum = "2 MiB"
filesystem = "ext4"
label = "persist"
"#;

/// A FAT to boot from, and files of the system beside those of users.
const TWO: &str = r#"
[[partition]]
name = "boot"
size = "4 MiB"
filesystem = "fat16"
label = "boot"
file = [{ image = "Image" }, { artifact = "rootfs.squashfs" }]

[[partition]]
name = "persist"
size = "rest"
minimum = "9 MiB"
filesystem = "ext4"
label = "persist"
update = "files"
file = [{ image = "loader.bin", to = "/rootfs/modules" }]
"#;

/// All in one.
const ONE: &str = r#"
[[partition]]
name = "persist"
size = "rest"
minimum = "9 MiB"
filesystem = "ext4"
label = "persist"
update = "files"
file = [
    { image = "Image", to = "/boot/Image" },
    { artifact = "rootfs.squashfs", to = "/boot/rootfs.squashfs" },
    { image = "loader.bin", to = "/rootfs/modules" },
]
"#;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Old,
    New,
}

/// What is composed of, in a directory of its own.
struct System {
    board: Board,
    inputs: Box<dyn Fn(Board, KnownIds) -> Inputs>,
    _directory: tempfile::TempDir,
}

impl System {
    fn new(partitions: &str, version: Version) -> System {
        let directory = tempfile::tempdir().expect("a directory");
        let made = demo::write(directory.path()).expect("writes");
        shrink(directory.path(), version);
        let head = "description = \"x\"\nstatus = \"x\"\narch = [\"arm64\"]\nroot = \"none\"\n[table]\nkind = \"mbr\"\n\
                    [[artifact]]\nname = \"rootfs.squashfs\"\nformat = \"squashfs\"\nsubtree = \"/\"\n";
        let text = format!("{head}{partitions}");
        let board =
            Board::parse("demo/cut", DescriptorSource { file: "board.toml", text: &text }, &NoFamilies);
        let roots = layer::Roots { configs: made.layers, ..layer::Roots::for_project(directory.path()) };
        let layers = layer::discover(&Environment::default(), &roots).expect("layers");
        let layers = layers.resolve(made.chain, "demo").expect("a chain");
        let output = made.output;
        let inputs = move |board: Board, known: KnownIds| {
            let (arch, images) = (board.pick_arch(None).expect("one"), output.join("images"));
            let seed = Seed("a seed of its own".into());
            let variables =
                TemplateVariables::keeping(&known, &board, arch, &seed, &images, None).expect("words");
            Inputs {
                slots: None,
                arch,
                board: variables.fill(board).expect("filled"),
                variables,
                layers: layers.clone(),
                images,
                output: Output::read(&output, Handoff::Target).expect("an output"),
                seed,
                partuuid: None,
                timestamp: TIME,
                host_xattrs: HostXattrs::Omit,
                preseed: PreSeed::default(),
                resources: Resources { threads: 1, ..Resources::default() },
            }
        };
        System { board: board.expect("a board"), inputs: Box::new(inputs), _directory: directory }
    }

    /// A new medium of this system, with a file of the user.
    fn medium(&self, len: u64) -> CowMemory {
        let medium = CowMemory::new(len, 512);
        let inputs = (self.inputs)(self.board.clone(), KnownIds::default());
        let staged = inputs.stage().expect("stages");
        let composition = Composition::new(&inputs, staged, Some(len)).expect("fits");
        composition.run(&medium, false, &Silent, Default::default()).expect("writes");
        let step = composition.plan().steps.iter().find(|step| step.name == "persist").expect("persist");
        let mut volume = Volume::open(&medium, step.offset.0, step.len.0).expect("an ext4");
        let stat = Stat { mode: 0o600, uid: 1000, gid: 1000, mtime: TIME };
        let staged = volume.stage(&Content::bytes(PHOTO), stat).expect("room");
        volume.commit(&[Change::Put { path: b"photo.jpg".to_vec(), staged }], TIME).expect("commits");
        medium
    }

    /// Prepares the update of a medium.
    fn prepare(&self, target: &Arc<dyn Target>) -> skiff_image::Result<Installation> {
        let survey = Survey::new(target)?;
        let medium = survey.medium(&self.board)?;
        let inputs = (self.inputs)(medium.fit(self.board.clone()), medium.known.clone());
        let staged = inputs.stage()?;
        Installation::prepare(&survey, &medium, &inputs, staged, &InstallOptions::default())
    }

    fn install(&self, target: &Arc<dyn Target>) -> skiff_image::Result<()> {
        self.install_unless(&Interrupt::default(), &Silent, target)
    }

    fn install_unless(
        &self,
        interrupt: &Interrupt,
        listener: &dyn Listener,
        target: &Arc<dyn Target>,
    ) -> skiff_image::Result<()> {
        let installation = self.prepare(target)?;
        OpenSession::measure(&**target, interrupt, listener, |open| installation.run(open)).map(drop)
    }
}

/// Less than the demo has, and other bytes in each version.
fn shrink(directory: &Path, version: Version) {
    let seed = if version == Version::Old { 3_u32 } else { 7 };
    let noise = |len: u32| (0..len).map(|at| (at.wrapping_mul(at ^ seed) >> 3) as u8).collect::<Vec<u8>>();
    let output = directory.join("output");
    fs::remove_dir_all(output.join("target/usr/lib")).expect("removes");
    fs::remove_file(output.join("target/usr/share/model.bin")).expect("removes");
    for (name, len) in
        [("images/Image", 40_000), ("images/loader.bin", 30_000), ("target/usr/bin/app", 20_000)]
    {
        fs::write(output.join(name), noise(len)).expect("writes");
    }
}

/// What is on a medium: whether an update is unfinished, else the files of each partition.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Unfinished,
    Files(Vec<Vec<WrittenFile>>),
}

/// The files on a medium; an ext4 is read as if its journal was replayed.
fn look(target: &Arc<dyn Target>) -> Result<Found, String> {
    let survey = Survey::new(target).map_err(|error| error.to_string())?;
    if survey.partitions.iter().any(|found| matches!(found.holds, Holds::Unfinished(_))) {
        return Ok(Found::Unfinished);
    }
    let files = |found: &skiff_image::install::Found| {
        let stream = Cursor::new(Arc::clone(target), found.start, found.len);
        match found.holds {
            Holds::Fat { .. } => {
                let volume = fat::Volume::from_reader("boot", stream).map_err(|error| error.to_string())?;
                volume.files().map_err(|error| error.to_string())
            }
            Holds::Ext4 { .. } => walk(&**target, found).map_err(|error| error.to_string()),
            ref other => Err(format!("partition {} holds {other}", found.number)),
        }
    };
    Ok(Found::Files(survey.partitions.iter().map(files).collect::<Result<_, _>>()?))
}

/// All regular files of an ext4.
fn walk(target: &dyn Target, found: &skiff_image::install::Found) -> skiff_image::Result<Vec<WrittenFile>> {
    let volume = Volume::open(target, found.start, found.len)?;
    let (mut files, mut open) = (Vec::new(), vec![Vec::new()]);
    while let Some(directory) = open.pop() {
        for name in volume.list(&directory)? {
            let path = tree::join(&directory, &name);
            match volume.stat(&path)?.map(|found| found.kind) {
                Some(Kind::Directory) => open.push(path),
                Some(Kind::File) => {
                    let bytes = volume.read(&path)?;
                    let (path, size) = (tree::display(&path), bytes.len() as u64);
                    files.push(WrittenFile { path, size, blake3: Digest::of(&bytes) });
                }
                _ => {}
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The files of each ext4 on a medium after e2fsck has replayed its journal, as the independent reader sees them.
fn look_after_e2fsck(target: &Arc<dyn Target>) -> Vec<Vec<WrittenFile>> {
    let survey = Survey::new(target).expect("a table");
    let ext4 = survey.partitions.iter().filter(|found| matches!(found.holds, Holds::Ext4 { .. }));
    ext4.map(|found| {
        let mut bytes = vec![0; found.len as usize];
        target.read_at(&mut bytes, found.start).expect("reads");
        let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
        fs::write(file.path(), &bytes).expect("writes");
        let output = command("e2fsck").args(["-f", "-y"]).arg(file.path()).output().expect("e2fsck runs");
        // 1: what it did is to replay the journal.
        assert!(
            output.status.code().is_some_and(|code| code <= 1),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        let file = fs::File::open(file.path()).expect("a file");
        ext4::Reader::open(file, 0).and_then(|reader| reader.files()).expect("a clean ext4")
    })
    .collect()
}

/// The user's file and the ids, whatever else is on the medium.
fn expect_kept(target: &Arc<dyn Target>, number: u32, state: &str) {
    let survey = Survey::new(target).expect("a table");
    let persist = survey.partitions.iter().find(|found| found.number == number).expect("persist");
    let volume = Volume::open(&**target, persist.start, persist.len);
    let found = volume.and_then(|volume| volume.read("photo.jpg"));
    assert_eq!(found.unwrap_or_else(|error| panic!("{state}: {error}")), PHOTO, "{state}");
}

/// Ids and labels of the filesystems, and the table.
fn identity(target: &Arc<dyn Target>) -> Vec<String> {
    let survey = Survey::new(target).expect("a table");
    let holds = survey.partitions.iter().map(|found| format!("{:?}", found.holds));
    holds.chain([format!("{:?}", survey.table)]).collect()
}

/// A medium whose syncs do nothing.
struct Unsynced(Arc<PowerCut>);

impl Layer for Unsynced {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &*self.0
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        Ok(())
    }
}

#[test]
fn an_update_without_syncs_is_found_half_there() {
    let (old, new) = (System::new(THREE, Version::Old), System::new(THREE, Version::New));
    let before = old.medium(12 * MIB);
    let power = Arc::new(PowerCut::over(&before));
    let target: Arc<dyn Target> = Arc::new(Unsynced(Arc::clone(&power)));
    let old_files = look(&target).expect("the old system");
    new.install(&target).expect("installs");
    let new_files = look(&target).expect("the new system");
    power.sync().expect("nothing fails here");
    let is_whole = |found: &Result<Found, String>| {
        [&old_files, &new_files, &Found::Unfinished].into_iter().any(|known| found.as_ref() == Ok(known))
    };
    let found = power.states(1).map(|state| look(&(Arc::new(state.medium) as Arc<dyn Target>)));
    let half = found.filter(|found| !is_whole(found)).count();
    println!("without syncs: {half} states are neither old nor new nor unfinished");
    assert!(half > 10, "the test above would find nothing");
}

#[test]
fn an_interrupted_update_leaves_the_old_system_or_an_unfinished_one_and_the_next_finishes() {
    let (old, new) = (System::new(THREE, Version::Old), System::new(THREE, Version::New));
    let before = old.medium(12 * MIB);
    let medium = || Arc::new(PowerCut::over(&before)) as Arc<dyn Target>;
    let (untouched, finished) = (medium(), medium());
    let events = std::sync::Mutex::new(Vec::new());
    let listener = |event: Event| {
        if let Event::Phase { phase, .. } = event {
            events.lock().expect("no panic").push(phase);
        }
    };
    new.install_unless(&Interrupt::default(), &listener, &finished).expect("installs");
    let phases = events.lock().expect("no panic").clone();
    assert_eq!(phases[..3], [Phase::Write, Phase::Mark, Phase::Write]);
    let mut found = Vec::new();
    for nth in 0..phases.len() {
        let (interrupt, seen, target) =
            (Interrupt::default(), std::sync::atomic::AtomicUsize::new(0), medium());
        let listener = |event: Event| {
            if let Event::Phase { .. } = event
                && seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == nth
            {
                interrupt.raise();
            }
        };
        let error = new.install_unless(&interrupt, &listener, &target).err();
        let state = look(&target).expect("it can be read");
        let message = error.map(|error| (error.to_string(), error.code()));
        let interrupted = |text: &str| Some((text.to_owned(), Some("interrupted")));
        found.push(if state == look(&finished).expect("the new system") {
            assert_eq!(message, None, "{nth}");
            "new"
        } else if state == Found::Unfinished {
            let text = "writing `memory` was interrupted; the update of `memory` is unfinished, so nothing boots from it";
            assert_eq!(message, interrupted(text), "{nth}");
            "unfinished"
        } else {
            assert_eq!(Ok(state), look(&untouched), "{nth}");
            assert_eq!(message, interrupted("writing `memory` was interrupted"), "{nth}");
            "old"
        });
        new.install(&target).expect("finishes");
        assert_eq!(look(&target), look(&finished), "{nth}");
        expect_kept(&target, 3, "after an interruption");
    }
    found.dedup();
    assert_eq!(found, ["old", "unfinished", "new"]);
}

/// Cuts an update of a board everywhere.
fn cut_everywhere(test: &str, partitions: &str, len: u64, second: usize) {
    let (old, new) = (System::new(partitions, Version::Old), System::new(partitions, Version::New));
    let persist = old.board.partitions.len() as u32;
    let before = old.medium(len);
    let power = Arc::new(PowerCut::over(&before));
    let target: Arc<dyn Target> = power.clone();
    let (old_files, ids) = (look(&target).expect("the old system"), identity(&target));
    new.install(&target).expect("installs");
    let (new_files, kept) = (look(&target).expect("the new system"), identity(&target));
    assert_eq!(ids, kept);
    assert!(old_files != new_files && new_files != Found::Unfinished);
    let (mut failures, mut verdicts, mut again) = (Vec::new(), BTreeMap::new(), 0);
    for (number, state) in power.states(1).enumerate() {
        let name = state.to_string();
        let medium: Arc<dyn Target> = Arc::new(state.medium);
        let verdict = match look(&medium) {
            Ok(Found::Unfinished) => "unfinished",
            Ok(found) if found == old_files => "old",
            Ok(found) if found == new_files => "new",
            Ok(_) => "neither",
            Err(error) => {
                failures.push(format!("{error} {name}"));
                "unreadable"
            }
        };
        *verdicts.entry(verdict).or_insert(0) += 1;
        if ["neither", "unreadable"].contains(&verdict) {
            failures.push(format!("{verdict} {name}"));
            continue;
        }
        expect_kept(&medium, persist, &name);
        if number % second == 0 && verdict != "unfinished" && oracle(test, "e2fsck") {
            let of_ext4 = |found: &Found| match found {
                Found::Files(files) => files[files.len() - look_after_e2fsck(&medium).len()..].to_vec(),
                Found::Unfinished => Vec::new(),
            };
            let expected = of_ext4(if verdict == "old" { &old_files } else { &new_files });
            assert!(look_after_e2fsck(&medium) == expected, "{name}");
        }
        // A second run finishes, whatever was there.
        if number % second == 0 {
            again += 1;
            new.install(&medium).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(look(&medium).as_ref() == Ok(&new_files), "{name}");
            assert_eq!(identity(&medium), ids, "{name}");
            expect_kept(&medium, persist, &name);
        }
    }
    let states: usize = verdicts.values().sum();
    println!(
        "{test}: {} operations, {states} states {verdicts:?}, {again} installed again, {} failures",
        power.operations(),
        failures.len()
    );
    assert!(failures.is_empty(), "{:#?}", &failures[..failures.len().min(5)]);
    assert!(states > 300 && verdicts["old"] > 0 && verdicts["new"] > 0, "{verdicts:?}");
}

#[test]
fn boot_and_rootfs_are_never_half_there() {
    cut_everywhere("boot, rootfs and persist", THREE, 12 * MIB, 40);
}

#[test]
fn a_boot_partition_and_files_beside_the_users_are_never_half_there() {
    cut_everywhere("boot and persist with files", TWO, 16 * MIB, 40);
}

#[test]
fn files_beside_the_users_are_never_half_there() {
    cut_everywhere("persist with files", ONE, 12 * MIB, 40);
}

/// A medium that loses all writes from one on, or flips a bit of it.
struct Failing {
    medium: CowMemory,
    from: u64,
    flips: bool,
    writes: std::sync::atomic::AtomicU64,
}

impl Layer for Failing {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &self.medium
    }

    fn own_name(&self) -> Option<&str> {
        Some("card")
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let WriteOp::Bytes { offset, bytes } = op else { return op.apply(&self.medium) };
        let number = self.writes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if number < self.from {
            return op.apply(&self.medium);
        }
        if self.flips {
            let mut bytes = bytes.to_vec();
            bytes[0] ^= u8::from(number == self.from);
            return WriteOp::Bytes { offset, bytes: &bytes }.apply(&self.medium);
        }
        let (len, source) = (op.len(), std::io::ErrorKind::ReadOnlyFilesystem.into());
        Err(TargetError::Io { verb: Verb::Write, target: "card".into(), offset, len, source })
    }
}

/// What a run says whose `from`th write goes wrong, and the medium after it.
fn failing(new: &System, before: &CowMemory, from: u64, flips: bool) -> (String, Arc<dyn Target>) {
    let medium = CowMemory::from_bytes(&before.to_vec(), 512);
    let target: Arc<dyn Target> = Arc::new(Failing { medium, from, flips, writes: 0.into() });
    let error = new.install(&target).expect_err("it fails");
    (format!("{error}\nhint: {}", error.hint().unwrap_or_default()), target)
}

#[test]
fn a_failure_says_what_the_medium_is_and_a_second_run_finishes() {
    let (old, new) = (System::new(THREE, Version::Old), System::new(THREE, Version::New));
    let before = old.medium(12 * MIB);
    let unfinished = "; the update of `card` is unfinished, so nothing boots from it\n\
                      hint: run `install` again: it finishes, and keeps persist and ids";
    let (told, medium) = failing(&new, &before, 1, false);
    assert!(told.starts_with("cannot write ") && told.ends_with(unfinished), "{told}");
    assert_eq!(look(&medium), Ok(Found::Unfinished));
    let (told, medium) = failing(&new, &before, 1, true);
    let differs = "`card` does not hold what was written: `rootfs`: ";
    assert!(told.starts_with(differs) && told.ends_with(unfinished), "{told}");
    assert_eq!(look(&medium), Ok(Found::Unfinished));
    let healed: Arc<dyn Target> = {
        let bytes = &mut vec![0; 12 << 20];
        medium.read_at(bytes, 0).expect("reads");
        Arc::new(CowMemory::from_bytes(bytes, 512))
    };
    let prepared = new.prepare(&healed).expect("prepares");
    assert!(prepared.to_string().contains("\n  an earlier update is unfinished, and is finished now\n"));
    OpenSession::measure(&*healed, &Interrupt::default(), &Silent, |open| prepared.run(open))
        .expect("finishes");
    expect_kept(&healed, 3, "after a second run");
    assert!(new.prepare(&healed).expect("prepares").is_done());
}

#[test]
fn a_flipped_bit_in_a_new_file_changes_nothing() {
    let (old, new) = (System::new(ONE, Version::Old), System::new(ONE, Version::New));
    let (told, medium) = failing(&new, &old.medium(12 * MIB), 0, true);
    let damage = "`card` does not hold what was written: `persist`: ";
    let hint = "\nhint: try again with another reader or cable; if it stays, the medium is worn out";
    assert!(told.starts_with(damage) && told.ends_with(hint), "{told}");
    let target: Arc<dyn Target> = Arc::new(old.medium(12 * MIB));
    assert_eq!(look(&medium), look(&target));
}

#[test]
fn names_that_no_marker_can_hold_are_refused() {
    let spaced = THREE.replace("name = \"rootfs\"", "name = \"root fs\"");
    let (old, new) = (System::new(&spaced, Version::Old), System::new(&spaced, Version::New));
    let target: Arc<dyn Target> = Arc::new(old.medium(12 * MIB));
    let error = new.install(&target).expect_err("it is refused").downcast::<InstallError>().expect("it is");
    assert_eq!(
        error.to_string(),
        "the names and labels of the partitions of board `demo/cut` do not fit into one sector"
    );
    let hint = skiff_image::error::Diagnostic::hint(&error);
    assert_eq!(hint.as_deref(), Some("use shorter names without spaces in the board descriptor"));
}
