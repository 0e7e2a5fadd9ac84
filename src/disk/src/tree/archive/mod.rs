//! A tar archive (`rootfs.tar`) as a [`Tree`]: contents stay in the archive and are named by their offset.
//!
//! Formats: ustar, GNU (long names `L`/`K`, sparse files `S`) and PAX, which Buildroot writes. What the archive says about
//! a file and no tree can hold is counted by [`Tree::omitted`].

mod attributes;
mod contents;
mod lists;
mod pax;
mod reader;
mod sparse;

use std::path::{Path, PathBuf};

use skiff_signatures::Format;

use super::{Stat, Tree};
use crate::error::{Diagnostic, Io};
use reader::Reader;

/// Size of a tar block, the unit of headers and padding.
const BLOCK: u64 = 512;
/// Larger extension records (long names, PAX) than this are taken for damage.
const MAX_RECORD: u64 = 16 << 20;
/// Metadata of a directory that the archive uses but does not list.
const IMPLIED: Stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
/// Commands that decompress what an archive can be compressed with.
const COMPRESSED: [(Format, &str); 6] = [
    (Format::Gzip, "gzip -d"),
    (Format::Zstd, "zstd -d"),
    (Format::Xz, "xz -d"),
    (Format::Bzip2, "bzip2 -d"),
    (Format::Lz4, "lz4 -d"),
    (Format::Lzop, "lzop -d"),
];

/// Reason why an archive cannot become a tree.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Corrupt, hint = "make the archive again, or copy it again")]
#[non_exhaustive]
pub enum ArchiveError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// The first bytes are those of a compressed file.
    #[error("`{}` is compressed with {format}", path.display())]
    #[diagnostic(kind = Unsupported, hint("decompress it first: {command} `{}`", path.display()))]
    Compressed {
        /// The archive.
        path: PathBuf,
        /// For example `zstd`.
        format: &'static str,
        /// For example `zstd -d`.
        command: &'static str,
    },
    /// The first block is no tar header.
    #[error("`{}` is not a tar archive", .0.display())]
    #[diagnostic(kind = Input, hint = "name the rootfs.tar that BR2_TARGET_ROOTFS_TAR=y makes")]
    NotATar(PathBuf),
    /// The file ends inside a member.
    #[error(
        "`{}` is truncated: the member at byte {at} (`{member}`) ends at byte {need}, the file at byte {have}",
        path.display()
    )]
    Truncated {
        /// The archive.
        path: PathBuf,
        /// Offset of the member's header.
        at: u64,
        /// Its name, if known.
        member: String,
        /// End of the member in bytes.
        need: u64,
        /// Length of the file.
        have: u64,
    },
    /// The file ends between members, without the zero block that ends an archive.
    #[error("`{}` is truncated: it ends at byte {have} without the end-of-archive block", path.display())]
    NoEnd {
        /// The archive.
        path: PathBuf,
        /// Length of the file.
        have: u64,
    },
    /// A header contradicts itself or what came before it.
    #[error("`{}`: member at byte {at}: {problem}", path.display())]
    BadMember {
        /// The archive.
        path: PathBuf,
        /// Offset of the member's header.
        at: u64,
        /// Description of the problem.
        problem: String,
    },
    /// A well-formed member this program cannot take.
    #[error("`{}`: member at byte {at}: `{member}` is stored as a {kind}, which is not supported", path.display())]
    #[diagnostic(kind = Unsupported, hint = "leave it out of the archive, or make the archive with GNU tar or bsdtar")]
    Unsupported {
        /// The archive.
        path: PathBuf,
        /// Offset of the member's header.
        at: u64,
        /// Path of the member.
        member: String,
        /// Type of the member.
        kind: String,
    },
}

/// Reads the archive at `path`.
///
/// ```
/// use skiff_disk::tree::archive::read_archive;
/// # use skiff_disk::fs::tar;
/// # use skiff_disk::tree::{Body, Node, Stat, Tree};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("rootfs.tar");
/// # let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
/// # let mut made = Tree::new(stat);
/// # made.insert(Tree::ROOT, b"etc", Node::new(stat, Body::Dir(Default::default())));
/// # tar::write(&tar::layout(&made), &mut tar::Plain(std::fs::File::create(&path)?))?;
/// let tree = read_archive(&path)?;
/// assert!(tree.get("etc").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_archive(path: &Path) -> Result<Tree, ArchiveError> {
    Reader::open(path)?.tree()
}

#[cfg(test)]
mod tests;
