//! A bundle that is there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use skiff_disk::error::Io;
use skiff_disk::storage::AtomicFile;

use super::MakeError;
use crate::bundle::{Block, BlockId, BlockSource, Head, Kind, Payload};
use crate::delta::{DeltaPayload, System};
use crate::keys::Root;

/// A bundle whose blocks can be read.
pub struct OpenBundle {
    path: PathBuf,
    head: Head,
    file: File,
    /// Where each file begins.
    starts: Vec<u64>,
}

/// What [`OpenBundle::check`] has looked at.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The head, whose signatures are good.
    pub head: Head,
    /// Whether all blocks were compared with the index too; those of a delta need the bundle it was made from.
    pub blocks: bool,
}

impl OpenBundle {
    /// Opens a bundle, which keys of `root` or of roots in it that follow must have signed.
    pub fn open(path: &Path, root: &Root) -> Result<OpenBundle, MakeError> {
        OpenBundle::with(path, |file| Head::read(file, root))
    }

    /// Opens a bundle without a look at its signatures: devices look at them.
    pub fn open_unsigned(path: &Path) -> Result<OpenBundle, MakeError> {
        OpenBundle::with(path, |file| Head::read_unsigned(file))
    }

    fn with(
        path: &Path,
        read: impl FnOnce(&mut &File) -> Result<Head, crate::bundle::BundleError>,
    ) -> Result<OpenBundle, MakeError> {
        let file = File::open(path).map_err(Io::on("open", path))?;
        let head = read(&mut &file).map_err(|source| MakeError::Bundle { path: path.into(), source })?;
        let mut starts = vec![head.parts.to_bytes(head.kind).len() as u64];
        for file in &head.statement.files {
            starts.push(starts[starts.len() - 1] + file.sum.len);
        }
        Ok(OpenBundle { path: path.into(), head, file, starts })
    }

    /// Its head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a block; fails if it is not the one of the index, or if this is a delta.
    pub fn read(&self, block: &Block, out: &mut Vec<u8>) -> io::Result<()> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        if self.head.kind == Kind::Delta {
            return Err(wrong("it is a delta, which has no files".into()));
        }
        out.resize(block.len, 0);
        self.file.read_exact_at(out, self.starts[block.file] + block.offset)?;
        if BlockId::of(out) == block.id {
            return Ok(());
        }
        let name = &self.head.statement.files[block.file].name;
        Err(wrong(format!(
            "the block at byte {} of `{name}` is not the one that was signed: its digest is another one",
            block.offset
        )))
    }

    /// Checks signatures, reads all blocks, and compares them with the index. The blocks of a delta come from it and
    /// from `old`, and are only looked at if that is given.
    pub fn check(path: &Path, root: &Root, old: Option<&OpenBundle>) -> Result<Checked, MakeError> {
        let mut file = io::BufReader::new(File::open(path).map_err(Io::on("open", path))?);
        let wrong = |source| MakeError::Bundle { path: path.into(), source };
        let head = Head::read(&mut file, root).map_err(wrong)?;
        let blocks = match (head.kind, old) {
            (Kind::Bundle, _) => {
                drain(&head, &mut Payload::new(&mut file, &head), &mut |_, _| Ok(())).map_err(wrong)?;
                true
            }
            (Kind::Delta, Some(old)) => {
                check_delta(path, &head, &mut file, old)?;
                true
            }
            (Kind::Delta, None) => false,
        };
        Ok(Checked { head, blocks })
    }
}

/// Takes all blocks of a source, and gives each to `keep`.
fn drain(
    head: &Head,
    source: &mut dyn BlockSource,
    keep: &mut dyn FnMut(&Block, &[u8]) -> io::Result<()>,
) -> Result<(), crate::bundle::BundleError> {
    let mut out = Vec::new();
    for block in head.index.blocks() {
        source.next(block, &mut out)?;
        keep(block, &out).map_err(crate::bundle::BundleError::Read)?;
    }
    source.end()
}

/// Makes the system of a delta in a file without a name, because its blocks may be made from one another.
fn check_delta(
    path: &Path,
    head: &Head,
    stream: &mut dyn io::Read,
    old: &OpenBundle,
) -> Result<(), MakeError> {
    let made = AtomicFile::beside(path)?;
    let place = |block: &Block| {
        let before = &head.statement.files[..block.file];
        before.iter().map(|file| file.sum.len).sum::<u64>() + block.offset
    };
    let lookup = |system, block: &Block, out: &mut Vec<u8>| match system {
        System::Good => old.read(block, out),
        System::New => made.as_file().read_exact_at(out, place(block)),
    };
    let mut source = DeltaPayload::new(stream, head, Some(&old.head), &lookup);
    let mut keep = |block: &Block, bytes: &[u8]| made.as_file().write_all_at(bytes, place(block));
    drain(head, &mut source, &mut keep).map_err(|source| MakeError::Bundle { path: path.into(), source })
}
