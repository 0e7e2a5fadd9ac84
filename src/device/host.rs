//! The machine: its disks, what is built on them, and what uses them.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::node::{Node, children, device_name, unescape};
use super::{Candidate, Mount, Override, Overrides, Part, Reason, Refused};
use crate::error::Io;

/// Mount points of a running system: what is mounted there makes its disk the system disk. The last ones are those of
/// systems that run from a stick.
const SYSTEM: [&str; 17] = [
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
    "/cdrom",
    "/run/archiso/bootmnt",
    "/run/initramfs/live",
    "/run/live/medium",
];

/// `size` in sysfs counts these, whatever the sectors of the disk are.
const SYSFS_SECTOR: u64 = 512;
/// Disks that are built in are on one of these. Cards and sticks come by `usb` and `mmc`, where the kernel often does
/// not know whether they can be taken out.
const INTERNAL: [&str; 5] = ["nvme", "ata", "scsi", "virtio", "xen"];
/// Cards for boards are smaller; what is larger was often a disk with somebody's data, whatever it is attached by.
const LARGEST_USUAL: u64 = 256 << 30;
/// `device/type` of a CD or DVD drive (SPC-4, 6.6.2: peripheral device type).
const OPTICAL: &str = "5";

/// Directories in which the kernel describes devices, and what a person knows better than it.
#[derive(Clone, Debug)]
pub struct Host {
    /// `/` but in tests.
    root: PathBuf,
    overrides: Overrides,
}

