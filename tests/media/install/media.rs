//! Media as SkiffOS' own scripts format them: the same tables, the same formatters with the same options, and a system
//! from before on them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::harness::tools::command;
use crate::harness::tools::run;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;

/// A partition: its line for `sfdisk`, and how it is formatted.
pub struct Part {
    /// First sector.
    pub start: u64,
    /// Sectors.
    pub len: u64,
    /// What `sfdisk` is told besides.
    pub options: &'static str,
    /// How it is formatted.
    pub format: Format,
}

/// How a partition is formatted.
pub enum Format {
    /// `mkfs.vfat -F 32`, then `fatlabel`.
    Fat(&'static str),
    /// `mke2fs -t ext4` with these options.
    Ext4(&'static str, &'static [&'static str]),
}

/// An image that SkiffOS' scripts could have formatted.
pub struct Medium {
    /// The image.
    pub image: PathBuf,
    parts: Vec<Part>,
}

const LINUX: &str = "type=83";
const LINUX_GPT: &str = "type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=primary";
const NO_64BIT: &[&str] = &["-O", "^64bit"];

impl Medium {
    /// Three partitions on an MBR, as on Odroids.
    pub fn odroid(directory: &Path) -> Medium {
        let parts = vec![
            part(4096, 1_949_696, "type=c, bootable", Format::Fat("boot")),
            part(1_953_792, 1_951_744, LINUX, Format::Ext4("rootfs", NO_64BIT)),
            part(3_905_536, 200_704, LINUX, Format::Ext4("persist", NO_64BIT)),
        ];
        Medium::format(directory, "dos", parts)
    }

    /// Three partitions on a GPT, as on Raspberry Pis.
    pub fn pi(directory: &Path) -> Medium {
        let fat = "type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, name=primary";
        let parts = vec![
            part(2048, 15_622_144, fat, Format::Fat("BOOT")),
            part(15_624_192, 3_907_584, LINUX_GPT, Format::Ext4("rootfs", NO_64BIT)),
            part(19_531_776, 200_704, LINUX_GPT, Format::Ext4("persist", NO_64BIT)),
        ];
        Medium::format(directory, "gpt", parts)
    }

    /// Three partitions on an MBR from 100 MiB on, as on Orange Pis.
    pub fn orangepi(directory: &Path) -> Medium {
        let parts = vec![
            part(204_800, 634_880, "type=c", Format::Fat("boot")),
            part(839_680, 389_120, LINUX, Format::Ext4("rootfs", &[])),
            part(1_228_800, 200_704, LINUX, Format::Ext4("persist", &[])),
        ];
        Medium::format(directory, "dos", parts)
    }

    /// Two partitions on an MBR, the first with the type of a FAT16, as on Banana Pis.
    pub fn bananapi(directory: &Path) -> Medium {
        let parts = vec![
            part(2048, 1_951_744, "type=e", Format::Fat("boot")),
            part(1_953_792, 400_000, LINUX, Format::Ext4("persist", NO_64BIT)),
        ];
        Medium::format(directory, "dos", parts)
    }

    /// One partition from 128 MiB on, as on Pine64's boards.
    pub fn pine64(directory: &Path) -> Medium {
        Medium::format(directory, "dos", vec![part(262_144, 600_000, LINUX, Format::Ext4("persist", &[]))])
    }

    /// ESP and system on a GPT, as on PCs.
    pub fn desktop(directory: &Path) -> Medium {
        let esp = "type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=EFI";
        let linux = "type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=SKIFFOS";
        let parts = vec![
            part(2048, 1_048_576, esp, Format::Fat("EFI")),
            part(1_050_624, 600_064, linux, Format::Ext4("SKIFFOS", &[])),
        ];
        Medium::format(directory, "gpt", parts)
    }

    /// A medium with a table of this kind.
    pub fn format(directory: &Path, label: &str, parts: Vec<Part>) -> Medium {
        let image = directory.join("card.img");
        let end = parts.iter().map(|part| part.start + part.len).max().expect("partitions");
        let file = File::create(&image).expect("an image");
        file.set_len((end + 2048) * SECTOR).expect("a sparse file");
        let line = |part: &Part| format!("start={}, size={}, {}\n", part.start, part.len, part.options);
        let script = format!("label: {label}\n{}", parts.iter().map(line).collect::<String>());
        let path = directory.join("card.sfdisk");
        fs::write(&path, script).expect("a script");
        let mut sfdisk = command("sfdisk");
        run(sfdisk.args(["--quiet", "--no-reread"]).arg(&image).stdin(File::open(&path).expect("a script")));
        parts.iter().for_each(|part| part.format(&image));
        Medium { image, parts }
    }

    /// The FAT of partition `number` as mtools want to be told.
    pub fn fat(&self, number: usize) -> String {
        format!("{}@@{}", self.image.display(), self.parts[number - 1].start * SECTOR)
    }

    /// The ext4 of partition `number` as debugfs wants to be told.
    pub fn ext4(&self, number: usize) -> String {
        format!("{}?offset={}", self.image.display(), self.parts[number - 1].start * SECTOR)
    }

    /// Puts a file on the FAT of partition `number`.
    pub fn put_fat(&self, number: usize, path: &str, bytes: &[u8]) {
        let file = self.image.with_extension("put");
        fs::write(&file, bytes).expect("a file");
        let mut parents: Vec<&str> = path.split('/').collect();
        parents.pop();
        for depth in 1..=parents.len() {
            let directory = format!("::{}", parents[..depth].join("/"));
            let _ = command("mmd").args(["-D", "s", "-i", &self.fat(number), &directory]).output();
        }
        run(command("mcopy").args(["-o", "-i", &self.fat(number)]).arg(&file).arg(format!("::{path}")));
    }

    /// Puts a file on the ext4 of partition `number`.
    pub fn put_ext4(&self, number: usize, path: &str, bytes: &[u8]) {
        let file = self.image.with_extension("put");
        fs::write(&file, bytes).expect("a file");
        let names: Vec<&str> = path.trim_matches('/').split('/').collect();
        for depth in 1..names.len() {
            self.debugfs(number, &format!("mkdir {}", names[..depth].join("/")));
        }
        self.debugfs(number, &format!("rm {path}"));
        self.debugfs(number, &format!("write {} {path}", file.display()));
        assert!(self.read_ext4(number, path) == bytes, "`{path}` was written");
    }

    /// The bytes of a file of the ext4 of partition `number`.
    pub fn read_ext4(&self, number: usize, path: &str) -> Vec<u8> {
        let file = self.image.with_extension("dump");
        let _ = fs::remove_file(&file);
        let request = format!("dump {path} {}", file.display());
        run(command("debugfs").args(["-R", &request, &self.ext4(number)]));
        fs::read(&file).unwrap_or_default()
    }

    /// Sets when a file of the ext4 of partition `number` was written.
    pub fn set_time(&self, number: usize, path: &str, time: &str) {
        self.debugfs(number, &format!("sif {path} mtime {time}"));
    }

    fn debugfs(&self, number: usize, request: &str) {
        run(command("debugfs").args(["-w", "-R", request, &self.ext4(number)]));
    }

    /// Everything that names the medium and its parts, as other programs print it.
    pub fn identity(&self) -> String {
        let mut identity = run(command("sfdisk").arg("--dump").arg(&self.image));
        for part in &self.parts {
            let offset = (part.start * SECTOR).to_string();
            let size = (part.len * SECTOR).to_string();
            let mut blkid = command("blkid");
            blkid.args(["--probe", "--output", "export", "--match-tag", "UUID", "--match-tag", "LABEL"]);
            blkid.args(["--match-tag", "TYPE", "--offset", &offset, "--size", &size]);
            identity += &run(blkid.arg(&self.image));
        }
        identity
    }
}

impl Part {
    fn format(&self, image: &Path) {
        let kib = (self.len * SECTOR / 1024).to_string();
        let offset = self.start * SECTOR;
        match self.format {
            Format::Fat(label) => {
                let sector = self.start.to_string();
                // By itself it would go by the length of the whole image.
                let cluster = if self.len < 532_480 { "1" } else { "8" };
                run(command("mkfs.vfat")
                    .args(["-F", "32", "-s", cluster, "-n", label, "--offset", &sector])
                    .arg(image)
                    .arg(kib));
            }
            Format::Ext4(label, options) => {
                let extended = format!("offset={offset},nodiscard");
                let mut mke2fs = command("mke2fs");
                mke2fs.args(["-q", "-F", "-t", "ext4", "-L", label, "-E", &extended]).args(options);
                run(mke2fs.arg(image).arg(format!("{kib}k")));
            }
        }
    }
}

/// A partition.
pub fn part(start: u64, len: u64, options: &'static str, format: Format) -> Part {
    Part { start, len, options, format }
}
