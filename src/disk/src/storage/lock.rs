//! Locks and users of a disk: the lock that udev and partitioning tools keep to, and the programs that hold a device.
//!
//! A lock is `flock(LOCK_EX)` on the node of the whole disk, also where a partition is written: "Locking Block Device
//! Access" of systemd (systemd.io/BLOCK_DEVICE_LOCKING). udev does not look at a disk that is locked so, and does when
//! it is not any more. Another program that asks for the lock is refused; one that does not ask is stopped by `O_EXCL`.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::device::DeviceError;
use crate::error::Io;

/// udev holds a disk for as long as it reads its first sectors.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);
/// The kernel gives out `/proc/locks` by the page: a lock that others come and go before can fall between two pages.
const READS: u32 = 5;

/// A program that uses a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Name of the program, as the kernel knows it.
    pub name: String,
    /// Its process.
    pub pid: u32,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (process {})", self.name, self.pid)
    }
}

/// Locks the disk that `node` is, or is a partition of, for as long as the file is open. Waits two seconds for who
/// has the lock.
pub(super) fn lock(node: &Path, device: u64) -> Result<File, DeviceError> {
    let disk = whole_disk(node, device);
    let file = File::open(&disk).map_err(Io::on("open", &disk))?;
    for attempt in 1.. {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
            Err(rustix::io::Errno::WOULDBLOCK) => break,
            Err(errno) => return Err(Io::on("lock", &disk)(errno.into()).into()),
        }
    }
    Err(DeviceError::Locked { holder: lock_holder(&file), path: disk })
}

/// The node of the disk that a partition is on; of a disk its own.
fn whole_disk(node: &Path, device: u64) -> PathBuf {
    let directory = sysfs_directory(device);
    let disk = directory.as_ref().filter(|directory| directory.join("partition").exists());
    let name = disk.and_then(|directory| directory.parent()?.file_name());
    name.map_or_else(|| node.into(), |name| Path::new("/dev").join(name.to_string_lossy().replace('!', "/")))
}

/// Directory in which the kernel describes a device.
pub(super) fn sysfs_directory(device: u64) -> Option<PathBuf> {
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    fs::canonicalize(Path::new("/sys/dev/block").join(number)).ok()
}

/// Finds who has a lock on the file, by `/proc/locks` (proc_locks(5)), which leaves out processes of other containers.
fn lock_holder(file: &File) -> Option<Holder> {
    let metadata = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let inode = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    (0..READS).find_map(|_| flock_in(&fs::read_to_string("/proc/locks").ok()?, &inode))
}

/// Finds the process that has a `flock` on a file in the kernel's table of locks.
fn flock_in(table: &str, inode: &str) -> Option<Holder> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, place, ..] = fields[..] else { return None };
        if place == inode { holder(pid.parse().ok()?) } else { None }
    })
}

fn holder(pid: u32) -> Option<Holder> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned();
    Some(Holder { name, pid })
}

/// Finds a program that has the device open, writers first, among those that this process may see.
pub(super) fn user(device: u64) -> Option<Holder> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let users = pids.filter(|pid| *pid != own).filter_map(|pid| Some((!opened(pid, device)?, pid)));
    let (_, pid) = users.min()?;
    holder(pid)
}

/// Returns whether a process that has the device open may write; none if it has not.
fn opened(pid: u32, device: u64) -> Option<bool> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(io::Result::ok);
    let ours = files.filter(|entry| {
        fs::metadata(entry.path()).is_ok_and(|found| {
            rustix::fs::FileType::from_raw_mode(found.mode()) == rustix::fs::FileType::BlockDevice
                && found.rdev() == device
        })
    });
    ours.map(|entry| writes(pid, &entry.file_name().to_string_lossy())).max()
}

/// The last digit of `flags` in `fdinfo` is the way of access: 1 and 2 write.
fn writes(pid: u32, file: &str) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{file}")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.is_some_and(|flags| flags.trim().ends_with(['1', '2']))
}
