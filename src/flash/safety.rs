//! Whether a path may be written as a whole disk, or as a partition. The answer depends on what the kernel tells under `/sys` and
//! `/proc` only, so that it can be tested with a tree of files.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Family, Io, Report};
use crate::value::ByteSize;

/// Mount points of a running system: what is mounted there makes its disk the system disk.
const SYSTEM: [&str; 13] = [
    "/",
    "/boot",
    "/boot/efi",
    "/boot/firmware",
    "/efi",
    "/usr",
    "/var",
    "/home",
    "/etc",
    "/opt",
    "/srv",
    "/nix",
    "/nix/store",
];

/// `size` in sysfs counts these, whatever the sectors of the disk are.
const SYSFS_SECTOR: u64 = 512;

/// Where the kernel tells about devices: `/` but in tests.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

/// A disk or partition that may be written, with what a person needs to recognize it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Its node, for example `/dev/sdb`, whatever name it was given by.
    pub path: PathBuf,
    /// The kernel's name, for example `sdb`.
    pub name: String,
    /// `major:minor`, by which the kernel tells it from any other.
    pub number: String,
    /// Vendor and model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Size in bytes.
    pub len: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// Whether the kernel says that the medium can be taken out; false for many card readers.
    pub removable: bool,
    /// How it is attached: `usb`, `mmc`, `nvme`, `ata`, `virtio`, `scsi`, `loop` or `other`.
    pub bus: String,
    /// Partitions that will be lost, for example `sdb1`.
    pub partitions: Vec<String>,
    /// Where it is, if it is a partition itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// A partition's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Node of the disk, for example `/dev/sdb`.
    pub disk: PathBuf,
    /// Number in its table.
    pub number: u32,
    /// Id in its table, where the kernel tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partuuid: Option<String>,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        if let Some(part) = &self.part {
            write!(f, "partition {} of {}, ", part.number, part.disk.display())?;
        }
        f.write_str(self.model.as_deref().unwrap_or("unknown model"))?;
        if let Some(serial) = &self.serial {
            write!(f, ", serial {serial}")?;
        }
        write!(f, ", {}, {}", ByteSize(self.len), self.bus)?;
        if self.removable {
            f.write_str(", removable")?;
        }
        match self.partitions.as_slice() {
            [] if self.part.is_some() => Ok(()),
            [] => f.write_str(", no partitions"),
            partitions => write!(f, ", has {}", partitions.join(", ")),
        }
    }
}

/// Why a path is not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Something else than a disk.
    #[error("it is {0}, not a block device")]
    NotABlockDevice(&'static str),
    /// Only a part of a disk.
    #[error("it is a partition of `{disk}`, and an image covers a whole disk")]
    Partition {
        /// The disk it is on.
        disk: String,
    },
    /// The image is the content of one partition.
    #[error("it is a whole disk, and the image is that of one partition")]
    WholeDisk,
    /// The image is a file for another program.
    #[error("the image is an archive, which goes to no device")]
    Archive,
    /// Firmware boots from it.
    #[error("it is the EFI system partition, which is never written as a whole")]
    Esp,
    /// The image names another partition as the one it is on.
    #[error(
        "the image is made for the partition with the PARTUUID `{wanted}`, and this one {}",
        found.as_ref().map_or("tells none".into(), |found| format!("has `{found}`"))
    )]
    OtherPartuuid {
        /// What the image says.
        wanted: String,
        /// What the partition has.
        found: Option<String>,
    },
    /// The running system lives there.
    #[error("`{partition}` is mounted on `{mount_point}`: this is the disk of the running system")]
    SystemDisk {
        /// The partition, or what is built on it.
        partition: String,
        /// Where it is mounted.
        mount_point: String,
    },
    /// In use.
    #[error("`{partition}` is mounted on `{mount_point}`")]
    Mounted {
        /// The partition, or what is built on it.
        partition: String,
        /// Where it is mounted.
        mount_point: String,
    },
    /// In use.
    #[error("`{partition}` is used as swap space")]
    Swap {
        /// The partition, or what is built on it.
        partition: String,
    },
    /// In use.
    #[error("`{partition}` is a part of `{holder}`")]
    Held {
        /// The partition.
        partition: String,
        /// What is built on it: an LVM volume, a RAID, an encrypted disk.
        holder: String,
    },
    /// Cannot be written.
    #[error("it is read-only")]
    ReadOnly,
    /// A reader without a card.
    #[error("there is no medium in it")]
    NoMedium,
    /// The image does not fit.
    #[error("the image needs {} and it has {}", ByteSize(*need), ByteSize(*have))]
    TooSmall {
        /// Bytes the image needs.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
}

