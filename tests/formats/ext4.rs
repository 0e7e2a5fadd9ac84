//! The ext4 writer against e2fsprogs, the kernel and ext4-view.

use std::path::Path;
use std::process::Output;

use crate::harness::ext4::*;
use crate::harness::mount::{assert_same, can_mount, mount};
use crate::harness::tools::{command, oracle};
use skiff_image::fs::ext4::{self, Journal, Options, Reader, Written};
use skiff_image::fs::{Damage, Problem};
use skiff_image::storage::{Region, Target};
use skiff_image::tree::{Body, Content, Device, Node, Stat, Tree};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn compose(tree: &Tree, options: &Options, target: &Watched) -> Written {
    let layout = ext4::layout(tree, options, target.geometry().len).expect("fits");
    let written = ext4::write(&layout, &Region::whole(target, "persist")).expect("written");
    let counts = target.counts();
    assert_eq!(counts.written + counts.zeroed, layout.written_len(), "{counts:?}");
    written
}

fn run(tool: &str, args: &[&str], path: &Path) -> Output {
    command(tool).args(args).arg(path).output().expect("run")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// e2fsck finds nothing, not even something to optimize.
fn assert_clean(path: &Path) {
    let output = run("e2fsck", &["-fn"], path);
    let text = text(&output);
    assert!(output.status.success() && !text.contains('?') && !text.to_lowercase().contains("fix"), "{text}");
}

/// A tree with one of everything.
fn everything() -> Tree {
    let mut tree = Tree::new(Stat { mode: 0o755, uid: 0, gid: 0, mtime: TIME - 5 });
    let root = Tree::ROOT;
    let bin = dir(&mut tree, root, "bin");
    let su = file(&mut tree, bin, "su", noise(70_000, 1));
    tree.node_mut(su).stat.mode = 0o4755;
    tree.node_mut(su).xattrs.insert((*b"security.capability").into(), capability().into());
    let owned = file(&mut tree, bin, "owned", noise(5, 2));
    tree.node_mut(owned).stat = Stat { mode: 0o640, uid: 70_000, gid: 4_000_000_000, mtime: (1 << 32) + 17 };
    tree.node_mut(owned).xattrs.insert((*b"user.comment").into(), (*b"hello").into());
    tree.node_mut(owned).xattrs.insert((*b"user.empty").into(), (*b"").into());
    tree.node_mut(owned).xattrs.insert((*b"user.long").into(), noise(900, 3).into());
    tree.node_mut(owned).xattrs.insert((*b"trusted.t").into(), (*b"t").into());
    tree.link(root, b"second name", owned);
    tree.link(bin, b"third", owned);
    file(&mut tree, root, "empty", b"".as_slice());
    file(&mut tree, root, b"latin1-\xe9\xff", b"x".as_slice());
    file(&mut tree, root, "exactly one block", noise(4096, 4));
    file(&mut tree, root, "zeros", vec![0; 3 * MIB as usize + 5]);
    file(&mut tree, root, "n".repeat(255), b"longest name".as_slice());
    let old = file(&mut tree, root, "before 1970", b"o".as_slice());
    tree.node_mut(old).stat.mtime = -1_000_000;
    let far = file(&mut tree, root, "far future", b"f".as_slice());
    tree.node_mut(far).stat.mtime = (1 << 34) - (1 << 31) - 1;
    let acl = file(&mut tree, root, "acl", b"a".as_slice());
    tree.node_mut(acl).xattrs.insert((*b"system.posix_acl_access").into(), access_list().into());
    let sticky = dir(&mut tree, root, "tmp");
    tree.node_mut(sticky).stat.mode = 0o1777;
    tree.node_mut(sticky).xattrs.insert((*b"user.on-dir").into(), (*b"d").into());
    for (name, len) in [("short", 10), ("fast", 59), ("slow", 60), ("long", 4095)] {
        let target: Vec<u8> = noise(len, 5).iter().map(|byte| b'a' + byte % 26).collect();
        tree.insert(root, name.as_bytes(), Node::new(stat(0o777), Body::Symlink(target.into())));
    }
    let dev = dir(&mut tree, root, "dev");
    let mut node = |name: &str, body| tree.insert(dev, name.as_bytes(), Node::new(stat(0o600), body));
    node("null", Body::Char(Device { major: 1, minor: 3 }));
    node("nvme0n1p300", Body::Block(Device { major: 259, minor: 300 }));
    node("mmcblk0", Body::Block(Device { major: 179, minor: 0 }));
    node("many", Body::Char(Device { major: 4000, minor: 1_000_000 }));
    node("fifo", Body::Fifo);
    node("socket", Body::Socket);
    let deep = (0..40).fold(root, |parent, n| dir(&mut tree, parent, &format!("d{n}")));
    file(&mut tree, deep, "bottom", noise(300_000, 6));
    tree
}

/// `cap_net_raw=ep` in the format of Linux (struct vfs_cap_data, revision 2).
fn capability() -> Vec<u8> {
    let words: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// `u::rw-,u:1000:r--,g::r--,m::r--,o::---`.
fn access_list() -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 4, 1000), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
    {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(perm.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn e2fsck_is_content_with_every_size_on_a_used_card() {
    if !oracle("e2fsck_is_content_with_every_size_on_a_used_card", "e2fsck") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let path = temp.path().join("image");
    let lens = [MIB, 2 * MIB, 7 * MIB + 4096, 8 * MIB, 100 * MIB, 128 * MIB, 129 * MIB, 259 * MIB + 512];
    for len in lens {
        let target = Watched::create_used(&path, len);
        compose(&empty(), &options(), &target);
        assert_clean(&path);
    }
}

#[test]
fn features_are_exactly_the_list() {
    if !oracle("features_are_exactly_the_list", "dumpe2fs") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let path = temp.path().join("image");
    let options = Options { reserved_percent: 5, ..options() };
    compose(&everything(), &options, &Watched::create_used(&path, 64 * MIB));
    let output = text(&run("dumpe2fs", &["-h"], &path));
    let line =
        |key: &str| output.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("").trim().to_owned();
    assert_eq!(
        line("Filesystem features:"),
        "has_journal ext_attr resize_inode dir_index filetype extent flex_bg sparse_super large_file huge_file uninit_bg dir_nlink extra_isize"
    );
    assert_eq!(line("Filesystem volume name:"), "persist");
    assert_eq!(line("Block size:"), "4096");
    assert_eq!(line("Reserved block count:"), (64 * MIB / 4096 * 5 / 100).to_string());
    assert_eq!(line("Total journal size:"), "4096k");
    assert_eq!(line("Filesystem state:"), "clean");
    assert_eq!(line("Filesystem UUID:"), "01234567-89ab-4def-8123-456789abcdef");
    assert_clean(&path);
}

#[test]
fn two_runs_give_the_same_bytes() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let (a, b) = (temp.path().join("a"), temp.path().join("b"));
    let first = compose(&everything(), &options(), &Watched::create(&a, 64 * MIB));
    let second = compose(&everything(), &options(), &Watched::create(&b, 64 * MIB));
    assert_eq!(first, second);
    assert!(std::fs::read(&a).expect("read") == std::fs::read(&b).expect("read"));
}

#[test]
fn the_reader_finds_every_file() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let path = temp.path().join("image");
    let written = compose(&everything(), &options(), &Watched::create_used(&path, 64 * MIB));
    let reader = Reader::open(std::fs::File::open(&path).expect("open"), 0).expect("ext4");
    assert_eq!(reader.check_files(&written.files).expect("readable"), []);
    let mut names: Vec<_> = reader.files().expect("readable");
    names.retain(|file| !["/second name", "/bin/third"].contains(&file.path.as_str()));
    let mut expected = written.files;
    expected.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(names, expected);
}

#[test]
fn sixty_four_gib_are_a_few_mib() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let path = temp.path().join("image");
    let target = Watched::create(&path, 64 * GIB);
    let start = std::time::Instant::now();
    compose(&empty(), &options(), &target);
    let (counts, time) = (target.counts(), start.elapsed());
    eprintln!("64 GiB: {counts:?} in {time:?}");
    assert!(counts.written < 4 * MIB && counts.zeroed < 40 * MIB, "{counts:?}");
    if oracle("sixty_four_gib_are_a_few_mib", "e2fsck") {
        assert_clean(&path);
    }
}

