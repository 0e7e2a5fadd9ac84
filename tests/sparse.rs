//! Sparse source files: what they do not store is neither read nor written. The image is the same and sparse itself; an
//! ext4 keeps the holes.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use skiff_image::fs::compress::Compression;
use skiff_image::fs::{WrittenFile, cpio, ext4, fat, squashfs};
use skiff_image::storage::{Geometry, ImageFile, Memory, Region, Target};
use skiff_image::tree::{Body, Content, Node, Stat, Tree};
use skiff_image::value::Seed;

const MIB: u64 = 1 << 20;
const LEN: u64 = 64 * MIB + 777;
const STAT: Stat = Stat { mode: 0o644, uid: 0, gid: 0, mtime: 1_709_210_096 };

/// Mostly holes: data at odd places, and at the end.
fn sparse_file(path: &Path) {
    let file = File::create(path).expect("create");
    file.set_len(LEN).expect("length");
    for (at, len) in [(0, 5), (10 * MIB + 4090, 70_000), (40 * MIB, 3 * MIB), (LEN - 1, 1)] {
        file.write_all_at(&vec![7; len as usize], at).expect("write");
    }
}

/// The file as itself, as a part of a larger one (as in a tar archive), and a small one between them.
fn tree(whole: Content, part: Content) -> Tree {
    let mut tree = Tree::new(Stat { mode: 0o755, ..STAT });
    for (name, content) in [("a", whole), ("b", Content::bytes(&b"small"[..])), ("c", part)] {
        tree.insert(Tree::ROOT, name.as_bytes(), Node::new(STAT, Body::File(content)));
    }
    tree
}

/// Composes one filesystem into a file; returns its files and the blocks of 512 bytes that the file takes.
fn compose(tree: &Tree, kind: &str, path: &Path) -> (Vec<WrittenFile>, u64) {
    let target =
        ImageFile::create(path, Geometry { len: 160 * MIB, sector_size: 512 }, true).expect("create");
    let region = Region::whole(&target, "filesystem");
    let seed = Seed("sparse".into());
    let files = match kind {
        "fat" => {
            let options = fat::Options {
                fat_type: fat::FatType::Auto,
                label: "boot".into(),
                volume_id: 1,
                timestamp: 0,
                hidden_sectors: 0,
                sector_size: 512,
                cluster_size: None,
            };
            fat::write(&fat::layout(tree, &options, region.len()).expect("fits"), &region).expect("fat").files
        }
        "ext4" => {
            let options = ext4::Options {
                label: "persist".into(),
                uuid: seed.uuid("ext4"),
                hash_seed: seed.uuid("hash seed"),
                timestamp: 0,
                reserved_percent: 0,
                bytes_per_inode: 16 << 10,
                inodes: 0,
                journal: ext4::Journal::Auto,
                grow_to: 1 << 40,
            };
            let layout = ext4::layout(tree, &options, region.len()).expect("fits");
            ext4::write(&layout, &region).expect("ext4").files
        }
        _ => {
            let layout = cpio::layout(tree).expect("layout");
            cpio::write(&layout, Compression::None, &mut region.writer(0)).expect("cpio").files
        }
    };
    drop(region);
    target.sync().expect("sync");
    target.finish().expect("finish");
    (files, path.metadata().expect("metadata").blocks())
}

/// Bytes that this process has read so far, from the cache or not.
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("/proc is there");
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("it counts what is read");
    line.parse().expect("a number")
}

// One test, because what it counts is that of the whole process.
#[test]
fn holes_are_neither_read_nor_written() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = dir.path().join("source");
    sparse_file(&path);
    let stores_holes = path.metadata().expect("metadata").blocks() < 10 * MIB / 512;
    let whole = Content::file(path.as_path(), 0, LEN);
    let part = Content::file(path.as_path(), 10 * MIB, 35 * MIB);
    let in_memory = |content: &Content| Content::bytes(content.read_all().expect("read"));
    let plain = tree(in_memory(&whole), in_memory(&part));
    let sparse = tree(whole, part);
    for kind in ["fat", "ext4", "cpio"] {
        let (expected, _) = compose(&plain, kind, &dir.path().join("plain"));
        let before = bytes_read();
        let (files, blocks) = compose(&sparse, kind, &dir.path().join("sparse"));
        let read = bytes_read() - before;
        assert_eq!(files, expected, "{kind}");
        let [plain, sparse] =
            ["plain", "sparse"].map(|name| std::fs::read(dir.path().join(name)).expect("read"));
        // An ext4 has no blocks for holes; its files are the same, as `files` says.
        assert!(kind == "ext4" && stores_holes || plain == sparse, "{kind}: the bytes differ");
        if stores_holes {
            assert!(read < 10 * MIB, "{kind}: {read} bytes were read");
            assert!(kind == "cpio" || blocks * 512 < 20 * MIB, "{kind}: the image takes {blocks} blocks");
        }
    }
}

/// A sparse file of a TiB with some data in it, as the only file of a tree.
fn tib(path: &Path) -> Option<Tree> {
    let file = File::create(path).expect("create");
    file.set_len(1 << 40).ok()?;
    for at in [5, 77 << 30, (1 << 40) - 4] {
        file.write_all_at(b"data", at).expect("write");
    }
    let mut tree = Tree::new(Stat { mode: 0o755, ..STAT });
    let content = Content::file(path, 0, 1 << 40);
    tree.insert(Tree::ROOT, b"large", Node::new(STAT, Body::File(content)));
    Some(tree)
}

#[test]
fn a_tib_of_holes_costs_what_its_data_costs() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let Some(tree) = tib(&dir.path().join("source")) else { return };
    let (ext4, _) = compose(&tree, "ext4", &dir.path().join("ext4"));
    let options = squashfs::Options {
        codec: squashfs::DEFAULT_CODEC,
        block_size: 1 << 20,
        timestamp: 0,
        pack_tails: false,
    };
    let layout = squashfs::layout(&tree, &options).expect("fits");
    let target = Memory::new(64 * MIB);
    let resources = squashfs::Resources { threads: 2, cache: None, trust_stat: false, verify: false };
    let written =
        squashfs::write(&layout, &Region::whole(&target, "squashfs"), &resources).expect("squashfs");
    assert_eq!(ext4, written.files, "both have one digest of it");
    let image = std::io::Cursor::new(target.to_vec());
    assert_eq!(squashfs::check_files(image, &written.files).expect("readable"), []);
}