/// Why there is no [`Candidate`].
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Writing could destroy something, or cannot work.
    #[error("`{}` is not written: {reason}", path.display())]
    Because {
        /// The path that was given.
        path: PathBuf,
        /// Why.
        reason: Reason,
    },
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] Io),
}

impl Report for Refused {
    fn family(&self) -> Family {
        match self {
            Refused::Because { .. } => Family::Refused,
            Refused::Io(_) => Family::Io,
        }
    }

    fn hint(&self) -> Option<String> {
        let (path, reason) = match self {
            Refused::Because { path, reason } => (path.display(), reason),
            Refused::Io(error) => return error.hint(),
        };
        Some(match reason {
            Reason::NotABlockDevice(_) => "give the path of a disk, for example `/dev/sdb`".into(),
            Reason::Partition { disk } => format!("to overwrite the whole disk, give `{disk}`"),
            Reason::WholeDisk => "make a partition for it, and give its path, for example `/dev/sdb3`".into(),
            Reason::Archive => "unpack it, or load it with the program that it is for".into(),
            Reason::Esp => "give the partition that was made for the system".into(),
            Reason::OtherPartuuid { found: Some(found), .. } => {
                format!("make the image with `--partuuid {found}` if this is the right partition")
            }
            Reason::OtherPartuuid { found: None, .. } => "check that its disk has a partition table".into(),
            Reason::SystemDisk { .. } => "choose another disk; this one is never written".into(),
            Reason::Mounted { mount_point, .. } => {
                format!("umount `{mount_point}` if this is the right disk")
            }
            Reason::Swap { partition } => format!("swapoff `{partition}` if this is the right disk"),
            Reason::Held { holder, .. } => format!("close `{holder}` if this is the right disk"),
            Reason::ReadOnly => "slide the lock of the card, or choose another disk".into(),
            Reason::NoMedium => format!("put a card into `{path}`"),
            Reason::TooSmall { .. } => "use a larger disk, or make the partitions smaller".into(),
        })
    }
}

/// A disk, a partition or what is built on them, in sysfs.
struct Node {
    /// The directory under `/sys/devices`.
    directory: PathBuf,
    /// As it stands in `/dev`.
    name: String,
    /// `major:minor`.
    number: String,
}

/// A mounted filesystem or a swap area.
struct Use {
    number: Option<String>,
    mount_point: Option<String>,
}

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

impl Host {
    /// The machine this runs on.
    pub fn new() -> Host {
        Host::at("/")
    }

    /// A tree with `sys` and `proc` in it.
    pub fn at(root: impl Into<PathBuf>) -> Host {
        Host { root: root.into() }
    }

    /// The disk at `path`, if an image of `need` bytes may be written to it.
    pub fn candidate(&self, path: &Path, need: u64) -> Result<Candidate, Refused> {
        self.candidate_of(&number(path)?, path, need)
    }

    /// The partition at `path`, if the image of a filesystem of `need` bytes may be written to it.
    pub fn partition(&self, path: &Path, need: u64) -> Result<Candidate, Refused> {
        self.partition_of(&number(path)?, path, need)
    }

