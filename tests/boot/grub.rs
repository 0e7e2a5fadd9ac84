//! GRUB for a BIOS: the core image holds byte for byte what `grub-mkimage` puts into one, and what cannot be put
//! together is told.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::harness::board::output;
use crate::harness::tools::{command, oracle};
use crate::harness::tools::{run, temporary};
use skiff_image::board::{Board, DescriptorSource, NoFamilies};
use skiff_image::boot::grub::{self, Core};
use skiff_image::error::{Error, ErrorKind};

/// Sectors of the core image before the decompressor.
const SECTOR: usize = 512;
const CONFIG: &str = "search --set=root --label boot\n";

fn modules(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

fn directory() -> PathBuf {
    output("amd64").join("images/grub/i386-pc")
}

/// What the decompressor leaves at 0x9000, unpacked by `xz`; `len` is unknown where the stream has an end mark.
fn unpacked(core: &[u8], decompressor: usize, len: u64) -> Vec<u8> {
    let stream = &core[SECTOR + decompressor..];
    // The header of an .lzma file: lc=3 lp=0 pb=2, a window of 64 KiB, the length.
    let header = [&[0x5d][..], &(1u32 << 16).to_le_bytes(), &len.to_le_bytes()].concat();
    let mut xz = command("xz")
        .args(["--decompress", "--format=lzma", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("xz starts");
    let mut stdin = xz.stdin.take().expect("stdin is piped");
    let input = [&header, stream].concat();
    let writer = std::thread::spawn(move || {
        // It stops reading at the end of the stream.
        let _ = stdin.write_all(&input);
    });
    let bytes = xz.wait_with_output().expect("xz ends").stdout;
    writer.join().expect("the writer ends");
    bytes
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

fn expect_like_mkimage(names: &str, prefix: &str, config: Option<&str>) {
    let (directory, scratch) = (directory(), temporary());
    let theirs = scratch.path().join("core.img");
    let mut mkimage = command("grub-mkimage");
    mkimage.arg("-d").arg(&directory).args(["-O", "i386-pc", "-p", prefix, "-o"]).arg(&theirs);
    if let Some(config) = config {
        let file = scratch.path().join("early.cfg");
        fs::write(&file, config).expect("the directory is writable");
        mkimage.arg("-c").arg(file);
    }
    run(mkimage.args(names.split_whitespace()));
    let theirs = fs::read(theirs).expect("grub-mkimage wrote it");
    let wanted = modules(names);
    let ours =
        grub::core(&Core { directory: &directory, modules: &wanted, prefix, config }).expect("composed");

    let decompressor = fs::read(directory.join("lzma_decompress.img")).expect("a file").len();
    let fields = |core: &[u8]| (word(core, SECTOR + 0x0c), word(core, SECTOR + 0x10));
    assert_eq!(fields(&ours), fields(&theirs), "the same length unpacked, no parity");
    let len = word(&theirs, SECTOR + 0x0c);
    let (found, expected) =
        (unpacked(&ours, decompressor, u64::MAX), unpacked(&theirs, decompressor, len as u64));
    assert_eq!((found.len(), expected.len()), (len, len));
    assert!(found == expected, "what is unpacked differs");

    let mut code = ours[SECTOR..SECTOR + decompressor].to_vec();
    let compressed = word(&code, 0x08);
    code[0x08..0x0c].copy_from_slice(&theirs[SECTOR + 0x08..SECTOR + 0x0c]);
    assert!(code == theirs[SECTOR..SECTOR + decompressor], "the decompressor differs");
    assert_eq!(ours.len(), (SECTOR + decompressor + compressed).next_multiple_of(SECTOR));
    let sectors = (ours.len() / SECTOR - 1) as u16;
    assert_eq!(ours[..SECTOR - 4], theirs[..SECTOR - 4], "the loader and its first sector");
    assert_eq!(ours[SECTOR - 4..SECTOR - 2], sectors.to_le_bytes());
    assert_eq!(ours[SECTOR - 2..SECTOR], theirs[SECTOR - 2..SECTOR], "the segment");
    let (our_len, their_len) = (ours.len(), theirs.len());
    assert!(our_len <= their_len + SECTOR + their_len / 50, "{our_len} bytes, grub-mkimage has {their_len}");
}

#[test]
fn a_core_image_unpacks_to_what_grub_mkimage_packs() {
    let test = "a_core_image_unpacks_to_what_grub_mkimage_packs";
    if ["grub-mkimage", "xz"].iter().any(|tool| !oracle(test, tool)) {
        return;
    }
    expect_like_mkimage("biosdisk part_msdos fat normal linux", "(,msdos1)/grub", None);
    expect_like_mkimage("biosdisk part_gpt ext2 search_label configfile serial", "/boot/grub", Some(CONFIG));
    // Lengths that need no padding and three bytes of it.
    expect_like_mkimage("biosdisk", "/123456", Some("abc"));
    expect_like_mkimage("biosdisk", "", Some("abcd"));
}

#[test]
fn modules_come_behind_what_they_need_and_once() {
    let scratch = temporary();
    let list = "normal: boot terminal\nterminal: boot\nboot:\nlinux: normal boot\nlone:\n";
    fs::write(scratch.path().join("moddep.lst"), list).expect("the directory is writable");
    let order = |names: &str| grub::load_order(scratch.path(), &modules(names)).expect("resolved");
    assert_eq!(order("linux normal linux"), ["boot", "terminal", "normal", "linux"]);
    assert_eq!(order("lone linux"), ["lone", "boot", "terminal", "normal", "linux"]);
    // A module that the list lacks needs nothing.
    assert_eq!(order("other"), ["other"]);
    assert!(order("").is_empty());
}

#[test]
fn the_boot_code_loads_the_sector_behind_it_from_the_drive_the_bios_started_from() {
    let image = fs::read(directory().join("boot.img")).expect("a file");
    let code = grub::boot_code(&directory()).expect("a boot sector");
    assert_eq!(code.len(), 440);
    let differs: Vec<usize> = (0..440).filter(|at| code[*at] != image[*at]).collect();
    assert_eq!(differs, [0x66, 0x67], "the jump over the check of the drive number");
    assert_eq!(code[0x5c..0x64], 1u64.to_le_bytes());
    assert_eq!((code[0x64], &code[0x66..0x68]), (0xff, &[0x90, 0x90][..]));
}

/// A copy of GRUB's files to spoil.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        let copy = Files(temporary());
        for file in ["boot.img", "diskboot.img", "kernel.img", "lzma_decompress.img", "moddep.lst"] {
            copy.write(file, &fs::read(directory().join(file)).expect("a file"));
        }
        for module in ["biosdisk.mod", "fat.mod", "fshelp.mod"] {
            copy.write(module, b"a module");
        }
        copy
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).expect("the directory is writable");
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path().join(name)).expect("a file");
        change(&mut bytes);
        self.write(name, &bytes);
    }

    fn core(&self, names: &str) -> Result<Vec<u8>, Error> {
        let wanted = modules(names);
        grub::core(&Core { directory: self.path(), modules: &wanted, prefix: "/grub", config: None })
    }

    /// The message of a failure, with the name of the directory taken out, its family and its hint.
    fn failure(&self, result: Result<Vec<u8>, Error>) -> (String, ErrorKind, String) {
        let error = result.expect_err("it cannot be put together");
        let message = error.to_string().replace(self.path().to_str().expect("a plain name"), "GRUB");
        (message, error.kind(), error.hint().expect("a hint"))
    }
}

