//! Digests of files, at the cost of what they store.
//!
//! The digest of a file is its BLAKE3, as `b3sum` prints it. Of a file of more than 4 GiB, each aligned MiB of zeros has
//! one fixed chaining value in the place of its own, wherever it is: a TiB of zeros is then hashed in forty steps, while
//! BLAKE3 would take minutes, as the chaining value of each of its chunks depends on the place of the chunk. Other MiBs,
//! and the tree above, are those of BLAKE3 (section 2 of its paper), so that parts can be hashed by different threads.

use std::io;

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::zeros;
use crate::tree::{Content, ContentError, Run};
use crate::value::{Digest, is_zero};

/// Longest file whose digest is that of all its bytes.
const PLAIN_UP_TO: u64 = 4 << 30;
/// Bytes that have the fixed chaining value if they are zeros.
pub(super) const PIECE: u64 = 1 << 20;
/// Name of the fixed chaining value.
const ZERO_PIECE: &str = "skiff-image 2026 a MiB of zeros";

/// Returns whether zeros of a file of `len` bytes have the fixed chaining value.
pub(super) fn has_cheap_zeros(len: u64) -> bool {
    len > PLAIN_UP_TO
}

/// The chaining value of `1 << level` pieces of zeros.
pub(super) fn zero_pieces(level: u32) -> ChainingValue {
    let piece = blake3::derive_key(ZERO_PIECE, b"");
    (0..level).fold(piece, |half, _| merge_subtrees_non_root(&half, &half, Mode::Hash))
}

#[cfg(feature = "squashfs")]
/// The chaining value of the piece at `offset` of a file with cheap zeros; only the last may be shorter.
pub(super) fn piece(bytes: &[u8], offset: u64) -> ChainingValue {
    match bytes.len() as u64 == PIECE && is_zero(bytes) {
        true => zero_pieces(0),
        false => Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root(),
    }
}

/// Joins chaining values of neighbouring subtrees into the root of the hash tree. As the tree is complete to the left,
/// subtrees are merged one push late: a whole tree may still turn out to be the root.
#[derive(Debug, Default)]
pub(super) struct Subtrees {
    /// Chaining values, each of `1 << level` parts.
    stack: Vec<(ChainingValue, u32)>,
}

impl Subtrees {
    /// Adds the next `1 << level` parts, whose number so far is a multiple of that; the last part may be shorter.
    pub(super) fn push(&mut self, subtree: ChainingValue, level: u32) {
        while let [.., (left, a), (right, b)] = self.stack.as_slice()
            && a == b
        {
            let merged = (merge_subtrees_non_root(left, right, Mode::Hash), a + 1);
            self.stack.truncate(self.stack.len() - 2);
            self.stack.push(merged);
        }
        self.stack.push((subtree, level));
    }

    /// The digest of all parts, of which there are at least two.
    pub(super) fn root(&mut self) -> blake3::Hash {
        let mut stack = std::mem::take(&mut self.stack);
        // All is one tree: of zeros, whose halves are alike.
        if let [(_, level)] = stack.as_slice() {
            let half = zero_pieces(level.saturating_sub(1));
            return merge_subtrees_root(&half, &half, Mode::Hash);
        }
        let (mut right, _) = stack.pop().expect("there are parts");
        while stack.len() > 1 {
            let (left, _) = stack.pop().expect("there are more parts");
            right = merge_subtrees_non_root(&left, &right, Mode::Hash);
        }
        merge_subtrees_root(&stack[0].0, &right, Mode::Hash)
    }
}

/// Computes the digest of a file.
#[derive(Debug)]
pub struct FileHasher {
    /// All bytes so far, or those of the piece that is not complete.
    hasher: Hasher,
    pieces: Option<Pieces>,
}

/// The complete pieces of a file with cheap zeros.
#[derive(Debug, Default)]
struct Pieces {
    subtrees: Subtrees,
    /// Bytes so far.
    at: u64,
    /// The piece that is not complete has other bytes than zeros.
    has_data: bool,
}

