//! A made-up Buildroot output for any board, made from its descriptor: every file that the board names, small, with
//! the first bytes that a boot loader or the program looks for. Nothing of it runs.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use skiff_image::board::{
    Blob, BlobSource, Board, ContentSource, FilePlacement, Filesystem, Recipe, TableKind,
};
use skiff_image::value::Arch;

use super::super::tools::{run, skiff_image, temporary};

/// What `images/skiff-release` says.
pub const VERSION: &str = "2026.08.1";
/// Kernel version whose modules the root filesystem has.
pub const KERNEL: &str = "6.12.0-synthetic";
/// The partition that an image without a table is for.
pub const PARTUUID: &str = "0c51a5e5-0f1e-4b0d-9d6a-3f2b8a7c6d5e";
/// Bytes of a raw blob where nothing limits it.
const BLOB_LEN: u64 = 600 << 10;

/// A board, and a directory with an output for it.
pub struct Synthetic {
    /// The board, with the words in its names filled in.
    pub board: Board,
    /// The architecture it is composed for.
    pub arch: Arch,
    directory: tempfile::TempDir,
}

impl Synthetic {
    /// Makes `output/` and `images/` of `board`.
    pub fn new(board: Board, arch: Arch) -> Synthetic {
        let board = with_names_filled(board, arch);
        let synthetic = Synthetic { board, arch, directory: temporary() };
        synthetic.make_output();
        synthetic.make_images();
        synthetic
    }

    /// A path of the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file of the images.
    pub fn image(&self, name: &str) -> PathBuf {
        self.path("output/images").join(name)
    }

