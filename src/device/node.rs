//! One device in sysfs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Reason;
use super::reason::Built;

/// A disk, a partition or what is built on them, in sysfs.
pub(super) struct Node {
    /// The directory under `/sys/devices`.
    pub(super) directory: PathBuf,
    /// As it stands in `/dev`.
    pub(super) name: String,
    /// `major:minor`.
    pub(super) number: String,
}

impl Node {
    /// The device that a directory is about.
    pub(super) fn at(directory: PathBuf) -> io::Result<Node> {
        let number = fs::read_to_string(directory.join("dev"))?.trim().to_owned();
        Ok(Node { name: device_name(&directory), directory, number })
    }

    /// `/dev/NAME`.
    pub(super) fn path(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// An attribute, if it is there and not empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text(&self.directory.join(name))
    }

    /// An attribute that is a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// Directories of its partitions, in the order of names.
    pub(super) fn partitions(&self) -> Vec<PathBuf> {
        children(&self.directory).into_iter().filter(|path| path.join("partition").exists()).collect()
    }

    /// The disk that this is an area of, as the boot areas of an eMMC are: a disk inside of a disk.
    pub(super) fn hardware_disk(&self) -> Option<Node> {
        // The controller of an NVMe disk is a device too, but not a disk.
        let parent = self.directory.parent().filter(|parent| parent.join("size").exists())?;
        match self.directory.join("partition").exists() {
            true => None,
            false => Node::at(parent.into()).ok(),
        }
    }

    /// Everything that is directly built on it.
    pub(super) fn held(&self) -> Vec<Reason> {
        let holders = children(&self.directory.join("holders")).into_iter();
        holders
            .map(|link| Reason::Held {
                partition: self.path(),
                holder: format!("/dev/{}", device_name(&link)),
                built: built(&link),
            })
            .collect()
    }

    /// Serial number of the disk, or of what it is plugged in with.
    pub(super) fn serial(&self) -> Option<String> {
        self.text("device/serial").or_else(|| self.text("serial")).or_else(|| self.scsi_serial()).or_else(
            || {
                let device = self.directory.ancestors().find(|path| path.join("idVendor").exists())?;
                text(&device.join("serial"))
            },
        )
    }

    /// Page 0x80 of the vital product data (SPC-4, 7.8.15): a header of four bytes, then text.
    fn scsi_serial(&self) -> Option<String> {
        let page = fs::read(self.directory.join("device/vpd_pg80")).ok()?;
        let serial = String::from_utf8_lossy(page.get(4..)?).trim().to_owned();
        (!serial.is_empty()).then_some(serial)
    }

    /// Vendor and model, or what stands for them.
    pub(super) fn model(&self) -> Option<String> {
        let vendor = self.text("device/vendor").filter(|vendor| !vendor.starts_with("0x"));
        let model = self.text("device/model").or_else(|| self.text("device/name"));
        match (vendor, model) {
            (Some(vendor), Some(model)) => Some(format!("{vendor} {model}")),
            (None, None) => self.text("loop/backing_file").or_else(|| self.text("dm/name")),
            (vendor, model) => model.or(vendor),
        }
    }

    /// Returns whether something between the disk and the processor can be unplugged: a Thunderbolt case with an NVMe
    /// disk. Bridges and hubs say `removable`, `fixed` or `unknown` (sysfs-devices-removable).
    pub(super) fn is_external(&self) -> bool {
        self.directory
            .ancestors()
            .skip(1)
            .any(|path| text(&path.join("removable")).as_deref() == Some("removable"))
    }

    /// Returns the bus, by the path of its directory.
    pub(super) fn bus(&self) -> &'static str {
        let parts: Vec<String> =
            self.directory.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let has = |prefix: &str| parts.iter().any(|part| part.starts_with(prefix));
        match () {
            () if has("usb") => "usb",
            () if has("mmc") => "mmc",
            () if has("nvme") => "nvme",
            () if has("ata") => "ata",
            () if has("virtio") => "virtio",
            () if has("vbd-") => "xen",
            () if has("loop") => "loop",
            () if has("host") => "scsi",
            () => "other",
        }
    }

    /// Returns whether there is no hardware behind it.
    pub(super) fn is_virtual(&self) -> bool {
        self.directory.components().any(|part| part.as_os_str() == "virtual")
    }
}

/// Returns the kind of a holder: device mapper and md have it in their directories.
fn built(directory: &Path) -> Option<Built> {
    let attribute = |name: &str| text(&directory.join(name));
    if let Some(level) = attribute("md/level") {
        let device = device_name(directory);
        return Some(Built {
            what: format!("a RAID ({level})"),
            close: format!("mdadm --stop /dev/{device}"),
        });
    }
    let (name, uuid) = (attribute("dm/name")?, attribute("dm/uuid").unwrap_or_default());
    let (what, close) = match uuid.split('-').next().unwrap_or_default() {
        "LVM" => ("LVM volume", "dmsetup remove"),
        "CRYPT" => ("encrypted disk", "cryptsetup close"),
        "mpath" => ("multipath disk", "multipath -f"),
        _ => ("device mapper disk", "dmsetup remove"),
    };
    Some(Built { what: format!("the {what} `{name}`"), close: format!("{close} {name}") })
}

/// The name in `/dev`: sysfs writes `!` for a slash.
pub(super) fn device_name(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().replace('!', "/")
}

pub(super) fn children(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

fn text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// `\040` and the like of the tables in `/proc`.
pub(super) fn unescape(text: &str) -> String {
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