impl FileHasher {
    /// A file of `len` bytes.
    pub fn new(len: u64) -> FileHasher {
        FileHasher { hasher: Hasher::new(), pieces: has_cheap_zeros(len).then(Pieces::default) }
    }

    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let Some(pieces) = &mut self.pieces else {
            self.hasher.update(bytes);
            return;
        };
        while !bytes.is_empty() {
            if pieces.at.is_multiple_of(PIECE) {
                self.hasher = Hasher::new();
                self.hasher.set_input_offset(pieces.at);
                pieces.has_data = false;
            }
            let room = (PIECE - pieces.at % PIECE).min(bytes.len() as u64);
            let (part, rest) = bytes.split_at(room as usize);
            pieces.has_data |= !is_zero(part);
            self.hasher.update(part);
            pieces.at += room;
            bytes = rest;
            if pieces.at.is_multiple_of(PIECE) {
                let value = if pieces.has_data { self.hasher.finalize_non_root() } else { zero_pieces(0) };
                pieces.subtrees.push(value, 0);
            }
        }
    }

    /// Adds `len` zeros.
    pub fn update_zeros(&mut self, len: u64) {
        let Some(pieces) = &self.pieces else { return zeros(len).for_each(|bytes| self.update(bytes)) };
        let before = (pieces.at.next_multiple_of(PIECE) - pieces.at).min(len);
        zeros(before).for_each(|bytes| self.update(bytes));
        let mut left = len - before;
        while let Some(pieces) = self.pieces.as_mut().filter(|_| left >= PIECE) {
            // The start of a file is a multiple of everything: 64 bits of it are zero.
            let level = (pieces.at / PIECE).trailing_zeros().min((left / PIECE).ilog2());
            pieces.subtrees.push(zero_pieces(level), level);
            pieces.at += PIECE << level;
            left -= PIECE << level;
        }
        zeros(left).for_each(|bytes| self.update(bytes));
    }

    /// Returns whether the digest of a file of `len` bytes is its BLAKE3.
    pub fn is_plain(len: u64) -> bool {
        !has_cheap_zeros(len)
    }

    /// The digest of a content, of which holes are not read.
    pub fn digest(content: &Content) -> Result<Digest, ContentError> {
        let mut hasher = FileHasher::new(content.len());
        content.for_each_run(|run| {
            match run {
                Run::Data(bytes) => hasher.update(bytes),
                Run::Hole(len) => hasher.update_zeros(len),
            }
            Ok::<_, ContentError>(())
        })?;
        Ok(hasher.finalize())
    }

    /// The digest, if all bytes of the file were added.
    pub fn finalize(self) -> Digest {
        let Some(mut pieces) = self.pieces else { return self.hasher.finalize().into() };
        if !pieces.at.is_multiple_of(PIECE) {
            pieces.subtrees.push(self.hasher.finalize_non_root(), 0);
        }
        pieces.subtrees.root().into()
    }
}

impl io::Write for FileHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_files_have_their_blake3() {
        let mut hasher = FileHasher::new(3 << 20);
        hasher.update(b"begin");
        hasher.update_zeros((3 << 20) - 5);
        let mut bytes = b"begin".to_vec();
        bytes.resize(3 << 20, 0);
        assert_eq!(hasher.finalize(), Digest::of(&bytes));
    }

    #[test]
    fn parts_hash_like_the_whole() {
        const PART: usize = 4096;
        let bytes: Vec<u8> = (0..PART * 19).map(|n| (n * 31 % 251) as u8).collect();
        for len in (PART + 1..bytes.len()).step_by(PART / 2 - 1).chain([PART * 2, PART * 16, PART * 17]) {
            let mut subtrees = Subtrees::default();
            for (number, part) in bytes[..len].chunks(PART).enumerate() {
                let mut hasher = Hasher::new();
                let offset = (number * PART) as u64;
                subtrees.push(hasher.set_input_offset(offset).update(part).finalize_non_root(), 0);
            }
            assert_eq!(subtrees.root(), blake3::hash(&bytes[..len]), "{len}");
        }
    }

    /// Runs of a long file: data, or zeros, in bytes.
    fn digest(len: u64, runs: &[(u64, &[u8])], as_data: bool) -> Digest {
        let mut hasher = FileHasher::new(len);
        let mut at = 0;
        let zero = |hasher: &mut FileHasher, len: u64| match as_data {
            true => zeros(len).for_each(|bytes| hasher.update(bytes)),
            false => hasher.update_zeros(len),
        };
        for (start, bytes) in runs {
            zero(&mut hasher, start - at);
            hasher.update(bytes);
            at = start + bytes.len() as u64;
        }
        zero(&mut hasher, len - at);
        hasher.finalize()
    }

    #[test]
    fn a_tib_of_zeros_takes_no_time_and_every_byte_counts() {
        let len = 1 << 40;
        let base = digest(len, &[], false);
        let mut others = vec![base, digest(len + 1, &[], false), digest(len << 1, &[], false)];
        for start in [0, 5, PIECE - 1, PIECE, 777 << 30, len - 1] {
            others.push(digest(len, &[(start, b"x")], false));
        }
        others.push(digest(len, &[(0, &[7; 3 << 20]), (9 << 30, b"xyz")], false));
        let distinct: std::collections::BTreeSet<_> = others.iter().map(|digest| digest.0).collect();
        assert_eq!(distinct.len(), others.len());
    }

    #[test]
    fn zeros_that_are_stored_are_those_of_a_hole() {
        // A little more than the longest plain file, in pieces that cross the borders.
        let len = PLAIN_UP_TO + 3 * PIECE + 17;
        let runs: [(u64, &[u8]); 3] =
            [(3, b"begin"), (5 * PIECE - 2, b"over a border"), (PLAIN_UP_TO + PIECE, &[9; 2 << 20])];
        assert_eq!(digest(len, &runs, true), digest(len, &runs, false));
    }
}
