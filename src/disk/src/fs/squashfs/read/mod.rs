//! Reads a squashfs back: what is in it, and whether its files are still what was written.
//!
//! Any image the kernel mounts is read, whoever wrote it, except lzma and lzo ones. What is damaged is reported by
//! path, and the rest is still read. [`super::second_reader`] is independent of the writer, but refuses link
//! targets of more than 255 bytes and images of more than 2048 owners, and gives up where tables are damaged; the
//! tests compare both with the kernel.

mod blocks;
mod compare;
mod contents;
mod decoder;
mod metadata;
mod walk;
mod xattr;

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use super::SquashfsError;
use super::raw::{self, SuperBlock, flags};
use crate::fs::{Damage, Problem, WrittenFile};
use crate::tree;
use crate::value::{Digest, Timestamp};
pub use blocks::block_boundaries;
pub(super) use compare::compare;
use contents::Contents;
pub use decoder::decode_block;
use metadata::Metadata;
use walk::{Inode, Kind, Walk};

/// Facts of the superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Info {
    /// `gzip`, `xz`, `lz4`, `zstd`, or one that cannot be read here: `lzma`, `lzo`.
    pub codec: &'static str,
    /// Bytes of a block before compression.
    pub block_size: u32,
    /// Number of inodes.
    pub inodes: u32,
    /// Number of fragment blocks.
    pub fragments: u32,
    /// Number of distinct user and group ids.
    pub ids: u16,
    /// Bytes of the image without padding.
    pub bytes_used: u64,
    /// Creation time.
    pub timestamp: Timestamp,
    /// Set if there are extended attributes.
    pub xattrs: bool,
    /// Set if inodes can be found by number, as NFS and overlayfs want.
    pub exportable: bool,
}

/// A name in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Listed {
    /// See [`tree::display`].
    pub path: String,
    /// As [`tree::Body::kind`].
    pub kind: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
    /// Inode number; the names of a hard link have the same.
    pub inode: u32,
    /// Length of a file.
    pub size: Option<u64>,
    /// Digest of a file that can be read.
    pub blake3: Option<Digest>,
    /// Target of a symbolic link, as [`tree::display`] would show it but without a slash before it.
    pub target: Option<String>,
    /// `rdev` of a device as the kernel encodes it (`new_encode_dev`).
    pub device: Option<u32>,
}

/// Reads the superblock.
pub fn info(reader: impl Read + Seek) -> Result<Info, SquashfsError> {
    let superblock = read_superblock(reader)?;
    Ok(Info {
        codec: codec_name(superblock.compression)?,
        block_size: superblock.block_size,
        inodes: superblock.inodes,
        fragments: superblock.fragments,
        ids: superblock.no_ids,
        bytes_used: superblock.bytes_used,
        timestamp: superblock.mkfs_time.into(),
        xattrs: superblock.xattr_id_table_start != raw::SQUASHFS_INVALID_BLK,
        exportable: superblock.flags & flags::EXPORT != 0,
    })
}

/// Every name of the image that can be reached, in the order of [`tree::Tree::walk`], with the digests of the
/// files; and what cannot be reached or read.
pub fn list(reader: impl Read + Seek) -> Result<(Vec<Listed>, Vec<Damage>), SquashfsError> {
    let mut image = Image::open(reader)?;
    let mut names = Vec::new();
    let mut walk = Walk::new(&image.metadata);
    while let Some((path, inode)) = walk.next(&mut image.metadata) {
        names.push(image.listed(&path, &inode, &mut walk.damages));
    }
    Ok((names, walk.damages))
}

/// Reads every file and returns those that differ from what was written, are missing or are too many. A block that
/// cannot be read damages the files in it; the others are still checked.
pub fn check_files(reader: impl Read + Seek, expected: &[WrittenFile]) -> Result<Vec<Damage>, SquashfsError> {
    let mut image = Image::open(reader)?;
    let mut wanted: HashMap<&str, &WrittenFile> =
        expected.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut found = Vec::new();
    let mut walk = Walk::new(&image.metadata);
    while let Some((path, inode)) = walk.next(&mut image.metadata) {
        let path = tree::display(&path);
        let problem = match (wanted.remove(path.as_str()), &inode.kind) {
            (Some(file), _) => image.problem(&inode, file),
            (None, Kind::File(_)) => Some(Problem::Unexpected),
            (None, _) => None,
        };
        found.extend(problem.map(|problem| Damage { path, problem }));
    }
    let missing = expected.iter().filter(|file| wanted.contains_key(file.path.as_str()));
    let missing = missing.map(|file| Damage { path: file.path.clone(), problem: Problem::Missing });
    Ok(walk.damages.into_iter().chain(found).chain(missing).collect())
}

