//! Changes files of an existing ext4 without mounting it, so that a cut of the power at any write leaves the old or the
//! new state.
//!
//! A [`Volume`] is a filesystem on a target: made by this program, by mke2fs, or used for years by a kernel. New files
//! are staged first: [`Volume::stage`] writes their content into free blocks, where nothing leads to them. Then
//! [`Volume::commit`] makes names lead to them, renames and removes, all as one transaction:
//!
//! 1. The content of the staged files is synced and read back from the medium.
//! 2. All changed blocks of metadata are written into the filesystem's own journal, synced and read back. The journal
//!    is still empty for those who look.
//! 3. `needs_recovery` is set in the superblock, then the start of the log in the superblock of the journal. The latter
//!    is one sector: before it the state is the old one, behind it the new one, for the kernel and for e2fsck, which
//!    replay the journal.
//! 4. The blocks are written in place. Boot loaders read without replaying; for them the order is: new blocks, bitmaps
//!    and inodes, then names that are added or lead elsewhere, then names that are removed, then what is given up.
//!    Blocks of directories are written in an order of sectors in which every name leads to the old or the new file.
//!    Content and maps of removed files stay until something else takes their blocks.
//! 5. The journal is emptied, `needs_recovery` is cleared.
//!
//! The superblock is 1024 bytes with its checksum at the end, and a sector may be 512: so that a cut between its two
//! sectors cannot break it, only the first one is ever written, and four unused bytes of it (`s_snapshot_id`) are
//! chosen so that the checksum stays right.
//!
//! A filesystem without a journal is changed in the order of step 4, marked as not cleanly unmounted meanwhile: after a
//! cut e2fsck may find blocks, inodes and counts that no name leads to, and gives them back.
//!
//! A filesystem that was not unmounted is read as if its journal was replayed; the replay itself is written before
//! anything else is. Orphans, files that were deleted while open, stay for the kernel, which deletes them when it
//! mounts. What the features of a filesystem would have kept right and this module does not know, it refuses.
//!
//! After a failure of [`Volume::commit`] or [`Volume::stage`] the volume must be opened again before it is used
//! further.
//!
//! ```
//! # use skiff_disk::fs::ext4::{self, Journal};
//! # use skiff_disk::storage::Region;
//! use skiff_disk::fs::ext4::update::{Change, Volume};
//! use skiff_disk::storage::Memory;
//! use skiff_disk::tree::{Content, Stat};
//!
//! # let tree = skiff_disk::tree::Tree::new(Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 });
//! # let options = ext4::Options {
//! #     label: String::new(),
//! #     uuid: uuid::Uuid::nil(),
//! #     hash_seed: uuid::Uuid::nil(),
//! #     timestamp: 0,
//! #     bytes_per_inode: 16384,
//! #     inodes: 0,
//! #     reserved_percent: 5,
//! #     journal: Journal::Auto,
//! #     grow_to: 1 << 30,
//! # };
//! let disk = Memory::new(16 << 20);
//! # ext4::write(&ext4::layout(&tree, &options, 16 << 20)?, &Region::whole(&disk, "boot"))?;
//! let mut volume = Volume::open(&disk, 0, 16 << 20)?;
//! let stat = Stat { mode: 0o644, uid: 0, gid: 0, mtime: 1_700_000_000 };
//! let staged = volume.stage(&Content::bytes(b"slot=b\n".as_slice()), stat)?;
//! volume.commit(&[Change::Put { path: b"slot.conf".to_vec(), staged }], 1_700_000_000)?;
//! assert_eq!(Volume::open(&disk, 0, 16 << 20)?.read("slot.conf")?, b"slot=b\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sources: as [`super`], and `fs/jbd2`.

mod apply;
mod checksum;
mod commit;
mod directory;
mod disk;
mod entry;
mod error;
mod examine;
mod group;
mod inode;
mod journal;
mod look;
mod map;
mod names;
mod space;
mod stage;
mod super_block;
mod transaction;

use std::collections::BTreeSet;

pub use error::UpdateError;
pub use examine::Facts;
pub use stage::Staged;

use super::raw::get32;
use crate::storage::Target;
use crate::tree::{Content, Stat};
use crate::value::Timestamp;
use apply::Application;
use commit::{Steps, write_super_block};
use disk::{Blocks, Disk};
use error::corrupt;
use group::{Bitmap, Group};
use journal::Journal;
use map::Map;
use space::Space;
use super_block::{SUPER_BLOCK_OFFSET, SuperBlock};
use transaction::Transaction;

