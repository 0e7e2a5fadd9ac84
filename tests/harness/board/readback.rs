//! Reads an image of a board back with tools that know nothing of the program, and compares it with what the
//! descriptor and the files it was made of say.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;
use skiff_image::board::{
    Artifact, Blob, BlobSource, ContentSource, FilePlacement, Filesystem, Partition, Recipe, TableKind,
};

use super::super::disk::{Disk, SECTOR, bytes, check_ext4, contents, extract};
use super::super::tools::command;
use super::super::tools::run;
use super::synthetic::{self, KERNEL, PARTUUID, Synthetic, filled};

/// Programs that images are read with.
pub const TOOLS: [&str; 13] = [
    "sfdisk",
    "sgdisk",
    "fsck.fat",
    "mdir",
    "mcopy",
    "e2fsck",
    "dumpe2fs",
    "debugfs",
    "dumpimage",
    "lz4",
    "cpio",
    "unsquashfs",
    "blkid",
];

/// Bytes of the header of a U-Boot legacy image (`struct legacy_img_hdr` in U-Boot's `include/image.h`).
const LEGACY_HEADER: usize = 64;
/// The length of the only script and the zero behind it, in a legacy image of type script.
const SCRIPT_LENGTHS: usize = 8;

/// An image, and what it was made of.
pub struct Readback<'a> {
    synthetic: &'a Synthetic,
    image: PathBuf,
    disk: Option<Disk>,
    plan: Option<Value>,
    directory: PathBuf,
}

/// What should be at a path.
enum Expected<'a> {
    Bytes(Vec<u8>),
    Artifact(&'a Artifact),
    /// Whatever the root filesystem has there.
    Below,
}

