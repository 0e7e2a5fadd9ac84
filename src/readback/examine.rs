//! Finds out how a medium is wrong where it is: what should be there passes a second time, and is compared with what
//! is read.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::Only;
use super::diagnose::{Code, Diagnosis, Evidence};
use super::marks::Laboratory;
use super::verify::{Damage, RegionRange, verify};
use super::witness::Witness;
use crate::error::Result;
use crate::event::Silent;
use crate::storage::{AlignedBuffer, LARGEST_EXTENT, Layer, Record, Target, TargetError, WriteOp};
use crate::table::TableBytes;
use crate::value::Digest;

/// Most ranges that are examined: the others are like them.
const EXAMINED: usize = 16;

/// Most ranges with which experiments are made, which take a moment each.
const TRIED: usize = 4;
/// Makes marks of experiments others than those of a run.
const SEED: u64 = 0x6c61_626f_7261_746f;

/// A target that diagnoses what it is given, and then writes it or not.
pub(crate) struct Examiner<'a> {
    target: &'a dyn Target,
    writes: u32,
    rewrites: bool,
    notes: Mutex<Vec<Note>>,
}

/// Finding about a range.
struct Note {
    range: Range<u64>,
    diagnosis: Diagnosis,
    /// A sector that may belong elsewhere.
    stray: Option<Stray>,
    /// Place where such a sector belongs.
    home: Option<u64>,
}

/// A sector that is where it does not belong.
struct Stray {
    at: u64,
    bytes: Vec<u8>,
}

impl<'a> Examiner<'a> {
    /// Diagnoses what is wrong on `target` after it was written `writes` times; writes it again if `rewrites`.
    pub(crate) fn new(target: &'a dyn Target, writes: u32, rewrites: bool) -> Examiner<'a> {
        Examiner { target, writes, rewrites, notes: Mutex::default() }
    }

    /// Compares what should be at `offset` with what is read there.
    pub(crate) fn examine(&self, expected: &[u8], offset: u64) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() >= EXAMINED {
            return;
        }
        let read = || {
            let mut buffer = AlignedBuffer::new(expected.len());
            let bytes = buffer.slice(expected.len());
            self.target.read_back(bytes, offset).ok().map(|()| bytes.to_vec())
        };
        let (found, again) = (read(), read());
        if found.as_deref() == Some(expected) && again == found {
            return;
        }
        let (found, again, before) = (found.as_deref(), again.as_deref(), None);
        let evidence = Evidence { offset, expected, found, again, before, writes: self.writes };
        let stray = evidence.stray().map(|(at, bytes)| Stray { at, bytes: bytes.to_vec() });
        let range = offset..offset + expected.len() as u64;
        notes.push(Note { range, diagnosis: evidence.diagnose(), stray, home: None });
    }

