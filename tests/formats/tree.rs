//! Trees against the tools that made them: directories and archives as the kernel and GNU tar write them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::harness::dump::dump;
use crate::harness::privilege;
use crate::harness::project::PROGRAM;
use crate::harness::tools::{command, oracle};
use skiff_image::error::Diagnostic;
use skiff_image::tree::archive::read_archive;
use skiff_image::tree::scan::{HardLinks, HostXattrs, Ownership, ScanOptions, scan};
use skiff_image::tree::{Body, Tree};

fn run(command: &mut Command) {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Every kind of node, names of any bytes, long names, hard links, attributes with newlines, times before 1970.
fn fill(root: &Path) {
    let deep = root.join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(200)), b"deep").unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    fs::write(root.join("big"), vec![7; 70_000]).unwrap();
    fs::set_permissions(root.join("big"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not\xfftext\nwith newline")), b"x").unwrap();
    fs::hard_link(root.join("big"), root.join("a-link")).unwrap();
    symlink("l".repeat(150), root.join("long-link")).unwrap();
    symlink(OsStr::from_bytes(b"\xfe"), root.join("odd-link")).unwrap();
    run(Command::new("mkfifo").arg(root.join("fifo")));
    run(Command::new("touch").args(["-d", "1960-01-01 00:00:00.5 UTC"]).arg(root.join("empty")));
    run(Command::new("touch").args(["-h", "-d", "2020-01-01 UTC"]).arg(root.join("long-link")));
    let root_user = privilege::root("device nodes, owners and attributes of root");
    if root_user {
        run(Command::new("mknod").arg(root.join("console")).args(["c", "5", "1"]));
        run(Command::new("mknod").arg(root.join("disk")).args(["b", "259", "70000"]));
        run(Command::new("chown").arg("3000000:70").arg(root.join("empty")));
        run(Command::new("chown").args(["-h", "12:34"]).arg(root.join("odd-link")));
    }
    if oracle("attributes", "setfattr") {
        run(command("setfattr").args(["-n", "user.note", "-v", "0x0a0a00ff"]).arg(root.join("big")));
        if root_user {
            run(command("setfattr").args(["-n", "trusted.t", "-v", "1"]).arg(root.join("fifo")));
        }
    }
    if root_user && oracle("capabilities", "setcap") {
        // Bits 1 and 3 make the first byte of the set a newline.
        run(command("setcap").arg("cap_dac_override,cap_fowner+ep").arg(root.join("empty")));
    }
}

fn scanned(root: &Path) -> Tree {
    let options = ScanOptions {
        ownership: Ownership::Keep,
        xattrs: HostXattrs::Keep,
        hard_links: HardLinks::Keep,
        exclude: &|_| false,
    };
    scan(root, &options).unwrap()
}

#[test]
fn an_archive_of_gnu_tar_is_the_directory_it_was_made_of() {
    if !oracle("an_archive_of_gnu_tar_is_the_directory_it_was_made_of", "tar") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    fill(&root);
    let expected = dump(&scanned(&root));
    assert!(expected.iter().any(|line| line.contains(" = /a-link ")), "{expected:#?}");
    let archive = dir.path().join("rootfs.tar");
    run(command("tar")
        .args(["--format=posix", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--sort=name"])
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(&root)
        .arg("."));
    assert_eq!(dump(&read_archive(&archive).unwrap()), expected);
}

#[test]
fn the_gnu_format_with_its_long_names_is_read_too() {
    if !oracle("the_gnu_format_with_its_long_names_is_read_too", "tar") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("n".repeat(150))).unwrap();
    fs::write(root.join("n".repeat(150)).join("x"), b"1").unwrap();
    symlink("l".repeat(150), root.join("long-link")).unwrap();
    let archive = dir.path().join("rootfs.tar");
    run(command("tar")
        .args(["--format=gnu", "--numeric-owner", "--sort=name"])
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(&root)
        .arg("."));
    assert_eq!(dump(&read_archive(&archive).unwrap()), dump(&scanned(&root)));
}

/// A file with data at the start of every 64 KiB, its last in the middle.
fn with_holes(path: &Path, pieces: u64) {
    let file = fs::File::create(path).unwrap();
    for piece in 0..pieces {
        file.write_all_at(&[piece as u8 + 1; 512], piece << 16).unwrap();
    }
    file.set_len((pieces << 16) - 100).unwrap();
}

#[test]
fn sparse_members_of_gnu_tar_keep_their_holes() {
    if !oracle("sparse_members_of_gnu_tar_keep_their_holes", "tar") {
        return;
    }
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    // As many as fit a header, one more, and more than fit the first block behind it.
    for (name, pieces) in [("few", 3), ("more", 5), ("many", 40)] {
        with_holes(&root.join(name), pieces);
    }
    fs::File::create(root.join("hole")).unwrap().set_len(1 << 20).unwrap();
    let expected = dump(&scanned(&root));
    let archive = dir.path().join("rootfs.tar");
    let formats: [&[&str]; 4] = [
        &["--format=gnu"],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ];
    for format in formats {
        let make = ["--sparse", "--hole-detection=raw", "--sort=name", "-cf"];
        run(command("tar").args(format).args(make).arg(&archive).arg("-C").arg(&root).arg("."));
        let tree = read_archive(&archive).unwrap();
        assert_eq!(dump(&tree), expected, "{format:?}");
        let Body::File(many) = &tree.node(tree.get("many").unwrap()).body else { panic!("a file") };
        let opened = many.open().unwrap();
        let second = opened.next_data(4096).unwrap().expect("there is more");
        assert_eq!(second.start, 1 << 16, "{format:?}: what is not stored is a hole");
    }
}

#[test]
fn a_path_of_thousands_of_levels_takes_little_memory() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let archive = dir.path().join("deep.tar");
    let mut builder = tar::Builder::new(fs::File::create(&archive).unwrap());
    let path = [vec!["dir"; 20_000], vec!["f"]].concat().join("/");
    builder.append_pax_extensions([("path", path.as_bytes())]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(1);
    builder.append_data(&mut header, "f", &b"1"[..]).unwrap();
    builder.finish().unwrap();
    // All paths of the tree are 800 MB.
    let limited = "ulimit -v 600000 && exec \"$0\" \"$@\"";
    for kind in [&["ext4"][..], &["squashfs", "--cache", "off", "--threads", "1"]] {
        let out = dir.path().join(kind[0]);
        run(Command::new("sh").args(["-c", limited, PROGRAM, "mkfs"]).args(kind).arg(&archive).arg(out));
    }
}

#[test]
fn an_archive_cut_anywhere_is_an_error() {
    if !oracle("an_archive_cut_anywhere_is_an_error", "tar") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/a"), vec![1; 1500]).unwrap();
    fs::write(root.join("n".repeat(150)), b"1").unwrap();
    let archive = dir.path().join("rootfs.tar");
    run(command("tar")
        .args(["--format=posix", "-b", "1"])
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(&root)
        .arg("."));
    let whole = fs::read(&archive).unwrap();
    let end = whole.len() - 1024;
    for len in (0..=end).step_by(128).chain([end + 100]) {
        fs::write(&archive, &whole[..len]).unwrap();
        read_archive(&archive).expect_err(&format!("cut at {len} of {}", whole.len()));
    }
}

#[test]
fn contents_of_a_scan_are_read_from_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x"), b"hello").unwrap();
    let tree = scanned(dir.path());
    let Body::File(content) = &tree.node(tree.get("x").unwrap()).body else { panic!("a file") };
    assert_eq!(content.read_all().unwrap(), b"hello");
}

/// Set in the process that runs a test again as an unprivileged user.
const UNPRIVILEGED: &str = "SKIFF_TEST_UNPRIVILEGED_DIR";

#[test]
fn what_an_unprivileged_user_may_not_read_is_told() {
    if let Some(dir) = std::env::var_os(UNPRIVILEGED) {
        return expect_unreadable(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["file", "dir"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("file/secret"), b"x").unwrap();
    fs::create_dir(dir.path().join("dir/closed")).unwrap();
    for closed in ["file/secret", "dir/closed"] {
        fs::set_permissions(dir.path().join(closed), fs::Permissions::from_mode(0o000)).unwrap();
    }
    if !rustix::process::geteuid().is_root() {
        return expect_unreadable(dir.path());
    }
    // The test binary may be where nobody else can go, so a copy of it is run.
    let copy = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let mut again = Command::new(copy);
    again
        .args(["--exact", "tree::what_an_unprivileged_user_may_not_read_is_told"])
        .env(UNPRIVILEGED, dir.path());
    let output = again.current_dir("/").uid(65_534).gid(65_534).output().expect("the copy starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

fn expect_unreadable(dir: &Path) {
    let tree = scanned(&dir.join("file"));
    let Body::File(content) = &tree.node(tree.get("secret").unwrap()).body else { panic!("a file") };
    let (error, path) = (content.read_all().unwrap_err(), dir.join("file/secret"));
    let denied = "Permission denied (os error 13)";
    assert_eq!(error.to_string(), format!("cannot open `{}`: {denied}", path.display()));
    assert_eq!(error.hint().unwrap(), format!("make it readable: chmod u+r `{}`", path.display()));
    let options = ScanOptions {
        ownership: Ownership::Keep,
        xattrs: HostXattrs::Ignore,
        hard_links: HardLinks::Keep,
        exclude: &|_| false,
    };
    let (error, path) = (scan(&dir.join("dir"), &options).unwrap_err(), dir.join("dir/closed"));
    assert_eq!(error.to_string(), format!("cannot list `{}`: {denied}", path.display()));
    assert_eq!(
        error.hint().unwrap(),
        format!("give the user that runs this command access to `{}`", path.display())
    );
}
