//! The squashfs reader: what is listed, how damage is told, and images of mksquashfs.

use std::io::Cursor;

use crate::harness::squashfs::{add, image, options, random_tree, zoo};
use crate::harness::tools;
use crate::harness::trees::{Random, dir, file, stat};
use skiff_image::fs::squashfs::{self, Options, Written};
use skiff_image::fs::{Lost, WrittenFile};
use skiff_image::tree::{Body, Tree};
use skiff_image::value::Digest;

#[test]
fn what_was_written_is_told() {
    let tree = zoo();
    let layout = squashfs::layout(&tree, &options("lz4")).expect("a layout");
    let dropped: Vec<_> = layout.dropped().iter().map(|loss| (loss.path.as_str(), &loss.what)).collect();
    let (before, list) = (Lost::Time { found: -5, stored: 0 }, Lost::AccessList { mode: 0o644 });
    let late = Lost::Time { found: (1 << 32) + 8, stored: (1 << 32) - 1 };
    assert_eq!(dropped, [("/bin/ping", &before), ("/data/1", &list), ("/dev/late", &late)]);
    let (bytes, written) = image(&tree, &options("lz4"));
    for name in ["/bin/ping", "/bin/ping6", "/data/ping"] {
        let file = written.files.iter().find(|file| file.path == name).expect(name);
        let content = tree.get(name).map(|id| match &tree.node(id).body {
            Body::File(content) => content.read_all().expect("readable"),
            _ => panic!("{name} is a file"),
        });
        assert_eq!((file.size, Some(file.blake3)), (70_000, content.map(|bytes| Digest::of(&bytes))));
    }
    let (listed, damages) = squashfs::list(Cursor::new(&bytes)).expect("readable");
    assert_eq!(damages, []);
    let paths: Vec<_> = tree.walk().map(|(path, _)| skiff_image::tree::display(&path)).collect();
    assert_eq!(listed.iter().map(|node| node.path.clone()).collect::<Vec<_>>(), paths);
    for (node, (_, id)) in listed.iter().zip(tree.walk()) {
        let stat = &tree.node(id).stat;
        assert_eq!((node.kind, node.mode), (tree.node(id).body.kind(), stat.mode), "{}", node.path);
        assert_eq!((node.uid, node.gid), (stat.uid, stat.gid), "{}", node.path);
    }
    let link = listed.iter().find(|node| node.path == "/bin/sh").expect("listed");
    assert_eq!(link.target.as_deref(), Some("/bin/busybox"));
    let device = listed.iter().find(|node| node.path == "/dev/sda").expect("listed");
    assert_eq!(device.device, Some(0x1111_0370));
    let text = listed.iter().find(|node| node.path == "/data/text").expect("listed");
    let wanted = written.files.iter().find(|file| file.path == "/data/text").expect("written");
    assert_eq!((text.mode, text.uid, text.mtime), (0o644, 1000, 1_700_000_000));
    assert_eq!((text.size, text.blake3), (Some(wanted.size), Some(wanted.blake3)));
}

#[test]
fn damage_is_told_by_file() {
    let mut tree = Tree::new(stat(0o755));
    let mut random = Random(8);
    for name in ["a", "b", "c"] {
        add(&mut tree, name, file(random.text(300_000)));
    }
    let (mut bytes, mut written) = image(&tree, &options("zstd:1"));
    // In the data of the second file, which is a third of the image.
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0x55);
    written.files[2].path = "/d".into();
    let told = |bytes: &[u8], written: &[WrittenFile]| -> Vec<String> {
        let damages = squashfs::check_files(Cursor::new(bytes), written).expect("still readable");
        damages.iter().map(ToString::to_string).collect()
    };
    let lines = told(&bytes, &written.files);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("`/b` cannot be read: it has a damaged block at byte "), "{lines:?}");
    assert!(lines[0].ends_with(" of the image"), "{lines:?}");
    assert_eq!(lines[1..], ["`/c` was not written", "`/d` is missing"]);
    written.files[0].size += 1;
    written.files[2].path = "/c".into();
    written.files[2].blake3 = Digest::of(b"other");
    let lines = told(&bytes, &written.files);
    assert_eq!(lines[0], "`/a` has 300000 bytes instead of the 300001 that were written");
    assert_eq!(lines[2], "`/c` has other bytes than were written");
    let (_, damages) = squashfs::list(Cursor::new(&bytes)).expect("still readable");
    assert_eq!(damages.len(), 1);
}

