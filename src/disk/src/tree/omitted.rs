//! Things that a source has and its tree has not: counted by kind, so that a whole tree with one kind gives one sentence.

use std::collections::BTreeMap;

use super::display;

/// Things left out while a tree is made.
#[derive(Debug, Default)]
pub(super) struct Omissions {
    /// By what is left out: the first path, and how many more there are.
    by_kind: BTreeMap<String, (String, u64)>,
}

impl Omissions {
    /// Notes that the node at `path` loses `what`.
    pub(super) fn add(&mut self, path: &[u8], what: String) {
        self.by_kind.entry(what).and_modify(|(_, more)| *more += 1).or_insert_with(|| (display(path), 0));
    }

    /// One sentence for each kind, without a full stop.
    pub(super) fn sentences(self) -> Vec<String> {
        let sentence = |(what, (path, more)): (String, (String, u64))| match more {
            0 => format!("`{path}` loses {what}"),
            more => format!("`{path}` and {more} more lose {what}"),
        };
        self.by_kind.into_iter().map(sentence).collect()
    }
}
