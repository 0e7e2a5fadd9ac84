//! FAT16 and FAT32 against dosfstools, mtools and `fatfs`.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::harness::tools::{command, oracle};
use skiff_image::fs::fat::{self, FatType, Options, Volume};
use skiff_image::fs::{Damage, Problem, WrittenFile};
use skiff_image::storage::{Geometry, Memory, Region, Target, TargetError};
use skiff_image::tree::{Body, Content, Node, NodeId, Stat, Tree};
use skiff_image::value::Digest;

const MIB: u64 = 1 << 20;
/// 2024-02-29T12:34:56Z.
const TIME: i64 = 1_709_210_096;
const STAT: Stat = Stat { mode: 0o644, uid: 1000, gid: 1000, mtime: TIME };

fn options(fat_type: FatType) -> Options {
    Options {
        fat_type,
        label: "boot".into(),
        volume_id: 0x1234_ABCD,
        timestamp: TIME,
        hidden_sectors: 2048,
        sector_size: 512,
        cluster_size: None,
    }
}

/// An image file filled with 0xA5, except that a sparse one is empty: what was there before a format.
struct Image {
    file: tempfile::NamedTempFile,
    len: u64,
    sector_size: u32,
    /// Ranges that were written, to see that none is written twice.
    written: std::sync::Mutex<BTreeMap<u64, u64>>,
}

impl Image {
    fn new(len: u64, garbage: bool) -> Image {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        file.as_file().set_len(len).expect("length");
        if garbage {
            let junk = vec![0xA5; MIB as usize];
            (0..len / MIB).for_each(|at| file.as_file().write_all_at(&junk, at * MIB).expect("fill"));
        }
        Image { file, len, sector_size: 512, written: Default::default() }
    }

    fn path(&self) -> &str {
        self.file.path().to_str().expect("UTF-8")
    }

    fn note(&self, offset: u64, len: u64) {
        let mut written = self.written.lock().expect("lock");
        let before = written.range(..offset + len).next_back();
        assert!(before.is_none_or(|(at, len)| at + len <= offset), "{offset} is written twice");
        written.insert(offset, len);
    }
}

impl Target for Image {
    fn name(&self) -> &str {
        self.path()
    }

