//! Compressed blocks that are kept between builds.
//!
//! Compression is most of what a build costs, and after a small change nearly every block is one that was
//! compressed before. A block is found by the content it was made of and by everything that decides its
//! compressed form ([`Key`]), so that an image has the same bytes with a full, an empty or no cache.
//!
//! A cache never fails a build: what it cannot give is compressed, what it cannot keep is dropped, and
//! [`BlockCache::finish`] reports what happened.

mod local;
mod remote;
#[cfg(feature = "object-store")]
mod shared;

pub(crate) use remote::with_remote;
pub use remote::{Access, RemoteError, RemoteUrl};
#[cfg(feature = "object-store")]
pub use shared::{Answer, BlockStore, Found, Limits, Shared, StoreError, share};

pub use crate::fs::squashfs::cache::{Block, BlockCache, Key, Summary};
pub use local::{Contents, DEFAULT_BOUND, Keep, Local, Pruned};
