//! Does what was decided: see [`crate::install`].

use std::cell::Cell;

use super::InstallError;
use super::marker::{Marked, Marker};
use super::plan::How;
use super::prepare::Installation;
use super::write_log::WriteLog;
use crate::compose::{RegionFiles, START};
use crate::error::{Error, Result};
use crate::event::{Event, Phase};
use crate::flash::progress::Progress;
use crate::flash::{DeferredHeaders, OpenSession};
use crate::fs::ext4::update::{self, Volume};
use crate::manifest::Manifest;
use crate::readback::{RegionRange, verify};
use crate::storage::{Record, Recorder, Target};
use crate::value::Timestamp;

/// Result of an update.
#[derive(Clone, Debug)]
pub struct Done {
    /// Record of what was written.
    pub record: Record,
    /// The manifest of it.
    pub manifest: Manifest,
}

/// A partition whose new files have their content, and no names yet.
struct Edited<'n> {
    volume: Volume<'n>,
    changes: Vec<update::Change>,
    time: Timestamp,
}

/// Gives the new files their names.
fn commit(edited: &mut [Edited<'_>]) -> Result<()> {
    edited.iter_mut().try_for_each(|Edited { volume, changes, time }| Ok(volume.commit(changes, *time)?))
}

/// A partition that is written anew.
struct Rewrite {
    step: usize,
    offset: u64,
    marked: Marked,
}

impl Installation {
    /// Does it. What is written is read back past the page cache. An interruption ends it until the new system gets its
    /// names.
    pub fn run(&self, open: &OpenSession<'_>) -> Result<Done> {
        let begun = Cell::new(false);
        self.write(open, &begun).map_err(|error| if begun.get() { self.unfinished(error) } else { error })
    }

    fn write(&self, open: &OpenSession<'_>, begun: &Cell<bool>) -> Result<Done> {
        let interruptible = open.interruptible();
        let progress = Progress { target: &interruptible, listener: open.listener() };
        let (rewrites, log) = (self.rewrites(), WriteLog::new(&progress));
        let mut volumes = self.stage(&log, open)?;
        let (mut record, mut files) = (log.take(), self.edited());
        if let Some(boot) = rewrites.last() {
            let marker = self.marker(&rewrites)?;
            open.ensure_not_interrupted()?;
            open.listener().event(Event::Phase { phase: Phase::Mark, total: None });
            begun.set(true);
            mark(open.target(), boot, &marker, &rewrites)?;
            let starts = DeferredHeaders::new(rewrites.iter().map(|rewrite| rewrite.offset), START);
            let (bodies, written) = self.write_bodies(&rewrites, &starts, &progress, open)?;
            files.extend(written);
            interruptible.complete();
            commit(&mut volumes)?;
            record = record.merge(bodies).merge(self.write_blobs(open)?);
            record = record.merge(self.write_starts(&rewrites, &starts, open)?);
        } else {
            interruptible.complete();
            commit(&mut volumes)?;
            record = record.merge(self.write_blobs(open)?);
        }
        self.ensure_unharmed(&record, &log.metadata(), open)?;
        let manifest = Manifest { updated: true, ..self.composition.manifest(&record, &files) };
        Ok(Done { record, manifest })
    }

    /// Writes the contents of new files to free blocks of partitions that are not written as a whole, and reads them
    /// back.
    fn stage<'n>(&self, log: &'n WriteLog<'_>, open: &OpenSession<'_>) -> Result<Vec<Edited<'n>>> {
        let mut edited = Vec::new();
        open.listener().event(Event::Phase { phase: Phase::Write, total: None });
        for (work, change) in self.work.iter().zip(&self.changes).filter(|(_, c)| c.how == How::Files) {
            let mut volume = Volume::open(log, change.offset, change.len)?;
            if volume.needs_replay() {
                // What is replayed is no content that stays.
                volume.commit(&[], work.edits.time())?;
            }
            log.begin();
            let changes = work.edits.stage(&mut volume)?;
            log.end();
            edited.push(Edited { volume, changes, time: work.edits.time() });
        }
        let record = log.record();
        if !record.is_empty() {
            self.sync_and_read_back(&record, &open.interruptible(), open)?;
        }
        Ok(edited)
    }

    /// The files of partitions that are not written as a whole.
    fn edited(&self) -> Vec<RegionFiles> {
        let all = self.work.iter().zip(&self.changes);
        let all = all.filter(|(_, change)| matches!(change.how, How::Files | How::Same));
        all.filter_map(|(work, _)| {
            Some(RegionFiles { step: work.step?, files: work.files.clone(), is_whole: false })
        })
        .collect()
    }

    /// The partitions that are written anew, the one that is booted from last.
    fn rewrites(&self) -> Vec<Rewrite> {
        let boot = self.boot();
        let mut indexes: Vec<usize> = (0..self.changes.len()).collect();
        indexes.sort_by_key(|index| Some(*index) == boot);
        let rewritten = indexes.into_iter().filter(|index| self.changes[*index].how == How::Rewritten);
        rewritten.filter_map(|index| self.rewrite(index)).collect()
    }

    fn rewrite(&self, index: usize) -> Option<Rewrite> {
        let (step, change) = (self.work[index].step?, &self.changes[index]);
        let (id, label) = self.composition.filesystem_id(step);
        let marked = Marked { name: change.partition.clone(), number: change.number, id, label };
        Some(Rewrite { step, offset: change.offset, marked })
    }

    fn marker(&self, rewrites: &[Rewrite]) -> Result<Vec<u8>, InstallError> {
        let partitions = rewrites.iter().map(|rewrite| rewrite.marked.clone()).collect();
        let sector = Marker { board: self.board().into(), partitions }
            .to_sector(self.composition.geometry().sector_size);
        sector.ok_or_else(|| InstallError::Names { board: self.board().into() })
    }

    /// Writes all but the first bytes of the partitions, and reads it back.
    fn write_bodies(
        &self,
        rewrites: &[Rewrite],
        starts: &DeferredHeaders,
        target: &dyn Target,
        open: &OpenSession<'_>,
    ) -> Result<(Record, Vec<RegionFiles>)> {
        open.listener().event(Event::Phase { phase: Phase::Write, total: None });
        let recorder = Recorder::new(target);
        let behind = starts.before(&recorder);
        let write = |rewrite: &Rewrite| {
            let files = self.composition.write_step(rewrite.step, &behind)?;
            Ok(RegionFiles { step: rewrite.step, files, is_whole: true })
        };
        let files = rewrites.iter().map(write).collect::<Result<Vec<_>>>()?;
        let record = recorder.into_record();
        self.sync_and_read_back(&record, target, open)?;
        Ok((record, files))
    }

    fn write_blobs(&self, open: &OpenSession<'_>) -> Result<Record> {
        let progress = Progress { target: open.target(), listener: open.listener() };
        let recorder = Recorder::new(&progress);
        for blob in self.blobs.iter().filter(|blob| blob.written) {
            for (offset, bytes) in blob.bytes()? {
                recorder.write_at(&bytes, offset)?;
            }
        }
        let record = recorder.into_record();
        if !record.is_empty() {
            self.sync_and_read_back(&record, open.target(), open)?;
        }
        Ok(record)
    }

    /// Those of the boot partition last, and of these the first sector: it comes with one write.
    fn write_starts(
        &self,
        rewrites: &[Rewrite],
        starts: &DeferredHeaders,
        open: &OpenSession<'_>,
    ) -> Result<Record> {
        let progress = Progress { target: open.target(), listener: open.listener() };
        let sector = self.composition.geometry().sector_size as usize;
        let (boot, others) = rewrites.split_last().expect("something is rewritten");
        let bytes = starts.take(boot.offset);
        let (first, rest) = bytes.split_at(sector.min(bytes.len()));
        let recorder = Recorder::new(&progress);
        for other in others {
            recorder.write_at(&starts.take(other.offset), other.offset)?;
        }
        recorder.write_at(rest, boot.offset + first.len() as u64)?;
        let record = recorder.into_record();
        self.sync_and_read_back(&record, open.target(), open)?;
        let recorder = Recorder::new(&progress);
        recorder.write_at(first, boot.offset)?;
        let last = recorder.into_record();
        self.sync_and_read_back(&last, open.target(), open)?;
        Ok(record.merge(last))
    }

    fn sync_and_read_back(&self, record: &Record, target: &dyn Target, open: &OpenSession<'_>) -> Result<()> {
        open.listener().event(Event::Phase { phase: Phase::Sync, total: None });
        target.sync()?;
        open.listener().event(Event::Phase { phase: Phase::ReadBack, total: Some(record.len()) });
        let regions = self.changes.iter().map(|change| RegionRange {
            name: change.partition.clone(),
            range: change.offset..change.offset + change.len,
        });
        let damage = verify(target, record, &regions.collect::<Vec<_>>(), open.listener())?;
        match damage.is_empty() {
            true => Ok(()),
            false => Err(InstallError::Mismatch { target: target.name().into(), damage }.into()),
        }
    }

    /// Reads everything once more: the last writes could have gone over what was read back before.
    fn ensure_unharmed(&self, contents: &Record, metadata: &Record, open: &OpenSession<'_>) -> Result<()> {
        let all = contents.extents.iter().chain(&metadata.extents).cloned().collect();
        self.sync_and_read_back(&Record { extents: all }, open.target(), open)
    }

    fn unfinished(&self, error: Error) -> Error {
        let (message, kind, code) = (error.to_string(), error.kind(), error.code());
        InstallError::Unfinished { message, target: self.target.name().into(), kind, code }.into()
    }
}

/// From here on nothing boots, and nothing mounts what is rewritten.
fn mark(target: &dyn Target, boot: &Rewrite, marker: &[u8], rewrites: &[Rewrite]) -> Result<()> {
    target.write_at(marker, boot.offset)?;
    target.sync()?;
    for other in rewrites.iter().filter(|other| other.offset != boot.offset) {
        target.zero(other.offset, START)?;
    }
    Ok(target.sync()?)
}
