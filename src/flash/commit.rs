//! The order in which a medium is written, so that it never looks bootable before it is.

use std::ops::Range;

use std::cell::Cell;

use super::bmap::Bmap;
use super::event::{Event, Listener, Phase, begin};
use super::held::Held;
use super::sums::{sum, verify_and_sum};
use super::verify::{Damage, RegionRange, verify};
use crate::error::{Error, Family, Report, Result};
use crate::table::TableBytes;
use crate::target::{Record, Recorder, Target, TargetError};

/// What an old partition table, of any kind and sector size, has at the start and at the end of a disk.
const WIPED: u64 = 1 << 20;

/// What begins before this is a part of sector 0.
const SECTOR_0: u64 = 512;

/// How many damaged ranges a message names.
const NAMED: usize = 3;

/// Bytes that make a medium bootable: boot code and partition tables.
pub type Critical = TableBytes;

/// One run: see [`Commit::run`].
pub struct Commit<'a> {
    /// Where everything goes.
    pub target: &'a dyn Target,
    /// Whether the target is a medium that may hold an older table. An image file is fresh and is removed when
    /// the run fails.
    pub used: bool,
    /// What is written when all the rest was read back clean: first what lies behind sector 0, then, when that
    /// was read back too, sector 0. Within these in this order.
    pub critical: &'a [Critical],
    /// Names for ranges, for messages about damage.
    pub regions: &'a [RegionRange],
    /// Is told the progress.
    pub listener: &'a dyn Listener,
    /// Bytes that `body` writes, if they are known, for the progress.
    pub expected_len: Option<u64>,
}

/// Why a medium was not written.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The medium does not hold what was written to it.
    #[error("`{target}` does not hold what was written: {}{}", list(damage), table)]
    Mismatch {
        /// Name of the target.
        target: String,
        /// All damaged ranges.
        damage: Vec<Damage>,
        /// What became of the table.
        table: TableState,
    },
    /// Something else failed before the medium was complete.
    #[error("{message}{table}")]
    Unfinished {
        /// What failed.
        message: String,
        /// Whose fault it is.
        family: Family,
        /// What to do about it.
        hint: Option<String>,
        /// What became of the table.
        table: TableState,
    },
}

/// What became of the partition table of a medium that was not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableState {
    /// It is an image file, which is removed.
    Removed,
    /// There is none.
    Wiped,
    /// The target is a partition, and what was in it is gone.
    Emptied,
    /// The medium did not answer when it was to be wiped.
    Unknown,
}

impl std::fmt::Display for TableState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TableState::Removed => "",
            TableState::Wiped => "; it was left without a partition table, so that nothing boots from it",
            TableState::Emptied => "; it was left without a filesystem, so that nothing mounts it",
            TableState::Unknown => "; it could not be wiped either: do not boot from it",
        })
    }
}

fn list(damage: &[Damage]) -> String {
    let named: Vec<String> = damage.iter().take(NAMED).map(Damage::to_string).collect();
    match damage.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more ranges", named.join(", ")),
    }
}

impl FlashError {
    /// The same about a partition, whose disk keeps its table.
    pub fn of_partition(mut self) -> FlashError {
        let (FlashError::Mismatch { table, .. } | FlashError::Unfinished { table, .. }) = &mut self;
        if *table == TableState::Wiped {
            *table = TableState::Emptied;
        }
        self
    }
}

impl Report for FlashError {
    fn family(&self) -> Family {
        match self {
            FlashError::Mismatch { .. } => Family::Mismatch,
            FlashError::Unfinished { family, .. } => *family,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            FlashError::Mismatch { .. } => {
                Some("try again with another reader or cable; if it stays, the medium is worn out".into())
            }
            FlashError::Unfinished { hint, .. } => hint.clone(),
        }
    }
}