const AGAIN: &str = "build GRUB for `i386-pc` again; all its files are of one build";
const BUILD: &str = "build GRUB for `i386-pc` and put the files of its build there";

#[test]
fn missing_files_are_named() {
    let files = Files::new();
    fs::remove_file(files.path().join("fat.mod")).expect("it is there");
    let missing = |name: &str, hint: &str| {
        (format!("`{name}` of GRUB is not in `GRUB`"), ErrorKind::Input, hint.to_owned())
    };
    assert_eq!(files.failure(files.core("fat")), missing("fat.mod", BUILD));
    assert_eq!(files.failure(files.core("biosdisc")), missing("biosdisc.mod", "did you mean `biosdisk`?"));
    for name in ["kernel.img", "lzma_decompress.img", "diskboot.img", "moddep.lst"] {
        let files = Files::new();
        fs::remove_file(files.path().join(name)).expect("it is there");
        assert_eq!(files.failure(files.core("biosdisk")), missing(name, BUILD));
    }
    fs::remove_file(files.path().join("boot.img")).expect("it is there");
    assert_eq!(files.failure(grub::boot_code(files.path())), missing("boot.img", BUILD));
}

#[test]
fn files_of_another_build_are_refused() {
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(&str, Spoil, &str); 8] = [
        (
            "moddep.lst",
            |b| *b = b"a:\nb\n".to_vec(),
            "`GRUB/moddep.lst:2`: no colon behind the name of a module",
        ),
        ("moddep.lst", |b| *b = b"fat: a\na: fat\n".to_vec(), "the GRUB module `fat` needs itself"),
        ("diskboot.img", |b| b.truncate(511), "`diskboot.img` of GRUB has 511 bytes but a sector has 512"),
        (
            "lzma_decompress.img",
            |b| b.truncate(19),
            "`lzma_decompress.img` of GRUB has 19 bytes but it needs 20 to 3584",
        ),
        (
            "lzma_decompress.img",
            |b| b.resize(3585, 0),
            "`lzma_decompress.img` of GRUB has 3585 bytes but it needs 20 to 3584",
        ),
        (
            "kernel.img",
            |b| b[18] = 62,
            "`kernel.img` of GRUB is not for `i386-pc`: it is no 32-bit ELF program for the 80386",
        ),
        (
            "kernel.img",
            |b| b.truncate(0x100),
            "`kernel.img` of GRUB is not for `i386-pc`: it has 256 bytes but speaks of 29992",
        ),
        ("kernel.img", |b| b[44] = 0, "`kernel.img` of GRUB is not for `i386-pc`: it has nothing to load"),
    ];
    for (name, spoil, message) in cases {
        let files = Files::new();
        files.edit(name, spoil);
        let expected = (message.to_owned(), ErrorKind::Corrupt, AGAIN.to_owned());
        assert_eq!(files.failure(files.core("fat")), expected);
    }
    let files = Files::new();
    files.edit("boot.img", |bytes| bytes[511] = 0);
    let message = "`boot.img` of GRUB ends with 55 00 but a boot sector ends with 55 aa";
    let expected = (message.to_owned(), ErrorKind::Corrupt, AGAIN.to_owned());
    assert_eq!(files.failure(grub::boot_code(files.path())), expected);
}