/// One change of a transaction. Paths are those inside the filesystem, with or without a leading `/`; links in them are
/// not followed.
pub enum Change {
    /// Lets a path lead to a new file, instead of the file that may be there.
    Put {
        /// Path of the file.
        path: Vec<u8>,
        /// Content of the file, see [`Volume::stage`].
        staged: Staged,
    },
    /// Gives a file another name, instead of the file that may have it; or a directory, within its parent.
    Rename {
        /// The old path.
        from: Vec<u8>,
        /// The new path.
        to: Vec<u8>,
    },
    /// Removes a file or an empty directory.
    Remove {
        /// Path of the node.
        path: Vec<u8>,
    },
    /// Makes a directory where nothing is.
    MakeDirectory {
        /// Path of the directory.
        path: Vec<u8>,
        /// Permissions, owner and time.
        stat: Stat,
    },
    /// Makes a symbolic link of root's, instead of the file that may be there.
    Symlink {
        /// Path of the link.
        path: Vec<u8>,
        /// Text of the link.
        target: Vec<u8>,
    },
}

/// Free space of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Free {
    /// Free blocks, those reserved for root among them.
    pub blocks: u64,
    /// Free inodes.
    pub inodes: u64,
    /// Bytes of a block.
    pub block_size: u64,
}

/// Kind of the node that a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, fifo or socket.
    Special,
}

/// Metadata of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Kind of the node.
    pub kind: Kind,
    /// Length in bytes.
    pub len: u64,
    /// Permissions, owner and time.
    pub stat: Stat,
    /// Number of names.
    pub links: u16,
    /// Its number.
    pub inode: u32,
    /// Blocks it takes.
    pub blocks: u64,
}

/// An existing ext4 on a target.
pub struct Volume<'a> {
    disk: Disk<'a>,
    super_block: SuperBlock,
    groups: Vec<Group>,
    journal: Option<Journal>,
    /// Number of the transaction behind those in the log, while it is not replayed.
    next_sequence: u32,
    space: Space,
    orphans: BTreeSet<u32>,
}

impl<'a> Volume<'a> {
    /// The filesystem that begins at byte `offset` of `target` and has at most `len` bytes. Nothing is written.
    pub fn open(target: &'a dyn Target, offset: u64, len: u64) -> Result<Volume<'a>, UpdateError> {
        let mut raw = [0; 1024];
        target.read_at(&mut raw, offset + SUPER_BLOCK_OFFSET)?;
        let super_block = SuperBlock::parse(raw, offset, len)?;
        let mut disk = Disk::new(target, offset, super_block.block_size(), super_block.blocks_count());
        let groups = load_groups(&disk, &super_block)?;
        let journal = match super_block.has_journal() {
            true => Some(Journal::open(&Transaction::new(&disk, &super_block, &groups))?),
            false => None,
        };
        let recovered = match &journal {
            Some(journal) if super_block.needs_recovery() => journal.scan(&disk)?,
            Some(journal) if !journal.is_empty() => {
                return Err(UpdateError::NeedsCheck {
                    state: "says that its journal is empty, which it is not",
                });
            }
            _ => journal::Recovered::default(),
        };
        disk.logged = recovered.logged;
        let needs_recovery = super_block.needs_recovery();
        let mut super_block = SuperBlock::parse(logged_super_block(&disk)?, offset, len)?;
        super_block.set_needs_recovery(needs_recovery);
        super_block.seal();
        super_block.ensure_valid()?;
        let groups = load_groups(&disk, &super_block)?;
        let space = Space::new(std::iter::empty(), super_block.block_size(), 0);
        let next_sequence = recovered.next_sequence;
        let orphans = BTreeSet::new();
        let mut volume = Volume { disk, super_block, groups, journal, next_sequence, space, orphans };
        volume.survey()?;
        Ok(volume)
    }

    /// Checks descriptors, and finds out what is free and which files are about to be deleted.
    fn survey(&mut self) -> Result<(), UpdateError> {
        for (number, group) in self.groups.iter().enumerate() {
            if !group.is_sound(number as u32, &self.super_block) {
                return Err(corrupt(format!("the checksum of the descriptor of group {number} is wrong")));
            }
        }
        let view = self.view();
        let mut runs = Vec::new();
        for group in 0..self.groups.len() as u32 {
            runs.extend(view.free_runs(group)?);
        }
        let inodes = self.groups.iter().map(|group| u64::from(group.free(Bitmap::Inodes))).sum();
        let (space, orphans) = (Space::new(runs.into_iter(), view.block_size(), inodes), orphans(&view)?);
        (self.space, self.orphans) = (space, orphans);
        Ok(())
    }

    fn view(&self) -> Transaction<'_> {
        Transaction::new(&self.disk, &self.super_block, &self.groups)
    }

    /// Returns the space besides that of the files that are staged.
    pub fn free(&self) -> Free {
        Free {
            blocks: self.space.blocks(),
            inodes: self.space.inodes(),
            block_size: self.super_block.block_size(),
        }
    }

    /// Most blocks a file of `len` bytes takes, if its free blocks lie in `free().blocks` single ones.
    pub fn blocks_for(&self, len: u64) -> u64 {
        let blocks = len.div_ceil(self.super_block.block_size());
        blocks + map::nodes_for(blocks.min(self.space.runs()), blocks, &self.super_block)
    }

