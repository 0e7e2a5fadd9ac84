//! Letting ext4 filesystems fill their partitions, online, by the request that `resize2fs` makes too.
//!
//! The root is grown if it is ext4, and the devices that `resize2fs.conf` names, one on a line. A partition is never
//! changed here.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::choice::devices_to_grow;
use super::console;
use super::device;
use super::failure::{Failure, Result};
use super::mounts::{make_directory, mount, unmount};

const ELSEWHERE: &str = "/skiff-overlays/grow";

/// Grows the root and what `conf` lists; failures are reported and cost nothing but space.
pub fn grow_all(conf: Option<&str>) {
    let root = fs::metadata("/").ok().and_then(|root| device::of_number(root.dev()));
    let listed = conf.map(devices_to_grow).unwrap_or_default();
    let others = listed.into_iter().filter(|device| Some(device) != root.as_ref());
    let done =
        root.iter().map(|device| grow(device, Path::new("/"))).chain(others.map(|it| grow_elsewhere(&it)));
    done.filter_map(Result::err).for_each(|failure| console::failure(&failure));
}

fn grow_elsewhere(device: &Path) -> Result<()> {
    let at = PathBuf::from(ELSEWHERE);
    make_directory(&at, 0o700)?;
    mount(&device.to_string_lossy(), &at, "ext4", MountFlags::NOSUID | MountFlags::NODEV, "")?;
    let done = grow(device, &at);
    unmount(&at);
    done
}

/// Grows a mounted filesystem, if it is ext4 and its device has room for more blocks.
fn grow(device: &Path, at: &Path) -> Result<()> {
    let Some((size, bytes)) = device::ext_size(device).zip(device::bytes(device)) else {
        return Ok(());
    };
    let wanted = bytes / size.block_bytes;
    if wanted <= size.blocks {
        return Ok(());
    }
    let failed = |source| Failure::Grow { device: device.into(), source };
    let directory = File::open(at).map_err(failed)?;
    rustix::fs::ext4_ioc_resize_fs(&directory, wanted).map_err(|error| failed(errno(error)))?;
    // The kernel leaves a last group out that would be too small.
    let blocks = device::ext_size(device).map_or(wanted, |size| size.blocks);
    if blocks > size.blocks {
        let (from, to) = (size.blocks, blocks);
        console::info(format_args!(
            "the filesystem on `{}` grew from {from} to {to} blocks",
            device.display()
        ));
    }
    Ok(())
}

fn errno(error: Errno) -> std::io::Error {
    error.into()
}
