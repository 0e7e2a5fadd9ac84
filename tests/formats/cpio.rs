//! cpio archives and compressed streams against GNU cpio, lz4, zstd, xz and gzip.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use crate::harness::tools::{command, oracle};
use skiff_image::fs::compress::Compression;
use skiff_image::fs::{Damage, Problem, cpio};
use skiff_image::storage::{Memory, Region};
use skiff_image::tree::{Body, Content, Device, Node, NodeId, Stat, Tree};

const TIME: i64 = 1_709_210_096;
const STAT: Stat = Stat { mode: 0o644, uid: 0, gid: 0, mtime: TIME };

fn add(tree: &mut Tree, dir: NodeId, name: &str, mode: u32, body: Body) -> NodeId {
    tree.insert(dir, name.as_bytes(), Node::new(Stat { mode, ..STAT }, body))
}

fn dir() -> Body {
    Body::Dir(BTreeMap::new())
}

fn file(bytes: &[u8]) -> Body {
    Body::File(Content::bytes(bytes))
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// All kinds of nodes, odd modes and owners, hard links across directories, names that sort in surprising ways.
fn root_tree() -> Tree {
    let mut tree = Tree::new(Stat { mode: 0o755, ..STAT });
    let bin = add(&mut tree, Tree::ROOT, "bin", 0o755, dir());
    add(&mut tree, Tree::ROOT, "bin-extra", 0o700, dir());
    let busybox = add(&mut tree, bin, "busybox", 0o4755, file(&noise(300_001)));
    tree.link(bin, b"ash", busybox);
    tree.link(Tree::ROOT, b"init", busybox);
    add(&mut tree, bin, "sh", 0o777, Body::Symlink(b"busybox".as_slice().into()));
    let dev = add(&mut tree, Tree::ROOT, "dev", 0o755, dir());
    add(&mut tree, dev, "console", 0o622, Body::Char(Device { major: 5, minor: 1 }));
    add(&mut tree, dev, "loop0", 0o660, Body::Block(Device { major: 7, minor: 300 }));
    add(&mut tree, dev, "initctl", 0o600, Body::Fifo);
    let etc = add(&mut tree, Tree::ROOT, "etc", 0o755, dir());
    add(&mut tree, etc, "shadow", 0o600, file(b"root::::::::\n"));
    add(&mut tree, etc, "empty", 0o644, file(b""));
    let owned = add(&mut tree, etc, "owned", 0o2750, dir());
    tree.node_mut(owned).stat = Stat { mode: 0o2750, uid: 1000, gid: 70_000, mtime: 1_000_000_000 };
    let text = "a line that compresses well\n".repeat(50_000);
    add(&mut tree, Tree::ROOT, "größe.txt", 0o444, file(text.as_bytes()));
    tree
}

fn archive(tree: &Tree, compression: Compression) -> (Vec<u8>, cpio::Written) {
    let mut bytes = Vec::new();
    let layout = cpio::layout(tree).expect("layout");
    let written = cpio::write(&layout, compression, &mut bytes).expect("write");
    assert_eq!((written.len, written.plain_len), (bytes.len() as u64, layout.len()));
    (bytes, written)
}

/// Runs a tool with bytes on its standard input; it must succeed.
fn pipe(tool: &str, args: &[&str], input: &[u8], dir: &Path) -> Vec<u8> {
    let mut child = command(tool)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tool");
    let mut stdin = child.stdin.take().expect("stdin");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("output")
    });
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {}\n{talk}", output.status);
    output.stdout
}

/// Whether this user can make devices and give files away.
fn root(test: &str) -> bool {
    let is_root = std::fs::metadata("/proc/self").expect("proc").uid() == 0;
    if !is_root {
        assert!(std::env::var_os("CI").is_none(), "{test}: needs root");
        eprintln!("skipped: {test}: needs root");
    }
    is_root
}

