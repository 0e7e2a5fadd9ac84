//! Blocks that come out of a delta, on a device.

use std::collections::HashMap;
use std::io::Read;

use super::form::unpatch;
use super::{Form, REFERENCE_COUNT_MAX, REFERENCES_MAX, op};
use crate::bundle::{BLOCK_MAX, Block, BlockId, BlockSource, BundleError, Head};
use crate::bundle::{ensure_ended, ensure_signed, read_full};

/// Reads a block that the device has: which of its systems (the good one, the new one), and the block there.
type Lookup<'a> = dyn Fn(System, &Block, &mut Vec<u8>) -> std::io::Result<()> + 'a;

/// One of the two systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Good,
    New,
}

/// The blocks of a delta.
pub(crate) struct DeltaPayload<'a> {
    stream: &'a mut dyn Read,
    head: &'a Head,
    lookup: &'a Lookup<'a>,
    known: HashMap<BlockId, (System, Block)>,
    /// The block that was returned last: it is on the device when the next one is wanted.
    last: Option<Block>,
    position: u64,
}

impl<'a> DeltaPayload<'a> {
    /// The blocks behind `head` in `stream`, on a device that has `good` and finds its blocks with `lookup`.
    pub(crate) fn new(
        stream: &'a mut dyn Read,
        head: &'a Head,
        good: Option<&Head>,
        lookup: &'a Lookup<'a>,
    ) -> DeltaPayload<'a> {
        let blocks = good.map(|good| good.index.blocks()).unwrap_or_default();
        let known = blocks.iter().map(|block| (block.id, (System::Good, *block))).collect();
        DeltaPayload { stream, head, lookup, known, last: None, position: 0 }
    }

    fn wrong(&self, reason: impl Into<String>) -> BundleError {
        BundleError::Delta { position: self.position, reason: reason.into() }
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, BundleError> {
        let mut bytes = vec![0; len];
        let have = read_full(self.stream, &mut bytes)?;
        if have < len {
            return Err(BundleError::CutOff { part: "the delta", need: len as u64, have: have as u64 });
        }
        self.position += len as u64;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, BundleError> {
        Ok(self.take(1)?[0])
    }

    fn len_up_to(&mut self, what: &str, max: usize) -> Result<usize, BundleError> {
        let len = self.take(4)?.try_into().map_or(0, u32::from_be_bytes) as usize;
        if len <= max {
            Ok(len)
        } else {
            Err(self.wrong(format!("{what} has {len} bytes, {max} are the most")))
        }
    }

    fn form(&mut self) -> Result<Form, BundleError> {
        let number = self.byte()?;
        Form::from_number(number).ok_or_else(|| self.wrong(format!("{number} is no form of a block")))
    }

    /// A block with this id, which the device has.
    fn present(&self, id: BlockId, out: &mut Vec<u8>) -> Result<(), BundleError> {
        let missing = || BundleError::Missing { id };
        let (system, block) = self.known.get(&id).ok_or_else(missing)?;
        out.resize(block.len, 0);
        (self.lookup)(*system, block, out).map_err(|_| missing())?;
        // What is on the medium may not be what was written there.
        if BlockId::of(out) == id { Ok(()) } else { Err(missing()) }
    }

    fn patched(&mut self, block: &Block) -> Result<Vec<u8>, BundleError> {
        let (form, level) = (self.form()?, self.byte()?);
        let len = self.len_up_to("a block", BLOCK_MAX)?;
        let count = usize::from(self.byte()?);
        if count > REFERENCE_COUNT_MAX {
            return Err(
                self.wrong(format!("a patch has {count} references, {REFERENCE_COUNT_MAX} are the most"))
            );
        }
        let (mut prefix, mut packed) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let id = BlockId(self.take(16)?.try_into().unwrap_or_default());
            let stated = self.len_up_to("a reference", BLOCK_MAX)?;
            let form = self.form()?;
            self.present(id, &mut packed)?;
            let decoded = form.decode(&packed, REFERENCES_MAX - prefix.len());
            let decoded = decoded.filter(|decoded| decoded.len() == stated);
            prefix.extend(
                decoded.ok_or_else(|| self.wrong("a reference holds something else than the delta says"))?,
            );
        }
        let patch_len = self.len_up_to("a patch", 2 * BLOCK_MAX)?;
        let patch = self.take(patch_len)?;
        let raw = unpatch(&prefix, &patch, len).ok_or_else(|| self.wrong("a patch is damaged"))?;
        drop(prefix);
        let made = form.encode(&raw, level).filter(|made| BlockId::of(made) == block.id);
        let file = || self.head.statement.files[block.file].name.clone();
        made.ok_or_else(|| BundleError::NotExact { file: file(), offset: block.offset })
    }
}

impl BlockSource for DeltaPayload<'_> {
    fn next(&mut self, block: &Block, out: &mut Vec<u8>) -> Result<(), BundleError> {
        if let Some(last) = self.last.replace(*block) {
            // The good slot is not written to, so its blocks are better to rely on.
            self.known.entry(last.id).or_insert((System::New, last));
        }
        match self.byte()? {
            op::PRESENT => self.present(block.id, out)?,
            op::LITERAL => *out = self.take(block.len)?,
            op::PATCH => *out = self.patched(block)?,
            other => return Err(self.wrong(format!("{other} is no kind of block"))),
        }
        ensure_signed(self.head, block, out)
    }

    fn end(&mut self) -> Result<(), BundleError> {
        ensure_ended(self.stream)
    }
}
