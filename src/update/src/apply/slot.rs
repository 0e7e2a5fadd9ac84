//! What a slot has.

use std::io;

use super::{ApplyError, Store, Updater};
use crate::Slot;
use crate::bundle::{BLOCK_MAX, Block, BlockId, Head, PREFIX_LEN};
use crate::state::Contents;
use crate::statement::{INDEX_MAX, LEN_MAX, ROOTS_MAX};

/// Name of the file with the head of the bundle that a slot was written from. It is there if and only if the system is
/// whole; names in statements do not begin with a dot.
pub const HEAD: &str = ".system";

/// Most bytes of it; signatures have less than the space of a statement has been counted for.
pub(super) const HEAD_MAX: u64 = PREFIX_LEN as u64 + ROOTS_MAX + (LEN_MAX as u64) * 8 + INDEX_MAX;

impl<S: Store> Updater<S> {
    /// Head of the system in a slot; none if there is no whole one.
    pub fn head(&self, slot: Slot) -> Result<Option<Head>, ApplyError> {
        let failed = |source| ApplyError::Slot { verb: "read", slot, file: HEAD.into(), source };
        let Some(len) = self.store().len(slot, HEAD).map_err(failed)? else { return Ok(None) };
        if len > HEAD_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; len as usize];
        self.store().read_at(slot, HEAD, &mut bytes, 0).map_err(failed)?;
        // One that cannot be read was being written when the power failed: the slot is as without.
        Ok(Head::stored(&bytes, &self.root).ok())
    }

    /// What is in a slot.
    pub fn contents(&self, slot: Slot) -> Result<Contents, ApplyError> {
        if let Some(head) = self.head(slot)? {
            return Ok(Contents::Whole(head.system));
        }
        let names = self.store().names(slot);
        let names =
            names.map_err(|source| ApplyError::Slot { verb: "list", slot, file: String::new(), source })?;
        Ok(if names.is_empty() { Contents::Nothing } else { Contents::Part })
    }

    /// Fails with the first file that does not have, on the medium, what its head says.
    pub(super) fn ensure_whole(&self, slot: Slot, head: &Head) -> Result<(), ApplyError> {
        self.damages(slot, head)?.into_iter().next().map_or(Ok(()), Err)
    }

    /// For each file of a slot that does not have what its head says, an error that says where.
    pub(super) fn damages(&self, slot: Slot, head: &Head) -> Result<Vec<ApplyError>, ApplyError> {
        let mut damages = Vec::new();
        for (number, file) in head.statement.files.iter().enumerate() {
            let blocks = head.index.blocks().iter().filter(|block| block.file == number);
            let damage = self.file_damage(slot, &file.name, file.sum.len, blocks)?;
            damages.extend(damage.map(|(offset, len)| ApplyError::Damaged {
                slot,
                file: file.name.clone(),
                offset,
                len,
            }));
        }
        Ok(damages)
    }

    /// Place and length of the first block of a file that has other bytes; for a wrong length, of what is too little or
    /// too much.
    fn file_damage<'a>(
        &self,
        slot: Slot,
        name: &str,
        stated: u64,
        blocks: impl Iterator<Item = &'a Block>,
    ) -> Result<Option<(u64, u64)>, ApplyError> {
        let failed =
            |source: io::Error| ApplyError::Slot { verb: "read back", slot, file: name.into(), source };
        let len = self.store().len(slot, name).map_err(failed)?.unwrap_or_default();
        let mut buf = vec![0; BLOCK_MAX];
        for block in blocks {
            let bytes = &mut buf[..block.len];
            if block.offset + block.len as u64 > len {
                return Ok(Some((block.offset, block.len as u64)));
            }
            self.store().read_back(slot, name, bytes, block.offset).map_err(failed)?;
            if BlockId::of(bytes) != block.id {
                return Ok(Some((block.offset, block.len as u64)));
            }
        }
        Ok((len > stated).then(|| (stated, len - stated)))
    }
}
