//! Ready images from anywhere: every format as its own tool packs it, from files, pipes and addresses; and what is
//! said about those that are cut off, damaged, not the right ones or too large.

#[cfg(feature = "network")]
use std::fs;
use std::io::{Cursor, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::harness::loopdev::LoopDevice;
use crate::harness::server;
#[cfg(feature = "network")]
use crate::harness::server::Server;
use crate::harness::tools::{command, oracle};
use sha2::{Digest as _, Sha256};
use skiff_image::bmap::Bmap;
use skiff_image::error::{Error, ErrorKind};
use skiff_image::event::Silent;
use skiff_image::flash::Broadcast;
use skiff_image::flash::FlashOptions;
use skiff_image::source::{Expected, Format, ImageKind, ImageLocation, Sha256Sum};
use skiff_image::source::{Image, ImageError, Source};
use skiff_image::storage::{Fault, Faulty, Geometry, Layer, Memory, Target, TargetError, WriteOp};
use skiff_image::table::TableBytes;
use skiff_image::table::{self, Partition, PartitionKind, gpt, mbr};

const MIB: u64 = 1 << 20;
/// Not a multiple of a block, and more than head, tail and two chunks.
const LEN: u64 = 7 * MIB + 512;
const MEDIUM: u64 = 9 * MIB;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// The bytes of a disk: a table, what packs well, what does not, and zeros.
fn disk() -> Vec<u8> {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    DISK.get_or_init(make_disk).clone()
}

fn make_disk() -> Vec<u8> {
    let mut bytes = vec![0; LEN as usize];
    let geometry = Geometry { len: LEN, sector_size: 512 };
    let kind = PartitionKind::Mbr { code: 0x83, active: false };
    let partition = Partition { number: 1, name: "rootfs".into(), start: 2 * MIB, len: 5 * MIB, kind };
    for piece in mbr::encode(0x1234_5678, &[partition], geometry).expect("encodes") {
        bytes[piece.offset as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for byte in &mut bytes[3 << 20..4 << 20] {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    for (at, byte) in bytes[5 << 20..7 << 20].iter_mut().enumerate() {
        *byte = (at / 100) as u8;
    }
    bytes[LEN as usize - 700..].fill(0xee);
    bytes
}

/// What a tool makes of bytes.
fn packed(tool: &str, arguments: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut tool = command(tool);
    let mut child =
        tool.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the tool runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("the tool ends");
    writer.join().expect("no panic").expect("all is taken");
    assert!(output.status.success());
    output.stdout
}

/// What `zip` makes of files.
fn zipped(options: &[&str], files: &[(&str, &[u8])]) -> Vec<u8> {
    let dir = scratch();
    let mut zip = command("zip");
    zip.current_dir(dir.path()).arg("-q").args(options).arg("all.zip");
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).expect("write");
        zip.arg(name);
    }
    assert!(zip.status().expect("zip runs").success());
    fs::read(dir.path().join("all.zip")).expect("read")
}

/// The disk in every format, as its own tool packs it, in one piece and in several.
fn all_formats(test: &str) -> Option<Vec<(&'static str, Format, Vec<u8>)>> {
    static FORMATS: OnceLock<Vec<(&'static str, Format, Vec<u8>)>> = OnceLock::new();
    let tools = ["gzip", "xz", "zstd", "bzip2", "lz4", "zip"];
    tools.iter().all(|tool| oracle(test, tool)).then(|| FORMATS.get_or_init(pack_all).clone())
}

fn pack_all() -> Vec<(&'static str, Format, Vec<u8>)> {
    let disk = disk();
    let (first, second) = disk.split_at(3_000_001);
    let two =
        |tool: &str, arguments: &[&str]| [packed(tool, arguments, first), packed(tool, arguments, second)];
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"hello"].concat();
    let zstd_two = two("zstd", &["-q", "-1", "-c"]);
    let lz4_two = two("lz4", &["-q", "-1", "-c"]);
    vec![
        ("raw", Format::Raw, disk.clone()),
        ("gzip", Format::Gzip, packed("gzip", &["-1", "-c"], &disk)),
        ("gzip, two members", Format::Gzip, two("gzip", &["-1", "-c"]).concat()),
        ("xz", Format::Xz, packed("xz", &["-0", "-c"], &disk)),
        ("xz, blocks", Format::Xz, packed("xz", &["-0", "-c", "--block-size=1MiB"], &disk)),
        ("xz, padded streams", Format::Xz, two("xz", &["-0", "-c"]).join(&[0; 8][..])),
        ("zstd", Format::Zstd, packed("zstd", &["-q", "-1", "-c", &format!("--stream-size={LEN}")], &disk)),
        ("zstd, unknown length", Format::Zstd, packed("zstd", &["-q", "-1", "-c"], &disk)),
        (
            "zstd, frames",
            Format::Zstd,
            [&skippable, &zstd_two[0], &skippable, &zstd_two[1], &skippable].map(Vec::as_slice).concat(),
        ),
        ("bzip2", Format::Bzip2, packed("bzip2", &["-1", "-c"], &disk)),
        ("bzip2, two streams", Format::Bzip2, two("bzip2", &["-1", "-c"]).concat()),
        ("lz4", Format::Lz4, packed("lz4", &["-q", "-1", "-c"], &disk)),
        ("lz4, frames", Format::Lz4, [&lz4_two[0], &skippable, &lz4_two[1]].map(Vec::as_slice).concat()),
        ("zip", Format::Zip, zipped(&["-1"], &[("disk.img", &disk), ("README", b"hello")])),
        ("zip, stored", Format::Zip, zipped(&["-0"], &[("README", b"hello"), ("disk.img", &disk)])),
        (
            "zip, lengths behind",
            Format::Zip,
            zipped(&["-1", "-fd"], &[("README", b"hello"), ("disk.img", &disk)]),
        ),
    ]
}

/// A medium full of old data.
fn used_medium() -> Memory {
    let memory = Memory::new(MEDIUM);
    memory.write_at(&vec![0xa5; MEDIUM as usize], 0).expect("write");
    memory
}

/// What a medium holds when a source was written to it, with what is written last.
fn written(source: &dyn Source) -> Result<Vec<u8>, Error> {
    let memory = used_medium();
    for piece in source.write(&memory)? {
        memory.write_at(&piece.bytes, piece.offset)?;
    }
    Ok(memory.to_vec())
}

fn in_file(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).expect("write");
    path
}

fn streamed(bytes: &[u8], bmap: Option<Bmap>, sha256: Option<Expected>) -> Result<Image, ImageError> {
    Image::from_reader("a pipe", Box::new(Cursor::new(bytes.to_vec())), bmap, sha256)
}

fn sha256(bytes: &[u8]) -> Sha256Sum {
    Sha256Sum(Sha256::digest(bytes).into())
}

fn bmap_of(disk: &[u8]) -> Bmap {
    let dir = scratch();
    let path = in_file(dir.path(), "disk.img", disk);
    let file = fs::File::open(&path).expect("open");
    let mapped = [0..MIB / 2, 3 * MIB..4 * MIB, 5 * MIB..6 * MIB, LEN - 4096..LEN];
    Bmap::from_ranges(&file, &path, LEN, &mapped).expect("a map")
}

#[test]
fn every_format_gives_the_same_bytes_from_files_and_pipes() {
    let Some(formats) = all_formats("every_format_gives_the_same_bytes_from_files_and_pipes") else { return };
    let (dir, disk) = (scratch(), disk());
    for (what, format, bytes) in formats {
        // The name says nothing.
        let path = in_file(dir.path(), "image.txt", &bytes);
        let file = Image::open(&path, None).unwrap_or_else(|error| panic!("{what}: {error}"));
        let pipe = streamed(&bytes, None, None).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((file.format(), file.kind().expect("readable")), (format, ImageKind::Disk), "{what}");
        for (from, image) in [("file", file), ("pipe", pipe)] {
            let medium = written(&image).unwrap_or_else(|error| panic!("{what} from a {from}: {error}"));
            assert!(medium[..LEN as usize] == disk, "{what} from a {from}");
            assert!(medium[LEN as usize..].iter().all(|byte| *byte == 0xa5), "{what} from a {from}");
        }
    }
}

#[test]
fn lengths_are_known_where_the_format_tells_them() {
    let Some(formats) = all_formats("lengths_are_known_where_the_format_tells_them") else { return };
    let dir = scratch();
    for (what, _, bytes) in formats {
        let path = in_file(dir.path(), "image.txt", &bytes);
        let expected = match what {
            "raw" | "zstd" => Some(LEN),
            _ if what.starts_with("xz") || what.starts_with("zip") => Some(LEN),
            _ => None,
        };
        assert_eq!(Image::open(&path, None).expect("opens").len(), expected, "{what}");
        assert_eq!(streamed(&bytes, None, None).expect("opens").len(), None, "{what}");
        assert_eq!(streamed(&bytes, Some(bmap_of(&disk())), None).expect("opens").len(), Some(LEN), "{what}");
    }
}

#[test]
fn what_is_cut_off_anywhere_is_told_and_nothing_is_bootable() {
    let test = "what_is_cut_off_anywhere_is_told_and_nothing_is_bootable";
    let Some(formats) = all_formats(test) else { return };
    for (what, _, bytes) in formats.iter().filter(|(_, format, _)| *format != Format::Raw) {
        let ends = [bytes.len() - 1, bytes.len() - 2, bytes.len() - 5, bytes.len() - 13];
        let spread = (1..=8).map(|part| bytes.len() * part / 9);
        for end in spread.chain(ends) {
            let told = streamed(&bytes[..end], None, None).map_err(Error::from);
            let told = told.and_then(|image| written(&image));
            // The directory of a zip, or a frame that is skipped, is not needed.
            if let Ok(medium) = &told {
                assert!(medium[..LEN as usize] == disk(), "{what} at {end} of {}", bytes.len());
                continue;
            }
            let error = told.map(drop).expect_err("only errors are left");
            let is_whole_member = error.to_string().contains("is cut off: it ends at byte");
            assert!(is_whole_member && error.kind() == ErrorKind::Corrupt, "{what} at {end}: {error}");
        }
    }
}

#[test]
fn a_wrong_bit_anywhere_is_told() {
    let Some(formats) = all_formats("a_wrong_bit_anywhere_is_told") else { return };
    let disk = disk();
    for (what, _, bytes) in formats.iter().filter(|(_, format, _)| *format != Format::Raw) {
        let mut noticed = 0;
        for part in 0..16 {
            let mut damaged = bytes.clone();
            let at = if part < 8 { part } else { bytes.len() * (part - 7) / 9 };
            damaged[at] ^= 0x10;
            let told = streamed(&damaged, None, None).map_err(Error::from).and_then(|image| written(&image));
            match told {
                // Another time or operating system in a header, or another format: that is raw then, and so it is told
                // apart from the image by its bytes only.
                Ok(medium) if part < 8 => {
                    assert!(
                        medium[..LEN as usize] == disk || medium.starts_with(&damaged[..512]),
                        "{what} at {at}"
                    );
                }
                Ok(medium) => assert!(medium[..LEN as usize] == disk, "{what} at {at}"),
                Err(_) => noticed += 1,
            }
        }
        assert!(noticed >= 7, "{what}: {noticed}");
    }
}

#[test]
fn what_stands_behind_is_told_and_left_out_when_a_hash_vouches_for_it() {
    let test = "what_stands_behind_is_told_and_left_out_when_a_hash_vouches_for_it";
    if !oracle(test, "gzip") {
        return;
    }
    let disk = disk();
    let bytes = packed("gzip", &["-1", "-c"], &disk);
    let padded = [bytes.as_slice(), &[0; 1000]].concat();
    assert!(
        written(&streamed(&padded, None, None).expect("opens")).expect("written")[..LEN as usize] == disk
    );
    let signed = [bytes.as_slice(), b"signature of the maker"].concat();
    let message =
        format!("behind the gzip stream of `a pipe`, from byte {} on, is something else", bytes.len());
    let error = written(&streamed(&signed, None, None).expect("opens")).expect_err("told");
    assert_eq!(error.to_string(), message);
    assert_eq!(error.hint().as_deref(), Some("if it belongs there, give the SHA-256 of the file"));
    let image = streamed(&signed, None, Some(Expected::Given(sha256(&signed)))).expect("opens");
    assert!(written(&image).expect("written")[..LEN as usize] == disk);
    assert_eq!(image.remarks(), [format!("{message}; it was left out")]);
}

#[test]
fn a_wrong_hash_leaves_nothing_bootable_and_a_right_one_is_no_obstacle() {
    let Some(formats) = all_formats("a_wrong_hash_leaves_nothing_bootable") else { return };
    let (dir, disk) = (scratch(), disk());
    for (what, format, bytes) in formats {
        let place = ImageLocation::File(in_file(dir.path(), "image.txt", &bytes));
        let open = |sha256| Image::from_location(&place, None, Some(sha256), None).expect("opens");
        for right in [Expected::Given(sha256(&bytes)), Expected::Decoded(sha256(&disk))] {
            let memory = used_medium();
            open(right)
                .copy(&memory, true, &Silent, FlashOptions::default())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(memory.to_vec()[..LEN as usize] == disk, "{what}");
        }
        for wrong in [Expected::Given(sha256(b"")), Expected::Decoded(sha256(b""))] {
            let memory = used_medium();
            let error =
                open(wrong).copy(&memory, true, &Silent, FlashOptions::default()).map(drop).expect_err(what);
            assert_eq!(table::read(&memory).expect("read"), None, "{what}");
            let (of, found) = match wrong {
                Expected::Given(_) => ("", sha256(&bytes)),
                Expected::Decoded(_) => ("what is in ", sha256(&disk)),
            };
            let path = dir.path().join("image.txt");
            let message = format!("the SHA-256 of {of}`{}` is {found}, not {}", path.display(), sha256(b""));
            assert!(error.to_string().starts_with(&message), "{what}: {error}");
            let touched = memory.to_vec()[4 * MIB as usize] != 0xa5;
            assert_eq!(touched, format != Format::Raw, "{what}: what can be told before is told before");
        }
    }
}

#[test]
fn a_block_map_holds_for_every_format() {
    let Some(formats) = all_formats("a_block_map_holds_for_every_format") else { return };
    let (disk, bmap) = (disk(), bmap_of(&disk()));
    for (what, _, bytes) in formats {
        let medium = written(&streamed(&bytes, Some(bmap.clone()), None).expect("opens")).expect("written");
        let mut expected = vec![0xa5; MEDIUM as usize];
        for range in &bmap.ranges {
            let bytes = range.bytes.start as usize..range.bytes.end as usize;
            expected[bytes.clone()].copy_from_slice(&disk[bytes]);
        }
        assert!(medium == expected, "{what}");
        let mut other = bmap.clone();
        let last = other.ranges.len() - 2;
        other.ranges[last].sha256 = Some([0xab; 32]);
        let error = written(&streamed(&bytes, Some(other.clone()), None).expect("opens")).expect_err(what);
        let bytes_of = &other.ranges[last].bytes;
        let found = sha256(&disk[bytes_of.start as usize..bytes_of.end as usize]);
        assert_eq!(
            error.to_string(),
            format!(
                "bytes {}..{} of `a pipe` are damaged: their SHA-256 is {found}, the block map says {}",
                bytes_of.start,
                bytes_of.end,
                "ab".repeat(32)
            ),
            "{what}"
        );
        let longer = Bmap { image_len: LEN + 512, ..bmap.clone() };
        let error = written(&streamed(&bytes, Some(longer), None).expect("opens")).expect_err(what);
        let message = error.to_string();
        assert_eq!(
            message, "the block map is for an image of 7169 KiB but `a pipe` has 7.0 MiB (7340544 bytes)",
            "{what}"
        );
    }
}

#[test]
fn an_image_larger_than_the_medium_is_told_with_both_numbers() {
    let Some(formats) = all_formats("an_image_larger_than_the_medium_is_told_with_both_numbers") else {
        return;
    };
    let (dir, small) = (scratch(), Memory::new(5 * MIB));
    for (what, _, bytes) in formats {
        let path = in_file(dir.path(), "image.txt", &bytes);
        let image = Image::open(&path, None).expect("opens");
        let known = image.len().is_some();
        let early =
            image.examine(small.name(), small.geometry()).map(drop).map_err(|error| error.to_string());
        let needs = |need| format!("the image `{}` needs {need} but `memory` has 5 MiB", path.display());
        match known {
            true => assert_eq!(early, Err(needs("7.0 MiB (7340544 bytes)")), "{what}"),
            false => assert_eq!(early, Ok(()), "{what}"),
        }
        let late = image.write(&small).map(drop).expect_err(what);
        if !known {
            assert_eq!((late.to_string(), late.kind()), (needs("more than 5 MiB"), ErrorKind::Fit), "{what}");
        }
    }
}

#[test]
fn streams_that_need_much_memory_say_so_and_are_not_called_damaged() {
    let test = "streams_that_need_much_memory_say_so_and_are_not_called_damaged";
    if !oracle(test, "zstd") || !oracle(test, "xz") {
        return;
    }
    use skiff_image::error::Diagnostic;
    let dir = scratch();
    let long = packed("zstd", &["-q", "-c", "--long=31"], &disk());
    let large = packed("xz", &["-c", "--lzma2=preset=1,dict=512MiB"], &disk());
    for (name, bytes, allowed, need, format) in
        [("zst", long, 2 << 30, "2 GiB", "zstd"), ("xz", large, 520 << 20, "513 MiB", "xz")]
    {
        let path = in_file(dir.path(), name, &bytes);
        let place = ImageLocation::File(path.clone());
        let open = |memory| Image::from_location(&place, None, None, memory);
        let error = open(None).err().expect("the usual memory is less");
        let message = format!(
            "unpacking the {format} stream of `{}` needs {need} of memory, but 256 MiB are allowed",
            path.display()
        );
        assert_eq!((error.to_string(), error.code()), (message, Some("unpack-memory")));
        assert_eq!(error.hint().as_deref(), Some("unpack the image and give that"));
        let image = open(Some(allowed)).expect("allowed");
        assert!(written(&image).expect("writes")[..LEN as usize] == disk(), "{format}: other bytes");
        // The one that is needed is enough, and one that is damaged is that whatever it may take.
        let mut broken = bytes.clone();
        let middle = broken.len() / 2;
        broken[middle..middle + 64].fill(0x55);
        fs::write(&path, &broken).expect("writes");
        let error = match open(Some(allowed)) {
            Ok(image) => written(&image).expect_err("damaged").to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains("damaged") || error.contains("cut off"), "{error}");
    }
}

#[test]
fn a_bomb_ends_at_the_end_of_the_medium() {
    let test = "a_bomb_ends_at_the_end_of_the_medium";
    if !oracle(test, "zstd") {
        return;
    }
    // 128 frames of 512 MiB of zeros each.
    let bomb = zstd::encode_all(std::io::repeat(0).take(512 * MIB), 1).expect("packs").repeat(128);
    let memory = Memory::new(8 * MIB);
    let error = streamed(&bomb, None, None).expect("opens").write(&memory).map(drop).expect_err("too large");
    assert_eq!(error.to_string(), "the image `a pipe` needs more than 8 MiB but `memory` has 8 MiB");
}

#[test]
fn zip_files_with_no_image_or_two_are_refused_with_their_names() {
    let test = "zip_files_with_no_image_or_two_are_refused_with_their_names";
    if !oracle(test, "zip") {
        return;
    }
    let dir = scratch();
    let disk = disk();
    let refusal = |image: Result<Image, ImageError>| {
        let error = image.map_err(Error::from).and_then(|image| written(&image)).expect_err("refused");
        format!("{error}; {}", error.hint().expect("it has one"))
    };
    let hint = "unpack the one that is meant and give that";
    let both = zipped(&["-1"], &[("a.img", &disk), ("b.wic", &disk)]);
    let path = in_file(dir.path(), "both.zip", &both);
    let why = "it has 2 images: `a.img`, `b.wic`";
    assert_eq!(
        refusal(Image::open(&path, None)),
        format!("`{}` cannot be unpacked: {why}; {hint}", path.display())
    );
    assert_eq!(refusal(streamed(&both, None, None)), format!("`a pipe` cannot be unpacked: {why}; {hint}"));

    let none = zipped(&["-1"], &[("README", b"hello"), ("LICENSE", b"free")]);
    let path = in_file(dir.path(), "none.zip", &none);
    let why = "none of its members is an image: `README`, `LICENSE`";
    assert_eq!(
        refusal(Image::open(&path, None)),
        format!("`{}` cannot be unpacked: {why}; {hint}", path.display())
    );
    assert_eq!(refusal(streamed(&none, None, None)), format!("`a pipe` cannot be unpacked: {why}; {hint}"));

    let secret = zipped(&["-1", "-P", "hush"], &[("disk.img", &disk)]);
    let path = in_file(dir.path(), "secret.zip", &secret);
    let why = "`disk.img` is encrypted";
    assert_eq!(
        refusal(Image::open(&path, None)),
        format!("`{}` cannot be unpacked: {why}; {hint}", path.display())
    );
    assert_eq!(refusal(streamed(&secret, None, None)), format!("`a pipe` cannot be unpacked: {why}; {hint}"));

    let stored = zipped(&["-0", "-fd"], &[("disk.img", &disk)]);
    let why = "the length of `disk.img` stands behind it, where a stream cannot look";
    assert_eq!(
        refusal(streamed(&stored, None, None)),
        format!("`a pipe` cannot be unpacked: {why}; save the zip file and give that")
    );

    let path = in_file(dir.path(), "only.zip", &zipped(&["-1"], &[("firmware", &disk)]));
    assert!(written(&Image::open(&path, None).expect("opens")).expect("written")[..LEN as usize] == disk);
    let path = in_file(dir.path(), "cut.zip", &both[..both.len() - 30]);
    let message = refusal(Image::open(&path, None));
    let start = format!("`{}` cannot be unpacked: its directory cannot be read: ", path.display());
    assert!(message.starts_with(&start), "{message}");
}

#[test]
fn other_methods_and_checksums_of_zip_files_are_told() {
    let test = "other_methods_and_checksums_of_zip_files_are_told";
    if !oracle(test, "zip") {
        return;
    }
    let dir = scratch();
    let good = zipped(&["-0"], &[("disk.img", &disk())]);
    let path = in_file(dir.path(), "disk.zip", &good);
    let cannot = |path: &Path, why: &str| format!("`{}` cannot be unpacked: {why}", path.display());
    let told = || {
        let image = Image::open(&path, None).map_err(Error::from);
        image.and_then(|image| written(&image)).expect_err("told").to_string()
    };
    let mut damaged = good.clone();
    damaged[4 << 20] ^= 1;
    fs::write(&path, &damaged).expect("write");
    let crc32 = libdeflater::crc32(&disk());
    let mut disk = disk();
    // The local header, with name and times, comes first.
    let header = good.windows(512).position(|bytes| bytes == &disk[..512]).expect("it is stored");
    disk[(4 << 20) - header] ^= 1;
    let found = libdeflater::crc32(&disk);
    assert_eq!(told(), cannot(&path, &format!("the CRC-32 of `disk.img` is {found:08x}, not {crc32:08x}")));
    // The length in the directory, 24 bytes behind its signature.
    let directory = good.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").expect("a directory");
    let mut longer = good.clone();
    longer[directory + 24] += 1;
    fs::write(&path, &longer).expect("write");
    assert_eq!(
        told(),
        format!(
            "the zip file `{}` says that 7.0 MiB (7340545 bytes) are in it, but there are 7.0 MiB (7340544 bytes)",
            path.display()
        )
    );
    // And the method, 10 bytes behind it.
    let mut other = good.clone();
    other[directory + 10] = 14;
    fs::write(&path, &other).expect("write");
    let why = "`disk.img` is compressed with method 14; 0 (stored) and 8 (deflated) can be read";
    assert_eq!(told(), cannot(&path, why));
}

#[test]
fn what_is_no_image_is_refused() {
    let test = "what_is_no_image_is_refused";
    if !oracle(test, "gzip") {
        return;
    }
    let refusal = |bytes: &[u8]| {
        let error = streamed(bytes, None, None).err().expect("refused");
        (error.to_string(), skiff_image::error::Diagnostic::kind(&error))
    };
    let of = |format: &str| format!("`a pipe` is in the format of {format}, which cannot be unpacked here");
    assert_eq!(refusal(b"7z\xbc\xaf\x27\x1cand more"), (of("7-Zip"), ErrorKind::Unsupported));
    let qcow2 = streamed(b"QFI\xfb and more", None, None).expect("it is no compression");
    let error = written(&qcow2).expect_err("refused");
    let message = "`a pipe` is not written: it is not a raw disk image (found: QEMU (qcow2))";
    assert_eq!(
        (error.to_string(), error.kind(), error.code()),
        (message.into(), ErrorKind::Refused, Some("not-raw"))
    );
    let twice = packed("gzip", &["-c"], &packed("gzip", &["-c"], &disk()));
    assert_eq!(refusal(&twice), ("`a pipe` is packed twice: gzip in gzip".into(), ErrorKind::Unsupported));
    assert_eq!(refusal(&packed("gzip", &["-c"], b"")), ("`a pipe` is empty".into(), ErrorKind::Input));
    assert_eq!(refusal(b""), ("`a pipe` is empty".into(), ErrorKind::Input));
    let (message, family) = refusal(b"\xfd7zXZ\0rest and more");
    assert!(message.starts_with("the xz stream of `a pipe` is damaged before byte "), "{message}");
    assert_eq!(family, ErrorKind::Corrupt);
}

#[test]
fn what_comes_once_is_read_once() {
    let image = streamed(&disk(), None, None).expect("opens");
    assert!(!image.replays());
    written(&image).expect("written");
    let error = written(&image).expect_err("there is nothing any more");
    assert_eq!(error.to_string(), "`a pipe` was read already and cannot be read again");
    assert_eq!(error.hint().as_deref(), Some("save the image in a file and give that"));
}

#[test]
fn a_reader_that_fails_is_told_with_what_it_said() {
    struct Fails(Cursor<Vec<u8>>);
    impl Read for Fails {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(std::io::Error::from_raw_os_error(5)),
                count => Ok(count),
            }
        }
    }
    let reader = Fails(Cursor::new(disk()[..6 << 20].to_vec()));
    let image = Image::from_reader("standard input", Box::new(reader), None, None).expect("opens");
    let error = written(&image).expect_err("it fails");
    assert_eq!(error.to_string(), "cannot read `standard input`: Input/output error (os error 5)");
}

