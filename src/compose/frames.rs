//! A disk image as a `.zst`: independent frames of 16 MiB each (RFC 8878, section 3.1), so that both sides can
//! work in parallel and the bytes do not depend on the number of threads.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use rayon::prelude::*;
use tempfile::NamedTempFile;

use crate::error::{Error, Io};
use crate::target::Record;

/// Bytes of the image in one frame.
const FRAME: u64 = 16 << 20;
/// Frames that are compressed at a time: bounds the memory.
const BATCH: usize = 8;

/// Compresses the file `image` to `out` under a temporary name that becomes the final one at the end. What `record`
/// does not know was never written, and is zero without being read.
pub fn compress(image: &Path, record: &Record, out: &Path, level: i32) -> Result<u64, Error> {
    let input = File::open(image).map_err(Io::on("open", image))?;
    let len = input.metadata().map_err(Io::on("read", image))?.len();
    let mut temporary = temporary_beside(out)?;
    let zeros = frame(&vec![0; FRAME as usize], level).map_err(Io::on("compress", image))?;
    let starts: Vec<u64> = (0..len).step_by(FRAME as usize).collect();
    for batch in starts.chunks(BATCH) {
        let one = |start: &u64| -> io::Result<Vec<u8>> {
            let end = len.min(start + FRAME);
            if end - start == FRAME && !holds_data(record, *start, end) {
                return Ok(zeros.clone());
            }
            let mut bytes = vec![0; (end - start) as usize];
            input.read_exact_at(&mut bytes, *start)?;
            frame(&bytes, level)
        };
        let frames: Vec<io::Result<Vec<u8>>> = batch.par_iter().map(one).collect();
        for frame in frames {
            let frame = frame.map_err(Io::on("compress", image))?;
            temporary.write_all(&frame).map_err(Io::on("write", out))?;
        }
    }
    let written = temporary.as_file().metadata().map_err(Io::on("write", out))?.len();
    publish(temporary, out)?;
    Ok(written)
}

/// Whether something that is not zero was written between two offsets.
fn holds_data(record: &Record, start: u64, end: u64) -> bool {
    let first = record.extents.partition_point(|extent| extent.range().end <= start);
    let near = record.extents[first..].iter().take_while(|extent| extent.offset < end);
    near.into_iter().any(|extent| extent.blake3.is_some())
}

/// A temporary file in the directory of `path`, with the permissions that a new file has under the user's umask.
pub fn temporary_beside(path: &Path) -> Result<NamedTempFile, Io> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = Permissions::from_mode(0o666);
    let temporary = tempfile::Builder::new().permissions(permissions).tempfile_in(directory);
    temporary.map_err(Io::on("write", path))
}

/// Gives a finished temporary file its name, safely on disk first.
pub fn publish(temporary: NamedTempFile, path: &Path) -> Result<(), Io> {
    temporary.as_file().sync_all().map_err(Io::on("write", path))?;
    temporary.persist(path).map_err(|error| Io { verb: "write", path: path.into(), source: error.error })?;
    Ok(())
}

fn frame(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(true)?;
    compressor.compress(bytes)
}