#[test]
fn no_damage_makes_the_reader_panic() {
    let tree = random_tree(31, 60);
    for codec in ["zstd:1", "gzip:1", "xz:0", "lz4", "stored"] {
        let (bytes, written) = image(&tree, &Options { block_size: 4096, ..options(codec) });
        let mut random = Random(6);
        for _ in 0..150 {
            let mut damaged = bytes.clone();
            let at = random.below(written.bytes_used as u32) as usize;
            damaged[at] ^= 1 << random.below(8);
            // Whatever it says, it must come back.
            drop(squashfs::check_files(Cursor::new(&damaged), &written.files));
            drop(squashfs::list(Cursor::new(&damaged[..at])));
        }
    }
}

#[test]
fn images_of_mksquashfs_are_read() {
    if !tools::oracle("images_of_mksquashfs_are_read", "mksquashfs") {
        return;
    }
    let source = tempfile::tempdir().expect("temporary directory");
    let images = tempfile::tempdir().expect("temporary directory");
    let mut random = Random(17);
    let mut written = Vec::new();
    for (number, len) in [0, 1, 4095, 70_000, 131_072, 400_000].into_iter().enumerate() {
        let bytes = if number % 2 == 0 { random.text(len) } else { random.noise(len) };
        std::fs::write(source.path().join(number.to_string()), &bytes).expect("write");
        written.push(WrittenFile {
            path: format!("/{number}"),
            size: len as u64,
            blake3: Digest::of(&bytes),
        });
    }
    for compression in ["gzip", "xz", "lz4", "zstd"] {
        let image = images.path().join(compression);
        let mut mksquashfs = tools::command("mksquashfs");
        mksquashfs.arg(source.path()).arg(&image).args(["-noappend", "-quiet", "-no-progress"]);
        let output =
            mksquashfs.args(["-always-use-fragments", "-comp", compression]).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = std::fs::File::open(&image).expect("an image");
        assert_eq!(squashfs::info(&file).expect("a superblock").codec, compression);
        assert_eq!(squashfs::check_files(&file, &written).expect("readable"), []);
    }
}

/// An image without compression, and changes to its bytes, by offsets into the tables.
struct Stored {
    bytes: Vec<u8>,
    written: Written,
}

impl Stored {
    fn table(&self, field: usize) -> usize {
        u64::from_le_bytes(self.bytes[field..field + 8].try_into().expect("8 bytes")) as usize + 2
    }

