//! `boards new`.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::super::args::BoardArgs;
use crate::board::start;
use crate::error::{Io, Result};
use crate::report::Report;
use crate::storage::{AtomicFile, ImageFile};

#[derive(Debug, Args)]
pub struct New {
    /// Name of the new board (namespace/name).
    name: String,

    /// Board whose descriptor is taken over.
    #[arg(long, value_name = "BOARD")]
    like: String,

    /// Replace a descriptor that is there.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    boards: BoardArgs,
}

#[derive(Serialize)]
struct Written {
    board: String,
    file: String,
    /// Option with which other verbs find it.
    boards: String,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written { board, file, boards } = self;
        write!(f, "{file}\n\ntry it: skiff-image boards check {board} --boards {boards}")
    }
}

impl New {
    pub fn run(self, report: &Report) -> Result<()> {
        let directory = self.boards.directory().unwrap_or_else(|| "boards".into());
        let text = start(&self.boards.registry_if_there()?, &self.name, &self.like)?;
        let file = directory.join(format!("{}.toml", self.name));
        ImageFile::ensure_free(&file, self.force)?;
        write(&file, &text, self.force)?;
        let boards = super::super::shell_word::quoted(directory.as_os_str());
        let written = Written { board: self.name, file: file.display().to_string(), boards };
        report.document(&written, &written);
        Ok(())
    }
}

fn write(file: &PathBuf, text: &str, replace: bool) -> Result<()> {
    let directory = file.parent().expect("a descriptor is in a directory");
    std::fs::create_dir_all(directory).map_err(Io::on("make the directory", directory))?;
    let mut draft = AtomicFile::beside(file)?;
    draft.write_all(text.as_bytes()).map_err(Io::on("write", file))?;
    Ok(draft.publish(file, replace)?)
}