    fn into_notes(self) -> Vec<Note> {
        self.notes.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what was found out to the damage it was found out about.
    pub(crate) fn annotate(self, damage: &mut [Damage]) {
        annotate(self.into_notes(), damage);
    }
}

fn annotate(notes: Vec<Note>, damage: &mut [Damage]) {
    let all = notes.len() < EXAMINED;
    for damage in damage {
        let end = damage.offset + damage.len;
        let about = notes.iter().find(|note| note.range.start < end && damage.offset < note.range.end);
        damage.diagnosis = match about {
            Some(note) => Some(note.diagnosis.clone()),
            None => all.then(|| Diagnosis::passing(damage.offset)),
        };
    }
}

/// Passes to a target once more everything that belongs there, and returns what is to be written last.
pub(crate) type Replay<'a> = &'a dyn Fn(&dyn Target) -> Result<Vec<TableBytes>>;

/// Finds out about damage that stays: `replay` runs again without writing anything, and says what should be there. Then
/// experiments with marks are made: what the medium holds is lost, and worth nothing.
pub(crate) fn explain(
    target: &dyn Target,
    damage: &mut [Damage],
    writes: u32,
    replay: Option<Replay<'_>>,
) -> Result<()> {
    if damage.is_empty() {
        return Ok(());
    }
    let Some(replay) = replay else { return Ok(explain_alone(target, damage)?) };
    let ranges = damage.iter().map(|damage| damage.offset..damage.offset + damage.len).collect();
    let examiner = Examiner::new(target, writes, false);
    let only = Only::new(&examiner, ranges);
    let witness = Witness::new(&only, target);
    replay(&witness)?;
    let sound = witness.into_places();
    let mut notes = examiner.into_notes();
    if notes.iter().any(|note| note.stray.is_some()) {
        let search = Search { target, notes: Mutex::new(&mut notes) };
        let critical = replay(&search)?;
        critical.iter().for_each(|piece| search.look(&piece.bytes, piece.offset));
    }
    // What experiments cannot find out is known as well as before.
    _ = try_out(&Laboratory { target, seed: SEED }, &sound, &mut notes);
    annotate(notes, damage);
    Ok(())
}

/// Experiments with what could have several reasons: a place that has another address, or a reader that answers with what
/// it has read before.
fn try_out(laboratory: &Laboratory<'_>, sound: &[u64], notes: &mut [Note]) -> Result<(), TargetError> {
    let is_open = |note: &&mut Note| {
        use Code::{DroppedWrite, MisplacedWrite, StuckRegion, TornWrite, WrongContent};
        let codes = [DroppedWrite, TornWrite, MisplacedWrite, StuckRegion, WrongContent];
        codes.contains(&note.diagnosis.code)
    };
    let mut stale = None;
    for note in notes.iter_mut().filter(is_open).take(TRIED) {
        let at = note.diagnosis.at / super::diagnose::SECTOR * super::diagnose::SECTOR;
        let other = match note.home {
            Some(home) => {
                Some(home).filter(|home| laboratory.is_same_place(*home, at).is_ok_and(|same| same))
            }
            None => laboratory.partner(at)?,
        };
        if let Some(other) = other {
            note.diagnosis = match laboratory.is_same_place(other, at)? {
                true => Diagnosis::same_place(at, other, laboratory.is_rule(at, other)?),
                false => Diagnosis::diverted(at, other),
            };
        } else if note.home.is_none() {
            let is_stale = match stale {
                Some(known) => known,
                None => laboratory.reads_are_stale(sound)?,
            };
            stale = Some(is_stale);
            if is_stale {
                note.diagnosis = Diagnosis::stale(note.diagnosis.at);
            }
        }
    }
    Ok(())
}

/// All that can be found out when nobody knows what should be there.
fn explain_alone(target: &dyn Target, damage: &mut [Damage]) -> Result<(), TargetError> {
    for damage in &mut *damage {
        let record = Record { extents: vec![damage.wanted()] };
        let again = verify(target, &record, &[] as &[RegionRange], &Silent)?;
        let same = again.first().is_some_and(|again| again.found == damage.found);
        damage.diagnosis = match damage.found {
            None => Some(Diagnosis::unreadable(damage.offset)),
            Some(Digest(_)) if !same => Some(Diagnosis::passing(damage.offset)),
            Some(_) => None,
        };
    }
    let laboratory = Laboratory { target, seed: SEED };
    if let Some(damage) = damage.iter_mut().find(|damage| damage.diagnosis.is_none()) {
        damage.diagnosis = match laboratory.partner(0)? {
            Some(other) => Some(Diagnosis::same_place(0, other, laboratory.is_rule(0, other)?)),
            None => laboratory.reads_are_stale(&[])?.then(|| Diagnosis::stale(damage.offset)),
        };
    }
    Ok(())
}

/// A target that writes nothing, and looks in what it is given for sectors that are elsewhere.
struct Search<'a> {
    target: &'a dyn Target,
    notes: Mutex<&'a mut Vec<Note>>,
}

impl Search<'_> {
    fn look(&self, buf: &[u8], offset: u64) {
        const SECTOR: u64 = super::diagnose::SECTOR;
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset + buf.len() as u64;
        for home in (offset.next_multiple_of(SECTOR)..end).step_by(SECTOR as usize) {
            let sector = &buf[(home - offset) as usize..(end - offset).min(home + SECTOR - offset) as usize];
            for Note { diagnosis, stray, home: found, .. } in notes.iter_mut() {
                if let Some(Stray { at, .. }) =
                    stray.take_if(|stray| stray.at != home && stray.bytes == sector)
                {
                    (*diagnosis, *found) = (Diagnosis::misplaced(at, home), Some(home));
                }
            }
        }
    }
}

impl Layer for Search<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        if let WriteOp::Bytes { offset, bytes } = op {
            self.look(bytes, offset);
        }
        Ok(!matches!(op, WriteOp::Discard { .. }))
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        Ok(())
    }
}

impl Layer for Examiner<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        match op {
            WriteOp::Bytes { offset, bytes } => self.examine(bytes, offset),
            WriteOp::Zero { offset, len } => {
                let zeros = vec![0; len.min(LARGEST_EXTENT) as usize];
                for at in (0..len).step_by(LARGEST_EXTENT as usize) {
                    self.examine(&zeros[..LARGEST_EXTENT.min(len - at) as usize], offset + at);
                }
            }
            WriteOp::Discard { .. } => return Ok(false),
        }
        if self.rewrites { op.apply(self.target) } else { Ok(true) }
    }
}