    fn geometry(&self) -> Geometry {
        Geometry { len: self.len, sector_size: self.sector_size }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.file.as_file().read_exact_at(buf, offset).expect("read");
        Ok(())
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        self.note(offset, buf.len() as u64);
        self.file.as_file().write_all_at(buf, offset).expect("write");
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.note(offset, len);
        let zeros = vec![0; len as usize];
        self.file.as_file().write_all_at(&zeros, offset).expect("zero");
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    fn sync(&self) -> Result<(), TargetError> {
        Ok(())
    }
}

fn add_dir(tree: &mut Tree, parent: NodeId, name: &str) -> NodeId {
    let stat = Stat { mode: 0o755, ..STAT };
    tree.insert(parent, name.as_bytes(), Node::new(stat, Body::Dir(BTreeMap::new())))
}

fn add_file(tree: &mut Tree, parent: NodeId, name: &str, bytes: Vec<u8>) -> NodeId {
    tree.insert(parent, name.as_bytes(), Node::new(STAT, Body::File(Content::bytes(bytes))))
}

/// Bytes that compress badly and differ for each seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// What lies on a boot partition, and what is awkward.
fn boot_tree() -> Tree {
    let mut tree = Tree::new(STAT);
    for (name, len) in [
        ("kernel8.img", 300_000),
        ("config.txt", 412),
        ("README", 7),
        ("bcm2711-rpi-4-b.dtb", 52_000),
        ("bcm2711-rpi-400.dtb", 53_000),
        ("empty", 0),
        ("größer als 8.3.txt", 600),
        (".hidden", 1),
        ("BOOT", 512),
        ("exactly one cluster.bin", 1024),
    ] {
        add_file(&mut tree, Tree::ROOT, name, noise(len as u64, len));
    }
    let overlays = add_dir(&mut tree, Tree::ROOT, "overlays");
    for index in 0..80 {
        add_file(&mut tree, overlays, &format!("overlay-number-{index}.dtbo"), noise(index, 900));
    }
    let efi = add_dir(&mut tree, Tree::ROOT, "EFI");
    let deep = add_dir(&mut tree, efi, "BOOT");
    let linked = add_file(&mut tree, deep, "BOOTX64.EFI", noise(9, 70_000));
    tree.link(Tree::ROOT, b"hard link.efi", linked);
    add_dir(&mut tree, deep, "nothing in here");
    tree
}

fn write(tree: &Tree, options: &Options, target: &dyn Target) -> Vec<WrittenFile> {
    let region = Region::whole(target, "boot");
    let layout = fat::layout(tree, options, region.len()).expect("layout");
    let written = fat::write(&layout, &region).expect("write");
    assert_eq!(written.used_len, layout.used_len());
    written.files
}

/// Standard output of a tool that must succeed.
fn run(tool: &str, args: &[&str]) -> String {
    let output =
        command(tool).args(args).env("MTOOLS_SKIP_CHECK", "0").env("TZ", "UTC").output().expect("tool");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{tool} {args:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Compares the tree with a directory on the host, both ways.
fn assert_extracted(tree: &Tree, dir: &Path) {
    let mut expected = 0;
    for (path, id) in tree.walk().skip(1) {
        let host = dir.join(std::str::from_utf8(&path).expect("UTF-8"));
        match &tree.node(id).body {
            Body::File(content) => {
                assert_eq!(
                    std::fs::read(&host).expect("read"),
                    content.read_all().expect("read"),
                    "{host:?}"
                );
            }
            _ => assert!(host.is_dir(), "{host:?}"),
        }
        expected += 1;
    }
    assert_eq!(count_below(dir), expected);
}

fn count_below(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).expect("directory").map(|entry| entry.expect("entry").path());
    entries.map(|path| 1 + if path.is_dir() { count_below(&path) } else { 0 }).sum()
}

/// `fsck.fat`, mtools and `fatfs` agree that the image holds the tree.
fn assert_good(test: &str, tree: &Tree, files: &[WrittenFile], image: &Image) {
    if oracle(test, "fsck.fat") {
        run("fsck.fat", &["-n", "-v", image.path()]);
    }
    if oracle(test, "mcopy") {
        let out = tempfile::tempdir().expect("directory");
        let to = out.path().to_str().expect("UTF-8");
        run("mcopy", &["-s", "-p", "-m", "-i", image.path(), "::/", to]);
        assert_extracted(tree, out.path());
    }
    let volume = Volume::open(&Region::whole(image, "boot")).expect("open");
    assert_eq!(volume.check_files(files), []);
    let mut sorted = files.to_vec();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(volume.files().expect("files"), sorted);
}

#[test]
fn fat16_and_fat32_hold_a_boot_tree_over_garbage() {
    let tree = boot_tree();
    for (fat_type, mib, cluster) in [
        (FatType::Fat16, 8, 1024),
        (FatType::Fat16, 40, 2048),
        (FatType::Fat32, 34, 512),
        (FatType::Fat32, 128, 512),
        (FatType::Fat32, 300, 4096),
    ] {
        let image = Image::new(mib * MIB, true);
        let files = write(&tree, &options(fat_type), &image);
        assert_good("fat16_and_fat32_hold_a_boot_tree_over_garbage", &tree, &files, &image);
        let volume = Volume::open(&Region::whole(&image, "boot")).expect("open");
        let summary = volume.summary().expect("summary");
        assert_eq!((summary.fat_type, summary.cluster_size), (fat_type, cluster));
        assert_eq!((summary.label.as_str(), summary.volume_id), ("boot", 0x1234_ABCD));
        let layout = fat::layout(&tree, &options(fat_type), mib * MIB).expect("layout");
        assert_eq!(u64::from(summary.free_clusters) * u64::from(cluster), layout.free_len());
        assert_eq!(u64::from(summary.clusters), layout.clusters());
    }
}

#[test]
fn tools_see_label_serial_geometry_and_times() {
    let test = "tools_see_label_serial_geometry_and_times";
    for (fat_type, len) in [(FatType::Fat16, 8 * MIB), (FatType::Fat32, 128 * MIB)] {
        let image = Image::new(len, false);
        write(&boot_tree(), &options(fat_type), &image);
        if oracle(test, "fatlabel") {
            assert_eq!(run("fatlabel", &[image.path()]).trim(), "boot");
            assert_eq!(run("fatlabel", &["-i", image.path()]).trim(), "1234abcd");
        }
        if oracle(test, "mlabel") {
            assert!(run("mlabel", &["-s", "-i", image.path(), "::"]).contains("Volume label is boot"));
        }
        if oracle(test, "minfo") {
            let info = run("minfo", &["-i", image.path(), "::"]);
            let fields = [
                "reserved (boot) sectors: ",
                "fats: 2",
                "hidden sectors: 2048",
                "media descriptor byte: 0xf8",
                "physical drive id: 0x80",
                "serial number: 1234ABCD",
                "disk label=\"boot       \"",
            ];
            for field in fields {
                assert!(info.contains(field), "{field}: {info}");
            }
        }
        if oracle(test, "mdir") {
            let list = run("mdir", &["-i", image.path(), "::/overlays"]);
            assert!(list.contains("OVERLA~1 DTB") && list.contains("2024-02-29  12:34"), "{list}");
            let list = run("mdir", &["-i", image.path(), "::/"]);
            assert!(list.contains("README               7 2024-02-29  12:34 \n"), "{list}");
            assert!(list.contains("KERNEL8  IMG    300000 2024-02-29  12:34  kernel8.img"), "{list}");
        }
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    for fat_type in [FatType::Fat16, FatType::Fat32] {
        let (first, second) = (Memory::new(48 * MIB), Memory::new(48 * MIB));
        write(&boot_tree(), &options(fat_type), &first);
        write(&boot_tree(), &options(fat_type), &second);
        assert!(first.to_vec() == second.to_vec());
    }
}

#[test]
fn an_empty_tree_without_a_label_is_a_filesystem() {
    for (fat_type, len) in [(FatType::Fat16, 8 * MIB), (FatType::Fat32, 40 * MIB)] {
        let options = Options { label: String::new(), ..options(fat_type) };
        let image = Image::new(len, true);
        let tree = Tree::new(STAT);
        let files = write(&tree, &options, &image);
        assert_good("an_empty_tree_without_a_label_is_a_filesystem", &tree, &files, &image);
        let volume = Volume::open(&Region::whole(&image, "boot")).expect("open");
        assert_eq!(volume.summary().expect("summary").label, "");
    }
}

#[test]
fn sectors_of_4096_bytes_work() {
    for (fat_type, mib) in [(FatType::Fat16, 40), (FatType::Fat32, 300)] {
        let options = Options { sector_size: 4096, ..options(fat_type) };
        let mut image = Image::new(mib * MIB, true);
        image.sector_size = 4096;
        let files = write(&boot_tree(), &options, &image);
        assert_good("sectors_of_4096_bytes_work", &boot_tree(), &files, &image);
    }
}

#[test]
fn five_thousand_files_in_one_directory() {
    let mut tree = Tree::new(STAT);
    let many = add_dir(&mut tree, Tree::ROOT, "many");
    for index in 0..5000u64 {
        add_file(&mut tree, many, &format!("a file with a long name {index}.txt"), noise(index, 40));
    }
    let image = Image::new(64 * MIB, true);
    let files = write(&tree, &options(FatType::Fat32), &image);
    assert_good("five_thousand_files_in_one_directory", &tree, &files, &image);
}

#[test]
fn a_large_fat16_root_gets_the_entries_it_needs() {
    let mut tree = Tree::new(STAT);
    for index in 0..1500 {
        add_file(&mut tree, Tree::ROOT, &format!("file in the root {index}"), vec![]);
    }
    let image = Image::new(16 * MIB, true);
    let files = write(&tree, &options(FatType::Fat16), &image);
    assert_good("a_large_fat16_root_gets_the_entries_it_needs", &tree, &files, &image);
}

#[test]
fn a_directory_that_fills_its_clusters_needs_no_end_mark() {
    // 2 dots and 30 short names are 1024 bytes, two clusters.
    let mut tree = Tree::new(STAT);
    let full = add_dir(&mut tree, Tree::ROOT, "FULL");
    for index in 0..30 {
        add_file(&mut tree, full, &format!("F{index}"), noise(index, 10));
    }
    let image = Image::new(34 * MIB, true);
    let files = write(&tree, &options(FatType::Fat32), &image);
    assert_good("a_directory_that_fills_its_clusters_needs_no_end_mark", &tree, &files, &image);
}

#[test]
fn eight_gib_are_mostly_left_alone() {
    let image = Image::new(8192 * MIB, false);
    let files = write(&boot_tree(), &options(FatType::Fat32), &image);
    let written: u64 = image.written.lock().expect("no writer failed").values().sum();
    assert!(written < 64 * MIB, "{written} bytes were written or zeroed");
    assert_good("eight_gib_are_mostly_left_alone", &boot_tree(), &files, &image);
}

#[test]
fn the_minimum_size_holds_the_tree_to_the_last_cluster() {
    let mut tree = boot_tree();
    add_file(&mut tree, Tree::ROOT, "rootfs.squashfs", noise(1, 40 << 20));
    for fat_type in [FatType::Fat16, FatType::Fat32, FatType::Auto] {
        let options = options(fat_type);
        let len = fat::minimum_size(&tree, &options).expect("minimum");
        let image = Image::new(len, false);
        let files = write(&tree, &options, &image);
        assert_good("the_minimum_size_holds_the_tree_to_the_last_cluster", &tree, &files, &image);
    }
}

#[test]
fn a_volume_inside_a_disk_is_read_and_its_damages_are_named() {
    let disk = Memory::new(20 * MIB);
    let region = Region::new(&disk, "boot", MIB, 8 * MIB, "`rootfs`");
    let tree = boot_tree();
    let layout = fat::layout(&tree, &options(FatType::Fat16), region.len()).expect("layout");
    let files = fat::write(&layout, &region).expect("write").files;
    assert!(disk.to_vec()[9 * MIB as usize..].iter().all(|byte| *byte == 0));

    let volume = Volume::open(&region).expect("open");
    let mut out = Vec::new();
    volume.extract("/EFI/BOOT/BOOTX64.EFI", &mut out).expect("extract");
    assert_eq!(out, noise(9, 70_000));
    assert_eq!(
        volume.extract("/EFI/none", &mut out).unwrap_err().to_string(),
        "`/EFI/none` is not a file in `boot`"
    );

    // One byte of the kernel flips; the entry of README vanishes; config.txt should have been longer.
    let kernel = noise(300_000, 300_000);
    let bytes = disk.to_vec();
    let find = |part: &[u8]| bytes.windows(part.len()).position(|w| w == part).expect("in the image") as u64;
    let at = find(&kernel[..64]);
    disk.write_at(&[kernel[5] ^ 1], at + 5).expect("write");
    disk.write_at(&[0xE5], find(b"README     ")).expect("write");
    let mut expected = files.clone();
    let config = expected.iter_mut().find(|file| file.path == "/config.txt").expect("there");
    (config.size, config.blake3) = (500, Digest::of(b""));
    let damage = |path: &str, problem| Damage { path: path.into(), problem };
    assert_eq!(
        Volume::open(&region).expect("open").check_files(&expected),
        [
            damage("/README", Problem::Missing),
            damage("/config.txt", Problem::Size { expected: 500, found: 412 }),
            damage("/kernel8.img", Problem::Content),
        ]
    );
}

#[test]
fn what_is_not_fat_is_told() {
    let disk = Memory::new(9 * MIB);
    let region = Region::new(&disk, "boot", 0, 8 * MIB, "`rootfs`");
    let message = |region: &Region| Volume::open(region).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        message(&region),
        "`boot` is not a readable FAT filesystem: its first sector does not end with the mark 55 AA"
    );
    let tree = Tree::new(STAT);
    let layout = fat::layout(&tree, &options(FatType::Fat16), 8 * MIB).expect("layout");
    fat::write(&layout, &region).expect("write");
    let half = Region::new(&disk, "boot", 0, 4 * MIB, "`rootfs`");
    assert_eq!(
        message(&half),
        "`boot` is not a readable FAT filesystem: its first sector speaks of 8 MiB but there are 4 MiB"
    );
    disk.write_at(&[3], 13).expect("write");
    assert_eq!(
        message(&region),
        "`boot` is not a readable FAT filesystem: the sizes in its first sector are impossible"
    );
}

#[test]
fn contents_come_from_files_on_the_host() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("kernel");
    let bytes = noise(3, 3_000_001);
    std::fs::write(&path, &bytes).expect("write");
    assert!(File::open(&path).is_ok());
    let mut tree = Tree::new(STAT);
    let content = Content::file(path.as_path(), 1, 3_000_000);
    tree.insert(Tree::ROOT, b"Image", Node::new(STAT, Body::File(content)));
    let disk = Memory::new(64 * MIB);
    let files = write(&tree, &options(FatType::Fat32), &disk);
    assert_eq!(files[0].blake3, Digest::of(&bytes[1..]));
    let mut out = Vec::new();
    Volume::open(&Region::whole(&disk, "boot")).expect("open").extract("Image", &mut out).expect("extract");
    assert_eq!(out, &bytes[1..]);
}

/// First cluster of the entry with this short name.
fn first_cluster(bytes: &[u8], short: &[u8; 11]) -> usize {
    let at = bytes.windows(11).position(|w| w == short).expect("entry");
    usize::from(u16::from_le_bytes([bytes[at + 26], bytes[at + 27]]))
}

#[test]
fn broken_chains_and_outputs_are_told() {
    let disk = Memory::new(8 * MIB);
    let files = write(&boot_tree(), &options(FatType::Fat16), &disk);
    let good = disk.to_vec();
    let region = Region::whole(&disk, "boot");
    let open = || Volume::open(&region).expect("open");
    assert_eq!(
        open().extract("README", &mut [0; 0].as_mut_slice()).unwrap_err().to_string(),
        "cannot write the content of `README`: failed to write whole buffer"
    );

    // The second cluster of the kernel is its last one.
    let table = 4096;
    let kernel = first_cluster(&good, b"KERNEL8 IMG");
    disk.write_at(&[0xFF, 0xFF], (table + 2 * (kernel + 1)) as u64).expect("write");
    let reason = "its clusters end after 2048 of 300000 bytes".to_string();
    assert_eq!(
        open().files().unwrap_err().to_string(),
        format!("`boot` is not a readable FAT filesystem: `/kernel8.img`: {reason}")
    );
    let damages = open().check_files(&files);
    assert_eq!(damages, [Damage { path: "/kernel8.img".into(), problem: Problem::Unreadable { reason } }]);

    // The second cluster of a directory is followed by its first.
    let overlays = first_cluster(&good, b"OVERLAYS   ");
    disk.write_at(&(overlays as u16).to_le_bytes(), (table + 2 * (overlays + 1)) as u64).expect("write");
    disk.write_at(&good[table..][2 * kernel..2 * kernel + 4], (table + 2 * kernel) as u64).expect("write");
    let message = open().files().unwrap_err().to_string();
    assert!(message.ends_with(": its clusters or directories form a loop"), "{message}");

    // Fewer sectors make it FAT12.
    disk.write_at(&2000u16.to_le_bytes(), 19).expect("write");
    assert_eq!(
        open().summary().unwrap_err().to_string(),
        "`boot` is not a readable FAT filesystem: it is FAT12, which is not supported"
    );
}

/// Numbers that look random and are the same in every run.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

#[test]
fn a_damaged_volume_ends_in_errors_and_not_in_a_panic_or_a_loop() {
    for (fat_type, len) in [(FatType::Fat16, 8 * MIB), (FatType::Fat32, 34 * MIB)] {
        let disk = Memory::new(len);
        let files = write(&boot_tree(), &options(fat_type), &disk);
        let start = fat::layout(&boot_tree(), &options(fat_type), len).expect("layout").data_start();
        let good = disk.to_vec();
        for seed in 0..300 {
            let mut random = numbers(seed);
            for _ in 0..20 {
                let at = match random(3) {
                    0 => random(512),
                    1 => start - random(start.min(40_000)),
                    _ => start + random(100_000),
                };
                disk.write_at(&[random(256) as u8], at).expect("write");
            }
            if let Ok(volume) = Volume::open(&Region::whole(&disk, "boot")) {
                let _ = (volume.summary(), volume.files(), volume.check_files(&files));
            }
            disk.write_at(&good[..2 * MIB as usize], 0).expect("write");
        }
    }
}
