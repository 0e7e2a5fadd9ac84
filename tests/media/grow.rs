//! Images that grow to a larger medium, against `e2fsck`, `resize2fs`, `debugfs`, `sfdisk`, `sgdisk` and the kernel.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::ext4 as fixture;
use crate::harness::ext4::noise;
use crate::harness::loopdev;
use crate::harness::mount::{can_mount, mount};
use crate::harness::tools::{command, oracle};
use skiff_image::error::ErrorKind;
use skiff_image::event::Silent;
use skiff_image::flash::journal::{Header, MediumId};
use skiff_image::flash::{FlashOptions, Growth, Journal, ResizePolicy};
use skiff_image::fs::ext4::{self, GrowError, Grown, Limit};
use skiff_image::readback::verify;
use skiff_image::source::Image;
use skiff_image::storage::{
    Geometry, ImageFile, Layer, Memory, Record, Recorder, Region, Target, TargetError, Verb, WriteOp,
};
use skiff_image::table::TableBytes;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Runs a tool that must succeed; gives what it said.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("the tool runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn temporary() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// A directory with files of several sizes, and enough of them for a directory of several blocks.
fn source(at: &Path) -> PathBuf {
    let root = at.join("source");
    std::fs::create_dir_all(root.join("a/b")).expect("directories");
    std::fs::write(root.join("a/large"), noise(3_000_001, 1)).expect("a file");
    std::fs::write(root.join("a/b/small"), noise(77, 2)).expect("a file");
    std::fs::write(root.join("empty"), b"").expect("a file");
    for index in 0..60 {
        std::fs::write(root.join("a").join(format!("one of many files {index}")), noise(index, 3))
            .expect("a file");
    }
    root
}

fn make_ext4(options: &[&str], source: &Path, image: &Path, offset: u64, len: u64) {
    File::options().create(true).append(true).open(image).expect("a file");
    let extended = format!("offset={offset}");
    let blocks = format!("{}k", len / 1024);
    run(command("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-E", &extended])
        .args(options)
        .arg("-d")
        .args([source, image])
        .arg(blocks)
        .env("E2FSPROGS_FAKE_TIME", "1700000000"));
}

/// A used medium of `len` bytes that holds the bytes of `image`, and behind them garbage, at least at the start of each
/// 8 MiB.
fn medium(at: &Path, image: &Path, len: u64, sector_size: u32) -> ImageFile {
    let target = ImageFile::create(at, Geometry { len, sector_size }, true).expect("a file");
    let image = File::open(image).expect("an image");
    let end = image.metadata().expect("an image").len();
    let garbage = vec![0xA5; MIB as usize];
    for at in (end..len).step_by(8 * MIB as usize).take(512) {
        target.file().write_all_at(&garbage[..garbage.len().min((len - at) as usize)], at).expect("garbage");
    }
    for start in (0..end).step_by(MIB as usize) {
        let mut bytes = vec![0; MIB.min(end - start) as usize];
        image.read_exact_at(&mut bytes, start).expect("the image has the bytes");
        target.file().write_all_at(&bytes, start).expect("write");
    }
    target
}

fn with_offset(path: &Path, offset: u64) -> String {
    format!("{}?offset={offset}", path.display())
}

/// `e2fsck` finds nothing, not even something to optimize.
fn assert_clean(filesystem: &str) {
    let text = run(command("e2fsck").args(["-f", "-n", filesystem]));
    assert!(!text.contains('?') && !text.to_lowercase().contains("fix"), "{text}");
}

/// Every file is what it was.
fn assert_same_files(filesystem: &str, source: &Path, temp: &Path) {
    let out = temp.join("out");
    std::fs::create_dir(&out).expect("a directory");
    run(command("debugfs").args(["-R", &format!("rdump / {}", out.display()), filesystem]));
    _ = std::fs::remove_dir(out.join("lost+found"));
    run(command("diff").arg("-r").args([source, &out]));
}

/// Grows a filesystem of `mke2fs` in a file from `from` to `to` bytes and has others look at it.
fn grow_alone(options: &[&str], from: u64, to: u64) -> Grown {
    let temp = temporary();
    let (source, image, path) = (source(temp.path()), temp.path().join("image"), temp.path().join("medium"));
    make_ext4(options, &source, &image, 0, from);
    let target = medium(&path, &image, to, 512);
    let grown = ext4::grow(&target, &(0..to)).unwrap_or_else(|error| panic!("{options:?}: {error}"));
    target.finish().expect("renamed");
    let name = path.to_str().expect("UTF-8");
    assert_clean(name);
    assert_same_files(name, &source, temp.path());
    let header = run(command("dumpe2fs").args(["-h", name]));
    assert!(
        header.contains(&format!("Block count:              {}\n", grown.to / block_size(&header))),
        "{header}"
    );
    if grown.limit.is_none() {
        let said = run(command("resize2fs").args(["-f", name]));
        assert!(said.contains("Nothing to do!"), "{options:?} {grown:?}: {said}");
    }
    assert!(grown.from <= from);
    grown
}

fn block_size(header: &str) -> u64 {
    let line = header.lines().find_map(|line| line.strip_prefix("Block size:"));
    line.and_then(|number| number.trim().parse().ok()).expect("a block size")
}

/// Whether the tools are there.
fn oracles(test: &str) -> bool {
    ["mke2fs", "e2fsck", "dumpe2fs", "debugfs", "resize2fs", "sfdisk", "sgdisk"]
        .iter()
        .all(|tool| oracle(test, tool))
}