impl<'a> Readback<'a> {
    /// Reads the table of an image of the board's smallest medium.
    pub fn new(synthetic: &'a Synthetic, image: &str) -> Readback<'a> {
        let (image, directory) = (synthetic.path(image), synthetic.path("readback"));
        fs::create_dir(&directory).expect("a directory");
        let disk = (synthetic.board.table != TableKind::None).then(|| Disk::read(&image));
        let plan = disk.as_ref().map(|_| synthetic.plan());
        Readback { synthetic, image, disk, plan, directory }
    }

    /// Everything that can be read.
    pub fn expect_all(&self) {
        self.expect_table();
        for blob in &self.synthetic.board.blobs {
            self.expect_blob(blob);
        }
        for partition in &self.synthetic.board.partitions {
            self.expect_partition(partition);
        }
    }

    /// The table is without fault, and its partitions are where the plan says and of the kind the board says.
    fn expect_table(&self) {
        let board = &self.synthetic.board;
        let Some(disk) = &self.disk else { return };
        assert_eq!(disk.entries.len(), board.partitions.len(), "partitions");
        for partition in &board.partitions {
            let entry = &disk.entries[partition.number as usize - 1];
            let (offset, len) = self.planned(partition);
            assert_eq!((entry.start * SECTOR, entry.size * SECTOR), (offset, len), "`{}`", partition.name);
            match board.table {
                TableKind::Mbr => {
                    let kind = u8::from_str_radix(&entry.kind, 16).expect("a type byte");
                    let found = (kind, entry.active);
                    assert_eq!(found, (partition.mbr_type, partition.active), "`{}`", partition.name);
                }
                TableKind::Gpt | TableKind::None => {
                    let found = (entry.kind.to_lowercase(), &entry.name);
                    assert_eq!(found, (partition.type_guid.to_string(), &partition.name));
                }
            }
        }
        if board.table == TableKind::Gpt {
            let verdict = run(command("sgdisk").arg("--verify").arg(&self.image));
            assert!(verdict.contains("No problems found"), "{verdict}");
        }
    }

    /// First byte and length of a partition in the plan; without a table it is the whole image.
    fn planned(&self, partition: &Partition) -> (u64, u64) {
        let Some(plan) = &self.plan else {
            return (0, fs::metadata(&self.image).expect("the image").len());
        };
        let steps = plan["steps"].as_array().expect("steps");
        let step = steps.iter().find(|step| step["action"]["number"] == partition.number);
        let step = step.unwrap_or_else(|| panic!("no step of `{}`", partition.name));
        (step["offset"].as_u64().expect("an offset"), step["len"].as_u64().expect("a length"))
    }

    /// The bytes of a blob are where they belong, and what it skips is not of it.
    fn expect_blob(&self, blob: &Blob) {
        let Some(file) = self.synthetic.file_of(blob) else { return self.expect_composed(blob) };
        let file = fs::read(self.synthetic.image(file)).expect("the file of a blob");
        let file = &file[blob.from.0 as usize..];
        let file = &file[..blob.length.map_or(file.len(), |length| file.len().min(length.0 as usize))];
        let found = bytes(&self.image, blob.offset.0, file.len() as u64);
        let skipped = |at: u64| blob.skip.iter().any(|(start, end)| (start.0..end.0).contains(&at));
        // Blobs that come later may lie in what an earlier one leaves free; nothing else may.
        for (index, (found, expected)) in found.iter().zip(file).enumerate() {
            let at = blob.offset.0 + index as u64;
            assert!(found == expected || skipped(at), "blob `{}` differs at byte {at}", blob.name);
        }
        if let Some((start, end)) = blob.skip.iter().find(|(start, _)| start.0 >= blob.offset.0) {
            let range = (start.0 - blob.offset.0) as usize..(end.0 - blob.offset.0) as usize;
            assert!(found.get(range.clone()) != file.get(range), "blob `{}` fills what it skips", blob.name);
        }
    }

    /// What is composed of GRUB's files is at the offset of the blob, but for the places that are filled in: GRUB
    /// 2.12, `include/grub/offsets.h`, `include/grub/i386/pc/boot.h` and `grub-core/boot/i386/pc/diskboot.S`.
    fn expect_composed(&self, blob: &Blob) {
        let BlobSource::Artifact(name) = &blob.source else { panic!("blob `{}` has a file", blob.name) };
        let (directory, parts): (_, &[(&str, u64, Range<usize>)]) = match &self.artifact(name).recipe {
            Recipe::GrubBoot { directory } => {
                (directory, &[("boot.img", 0, 0..0x5c), ("boot.img", 0, 0x68..0x1b8)])
            }
            Recipe::GrubCore { directory, .. } => {
                (directory, &[("diskboot.img", 0, 0..500), ("lzma_decompress.img", 512, 0x14..2848)])
            }
            recipe => panic!("blob `{}` is composed by {recipe:?}", blob.name),
        };
        for (file, at, range) in parts {
            let bytes =
                fs::read(self.synthetic.image(&format!("{directory}/{file}"))).expect("a file of GRUB");
            let offset = blob.offset.0 + at + range.start as u64;
            let found = self::bytes(&self.image, offset, range.len() as u64);
            assert!(found == bytes[range.clone()], "blob `{}` differs in `{file}`", blob.name);
        }
    }

    fn expect_partition(&self, partition: &Partition) {
        let (offset, len) = self.planned(partition);
        let volume = self.directory.join(&partition.name);
        extract(&self.image, offset, len, &volume).expect("a partition");
        let found = match &partition.filesystem {
            Filesystem::Fat32 { label } | Filesystem::Fat16 { label } => self.read_fat(&volume, label),
            Filesystem::Ext4 { label } => {
                assert_eq!(check_ext4(&volume), *label);
                self.read_ext4(&volume)
            }
            Filesystem::Tar { .. } => read_tar(&volume),
            Filesystem::Squashfs { .. } => return expect_squashfs(&volume, "/"),
            Filesystem::Raw { images, .. } => {
                let file =
                    fs::read(self.synthetic.image(self.synthetic.taken(images))).expect("an image file");
                assert!(bytes(&self.image, offset, file.len() as u64) == file, "`{}`", partition.name);
                return;
            }
            // What is in it is for other programs: `tests/` has one about it.
            Filesystem::Oci { .. } => {
                let listing = run(command("tar").arg("-tf").arg(&volume));
                assert!(listing.lines().any(|line| line == "oci-layout"), "{listing}");
                return;
            }
            Filesystem::None => return,
        };
        self.expect_files(partition, found);
        fs::remove_file(&volume).expect("the volume can be removed");
    }

    fn read_fat(&self, volume: &Path, label: &str) -> BTreeMap<String, Vec<u8>> {
        run(command("fsck.fat").args(["-n", "-v"]).arg(volume));
        let kind = run(command("blkid").args(["-p", "-o", "value", "-s", "LABEL"]).arg(volume));
        assert_eq!(kind.trim_end(), label);
        let to = volume.with_extension("files");
        fs::create_dir(&to).expect("a directory");
        run(command("mcopy").args(["-s", "-n", "-i"]).arg(volume).arg("::/").arg(&to));
        files(&to)
    }

    fn read_ext4(&self, volume: &Path) -> BTreeMap<String, Vec<u8>> {
        let to = volume.with_extension("files");
        fs::create_dir(&to).expect("a directory");
        run(command("debugfs").arg("-R").arg(format!("rdump / {}", to.display())).arg(volume));
        files(&to)
    }

    /// Each file that the board places is there and right, and no other is.
    fn expect_files(&self, partition: &Partition, mut found: BTreeMap<String, Vec<u8>>) {
        let places = self.synthetic.places(&partition.files);
        for (path, expected) in places.flat_map(|place| self.expected(place)) {
            let on = format!("`{path}` of partition `{}`", partition.name);
            if let Expected::Below = expected {
                let count = found.len();
                found.retain(|other, _| !other.starts_with(&path));
                assert!(found.len() < count, "nothing below {on}");
                continue;
            }
            let bytes = found.remove(&path).unwrap_or_else(|| panic!("{on} is missing"));
            match expected {
                Expected::Below => unreachable!("it is no file"),
                Expected::Bytes(expected) => assert!(bytes == expected, "{on} differs"),
                Expected::Artifact(artifact) => self.expect_artifact(artifact, &bytes, &on),
            }
        }
        let others: Vec<&String> = found.keys().collect();
        assert!(
            others.is_empty(),
            "partition `{}` has {others:?}, which no place puts there",
            partition.name
        );
    }

    /// The files that a place should have made, by path without leading slash.
    fn expected(&self, place: &FilePlacement) -> Vec<(String, Expected<'a>)> {
        let to = place.to.trim_matches('/');
        let read = |name: &str| Expected::Bytes(fs::read(self.synthetic.image(name)).expect("an image file"));
        match &place.from {
            ContentSource::Directory => Vec::new(),
            ContentSource::SlotState => unreachable!("only media with slots have it"),
            ContentSource::Text(text) => {
                vec![(to.into(), Expected::Bytes(filled(text, &|word| self.word(word)).into_bytes()))]
            }
            ContentSource::Link(target) => vec![(to.into(), Expected::Bytes(target.clone().into_bytes()))],
            ContentSource::Root { .. } => vec![(to.into(), Expected::Below)],
            ContentSource::Artifact(name) => {
                vec![(to.into(), Expected::Artifact(self.artifact(name)))]
            }
            ContentSource::Images(candidates) if candidates[0].contains('*') => {
                let files = self.matching(&candidates[0]).into_iter();
                files.map(|(name, bytes)| (join(to, &name), Expected::Bytes(bytes))).collect()
            }
            ContentSource::Images(candidates) => vec![(to.into(), read(self.synthetic.taken(candidates)))],
            ContentSource::ImagesTree { tree, exclude } => {
                let kept = |path: &str| {
                    let below =
                        |excluded: &str| path == excluded || path.starts_with(&format!("{excluded}/"));
                    !exclude.iter().any(|excluded| below(excluded.trim_matches('/')))
                };
                let files = files(&self.synthetic.image(tree)).into_iter().filter(|(path, _)| kept(path));
                files.map(|(path, bytes)| (join(to, &path), Expected::Bytes(bytes))).collect()
            }
        }
    }

    /// Files of the images that a pattern with one `*` stands for.
    fn matching(&self, pattern: &str) -> Vec<(String, Vec<u8>)> {
        let (directory, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let (before, after) = name.split_once('*').expect("a pattern");
        let all = files(&self.synthetic.image(directory)).into_iter();
        all.filter(|(name, _)| !name.contains('/') && name.starts_with(before) && name.ends_with(after))
            .collect()
    }

    fn artifact(&self, name: &str) -> &'a Artifact {
        let here = |artifact: &&Artifact| artifact.name == name && artifact.arch.covers(self.synthetic.arch);
        let found = self.synthetic.board.artifacts.iter().find(here);
        found.unwrap_or_else(|| panic!("no artifact `{name}`"))
    }

    fn expect_artifact(&self, artifact: &Artifact, bytes: &[u8], on: &str) {
        let file = self.directory.join("artifact");
        fs::write(&file, bytes).expect("a file");
        match &artifact.recipe {
            Recipe::Text { .. } => {
                let (found, expected) = (String::from_utf8_lossy(bytes), self.text(artifact));
                assert_eq!(found, expected, "{on}");
            }
            Recipe::UbootScript { from, .. } => {
                expect_legacy(&file, "Script");
                let script = &bytes[LEGACY_HEADER + SCRIPT_LENGTHS..];
                assert_eq!(String::from_utf8_lossy(script), self.text(self.artifact(from)), "{on}");
            }
            Recipe::UbootRamdisk { from, .. } => {
                expect_legacy(&file, "RAMDisk Image");
                self.expect_artifact(self.artifact(from), &bytes[LEGACY_HEADER..], on);
            }
            Recipe::Cpio { files, .. } => expect_archive(&file, files.is_empty()),
            Recipe::GrubBoot { .. } | Recipe::GrubCore { .. } => panic!("{on} boots only where a blob is"),
            Recipe::Ext4 { label, .. } => assert_eq!(check_ext4(&file), *label, "{on}"),
            Recipe::Fat32 { label, .. } => drop(self.read_fat(&file, label)),
            Recipe::Squashfs { subtree, .. } => expect_squashfs(&file, subtree),
        }
    }

    /// The text of an artifact with its words filled in, by what the table and the filesystems themselves say.
    fn text(&self, artifact: &Artifact) -> String {
        let Recipe::Text { template, .. } = &artifact.recipe else {
            panic!("`{}` is no text", artifact.name);
        };
        filled(template, &|word| self.word(word))
    }

    /// A word as the board has it, or an id as the tools read it.
    fn word(&self, word: &str) -> String {
        let board = &self.synthetic.board;
        let number = |name: &str| {
            let found = board.partitions.iter().find(|partition| partition.name == name);
            found.unwrap_or_else(|| panic!("`@{{{word}}}` names no partition")).number
        };
        let Some(disk) = &self.disk else {
            let partuuid = word.starts_with("partuuid.").then(|| PARTUUID.to_owned());
            return partuuid.unwrap_or_else(|| synthetic::word(board, self.synthetic.arch, word));
        };
        let id = disk.id.trim_start_matches("0x").to_lowercase();
        match word.split_once('.') {
            _ if word == "disk-id" => id,
            Some(("partuuid", name)) => match &disk.entries[number(name) as usize - 1].guid {
                guid if guid.is_empty() => format!("{id}-{:02x}", number(name)),
                guid => guid.to_lowercase(),
            },
            Some(("uuid", name)) => {
                let offset = disk.entries[number(name) as usize - 1].start * SECTOR;
                let mut blkid = command("blkid");
                blkid.args(["-p", "-o", "value", "-s", "UUID", "-O", &offset.to_string()]);
                run(blkid.arg(&self.image)).trim_end().to_owned()
            }
            _ => synthetic::word(board, self.synthetic.arch, word),
        }
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.into() } else { format!("{directory}/{name}") }
}

/// Unpacks an archive, which may be compressed.
fn read_tar(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let to = archive.with_extension("files");
    fs::create_dir(&to).expect("a directory");
    run(command("tar").arg("-xf").arg(archive).arg("-C").arg(&to));
    files(&to)
}

/// The files and links below a directory, but what every ext4 has.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let all = contents(root)
        .into_iter()
        .filter(|(path, _)| !root.join(path).is_dir() || root.join(path).is_symlink());
    let named = all.map(|(path, (_, bytes))| (path.to_str().expect("a plain name").to_owned(), bytes));
    named.filter(|(name, _)| !name.starts_with("lost+found")).collect()
}

