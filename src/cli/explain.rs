//! `explain PATH`.

use clap::Args;

use super::args::InputArgs;
use crate::error::Result;
use crate::report::Report;

#[derive(Debug, Args)]
pub struct Explain {
    /// Path in the root filesystem.
    path: String,

    #[command(flatten)]
    inputs: InputArgs,
}

impl Explain {
    pub fn run(self, report: &Report) -> Result<()> {
        let root = self.inputs.root()?;
        let explanation = root.provenance.explain(&root.tree, self.path.as_bytes());
        report.document(&explanation, explanation.to_string().trim_end());
        Ok(())
    }
}