/// Grown to `to`, but for a rest that is too small for a group.
fn assert_fills(options: &[&str], from: u64, to: u64) {
    let grown = grow_alone(options, from * MIB, to * MIB);
    assert!(grown.limit.is_none() && grown.from == from * MIB, "{options:?} {from} {to}: {grown:?}");
    assert!(grown.to > (to - 17) * MIB && grown.to <= to * MIB, "{options:?} {from} {to}: {grown:?}");
}

#[test]
fn filesystems_with_all_checksums_grow() {
    if !oracles("filesystems_with_all_checksums_grow") {
        return;
    }
    assert_fills(&[], 16, 64);
    assert_fills(&[], 16, 17);
    assert_fills(&[], 200, 1025);
    assert_fills(&["-b", "1024"], 16, 64);
    assert_fills(&["-b", "2048", "-I", "128"], 100, 300);
    assert_fills(&["-O", "^64bit"], 100, 300);
    assert_fills(&["-O", "^flex_bg"], 16, 300);
    assert_fills(&["-O", "metadata_csum_seed", "-G", "4"], 200, 1025);
}

#[test]
fn filesystems_with_few_or_no_checksums_grow() {
    if !oracles("filesystems_with_few_or_no_checksums_grow") {
        return;
    }
    assert_fills(&["-O", "^metadata_csum"], 16, 300);
    assert_fills(&["-O", "^metadata_csum,^64bit,uninit_bg"], 16, 64);
    assert_fills(&["-O", "^metadata_csum,^64bit,uninit_bg"], 200, 1025);
    assert_fills(&["-O", "^metadata_csum,^uninit_bg,^64bit"], 16, 300);
    assert_fills(&["-b", "1024", "-O", "^metadata_csum,^uninit_bg,^64bit,^has_journal"], 16, 64);
}

#[test]
fn filesystems_grow_far() {
    if !oracles("filesystems_grow_far") {
        return;
    }
    assert_fills(&["-b", "4096"], 200, 4 << 10);
    assert_fills(&["-b", "4096"], 200, 64 << 10);
    // Descriptors become many times as many blocks as they were.
    assert_fills(&["-b", "4096", "-O", "^64bit"], 64, 63 << 10);
    assert_fills(&["-b", "1024"], 64, 4 << 10);
}

#[test]
fn without_room_for_descriptors_it_grows_as_far_as_they_allow() {
    if !oracles("without_room_for_descriptors_it_grows_as_far_as_they_allow") {
        return;
    }
    // One block of descriptors of 64 bytes: 64 groups of 128 MiB.
    let grown = grow_alone(&["-b", "4096", "-O", "^resize_inode"], 16 * MIB, 9 * GIB);
    assert_eq!(grown, Grown { from: 16 * MIB, to: 8 * GIB, limit: Some(Limit::Descriptors) });
    // 16 groups of 8 MiB for a block, and reserved ones for twice the size.
    let grown = grow_alone(&["-b", "1024", "-E", "resize=524288"], 100 * MIB, GIB);
    assert_eq!(grown, Grown { from: 100 * MIB, to: 512 * MIB + 1024, limit: Some(Limit::Descriptors) });
    // What has all descriptors that fit is not grown again, and still clean.
    let temp = temporary();
    let (source, image) = (source(temp.path()), temp.path().join("image"));
    make_ext4(&["-b", "4096", "-O", "^resize_inode"], &source, &image, 0, 16 * MIB);
    let target = medium(&temp.path().join("medium"), &image, 9 * GIB, 512);
    let first = ext4::grow(&target, &(0..9 * GIB)).expect("grown");
    let second = ext4::grow(&target, &(0..9 * GIB)).expect("nothing to do");
    assert_eq!((second.from, second.to), (first.to, first.to));
}

#[test]
fn our_own_filesystems_grow() {
    let test = "our_own_filesystems_grow";
    if !oracles(test) {
        return;
    }
    let temp = temporary();
    let tree = {
        let mut tree = fixture::empty();
        let dir = fixture::dir(&mut tree, skiff_image::tree::Tree::ROOT, "etc");
        fixture::file(&mut tree, dir, "large", noise(1_234_567, 9));
        tree
    };
    for (from, to) in [(16, 64), (16, 700), (200, 4096), (300, 70 << 10)] {
        let path = temp.path().join(format!("{from}-{to}"));
        let target =
            ImageFile::create(&path, Geometry { len: to * MIB, sector_size: 512 }, true).expect("a file");
        let layout = ext4::layout(&tree, &fixture::options(), from * MIB).expect("fits");
        let region = Region::new(&target, "persist", 0, from * MIB, "nothing");
        ext4::write(&layout, &region).expect("written");
        let garbage = vec![0xA5; 2 * MIB as usize];
        target.file().write_all_at(&garbage, from * MIB).expect("garbage");
        let grown = ext4::grow(&target, &(0..to * MIB)).expect("grown");
        assert!(grown.limit.is_none() && grown.to > (to - 17) * MIB, "{grown:?}");
        target.finish().expect("renamed");
        let name = path.to_str().expect("UTF-8");
        assert_clean(name);
        assert!(run(command("resize2fs").args(["-f", name])).contains("Nothing to do!"));
        let cat = command("debugfs").args(["-R", "cat /etc/large", name]).output().expect("debugfs runs");
        assert!(cat.stdout == noise(1_234_567, 9));
    }
}