/// `dumpimage` finds both checksums right, and the type.
fn expect_legacy(file: &Path, kind: &str) {
    let listing = run(command("dumpimage").arg("-l").arg(file));
    let line = listing.lines().find(|line| line.starts_with("Image Type:"));
    assert!(line.is_some_and(|line| line.contains(kind)), "{listing}");
}

/// An archive that Linux unpacks, with the root filesystem in it if that is what it is of.
fn expect_archive(file: &Path, of_root: bool) {
    let plain = file.with_extension("cpio");
    run(command("lz4").args(["-d", "-q", "-f"]).arg(file).arg(&plain));
    let listing = run(command("cpio").args(["-t", "--quiet", "-F"]).arg(&plain));
    let has_root = listing.lines().any(|line| line.trim_start_matches("./") == "usr/bin/busybox");
    assert_eq!(has_root, of_root, "{listing}");
}

/// A squashfs of a directory of the root filesystem.
fn expect_squashfs(file: &Path, subtree: &str) {
    let listing = run(command("unsquashfs").args(["-l"]).arg(file));
    let all = ["/usr/bin/busybox".to_owned(), format!("/usr/lib/modules/{KERNEL}/kernel/a.ko")];
    let subtree = subtree.trim_end_matches('/');
    let expected: Vec<&str> = all.iter().filter_map(|path| path.strip_prefix(subtree)).collect();
    assert!(
        expected
            .iter()
            .any(|path| listing.lines().any(|line| line.strip_prefix("squashfs-root") == Some(path))),
        "{expected:?}: {listing}"
    );
}
