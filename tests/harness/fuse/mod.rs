//! A [`Target`] as a real block device: a FUSE filesystem of one file, and a loop device over that file which
//! hands on what it is asked for as it is (`--direct-io`), so that the kernel's caches are those of the block
//! device alone, as with a card in a reader.
//!
//! What reaches [`Target::write_at`] is what reached "the medium", and what [`Target::read_back`] answers is what
//! the medium holds.

pub mod killer;
pub mod throttled;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, Session, WriteFlags,
};

use super::tools::command;
use super::{loopdev, machine};
use skiff_image::storage::{Target, TargetError};

/// The only file.
const NAME: &str = "medium";
const INODE: INodeNo = INodeNo(2);
/// Nothing changes behind the kernel's back.
const FOREVER: Duration = Duration::from_secs(1 << 20);
/// Requests that are served at once.
const THREADS: usize = 16;

/// Modes of `fallocate`, of `linux/falloc.h`.
const KEEP_SIZE: i32 = 0x01;
const PUNCH_HOLE: i32 = 0x02;
const ZERO_RANGE: i32 = 0x10;

/// How the device looks.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of a logical sector.
    pub sector_size: u32,
    /// Whether it zeroes ranges by itself; memory cards do not, and then the kernel sends zeros.
    pub zeroes: bool,
    /// Whether the kernel looks for partitions.
    pub partitions: bool,
}

/// As most memory cards.
pub const CARD: Options = Options { sector_size: 512, zeroes: false, partitions: false };

/// A block device that ends with this value.
pub struct BlockDevice {
    /// `/dev/loopN`.
    pub path: PathBuf,
    session: Option<BackgroundSession>,
    directory: Option<tempfile::TempDir>,
}

/// Why there can be no such device here.
pub fn obstacle() -> Option<&'static str> {
    let there = |path: &str| Path::new(path).exists();
    match () {
        () if !rustix::process::geteuid().is_root() => Some("block devices need root"),
        () if !there("/dev/fuse") => Some("`/dev/fuse` is missing"),
        () if !there("/dev/loop-control") => Some("`/dev/loop-control` is missing"),
        () => None,
    }
}

impl BlockDevice {
    /// Serves `medium`.
    pub fn new(medium: Arc<dyn Target>, options: Options) -> BlockDevice {
        let directory = tempfile::tempdir().expect("a mount point");
        let mut config = Config::default();
        (config.n_threads, config.clone_fd) = (Some(THREADS), true);
        let served = Served { medium, zeroes: options.zeroes };
        let session = Session::new(served, directory.path(), &config).and_then(Session::spawn);
        let session = session.expect("a FUSE filesystem is mounted");
        let path = attach(&directory.path().join(NAME), options);
        BlockDevice { path, session: Some(session), directory: Some(directory) }
    }
}

/// A loop device over `file` that does not cache it a second time.
fn attach(file: &Path, options: Options) -> PathBuf {
    let sector_size = options.sector_size.to_string();
    let mut words = vec!["--direct-io=on", "--sector-size", &sector_size];
    words.extend(options.partitions.then_some("--partscan"));
    let path = loopdev::attach(file, &words);
    let name = path.file_name().expect("a device").to_str().expect("a plain name");
    let direct = std::fs::read_to_string(format!("/sys/block/{name}/loop/dio")).expect("the state of a loop");
    assert_eq!(direct.trim(), "1", "{} caches what is below it", path.display());
    path
}

impl Drop for BlockDevice {
    fn drop(&mut self) {
        let lease = machine::loop_devices();
        let detached = command("losetup").arg("--detach").arg(&self.path).status();
        assert!(detached.is_ok_and(|status| status.success()) || std::thread::panicking(), "losetup");
        drop(lease);
        // A program that another test starts may hold a copy of every open file for a moment, and one that was killed
        // waits for a medium that hangs.
        let at = self.directory.take().expect("a mount point");
        let unmount =
            || command("umount").arg(at.path()).output().is_ok_and(|output| output.status.success());
        let wait = || std::thread::sleep(Duration::from_millis(50));
        let done = (0..600)
            .inspect(|tries| {
                if *tries > 0 {
                    wait()
                }
            })
            .any(|_| unmount());
        assert!(done || std::thread::panicking(), "umount");
        drop(self.session.take());
    }
}

/// What the kernel asks.
struct Served {
    medium: Arc<dyn Target>,
    zeroes: bool,
}

impl Served {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let (kind, size, perm) = match inode {
            INODE => (FileType::RegularFile, self.medium.geometry().len, 0o600),
            _ => (FileType::Directory, 0, 0o700),
        };
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn zero(&self, offset: u64, len: u64, mode: i32) -> Result<(), Errno> {
        match mode & !KEEP_SIZE {
            PUNCH_HOLE | ZERO_RANGE if self.zeroes => self.medium.zero(offset, len).map_err(errno),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }
}

/// What a device answers.
fn errno(error: TargetError) -> Errno {
    match error {
        TargetError::Io { source, .. } => Errno::from(source),
        _ => Errno::EIO,
    }
}

fn answer(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Served {
    /// Requests do not wait for each other: a real device has a queue, too.
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let refused = |_| io::Error::from(io::ErrorKind::Unsupported);
        config.add_capabilities(InitFlags::FUSE_ASYNC_DIO).map_err(refused)
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name.to_str() {
            Some(NAME) => reply.entry(&FOREVER, &self.attributes(INODE), Generation(0)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let rest = self.medium.geometry().len.saturating_sub(offset);
        let mut bytes = vec![0; rest.min(u64::from(size)) as usize];
        match self.medium.read_back(&mut bytes, offset) {
            Ok(()) => reply.data(&bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.medium.write_at(bytes, offset) {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(self.medium.sync().map_err(errno), reply);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        answer(self.zero(offset, len, mode), reply);
    }
}