#[test]
fn a_file_that_changes_is_another_one() {
    let test = "a_file_that_changes_is_another_one";
    if !oracle(test, "gzip") {
        return;
    }
    let dir = scratch();
    for (name, bytes) in [("disk.img", disk()), ("disk.img.gz", packed("gzip", &["-1", "-c"], &disk()))] {
        let path = in_file(dir.path(), name, &bytes);
        let image = Image::open(&path, None).expect("opens");
        let before = image.identity();
        assert!(before.is_some() && image.replays());
        assert_eq!(Image::open(&path, None).expect("opens").identity(), before);
        written(&image).expect("written");
        let file = fs::OpenOptions::new().write(true).open(&path).expect("open");
        file.write_all_at(&[0xaa], bytes.len() as u64 - 3).expect("change");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("a time that is not now");
        assert_ne!(Image::open(&path, None).expect("opens").identity(), before);
        let error = written(&image).expect_err("it changed");
        assert_eq!(error.to_string(), format!("`{}` was changed while it was read", path.display()));
        assert_eq!(error.hint().as_deref(), Some("start again when the image is complete"));
    }
}

#[test]
fn a_hash_or_a_block_map_is_an_identity_of_its_own() {
    let (dir, disk) = (scratch(), disk());
    let (first, second) = (in_file(dir.path(), "1", &disk), in_file(dir.path(), "2", &disk));
    let identity = |path: &Path, bmap: Option<Bmap>, sha256| {
        Image::from_location(&ImageLocation::File(path.into()), bmap, sha256, None)
            .expect("opens")
            .identity()
            .expect("there is one")
    };
    let (map, sum) = (bmap_of(&disk), Expected::Given(sha256(&disk)));
    assert_eq!(identity(&first, Some(map.clone()), None), identity(&second, Some(map.clone()), None));
    assert_eq!(identity(&first, None, Some(sum)), identity(&second, None, Some(sum)));
    assert_ne!(identity(&first, None, None), identity(&second, None, None));
    assert_ne!(identity(&first, Some(map.clone()), Some(sum)), identity(&first, None, Some(sum)));
    let mut other = map.clone();
    other.ranges[0].sha256 = Some([1; 32]);
    assert_ne!(identity(&first, Some(other), None), identity(&first, Some(map), None));
    assert_eq!(streamed(&disk, None, None).expect("opens").identity(), None);
    assert!(streamed(&disk, None, Some(sum)).expect("opens").identity().is_some());
}

