//! A Buildroot-shaped directory around a copy of the tree, for work on more than the tree as it is.

use std::fs::{self, File, FileTimes};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::common::run::Variables;
use crate::common::{command, directory, fresh, succeed, tree};

/// First byte of the boot partition.
pub const BOOT_START: u64 = 1 << 20;
/// First byte of the persistent partition.
pub const PERSIST_START: u64 = BOOT_START + (256 << 20);
/// First byte of the root filesystem.
pub const ROOTFS_START: u64 = PERSIST_START + (512 << 20);

/// Files of the boot partition, as on a Raspberry Pi: name before and behind the number, count, bytes of each.
const BOOT_FILES: [(&str, &str, usize, u64); 5] = [
    ("kernel", ".img", 2, 25 << 20),
    ("initramfs", ".img", 4, 28 << 20),
    ("start", ".elf", 8, 3 << 20),
    ("bcm27", "-rpi-board.dtb", 30, 55 << 10),
    ("overlays/overlay-with-a-long-name-", ".dtbo", 270, 2500),
];

/// Levels of zstd that there is a board for.
const LEVELS: [u32; 2] = [3, 15];

const CONFIG: &str = "BR2_x86_64=y\nBR2_INIT_NONE=y\n";
const BOARD: &str = r#"description = "Bench: FAT, ext4 and squashfs"
status = "boots nothing"
arch = ["x86_64"]

[table]
kind = "mbr"

[[partition]]
name = "boot"
start = "1 MiB"
size = "256 MiB"
filesystem = "fat32"
label = "BOOT"
active = true
file = [{ tree = "boot_part" }]

[[partition]]
name = "persist"
start = "257 MiB"
size = "512 MiB"
filesystem = "ext4"
label = "persist"
file = [{ tree = "persist_part" }]

[[partition]]
name = "rootfs"
start = "769 MiB"
size = "fit"
filesystem = "squashfs"
block = "128 KiB"
"#;
const GENIMAGE: &str = r#"image image {
	hdimage {
		partition-table-type = "mbr"
		align = 1M
	}
	partition boot {
		partition-type = 0x0c
		bootable = true
		offset = 1M
		image = "boot.vfat"
	}
	partition persist {
		partition-type = 0x83
		offset = 257M
		image = "persist.ext4"
	}
	partition rootfs {
		partition-type = 0x83
		offset = 769M
		image = "rootfs.squashfs"
	}
}
"#;

/// The directory.
pub struct Project {
    work: PathBuf,
}

impl Project {
    /// Makes it, or takes the one that was made of this tree.
    pub fn make(tree: &Path) -> Project {
        let project = Project { work: directory().join("project") };
        let made_of = project.work.join("made-of");
        if fs::read_to_string(&made_of).ok().as_deref() != tree.to_str() {
            eprintln!("making a project in {}", project.work.display());
            fresh(&project.work);
            project.copy(tree);
            project.write_boot_files(tree);
            fs::write(made_of, tree.as_os_str().as_encoded_bytes()).expect("target/ is writable");
        }
        project.write_descriptions();
        tree::warm(&project.target());
        tree::warm(&project.boot());
        project
    }

    /// Where scripts find its parts.
    pub fn variables(&self) -> Variables {
        Variables::from([
            ("WORK", self.work.clone()),
            ("TARGET", self.target()),
            ("BOOT", self.boot()),
            ("PERSIST", self.persist()),
            ("CACHE", self.work.join("cache")),
        ])
    }

    fn target(&self) -> PathBuf {
        self.work.join("output/target")
    }

    fn boot(&self) -> PathBuf {
        self.work.join("output/images/boot_part")
    }

    fn persist(&self) -> PathBuf {
        self.work.join("output/images/persist_part")
    }

    /// Empties the block cache.
    pub fn forget_blocks(&self) {
        fresh(&self.work.join("cache"));
    }

