//! `cache stats|prune`.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::cache_args::LocalCacheArgs;
use crate::cache::{Contents, Keep, Local, Pruned};
use crate::error::Result;
use crate::report::Report;
use crate::value::{ByteSize, Utc};

#[derive(Debug, Subcommand)]
pub enum Cache {
    /// Show how much is kept.
    Stats {
        #[command(flatten)]
        cache: LocalCacheArgs,
    },
    /// Remove what was not used for longest, and what killed builds have left.
    Prune(Prune),
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Size the cache may have afterwards; without it the one of --cache-size.
    #[arg(long, value_name = "SIZE")]
    max: Option<ByteSize>,

    /// Remove everything.
    #[arg(long, conflicts_with = "max")]
    all: bool,

    #[command(flatten)]
    cache: LocalCacheArgs,
}

/// There is nothing to look at.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input, hint = "give its directory with `--cache`")]
#[error("the block cache is off")]
struct Off;

#[derive(Serialize)]
struct Stats {
    path: String,
    bound: ByteSize,
    #[serde(flatten)]
    contents: Contents,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { path, bound, contents } = self;
        write!(f, "{path}: {}, at most {bound}", Amount(contents.entries, contents.bytes))?;
        let oldest = contents.oldest_use.map(Utc);
        oldest.map_or(Ok(()), |oldest| write!(f, "\noldest use: {oldest}"))
    }
}

#[derive(Serialize)]
struct Left {
    path: String,
    #[serde(flatten)]
    pruned: Pruned,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Left { path, pruned } = self;
        let (removed, left) = (Amount(pruned.removed, pruned.freed), Amount(pruned.entries, pruned.bytes));
        write!(f, "{path}: {removed} removed; {left} left")
    }
}

/// A number of blocks and the bytes of disk they take.
struct Amount(u64, u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Amount(blocks, bytes) = *self;
        let noun = if blocks == 1 { "block" } else { "blocks" };
        write!(f, "{blocks} {noun}, {}", ByteSize(bytes))
    }
}

impl Cache {
    pub fn run(self, report: &Report) -> Result<()> {
        match self {
            Cache::Stats { cache } => stats(&cache, report),
            Cache::Prune(prune) => prune.run(report),
        }
    }
}

fn directory(cache: &LocalCacheArgs) -> Result<PathBuf> {
    Ok(cache.directory().ok_or(Off)?)
}

fn stats(cache: &LocalCacheArgs, report: &Report) -> Result<()> {
    let directory = directory(cache)?;
    let contents = Local::contents(&directory)?;
    let stats = Stats { path: directory.display().to_string(), bound: cache.bound(), contents };
    report.document(&stats, &stats);
    Ok(())
}

impl Prune {
    fn run(self, report: &Report) -> Result<()> {
        let directory = directory(&self.cache)?;
        let keep = match self.all {
            true => Keep::Nothing,
            false => Keep::AtMost(self.max.unwrap_or(self.cache.bound())),
        };
        let left = Left { path: directory.display().to_string(), pruned: Local::prune(&directory, keep)? };
        report.document(&left, &left);
        Ok(())
    }
}