#[test]
fn the_kernel_fills_a_grown_filesystem() {
    let test = "the_kernel_fills_a_grown_filesystem";
    if !oracles(test) || !can_mount(test) {
        return;
    }
    for options in
        [&["-b", "4096"] as &[&str], &["-b", "1024", "-O", "^64bit"], &["-O", "^metadata_csum,uninit_bg"]]
    {
        let temp = temporary();
        let (source, image, path) =
            (source(temp.path()), temp.path().join("image"), temp.path().join("medium"));
        make_ext4(options, &source, &image, 0, 16 * MIB);
        let target = medium(&path, &image, 90 * MIB, 512);
        ext4::grow(&target, &(0..90 * MIB)).expect("grown");
        target.finish().expect("renamed");
        let mounted = mount(&path, &temp.path().join("at"), "rw");
        run(command("diff").args(["-r", "-x", "lost+found"]).arg(&source).arg(mounted.path()));
        // Blocks and inodes of all groups.
        for index in 0..60 {
            let directory = mounted.path().join(format!("d{index}"));
            std::fs::create_dir(&directory).expect("a directory");
            std::fs::write(directory.join("file"), noise(MIB as usize, index)).expect("a file");
        }
        mounted.unmount();
        assert_clean(path.to_str().expect("UTF-8"));
        let mounted = mount(&path, &temp.path().join("at"), "ro");
        for index in 0..60 {
            let found = std::fs::read(mounted.path().join(format!("d{index}/file"))).expect("a file");
            assert!(found == noise(MIB as usize, index), "{index}");
        }
        mounted.unmount();
    }
}

/// What `ext4::grow` says of a filesystem that `debugfs` changed.
fn refusal(options: &[&str], requests: &[&str]) -> String {
    let temp = temporary();
    let (source, image) = (source(temp.path()), temp.path().join("image"));
    make_ext4(options, &source, &image, 0, 16 * MIB);
    for request in requests {
        run(command("debugfs").args(["-w", "-R", request]).arg(&image));
    }
    let before = std::fs::read(&image).expect("an image");
    let target = medium(&temp.path().join("medium"), &image, 64 * MIB, 512);
    let error = ext4::grow(&target, &(0..64 * MIB)).expect_err("refused");
    let mut after = vec![0; before.len()];
    target.read_at(&mut after, 0).expect("read");
    assert!(before == after, "nothing is written");
    let hint = skiff_image::error::Diagnostic::hint(&error).unwrap_or_default();
    format!("{error}\nhint: {hint}")
}

#[test]
fn what_is_not_clean_or_not_known_is_not_grown() {
    if !oracles("what_is_not_clean_or_not_known_is_not_grown") {
        return;
    }
    let repair = "hint: repair it in the image with `e2fsck -f`, or grow it on the board with `resize2fs`";
    assert_eq!(
        refusal(&[], &["feature needs_recovery"]),
        format!("the ext4 filesystem was not unmounted: its journal must be replayed first\n{repair}")
    );
    assert_eq!(
        refusal(&[], &["ssv state 3"]),
        format!("the ext4 filesystem has errors, says its superblock (state 0x0003)\n{repair}")
    );
    assert_eq!(
        refusal(&[], &["ssv last_orphan 20"]),
        format!("the ext4 filesystem has removed files that were not freed yet\n{repair}")
    );
    assert_eq!(
        refusal(&["-O", "bigalloc,mmp"], &[]),
        "the ext4 filesystem has features that are not grown here: mmp, bigalloc\n\
         hint: grow it on the board with `resize2fs`"
    );
    assert_eq!(
        refusal(&["-O", "^sparse_super,^resize_inode"], &[]),
        "the ext4 filesystem has features that are not grown here: no sparse_super\n\
         hint: grow it on the board with `resize2fs`"
    );
    assert_eq!(
        refusal(&["-O", "^metadata_csum,uninit_bg"], &["set_bg 0 checksum 0x1234"]),
        format!("the ext4 filesystem is damaged: the checksum of group descriptor 0 is wrong\n{repair}")
    );
    assert_eq!(
        refusal(&["-O", "^metadata_csum"], &["ssv inodes_per_group 99"]),
        format!(
            "the ext4 filesystem is damaged: the numbers of its superblock contradict each other\n{repair}"
        )
    );
    assert_eq!(
        refusal(&["-b", "4096", "-O", "^metadata_csum"], &["ssv blocks_count 999999"]),
        format!(
            "the ext4 filesystem is damaged: it has 999999 blocks of 4096 bytes in a partition of 67108864\n{repair}"
        )
    );
    assert_eq!(
        refusal(&["-O", "^metadata_csum,^uninit_bg"], &["set_inode_field <7> block[DIND] 3000"]),
        format!(
            "the ext4 filesystem is damaged: its resize inode lists other blocks than are reserved\n{repair}"
        )
    );
}

#[test]
fn wrong_bytes_are_told_by_their_checksums() {
    if !oracles("wrong_bytes_are_told_by_their_checksums") {
        return;
    }
    let temp = temporary();
    let (source, image) = (source(temp.path()), temp.path().join("image"));
    make_ext4(&["-b", "4096"], &source, &image, 0, 16 * MIB);
    let spoilt = |at: u64, path: &str| {
        let target = medium(&temp.path().join(path), &image, 64 * MIB, 512);
        let mut byte = [0];
        target.read_at(&mut byte, at).expect("read");
        target.write_at(&[byte[0] ^ 1], at).expect("write");
        ext4::grow(&target, &(0..64 * MIB)).expect_err("refused").to_string()
    };
    assert_eq!(
        spoilt(1024 + 0x78, "label"),
        "the ext4 filesystem is damaged: the checksum of its superblock is wrong"
    );
    let groups = run(command("dumpe2fs").arg(&image));
    let bitmap = groups.split("Block bitmap at ").nth(1).and_then(|rest| rest.split(' ').next());
    let bitmap: u64 = bitmap.and_then(|number| number.parse().ok()).expect("a block");
    assert_eq!(
        spoilt(bitmap * 4096, "bitmap"),
        "the ext4 filesystem is damaged: the checksum of the block bitmap of group 0 is wrong"
    );
    assert_eq!(
        spoilt(1024 + 0x38, "magic"),
        "there is no ext4 filesystem at offset 0: the magic number is 0xef52, not 0xef53"
    );
    let target = medium(&temp.path().join("short"), &image, 64 * MIB, 512);
    assert!(matches!(ext4::grow(&target, &(0..1024)), Err(GrowError::NotExt4 { .. })));
}

