//! What `prove` finds: each kind of damage between the writer and the medium, by name; and what it takes as it is.

use std::ops::Range;

use crate::harness::project;
use crate::harness::project::{Project, expect_no_image, succeed};
use crate::harness::squashfs::{add, options, random_tree, set_xattr, zoo};
use crate::harness::trees::{Random, access_list, dir, file, stat};
use skiff_image::error::{Diagnostic, ErrorKind};
use skiff_image::fs::squashfs::{self, Options, Resources, SquashfsError, Written};
use skiff_image::storage::{Fault, Faulty, Layer, Memory, ReadFrom, Region, Target, TargetError};
use skiff_image::tree::{Body, Device, Tree};

const THREADS: usize = 2;

fn resources() -> Resources {
    Resources { threads: THREADS, ..Resources::default() }
}

/// An image with the tree it is of.
struct Image {
    tree: Tree,
    options: Options,
    bytes: Vec<u8>,
    written: Written,
}

impl Image {
    fn new(tree: Tree, options: Options) -> Image {
        let layout = squashfs::layout(&tree, &options).expect("a layout");
        let memory = Memory::new(layout.size_bound());
        let verified = Resources { verify: true, ..resources() };
        let written = squashfs::write(&layout, &Region::whole(&memory, "rootfs"), &verified).expect("proven");
        let bytes = memory.to_vec();
        Image { tree, options, bytes, written }
    }

    /// What is said about the bytes.
    fn prove(&self, bytes: &[u8]) -> Result<squashfs::Proof, SquashfsError> {
        let layout = squashfs::layout(&self.tree, &self.options).expect("a layout");
        let memory = Memory::new(bytes.len() as u64);
        memory.write_at(bytes, 0).expect("inside");
        squashfs::prove(&layout, &Region::whole(&memory, "rootfs"), &self.written, &resources())
    }

    fn told(&self, bytes: &[u8]) -> String {
        let error = self.prove(bytes).expect_err("the damage is found");
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
        error.to_string()
    }

    /// A start of a table from the superblock.
    fn table(&self, field: usize) -> usize {
        u64::from_le_bytes(self.bytes[field..field + 8].try_into().expect("8 bytes")) as usize
    }
}

const ID: usize = 48;
const XATTR: usize = 56;
const INODE: usize = 64;
const DIRECTORY: usize = 72;
const FRAGMENT: usize = 80;
const EXPORT: usize = 88;

#[test]
fn what_was_written_is_proven_with_each_codec_and_block_size() {
    for codec in ["zstd:1", "gzip:6", "xz:1", "lz4", "lz4hc", "stored"] {
        for block_size in [4 << 10, 128 << 10, 1 << 20] {
            for pack_tails in [false, true] {
                let image = Image::new(zoo(), Options { block_size, pack_tails, ..options(codec) });
                let proof = image.prove(&image.bytes).unwrap_or_else(|error| panic!("{codec}: {error}"));
                assert_eq!(proof.files, image.written.files.len());
                assert_eq!(proof.without_second_reader, None);
            }
        }
    }
    for seed in 0..10 {
        let image = Image::new(random_tree(seed, 150), Options { block_size: 4096, ..options("zstd:1") });
        image.prove(&image.bytes).unwrap_or_else(|error| panic!("{seed}: {error}"));
    }
}

#[test]
fn files_of_many_spans_are_proven() {
    let mut tree = Tree::new(stat(0o755));
    let mut random = Random(3);
    for (name, len) in [("1M", 1 << 20), ("2M", 2 << 20), ("2M+1", (2 << 20) + 1), ("5M", 5_300_000)] {
        add(&mut tree, name, file(random.text(len)));
    }
    add(&mut tree, "hole", file(vec![0; 3 << 20]));
    for pack_tails in [false, true] {
        let image = Image::new(tree.clone(), Options { block_size: 4096, pack_tails, ..options("lz4") });
        image.prove(&image.bytes).expect("proven");
    }
}

/// A tree whose image has every kind of block, and no field that means nothing: each file has blocks and an end in a
/// fragment block.
fn sample() -> Tree {
    let mut tree = Tree::new(stat(0o755));
    let mut random = Random(11);
    add(&mut tree, "dir", dir());
    for name in ["a", "dir/b", "dir/c"] {
        add(&mut tree, name, file(random.text(9000)));
    }
    let hole = add(&mut tree, "hole", file([vec![1; 4096], vec![0; 4096], vec![2; 10]].concat()));
    tree.link(Tree::ROOT, b"same", hole);
    add(&mut tree, "link", Body::Symlink(b"a".as_slice().into()));
    add(&mut tree, "null", Body::Char(Device { major: 1, minor: 3 }));
    set_xattr(&mut tree, "dir/b", "user.note", b"a value");
    set_xattr(&mut tree, "dir", "trusted.note", b"a value that is long enough to be shared");
    set_xattr(&mut tree, "link", "trusted.note", b"a value that is long enough to be shared");
    tree
}