#[test]
fn kinds_are_told_by_the_first_bytes() {
    let kind = |at: usize, magic: &[u8]| {
        let mut bytes = vec![0; 70_000];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        bytes[69_999] = 1;
        streamed(&bytes, None, None).expect("opens").kind().expect("readable")
    };
    assert_eq!(kind(0, b"hsqs"), ImageKind::Filesystem);
    assert_eq!(kind(1080, &[0x53, 0xef]), ImageKind::Filesystem);
    assert_eq!(kind(0, b"anything"), ImageKind::Disk);
}

#[test]
fn sectors_of_another_size_are_told_for_packed_images_too() {
    let test = "sectors_of_another_size_are_told_for_packed_images_too";
    if !oracle(test, "xz") {
        return;
    }
    let mut disk = disk();
    let disk_guid = uuid::Uuid::from_u128(1);
    let options = gpt::Options { disk_guid, entry_count: 128, reserved: &[], hybrid: None };
    for piece in gpt::encode(&[], Geometry { len: LEN, sector_size: 512 }, &options).expect("encodes") {
        disk[piece.offset as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    let image = streamed(&packed("xz", &["-0", "-c"], &disk), None, None).expect("opens");
    let examine = |sector_size| image.examine("memory", Geometry { len: 16 * MIB, sector_size });
    assert_eq!(
        examine(4096).expect_err("other sectors").to_string(),
        "`a pipe` is not written: its table counts in sectors of 512 bytes, and those of the medium have 4096"
    );
    examine(512).expect("these are right");
}

/// An image at an address, with its hash.
#[cfg(feature = "network")]
fn fetched(url: &str, bytes: &[u8]) -> Result<Image, ImageError> {
    Image::from_location(&ImageLocation::Url(url.into()), None, Some(Expected::Given(sha256(bytes))), None)
}

#[cfg(feature = "network")]
#[test]
fn an_address_gives_the_same_bytes_and_can_be_asked_again() {
    let bytes = zstd::encode_all(disk().as_slice(), 1).expect("packs");
    let body = bytes.clone();
    let server = Server::start(move |_, _| server::whole(&body));
    let url = format!("{}/disk.img.zst?token=hush", server.address);
    let image = fetched(&url, &bytes).expect("opens");
    assert_eq!(image.name(), format!("{}/disk.img.zst", server.address), "what may be secret is not shown");
    assert!(image.replays() && image.identity().is_some());
    for _ in 0..2 {
        assert!(written(&image).expect("written")[..LEN as usize] == disk());
    }
    assert_eq!(server.requests().len(), 3, "once for the head, and once for each copy");
    let error = written(&fetched(&url, b"another").expect("opens")).expect_err("another hash");
    assert!(error.to_string().starts_with(&format!("the SHA-256 of `{}/disk.img.zst` is ", server.address)));
}

#[cfg(feature = "network")]
#[test]
fn a_download_that_breaks_is_taken_up() {
    let bytes = disk();
    let body = bytes.clone();
    // The head is one request; then it breaks twice, and the second time the server has forgotten what ranges are.
    let server = Server::start(move |number, request| match (number, request.from) {
        (0, _) => server::whole(&body),
        (1, None) => server::answer("200 OK", "ETag: \"one\"\r\n", &body, 3 << 20),
        (2, Some(from)) => {
            let rest = &body[from..];
            let range = format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
            server::answer("206 Partial Content", &range, rest, 1 << 20)
        }
        _ => server::whole(&body),
    });
    let url = format!("{}/disk.img", server.address);
    let medium = written(&fetched(&url, &bytes).expect("opens")).expect("written");
    assert!(medium[..LEN as usize] == bytes);
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests[2].from.is_some_and(|from| from <= 3 << 20 && from > 2 << 20), "{requests:?}");
    assert_eq!(requests[2].if_range.as_deref(), Some("\"one\""));
    assert!(requests[3].from > requests[2].from, "{requests:?}");
}

#[cfg(feature = "network")]
#[test]
fn addresses_that_cannot_be_fetched_are_told() {
    use skiff_image::error::Diagnostic;
    let refusal = |url: &str, sum: Option<Expected>| {
        let error =
            Image::from_location(&ImageLocation::Url(url.into()), None, sum, None).err().expect("refused");
        format!("{error}; {}", error.hint().expect("it has one"))
    };
    let sum = Some(Expected::Given(sha256(b"")));
    assert_eq!(
        refusal("https://", sum),
        "`https://` is not an address: expected `https://HOST/PATH`; give a path for a file, or `-` for standard input"
    );
    assert_eq!(
        refusal("http://example.org/disk.img", sum),
        "`http://example.org/disk.img` is not encrypted; use https"
    );
    assert_eq!(
        refusal("https://me:hush@example.org/disk.img?key=hush", None),
        "an image from an address needs its SHA-256, and there is none for `https://example.org/disk.img`; give the one \
         that is published with the image"
    );
    let server = Server::start(|_, request| match request.path.as_str() {
        "/round" => server::answer("302 Found", "Location: /round\r\n", b"", 0),
        "/plain" => server::answer("302 Found", "Location: http://example.org/disk.img\r\n", b"", 0),
        "/moved" => server::answer("301 Moved", "Location: /there\r\n", b"", 0),
        "/there" => server::whole(&disk()),
        _ => server::answer("404 Not Found", "", b"", 0),
    });
    let at = |path: &str| format!("{}/{path}", server.address);
    let browser = "check the address in a browser";
    assert_eq!(
        refusal(&at("none"), sum),
        format!("the server answered 404 Not Found for `{}`; {browser}", at("none"))
    );
    assert_eq!(
        refusal(&at("round"), sum),
        format!("`{}` leads elsewhere: too often; {browser}", at("round"))
    );
    assert_eq!(
        refusal(&at("plain"), sum),
        format!(
            "`{}` leads elsewhere: `http://example.org/disk.img` is not encrypted; {browser}",
            at("plain")
        )
    );
    assert!(
        written(&fetched(&at("moved"), &disk()).expect("opens")).expect("written")[..LEN as usize] == disk()
    );
    let nobody =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    assert_eq!(
        refusal(&format!("http://{nobody}/disk.img"), sum),
        format!(
            "cannot reach `http://{nobody}/disk.img`: Connection refused (os error 111); check the network, or fetch \
             the image to a file first"
        )
    );
}

/// Writes a source to several targets at once, each with its own result.
fn to_all(source: &dyn Source, patience: Duration, targets: &[&dyn Target]) -> Vec<Result<(), Error>> {
    Broadcast::new(source, targets.len(), patience).run(|readers| {
        std::thread::scope(|scope| {
            let each = readers.into_iter().zip(targets).map(|(reader, target)| {
                scope.spawn(move || {
                    let pieces = reader.write(*target)?;
                    pieces.iter().try_for_each(|piece| Ok(target.write_at(&piece.bytes, piece.offset)?))
                })
            });
            let threads: Vec<_> = each.collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    })
}

const FOREVER: Duration = Duration::from_secs(3600);

/// A source that counts how often it is read.
struct Counted<'a>(&'a Image, AtomicUsize);

impl Source for Counted<'_> {
    fn name(&self) -> String {
        self.0.name()
    }

    fn len(&self) -> Option<u64> {
        self.0.len()
    }

    fn planned(&self) -> Option<u64> {
        self.0.planned()
    }

    fn identity(&self) -> Option<skiff_image::value::Digest> {
        self.0.identity()
    }

    fn replays(&self) -> bool {
        self.0.replays()
    }

    fn write(&self, target: &dyn Target) -> skiff_image::Result<Vec<TableBytes>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.write(target)
    }
}

