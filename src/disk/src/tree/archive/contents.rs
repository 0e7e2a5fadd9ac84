//! Contents of members: ranges of the archive, with holes where a member is sparse.

use super::reader::Reader;
use super::sparse::{Format, Map};
use super::{ArchiveError, BLOCK};
use crate::tree::Content;

/// Data behind a header.
pub(super) struct Stored {
    /// First byte in the archive.
    pub data: u64,
    /// Bytes, padding not counted.
    pub size: u64,
    /// The map of a sparse member of the old GNU format.
    pub map: Option<Map>,
}

impl Reader {
    /// The content of a file.
    pub(super) fn content(&self, name: &[u8], stored: Stored) -> Result<Content, ArchiveError> {
        let Stored { data, size, map } = stored;
        let records = &self.member.records;
        let (map, taken) = match map {
            Some(map) => (Some(map), 0),
            None => match Format::from_records(records).map_err(|kind| self.unsupported(name, &kind))? {
                None => return Ok(Content::stamped(self.path.clone(), data, size, self.stamp)),
                Some(Format::Records) => (Map::from_records(records), 0),
                Some(Format::Data) => self.map_before_data(data, size)?,
            },
        };
        let map = map.ok_or_else(|| self.bad("its sparse map is malformed"))?;
        let extents = map.extents(size - taken).map_err(|problem| self.bad(problem))?;
        Ok(Content::sparse(self.path.clone(), data + taken, map.len, self.stamp, extents))
    }

    /// The map that precedes the data, and the bytes it takes.
    fn map_before_data(&self, data: u64, size: u64) -> Result<(Option<Map>, u64), ArchiveError> {
        let mut taken = 0;
        let map = Map::from_data(&self.member.records, || {
            if taken + BLOCK > size {
                return Ok(None);
            }
            let mut block = [0; BLOCK as usize];
            self.read(&mut block, data + taken)?;
            taken += BLOCK;
            Ok::<_, ArchiveError>(Some(block))
        })?;
        Ok((map, taken))
    }

    /// The map of the header `block` and of the blocks behind it; `data` moves behind them.
    pub(super) fn old_sparse_map(
        &self,
        block: &[u8; BLOCK as usize],
        data: &mut u64,
    ) -> Result<Map, ArchiveError> {
        let malformed = || self.bad("its sparse map is malformed");
        let (mut map, mut more) = Map::from_header(block).ok_or_else(malformed)?;
        while more {
            if *data + BLOCK > self.len {
                return Err(malformed());
            }
            let mut block = [0; BLOCK as usize];
            self.read(&mut block, *data)?;
            *data += BLOCK;
            more = map.extend_from_block(&block).ok_or_else(malformed)?;
        }
        Ok(map)
    }
}
