//! Images of filesystems.

use super::Composed;
use crate::error::Result;
use crate::fs::{ext4, fat, squashfs};
use crate::storage::{Region, Scratch};
use crate::tree::Tree;

/// The squashfs of `layout`; `name` is its name for messages.
pub(crate) fn squashfs(
    layout: &squashfs::Layout<'_>,
    name: &str,
    resources: &squashfs::Resources,
) -> Result<Composed> {
    let scratch = Scratch::new(layout.size_bound())?;
    let written = squashfs::write(layout, &Region::whole(&scratch, name), resources)?;
    Ok(Composed { content: scratch.into_content(written.len)?, files: written.files })
}

/// An ext4 of `len` bytes with `tree`.
pub(crate) fn ext4(tree: &Tree, options: &ext4::Options, len: u64, name: &str) -> Result<Composed> {
    let layout = ext4::layout(tree, options, len)?;
    let scratch = Scratch::new(len)?;
    let files = ext4::write(&layout, &Region::whole(&scratch, name))?.files;
    Ok(Composed { content: scratch.into_content(len)?, files })
}

/// A FAT of `len` bytes with `tree`.
pub(crate) fn fat(tree: &Tree, options: &fat::Options, len: u64, name: &str) -> Result<Composed> {
    let layout = fat::layout(tree, options, len)?;
    let scratch = Scratch::new(len)?;
    let files = fat::write(&layout, &Region::whole(&scratch, name))?.files;
    Ok(Composed { content: scratch.into_content(len)?, files })
}
