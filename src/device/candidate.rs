//! A device as a person recognizes it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::Reason;
use crate::value::{ByteSize, Digest};

/// A disk or partition that may be written, with what a person needs to recognize it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Its node, for example `/dev/sdb`, whatever name it was given by.
    pub path: PathBuf,
    /// The kernel's name, for example `sdb`.
    pub name: String,
    /// `major:minor`, by which the kernel distinguishes it from any other.
    pub number: String,
    /// Vendor and model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Number of the medium: another one for each that is put in, also into the same reader. Since Linux 5.15.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Size in bytes.
    pub len: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// True if the kernel says that the medium can be taken out; false for many card readers.
    pub removable: bool,
    /// Bus: `usb`, `mmc`, `nvme`, `ata`, `virtio`, `xen`, `scsi`, `loop` or `other`.
    pub bus: String,
    /// Partitions that will be lost, for example `sdb1`.
    pub partitions: Vec<String>,
    /// Disk and number, if it is a partition itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Reasons against writing it that were overridden.
    #[serde(skip)]
    pub overridden: Vec<Reason>,
}

/// A partition's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Node of the disk, for example `/dev/sdb`.
    pub disk: PathBuf,
    /// Number in its table.
    pub number: u32,
    /// Id in its table, where the kernel reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partuuid: Option<String>,
}

/// Something mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// The device, or what is built on it.
    pub device: String,
    /// Mount point.
    pub mount_point: String,
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is mounted on `{}`", self.device, self.mount_point)
    }
}

impl Candidate {
    /// Short text that another device does not have: derived from serial number, model, size and kernel number.
    pub fn token(&self) -> String {
        let known = (&self.serial, &self.model, self.len, &self.number);
        let digest = Digest::of(format!("{known:?}").as_bytes()).to_string();
        format!("{}-{}", &digest[..4], &digest[4..8])
    }

    /// Returns whether this is the same medium in the same place as `other`; what is on it may have changed.
    pub fn is_same(&self, other: &Candidate) -> bool {
        let identity = |candidate: &Candidate| Candidate {
            partitions: Vec::new(),
            overridden: Vec::new(),
            ..candidate.clone()
        };
        identity(self) == identity(other)
    }
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
        if self.sector_size != 512 {
            write!(f, ", sectors of {} bytes", self.sector_size)?;
        }
        match self.partitions.as_slice() {
            [] if self.part.is_some() => Ok(()),
            [] => f.write_str(", no partitions"),
            partitions => write!(f, ", has {}", partitions.join(", ")),
        }
    }
}
