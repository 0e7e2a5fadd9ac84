use std::collections::HashSet;
use std::fs;

use skiff_disk::fs::squashfs::{self, Codec, Options, Resources};
use skiff_disk::storage::{Memory, Region};
use skiff_disk::tree::{Body, Content, Node, Stat, Tree};

use super::*;
use crate::Slot;
use crate::apply::tests::steps::machine;
use crate::apply::{Applied, Directory, HEAD, Places, Store as _, Updater};
use crate::bundle::BlockId;
use crate::bundle::tests::{noise, trusted};
use crate::keys::tests::{root, sign};
use crate::state::record::{Form, encode};
use crate::state::{Copies, State};

/// A squashfs whose files hold words; file `changed` holds others.
fn image(changed: u64, codec: Codec) -> Vec<u8> {
    let stat = Stat { mode: 0o644, uid: 0, gid: 0, mtime: 0 };
    let mut tree = Tree::new(Stat { mode: 0o755, ..stat });
    for number in 0..40 {
        let seed = if number == 17 { 100 + changed } else { number };
        let mut words: Vec<u8> =
            noise(number, 6000).iter().flat_map(|byte| [b'a' + byte % 20, b' ']).collect();
        words[3000..3008].copy_from_slice(&seed.to_be_bytes());
        let body = Body::File(Content::bytes(words));
        tree.insert(Tree::ROOT, format!("file-{number}").as_bytes(), Node::new(stat, body));
    }
    let options = Options { codec, block_size: 16 << 10, timestamp: 0, pack_tails: false };
    let layout = squashfs::layout(&tree, &options).expect("a layout");
    let memory = Memory::new(layout.size_bound());
    let written = squashfs::write(&layout, &Region::whole(&memory, "image"), &Resources::default());
    let mut bytes = memory.to_vec();
    bytes.truncate(written.expect("memory does not fail").len as usize);
    bytes
}

struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Workshop {
        Workshop(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).expect("a file");
        self.path(name)
    }

    fn recipe(&self, sequence: u64, kernel: &[u8], image: &[u8]) -> Recipe {
        Recipe {
            boards: vec!["maker/small".into()],
            arch: Arch::Arm64,
            loaders: vec!["uboot-fat".into()],
            version: format!("{sequence}.0"),
            sequence,
            root: trusted(),
            roots: Vec::new(),
            files: vec![
                ("kernel".into(), self.file(&format!("kernel-{sequence}"), kernel)),
                ("rootfs.squashfs".into(), self.file(&format!("image-{sequence}"), image)),
            ],
        }
    }

    /// A signed bundle.
    fn bundle(&self, sequence: u64, kernel: &[u8], image: &[u8]) -> PathBuf {
        let prepared = prepare(self.recipe(sequence, kernel, image)).expect("it can be made");
        let signature = sign(1, STATEMENT_NAMESPACE, prepared.text().as_bytes());
        let out = self.path(&format!("{sequence}.bundle"));
        let len = prepared.write(&[signature], &out).expect("it is signed");
        assert_eq!(fs::metadata(&out).expect("it is there").len(), len);
        out
    }
}

#[test]
fn a_delta_of_one_changed_file_is_small_and_makes_the_same_image() {
    let workshop = Workshop::new();
    let codec = Codec::Zstd { level: 9 };
    let (kernel, old, new) = (noise(1, 300_000), image(1, codec), image(2, codec));
    let (one, two) = (workshop.bundle(1, &kernel, &old), workshop.bundle(2, &kernel, &new));
    let opened = [&one, &two].map(|path| OpenBundle::open(path, &trusted()).expect("it is signed"));
    let delta = workshop.path("delta");
    let summary = write_delta(&opened[0], &opened[1], &delta).expect("it can be made");
    // One data block changed, and the metadata that knows its length or the place of what follows.
    assert!(summary.patched >= 1 && summary.literal_len < 1000, "{summary:?}");
    assert!(summary.patched_len < 2500, "{summary:?}");

    let slots = workshop.path("slots");
    ["a", "b"].iter().for_each(|slot| fs::create_dir_all(slots.join(slot)).expect("a directory"));
    let state =
        ["state1", "state2"].map(|name| workshop.file(name, &encode(&State::new(Slot::A, 0), Form::Plain)));
    let store = Directory::open(Places { state, slots: slots.clone(), elsewhere: Vec::new() });
    let head = opened[0].head().to_stored();
    for (name, bytes) in [("kernel", &kernel), ("rootfs.squashfs", &old), (HEAD, &head)] {
        store.write_at(Slot::A, name, bytes, 0).expect("it can be written");
    }
    store.settle(Slot::A).expect("it can be synced");
    let agent = Updater { copies: Copies(store), machine: machine(), root: trusted(), running: Slot::A };
    let mut stream = File::open(&delta).expect("it is there");
    let applied = agent.apply(&mut stream, &mut |_| ()).expect("it is applied");
    assert!(matches!(applied, Applied::Armed { slot: Slot::B, .. }), "{applied:?}");
    assert_eq!(fs::read(slots.join("b/rootfs.squashfs")).expect("it is there"), new);
    assert_eq!(fs::read(slots.join("b/kernel")).expect("it is there"), kernel);
}

