//! What an image says about itself, and what others say about it, is held against the image and the medium before
//! anything makes the medium bootable: files and streams alike, on a device and in a rehearsal.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::loopdev::LoopDevice;
use crate::harness::tools::{command, oracle, skiff_image, temporary};
use sha2::{Digest as _, Sha256};
use skiff_image::bmap::{Bmap, MappedRange};
use skiff_image::manifest::{Manifest, RegionEntry};
use skiff_image::storage::{Geometry, Memory, ReadOnly, Record, Target};
use skiff_image::table::{self, CopyState, Partition, PartitionKind, Scheme, TableBytes, gpt, mbr};

const MIB: u64 = 1 << 20;
const LEN: u64 = 16 * MIB;

/// A directory with images.
struct Images(tempfile::TempDir);

/// What a run said, and its exit code.
struct Told {
    code: i32,
    stderr: String,
}

impl Images {
    fn new() -> Images {
        Images(temporary())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).expect("written");
        name.into()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = skiff_image();
        command.current_dir(self.0.path()).args(["--quiet"]).args(arguments);
        command
    }

    /// `flash --image` onto a medium of 32 MiB that is a file, as a rehearsal.
    fn rehearse(&self, image: &str, arguments: &[&str]) -> Told {
        self.rehearse_on("memory,size=32MiB,file=medium", image, arguments)
    }

    fn rehearse_on(&self, medium: &str, image: &str, arguments: &[&str]) -> Told {
        _ = fs::remove_file(self.path("medium"));
        let mut command = self.command(&["flash", "--yes", "--simulate", medium, "--image", image]);
        told(command.args(arguments), b"")
    }

    fn table(&self, name: &str) -> Option<table::Table> {
        table::read(&ReadOnly::open(&self.path(name)).expect("a medium")).expect("readable")
    }

    fn inspect(&self, name: &str) -> String {
        let output = self.command(&["inspect", name]).output().expect("runs");
        String::from_utf8(output.stdout).expect("text")
    }
}

fn told(command: &mut Command, input: &[u8]) -> Told {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("runs");
    // A program that has failed closes its end.
    _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8(output.stderr).expect("text");
    Told { code: output.status.code().expect("no signal"), stderr }
}

fn partition(number: u32, start: u64, len: u64) -> Partition {
    let kind = PartitionKind::Mbr { code: 0x83, active: false };
    Partition { number, name: "data".into(), start, len, kind }
}

fn with(len: u64, pieces: &[TableBytes]) -> Vec<u8> {
    let memory = Memory::new(len);
    pieces.iter().for_each(|piece| memory.write_at(&piece.bytes, piece.offset).expect("inside"));
    let mut bytes = memory.to_vec();
    for at in (2 * MIB as usize..len as usize - MIB as usize).step_by(4096) {
        bytes[at..at + 8].copy_from_slice(&(at as u64 | 1).to_le_bytes());
    }
    bytes
}

/// A disk with an MBR of two partitions of which nothing is known.
fn mbr_disk() -> Vec<u8> {
    let parts = [partition(1, MIB, 3 * MIB), partition(2, 4 * MIB, 12 * MIB)];
    with(LEN, &mbr::encode(7, &parts, Geometry { len: LEN, sector_size: 512 }).expect("a table"))
}

fn gpt_disk(sector_size: u32) -> Vec<u8> {
    let kind = |number: u128| PartitionKind::Gpt {
        type_guid: uuid::uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4"),
        guid: uuid::Uuid::from_u128(number),
        attributes: 0,
        name: "data".into(),
    };
    let parts = [(1, MIB, 3 * MIB), (2, 4 * MIB, 11 * MIB)]
        .map(|(number, start, len)| Partition { kind: kind(number.into()), ..partition(number, start, len) });
    let disk_guid = uuid::Uuid::from_u128(9);
    let options = gpt::Options { disk_guid, entry_count: 128, reserved: &[], hybrid: None };
    with(LEN, &gpt::encode(&parts, Geometry { len: LEN, sector_size }, &options).expect("a table"))
}