    /// The tree, without what Buildroot leaves to the boot, and a part of it as files of the user.
    fn copy(&self, tree: &Path) {
        fs::create_dir_all(self.target()).expect("target/ is writable");
        succeed(command("cp").args(["-a", "--reflink=auto"]).arg(tree.join(".")).arg(self.target()));
        for emptied in ["dev", "run", "tmp"] {
            fresh(&self.target().join(emptied));
        }
        // Ours enables units by preset, which mksquashfs does not: there is nothing to enable.
        fresh(&self.target().join("etc/systemd/system"));
        let presets = self.target().join("etc/systemd/system-preset");
        fs::create_dir_all(&presets).expect("target/ is writable");
        fs::write(presets.join("00-bench.preset"), "disable *\n").expect("target/ is writable");
        fs::create_dir_all(self.boot()).expect("target/ is writable");
        let some = ["usr/share", "usr", ""].map(|name| tree.join(name));
        let some = some.iter().find(|path| path.is_dir()).expect("the tree is a directory");
        succeed(command("cp").args(["-r", "--reflink=auto"]).arg(some.join(".")).arg(self.persist()));
    }

    /// Boot files with bytes of the tree's own files.
    fn write_boot_files(&self, tree: &Path) {
        let mut files = tree::summary(tree).files.into_iter().map(|(_, path)| tree.join(path));
        let mut bytes: Box<dyn Read> = Box::new(std::io::empty());
        for (before, behind, count, len) in BOOT_FILES {
            for number in 0..count {
                let path = self.boot().join(format!("{before}{number}{behind}"));
                fs::create_dir_all(path.parent().expect("it has one")).expect("target/ is writable");
                let mut file = File::create(path).expect("target/ is writable");
                let mut left = len;
                while left > 0 {
                    let copied = std::io::copy(&mut bytes.by_ref().take(left), &mut file)
                        .expect("the tree can be read");
                    left -= copied;
                    if copied == 0 {
                        let next = files.next().expect("the tree has enough bytes for a boot partition");
                        bytes = Box::new(File::open(next).expect("the tree can be read"));
                    }
                }
            }
        }
    }

    fn write_descriptions(&self) {
        let write = |name: &str, text: &str| {
            let path = self.work.join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("target/ is writable");
            fs::write(path, text).expect("target/ is writable");
        };
        write("output/.config", CONFIG);
        write("output/build/buildroot-fs/full_users_table.txt", "");
        write("output/build/buildroot-fs/full_devices_table.txt", "");
        write("genimage.cfg", GENIMAGE);
        for level in LEVELS {
            write(&format!("boards/bench/zstd-{level}.toml"), &format!("{BOARD}codec = \"zstd:{level}\"\n"));
        }
    }

    /// A small file of the copy that changes.
    pub fn change(&self) -> Change {
        let small = tree::summary(&self.target()).files;
        let small: Vec<_> = small.into_iter().filter(|(len, _)| (4 << 10..64 << 10).contains(len)).collect();
        let (_, path) = &small[small.len() / 2];
        Change::of(&self.target().join(path))
    }
}

/// A file that changes in place, and gets its bytes and times back when this value goes.
pub struct Change {
    file: File,
    start: [u8; 8],
    modified: SystemTime,
    count: u64,
}

impl Change {
    fn of(path: &Path) -> Change {
        let file = File::options().read(true).write(true).open(path).expect("the copy is writable");
        let mut start = [0; 8];
        file.read_exact_at(&mut start, 0).expect("the file has some bytes");
        let modified = file.metadata().and_then(|metadata| metadata.modified()).expect("the file has a time");
        Change { file, start, modified, count: 0 }
    }

    /// Changes the first bytes to some that they never had.
    pub fn next(&mut self) {
        self.count += 1;
        let bytes = (u64::from_ne_bytes(self.start) ^ (self.count << 8)).to_ne_bytes();
        self.file.write_all_at(&bytes, 0).expect("the copy is writable");
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        self.file.write_all_at(&self.start, 0).expect("the copy is writable");
        self.file.set_times(FileTimes::new().set_modified(self.modified)).expect("the copy is writable");
    }
}