#[test]
fn the_kernel_sees_the_tree() {
    if !can_mount("the_kernel_sees_the_tree") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let (path, at) = (temp.path().join("image"), temp.path().join("at"));
    let tree = everything();
    compose(&tree, &options(), &Watched::create_used(&path, 64 * MIB));
    for options in ["ro,noload", "ro", "rw"] {
        let mounted = mount(&path, &at, options);
        assert_same(&tree, mounted.path(), "lost+found");
        mounted.unmount();
        assert_clean(&path);
    }
}

#[test]
fn the_kernel_writes_until_it_is_full() {
    if !can_mount("the_kernel_writes_until_it_is_full") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let (path, at) = (temp.path().join("image"), temp.path().join("at"));
    let mut tree = everything();
    let many = dir(&mut tree, Tree::ROOT, "many");
    for n in 0..1000 {
        file(&mut tree, many, format!("file {n}"), format!("{n}").as_bytes());
    }
    compose(&tree, &options(), &Watched::create_used(&path, 300 * MIB));
    let mounted = mount(&path, &at, "rw");
    let root = mounted.path();
    for n in 1000..3000 {
        std::fs::write(root.join(format!("many/file {n}")), format!("{n}")).expect("write");
    }
    for n in 0..500 {
        std::fs::remove_file(root.join(format!("many/file {n}"))).expect("remove");
        std::fs::create_dir(root.join(format!("dir {n}"))).expect("mkdir");
    }
    let full = (0..400)
        .map(|n| std::fs::write(root.join(format!("fill {n}")), noise(MIB as usize, n)))
        .find_map(Result::err);
    assert_eq!(full.expect("full").kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(std::fs::read(root.join("many/file 2999")).expect("read"), b"2999");
    mounted.unmount();
    assert_clean(&path);
}

#[test]
fn a_crash_is_replayed_from_the_journal() {
    if !can_mount("a_crash_is_replayed_from_the_journal") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let (path, at) = (temp.path().join("image"), temp.path().join("at"));
    let crashed = temp.path().join("crashed");
    compose(&everything(), &options(), &Watched::create_used(&path, 64 * MIB));
    let mounted = mount(&path, &at, "rw");
    for n in 0..200 {
        std::fs::write(mounted.path().join(format!("file {n}")), noise(10_000, n)).expect("write");
    }
    rustix::fs::syncfs(std::fs::File::open(mounted.path()).expect("open")).expect("sync");
    std::fs::copy(&path, &crashed).expect("copy");
    mounted.unmount();
    assert!(text(&run("dumpe2fs", &["-h"], &crashed)).contains("needs_recovery"));
    let mounted = mount(&crashed, &at, "rw");
    assert_eq!(std::fs::read(mounted.path().join("file 199")).expect("read"), noise(10_000, 199));
    mounted.unmount();
    assert_clean(&crashed);
}

#[test]
fn large_directories_have_an_index_the_kernel_uses() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let (path, at) = (temp.path().join("image"), temp.path().join("at"));
    let mut tree = empty();
    let lost_found = dir(&mut tree, Tree::ROOT, "lost+found");
    tree.node_mut(lost_found).stat.mode = 0o750;
    file(&mut tree, lost_found, "#123", b"found".as_slice());
    let one_level = dir(&mut tree, Tree::ROOT, "one level");
    for n in 0..20_000 {
        file(&mut tree, one_level, format!("file-{n}"), b"".as_slice());
    }
    let two_levels = dir(&mut tree, Tree::ROOT, "two levels");
    for n in 0..9_000_u64 {
        let name: Vec<u8> = noise(255, n + 1)
            .into_iter()
            .map(|byte| if byte == 0 || byte == b'/' { 0xFF } else { byte })
            .collect();
        file(&mut tree, two_levels, name, b"".as_slice());
    }
    let written = compose(&tree, &options(), &Watched::create(&path, 200 * MIB));
    let reader = Reader::open(std::fs::File::open(&path).expect("open"), 0).expect("ext4");
    assert_eq!(reader.check_files(&written.files).expect("readable"), []);
    if can_mount("large_directories_have_an_index_the_kernel_uses") {
        for dir in ["/one level", "/two levels"] {
            let stat = text(&run("debugfs", &["-R", &format!("htree_dump \"{dir}\"")], &path));
            assert!(stat.contains("Hash Version: 1"), "{stat}");
        }
        assert_clean(&path);
        let mounted = mount(&path, &at, "ro");
        assert_same(&tree, mounted.path(), "lost+found");
        mounted.unmount();
    }
}