// Whole images

fn run_sfdisk(image: &Path, script: &str) {
    let mut child = command("sfdisk")
        .arg("-q")
        .arg(image)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("sfdisk runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), script.as_bytes()).expect("written");
    assert!(child.wait().expect("sfdisk ends").success());
}

/// Makes an image of `mib` MiB with a table from a script for `sfdisk`.
fn table(at: &Path, mib: u64, script: &str) -> PathBuf {
    let image = at.join("image");
    File::create(&image).and_then(|file| file.set_len(mib * MIB)).expect("a file");
    run_sfdisk(&image, script);
    // Boot code that has to stay.
    OpenOptions::new()
        .write(true)
        .open(&image)
        .and_then(|file| file.write_all_at(&[0xB0; 440], 0))
        .expect("boot code");
    image
}

/// Copies an image to a larger medium in the order of a real run: body, growth, what it changed read back, critical
/// bytes. Gives the medium and what was told.
fn flash(image: &Path, at: &Path, len: u64, extend: bool) -> (PathBuf, Growth) {
    let path = at.join("medium");
    let bytes = std::fs::read(image).expect("an image");
    let target = ImageFile::create(&path, Geometry { len, sector_size: 512 }, true).expect("a file");
    let garbage = vec![0xA5; MIB as usize];
    for at in (0..len).step_by(16 * MIB as usize).take(100) {
        target.file().write_all_at(&garbage[..garbage.len().min((len - at) as usize)], at).expect("garbage");
    }
    let (head, tail) = (MIB as usize, bytes.len() - MIB as usize);
    let piece = |name: &str, range: std::ops::Range<usize>| TableBytes {
        name: name.into(),
        offset: range.start as u64,
        bytes: bytes[range].to_vec(),
    };
    let critical = [piece("sector 0", 0..4096), piece("head", 4096..head), piece("tail", tail..bytes.len())];
    let recorder = Recorder::new(&target);
    for (index, chunk) in bytes[head..tail].chunks(4 * MIB as usize).enumerate() {
        let offset = (head + index * 4 * MIB as usize) as u64;
        match chunk.iter().all(|byte| *byte == 0) {
            true => recorder.zero(offset, chunk.len() as u64).expect("zero"),
            false => recorder.write_at(chunk, offset).expect("write"),
        }
    }
    let record = recorder.into_record();
    let growth = Growth::plan(&target, &critical, extend).expect("readable");
    let (record, changed) = growth.amend(&target, record).expect("readable");
    growth.write(&target).expect("written");
    assert_eq!(verify(&target, &changed, &[], &Silent).expect("readable"), [], "what changed");
    let recorder = Recorder::new(&target);
    for piece in &growth.critical {
        recorder.write_at(&piece.bytes, piece.offset).expect("written once");
    }
    let record = record.merge(recorder.into_record());
    assert_eq!(verify(&target, &record, &[], &Silent).expect("readable"), [], "everything");
    assert_covers(&target, &growth, &record);
    target.finish().expect("renamed");
    (path, growth)
}

/// The record knows all that was changed: a bit that flips there is found.
fn assert_covers(target: &ImageFile, growth: &Growth, record: &Record) {
    for change in &growth.changes {
        let at = change.offset;
        let mut byte = [0];
        target.read_at(&mut byte, at).expect("read");
        target.write_at(&[byte[0] ^ 0x10], at).expect("write");
        let hit = record.extents.iter().find(|extent| extent.range().contains(&at)).expect("it is recorded");
        let part = Record { extents: vec![hit.clone()] };
        assert_eq!(verify(target, &part, &[], &Silent).expect("readable").len(), 1, "byte {at}");
        target.write_at(&byte, at).expect("write");
    }
}

fn assert_sfdisk_verifies(path: &Path) -> String {
    let text = run(command("sfdisk").arg("--verify").arg(path));
    assert!(text.contains("No errors detected"), "{text}");
    run(command("sfdisk").arg("--dump").arg(path))
}

fn assert_sgdisk_verifies(path: &Path) {
    let text = run(command("sgdisk").arg("--verify").arg(path));
    assert!(text.contains("No problems found"), "{text}");
}

fn kept(growth: &Growth) -> Vec<String> {
    growth.fitted.kept.iter().map(ToString::to_string).collect()
}

const GPT: &str = "label: gpt\nfirst-lba: 34\nstart=1MiB, size=8MiB, type=uefi, name=boot\n\
                   start=9MiB, size=32MiB, type=linux, name=\"the root\", attrs=\"GUID:59\"\n";

#[test]
fn a_gpt_moves_its_backup_and_grows_its_last_partition() {
    if !oracles("a_gpt_moves_its_backup_and_grows_its_last_partition") {
        return;
    }
    let temp = temporary();
    let source = source(temp.path());
    let image = table(temp.path(), 42, GPT);
    make_ext4(&[], &source, &image, 9 * MIB, 32 * MIB);
    let before = run(command("sfdisk").arg("--dump").arg(&image));
    for len in [300 * MIB, 43 * MIB, 42 * MIB + 512, 4 * GIB + 17 * 512] {
        let (path, growth) = flash(&image, temp.path(), len, true);
        assert!(kept(&growth).is_empty(), "{growth:?}");
        assert_sgdisk_verifies(&path);
        let after = assert_sfdisk_verifies(&path);
        // From the image's table only two numbers differ.
        let end = (len / 512 - 34 + 1) / 2048 * 2048;
        let size = (end - 18432).max(65536);
        let meant = before
            .replace("last-lba: 85982", &format!("last-lba: {}", len / 512 - 34))
            .replace("size=       65536", &format!("size={size:>12}"))
            .replace(image.to_str().expect("UTF-8"), path.to_str().expect("UTF-8"));
        assert_eq!(after, meant);
        let mut boot = [0; 440];
        File::open(&path).and_then(|file| file.read_exact_at(&mut boot, 0)).expect("boot code");
        assert_eq!(boot, [0xB0; 440]);
        assert_clean(&with_offset(&path, 9 * MIB));
        let own = tempfile::tempdir_in(temp.path()).expect("a directory");
        assert_same_files(&with_offset(&path, 9 * MIB), &source, own.path());
        assert_eq!(growth.fitted.filesystem.is_some(), size != 65536, "{len}");
    }
}

/// A dump of a larger card, or an image that was padded: the backup of its GPT is in the middle.
#[test]
fn an_image_with_bytes_behind_its_backup_gpt_is_flashed() {
    if !oracles("an_image_with_bytes_behind_its_backup_gpt_is_flashed") {
        return;
    }
    let temp = temporary();
    let source = source(temp.path());
    let image = table(temp.path(), 42, GPT);
    make_ext4(&[], &source, &image, 9 * MIB, 32 * MIB);
    let file = OpenOptions::new().write(true).open(&image).expect("an image");
    let test = "an_image_with_bytes_behind_its_backup_gpt_is_flashed";
    // Of the second image, a part of the backup is among the last bytes, which are written last.
    for (image_len, len) in [(60 * MIB, 60 * MIB), (43 * MIB - 4096, 64 * MIB), (60 * MIB, 300 * MIB)] {
        file.set_len(image_len).expect("a tail");
        file.write_all_at(&[0x5A; 100], image_len - 100).expect("a tail");
        let Some(device) = loopdev::LoopDevice::new(test, len, &[]) else { return };
        let mut flash = Command::new(env!("CARGO_BIN_EXE_skiff-image"));
        run(flash.args(["flash", "--yes", "--image"]).arg(&image).arg(&device.path));
        assert_sgdisk_verifies(&device.path);
        assert_clean(&with_offset(&device.path, 9 * MIB));
        let own = tempfile::tempdir_in(temp.path()).expect("a directory");
        assert_same_files(&with_offset(&device.path, 9 * MIB), &source, own.path());
    }
}

#[test]
fn metadata_may_lie_where_the_old_backup_was() {
    if !oracles("metadata_may_lie_where_the_old_backup_was") {
        return;
    }
    let temp = temporary();
    let source = source(temp.path());
    // Groups of 8 MiB behind the first KiB: the fifth begins where the backup of the image does.
    let script = "label: gpt\nfirst-lba: 34\nstart=9MiB, size=65538\n";
    let image = temp.path().join("image");
    File::create(&image).and_then(|file| file.set_len(41 * MIB + 1024 + 33 * 512)).expect("a file");
    run_sfdisk(&image, script);
    make_ext4(&["-b", "1024"], &source, &image, 9 * MIB, 32 * MIB + 1024);
    let (path, growth) = flash(&image, temp.path(), 64 * MIB, true);
    let grown = growth.fitted.filesystem.expect("it grew");
    assert_eq!((grown.from.0, grown.to.0), (32 * MIB + 1024, 54 * MIB));
    assert_clean(&with_offset(&path, 9 * MIB));
    assert_same_files(&with_offset(&path, 9 * MIB), &source, temp.path());
    assert_sgdisk_verifies(&path);
}

#[test]
fn what_was_done_is_told() {
    if !oracles("what_was_done_is_told") {
        return;
    }
    let temp = temporary();
    let image = table(temp.path(), 42, GPT);
    make_ext4(&[], &source(temp.path()), &image, 9 * MIB, 32 * MIB);
    let (_, growth) = flash(&image, temp.path(), 266 * MIB, true);
    assert_eq!(
        growth.fitted.to_string(),
        "the backup of the GPT is at the end of the medium; partition 2 grew from 32 MiB to 256 MiB; \
         the filesystem of partition 2 grew from 32 MiB to 256 MiB"
    );
    let (_, growth) = flash(&image, temp.path(), 266 * MIB, false);
    assert_eq!(growth.fitted.to_string(), "the backup of the GPT is at the end of the medium");
    let (_, growth) = flash(&image, temp.path(), 42 * MIB, true);
    assert!(growth.is_empty() && growth.changes.is_empty() && kept(&growth).is_empty(), "{growth:?}");
    // A filesystem alone, which goes into a partition.
    let alone = temp.path().join("alone");
    make_ext4(&[], &source(temp.path()), &alone, 0, 16 * MIB);
    let (path, growth) = flash(&alone, temp.path(), 64 * MIB, true);
    assert_eq!(growth.fitted.to_string(), "the filesystem grew from 16 MiB to 64 MiB");
    assert_clean(path.to_str().expect("UTF-8"));
}

#[test]
fn a_gpt_of_4k_sectors_keeps_them() {
    if !oracles("a_gpt_of_4k_sectors_keeps_them") {
        return;
    }
    use skiff_image::table::{self, CopyState, Scheme, gpt};
    let geometry = |mib: u64| Geometry { len: mib * MIB, sector_size: 4096 };
    let options =
        gpt::Options { disk_guid: uuid::Uuid::from_u128(7), entry_count: 128, reserved: &[], hybrid: None };
    let small = gpt::encode(&[], geometry(32), &options).expect("a table");
    let target = skiff_image::storage::Memory::with_sector_size(64 * MIB, 4096);
    let growth = Growth::plan(&target, &small, true).expect("readable");
    assert_eq!(kept(&growth), ["no partition was grown: the table has no partition"]);
    growth.write(&target).expect("written");
    growth
        .critical
        .iter()
        .try_for_each(|piece| target.write_at(&piece.bytes, piece.offset))
        .expect("written");
    let table = table::read(&target).expect("readable").expect("a table");
    assert!(matches!(table.scheme, Scheme::Gpt { backup: CopyState::Good, .. }), "{table:?}");
    // The same as one that was made for the larger disk.
    let meant = skiff_image::storage::Memory::with_sector_size(64 * MIB, 4096);
    let large = gpt::encode(&[], geometry(64), &options).expect("a table");
    large.iter().try_for_each(|piece| meant.write_at(&piece.bytes, piece.offset)).expect("written");
    assert!(target.to_vec() == meant.to_vec());
    // A table in other sectors is left alone.
    let target = skiff_image::storage::Memory::new(64 * MIB);
    let growth = Growth::plan(&target, &small, false).expect("readable");
    assert_eq!(
        kept(&growth),
        ["the table stays as in the image: the table counts in sectors of 4096 bytes, the medium in 512"]
    );
}

#[test]
fn an_mbr_grows_its_last_partition() {
    if !oracles("an_mbr_grows_its_last_partition") {
        return;
    }
    let temp = temporary();
    let source = source(temp.path());
    // The last one by place has not the last number.
    let script = "label: dos\nlabel-id: 0x12345678\n1 : start=9MiB, size=23MiB, type=83\n\
                  2 : start=1MiB, size=8MiB, type=c, bootable\n";
    let image = table(temp.path(), 32, script);
    make_ext4(&["-O", "^metadata_csum,^64bit"], &source, &image, 9 * MIB, 23 * MIB);
    let (path, growth) = flash(&image, temp.path(), 3 * GIB + 5 * 512, true);
    assert!(kept(&growth).is_empty() && !growth.fitted.backup_moved, "{growth:?}");
    let dump = assert_sfdisk_verifies(&path);
    assert!(dump.contains("label-id: 0x12345678"), "{dump}");
    assert!(
        dump.contains(&format!("1 : start=       18432, size={:>12}, type=83", 3 * GIB / 512 - 18432)),
        "{dump}"
    );
    assert!(dump.contains("2 : start=        2048, size=       16384, type=c, bootable"), "{dump}");
    assert_clean(&with_offset(&path, 9 * MIB));
    assert_same_files(&with_offset(&path, 9 * MIB), &source, temp.path());
    // Not asked for, nothing changes.
    let (path, growth) = flash(&image, temp.path(), 64 * MIB, false);
    assert!(growth.is_empty() && growth.changes.is_empty());
    let bytes = std::fs::read(&path).expect("the medium");
    assert!(bytes[..32 * MIB as usize] == std::fs::read(&image).expect("the image"));
}

#[test]
fn an_mbr_ends_at_2_tib() {
    if !oracles("an_mbr_ends_at_2_tib") {
        return;
    }
    let temp = temporary();
    let image = table(temp.path(), 32, "label: dos\nstart=1MiB, size=31MiB, type=83\n");
    make_ext4(&["-b", "4096"], &source(temp.path()), &image, MIB, 31 * MIB);
    let (path, growth) = flash(&image, temp.path(), 3 << 40, true);
    let end = (u64::from(u32::MAX) * 512) / MIB * MIB;
    assert_eq!(growth.fitted.partition.as_ref().map(|grown| grown.to.0), Some(end - MIB));
    let dump = assert_sfdisk_verifies(&path);
    assert!(dump.contains(&format!("size={:>12}", end / 512 - 2048)), "{dump}");
    // mke2fs reserves descriptors for 1024 times the size.
    let have = growth.fitted.filesystem.as_ref().expect("it grew").to;
    assert_eq!(
        kept(&growth),
        [format!(
            "the filesystem of partition 1 has {have} of 2097150 MiB: it has no more room for group descriptors"
        )]
    );
    assert_clean(&with_offset(&path, MIB));
}

#[test]
fn what_cannot_grow_stays_and_is_told() {
    if !oracles("what_cannot_grow_stays_and_is_told") {
        return;
    }
    let temp = temporary();
    let mbr = |rest: &str| table(temp.path(), 32, &format!("label: dos\n{rest}"));
    let told = |image: &Path| kept(&flash(image, temp.path(), 64 * MIB, true).1);

    let image = mbr(
        "start=1MiB, size=8MiB, type=83\nstart=9MiB, size=23MiB, type=5\nstart=10MiB, size=22MiB, type=83\n",
    );
    make_ext4(&[], &source(temp.path()), &image, 10 * MIB, 22 * MIB);
    assert_eq!(
        told(&image),
        ["no partition was grown: the last partition is a logical one, number 5, in an extended partition"]
    );

    let put = |image: &Path, at: u64, bytes: &[u8]| {
        OpenOptions::new()
            .write(true)
            .open(image)
            .and_then(|file| file.write_all_at(bytes, at))
            .expect("written");
    };
    for (at, magic, what) in [
        (0, b"hsqs".as_slice(), "a squashfs"),
        (54, b"FAT16", "FAT"),
        (82, b"FAT32", "FAT"),
        (0, b"LUKS\xba\xbe", "something encrypted"),
        (4086, b"SWAPSPACE2", "swap space"),
        (100, b"x", "something unknown"),
        (5000, b"x", "nothing known"),
    ] {
        let image = mbr("start=1MiB, size=8MiB, type=83\n");
        put(&image, MIB + at, magic);
        assert_eq!(
            told(&image),
            [format!("partition 1 stays as in the image: it holds {what}, and only ext4 is grown")]
        );
    }

    // The partition grows: the kernel grows the filesystem when its journal is replayed.
    let image = mbr("start=1MiB, size=31MiB, type=83\n");
    make_ext4(&[], &source(temp.path()), &image, MIB, 31 * MIB);
    run(command("debugfs").args(["-w", "-R", "feature needs_recovery", &with_offset(&image, MIB)]));
    let (_, growth) = flash(&image, temp.path(), 64 * MIB, true);
    assert_eq!(growth.fitted.to_string(), "partition 1 grew from 31 MiB to 63 MiB");
    assert_eq!(
        kept(&growth),
        [
            "the filesystem of partition 1 was not grown: the ext4 filesystem was not unmounted: its journal must be \
          replayed first"
        ]
    );

    // A hybrid MBR shows the last partition.
    let image = table(temp.path(), 42, GPT);
    make_ext4(&[], &source(temp.path()), &image, 9 * MIB, 32 * MIB);
    run(command("sgdisk").args(["--hybrid", "2"]).arg(&image));
    let mbr_before = std::fs::read(&image).expect("image")[440..512].to_vec();
    let (path, growth) = flash(&image, temp.path(), 64 * MIB, true);
    assert_eq!(
        kept(&growth),
        ["no partition was grown: the last partition, number 2, is shown in a hybrid MBR too"]
    );
    assert_eq!(growth.fitted.to_string(), "the backup of the GPT is at the end of the medium");
    assert_sgdisk_verifies(&path);
    assert_eq!(std::fs::read(&path).expect("medium")[440..512], mbr_before);
}

#[test]
fn a_damaged_gpt_is_left_alone() {
    if !oracles("a_damaged_gpt_is_left_alone") {
        return;
    }
    let temp = temporary();
    let image = table(temp.path(), 42, GPT);
    OpenOptions::new()
        .write(true)
        .open(&image)
        .and_then(|file| file.write_all_at(b"x", 1024 + 56))
        .expect("spoilt");
    let (path, growth) = flash(&image, temp.path(), 42 * MIB, true);
    assert_eq!(growth.fitted.to_string(), "");
    assert!(std::fs::read(&path).expect("medium") == std::fs::read(&image).expect("image"));
    assert_eq!(
        kept(&growth),
        ["the table stays as in the image: the primary copy of the GPT has a wrong checksum of its entries"]
    );
}

#[test]
fn a_table_for_a_larger_disk_is_left_alone() {
    if !oracles("a_table_for_a_larger_disk_is_left_alone") {
        return;
    }
    let temp = temporary();
    let image = table(temp.path(), 42, GPT);
    OpenOptions::new().write(true).open(&image).and_then(|file| file.set_len(20 * MIB)).expect("cut");
    let (_, growth) = flash(&image, temp.path(), 30 * MIB, true);
    assert_eq!(
        kept(&growth),
        ["the table stays as in the image: partition 2 ends behind the end of the medium"]
    );
    // Cut, but large enough a medium: the backup that the image has lost is made.
    let (path, growth) = flash(&image, temp.path(), 64 * MIB, false);
    assert_eq!(growth.fitted.to_string(), "the backup of the GPT is at the end of the medium");
    assert_sgdisk_verifies(&path);
}

// Runs of the program and of the engine

#[test]
fn a_flashed_image_fills_its_device() {
    let test = "a_flashed_image_fills_its_device";
    if !oracles(test) {
        return;
    }
    let temp = temporary();
    let source = source(temp.path());
    let image = table(temp.path(), 42, GPT);
    make_ext4(&["-b", "4096"], &source, &image, 9 * MIB, 32 * MIB);
    let Some(device) = loopdev::LoopDevice::new(test, 300 * MIB, &[]) else { return };
    let flash = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-image"));
        command.args(["flash", "--yes"]).args(options).arg("--image").arg(&image).arg(&device.path);
        run(&mut command)
    };
    let said = flash(&[]);
    let told = "the backup of the GPT is at the end of the medium; partition 2 grew from 32 MiB to 290 MiB; the filesystem \
                of partition 2 grew from 32 MiB to 290 MiB\n";
    assert!(said.contains(told), "{said}");
    assert_sgdisk_verifies(&device.path);
    assert_clean(&with_offset(&device.path, 9 * MIB));
    assert_same_files(&with_offset(&device.path, 9 * MIB), &source, temp.path());
    let said = flash(&["--no-grow"]);
    assert!(said.contains("the backup of the GPT is at the end of the medium\n"), "{said}");
    assert_sgdisk_verifies(&device.path);
    assert!(run(command("sfdisk").arg("--dump").arg(&device.path)).contains("size=       65536"));
    let usage =
        Command::new(env!("CARGO_BIN_EXE_skiff-image")).args(["flash", "--no-grow", "/dev/null"]).output();
    assert_eq!(usage.expect("it runs").status.code(), Some(2));
}