    /// Like [`Host::partition`] for a `major:minor` number; `path` is for messages.
    pub fn partition_of(&self, number: &str, path: &Path, need: u64) -> Result<Candidate, Refused> {
        let node = self.find(number)?;
        let refuse = |reason| Err(Refused::Because { path: path.into(), reason });
        let disk = node.directory.parent().and_then(|directory| self.node(directory.into()).ok());
        let (Some(disk), Some(index)) = (disk, text(&node, "partition").and_then(|text| text.parse().ok()))
        else {
            return refuse(Reason::WholeDisk);
        };
        let candidate = self.describe_partition(&node, &disk, index);
        // What is built on the disk as a whole, as multipath is, has the partition too.
        let reason = self.reason(&node, &candidate, need).or_else(|| held(std::slice::from_ref(&disk)));
        match reason {
            Some(reason) => refuse(reason),
            None => Ok(candidate),
        }
    }

    /// Like [`Host::candidate`] for a `major:minor` number; `path` is for messages.
    pub fn candidate_of(&self, number: &str, path: &Path, need: u64) -> Result<Candidate, Refused> {
        let refuse = |reason| Err(Refused::Because { path: path.into(), reason });
        let node = self.find(number)?;
        if node.directory.join("partition").exists() {
            let disk = node.directory.parent().map(device_name).unwrap_or_default();
            return refuse(Reason::Partition { disk: format!("/dev/{disk}") });
        }
        let candidate = self.describe(&node);
        if let Some(reason) = self.reason(&node, &candidate, need) {
            return refuse(reason);
        }
        Ok(candidate)
    }

    fn find(&self, number: &str) -> Result<Node, Io> {
        let link = self.root.join("sys/dev/block").join(number);
        let directory = fs::canonicalize(&link).map_err(Io::on("find", &link))?;
        self.node(directory).map_err(Io::on("read", &link))
    }

    /// All disks of the machine with a medium in them, each with what speaks against writing it.
    pub fn disks(&self) -> Vec<(Candidate, Option<Reason>)> {
        let nodes = children(&self.root.join("sys/block")).into_iter();
        let nodes = nodes.filter_map(|path| self.node(fs::canonicalize(path).ok()?).ok());
        let described = nodes.map(|node| (self.describe(&node), node));
        let mut disks: Vec<_> = described
            .filter(|(candidate, _)| candidate.len > 0)
            .map(|(candidate, node)| {
                let reason = self.reason(&node, &candidate, 0);
                (candidate, reason)
            })
            .collect();
        disks.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        disks
    }

    /// The most serious thing that speaks against writing a whole disk.
    fn reason(&self, node: &Node, candidate: &Candidate, need: u64) -> Option<Reason> {
        let family = self.family(node);
        self.used(&family)
            .or_else(|| held(&family))
            .or_else(|| self.held_by_btrfs(&family))
            .or_else(|| (text(node, "ro").as_deref() == Some("1")).then_some(Reason::ReadOnly))
            .or_else(|| (candidate.len == 0).then_some(Reason::NoMedium))
            .or_else(|| {
                let have = candidate.len;
                (have < need).then_some(Reason::TooSmall { need, have })
            })
    }

    /// Mounts and swap on any of the nodes; the system's mounts first.
    fn used(&self, family: &[Node]) -> Option<Reason> {
        let user = |used: &Use| {
            let number = used.number.as_ref()?;
            family.iter().find(|node| node.number == *number).map(|node| format!("/dev/{}", node.name))
        };
        let mounts = self.mounts();
        let mut found: Vec<(String, String)> =
            mounts.iter().filter_map(|mount| Some((user(mount)?, mount.mount_point.clone()?))).collect();
        // The shortest mount point is the one a person knows.
        found.sort_by_key(|(_, mount_point)| (!is_system(mount_point), mount_point.len()));
        if let Some((partition, mount_point)) = found.into_iter().next() {
            return Some(match is_system(&mount_point) {
                true => Reason::SystemDisk { partition, mount_point },
                false => Reason::Mounted { partition, mount_point },
            });
        }
        self.swaps().iter().find_map(user).map(|partition| Reason::Swap { partition })
    }

