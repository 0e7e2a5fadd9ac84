//! Deltas that are made, on a host.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use super::form::patch;
use super::{Form, REFERENCE_COUNT_MAX, REFERENCES_MAX, op};
use crate::bundle::{BLOCK_MAX, Block, BlockId, Head, Kind};

/// Reads a block of a system.
pub type ReadBlock<'a> = dyn FnMut(&Block, &mut Vec<u8>) -> io::Result<()> + 'a;

/// A system, and the way to its blocks.
pub struct System<'a> {
    /// Its head.
    pub head: &'a Head,
    /// Reads one of its blocks.
    pub read: &'a mut ReadBlock<'a>,
}

/// What a delta consists of: numbers of blocks, and bytes that they take in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Blocks that the device has.
    pub present: usize,
    /// Blocks as they are.
    pub literal: usize,
    /// Bytes of them.
    pub literal_len: u64,
    /// Blocks that are made from others.
    pub patched: usize,
    /// Bytes of the patches.
    pub patched_len: u64,
}

/// Decoded bytes of the references of one patch. Twice as many make patches 3 % smaller, and cost the device 4 MiB.
const REFERENCES: usize = 4 << 20;
/// Levels that are tried: those that the composer and `mksquashfs` use by themselves first.
const LEVELS: [u8; 22] = [9, 15, 19, 3, 22, 6, 12, 1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 18, 20, 21];
/// Blocks that no level makes before no other is looked at: they are compressed in another way.
const PATIENCE: usize = 3;

/// Writes what a device with the system `old` needs to make `new`.
pub fn write<'a>(old: System<'a>, new: System<'a>, out: &mut dyn Write) -> io::Result<Summary> {
    out.write_all(&new.head.parts.to_bytes(Kind::Delta))?;
    let mut writer = Writer::new(old, new.head);
    let mut bytes = Vec::new();
    for block in new.head.index.blocks() {
        if writer.is_present(block) {
            out.write_all(&[op::PRESENT])?;
            continue;
        }
        (new.read)(block, &mut bytes)?;
        match writer.patch(block, &bytes)? {
            Some(patch) if patch.len() < bytes.len() => {
                writer.summary.patched += 1;
                writer.summary.patched_len += patch.len() as u64;
                out.write_all(&patch)?;
            }
            _ => {
                writer.summary.literal += 1;
                writer.summary.literal_len += bytes.len() as u64;
                out.write_all(&[op::LITERAL])?;
                out.write_all(&bytes)?;
            }
        }
    }
    Ok(writer.summary)
}

struct Writer<'a> {
    old: System<'a>,
    new: &'a Head,
    /// Blocks of the old system by id: where in its index they are.
    places: HashMap<BlockId, usize>,
    /// Blocks of the new system so far.
    made: HashSet<BlockId>,
    /// Blocks of the old system that the new one has not, in order.
    vanished: Vec<usize>,
    /// The one of them that the next new block is probably like.
    next: usize,
    level: Option<u8>,
    /// Blocks that no level has made.
    failed: usize,
    summary: Summary,
}

