//! What make and the programs of layers find in their environment.

use std::ffi::OsString;

use super::args::LayerArgs;
use crate::buildroot::stamp::{EPOCH_VARIABLE, EpochFrom, Release};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::layer::environment::{LayerContext, Variables};
use crate::layer::{Chain, Environment, Registry};
use crate::report::Report;
use crate::workspace::{Selection, Workspace};

/// The layers of a workspace, and what it states about itself.
pub struct WorkspaceContext {
    pub workspace: Workspace,
    pub chain: Chain,
    pub release: Release,
    pub registry: Registry,
    selection: Option<Selection>,
}

impl WorkspaceContext {
    pub fn for_layers(layers: &LayerArgs, interrupt: &Interrupt) -> Result<WorkspaceContext> {
        let workspace = layers.place()?;
        let selection = layers.remembered()?;
        let epoch = selection.as_ref().and_then(|selection| selection.asked.source_date_epoch);
        let epoch = epoch.map(|epoch| (OsString::from(EPOCH_VARIABLE), OsString::from(epoch.to_string())));
        let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
        let release = Release::for_project(
            workspace.root(),
            &epoch.into_iter().chain(set).collect::<Environment>(),
            interrupt,
        )?;
        let (registry, chain) = (layers.registry()?, layers.resolved()?);
        Ok(WorkspaceContext { workspace, chain, release, registry, selection })
    }

    /// Returns the variables that are added to our own environment.
    pub fn variables(&self) -> Variables {
        let Release { version, commit, epoch, .. } = &self.release;
        let used = self.selection.as_ref().map(|selection| &selection.used.buildroot);
        let path = std::env::var_os("PATH");
        let directory = std::env::current_dir().unwrap_or_default();
        let context = LayerContext {
            root: self.workspace.root(),
            workspace: self.workspace.name(),
            directory: &directory,
            buildroot: used.map(std::path::PathBuf::as_path).filter(|path| !path.as_os_str().is_empty()),
            registry: &self.registry,
            chain: &self.chain,
            version: (version, commit),
            path: path.as_deref(),
        };
        let mut variables = context.variables();
        variables.insert(EPOCH_VARIABLE.into(), epoch.to_string().into());
        variables
    }

    /// The same for make, which puts the programs of the host into PATH itself.
    pub fn for_make(&self) -> Vec<(OsString, OsString)> {
        self.variables().into_iter().filter(|(name, _)| name != "PATH").collect()
    }

    /// Says which time is taken where nobody says one.
    pub fn report_epoch(&self, report: &Report) {
        if self.release.epoch_from == EpochFrom::Nobody {
            report.note(
                "neither SOURCE_DATE_EPOCH nor a commit says when this is made: BUILD_DATE is 1980-01-01",
            );
        }
    }
}
