//! The order in which a medium is written, so that it never looks bootable before it is.

use std::ops::Range;

use std::cell::Cell;

use serde::Serialize;

use super::changed::Changed;
use super::failure::{FlashError, TableState};
use super::grow::{Fitted, Growth, ResizePolicy};
use super::journal::Journal;
use super::order;
use super::probe;
use super::progress::Progress;
use crate::bmap::Bmap;
use crate::device::marker;
use crate::error::{Error, Result};
use crate::event::{Event, Listener, Phase, Silent, begin};
use crate::interrupt::{Interrupt, Interruptible};
use crate::readback::{
    Code, Damage, Examiner, Only, RegionRange, Replay, explain, sum, verify, verify_and_sum,
};
use crate::source::Source;
use crate::storage::{Extent, Log, Record, Recorder, Target, TargetError};
use crate::table::TableBytes;
use crate::value::Digest;

/// One run: see [`Commit::run`].
pub struct Commit<'a> {
    /// Target of everything.
    pub target: &'a dyn Target,
    /// True if the target is a medium that may hold an older table. An image file is fresh and is removed when
    /// the run fails.
    pub used: bool,
    /// Names for ranges, for messages about damage.
    pub regions: &'a [RegionRange],
    /// Receives the progress.
    pub listener: &'a dyn Listener,
    /// Options of the run.
    pub options: FlashOptions<'a>,
}

/// Options of a run. They do not change what the medium holds in the end.
#[derive(Clone, Copy, Default)]
pub struct FlashOptions<'a> {
    /// Number of times that ranges which were read back wrong are written again.
    pub retries: u32,
    /// Read first, and write only what differs.
    pub only_changed: bool,
    /// Find out first whether the medium is as large as it says, with markers that this seed makes others than those
    /// of earlier runs. Without it a medium that begins again behind its end is only noticed where that destroys what
    /// was written before it was read back: not what only the table or what nothing has changed meets.
    pub probe: Option<u64>,
    /// Treatment of old bytes where the source writes nothing.
    pub unwritten: Unwritten,
    /// Remembers what is on the medium, for a run that goes on after an interruption.
    pub journal: Option<&'a Journal>,
    /// Parts that are made to fit a medium that is larger than the source.
    pub fit: ResizePolicy,
    /// Ends the run when it is raised before everything was read back. What makes the medium bootable is then
    /// written in moments, and to the end.
    pub interrupt: Option<&'a Interrupt>,
}

/// Treatment of old bytes where nothing is written, which nobody reads through a filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unwritten {
    /// They stay.
    #[default]
    Keep,
    /// They are discarded if the medium can do that, else they stay.
    Discard,
    /// They are discarded if the medium can do that and reads zeros afterwards, else they are overwritten with
    /// zeros.
    Zero,
}

/// Result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Record of the medium as it is now, all of it read back.
    pub record: Record,
    /// Bytes that were right before and not written.
    pub unchanged: u64,
    /// Bytes that an earlier run had written.
    pub resumed: u64,
    /// Ranges that had to be written more than once.
    pub rewritten: Vec<Rewritten>,
    /// Parts that were made to fit the medium.
    pub fitted: Fitted,
}

/// A range that was read back wrong at first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rewritten {
    /// Damage that was mended.
    #[serde(flatten)]
    pub damage: Damage,
    /// Number of times that it was written again until it was right.
    pub times: u32,
}

