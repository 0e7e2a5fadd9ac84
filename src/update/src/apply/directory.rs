//! Slots that are directories of mounted filesystems.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, fstatfs, fstatvfs, syncfs};
use skiff_disk::error::{Diagnostic, Io};
use skiff_disk::storage::{ReadOnly, Target as _, TargetError, sync_directory};

use super::store::{Room, Store};
use crate::Slot;
use crate::state::{Copy, Sectors, record};

/// Magic number of ext2, ext3 and ext4 in `statfs` (`EXT4_SUPER_MAGIC`).
const EXT4_MAGIC: u64 = 0xef53;

/// Where a device has its state record and its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The two files of the state record, which are there already, of 512 bytes.
    pub state: [PathBuf; 2],
    /// Directory with the directories `a` and `b`.
    pub slots: PathBuf,
    /// Files that are below another such directory, with that directory.
    pub elsewhere: Vec<(String, PathBuf)>,
}

/// The state record and the slots of a device, on its mounted filesystems.
pub struct Directory {
    places: Places,
    /// Files that are open for writing.
    written: RefCell<BTreeMap<(&'static str, String), File>>,
    /// Files that are open for reading from the medium.
    read: RefCell<BTreeMap<(&'static str, String), ReadOnly>>,
    _lock: Option<File>,
}

/// Why the slots cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum DirectoryError {
    /// Another program updates.
    #[error("another update is going on in `{}`", .0.display())]
    #[diagnostic(hint = "wait until it has ended", code = "locked")]
    Locked(PathBuf),
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

impl Directory {
    /// Opens the places for looking at them.
    pub fn open(places: Places) -> Directory {
        Directory { places, written: RefCell::default(), read: RefCell::default(), _lock: None }
    }

    /// Opens the places for changing them. Nobody else can until the program has ended.
    pub fn lock(places: Places) -> Result<Directory, DirectoryError> {
        let lock = File::open(&places.slots).map_err(Io::on("open", &places.slots))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Directory { _lock: Some(lock), ..Directory::open(places) }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::Locked(places.slots)),
            Err(errno) => Err(Io::on("lock", &places.slots)(errno.into()).into()),
        }
    }

    /// Directory of a file in a slot.
    fn directory(&self, slot: Slot, name: &str) -> PathBuf {
        let elsewhere = self.places.elsewhere.iter().find(|(file, _)| file == name);
        elsewhere.map_or(&self.places.slots, |(_, directory)| directory).join(slot.name())
    }

    fn path(&self, slot: Slot, name: &str) -> PathBuf {
        self.directory(slot, name).join(name)
    }

    /// All directories of a slot.
    fn directories(&self, slot: Slot) -> Vec<PathBuf> {
        let elsewhere = self.places.elsewhere.iter().map(|(_, directory)| directory);
        let mut all: Vec<PathBuf> = [&self.places.slots]
            .into_iter()
            .chain(elsewhere)
            .map(|directory| directory.join(slot.name()))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn close(&self, slot: Slot, name: &str) {
        let key = (slot.name(), name.to_owned());
        self.written.borrow_mut().remove(&key);
        self.read.borrow_mut().remove(&key);
    }

    fn with_writer<T>(
        &self,
        slot: Slot,
        name: &str,
        work: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        let key = (slot.name(), name.to_owned());
        let mut written = self.written.borrow_mut();
        if !written.contains_key(&key) {
            let path = self.path(slot, name);
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            written.insert(key.clone(), file);
        }
        self.read.borrow_mut().remove(&key);
        work(&written[&key])
    }

    fn state_path(&self, copy: Copy) -> &Path {
        &self.places.state[usize::from(copy == Copy::Second)]
    }
}

impl Sectors for Directory {
    fn read(&self, copy: Copy) -> io::Result<[u8; record::LEN]> {
        let mut sector = [0; record::LEN];
        let file = ReadOnly::open(self.state_path(copy)).map_err(io::Error::other)?;
        file.read_back(&mut sector, 0).map_err(from_target)?;
        Ok(sector)
    }

    fn write(&self, copy: Copy, sector: &[u8; record::LEN]) -> io::Result<()> {
        // In place: neither length nor place of the file change, so one sector is all that does.
        let file = OpenOptions::new().write(true).open(self.state_path(copy))?;
        let len = file.metadata()?.len();
        if len != record::LEN as u64 {
            return Err(io::Error::other(format!("it has {len} bytes, a state record has {}", record::LEN)));
        }
        file.write_all_at(sector, 0)?;
        file.sync_all()
    }