#[test]
fn what_does_not_fit_below_640_kib_is_refused_with_both_numbers() {
    let files = Files::new();
    // Bytes that no compressor makes smaller.
    let mut noise = vec![0; 500_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    files.write("biosdisk.mod", &noise);
    let (message, family, hint) = files.failure(files.core("biosdisk"));
    assert!(message.starts_with("the core image of GRUB has "), "{message}");
    assert!(message.ends_with(" but 444 KiB fit into the memory below 640 KiB"), "{message}");
    assert_eq!(family, ErrorKind::Fit);
    assert_eq!(hint, "take modules out of the core image; GRUB loads others from the disk");

    let files = Files::new();
    // The first segment's length in memory.
    files.edit("kernel.img", |bytes| bytes[52 + 20..52 + 24].copy_from_slice(&0x5f001u32.to_le_bytes()));
    let problem = "it is loaded at 0x9000 with 0x5f001 bytes but has to lie between 0x9000 and 0x68000";
    let message = format!("`kernel.img` of GRUB is not for `i386-pc`: {problem}");
    assert_eq!(files.failure(files.core("fat")), (message, ErrorKind::Corrupt, AGAIN.to_owned()));
}

/// A descriptor whose master boot record starts GRUB.
const BOARD: &str = r#"
description = "A PC of a test"
status = "boots nothing"
arch = ["x86_64"]
root = "none"

[table]
kind = "mbr"

[[artifact]]
name = "boot"
format = "grub-boot"
directory = "grub"

[[artifact]]
name = "core"
format = "grub-core"
directory = "grub"
modules = ["biosdisk"]
prefix = "/grub"

[[blob]]
name = "boot"
artifact = "boot"
offset = "0"

[[blob]]
name = "core"
artifact = "core"
offset = "1 sectors"

[[partition]]
name = "boot"
size = "64 MiB"
filesystem = "fat32"
label = "boot"
"#;

/// What is wrong with the descriptor when one text of it is another.
fn problem(old: &str, new: &str) -> String {
    assert!(BOARD.contains(old), "no `{old}`");
    let text = BOARD.replacen(old, new, 1);
    let source = DescriptorSource { file: "pc.toml", text: &text };
    Board::parse("test/pc", source, &NoFamilies).expect_err("it contradicts itself").to_string()
}

#[test]
fn a_descriptor_says_all_that_grub_needs_and_puts_it_where_it_looks() {
    Board::parse("test/pc", DescriptorSource { file: "pc.toml", text: BOARD }, &NoFamilies).expect("valid");
    let directory = "directory = \"grub\"\n";
    assert_eq!(problem(directory, ""), "`pc.toml`: artifact `boot`: `directory` is missing");
    let core = |line: &str| problem(line, "");
    assert_eq!(core("modules = [\"biosdisk\"]\n"), "`pc.toml`: artifact `core`: `modules` is missing");
    assert_eq!(core("prefix = \"/grub\"\n"), "`pc.toml`: artifact `core`: `prefix` is missing");
    assert_eq!(
        problem(directory, "directory = \"grub\"\nprefix = \"/grub\"\n"),
        "`pc.toml`: artifact `boot`: `prefix` means nothing for this format"
    );
    assert_eq!(
        problem("offset = \"1 sectors\"", "offset = \"1 KiB\""),
        "`pc.toml`: blob `core`: `core` is for byte 512 of the disk and not 1024"
    );
    assert_eq!(
        problem("offset = \"0\"", "offset = \"1 sectors\""),
        "`pc.toml`: blob `boot`: `boot` is for byte 0 of the disk and not 512"
    );
    assert_eq!(
        problem("kind = \"mbr\"", "kind = \"gpt\""),
        "`pc.toml`: blob `boot`: `boot` is for a disk with an MBR and sectors of 512 bytes"
    );
}
