//! All that a build prints, in a file; the log of the build before stays beside it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::Io;

/// A log that is being written.
pub(super) struct Log {
    out: BufWriter<File>,
    path: PathBuf,
}

impl Log {
    /// Begins one; that of the build before gets `.1` behind its name.
    pub(super) fn begin(path: &Path) -> Result<Log, Io> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(Io::on("make", directory))?;
        }
        let before = older(path);
        match fs::rename(path, &before) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Io::on("write", before)(error));
            }
            _ => {}
        }
        let out = BufWriter::new(File::create_new(path).map_err(Io::on("write", path))?);
        Ok(Log { out, path: path.into() })
    }

    /// Adds a line. Who follows the log sees it when a step begins, or some kilobytes later.
    pub(super) fn add(&mut self, line: &str, now: bool) -> Result<(), Io> {
        let written = writeln!(self.out, "{line}");
        let flushed = written.and_then(|()| if now { self.out.flush() } else { Ok(()) });
        flushed.map_err(Io::on("write", &self.path))
    }

    /// Has all of it written.
    pub(super) fn end(mut self) -> Result<(), Io> {
        self.out.flush().map_err(Io::on("write", &self.path))
    }
}

/// Path of the log of the build before.
pub fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}
