//! `boards list|show|check|new|schema`.

mod check;
mod list;
mod new;

use clap::Subcommand;

use super::args::BoardArgs;
use crate::board::schema;
use crate::error::Result;
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub enum Boards {
    /// List all boards.
    List {
        /// As a table in Markdown.
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
        #[command(flatten)]
        boards: BoardArgs,
    },
    /// Show the descriptor of a board.
    Show {
        /// Board name.
        name: String,
        #[command(flatten)]
        boards: BoardArgs,
    },
    /// Check the descriptors of all boards, or of some, against the rules of their boot ROMs and boot loaders.
    Check {
        /// Board names, or files of descriptors (namespace/name.toml).
        #[arg(value_name = "NAME|FILE")]
        names: Vec<String>,
        #[command(flatten)]
        boards: BoardArgs,
    },
    /// Write a commented descriptor to start from, like that of another board.
    New(new::New),
    /// Print the JSON Schema of descriptors, with which editors complete and check them.
    Schema,
}

impl Boards {
    pub fn run(self, report: &Report) -> Result<()> {
        match self {
            Boards::List { markdown, boards } => list::run(markdown, &boards, report),
            Boards::Show { name, boards } => {
                let registry = boards.registry()?;
                let text = registry.text(&name)?;
                match registry.refusal(&name)? {
                    Some(refusal) => report.document(&refusal, text.trim_end()),
                    None => report.document(&registry.board(&name)?, text.trim_end()),
                }
                Ok(())
            }
            Boards::Check { names, boards } => check::run(names, &boards, report),
            Boards::New(new) => new.run(report),
            Boards::Schema => {
                let schema = schema();
                report.document(&schema, format!("{schema:#}"));
                Ok(())
            }
        }
    }
}