#[test]
fn one_reading_serves_several_targets_and_one_that_fails_does_not_stop_the_others() {
    let packed = zstd::encode_all(disk().as_slice(), 1).expect("packs");
    let dir = scratch();
    for name in ["disk.img", "disk.img.zst"] {
        let bytes = if name == "disk.img" { disk() } else { packed.clone() };
        let image = Image::open(&in_file(dir.path(), name, &bytes), None).expect("opens");
        let source = Counted(&image, AtomicUsize::new(0));
        let media = [used_medium(), used_medium(), used_medium()];
        let pulled = Faulty::new(&media[1], Fault::Vanish { after: 2 * MIB });
        let results = to_all(&source, FOREVER, &[&media[0], &pulled, &media[2]]);
        assert_eq!(source.1.load(Ordering::SeqCst), 1, "{name}");
        assert!(results[0].is_ok() && results[2].is_ok(), "{name}: {results:?}");
        let message = results[1].as_ref().expect_err("pulled").to_string();
        assert!(message.ends_with("of `memory`: No such device (os error 19)"), "{message}");
        for medium in [&media[0], &media[2]] {
            assert!(medium.to_vec()[..LEN as usize] == disk(), "{name}");
        }
    }
}

#[test]
fn all_targets_may_fail_and_a_source_that_fails_tells_all() {
    let packed = zstd::encode_all(disk().as_slice(), 1).expect("packs");
    let image = streamed(&packed, None, None).expect("opens");
    let media = [used_medium(), used_medium()];
    let full = [0, 1].map(|index| Faulty::new(&media[index], Fault::Full { after: MIB }));
    let results = to_all(&image, FOREVER, &[&full[0], &full[1]]);
    for result in results {
        let message = result.expect_err("full").to_string();
        assert!(message.ends_with("of `memory`: No space left on device (os error 28)"), "{message}");
    }
    let image = streamed(&packed[..packed.len() / 2], None, None).expect("opens");
    for result in to_all(&image, FOREVER, &[&media[0], &media[1]]) {
        let error = result.expect_err("cut off");
        assert!(error.to_string().starts_with("`a pipe` is cut off: it ends at byte "), "{error}");
        assert_eq!(
            (error.kind(), error.hint().as_deref()),
            (ErrorKind::Corrupt, Some("get or build the image again"))
        );
    }
}