    /// What is told after the two bytes at `offset` of the table whose start is in `field` became `value`.
    fn told(&self, field: usize, offset: usize, value: u16) -> Vec<String> {
        let mut bytes = self.bytes.clone();
        let at = self.table(field) + offset;
        bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        let damages = squashfs::check_files(Cursor::new(&bytes), &self.written.files).expect("readable");
        damages.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn damaged_metadata_is_told() {
    const INODES: usize = 64;
    const DIRECTORIES: usize = 72;
    let mut tree = Tree::new(stat(0o755));
    add(&mut tree, "dir", dir());
    add(&mut tree, "dir/file", file("a tail"));
    let (bytes, written) = image(&tree, &options("stored"));
    let image = Stored { bytes, written };
    assert_eq!(image.told(INODES, 0, 2), [""; 0]);
    // The inode of the file is the first one, 32 bytes; its directory and the root follow, 32 bytes each.
    let missing = "`/dir/file` is missing";
    assert_eq!(
        image.told(INODES, 0, 15),
        ["`/dir/file` cannot be read: it has an inode of type 15, the last known one is 14", missing]
    );
    assert_eq!(image.told(INODES, 4, 9), ["`/dir/file` cannot be read: it has owner 9 of 2", missing]);
    assert_eq!(image.told(INODES, 20, 7), ["`/dir/file` cannot be read: it is in fragment block 7 of 1"]);
    assert_eq!(
        image.told(INODES, 24, 7),
        ["`/dir/file` cannot be read: it ends behind the 6 bytes of fragment block 0"]
    );
    assert_eq!(image.told(INODES, 0, 6), ["`/dir/file` has the kind fifo instead of file"]);
    assert_eq!(
        image.told(DIRECTORIES, 0, 299),
        ["`/dir` cannot be read: it has 300 entries behind a header, 256 are the most", missing]
    );
    let name = image.told(DIRECTORIES, 20, u16::from_le_bytes(*b"f/"));
    assert_eq!(name, ["`/dir` cannot be read: it has an entry with the impossible name `/f/le`", missing]);
    let end = image.told(INODES, 32 + 24, 60_000);
    let block = image.table(DIRECTORIES) - 2;
    assert_eq!(
        end,
        [
            &format!("`/dir` cannot be read: it has metadata that ends early, at byte {block} of the image"),
            missing
        ]
    );
    // The entry of `dir` in the root leads to the root.
    assert_eq!(
        image.told(DIRECTORIES, 24 + 12, 64),
        ["`/dir` cannot be read: it is a directory inside of itself", missing]
    );
    let block = image.table(INODES) - 2;
    let mut bytes = image.bytes.clone();
    bytes[block..block + 2].copy_from_slice(&[0, 0x80]);
    let damages = squashfs::check_files(Cursor::new(&bytes), &[]).expect("readable");
    assert_eq!(
        damages[0].to_string(),
        format!("`/` cannot be read: it has a metadata block of 0 bytes at byte {block} of the image")
    );
    bytes[block..block + 2].copy_from_slice(&[96, 0]);
    let damages = squashfs::check_files(Cursor::new(&bytes), &[]).expect("readable");
    assert_eq!(
        damages[0].to_string(),
        format!("`/` cannot be read: it has damaged metadata at byte {block} of the image")
    );
}

#[test]
fn unreadable_and_foreign_images_are_told() {
    let message = |bytes: &[u8]| squashfs::list(Cursor::new(bytes)).unwrap_err().to_string();
    let (bytes, _) = image(&zoo(), &options("zstd:1"));
    assert_eq!(message(b"short"), "cannot read the squashfs: failed to fill whole buffer");
    assert_eq!(
        message(&[0; 4096]),
        "not a readable squashfs: the magic number is 0x00000000, not 0x73717368"
    );
    let mut lzo = bytes.clone();
    lzo[20] = 3;
    assert_eq!(message(&lzo), "the squashfs is compressed with `lzo`, which this program cannot read");
    lzo[20] = 9;
    assert_eq!(
        message(&lzo),
        "not a readable squashfs: the compression is number 9, the last known one is 6"
    );
}

#[test]
fn damaged_tables_and_sizes_are_told() {
    let mut tree = Tree::new(stat(0o755));
    add(&mut tree, "file", file(Random(3).noise(200_000)));
    let (bytes, written) = image(&tree, &options("stored"));
    let image = Stored { bytes, written };
    // The block list follows the 32 bytes of the file's inode; 131072 has 0 in its lower half.
    assert_eq!(
        image.told(64, 32, 1),
        ["`/file` cannot be read: it has a block of 131073 bytes at byte 96 of the image"]
    );
    let message = |bytes: &[u8]| squashfs::check_files(Cursor::new(bytes), &[]).unwrap_err().to_string();
    let mut bytes = image.bytes.clone();
    bytes[26] = 5;
    assert_eq!(message(&bytes), "not a readable squashfs: the table of owners ends after 8 of 20 bytes");
    let ids = image.table(48) - 2;
    assert_eq!(
        message(&image.bytes[..100_000]),
        format!(
            "not a readable squashfs: the table of owners cannot be read at byte {ids} of the image: failed to \
             fill whole buffer"
        )
    );
}