impl Commit<'_> {
    /// Wipes the old table, has `source` write everything but what makes the medium bootable, syncs, reads all of
    /// that back from the medium, writes again what was wrong, and only when it is clean writes the critical bytes
    /// and reads them back too: first what lies behind sector 0, then sector 0. A failure leaves a medium without a
    /// partition table.
    ///
    /// ```
    /// use skiff_image::event::Silent;
    /// use skiff_image::flash::{Commit, FlashOptions};
    /// use skiff_image::storage::{Memory, Region, Target};
    ///
    /// # fn main() -> skiff_image::Result<()> {
    /// let target = Memory::new(64 << 20);
    /// let geometry = target.geometry();
    /// let commit =
    ///     Commit { target: &target, used: true, regions: &[], listener: &Silent, options: FlashOptions::default() };
    /// let done = commit.run(&|target: &dyn Target| {
    ///     let region = Region::new(target, "boot", 1 << 20, 4 << 20, "the end of the target");
    ///     region.write_at(b"first stage", 0)?;
    ///     Ok(skiff_image::table::mbr::encode(0x1234, &[], geometry)?)
    /// })?;
    /// assert_eq!(done.record.extents.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn run(&self, source: &dyn Source) -> Result<Done> {
        let wiped_before = self.is_wiped()?;
        self.guarded(|wiped| {
            let body = self.write_body(source, wiped_before, wiped)?;
            let rewritten = self.read_back(&body, source)?;
            let body = self.fit(body)?;
            self.finish(body, rewritten, wiped)
        })
    }

    /// Like [`Commit::run`]; also returns the block map, whose checksums are those of what was read back.
    pub fn run_mapped(&self, source: &dyn Source) -> Result<(Done, Bmap)> {
        self.guarded(|wiped| {
            let body = self.write_body(source, false, wiped)?;
            begin(self.listener, Phase::ReadBack, body.record.len());
            let (damage, sums) =
                verify_and_sum(&self.interruptible(), &body.record, self.regions, self.listener)?;
            self.reject_damage(damage, 1, source)?;
            let critical: Vec<Range<u64>> = body.critical.iter().map(range).collect();
            let done = self.finish(body, Vec::new(), wiped)?;
            // What holds critical bytes was read before they were there.
            let is_new = |bytes: &Range<u64>| {
                critical.iter().any(|new| new.start < bytes.end && bytes.start < new.end)
            };
            let map = Bmap::with_sums(self.target.geometry().len, &done.record, |range| {
                match sums.get(range).filter(|_| !is_new(range)) {
                    Some(sum) => Ok(sum),
                    None => sum(self.target, range),
                }
            })?;
            Ok((done, map))
        })
    }

    /// `run` sets whether the medium has no table that counts.
    fn guarded<T>(&self, run: impl FnOnce(&Cell<bool>) -> Result<T>) -> Result<T> {
        let wiped = Cell::new(false);
        run(&wiped).map_err(|error| self.abandon(error, wiped.get()))
    }

    /// Writes everything but the critical bytes.
    fn write_body(&self, source: &dyn Source, wiped_before: bool, wiped: &Cell<bool>) -> Result<Body> {
        self.prepare(wiped_before, wiped)?;
        begin(self.listener, Phase::Write, source.planned());
        let interruptible = self.interruptible();
        // What is really written: the rest was read and is right.
        let differing = Recorder::new(&interruptible);
        let changed = Changed::new(&differing);
        let target: &dyn Target = if self.options.only_changed { &changed } else { &interruptible };
        let recorder = self.recorder(target);
        // In front of all that leaves writes out: what was right before or is known from an earlier run is done, too.
        let progress = Progress { target: &recorder, listener: self.listener };
        let critical = source.write(&progress)?;
        // It is held back, and has been taken from the source.
        self.listener.event(Event::Advance { bytes: total(&critical) });
        let record = recorder.into_record();
        self.reject_collisions(&record, &critical)?;
        let kept = self.clear_probed(&record)? & self.clear_unwritten(&record, source.len())?;
        self.sync()?;
        // What was right before counts no more when a write went somewhere else.
        let unchanged = changed.skipped();
        let unread = (self.options.only_changed && kept).then(|| differing.into_record());
        Ok(Body { record, critical, unchanged, unread, fitted: Fitted::default() })
    }

    /// Returns a recorder; what passes it is known to the journal.
    fn recorder<'t>(&'t self, target: &'t dyn Target) -> Recorder<'t> {
        Recorder::with_log(target, self.options.journal.map(|journal| journal as &dyn Log))
    }

    /// Returns whether an earlier run, which this one goes on with, has left the medium without a table. Fails, and
    /// changes nothing, if the medium is not as that run left it.
    fn is_wiped(&self) -> Result<bool> {
        match self.options.journal.filter(|journal| journal.is_resumed()) {
            Some(journal) => journal.ensure_marked(self.target),
            None => Ok(false),
        }
    }

    /// Removes the old table unless that was done before, and asks the medium how large it is.
    fn prepare(&self, resumed: bool, wiped: &Cell<bool>) -> Result<()> {
        if !resumed {
            self.wipe()?;
        }
        wiped.set(true);
        match self.options.probe.filter(|_| self.used && !resumed) {
            Some(seed) => Ok(probe::capacity(self.target, seed, self.listener)?),
            None => Ok(()),
        }
    }

    /// Zeroes where partition tables are, makes sure of that, and says in sector 0 that the medium is unfinished.
    fn wipe(&self) -> Result<()> {
        if !self.used {
            return Ok(());
        }
        begin(self.listener, Phase::Wipe, None);
        let mut damage = self.wipe_once()?;
        for _ in 0..self.options.retries {
            damage = if damage.is_empty() { break } else { self.wipe_once()? };
        }
        self.reject_damage(damage, 1 + self.options.retries, &|target: &dyn Target| {
            order::wipe(target)?;
            Ok(Vec::new())
        })?;
        let Some(journal) = self.options.journal else { return Ok(()) };
        marker::write(self.target, journal.run())?;
        Ok(self.target.sync()?)
    }

    /// Wipes, and returns what is not zero then: a medium that drops what is written to it keeps its table.
    fn wipe_once(&self) -> Result<Vec<Damage>, TargetError> {
        order::wipe(self.target)?;
        verify(self.target, &order::wiped(self.target.geometry().len), self.regions, &Silent)
    }

    /// Reads the body back and writes again what is wrong, a few times at most.
    fn read_back(&self, body: &Body, source: &dyn Source) -> Result<Vec<Rewritten>> {
        let mut damage = self.compare(body.unread.as_ref().unwrap_or(&body.record))?;
        let (mut rewritten, mut times) = (Vec::new(), 0);
        while !damage.is_empty() && times < self.options.retries && source.replays() {
            times += 1;
            self.rewrite(&mut damage, times, source)?;
            let again = Record { extents: damage.iter().map(Damage::wanted).collect() };
            let still = self.compare(&again)?;
            let mended = |bad: &Damage| !still.iter().any(|still| still.offset == bad.offset);
            rewritten.extend(damage.into_iter().filter(mended).map(|damage| Rewritten { damage, times }));
            // What went wrong may have gone over what was right before.
            damage = if still.is_empty() { self.compare(&body.record)? } else { still };
        }
        self.reject_damage(damage, 1 + times, source)?;
        Ok(rewritten)
    }

    /// Runs the source again for the damaged ranges; what is wrong with them is found out on the way.
    fn rewrite(&self, damage: &mut [Damage], attempt: u32, source: &dyn Source) -> Result<()> {
        let bytes = damage.iter().map(|damage| damage.len).sum();
        let (of, extents) = (self.options.retries, damage.len() as u64);
        self.listener.event(Event::Retry { attempt, of, extents, bytes });
        begin(self.listener, Phase::Rewrite, bytes);
        let interruptible = self.interruptible();
        let progress = Progress { target: &interruptible, listener: self.listener };
        let examiner = Examiner::new(&progress, attempt, true);
        let ranges = damage.iter().map(|damage| damage.offset..damage.offset + damage.len).collect();
        source.write(&Only::new(&examiner, ranges))?;
        examiner.annotate(damage);
        Ok(self.sync()?)
    }

    /// Makes table, last partition and filesystem of a body that was read back fit the medium; what that changes is
    /// read back too.
    fn fit(&self, body: Body) -> Result<Body> {
        let extend = match self.options.fit {
            ResizePolicy::Nothing => return Ok(body),
            ResizePolicy::Table => false,
            ResizePolicy::LastPartition => true,
        };
        let growth = Growth::plan(self.target, &body.critical, extend)?;
        let (record, changed) = growth.amend(self.target, body.record)?;
        let write = || -> Result<Vec<Damage>> {
            begin(self.listener, Phase::Fit, changed.len());
            growth.write(&Progress { target: self.target, listener: self.listener })?;
            self.sync()?;
            self.compare(&changed)
        };
        if !changed.is_empty() {
            if let Some(journal) = self.options.journal {
                journal.forget(changed.extents.iter().map(Extent::range).collect());
            }
            let (mut damage, mut writes) = (write()?, 1);
            while !damage.is_empty() && writes <= self.options.retries {
                (damage, writes) = (write()?, writes + 1);
            }
            let changes = |target: &dyn Target| {
                growth.write(target)?;
                Ok(Vec::new())
            };
            self.reject_damage(damage, writes, &changes)?;
        }
        let Growth { critical, fitted, .. } = growth;
        self.reject_collisions(&record, &critical)?;
        Ok(Body { record, critical, fitted, ..body })
    }

    /// Writes the critical bytes behind a body that was read back.
    fn finish(&self, body: Body, rewritten: Vec<Rewritten>, wiped: &Cell<bool>) -> Result<Done> {
        if let Some(journal) = self.options.journal {
            journal.commit();
        }
        let Body { record, critical, unchanged, fitted, .. } = body;
        let record = self.write_table(&critical, record, wiped)?;
        let resumed = self.options.journal.map_or(0, Journal::skipped);
        Ok(Done { record, unchanged, resumed, rewritten, fitted })
    }

    /// Writes the critical bytes; returns what was written with `body`.
    fn write_table(&self, critical: &[TableBytes], body: Record, wiped: &Cell<bool>) -> Result<Record> {
        let [first, second, last] = order::cut(critical, self.target.geometry());
        let mut record = body;
        for pieces in [first, second] {
            let (written, first_time) = self.write_critical(&pieces)?;
            record = record.merge(written);
            self.ensure_unharmed(&record, first_time, critical)?;
        }
        wiped.set(false);
        let (last, first_time) = self.write_sector_0(&last, &record)?;
        let record = record.merge(last);
        self.ensure_unharmed(&record, first_time, critical)?;
        Ok(record)
    }

    /// A write that went wrong may have gone over what was right before.
    fn ensure_unharmed(&self, record: &Record, right: bool, critical: &[TableBytes]) -> Result<()> {
        match right {
            true => Ok(()),
            false => self.reject_damage(self.compare(record)?, 1, &written(critical)),
        }
    }

    /// The critical bytes must meet neither each other nor what was written before: they pass another recorder.
    fn reject_collisions(&self, written: &Record, critical: &[TableBytes]) -> Result<(), TargetError> {
        let mut critical: Vec<Range<u64>> = critical.iter().map(range).collect();
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

    /// Reads a record back from the medium.
    fn compare(&self, record: &Record) -> Result<Vec<Damage>> {
        begin(self.listener, Phase::ReadBack, record.len());
        Ok(verify(&self.interruptible(), record, self.regions, self.listener)?)
    }

    pub(super) fn interruptible(&self) -> Interruptible<'_> {
        Interruptible::new(self.target, self.options.interrupt)
    }

    /// Fails with what is wrong, after it was written `writes` times by `source`.
    pub(super) fn reject_damage(
        &self,
        mut damage: Vec<Damage>,
        writes: u32,
        source: &dyn Source,
    ) -> Result<()> {
        if damage.is_empty() {
            return Ok(());
        }
        // What cannot be explained is wrong all the same.
        let replay = |target: &dyn Target| source.write(target);
        let replay: Option<Replay<'_>> = if source.replays() { Some(&replay) } else { None };
        _ = explain(self.target, &mut damage, writes, replay);
        Err(FlashError::Mismatch { target: self.target.name().into(), damage, table: TableState::Removed }
            .into())
    }

    /// Writes, syncs and reads back, a few times if need be. Returns what was written, and whether it was right the
    /// first time.
    fn write_critical(&self, pieces: &[TableBytes]) -> Result<(Record, bool)> {
        if pieces.is_empty() {
            return Ok((Record::default(), true));
        }
        let mut times = 0;
        loop {
            let record = self.write_pieces(pieces)?;
            begin(self.listener, Phase::ReadBack, record.len());
            // No interruption: it would cost more than the rest takes.
            let damage = verify(self.target, &record, self.regions, self.listener)?;
            times += 1;
            if damage.is_empty() {
                return Ok((record, times == 1));
            }
            if times > self.options.retries {
                self.reject_damage(damage, times, &written(pieces))?;
            }
        }
    }

    fn write_pieces(&self, pieces: &[TableBytes]) -> Result<Record> {
        begin(self.listener, Phase::Commit, total(pieces));
        // What is there already is not written: such a write could go anywhere, and its own place would read right.
        let changed = Changed::new(self.target);
        let recorder = Recorder::new(&changed);
        for piece in pieces {
            recorder.write_at(&piece.bytes, piece.offset)?;
            self.listener.event(Event::Advance { bytes: piece.bytes.len() as u64 });
        }
        self.sync()?;
        Ok(recorder.into_record())
    }

    /// Writes all of sector 0 at once, so that half of it is never there, and nothing of the marker stays.
    fn write_sector_0(&self, pieces: &[TableBytes], others: &Record) -> Result<(Record, bool)> {
        if pieces.is_empty() && !self.is_marked() {
            return Ok((Record::default(), true));
        }
        let mut sector = vec![0; self.target.geometry().sector_size as usize];
        self.target.read_at(&mut sector, 0)?;
        if self.is_marked() {
            let marked = others.gaps(0..marker::LEN as u64);
            marked.into_iter().for_each(|gap| sector[gap.start as usize..gap.end as usize].fill(0));
        }
        for piece in pieces {
            sector[piece.offset as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
        }
        let (_, first_time) =
            self.write_critical(&[TableBytes { name: "sector 0".into(), offset: 0, bytes: sector }])?;
        Ok((Record { extents: pieces.iter().map(extent_of).collect() }, first_time))
    }

    /// Returns whether sector 0 has the marker of this run.
    fn is_marked(&self) -> bool {
        self.used && self.options.journal.is_some()
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
            Ok(FlashError::Unfinished { message, kind, hint, code, .. }) => {
                FlashError::Unfinished { message, kind, hint, code, table }
            }
            Err(error) => {
                let (message, kind) = (error.to_string(), error.kind());
                let code = error.code();
                // No filesystem is full here.
                let full = code == Some(Code::Full.as_str());
                let hint = if full { Some(Code::Full.hint().into()) } else { error.hint() };
                FlashError::Unfinished { message, kind, hint, code, table }
            }
        }
        .into()
    }
}

