//! Sets of extended attributes.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek};

use super::super::raw::{SQUASHFS_INVALID_BLK, SQUASHFS_XATTR_VALUE_OOL};
use super::metadata::{Cursor, Metadata, u16_at, u32_at, u64_at};

/// Values by full name.
pub(super) type XattrSet = BTreeMap<Vec<u8>, Vec<u8>>;

/// The longest value Linux reads (`XATTR_SIZE_MAX`).
const VALUE_MAX: u32 = 65_536;

/// The table of sets; each set is read once.
pub(super) struct XattrTable {
    /// Start of the names and values.
    start: u64,
    /// `squashfs_xattr_id`: reference, count and size of each set.
    sets: Vec<(u64, u32)>,
    read: HashMap<u32, XattrSet>,
}

impl XattrTable {
    pub(super) fn open<R: Read + Seek>(metadata: &mut Metadata<R>) -> Result<XattrTable, String> {
        let position = metadata.superblock.xattr_id_table_start;
        if position == SQUASHFS_INVALID_BLK {
            return Ok(XattrTable { start: 0, sets: Vec::new(), read: HashMap::new() });
        }
        // `squashfs_xattr_id_table`
        let mut header = [0; 16];
        metadata.read_at(&mut header, position)?;
        let records = metadata.table(position.saturating_add(16), u32_at(&header, 8) as usize, 16)?;
        let sets = records.chunks_exact(16).map(|set| (u64_at(set, 0), u32_at(set, 8))).collect();
        Ok(XattrTable { start: u64_at(&header, 0), sets, read: HashMap::new() })
    }

    /// The set with an index of an inode.
    pub(super) fn set<R: Read + Seek>(
        &mut self,
        metadata: &mut Metadata<R>,
        index: u32,
    ) -> Result<XattrSet, String> {
        if let Some(set) = self.read.get(&index) {
            return Ok(set.clone());
        }
        let Some((reference, count)) = self.sets.get(index as usize).copied() else {
            return Err(format!("has attribute set {index} of {}", self.sets.len()));
        };
        let mut cursor = Cursor::new(self.start, reference);
        let mut set = XattrSet::new();
        for _ in 0..count {
            let (name, value) = self.pair(metadata, &mut cursor)?;
            if set.insert(name, value).is_some() {
                return Err(format!("has attribute set {index}, which names an attribute twice"));
            }
        }
        self.read.insert(index, set.clone());
        Ok(set)
    }

    fn pair<R: Read + Seek>(
        &self,
        metadata: &mut Metadata<R>,
        cursor: &mut Cursor,
    ) -> Result<(Vec<u8>, Vec<u8>), String> {
        let head = metadata.take(cursor, 4)?;
        let kind = u16_at(&head, 0);
        let mut name = match kind & !SQUASHFS_XATTR_VALUE_OOL {
            0 => b"user.".to_vec(),
            1 => b"trusted.".to_vec(),
            2 => b"security.".to_vec(),
            other => return Err(format!("has an attribute of namespace {other}, the last known one is 2")),
        };
        name.extend(metadata.take(cursor, u16_at(&head, 2).into())?);
        let value = take_value(metadata, cursor)?;
        if kind & SQUASHFS_XATTR_VALUE_OOL == 0 {
            return Ok((name, value));
        }
        let Ok(reference) = <[u8; 8]>::try_from(value.as_slice()) else {
            return Err(format!("has an attribute whose value is elsewhere, at {} bytes", value.len()));
        };
        let mut elsewhere = Cursor::new(self.start, u64::from_le_bytes(reference));
        Ok((name, take_value(metadata, &mut elsewhere)?))
    }
}

fn take_value<R: Read + Seek>(metadata: &mut Metadata<R>, cursor: &mut Cursor) -> Result<Vec<u8>, String> {
    let len = u32_at(&metadata.take(cursor, 4)?, 0);
    if len > VALUE_MAX {
        return Err(format!("has an attribute value of {len} bytes, {VALUE_MAX} are the most"));
    }
    metadata.take(cursor, len as usize)
}
