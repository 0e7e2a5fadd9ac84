//! squashfs 4.0: the compressed read-only filesystem, written in parallel and in one sequential pass.
//!
//! The format is that of the kernel's `fs/squashfs/squashfs_fs.h`; the order of the parts is the one its
//! `super.c` insists on:
//!
//! ```text
//! superblock | compressor options | data and fragment blocks | inodes | directories | fragment table
//!            | export table | id table | extended attributes | padding to 4 KiB
//! ```
//!
//! [`layout`] looks at metadata only: it numbers inodes, collects owners and attribute sets and refuses what
//! the format or Linux cannot hold. [`write()`] reads the contents. Work is split for threads by the block (large
//! files), by the batch (small files) and by the fragment block, and put back into the order of the layout, so
//! that bytes do not depend on the number of threads and memory not on the size of the tree.
//!
//! Differences from `mksquashfs`, all of them within the format: a file of zeros smaller than a block is a hole rather
//! than a part of a fragment; small files are packed by kind and in runs (see `data/order.rs`), so that after a change
//! most fragment blocks are what they were; libdeflate makes the gzip blocks; the superblock (with the first 4 KiB) is
//! written last, so that an interrupted image never mounts.
//!
//! ```
//! use skiff_disk::fs::squashfs::{self, Codec, Options, Resources};
//! use skiff_disk::storage::{Memory, Region};
//! use skiff_disk::tree::{Body, Content, Node, Stat, Tree};
//!
//! let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
//! let mut tree = Tree::new(stat);
//! tree.insert(Tree::ROOT, b"hello", Node::new(stat, Body::File(Content::bytes(b"hello\n".as_slice()))));
//! let options = Options {
//!     codec: Codec::Zstd { level: 15 },
//!     block_size: 128 << 10,
//!     timestamp: 0,
//!     pack_tails: false,
//! };
//! let layout = squashfs::layout(&tree, &options)?;
//! let memory = Memory::new(layout.size_bound());
//! let resources = Resources { threads: 2, ..Resources::default() };
//! let written = squashfs::write(&layout, &Region::whole(&memory, "rootfs"), &resources)?;
//! assert_eq!(written.len, 4096);
//!
//! // And back.
//! let mut image = std::io::Cursor::new(memory.to_vec());
//! assert_eq!(squashfs::info(&mut image)?.codec, "zstd");
//! let (names, damages) = squashfs::list(&mut image)?;
//! assert_eq!(names[1].path, "/hello");
//! assert!(damages.is_empty() && squashfs::check_files(&mut image, &written.files)?.is_empty());
//! # Ok::<(), squashfs::SquashfsError>(())
//! ```

pub mod cache;
mod codec;
mod compressor;
mod data;
mod directory;
mod error;
mod inode;
mod layout;
mod metadata;
mod proof;
mod raw;
mod read;
#[cfg_attr(not(feature = "squashfs-reader"), path = "no_second_reader.rs")]
pub mod second_reader;
mod sink;
mod write;
mod xattr;

pub use codec::{Bcj, Codec, ParseCodecError};
pub use error::SquashfsError;
pub use layout::{Layout, layout, losses};
pub use proof::{Proof, ProofError, prove};
pub use read::block_boundaries;
pub use read::decode_block;
pub use read::{Info, Listed, check_files, info, list};
pub use second_reader::beyond as beyond_second_reader;
pub use write::{Written, write};

use std::sync::Arc;

use crate::value::Timestamp;
use cache::BlockCache;

/// Codec of a root filesystem unless somebody knows better. Of a Debian root filesystem it makes an
/// image 1 % smaller than `mksquashfs -comp zstd` does, in a seventh of its CPU time; see `cargo bench`.
pub const DEFAULT_CODEC: Codec = Codec::Zstd { level: 9 };
/// The block size that goes with it: half of what 1 MiB costs for each miss of the page cache (time, bytes read,
/// memory), and 3 % larger images. A system with little memory wants 128 KiB, modules that are read whole 1 MiB.
pub const DEFAULT_BLOCK_SIZE: u32 = 512 << 10;
/// Smallest [`Options::block_size`].
pub const BLOCK_SIZE_MIN: u32 = 4 << 10;
/// Largest [`Options::block_size`] (`SQUASHFS_FILE_MAX_SIZE`).
pub const BLOCK_SIZE_MAX: u32 = 1 << 20;

/// Options of a squashfs. Each field changes its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Compression of data and metadata.
    pub codec: Codec,
    /// Bytes of a data block before compression: a power of two from 4 KiB to 1 MiB. Larger blocks make smaller
    /// images and slower random reads.
    pub block_size: u32,
    /// Creation time in the superblock. Nodes keep their own times, clamped to what 32 unsigned bits hold.
    pub timestamp: Timestamp,
    /// Pack the last, incomplete block of files larger than a block together with small files. The image gets
    /// smaller; reading the end of such a file costs one more block.
    pub pack_tails: bool,
}

/// Threads, cache and checks of the work. Nothing of it changes the bytes.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Number of threads that read and compress; 0 is one for each processor.
    pub threads: usize,
    /// Cache of compressed blocks between builds.
    pub cache: Option<Arc<dyn BlockCache>>,
    /// Take a file whose path, length, modification and change time are those of an earlier build for unchanged, and
    /// do not read it where the cache has its blocks. Wrong if a file was changed within the same tick of the kernel's
    /// clock as it was read, or the clock or the whole filesystem was put back.
    pub trust_stat: bool,
    /// Set if [`write()`] ends with [`prove`].
    pub verify: bool,
}