fn stored() -> Image {
    Image::new(sample(), Options { block_size: 4096, pack_tails: true, ..options("stored") })
}

/// Flips every bit of a range, one at a time; each must be found, but where the bit means nothing to any reader.
#[track_caller]
fn expect_all_found(image: &Image, range: Range<usize>, meaningless: &[usize]) {
    let mut unfound = Vec::new();
    for (at, bit) in range.clone().flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut bytes = image.bytes.clone();
        bytes[at] ^= 1 << bit;
        match image.prove(&bytes) {
            Ok(_) if meaningless.contains(&(at - range.start)) => {}
            Ok(_) => unfound.push((at - range.start, bit)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Mismatch, "{at} {bit}: {error}"),
        }
    }
    assert_eq!(unfound, [], "flipped bits that nothing finds, by offset into {range:?}");
}

#[test]
fn a_flipped_bit_in_data_and_fragments_names_the_files() {
    let image = stored();
    let content = |path: &str| format!("`{path}` has other bytes than were written");
    let said = |files: &[String]| format!("`rootfs` is not what was to be written: {}", files.join(", "));
    let flipped = |at: usize| {
        let mut bytes = image.bytes.clone();
        bytes[at] ^= 4;
        image.told(&bytes)
    };
    // The files of `dir` come first; each has two blocks, from byte 96 on.
    assert_eq!(flipped(96), said(&[content("/dir/b")]));
    assert_eq!(flipped(96 + 8191), said(&[content("/dir/b")]));
    assert_eq!(flipped(96 + 8192), said(&[content("/dir/c")]));
    let blocks = 7 * 4096;
    // Of the fragment block: the ends of all files, in the same order.
    assert_eq!(flipped(96 + blocks), said(&[content("/dir/b")]));
    assert_eq!(flipped(96 + blocks + 808), said(&[content("/dir/c")]));
    assert_eq!(flipped(96 + blocks + 3 * 808), said(&[content("/hole"), content("/same")]));
}

#[test]
fn a_damaged_fragment_block_names_at_most_five_files() {
    let mut tree = Tree::new(stat(0o755));
    for number in 0..30 {
        add(&mut tree, &format!("{number:02}"), file(Random(number).text(300)));
    }
    let image = Image::new(tree, Options { block_size: 4096, ..options("lz4") });
    let mut bytes = image.bytes.clone();
    bytes[96 + 8..96 + 40].fill(0xff);
    let told = image.told(&bytes);
    assert!(told.starts_with("`rootfs` is not what was to be written: `/00` "), "{told}");
    assert!(told.contains("`/04` ") && !told.contains("`/05` "), "{told}");
    // 13 files of 300 bytes fill a block of 4096.
    assert!(told.ends_with(", and 8 more"), "{told}");
}

#[test]
fn every_flipped_bit_of_a_table_is_found() {
    let image = stored();
    let tables = [INODE, DIRECTORY, FRAGMENT, EXPORT, ID, XATTR].map(|field| image.table(field));
    let ends = tables.into_iter().skip(1).chain([image.written.bytes_used as usize]);
    let [inodes, directories, fragments, exports, ids, xattrs] = tables
        .into_iter()
        .zip(ends)
        .map(|(start, end)| start..end)
        .collect::<Vec<_>>()
        .try_into()
        .expect("six");
    expect_all_found(&image, 0..96, &[]);
    expect_all_found(&image, inodes, &[]);
    // The records of a table come before the index its field names. Here one fragment entry, at the end: a stored
    // block may be said to be longer than what is used of it, and four bytes are unused.
    let end = directories.len();
    let size = [end - 8, end - 7];
    expect_all_found(&image, directories, &[&size[..], &[end - 4, end - 3, end - 2, end - 1]].concat());
    expect_all_found(&image, fragments, &[]);
    expect_all_found(&image, exports, &[]);
    // The last block of names and values may be longer than what is used of it. Each record of a set ends with a
    // length that nobody uses; there are two.
    let end = ids.len();
    let len = |record: usize| (end - 16 * record - 4..end - 16 * record).collect::<Vec<_>>();
    expect_all_found(&image, ids, &[vec![8, 9], len(0), len(1)].concat());
    // `squashfs_xattr_id_table` ends with four unused bytes, before the index.
    expect_all_found(&image, xattrs, &[12, 13, 14, 15]);
}