    /// The program, run in the directory, so that messages have short names.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = skiff_image();
        command.args(arguments).current_dir(self.directory.path());
        command
    }

    /// A verb about this board and this output, with no layer.
    pub fn command(&self, verb: &[&str]) -> Command {
        let mut command = self.program(verb);
        command.args(["--board", &self.board.name, "--arch", self.arch.name()]);
        command.args(["--source", "output", "--seed", &self.board.name]);
        if self.board.table == TableKind::None && !self.is_archive() {
            command.args(["--partuuid", PARTUUID]);
        }
        command
    }

    /// Replaces a file of the images.
    pub fn write_image(&self, name: &str, bytes: &[u8]) {
        write(&self.image(name), bytes);
    }

    /// Whether the output is no medium but a file for another program.
    pub fn is_archive(&self) -> bool {
        self.board.partitions.iter().any(|partition| partition.filesystem.is_archive())
    }

    /// All places of partitions and of artifacts.
    fn all_places(&self) -> impl Iterator<Item = &FilePlacement> {
        let artifacts = self.board.artifacts.iter().flat_map(|artifact| artifact.recipe.files());
        self.board.partitions.iter().flat_map(|partition| &partition.files).chain(artifacts)
    }

    /// The file that is taken for a blob; nothing if it is composed.
    pub fn file_of<'b>(&self, blob: &'b Blob) -> Option<&'b str> {
        match &blob.source {
            BlobSource::Images(files) => Some(self.taken(files)),
            BlobSource::Artifact(_) => None,
        }
    }

    /// The first of some files that is among the images, or the very first if none is yet.
    pub fn taken<'f>(&self, files: &'f [String]) -> &'f str {
        files.iter().find(|file| self.image(file).is_file()).unwrap_or(&files[0])
    }

    /// Removes every file that would be taken for `name` or before it; says whether the board looks for `name`.
    pub fn remove_alternatives(&self, name: &str) -> bool {
        let blobs = self.board.blobs.iter().filter_map(|blob| match &blob.source {
            BlobSource::Images(files) => Some(files),
            BlobSource::Artifact(_) => None,
        });
        let placed = self.all_places().filter_map(|place| match &place.from {
            ContentSource::Images(files) => Some(files),
            _ => None,
        });
        let alternatives: Vec<_> =
            blobs.chain(placed).filter(|files| files.iter().any(|file| file == name)).collect();
        for file in alternatives.iter().copied().flatten() {
            let _ = fs::remove_file(self.image(file));
        }
        !alternatives.is_empty()
    }

    /// The smallest medium of the board, as `--size` wants it; nothing where the descriptor leaves it to the contents.
    pub fn minimum(&self) -> Vec<String> {
        match self.board.minimum_medium.0 {
            0 => Vec::new(),
            len => vec!["--size".into(), len.to_string()],
        }
    }

    /// The plan for the smallest medium.
    pub fn plan(&self) -> serde_json::Value {
        let text = run(self.command(&["--json", "plan"]).args(self.minimum()));
        serde_json::from_str(&text).expect("plan prints JSON")
    }

    /// The places of a partition that count for the architecture.
    pub fn places<'a>(&'a self, files: &'a [FilePlacement]) -> impl Iterator<Item = &'a FilePlacement> {
        files.iter().filter(|place| place.arch.covers(self.arch))
    }

    fn make_output(&self) {
        for (name, text) in [
            (".config", config(self.arch)),
            ("build/buildroot-fs/full_users_table.txt", "skiff 1000 skiff 1000 * /home/skiff /bin/sh - -\n"),
            ("build/buildroot-fs/full_devices_table.txt", "/bin/busybox f 4755 0 0 - - - - -\n"),
            ("build/packages-file-list.txt", "busybox,./usr/bin/busybox\n"),
            ("target/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("target/etc/group", "root:x:0:\n"),
            ("target/etc/shadow", "root:*:::::::\n"),
        ] {
            write(&self.path("output").join(name), text.as_bytes());
        }
        for (name, len) in [
            ("usr/bin/busybox".to_owned(), 90_000),
            (format!("usr/lib/modules/{KERNEL}/kernel/a.ko"), 40_000),
            (format!("usr/lib/modules/{KERNEL}/modules.dep"), 300),
        ] {
            write(&self.path("output/target").join(&name), &made_up(&name, len));
        }
        symlink("usr/bin", self.path("output/target/bin")).expect("a link");
        for artifact in &self.board.artifacts {
            if let Recipe::Squashfs { subtree, .. } = &artifact.recipe {
                fs::create_dir_all(self.path("output/target").join(subtree.trim_matches('/')))
                    .expect("a directory");
            }
        }
    }

    fn make_images(&self) {
        self.write_image("skiff-release", format!("NAME=SkiffOS\nVERSION={VERSION}\n").as_bytes());
        let here = |place: &&FilePlacement| place.arch.covers(self.arch);
        self.all_places().filter(here).for_each(|place| self.make_place(place));
        for partition in &self.board.partitions {
            if let Filesystem::Raw { images, .. } = &partition.filesystem {
                self.write_image(&images[0], &made_up(&images[0], 50_000));
            }
        }
        let mut blobs: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for blob in &self.board.blobs {
            let Some(name) = self.file_of(blob) else { continue };
            let len = self.blob_len(blob).max(blobs.get(name).map_or(0, |bytes| bytes.len() as u64));
            let bytes = blobs.entry(name).or_default();
            // Twice in a table, a blob is one file: it must keep what the other entry looks for.
            bytes.extend_from_slice(&made_up(name, len as usize)[bytes.len()..]);
            if let Some(magic) = &blob.magic {
                let at = magic.at.0 as usize;
                bytes[at..at + magic.bytes.len()].copy_from_slice(&magic.bytes);
            }
        }
        blobs.iter().for_each(|(name, bytes)| self.write_image(name, bytes));
        for artifact in &self.board.artifacts {
            if let Recipe::GrubCore { directory, modules, .. } = &artifact.recipe {
                self.make_grub(directory, modules);
            }
        }
    }

    /// The files of GRUB's build for a BIOS: boot sectors, a decompressor, a kernel of one segment, modules that need
    /// no others.
    fn make_grub(&self, directory: &str, modules: &[String]) {
        let write = |name: &str, bytes: &[u8]| self.write_image(&format!("{directory}/{name}"), bytes);
        let boot = [&made_up("boot.img", 510)[..], &[0x55, 0xaa]].concat();
        write("boot.img", &boot);
        write("diskboot.img", &made_up("diskboot.img", 512));
        write("lzma_decompress.img", &made_up("lzma_decompress.img", 2848));
        write("kernel.img", &grub_kernel());
        write("moddep.lst", modules.iter().map(|name| format!("{name}:\n")).collect::<String>().as_bytes());
        for module in modules {
            write(&format!("{module}.mod"), &made_up(module, 5000));
        }
    }

    /// What looks like a path in the boot texts and their words.
    fn named_by_texts(&self) -> Vec<String> {
        let texts = self.board.artifacts.iter().filter_map(|artifact| match &artifact.recipe {
            Recipe::Text { template, .. } => Some(template.as_str()),
            _ => None,
        });
        let words = self.board.vars.iter().map(|var| var.value.as_str());
        let apart = |char: char| !char.is_ascii_alphanumeric() && !"/._-+".contains(char);
        texts.chain(words).flat_map(|text| text.split(apart)).map(String::from).collect()
    }

    fn make_place(&self, place: &FilePlacement) {
        match &place.from {
            ContentSource::Images(candidates) => {
                let (before, after) = candidates[0].split_once('*').unwrap_or((&candidates[0], ""));
                let all = [candidates[0].replace('*', "synthetic")];
                let named = self.named_by_texts().into_iter().filter_map(|path| {
                    let name = path.rsplit('/').next()?;
                    let fits =
                        candidates[0].contains('*') && name.starts_with(before) && name.ends_with(after);
                    fits.then(|| name.to_owned())
                });
                for name in all.iter().cloned().chain(named).filter(|name| !self.image(name).exists()) {
                    self.write_image(&name, &recognisable(&name, self.arch));
                }
            }
            ContentSource::ImagesTree { tree, .. } => {
                let some = format!("{}-synthetic.txt", tree.replace('/', "-"));
                let directory = format!("{}/", place.to.trim_end_matches('/'));
                let named = self.named_by_texts();
                let named = named
                    .iter()
                    .filter_map(|path| path.strip_prefix(&directory))
                    .filter(|path| directory != "/" && !place.optional && !path.is_empty());
                for name in named.chain([some.as_str()]) {
                    self.write_image(&format!("{tree}/{name}"), name.as_bytes());
                }
            }
            ContentSource::Root { path, .. } => {
                fs::create_dir_all(self.path("output/target").join(path.trim_matches('/')))
                    .expect("a directory");
            }
            ContentSource::Artifact(_)
            | ContentSource::Directory
            | ContentSource::SlotState
            | ContentSource::Text(_)
            | ContentSource::Link(_) => {}
        }
    }

    /// A plausible length of the file of a blob: more than a fixed length takes of it, beyond what is skipped, and
    /// no more than there is room for.
    fn blob_len(&self, blob: &Blob) -> u64 {
        if let Some(length) = blob.length {
            return blob.from.0 + length.0 + 256;
        }
        let (room, _) = self.room(blob, &[]);
        blob.from.0 + room.min(BLOB_LEN)
    }

    /// Bytes there are for a blob from its offset on, and what ends them: its limit, the next blob or the next of the
    /// `partitions`, given by name and first byte.
    pub fn room(&self, blob: &Blob, partitions: &[(String, u64)]) -> (u64, String) {
        let limit = blob.limit.map(|limit| (blob.offset.0 + limit.0, "its limit".to_owned()));
        let others = self.board.blobs.iter().map(|other| (other.offset.0, format!("blob `{}`", other.name)));
        let fixed =
            self.board.partitions.iter().filter_map(|partition| Some((&partition.name, partition.start?.0)));
        let placed = partitions.iter().map(|(name, start)| (name, *start));
        let partitions = placed.chain(fixed).map(|(name, start)| (start, format!("partition `{name}`")));
        let ends = limit.into_iter().chain(others).chain(partitions);
        let (end, what) = ends
            .filter(|(end, _)| *end > blob.offset.0)
            .min_by_key(|(end, _)| *end)
            .unwrap_or((u64::MAX, "the end of the disk".into()));
        (end - blob.offset.0, what)
    }
}

