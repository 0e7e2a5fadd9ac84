//! Free space, and the part of it that is promised to files that are not there yet.

use std::collections::BTreeSet;
use std::ops::Range;

use super::error::UpdateError;

/// Free blocks and inodes, as they are after all that was promised.
pub(super) struct Space {
    /// Sorted, disjoint and not adjacent.
    free: Vec<Range<u64>>,
    block_size: u64,
    /// Free on the medium, but promised.
    pub inodes_taken: BTreeSet<u32>,
    free_inodes: u64,
}

impl Space {
    /// With runs of free blocks in ascending order.
    pub(super) fn new(runs: impl Iterator<Item = Range<u64>>, block_size: u64, free_inodes: u64) -> Space {
        let mut free: Vec<Range<u64>> = Vec::new();
        for run in runs {
            match free.last_mut() {
                Some(last) if last.end == run.start => last.end = run.end,
                _ => free.push(run),
            }
        }
        Space { free, block_size, inodes_taken: BTreeSet::new(), free_inodes }
    }

    /// Free blocks.
    pub(super) fn blocks(&self) -> u64 {
        self.free.iter().map(|run| run.end - run.start).sum()
    }

    /// Number of runs of free blocks.
    pub(super) fn runs(&self) -> u64 {
        self.free.len() as u64
    }

    /// Free inodes.
    pub(super) fn inodes(&self) -> u64 {
        self.free_inodes
    }

    /// Fails unless so many blocks are free.
    pub(super) fn ensure_blocks(&self, need: u64) -> Result<(), UpdateError> {
        let have = self.blocks();
        match need <= have {
            true => Ok(()),
            false => Err(UpdateError::NoBlocks { need, have, block_size: self.block_size }),
        }
    }

    /// Fails unless so many inodes are free.
    pub(super) fn ensure_inodes(&self, need: u64) -> Result<(), UpdateError> {
        let have = self.free_inodes;
        if need <= have { Ok(()) } else { Err(UpdateError::NoInodes { need, have }) }
    }

    /// Takes `count` blocks: out of the smallest run that has so many, else of the fewest runs.
    pub(super) fn take(&mut self, count: u64) -> Result<Vec<Range<u64>>, UpdateError> {
        self.ensure_blocks(count)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let len = |run: &Range<u64>| run.end - run.start;
        let whole = (0..self.free.len()).filter(|index| len(&self.free[*index]) >= count);
        let taken = match whole.min_by_key(|index| len(&self.free[*index])) {
            Some(index) => vec![(index, count)],
            None => self.longest(count),
        };
        let mut runs = Vec::new();
        for (index, count) in taken {
            let run = &mut self.free[index];
            runs.push(run.start..run.start + count);
            run.start += count;
        }
        self.free.retain(|run| !run.is_empty());
        runs.sort_by_key(|run| run.start);
        Ok(runs)
    }

    /// The longest runs that together have `count` blocks, with how much of each.
    fn longest(&self, count: u64) -> Vec<(usize, u64)> {
        let mut order: Vec<usize> = (0..self.free.len()).collect();
        order.sort_by_key(|index| {
            let run = &self.free[*index];
            (std::cmp::Reverse(run.end - run.start), run.start)
        });
        let mut rest = count;
        let mut taken = Vec::new();
        for index in order {
            let part = rest.min(self.free[index].end - self.free[index].start);
            if part == 0 {
                break;
            }
            taken.push((index, part));
            rest -= part;
        }
        taken
    }

    /// Gives blocks back.
    pub(super) fn give(&mut self, run: Range<u64>) {
        if run.is_empty() {
            return;
        }
        let at = self.free.partition_point(|other| other.start < run.start);
        self.free.insert(at, run);
        if at + 1 < self.free.len() && self.free[at].end == self.free[at + 1].start {
            self.free[at].end = self.free.remove(at + 1).end;
        }
        if at > 0 && self.free[at - 1].end == self.free[at].start {
            self.free[at - 1].end = self.free.remove(at).end;
        }
    }

    /// Promises an inode.
    pub(super) fn take_inode(&mut self, inode: u32) {
        if self.inodes_taken.insert(inode) {
            self.free_inodes -= 1;
        }
    }

    /// Takes an inode back that was promised, or that is free on the medium now.
    pub(super) fn give_inode(&mut self, inode: u32) {
        self.inodes_taken.remove(&inode);
        self.free_inodes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        Space::new([10..20, 30..35, 35..40, 50..53].into_iter(), 4096, 5)
    }

    #[test]
    fn the_smallest_run_that_suffices_is_taken_else_the_longest() {
        let mut space = space();
        assert_eq!(space.take(3).expect("free"), [50..53]);
        assert_eq!(space.take(10).expect("free"), [10..20]);
        let mut space = self::space();
        assert_eq!(space.take(15).expect("free"), [10..20, 30..35]);
        assert_eq!(space.blocks(), 8);
    }

    #[test]
    fn blocks_that_are_given_back_join_their_neighbours() {
        let mut space = space();
        space.give(20..30);
        assert_eq!(space.take(30).expect("free"), [10..40]);
    }
}
