//! Fragment blocks that are being filled.

use std::sync::Arc;

use crate::tree::Content;
use crate::value::Digest;

/// Number of bins that are open at a time. With one, a file that does not fit leaves a sixth of a block empty on
/// average; with more than a few, files that belong together get far apart.
const OPEN_MAX: usize = 4;

/// Part of a fragment block: a small file, or the end of a large one.
#[derive(Debug)]
pub(super) struct Piece<'t> {
    /// Position in `Layout::files`.
    pub file: u32,
    pub digest: Digest,
    pub len: usize,
    pub bytes: Bytes<'t>,
}

/// Place of the bytes of a piece.
#[derive(Debug)]
pub(super) enum Bytes<'t> {
    /// They were read, together with others.
    Read(Arc<Vec<u8>>, usize),
    /// They were not read yet: the content, and the first byte.
    Unread(&'t Content, u64),
}

/// A fragment block with what is in it.
#[derive(Debug, Default)]
pub(super) struct Bin<'t> {
    pub pieces: Vec<Piece<'t>>,
    pub len: usize,
}

/// Open fragment blocks of at most `capacity` bytes, oldest first.
pub(super) struct FragmentPacker<'t> {
    capacity: usize,
    open: Vec<Bin<'t>>,
}

impl<'t> FragmentPacker<'t> {
    pub(super) fn new(capacity: usize) -> FragmentPacker<'t> {
        FragmentPacker { capacity, open: Vec::new() }
    }

    /// Adds a piece where it fits most tightly; returns the block that had to be closed for it.
    pub(super) fn add(&mut self, piece: Piece<'t>) -> Option<Bin<'t>> {
        let fitting = |(_, bin): &(usize, &mut Bin)| bin.len + piece.len <= self.capacity;
        let fullest = self.open.iter_mut().enumerate().filter(fitting);
        if let Some((_, bin)) = fullest.max_by_key(|(index, bin)| (bin.len, usize::MAX - index)) {
            bin.put(piece);
            return None;
        }
        let closed = (self.open.len() == OPEN_MAX).then(|| self.open.remove(self.fullest()));
        let mut bin = Bin::default();
        bin.put(piece);
        self.open.push(bin);
        closed
    }

    /// Closes all, joined where they fit into one.
    pub(super) fn close(&mut self) -> Vec<Bin<'t>> {
        let mut closed: Vec<Bin> = Vec::new();
        for bin in self.open.drain(..) {
            let fits = |other: &&mut Bin| other.len + bin.len <= self.capacity;
            match closed.iter_mut().find(fits) {
                Some(other) => bin.pieces.into_iter().for_each(|piece| other.put(piece)),
                None => closed.push(bin),
            }
        }
        closed
    }

    fn fullest(&self) -> usize {
        let indices = 0..self.open.len();
        indices.max_by_key(|index| (self.open[*index].len, usize::MAX - index)).unwrap_or(0)
    }
}

impl<'t> Bin<'t> {
    fn put(&mut self, piece: Piece<'t>) {
        self.len += piece.len;
        self.pieces.push(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(file: u32, len: usize) -> Piece<'static> {
        Piece { file, digest: Digest::default(), len, bytes: Bytes::Read(Arc::default(), 0) }
    }

    fn files(bin: &Bin) -> Vec<u32> {
        bin.pieces.iter().map(|piece| piece.file).collect()
    }

    #[test]
    fn files_go_where_they_fit_most_tightly() {
        let mut packer = FragmentPacker::new(100);
        for (file, len) in [(0, 60), (1, 90), (2, 70), (3, 25), (4, 50)] {
            assert!(packer.add(piece(file, len)).is_none());
        }
        let closed = packer.add(piece(5, 99)).expect("four are open");
        assert_eq!((files(&closed), closed.len), (vec![2, 3], 95));
        let mut rest: Vec<u32> = packer.close().iter().flat_map(files).collect();
        rest.sort();
        assert_eq!(rest, [0, 1, 4, 5]);
    }

    #[test]
    fn what_is_left_is_joined() {
        let mut packer = FragmentPacker::new(100);
        for (file, len) in [(0, 60), (1, 70), (2, 45)] {
            assert!(packer.add(piece(file, len)).is_none());
        }
        assert_eq!(files(&packer.open[1]), [1]);
        // As if a file had left again.
        packer.open[0].len = 30;
        let closed: Vec<Vec<u32>> = packer.close().iter().map(files).collect();
        assert_eq!(closed, [vec![0, 1], vec![2]]);
    }
}
