//! Reads of 4 KiB through a loop mount, each of which finds nothing in memory.
//!
//! An image is mounted anew for every few reads, with the inodes looked up and the files opened before the clock
//! starts: a read then finds its page in no cache, fetches a compressed block and unpacks it, and nothing else is
//! measured. The image itself stays in the page cache unless caches are dropped, because this machine's disk is
//! not the target's; what the target's would take follows from the bytes that are fetched.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::common::run::median;
use crate::common::tree::Summary;
use crate::common::{command, succeed};

/// Reads for each mount: few, so that no block is wanted twice.
const READS_PER_MOUNT: usize = 32;
/// How often each read is tried, in mounts of their own; the least counts, as what else the machine did meanwhile is
/// no property of the image.
const TRIES: u64 = 5;
const PAGE: u64 = 4096;
/// Functions that allocate what a mount needs to unpack blocks, in `fs/squashfs/*_wrapper.c` and `lib/xz`.
const WORKSPACES: [&str; 4] = ["zstd_init+", "lz4_init+", "zlib_init+", "xz_dec_lzma2_create+"];
/// Bytes that a slow memory card gives in a microsecond.
const CARD_BYTES_PER_US: f64 = 20.0;

/// What a read of 4 KiB costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reads {
    /// Microseconds.
    pub median_us: f64,
    /// Microseconds.
    pub mean_us: f64,
    /// Microseconds that 19 of 20 reads do not exceed.
    pub p95_us: f64,
    /// KiB fetched from the medium for one read, on average.
    pub fetched_kib: f64,
    /// KiB that the kernel allocates at mount to unpack blocks.
    pub workspace_kib: f64,
}

impl Reads {
    /// Mean milliseconds of a read from a memory card of 20 MB/s, with the processor of this machine.
    pub fn card_ms(&self) -> f64 {
        (self.mean_us + self.fetched_kib * 1024.0 / CARD_BYTES_PER_US) / 1000.0
    }
}

/// One read.
#[derive(Clone, Debug)]
pub struct Probe {
    path: PathBuf,
    offset: u64,
}

/// The same reads for every image of a tree: half of them in files chosen at random, as when many small files are
/// opened, and half at places chosen at random, as when pages of large programs are wanted.
pub fn probes(tree: &Summary, count: usize) -> Vec<Probe> {
    let mut random = Random(1);
    let ends: Vec<u64> = tree
        .files
        .iter()
        .scan(0, |end, (len, _)| {
            *end += len;
            Some(*end)
        })
        .collect();
    let total = *ends.last().expect("the tree has a file that is not empty");
    (0..count)
        .map(|number| {
            let place = random.below(total);
            let by_place = ends.partition_point(|end| *end <= place);
            let index =
                if number % 2 == 0 { random.below(tree.files.len() as u64) as usize } else { by_place };
            let (len, path) = &tree.files[index];
            Probe { path: path.clone(), offset: random.below(len.div_ceil(PAGE)) * PAGE }
        })
        .collect()
}

/// Reads from an image; nothing, which is told once for each image, where it cannot be mounted.
pub fn measure(image: &Path, probes: &[Probe], drop_caches: bool) -> Option<Reads> {
    let at = tempfile::tempdir().expect("a temporary directory can be made");
    let mut reads = vec![f64::INFINITY; probes.len()];
    let (mut fetched, mut workspaces) = (0, Vec::new());
    for _ in 0..TRIES {
        for (probes, reads) in probes.chunks(READS_PER_MOUNT).zip(reads.chunks_mut(READS_PER_MOUNT)) {
            if drop_caches {
                rustix::fs::sync();
                std::fs::write("/proc/sys/vm/drop_caches", "3").expect("root can drop caches");
            }
            let before = workspace_bytes();
            let mount = Mount::new(image, at.path())?;
            workspaces.push(workspace_bytes() as f64 - before as f64);
            fetched += mount.read(probes, reads);
        }
    }
    // The median: others mount and unmount too.
    Some(Reads::of(reads, fetched / TRIES, median(workspaces)))
}

impl Reads {
    fn of(mut micros: Vec<f64>, fetched: u64, workspace: f64) -> Reads {
        micros.sort_by(f64::total_cmp);
        let count = micros.len() as f64;
        Reads {
            mean_us: micros.iter().sum::<f64>() / count,
            p95_us: micros[(micros.len() * 95).div_ceil(100) - 1],
            median_us: median(micros),
            fetched_kib: fetched as f64 / 1024.0 / count,
            workspace_kib: workspace / 1024.0,
        }
    }
}

/// Microseconds of one read.
fn time_read(file: &File, offset: u64) -> f64 {
    let mut page = [0; PAGE as usize];
    let start = Instant::now();
    let read = file.read_at(&mut page, offset).expect("the image can be read");
    let elapsed = start.elapsed();
    assert!(read > 0, "the offset is in the file");
    elapsed.as_secs_f64() * 1e6
}

/// Bytes that squashfs mounts have allocated to unpack blocks; nothing is known without root.
fn workspace_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/vmallocinfo").unwrap_or_default();
    let of_workspaces = text.lines().filter(|line| WORKSPACES.iter().any(|function| line.contains(function)));
    of_workspaces.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// A loop mount that ends with this value.
struct Mount {
    at: PathBuf,
    /// The counters of its loop device.
    counters: PathBuf,
}

impl Mount {
    fn new(image: &Path, at: &Path) -> Option<Mount> {
        let output = command("mount").args(["-t", "squashfs", "-o", "loop,ro"]).args([image, at]).output();
        let output = output.expect("mount can be started");
        if !output.status.success() {
            eprintln!("reads are not measured: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        let source = succeed(command("findmnt").args(["-n", "-o", "SOURCE"]).arg(at));
        let device = source.trim().trim_start_matches("/dev/");
        Some(Mount { at: at.into(), counters: format!("/sys/block/{device}/stat").into() })
    }

    /// Keeps the time of each read where it is less than before; returns how many bytes all of them fetched.
    fn read(&self, probes: &[Probe], reads: &mut [f64]) -> u64 {
        let open = |probe: &Probe| File::open(self.at.join(&probe.path)).expect("a file of the tree");
        let files: Vec<File> = probes.iter().map(open).collect();
        let before = self.fetched_bytes();
        for ((probe, file), least) in probes.iter().zip(&files).zip(reads) {
            *least = least.min(time_read(file, probe.offset));
        }
        self.fetched_bytes() - before
    }

    /// Bytes read from the device since it is there (`Documentation/block/stat.rst`: sectors of 512 bytes).
    fn fetched_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(&self.counters).expect("a loop device has counters");
        let sectors = text.split_whitespace().nth(2).and_then(|word| word.parse::<u64>().ok());
        sectors.expect("the third counter is of sectors") * 512
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = command("umount").arg(&self.at).status();
    }
}

/// Numbers that are the same in every run (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0) * u128::from(limit)) >> 64) as u64
    }
}
