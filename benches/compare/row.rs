//! What is measured, as values.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::common::fresh;
use crate::common::run::{Cost, Program, Variables};

/// Rows that belong together.
pub struct Section {
    /// Name on the command line.
    pub name: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What the reader should know.
    pub note: &'static str,
    /// Whether it works on the project rather than on the tree alone.
    pub needs_project: bool,
    /// In the order of the table.
    pub rows: Vec<Row>,
}

/// One piece of work, done by several programs.
#[derive(Clone)]
pub struct Row {
    /// Name on the command line.
    pub name: &'static str,
    /// What the work is.
    pub title: String,
    /// Ours is the first. The second is the one that the chart compares it with.
    pub programs: Vec<Program>,
    /// What counts as the size of the output.
    pub size: SizeOf,
    /// Whether a file is changed before every run, after ours has filled its cache once.
    pub with_change: bool,
    /// Tells by a panic that the first images of all programs do not hold the same files.
    pub same: Option<fn(&[PathBuf])>,
}

/// What counts as the size of an output.
#[derive(Clone, Copy)]
pub enum SizeOf {
    /// Its length.
    Length,
    /// What it takes on the disk: for images of a given length.
    Blocks,
}

impl Row {
    /// A row of images whose length is a result.
    pub fn new(name: &'static str, title: impl Into<String>, programs: Vec<Program>) -> Row {
        Row { name, title: title.into(), programs, size: SizeOf::Length, with_change: false, same: None }
    }

    /// Without the peers that this machine lacks, which is told, and without those that are not among `peers`.
    pub fn with_peers_here(&self, peers: &[String]) -> Row {
        let mut row = self.clone();
        let ours = row.programs.remove(0);
        row.programs.retain(|program| {
            let missing = program.missing();
            if let Some(missing) = missing {
                let name = &program.name;
                eprintln!(
                    "{}: without {name}: `{missing}` is missing; run fixtures/install-oracles --bench",
                    self.title
                );
            }
            missing.is_none() && (peers.is_empty() || peers.iter().any(|peer| program.name.starts_with(peer)))
        });
        row.programs.insert(0, ours);
        row
    }

    /// Where the program `index` puts its image.
    fn image(out: &Path, index: usize) -> PathBuf {
        out.join(index.to_string()).join("image")
    }

    /// The images of all programs.
    pub fn images(&self, out: &Path) -> Vec<PathBuf> {
        (0..self.programs.len()).map(|index| Row::image(out, index)).collect()
    }

    /// Runs the program `index` in a directory of its own, which is empty.
    pub fn run(&self, index: usize, variables: &Variables, out: &Path) -> Cost {
        let image = Row::image(out, index);
        let directory = image.parent().expect("an image is in a directory");
        fresh(directory);
        let mut variables = variables.clone();
        variables.insert("DIR", directory.into());
        variables.insert("OUT", image.clone());
        let cost = self.programs[index].run(&variables);
        let metadata = std::fs::metadata(&image).expect("the program made an image");
        let bytes = match self.size {
            SizeOf::Length => metadata.len(),
            SizeOf::Blocks => metadata.blocks() * 512,
        };
        Cost { size_mb: bytes as f64 / 1e6, ..cost }
    }
}
