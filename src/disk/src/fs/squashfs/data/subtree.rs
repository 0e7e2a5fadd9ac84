//! The blake3 digest of a file whose spans were hashed by different threads.

use blake3::hazmat::{ChainingValue, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// Joins the chaining values of equally long, aligned spans into the root of the hash tree. As the tree is
/// complete to the left, subtrees are merged one push late: a whole tree may still turn out to be the root.
#[derive(Default)]
pub(super) struct Subtrees {
    stack: Vec<ChainingValue>,
    count: u64,
}

impl Subtrees {
    /// Adds the next span; the last one, which may be shorter, gives the digest. There are at least two.
    pub(super) fn push(&mut self, subtree: ChainingValue, last: bool) -> Option<blake3::Hash> {
        // Of n spans, the complete trees are the one bits of n.
        while self.stack.len() > self.count.count_ones() as usize {
            self.merge();
        }
        self.stack.push(subtree);
        self.count += 1;
        last.then(|| self.root())
    }

    fn root(&mut self) -> blake3::Hash {
        while self.stack.len() > 2 {
            self.merge();
        }
        let hash = merge_subtrees_root(&self.stack[0], &self.stack[1], Mode::Hash);
        *self = Subtrees::default();
        hash
    }

    fn merge(&mut self) {
        let right = self.stack.pop().expect("two subtrees to merge");
        let left = self.stack.pop().expect("two subtrees to merge");
        self.stack.push(merge_subtrees_non_root(&left, &right, Mode::Hash));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blake3::hazmat::HasherExt;

    #[test]
    fn spans_hash_like_the_whole() {
        const SPAN: usize = 4096;
        let bytes: Vec<u8> = (0..SPAN * 19).map(|n| (n * 31 % 251) as u8).collect();
        let mut subtrees = Subtrees::default();
        for len in (SPAN + 1..bytes.len()).step_by(SPAN / 2 - 1).chain([SPAN * 2, SPAN * 16, SPAN * 17]) {
            let count = len.div_ceil(SPAN);
            let mut hash = None;
            for (number, span) in bytes[..len].chunks(SPAN).enumerate() {
                let mut hasher = blake3::Hasher::new();
                let subtree =
                    hasher.set_input_offset((number * SPAN) as u64).update(span).finalize_non_root();
                hash = subtrees.push(subtree, number + 1 == count);
            }
            assert_eq!(hash, Some(blake3::hash(&bytes[..len])), "{len}");
        }
    }
}
