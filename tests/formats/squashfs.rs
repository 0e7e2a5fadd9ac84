//! The squashfs writer against the kernel, unsquashfs and backhand.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::os::unix::ffi::OsStrExt;

use crate::harness::squashfs::{
    add, image, image_with, options, random_tree, resources, set_xattr, stored_by_squashfs, zoo,
};
use crate::harness::tools;
use crate::harness::trees::{Mounted, Random, differences, dir, file, stat};
use skiff_image::fs::WrittenFile;
use skiff_image::fs::squashfs::{self, Codec, Options, SquashfsError, Written};
use skiff_image::storage::{Memory, Region};
use skiff_image::tree::{Body, Content, Device, Node, Stat, Tree};
use skiff_image::value::Digest;

const CODECS: [&str; 13] = [
    "zstd:1",
    "zstd:15",
    "zstd:tuned",
    "xz:0+x86",
    "xz:0+armthumb",
    "xz:0+arm64",
    "gzip:6",
    "gzip:9",
    "gzip:12",
    "xz",
    "lz4",
    "lz4hc",
    "stored",
];

/// Compares the tree with what the kernel shows, unsquashfs unpacks, backhand and our own reader read.
fn check(test: &str, tree: &Tree, bytes: &[u8], written: &Written) {
    let damages = squashfs::check_files(Cursor::new(bytes), &written.files).expect("readable");
    assert_eq!(damages, [], "{test}");
    let image = backhand::FilesystemReader::from_reader(Cursor::new(bytes)).expect("backhand reads it");
    let files: Vec<_> = image.files().filter_map(|node| backhand_file(&image, node)).collect();
    let mut wanted = written.files.clone();
    wanted.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(
        files.into_iter().collect::<BTreeMap<_, _>>().into_values().collect::<Vec<_>>(),
        wanted,
        "{test}"
    );
    check_without_backhand(test, tree, bytes);
}

fn backhand_file(
    image: &backhand::FilesystemReader,
    node: &backhand::Node<backhand::SquashfsFileReader>,
) -> Option<(String, WrittenFile)> {
    let backhand::InnerNode::File(file) = &node.inner else { return None };
    let mut bytes = Vec::new();
    image.file(file).reader().read_to_end(&mut bytes).expect("a readable file");
    let path = skiff_image::tree::display(&node.fullpath.as_os_str().as_bytes()[1..]);
    Some((path.clone(), WrittenFile { path, size: bytes.len() as u64, blake3: Digest::of(&bytes) }))
}

fn check_without_backhand(test: &str, tree: &Tree, bytes: &[u8]) {
    check_kernel(test, tree, bytes);
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(file.path(), bytes).expect("write");
    if tools::oracle(test, "unsquashfs") {
        let unpacked = tempfile::tempdir().expect("temporary directory");
        let mut unsquashfs = tools::command("unsquashfs");
        unsquashfs.args(["-no-progress", "-force", "-dest"]).arg(unpacked.path()).arg(file.path());
        let output = unsquashfs.output().expect("unsquashfs runs");
        assert!(output.status.success(), "{test}: {}", String::from_utf8_lossy(&output.stderr));
        if rustix::process::geteuid().is_root() {
            let lines = differences(tree, unpacked.path(), stored_by_squashfs);
            assert!(lines.is_empty(), "{test}: {}\n{}", lines.len(), lines[..lines.len().min(20)].join("\n"));
        }
    }
}

fn check_kernel(test: &str, tree: &Tree, bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(file.path(), bytes).expect("write");
    if let Some(mounted) = Mounted::new(test, "squashfs", file.path()) {
        let lines = differences(tree, mounted.path(), stored_by_squashfs);
        assert!(lines.is_empty(), "{test}: {}\n{}", lines.len(), lines[..lines.len().min(20)].join("\n"));
    }
}

#[test]
fn everything_is_the_same_with_each_codec() {
    let tree = zoo();
    for codec in CODECS {
        let (bytes, written) = image(&tree, &options(codec));
        check(codec, &tree, &bytes, &written);
    }
}

#[test]
fn everything_is_the_same_with_each_block_size() {
    let tree = zoo();
    for log in 12..=20 {
        for pack_tails in [false, true] {
            let options = Options { block_size: 1 << log, pack_tails, ..options("zstd:3") };
            let (bytes, written) = image(&tree, &options);
            check(&format!("block size 2^{log}, packed tails {pack_tails}"), &tree, &bytes, &written);
        }
    }
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    let tree = random_tree(5, 3000);
    for codec in ["zstd:1", "lz4"] {
        let options = Options { block_size: 4096, pack_tails: true, ..options(codec) };
        let one = image_with(&tree, &options, &resources(1));
        for threads in [2, 3, 16] {
            let more = image_with(&tree, &options, &resources(threads));
            assert!(one == more, "{codec} with {threads} threads");
        }
    }
}

