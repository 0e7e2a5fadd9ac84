//! This program against the ones it replaces: `cargo bench --bench compare [-- SECTION[/ROW]...]`.
//!
//! Every row of a section does one piece of work with several programs, each a process of its own, in turn
//! (A B C A B C ...) on the same tree in a warm page cache. Wall time comes from a clock, processor time of
//! all processes from bash, the largest resident set of any of them from GNU time. Tables have medians, and what
//! ours takes as a part of what the other takes. Results are kept between runs, so that sections can be measured
//! one by one; the chart is drawn from all of them.
//!
//! Flags say which tree, how many rounds and where images go: `-- --help`. On a machine with memory to spare,
//! `--out /dev/shm/bench` keeps the disk out of it: ours waits until an image is on the disk, others do not.

#[path = "../common/mod.rs"]
mod common;

mod bars;
mod check;
mod disk;
mod ext4;
mod fat;
mod project;
mod rebuild;
mod results;
mod row;
mod squashfs;

use std::path::PathBuf;

use clap::Parser;

use common::run::{Cost, Variables, machine, median_cost, versions};
use common::{directory, tree};
use project::Project;
use results::Results;
use row::{Row, Section};

/// Measures skiff-image against other programs.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure: sections or SECTION/ROW, as --list shows them; without it everything.
    wanted: Vec<String>,

    /// The tree to make images of; without it a Debian of about 700 MB, made with debootstrap, as root.
    #[arg(long, env = "SKIFF_BENCH_TREE")]
    tree: Option<PathBuf>,

    /// The skiff-image to measure; without it the one that cargo has just built.
    #[arg(long, env = "SKIFF_BENCH_PROGRAM", default_value = env!("CARGO_BIN_EXE_skiff-image"), hide_default_value = true)]
    program: PathBuf,

    /// Rounds; each program runs once in each.
    #[arg(long, env = "SKIFF_BENCH_ROUNDS", default_value_t = 3)]
    rounds: usize,

    /// Directory for images while they are measured; without it bench/out in target/. In /dev/shm no program
    /// waits for a disk.
    #[arg(long, env = "SKIFF_BENCH_OUT")]
    out: Option<PathBuf>,

    /// Leave out peers whose names start with none of these.
    #[arg(long, env = "SKIFF_BENCH_PEERS", value_delimiter = ',')]
    peers: Vec<String>,

    /// Where the chart goes; without it bench/compare.svg in target/.
    #[arg(long)]
    chart: Option<PathBuf>,

    /// Show what can be measured.
    #[arg(long)]
    list: bool,

    /// Measure nothing; print the tables of earlier runs and draw the chart.
    #[arg(long)]
    report: bool,

    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    if args.list {
        return list();
    }
    // A test run of all targets starts benches too.
    if !args.bench && !args.report {
        return eprintln!("nothing is measured without --bench");
    }
    let tree = tree::given_or_debian(args.tree.as_deref());
    let summary = tree::summary(&tree);
    let mut results = Results::load(&format!("{}: {summary}", tree.display()));
    let sections = sections(summary.bytes());
    reject_unknown(&args.wanted, &sections);
    if args.report {
        sections.iter().for_each(|section| print!("{}", results.table(section)));
    } else {
        measure(&args, &tree, &sections, &mut results);
    }
    let chart = args.chart.unwrap_or_else(|| directory().join("compare.svg"));
    bars::draw(&sections, &results).save(&chart);
}

/// Everything that can be measured, on a tree of so many bytes.
fn sections(tree_bytes: u64) -> Vec<Section> {
    vec![squashfs::section(), rebuild::section(), fat::section(), ext4::section(tree_bytes), disk::section()]
}

fn list() {
    for section in sections(0) {
        println!("{}: {}", section.name, section.title);
        for row in &section.rows {
            let programs: Vec<&str> = row.programs.iter().map(|program| program.name.as_str()).collect();
            println!("  {}/{}: {} ({})", section.name, row.name, row.title, programs.join(", "));
        }
    }
}

fn reject_unknown(wanted: &[String], sections: &[Section]) {
    let known = |word: &String| sections.iter().any(|s| s.rows.iter().any(|row| is_wanted(word, s, row)));
    if let Some(word) = wanted.iter().find(|word| !known(word)) {
        eprintln!("nothing is called `{word}`; --list shows what can be measured");
        std::process::exit(2);
    }
}

fn is_wanted(word: &str, section: &Section, row: &Row) -> bool {
    word == section.name || word.split_once('/') == Some((section.name, row.name))
}

fn measure(args: &Args, tree: &std::path::Path, sections: &[Section], results: &mut Results) {
    let out = args.out.clone().unwrap_or_else(|| directory().join("out"));
    common::fresh(&out);
    println!("Machine: {}\nPrograms: {}", machine(), versions());
    println!("Tree: {}\nImages go to {}; medians of {} rounds\n", results.tree(), out.display(), args.rounds);
    let mut variables = Variables::new();
    variables.insert("SKIFF", args.program.clone());
    variables.insert("TREE", tree.into());
    tree::warm(tree);
    let mut project = None;
    for section in sections {
        let is_wanted = |row: &&Row| {
            args.wanted.is_empty() || args.wanted.iter().any(|word| is_wanted(word, section, row))
        };
        let rows: Vec<&Row> = section.rows.iter().filter(is_wanted).collect();
        if rows.is_empty() {
            continue;
        }
        if section.needs_project && project.is_none() {
            let made = Project::make(tree);
            variables.extend(made.variables());
            project = Some(made);
        }
        for row in rows {
            let row = row.with_peers_here(&args.peers);
            let measured = measure_row(&row, args.rounds, &variables, &out, project.as_ref());
            results.record(section, &row, measured);
        }
        print!("{}", results.table(section));
    }
    std::fs::remove_dir_all(&out).expect("remove the images");
}

/// Runs every program of a row once in every round; the median of each.
fn measure_row(
    row: &Row,
    rounds: usize,
    variables: &Variables,
    out: &std::path::Path,
    project: Option<&Project>,
) -> Vec<Cost> {
    let mut change = row.with_change.then(|| project.expect("the section needs the project").change());
    if row.with_change {
        eprintln!("{}: filling the cache", row.title);
        project.expect("the section needs the project").forget_blocks();
        row.run(0, variables, out);
    }
    let mut costs = vec![Vec::new(); row.programs.len()];
    for round in 0..rounds {
        for (index, costs) in costs.iter_mut().enumerate() {
            if let Some(change) = &mut change {
                change.next();
            }
            let cost = row.run(index, variables, out);
            eprintln!(
                "{}: {}: {:.2} s, {:.2} s of processor",
                row.title, row.programs[index].name, cost.wall, cost.cpu
            );
            costs.push(cost);
        }
        if round == 0
            && let Some(same) = row.same
        {
            same(&row.images(out));
        }
    }
    costs.iter().map(|costs| median_cost(costs)).collect()
}
