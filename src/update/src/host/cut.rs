//! Cutting files into blocks: the own blocks of a squashfs, and pieces of other files that their contents decide.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use fastcdc::v2020::StreamCDC;
use skiff_disk::error::Io;
use skiff_disk::fs::squashfs::block_boundaries;
use skiff_disk::value::Digest;

use super::MakeError;
use crate::bundle::{BLOCK_MAX, BlockId};
use crate::statement::Sum;

/// Bytes of a piece: fewest, on average, most. Measured on an initramfs: 4 KiB on average finds 0.6 % more of what is
/// equal, for an index of four times the size.
const PIECE: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];

const SQUASHFS_MAGIC: &[u8; 4] = b"hsqs";

/// The blocks of a file.
pub(super) struct Cut {
    pub(super) sum: Sum,
    pub(super) blocks: Vec<(usize, BlockId)>,
}

/// Cuts a file.
pub(super) fn blocks(path: &Path) -> Result<Cut, MakeError> {
    let read = |error| MakeError::from(Io::on("read", path)(error));
    let mut file = File::open(path).map_err(Io::on("open", path))?;
    let len = file.metadata().map_err(Io::on("look at", path))?.len();
    let places = match is_squashfs(&mut file).map_err(read)? {
        true => block_boundaries(BufReader::new(&file))
            .map_err(|source| MakeError::Squashfs { path: path.into(), source })?,
        false => Vec::new(),
    };
    file.seek(SeekFrom::Start(0)).map_err(read)?;
    let mut reader = BufReader::new(file);
    let mut cut = Cut { sum: Sum { len, blake3: Digest::default() }, blocks: Vec::new() };
    let mut hasher = blake3::Hasher::new();
    let mut push = |bytes: &[u8]| {
        hasher.update(bytes);
        cut.blocks.push((bytes.len(), BlockId::of(bytes)));
    };
    let mut start = 0;
    for end in places.into_iter().filter(|place| *place > 0 && *place <= len) {
        let part = end - start;
        start = end;
        // What is longer than any block is no block, but what somebody has put between two.
        if part > BLOCK_MAX as u64 {
            pieces(&mut (&mut reader).take(part), &mut push).map_err(read)?;
            continue;
        }
        let mut bytes = vec![0; part as usize];
        reader.read_exact(&mut bytes).map_err(read)?;
        push(&bytes);
    }
    pieces(&mut reader, &mut push).map_err(read)?;
    let found: u64 = cut.blocks.iter().map(|(len, _)| *len as u64).sum();
    if found != len {
        return Err(MakeError::Changed(path.into()));
    }
    cut.sum.blake3 = hasher.finalize().into();
    Ok(cut)
}

fn is_squashfs(file: &mut File) -> io::Result<bool> {
    let mut magic = Vec::new();
    file.take(SQUASHFS_MAGIC.len() as u64).read_to_end(&mut magic)?;
    Ok(magic == SQUASHFS_MAGIC)
}

/// Cuts all that is left of a reader where its contents say so.
fn pieces(reader: &mut dyn Read, push: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let [min, average, max] = PIECE;
    for piece in StreamCDC::new(reader, min, average, max) {
        push(&piece?.data);
    }
    Ok(())
}
