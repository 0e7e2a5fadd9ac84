//! A file that has no name until it is complete, so that nothing is left of it however the program ends.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Io;

/// A file in the directory of its later name. It has none yet (`O_TMPFILE`), or a temporary one where the filesystem
/// cannot do that; that one is removed when this is dropped.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    /// Its temporary name.
    named: Option<tempfile::TempPath>,
}

/// As any other new file; the umask is applied by the system.
const MODE: u32 = 0o666;

impl AtomicFile {
    /// An empty file for reading and writing in the directory of `path`.
    pub fn beside(path: &Path) -> Result<AtomicFile, Io> {
        let directory = directory_of(path);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(directory, flags, Mode::from_raw_mode(MODE)).map(File::from) {
            // Without `/proc` it could never get a name.
            Ok(file) if path_of(&file).exists() => Ok(AtomicFile { file, named: None }),
            Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => AtomicFile::named(path),
            Err(errno) => Err(Io::on("create a file in", directory)(errno.into())),
        }
    }

    /// The same with a temporary name.
    fn named(path: &Path) -> Result<AtomicFile, Io> {
        let directory = directory_of(path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let made = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(directory);
        let (file, named) = made.map_err(Io::on("create a file in", directory))?.into_parts();
        Ok(AtomicFile { file, named: Some(named) })
    }

    /// The file.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// Lets nobody but the owner read or write the file, now and under its name.
    pub fn restrict(&self) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(0o600))
    }

    /// Lets those read the file that may read `other`, and no one else.
    pub fn restrict_as(&self, other: &File) -> io::Result<()> {
        self.file.set_permissions(other.metadata()?.permissions())
    }

    /// Path by which the file can be opened a second time, as long as this is not dropped.
    pub fn path(&self) -> PathBuf {
        self.named.as_ref().map_or_else(|| path_of(&self.file), |named| named.to_path_buf())
    }

    /// Makes the bytes durable, gives the file its name and makes that durable. Whatever happens meanwhile, under
    /// `path` there is what was there before or the whole file. Without `replace` an older file stays, and that is
    /// an error.
    pub fn publish(self, path: &Path, replace: bool) -> Result<(), Io> {
        self.file.sync_all().map_err(Io::on("sync", path))?;
        self.give_name(path, replace).map_err(Io::on("write", path))?;
        sync_directory(path)
    }

    fn give_name(self, path: &Path, replace: bool) -> io::Result<()> {
        if let Some(named) = self.named {
            let renamed = if replace { named.persist(path) } else { named.persist_noclobber(path) };
            return renamed.map_err(|error| error.error);
        }
        match link(&self.file, path) {
            Err(Errno::EXIST) if replace => {}
            linked => {
                linked?;
                // Some filesystems do not note what belongs to a file that has no name.
                return self.file.sync_all();
            }
        }
        let temporary = temporary_name(path);
        // One that is there was left by a program that was killed just here.
        link(&self.file, &temporary).or_else(|errno| match errno {
            Errno::EXIST => {
                std::fs::remove_file(&temporary)?;
                Ok(link(&self.file, &temporary)?)
            }
            errno => Err(io::Error::from(errno)),
        })?;
        let named = self.file.sync_all().and_then(|()| std::fs::rename(&temporary, path));
        named.inspect_err(|_| _ = std::fs::remove_file(&temporary))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes the names in the directory of `path` durable.
pub fn sync_directory(path: &Path) -> Result<(), Io> {
    let directory = directory_of(path);
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Io::on("sync the directory", directory))
}

/// The directory that holds `path`.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The hidden name that a file has for a moment before it replaces another one, always the same, so that at most one
/// is ever left.
fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    directory_of(path).join(format!(".{name}.part"))
}

/// An open file by a path (`proc(5)`).
fn path_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn link(file: &File, path: &Path) -> rustix::io::Result<()> {
    rustix::fs::linkat(CWD, path_of(file), CWD, path, AtFlags::SYMLINK_FOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a file each way, and gives it its name.
    #[test]
    fn with_and_without_a_temporary_name_it_is_the_same() {
        for make in [AtomicFile::beside, AtomicFile::named] {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("file");
            let count = || std::fs::read_dir(directory.path()).expect("lists").count();
            let draft = |text: &str| {
                let mut draft = make(&path).expect("creates");
                draft.write_all(text.as_bytes()).expect("writes");
                draft
            };
            drop(draft("dropped"));
            assert_eq!(count(), 0);
            draft("first").publish(&path, false).expect("a new file");
            let message = draft("second").publish(&path, false).expect_err("it exists").to_string();
            assert_eq!(message, format!("cannot write `{}`: File exists (os error 17)", path.display()));
            assert_eq!((std::fs::read(&path).expect("reads"), count()), (b"first".to_vec(), 1));
            std::fs::write(temporary_name(&path), "left behind").expect("writes");
            draft("third").publish(&path, true).expect("replaces");
            assert_eq!(std::fs::read(&path).expect("reads"), b"third");
            let _ = std::fs::remove_file(temporary_name(&path));
            assert_eq!(count(), 1);
        }
    }

    #[test]
    fn a_file_without_a_name_can_be_opened_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut draft = AtomicFile::beside(&directory.path().join("file")).expect("creates");
        draft.write_all(b"bytes").expect("writes");
        assert_eq!(std::fs::read(draft.path()).expect("reads"), b"bytes");
        if draft.named.is_none() {
            assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 0);
        }
    }
}
