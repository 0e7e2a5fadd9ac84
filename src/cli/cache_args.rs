//! Flags that say where compressed blocks are kept between builds, and with whom they are shared.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::cache::{self, BlockCache, Summary};
use crate::error::Result;
use crate::report::Report;
use crate::value::ByteSize;

/// The cache of this machine.
#[derive(Debug, Args)]
pub struct LocalCacheArgs {
    /// Directory where compressed blocks are kept for the next build, or `off`; without it
    /// $XDG_CACHE_HOME/skiff-image or ~/.cache/skiff-image. The bytes of the image do not depend on it.
    #[arg(long = "cache", value_name = "DIR|off", env = "SKIFF_CACHE")]
    place: Option<OsString>,

    /// Space that the cache may take, 5 GiB without it; what was not used for longest is removed.
    #[arg(long = "cache-size", value_name = "SIZE", env = "SKIFF_CACHE_SIZE", value_parser = maybe_size)]
    bound: Option<MaybeSize>,
}

/// The cache of a build.
#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(flatten)]
    local: LocalCacheArgs,

    /// Share compressed blocks through an S3-compatible store (`s3://BUCKET/PREFIX`); credentials, region and
    /// endpoint come from the AWS_* variables of the environment.
    #[arg(long, value_name = "URL", env = "SKIFF_CACHE_REMOTE", hide_env_values = true)]
    cache_remote: Option<String>,

    /// Do not read files whose path, length, modification and change time are those of the last build with this
    /// flag: what they consist of is taken from the cache. Trusts the clock, and that the source was not put back by
    /// a restore of the whole filesystem.
    #[arg(long)]
    pub trust_stat: bool,
}

/// A flag that means nothing without a cache.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input, hint = "give `--cache DIR`")]
#[error("`{0}` needs a block cache, and there is none")]
struct NoCache(&'static str);

impl LocalCacheArgs {
    /// The directory of the cache; `None` where there is none, or no home for it.
    pub fn directory(&self) -> Option<PathBuf> {
        match self.place.as_ref().filter(|place| !place.is_empty()) {
            Some(place) if place == "off" => None,
            Some(place) => Some(place.into()),
            None => cache_home().map(|home| home.join("skiff-image")),
        }
    }

    /// Space that the cache may take.
    pub fn bound(&self) -> ByteSize {
        self.bound.and_then(|MaybeSize(size)| size).unwrap_or(cache::DEFAULT_BOUND)
    }
}

impl CacheArgs {
    /// Runs a build with the cache and reports what the cache did, also when the build has failed.
    pub fn serve<T>(
        &self,
        report: &Report,
        build: impl FnOnce(Option<Arc<dyn BlockCache>>) -> Result<T>,
    ) -> Result<(T, Option<Summary>)> {
        let cache = self.open()?;
        let built = build(cache.clone());
        let summary = cache.map(|cache| cache.finish());
        if let Some(summary) = &summary {
            report_summary(summary, built.is_ok(), report);
        }
        Ok((built?, summary))
    }

    fn open(&self) -> Result<Option<Arc<dyn BlockCache>>> {
        match self.local.directory() {
            Some(directory) => {
                let local = Arc::new(cache::Local::open(&directory, self.local.bound()));
                Ok(Some(self.with_remote(local)?))
            }
            None if self.trust_stat => Err(NoCache("--trust-stat").into()),
            None if self.remote_url().is_some() => Err(NoCache("--cache-remote").into()),
            None => Ok(None),
        }
    }

    /// `local`, shared if that is wanted.
    fn with_remote(&self, local: Arc<dyn BlockCache>) -> Result<Arc<dyn BlockCache>> {
        match self.remote_url() {
            Some(url) => Ok(cache::with_remote(local, url)?),
            None => Ok(local),
        }
    }

    /// A set but empty variable means no.
    fn remote_url(&self) -> Option<&str> {
        self.cache_remote.as_deref().filter(|url| !url.is_empty())
    }
}

fn report_summary(summary: &Summary, succeeded: bool, report: &Report) {
    summary.warnings.iter().for_each(|warning| report.warn(warning));
    if summary.damaged > 0 {
        let (count, was) = if summary.damaged == 1 {
            ("1 block".into(), "was")
        } else {
            (format!("{} blocks", summary.damaged), "were")
        };
        report.warn(format!("{count} of the block cache {was} damaged and {was} made again"));
    }
    let (hits, asked) = (summary.hits, summary.hits + summary.misses);
    if succeeded && asked > 0 {
        report.note(format!("cache: {hits} of {asked} blocks were there"));
    }
}

/// Directory of the user's caches (XDG Base Directory Specification: only an absolute path counts).
fn cache_home() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Build machines name a home that does not exist.
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").filter(|home| home.is_dir()).map(|home| home.join(".cache")))
}

/// A size, or none, for the same reason as [`MaybeTimestamp`].
#[derive(Clone, Copy, Debug)]
pub struct MaybeSize(Option<ByteSize>);

fn maybe_size(text: &str) -> std::result::Result<MaybeSize, crate::value::ParseByteSizeError> {
    if text.is_empty() { Ok(MaybeSize(None)) } else { text.parse().map(|size| MaybeSize(Some(size))) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cache::{Block, Key};

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: CacheArgs,
    }

    #[derive(Debug)]
    struct Nothing;

    impl BlockCache for Nothing {
        fn get(&self, _: &Key) -> Option<Block> {
            None
        }

        fn put(&self, _: &Key, _: &Block) {}

        fn finish(&self) -> Summary {
            Summary::default()
        }
    }

    fn with_remote(url: &str) -> Result<Arc<dyn BlockCache>> {
        let command = Command::try_parse_from(["skiff-image", "--cache-remote", url]).expect("parses");
        command.args.with_remote(Arc::new(Nothing))
    }

    #[test]
    fn an_empty_url_means_no_sharing() {
        assert_eq!(format!("{:?}", with_remote("").expect("valid")), "Nothing");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        assert_eq!(
            with_remote("/var/cache").expect_err("refused").to_string(),
            "`/var/cache` is not a shared cache: expected `s3://BUCKET` or `s3://BUCKET/PREFIX`"
        );
    }

    #[test]
    #[cfg(not(feature = "object-store"))]
    fn a_program_without_the_feature_says_so() {
        assert_eq!(
            with_remote("s3://bucket/prefix").expect_err("refused").to_string(),
            "this program was built without shared caches, so `s3://bucket/prefix` cannot be used"
        );
    }
}
