//! Writes only what is wrong on a medium, by running a source again and letting nothing else through.

use std::ops::Range;

use crate::storage::{Layer, Target, TargetError, WriteOp};

/// A target of which only some ranges can be written; what goes elsewhere is taken for written.
pub(crate) struct Only<'a> {
    target: &'a dyn Target,
    /// Sorted and disjoint.
    ranges: Vec<Range<u64>>,
}

impl<'a> Only<'a> {
    /// `ranges` are sorted and disjoint.
    pub(crate) fn new(target: &'a dyn Target, ranges: Vec<Range<u64>>) -> Only<'a> {
        Only { target, ranges }
    }

    /// Returns the parts of a range that can be written.
    fn allowed(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let first = self.ranges.partition_point(|allowed| allowed.end <= range.start);
        let (start, end) = (range.start, range.end);
        let meets = self.ranges[first..].iter().take_while(move |allowed| allowed.start < end);
        meets.map(move |allowed| allowed.start.max(start)..allowed.end.min(end))
    }
}

impl Layer for Only<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        if let WriteOp::Discard { .. } = op {
            return Ok(false);
        }
        self.allowed(op.range()).try_for_each(|part| op.part(part).apply(self.target).map(drop))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn nothing_else_gets_through() {
        let memory = Memory::new(4096);
        memory.write_at(&[9; 4096], 0).expect("write");
        let only = Only::new(&memory, vec![10..20, 30..40, 100..200]);
        only.write_at(&[1; 35], 5).expect("write");
        only.zero(110, 1000).expect("zero");
        let expected: Vec<u8> = (0..4096)
            .map(|at| match at {
                10..20 | 30..40 => 1,
                110..200 => 0,
                _ => 9,
            })
            .collect();
        assert_eq!(memory.to_vec(), expected);
    }
}
