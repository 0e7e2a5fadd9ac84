//! Moments and orders that are looked at.

use std::ops::Range;

use super::{Change, Operation};

/// Writes of at most so many sectors are torn at every boundary of sectors.
const TORN_EVERYWHERE: u64 = 64;
/// Of longer ones these many boundaries at both ends, and as many chosen ones between.
const TORN_AT_ENDS: u64 = 16;
const TORN_BETWEEN: u64 = 8;
/// Number of times that sectors of a write are chosen one by one.
const SCATTERED: u64 = 4;
/// Up to so many unsynced operations every subset is looked at; of more, that many chosen ones.
const EVERY_SUBSET: usize = 6;
const CHOSEN_SUBSETS: usize = 32;

/// A way in which the power failed. Operations are counted from 0 in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Between two operations; everything before has reached the medium. This is the state before the first
    /// operation and after each.
    Between {
        /// The operations before.
        operations: usize,
    },
    /// Within an operation: only some of its sectors have reached the medium. Up to 64 sectors: each number of first
    /// sectors, each of last ones, and four chosen subsets; of longer ones 16 boundaries from each end and eight
    /// chosen ones between. Each with all of the operations since the last sync and with none of them.
    Torn {
        /// The operation.
        operation: usize,
        /// Its sectors that reach the medium.
        sectors: Sectors,
        /// Set if nothing else since the last sync has reached the medium.
        alone: bool,
    },
    /// Of the operations since the last sync some have reached the medium: for up to six of them every subset, for
    /// more all but one, only one, and 32 chosen subsets.
    Reordered {
        /// The operations that have.
        kept: Vec<usize>,
        /// The sync that did not return.
        before: usize,
    },
}

/// Some sectors of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sectors {
    /// The first ones.
    First(u64),
    /// The last ones.
    Last(u64),
    /// Chosen by a seed.
    Chosen(u64),
}

impl Sectors {
    /// The ranges of `all` that these are.
    pub(super) fn of(self, all: &Range<u64>) -> Vec<Range<u64>> {
        match self {
            Sectors::First(count) => vec![all.start..all.start + count],
            Sectors::Last(count) => vec![all.end - count..all.end],
            Sectors::Chosen(seed) => {
                let mut choice = Choice(seed);
                all.clone()
                    .filter(|_| choice.next().is_multiple_of(2))
                    .map(|sector| sector..sector + 1)
                    .collect()
            }
        }
    }
}

/// Numbers by a seed (SplitMix64, public domain, by Sebastiano Vigna).
struct Choice(u64);

impl Choice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Every cut of a run, in the order of its operations; those with reordered operations where their sync is.
pub(super) fn cuts(operations: &[Operation], seed: u64) -> Vec<Cut> {
    let mut choice = Choice(seed);
    let mut cuts = vec![Cut::Between { operations: 0 }];
    let mut start = 0;
    for (index, operation) in operations.iter().enumerate() {
        match operation {
            Operation::Change(change) => push_torn(&mut cuts, change, index, index > start, &mut choice),
            Operation::Sync => {
                push_reordered(&mut cuts, start..index, &mut choice);
                start = index + 1;
            }
        }
        cuts.push(Cut::Between { operations: index + 1 });
    }
    push_reordered(&mut cuts, start..operations.len(), &mut choice);
    cuts
}

fn push_torn(cuts: &mut Vec<Cut>, change: &Change, operation: usize, others: bool, choice: &mut Choice) {
    let count = change.sectors.end - change.sectors.start;
    let mut kinds = Vec::new();
    for at in boundaries(count, choice) {
        kinds.extend([Sectors::First(at), Sectors::Last(at)]);
    }
    if count > 2 {
        kinds.extend((0..SCATTERED).map(|_| Sectors::Chosen(choice.next())));
    }
    for alone in [false, true].into_iter().take(if others { 2 } else { 1 }) {
        cuts.extend(kinds.iter().map(|&sectors| Cut::Torn { operation, sectors, alone }));
    }
}

/// Numbers of sectors after which a write is torn.
fn boundaries(count: u64, choice: &mut Choice) -> Vec<u64> {
    if count <= TORN_EVERYWHERE {
        return (1..count).collect();
    }
    let between = TORN_AT_ENDS + 1..count - TORN_AT_ENDS;
    let mut chosen: Vec<u64> = (0..TORN_BETWEEN)
        .map(|_| between.start + choice.next() % (between.end - between.start))
        .chain(1..=TORN_AT_ENDS)
        .chain(count - TORN_AT_ENDS..count)
        .collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

fn push_reordered(cuts: &mut Vec<Cut>, unsynced: Range<usize>, choice: &mut Choice) {
    let mut subsets = subsets(unsynced.len(), choice);
    subsets.sort_unstable();
    subsets.dedup();
    // The first ones in their order are no other order.
    let in_order = |kept: &[usize]| kept.iter().enumerate().all(|(index, operation)| index == *operation);
    for subset in subsets.into_iter().filter(|kept| !in_order(kept)) {
        let kept = subset.into_iter().map(|index| unsynced.start + index).collect();
        cuts.push(Cut::Reordered { kept, before: unsynced.end });
    }
}

/// Subsets of `count` operations, by their indices.
fn subsets(count: usize, choice: &mut Choice) -> Vec<Vec<usize>> {
    let those = |keep: &mut dyn FnMut(usize) -> bool| (0..count).filter(|index| keep(*index)).collect();
    if count <= EVERY_SUBSET {
        return (0..1_u32 << count).map(|bits| those(&mut |index| bits >> index & 1 == 1)).collect();
    }
    let only = (0..count).map(|one| vec![one]);
    let all_but = (0..count).map(|one| those(&mut |index| index != one));
    let mut all: Vec<Vec<usize>> = only.chain(all_but).collect();
    all.extend((0..CHOSEN_SUBSETS).map(|_| those(&mut |_| choice.next().is_multiple_of(2))));
    all
}