/// A medium that loses the first write to a byte.
struct Forgetful {
    memory: Memory,
    byte: u64,
    losses: std::sync::atomic::AtomicU32,
}

impl Layer for Forgetful {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &self.memory
    }

    fn own_name(&self) -> Option<&str> {
        Some("forgetful")
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        use std::sync::atomic::Ordering::Relaxed;
        let meets = matches!(op, WriteOp::Bytes { .. }) && op.range().contains(&self.byte);
        if meets && self.losses.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Ok(true);
        }
        op.apply(&self.memory)
    }
}

#[test]
fn what_growing_writes_is_read_back_and_written_again() {
    if !oracles("what_growing_writes_is_read_back_and_written_again") {
        return;
    }
    let temp = temporary();
    let image = table(temp.path(), 42, GPT);
    make_ext4(&["-b", "1024"], &source(temp.path()), &image, 9 * MIB, 32 * MIB);
    // The copy of the superblock in a group that is new.
    let byte = 9 * MIB + 1024 + 5 * 8 * MIB + 100;
    let flashed = |retries| {
        let memory = Memory::new(64 * MIB);
        memory.write_at(&vec![0xA5; 64 * MIB as usize], 0).expect("garbage");
        let target = Forgetful { memory, byte, losses: 1.into() };
        let options = FlashOptions { retries, fit: ResizePolicy::LastPartition, ..FlashOptions::default() };
        let done = Image::open(&image, None).expect("opens").copy(&target, true, &Silent, options);
        (done, target.memory.to_vec())
    };
    let (done, bytes) = flashed(1);
    let done = done.expect("written");
    assert_eq!(done.fitted.filesystem.expect("it grew").to.0, 54 * MIB);
    let path = temp.path().join("medium");
    std::fs::write(&path, &bytes).expect("written");
    assert_clean(&with_offset(&path, 9 * MIB));
    assert_sgdisk_verifies(&path);
    let (done, bytes) = flashed(0);
    let error = done.expect_err("it is found");
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.to_string().starts_with("`forgetful` does not hold what was written: "), "{error}");
    assert!(bytes[..MIB as usize].iter().all(|byte| *byte == 0) || bytes[510..512] != [0x55, 0xaa]);
}