    /// A mounted btrfs has one of its disks in `mountinfo`, and all of them here.
    fn held_by_btrfs(&self, family: &[Node]) -> Option<Reason> {
        children(&self.root.join("sys/fs/btrfs")).iter().find_map(|filesystem| {
            let members = children(&filesystem.join("devices"));
            let member = |node: &&Node| members.iter().any(|path| device_name(path) == node.name);
            let node = family.iter().find(member)?;
            let holder = format!("btrfs {}", device_name(filesystem));
            Some(Reason::Held { partition: format!("/dev/{}", node.name), holder })
        })
    }

    /// The disk, its partitions, and all that is built on any of them.
    fn family(&self, disk: &Node) -> Vec<Node> {
        let mut found: Vec<Node> = Vec::new();
        let mut open = vec![disk.directory.clone()];
        while let Some(directory) = open.pop() {
            let Ok(node) = self.node(directory) else { continue };
            if found.iter().any(|other| other.number == node.number) {
                continue;
            }
            let partitions =
                children(&node.directory).into_iter().filter(|path| path.join("partition").exists());
            open.extend(partitions);
            let holders = children(&node.directory.join("holders"));
            open.extend(holders.iter().filter_map(|link| fs::canonicalize(link).ok()));
            open.extend(self.loops_over(&node));
            found.push(node);
        }
        found
    }

    /// Loop devices over a part of a device; the kernel lists them as nobody's holders.
    fn loops_over(&self, node: &Node) -> Vec<PathBuf> {
        let path = format!("/dev/{}", node.name);
        let backed = |directory: &PathBuf| {
            let file = fs::read_to_string(directory.join("loop/backing_file")).unwrap_or_default();
            file.trim_end() == path
        };
        let disks = children(&self.root.join("sys/block"));
        disks.iter().filter_map(|link| fs::canonicalize(link).ok()).filter(backed).collect()
    }

    fn node(&self, directory: PathBuf) -> io::Result<Node> {
        let number = fs::read_to_string(directory.join("dev"))?.trim().to_owned();
        Ok(Node { name: device_name(&directory), directory, number })
    }

    /// What is mounted, as this process and as the first process see it.
    fn mounts(&self) -> Vec<Use> {
        let tables = ["proc/self/mountinfo", "proc/1/mountinfo"].map(|name| self.root.join(name));
        let tables = tables.iter().filter_map(|path| fs::read_to_string(path).ok());
        tables
            .flat_map(|table| table.lines().filter_map(|line| self.mount(line)).collect::<Vec<_>>())
            .collect()
    }

    /// One line of `mountinfo` (proc_pid_mountinfo(5)).
    fn mount(&self, line: &str) -> Option<Use> {
        let (front, back) = line.split_once(" - ")?;
        let mut fields = front.split(' ').skip(2);
        let (number, mount_point) = (fields.next()?, unescape(fields.nth(1)?));
        // Filesystems on several disks, such as btrfs, have a number of their own; their source is a device.
        let number = match number.strip_prefix("0:") {
            Some(_) => self.number_of(&unescape(back.split(' ').nth(1)?)),
            None => Some(number.to_owned()),
        };
        Some(Use { number, mount_point: Some(mount_point) })
    }

    /// `/proc/swaps`: a heading and one line each.
    fn swaps(&self) -> Vec<Use> {
        let table = fs::read_to_string(self.root.join("proc/swaps")).unwrap_or_default();
        let paths = table.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        paths.map(|path| Use { number: self.number_of(&unescape(path)), mount_point: None }).collect()
    }

    /// The number of the device that a table calls `source`, which may be a link such as `/dev/mapper/root`.
    fn number_of(&self, source: &str) -> Option<String> {
        let node = source.strip_prefix("/dev/")?;
        let resolved = fs::canonicalize(self.root.join("dev").join(node)).unwrap_or_else(|_| source.into());
        let name = resolved.file_name()?;
        let dev = self.root.join("sys/class/block").join(name).join("dev");
        fs::read_to_string(dev).ok().map(|number| number.trim().to_owned())
    }