    fn sync(&self) -> io::Result<()> {
        let directory = self.state_path(Copy::First).parent().unwrap_or(Path::new("/"));
        Ok(syncfs(File::open(directory)?)?)
    }
}

impl Store for Directory {
    fn len(&self, slot: Slot, name: &str) -> io::Result<Option<u64>> {
        match fs::symlink_metadata(self.path(slot, name)) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(io::Error::other("it is no regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn names(&self, slot: Slot) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for directory in self.directories(slot) {
            for entry in fs::read_dir(directory)? {
                let name = entry?.file_name().into_string();
                names.push(
                    name.map_err(|name| {
                        io::Error::other(format!("`{}` is no name of ours", name.display()))
                    })?,
                );
            }
        }
        Ok(names)
    }

    fn read_at(&self, slot: Slot, name: &str, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self.written.borrow().get(&(slot.name(), name.to_owned())) {
            Some(file) => file.read_exact_at(buf, offset),
            None => File::open(self.path(slot, name))?.read_exact_at(buf, offset),
        }
    }

    fn read_back(&self, slot: Slot, name: &str, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let key = (slot.name(), name.to_owned());
        let mut read = self.read.borrow_mut();
        if !read.contains_key(&key) {
            let file = ReadOnly::open(&self.path(slot, name)).map_err(io::Error::other)?;
            read.insert(key.clone(), file);
        }
        read[&key].read_back(buf, offset).map_err(from_target)
    }

    /// A file grows as it is written: vfat would fill it with zeros first.
    fn create(&self, slot: Slot, name: &str, len: u64) -> io::Result<()> {
        self.with_writer(
            slot,
            name,
            |file| if file.metadata()?.len() > len { file.set_len(len) } else { Ok(()) },
        )
    }

    fn write_at(&self, slot: Slot, name: &str, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with_writer(slot, name, |file| file.write_all_at(bytes, offset))
    }

    fn remove(&self, slot: Slot, name: &str) -> io::Result<()> {
        self.close(slot, name);
        for directory in self.directories(slot) {
            match fs::remove_file(directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn settle(&self, slot: Slot) -> io::Result<()> {
        // The files are closed, so that those of a whole system are not open for writing when it is mounted.
        for (_, file) in std::mem::take(&mut *self.written.borrow_mut()) {
            file.sync_all()?;
        }
        for directory in self.directories(slot) {
            sync_directory(&directory).map_err(|error| error.source)?;
            let directory = File::open(&directory)?;
            syncfs(&directory)?;
            if fstatfs(&directory)?.f_type as u64 == EXT4_MAGIC {
                freeze::empty_journal(&directory)?;
            }
        }
        Ok(())
    }

    fn room(&self, slot: Slot, files: &[(&str, u64)]) -> io::Result<Vec<Room>> {
        let mut rooms: BTreeMap<u64, Room> = BTreeMap::new();
        for (name, len) in files {
            let directory = self.directory(slot, name);
            let opened = File::open(&directory)?;
            let statistics = fstatvfs(&opened)?;
            let room = rooms.entry(opened.metadata()?.dev()).or_insert_with(|| Room {
                place: directory.display().to_string(),
                need: 0,
                have: statistics.f_bavail * statistics.f_frsize,
                files: 0,
                inodes: (statistics.f_files > 0).then_some(statistics.f_favail),
            });
            let unit = statistics.f_frsize.max(1);
            let there = self.len(slot, name)?;
            let units = |len: u64| len.next_multiple_of(unit);
            room.need += units(*len).saturating_sub(there.map_or(0, units));
            room.files += u64::from(there.is_none());
        }
        Ok(rooms.into_values().collect())
    }
}

/// The system's own answer, which says more than what was tried.
fn from_target(error: TargetError) -> io::Error {
    match error {
        TargetError::Io { source, .. } => source,
        other => io::Error::other(other),
    }
}

/// The journal of ext4, which boot loaders do not read.
mod freeze {
    use std::fs::File;
    use std::io;

    use rustix::io::Errno;
    use rustix::ioctl::{IntegerSetter, Opcode, ioctl, opcode};

    /// `FIFREEZE` and `FITHAW` of `linux/fs.h`.
    const FREEZE: Opcode = opcode::read_write::<std::ffi::c_int>(b'X', 119);
    const THAW: Opcode = opcode::read_write::<std::ffi::c_int>(b'X', 120);

    /// Freezes and thaws a filesystem, which writes everything from its journal to its place. ostree does the same
    /// before it relies on a boot loader. Where it cannot be done (without the right to, or on a layer of another
    /// filesystem that says it is ext4), what was synced is safe, but a loader may not see it.
    pub(super) fn empty_journal(directory: &File) -> io::Result<()> {
        // SAFETY: the argument is not looked at (`ioctl_fsfreeze` and `ioctl_fsthaw` of Linux).
        let (freeze, thaw) =
            unsafe { (IntegerSetter::<FREEZE>::new_usize(0), IntegerSetter::<THAW>::new_usize(0)) };
        // SAFETY: as above; the descriptor is open.
        match unsafe { ioctl(directory, freeze) } {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::PERM | Errno::BUSY) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        // SAFETY: as above.
        Ok(unsafe { ioctl(directory, thaw) }?)
    }
}
