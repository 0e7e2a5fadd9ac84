//! Sources that are large, odd, or change while they are read: what comes out is right, or nothing does and the
//! message names the file.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Cursor;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::harness::privilege;
use crate::harness::project::{PROGRAM, Project, expect_failure, run, succeed};
use crate::harness::squashfs::{add, image, options, set_xattr};
use crate::harness::tools;
use crate::harness::tools::{command, oracle};
use crate::harness::trees::{Mounted, Random, dir, file, stat};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use skiff_image::fs::Lost;
use skiff_image::fs::squashfs::{self, Options, Resources};
use skiff_image::storage::{Memory, Region};
use skiff_image::tree::scan::{HardLinks, HostXattrs, Ownership, ScanOptions, scan};
use skiff_image::tree::{Node, Tree};
use skiff_image::value::Digest;

/// A directory with small files, large files, and two equal large ones, which are found before others are read.
fn source() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut random = Random(21);
    for (name, len) in [("small", 700), ("other", 900), ("large", 700_000), ("larger", 3 << 20)] {
        fs::write(directory.path().join(name), random.noise(len)).expect("a file");
    }
    let twin = random.noise(400_000);
    for name in ["twin1", "twin2"] {
        fs::write(directory.path().join(name), &twin).expect("a file");
    }
    directory
}

fn scanned(root: &Path) -> Tree {
    let (ownership, xattrs, hard_links) = (Ownership::Root, HostXattrs::Keep, HardLinks::Keep);
    scan(root, &ScanOptions { ownership, xattrs, hard_links, exclude: &|_| false }).expect("a tree")
}

/// What writing a squashfs of a tree says, with the names of files as below `root`.
fn told(tree: &Tree, root: &Path) -> String {
    let layout = squashfs::layout(tree, &options("lz4")).expect("a layout");
    let memory = Memory::new(layout.size_bound());
    let resources = Resources { threads: 2, ..Resources::default() };
    let error =
        squashfs::write(&layout, &Region::whole(&memory, "rootfs"), &resources).expect_err("it changed");
    error.to_string().replace(root.to_str().expect("UTF-8"), "")
}

/// Fails the test when `work` waits for something that never comes.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(600)).expect("it comes back")
}

#[test]
fn a_file_that_changed_after_the_scan_is_named_whatever_became_of_it() {
    type Change = fn(&Path);
    let replaced: [(Change, &str); 5] = [
        (|path| fs::create_dir(path).expect("a directory"), "a directory"),
        (|path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("a fifo"), "a named pipe"),
        (|path| drop(std::os::unix::net::UnixListener::bind(path).expect("a socket")), "a socket"),
        (|path| std::os::unix::fs::symlink("/dev/zero", path).expect("a link"), "a device"),
        (|path| std::os::unix::fs::symlink(".", path).expect("a link"), "a directory"),
    ];
    in_time(move || {
        for name in ["small", "large", "twin1"] {
            let expect = |change: &dyn Fn(&Path), message: String| {
                let directory = source();
                let tree = scanned(directory.path());
                change(&directory.path().join(name));
                assert_eq!(told(&tree, directory.path()), message);
            };
            let len = source().path().join(name).metadata().expect("metadata").len();
            let lengths = |now: u64| {
                format!(
                    "`/{name}` changed while it was read: {len} bytes were there when it was scanned, {now} now"
                )
            };
            let set_len = |len: u64| {
                move |path: &Path| {
                    File::options().write(true).open(path).and_then(|f| f.set_len(len)).expect("truncate")
                }
            };
            expect(&set_len(len + 1), lengths(len + 1));
            expect(&set_len(len - 1), lengths(len - 1));
            expect(&set_len(0), lengths(0));
            let same = format!(
                "`/{name}` changed while it was read: it has the same length, but was written or replaced after it \
                 was scanned"
            );
            let rewrite = |path: &Path| {
                let file = File::options().write(true).open(path).expect("a file");
                file.write_all_at(b"!", len / 2).expect("write");
            };
            expect(&rewrite, same.clone());
            let replace = |path: &Path| {
                let bytes = vec![7; len as usize];
                fs::write(path.with_extension("new"), bytes).expect("write");
                fs::rename(path.with_extension("new"), path).expect("rename");
            };
            expect(&replace, same.clone());
            expect(
                &|path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod"),
                same,
            );
            let gone = format!("cannot open `/{name}`: No such file or directory (os error 2)");
            expect(&|path| fs::remove_file(path).expect("remove"), gone);
            for (make, what) in replaced {
                let change = |path: &Path| {
                    fs::remove_file(path).expect("remove");
                    make(path);
                };
                expect(&change, format!("`/{name}` was a file when it was scanned and is {what} now"));
            }
        }
    });
}

