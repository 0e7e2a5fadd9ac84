//! Stand-in for the second reader in a build without it: it reads nothing, so that our own reader reads everything.

use std::io::{Read, Seek};

use super::layout::Layout;
use crate::fs::{Damage, WrittenFile};
use crate::tree::Tree;

/// Reason not to use the second reader for a tree.
pub fn beyond(_: &Tree) -> Option<String> {
    Some("it is not part of this build".into())
}

/// Says nothing about any file.
pub fn check_files(_: impl Read + Seek + Send, _: &[WrittenFile]) -> Option<Vec<Damage>> {
    None
}

/// Fails always.
pub(super) fn compare(_: impl Read + Seek, _: &Layout, _: &[WrittenFile]) -> Result<Vec<Damage>, String> {
    Err("there is no second reader".into())
}