/// A target that waits for a word before each write.
struct Waits<'a>(&'a Memory, Mutex<Receiver<()>>);

impl Layer for Waits<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.0
    }

    fn own_name(&self) -> Option<&str> {
        Some("stuck")
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        let _ = self.1.lock().expect("no panic").recv();
        op.apply(self.0)
    }
}

#[test]
fn a_target_that_takes_nothing_is_left_behind() {
    let long: Vec<u8> = disk().repeat(6);
    let image = streamed(&long, None, None).expect("opens");
    let (medium, other) = (Memory::new(64 * MIB), Memory::new(64 * MIB));
    let (word, words) = channel();
    let stuck = Waits(&other, Mutex::new(words));
    let patience = Duration::from_secs(3);
    let results = Broadcast::new(&image, 2, patience).run(|readers| {
        let [first, second] = readers.try_into().ok().expect("two readers");
        std::thread::scope(|scope| {
            let stuck = scope.spawn(|| second.write(&stuck).map(drop));
            let good = first.write(&medium).map(drop);
            // Only now the other one moves.
            drop(word);
            [good, stuck.join().expect("no panic")]
        })
    });
    assert!(results[0].is_ok(), "{:?}", results[0]);
    let error = results[1].as_ref().expect_err("too slow");
    assert_eq!(error.to_string(), "`stuck` took nothing for 3 seconds and was left behind");
    assert_eq!(
        error.hint().as_deref(),
        Some("look at its cable or reader, or flash it alone: it may be worn out")
    );
}