/// Rewrites a file over and over, each time all of it with one letter, until it is dropped.
struct Restless {
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Restless {
    fn new(path: PathBuf, change: impl Fn(&File, u8) + Send + 'static) -> Restless {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let file = File::options().write(true).open(path).expect("a file");
        let thread = std::thread::spawn(move || {
            for letter in (b'a'..=b'z').cycle() {
                change(&file, letter);
                if seen.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        Restless { stop, thread: Some(thread) }
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().expect("a thread").join().expect("it ends");
    }
}

const RESTLESS_LEN: usize = 4 << 20;

/// The file may be read between two changes; then it is one of the letters and nothing else.
#[test]
fn a_file_that_changes_while_it_is_read_is_whole_or_named() {
    let directory = source();
    let path = directory.path().join("restless");
    fs::write(&path, vec![b'z'; RESTLESS_LEN]).expect("a file");
    let letters: Vec<Digest> = (b'a'..=b'z').map(|letter| Digest::of(&vec![letter; RESTLESS_LEN])).collect();
    let _writer = Restless::new(path, |file, letter| {
        file.write_all_at(&vec![letter; RESTLESS_LEN], 0).expect("write");
        std::thread::sleep(Duration::from_millis(10 * u64::from(letter % 4)));
    });
    let mut named = 0;
    // As often as it takes until one of them was caught, on a busy machine.
    for round in 0..3000 {
        if round >= 30 && named > 0 {
            break;
        }
        let tree = scanned(directory.path());
        let layout = squashfs::layout(&tree, &options("lz4")).expect("a layout");
        let memory = Memory::new(layout.size_bound());
        let resources = Resources { threads: 2, ..Resources::default() };
        match squashfs::write(&layout, &Region::whole(&memory, "rootfs"), &resources) {
            Err(error) => {
                assert!(error.to_string().contains("/restless` changed while it was read"), "{error}");
                named += 1;
            }
            Ok(_) => {
                let (listed, _) = squashfs::list(Cursor::new(memory.to_vec())).expect("an image");
                let file = listed.iter().find(|node| node.path == "/restless").expect("the file");
                assert!(letters.contains(&file.blake3.expect("readable")), "a torn file was shipped");
            }
        }
    }
    assert!(named > 0, "readings of a file that always changes");
}

#[test]
fn no_image_is_left_of_a_source_that_changes() {
    type Change = fn(&File, u8);
    let changes: [Change; 3] = [
        |file, letter| file.write_all_at(&vec![letter; RESTLESS_LEN], 0).expect("write"),
        |file, letter| file.set_len((RESTLESS_LEN + usize::from(letter)) as u64).expect("grow"),
        |file, letter| file.set_len((RESTLESS_LEN - usize::from(letter)) as u64).expect("shrink"),
    ];
    for change in changes {
        let project = Project::new();
        project.write("source/restless", vec![b'z'; RESTLESS_LEN]);
        let _writer = Restless::new(project.path("source/restless"), change);
        let mkfs = &mut project.command(&["mkfs", "squashfs", "source", "out/fs", "--comp", "zstd:3"]);
        let (stdout, stderr, code) = run(mkfs);
        assert_eq!((stdout.as_str(), code), ("", 1), "{stderr}");
        assert!(stderr.starts_with("error: `source/restless` changed while it was read: "), "{stderr}");
        assert!(stderr.ends_with("hint: wait until the build that writes the tree has ended\n"), "{stderr}");
        assert_eq!(project.listing("out"), BTreeMap::new(), "nothing is left");
    }
}

/// Whoever is not root; root reads everything.
fn as_nobody(project: &Project, args: &[&str]) -> Command {
    fs::set_permissions(project.path(""), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::set_permissions(project.path("out"), fs::Permissions::from_mode(0o777)).expect("chmod");
    if !rustix::process::geteuid().is_root() {
        return project.command(args);
    }
    // The program may be where nobody else can go, so a copy of it is run.
    fs::copy(PROGRAM, project.path("program")).expect("a copy");
    let mut command = Command::new(project.path("program"));
    command.args(args).current_dir(project.path("")).env_clear().uid(65_534).gid(65_534);
    command
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_no_image_is_left() {
    let project = Project::new();
    project.write("source/a", "readable");
    project.write("source/secret", "secret");
    fs::set_permissions(project.path("source/secret"), fs::Permissions::from_mode(0o000)).expect("chmod");
    expect_failure(
        &mut as_nobody(&project, &["mkfs", "squashfs", "source", "out/fs"]),
        1,
        "error: cannot open `source/secret`: Permission denied (os error 13)\n\
         hint: make it readable: chmod u+r `source/secret`",
    );
    assert_eq!(project.listing("out"), BTreeMap::new(), "nothing is left");
}

#[test]
fn a_directory_of_70000_names_is_read_by_everybody() {
    let test = "a_directory_of_70000_names_is_read_by_everybody";
    const COUNT: usize = 70_000;
    let mut tree = Tree::new(stat(0o755));
    add(&mut tree, "dir", dir());
    let parent = tree.get("dir").expect("dir");
    let name = |number: usize| format!("an entry with a name of some length {number:05}");
    for number in 0..COUNT {
        tree.insert(parent, name(number).as_bytes(), Node::new(stat(0o644), file("")));
    }
    let layout = squashfs::layout(&tree, &options("zstd:1")).expect("a layout");
    let memory = Memory::new(layout.size_bound());
    let resources = Resources { threads: 2, verify: true, ..Resources::default() };
    let written = squashfs::write(&layout, &Region::whole(&memory, "rootfs"), &resources).expect("proven");
    assert_eq!(written.files.len(), COUNT);
    let image = tempfile::NamedTempFile::new().expect("a file");
    let bytes = memory.to_vec();
    fs::write(image.path(), &bytes[..written.len as usize]).expect("write");
    let expected: BTreeSet<String> = (0..COUNT).map(name).collect();
    if let Some(mounted) = Mounted::new(test, "squashfs", image.path()) {
        let names = fs::read_dir(mounted.path().join("dir")).expect("a directory");
        let names = names.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
        assert!(names.collect::<BTreeSet<_>>() == expected);
        // Found by the index of the directory.
        for number in (0..COUNT).step_by(97).chain([COUNT - 1]) {
            let found =
                mounted.path().join("dir").join(name(number)).symlink_metadata().expect("it is found");
            assert!(found.is_file());
        }
        for absent in ["a", "an entry with a name of some length 34999a", "z"] {
            assert!(mounted.path().join("dir").join(absent).symlink_metadata().is_err());
        }
    }
    if oracle(test, "unsquashfs") {
        let output = command("unsquashfs").arg("-ls").arg(image.path()).output().expect("unsquashfs runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let names = text.lines().filter_map(|line| line.strip_prefix("squashfs-root/dir/"));
        assert!(names.map(str::to_owned).collect::<BTreeSet<_>>() == expected);
    }
}

#[test]
fn names_of_255_bytes_are_kept_and_longer_ones_refused() {
    let project = Project::new();
    let long = "n".repeat(255);
    project.write(&format!("source/{long}/{long}"), "found");
    let mkfs = ["mkfs", "squashfs", "source", "out/fs", "--verify-output"];
    succeed(&mut project.command(&mkfs));
    let (listed, damages) =
        squashfs::list(File::open(project.path("out/fs")).expect("an image")).expect("readable");
    assert_eq!((listed[2].path.clone(), damages), (format!("/{long}/{long}"), Vec::new()));
    if let Some(mounted) = Mounted::new("names_of_255_bytes", "squashfs", &project.path("out/fs")) {
        assert_eq!(fs::read(mounted.path().join(&long).join(&long)).expect("readable"), b"found");
    }
    let mut tree = Tree::new(stat(0o755));
    tree.insert(Tree::ROOT, &[b'n'; 256], Node::new(stat(0o644), file("")));
    let error = squashfs::layout(&tree, &options("lz4")).expect_err("it is refused").to_string();
    assert_eq!(error, format!("the name of `/{long}n` has 256 bytes, Linux opens names of 255 at most"));
}

/// A small filesystem that ends with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: &Path, size: &str) -> SmallDisk {
        fs::create_dir_all(at).expect("a mount point");
        let size = format!("size={size}");
        let mounted = command("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at).status();
        assert!(mounted.is_ok_and(|status| status.success()), "a tmpfs can be mounted");
        SmallDisk(at.into())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        assert!(tools::unmount(&self.0) || std::thread::panicking(), "umount");
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    if !privilege::root("a_full_disk_is_told_and_nothing_is_left") {
        return;
    }
    let project = Project::new();
    project.write("source/noise", Random(8).noise(6 << 20));
    let _disk = SmallDisk::new(&project.path("small"), "3m");
    expect_failure(
        &mut project.command(&["mkfs", "squashfs", "source", "small/fs", "--verify-output"]),
        1,
        "error: cannot write 1 MiB at offset 3145728 of `small/fs`: No space left on device (os error 28)\n\
         hint: free space on the filesystem of `small/fs`, or write to another one",
    );
    assert_eq!(project.listing("small"), BTreeMap::new(), "nothing is left");
    // The place for temporary files is full: the modules are composed there.
    project.write("output/target/usr/lib/modules/6.1.0/noise.ko", Random(9).noise(6 << 20));
    let (_, stderr, code) = run(project.assemble(&["--quiet"]).env("TMPDIR", project.path("small")));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("of `temporary file`: No space left on device (os error 28)"), "{stderr}");
    assert_eq!(project.listing("small"), BTreeMap::new(), "nothing is left");
    assert_eq!(project.listing("out"), BTreeMap::new(), "nothing is left");
}

/// Where files cost no disk access, if there is such a place.
fn fast_directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    tempfile::tempdir_in(place).expect("a temporary directory")
}

/// Peak memory of the program in KiB, by GNU time; none where that is missing.
fn peak_kib(test: &str, args: &[&OsStr]) -> Option<u64> {
    oracle(test, "time").then(|| {
        let mut time = command("time");
        let output = time.args(["-f", "%M", "--quiet", PROGRAM]).args(args).output().expect("time runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        stderr.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number")
    })
}

const MEMORY_KIB: u64 = 256 << 10;

/// `mkfs squashfs --verify-output` of a directory stays within its memory.
#[track_caller]
fn expect_small(test: &str, source: &Path, out: &Path) {
    let flags = ["--comp", "zstd:1", "--verify-output", "--threads", "2"].map(OsStr::new);
    let words = [OsStr::new("mkfs"), OsStr::new("squashfs"), source.as_os_str(), out.as_os_str()];
    let Some(peak) = peak_kib(test, &[&words[..], &flags[..]].concat()) else { return };
    assert!(peak < MEMORY_KIB, "{peak} KiB of {MEMORY_KIB}");
}

#[test]
fn a_tree_of_200000_files_takes_less_than_256_mib() {
    let directory = fast_directory();
    for folder in 0..200 {
        let folder = directory.path().join(format!("tree/usr/share/package-{folder:03}"));
        fs::create_dir_all(&folder).expect("a directory");
        for number in 0..1000 {
            // Different from all others, so that none is the same as an earlier one.
            fs::write(folder.join(format!("file-number-{number:04}.txt")), format!("{folder:?}{number}"))
                .expect("write");
        }
    }
    let test = "a_tree_of_200000_files_takes_less_than_256_mib";
    expect_small(test, &directory.path().join("tree"), &directory.path().join("fs"));
}

#[test]
fn a_sparse_file_of_8_gib_takes_less_than_256_mib() {
    let directory = fast_directory();
    fs::create_dir(directory.path().join("tree")).expect("a directory");
    let sparse = File::create(directory.path().join("tree/sparse")).expect("a file");
    sparse.set_len(8 << 30).expect("sparse");
    sparse.write_all_at(b"in the middle", 5 << 30).expect("write");
    let test = "a_sparse_file_of_8_gib_takes_less_than_256_mib";
    expect_small(test, &directory.path().join("tree"), &directory.path().join("fs"));
}

#[test]
fn attributes_that_squashfs_cannot_hold_are_warned_of_by_name_or_refused() {
    let test = "attributes_that_squashfs_cannot_hold_are_warned_of_by_name_or_refused";
    let project = Project::new();
    project.write("source/file", "shared");
    project.write("source/dir/file", "shared");
    if oracle(test, "setfacl") {
        for name in ["source/file", "source/dir/file"] {
            let set = command("setfacl").args(["-m", "u:1234:r"]).arg(project.path(name)).output();
            let set = set.expect("setfacl runs");
            assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
        }
        let mkfs = ["mkfs", "squashfs", "source", "out/fs", "--verify-output", "--force"];
        let mode = std::fs::metadata(project.path("source/file")).expect("a file").mode() & 0o7777;
        let lost = |path: &str| {
            format!("`{path}` loses the attribute `system.posix_acl_access` and gets the mode {mode:04o}")
        };
        let (_, stderr) = succeed(&mut project.command(&mkfs));
        assert_eq!(stderr, format!("warning: {}\nwarning: {}\n", lost("/dir/file"), lost("/file")));
        project.remove("out/fs");
        expect_failure(
            &mut project.command(&[&mkfs[..], &["--strict"]].concat()),
            1,
            &format!(
                "error: 2 things would be left out of the image: {}; {}\n\
                 hint: remove it from the source, or compose without `--strict`",
                lost("/dir/file"),
                lost("/file")
            ),
        );
        assert_eq!(project.listing("out"), BTreeMap::new(), "nothing is left");
    }
    let mut tree = Tree::new(stat(0o755));
    add(&mut tree, "file", file("1"));
    set_xattr(&mut tree, "file", "system.posix_acl_access", b"no access list");
    set_xattr(&mut tree, "file", "user.kept", b"kept");
    // Nobody knows what the group of a broken list had.
    let lost: Vec<_> = squashfs::losses(&tree).into_iter().map(|loss| loss.what).collect();
    assert_eq!(lost, [Lost::AccessList { mode: 0o604 }]);
    let (bytes, written) = image(&tree, &Options { block_size: 4096, ..options("lz4") });
    assert_eq!(squashfs::check_files(Cursor::new(&bytes), &written.files).expect("readable"), []);
}