impl Commit<'_> {
    /// Wipes the old table, has `body` write everything but [`Commit::critical`], syncs, reads all of that back
    /// from the medium, and only when it is clean writes the critical bytes and reads them back too. A failure
    /// leaves a medium without a partition table.
    ///
    /// Returns what was written.
    ///
    /// ```
    /// use skiff_image::flash::{Commit, Silent};
    /// use skiff_image::target::{Memory, Region, Target};
    ///
    /// # fn main() -> skiff_image::Result<()> {
    /// let target = Memory::new(64 << 20);
    /// let critical = skiff_image::table::mbr::encode(0x1234, &[], target.geometry())?;
    /// let commit = Commit {
    ///     target: &target,
    ///     used: true,
    ///     critical: &critical,
    ///     regions: &[],
    ///     listener: &Silent,
    ///     expected_len: None,
    /// };
    /// let record = commit.run(|target| {
    ///     let region = Region::new(target, "boot", 1 << 20, 4 << 20, "the end of the target");
    ///     Ok(region.write_at(b"first stage", 0)?)
    /// })?;
    /// assert_eq!(record.extents.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn run(&self, body: impl FnOnce(&dyn Target) -> Result<()>) -> Result<Record> {
        self.guarded(|wiped| {
            let written = self.write_body(body, wiped)?;
            self.read_back(&written)?;
            self.write_table(self.critical, written, wiped)
        })
    }

    /// Like [`Commit::run`], for a filesystem that begins at the first byte: nothing mounts it as long as its first
    /// `held` bytes are not there, so they come last and are critical too.
    pub fn run_held(&self, held: u64, body: impl FnOnce(&dyn Target) -> Result<()>) -> Result<Record> {
        self.guarded(|wiped| {
            let start = Held::new(held);
            let written = self.write_body(|target| body(&start.before(target)), wiped)?;
            self.read_back(&written)?;
            let start = TableBytes { name: "start".into(), offset: 0, bytes: start.into_bytes() };
            self.write_table(&[start], written, wiped)
        })
    }

    /// Like [`Commit::run`]; also returns the block map, whose checksums are those of what was read back.
    pub fn run_mapped(&self, body: impl FnOnce(&dyn Target) -> Result<()>) -> Result<(Record, Bmap)> {
        self.guarded(|wiped| {
            let written = self.write_body(body, wiped)?;
            begin(self.listener, Phase::ReadBack, written.len());
            let (damage, sums) = verify_and_sum(self.target, &written, self.regions, self.listener)?;
            self.reject_damage(damage)?;
            let record = self.write_table(self.critical, written, wiped)?;
            // What holds critical bytes was read before they were there.
            let is_new = |range: &Range<u64>| {
                let meets = |piece: &Critical| {
                    piece.offset < range.end && range.start < piece.offset + piece.bytes.len() as u64
                };
                self.critical.iter().any(meets)
            };
            let map = Bmap::with_sums(self.target.geometry().len, &record, |range| {
                match sums.get(range).filter(|_| !is_new(range)) {
                    Some(sum) => Ok(sum),
                    None => sum(self.target, range),
                }
            })?;
            Ok((record, map))
        })
    }

    /// `run` sets whether the medium has no table that counts.
    fn guarded<T>(&self, run: impl FnOnce(&Cell<bool>) -> Result<T>) -> Result<T> {
        let wiped = Cell::new(false);
        run(&wiped).map_err(|error| self.abandon(error, wiped.get()))
    }

    /// Writes everything but the critical bytes.
    fn write_body(&self, body: impl FnOnce(&dyn Target) -> Result<()>, wiped: &Cell<bool>) -> Result<Record> {
        self.wipe()?;
        wiped.set(true);
        begin(self.listener, Phase::Write, self.expected_len);
        let progress = Progress { target: self.target, listener: self.listener };
        let recorder = Recorder::new(&progress);
        body(&recorder)?;
        let written = recorder.into_record();
        self.reject_collisions(&written)?;
        self.sync()?;
        Ok(written)
    }

    /// Writes the critical bytes; returns what was written with `written`.
    fn write_table(&self, critical: &[Critical], written: Record, wiped: &Cell<bool>) -> Result<Record> {
        // Sector 0 last and alone: only with it do the other tables and the boot code count.
        let (last, first): (Vec<_>, Vec<_>) = critical.iter().partition(|piece| piece.offset < SECTOR_0);
        let record = written.merge(self.write_critical(&first)?);
        wiped.set(false);
        Ok(record.merge(self.write_critical(&last)?))
    }

    /// Zeroes where partition tables are.
    fn wipe(&self) -> Result<(), TargetError> {
        if !self.used {
            return Ok(());
        }
        begin(self.listener, Phase::Wipe, None);
        let len = self.target.geometry().len;
        self.target.zero(0, WIPED.min(len))?;
        self.target.zero(len.saturating_sub(WIPED), WIPED.min(len))?;
        self.target.sync()
    }

    /// The critical bytes must meet neither each other nor what was written before: they pass another recorder.
    fn reject_collisions(&self, written: &Record) -> Result<(), TargetError> {
        let range = |piece: &Critical| piece.offset..piece.offset + piece.bytes.len() as u64;
        let mut critical: Vec<Range<u64>> = self.critical.iter().map(range).collect();
        critical.sort_by_key(|range| range.start);
        let twice =
            |first, second| TargetError::WrittenTwice { target: self.target.name().into(), first, second };
        if let Some(pair) = critical.windows(2).find(|pair| pair[0].end > pair[1].start) {
            return Err(twice(pair[0].clone(), pair[1].clone()));
        }
        for second in critical {
            let index = written.extents.partition_point(|extent| extent.range().end <= second.start);
            let first = written.extents.get(index).map(|extent| extent.range());
            if let Some(first) = first.filter(|first| first.start < second.end) {
                return Err(twice(first, second));
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), TargetError> {
        begin(self.listener, Phase::Sync, None);
        self.target.sync()
    }

    fn read_back(&self, record: &Record) -> Result<()> {
        begin(self.listener, Phase::ReadBack, record.len());
        self.reject_damage(verify(self.target, record, self.regions, self.listener)?)
    }

    fn reject_damage(&self, damage: Vec<Damage>) -> Result<()> {
        if damage.is_empty() {
            return Ok(());
        }
        Err(FlashError::Mismatch { target: self.target.name().into(), damage, table: TableState::Removed }
            .into())
    }

    /// Writes, syncs and reads back.
    fn write_critical(&self, pieces: &[&Critical]) -> Result<Record> {
        if pieces.is_empty() {
            return Ok(Record::default());
        }
        let total: u64 = pieces.iter().map(|piece| piece.bytes.len() as u64).sum();
        begin(self.listener, Phase::Commit, total);
        let recorder = Recorder::new(self.target);
        for piece in pieces {
            recorder.write_at(&piece.bytes, piece.offset)?;
            self.listener.event(Event::Advance { bytes: piece.bytes.len() as u64 });
        }
        let record = recorder.into_record();
        self.sync()?;
        self.read_back(&record)?;
        Ok(record)
    }

    /// Removes what may already be there of the table, as far as the medium still answers, and says so.
    fn abandon(&self, error: Error, wiped: bool) -> Error {
        if !self.used {
            return error;
        }
        // A medium that is gone cannot be wiped either; the first error is the one that matters.
        let cleared = self.wipe().is_ok();
        let table = if cleared || wiped { TableState::Wiped } else { TableState::Unknown };
        match error.downcast::<FlashError>() {
            Ok(FlashError::Mismatch { target, damage, .. }) => FlashError::Mismatch { target, damage, table },
            Ok(FlashError::Unfinished { message, family, hint, .. }) => {
                FlashError::Unfinished { message, family, hint, table }
            }
            Err(error) => {
                let (message, family, hint) = (error.to_string(), error.family(), error.hint());
                FlashError::Unfinished { message, family, hint, table }
            }
        }
        .into()
    }
}

/// Tells the listener how much was written.
struct Progress<'a> {
    target: &'a dyn Target,
    listener: &'a dyn Listener,
}

impl Target for Progress<'_> {
    fn name(&self) -> &str {
        self.target.name()
    }

    fn geometry(&self) -> crate::target::Geometry {
        self.target.geometry()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.target.read_at(buf, offset)
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.target.read_back(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        self.target.write_at(buf, offset)?;
        self.listener.event(Event::Advance { bytes: buf.len() as u64 });
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.target.zero(offset, len)?;
        self.listener.event(Event::Advance { bytes: len });
        Ok(())
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.target.sync()
    }
}