#[test]
fn who_does_not_ask_or_asks_again_does_not_disturb() {
    let dir = scratch();
    let image = Image::open(&in_file(dir.path(), "disk.img", &disk()), None).expect("opens");
    let source = Counted(&image, AtomicUsize::new(0));
    Broadcast::new(&source, 3, FOREVER).run(|readers| {
        let [first, second, third] = readers.try_into().ok().expect("three readers");
        drop(second);
        // Of these two one has other sectors than the one that asks first, and reads alone.
        let large = Memory::with_sector_size(16 * MIB, 4096);
        std::thread::scope(|scope| {
            let alone = scope.spawn(|| third.write(&large).map(drop));
            assert!(written(&first).expect("written")[..LEN as usize] == disk());
            alone.join().expect("no panic").expect("written");
        });
        assert_eq!(source.1.load(Ordering::SeqCst), 2);
        let before = source.1.load(Ordering::SeqCst);
        assert!(written(&first).expect("written again")[..LEN as usize] == disk());
        assert_eq!(source.1.load(Ordering::SeqCst), before + 1);
    });
    Broadcast::new(&source, 2, FOREVER).run(|readers| drop(readers));
    let pipe = streamed(&disk(), None, None).expect("opens");
    Broadcast::new(&pipe, 1, FOREVER).run(|readers| {
        written(&readers[0]).expect("written");
        let error = written(&readers[0]).expect_err("a pipe comes once");
        assert_eq!(error.to_string(), "`a pipe` was read already and cannot be read again");
    });
}