fn tool(name: &str, arguments: &[&str]) {
    let output = command(name).args(arguments).output().expect("the tool runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The same bytes as a file, as streams whose length is known, and as streams whose length is not.
fn in_all_ways(images: &Images, name: &str, bytes: &[u8]) -> Vec<String> {
    let gzip = |bytes: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).and_then(|()| packer.finish()).expect("packs")
    };
    let mut known = zstd::bulk::Compressor::new(1).expect("a compressor");
    vec![
        images.put(name, bytes),
        images.put(&format!("{name}.gz"), &gzip(bytes)),
        images.put(&format!("{name}.zst"), &known.compress(bytes).expect("packs")),
    ]
}

#[test]
fn an_image_without_its_end_is_not_written_and_never_grown() {
    let images = Images::new();
    for name in in_all_ways(&images, "cut.img", &mbr_disk()[..10 * MIB as usize]) {
        let Told { code, stderr } = images.rehearse(&name, &[]);
        let message =
            format!("error: `{name}` is not written: it has 10 MiB, but partition 2 ends at 16 MiB");
        assert!(code == 1 && stderr.starts_with(&message), "{name}: {code}: {stderr}");
        let hint = "\nhint: get the image again: a download or copy of it stopped early, or write what is there with \
                    `--force cut-off`\n";
        assert!(stderr.ends_with(hint), "{stderr}");
        assert_eq!(images.table("medium"), None, "{name}: nothing boots from it");
        let Told { code, stderr } = images.rehearse(&name, &["--force", "cut-off"]);
        assert!(code == 0 && stderr.contains("partition 2 ends at 16 MiB"), "{name}: {code}: {stderr}");
        assert_eq!(images.table("medium").expect("a table").partitions[1].range(), 4 * MIB..16 * MIB);
    }
    let shown = images.inspect("cut.img");
    assert!(shown.ends_with("\ncut off: partition 2 ends at 16 MiB, behind the end of it\n"), "{shown}");
    for name in in_all_ways(&images, "whole.img", &mbr_disk()) {
        let Told { code, stderr } = images.rehearse(&name, &[]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}");
        let Told { code, stderr } = images.rehearse(&name, &["--force", "cut-off"]);
        let unused =
            stderr.starts_with("refused: `--force cut-off` overrides nothing: nothing of the kind is wrong");
        assert_eq!(
            (code, unused),
            if name == "whole.img" { (4, true) } else { (0, false) },
            "{name}: {stderr}"
        );
    }
}

#[test]
fn a_logical_partition_counts_wherever_its_record_is() {
    let images = Images::new();
    let parts = [1, 2, 3, 5, 6].map(|number| partition(number, u64::from(number) * 2 * MIB, MIB));
    let table = mbr::encode(7, &parts, Geometry { len: LEN, sector_size: 512 }).expect("a table");
    let disk = with(LEN, &table);
    for name in in_all_ways(&images, "logical.img", &disk[..12 * MIB as usize + 4096]) {
        let Told { code, stderr } = images.rehearse(&name, &[]);
        assert!(code == 1 && stderr.contains(", but partition 6 ends at 13 MiB"), "{name}: {code}: {stderr}");
    }
}

#[test]
fn a_filesystem_that_says_it_is_longer_is_missing_its_end() {
    let test = "a_filesystem_that_says_it_is_longer_is_missing_its_end";
    let images = Images::new();
    for (tool_name, arguments, filesystem) in [
        ("mkfs.ext4", &["-q", "-F"][..], "ext"),
        ("mkfs.fat", &["-F", "12"][..], "FAT12"),
        ("mkfs.fat", &["-F", "16"][..], "FAT"),
        ("mkswap", &[][..], "swap"),
    ] {
        if !oracle(test, tool_name) {
            continue;
        }
        let file = File::create(images.path("fs")).expect("a file");
        file.set_len(12 * MIB).expect("a length");
        let path = images.path("fs");
        tool(tool_name, &[arguments, &[path.to_str().expect("a name")]].concat());
        let made = fs::read(&path).expect("read");
        // In a table of which all is there, and without one.
        let mut disk = mbr_disk();
        disk[4 * MIB as usize..].copy_from_slice(&made);
        for at in [4 * MIB, 0] {
            let whole = &disk[(at / 4 * 4) as usize..];
            let whole = if at == 0 { &disk[..] } else { whole };
            for name in in_all_ways(&images, "part.img", &whole[..whole.len() - 2 * MIB as usize]) {
                let Told { code, stderr } = images.rehearse(&name, &[]);
                let of = if at == 0 { " of partition 2" } else { "" };
                let message = format!("the {filesystem} filesystem{of} ends at ");
                assert!(code == 1 && stderr.contains(&message), "{tool_name} {name}: {code}: {stderr}");
            }
            for name in in_all_ways(&images, "part.img", whole) {
                let Told { code, stderr } = images.rehearse(&name, &[]);
                assert_eq!(code, 0, "{tool_name} {name}: {stderr}");
            }
        }
    }
}