/// An image in several writes.
fn large() -> (Tree, Options) {
    let mut tree = Tree::new(stat(0o755));
    let mut random = Random(5);
    for number in 0..6 {
        add(&mut tree, &format!("large{number}"), file(random.noise(900_000)));
    }
    for number in 0..200 {
        add(&mut tree, &format!("small{number}"), file(random.text(3000)));
    }
    (tree, options("zstd:1"))
}

/// Writes through a fault and proves what the medium has.
fn through(fault: Fault) -> (u64, Result<squashfs::Proof, SquashfsError>) {
    let (tree, options) = large();
    let layout = squashfs::layout(&tree, &options).expect("a layout");
    let medium = Memory::new(layout.size_bound());
    let faulty = Faulty::new(&medium, fault);
    let written =
        squashfs::write(&layout, &Region::whole(&faulty, "rootfs"), &resources()).expect("it seems well");
    (faulty.writes(), squashfs::prove(&layout, &Region::whole(&medium, "rootfs"), &written, &resources()))
}

#[test]
fn a_lost_write_and_a_flipped_bit_of_any_write_are_found() {
    let (writes, proof) = through(Fault::Flip { write: u64::MAX, bit: 0 });
    proof.expect("nothing went wrong");
    assert!(writes > 4, "{writes}");
    for write in 0..writes {
        let error = through(Fault::Lose { write }).1.expect_err("a lost write is found");
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
        // In the middle of the data, or in the head with the superblock and the first data.
        let error = through(Fault::Flip { write, bit: 3000 }).1.expect_err("a flipped bit is found");
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    }
}

/// Memory in which one bit does not stick.
struct Stuck {
    memory: Memory,
    at: u64,
}

impl Layer for Stuck {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &self.memory
    }

    fn own_name(&self) -> Option<&str> {
        Some("stuck")
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        from.read(&self.memory, buf, offset)?;
        if let Some(byte) = self.at.checked_sub(offset).and_then(|at| buf.get_mut(at as usize)) {
            *byte ^= 1;
        }
        Ok(())
    }
}