#[test]
fn more_subdirectories_than_links_are_not_counted() {
    if !oracle("more_subdirectories_than_links_are_not_counted", "e2fsck") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let path = temp.path().join("image");
    let mut tree = empty();
    let parent = dir(&mut tree, Tree::ROOT, "parent");
    for n in 0..65_100 {
        dir(&mut tree, parent, &format!("{n}"));
    }
    compose(&tree, &options(), &Watched::create(&path, 500 * MIB));
    assert_clean(&path);
}

#[test]
fn a_large_file_needs_an_extent_tree() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let (path, at) = (temp.path().join("image"), temp.path().join("at"));
    let source = temp.path().join("source");
    let len = 1100 * MIB + 3;
    let host = Watched::create(&source, len);
    for n in 0..20 {
        host.write_at(&noise(100_000, n), n * 55 * MIB + 12_345).expect("write");
    }
    let mut tree = empty();
    tree.insert(
        Tree::ROOT,
        b"large",
        Node::new(stat(0o600), Body::File(Content::file(source.as_path(), 0, len))),
    );
    file(&mut tree, Tree::ROOT, "small", noise(9_000, 77));
    let target = Watched::create(&path, 4 * GIB);
    let written = compose(&tree, &options(), &target);
    eprintln!("1100 MiB, mostly zero: {:?}", target.counts());
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(&source).expect("open")).expect("read");
    assert_eq!(written.files[0].blake3.0, *hasher.finalize().as_bytes());
    let reader = Reader::open(std::fs::File::open(&path).expect("open"), 0).expect("ext4");
    assert_eq!(reader.check_files(&written.files).expect("readable"), []);
    if can_mount("a_large_file_needs_an_extent_tree") {
        assert_clean(&path);
        let mounted = mount(&path, &at, "ro");
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(std::fs::File::open(mounted.path().join("large")).expect("open")).expect("read");
        assert_eq!(written.files[0].blake3.0, *hasher.finalize().as_bytes());
        mounted.unmount();
    }
}

