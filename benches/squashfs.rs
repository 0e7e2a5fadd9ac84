//! Our squashfs writer against `mksquashfs`, at equal settings: `cargo bench --bench squashfs`.
//!
//! Both run as processes of their own, in turn (A B A B ...), on the same tree in a warm cache. Wall time comes
//! from a clock, CPU time and the largest resident set from `wait4`. The table has medians and ratios.
//!
//! - `SKIFF_BENCH_TREE`: the tree; else a Debian of about 700 MB is made with debootstrap, once, as root;
//! - `SKIFF_BENCH_ROUNDS`: rounds of each setting, 3 unless given;
//! - `SKIFF_BENCH_SETTINGS`: for example `zstd:15/128K lz4/128K`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use skiff_image::tree::Body;
use skiff_image::tree::scan::{HardLinks, HostXattrs, Ownership, ScanOptions, scan};

const SETTINGS: &str = "zstd:15/128K zstd:3/128K zstd:1/128K zstd:9/1M lz4/128K gzip:9/128K";

fn main() {
    let tree = bench_tree();
    let rounds =
        std::env::var("SKIFF_BENCH_ROUNDS").map_or(3, |text| text.parse().expect("a number of rounds"));
    let settings = std::env::var("SKIFF_BENCH_SETTINGS").unwrap_or_else(|_| SETTINGS.into());
    let out = tree.parent().expect("not the root").join("bench.squashfs");
    println!(
        "| setting | wall s | mksquashfs | ratio | cpu s | mksquashfs | ratio | RSS MB | mksquashfs | MB | mksquashfs |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    warm(&tree);
    for setting in settings.split_whitespace() {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(run(ours_command(setting, &tree, &out), &out));
            theirs.push(run(mksquashfs_command(setting, &tree, &out), &out));
        }
        print_row(setting, &median(ours), &median(theirs));
    }
}

/// What one process took.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
    rss_mb: f64,
    size_mb: f64,
}

fn print_row(setting: &str, ours: &Cost, theirs: &Cost) {
    println!(
        "| {setting} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.1} | {:.1} |",
        ours.wall,
        theirs.wall,
        ours.wall / theirs.wall,
        ours.cpu,
        theirs.cpu,
        ours.cpu / theirs.cpu,
        ours.rss_mb,
        theirs.rss_mb,
        ours.size_mb,
        theirs.size_mb,
    );
    std::io::stdout().flush().expect("stdout");
}

fn median(costs: Vec<Cost>) -> Cost {
    let of = |field: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
    };
    Cost { wall: of(|c| c.wall), cpu: of(|c| c.cpu), rss_mb: of(|c| c.rss_mb), size_mb: of(|c| c.size_mb) }
}

/// Runs the command under GNU time, which asks `wait4`.
fn run(command: Command, out: &Path) -> Cost {
    let _ = std::fs::remove_file(out);
    let report = out.with_extension("time");
    let mut timed = common::command("time");
    timed.args(["-f", "%U %S %M", "-o"]).arg(&report).arg(command.get_program()).args(command.get_args());
    timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let start = Instant::now();
    let output = timed.output().expect("GNU time runs");
    let wall: Duration = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = std::fs::read_to_string(report).expect("a report");
    let fields: Vec<f64> = report.split_whitespace().map(|field| field.parse().expect("a number")).collect();
    let size_mb = std::fs::metadata(out).expect("an image").len() as f64 / 1e6;
    Cost { wall: wall.as_secs_f64(), cpu: fields[0] + fields[1], rss_mb: fields[2] / 1e3, size_mb }
}

fn ours_command(setting: &str, tree: &Path, out: &Path) -> Command {
    let (codec, block) = setting.split_once('/').expect("codec/block");
    let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-image"));
    command.args(["--quiet", "mkfs", "squashfs"]).arg(tree).arg(out);
    command.args(["--comp", codec, "--block", block]);
    command
}

fn mksquashfs_command(setting: &str, tree: &Path, out: &Path) -> Command {
    let (codec, block) = setting.split_once('/').expect("codec/block");
    let mut command = Command::new("mksquashfs");
    command.arg(tree).arg(out).args(["-noappend", "-no-progress", "-quiet", "-b", block, "-comp"]);
    match codec.split_once(':') {
        Some((codec, level)) => command.args([codec, "-Xcompression-level", level]),
        None if codec == "lz4hc" => command.args(["lz4", "-Xhc"]),
        None => command.arg(codec),
    };
    command
}

/// Reads all files once, so that no round waits for the disk.
fn warm(tree: &Path) {
    let options = ScanOptions {
        ownership: Ownership::Keep,
        xattrs: HostXattrs::Ignore,
        hard_links: HardLinks::Keep,
        exclude: &|_| false,
    };
    let tree = scan(tree, &options).expect("the tree can be read");
    for (_, id) in tree.walk() {
        if let Body::File(content) = &tree.node(id).body {
            content.read_all().expect("readable");
        }
    }
}

fn bench_tree() -> PathBuf {
    if let Some(tree) = std::env::var_os("SKIFF_BENCH_TREE") {
        return tree.into();
    }
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-squashfs");
    let (partial, tree) = (cache.join("partial"), cache.join("rootfs"));
    if !tree.exists() {
        std::fs::create_dir_all(&cache).expect("a cache directory");
        let mut debootstrap = common::command("debootstrap");
        debootstrap
            .arg("--variant=minbase")
            .arg("--include=systemd,udev,kmod,openssh-server,ca-certificates,curl,python3,linux-image-amd64");
        let status = debootstrap.arg("bookworm").arg(&partial).status().expect("debootstrap runs");
        assert!(status.success(), "debootstrap needs root and a network");
        // Downloads are no part of a root filesystem.
        std::fs::remove_dir_all(partial.join("var/cache/apt")).expect("remove the downloads");
        std::fs::rename(partial, &tree).expect("rename");
    }
    tree
}
