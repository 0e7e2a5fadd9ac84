//! The image that is flashed: a partition table and an ext4 filesystem with a Debian in it, made by other people's
//! programs, with its block map and compressed.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::Advice;
use skiff_image::bmap::Bmap;

use crate::common::{command, directory, succeed, tree};

/// Part of the filesystem that stays free, in percent of the files, as on a new system.
const FREE: u64 = 25;
/// Where the partition begins.
const START: u64 = 1 << 20;

/// Files that are read by what is measured.
pub struct Images {
    /// The image, with `.bmap` beside it.
    pub image: PathBuf,
    /// The same bytes without a block map beside them.
    pub plain: PathBuf,
    /// The image compressed, with the block map beside it.
    pub zst: PathBuf,
    /// The map of the blocks that matter.
    pub bmap: PathBuf,
}

impl Images {
    /// Those of the tree, made once in a directory called `name`; no more than `most` bytes of files go in.
    pub fn of(tree: &Path, name: &str, most: u64) -> Images {
        let at = directory().join("flash").join(name);
        let images = Images {
            image: at.join("disk.img"),
            plain: at.join("plain/disk.img"),
            zst: at.join("disk.img.zst"),
            bmap: at.join("disk.img.bmap"),
        };
        if !images.zst.exists() {
            crate::common::fresh(&at);
            images.make(tree, most);
        }
        images
    }

    fn make(&self, tree: &Path, most: u64) {
        eprintln!("making {}", self.image.display());
        let content = self.image.with_file_name("content");
        let bytes = copy_some(tree, &content, most);
        let len = (bytes * (100 + FREE) / 100).next_multiple_of(64 << 20);
        File::create(&self.image).and_then(|image| image.set_len(len)).expect("an image");
        let mut filesystem = command("mke2fs");
        filesystem.args(["-q", "-t", "ext4", "-F", "-E", &format!("offset={START}"), "-d"]).arg(&content);
        succeed(filesystem.arg(&self.image).arg(format!("{}k", (len - 2 * START) >> 10)));
        let table = self.image.with_file_name("table");
        fs::write(&table, format!("label: gpt\nstart={}\n", START / 512)).expect("a table");
        let input = Stdio::from(File::open(&table).expect("a table"));
        succeed(command("sfdisk").args(["--quiet", "--wipe=never"]).arg(&self.image).stdin(input));
        fs::remove_dir_all(content).expect("files of the bench can be removed");
        succeed(command("bmaptool").arg("create").arg("-o").arg(&self.bmap).arg(&self.image));
        let plain = self.plain.parent().expect("a file is in a directory");
        fs::create_dir(plain).and_then(|()| fs::hard_link(&self.image, &self.plain)).expect("a second name");
        succeed(command("zstd").args(["-q", "-3", "-T0", "-o"]).arg(&self.zst).arg(&self.image));
    }

    /// Length of the image.
    pub fn len(&self) -> u64 {
        self.image.metadata().expect("an image").len()
    }

    /// The block map.
    pub fn map(&self) -> Bmap {
        Bmap::parse(&fs::read_to_string(&self.bmap).expect("a block map")).expect("a block map")
    }

    /// Drops the files from the page cache.
    pub fn cool(&self) {
        for path in [&self.image, &self.zst] {
            let file = File::open(path).expect("an image");
            file.sync_all().expect("an image");
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).expect("pages can be dropped");
        }
    }
}

/// Copies the files of a tree in the order of their names until there are `most` bytes; returns how many.
fn copy_some(tree: &Path, to: &Path, most: u64) -> u64 {
    let mut bytes = 0;
    for (len, path) in tree::summary(tree).files {
        if bytes + len > most {
            continue;
        }
        let file = to.join(&path);
        fs::create_dir_all(file.parent().expect("a file is in a directory")).expect("a directory");
        fs::copy(tree.join(&path), &file).expect("a file of the tree can be copied");
        bytes += file.metadata().expect("a copy").blocks() * 512;
    }
    bytes
}
