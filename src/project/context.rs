//! Environment of make and of the programs of layers.

use std::ffi::OsString;

use super::LayerSelection;
use crate::buildroot::stamp::{EPOCH_VARIABLE, Release};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::layer::environment::{LayerContext, Variables};
use crate::layer::{Chain, Environment, Registry};
use crate::workspace::{Selection, Workspace};

/// The layers of a workspace, and what it states about itself.
pub struct WorkspaceContext {
    /// The workspace.
    pub workspace: Workspace,
    /// Its layers in order, with what the user should know about them.
    pub chain: Chain,
    /// Version and time of what is built.
    pub release: Release,
    /// All layers there are.
    pub registry: Registry,
    selection: Option<Selection>,
    path: Option<OsString>,
}

impl WorkspaceContext {
    /// Reads the workspace of a selection of layers. `interrupt` ends the programs that are asked for the last commit.
    pub fn for_layers(layers: &LayerSelection, interrupt: &Interrupt) -> Result<WorkspaceContext> {
        let workspace = layers.place()?;
        let selection = layers.remembered()?;
        let epoch = selection.as_ref().and_then(|selection| selection.asked.source_date_epoch);
        let epoch = epoch.map(|epoch| (OsString::from(EPOCH_VARIABLE), OsString::from(epoch.to_string())));
        let variables = epoch.into_iter().chain(layers.environment.iter().cloned());
        let release = Release::for_project(workspace.root(), &variables.collect::<Environment>(), interrupt)?;
        let (registry, chain) = (layers.registry()?, layers.resolved()?);
        let path = layers.environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone());
        Ok(WorkspaceContext { workspace, chain, release, registry, selection, path })
    }

    /// Returns the variables that are added to our own environment.
    pub fn variables(&self) -> Variables {
        let Release { version, commit, epoch, .. } = &self.release;
        let used = self.selection.as_ref().map(|selection| &selection.used.buildroot);
        let directory = std::env::current_dir().unwrap_or_default();
        let context = LayerContext {
            root: self.workspace.root(),
            workspace: self.workspace.name(),
            directory: &directory,
            buildroot: used.map(std::path::PathBuf::as_path).filter(|path| !path.as_os_str().is_empty()),
            registry: &self.registry,
            chain: &self.chain,
            version: (version, commit),
            path: self.path.as_deref(),
        };
        let mut variables = context.variables();
        variables.insert(EPOCH_VARIABLE.into(), epoch.to_string().into());
        variables
    }

    /// Returns whether Buildroot's own images, and what hooks of layers make beside them, are wanted.
    pub fn keeps_images(&self) -> bool {
        self.selection.as_ref().is_some_and(|selection| selection.asked.keep_images)
    }

    /// The same as [`WorkspaceContext::variables`] for make, which puts the programs of the host into PATH itself.
    pub fn for_make(&self) -> Vec<(OsString, OsString)> {
        self.variables().into_iter().filter(|(name, _)| name != "PATH").collect()
    }
}