    /// Returns whether the journal has to be replayed, which the first [`Volume::stage`] or [`Volume::commit`] does.
    pub fn needs_replay(&self) -> bool {
        self.super_block.needs_recovery()
    }

    /// Writes `content` into free blocks as a file that has no name yet; see [`Change::Put`]. Its blocks and inode are
    /// promised to it from now on, but only in memory.
    pub fn stage(&mut self, content: &Content, stat: Stat) -> Result<Staged, UpdateError> {
        self.replay()?;
        let view = Transaction::new(&self.disk, &self.super_block, &self.groups);
        stage::stage(&self.disk, &view, &mut self.space, content, stat)
    }

    /// Makes all `changes`, in their order, or none. `time` is that of changed directories and of new inodes.
    pub fn commit(&mut self, changes: &[Change], time: Timestamp) -> Result<(), UpdateError> {
        self.replay()?;
        self.disk.sync()?;
        for change in changes {
            if let Change::Put { staged, .. } = change {
                staged.ensure_written(&self.disk)?;
            }
        }
        let mut view = Transaction::new(&self.disk, &self.super_block, &self.groups);
        match self.journal {
            Some(_) => view.super_block.set_needs_recovery(true),
            None => view.super_block.set_valid(false),
        }
        let mut application = Application::new(&mut view, &mut self.space, &self.orphans, time);
        for change in changes {
            application.change(change)?;
        }
        application.add()?;
        let added = application.view.changed(time)?;
        application.remove()?;
        let steps = Steps { added, last: view.changed(time)? };
        let (mut done, groups) = (view.super_block.clone(), view.groups);
        match &mut self.journal {
            Some(journal) => steps.write_with_journal(&self.disk, journal, &done, time)?,
            None => steps.write_without_journal(&self.disk, &done)?,
        }
        done.set_needs_recovery(false);
        done.set_valid(true);
        done.seal();
        write_super_block(&self.disk, &done)?;
        (self.super_block, self.groups) = (done, groups);
        Ok(())
    }

    /// Writes what the journal holds, and empties it. After a cut it can be done again: the log stays until all of it
    /// is in place.
    fn replay(&mut self) -> Result<(), UpdateError> {
        let Some(journal) = self.journal.as_mut().filter(|_| self.super_block.needs_recovery()) else {
            return Ok(());
        };
        let super_block = SUPER_BLOCK_OFFSET / self.disk.block_size();
        for (block, logged) in &self.disk.logged {
            if *block != super_block {
                self.disk.write(*block, &self.disk.read_logged(*logged)?)?;
            }
        }
        self.disk.sync()?;
        for (block, logged) in self.disk.logged.iter().filter(|(block, _)| **block != super_block) {
            self.disk.ensure_written(*block, &self.disk.read_logged(*logged)?, "metadata of the journal")?;
        }
        write_super_block(&self.disk, &self.super_block)?;
        self.disk.logged.clear();
        journal.empty(&self.disk, self.next_sequence)?;
        self.super_block.set_needs_recovery(false);
        self.super_block.seal();
        write_super_block(&self.disk, &self.super_block)
    }
}

fn logged_super_block(disk: &Disk) -> Result<[u8; 1024], UpdateError> {
    let bytes = disk.block(SUPER_BLOCK_OFFSET / disk.block_size())?;
    let at = (SUPER_BLOCK_OFFSET % disk.block_size()) as usize;
    let mut raw = [0; 1024];
    raw.copy_from_slice(&bytes[at..at + 1024]);
    Ok(raw)
}

fn load_groups(disk: &Disk, super_block: &SuperBlock) -> Result<Vec<Group>, UpdateError> {
    let mut groups = Vec::new();
    let mut held = None;
    for group in 0..super_block.groups_count() {
        let (block, at) = super_block.descriptor_place(group);
        let bytes = match held.take() {
            Some((number, bytes)) if number == block => bytes,
            _ => disk.block(block)?,
        };
        groups.push(Group::new(&bytes[at..at + super_block.desc_size()]));
        held = Some((block, bytes));
    }
    Ok(groups)
}

/// The inodes that are to be deleted or cut when the filesystem is mounted.
fn orphans(view: &Transaction) -> Result<BTreeSet<u32>, UpdateError> {
    let mut orphans = BTreeSet::new();
    let mut next = view.super_block.last_orphan();
    while next != 0 {
        if !orphans.insert(next) {
            return Err(corrupt("the list of orphans is a ring"));
        }
        next = view.inode(next)?.dtime();
    }
    if let Some(file) = view.super_block.orphan_file() {
        let map = Map::read(view, &view.inode(file)?, &view.super_block)?;
        for block in map.runs.iter().flat_map(|run| run.physical..run.physical + run.len) {
            // The last eight bytes are a magic number and a checksum.
            let bytes = view.block(block)?;
            let entries = bytes[..bytes.len() - 8].chunks_exact(4).map(|entry| get32(entry, 0));
            orphans.extend(entries.filter(|inode| *inode != 0));
        }
    }
    Ok(orphans)
}
