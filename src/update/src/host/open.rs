//! A bundle that is there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use skiff_disk::error::Io;

use super::MakeError;
use crate::bundle::{Block, BlockSource as _, Head, Payload};
use crate::keys::Root;

/// A bundle whose signatures were checked, and whose blocks can be read.
pub struct OpenBundle {
    head: Head,
    file: File,
    /// Where each file begins.
    starts: Vec<u64>,
}

impl OpenBundle {
    /// Opens a bundle, which keys of `root` or of roots in it that follow must have signed.
    pub fn open(path: &Path, root: &Root) -> Result<OpenBundle, MakeError> {
        let file = File::open(path).map_err(Io::on("open", path))?;
        let wrong = |source| MakeError::Bundle { path: path.into(), source };
        let head = Head::read(&mut &file, root).map_err(wrong)?;
        let mut starts = vec![head.parts.to_bytes(head.kind).len() as u64];
        for file in &head.statement.files {
            starts.push(starts[starts.len() - 1] + file.sum.len);
        }
        Ok(OpenBundle { head, file, starts })
    }

    /// Its head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Reads a block.
    pub fn read(&self, block: &Block, out: &mut Vec<u8>) -> io::Result<()> {
        out.resize(block.len, 0);
        self.file.read_exact_at(out, self.starts[block.file] + block.offset)
    }

    /// Reads all blocks, and compares them with the index.
    pub fn check(path: &Path, root: &Root) -> Result<Head, MakeError> {
        let mut file = io::BufReader::new(File::open(path).map_err(Io::on("open", path))?);
        let wrong = |source| MakeError::Bundle { path: path.into(), source };
        let head = Head::read(&mut file, root).map_err(wrong)?;
        let mut payload = Payload::new(&mut file, &head);
        let mut out = Vec::new();
        let mut blocks = head.index.blocks().iter();
        let read = blocks.try_for_each(|block| payload.next(block, &mut out));
        read.and_then(|()| payload.end()).map_err(wrong)?;
        Ok(head)
    }
}