/// A problem of which the readers below say what the path has, is or does.
fn unreadable(reason: String) -> Problem {
    Problem::Unreadable { reason: format!("it {reason}") }
}

fn read_superblock(mut reader: impl Read + Seek) -> Result<SuperBlock, SquashfsError> {
    let mut bytes = [0; SuperBlock::LEN];
    reader.seek(SeekFrom::Start(0)).map_err(SquashfsError::Read)?;
    reader.read_exact(&mut bytes).map_err(SquashfsError::Read)?;
    SuperBlock::parse(&bytes).map_err(SquashfsError::Corrupt)
}

fn codec_name(id: u16) -> Result<&'static str, SquashfsError> {
    match id {
        raw::ZLIB_COMPRESSION => Ok("gzip"),
        2 => Ok("lzma"),
        3 => Ok("lzo"),
        raw::XZ_COMPRESSION => Ok("xz"),
        raw::LZ4_COMPRESSION => Ok("lz4"),
        raw::ZSTD_COMPRESSION => Ok("zstd"),
        _ => Err(SquashfsError::Corrupt(format!("the compression is number {id}, the last known one is 6"))),
    }
}

/// An open image.
struct Image<R> {
    metadata: Metadata<R>,
    contents: Contents,
    /// Digests by inode number, so that a file with several names is read once.
    digests: HashMap<u32, Result<Digest, String>>,
}

impl<R: Read + Seek> Image<R> {
    fn open(mut reader: R) -> Result<Image<R>, SquashfsError> {
        let superblock = read_superblock(&mut reader)?;
        let mut metadata = Metadata::open(reader, superblock)?;
        let contents = Contents::open(&mut metadata)?;
        Ok(Image { metadata, contents, digests: HashMap::new() })
    }

    fn digest(&mut self, inode: &Inode) -> Option<Result<Digest, String>> {
        let Kind::File(file) = &inode.kind else { return None };
        let (metadata, contents) = (&mut self.metadata, &mut self.contents);
        let digest = self.digests.entry(inode.number).or_insert_with(|| contents.digest(metadata, file));
        Some(digest.clone())
    }

    fn problem(&mut self, inode: &Inode, written: &WrittenFile) -> Option<Problem> {
        let Kind::File(file) = &inode.kind else {
            let (expected, found) = ("file".into(), inode.kind.name().into());
            return Some(Problem::Differs { what: "kind", expected, found });
        };
        if file.size != written.size {
            return Some(Problem::Size { expected: written.size, found: file.size });
        }
        match self.digest(inode)? {
            Ok(digest) if digest == written.blake3 => None,
            Ok(_) => Some(Problem::Content),
            Err(reason) => Some(unreadable(reason)),
        }
    }

    fn listed(&mut self, path: &[u8], inode: &Inode, damages: &mut Vec<Damage>) -> Listed {
        let path = tree::display(path);
        let blake3 = self.digest(inode).and_then(|digest| {
            let damage = |reason| Damage { path: path.clone(), problem: unreadable(reason) };
            digest.map_err(|reason| damages.push(damage(reason))).ok()
        });
        let (mut size, mut target, mut device) = (None, None, None);
        match &inode.kind {
            Kind::File(file) => size = Some(file.size),
            // `display` shows bytes that are not UTF-8; its slash has no place before a relative target.
            Kind::Symlink(text) => target = Some(tree::display(text)[1..].to_owned()),
            Kind::Char(rdev) | Kind::Block(rdev) => device = Some(*rdev),
            Kind::Dir(_) | Kind::Fifo | Kind::Socket => {}
        }
        Listed {
            path,
            kind: inode.kind.name(),
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime.into(),
            inode: inode.number,
            size,
            blake3,
            target,
            device,
        }
    }
}