#[test]
fn a_write_that_is_to_verify_fails_with_the_family_of_a_mismatch_and_says_what_to_do() {
    let (tree, options) = large();
    let layout = squashfs::layout(&tree, &options).expect("a layout");
    let stuck = Stuck { memory: Memory::new(layout.size_bound()), at: 1_000_000 };
    let region = Region::whole(&stuck, "rootfs");
    squashfs::write(&layout, &region, &resources()).expect("nobody looks");
    let error = squashfs::write(&layout, &region, &Resources { verify: true, ..resources() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`rootfs` is not what was to be written: `/large1` has other bytes than were written"
    );
    assert_eq!(error.kind().exit_code(), 3);
    assert_eq!(
        error.hint().expect("a hint"),
        "compose it again; if that fails too, the memory or disk of this machine is failing, or this program has a \
         fault, which its authors want to know"
    );
}

/// What `backhand` refuses and the kernel takes is read by our own reader, and damage in it is found all the same.
#[test]
fn what_is_beyond_the_second_reader_is_proven_without_it() {
    let mut long = Tree::new(stat(0o755));
    add(&mut long, "link", Body::Symlink(vec![b't'; 256].into()));
    add(&mut long, "file", file(Random(1).noise(5000)));
    let mut owners = Tree::new(stat(0o755));
    for number in 0..2049 {
        let id = add(&mut owners, &format!("{number}"), file("1"));
        owners.node_mut(id).stat.uid = 10_000 + number;
    }
    let why = ["the target of `/link` has 256 bytes, it reads 255", "2051 different owners, it reads 2048"];
    for (tree, why) in [long, owners].into_iter().zip(why) {
        let image = Image::new(tree, options("stored"));
        assert_eq!(image.prove(&image.bytes).expect("proven").without_second_reader.as_deref(), Some(why));
        let mut bytes = image.bytes.clone();
        bytes[96] ^= 1;
        assert!(image.told(&bytes).contains(" has other bytes than were written"), "{}", image.told(&bytes));
    }
}

#[test]
fn an_image_that_cannot_be_opened_is_told() {
    let image = stored();
    let mut bytes = image.bytes.clone();
    bytes[0] = 0;
    let told = image.told(&bytes);
    assert!(told.starts_with("`rootfs` is not what was to be written: "), "{told}");
}

/// A link that the second reader refuses makes the program say that it verifies.
#[test]
fn what_is_composed_is_verified_where_ci_is_true_and_where_it_is_asked_for() {
    let project = Project::new();
    project.write("source/file", "content");
    std::os::unix::fs::symlink("t".repeat(300), project.path("source/link")).expect("a link");
    let said = |flags: &[&str], ci: Option<&str>| {
        let mkfs = ["mkfs", "squashfs", "source", "out/fs", "--force"];
        let mut command = project.command(&[&mkfs[..], flags].concat());
        ci.map(|value| command.env("CI", value));
        succeed(&mut command).1
    };
    let note = "the image is read back without the independent reader: the target of `/link` has 300 bytes, it reads \
                255\n";
    assert_eq!(said(&[], None), "");
    assert_eq!(said(&[], Some("true")), note);
    assert_eq!(said(&[], Some("false")), "");
    assert_eq!(said(&["--verify-output"], None), note);
    assert_eq!(said(&["--verify-output=true"], None), note);
    assert_eq!(said(&["--verify-output=false"], Some("true")), "");
}

#[test]
fn whole_disks_are_verified_and_strict_names_what_they_would_lose() {
    const TABLE: &str = "output/build/buildroot-fs/full_devices_table.txt";
    let project = Project::new();
    std::os::unix::fs::symlink("t".repeat(300), project.path("output/target/long")).expect("a link");
    let strict = ["--verify-output", "--strict", "--quiet"];
    let note = "warning: a squashfs of this tree may be read back without the independent reader: the target of `/long` \
                has 300 bytes, it reads 255\n";
    assert_eq!(succeed(&mut project.assemble(&strict)).1, note);
    let plain = std::fs::read(project.path("out/disk.img")).expect("an image");
    assert_eq!(succeed(&mut project.assemble(&["--quiet", "--verify-output=false"])).1, "");
    assert!(
        std::fs::read(project.path("out/disk.img")).expect("an image") == plain,
        "verifying changes no byte"
    );
    for name in project::NAMES {
        project.remove(&format!("out/{name}"));
    }
    let table = std::fs::read_to_string(project.path(TABLE)).expect("a table");
    project.write(TABLE, format!("{table}/usr/bin/app f 755 0 0 - - - - -\n|xattr cap_net_raw+ep\n"));
    let lost = "`rootfs.cpio.lz4`: `/usr/bin/app` loses the attribute `security.capability`";
    assert_eq!(succeed(&mut project.assemble(&["--quiet"])).1, format!("warning: {lost}\n"));
    for name in project::NAMES {
        project.remove(&format!("out/{name}"));
    }
    expect_no_image(
        &project,
        &["--strict", "--quiet"],
        1,
        &format!(
            "error: one thing would be left out of the image: {lost}\n\
             hint: remove it from the source, or compose without `--strict`"
        ),
    );
}

/// An archive of the demo's tree, whose application has an access list.
fn archive(project: &Project) {
    let file = std::fs::File::create(project.path("rootfs.tar")).expect("a file");
    let mut tar = tar::Builder::new(file);
    tar.follow_symlinks(false);
    tar.append_dir_all(".", project.path("output/target")).expect("an archive");
    let list = access_list("u::rwx,u:1000:r-x,g::r-x,m::r-x,o::r-x");
    tar.append_pax_extensions([("SCHILY.xattr.system.posix_acl_access", list.as_slice())])
        .expect("an archive");
    tar.append_path_with_name(project.path("output/target/usr/bin/app"), "usr/bin/app2").expect("an archive");
    tar.finish().expect("an archive");
}

#[test]
fn what_a_squashfs_partition_loses_is_told() {
    let project = Project::new();
    archive(&project);
    let inputs = ["--boards", "boards", "--board", "demo/board", "--config", "demo/site"];
    let source = ["--source", "rootfs.tar", "--images", "output/images", "--arch", "arm64", "--quiet"];
    let assemble = ["assemble", "--out", "out/disk.img"];
    let told = succeed(&mut project.command(&[&assemble[..], &inputs, &source].concat())).1;
    let lost = [
        "warning: `rootfs.cpio.lz4`: `/usr/bin/app2` loses the attribute `system.posix_acl_access` and gets the mode 0755\n",
        "warning: `system`: `/usr/bin/app2` loses the attribute `system.posix_acl_access` and gets the mode 0755\n",
    ];
    assert_eq!(told, lost.concat());
}
