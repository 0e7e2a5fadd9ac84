//! What compressors, levels and block sizes cost, and what they give: `cargo bench --bench pareto`.
//!
//! For every point of a grid an image is made of each tree, once, without a cache. Its size and the processor
//! time of the build are what the maker pays. What the target pays is measured through a loop mount of the running
//! kernel, as root: how long a read of 4 KiB takes that finds nothing in memory, how many bytes such a read
//! fetches from the medium, and the memory it needs. Without root, sizes and builds are measured alone.
//!
//! Points are kept between runs, so that a grid can be measured in parts; the tables and charts are of all of them.
//! A point is marked where no other is at least as good in everything and better in something.

#[path = "../common/mod.rs"]
mod common;

mod grid;
mod latency;
mod plot;

use std::path::{Path, PathBuf};

use clap::Parser;

use common::kept::Kept;
use common::run::{Program, Variables, machine};
use common::table::Table;
use common::{directory, fresh, tree};
use grid::{Cell, Point};
use latency::Reads;

/// Measures size, build and reads of squashfs images over codecs, levels and block sizes.
#[derive(Debug, Parser)]
struct Args {
    /// Codecs with levels.
    #[arg(long, env = "SKIFF_BENCH_CODECS", value_delimiter = ',', default_value = grid::CODECS)]
    codecs: Vec<String>,

    /// Block sizes.
    #[arg(long, env = "SKIFF_BENCH_BLOCKS", value_delimiter = ',', default_value = "128K,256K,512K,1M")]
    blocks: Vec<String>,

    /// Measure these points only, as in `zstd:9/1M`.
    #[arg(long, value_delimiter = ',')]
    points: Vec<String>,

    /// The tree to make images of, of which the modules are a second tree; without it a Debian of about 700 MB.
    #[arg(long, env = "SKIFF_BENCH_TREE")]
    tree: Option<PathBuf>,

    /// More trees.
    #[arg(long, value_delimiter = ',')]
    more: Vec<PathBuf>,

    /// Reads for each image; each is tried a few times.
    #[arg(long, default_value_t = 512)]
    reads: usize,

    /// Empty the kernel's caches before every mount, so that reads wait for this machine's disk too.
    #[arg(long)]
    drop_caches: bool,

    /// Directory for images; without it bench/out in target/.
    #[arg(long, env = "SKIFF_BENCH_OUT")]
    out: Option<PathBuf>,

    /// Where the charts go, one for each tree; without it bench/ in target/.
    #[arg(long)]
    charts: Option<PathBuf>,

    /// Measure nothing; print the tables of earlier runs and draw the charts.
    #[arg(long)]
    report: bool,

    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    // A test run of all targets starts benches too.
    if !args.bench && !args.report {
        return eprintln!("nothing is measured without --bench");
    }
    let root = tree::given_or_debian(args.tree.as_deref());
    let out = args.out.clone().unwrap_or_else(|| directory().join("out"));
    fresh(&out);
    println!("Machine: {}\n", machine());
    for tree in trees(&root, &args.more) {
        measure_tree(&args, &tree, &out);
    }
    std::fs::remove_dir_all(&out).expect("remove the images");
}

/// The tree, the modules in it, and more.
fn trees(root: &Path, more: &[PathBuf]) -> Vec<PathBuf> {
    let modules = root.join("usr/lib/modules");
    let modules = modules.is_dir().then_some(modules);
    [root.to_path_buf()].into_iter().chain(modules).chain(more.iter().cloned()).collect()
}

fn measure_tree(args: &Args, tree: &Path, out: &Path) {
    let name = tree.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let summary = tree::summary(tree);
    if !args.report {
        tree::warm(tree);
    }
    let probes = latency::probes(&summary, args.reads);
    let described = format!("{}: {summary}", tree.display());
    let mut kept = Kept::load(&directory().join(format!("pareto-{name}.json")), &described);
    let cells = if args.report { Vec::new() } else { grid::cells(&args.codecs, &args.blocks, &args.points) };
    for cell in cells {
        let point = measure(args, cell, tree, out, &probes);
        eprintln!("{name}: {point}");
        kept.record(point.cell.name(), point);
    }
    let mut points: Vec<Point> = kept.all().cloned().collect();
    points.sort_by_key(|point| point.cell.rank());
    println!("### {name}: {summary}\n\n{}", table(&points));
    let charts = args.charts.clone().unwrap_or_else(directory);
    plot::draw(&name, &points).save(&charts.join(format!("pareto-{name}.svg")));
}

fn measure(args: &Args, cell: Cell, tree: &Path, out: &Path, probes: &[latency::Probe]) -> Point {
    let image = out.join("image");
    let variables = Variables::from([
        ("SKIFF", env!("CARGO_BIN_EXE_skiff-image").into()),
        ("TREE", tree.into()),
        ("OUT", image.clone()),
    ]);
    let Cell { codec, block } = &cell;
    let script = format!(
        r#"SKIFF_CACHE=off "$SKIFF" --quiet mkfs squashfs "$TREE" "$OUT" --force --comp {codec} --block {block}"#
    );
    let cost = Program::new("skiff-image", script).run(&variables);
    let size_mb = std::fs::metadata(&image).expect("an image was made").len() as f64 / 1e6;
    let reads = latency::measure(&image, probes, args.drop_caches);
    Point { cell, size_mb, cpu: cost.cpu, rss_mb: cost.rss_mb, reads }
}

fn table(points: &[Point]) -> Table {
    let mut table = Table::new(&[
        "codec",
        "block",
        "size MB",
        "build CPU s",
        "build MB",
        "read µs, median",
        "mean",
        "p95",
        "fetched KiB",
        "on 20 MB/s, ms",
        "memory KiB",
        "best of size, CPU",
        "of all",
    ]);
    let quick = |point: &Point| vec![point.size_mb, point.cpu];
    for point in points {
        let reads = |show: fn(&Reads) -> String| point.reads.as_ref().map(show).unwrap_or_default();
        let mark = |best: bool| if best { "●".to_owned() } else { String::new() };
        table.row([
            point.cell.codec.clone(),
            point.cell.block.clone(),
            format!("{:.1}", point.size_mb),
            format!("{:.1}", point.cpu),
            format!("{:.0}", point.rss_mb),
            reads(|reads| format!("{:.0}", reads.median_us)),
            reads(|reads| format!("{:.0}", reads.mean_us)),
            reads(|reads| format!("{:.0}", reads.p95_us)),
            reads(|reads| format!("{:.0}", reads.fetched_kib)),
            reads(|reads| format!("{:.1}", reads.card_ms())),
            format!("{:.0}", point.memory_kib()),
            mark(grid::is_best(point, points, quick)),
            mark(grid::is_best(point, points, Point::everything)),
        ]);
    }
    table
}
