//! Finding and ordering layers: `SKIFFOS_TREE=DIR cargo bench --bench layers`.
//!
//! Measured on the layers of SkiffOS, against its own scripts. Programs run in turn; the tree is in the page cache.

#[path = "../common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use clap::Parser;
use skiff_image::layer::{Environment, Order, Roots, discover};

use common::harness::skiffos::{skiffos_copy, skiffos_environment, skiffos_tree};
use common::run::{machine, median};

/// Most milliseconds that resolution may take.
const BAR_MS: f64 = 20.0;

/// Measures finding and ordering layers.
#[derive(Debug, Parser)]
struct Args {
    /// Chain of layers.
    #[arg(long, default_value = "pine64/phone,core/gentoo")]
    chain: String,

    /// Rounds; ours runs ten times in each.
    #[arg(long, env = "SKIFF_BENCH_ROUNDS", default_value_t = 5)]
    rounds: usize,

    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    // A test run of all targets starts benches too.
    if !args.bench {
        return eprintln!("nothing is measured without --bench");
    }
    let Some(tree) = skiffos_tree("the bench") else { return };
    let copy = skiffos_copy(&tree);
    let (mut library, mut program, mut scripts) = (Vec::new(), Vec::new(), Vec::new());
    let mut layers = 0;
    for _ in 0..args.rounds {
        for _ in 0..10 {
            library.push(milliseconds(|| layers = resolve(copy.path(), &args.chain)));
            program.push(milliseconds(|| run(copy.path(), &args.chain)));
        }
        scripts.push(milliseconds(|| drop(skiffos_environment(copy.path(), &args.chain))));
    }
    println!("{layers} layers, `{}`; {}\n", args.chain, machine());
    println!("| program | median ms | bar |\n|---|---:|---:|");
    println!("| in the library | {:.1} | {BAR_MS} |", median(library));
    println!("| skiff-image layers resolve | {:.1} | {BAR_MS} |", median(program));
    println!("| SkiffOS' scripts (make env) | {:.0} | |", median(scripts));
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

/// Finds all layers and orders those of the chain; the number of all.
fn resolve(tree: &Path, chain: &str) -> usize {
    let registry = discover(&Environment::default(), &Roots::for_project(tree)).expect("layers");
    registry.chain(chain, "the bench", Order::Dependencies).expect("a chain");
    registry.layers().count()
}

fn run(tree: &Path, chain: &str) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_skiff-image"));
    program.args(["layers", "resolve", "--config", chain]).current_dir(tree);
    common::succeed(&mut program);
}