#[test]
fn unsquashfs_agrees_on_the_superblock() {
    if !tools::oracle("unsquashfs_agrees_on_the_superblock", "unsquashfs") {
        return;
    }
    for (codec, compression) in [
        ("zstd:15", "zstd"),
        ("zstd:19", "zstd\n\tcompression-level 19"),
        ("gzip:12", "gzip"),
        ("gzip:1", "gzip\n\tcompression-level 1\n\twindow-size 15\n\tStrategies selected: default"),
        ("xz", "xz"),
        ("lz4hc", "lz4\n\tHigh Compression option specified (-Xhc)"),
    ] {
        let (bytes, written) = image(&zoo(), &options(codec));
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), &bytes).expect("write");
        let output = tools::command("unsquashfs").arg("-s").arg(file.path()).env("TZ", "UTC").output();
        let text = String::from_utf8(output.expect("unsquashfs runs").stdout).expect("text");
        for line in [
            format!("Compression {compression}\n"),
            "Creation or last append time Sun Sep 13 12:26:40 2020\n".into(),
            format!("Filesystem size {} bytes", written.bytes_used),
            "Block size 131072\n".into(),
            "Filesystem is exportable via NFS\n".into(),
            "Duplicates are removed\n".into(),
            format!("Number of inodes {}\n", written.inodes),
            format!("Number of fragments {}\n", written.fragments),
            "Number of ids 6\n".into(),
            "Xattrs are compressed\n".into(),
        ] {
            assert!(text.contains(&line), "{codec}: `{line}` is not in\n{text}");
        }
        let info = squashfs::info(Cursor::new(&bytes)).expect("a superblock");
        assert!(compression.starts_with(info.codec));
        assert_eq!((info.inodes, info.ids, info.timestamp), (written.inodes, 6, 1_600_000_000));
        assert_eq!((info.bytes_used, info.xattrs, info.exportable), (written.bytes_used, true, true));
    }
}

#[test]
fn a_directory_of_20000_names_is_indexed() {
    let mut tree = Tree::new(stat(0o755));
    let large = add(&mut tree, "large", dir());
    for number in 0..20_000 {
        let name = format!("{number:05}-{}", "x".repeat(number % 40));
        tree.insert(large, name.as_bytes(), Node::new(stat(0o644), Body::Fifo));
    }
    let next = add(&mut tree, "next", dir());
    tree.insert(next, b"file", Node::new(stat(0o644), file("behind the large one")));
    let (bytes, written) = image(&tree, &options("zstd:3"));
    check("a_directory_of_20000_names_is_indexed", &tree, &bytes, &written);
}

#[test]
fn equal_files_are_stored_once() {
    let mut tree = Tree::new(stat(0o755));
    let (large, small) = (Random(3).noise(1_000_000), Random(4).noise(3000));
    let mut other = large.clone();
    other[999_999] ^= 1;
    for name in ["a", "b", "c"] {
        add(&mut tree, name, file(large.clone()));
        add(&mut tree, &format!("small-{name}"), file(small.clone()));
    }
    add(&mut tree, "differs-at-the-end", file(other));
    let (bytes, written) = image(&tree, &options("zstd:1"));
    assert_eq!(written.duplicates, 4);
    assert!((2_000_000..2_020_000).contains(&written.len), "{}", written.len);
    check("equal_files_are_stored_once", &tree, &bytes, &written);
}

#[test]
fn the_size_bound_holds_for_what_does_not_compress() {
    let mut tree = Tree::new(stat(0o755));
    add(&mut tree, "noise", file(Random(5).noise(16 << 20)));
    // `image` checks the bound.
    let (_, written) = image(&tree, &Options { block_size: 4096, ..options("stored") });
    assert!(written.len > 16 << 20);
}

