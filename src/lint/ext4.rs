//! Features of an ext4 that its readers have to know: of one that this program makes, and of one that comes as a file.

use skiff_signatures::ext4::{EXT4_SUPER_MAGIC, S_MAGIC, SUPER_BLOCK_OFFSET, compat, incompat, ro_compat};

use crate::error::Result;
use crate::fs::ext4;
use crate::tree::Content;

/// Bytes of the superblock that are read.
const READ: usize = 0x68;

/// Sets of features: their place in the superblock, and their names.
const FEATURES: [(usize, &[(u32, &str)]); 3] =
    [(compat::AT, compat::NAMES), (incompat::AT, incompat::NAMES), (ro_compat::AT, ro_compat::NAMES)];

/// Block size and features of an ext4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ext4 {
    /// Bytes of a block.
    pub block_size: u64,
    /// Features, as `mke2fs -O` names them.
    pub features: Vec<String>,
}

impl Ext4 {
    /// Features that the ext4 writer of this program uses.
    pub fn ours() -> Ext4 {
        let features = ext4::FEATURES.iter().map(|name| (*name).to_owned()).collect();
        Ext4 { block_size: ext4::BLOCK_SIZE, features }
    }

    /// Features of the ext4 in a file, if it is one.
    pub fn from_content(content: &Content) -> Result<Option<Ext4>> {
        if content.len() < SUPER_BLOCK_OFFSET + READ as u64 {
            return Ok(None);
        }
        let mut superblock = [0; READ];
        content.open()?.read_at(&mut superblock, SUPER_BLOCK_OFFSET)?;
        Ok(Ext4::from_superblock(&superblock))
    }

    fn from_superblock(bytes: &[u8]) -> Option<Ext4> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let magic = u16::from_le_bytes([bytes[S_MAGIC], bytes[S_MAGIC + 1]]);
        // `s_log_block_size`: 64 KiB is the most there is.
        let log = word(0x18);
        if magic != EXT4_SUPER_MAGIC || log > 6 {
            return None;
        }
        let set =
            FEATURES.iter().flat_map(|(at, names)| names.iter().filter(move |(bit, _)| word(*at) & bit != 0));
        Some(Ext4 { block_size: 1024 << log, features: set.map(|(_, name)| (*name).to_owned()).collect() })
    }
}
