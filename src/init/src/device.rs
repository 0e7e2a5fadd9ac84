//! Finding block devices without udev: what sysfs lists, and what is written on them.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::failure::{Failure, Result};
use super::probe::{self, Filesystem};
use super::spec::Spec;
use super::table;

const BLOCK: &str = "/sys/class/block";
const POLL: Duration = Duration::from_millis(100);

/// The device that `spec` names, as soon as it is there, or a failure when the time is up.
pub fn wait(spec: &Spec, limit: Duration) -> Result<PathBuf> {
    let start = Instant::now();
    loop {
        if let Some(device) = find(spec) {
            return Ok(device);
        }
        if start.elapsed() >= limit {
            let seen = seen();
            return Err(Failure::NoDevice { device: spec.clone(), seconds: limit.as_secs(), seen });
        }
        std::thread::sleep(POLL);
    }
}

fn find(spec: &Spec) -> Option<PathBuf> {
    if let Spec::Path(path) = spec {
        return fs::metadata(path).ok()?.file_type().is_block_device().then(|| path.clone());
    }
    names().into_iter().find(|name| carries(name, spec)).map(|name| node(&name))
}

fn carries(name: &str, spec: &Spec) -> bool {
    let same =
        |found: Option<String>, wanted: &str| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted));
    match spec {
        Spec::Path(path) => *path == node(name),
        Spec::Label(label) => filesystem(&node(name)).is_some_and(|found| found.label == *label),
        Spec::Uuid(uuid) => same(filesystem(&node(name)).map(|found| found.uuid), uuid),
        Spec::PartUuid(uuid) => same(partition_uuid(name), uuid),
        Spec::PartLabel(label) => uevent(name, "PARTNAME").is_some_and(|found| found == *label),
    }
}

/// Disks and partitions, sorted by name. Memory pretending to be a disk holds no medium.
fn names() -> Vec<String> {
    let entries = fs::read_dir(BLOCK).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let real = |name: &String| !["loop", "ram", "zram"].iter().any(|prefix| name.starts_with(prefix));
    let mut names: Vec<String> = names.filter(real).collect();
    names.sort();
    names
}

/// Sysfs writes `!` for the `/` of a device that is in a directory.
fn node(name: &str) -> PathBuf {
    Path::new("/dev").join(name.replace('!', "/"))
}

/// Returns the filesystem on a device, from its first bytes.
pub fn filesystem(device: &Path) -> Option<Filesystem> {
    probe::filesystem(&start(device)?)
}

/// The size that the ext4 filesystem on a device has.
pub fn ext_size(device: &Path) -> Option<probe::ExtSize> {
    probe::ext_size(&start(device)?)
}

fn start(device: &Path) -> Option<Vec<u8>> {
    read(device, 0, probe::SPAN)
}

fn read(device: &Path, offset: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    File::open(device).ok()?.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn partition_uuid(name: &str) -> Option<String> {
    uevent(name, "PARTUUID").or_else(|| {
        let number = attribute(name, "partition")?.parse().ok()?;
        let disk = fs::canonicalize(Path::new(BLOCK).join(name)).ok()?;
        let disk = disk.parent()?.file_name()?.to_str()?.to_owned();
        let block = attribute(&disk, "queue/logical_block_size")?.parse().ok()?;
        table::partition_uuid(|offset, length| read(&node(&disk), offset, length), number, block)
    })
}

/// Bytes of a device.
pub fn bytes(device: &Path) -> Option<u64> {
    let name = device.strip_prefix("/dev").ok()?.to_str()?.replace('/', "!");
    let sectors: u64 = attribute(&name, "size")?.parse().ok()?;
    sectors.checked_mul(512)
}

/// The device of a filesystem, by the number that `stat` gives.
pub fn of_number(number: u64) -> Option<PathBuf> {
    let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    let link = fs::canonicalize(Path::new("/sys/dev/block").join(number)).ok()?;
    Some(node(link.file_name()?.to_str()?))
}

fn attribute(name: &str, attribute: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new(BLOCK).join(name).join(attribute)).ok()?;
    Some(text.trim().to_owned())
}

fn uevent(name: &str, key: &str) -> Option<String> {
    let text = attribute(name, "uevent")?;
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
}

/// Lists the devices that are there, for a person who looks for one that is not.
fn seen() -> String {
    let described = |name: String| match filesystem(&node(&name)) {
        Some(found) if found.label.is_empty() => format!("{name} ({})", found.kind),
        Some(found) => format!("{name} ({} `{}`)", found.kind, found.label),
        None => name,
    };
    let all: Vec<String> = names().into_iter().map(described).collect();
    if all.is_empty() { "no disks".into() } else { all.join(", ") }
}
