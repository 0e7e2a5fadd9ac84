//! Writes changed metadata so that a cut at any write leaves the old or the new state.

use super::disk::{Blocks, Disk};
use super::error::UpdateError;
use super::journal::Journal;
use super::super_block::{SECTOR, SUPER_BLOCK_OFFSET, SuperBlock};
use super::transaction::{Changed, Class};
use crate::value::Timestamp;

/// Both steps of a set of changes: what adds, then what removes.
pub(super) struct Steps {
    /// Every changed block once everything new is there.
    pub added: Changed,
    /// Every changed block in the end.
    pub last: Changed,
}

/// Writes the superblock over the one on the medium, and syncs.
pub(super) fn write_super_block(disk: &Disk, wanted: &SuperBlock) -> Result<(), UpdateError> {
    let mut found = [0; 1024];
    disk.read_bytes(SUPER_BLOCK_OFFSET, &mut found)?;
    let wanted = wanted.clone().over(&found);
    let bytes = wanted.bytes();
    let len = if bytes[SECTOR..] == found[SECTOR..] { SECTOR } else { bytes.len() };
    disk.write_bytes(SUPER_BLOCK_OFFSET, &bytes[..len])?;
    disk.sync()
}

impl Steps {
    /// Writes everything through the journal. `live` is the superblock of a filesystem in use, with the new counts.
    pub(super) fn write_with_journal(
        &self,
        disk: &Disk,
        journal: &mut Journal,
        live: &SuperBlock,
        time: Timestamp,
    ) -> Result<(), UpdateError> {
        let sequence = journal.next_sequence();
        journal.write(disk, &self.last, sequence, time)?;
        let mut before = read_super_block(disk, live)?;
        before.set_needs_recovery(true);
        before.seal();
        write_super_block(disk, &before)?;
        journal.start(disk, sequence)?;
        self.write_in_place(disk)?;
        write_super_block(disk, live)?;
        self.read_back(disk)?;
        journal.empty(disk, sequence.wrapping_add(1))
    }

    /// Writes everything without a journal, in an order in which a check finds nothing worse than blocks and inodes
    /// that no name leads to.
    pub(super) fn write_without_journal(&self, disk: &Disk, live: &SuperBlock) -> Result<(), UpdateError> {
        let mut before = read_super_block(disk, live)?;
        before.set_valid(false);
        before.seal();
        write_super_block(disk, &before)?;
        self.write_in_place(disk)?;
        self.read_back(disk)
    }

    /// Boot loaders read without looking at the journal: what a name leads to is there before the name, and what it
    /// led to is given up after it.
    fn write_in_place(&self, disk: &Disk) -> Result<(), UpdateError> {
        for class in [Class::Fresh, Class::Table] {
            write_class(disk, &self.added, class)?;
        }
        write_names(disk, &self.added)?;
        write_names(disk, &self.last)?;
        let changed = self.last.iter().filter(|(block, bytes)| self.added.get(block) != Some(bytes));
        let rest: Changed = changed.map(|(block, bytes)| (*block, bytes.clone())).collect();
        for class in [Class::Fresh, Class::Table] {
            write_class(disk, &rest, class)?;
        }
        Ok(())
    }

    fn read_back(&self, disk: &Disk) -> Result<(), UpdateError> {
        let metadata = self.last.iter().filter(|(_, (class, _))| *class != Class::Super);
        for (block, (_, bytes)) in metadata {
            disk.ensure_written(*block, bytes, "metadata")?;
        }
        Ok(())
    }
}

/// The superblock on the medium, with the features of `like`.
fn read_super_block(disk: &Disk, like: &SuperBlock) -> Result<SuperBlock, UpdateError> {
    let mut raw = [0; 1024];
    disk.read_bytes(SUPER_BLOCK_OFFSET, &mut raw)?;
    SuperBlock::parse(raw, SUPER_BLOCK_OFFSET, like.blocks_count() * like.block_size())
}

fn write_class(disk: &Disk, changed: &Changed, wanted: Class) -> Result<(), UpdateError> {
    for (block, (class, bytes)) in changed {
        if *class == wanted {
            disk.write(*block, bytes)?;
        }
    }
    disk.sync()
}

/// Writes blocks of directories, sector by sector from the last to the first: a new entry lies behind the one whose
/// unused end it takes, and is there before that one becomes shorter.
fn write_names(disk: &Disk, changed: &Changed) -> Result<(), UpdateError> {
    let sector = disk.sector();
    for (block, (class, bytes)) in changed {
        if *class != Class::Directory {
            continue;
        }
        let found = disk.block(*block)?;
        let differs = |at: &usize| found[*at..at + sector] != bytes[*at..at + sector];
        for at in (0..bytes.len()).step_by(sector).rev().filter(differs) {
            disk.write_bytes(block * disk.block_size() + at as u64, &bytes[at..at + sector])?;
            disk.sync()?;
        }
    }
    Ok(())
}
