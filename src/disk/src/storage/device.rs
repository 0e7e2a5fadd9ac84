//! A block device: opened exclusively, written directly where alignment allows, read back past the page cache.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{NoArg, Opcode, Setter, opcode};

use super::buffered_direct::BufferedAndDirect;
use super::direct::{CacheBypass, Direct};
use super::lock::{Holder, lock, sysfs_directory, user};
use super::{Geometry, Target, TargetError, Verb, write_zeros};
use crate::error::{Diagnostic, Io};

/// `BLKRRPART` of `linux/fs.h`: read the partition table again.
const BLKRRPART: Opcode = opcode::none(0x12, 95);
/// `BLKDISCARD` of `linux/fs.h`: two 64-bit numbers, start and length in bytes.
const BLKDISCARD: Opcode = opcode::none(0x12, 119);

/// A block device, locked, and held exclusively (`O_EXCL`): the kernel refuses to open or mount it twice.
pub struct Device {
    name: String,
    buffered: File,
    direct: Direct,
    geometry: Geometry,
    physical_sector_size: u32,
    limits: Limits,
    /// Holds the lock of the disk.
    _lock: File,
}

/// Hints of the device for its best use, in bytes; 0 where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `optimal_io_size`: what is best written at once, and in multiples of it.
    pub optimal_io: u64,
    /// `max_sectors_kb`: longer requests are cut by the kernel.
    pub largest_io: u64,
    /// `discard_granularity`: smaller pieces are not discarded.
    pub discard_granularity: u64,
    /// `discard_max_bytes`: 0 for a device that cannot discard.
    pub largest_discard: u64,
    /// `alignment_offset`: how far the start of this device is from a physical sector.
    pub alignment_offset: u64,
}

impl Limits {
    /// As `/sys/block/DISK/queue` has them (Documentation/ABI/stable/sysfs-block of Linux).
    fn for_device(device: u64) -> Limits {
        let Some(directory) = sysfs_directory(device) else { return Limits::default() };
        let disk = match directory.join("partition").exists() {
            true => directory.parent().unwrap_or(&directory),
            false => &directory,
        };
        let number = |path: PathBuf| -> u64 {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            // An alignment that is unknown is -1.
            text.trim().parse().unwrap_or(0)
        };
        let queue = |name: &str| number(disk.join("queue").join(name));
        Limits {
            optimal_io: queue("optimal_io_size"),
            largest_io: queue("max_sectors_kb") << 10,
            discard_granularity: queue("discard_granularity"),
            largest_discard: queue("discard_max_bytes"),
            alignment_offset: number(directory.join("alignment_offset")),
        }
    }
}

/// Reason why a device cannot be opened.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum DeviceError {
    /// Mounted, or open exclusively elsewhere.
    #[error("`{}` is in use by {}", path.display(), named(holder.as_ref(), "the system"))]
    #[diagnostic(
        hint = wait_for(holder)
            .unwrap_or_else(|| format!("unmount its partitions and stop what uses `{}`", path.display()))
    )]
    Busy {
        /// The device.
        path: PathBuf,
        /// A program that has it open, if there is one.
        holder: Option<Holder>,
    },
    /// Another program has the lock of the disk.
    #[error("`{}` is locked by {}", path.display(), named(holder.as_ref(), "another program"))]
    #[diagnostic(
        hint = wait_for(holder)
            .unwrap_or_else(|| format!("`lsof {}` may show which program it is", path.display()))
    )]
    Locked {
        /// The disk.
        path: PathBuf,
        /// The program that has the lock, where the kernel says it.
        holder: Option<Holder>,
    },
    /// A kernel that protects what is mounted even from root.
    #[error("the kernel lets nobody write to `{}` as long as it is used", .0.display())]
    #[diagnostic(hint = "no flag can override that: unmount it, or close what is built on it")]
    Protected(PathBuf),
    /// Something else than a block device.
    #[error("`{}` is not a block device", .0.display())]
    #[diagnostic(hint = "give the path of a whole disk")]
    NotABlockDevice(PathBuf),
    /// Two opens of one name gave two devices.
    #[error("`{}` was exchanged for another device since it was checked", .0.display())]
    #[diagnostic(hint = "start again when the device is plugged in firmly")]
    Exchanged(PathBuf),
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

fn named(holder: Option<&Holder>, otherwise: &str) -> String {
    holder.map_or_else(|| otherwise.into(), Holder::to_string)
}

fn wait_for(holder: &Option<Holder>) -> Option<String> {
    holder.as_ref().map(|holder| format!("wait until {holder} is done, or stop it"))
}

impl Device {
    /// Opens the disk at `path` for reading and writing, locks and claims it. The caller has
    /// found out before that it may be written.
    pub fn open(path: &Path) -> Result<Device, DeviceError> {
        Device::open_with(path, open_exclusive)
    }

    /// Like [`Device::open`] for a device that is in use, which cannot be claimed. It is locked all the same.
    pub fn open_used(path: &Path) -> Result<Device, DeviceError> {
        Device::open_with(path, open_shared)
    }