/// A medium that is pulled out at the nth write.
struct Pulled<'a> {
    memory: &'a Memory,
    writes: std::sync::atomic::AtomicU64,
}

impl Pulled<'_> {
    fn count(&self, verb: Verb) -> Result<(), TargetError> {
        use std::sync::atomic::Ordering::Relaxed;
        match self.writes.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => {
                let source = std::io::Error::from_raw_os_error(5);
                Err(TargetError::Io { verb, target: "pulled".into(), offset: 0, len: 0, source })
            }
        }
    }
}

impl Layer for Pulled<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.memory
    }

    fn own_name(&self) -> Option<&str> {
        Some("pulled")
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        self.count(op.verb())?;
        op.apply(self.memory)
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        self.count(Verb::Sync)
    }
}

/// Whether a medium says that it has a table.
fn has_table(memory: &Memory) -> bool {
    skiff_image::table::read(memory).expect("readable").is_some()
}

#[test]
fn a_run_that_stops_while_it_grows_is_resumed() {
    if !oracles("a_run_that_stops_while_it_grows_is_resumed") {
        return;
    }
    let temp = temporary();
    // Long enough for the journal to know most of it.
    let image = table(temp.path(), 92, "label: gpt\nstart=1MiB, size=90MiB\n");
    make_ext4(&["-b", "1024"], &source(temp.path()), &image, MIB, 90 * MIB);
    let header = || {
        let medium = MediumId { model: None, serial: None, len: 120 * MIB };
        Header::new(medium, "the image".into(), skiff_image::value::Digest::of(b"the image"))
    };
    let path = temp.path().join("run.journal");
    let run = |memory: &Memory, writes: u64, journal: &Journal| {
        let target = Pulled { memory, writes: writes.into() };
        let options = FlashOptions {
            fit: ResizePolicy::LastPartition,
            journal: Some(journal),
            ..FlashOptions::default()
        };
        let done = Image::open(&image, None).expect("opens").copy(&target, true, &Silent, options);
        (done, writes - target.writes.into_inner())
    };
    let whole = Memory::new(120 * MIB);
    let (done, writes) = run(&whole, u64::MAX, &Journal::create(&path, header()).expect("created"));
    assert_eq!(done.expect("written").fitted.filesystem.expect("it grew").to.0, 118 * MIB);
    let (mut stopped, mut resumed) = (0, 0);
    // The wipe and the body come before.
    for cut in (writes - 18..writes).step_by(3) {
        let memory = Memory::new(120 * MIB);
        let journal = Journal::create(&path, header()).expect("created");
        let (done, _) = run(&memory, cut, &journal);
        assert!(done.is_err(), "{cut}");
        stopped += 1;
        if has_table(&memory) {
            assert!(
                memory.to_vec() == whole.to_vec(),
                "{cut} of {writes}: a table, but not all that it says"
            );
            continue;
        }
        // Without retries: what is on the medium must be known well enough to need none.
        let journal = Journal::resume(&path, header()).expect("resumed");
        let (done, _) = run(&memory, u64::MAX, &journal);
        let done = done.unwrap_or_else(|error| panic!("{cut} of {writes}: {error}"));
        assert!(done.resumed > 60 * MIB, "{cut} of {writes}: {}", done.resumed);
        assert!(memory.to_vec() == whole.to_vec(), "{cut} of {writes}");
        resumed += 1;
    }
    eprintln!("stopped at {stopped} of {writes} writes and syncs, {resumed} resumed");
    assert!(resumed > 3, "{resumed} of {stopped}");
}
