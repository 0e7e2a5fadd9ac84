//! A disk image as a `.zst`: independent frames of 16 MiB each (RFC 8878, section 3.1), so that both sides can
//! work in parallel and the bytes do not depend on the number of threads.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;

use crate::error::{Error, Io};
use crate::interrupt::Interrupt;
use crate::storage::{AtomicFile, Record};

/// Bytes of the image in one frame.
const FRAME: u64 = 16 << 20;
/// Frames that are compressed at a time: bounds the memory.
const BATCH: usize = 8;

/// Compresses the file `image` to `out` under a temporary name that becomes the final one at the end. What `record`
/// does not know was never written, and is zero without being read.
pub fn compress(
    image: &Path,
    record: &Record,
    out: &Path,
    level: i32,
    interrupt: &Interrupt,
) -> Result<u64, Error> {
    let input = File::open(image).map_err(Io::on("open", image))?;
    let len = input.metadata().map_err(Io::on("read", image))?.len();
    let mut temporary = temporary_beside(out)?;
    temporary.restrict_as(&input).map_err(Io::on("set the mode of", out))?;
    let zeros = frame(&vec![0; FRAME as usize], level).map_err(Io::on("compress", image))?;
    let starts: Vec<u64> = (0..len).step_by(FRAME as usize).collect();
    for batch in starts.chunks(BATCH) {
        interrupt.ensure_not_raised("compressing", &image.display().to_string())?;
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

/// Returns whether something that is not zero was written between two offsets.
fn holds_data(record: &Record, start: u64, end: u64) -> bool {
    let first = record.extents.partition_point(|extent| extent.range().end <= start);
    let near = record.extents[first..].iter().take_while(|extent| extent.offset < end);
    near.into_iter().any(|extent| extent.blake3.is_some())
}

/// A file without a name in the directory of `path`, with the permissions that a new file has under the user's umask.
pub fn temporary_beside(path: &Path) -> Result<AtomicFile, Io> {
    AtomicFile::beside(path)
}

/// Gives a finished temporary file its name, safely on disk first.
pub fn publish(temporary: AtomicFile, path: &Path) -> Result<(), Io> {
    temporary.publish(path, true)
}

fn frame(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(true)?;
    compressor.compress(bytes)
}