#[test]
fn holes_take_no_space() {
    let mut tree = Tree::new(stat(0o755));
    let host = tempfile::NamedTempFile::new().expect("temporary file");
    host.as_file().set_len(5 << 30).expect("a sparse file");
    add(&mut tree, "5GiB", Body::File(Content::file(host.path(), 0, 5 << 30)));
    let options = Options { block_size: 1 << 20, ..options("zstd:1") };
    let layout = squashfs::layout(&tree, &options).expect("a layout");
    let memory = Memory::new(1 << 20);
    let written =
        squashfs::write(&layout, &Region::whole(&memory, "rootfs"), &resources(2)).expect("an image");
    assert_eq!(written.len, 4096);
    let image = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(image.path(), &memory.to_vec()[..4096]).expect("write");
    if let Some(mounted) = Mounted::new("holes_take_no_space", "squashfs", image.path()) {
        use std::os::unix::fs::{FileExt, MetadataExt};
        let file = std::fs::File::open(mounted.path().join("5GiB")).expect("open");
        let metadata = file.metadata().expect("metadata");
        assert_eq!((metadata.len(), metadata.blocks()), (5 << 30, 1));
        let mut bytes = [1; 10_000];
        file.read_exact_at(&mut bytes, (5 << 30) - 10_000).expect("read");
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn random_trees_are_the_same() {
    for (seed, block_size) in [(11, 4096), (12, 8192), (13, 131_072), (14, 1 << 20)] {
        let tree = random_tree(seed, 1500);
        let options = Options { block_size, pack_tails: seed % 2 == 0, ..options("lz4") };
        let (bytes, written) = image(&tree, &options);
        check(&format!("random tree {seed}"), &tree, &bytes, &written);
    }
}

#[test]
fn an_empty_tree_is_an_image() {
    let tree = Tree::new(stat(0o755));
    let (bytes, written) = image(&tree, &options("xz"));
    assert_eq!((written.len, written.inodes), (4096, 1));
    check("an_empty_tree_is_an_image", &tree, &bytes, &written);
}

#[test]
fn the_export_table_leads_to_every_inode() {
    // Nothing is compressed, so tables can be followed by hand.
    let tree = random_tree(21, 2000);
    let (bytes, written) = image(&tree, &options("stored"));
    let u16_at = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"));
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes")) as usize;
    let (inodes, lookup) = (u64_at(64), u64_at(88));
    for number in 1..=written.inodes {
        let (block, offset) = ((number as usize - 1) / 1024, (number as usize - 1) % 1024 * 8);
        let place = u64_at(u64_at(lookup + block * 8) + 2 + offset);
        let (block, offset) = (inodes + (place >> 16), place & 0xffff);
        // The number may lie in the next block, behind its two bytes of length.
        let byte = |at: usize| if at < 8192 { bytes[block + 2 + at] } else { bytes[block + 4 + at] };
        assert_eq!(
            u16_at(block),
            0x8000 | if u16_at(block) == 0xa000 { 0x2000 } else { u16_at(block) & 0x7fff }
        );
        let found = u32::from_le_bytes(std::array::from_fn(|n| byte(offset + 12 + n)));
        assert_eq!(found, number);
    }
    assert_eq!(u32_at(4), written.inodes);
}

fn refusal(tree: &Tree, options: &Options) -> String {
    squashfs::layout(tree, options).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn what_does_not_fit_is_refused_with_both_numbers() {
    let mut tree = Tree::new(stat(0o755));
    let message = |block_size| refusal(&Tree::new(stat(0)), &Options { block_size, ..options("lz4") });
    let range = "it is a power of two from 4 KiB to 1 MiB";
    assert_eq!(message(2048), format!("a squashfs block of 2 KiB is not possible: {range}"));
    assert_eq!(message(5000), format!("a squashfs block of 5000 bytes is not possible: {range}"));
    assert_eq!(message(2 << 20), format!("a squashfs block of 2 MiB is not possible: {range}"));
    assert_eq!(
        refusal(&tree, &Options { timestamp: -1, ..options("lz4") }),
        "the timestamp -1 is not possible in a squashfs: it has 0 (1970) to 4294967295 (2106)"
    );
    assert_eq!(
        refusal(&tree, &Options { codec: Codec::Zstd { level: 23 }, ..options("lz4") }),
        "`zstd` has no level 23: its levels are 1 to 22"
    );
    let long = tree.insert(Tree::ROOT, &[b'n'; 256], Node::new(stat(0o644), Body::Fifo));
    let message = refusal(&tree, &options("lz4"));
    assert_eq!(
        message,
        format!("the name of `/{}` has 256 bytes, Linux opens names of 255 at most", "n".repeat(256))
    );
    tree.unlink(Tree::ROOT, &[b'n'; 256]);
    tree.link(Tree::ROOT, b"x", long);
    tree.node_mut(long).body = Body::Symlink(vec![b't'; 4096].into());
    assert_eq!(
        refusal(&tree, &options("lz4")),
        "the symbolic link `/x` has a target of 4096 bytes, Linux follows 1 to 4095"
    );
    tree.node_mut(long).body = Body::Char(Device { major: 4096, minor: 0 });
    assert_eq!(
        refusal(&tree, &options("lz4")),
        "the device `/x` has the major number 4096, squashfs stores 4095 at most"
    );
    tree.node_mut(long).body = Body::Fifo;
    set_xattr(&mut tree, "x", "user.big", &[0; 65_537]);
    assert_eq!(
        refusal(&tree, &options("lz4")),
        "the value of the extended attribute `user.big` of `/x` has 65537 bytes, Linux reads 65536 at most"
    );
}

#[test]
fn too_many_owners_are_refused() {
    let mut tree = Tree::new(Stat { mode: 0, uid: 0, gid: 0, mtime: 0 });
    for number in 0..65_535_u32 {
        let stat = Stat { mode: 0, uid: number + 1, gid: 0, mtime: 0 };
        tree.insert(Tree::ROOT, number.to_string().as_bytes(), Node::new(stat, Body::Fifo));
    }
    assert_eq!(
        refusal(&tree, &options("lz4")),
        "the tree has 65536 different user and group ids, squashfs stores 65535 at most"
    );
    tree.unlink(Tree::ROOT, b"5");
    let (bytes, written) = image(&tree, &options("lz4"));
    check_without_backhand("65535 owners", &tree, &bytes);
    assert_eq!(squashfs::check_files(Cursor::new(&bytes), &written.files).expect("readable"), []);
}

#[test]
fn the_longest_link_and_value_can_be_read() {
    let mut tree = Tree::new(stat(0o755));
    add(&mut tree, "long", Body::Symlink(vec![b't'; 4095].into()));
    add(&mut tree, "bytes", Body::Symlink(b"not \xff UTF-8".as_slice().into()));
    add(&mut tree, "large", file("value"));
    set_xattr(&mut tree, "large", "trusted.large", &Random(9).noise(65_000));
    let (bytes, written) = image(&tree, &options("lz4"));
    assert_eq!(squashfs::check_files(Cursor::new(&bytes), &written.files).expect("readable"), []);
    check_kernel("the_longest_link_and_value_can_be_read", &tree, &bytes);
}

#[test]
fn a_directory_with_two_names_is_refused() {
    let mut tree = Tree::new(stat(0o755));
    let first = add(&mut tree, "a", dir());
    tree.link(first, b"again", first);
    assert_eq!(
        refusal(&tree, &options("lz4")),
        "the directory `/a/again` has a second name; only files can have several"
    );
}

#[test]
fn a_small_region_is_told_what_the_image_needs() {
    let mut tree = Tree::new(stat(0o755));
    add(&mut tree, "noise", file(Random(2).noise(3 << 20)));
    let (bytes, _) = image(&tree, &options("zstd:1"));
    let layout = squashfs::layout(&tree, &options("zstd:1")).expect("a layout");
    for have in [4096_u64, 1 << 20, 2 << 20, bytes.len() as u64 - 4096] {
        let memory = Memory::new(have);
        let region = Region::new(&memory, "rootfs", 0, have, "`persist`");
        let error = squashfs::write(&layout, &region, &resources(2)).unwrap_err();
        let SquashfsError::Target(error) = error else { panic!("{error}") };
        let (need, have) =
            (skiff_image::value::ByteSize(bytes.len() as u64), skiff_image::value::ByteSize(have));
        assert_eq!(error.to_string(), format!("`rootfs` needs {need} but has {have} before `persist`"));
    }
}

#[test]
fn a_file_that_shrank_is_told() {
    let host = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(host.path(), vec![7; 300_000]).expect("write");
    let mut tree = Tree::new(stat(0o755));
    add(&mut tree, "file", Body::File(Content::file(host.path(), 0, 300_000)));
    let layout = squashfs::layout(&tree, &options("zstd:1")).expect("a layout");
    host.as_file().set_len(200_000).expect("truncate");
    let memory = Memory::new(layout.size_bound());
    let message =
        squashfs::write(&layout, &Region::whole(&memory, "rootfs"), &resources(2)).unwrap_err().to_string();
    let end = "changed while it was read: 300000 bytes were there when it was scanned, 200000 now";
    assert!(message.ends_with(end), "{message}");
}
