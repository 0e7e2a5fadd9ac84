//! Reasons against writing a device, with advice.

use std::path::{Path, PathBuf};

use super::Override;
use crate::error::{Diagnostic, Io};
use crate::value::ByteSize;

/// Reason why a path is not written.
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
        found.as_ref().map_or("reports none".into(), |found| format!("has `{found}`"))
    )]
    OtherPartuuid {
        /// Id that the image has.
        wanted: String,
        /// Id that the partition has.
        found: Option<String>,
    },
    /// The running system lives there.
    #[error("`{partition}` is mounted on `{mount_point}`: this is the disk of the running system")]
    SystemDisk {
        /// The partition, or what is built on it.
        partition: String,
        /// Mount point.
        mount_point: String,
    },
    /// In use.
    #[error("`{partition}` is mounted on `{mount_point}`")]
    Mounted {
        /// The partition, or what is built on it.
        partition: String,
        /// Mount point.
        mount_point: String,
    },
    /// In use.
    #[error("`{partition}` is used as swap space")]
    Swap {
        /// The partition, or what is built on it.
        partition: String,
        /// True if that is the device itself, to which the kernel lets nobody write then.
        itself: bool,
    },
    /// In use.
    #[error("`{partition}` is a part of `{holder}`{}", built.as_ref().map(|built| format!(", {}", built.what)).unwrap_or_default())]
    Held {
        /// The partition.
        partition: String,
        /// Devices that are built on it.
        holder: String,
        /// Kind of device, where the kernel reports it.
        built: Option<Built>,
    },
    /// Cannot be written.
    #[error("it is read-only")]
    ReadOnly,
    /// A reader without a card.
    #[error("there is no medium in it")]
    NoMedium,
    /// A drive for discs.
    #[error("it is an optical drive")]
    Optical,
    /// A small area of an eMMC that the board starts from, or that was set apart.
    #[error("it is a hardware partition of `{disk}`")]
    HardwarePartition {
        /// The disk that it is next to.
        disk: String,
    },
    /// Built into the machine.
    #[error("it is an internal disk ({bus}, not removable)")]
    Internal {
        /// Kind of bus.
        bus: String,
    },
    /// Larger than what is usually flashed.
    #[error("it has {}, and what has more than {} is more often a disk full of data than a card", ByteSize(*have), ByteSize(*usual))]
    Large {
        /// Bytes there are.
        have: u64,
        /// The most that is usual.
        usual: u64,
    },
    /// The image does not fit.
    #[error("the image needs {} and it has {}", ByteSize(*need), ByteSize(*have))]
    TooSmall {
        /// Bytes the image needs.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
}

/// Device that is built on another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Kind and name, for example "the LVM volume `vg0-root`".
    pub what: String,
    /// Command that closes it.
    pub close: String,
}

/// Reason why there is no [`super::Candidate`].
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum Refused {
    /// Writing could destroy something, or cannot work.
    #[error("`{}` is not written: {reason}", path.display())]
    #[diagnostic(hint = reason.hint(path), code = reason.code())]
    Because {
        /// The path that was given.
        path: PathBuf,
        /// Objection.
        reason: Reason,
    },
    /// There is nothing.
    #[error("there is no `{}`", .0.display())]
    #[diagnostic(kind = Input, hint = "`skiff-image devices` lists the disks of this machine")]
    Missing(PathBuf),
    /// The link leads to nothing.
    #[error("`{}` is a link to `{}`, which is not there", path.display(), to.display())]
    #[diagnostic(kind = Input, hint = "plug the device in; `skiff-image devices` lists what is there")]
    Dangling {
        /// The link.
        path: PathBuf,
        /// Path or word that was given.
        to: PathBuf,
    },
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

impl Reason {
    /// Returns whether the kernel or a program uses the device at this moment.
    pub fn is_use(&self) -> bool {
        matches!(
            self,
            Reason::SystemDisk { .. } | Reason::Mounted { .. } | Reason::Swap { .. } | Reason::Held { .. }
        )
    }

    /// Code of an error for this reason: the word that overrides it, if there is one.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Reason::OtherPartuuid { found: Some(_), .. } => Some("other-partuuid"),
            reason => Override::for_reason(reason).map(Override::word),
        }
    }

    /// Returns what to do about it for the device at `path`.
    pub fn hint(&self, path: &Path) -> String {
        match self {
            Reason::NotABlockDevice("a file") => {
                "`assemble` makes image files; `losetup --find --show FILE` makes a disk of one".into()
            }
            Reason::NotABlockDevice(_) => "give the path of a disk, for example `/dev/sdb`".into(),
            Reason::Partition { disk } => format!("to overwrite the whole disk, give `{disk}`"),
            Reason::WholeDisk => "make a partition for it, and give its path, for example `/dev/sdb3`".into(),
            Reason::Archive => "unpack it, or load it with the program that it is for".into(),
            Reason::Esp => "give the partition that was made for the system".into(),
            Reason::OtherPartuuid { found: Some(found), .. } => {
                format!("if this is the right partition, make the image for the PARTUUID `{found}`")
            }
            Reason::OtherPartuuid { found: None, .. } => "check that its disk has a partition table".into(),
            Reason::SystemDisk { .. } => "choose another disk; this one is never written".into(),
            Reason::Mounted { mount_point, .. } => {
                format!("umount `{mount_point}` if this is the right disk")
            }
            Reason::Swap { partition, itself: false } => {
                format!("swapoff `{partition}` if this is the right disk")
            }
            Reason::Swap { partition, itself: true } => format!(
                "swapoff `{partition}` if this is the right disk; the kernel lets nobody write to it before"
            ),
            Reason::Held { built: Some(built), .. } => {
                format!("close it with `{}` if this is the right disk", built.close)
            }
            Reason::Held { holder, built: None, .. } => format!("close `{holder}` if this is the right disk"),
            Reason::ReadOnly => "slide the lock of the card, or choose another disk".into(),
            Reason::NoMedium => format!("put a card into `{}`", path.display()),
            Reason::Optical => "give the path of a disk, for example `/dev/sdb`".into(),
            Reason::HardwarePartition { disk } => format!("to write the medium itself, give `{disk}`"),
            Reason::Internal { .. } | Reason::Large { .. } => "choose a card or stick".into(),
            Reason::TooSmall { .. } => "use a larger disk, or make the partitions smaller".into(),
        }
    }
}
