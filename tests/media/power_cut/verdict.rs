//! What a medium is after the power failed: the old system, the new one, or recognisably neither.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;

use skiff_image::storage::cut::{Cut, State};
use skiff_image::storage::{CowMemory, PowerCut, Record, Target};

use super::readers::READERS;

/// Chooses which orders are looked at.
const SEED: u64 = 1;
/// Failures that are told.
const TOLD: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Old,
    New,
    Unfinished,
}

/// A system on a medium.
struct System {
    medium: Arc<CowMemory>,
    /// What of it matters.
    ranges: Vec<Range<u64>>,
    /// What each reader finds.
    found: Vec<Option<String>>,
}

impl System {
    fn new(medium: CowMemory, ranges: Vec<Range<u64>>) -> System {
        let medium = Arc::new(medium);
        let found = READERS.iter().map(|reader| (reader.find)(&medium)).collect();
        System { medium, ranges, found }
    }

    /// Whether all that matters is on a medium, but for some bytes at its start and its end.
    fn is_on(&self, medium: &CowMemory, (start, end): (u64, u64)) -> bool {
        let end = medium.geometry().len - end;
        let inside = |range: &Range<u64>| range.start.clamp(start, end)..range.end.clamp(start, end);
        self.ranges.iter().map(inside).all(|range| medium.is_same(&self.medium, range))
    }
}

/// A recorded run, with what was before and what is afterwards.
pub struct Run {
    pub power: PowerCut,
    old: System,
    new: System,
}

/// What all states of a run are.
#[derive(Default)]
pub struct Tally {
    /// Cuts in the order of the operations: before, within and after each.
    pub points: usize,
    pub states: usize,
    pub old: usize,
    pub new: usize,
    pub unfinished: usize,
    pub failures: Vec<String>,
    /// How many second runs were tried.
    pub again: usize,
}

impl Run {
    /// What `flash`, which returns what it wrote, does to a medium that holds a system.
    pub fn record(before: &CowMemory, flash: impl FnOnce(&dyn Target) -> Record) -> Run {
        let power = PowerCut::over(before);
        let record = flash(&power);
        Run::new(power, &record)
    }

    /// `record` is what should be on the medium at the end.
    pub fn new(power: PowerCut, record: &Record) -> Run {
        let whole = vec![Range { start: 0, end: power.geometry().len }];
        let old = System::new(power.before().clone(), whole);
        let new = System::new(power.after(), record.extents.iter().map(|extent| extent.range()).collect());
        Run { power, old, new }
    }

    /// The readers that take a medium after this run for a system.
    pub fn found_by(&self) -> Vec<&'static str> {
        let found = READERS.iter().zip(&self.new.found).filter(|(_, found)| found.is_some());
        found.map(|(reader, _)| reader.name).collect()
    }

    /// What a medium is, or why it must not be that.
    pub fn judge(&self, medium: &Arc<CowMemory>) -> Result<Verdict, String> {
        let mut verdict = Verdict::Unfinished;
        for (index, reader) in READERS.iter().enumerate() {
            match (reader.find)(medium) {
                None => {}
                found
                    if found == self.old.found[index]
                        && self.old.is_on(medium, (reader.spares_of_old, 0)) =>
                {
                    verdict = Verdict::Old;
                }
                found if found == self.new.found[index] && self.new.is_on(medium, reader.spares_of_new) => {
                    verdict = Verdict::New;
                }
                Some(found) => {
                    return Err(format!("{} finds a system that is half there: {found}", reader.name));
                }
            }
        }
        Ok(verdict)
    }

    /// Whether a medium holds all of the new system.
    pub fn is_finished(&self, medium: &CowMemory) -> bool {
        self.new.is_on(medium, (0, 0))
    }

    /// Looks at every state; `again` runs a second time on those states that it chooses.
    pub fn judge_all(&self, mut again: impl FnMut(&State) -> Option<skiff_image::Result<Record>>) -> Tally {
        let mut tally = Tally::default();
        for state in self.power.states(SEED) {
            tally.points += usize::from(is_in_order(&state.cut));
            tally.states += 1;
            match self.judge(&state.medium) {
                Ok(Verdict::Old) => tally.old += 1,
                Ok(Verdict::New) => tally.new += 1,
                Ok(Verdict::Unfinished) => tally.unfinished += 1,
                Err(reason) => tally.failures.push(format!("{state}: {reason}")),
            }
            if let Some(result) = again(&state) {
                tally.again += 1;
                if result.is_err()
                    || !self.is_finished(&state.medium)
                    || self.judge(&state.medium) != Ok(Verdict::New)
                {
                    tally.failures.push(format!("{state}: a second run does not finish"));
                }
            }
        }
        tally
    }

    /// Whether some state is none that may be.
    pub fn can_fail(&self) -> bool {
        self.power.states(SEED).any(|state| self.judge(&state.medium).is_err())
    }
}

fn is_in_order(cut: &Cut) -> bool {
    match cut {
        Cut::Between { .. } => true,
        Cut::Torn { alone, .. } => !alone,
        Cut::Reordered { .. } => false,
    }
}

impl Tally {
    /// Tells the numbers, past what catches the output of tests, and fails if one of the failures is not none.
    pub fn expect_none_failed(&self, name: &str) {
        let Tally { points, states, old, new, unfinished, failures, again } = self;
        let count = failures.len();
        _ = writeln!(
            std::io::stderr(),
            "{name}: {points} cut points, {states} states: {old} old, {new} new, {unfinished} unfinished; \
             {again} second runs; {count} failures",
        );
        let mut told = String::new();
        failures.iter().take(TOLD).for_each(|failure| _ = writeln!(told, "{failure}"));
        assert!(failures.is_empty(), "{name}: {count} of {states} states:\n{told}");
        // A run that is not looked at, or a reader that never finds anything, must not pass.
        assert!(*old > 0 && *new > 0 && *unfinished > 0 && states > points, "{name}: {points} {states}");
    }
}