    fn describe(&self, node: &Node) -> Candidate {
        let number = |name| text(node, name).and_then(|text| text.parse::<u64>().ok());
        let vendor = text(node, "device/vendor").filter(|vendor| !vendor.starts_with("0x"));
        let model = text(node, "device/model").or_else(|| text(node, "device/name"));
        let model = match (vendor, model, text(node, "loop/backing_file")) {
            (Some(vendor), Some(model), _) => Some(format!("{vendor} {model}")),
            (None, None, Some(file)) => Some(file),
            (vendor, model, _) => model.or(vendor),
        };
        let mut partitions: Vec<String> = children(&node.directory)
            .iter()
            .filter(|path| path.join("partition").exists())
            .map(|path| device_name(path))
            .collect();
        partitions.sort_by_key(|name| (name.len(), name.clone()));
        Candidate {
            path: Path::new("/dev").join(&node.name),
            name: node.name.clone(),
            number: text(node, "dev").unwrap_or_default(),
            model,
            serial: text(node, "device/serial").or_else(|| text(node, "serial")),
            len: number("size").unwrap_or(0) * SYSFS_SECTOR,
            sector_size: number("queue/logical_block_size").unwrap_or(SYSFS_SECTOR) as u32,
            removable: number("removable") == Some(1),
            bus: bus(&node.directory).into(),
            partitions,
            part: None,
        }
    }

    /// What a person knows of a partition is mostly what its disk tells.
    fn describe_partition(&self, node: &Node, disk: &Node, number: u32) -> Candidate {
        let (own, whole) = (self.describe(node), self.describe(disk));
        let uevent = fs::read_to_string(node.directory.join("uevent")).unwrap_or_default();
        let partuuid = uevent.lines().find_map(|line| line.strip_prefix("PARTUUID=")).map(str::to_owned);
        let part = Some(Part { disk: whole.path.clone(), number, partuuid });
        Candidate {
            path: own.path,
            name: own.name,
            number: own.number,
            len: own.len,
            partitions: Vec::new(),
            part,
            ..whole
        }
    }
}

/// `major:minor` of a block device.
fn number(path: &Path) -> Result<String, Refused> {
    let metadata = fs::metadata(path).map_err(Io::on("look at", path))?;
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_block_device() => {
            let device = metadata.rdev();
            return Ok(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)));
        }
        () if kind.is_dir() => "a directory",
        () if kind.is_file() => "a file",
        () if kind.is_char_device() => "a character device",
        () => "something else",
    };
    Err(Refused::Because { path: path.into(), reason: Reason::NotABlockDevice(what) })
}

/// What is built on one of the nodes.
fn held(family: &[Node]) -> Option<Reason> {
    family.iter().find_map(|node| {
        let holder = children(&node.directory.join("holders")).into_iter().next()?;
        let holder = format!("/dev/{}", device_name(&holder));
        Some(Reason::Held { partition: format!("/dev/{}", node.name), holder })
    })
}

fn is_system(mount_point: &str) -> bool {
    SYSTEM.contains(&mount_point)
}

/// The name in `/dev`: sysfs writes `!` for a slash.
fn device_name(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().replace('!', "/")
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// An attribute, if it is there and not empty.
fn text(node: &Node, name: &str) -> Option<String> {
    let bytes = fs::read(node.directory.join(name)).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// How a device is attached, by the path of its directory.
fn bus(directory: &Path) -> &'static str {
    let parts: Vec<String> =
        directory.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let has = |prefix: &str| parts.iter().any(|part| part.starts_with(prefix));
    match () {
        () if has("usb") => "usb",
        () if has("mmc") => "mmc",
        () if has("nvme") => "nvme",
        () if has("ata") => "ata",
        () if has("virtio") => "virtio",
        () if has("loop") => "loop",
        () if has("host") => "scsi",
        () => "other",
    }
}

/// `\040` and the like of the tables in `/proc`.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