/// A disk of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Device that was found.
    pub candidate: Candidate,
    /// Reasons against writing it, the most serious first.
    pub reasons: Vec<Reason>,
    /// Mount points of it.
    pub mounts: Vec<Mount>,
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
        Host { root: root.into(), overrides: Overrides::new() }
    }

    /// The same, but what `overrides` names is listed in [`Candidate::overridden`] and not refused.
    pub fn despite(self, overrides: Overrides) -> Host {
        Host { overrides, ..self }
    }

    /// The disk at `path`, if an image of `need` bytes may be written to it.
    pub fn candidate(&self, path: &Path, need: u64) -> Result<Candidate, Refused> {
        self.candidate_of(&number(path)?, path, need)
    }

    /// The partition at `path`, if the image of a filesystem of `need` bytes may be written to it.
    pub fn partition(&self, path: &Path, need: u64) -> Result<Candidate, Refused> {
        self.partition_of(&number(path)?, path, need)
    }

    /// The disk or partition at `path`, whatever speaks against writing it.
    pub fn identify(&self, path: &Path) -> Result<Candidate, Refused> {
        let node = self.find(&number(path)?)?;
        let Some(index) = node.number("partition") else { return Ok(self.describe(&node)) };
        let disk = node.directory.parent().and_then(|directory| Node::at(directory.into()).ok());
        Ok(disk
            .map_or_else(|| self.describe(&node), |disk| self.describe_partition(&node, &disk, index as u32)))
    }

    /// Like [`Host::partition`] for a `major:minor` number; `path` is for messages.
    pub fn partition_of(&self, number: &str, path: &Path, need: u64) -> Result<Candidate, Refused> {
        let node = self.find(number)?;
        let disk = node.directory.parent().and_then(|directory| Node::at(directory.into()).ok());
        let (Some(disk), Some(index)) = (disk, node.number("partition")) else {
            return Err(Refused::Because { path: path.into(), reason: Reason::WholeDisk });
        };
        let candidate = self.describe_partition(&node, &disk, index as u32);
        let mut reasons = self.reasons(&node, &candidate, need);
        // What is built on the disk as a whole, as multipath is, has the partition too.
        reasons.extend(disk.held());
        self.decide(candidate, reasons, path)
    }

    /// Like [`Host::candidate`] for a `major:minor` number; `path` is for messages.
    pub fn candidate_of(&self, number: &str, path: &Path, need: u64) -> Result<Candidate, Refused> {
        let node = self.find(number)?;
        if node.directory.join("partition").exists() {
            let disk = node.directory.parent().map(device_name).unwrap_or_default();
            let reason = Reason::Partition { disk: format!("/dev/{disk}") };
            return Err(Refused::Because { path: path.into(), reason });
        }
        let candidate = self.describe(&node);
        let mut reasons = self.reasons(&node, &candidate, need);
        reasons.extend(doubts(&node, &candidate));
        self.decide(candidate, reasons, path)
    }

    /// All disks of the machine and empty readers, each with what speaks against writing it; first those that may be
    /// written, of these first what looks most like a card. Empty devices without hardware are left out.
    pub fn disks(&self) -> Vec<Disk> {
        let nodes = children(&self.root.join("sys/block")).into_iter();
        let nodes = nodes.filter_map(|path| Node::at(fs::canonicalize(path).ok()?).ok());
        let described = nodes.map(|node| (self.describe(&node), node));
        let there = described.filter(|(candidate, node)| candidate.len > 0 || !node.is_virtual());
        let mut disks: Vec<(bool, Disk)> =
            there.map(|(candidate, node)| (node.is_virtual(), self.disk(candidate, &node))).collect();
        disks.sort_by_cached_key(|(is_virtual, disk)| {
            let candidate = &disk.candidate;
            let card = candidate.removable || ["usb", "mmc"].contains(&candidate.bus.as_str());
            let name = (candidate.name.len(), candidate.name.clone());
            (!disk.reasons.is_empty(), *is_virtual, !card, candidate.len, name)
        });
        disks.into_iter().map(|(_, disk)| disk).collect()
    }

    fn disk(&self, candidate: Candidate, node: &Node) -> Disk {
        let mut reasons = self.reasons(node, &candidate, 0);
        reasons.extend(doubts(node, &candidate));
        let mounts = self.mounts_of(&self.family(node));
        Disk { candidate, reasons, mounts }
    }

    /// Refuses for the first reason that is not overridden.
    fn decide(&self, candidate: Candidate, reasons: Vec<Reason>, path: &Path) -> Result<Candidate, Refused> {
        let known =
            |reason: &Reason| Override::for_reason(reason).is_some_and(|word| self.overrides.contains(&word));
        match reasons.iter().find(|reason| !known(reason)) {
            Some(reason) => Err(Refused::Because { path: path.into(), reason: reason.clone() }),
            None => Ok(Candidate { overridden: reasons, ..candidate }),
        }
    }

    fn find(&self, number: &str) -> Result<Node, Io> {
        let link = self.root.join("sys/dev/block").join(number);
        let directory = fs::canonicalize(&link).map_err(Io::on("find", &link))?;
        Node::at(directory).map_err(Io::on("read", &link))
    }

    /// Returns what speaks against writing a disk or partition, the most serious first.
    fn reasons(&self, node: &Node, candidate: &Candidate, need: u64) -> Vec<Reason> {
        let family = self.family(node);
        let (have, read_only) = (candidate.len, node.text("ro").as_deref() == Some("1"));
        let mut reasons = self.used(node, &family);
        reasons.extend(family.iter().flat_map(Node::held));
        reasons.extend(self.held_by_btrfs(&family));
        reasons.extend(node.hardware_disk().map(|disk| Reason::HardwarePartition { disk: disk.path() }));
        reasons.extend((node.text("device/type").as_deref() == Some(OPTICAL)).then_some(Reason::Optical));
        reasons.extend((have == 0).then_some(Reason::NoMedium));
        reasons.extend(read_only.then_some(Reason::ReadOnly));
        reasons.extend((0 < have && have < need).then_some(Reason::TooSmall { need, have }));
        reasons
    }

    /// Mounts and swap on any of the nodes; the system's mounts first.
    fn used(&self, node: &Node, family: &[Node]) -> Vec<Reason> {
        let mounted =
            self.mounts_of(family).into_iter().map(
                |Mount { device: partition, mount_point }| match is_system(&mount_point) {
                    true => Reason::SystemDisk { partition, mount_point },
                    false => Reason::Mounted { partition, mount_point },
                },
            );
        let swaps = self.swaps().into_iter().filter_map(|swap| user(family, &swap));
        let swap = |partition: String| Reason::Swap { itself: partition == node.path(), partition };
        mounted.chain(swaps.map(swap)).collect()
    }

    /// Returns the mounts of any of the nodes.
    fn mounts_of(&self, family: &[Node]) -> Vec<Mount> {
        let mount = |used: Use| Some(Mount { device: user(family, &used)?, mount_point: used.mount_point? });
        let mut found: Vec<Mount> = self.mounts().into_iter().filter_map(mount).collect();
        // The shortest mount point is the one a person knows.
        found.sort_by_cached_key(|mount| {
            let point = mount.mount_point.clone();
            (!is_system(&point), point.len(), point)
        });
        found.dedup();
        found
    }

    /// A mounted btrfs has one of its disks in `mountinfo`, and all of them here.
    fn held_by_btrfs(&self, family: &[Node]) -> Vec<Reason> {
        let filesystems = children(&self.root.join("sys/fs/btrfs")).into_iter();
        let held = filesystems.flat_map(|filesystem| {
            let members: Vec<String> =
                children(&filesystem.join("devices")).iter().map(|path| device_name(path)).collect();
            let nodes = family.iter().filter(move |node| members.contains(&node.name));
            nodes.map(move |node| {
                let holder = format!("btrfs {}", device_name(&filesystem));
                Reason::Held { partition: node.path(), holder, built: None }
            })
        });
        held.collect()
    }

    /// The disk, its partitions, and all that is built on any of them.
    fn family(&self, disk: &Node) -> Vec<Node> {
        let mut found: Vec<Node> = Vec::new();
        let mut open = vec![disk.directory.clone()];
        while let Some(directory) = open.pop() {
            let Ok(node) = Node::at(directory) else { continue };
            if found.iter().any(|other| other.number == node.number) {
                continue;
            }
            open.extend(node.partitions());
            let holders = children(&node.directory.join("holders"));
            open.extend(holders.iter().filter_map(|link| fs::canonicalize(link).ok()));
            open.extend(self.loops_over(&node));
            found.push(node);
        }
        found
    }

    /// Loop devices over a part of a device; the kernel lists them as nobody's holders.
    fn loops_over(&self, node: &Node) -> Vec<PathBuf> {
        let path = node.path();
        let backed = |directory: &PathBuf| {
            let file = fs::read_to_string(directory.join("loop/backing_file")).unwrap_or_default();
            file.trim_end() == path
        };
        let disks = children(&self.root.join("sys/block"));
        disks.iter().filter_map(|link| fs::canonicalize(link).ok()).filter(backed).collect()
    }

    /// Returns what is mounted, as this process and as the first process see it.
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
        let mut partitions: Vec<String> = node.partitions().iter().map(|path| device_name(path)).collect();
        partitions.sort_by_key(|name| (name.len(), name.clone()));
        Candidate {
            path: Path::new("/dev").join(&node.name),
            name: node.name.clone(),
            number: node.number.clone(),
            model: node.model(),
            serial: node.serial(),
            sequence: node.number("diskseq"),
            len: node.number("size").unwrap_or(0) * SYSFS_SECTOR,
            sector_size: node.number("queue/logical_block_size").unwrap_or(SYSFS_SECTOR) as u32,
            removable: node.number("removable") == Some(1),
            bus: node.bus().into(),
            partitions,
            part: None,
            overridden: Vec::new(),
        }
    }

    /// Describes a partition, mostly by what its disk is.
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

