//! The grid, and which of its points are worth choosing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::latency::Reads;

/// Codecs that are measured unless others are given.
pub const CODECS: &str = "zstd:1,zstd:3,zstd:6,zstd:9,zstd:12,zstd:15,zstd:19,gzip:6,lz4,lz4hc,xz:6";

/// Two values are the same if they are this close: times have no more digits.
const SAME: f64 = 0.02;

/// How an image is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Codec with level.
    pub codec: String,
    /// Block size.
    pub block: String,
}

/// An image that was made and read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// How it was made.
    pub cell: Cell,
    /// Its size.
    pub size_mb: f64,
    /// Processor time of the build, in seconds.
    pub cpu: f64,
    /// Largest resident set of the build.
    pub rss_mb: f64,
    /// How it is read, if it could be mounted.
    pub reads: Option<Reads>,
}

impl Cell {
    /// As on the command line.
    pub fn name(&self) -> String {
        format!("{}/{}", self.codec, self.block)
    }

    /// What a table is sorted by: codec, level, block size.
    pub fn rank(&self) -> (String, u32, u64) {
        let (codec, level) = self.codec.split_once(':').unwrap_or((&self.codec, ""));
        (codec.into(), level.parse().unwrap_or_default(), self.block_bytes())
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> u64 {
        self.block.parse::<skiff_image::value::ByteSize>().expect("a size, as an image was made with it").0
    }
}

impl Point {
    /// What the target needs while a read that finds nothing is under way: a block, and what unpacks it.
    pub fn memory_kib(&self) -> f64 {
        let workspace = self.reads.as_ref().map_or(0.0, |reads| reads.workspace_kib);
        self.cell.block_bytes() as f64 / 1024.0 + workspace
    }

    /// All that is paid.
    pub fn everything(&self) -> Vec<f64> {
        let reads = self.reads.as_ref();
        let reads = reads.map_or([0.0; 2], |reads| [reads.mean_us, reads.card_ms()]);
        [self.size_mb, self.cpu, self.memory_kib()].into_iter().chain(reads).collect()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:.1} MB, {:.1} s of processor", self.cell.name(), self.size_mb, self.cpu)?;
        match &self.reads {
            Some(reads) => write!(f, ", read in {:.0} µs", reads.median_us),
            None => Ok(()),
        }
    }
}

/// Every codec with every block size, or the given points.
pub fn cells(codecs: &[String], blocks: &[String], points: &[String]) -> Vec<Cell> {
    let all = codecs
        .iter()
        .flat_map(|codec| blocks.iter().map(|block| Cell { codec: codec.clone(), block: block.clone() }));
    let is_wanted = |cell: &Cell| points.is_empty() || points.contains(&cell.name());
    let (known, given) = (all.filter(is_wanted), points.iter().filter_map(|point| point.split_once('/')));
    if points.is_empty() {
        known.collect()
    } else {
        given.map(|(codec, block)| Cell { codec: codec.into(), block: block.into() }).collect()
    }
}

/// Whether no other point is as cheap in everything and cheaper in something.
pub fn is_best(point: &Point, points: &[Point], prices: impl Fn(&Point) -> Vec<f64>) -> bool {
    let mine = prices(point);
    !points.iter().any(|other| {
        let theirs = prices(other);
        let pairs = || theirs.iter().zip(&mine);
        pairs().all(|(their, my)| *their <= my * (1.0 + SAME))
            && pairs().any(|(their, my)| *their < my * (1.0 - SAME))
    })
}