/// Everything that was written before anything made the medium bootable.
struct Body {
    record: Record,
    critical: Vec<TableBytes>,
    /// Bytes that were right before.
    unchanged: u64,
    /// Part that was not read yet, if some of it was.
    unread: Option<Record>,
    fitted: Fitted,
}

/// Pieces as what they were written by.
fn written(pieces: &[TableBytes]) -> impl Source + '_ {
    |target: &dyn Target| {
        pieces.iter().try_for_each(|piece| target.write_at(&piece.bytes, piece.offset))?;
        Ok(Vec::new())
    }
}

fn range(piece: &TableBytes) -> Range<u64> {
    piece.offset..piece.offset + piece.bytes.len() as u64
}

fn extent_of(piece: &TableBytes) -> Extent {
    Extent { offset: piece.offset, len: piece.bytes.len() as u64, blake3: Some(Digest::of(&piece.bytes)) }
}

fn total(pieces: &[TableBytes]) -> u64 {
    pieces.iter().map(|piece| piece.bytes.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::bmap::MappedRange;
    use crate::storage::Memory;

    #[test]
    fn a_map_has_the_sums_of_the_finished_image() {
        let memory = Memory::new(4 << 20);
        // In sector 0, in the first block beside bytes of the body, and far from both.
        let piece = |offset, bytes: &[u8]| TableBytes { name: "piece".into(), offset, bytes: bytes.to_vec() };
        let critical = [piece(440, &[1; 72]), piece(1024, &[2; 512]), piece(3 << 20, &[3; 5000])];
        let options = FlashOptions::default();
        let commit = Commit { target: &memory, used: false, regions: &[], listener: &Silent, options };
        let body = |target: &dyn Target| {
            target.write_at(&[4; 100], 2048)?;
            target.write_at(&[5; 9000], 1 << 20)?;
            target.zero(2 << 20, 4096)?;
            Ok(critical.to_vec())
        };
        let (done, map) = commit.run_mapped(&body).expect("runs");
        assert_eq!(done.record.extents.len(), 6);
        assert_eq!(map.mapped_len(), 4096 + 12_288 + 4096 + 8192);
        let bytes = memory.to_vec();
        for MappedRange { bytes: range, sha256 } in map.ranges {
            let expected = Sha256::digest(&bytes[range.start as usize..range.end as usize]);
            assert_eq!(sha256, Some(expected.into()), "{range:?}");
        }
    }
}