/// The tree, unpacked by GNU cpio from our archive.
fn unpack(tree: &Tree) -> tempfile::TempDir {
    let out = tempfile::tempdir().expect("directory");
    let (bytes, _) = archive(tree, Compression::None);
    pipe("cpio", &["-idm", "--quiet", "--numeric-uid-gid"], &bytes, out.path());
    // cpio loses the times of links, and of directories that get hard links later.
    for (path, id) in tree.walk() {
        let (name, time) = (String::from_utf8_lossy(&path), tree.node(id).stat.mtime);
        pipe("touch", &["-h", "-d", &format!("@{time}"), &format!("./{name}")], &[], out.path());
    }
    out
}

#[test]
fn gnu_cpio_unpacks_what_the_tree_says() {
    let test = "gnu_cpio_unpacks_what_the_tree_says";
    if !oracle(test, "cpio") || !root(test) {
        return;
    }
    let tree = root_tree();
    let out = unpack(&tree);
    let links = tree.link_counts();
    for (path, id) in tree.walk() {
        let node = tree.node(id);
        let host = out.path().join(std::str::from_utf8(&path).expect("UTF-8"));
        let found = host.symlink_metadata().expect("unpacked");
        let (stat, bits) = (node.stat, node.body.file_type_bits());
        assert_eq!(found.mode(), bits | stat.mode, "{host:?}");
        assert_eq!((found.uid(), found.gid()), (stat.uid, stat.gid), "{host:?}");
        assert_eq!(found.mtime(), stat.mtime, "{host:?}");
        match &node.body {
            Body::File(content) => {
                assert_eq!(std::fs::read(&host).expect("read"), content.read_all().expect("read"));
                assert_eq!(found.nlink(), u64::from(links[id.index()]), "{host:?}");
            }
            Body::Symlink(target) => {
                assert_eq!(
                    std::fs::read_link(&host).expect("link").as_os_str().as_encoded_bytes(),
                    &**target
                );
            }
            Body::Char(device) | Body::Block(device) => {
                let number = rustix::fs::makedev(device.major, device.minor);
                assert_eq!(found.rdev(), number, "{host:?}");
            }
            _ => {}
        }
    }
    assert_eq!(out.path().metadata().expect("root").permissions().mode() & 0o7777, 0o755);
}

#[test]
fn bytes_are_those_of_gnu_cpio_as_buildroot_calls_it() {
    let test = "bytes_are_those_of_gnu_cpio_as_buildroot_calls_it";
    if !oracle(test, "cpio") || !root(test) {
        return;
    }
    let tree = root_tree();
    let out = unpack(&tree);
    let script = "find . | LC_ALL=C sort | cpio --reproducible --quiet -o -H newc";
    let theirs = pipe("sh", &["-c", script], &[], out.path());
    let (ours, _) = archive(&tree, Compression::None);
    assert_eq!(ours.len(), theirs.len());
    let differs = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    assert_eq!(
        differs,
        None,
        "{:?}",
        differs.map(|at| String::from_utf8_lossy(&theirs[at.saturating_sub(60)..at + 80]))
    );
}

#[test]
fn each_compression_is_read_by_its_tool_and_by_us() {
    let test = "each_compression_is_read_by_its_tool_and_by_us";
    let tree = root_tree();
    let here = Path::new(".");
    let (plain, _) = archive(&tree, Compression::None);
    for (text, tool) in [("gzip:9", "gzip"), ("zstd:3", "zstd"), ("xz:1", "xz"), ("lz4:9", "lz4")] {
        let compression: Compression = text.parse().expect("valid");
        let (bytes, written) = archive(&tree, compression);
        if oracle(test, tool) {
            assert!(pipe(tool, &["-dc"], &bytes, here) == plain, "{text}");
            pipe(tool, &["-t"], &bytes, here);
        }
        let read = cpio::read(bytes.as_slice()).expect("read");
        assert_eq!(read.compression, tool);
        assert_eq!(read.check_files(&written.files), []);
        assert_eq!(read.files(), written.files);
        // The same bytes with one thread as with many.
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("pool");
        assert!(one.install(|| archive(&tree, compression)).0 == bytes, "{text}");
    }
}

