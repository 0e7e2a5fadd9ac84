//! What the tests of the ext4 writer share: a file as a target that counts and watches, and trees.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use skiff_image::fs::ext4::{Journal, Options};
use skiff_image::storage::{Geometry, Target, TargetError};
use skiff_image::tree::{Body, Content, Node, NodeId, Stat, Tree};
use uuid::Uuid;

/// A sparse file that counts bytes and fails the test when one is written twice or out of order.
pub struct Watched {
    file: File,
    path: PathBuf,
    len: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    written: u64,
    zeroed: u64,
    writes: u64,
    end: u64,
}

/// What went to a target.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub written: u64,
    pub zeroed: u64,
    pub writes: u64,
}

impl Watched {
    /// A new file of `len` bytes, all holes.
    pub fn create(path: &Path, len: u64) -> Watched {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).expect("create");
        file.set_len(len).expect("truncate");
        Watched { file, path: path.into(), len, state: Mutex::default() }
    }

    /// A new file in which every byte is garbage, as on a used card.
    pub fn create_used(path: &Path, len: u64) -> Watched {
        let watched = Watched::create(path, len);
        let garbage = vec![0xA5; 1 << 20];
        for at in (0..len).step_by(1 << 20) {
            let count = (len - at).min(1 << 20) as usize;
            watched.file.write_all_at(&garbage[..count], at).expect("fill");
        }
        watched
    }

    pub fn counts(&self) -> Counts {
        let state = self.state.lock().expect("lock");
        Counts { written: state.written, zeroed: state.zeroed, writes: state.writes }
    }

    fn advance(&self, offset: u64, len: u64) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().expect("lock");
        assert!(offset >= state.end, "byte {offset} comes after byte {} was written", state.end);
        state.end = offset + len;
        state
    }
}

impl Target for Watched {
    fn name(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    fn geometry(&self) -> Geometry {
        Geometry { len: self.len, sector_size: 512 }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.file.read_exact_at(buf, offset).expect("read");
        Ok(())
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        let mut state = self.advance(offset, buf.len() as u64);
        (state.written, state.writes) = (state.written + buf.len() as u64, state.writes + 1);
        self.file.write_all_at(buf, offset).expect("write");
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.advance(offset, len).zeroed += len;
        rustix::fs::fallocate(
            &self.file,
            rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE,
            offset,
            len,
        )
        .expect("punch hole");
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    fn sync(&self) -> Result<(), TargetError> {
        Ok(())
    }
}

pub const TIME: i64 = 1_700_000_000;

pub fn options() -> Options {
    Options {
        label: "persist".into(),
        uuid: Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef),
        hash_seed: Uuid::from_u128(0xfedc_ba98_7654_4210_8edc_ba98_7654_3210),
        timestamp: TIME,
        bytes_per_inode: 16384,
        inodes: 0,
        reserved_percent: 0,
        journal: Journal::Auto,
        grow_to: 1 << 40,
    }
}

pub fn stat(mode: u32) -> Stat {
    Stat { mode, uid: 0, gid: 0, mtime: TIME }
}

pub fn empty() -> Tree {
    Tree::new(stat(0o755))
}

pub fn dir(tree: &mut Tree, parent: NodeId, name: &str) -> NodeId {
    tree.insert(parent, name.as_bytes(), Node::new(stat(0o755), Body::Dir(BTreeMap::new())))
}

pub fn file(tree: &mut Tree, parent: NodeId, name: impl AsRef<[u8]>, bytes: impl Into<Vec<u8>>) -> NodeId {
    let content = Content::bytes(bytes.into());
    tree.insert(parent, name.as_ref(), Node::new(stat(0o644), Body::File(content)))
}

/// Bytes that do not repeat and are never zero for long.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
