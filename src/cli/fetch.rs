//! `fetch`.

use clap::Args;
use serde::Serialize;

use super::args::RootArgs;
use crate::buildroot::source::{self, Archive};
use crate::error::Result;
use crate::report::Report;
use crate::workspace::Workspace;

/// Gets the source tree of Buildroot that the project is made for, and checks it.
#[derive(Debug, Args)]
pub struct Fetch {
    /// Archive to take, buildroot-VERSION.tar.xz; without it the one that is published.
    #[arg(long, value_name = "FILE|URL")]
    from: Option<String>,

    #[command(flatten)]
    root: RootArgs,
}

#[derive(Serialize)]
struct Document {
    path: String,
    version: String,
    new: bool,
}

impl Fetch {
    pub fn run(self, report: &Report) -> Result<()> {
        // All workspaces share it.
        let workspace = Workspace::for_name(&self.root.directory(), "default")?;
        let fetched = source::fetch(&workspace, self.from.as_deref().map(Archive::from_text).as_ref())?;
        let path = workspace.short(&fetched.path).display().to_string();
        let done = if fetched.new { "is in" } else { "is already in" };
        let text = format!("Buildroot {} {done} `{path}`", fetched.version);
        report.document(&Document { path, version: fetched.version, new: fetched.new }, text);
        Ok(())
    }
}
