//! Mounting, with directories made on the way.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::failure::{Failure, Result};

/// Mounts a filesystem; options are the text after `-o` that the kernel leaves to the filesystem.
pub fn mount(what: &str, at: &Path, kind: &str, flags: MountFlags, options: &str) -> Result<()> {
    let options = CString::new(options).expect("options come from texts without NUL");
    rustix::mount::mount(what, at, kind, flags, options.as_c_str()).map_err(|source| Failure::Mount {
        what: what.into(),
        kind: kind.into(),
        at: at.into(),
        source: source.into(),
    })
}

/// The filesystems that the kernel makes up, as every init has them.
pub fn mount_kernel_filesystems() -> Result<()> {
    let noexec = MountFlags::NOSUID | MountFlags::NOEXEC;
    let filesystems = [
        ("devtmpfs", "/dev", MountFlags::NOSUID, "mode=0755"),
        ("proc", "/proc", noexec | MountFlags::NODEV, ""),
        ("sysfs", "/sys", noexec | MountFlags::NODEV, ""),
    ];
    for (kind, at, flags, options) in filesystems {
        make_directory(Path::new(at), 0o755)?;
        match mount(kind, Path::new(at), kind, flags, options) {
            // The kernel mounts devtmpfs itself, if so configured; an earlier stage may have mounted the others.
            Err(Failure::Mount { source, .. }) if is(&source, Errno::BUSY) => {}
            done => done?,
        }
    }
    Ok(())
}

/// Mounts the filesystem of a device, writable, where there may be no directory yet.
pub fn mount_at(device: &str, at: &Path, kind: &str) -> Result<()> {
    make_directory(at, 0o755)?;
    mount(device, at, kind, MountFlags::empty(), "")
}

/// Makes a directory and those above it.
pub fn make_directory(path: &Path, mode: u32) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| Failure::Directory { path: path.into(), source })
}

/// Makes a root writable that the kernel mounted read-only: it is where the system keeps what lasts.
pub fn make_root_writable() -> Result<()> {
    let remount = || {
        let kept = rustix::fs::statvfs("/")?.f_flag;
        if !kept.contains(StatVfsMountFlags::RDONLY) {
            return Ok(());
        }
        rustix::mount::mount_remount("/", times(kept), "")
    };
    remount().map_err(|error: Errno| Failure::Writable { source: error.into() })
}

/// The flags about access times, which a new mount of the same would otherwise lose.
fn times(kept: StatVfsMountFlags) -> MountFlags {
    let pairs = [
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    pairs.iter().filter(|(has, _)| kept.contains(*has)).map(|(_, flag)| *flag).collect()
}

/// Makes what is at `from` also visible at `to`, which is made as a directory, or as a file if `from` is one.
pub fn bind(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        make_directory(to.parent().unwrap_or(to), 0o755)?;
        let create = fs::OpenOptions::new().append(true).create(true).open(to);
        create.map_err(|source| Failure::Read { path: to.into(), source })?;
    } else {
        make_directory(to, 0o755)?;
    }
    rustix::mount::mount_bind(from, to).map_err(|source| Failure::Mount {
        what: from.display().to_string(),
        kind: "bind".into(),
        at: to.into(),
        source: source.into(),
    })
}

/// Moves a mount to another place.
pub fn move_to(from: &Path, to: &Path) -> Result<()> {
    make_directory(to, 0o755)?;
    rustix::mount::mount_move(from, to)
        .map_err(|source| Failure::Move { what: from.into(), source: source.into() })
}

/// Takes a mount away, now or when nothing uses it any more.
pub fn unmount(at: &Path) {
    // Best effort, of what an earlier failure has left.
    let _ = rustix::mount::unmount(at, UnmountFlags::DETACH);
}

/// Returns whether an error of the standard library is this one of the kernel.
pub fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