fn map(disk: &[u8], blocks: &[std::ops::Range<u64>]) -> Bmap {
    let range = |blocks: &std::ops::Range<u64>| {
        let bytes = blocks.start * 4096..blocks.end * 4096;
        let sum = Sha256::digest(&disk[bytes.start as usize..bytes.end as usize]);
        MappedRange { bytes, sha256: Some(sum.into()) }
    };
    let ranges = blocks.iter().map(range).collect();
    Bmap { image_len: disk.len() as u64, block_size: 4096, ranges }
}

#[test]
fn a_block_map_must_have_what_the_medium_needs() {
    let images = Images::new();
    let (mut disk, end) = (gpt_disk(512), LEN / 4096);
    disk[4 * MIB as usize..4 * MIB as usize + 4].copy_from_slice(b"hsqs");
    for (name, blocks, message) in [
        ("nothing", &[][..], "its block map lists no block, so that nothing would be written"),
        (
            "no-table",
            &[256..end],
            "its block map leaves out bytes 0..512, which are not zero, in the partition table or boot code",
        ),
        (
            "no-header",
            &[1024..1025, 1026..end],
            "its block map leaves out bytes 0..512, which are not zero, in the partition table or boot code",
        ),
        (
            "no-filesystem",
            &[0..1024, 1025..end],
            "its block map leaves out bytes 4194304..4194816, which are not zero, in the start of partition 2",
        ),
        (
            "no-backup",
            &[0..end - 1],
            "its block map leaves out bytes 16776704..16777216, which are not zero, in the backup copy of the GPT",
        ),
    ] {
        for image in in_all_ways(&images, "disk.img", &disk) {
            images.put("map.bmap", map(&disk, blocks).to_xml().as_bytes());
            let Told { code, stderr } = images.rehearse(&image, &["--bmap", "map.bmap"]);
            let start = format!("error: `{image}` is not written: {message}");
            assert!(code == 1 && stderr.starts_with(&start), "{name} {image}: {code}: {stderr}");
            assert_eq!(images.path("medium").exists().then(|| images.table("medium")).flatten(), None);
            let Told { code, stderr } =
                images.rehearse(&image, &["--bmap", "map.bmap", "--force", "block-map", "--no-grow"]);
            assert!(code == 0 && stderr.contains(message), "{name} {image}: {code}: {stderr}");
        }
    }
    images.put("map.bmap", map(&disk, &[0..5, 1024..end]).to_xml().as_bytes());
    let Told { code, stderr } = images.rehearse("disk.img", &["--bmap", "map.bmap"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "zeros may be left out");
}

/// Files that are no raw image, by what they are called.
const NOT_RAW: [(&str, &[u8]); 18] = [
    ("block map", b"<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n</bmap>\n"),
    ("JSON document", b"{\"answer\": 42}\n"),
    ("web page", b"<!DOCTYPE html>\n<html><title>404</title></html>\n"),
    ("text", b"404: Not Found\n"),
    ("QEMU (qcow2)", b"QFI\xfb\0\0\0\x03"),
    ("VMware (vmdk)", b"KDMV\x01\0\0\0"),
    ("Virtual PC (vhd)", b"conectix\0\0\0\x02"),
    ("Hyper-V (vhdx)", b"vhdxfile"),
    ("Android (sparse image)", b"\x3a\xff\x26\xed\x01\0\0\0"),
    ("cpio", b"07070100000000"),
    ("Debian package", b"!<arch>\ndebian-binary   "),
    ("U-Boot image (uImage)", b"\x27\x05\x19\x56\0\0\0\0"),
    ("device tree or FIT image", b"\xd0\x0d\xfe\xed\0\0\0\0"),
    ("ELF program", b"\x7fELF\x02\x01\x01"),
    ("PDF document", b"%PDF-1.7"),
    ("PNG picture", b"\x89PNG\r\n\x1a\n"),
    ("RPM package", b"\xed\xab\xee\xdb\x03"),
    ("Android boot image", b"ANDROID!"),
];

#[test]
fn what_is_no_raw_image_is_named_and_refused() {
    let images = Images::new();
    let texts = ["block map", "JSON document", "web page", "text"];
    let vdi = [&b"<<< Oracle VM VirtualBox Disk Image >>>\n".repeat(2)[..64], b"\x7f\x10\xda\xbe"].concat();
    let mut fixed = mbr_disk();
    fixed.extend(b"conectix");
    fixed.resize(LEN as usize + 512, 0);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut tar::Header::new_ustar(), "x", &b""[..]).expect("an archive");
    let tar = tar.into_inner().expect("an archive");
    let others = [
        ("VirtualBox (vdi)", vdi.as_slice()),
        ("virtual disk of Virtual PC (VHD)", fixed.as_slice()),
        ("tar", tar.as_slice()),
    ];
    for (what, start) in NOT_RAW.into_iter().chain(others) {
        let mut bytes = start.to_vec();
        if !texts.contains(&what) && bytes.len() < MIB as usize {
            bytes.resize(2 * MIB as usize, 0xaa);
        }
        for name in in_all_ways(&images, "file", &bytes) {
            let Told { code, stderr } = images.rehearse(&name, &[]);
            let message = format!("`{name}` is not written: it is not a raw disk image (found: {what})");
            assert!(
                code == 4 && stderr.starts_with(&format!("refused: {message}")),
                "{name}: {code}: {stderr}"
            );
            assert!(stderr.ends_with(", or write it as it is with `--force not-raw`\n"), "{stderr}");
        }
        let Told { code, stderr } = images.rehearse("file", &["--force", "not-raw"]);
        assert!(
            code == 0 && stderr.starts_with("warning: `--force not-raw` overrides for `file`: "),
            "{stderr}"
        );
        assert!(fs::read(images.path("medium")).expect("a medium").starts_with(&bytes), "{what}");
    }
}

