//! tar archives, unpacked by GNU tar.

use std::fs::{self, File};
use std::io::{self, Write};

use crate::harness::privilege;
use crate::harness::squashfs::{add, zoo};
use crate::harness::tools::{command, oracle};
use crate::harness::trees::{differences, file};
use skiff_image::Error;
use skiff_image::fs::tar::{self, Plain, TarError};
use skiff_image::tree::{Body, Tree};

fn archive(tree: &Tree) -> Vec<u8> {
    let (mut bytes, layout) = (Vec::new(), tar::layout(tree));
    tar::write(&layout, &mut Plain(&mut bytes)).expect("memory takes everything");
    assert_eq!(bytes.len() as u64, layout.len(), "the length is known before");
    bytes
}

/// One of everything but what no archive holds, with names that a header is too small for.
fn tree() -> Tree {
    let mut tree = zoo();
    let (data, dev) = (tree.get("data/1").expect("a file"), tree.get("dev").expect("a directory"));
    tree.node_mut(data).xattrs.remove(&b"system.posix_acl_access"[..]);
    tree.unlink(dev, b"log");
    let long = [b'l'; 255];
    add(&mut tree, "data/sub/Grüße", file("a name of two bytes a letter"));
    let sub = tree.get("data/sub").expect("a directory");
    let text = tree.get("data/sub/text").expect("a file");
    tree.link(sub, &long, text);
    tree
}

#[test]
fn gnu_tar_unpacks_what_was_put_in() {
    const TEST: &str = "gnu_tar_unpacks_what_was_put_in";
    if !(oracle(TEST, "tar") && privilege::root(TEST)) {
        return;
    }
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let (from, to) = (directory.path().join("a.tar"), directory.path().join("to"));
    let tree = tree();
    fs::write(&from, archive(&tree)).expect("an archive");
    fs::create_dir(&to).expect("a directory");
    let mut unpack = command("tar");
    unpack.args(["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-f"]).arg(&from);
    let told = unpack.arg("-C").arg(&to).output().expect("tar runs");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let kept = |name: &[u8]| !name.starts_with(b"system.");
    // The root belongs to whoever unpacks, and the comparison knows times of 32 bits only.
    let found: Vec<String> =
        differences(&tree, &to, kept).into_iter().filter(|line| !line.starts_with("/: ")).collect();
    assert_eq!(
        found,
        [
            "/bin/ping: mtime is (-5, 0), not (0, 0)",
            "/bin/ping6: mtime is (-5, 0), not (0, 0)",
            "/data/ping: mtime is (-5, 0), not (0, 0)",
            "/dev/late: mtime is (4294967304, 0), not (4294967295, 0)",
        ]
    );
}

#[test]
fn the_same_tree_is_the_same_archive_and_sockets_are_told() {
    assert_eq!(archive(&tree()), archive(&tree()));
    assert_eq!(tar::layout(&zoo()).dropped(), ["`/dev/log` is a socket"]);
}

/// A writer that is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_goes_wrong_is_told() {
    let tree = tree();
    let error = tar::write(&tar::layout(&tree), &mut Plain(Full)).expect_err("it is full");
    assert_eq!(error.to_string(), "cannot write the archive: no storage space");
    let told = |error: TarError| {
        let error = Error::from(error);
        (error.to_string(), error.hint().expect("a hint"))
    };
    let empty = tar::summary([0; 2048].as_slice()).expect_err("no member");
    let hint = "make the archive again, or copy it again";
    assert_eq!(told(empty), ("not a readable tar archive: there is no member in it".into(), hint.into()));
}

/// A file beyond 8 GiB does not fit the number of a header.
#[test]
fn a_large_file_has_its_length_in_a_record() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = directory.path().join("large");
    let len = (8 << 30) + 5;
    File::create(&path).and_then(|file| file.set_len(len)).expect("a sparse file");
    let mut tree = zoo();
    let content = skiff_image::tree::Content::file(path, 0, len);
    add(&mut tree, "large", Body::File(content));
    let layout = tar::layout(&tree);
    assert!(layout.len() > len);
    /// Keeps the first MiB that is not zeros of a long run.
    struct Head(Vec<u8>);
    impl tar::Sink for Head {
        fn append(&mut self, bytes: &[u8]) -> Result<(), TarError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn append_zeros(&mut self, _: u64) -> Result<(), TarError> {
            Ok(())
        }
    }
    let mut head = Head(Vec::new());
    tar::write(&layout, &mut head).expect("memory takes everything");
    let record = format!("19 size={len}\n");
    assert!(head.0.windows(record.len()).any(|window| window == record.as_bytes()), "{record}");
}
