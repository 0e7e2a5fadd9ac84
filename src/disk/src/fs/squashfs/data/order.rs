//! In which order small files are packed, and where the packing starts afresh.
//!
//! Files of one kind (by the ending of the name) come together, as they compress better in one block; within a
//! kind the order of the tree stays, as what is near is often read together. The sequence is cut into runs at
//! places that the paths of the files decide. Fragment blocks do not reach over the end of a run, so that a file
//! that is added, removed or grows changes the blocks of its own run only, and the others are found in a cache.

use super::super::layout::Layout;
use crate::tree::Body;
use crate::value::Digest;

/// A run is at least so many blocks long, and on average twice that.
const RUN_BLOCKS: u64 = 8;
/// A run is at most so many blocks long.
const RUN_BLOCKS_MAX: u64 = 32;
/// Longer endings are part of the name.
const ENDING_MAX: usize = 6;

/// Small files in the order of packing.
pub(super) struct Order {
    /// Position in `Layout::files`, and whether a run ends behind the file.
    pub small: Vec<(u32, bool)>,
    /// A number for each file that only its path decides.
    marks: Vec<u64>,
    block_size: u64,
}

impl Order {
    pub(super) fn new(layout: &Layout) -> Order {
        let block_size = u64::from(layout.options.block_size);
        let (marks, kinds) = marks_and_kinds(layout);
        let len = |file: u32| layout.files[file as usize].1.len();
        let mut small: Vec<u32> = (0..layout.files.len() as u32).collect();
        small.retain(|file| (1..block_size).contains(&len(*file)));
        small.sort_by_key(|file| kinds[*file as usize]);
        let mut order = Order { small: Vec::new(), marks, block_size };
        let mut runs = Runs::default();
        order.small = small.into_iter().map(|file| (file, runs.add(&order, file, len(file)))).collect();
        order
    }
}

/// Ends of runs in a sequence of files.
#[derive(Default)]
pub(super) struct Runs {
    len: u64,
}

impl Runs {
    /// Adds a file; whether the run ends behind it.
    pub(super) fn add(&mut self, order: &Order, file: u32, len: u64) -> bool {
        self.len += len;
        let (min, max) = (RUN_BLOCKS * order.block_size, RUN_BLOCKS_MAX * order.block_size);
        // Each byte has the same chance to be the last, so that runs do not depend on how long files are.
        let marked = order.marks[file as usize] % min < len;
        let ends = self.len >= max || (self.len >= min && marked);
        if ends {
            self.len = 0;
        }
        ends
    }
}

/// By position in `Layout::files`: see [`Order::marks`], and the ending of the name.
fn marks_and_kinds<'t>(layout: &Layout<'t>) -> (Vec<u64>, Vec<&'t [u8]>) {
    let count = layout.files.len();
    let (mut marks, mut kinds) = (vec![0; count], vec![&[][..]; count]);
    for (dir_path, dir) in layout.tree.walk() {
        for (name, child) in layout.tree.node(dir).entries().into_iter().flatten() {
            if !matches!(layout.tree.node(*child).body, Body::File(_)) {
                continue;
            }
            let file = layout.file_index[child.index()] as usize;
            // Of several names the first counts.
            if marks[file] == 0 {
                marks[file] = mark(&dir_path, name);
                kinds[file] = ending(name);
            }
        }
    }
    (marks, kinds)
}

fn mark(dir: &[u8], name: &[u8]) -> u64 {
    let digest = Digest::of(&[dir, b"/", name].concat());
    let first: [u8; 8] = std::array::from_fn(|index| digest.0[index]);
    u64::from_le_bytes(first).max(1)
}

/// `.py` of `/usr/lib/os.py`; nothing where there is no ending.
fn ending(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 && name.len() - dot <= ENDING_MAX => &name[dot..],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_short_and_not_the_whole_name() {
        assert_eq!(ending(b"os.py"), b".py");
        assert_eq!(ending(b"libc.so.6"), b".6");
        assert_eq!(ending(b".bashrc"), b"");
        assert_eq!(ending(b"systemd.network.example"), b"");
        assert_eq!(ending(b"README"), b"");
    }
}