/// Fills the words of a text; `word` gives their values.
pub fn filled(text: &str, word: &dyn Fn(&str) -> String) -> String {
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("@{") {
        let (name, behind) = after.split_once('}').expect("a word ends");
        // What a word stands for may have words of its own.
        done = done + before + &filled(&word(name), word);
        rest = behind;
    }
    done + rest
}

/// The words of a board but for those that are ids.
pub fn word(board: &Board, arch: Arch, name: &str) -> String {
    match name {
        "arch" => arch.to_string(),
        "board" => board.name.clone(),
        "version" => VERSION.into(),
        _ => board.vars_for(arch).remove(name).unwrap_or_else(|| panic!("`@{{{name}}}` has no value")),
    }
}

/// A board whose names of files and artifacts have no words any more.
fn with_names_filled(mut board: Board, arch: Arch) -> Board {
    let words = board.clone();
    let fill = |text: &mut String| *text = filled(text, &|name| word(&words, arch, name));
    let fill_place = |place: &mut FilePlacement| {
        let filled: Result<(), Infallible> = place.fill(|text| {
            fill(text);
            Ok(())
        });
        filled.expect("nothing can fail");
    };
    for artifact in &mut board.artifacts {
        fill(&mut artifact.name);
        artifact.recipe.files_mut().iter_mut().for_each(fill_place);
        if let Recipe::UbootRamdisk { from, .. } | Recipe::UbootScript { from, .. } = &mut artifact.recipe {
            fill(from);
        }
    }
    for blob in &mut board.blobs {
        match &mut blob.source {
            BlobSource::Images(files) => files.iter_mut().for_each(fill),
            BlobSource::Artifact(name) => fill(name),
        }
    }
    for partition in &mut board.partitions {
        partition.files.iter_mut().for_each(fill_place);
        if let Filesystem::Raw { images, .. } = &mut partition.filesystem {
            images.iter_mut().for_each(fill);
        }
    }
    board
}