/// `flash` onto a device, without questions.
fn flash(device: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-image"));
    command.arg("flash").args(arguments).arg(device);
    command
}

/// Exit code and what is on stderr.
fn told(command: &mut Command, input: &[u8]) -> (i32, String) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("runs");
    let (mut stdin, input) = (child.stdin.take().expect("a pipe"), input.to_vec());
    // A program that has failed closes its end.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    drop(writer.join().expect("no panic"));
    (output.status.code().expect("no signal"), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn holds(device: &LoopDevice, expected: &[u8]) -> bool {
    let mut bytes = vec![0; expected.len()];
    device.backing().read_exact_at(&mut bytes, 0).expect("read");
    bytes == expected
}

#[test]
fn a_pipe_is_flashed_onto_a_device() {
    let test = "a_pipe_is_flashed_onto_a_device";
    let Some(device) = LoopDevice::new(test, MEDIUM, &[]) else { return };
    let packed = zstd::encode_all(disk().as_slice(), 1).expect("packs");
    let (code, said) = told(&mut flash(&device.path, &["--yes", "--image", "-"]), &packed);
    assert_eq!(code, 0, "{said}");
    assert!(holds(&device, &disk()));
    // Where the image comes from nobody can be asked.
    let (code, said) = told(&mut flash(&device.path, &["--image", "-"]), &packed);
    assert!(code == 4 && said.contains("was not written: there is no terminal to ask on"), "{code}: {said}");
    assert!(holds(&device, &disk()));
    let cut = &packed[..packed.len() - 9];
    let (code, said) = told(&mut flash(&device.path, &["--yes", "--image", "-"]), cut);
    let message = format!(
        "`standard input` is cut off: it ends at byte {}, in the middle of its zstd stream; it was left without a \
         partition table, so that nothing boots from it",
        cut.len()
    );
    assert!(code == 1 && said.contains(&message), "{code}: {said}");
}

#[test]
fn what_is_published_beside_an_image_is_used() {
    let test = "what_is_published_beside_an_image_is_used";
    if !["gzip", "sha256sum"].iter().all(|tool| oracle(test, tool)) {
        return;
    }
    let Some(device) = LoopDevice::new(test, MEDIUM, &[]) else { return };
    device.backing().write_all_at(&vec![0xa5; MEDIUM as usize], 0).expect("old data");
    let (dir, disk) = (scratch(), disk());
    let path = in_file(dir.path(), "disk.img.gz", &packed("gzip", &["-1", "-c"], &disk));
    let bmap = bmap_of(&disk);
    fs::write(dir.path().join("disk.img.bmap"), bmap.to_xml()).expect("write");
    let sum = command("sha256sum").arg("disk.img.gz").current_dir(dir.path()).output().expect("runs").stdout;
    fs::write(dir.path().join("disk.img.gz.sha256"), &sum).expect("write");
    let image = path.to_str().expect("a name");
    let (code, said) = told(&mut flash(&device.path, &["--yes", "--image", image]), b"");
    let hex = String::from_utf8_lossy(&sum[..64]).into_owned();
    let note = format!("the SHA-256 of the image must be {hex}, as the file beside it says");
    assert!(code == 0 && said.contains(&note), "{code}: {said}");
    let start = bmap.ranges[1].bytes.start as usize;
    let mut found = vec![0; MIB as usize];
    device.backing().read_exact_at(&mut found, start as u64).expect("read");
    assert!(found == disk[start..start + MIB as usize]);
    device.backing().read_exact_at(&mut found[..4096], 2 * MIB).expect("read");
    assert!(found[..4096].iter().all(|byte| *byte == 0), "nothing old is left where nothing is mapped");

    let wrong = "ab".repeat(32);
    fs::write(dir.path().join("disk.img.gz.sha256"), format!("{wrong}  disk.img.gz\n")).expect("write");
    let (code, said) = told(&mut flash(&device.path, &["--yes", "--image", image]), b"");
    let message =
        format!("the SHA-256 of `{image}` is {hex}, not {wrong}; it was left without a partition table");
    assert!(code == 1 && said.contains(&message), "{code}: {said}");
    // What is given counts more than what lies there.
    let (code, said) = told(&mut flash(&device.path, &["--yes", "--image", image, "--sha256", &hex]), b"");
    assert_eq!(code, 0, "{said}");
    let (code, said) = told(&mut flash(&device.path, &["--yes", "--image", image, "--sha256", "beef"]), b"");
    assert!(code == 2 && said.contains("`beef` is not a SHA-256 of 64 hexadecimal digits"), "{code}: {said}");
}