impl<'a> Writer<'a> {
    fn new(old: System<'a>, new: &'a Head) -> Writer<'a> {
        let blocks = old.head.index.blocks();
        let kept: HashSet<BlockId> = new.index.blocks().iter().map(|block| block.id).collect();
        let vanished = (0..blocks.len()).filter(|index| !kept.contains(&blocks[*index].id)).collect();
        // The first of equal blocks.
        let places = blocks.iter().enumerate().rev().map(|(index, block)| (block.id, index)).collect();
        Writer {
            old,
            new,
            places,
            made: HashSet::new(),
            vanished,
            next: 0,
            level: None,
            failed: 0,
            summary: Summary::default(),
        }
    }

    /// Whether the device has the block when it wants it.
    fn is_present(&mut self, block: &Block) -> bool {
        if let Some(place) = self.places.get(&block.id) {
            self.next = self.vanished.partition_point(|index| index < place);
            self.summary.present += 1;
            return true;
        }
        let first = self.made.insert(block.id);
        self.summary.present += usize::from(!first);
        !first
    }

    /// The block as a patch.
    fn patch(&mut self, block: &Block, bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let (form, raw, level) = match self.decode(bytes) {
            Some(decoded) => decoded,
            None => (Form::Plain, bytes.to_vec(), 0),
        };
        let (references, prefix) = self.references(block, form)?;
        self.next = (self.next + 1).min(self.vanished.len());
        let Some(frame) = patch(&prefix, &raw) else { return Ok(None) };
        let mut op = vec![op::PATCH, form.number(), level];
        put_len(&mut op, raw.len());
        op.push(references.len() as u8);
        op.extend(references.concat());
        put_len(&mut op, frame.len());
        op.extend(frame);
        Ok(Some(op))
    }

    /// What a block holds, and the form and level in which a device makes exactly this block from it.
    fn decode(&mut self, bytes: &[u8]) -> Option<(Form, Vec<u8>, u8)> {
        let form = form_of(bytes)?;
        let raw = form.decode(bytes, BLOCK_MAX)?;
        let exact = |level: u8| form.encode(&raw, level).is_some_and(|made| made == bytes);
        if let Some(level) = self.level {
            return exact(level).then_some((form, raw, level));
        }
        if self.failed == PATIENCE {
            return None;
        }
        self.level = LEVELS.into_iter().find(|level| exact(*level));
        self.failed += usize::from(self.level.is_none());
        self.level.map(|level| (form, raw, level))
    }

    /// Old blocks around the place that the block probably came from, as a patch names them, and what they hold.
    fn references(&mut self, block: &Block, form: Form) -> io::Result<(Vec<Vec<u8>>, Vec<u8>)> {
        let (mut chosen, mut len) = (Vec::new(), 0);
        let mut packed = Vec::new();
        for index in around(self.next, &self.vanished) {
            let candidate = self.old.head.index.blocks()[index];
            if self.old.head.statement.files[candidate.file].name != self.new.statement.files[block.file].name
            {
                continue;
            }
            (self.old.read)(&candidate, &mut packed)?;
            let found = form_of(&packed).unwrap_or(Form::Plain);
            let Some(raw) = found.decode(&packed, BLOCK_MAX).filter(|_| found == form) else { continue };
            if len + raw.len() > REFERENCES.min(REFERENCES_MAX) || chosen.len() == REFERENCE_COUNT_MAX {
                break;
            }
            len += raw.len();
            chosen.push((index, candidate.id, raw));
        }
        // In the order of the old system, which is that of the new one.
        chosen.sort_unstable_by_key(|(index, ..)| *index);
        let mut references = Vec::new();
        for (_, id, raw) in &chosen {
            let mut reference = id.0.to_vec();
            put_len(&mut reference, raw.len());
            reference.push(form.number());
            references.push(reference);
        }
        Ok((references, chosen.into_iter().flat_map(|(_, _, raw)| raw).collect()))
    }
}

/// The elements around one place, the nearest first.
fn around(place: usize, elements: &[usize]) -> impl Iterator<Item = usize> {
    let after =
        elements[place.min(elements.len())..].iter().copied().map(Some).chain(std::iter::repeat(None));
    let before =
        elements[..place.min(elements.len())].iter().rev().copied().map(Some).chain(std::iter::repeat(None));
    let both = after.zip(before).take(elements.len());
    both.flat_map(|(after, before)| [after, before]).flatten()
}

/// Form of a compressed block.
fn form_of(bytes: &[u8]) -> Option<Form> {
    const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    if bytes.starts_with(&ZSTD_MAGIC) {
        return Some(Form::Zstd);
    }
    bytes.get(2..)?.starts_with(&ZSTD_MAGIC).then_some(Form::Metadata)
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("blocks are far below 4 GiB");
    out.extend_from_slice(&len.to_be_bytes());
}