    fn open_with(
        path: &Path,
        open: impl FnOnce(&Path, u64) -> Result<File, DeviceError>,
    ) -> Result<Device, DeviceError> {
        let found = path.metadata().map_err(Io::on("look at", path))?;
        if !found.file_type().is_block_device() {
            return Err(DeviceError::NotABlockDevice(path.into()));
        }
        let lock = lock(path, found.rdev())?;
        let buffered = open(path, found.rdev())?;
        let direct = Direct::open(path, true).map_err(Io::on("open", path))?;
        let number = |file: &File| file.metadata().map(|metadata| metadata.rdev()).ok();
        if number(&buffered) != Some(found.rdev()) || number(direct.file()) != Some(found.rdev()) {
            return Err(DeviceError::Exchanged(path.into()));
        }
        let len = (&buffered).seek(SeekFrom::End(0)).map_err(Io::on("find the size of", path))?;
        let sector = |size: rustix::io::Result<u32>| size.map_err(io::Error::from);
        let sector_size = sector(rustix::fs::ioctl_blksszget(&buffered))
            .map_err(Io::on("find the sector size of", path))?;
        let physical_sector_size = sector(rustix::fs::ioctl_blkpbszget(&buffered)).unwrap_or(sector_size);
        let geometry = Geometry { len, sector_size };
        let (name, limits) = (path.display().to_string(), Limits::for_device(found.rdev()));
        Ok(Device { name, buffered, direct, geometry, physical_sector_size, limits, _lock: lock })
    }

    /// Fails unless this is the device with the kernel's number `major:minor` and of `len` bytes: a name can lead
    /// to another one than it did when it was checked.
    pub fn ensure_is(&self, number: &str, len: u64) -> Result<(), DeviceError> {
        let path = Path::new(&self.name);
        let device = self.buffered.metadata().map_err(Io::on("look at", path))?.rdev();
        let found = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        if found == number && self.geometry.len == len {
            return Ok(());
        }
        Err(DeviceError::Exchanged(path.into()))
    }

    /// Bytes the medium writes at once, at least the logical sector size.
    pub fn physical_sector_size(&self) -> u32 {
        self.physical_sector_size
    }

    /// Hints for its best use.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Way of [`Target::read_back`] past the page cache.
    pub fn cache_bypass(&self) -> CacheBypass {
        self.direct.bypass()
    }

    /// Asks the kernel to read the new partition table; whether it could. A device without partitions says no,
    /// and nothing is lost by that: the kernel reads the table again when the device is plugged in.
    pub fn reread_partitions(&self) -> bool {
        // SAFETY: `BLKRRPART` takes no argument and touches no memory of this process (`linux/fs.h`).
        unsafe { rustix::ioctl::ioctl(&self.buffered, NoArg::<BLKRRPART>::new()) }.is_ok()
    }

    /// Zeroes whole sectors by the device's own means, or by the kernel writing zeros.
    fn zero_sectors(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        // On a block device this is `BLKZEROOUT` with the page cache kept right (`block/fops.c`). One that others use,
        // too, is busy for it.
        let unable = [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::BUSY];
        self.both().zero(self, FallocateFlags::ZERO_RANGE, &unable, (offset, len))
    }

    fn both(&self) -> BufferedAndDirect<'_> {
        BufferedAndDirect {
            name: &self.name,
            buffered: &self.buffered,
            direct: &self.direct,
            geometry: self.geometry,
        }
    }
}

fn open_exclusive(path: &Path, device: u64) -> Result<File, DeviceError> {
    open(path, OFlags::EXCL).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => DeviceError::Busy { path: path.into(), holder: user(device) },
        _ => Io::on("open", path)(error).into(),
    })
}

/// A kernel without `CONFIG_BLK_DEV_WRITE_MOUNTED` says that it is busy.
fn open_shared(path: &Path, _device: u64) -> Result<File, DeviceError> {
    open(path, OFlags::empty()).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => DeviceError::Protected(path.into()),
        _ => Io::on("open", path)(error).into(),
    })
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = (flags | OFlags::CLOEXEC).bits() as i32;
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

impl Target for Device {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.both().read_at(buf, offset)
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.both().read_back(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        self.both().write_at(buf, offset)
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.geometry.ensure_inside(Verb::Zero, &self.name, offset, len)?;
        let sector = u64::from(self.geometry.sector_size);
        let end = offset + len;
        let (start, stop) = (offset.next_multiple_of(sector).min(end), end / sector * sector);
        if start >= stop {
            return write_zeros(self, offset, len);
        }
        write_zeros(self, offset, start - offset)?;
        self.zero_sectors(start, stop - start)?;
        write_zeros(self, stop, end - stop)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<bool, TargetError> {
        self.geometry.ensure_inside(Verb::Discard, &self.name, offset, len)?;
        if self.limits.largest_discard == 0 || len == 0 {
            return Ok(false);
        }
        let unit = self.limits.discard_granularity.max(u64::from(self.geometry.sector_size));
        let (start, stop) = (offset.next_multiple_of(unit), (offset + len) / unit * unit);
        if start >= stop {
            return Ok(false);
        }
        // SAFETY: `BLKDISCARD` reads two 64-bit numbers and touches no other memory of this process (`linux/fs.h`).
        let answer = unsafe {
            rustix::ioctl::ioctl(&self.buffered, Setter::<BLKDISCARD, [u64; 2]>::new([start, stop - start]))
        };
        match answer {
            Ok(()) => Ok((start, stop) == (offset, offset + len)),
            // A device that others use, too, is busy for this.
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::BUSY) => Ok(false),
            Err(errno) => Err(self.both().error(Verb::Discard, offset, len)(errno.into())),
        }
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.buffered.sync_all().map_err(self.both().error(Verb::Sync, 0, self.geometry.len))
    }
}
