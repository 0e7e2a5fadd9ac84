//! Files that have their old contents or their new ones, whenever power is lost.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use crate::failure::{Failure, Result};

/// Gives `path` the contents, with mode and owner of the file that is replaced, else `mode`. Without a change nothing is written.
/// Reports whether there was one.
pub(crate) fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<bool> {
    if fs::read(path).is_ok_and(|before| before == contents) {
        return Ok(false);
    }
    write(path, contents, mode).map_err(|error| Failure::file("write", path, error))?;
    Ok(true)
}

fn write(path: &Path, contents: &[u8], mut mode: u32) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::Builder::new().prefix(".skiff-core-").tempfile_in(directory)?;
    file.write_all(contents)?;
    if let Ok(before) = fs::symlink_metadata(path).map(|before| (before.mode(), before.uid(), before.gid())) {
        mode = before.0 & 0o7777;
        fchown(file.as_file(), Some(before.1), Some(before.2))?;
    }
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}
