//! Flashing, ours against others: `cargo bench --bench flash [-- ROW...]`.
//!
//! Programs run in turn (A B A B ...) on the same medium, with the image and the medium out of the page cache. The
//! medium is a loop device over memory, where programs are all that costs, or a card: a FUSE filesystem under a
//! loop device that writes 20 MB/s and reads 80 MB/s. Wall time comes from a clock, processor time of all
//! processes from bash, the largest resident set of any of them from GNU time; tables have medians. Needs root.
//!
//! `faults` compares what the programs say of media that lie.

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod image;
mod medium;
mod speed;

use std::path::PathBuf;

use clap::Parser;

use common::harness::fuse;
use common::run::machine;
use common::tree;
use image::Images;
use speed::{Bench, Row};

/// What compares programs on media that lie.
const FAULTS: &str = "faults";
/// Most bytes of files that go onto the card: it is slow.
const CARD_BYTES: u64 = 200 << 20;

/// Measures flashing.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure, as --list shows; without it everything.
    wanted: Vec<String>,

    /// The tree to make images of; without it a Debian of about 700 MB, made with debootstrap, as root.
    #[arg(long, env = "SKIFF_BENCH_TREE")]
    tree: Option<PathBuf>,

    /// The skiff-image to measure; without it the one that cargo has just built.
    #[arg(long, env = "SKIFF_BENCH_PROGRAM", default_value = env!("CARGO_BIN_EXE_skiff-image"), hide_default_value = true)]
    program: PathBuf,

    /// Rounds; each program runs once in each.
    #[arg(long, env = "SKIFF_BENCH_ROUNDS", default_value_t = 5)]
    rounds: usize,

    /// Directory in memory for the fast medium.
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,

    /// Show what can be measured.
    #[arg(long)]
    list: bool,

    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let rows = speed::rows();
    if args.list {
        return rows.iter().map(|row| row.name).chain([FAULTS]).for_each(|name| println!("{name}"));
    }
    // A test run of all targets starts benches too.
    if !args.bench {
        return eprintln!("nothing is measured without --bench");
    }
    if let Some(word) = args.wanted.iter().find(|word| !is_known(word, &rows)) {
        eprintln!("nothing is called `{word}`; --list shows what can be measured");
        std::process::exit(2);
    }
    if let Some(obstacle) = fuse::obstacle() {
        return eprintln!("nothing is measured: {obstacle}");
    }
    println!("Machine: {}", machine());
    let wanted = |name: &str| args.wanted.is_empty() || args.wanted.iter().any(|word| word == name);
    if wanted(FAULTS) {
        print_faults(&args);
    }
    let rows: Vec<Row> = rows.into_iter().filter(|row| wanted(row.name)).collect();
    if !rows.is_empty() {
        print_speed(&args, rows);
    }
}

fn is_known(word: &str, rows: &[Row]) -> bool {
    word == FAULTS || rows.iter().any(|row| row.name == word)
}

fn print_faults(args: &Args) {
    let directory = tempfile::tempdir().expect("a directory");
    let (image, bmap) = (directory.path().join("disk.img"), directory.path().join("disk.img.bmap"));
    faults::make_image(&image, &bmap);
    let bench = faults::Bench { skiff: &args.program, image: &image, bmap: &bmap };
    println!("Image and media of {} MiB\n\n{}", faults::SIZE_MIB, bench.table());
}

fn print_speed(args: &Args, rows: Vec<Row>) {
    let tree = tree::given_or_debian(args.tree.as_deref());
    let directory = tempfile::tempdir_in(&args.memory).expect("a directory in memory");
    let bench = Bench {
        skiff: &args.program,
        large: &Images::of(&tree, "large", u64::MAX),
        small: &Images::of(&tree, "small", CARD_BYTES),
        directory: directory.path(),
        rounds: args.rounds,
    };
    println!("Medians of {} rounds", args.rounds);
    let shown = |name: &str, images: &Images| {
        let (len, mapped) = (images.len() as f64 / 1e6, images.map().mapped_len() as f64 / 1e6);
        println!("{name}: image of {len:.0} MB, {mapped:.0} MB of it in the block map");
    };
    shown("Fast medium", bench.large);
    shown("Card", bench.small);
    let measured: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let costs = bench.measure(&row);
            (row, costs)
        })
        .collect();
    println!("\n{}", bench.table(&measured));
}
