//! Files that are there wholly or not at all, and that keep their time if they stay what they are: make builds again
//! what depends on a file with a newer time.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::Io;
use crate::storage::AtomicFile;

/// Writes a file whose contents or executability would change; says whether it did. The directories that lead to it
/// are made.
pub fn write_changed(path: &Path, bytes: &[u8], executable: bool) -> Result<bool, Io> {
    let is = match fs::read(path) {
        Ok(found) => found == bytes && is_plain_and(executable, path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(Io::on("read", path)(error)),
    };
    if !is {
        replace(path, bytes, executable)?;
    }
    Ok(!is)
}

/// Writes a file in place of whatever file or link has its name.
pub fn replace(path: &Path, bytes: &[u8], executable: bool) -> Result<(), Io> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(Io::on("make the directory", directory))?;
    }
    let mut draft = AtomicFile::beside(path)?;
    draft.write_all(bytes).map_err(Io::on("write", path))?;
    if executable {
        let mode = fs::Permissions::from_mode(0o755);
        draft.as_file().set_permissions(mode).map_err(Io::on("change the mode of", path))?;
    }
    draft.publish(path, true)
}

fn is_plain_and(executable: bool, path: &Path) -> Result<bool, Io> {
    let metadata = path.symlink_metadata().map_err(Io::on("read", path))?;
    Ok(metadata.is_file() && (metadata.permissions().mode() & 0o100 != 0) == executable)
}
