//! Results, kept between runs.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::common::directory;
use crate::common::kept::Kept;
use crate::common::run::Cost;
use crate::common::table::{Table, number};
use crate::row::{Row, Section};

/// What was measured on one tree, by SECTION/ROW.
pub struct Results(Kept<Vec<Measured>>);

/// One program of a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// Name of the program.
    pub name: String,
    /// Medians.
    pub cost: Cost,
}

impl Results {
    /// Earlier results for this tree.
    pub fn load(tree: &str) -> Results {
        Results(Kept::load(&directory().join("compare.json"), tree))
    }

    /// What was measured.
    pub fn tree(&self) -> &str {
        self.0.tree()
    }

    /// Keeps the results of a row, in the order of its programs.
    pub fn record(&mut self, section: &Section, row: &Row, costs: Vec<Cost>) {
        let measured = row.programs.iter().zip(costs);
        let measured = measured.map(|(program, cost)| Measured { name: program.name.clone(), cost });
        self.0.record(key(section, row), measured.collect());
    }

    /// The results of a row; ours is the first.
    pub fn of(&self, section: &Section, row: &Row) -> Option<&[Measured]> {
        self.0.get(&key(section, row)).map(Vec::as_slice)
    }

    /// A section as Markdown; empty if nothing of it was measured.
    pub fn table(&self, section: &Section) -> String {
        let mut table = Table::new(&[
            "work",
            "program",
            "wall s",
            "CPU s",
            "peak MB",
            "size MB",
            "wall, ours/it",
            "CPU",
            "memory",
            "size",
        ]);
        let mut commands = String::new();
        for row in &section.rows {
            let Some(measured) = self.of(section, row) else { continue };
            for (index, Measured { name, cost }) in measured.iter().enumerate() {
                let title = if index == 0 { row.title.clone() } else { String::new() };
                let Cost { wall, cpu, rss_mb, size_mb } = *cost;
                let absolute = [number(wall), number(cpu), format!("{rss_mb:.0}"), format!("{size_mb:.1}")];
                let ratios =
                    if index == 0 { Default::default() } else { ratios(&measured[0].cost, cost).map(number) };
                table.row([title, name.clone()].into_iter().chain(absolute).chain(ratios));
            }
            for program in
                row.programs.iter().filter(|program| measured.iter().any(|m| m.name == program.name))
            {
                let _ = writeln!(commands, "# {}, {}\n{}", row.title, program.name, program.script.trim());
            }
        }
        if commands.is_empty() {
            return commands;
        }
        let details = format!("<details><summary>Commands</summary>\n\n```sh\n{commands}```\n\n</details>");
        format!("### {}\n\n{}\n\n{table}\n{details}\n\n", section.title, section.note)
    }
}

/// Ours as a part of the other: wall, processor, memory, size.
pub fn ratios(ours: &Cost, other: &Cost) -> [f64; 4] {
    [ours.wall / other.wall, ours.cpu / other.cpu, ours.rss_mb / other.rss_mb, ours.size_mb / other.size_mb]
}

fn key(section: &Section, row: &Row) -> String {
    format!("{}/{}", section.name, row.name)
}