/// Writes a file and the directories that lead to it.
fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory");
    fs::write(path, bytes).expect("a file");
}

/// `.config` of a Buildroot for an architecture.
fn config(arch: Arch) -> &'static str {
    match arch {
        Arch::Arm => "BR2_arm=y\n",
        Arch::Arm64 => "BR2_aarch64=y\n",
        Arch::X86_64 => "BR2_x86_64=y\n",
        Arch::Riscv64 => "BR2_riscv=y\nBR2_RISCV_64=y\n",
    }
}

/// An ELF program for the 80386 with one segment at 0x9000, of 20000 bytes (System V ABI, figures 4-3 and 5-1).
fn grub_kernel() -> Vec<u8> {
    let mut elf = vec![0; 84];
    let mut put = |at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x01\x01\x01");
    put(16, &[2, 0, 3, 0, 1, 0, 0, 0]);
    for (at, word) in [(28, 52), (52, 1), (56, 84), (60, 0x9000), (64, 0x9000), (68, 20_000), (72, 30_000)] {
        put(at, &u32::to_le_bytes(word));
    }
    put(44, &[1, 0]);
    elf.extend(made_up("kernel.img", 20_000));
    elf
}

/// Bytes that follow from a name and do not compress.
pub fn made_up(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A file that is recognised by its first bytes: kernels, device trees, EFI programs, ELF files.
fn recognisable(name: &str, arch: Arch) -> Vec<u8> {
    let extension = name.rsplit('.').next().unwrap_or_default();
    let base = name.rsplit('/').next().unwrap_or_default();
    let kernel = ["Image", "zImage", "bzImage"].iter().any(|kernel| base.starts_with(kernel));
    let mut bytes = made_up(name, if kernel { 300_000 } else { 20_000 });
    let marks: &[(usize, &[u8])] = match (extension, kernel, arch) {
        // Flattened device tree: magic, then the length of the whole.
        ("dtb" | "dtbo", ..) => &[(0, &[0xd0, 0x0d, 0xfe, 0xed, 0, 0, 0x4e, 0x20])],
        ("elf", ..) => &[(0, b"\x7fELF")],
        ("efi" | "EFI", ..) => &[(0, b"MZ")],
        // Linux, Documentation/arch/{arm/booting,arm64/booting,riscv/boot-image-header,x86/boot}.rst.
        (_, true, Arch::Arm) => &[(0x24, &[0x18, 0x28, 0x6f, 0x01])],
        (_, true, Arch::Arm64) => &[(0x38, b"ARM\x64")],
        (_, true, Arch::Riscv64) => &[(0x30, b"RISCV\0\0\0"), (0x38, b"RSC\x05")],
        (_, true, Arch::X86_64) => &[(0x1fe, &[0x55, 0xaa]), (0x202, b"HdrS")],
        _ => &[],
    };
    for (at, mark) in marks {
        bytes[*at..at + mark.len()].copy_from_slice(mark);
    }
    bytes
}
