//! The steps of a run, see [`Commit::run`].

use std::cell::Cell;
use std::ops::Range;

use super::careful::Careful;
use super::changed::Changed;
use super::commit::{Commit, Done, Rewritten};
use super::critical::total;
use super::failure::{FlashError, TableState};
use super::grow::{Fitted, Growth, ResizePolicy};
use super::journal::Journal;
use super::order;
use super::probe;
use super::progress::Progress;
use super::rehearsal::Rehearsal;
use crate::bmap::Bmap;
use crate::device::marker;
use crate::error::{Error, Result};
use crate::event::{Event, Listener, Phase, Silent, begin};
use crate::interrupt::Interruptible;
use crate::readback::{Code, Damage, Examiner, Only, Replay, explain, sum, verify, verify_and_sum};
use crate::source::Source;
use crate::storage::{Extent, Log, Record, Recorder, Target, TargetError};
use crate::table::TableBytes;

/// A run that is under way.
pub(super) struct Run<'a> {
    pub commit: &'a Commit<'a>,
    /// The target, as it is written now.
    pub medium: Careful<'a>,
}

/// Everything that was written before anything made the medium bootable.
pub(super) struct Body {
    pub record: Record,
    pub critical: Vec<TableBytes>,
    /// Marks in the places of the critical bytes.
    pub rehearsal: Rehearsal,
    /// Ranges that were cleared and must read zero.
    cleared: Record,
    /// Bytes that were right before.
    unchanged: u64,
    pub fitted: Fitted,
    /// Set if something was written, behind the reading of all, to a place that had no mark.
    pub is_unproven: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(commit: &'a Commit<'a>) -> Run<'a> {
        Run { commit, medium: Careful::new(commit.target) }
    }

    pub(super) fn run(&self, source: &dyn Source) -> Result<Done> {
        let wiped_before = self.is_wiped()?;
        self.guarded(|wiped| {
            let body = self.write_body(source, wiped_before, wiped)?;
            let rewritten = self.read_back(&body, source)?;
            let body = self.fit(body)?;
            self.finish(body, source, rewritten, wiped)
        })
    }

    pub(super) fn run_mapped(&self, source: &dyn Source) -> Result<(Done, Bmap)> {
        self.guarded(|wiped| {
            let body = self.write_body(source, false, wiped)?;
            begin(self.commit.listener, Phase::ReadBack, body.record.len());
            let (damage, sums) = verify_and_sum(
                &self.interruptible(),
                &body.record,
                self.commit.regions,
                self.commit.listener,
            )?;
            self.reject_damage(damage, 1, source)?;
            let critical: Vec<Range<u64>> = body.critical.iter().map(TableBytes::range).collect();
            let done = self.finish(body, source, Vec::new(), wiped)?;
            // What holds critical bytes was read before they were there.
            let is_new = |bytes: &Range<u64>| {
                critical.iter().any(|new| new.start < bytes.end && bytes.start < new.end)
            };
            let map = Bmap::with_sums(self.medium.geometry().len, &done.record, |range| {
                match sums.get(range).filter(|_| !is_new(range)) {
                    Some(sum) => Ok(sum),
                    None => sum(&self.medium, range),
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
        begin(self.commit.listener, Phase::Write, source.planned());
        let interruptible = self.interruptible();
        let changed = Changed::new(&interruptible);
        let target: &dyn Target = if self.commit.options.only_changed { &changed } else { &interruptible };
        let recorder = self.recorder(target);
        // In front of all that leaves writes out: what was right before or is known from an earlier run is done, too.
        let progress = Progress { target: &recorder, listener: self.commit.listener };
        let critical = source.write(&progress)?;
        // It is held back, and has been taken from the source.
        self.commit.listener.event(Event::Advance { bytes: total(&critical) });
        let record = recorder.into_record();
        self.reject_collisions(&record, &critical)?;
        let rehearsal = self.rehearse(&critical)?;
        self.sync()?;
        // Clearing reads what it clears: a mark that appears there has another address.
        let held = record.clone().merge(rehearsal.record());
        let cleared = [self.clear_probed(&held)?, self.clear_unwritten(&held, source.len())?];
        let cleared = Record { extents: cleared.into_iter().flat_map(|record| record.extents).collect() };
        self.medium.sync()?;
        let unchanged = changed.skipped();
        let fitted = Fitted::default();
        Ok(Body { record, critical, rehearsal, cleared, unchanged, fitted, is_unproven: false })
    }

    /// Returns a recorder; what passes it is known to the journal.
    fn recorder<'t>(&'t self, target: &'t dyn Target) -> Recorder<'t> {
        Recorder::with_log(target, self.commit.options.journal.map(|journal| journal as &dyn Log))
    }

    /// Returns whether an earlier run, which this one goes on with, has left the medium without a table. Fails, and
    /// changes nothing, if the medium is not as that run left it.
    fn is_wiped(&self) -> Result<bool> {
        match self.commit.options.journal.filter(|journal| journal.is_resumed()) {
            Some(journal) => journal.ensure_marked(&self.medium),
            None => Ok(false),
        }
    }

    /// Removes the old table unless that was done before, and asks the medium how large it is.
    fn prepare(&self, resumed: bool, wiped: &Cell<bool>) -> Result<()> {
        if resumed {
            wiped.set(true);
            return Ok(());
        }
        let (damage, writes) = self.wipe()?;
        wiped.set(damage.is_empty());
        // A false size is the reason for much that cannot be wiped.
        if let Some(seed) = self.commit.options.probe.filter(|_| self.commit.used) {
            probe::capacity(&self.medium, seed, self.commit.listener)?;
        }
        self.reject_damage(damage, writes, &|target: &dyn Target| {
            order::wipe(target)?;
            Ok(Vec::new())
        })
    }

    /// Zeroes where partition tables are, and says in sector 0 that the medium is unfinished. Returns what is not zero
    /// all the same, and how often it was written: a medium that drops what is written to it keeps its table.
    fn wipe(&self) -> Result<(Vec<Damage>, u32)> {
        if !self.commit.used {
            return Ok((Vec::new(), 0));
        }
        begin(self.commit.listener, Phase::Wipe, None);
        let zeros = order::wiped(self.medium.geometry().len);
        let (damage, writes) = self.written_again(&zeros, &Silent, || Ok(order::wipe(&self.medium)?))?;
        if let Some(journal) = self.commit.options.journal.filter(|_| damage.is_empty()) {
            marker::write(&self.medium, journal.run())?;
            self.medium.sync()?;
        }
        Ok((damage, writes))
    }

    /// Writes and reads back, a few times if need be, at last in plainer ways. Returns what is still wrong, and how often
    /// it was written.
    pub(super) fn written_again(
        &self,
        record: &Record,
        listener: &dyn Listener,
        write: impl Fn() -> Result<()>,
    ) -> Result<(Vec<Damage>, u32)> {
        let mut writes = 0;
        loop {
            write()?;
            writes += 1;
            begin(listener, Phase::ReadBack, record.len());
            // No interruption: it would cost more than the rest takes.
            let damage = verify(&self.medium, record, self.commit.regions, listener)?;
            if damage.is_empty() || writes > self.commit.options.retries {
                return Ok((damage, writes));
            }
            self.fall_back(&damage, writes);
        }
    }

    /// Reads the body back and writes again what is wrong, a few times at most.
    fn read_back(&self, body: &Body, source: &dyn Source) -> Result<Vec<Rewritten>> {
        let source = &body.rehearsal.after(source);
        let all = body.record.clone().merge(body.rehearsal.record());
        let mut damage = self.compare(&all)?;
        let (mut rewritten, mut times) = (Vec::new(), 0);
        while !damage.is_empty() && times < self.commit.options.retries && source.replays() {
            self.fall_back(&damage, times + 1);
            times += 1;
            self.rewrite(&mut damage, times, source)?;
            let again = Record { extents: damage.iter().map(Damage::wanted).collect() };
            let still = self.compare(&again)?;
            let mended = |bad: &Damage| !still.iter().any(|still| still.offset == bad.offset);
            rewritten.extend(damage.into_iter().filter(mended).map(|damage| Rewritten { damage, times }));
            // What went wrong may have gone over what was right before.
            damage = if still.is_empty() { self.compare(&all)? } else { still };
        }
        self.reject_damage(damage, 1 + times, source)?;
        if times > 0 {
            self.ensure_cleared(&body.cleared)?;
        }
        Ok(rewritten)
    }

    /// Has what is written again written in plainer ways: zeros at once, other bytes when they were wrong twice.
    fn fall_back(&self, damage: &[Damage], writes: u32) {
        if writes > 1 || damage.iter().all(|damage| damage.expected.is_none()) {
            self.medium.fall_back(damage);
        }
    }

    /// Looks again at cleared ranges: repeated writes may have gone over them.
    fn ensure_cleared(&self, cleared: &Record) -> Result<()> {
        let damage = self.compare(cleared)?;
        self.reject_damage(damage, 1, &|target: &dyn Target| {
            cleared.extents.iter().try_for_each(|range| target.zero(range.offset, range.len))?;
            Ok(Vec::new())
        })
    }

    /// Runs the source again for the damaged ranges; what is wrong with them is found out on the way.
    fn rewrite(&self, damage: &mut [Damage], attempt: u32, source: &dyn Source) -> Result<()> {
        let bytes = damage.iter().map(|damage| damage.len).sum();
        let (of, extents) = (self.commit.options.retries, damage.len() as u64);
        self.commit.listener.event(Event::Retry { attempt, of, extents, bytes });
        begin(self.commit.listener, Phase::Rewrite, bytes);
        let interruptible = self.interruptible();
        let progress = Progress { target: &interruptible, listener: self.commit.listener };
        let examiner = Examiner::new(&progress, attempt, true);
        let ranges = damage.iter().map(|damage| damage.offset..damage.offset + damage.len).collect();
        source.write(&Only::new(&examiner, ranges))?;
        examiner.annotate(damage);
        Ok(self.sync()?)
    }

    /// Makes table, last partition and filesystem of a body that was read back fit the medium; what that changes is
    /// read back too.
    fn fit(&self, body: Body) -> Result<Body> {
        let Some(extend) = self.extends() else { return Ok(body) };
        let growth = Growth::plan(&self.medium, &body.critical, extend)?;
        let (record, changed) = growth.amend(&self.medium, body.record)?;
        if !changed.is_empty() {
            if let Some(journal) = self.commit.options.journal {
                journal.forget(changed.extents.iter().map(Extent::range).collect());
            }
            let (damage, writes) = self.written_again(&changed, self.commit.listener, || {
                begin(self.commit.listener, Phase::Fit, changed.len());
                growth.write(&Progress { target: &self.medium, listener: self.commit.listener })?;
                Ok(self.sync()?)
            })?;
            let changes = |target: &dyn Target| {
                growth.write(target)?;
                Ok(Vec::new())
            };
            self.reject_damage(damage, writes, &changes)?;
        }
        let Growth { critical, fitted, .. } = growth;
        self.reject_collisions(&record, &critical)?;
        let is_unproven = !changed.is_empty();
        Ok(Body { record, critical, fitted, is_unproven, ..body })
    }

    /// Returns whether parts are made to fit the medium, and then whether the last partition grows.
    pub(super) fn extends(&self) -> Option<bool> {
        match self.commit.options.fit {
            ResizePolicy::Nothing => None,
            ResizePolicy::Table => Some(false),
            ResizePolicy::LastPartition => Some(true),
        }
    }

    /// Writes the critical bytes behind a body that was read back.
    fn finish(
        &self,
        body: Body,
        source: &dyn Source,
        rewritten: Vec<Rewritten>,
        wiped: &Cell<bool>,
    ) -> Result<Done> {
        if let Some(journal) = self.commit.options.journal {
            journal.commit();
        }
        let (unchanged, fitted) = (body.unchanged, body.fitted.clone());
        let record = self.write_table(body, source, wiped)?;
        let resumed = self.commit.options.journal.map_or(0, Journal::skipped);
        Ok(Done { record, unchanged, resumed, rewritten, fitted, fallback: self.medium.fallback() })
    }

    /// The critical bytes must meet neither each other nor what was written before: they pass another recorder.
    fn reject_collisions(&self, written: &Record, critical: &[TableBytes]) -> Result<(), TargetError> {
        let mut critical: Vec<Range<u64>> = critical.iter().map(TableBytes::range).collect();
        critical.sort_by_key(|range| range.start);
        let twice =
            |first, second| TargetError::WrittenTwice { target: self.medium.name().into(), first, second };
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

    pub(super) fn sync(&self) -> Result<(), TargetError> {
        begin(self.commit.listener, Phase::Sync, None);
        self.medium.sync()
    }

    /// Reads a record back from the medium.
    pub(super) fn compare(&self, record: &Record) -> Result<Vec<Damage>> {
        begin(self.commit.listener, Phase::ReadBack, record.len());
        Ok(verify(&self.interruptible(), record, self.commit.regions, self.commit.listener)?)
    }

    pub(super) fn interruptible(&self) -> Interruptible<'_> {
        Interruptible::new(&self.medium, self.commit.options.interrupt)
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
        _ = explain(&self.medium, &mut damage, writes, replay);
        Err(FlashError::Mismatch { target: self.medium.name().into(), damage, table: TableState::Removed }
            .into())
    }

    /// Returns whether sector 0 has the marker of this run.
    pub(super) fn is_marked(&self) -> bool {
        self.commit.used && self.commit.options.journal.is_some()
    }

    /// Removes what may already be there of the table, as far as the medium still answers, and says so.
    fn abandon(&self, error: Error, wiped: bool) -> Error {
        if !self.commit.used {
            return error;
        }
        // A medium that is gone cannot be wiped either; the first error is the one that matters.
        let cleared = self.wipe().is_ok_and(|(damage, _)| damage.is_empty());
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