#[test]
fn a_device_answers_as_a_rehearsal_does() {
    let test = "a_device_answers_as_a_rehearsal_does";
    let Some(device) = LoopDevice::new(test, 32 * MIB, &[]) else { return };
    let images = Images::new();
    device.backing().write_all_at(&[0xa5; 4096], 0).expect("old data");
    images.put("a.tar", &[&[0; 257][..], b"ustar\0", &[0; 2048]].concat());
    images.put("cut.img", &mbr_disk()[..10 * MIB as usize]);
    images.put("page.img", b"<html></html>");
    for image in ["a.tar", "cut.img", "page.img"] {
        let rehearsed = images.rehearse(image, &[]);
        let written = told(images.command(&["flash", "--yes", "--image", image]).arg(&device.path), b"");
        assert_eq!((written.code, &written.stderr), (rehearsed.code, &rehearsed.stderr));
        let mut start = [0; 4096];
        device.backing().read_exact_at(&mut start, 0).expect("read");
        assert!(start == [0xa5; 4096], "{image}: nothing was written");
    }
}

#[test]
fn a_raw_image_without_a_table_is_written() {
    let images = Images::new();
    let mut boot = vec![0; 2 * MIB as usize];
    boot[8192..8200].copy_from_slice(b"\x16\0\0\xeaeGON");
    let fat = {
        let mut fat = vec![0; 4 * MIB as usize];
        fat[0..3].copy_from_slice(b"\xeb\x3c\x90");
        fat[11..13].copy_from_slice(&512_u16.to_le_bytes());
        fat[19..21].copy_from_slice(&8192_u16.to_le_bytes());
        fat[54..62].copy_from_slice(b"FAT16   ");
        fat[510..512].copy_from_slice(&[0x55, 0xaa]);
        fat
    };
    for (what, bytes) in [("U-Boot at an offset", boot), ("one filesystem", fat), ("zeros", vec![0; 4096])] {
        for name in in_all_ways(&images, "raw.img", &bytes) {
            let Told { code, stderr } = images.rehearse(&name, &[]);
            assert_eq!((code, stderr.as_str()), (0, ""), "{what}: {name}");
            assert!(fs::read(images.path("medium")).expect("a medium").starts_with(&bytes), "{what}: {name}");
        }
    }
}

