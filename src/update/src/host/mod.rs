//! What makes bundles and deltas, on a host.
//!
//! ```text
//! Recipe + files -> Prepared   blocks, digests, the statement to sign
//! Prepared + signatures -> bundle
//! bundle + bundle -> delta
//! ```
//!
//! The same recipe and files give the same bytes. Who signs, and with what, is the affair of the caller: `ssh-keygen -Y
//! sign` with a file, an agent or a key in hardware makes a signature of [`Prepared::text`].

#![allow(clippy::result_large_err, reason = "one for each run, and nothing is done often")]

mod cut;
mod open;
#[cfg(test)]
mod tests;

pub use open::{Checked, OpenBundle};

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use skiff_disk::error::{Diagnostic, Io};
use skiff_disk::fs::squashfs::SquashfsError;
use skiff_disk::value::Arch;

use crate::bundle::{BundleError, Index, Kind, Parts};
use crate::delta::write as delta;
use crate::keys::{Root, Signature, SignedRoot, TrustError};
use crate::statement::{self, AGENT, STATEMENT_NAMESPACE, Statement, Sum};
use crate::text::TextError;

/// What a bundle is to be.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Boards that the system is for.
    pub boards: Vec<String>,
    /// Its architecture.
    pub arch: Arch,
    /// Ways of starting slots that it is made for.
    pub loaders: Vec<String>,
    /// Version for people.
    pub version: String,
    /// Number that rises from release to release.
    pub sequence: u64,
    /// Root whose keys will sign.
    pub root: Root,
    /// Roots since the one that devices may still have.
    pub roots: Vec<SignedRoot>,
    /// Names in the slot, and where the files are.
    pub files: Vec<(String, PathBuf)>,
}

/// A bundle that was not signed yet.
#[derive(Clone, Debug)]
pub struct Prepared {
    statement: Statement,
    index: Vec<u8>,
    root: Root,
    roots: Vec<SignedRoot>,
    files: Vec<PathBuf>,
}

/// Why a bundle cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum MakeError {
    /// The statement would be none.
    #[error("no such statement can be made: {0}")]
    #[diagnostic(
        hint = "the line is that of the statement: mend what it is made from",
        code = "bad-statement"
    )]
    Statement(#[source] TextError),
    /// A signature does not count.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Trust(#[from] TrustError),
    /// A bundle that was read cannot be used.
    #[error("`{}`: {source}", path.display())]
    #[diagnostic(transparent)]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BundleError,
    },
    /// An image cannot be read.
    #[error("`{}`: {source}", path.display())]
    #[diagnostic(transparent)]
    Squashfs {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SquashfsError,
    },
    /// A file changed.
    #[error("`{}` changed while the bundle was made", .0.display())]
    #[diagnostic(hint = "make the bundle when nothing writes to the file", code = "changed")]
    Changed(PathBuf),
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

/// Reads the files, and makes the statement.
pub fn prepare(recipe: Recipe) -> Result<Prepared, MakeError> {
    let (mut files, mut blocks) = (Vec::new(), Vec::new());
    for (name, path) in &recipe.files {
        let cut = cut::blocks(path)?;
        files.push(statement::File { name: name.clone(), sum: cut.sum });
        blocks.extend(cut.blocks);
    }
    let index = Index::encode(blocks.iter().map(|(len, id)| (*len, id)));
    let statement = Statement {
        boards: recipe.boards,
        arch: recipe.arch,
        loaders: recipe.loaders,
        version: recipe.version,
        sequence: recipe.sequence,
        epoch: recipe.root.epoch,
        agent: AGENT,
        roots: Parts::roots_sum(&recipe.roots),
        index: Sum::of(&index),
        files,
    };
    // What a device would refuse is not made.
    Statement::parse(statement.to_text().as_bytes()).map_err(MakeError::Statement)?;
    let files = recipe.files.into_iter().map(|(_, path)| path).collect();
    Ok(Prepared { statement, index, root: recipe.root, roots: recipe.roots, files })
}

impl Prepared {
    /// Text to sign, in the namespace [`STATEMENT_NAMESPACE`].
    pub fn text(&self) -> String {
        self.statement.to_text()
    }

    /// The statement.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Writes the bundle. Fails before the first byte if the signatures are not enough for the root.
    pub fn write(&self, signatures: &[Signature], out: &Path) -> Result<u64, MakeError> {
        self.root.check_statement(STATEMENT_NAMESPACE, self.text().as_bytes(), signatures)?;
        let head =
            Parts::new(&self.roots, &self.statement, signatures, self.index.clone()).to_bytes(Kind::Bundle);
        let file = skiff_disk::storage::AtomicFile::beside(out)?;
        let mut writer = io::BufWriter::new(file.as_file());
        writer.write_all(&head).map_err(Io::on("write", out))?;
        for (path, stated) in self.files.iter().zip(&self.statement.files) {
            let mut reader = File::open(path).map_err(Io::on("open", path))?;
            let copied = copy(&mut reader, &mut writer).map_err(Io::on("copy", path))?;
            if copied != stated.sum {
                return Err(MakeError::Changed(path.clone()));
            }
        }
        writer.flush().map_err(Io::on("write", out))?;
        drop(writer);
        file.publish(out, true)?;
        Ok(head.len() as u64 + self.statement.len())
    }
}

/// Copies a file, and sums what it copies.
fn copy(reader: &mut dyn Read, writer: &mut dyn Write) -> io::Result<Sum> {
    let (mut hasher, mut len, mut buf) = (blake3::Hasher::new(), 0, vec![0; 1 << 20]);
    loop {
        match reader.read(&mut buf)? {
            0 => return Ok(Sum { len, blake3: hasher.finalize().into() }),
            count => {
                hasher.update(&buf[..count]);
                len += count as u64;
                writer.write_all(&buf[..count])?;
            }
        }
    }
}

/// Writes what a device with the system of `old` needs to make that of `new`.
pub fn write_delta(old: &OpenBundle, new: &OpenBundle, out: &Path) -> Result<delta::Summary, MakeError> {
    let file = skiff_disk::storage::AtomicFile::beside(out)?;
    let mut writer = io::BufWriter::new(file.as_file());
    // Whose error it was, which the writer cannot know.
    let unread = std::cell::RefCell::new(None);
    let read = |from: &OpenBundle, block: &crate::bundle::Block, out: &mut Vec<u8>| {
        from.read(block, out).map_err(|error| {
            *unread.borrow_mut() = Some(Io::on("read", from.path())(error));
            io::ErrorKind::Other.into()
        })
    };
    let mut read_old = |block: &crate::bundle::Block, out: &mut Vec<u8>| read(old, block, out);
    let mut read_new = |block: &crate::bundle::Block, out: &mut Vec<u8>| read(new, block, out);
    let old = delta::System { head: old.head(), read: &mut read_old };
    let new = delta::System { head: new.head(), read: &mut read_new };
    let written = delta::write(old, new, &mut writer);
    let summary = written.map_err(|error| unread.take().unwrap_or_else(|| Io::on("write", out)(error)))?;
    writer.flush().map_err(Io::on("write", out))?;
    drop(writer);
    file.publish(out, true)?;
    Ok(summary)
}