/// Returns what makes it unlikely that a whole disk is meant.
fn doubts(node: &Node, candidate: &Candidate) -> Vec<Reason> {
    let (bus, have) = (candidate.bus.clone(), candidate.len);
    let internal = !candidate.removable && INTERNAL.contains(&bus.as_str()) && !node.is_external();
    let large = have > LARGEST_USUAL;
    let reasons = [
        internal.then_some(Reason::Internal { bus }),
        large.then_some(Reason::Large { have, usual: LARGEST_USUAL }),
    ];
    reasons.into_iter().flatten().collect()
}

/// The node that is used.
fn user(family: &[Node], used: &Use) -> Option<String> {
    let number = used.number.as_ref()?;
    family.iter().find(|node| node.number == *number).map(Node::path)
}

/// `major:minor` of a block device.
fn number(path: &Path) -> Result<String, Refused> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(path)),
        found => found.map_err(Io::on("look at", path))?,
    };
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_block_device() => {
            let device = metadata.rdev();
            return Ok(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)));
        }
        () if kind.is_dir() => "a directory",
        () if kind.is_file() => "a file",
        () if kind.is_char_device() => "a character device",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "something else",
    };
    Err(Refused::Because { path: path.into(), reason: Reason::NotABlockDevice(what) })
}

fn missing(path: &Path) -> Refused {
    match fs::read_link(path) {
        Ok(to) => Refused::Dangling { path: path.into(), to },
        Err(_) => Refused::Missing(path.into()),
    }
}

fn is_system(mount_point: &str) -> bool {
    SYSTEM.contains(&mount_point)
}