#[test]
fn an_image_for_other_sectors_is_refused_with_both_numbers() {
    let images = Images::new();
    let large = "memory,size=32MiB,sector=4096,file=medium";
    let small = "memory,size=32MiB,file=medium";
    let mut mbr_4096 = with(LEN, &{
        let parts = [partition(1, MIB, 3 * MIB), partition(2, 4 * MIB, 12 * MIB)];
        mbr::encode(7, &parts, Geometry { len: LEN, sector_size: 4096 }).expect("a table")
    });
    mbr_4096[4 * MIB as usize..4 * MIB as usize + 4].copy_from_slice(b"hsqs");
    for (what, disk, made_for) in [
        ("mbr", mbr_disk(), 512),
        ("gpt", gpt_disk(512), 512),
        ("mbr", mbr_4096, 4096),
        ("gpt", gpt_disk(4096), 4096),
    ] {
        for name in in_all_ways(&images, "disk.img", &disk) {
            let (right, wrong, other) =
                if made_for == 512 { (small, large, 4096) } else { (large, small, 512) };
            let Told { code, stderr } = images.rehearse_on(right, &name, &["--no-grow"]);
            assert_eq!((code, stderr.as_str()), (0, ""), "{what} for {made_for}: {name}");
            let Told { code, stderr } = images.rehearse_on(wrong, &name, &["--no-grow"]);
            let message = format!(
                "error: `{name}` is not written: its table counts in sectors of {made_for} bytes, and those of the medium have \
                 {other}"
            );
            assert!(code == 1 && stderr.starts_with(&message), "{what} for {made_for}: {name}: {stderr}");
        }
    }
    // What a file was made for is seen by what is in it, too.
    assert!(images.inspect("disk.img").contains(", in sectors of 4096 bytes\n"));
}

#[test]
fn a_gpt_with_a_damaged_copy_is_told() {
    let images = Images::new();
    let flip = |at: u64| {
        let mut disk = gpt_disk(512);
        disk[at as usize] ^= 1;
        disk
    };
    let (header, entry, backup) = (flip(572), flip(1024 + 40), flip(LEN - 512 + 60));
    for (disk, reason) in
        [(header, "has a wrong checksum of its header"), (entry, "has a wrong checksum of its entries")]
    {
        for name in in_all_ways(&images, "disk.img", &disk) {
            let Told { code, stderr } = images.rehearse(&name, &[]);
            // What is missing at the start of a stream is known before its end.
            let message = match name.as_str() {
                "disk.img" => {
                    format!("the primary copy of its GPT {reason}; only the backup copy at its end is good")
                }
                _ => "its MBR says that it has a GPT, and the primary copy of that cannot be read".into(),
            };
            let start = format!("error: `{name}` is not written: {message}");
            assert!(code == 1 && stderr.starts_with(&start), "{name}: {code}: {stderr}");
        }
        let Told { code, stderr } = images.rehearse("disk.img", &["--force", "damaged-table"]);
        assert!(code == 0 && stderr.starts_with("warning: `--force damaged-table` overrides"), "{stderr}");
    }
    for name in in_all_ways(&images, "disk.img", &backup) {
        let Told { code, stderr } = images.rehearse(&name, &[]);
        let warning = "warning: the backup copy of the GPT of the image has a wrong checksum of its header\n";
        assert_eq!((code, stderr.as_str()), (0, warning), "{name}");
        let scheme = images.table("medium").expect("a table").scheme;
        assert!(
            matches!(scheme, Scheme::Gpt { backup: CopyState::Good, .. }),
            "it is made again: {scheme:?}"
        );
    }
    let mut lost = gpt_disk(512);
    lost[572] ^= 1;
    lost[LEN as usize - 512 + 60] ^= 1;
    images.put("disk.img", &lost);
    let Told { code, stderr } = images.rehearse("disk.img", &[]);
    let message = "its MBR says that it has a GPT, and neither copy of that can be read";
    assert!(code == 1 && stderr.contains(message), "{stderr}");
    let shown = images.inspect("disk.img");
    assert!(shown.starts_with("disk.img: 16 MiB, a GPT of which no copy can be read\n"), "{shown}");
}

