//! The directory of the cache: opening it, and reading and writing single entries.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::{Errno, retry_on_intr};

use super::entry;
use crate::cache::Block;
use crate::error::Io;
use crate::value::{Digest, Timestamp};

/// Entries of another version are never looked at.
pub(super) const VERSION: &str = "v1";
/// Unfinished entries begin with this.
pub(super) const UNFINISHED: &str = "tmp-";
/// Age at which the time of the last use is renewed, and at which the writer of an unfinished entry has
/// surely ended, in seconds.
pub(super) const HOUR: i64 = 3600;
/// Most of [`Space::reserved`].
const RESERVED_MAX: u64 = 1 << 30;
/// Asks backup programs to leave the directory out (Cache Directory Tagging Specification). It is touched by
/// each build.
const TAG: &str = "CACHEDIR.TAG";
pub(super) const TAG_TEXT: &[u8] =
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Compressed blocks of skiff-image.\n";
const BOTH_NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
};

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory {
    /// `DIR/v1`.
    path: PathBuf,
    fd: OwnedFd,
    /// Time at which it was opened, by the clock of its filesystem; unknown if it cannot be written.
    now: Option<Timespec>,
    unfinished: AtomicU64,
}

/// Space of a filesystem, in bytes.
pub(super) struct Space {
    /// Bytes that are free.
    pub left: u64,
    /// Bytes that must stay free for others: a sixteenth of the filesystem, at most 1 GiB. The image of this build may
    /// have to go there, and it must not fail because of what is kept for the next one.
    pub reserved: u64,
}

/// Result of reading an entry.
pub(super) enum Reading {
    Absent,
    /// Not what was written under this name.
    Damaged,
    Sound(Block),
}

impl Directory {
    /// Opens the directory of this version below `root`, and makes it if it is not there.
    pub(super) fn open(root: &Path) -> Result<Directory, Io> {
        let path = root.join(VERSION);
        fs::create_dir_all(&path).map_err(Io::on("create", &path))?;
        let fd = rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Io::on("open", &path)(errno.into()))?;
        let now = touch_tag(&fd).ok();
        Ok(Directory { path, fd, now, unfinished: AtomicU64::new(0) })
    }

    /// `DIR/v1`.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Time at which it was opened, by the clock of its filesystem, in seconds; unknown if it cannot be written.
    pub(super) fn now(&self) -> Option<Timestamp> {
        self.now.map(|now| now.tv_sec)
    }

    /// The entry of `id`, whose payload is not longer than `longest`.
    pub(super) fn read(&self, id: &Digest, longest: u32) -> Result<Reading, Errno> {
        // Whatever stands there is opened without waiting for anybody and without leaving the directory.
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.fd, entry::name(id), flags, Mode::empty()) {
            Ok(file) => file,
            // A file in the place of a directory is reported when an entry cannot be written.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Reading::Absent),
            // A symbolic link, a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Ok(Reading::Damaged),
            Err(errno) => return Err(errno),
        };
        let stat = rustix::fs::fstat(&file)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let len = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
        if !regular || len > entry::HEADER_LEN + longest as usize {
            return Ok(Reading::Damaged);
        }
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            if retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut bytes)))? == 0 {
                break;
            }
        }
        let Some(block) = entry::decode(id, bytes) else {
            return Ok(Reading::Damaged);
        };
        self.renew(&file, stat.st_mtime as Timestamp);
        Ok(Reading::Sound(block))
    }

    /// Returns whether something has the name of an entry.
    pub(super) fn contains(&self, id: &Digest) -> bool {
        rustix::fs::statat(&self.fd, entry::name(id), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Notes the use of an entry. Who may not, leaves it as it is.
    fn renew(&self, file: &OwnedFd, used: Timestamp) {
        // A time in the future is no better than one in the past.
        if self.now().is_some_and(|now| now.abs_diff(used) > HOUR.unsigned_abs()) {
            let _ = rustix::fs::futimens(file, &BOTH_NOW);
        }
    }

    /// Writes the entry of `id`, which is whole once it has its name. It is not synced: what a power failure tears
    /// has a wrong checksum.
    pub(super) fn write(&self, id: &Digest, entry: &[u8]) -> io::Result<()> {
        let name = entry::name(id);
        let (mut file, unfinished) = self.create(&name[..2])?;
        let renamed = |()| Ok(rustix::fs::renameat(&self.fd, &unfinished, &self.fd, &name)?);
        match file.write_all(entry).and_then(renamed) {
            // Somebody has emptied the cache meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => {
                let _ = rustix::fs::unlinkat(&self.fd, &unfinished, AtFlags::empty());
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Space of the filesystem. A filesystem that cannot say it reports an error when it is full.
    pub(super) fn space(&self) -> Space {
        match rustix::fs::fstatvfs(&self.fd) {
            Ok(stat) if stat.f_blocks > 0 => {
                let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
                Space { left: bytes(stat.f_bavail), reserved: (bytes(stat.f_blocks) / 16).min(RESERVED_MAX) }
            }
            _ => Space { left: u64::MAX, reserved: 0 },
        }
    }

    /// A new file in the shard, and its name.
    fn create(&self, shard: &str) -> Result<(File, String), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut made = false;
        loop {
            let name = self.unfinished_name(shard);
            match rustix::fs::openat(&self.fd, &name, flags, Mode::from_raw_mode(0o666)) {
                Ok(file) => return Ok((file.into(), name)),
                // A process of the same number, in another container or long ago.
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) if !made => {
                    made = true;
                    match rustix::fs::mkdirat(&self.fd, shard, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Beside the entries, because renaming is cheapest inside a directory.
    fn unfinished_name(&self, shard: &str) -> String {
        let process = rustix::process::getpid().as_raw_nonzero();
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let opened =
            self.now.map_or(0, |now| now.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec));
        format!("{shard}/{UNFINISHED}{process}-{opened}-{number}")
    }

    /// Removes the entry of `id`. It is replaced anyway when the block is kept again, so failure is no matter.
    pub(super) fn remove(&self, id: &Digest) {
        let _ = rustix::fs::unlinkat(&self.fd, entry::name(id), AtFlags::empty());
    }
}

/// Touches the tag and returns the time it got.
fn touch_tag(directory: &OwnedFd) -> io::Result<Timespec> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::openat(directory, TAG, flags, Mode::from_raw_mode(0o666))?;
    rustix::fs::futimens(&file, &BOTH_NOW)?;
    let mut file = File::from(file);
    if file.metadata()?.len() == 0 {
        file.write_all(TAG_TEXT)?;
    }
    let stat = rustix::fs::fstat(&file)?;
    Ok(Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ })
}