#[test]
fn xz_has_the_check_that_linux_knows() {
    let test = "xz_has_the_check_that_linux_knows";
    let (bytes, _) = archive(&root_tree(), Compression::Xz(6));
    if !oracle(test, "xz") {
        return;
    }
    let file = tempfile::Builder::new().suffix(".xz").tempfile().expect("file");
    std::fs::write(file.path(), bytes).expect("write");
    let list = command("xz").arg("--list").arg(file.path()).output().expect("xz");
    assert!(String::from_utf8_lossy(&list.stdout).contains("CRC32"), "{list:?}");
}

#[test]
fn lz4_bytes_are_those_of_the_lz4_command() {
    let test = "lz4_bytes_are_those_of_the_lz4_command";
    if !oracle(test, "lz4") {
        return;
    }
    // Three blocks, the last one short; text-like enough to exercise the matcher.
    let mut tree = root_tree();
    let seed = noise(1 << 16);
    let mixed: Vec<u8> = (0..18_000_000usize).map(|i| seed[(i * i / 977 + i / 13) % 4096] & 0x3F).collect();
    add(&mut tree, Tree::ROOT, "mixed", 0o644, file(&mixed));
    let (plain, _) = archive(&tree, Compression::None);
    for level in [1, 9, 12] {
        let (ours, _) = archive(&tree, Compression::Lz4(level));
        let theirs = pipe("lz4", &["-l", &format!("-{level}"), "-c"], &plain, Path::new("."));
        assert!(ours == theirs, "level {level}: {} and {} bytes", ours.len(), theirs.len());
    }
}

#[test]
fn an_archive_goes_into_a_region_and_damages_are_named() {
    let tree = root_tree();
    let disk = Memory::new(4 << 20);
    let region = Region::whole(&disk, "initramfs");
    let mut writer = region.writer(0);
    let layout = cpio::layout(&tree).expect("layout");
    let written = cpio::write(&layout, Compression::None, &mut writer).expect("write");
    assert_eq!(writer.finish().expect("finish"), written.len);
    let mut bytes = disk.to_vec();
    let at = bytes.windows(6).position(|w| w == b"root::").expect("shadow");
    bytes[at] = b'x';
    let mut expected = written.files.clone();
    expected[0].size += 1;
    expected[1].path = "/gone".into();
    let names: Vec<_> = written.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["/etc/empty", "/etc/shadow", "/größe.txt", "/bin/busybox", "/bin/ash", "/init"]);
    let damage = |path: &str, problem| Damage { path: path.into(), problem };
    let archive = cpio::read(bytes.as_slice()).expect("read");
    assert_eq!(
        archive.check_files(&expected),
        [damage("/etc/empty", Problem::Size { expected: 1, found: 0 }), damage("/gone", Problem::Missing)]
    );
    assert_eq!(archive.check_files(&written.files), [damage("/etc/shadow", Problem::Content)]);
}

#[test]
fn an_output_that_fails_is_told() {
    let tree = root_tree();
    let layout = cpio::layout(&tree).expect("layout");
    let mut small = [0; 100];
    let error = cpio::write(&layout, Compression::None, &mut small.as_mut_slice()).unwrap_err();
    assert_eq!(error.to_string(), "cannot write the archive: failed to write whole buffer");
}

#[test]
fn dropped_attributes_are_told() {
    let mut tree = root_tree();
    let id = tree.get("bin/busybox").expect("there");
    tree.node_mut(id).xattrs.insert(b"security.capability".as_slice().into(), b"x".as_slice().into());
    let layout = cpio::layout(&tree).expect("layout");
    let told: Vec<_> = layout.dropped().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["`/bin/ash` loses the attribute `security.capability`"]);
}

#[test]
fn damaged_archives_end_in_errors() {
    for text in ["none", "gzip:1", "zstd:1", "xz:0", "lz4:1"] {
        let (good, _) = archive(&root_tree(), text.parse().expect("valid"));
        let mut state = 1u64;
        for _ in 0..200 {
            let mut bytes = good.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 20) as usize % bytes.len().min(4000);
                bytes[at] = (state >> 50) as u8;
            }
            bytes.truncate((state >> 30) as usize % bytes.len().min(20_000) + 1);
            let _ = cpio::read(bytes.as_slice());
        }
    }
}