#[test]
fn a_partition_may_be_longer_than_the_image_if_its_filesystem_is_not() {
    let images = Images::new();
    let mut disk = mbr_disk();
    let at = 4 * MIB as usize;
    disk[at..at + 96].fill(0);
    disk[at..at + 4].copy_from_slice(b"hsqs");
    disk[at + 28] = 4;
    disk[at + 40..at + 48].copy_from_slice(&(5 * MIB).to_le_bytes());
    for name in in_all_ways(&images, "openwrt.img", &disk[..10 * MIB as usize]) {
        let Told { code, stderr } = images.rehearse(&name, &[]);
        let warning = "warning: partition 2 ends at 16 MiB, behind the image, which has all of the squashfs filesystem in it\n";
        assert_eq!((code, stderr.as_str()), (0, warning), "{name}");
    }
    // One byte of the filesystem less.
    images.put("openwrt.img", &disk[..9 * MIB as usize - 1]);
    let Told { code, stderr } = images.rehearse("openwrt.img", &[]);
    assert!(code == 1 && stderr.contains("the squashfs filesystem of partition 2 ends at 9 MiB"), "{stderr}");
}

#[test]
fn old_disks_are_named_before_they_are_lost_and_by_inspect() {
    let images = Images::new();
    let sun = {
        let mut label = vec![0; 512];
        label[..4].copy_from_slice(b"SUN ");
        label[508..510].copy_from_slice(b"\xda\xbe");
        let sum = label.chunks(2).fold([0, 0], |sum, pair| [sum[0] ^ pair[0], sum[1] ^ pair[1]]);
        label[510..512].copy_from_slice(&sum);
        label
    };
    let magic = 0x8256_4557_u32.to_le_bytes();
    let bsd = [&[0; 512][..], &magic, &[0; 128], &magic].concat();
    let apm = [&b"ER\x02\0"[..], &[0; 508], b"PM\0\0"].concat();
    let iso = [&[0; 0x8000][..], b"\x01CD001\x01"].concat();
    let fat12 = [&b"\xeb\x3c\x90mkfs.fat"[..], &[0; 43], b"FAT12   "].concat();
    for (name, start) in [
        ("Sun disk label", sun),
        ("BSD disk label", bsd),
        ("Apple partition map", apm),
        ("ISO 9660", iso),
        ("FAT12", fat12),
    ] {
        let mut disk = start;
        disk.resize(MIB as usize, 0);
        images.put("old.img", &disk);
        let shown = images.inspect("old.img");
        assert!(shown.contains(&format!("  {name}\n")), "{name}: {shown}");
        let medium = ReadOnly::open(&images.path("old.img")).expect("opens");
        let lost = skiff_image::device::existing_contents(&medium).to_string();
        assert!(lost.contains(name), "{name}: {lost}");
    }
}

