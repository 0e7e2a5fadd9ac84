//! Large files with equal contents, found before any of them is compressed.
//!
//! Only files of equal length can be equal, so that most are never read for this. Files smaller than a block are
//! not looked at here: they are compared when they come by, before they are packed.

use std::collections::HashMap;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::super::SquashfsError;
use super::super::layout::Layout;
use super::stat_cache::StatCache;
use crate::fs::FileHasher;
use crate::tree::Content;
use crate::value::Digest;

/// Files that are the same as an earlier one.
#[derive(Default)]
pub(super) struct Duplicates {
    /// By position in `Layout::files`, for files that had to be read.
    digests: HashMap<u32, Digest>,
    /// Later file and the first with its content, in the order of the files.
    pairs: Vec<(u32, u32)>,
    is_duplicate: HashMap<u32, u32>,
}

impl Duplicates {
    /// The digest, if the file has been read already.
    pub(super) fn digest(&self, file: u32) -> Option<Digest> {
        self.digests.get(&file).copied()
    }

    /// Returns whether an earlier file has the same content.
    pub(super) fn contains(&self, file: u32) -> bool {
        self.is_duplicate.contains_key(&file)
    }

    /// Later file and the first with its content.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        self.pairs.iter().copied()
    }
}

/// Reads the large files that share their length with another one.
pub(super) fn find(
    layout: &Layout,
    stat_cache: &StatCache,
    pool: &ThreadPool,
) -> Result<Duplicates, SquashfsError> {
    let candidates = same_length(layout);
    let content = |file: &u32| layout.files[*file as usize].1;
    let digests: Vec<Digest> = pool.install(|| {
        candidates
            .par_iter()
            .map(|file| digest(stat_cache, content(file)))
            .collect::<Result<_, SquashfsError>>()
    })?;
    let mut duplicates = Duplicates::default();
    let mut first = HashMap::new();
    for (file, digest) in candidates.into_iter().zip(digests) {
        duplicates.digests.insert(file, digest);
        let original = *first.entry((content(&file).len(), digest)).or_insert(file);
        if original != file {
            duplicates.pairs.push((file, original));
            duplicates.is_duplicate.insert(file, original);
        }
    }
    Ok(duplicates)
}

/// Files of at least one block that are not alone with their length, in order.
fn same_length(layout: &Layout) -> Vec<u32> {
    let large = || {
        let files = (0..).zip(&layout.files).map(|(file, (_, content))| (file, content.len()));
        files.filter(|(_, len)| *len >= u64::from(layout.options.block_size))
    };
    let mut counts: HashMap<u64, u32> = HashMap::new();
    large().for_each(|(_, len)| *counts.entry(len).or_default() += 1);
    large().filter(|(_, len)| counts[len] > 1).map(|(file, _)| file).collect()
}

fn digest(stat_cache: &StatCache, content: &Content) -> Result<Digest, SquashfsError> {
    if let Some(known) = stat_cache.file(content) {
        return Ok(known.digest);
    }
    Ok(FileHasher::digest(content)?)
}
