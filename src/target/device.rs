//! A block device: opened exclusively, written directly where alignment allows, read back past the page cache.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::ioctl::{NoArg, Opcode, opcode};

use super::direct::{CacheBypass, Direct};
use super::{Geometry, Target, TargetError, write_zeros};
use crate::error::{Family, Io, Report};

/// `BLKRRPART` of `linux/fs.h`: read the partition table again.
const BLKRRPART: Opcode = opcode::none(0x12, 95);

/// A whole block device, held exclusively (`O_EXCL`): the kernel refuses to open or mount it twice.
pub struct Device {
    name: String,
    buffered: File,
    direct: Direct,
    geometry: Geometry,
    physical_sector_size: u32,
}

/// Why a device cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Mounted, or open exclusively elsewhere.
    #[error("`{}` is in use by the system", .0.display())]
    Busy(PathBuf),
    /// Something else than a block device.
    #[error("`{}` is not a block device", .0.display())]
    NotABlockDevice(PathBuf),
    /// Two opens of one name gave two devices.
    #[error("`{}` was exchanged for another device since it was checked", .0.display())]
    Exchanged(PathBuf),
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] Io),
}

impl Report for DeviceError {
    fn family(&self) -> Family {
        match self {
            DeviceError::Busy(_) | DeviceError::NotABlockDevice(_) | DeviceError::Exchanged(_) => {
                Family::Refused
            }
            DeviceError::Io(_) => Family::Io,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            DeviceError::Busy(path) => {
                Some(format!("unmount its partitions and stop what uses `{}`", path.display()))
            }
            DeviceError::NotABlockDevice(_) => Some("give the path of a whole disk".into()),
            DeviceError::Exchanged(_) => Some("start again when the device is plugged in firmly".into()),
            DeviceError::Io(error) => error.hint(),
        }
    }
}

impl Device {
    /// Opens the disk at `path` for reading and writing and claims it. Whether it may be written at all is
    /// [`crate::flash::safety`]'s question, to be asked before.
    pub fn open(path: &Path) -> Result<Device, DeviceError> {
        let found = path.metadata().map_err(Io::on("look at", path))?;
        if !found.file_type().is_block_device() {
            return Err(DeviceError::NotABlockDevice(path.into()));
        }
        let buffered = open_exclusive(path)?;
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
        let name = path.display().to_string();
        Ok(Device { name, buffered, direct, geometry, physical_sector_size })
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

    /// How [`Target::read_back`] gets past the page cache.
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
        // On a block device this is `BLKZEROOUT` with the page cache kept right (`block/fops.c`).
        let zero = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.buffered, zero, offset, len) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
                write_zeros(self, offset, len)
            }
            Err(errno) => Err(self.error("zero", offset, len)(errno.into())),
        }
    }

    fn error(&self, verb: &'static str, offset: u64, len: u64) -> impl FnOnce(io::Error) -> TargetError {
        let target = self.name.clone();
        move |source| TargetError::Io { verb, target, offset, len, source }
    }
}

fn open_exclusive(path: &Path) -> Result<File, DeviceError> {
    let flags = (OFlags::EXCL | OFlags::CLOEXEC).bits() as i32;
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).map_err(|error| {
        match error.kind() {
            io::ErrorKind::ResourceBusy => DeviceError::Busy(path.into()),
            _ => Io::on("open", path)(error).into(),
        }
    })
}

impl Target for Device {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let error = self.error("read", offset, buf.len() as u64);
        self.buffered.read_exact_at(buf, offset).map_err(error)
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let error = self.error("read back", offset, buf.len() as u64);
        self.direct.read_at(buf, offset).map_err(error)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        let len = buf.len() as u64;
        self.geometry.ensure_inside("write", &self.name, offset, len)?;
        self.direct.write_split(&self.buffered, buf, offset).map_err(self.error("write", offset, len))
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.geometry.ensure_inside("zero", &self.name, offset, len)?;
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

    fn sync(&self) -> Result<(), TargetError> {
        self.buffered.sync_all().map_err(self.error("sync", 0, self.geometry.len))
    }
}
