//! Looks into disk images with tools that know nothing of the program.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use serde_json::Value;

use super::tools::run;
use super::tools::{command, oracle, unmount};

/// Bytes of a sector in the numbers of [`Entry`].
pub const SECTOR: u64 = 512;

/// Whether all `tools` are there; see [`oracle`].
pub fn oracles(test: &str, tools: &[&str]) -> bool {
    // Each one that is missing is told, not only the first.
    tools.iter().filter(|tool| !oracle(test, tool)).count() == 0
}

/// A partition as `sfdisk` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First sector.
    pub start: u64,
    /// Sectors.
    pub size: u64,
    /// Byte or GUID.
    pub kind: String,
    /// Boot flag of an MBR.
    pub active: bool,
    /// GPT.
    pub name: String,
    /// GPT.
    pub guid: String,
}

/// A partition table as `sfdisk` reads it.
pub struct Disk {
    /// The image or device.
    pub path: PathBuf,
    /// `dos` or `gpt`.
    pub label: String,
    /// Disk signature or GUID.
    pub id: String,
    /// Partitions in the order of the table.
    pub entries: Vec<Entry>,
}

impl Disk {
    /// Reads the table, which must be without fault for `sfdisk`.
    pub fn read(path: &Path) -> Disk {
        let verdict = run(command("sfdisk").arg("--verify").arg(path));
        assert!(verdict.contains("No errors detected"), "{verdict}");
        let text = run(command("sfdisk").arg("--json").arg(path));
        let json: Value = serde_json::from_str(&text).expect("sfdisk prints JSON");
        let table = &json["partitiontable"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entry = |value: &Value| Entry {
            start: value["start"].as_u64().expect("a start"),
            size: value["size"].as_u64().expect("a size"),
            kind: text(&value["type"]),
            active: value["bootable"].as_bool().unwrap_or_default(),
            name: text(&value["name"]),
            guid: text(&value["uuid"]),
        };
        Disk {
            path: path.into(),
            label: text(&table["label"]),
            id: text(&table["id"]),
            entries: table["partitions"].as_array().expect("partitions").iter().map(entry).collect(),
        }
    }

    /// Copies the partition `number` to a file in `directory`; what is a hole stays one.
    pub fn extract(&self, number: usize, directory: &Path) -> PathBuf {
        let entry = &self.entries[number - 1];
        let to = directory.join(format!("partition{number}"));
        extract(&self.path, entry.start * SECTOR, entry.size * SECTOR, &to)
            .expect("a partition is extracted");
        to
    }
}

/// Copies bytes of an image or device to a file of its own.
pub fn extract(image: &Path, offset: u64, len: u64, to: &Path) -> io::Result<()> {
    let (from, to) = (File::open(image)?, File::create(to)?);
    to.set_len(len)?;
    let end = offset + len;
    let mut at = offset;
    while at < end {
        // A device knows no holes: all is data.
        let data =
            rustix::fs::seek(&from, SeekFrom::Data(at)).unwrap_or(if is_file(&from)? { end } else { at });
        if data >= end {
            break;
        }
        let hole = rustix::fs::seek(&from, SeekFrom::Hole(data)).unwrap_or(end).min(end);
        copy(&from, data, hole - data, &to, data - offset)?;
        at = hole;
    }
    Ok(())
}

fn is_file(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.is_file())
}

fn copy(from: &File, mut offset: u64, mut len: u64, to: &File, mut at: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    while len > 0 {
        let part = buffer.len().min(len as usize);
        from.read_exact_at(&mut buffer[..part], offset)?;
        to.write_all_at(&buffer[..part], at)?;
        (offset, at, len) = (offset + part as u64, at + part as u64, len - part as u64);
    }
    Ok(())
}

/// Bytes of an image.
pub fn bytes(image: &Path, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    File::open(image)
        .and_then(|file| file.read_exact_at(&mut bytes, offset))
        .expect("the image has the bytes");
    bytes
}

/// Checks a FAT volume and copies everything in it to a new directory in `directory`.
pub fn read_fat(volume: &Path, label: &str, directory: &Path) -> PathBuf {
    run(command("fsck.fat").args(["-n", "-v"]).arg(volume));
    let listing = run(command("mdir").arg("-i").arg(volume).arg("::/"));
    assert!(listing.contains(&format!("is {label} ")), "{listing}");
    let to = directory.join("fat");
    std::fs::create_dir(&to).expect("a directory");
    run(command("mcopy").args(["-s", "-n", "-i"]).arg(volume).arg("::/").arg(&to));
    to
}

/// Checks an ext4 filesystem; gives its label.
pub fn check_ext4(filesystem: &Path) -> String {
    run(command("e2fsck").args(["-f", "-n"]).arg(filesystem));
    let header = run(command("dumpe2fs").arg("-h").arg(filesystem));
    let label = header.lines().find_map(|line| line.strip_prefix("Filesystem volume name:"));
    label.unwrap_or_default().trim().to_owned()
}

/// The names in the root directory of an ext4 filesystem, but what is always there.
pub fn list_ext4(filesystem: &Path) -> Vec<String> {
    let listing = run(command("debugfs").args(["-R", "ls -p /"]).arg(filesystem));
    let name = |line: &str| line.split('/').nth(5).map(str::to_owned);
    let names = listing.lines().filter_map(name);
    names.filter(|name| ![".", "..", "lost+found", ""].contains(&name.as_str())).collect()
}

/// Kind and mode, and content or target of files and links, of everything below a directory, by path.
pub fn contents(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let meta = std::fs::symlink_metadata(&path).expect("an entry has metadata");
            let bytes = if meta.is_dir() {
                open.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                std::fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
            } else if meta.is_file() {
                std::fs::read(&path).expect("a file can be read")
            } else {
                // A device may answer never.
                Vec::new()
            };
            found.insert(path.strip_prefix(root).expect("below").to_owned(), (meta.mode(), bytes));
        }
    }
    found
}

/// A mount that ends with this value.
pub struct Mount(pub PathBuf);

impl Mount {
    /// Mounts `what` on the new directory `at`.
    pub fn new(kind: &str, options: &str, what: &Path, at: &Path) -> Mount {
        std::fs::create_dir(at).expect("a mount point");
        run(command("mount").args(["-t", kind, "-o", options]).arg(what).arg(at));
        Mount(at.into())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        assert!(unmount(&self.0) || std::thread::panicking(), "umount");
    }
}