#[test]
fn a_device_is_verified_right_after_it_was_flashed() {
    let test = "a_device_is_verified_right_after_it_was_flashed";
    let Some(device) = LoopDevice::new(test, 32 * MIB, &[]) else { return };
    let images = Images::new();
    images.put("disk.img", &mbr_disk());
    let state = |arguments: &[&str]| {
        let mut command = images.command(arguments);
        command.env("XDG_STATE_HOME", images.path("state")).arg(&device.path);
        command
    };
    let flashed = state(&["flash", "--yes", "--image", "disk.img"]).output().expect("runs");
    assert!(flashed.status.success());
    let kept: Vec<PathBuf> = fs::read_dir(images.path("state/skiff-image/manifests"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let said = String::from_utf8(flashed.stdout).expect("text");
    assert!(said.ends_with(&format!("\n{}\n", kept[0].display())), "{said}");
    let verify = || {
        let output = state(&["verify"]).output().expect("runs");
        (String::from_utf8(output.stdout).expect("text"), output.status.code().expect("no signal"))
    };
    let (text, code) = verify();
    let unseen = "all as written\nnot looked at, because nothing was written there: 16 MiB\n";
    assert!(code == 0 && text.ends_with(unseen), "{code}: {text}");
    device.backing().write_all_at(b"X", 5 * MIB).expect("damage");
    let (text, code) = verify();
    assert!(code == 3 && text.contains("\n  region `partition 2` (raw)\n"), "{code}: {text}");
    let other = LoopDevice::new(test, 33 * MIB, &[]).expect("as the first");
    let mut unknown = images.command(&["verify"]);
    let unknown = told(unknown.env("XDG_STATE_HOME", images.path("state")).arg(&other.path), b"");
    assert!(
        unknown.code == 1 && unknown.stderr.contains(".manifest.json` does not exist"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn an_unfinished_medium_says_so_to_inspect() {
    let images = Images::new();
    images.put("medium", &[0; 64 << 10]);
    let marker = "This medium is unfinished: writing it with skiff-image has begun and did not end.\n\
                  Nothing boots from it. Run `skiff-image flash` again; `--resume` goes on where it stopped.\n\
                  run: ";
    let run = "ab".repeat(32);
    let file = File::options().write(true).open(images.path("medium")).expect("opens");
    file.write_all_at(format!("{marker}{run}\n").as_bytes(), 0).expect("written");
    assert_eq!(images.inspect("medium"), "medium: 64 KiB, an image that was begun and not finished\n");
    let json = images.command(&["--json", "inspect", "medium"]).output().expect("runs").stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["unfinished"], true);
}

#[test]
fn nothing_hides_in_an_image_between_what_was_written() {
    use crate::harness::project::{Project, run, succeed};
    let project = Project::new();
    succeed(&mut project.assemble(&["--quiet"]));
    let path = project.path("out/disk.img");
    let verify = |options: &[&str]| {
        run(&mut project.command(&[&["--quiet", "verify", "out/disk.img"], options].concat()))
    };
    let manifest = Manifest::read(&project.path("out/disk.img.manifest.json"));
    let regions = manifest.expect("a manifest").regions;
    let mut extents: Vec<_> = regions.iter().flat_map(|region| region.extents.clone()).collect();
    extents.sort_by_key(|extent| extent.offset);
    let gaps = Record { extents }.gaps(0..66 << 20);
    let blocks = gaps.iter().flat_map(|gap| (gap.start.next_multiple_of(4096)..gap.end).step_by(4096));
    let is_whole = |block: &u64| gaps.iter().any(|gap| gap.contains(block) && gap.contains(&(block + 4095)));
    let blocks: Vec<u64> = blocks.filter(is_whole).collect();
    let region_of = |block: u64| {
        let holds = |region: &&RegionEntry| (region.offset..region.offset + region.len).contains(&block);
        regions.iter().find(holds).map(|region| region.name.as_str())
    };
    let free_in =
        |name| *blocks.iter().find(|block| region_of(**block) == name).expect("nothing was written there");
    let (free, between) = (free_in(Some("persist")), free_in(None));
    let file = File::options().write(true).open(&path).expect("opens");
    let poke = |at: u64, byte: u8| file.write_all_at(&[byte], at).expect("written");
    for (at, place) in [(free + 77, ", in free space of `persist`"), (between, ", in no region")] {
        poke(at, 7);
        for options in [&[][..], &["--strict"]] {
            let (text, stderr, code) = verify(options);
            let line = format!("\n  4 KiB from byte {}{place}", at / 4096 * 4096);
            assert!(code == 3 && text.contains(&line), "{code}: {text}");
            assert!(
                stderr.contains("`out/disk.img` has 4 KiB in blocks to which nothing was written"),
                "{stderr}"
            );
        }
        assert_eq!(verify(&["--used"]).2, 0);
        poke(at, 0);
        assert_eq!(verify(&["--strict"]).2, 0);
    }
}