#[test]
fn resize2fs_grows_it() {
    if !oracle("resize2fs_grows_it", "resize2fs") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let path = temp.path().join("image");
    for grow_to in [1 << 40, 64 * MIB * 1024] {
        let options = Options { grow_to, ..options() };
        let written = compose(&everything(), &options, &Watched::create_used(&path, 64 * MIB));
        for len in [GIB, 16 * GIB] {
            std::fs::File::options()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(len))
                .expect("truncate");
            let output = run("resize2fs", &[], &path);
            assert!(output.status.success(), "{}", text(&output));
            assert_clean(&path);
            let reader = Reader::open(std::fs::File::open(&path).expect("open"), 0).expect("ext4");
            assert_eq!(reader.summary().len.bytes(), len);
            assert!(!reader.summary().features.contains(&"meta_bg".into()));
            assert_eq!(reader.check_files(&written.files).expect("readable"), []);
        }
    }
}

#[test]
fn it_grows_over_the_garbage_of_a_used_card() {
    let test = "it_grows_over_the_garbage_of_a_used_card";
    if !oracle(test, "resize2fs") || !can_mount(test) {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let (path, at) = (temp.path().join("image"), temp.path().join("at"));
    let target = Watched::create_used(&path, 300 * MIB);
    let tree = everything();
    let layout = ext4::layout(&tree, &options(), 64 * MIB).expect("fits");
    ext4::write(&layout, &Region::new(&target, "persist", 0, 64 * MIB, "nothing")).expect("written");
    let output = run("resize2fs", &[], &path);
    assert!(output.status.success(), "{}", text(&output));
    assert_clean(&path);
    let mounted = mount(&path, &at, "rw");
    assert_same(&tree, mounted.path(), "lost+found");
    for n in 0..10_000 {
        std::fs::write(mounted.path().join(format!("file {n}")), b"new").expect("write");
    }
    std::fs::write(mounted.path().join("large"), noise(150 * MIB as usize, 3)).expect("write");
    mounted.unmount();
    assert_clean(&path);
}

#[test]
fn the_minimum_size_fits_and_one_block_less_does_not() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let path = temp.path().join("image");
    let mut large = everything();
    for n in 0..40_000 {
        file(&mut large, Tree::ROOT, format!("empty {n}"), b"".as_slice());
    }
    file(&mut large, Tree::ROOT, "content", vec![1; 150 * MIB as usize]);
    for (tree, journal) in [
        (empty(), Journal::Auto),
        (everything(), Journal::None),
        (everything(), Journal::Bytes(4 * MIB)),
        (large, Journal::Auto),
    ] {
        let options = Options { journal, grow_to: 0, ..options() };
        let need = ext4::minimum_size(&tree, &options).expect("possible");
        eprintln!("minimum: {need} bytes");
        compose(&tree, &options, &Watched::create(&path, need));
        if oracle("the_minimum_size_fits_and_one_block_less_does_not", "e2fsck") {
            assert_clean(&path);
        }
        assert!(ext4::layout(&tree, &options, need - 4096).is_err());
    }
}

