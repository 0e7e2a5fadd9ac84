//! The contents of the medium after a cut.

use std::fmt;
use std::sync::Arc;

use super::order::{Cut, Sectors, cuts};
use super::{Change, Operation};
use crate::storage::Target as _;
use crate::storage::cow_memory::{CowMemory, Pages};

/// The medium after the power failed.
pub struct State {
    /// The way it failed.
    pub cut: Cut,
    /// The contents of the medium. It is a target, and can be written without touching another state; shared, because
    /// many readers want to own what they read.
    pub medium: Arc<CowMemory>,
    operations: Arc<Vec<Operation>>,
}

impl State {
    /// Number of operations that had returned: the program can have noted elsewhere that they have, but not yet that
    /// the next one has.
    pub fn returned(&self) -> usize {
        match self.cut {
            Cut::Between { operations } => operations,
            Cut::Torn { operation, .. } => operation,
            Cut::Reordered { before, .. } => before,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sector = u64::from(self.medium.geometry().sector_size);
        let name = |index: usize| format!("operation {index} ({})", self.operations[index].describe(sector));
        match &self.cut {
            Cut::Between { operations: 0 } => f.write_str("before the first operation"),
            Cut::Between { operations } => write!(f, "after {}", name(operations - 1)),
            Cut::Torn { operation, sectors, alone } => {
                match sectors {
                    Sectors::First(count) => write!(f, "the first {count} sectors of ")?,
                    Sectors::Last(count) => write!(f, "the last {count} sectors of ")?,
                    Sectors::Chosen(seed) => write!(f, "sectors chosen by {seed} of ")?,
                }
                f.write_str(&name(*operation))?;
                f.write_str(if *alone { " and nothing else since the last sync" } else { "" })
            }
            Cut::Reordered { kept, before } => {
                let kept: Vec<String> = kept.iter().map(|index| name(*index)).collect();
                write!(f, "since the sync before operation {before} only {}", kept.join(", "))
            }
        }
    }
}

/// The states of a medium, one after the other.
pub struct States {
    cuts: std::vec::IntoIter<Cut>,
    operations: Arc<Vec<Operation>>,
    sector_size: u32,
    /// Operations that a sync made durable, and the medium after them.
    synced: usize,
    durable: Pages,
    /// Operations before the next cut, and the medium after them in their order.
    done: usize,
    current: Pages,
}

impl States {
    pub(super) fn new(base: &CowMemory, operations: Arc<Vec<Operation>>, seed: u64) -> States {
        let cuts = cuts(&operations, seed).into_iter();
        let (durable, sector_size) = (base.pages(), base.geometry().sector_size);
        States { cuts, operations, sector_size, synced: 0, current: durable.clone(), durable, done: 0 }
    }

    /// Goes on to the moment when `count` operations are done.
    fn advance(&mut self, count: usize) {
        while self.done < count {
            match &self.operations[self.done] {
                Operation::Sync => {
                    self.synced = self.done + 1;
                    self.durable = self.current.clone();
                }
                Operation::Change(change) => apply(&mut self.current, change, None, self.sector_size),
            }
            self.done += 1;
        }
    }

    fn medium(&mut self, cut: &Cut) -> Pages {
        match cut {
            Cut::Between { operations } => {
                self.advance(*operations);
                self.current.clone()
            }
            Cut::Torn { operation, sectors, alone } => {
                self.advance(*operation);
                let mut pages = if *alone { self.durable.clone() } else { self.current.clone() };
                self.apply(&mut pages, *operation, Some(*sectors));
                pages
            }
            Cut::Reordered { kept, .. } => {
                let mut pages = self.durable.clone();
                kept.iter().for_each(|operation| self.apply(&mut pages, *operation, None));
                pages
            }
        }
    }

    fn apply(&self, pages: &mut Pages, operation: usize, some: Option<Sectors>) {
        if let Operation::Change(change) = &self.operations[operation] {
            apply(pages, change, some, self.sector_size);
        }
    }
}

/// Puts the sectors of a change, or some of them, on a medium.
fn apply(pages: &mut Pages, change: &Change, some: Option<Sectors>, sector_size: u32) {
    let (sector, len) = (u64::from(sector_size), pages.len());
    let sectors = some.map_or(vec![change.sectors.clone()], |some| some.of(&change.sectors));
    let first = Pages::index(change.sectors.start * sector);
    for range in sectors {
        pages.take(range.start * sector..(range.end * sector).min(len), &change.pages, first);
    }
}

impl Iterator for States {
    type Item = State;

    fn next(&mut self) -> Option<State> {
        let cut = self.cuts.next()?;
        let medium = Arc::new(CowMemory::from_pages(self.medium(&cut), self.sector_size));
        Some(State { cut, medium, operations: Arc::clone(&self.operations) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.cuts.size_hint()
    }
}

impl ExactSizeIterator for States {}