#[test]
fn blocks_are_found_again_wherever_they_are() {
    let workshop = Workshop::new();
    let ids = |path: &Path| {
        let cut = cut::blocks(path).expect("it can be read");
        assert_eq!(cut.sum, Sum::of(&fs::read(path).expect("it is there")));
        cut.blocks
    };
    let share = |one: &[(usize, BlockId)], two: &[(usize, BlockId)]| {
        let known: HashSet<_> = one.iter().map(|(_, id)| *id).collect();
        let bytes = |blocks: &[(usize, BlockId)]| blocks.iter().map(|(len, _)| *len).sum::<usize>();
        let lacking: Vec<_> = two.iter().filter(|(_, id)| !known.contains(id)).copied().collect();
        bytes(&lacking) * 100 / bytes(two)
    };
    for codec in [Codec::Zstd { level: 9 }, Codec::Gzip { level: 6 }, Codec::Stored] {
        let (old, new) = (workshop.file("old", &image(1, codec)), workshop.file("new", &image(2, codec)));
        let lacking = share(&ids(&old), &ids(&new));
        assert!(lacking < 15, "{codec}: {lacking} %");
    }
    // Bytes that were put in front move everything.
    let bytes = noise(1, 1 << 20);
    let old = workshop.file("old", &bytes);
    let new = workshop.file("new", &[b"something new", &bytes[..]].concat());
    let (old, new) = (ids(&old), ids(&new));
    assert!(share(&old, &new) < 10, "{} %", share(&old, &new));
    assert!(old.len() > 30 && old.iter().all(|(len, _)| *len <= 64 << 10), "{}", old.len());
    assert_eq!(ids(&workshop.file("empty", b"")), []);
}

#[test]
fn a_bundle_is_the_same_each_time_and_is_checked_as_a_whole() {
    let workshop = Workshop::new();
    let image = image(1, Codec::Zstd { level: 9 });
    let path = workshop.bundle(1, b"kernel", &image);
    let first = fs::read(&path).expect("it is there");
    assert_eq!(fs::read(workshop.bundle(1, b"kernel", &image)).expect("it is there"), first);
    assert_eq!(
        OpenBundle::check(&path, &trusted(), None).expect("it is whole").head.statement.version,
        "1.0"
    );
    let mut changed = first;
    *changed.last_mut().expect("it is not empty") ^= 1;
    let error =
        OpenBundle::check(&workshop.file("changed", &changed), &trusted(), None).unwrap_err().to_string();
    assert!(error.contains("of `rootfs.squashfs` is not the one that was signed"), "{error}");
}

#[test]
fn what_a_device_would_refuse_is_not_made() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(1, b"kernel", b"image");
    let message = |change: fn(&mut Recipe)| {
        let mut recipe = recipe.clone();
        change(&mut recipe);
        prepare(recipe).unwrap_err().to_string()
    };
    assert_eq!(
        message(|recipe| recipe.boards.clear()),
        "no such statement can be made: there are 0 lines with `board`, 1 to 64 are possible"
    );
    assert_eq!(
        message(|recipe| recipe.version = "two\nlines".into()),
        "no such statement can be made: line 6 is `lines`, `sequence` was expected"
    );
    let squashfs = workshop.file("broken", b"hsqs and nothing else");
    let mut broken = recipe.clone();
    broken.files[1].1 = squashfs;
    let error = prepare(broken).unwrap_err().to_string();
    assert!(error.contains("broken`: cannot read the squashfs"), "{error}");

    let prepared = prepare(recipe).expect("it can be made");
    let out = workshop.path("out");
    let error = prepared.write(&[], &out).unwrap_err();
    assert_eq!(error.to_string(), "the statement has 0 of the 1 signatures that root 1 wants");
    let signature = sign(1, STATEMENT_NAMESPACE, prepared.text().as_bytes());
    fs::write(workshop.path("kernel-1"), b"other kernel").expect("a file");
    let error = prepared.write(&[signature], &out).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` changed while the bundle was made", workshop.path("kernel-1").display())
    );
    assert!(!out.exists(), "nothing has got the name");
    let other = root(1, (1, 1), &[2], &[]);
    assert!(OpenBundle::open(&workshop.bundle(3, b"kernel", b"image"), &other).is_err());
}