#[test]
fn signatures_of_earlier_filesystems_are_gone() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let path = temp.path().join("image");
    let len = 64 * MIB;
    let target = Watched::create(&path, len);
    let host = std::fs::File::options().write(true).open(&path).expect("open");
    // xfs, FAT, iso9660, btrfs, swap, two places of md.
    let places: [(&[u8], u64); 7] = [
        (b"XFSB", 0),
        (b"\x55\xaa", 510),
        (b"CD001", 0x8001),
        (b"_BHRfS_M", 0x10040),
        (b"SWAPSPACE2", 4086),
        (b"\xfc\x4e\x2b\xa9", len - 0x10000),
        (b"\xfc\x4e\x2b\xa9", len - 0x2000),
    ];
    for (signature, at) in places {
        std::os::unix::fs::FileExt::write_all_at(&host, signature, at).expect("write");
    }
    compose(&empty(), &options(), &target);
    let bytes = std::fs::read(&path).expect("read");
    for (signature, at) in places {
        assert!(!bytes[at as usize..].starts_with(signature), "{at}");
    }
}

#[test]
fn the_journal_holds_nothing_of_an_earlier_life() {
    if !oracle("the_journal_holds_nothing_of_an_earlier_life", "debugfs") {
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let (path, dump) = (temp.path().join("image"), temp.path().join("journal"));
    compose(&empty(), &options(), &Watched::create_used(&path, 64 * MIB));
    run("debugfs", &["-R", &format!("dump <8> {}", dump.display())], &path);
    let journal = std::fs::read(&dump).expect("read");
    assert_eq!(journal.len() as u64, 4 * MIB);
    assert_eq!(journal[..4], [0xC0, 0x3B, 0x39, 0x98]);
    assert!(journal[4096..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_damaged_file_is_named() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let path = temp.path().join("image");
    let written = compose(&everything(), &options(), &Watched::create(&path, 16 * MIB));
    let mut bytes = std::fs::read(&path).expect("read");
    let needle = &noise(300_000, 6)[200_000..200_032];
    let at = bytes.windows(32).position(|window| window == needle).expect("in the image");
    bytes[at] ^= 1;
    let open = |bytes: Vec<u8>| Reader::open(std::io::Cursor::new(bytes), 0).expect("ext4");
    let damages = open(bytes.clone()).check_files(&written.files).expect("readable");
    let bottom = format!("/{}bottom", (0..40).map(|n| format!("d{n}/")).collect::<String>());
    let texts: Vec<String> = damages.iter().map(ToString::to_string).collect();
    assert_eq!(texts, [format!("`{bottom}` has other bytes than were written")]);

    let mut expected = written.files[..1].to_vec();
    expected[0].size += 1;
    expected.push(written.files[1].clone());
    expected[1].path = "/gone".into();
    let texts: Vec<String> =
        open(bytes).check_files(&expected).expect("readable").iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2);
    assert_eq!(texts[0], "`/acl` has 1 bytes instead of the 2 that were written");
    assert_eq!(texts[1], "`/gone` is missing");
    let damage = Damage { path: "/a".into(), problem: Problem::Unreadable { reason: "the reason".into() } };
    assert_eq!(damage.to_string(), "`/a` cannot be read: the reason");
}

#[test]
fn one_file_can_be_read_at_any_position() {
    use std::io::{Read, Seek, SeekFrom};
    let temp = tempfile::tempdir().expect("temporary directory");
    let path = temp.path().join("image");
    // At an offset, as in the image of a disk.
    let target = Watched::create(&path, 40 * MIB);
    let layout_len = 16 * MIB;
    let (tree, options) = (everything(), options());
    let layout = ext4::layout(&tree, &options, layout_len).expect("fits");
    ext4::write(&layout, &Region::new(&target, "persist", MIB, layout_len, "the end")).expect("written");
    let reader = Reader::open(std::fs::File::open(&path).expect("open"), MIB).expect("ext4");
    let su = noise(70_000, 1);
    let mut file = reader.open_file(b"bin/su").expect("there");
    assert_eq!(file.len(), 70_000);
    let mut buf = [0; 5000];
    for at in [60_000_usize, 10, 65_000, 4096] {
        file.seek(SeekFrom::Start(at as u64)).expect("seek");
        file.read_exact(&mut buf).expect("read");
        assert!(buf == su[at..at + 5000], "{at}");
    }
    let mut copy = Vec::new();
    assert_eq!(reader.copy_file(b"/bin/su", &mut copy).expect("there"), 70_000);
    assert!(copy == su);
    let summary = reader.summary();
    assert_eq!(
        (summary.label.as_str(), summary.len.bytes(), summary.uuid),
        ("persist", layout_len, options.uuid)
    );
    assert_eq!(summary.free.bytes(), layout.free_len());
    let error = reader.open_file(b"nothing").unwrap_err();
    assert_eq!(error.to_string(), "cannot read `/nothing` of the ext4 filesystem: file not found");
    let error = Reader::open(std::fs::File::open(&path).expect("open"), 2 * MIB).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no ext4 filesystem at offset 2097152: the magic number is 0x0000, not 0xef53"
    );
    let error = Reader::open(std::io::Cursor::new(vec![0; 100]), 0).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the ext4 filesystem: failed to fill whole buffer");
}

/// CRC-32 as U-Boot's `crc32` command prints it.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// U-Boot's answers to `commands` with the image as its only disk.
fn u_boot(firmware: &Path, image: &Path, commands: &[String]) -> String {
    use std::io::Write;
    let mut child = command("timeout")
        .args([
            "100",
            "qemu-system-aarch64",
            "-M",
            "virt",
            "-cpu",
            "cortex-a57",
            "-m",
            "512",
            "-accel",
            "tcg",
        ])
        .args([
            "-display",
            "none",
            "-serial",
            "stdio",
            "-monitor",
            "none",
            "-no-reboot",
            "-nic",
            "none",
            "-bios",
        ])
        .arg(firmware)
        .args(["-device", "virtio-blk-device,drive=d", "-drive"])
        .arg(format!("if=none,id=d,format=raw,snapshot=on,file={}", image.display()))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("run");
    let mut stdin = child.stdin.take().expect("piped");
    // The first line ends the countdown of automatic booting.
    stdin.write_all(format!("\n{}\npoweroff\n", commands.join("\n")).as_bytes()).expect("write");
    let output = child.wait_with_output().expect("output");
    drop(stdin);
    text(&output)
}

#[test]
fn u_boot_reads_it() {
    let firmware = Path::new("/usr/lib/u-boot/qemu_arm64/u-boot.bin");
    if !oracle("u_boot_reads_it", "qemu-system-aarch64") {
        return;
    }
    if !firmware.exists() {
        assert!(std::env::var_os("CI").is_none(), "u_boot_reads_it: `{}` is missing", firmware.display());
        eprintln!("skipped: u_boot_reads_it: `{}` is missing", firmware.display());
        return;
    }
    let temp = tempfile::tempdir().expect("temporary directory");
    let (path, source) = (temp.path().join("image"), temp.path().join("source"));
    let mut tree = everything();
    let many = dir(&mut tree, Tree::ROOT, "many");
    for n in 0..3000_u64 {
        file(&mut tree, many, format!("file-{n}"), noise(100, n));
    }
    let len = 1100 * MIB;
    Watched::create(&source, len).write_at(&noise(8192, 99), 1090 * MIB).expect("write");
    tree.insert(
        Tree::ROOT,
        b"large",
        Node::new(stat(0o600), Body::File(Content::file(source.as_path(), 0, len))),
    );
    compose(&tree, &options(), &Watched::create(&path, 2 * GIB));
    let bottom = format!("/{}bottom", (0..40).map(|n| format!("d{n}/")).collect::<String>());
    let loads = [
        ("/bin/su".to_owned(), noise(70_000, 1)),
        ("\"/second name\"".to_owned(), noise(5, 2)),
        (bottom, noise(300_000, 6)),
        ("/many/file-2717".to_owned(), noise(100, 2717)),
        (format!("/large 2000 {:x}", 1090 * MIB), noise(8192, 99)),
    ];
    let mut commands = vec!["ext4ls virtio 0 /".to_owned()];
    for (file, bytes) in &loads {
        commands.push("mw.b 41000000 0 80000".into());
        let (name, range) = match file.strip_prefix("/large") {
            Some(range) => ("/large", range),
            None => (file.as_str(), ""),
        };
        commands.push(format!("ext4load virtio 0 41000000 {name}{range}"));
        commands.push(format!("crc32 41000000 {:x}", bytes.len()));
    }
    let output = u_boot(firmware, &path, &commands);
    for (file, bytes) in &loads {
        let expected = format!("==> {:08x}", crc32(bytes));
        assert!(output.contains(&expected), "{file}: {expected} is not in {output}");
    }
    assert!(output.contains("lost+found") && !output.contains("Error"), "{output}");
}

/// A tree that only `seed` decides.
fn random_tree(seed: u64) -> Tree {
    let mut tree = empty();
    let (mut dirs, mut files) = (vec![Tree::ROOT], Vec::new());
    let dice: Vec<u64> =
        noise(8 * 3000, seed).chunks(8).map(|b| u64::from_le_bytes(b.try_into().expect("8 bytes"))).collect();
    let mut dice = dice.into_iter();
    let mut roll = |sides: u64| dice.next().expect("enough dice") % sides;
    for n in 0..300 + roll(200) {
        let parent = dirs[roll(dirs.len() as u64) as usize];
        let name = format!("{n}-{}", "x".repeat(roll(240) as usize));
        match roll(10) {
            0 => dirs.push(dir(&mut tree, parent, &name)),
            1 => {
                let target = vec![b't'; 1 + roll(200) as usize].into();
                tree.insert(parent, name.as_bytes(), Node::new(stat(0o777), Body::Symlink(target)));
            }
            2 if !files.is_empty() => {
                let id = files[roll(files.len() as u64) as usize];
                tree.link(parent, name.as_bytes(), id);
            }
            _ => {
                let bits = roll(20);
                let size = roll(1 << bits);
                let id = file(&mut tree, parent, &name, noise(size as usize, n));
                if roll(4) == 0 {
                    let key = format!("user.{}", "k".repeat(1 + roll(50) as usize));
                    tree.node_mut(id)
                        .xattrs
                        .insert(key.as_bytes().into(), noise(roll(800) as usize, n).into());
                }
                files.push(id);
            }
        }
    }
    tree
}

#[test]
fn random_trees_at_their_minimum_size() {
    let test = "random_trees_at_their_minimum_size";
    let temp = tempfile::tempdir().expect("temporary directory");
    let (path, at) = (temp.path().join("image"), temp.path().join("at"));
    let can_mount = can_mount(test);
    for seed in 1..=12 {
        let tree = random_tree(seed);
        let options = Options { bytes_per_inode: 1024 << (seed % 6), grow_to: seed << 34, ..options() };
        let len = ext4::minimum_size(&tree, &options).expect("possible");
        let written = compose(&tree, &options, &Watched::create_used(&path, len));
        let reader = Reader::open(std::fs::File::open(&path).expect("open"), 0).expect("ext4");
        assert_eq!(reader.check_files(&written.files).expect("readable"), []);
        if oracle(test, "e2fsck") {
            assert_clean(&path);
        }
        if can_mount {
            let mounted = mount(&path, &at, "ro");
            assert_same(&tree, mounted.path(), "lost+found");
            mounted.unmount();
        }
    }
}
